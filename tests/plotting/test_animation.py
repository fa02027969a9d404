"""Trainings as moving pictures: frames, models after the training, interrupts and errors."""

import shutil
import warnings
from contextlib import nullcontext
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from extras import optional
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import make_blobs, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KNeighborsClassifier

import fastnn
from fastnn.boundary.colours import REGION_STRENGTH, class_colours
from fastnn.estimators import fitting
from fastnn.estimators.fitting import Curves
from fastnn.plotting import film
from fastnn.plotting.animation import _title, snapshot_epochs
from fastnn.plotting.moving import HOLD_MILLISECONDS, check_target, write_frames

pd = optional("pandas")

X, y = make_moons(120, noise=0.2, random_state=0)
SMALL = (200, 150)


def tutorial(**options):
    """Return the tutorial's model, not yet trained."""
    return fastnn.Model([2, 3, 2], random_state=0, **options)


def parameters(model):
    """Return the weights and biases of a model."""
    return [*model.W, *model.b]


def assert_same(model, other):
    """Assert that two models have bitwise equal parameters."""
    for a, b in zip(parameters(model), parameters(other), strict=True):
        np.testing.assert_array_equal(a, b)


def frames(path):
    """Return the frames of a file as RGB arrays, and their durations in milliseconds."""
    with Image.open(path) as image:
        found, durations = [], []
        for k in range(image.n_frames):
            image.seek(k)
            found.append(np.asarray(image.convert("RGB")))
            durations.append(image.info.get("duration"))  # None for a single frame
    return found, durations


def share(frame, colour):
    """Return the fraction of a frame's pixels that have nearly this colour."""
    return (np.abs(frame.astype(int) - 255 * np.asarray(colour)).max(axis=2) < 8).mean()


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_a_file_has_frames_of_regions_and_samples(tmp_path, suffix):
    path = tmp_path / f"training{suffix}"
    model = tutorial()
    returned = fastnn.animate_training(model, X, y, path, num_passes=1000, frames=4, fps=5, size=SMALL)
    assert returned == path
    found, durations = frames(path)
    assert [frame.shape for frame in found] == [(150, 200, 3)] * 4
    assert durations == [200] * 3 + [200 + HOLD_MILLISECONDS]
    pale = 1 - REGION_STRENGTH * (1 - class_colours(2))
    assert min(share(found[-1], colour) for colour in pale) > 0.1
    assert min(share(found[-1], colour) for colour in class_colours(2)) > 0.001, "the samples are drawn"
    assert all(share(frame[:5], (1, 1, 1)) > 0.9 for frame in found)
    assert (found[-1][:2] == 255).all(), "the top of the frame is exactly white"
    # The axes do not move: the left edge, with the numbers of an axis, is the same in all frames.
    for frame in found:
        np.testing.assert_array_equal(frame[30:, :15], found[0][30:, :15])
    assert (found[0][30:] != found[-1][30:]).any(axis=2).mean() > 0.05
    assert list(tmp_path.iterdir()) == [path]


def test_the_regions_of_a_frame_are_those_of_a_picture(tmp_path):
    model = tutorial()
    model.train(X, y, num_passes=1000)
    (frame,), _ = frames(
        fastnn.animate_training([model], X, y, tmp_path / "one.png", titles=["it"], size=SMALL)
    )
    pale = (255 * (1 - REGION_STRENGTH * (1 - class_colours(2)))).astype(int)
    found = np.stack([(np.abs(frame - colour) < 4).all(axis=2) for colour in pale])
    rows, columns = np.nonzero(found.any(axis=0))
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    low, high = X.min(axis=0), X.max(axis=0)
    low, high = low - 0.1 * (high - low), high + 0.1 * (high - low)
    image = fastnn.render_boundary(model, (low[0], high[0]), (low[1], high[1]), (right - left, bottom - top))
    shown = found[:, top:bottom, left:right]
    inside = shown.any(axis=0)
    assert inside.mean() > 0.8
    # The frame of the axes hides up to a pixel at the edges.
    assert (shown[1][inside] == image.data[::-1][inside]).mean() > 0.99


ADAM = {"batch_size": 16, "optimizer": "adam", "epsilon": 0.01, "schedule": "cosine_decay"}
AVERAGED = {"batch_size": 32, "optimizer": "momentum", "ema_decay": 0.9, "reduction": "mean"}


