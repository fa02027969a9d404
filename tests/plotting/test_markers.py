"""Markers of samples, and the outlines that show them on any ground."""

import re

import numpy as np
import pytest
from extras import optional
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from PIL import Image
from sklearn.datasets import load_iris, make_blobs
from sklearn.neighbors import KNeighborsClassifier

import fastnn
from fastnn.boundary.colours import CLASS_MARKERS, OUTLINE, chosen_markers

pd = optional("pandas")

X, y = make_blobs(60, centers=3, random_state=1)
X = (X - X.min(axis=0)) / np.ptp(X, axis=0)  # scaled to the unit square


def thirds(points):
    """Predict class 0, 1 or 2 in the left, middle or right third of the unit square."""
    return np.floor(points[:, 0] * 3).clip(0, 2).astype(int)


@pytest.fixture
def ax():
    """Return axes that fill a figure of 400 x 300 pixels."""
    return Figure(figsize=(4, 3), dpi=100).add_axes((0, 0, 1, 1))


def samples(ax):
    """Return the drawn samples of every class, which have an entry in the legend."""
    return [c for c in ax.collections if len(c.get_offsets()) > 1 and not c.get_label().startswith("_")]


def shapes(ax):
    """Return the corners of the markers of every class."""
    return [c.get_paths()[0].vertices for c in samples(ax)]


def shape(marker):
    style = MarkerStyle(marker)
    return style.get_path().transformed(style.get_transform()).vertices


def same_shapes(found, markers):
    for vertices, marker in zip(found, markers, strict=True):
        np.testing.assert_allclose(vertices, shape(marker))


@pytest.mark.parametrize(
    ("markers", "expected"),
    [(None, "ooo"), ("auto", "os^"), ("D^s", "D^s"), (["*", "o", "8"], "*o8"),
     ({2: "p", 0: "X", 1: "h", "unused": "v"}, "Xhp")],
)  # fmt: skip
def test_markers_may_be_a_sequence_or_a_mapping_or_auto(ax, markers, expected):
    fastnn.plot_decision_boundary(thirds, X, y, ax=ax, resolution=5, markers=markers)
    same_shapes(shapes(ax), expected)
    legend = [handle.get_paths()[0].vertices for handle in ax.get_legend().legend_handles]
    same_shapes(legend, expected)


def test_auto_has_a_marker_for_each_of_ten_classes_and_begins_again():
    assert chosen_markers(np.arange(12), "auto") == [*CLASS_MARKERS, "o", "s"]
    assert all(MarkerStyle(marker).is_filled() for marker in CLASS_MARKERS)


@pytest.mark.needs("pandas")
def test_markers_of_a_mapping_belong_to_labels():
    classes = np.array(["b", "a"])
    for markers in ({"a": "s", "b": "o"}, pd.Series({"a": "s", "b": "o"})):
        assert chosen_markers(classes, markers) == ["o", "s"]


@pytest.mark.parametrize(
    ("markers", "message"),
    [
        ("os", "markers must be as many as there are classes, 3 ([0, 1, 2]), got 2"),
        ({0: "o", 2: "s"}, "markers must have one for every class, but have none for 1"),
        (
            ["o", "s", "?"],
            "markers[2] must be one of matplotlib's filled markers, such as 'o', 's' or '^', got '?'",
        ),
        ("osx", "markers[2] must be one of matplotlib's filled markers"),  # lines alone have no colour inside
        (["o", "s", None], "markers[2] must be"),
        (3, "markers must be a sequence with one marker per class, such as ['o', 's'], a mapping"),
        (True, "or 'auto', got True"),
    ],
)
def test_wrong_markers_are_refused_and_nothing_is_drawn(tmp_path, ax, markers, message):
    image = fastnn.render_boundary(thirds, (0, 1), (0, 1), (12, 4))
    for call in (
        lambda: image.plot(ax, X, y, markers=markers),
        lambda: fastnn.plot_decision_boundary(thirds, X, y, ax=ax, resolution=5, markers=markers),
        lambda: fastnn.animate_training(
            [lambda P: thirds(P)], X, y, tmp_path / "a.gif", titles=[""], markers=markers
        ),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
    assert not list(tmp_path.iterdir())
    assert not ax.collections


def test_invalid_markers_are_refused_before_a_training(tmp_path):
    model = fastnn.Model([2, 3, 3], random_state=0, backend="numpy")
    before = model.W[0].copy()
    with pytest.raises(ValueError, match=re.escape("markers[0] must be")):
        fastnn.animate_training(model, X, y, tmp_path / "a.gif", markers=["x", "o", "s"])
    np.testing.assert_array_equal(model.W[0], before)


def test_moving_pictures_and_single_ones_have_the_markers(tmp_path, ax):
    frames = []
    for markers in (None, "auto"):
        path = tmp_path / "a.png"
        fastnn.animate_training([thirds], X, y, path, titles=[""], size=(200, 150), markers=markers)
        with Image.open(path) as file:
            frames.append(np.asarray(file.convert("RGB")))
    assert (frames[0] != frames[1]).any()
    image = fastnn.render_boundary(thirds, (0, 1), (0, 1), (12, 4))
    same_shapes(shapes(image.plot(ax, X, y, markers="auto")), "os^")


# --- outlines ----------------------------------------------------------------------------------------


def test_samples_have_outlines(ax):
    fastnn.plot_decision_boundary(thirds, X, y, ax=ax, resolution=5)
    for drawn in samples(ax):
        np.testing.assert_allclose(drawn.get_edgecolor()[0, :3], to_rgb(OUTLINE))
        assert drawn.get_linewidth()[0] > 0


@pytest.mark.parametrize("cmap", ["gray", "viridis", "binary"])
def test_samples_on_a_response_are_outlined_on_dark_and_on_light_ground(ax, cmap):
    class Ramp:
        classes_ = np.array([0, 1])
        predict_proba = staticmethod(lambda P: np.column_stack([1 - P[:, 0], P[:, 0]]))

    places = np.column_stack([np.linspace(0, 1, 9), np.full(9, 0.5)])
    fastnn.plot_decision_boundary(
        Ramp(), places, np.zeros(9, int), ax=ax, resolution=100, response="probability", cmap=cmap
    )
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    (dots,) = samples(ax)
    for x, y_ in ax.transData.transform(dots.get_offsets()):
        around = pixels[pixels.shape[0] - round(y_) - 8 : pixels.shape[0] - round(y_) + 9]
        around = around[:, round(x) - 8 : round(x) + 9].reshape(-1, 3)
        # Around each sample, there are pixels near the outline's colour and nearly white ones.
        assert (np.abs(around - 255 * np.array(to_rgb(OUTLINE))).max(axis=1) < 90).any()
        assert (around.min(axis=1) > 200).any()


@pytest.mark.parametrize(("response", "layers"), [("class", 1), ("confidence", 2)])
def test_pale_samples_keep_their_markers(ax, response, layers):
    table, labels = load_iris(return_X_y=True)
    model = KNeighborsClassifier().fit(table, labels)
    options = {"response": response, "markers": "auto"}
    fastnn.plot_decision_boundary(model, table, labels, ax=ax, resolution=20, **options)
    pale = [c for c in ax.collections if c.get_alpha() is not None and c.get_label().startswith("_")]
    assert len(pale) == 3 * layers  # the rims on a response are as pale
    same_shapes([c.get_paths()[0].vertices for c in pale], np.repeat(["o", "s", "^"], layers))
