"""Plots of decision boundaries and of the histories of trainings."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from extras import optional
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from sklearn.datasets import load_iris, make_blobs
from sklearn.neighbors import KNeighborsClassifier
from views import X, y

import fastnn
from fastnn.boundary.colours import REGION_STRENGTH, class_colours
from fastnn.boundary.drawing import PALE_ALPHA, printable
from fastnn.plotting.boundary import MARGIN

pa = optional("pyarrow")
pd = optional("pandas")


@pytest.fixture(scope="module")
def model():
    model = fastnn.Model([2, 3, 2], random_state=0)
    model.train(X, y, num_passes=500)
    return model


@pytest.fixture
def ax():
    """Return axes that fill a figure of 400 x 300 pixels."""
    figure = Figure(figsize=(4, 3), dpi=100)
    return figure.add_axes((0, 0, 1, 1))


def regions(ax):
    """Return red, green and blue of the picture's pixels, from 0 to 255."""
    (image,) = ax.get_images()
    return image.to_rgba(image.get_array(), bytes=True)[:, :, :3]


def legend(ax):
    """Return the texts of a legend."""
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_plot_has_regions_samples_lines_and_a_legend(model, ax):
    assert fastnn.plot_decision_boundary(model, X, y, ax=ax) is ax
    picture = regions(ax)
    assert picture.shape == (300, 400, 3), "as many pixels as the axes have"
    left, right, bottom, top = ax.get_images()[0].get_extent()
    assert left < X[:, 0].min() < X[:, 0].max() < right
    assert bottom < X[:, 1].min() < X[:, 1].max() < top
    # The pixel under a point has the pale colour of the class predicted there.
    columns = ((X[:, 0] - left) / (right - left) * 400).astype(int)
    rows = ((X[:, 1] - bottom) / (top - bottom) * 300).astype(int)
    predicted = model.predict(X)
    shades = [np.median(picture[rows[predicted == k], columns[predicted == k]], axis=0) for k in (0, 1)]
    for k in (0, 1):
        np.testing.assert_allclose(
            shades[k] / 255, 1 - REGION_STRENGTH * (1 - class_colours(2)[k]), atol=0.01
        )
    assert legend(ax) == ["class 0", "class 1"]
    points = [c for c in ax.collections if len(c.get_offsets()) > 1]
    assert [len(c.get_offsets()) for c in points] == [(y == 0).sum(), (y == 1).sum()]
    assert len(ax.collections) == 3, "samples of two classes, and one line"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$", "$x_2$")


def test_regions_and_samples_of_a_class_have_its_colour(ax):
    fastnn.plot_decision_boundary(lambda points: points[:, 0] > 0, X, y, ax=ax)
    picture = regions(ax)
    pale = 1 - REGION_STRENGTH * (1 - class_colours(2))
    np.testing.assert_allclose(picture[150, [1, -2]] / 255, pale, atol=0.01)
    faces = [to_rgb(c.get_facecolor()[0]) for c in ax.collections if len(c.get_offsets()) > 1]
    np.testing.assert_allclose(faces, class_colours(2))


def test_resolution_is_the_size_in_pixels(model, ax):
    fastnn.plot_decision_boundary(model, X, y, ax=ax, resolution=(60, 40))
    assert regions(ax).shape[:2] == (40, 60)


def test_samples_must_have_the_labels_of_the_estimator(ax):
    names = np.array(["red", "blue"])[y]
    estimator = KNeighborsClassifier().fit(X, names)
    fastnn.plot_decision_boundary(estimator, X, names, ax=ax, resolution=40)
    assert legend(ax) == ["blue", "red"]
    with pytest.raises(
        ValueError, match=r"y holds labels such as \[[01]\], but the model's classes are \['blue'"
    ):
        fastnn.plot_decision_boundary(estimator, X, y, ax=ax, resolution=40)


def test_twelve_classes_have_twelve_colours(ax):
    samples, labels = make_blobs(300, centers=12, random_state=0)
    estimator = KNeighborsClassifier().fit(samples, labels)
    fastnn.plot_decision_boundary(estimator, samples, labels, ax=ax, resolution=100)
    assert len(legend(ax)) == 12
    assert len(np.unique(regions(ax).reshape(-1, 3), axis=0)) == 12


def test_the_legend_has_all_classes_of_the_model_and_of_the_samples(ax):
    fastnn.plot_decision_boundary(lambda points: np.full(len(points), 5), X, y, ax=ax, resolution=20)
    assert legend(ax) == ["class 0", "class 1", "class 5"]
    assert len(np.unique(regions(ax).reshape(-1, 3), axis=0)) == 1