@pytest.mark.parametrize(
    ("network", "options"),
    [
        ({}, {}),
        ({"dropout": 0.2}, ADAM),
        ({"batch_norm": True}, AVERAGED),
        ({}, {"optimizer": "lbfgs"}),
    ],
)
def test_animating_a_model_trains_it_as_train_does(tmp_path, network, options):
    options = {"num_passes": 50, "random_state": 3, **options}
    model, expected = (fastnn.Model([2, 8, 2], random_state=0, **network) for _ in range(2))
    path = fastnn.animate_training(model, X, y, tmp_path / "a.gif", frames=3, size=SMALL, **options)
    expected.train(X, y, **options)
    assert_same(model, expected)
    np.testing.assert_array_equal(model._statistics, expected._statistics)
    assert len(frames(path)[0]) == 3


def test_early_stopping_restores_the_best_parameters(tmp_path, capsys):
    model, expected = (fastnn.Model([2, 8, 2], random_state=0) for _ in range(2))
    stopped = []
    for one in (model, expected):
        options = {
            "num_passes": 400, "random_state": 3, "validation_data": (X[::3], 1 - y[::3]), "print_loss": True,
            "callbacks": [fastnn.EarlyStopping(patience=3), lambda history: stopped.append(len(history))],
            **ADAM,
        }  # fmt: skip
        if one is model:
            path = fastnn.animate_training(one, X, y, tmp_path / "a.gif", frames=5, size=SMALL, **options)
        else:
            one.train(X, y, **options)
    assert_same(model, expected)
    assert stopped[-1] < 400
    assert 1 <= len(frames(path)[0]) <= 5
    assert "Loss after iteration 0" in capsys.readouterr().out


def test_a_training_continues_from_the_present_parameters(tmp_path):
    model, expected = tutorial(backend="numpy"), tutorial(backend="numpy")
    first_weights = model.W[0]
    for one in (model, expected):
        one.train(X, y, num_passes=5)
    fastnn.animate_training(model, X, y, tmp_path / "a.gif", num_passes=5, frames=2, size=SMALL)
    expected.train(X, y, num_passes=5)
    assert_same(model, expected)
    assert np.shares_memory(first_weights, model.W[0])


def test_a_callback_ends_the_training(tmp_path):
    path = tmp_path / "a.gif"
    model = tutorial()
    fastnn.animate_training(
        model, X, y, path, num_passes=10**7, frames=5, size=SMALL, callbacks=[lambda history: True]
    )
    assert 1 <= len(frames(path)[0]) < 5


def test_a_diverging_training_leaves_finite_parameters_and_no_file(tmp_path):
    model = tutorial()
    with pytest.raises(fastnn.DivergenceError):
        fastnn.animate_training(
            model, X, y, tmp_path / "a.gif", num_passes=50, epsilon=1e300, reg_lambda=1.0, size=SMALL
        )
    assert all(np.isfinite(array).all() for array in parameters(model))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [{"max_iter": 30}, {"max_iter": 30, "solver": "sgd", "learning_rate": "adaptive"}, {"tol": 0.1}],
)
def test_animating_an_estimator_fits_it_as_fit_does(tmp_path, options):
    names = np.array(["red", "blue"])[y]
    estimator, expected = (
        fastnn.MLPClassifier((5,), random_state=0, learning_rate_init=0.02, **options) for _ in range(2)
    )
    path = fastnn.animate_training(estimator, X, names, tmp_path / "a.gif", frames=3, size=SMALL)
    converges = "tol" in options
    with nullcontext() if converges else pytest.warns(ConvergenceWarning):
        expected.fit(X, names)
    for a, b in zip(
        estimator.coefs_ + estimator.intercepts_, expected.coefs_ + expected.intercepts_, strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert estimator.loss_curve_ == expected.loss_curve_
    assert estimator.n_iter_ == expected.n_iter_
    assert 2 <= len(frames(path)[0]) <= 3


def test_a_second_animation_continues_the_fit(tmp_path):
    estimator = fastnn.MLPClassifier((5,), random_state=0, max_iter=5, tol=0.0)
    for n_epochs in (5, 10):
        fastnn.animate_training(estimator, X, y, tmp_path / "a.gif", frames=1, size=SMALL)
        assert len(estimator.loss_curve_) == n_epochs


def test_a_long_fit_of_several_trainings_has_the_frames_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "MAX_EPOCHS", 7)
    titles = []
    monkeypatch.setattr(film.Film, "show", lambda self, model, title: titles.append(title))
    estimator = fastnn.MLPClassifier((5,), random_state=0, max_iter=30, tol=0.0)
    fastnn.animate_training(estimator, X, y, tmp_path / "a.gif", frames=5, size=SMALL)
    epochs = [int(title.split(" after ")[1].split()[0]) for title in titles]
    assert epochs == snapshot_epochs(1, 30, 5)
    assert estimator.n_iter_ == len(estimator.loss_curve_) == 30


