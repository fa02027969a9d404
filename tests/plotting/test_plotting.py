"""Plots of decision boundaries, and of the surfaces of regressors."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from extras import optional
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from views import X, y

import fastnn
from fastnn.boundary.drawing import escape_dollars

pa, pd = map(optional, ("pyarrow", "pandas"))

# Width of the margin around the samples, as a fraction of their range.
MARGIN = 0.1


@pytest.fixture(scope="module")
def model():
    model = fastnn.Model([2, 3, 2], random_state=0)
    model.train(X, y, num_passes=500)
    return model


def regions(ax):
    (image,) = ax.get_images()
    return image.to_rgba(image.get_array(), bytes=True)[:, :, :3]


def edges(ax):
    return ax.get_images()[0].get_extent()


def find_samples(ax):
    return [c for c in ax.collections if isinstance(c, PathCollection)]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_plot_has_regions_samples_lines_and_a_legend(model, ax):
    assert fastnn.plot_decision_boundary(model, X, y, ax=ax) is ax
    picture, (left, right, bottom, top) = regions(ax), edges(ax)
    assert picture.shape == (300, 400, 3), "as many pixels as the axes have"
    for low, high, values in zip((left, bottom), (right, top), X.T, strict=True):
        margin = MARGIN * np.ptp(values)
        assert (low, high) == pytest.approx((values.min() - margin, values.max() + margin))
    # Pixels have one of two colours, by the class predicted at their centres.
    xs = left + (right - left) * (np.arange(400) + 0.5) / 400
    ys = bottom + (top - bottom) * (np.arange(300) + 0.5) / 300
    predicted = model.predict(np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)).reshape(300, 400)
    shades = [np.unique(picture[predicted == k], axis=0) for k in (0, 1)]
    assert [len(colours) for colours in shades] == [1, 1]
    assert (shades[0] != shades[1]).any()
    assert legend(ax) == ["class 0", "class 1"]
    points = [c for c in ax.collections if len(c.get_offsets()) > 1]
    assert [len(c.get_offsets()) for c in points] == [(y == 0).sum(), (y == 1).sum()]
    assert len(ax.collections) == 3, "samples of two classes, and one line"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$", "$x_2$")


def test_limits_and_resolution_may_be_chosen(model, ax):
    options = {"ax": ax, "xlim": (0, 1), "resolution": (60, 40)}
    fastnn.plot_decision_boundary(model, X, y, **options)
    assert (*edges(ax)[:2], *ax.get_xlim()) == (0, 1, 0, 1)
    assert edges(ax)[2] < X[:, 1].min()
    ax.clear()
    fastnn.plot_decision_boundary(model, X, y, ylim=(-1, 2), **options)
    assert tuple(edges(ax)) == (0, 1, -1, 2)
    image = fastnn.render_boundary(model, (0, 1), (-1, 2), (60, 40))
    np.testing.assert_array_equal(ax.get_images()[0].get_array(), image.data)


def test_each_plot_has_a_figure_of_its_own_unless_axes_are_given(model):
    image = fastnn.render_boundary(model, (-1, 2), (-1, 1), size=8)
    drawn = [fastnn.plot_decision_boundary(model, X, y, resolution=10) for _ in range(2)] + [image.plot()]
    assert len({ax.figure for ax in drawn}) == len(plt.get_fignums()) == 3
    assert plt.gca() is drawn[-1]


@pytest.mark.parametrize("layout", [None, "constrained"])
def test_the_legend_covers_no_sample(layout):
    grid = np.stack(np.meshgrid(np.arange(30.0), np.arange(30.0)), axis=-1).reshape(-1, 2)
    for points, is_beside in ((grid, True), (grid[(grid <= 14).any(axis=1)], False)):
        figure = Figure(figsize=(12, 4), layout=layout)
        ax = fastnn.plot_decision_boundary(
            lambda P: P[:, 0] > 15, points, points[:, 0] > 15, ax=figure.subplots(1, 2)[0], resolution=30
        )
        figure.draw_without_rendering()
        box = ax.get_legend().get_window_extent()
        assert not any(box.contains(*point) for point in ax.transData.transform(points))
        assert (box.x0 >= ax.bbox.x1) == is_beside
        assert box.x1 <= figure.axes[1].get_tightbbox().x0 + 1, "room is made for it"


def test_samples_must_have_the_labels_of_the_estimator(ax):
    names = np.array(["red", "blue"])[y]
    message = r"y holds labels such as \[[01]\], but the model's classes are \['blue'"
    others = names.astype(object)  # as pandas' columns give them
    for response, fitted, given in (("class", names, others), ("probability", others, names)):
        ax.clear()
        options = {"ax": ax, "resolution": 40, "response": response}
        estimator = KNeighborsClassifier().fit(X, fitted)
        fastnn.plot_decision_boundary(estimator, X, given, **options)
        assert legend(ax) == ["blue", "red"]
        with pytest.raises(ValueError, match=message):
            fastnn.plot_decision_boundary(estimator, X, y, **options)


def test_the_legend_has_all_classes_of_the_model_and_of_the_samples(ax):
    fastnn.plot_decision_boundary(lambda points: np.full(len(points), 5), X, y, ax=ax, resolution=20)
    assert legend(ax) == ["class 0", "class 1", "class 5"]
    assert len(np.unique(regions(ax).reshape(-1, 3), axis=0)) == 1


@pytest.mark.parametrize(("response", "lowest"), [("confidence", 0.5), ("margin", 0)])
def test_another_response_is_grey_with_a_labelled_scale(model, response, lowest):
    figure = Figure()
    fastnn.plot_decision_boundary(model, X, y, ax=figure.subplots(), response=response, resolution=300)
    (image,) = figure.axes[0].get_images()
    assert image.norm.vmin == pytest.approx(lowest, abs=0.02)
    assert image.norm.vmax == 1
    assert np.ptp(regions(figure.axes[0]), axis=2).max() == 0
    assert figure.axes[1].get_ylabel() == response


@pytest.mark.parametrize("point", [(0.0, 0.0), (1e6, -1e-6)])
def test_a_single_sample_is_the_centre_of_its_plot(model, ax, point):
    fastnn.plot_decision_boundary(model, [point], [1], ax=ax, resolution=10)
    left, right, bottom, top = edges(ax)
    assert (*ax.get_xlim(), *ax.get_ylim()) == (left, right, bottom, top)
    assert ((left + right) / 2, (bottom + top) / 2) == pytest.approx(point)
    # A single sample has no extent: the scale is the magnitude of each coordinate, at least 1.
    assert (right - left, top - bottom) == pytest.approx(2 * MARGIN * np.maximum(np.abs(point), 1))
    np.testing.assert_array_equal(np.concatenate([c.get_offsets() for c in find_samples(ax)]), [point])
    assert regions(ax).shape == (8, 10, 3), "in the proportions of the axes"


def test_limits_that_overflow_the_networks_dtype_are_refused_as_predict_refuses_them(ax):
    options = {"activation": "relu", "output_activation": "identity", "dtype": np.float32}
    model = fastnn.Model([2, 3, 2], random_state=0, **options)
    for response in ("class", "probability"):
        with pytest.raises(ValueError, match="too large for float32"):
            fastnn.render_boundary(model, (-1e39, 1e39), (0, 1), 20, response=response)
        with pytest.warns(RuntimeWarning, match="scores are too large for float32"):
            fastnn.render_boundary(model, (-3e38, 3e38), (-3e38, 3e38), 20, response=response)
    with pytest.raises(ValueError, match="too large for float32"):
        fastnn.plot_decision_boundary(model, np.array([[1e39, 0], [-1e39, 0]]), [0, 1], ax=ax)


@pytest.mark.needs("pyarrow", "pandas")
def test_columns_have_names_and_must_be_the_features_of_the_model(model, ax):
    table = pa.table({"width": X[:, 0], "height": X[:, 1]})
    fastnn.plot_decision_boundary(model, table, y, ax=ax, resolution=20)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "height")
    with pytest.raises(ValueError, match=r"X must hold only numbers, but has the columns \['width'\]"):
        fastnn.plot_decision_boundary(model, table.set_column(0, "width", [["a"] * len(X)]), y, ax=ax)
    frame = table.to_pandas().assign(depth=X[:, 0])
    estimator = KNeighborsClassifier().fit(frame, y)
    fastnn.plot_decision_boundary(estimator, frame, y, ax=ax, resolution=20, features=("height", "depth"))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("height", "depth")
    with pytest.raises(ValueError, match="X must have the model's features as its columns, .'width', 'hei"):
        fastnn.plot_decision_boundary(estimator, frame[frame.columns[::-1]], y, ax=ax, resolution=20)
    dates = frame.assign(day=np.datetime64("2024-01-01"), note=None)
    with pytest.raises(ValueError, match=r"but has the columns \['day'\]"):
        fastnn.plot_decision_boundary(estimator, dates, y, ax=ax)


def test_samples_that_the_plane_says_nothing_about_are_pale(ax):
    samples, labels = load_iris(return_X_y=True)
    estimator = KNeighborsClassifier().fit(samples, labels)
    fastnn.plot_decision_boundary(estimator, samples, labels, ax=ax)
    assert ax.get_legend().get_title().get_text() == "at $x_3$ = 3.758\nat $x_4$ = 1.199"
    assert legend(ax)[-1].startswith("pale: another prediction")
    full, pale = (
        np.concatenate([c.get_offsets() for c in find_samples(ax) if (c.get_alpha() is None) == is_full])
        for is_full in (True, False)
    )
    assert len(full) + len(pale) == len(samples)
    shown = estimator.predict(np.column_stack([samples[:, :2], np.tile(samples.mean(axis=0)[2:], (150, 1))]))
    expected = samples[shown != estimator.predict(samples)][:, :2]
    assert sorted(pale.tolist()) == sorted(expected.tolist())
    assert len(pale) > 75, "most samples"


FOUR = "\n".join(f"at $x_{k}$ = 1" for k in (3, 4, 5, 6))


@pytest.mark.parametrize(("n_more", "title"), [(0, ""), (4, FOUR), (5, "5 other features\nat fixed values")])
def test_a_plane_of_few_features_names_their_values_and_one_of_many_does_not(ax, n_more, title):
    wide = np.column_stack([X, np.zeros((200, n_more))])
    fastnn.plot_decision_boundary(lambda P: P[:, 0] > 0, wide, y, ax=ax, fill=1.0, resolution=20)
    assert ax.get_legend().get_title().get_text() == title
    assert not [c for c in ax.collections if c.get_alpha() is not None and len(c.get_offsets())]


@pytest.mark.needs("pandas")
def test_columns_of_text_are_named_with_the_remedy(ax):
    frame = pd.DataFrame(X, columns=["width", "height"]).assign(place=np.where(X[:, 0] > 0, "home", "work"))
    model = fastnn.TabularClassifier(preset="fast", random_state=0, time_limit=2).fit(frame, y)
    with pytest.raises(ValueError, match="X must hold only numbers, but has the columns .'place'.: in a pi"):
        fastnn.plot_decision_boundary(model, frame, y, ax=ax, features=("width", "height"))
    square = {"xlim": (0, 1), "ylim": (0, 1), "features": ("width", "height"), "fill": {"place": 0}}
    with pytest.raises(ValueError, match="takes columns that are not numeric, .'place'.: in a picture"):
        fastnn.render_boundary(model, size=4, **square)

    def predict(points):
        return model.predict(pd.DataFrame(points, columns=["width", "height"]).assign(place="home"))

    fastnn.plot_decision_boundary(predict, frame[["width", "height"]], y, ax=ax, resolution=20)


NETWORK = fastnn.Model([2, 3, 1], loss="squared_error", random_state=0)
FOREST = RandomForestRegressor(5, random_state=0)
CHAIN = make_pipeline(
    StandardScaler(), fastnn.MLPRegressor("squared_error", (4,), solver="lbfgs", random_state=0)
)


@pytest.mark.parametrize("regressor", [NETWORK, CHAIN, FOREST], ids=type)
def test_a_regressor_is_drawn_as_a_surface(ax, regressor):
    if regressor is not NETWORK:
        regressor.fit(X, 2.0 * y)
    targets = np.linspace(-1, 3, len(X))
    fastnn.plot_decision_boundary(regressor, X, targets, ax=ax, resolution=(30, 20), xlim=(0, 3), ylim=(0, 2))
    (image,) = ax.get_images()
    centres = np.stack(np.meshgrid(np.arange(0.05, 3, 0.1), np.arange(0.05, 2, 0.1)), axis=-1)
    expected = regressor.predict(centres.reshape(-1, 2)).reshape(20, 30)
    np.testing.assert_allclose(image.get_array(), expected, rtol=0, atol=1e-12)  # some are nearly 0
    assert image.get_clim() == (-1, 3)
    *_, samples = ax.collections
    np.testing.assert_array_equal(samples.get_offsets(), X)
    np.testing.assert_array_equal(samples.to_rgba(targets), image.to_rgba(targets))
    assert ax.figure.axes[1].get_ylabel() == "prediction, and target of a sample"
    assert ax.get_legend() is None
    ax.figure.canvas.draw()


@pytest.mark.needs("pandas")
def test_a_surface_lies_in_a_plane_of_the_features(ax):
    frame, targets = load_diabetes(return_X_y=True, as_frame=True)
    frame = frame[["age", "bmi", "bp"]]
    options = {"ax": ax, "features": ("bmi", "bp"), "resolution": 9, "cmap": "plasma"}
    fastnn.plot_decision_boundary(LinearRegression().fit(frame, targets), frame, targets, **options)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("bmi", "bp")
    assert ax.get_legend().get_title().get_text().startswith("at age = ")
    assert ax.get_images()[0].get_cmap().name == "plasma"


SURFACE = {"model": NETWORK, "y": X[:, 0]}
REFUSED = [
    ({"X": X[:, :1]}, "X has 1 features, but the model takes 2"),
    ({"y": y[:-1]}, r"X has 200 samples, but y has shape \(199,\)"),
    ({"X": X + np.nan}, "X contains NaN"),
    ({"y": np.where(np.arange(200) == 7, 1.25, y)}, "y holds numbers that are not classes, such as 1.25"),
    ({"model": lambda points: points[:, 0]}, "model predicts numbers that are not classes"),
    ({"method": "exact"}, "method must be one of"),
    ({"xlim": (1, 0)}, "xlim must be two finite numbers, the lower first"),
    ({"resolution": 0}, "^resolution must be an integer of at least 1"),
    ({"colours": ["red"]}, "colours must be as many as there are classes"),
    ({"response": "probability", "class_of_interest": 7}, "class_of_interest must be one of"),
    (SURFACE | {"y": X[:, 0][1:]}, r"X has 200 samples, but y has shape \(199,\)"),
    (SURFACE | {"y": np.full(200, np.nan)}, "y must hold finite numbers"),
    (SURFACE | {"response": "probability"}, "response is for classes, but the model is a regressor: leave"),
    (SURFACE | {"method": "certified"}, "method is for classes"),
    (SURFACE | {"class_of_interest": 0}, "class_of_interest is for classes"),
    (SURFACE | {"classes": [0, 1]}, "classes is for classes"),
    (SURFACE | {"colours": "Set2"}, "colours is for classes"),
    (SURFACE | {"markers": "auto"}, "markers is for classes"),
    (SURFACE | {"cmap": "virids"}, "cmap must be a Colormap"),
    ({"model": fastnn.Model([2, 3, 2], loss="squared_error"), "y": X}, "a surface shows one number, but the"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_a_refused_plot_leaves_no_figure(model, options, message):
    with pytest.raises(ValueError, match=message):
        fastnn.plot_decision_boundary(**{"model": model, "X": X, "y": y} | options)
    assert not plt.get_fignums()


def test_only_axes_of_matplotlib_are_drawn_on(model):
    image = fastnn.render_boundary(model, (-1, 2), (-1, 1), size=8)
    with pytest.raises(ValueError, match="X and y are drawn together"):
        image.plot(X=X)
    message = r"^ax must be axes of matplotlib, got .* plt\.subplots\(\)"
    for wrong in (5, plt, Figure(), [1, 2]):
        for draw in (lambda ax: fastnn.plot_decision_boundary(model, X, y, ax=ax), image.plot):
            with pytest.raises(TypeError, match=message):
                draw(wrong)
            for name in ("3d", "polar"):
                with pytest.raises(TypeError, match=f"^ax must be rectilinear axes, .* '{name}'"):
                    draw(Figure().add_subplot(projection=name))
    assert not plt.get_fignums()


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


FORMULAS = ["speed $v$ (m/s)", "$x_1$ and $x_2$"]
PRICES = ["$5-$10", "price in $ (US$)", r"a\$b", r"$\frac$", "$$", "a$b\nc$d", "$"]


@pytest.mark.parametrize("name", [*FORMULAS, *PRICES])
def test_prices_in_names_are_no_formulas(ax, name):
    title = ax.set_title(escape_dollars(name))
    assert (title.get_text() == name) == (name in FORMULAS)
    ax.figure.canvas.draw()  # refuses an invalid formula
    plain = ax.text(0, 0, name, parse_math=False, fontproperties=title.get_fontproperties())
    assert (plain.get_window_extent().width == title.get_window_extent().width) == (name in PRICES)