@pytest.mark.needs("pandas")
def test_columns_of_a_data_frame_name_the_axes(model, ax):
    fastnn.plot_decision_boundary(model, pd.DataFrame(X, columns=["width", "height"]), y, ax=ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "height")


@pytest.mark.needs("pyarrow")
def test_a_pyarrow_table_has_the_names_of_its_columns(model, ax):
    table = pa.table({"width": X[:, 0], "height": X[:, 1]})
    fastnn.plot_decision_boundary(model, table, y, ax=ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "height")
    fitted = fastnn.MLPClassifier((3,), random_state=0).partial_fit(table, y, classes=np.unique(y))
    fastnn.plot_decision_boundary(fitted, table, y, ax=ax)
    with pytest.raises(ValueError, match=r"X must hold only numbers, but has the columns \['width'\]"):
        fastnn.plot_decision_boundary(model, table.set_column(0, "width", [["a"] * len(X)]), y, ax=ax)


@pytest.mark.needs("pandas")
def test_columns_must_be_the_features_of_the_model(ax):
    frame = pd.DataFrame(np.column_stack([X, X[:, 0]]), columns=["width", "height", "depth"])
    estimator = KNeighborsClassifier().fit(frame, y)
    fastnn.plot_decision_boundary(estimator, frame, y, ax=ax, resolution=20, features=("height", "depth"))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("height", "depth")
    with pytest.raises(
        ValueError, match="X must have the model's features as its columns, .'width', 'height'"
    ):
        fastnn.plot_decision_boundary(estimator, frame[frame.columns[::-1]], y, ax=ax, resolution=20)


def test_samples_that_the_plane_says_nothing_about_are_pale(ax):
    samples, labels = load_iris(return_X_y=True)
    estimator = KNeighborsClassifier().fit(samples, labels)
    fastnn.plot_decision_boundary(estimator, samples, labels, ax=ax)
    assert ax.get_legend().get_title().get_text() == "at $x_3$ = 3.758\nat $x_4$ = 1.199"
    assert legend(ax)[-1].startswith("pale: another prediction")
    dots = [c for c in ax.collections if isinstance(c, PathCollection)]
    full, pale = (
        np.concatenate([c.get_offsets() for c in dots if c.get_alpha() == a]) for a in (None, PALE_ALPHA)
    )
    assert len(full) + len(pale) == len(samples)
    shown = estimator.predict(np.column_stack([samples[:, :2], np.tile(samples.mean(axis=0)[2:], (150, 1))]))
    expected = samples[shown != estimator.predict(samples)][:, :2]
    assert sorted(pale.tolist()) == sorted(expected.tolist())
    assert len(pale) > 75, "most samples"


def test_a_plane_of_many_features_and_one_of_two_columns(ax, model):
    wide = np.column_stack([X, np.zeros((200, 5))])
    fastnn.plot_decision_boundary(lambda points: points[:, 0] > 0, wide, y, ax=ax, fill=1.0, resolution=20)
    assert ax.get_legend().get_title().get_text() == "5 other features\nat fixed values"
    assert len(legend(ax)) == 2, "no sample is pale"
    ax.clear()
    fastnn.plot_decision_boundary(model, X, y, ax=ax, resolution=20)
    assert ax.get_legend().get_title().get_text() == ""


@pytest.mark.needs("pandas")
def test_columns_of_text_are_named_with_the_remedy(ax):
    frame = pd.DataFrame(X, columns=["width", "height"])
    frame["place"] = "home"
    model = fastnn.TabularClassifier(preset="fast", random_state=0, time_limit=2).fit(frame, y)
    with pytest.raises(
        ValueError, match="X must hold only numbers, but has the columns .'place'.: in a pict"
    ):
        fastnn.plot_decision_boundary(model, frame, y, ax=ax, features=("width", "height"))

    def predict(points):
        return model.predict(pd.DataFrame(points, columns=["width", "height"]).assign(place="home"))

    fastnn.plot_decision_boundary(predict, frame[["width", "height"]], y, ax=ax, resolution=20)
    square = {"xlim": (0, 1), "ylim": (0, 1), "features": ("width", "height"), "fill": {"place": 0}}
    assert fastnn.render_boundary(model, size=4, **square).data.shape == (4, 4)  # the column has one value
    frame["place"] = np.where(X[:, 0] > 0, "home", "work")
    model = fastnn.TabularClassifier(preset="fast", random_state=0, time_limit=2).fit(frame, y)
    with pytest.raises(ValueError, match="takes columns that are not numeric, .'place'.: in a picture"):
        fastnn.render_boundary(model, size=4, **square)