def test_a_list_of_models_of_any_kind_gives_a_frame_each(tmp_path):
    samples, labels = make_blobs(60, centers=3, random_state=0)
    neighbours = KNeighborsClassifier(3).fit(samples, labels)
    network = fastnn.Model([2, 3, 3], random_state=0, backend="numpy")
    models = [neighbours, network, lambda points: np.where(points[:, 0] > 0, 2, 0)]
    path = tmp_path / "a.gif"
    fastnn.animate_training(models, samples, labels, path, titles=["a", "b", "c"], size=SMALL)
    found, _ = frames(path)
    assert len(found) == 3
    pale = 1 - REGION_STRENGTH * (1 - class_colours(3))
    assert [share(found[2], colour) > 0.05 for colour in pale] == [True, False, True]
    fastnn.animate_training(models, samples, labels, path, size=SMALL)
    assert len(frames(path)[0]) == 3


@pytest.mark.needs("pandas")
def test_frames_may_show_a_response_of_named_features(tmp_path):
    table = pd.DataFrame(np.column_stack([X, X[:, 0]]), columns=["a", "b", "c"])
    model = fastnn.Model([3, 3, 2], random_state=0)
    path = tmp_path / "a.gif"
    fastnn.animate_training(
        model, table, y, path, num_passes=20, frames=3, size=(240, 180), features=("c", "b"), fill=0.5,
        response="confidence",
    )  # fmt: skip
    found, _ = frames(path)
    assert len(found) == 3
    assert len(np.unique(found[-1].reshape(-1, 3), axis=0)) > 50, "a response has many colours"


def test_samples_of_another_class_off_the_plane_are_pale_in_each_frame():
    table, labels = np.column_stack([X, X[:, 0]]), np.zeros(len(X), int)
    scene = film.Scene(table, labels, "class", None, None, [0, 0, 9.0], None, None)
    models = [lambda points, k=k: np.where(points[:, k] > 8, 0, 1) for k in (0, 2)]
    scene.classes = np.array([0, 1])
    scene.find_classes([])
    drawing = film.Film(scene, SMALL, [])
    shares = []
    for each in models:
        drawing.show(each, "")
        drawing.figure.canvas.draw()
        shares.append(share(np.asarray(drawing.figure.canvas.buffer_rgba())[..., :3], class_colours(2)[0]))
    assert shares[0] > 0.005, "no sample has another class than its region"
    assert shares[1] < 0.1 * shares[0], "all have: the colour is that of the legend"


def test_a_small_frame_may_have_many_classes_and_a_long_title(tmp_path):
    samples, labels = make_blobs(60, centers=12, random_state=0)
    models = [KNeighborsClassifier(k).fit(samples, labels) for k in (1, 5)]
    path = fastnn.animate_training(
        models, samples, labels, tmp_path / "a.gif", titles=["x" * 200, ""], size=240
    )
    assert len(frames(path)[0]) == 2


@pytest.mark.parametrize(("loss", "text"), [(1.25, "1.2500"), (3.21e-5, "3.21e-05"), (0.0, "0.0000")])
def test_titles_show_small_losses_with_their_digits(loss, text):
    scene = SimpleNamespace(accuracy=lambda model: "3 of 4 correct")
    assert _title(None, loss, 1000, scene) == f"loss {text}, 3 of 4 correct after 1,000 epochs"


def test_progress_shows_bars(tmp_path, capsys):
    fastnn.animate_training(
        tutorial(), X, y, tmp_path / "a.gif", num_passes=50, frames=2, size=SMALL, progress=True
    )
    assert "frame" in capsys.readouterr().err


def test_snapshots_are_as_many_as_asked_for_and_closer_at_first():
    for last in (0, 1, 5, 39, 40, 41, 1000, 20000):
        for count in (1, 2, 7, 40):
            for first in (0, 1):
                if first > last:
                    continue
                passes = snapshot_epochs(first, last, count)
                assert len(passes) == min(count, last - first + 1)
                assert passes[-1] == last
                assert passes[0] == (last if count == 1 else first)
                gaps = np.diff(passes)
                assert (gaps > 0).all()
                assert (np.diff(gaps) >= -1).all(), "gaps grow, up to rounding"


# --- interrupts ------------------------------------------------------------------------------------


def interrupt(history):
    """Raise KeyboardInterrupt after 500 epochs; a callback."""
    if history.passes[-1] > 500:
        raise KeyboardInterrupt


def test_an_interrupted_training_leaves_a_trained_model_and_no_file(tmp_path):
    model = tutorial()
    before = [array.copy() for array in parameters(model)]
    with pytest.raises(KeyboardInterrupt):
        fastnn.animate_training(
            model, X, y, tmp_path / "a.gif", num_passes=10**7, size=SMALL, callbacks=[interrupt]
        )
    assert list(tmp_path.iterdir()) == []
    assert all((a != b).any() for a, b in zip(before, parameters(model), strict=True))
    assert (model.predict(X) == y).mean() > 0.7


def test_an_interrupted_fit_leaves_a_fitted_estimator_and_no_file(tmp_path, monkeypatch):
    extend = Curves.chunk_ended

    def interrupted(self, training):
        extend(self, training)
        if len(self._fit.estimator.loss_curve_) > 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(Curves, "chunk_ended", interrupted)
    estimator = fastnn.MLPClassifier((5,), random_state=0, max_iter=50, tol=0.0)
    with pytest.raises(KeyboardInterrupt):
        fastnn.animate_training(estimator, X, y, tmp_path / "a.gif", size=SMALL)
    assert list(tmp_path.iterdir()) == []
    assert 20 < len(estimator.loss_curve_) < 50
    assert estimator.predict(X).shape == y.shape


@pytest.mark.parametrize(
    "suffix",
    [
        ".gif", ".png", ".webp",
        pytest.param(
            ".mp4", marks=pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
        ),
    ],
)  # fmt: skip
def test_an_interrupted_drawing_leaves_the_trained_model_and_the_older_file(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"older")
    n_drawn = 0
    draw = film.Film.show

    def show(self, model, title):
        nonlocal n_drawn
        n_drawn += 1
        if n_drawn == 2:
            raise KeyboardInterrupt
        draw(self, model, title)

    monkeypatch.setattr(film.Film, "show", show)
    model, expected = tutorial(), tutorial()
    with pytest.raises(KeyboardInterrupt):
        fastnn.animate_training(model, X, y, path, num_passes=100, frames=3, size=SMALL)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]
    expected.train(X, y, num_passes=100)
    assert_same(model, expected)


@pytest.mark.parametrize(
    ("suffix", "fps", "duration", "warns"),
    [
        (".gif", 30, 30, False), (".gif", 15, 70, False), (".gif", 60, 20, False), (".gif", 100, 10, True),
        (".png", 60, 17, False), (".png", 90, 11, False), (".png", 100, 10, True), (".png", 1000, 1, True),
        (".webp", 90, 11, False), (".webp", 120, 8, True),
    ],
)  # fmt: skip
def test_frame_rates(tmp_path, suffix, fps, duration, warns):
    figure, shades = Figure((1, 1)), [(shade, "") for shade in ("0", "0.5", "1")]
    FigureCanvasAgg(figure)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        path, fps = check_target(tmp_path / f"a{suffix}", fps, SMALL)
    write_frames(figure, lambda shade, _: figure.set_facecolor(shade), shades, path, fps, progress=False)
    assert frames(path)[1] == [duration, duration, duration + HOLD_MILLISECONDS]
    slowed = [
        one for one in caught if "browsers show every frame that lasts 10 ms or less" in str(one.message)
    ]
    assert [one.filename for one in slowed] == [__file__] * warns