@pytest.mark.parametrize(("response", "lowest"), [("probability", 0), ("confidence", 0.5), ("margin", 0)])
def test_a_response_is_grey_with_a_labelled_scale(model, response, lowest):
    figure = Figure()
    fastnn.plot_decision_boundary(model, X, y, ax=figure.subplots(), response=response, resolution=300)
    (image,) = figure.axes[0].get_images()
    assert image.norm.vmin == pytest.approx(lowest, abs=0.02)
    assert image.norm.vmax == 1
    assert np.ptp(image.to_rgba(image.get_array())[:, :, :3], axis=2).max() == 0
    assert figure.axes[1].get_ylabel() == response


@pytest.mark.parametrize("point", [(0.0, 0.0), (1e6, -1e-6)])
def test_a_single_sample_is_the_centre_of_its_plot(model, ax, point):
    fastnn.plot_decision_boundary(model, [point], [1], ax=ax, resolution=10)
    left, right, bottom, top = ax.get_images()[0].get_extent()
    assert (*ax.get_xlim(), *ax.get_ylim()) == (left, right, bottom, top)
    assert ((left + right) / 2, (bottom + top) / 2) == pytest.approx(point)
    # A single sample has no extent: the scale is the magnitude of each coordinate, at least 1.
    assert (right - left, top - bottom) == pytest.approx(2 * MARGIN * np.maximum(np.abs(point), 1))
    drawn = [c.get_offsets() for c in ax.collections if isinstance(c, PathCollection)]
    np.testing.assert_array_equal(np.concatenate(drawn), [point])
    assert regions(ax).shape == (8, 10, 3), "in the proportions of the axes"


def test_a_plot_is_drawn_into_the_current_axes_by_default(model):
    ax = plt.figure().add_subplot()
    assert fastnn.plot_decision_boundary(model, X, y, resolution=10) is ax


REFUSED = [
    ({"method": "exact"}, "method must be one of"),
    ({"resolution": 0}, "^resolution must be an integer of at least 1"),
    ({"resolution": "wide"}, r"^resolution must be \(width, height\) in pixels"),
    ({"colours": ["red"]}, "colours must be as many as there are classes"),
    ({"response": "probability", "class_of_interest": 7}, "class_of_interest must be one of"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_a_refused_plot_leaves_no_figure_and_no_axes(model, options, message):
    plt.close("all")
    with pytest.raises(ValueError, match=message):
        fastnn.plot_decision_boundary(model, X, y, **options)
    assert not plt.get_fignums()
    figure = plt.figure()
    with pytest.raises(ValueError, match=message):
        fastnn.plot_decision_boundary(model, X, y, **options)
    assert plt.get_fignums() == [figure.number]
    assert not figure.axes
    ax = figure.add_subplot()
    with pytest.raises(ValueError, match=message):
        fastnn.plot_decision_boundary(model, X, y, **options)
    assert figure.axes == [ax]
    plt.close(figure)


def test_a_refused_drawing_of_a_picture_leaves_no_figure(model):
    plt.close("all")
    image = fastnn.render_boundary(model, (-1, 2), (-1, 1), size=8)
    with pytest.raises(ValueError, match="X and y are drawn together"):
        image.plot(X=X)
    assert not plt.get_fignums()


@pytest.mark.parametrize("wrong", [5, plt, Figure(), [1, 2]], ids=["number", "module", "figure", "list"])
def test_only_axes_of_matplotlib_are_drawn_on(model, wrong):
    with pytest.raises(TypeError, match=r"^ax must be axes of matplotlib, got .* plt\.subplots\(\)"):
        fastnn.plot_decision_boundary(model, X, y, ax=wrong)
    with pytest.raises(TypeError, match="^ax must be axes of matplotlib"):
        fastnn.render_boundary(model, (-1, 2), (-1, 1), size=8).plot(wrong)


@pytest.mark.needs("pandas")
def test_names_may_be_no_formulas_and_begin_with_an_underscore(ax):
    points = pd.DataFrame(X, columns=[r"$\bad$", "$x^2$"])
    labels = np.array(["_low", r"$\worse$"])[y]
    neighbours = KNeighborsClassifier().fit(points, labels)
    fastnn.plot_decision_boundary(neighbours, points, labels, ax=ax, resolution=10)
    ax.figure.canvas.draw()
    assert ax.get_xlabel() == r"\$\bad\$"
    assert ax.get_ylabel() == "$x^2$", "a valid formula stays one"
    assert legend(ax) == [r"\$\worse\$", r"$\_$low"]


@pytest.mark.parametrize(
    ("name", "is_formula"),
    [("speed $v$ (m/s)", True), ("$x_1$ and $x_2$", True), ("US$ and CA$", False), ("$5-$10", False),
     ("price in $ (US$)", False), ("$5 to $10", False), (r"a\$b", False), (r"$\frac$", False), ("$$", False),
     ("a$b\nc$d", False), ("$", False)],
)  # fmt: skip
def test_prices_in_names_are_no_formulas(ax, name, is_formula):
    text = printable(name)
    assert (text == name) == is_formula
    ax.set_title(text)
    ax.figure.canvas.draw()
    drawn, kind = ax.title._preprocess_math(text)
    assert (drawn, bool(kind)) == (name, is_formula)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X[:, :1], y), "a picture needs 2 features, but there are 1"),
        ((np.column_stack([X, X]), y), "X has 4 features, but the model takes 2"),
        ((X, y[:-1]), r"X has 200 samples, but y has shape \(199,\)"),
        ((X + np.nan, y), "X contains NaN"),
        ((X, np.where(np.arange(200) == 7, 1.25, y)), "y holds numbers that are not classes, such as 1.25"),
        ((X, np.where(np.arange(200) == 7, np.inf, y)), "y holds numbers that are not classes, such as inf"),
    ],
)
def test_unsuitable_samples_and_labels_are_refused(model, ax, arguments, message):
    with pytest.raises(ValueError, match=message):
        fastnn.plot_decision_boundary(model, *arguments, ax=ax)