# --- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "a.avi"}, r"path must end in one of .gif, .png, .webp, .mp4, got 'a.avi'"),
        ({"path": "none/a.gif"}, "there is no folder .*none"),
        ({"path": "folder.gif"}, "folder.gif is a folder, not the name of a picture"),
        ({"frames": 0}, "frames must be .* got 0"),
        ({"fps": 0}, "fps must be .* got 0"),
        ({"fps": 101}, r"fps must be at most 100 in a .gif file, .* 10 ms or more, got 101: lower fps"),
        ({"fps": 1001, "path": "a.PNG"}, "fps must be at most 1000 in a .png file, .* got 1001: lower fps"),
        ({"fps": 1001, "path": "a.webp"}, "fps must be at most 1000 in a .webp file, .* got 1001"),
        ({"size": (0, 10)}, "width must be .* got 0"),
        ({"size": (40, 30)}, "size 40 x 30 leaves no room for the axes"),
        ({"model": []}, "there are no frames: the list of models is empty"),
        ({"model": [fastnn.Model([2, 2], backend="numpy")], "titles": "ab"}, "1 models, but 2 titles"),
        ({"titles": ["a"]}, "titles work only with a list of models"),
        ({"y": y[1:]}, r"X has 120 samples, but y has shape \(119,\)"),
        ({"response": "colour"}, "response must be one of"),
        ({"features": (0, 2)}, "features must be two numbers from 0 to 1"),
        ({"num_passes": -1}, "num_passes must be"),
        ({"model": fastnn.MLPClassifier(solver="lbfgs")}, "solver 'lbfgs' has no partial_fit"),
        (
            {"model": fastnn.Model([2, 3, 1], loss="squared_error", backend="numpy")},
            "the model is a regression",
        ),
    ],
)
def test_wrong_arguments_are_refused_before_the_training(tmp_path, monkeypatch, changes, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.gif").mkdir()
    model = tutorial(backend="numpy")
    before = [array.copy() for array in parameters(model)]
    options = {"model": model, "X": X, "y": y, "path": "a.gif", **changes}
    if isinstance(options["model"], fastnn.Model):
        options = {"num_passes": 2, **options}
    with pytest.raises(ValueError, match=message):
        fastnn.animate_training(**options)
    assert all((a == b).all() for a, b in zip(before, parameters(model), strict=True)), "it was trained"
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.gif"]


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (tutorial(backend="numpy"), {"epochs": 3}, "epochs"),
        (fastnn.MLPClassifier(), {"num_passes": 3}, "num_passes= works only with a Model"),
        (KNeighborsClassifier(), {}, "model must be a Model, an MLPClassifier or a list"),
        (fastnn.MLPRegressor(), {}, "model must be a Model, an MLPClassifier or a list"),
        ([tutorial(backend="numpy")], {"titles": 5}, "titles must be texts, one per model, got 5"),
    ],
)
def test_wrong_models_and_options_are_refused(tmp_path, model, options, message):
    with pytest.raises(TypeError, match=message):
        fastnn.animate_training(model, X, y, tmp_path / "a.gif", **options)


def test_matplotlib_settings_of_the_user_do_not_matter(tmp_path):
    with matplotlib.rc_context({"figure.constrained_layout.use": True}):
        fastnn.animate_training(tutorial(), X, y, tmp_path / "a.gif", num_passes=20, frames=2, size=SMALL)
    fastnn.animate_training(tutorial(), X, y, tmp_path / "b.gif", num_passes=20, frames=2, size=SMALL)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_frames_have_the_background_of_the_user_s_style(tmp_path):
    options = {"num_passes": 20, "frames": 1, "size": SMALL}
    styles = {"dark": ("black", 0), "light": ("white", 255), "none": ("none", 255)}
    for name, (colour, level) in styles.items():
        with matplotlib.rc_context({"figure.facecolor": colour, "text.color": "tab:red"}):
            path = fastnn.animate_training(tutorial(), X, y, tmp_path / f"{name}.png", **options)
        (frame,), _ = frames(path)
        assert (frame[:2] == level).all()


def test_titles_may_be_no_formulas(tmp_path):
    models = [tutorial(), tutorial()]
    path = fastnn.animate_training(models, X, y, tmp_path / "a.gif", titles=[r"$\bad$", "b"], size=SMALL)
    assert path.exists()


@pytest.mark.parametrize("length", range(4, 10))  # the shorter legends are above the axes, the others beside
def test_the_title_and_the_legend_of_a_frame_do_not_overlap(length):
    labels = np.array(["a" * length, "b" * length])[y]
    scene = film.Scene(1e5 * X, labels, "class", None, None, None, None, None)
    title = "loss 0.1234, 50.0% correct after 20,000 epochs"
    drawn = film.Film(scene, film.USUAL_SIZE, [title])
    drawn._title.set_text(title)
    renderer = drawn.figure.canvas.get_renderer()
    (legend,) = drawn.figure.legends
    extents = [part.get_window_extent(renderer) for part in (legend, drawn._title)]
    assert not extents[0].overlaps(extents[1])