def test_a_model_that_predicts_no_classes_is_refused(ax):
    with pytest.raises(ValueError, match="model predicts numbers that are not classes"):
        fastnn.plot_decision_boundary(lambda points: points[:, 0], X, y, ax=ax)


# --- histories of trainings ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def history():
    model = fastnn.Model([2, 3, 2], random_state=0)
    return model.train(X, y, num_passes=30, epsilon=0.001, schedule="cosine_decay", validation_data=(X, y))


@pytest.fixture
def axes():
    return Figure().subplots(2, 2)


def curves(ax):
    """Return the lines of more than two points."""
    return [line for line in ax.get_lines() if len(line.get_xdata()) > 2]


def test_a_history_has_four_plots(history, axes):
    drawn = fastnn.plot_history(history, axes)
    assert list(drawn) == list(axes.ravel())
    losses, rates, norms, ratios = drawn
    labels = [ax.get_ylabel() for ax in drawn]
    assert labels == ["loss", "learning rate", "gradient norm", "update / weights"]
    shown = {
        losses: [history.loss, history.validation_loss],
        rates: [history.learning_rate],
        norms: [history.gradient_norm],
        ratios: list(history.update_ratio.T),
    }
    for ax, expected in shown.items():
        for line, values in zip(curves(ax), expected, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 31))
            np.testing.assert_array_equal(line.get_ydata(), values)
    assert legend(losses) == ["training", "validation"]
    assert legend(ratios) == ["layer 0", "layer 1"]
    assert [ax.get_yscale() for ax in drawn] == ["log", "linear", "log", "log"]
    axes[0, 0].figure.canvas.draw()


def test_a_history_may_have_a_single_epoch_and_no_validation(axes):
    model = fastnn.Model([2, 3, 2], random_state=0, backend="numpy")
    drawn = fastnn.plot_history(model.train(X, y, num_passes=1), axes)
    assert drawn[0].get_legend() is None
    assert len(drawn[0].get_lines()) == 1
    axes[0, 0].figure.canvas.draw()


@pytest.mark.parametrize(
    ("loss", "optimizer"), [("poisson", "adam"), ("squared_error", "lbfgs"), ("quantile", "sgd")]
)
def test_only_losses_above_0_have_a_logarithmic_scale(loss, optimizer, axes):
    model = fastnn.Model([2, 3, 1], loss=loss, backend="numpy", random_state=0)
    targets = 3.0 * np.ones(200)
    history = model.train(X, targets, num_passes=20, epsilon=0.001, optimizer=optimizer)
    assert loss != "poisson" or (history.loss < 0).any()
    drawn = fastnn.plot_history(history, axes)
    assert drawn[0].get_yscale() == ("log" if (history.loss > 0).all() else "linear")
    axes[0, 0].figure.canvas.draw()


def test_a_history_has_a_new_figure_by_default(history):
    drawn = fastnn.plot_history(history)
    assert len(drawn) == 4
    assert plt.gcf().axes == list(drawn)


def test_empty_histories_and_other_numbers_of_axes_are_refused(history):
    empty = fastnn.Model([2, 3, 2], backend="numpy").train(X, y, num_passes=0)
    with pytest.raises(ValueError, match="history has no epochs: train for at least one"):
        fastnn.plot_history(empty)
    with pytest.raises(ValueError, match="axes must be four, got 2"):
        fastnn.plot_history(history, Figure().subplots(1, 2))
