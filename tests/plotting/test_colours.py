"""Colours and markers that users choose for classes and responses, in files and drawings."""

import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from extras import optional
from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, to_rgb
from matplotlib.markers import MarkerStyle
from PIL import Image
from sklearn.datasets import load_iris, make_blobs
from sklearn.neighbors import KNeighborsClassifier

import fastnn
from fastnn.boundary.colours import CLASS_MARKERS, OUTLINE, REGION_STRENGTH

pd = optional("pandas")

SQUARE = {"xlim": (0, 1), "ylim": (0, 1)}
CHOSEN = ["gold", "tab:red", "#3060a0"]
X, y = make_blobs(60, centers=3, random_state=1)
X = (X - X.min(axis=0)) / np.ptp(X, axis=0)  # scaled to the unit square


def thirds(points):
    """Predict class 0, 1 or 2 in the left, middle or right third of the unit square."""
    return np.floor(points[:, 0] * 3).clip(0, 2).astype(int)


class Ramp:
    """A classifier whose probability of the second class is x."""

    classes_ = np.array([0, 1])

    def predict_proba(self, points):
        return np.column_stack([1 - points[:, 0], points[:, 0]])


@pytest.fixture(scope="module")
def image():
    return fastnn.render_boundary(thirds, **SQUARE, size=(12, 4))


@pytest.fixture(scope="module")
def ramp():
    """Return a picture of a probability that grows from left to right."""
    return fastnn.render_boundary(Ramp(), **SQUARE, size=(1000, 2), response="probability")


def rgb(colours):
    return [np.round(255 * np.array(to_rgb(colour))) for colour in colours]


def read_pixels(path):
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB"))


def regions(ax):
    (image,) = ax.get_images()
    return image.to_rgba(image.get_array())[:, :, :3]


def samples(ax):
    return [c for c in ax.collections if len(c.get_offsets()) > 1 and not c.get_label().startswith("_")]


def sample_colours(ax):
    return [to_rgb(c.get_facecolor()[0]) for c in samples(ax)]


MAPPING = {2: CHOSEN[2], "unused": "k", 1: CHOSEN[1], 0: CHOSEN[0]}
WAYS = [
    (CHOSEN, CHOSEN),
    (np.array(CHOSEN), CHOSEN),
    (np.array([to_rgb(colour) for colour in CHOSEN]), CHOSEN),
    (MAPPING, CHOSEN),
    pytest.param(pd and pd.Series(MAPPING), CHOSEN, marks=pytest.mark.needs("pandas")),
    ("Set2", colormaps["Set2"](np.arange(3))),
    (colormaps["Set2"], colormaps["Set2"](np.arange(3))),
    ("viridis", colormaps["viridis"]([0.0, 0.5, 1.0])),  # a list of 256 colours
    ("RdBu", colormaps["RdBu"]([0.0, 0.5, 1.0])),  # a function
    ("petroff6", ["#5790fc", "#f89c20", "#e42536"]),
]


@pytest.mark.parametrize(("colours", "expected"), WAYS)
def test_colours_may_be_a_sequence_or_a_mapping_or_a_colormap(tmp_path, ax, image, colours, expected):
    for name in ("a.png", "a.dzi"):
        image.save(tmp_path / name, colours=colours)
    assert not plt.get_fignums()
    for name in ("a.png", "a_files/4/0_0.png"):
        np.testing.assert_array_equal(read_pixels(tmp_path / name)[0], np.repeat(rgb(expected), 4, axis=0))
    image.plot(ax, X, y, colours=colours)
    np.testing.assert_allclose(sample_colours(ax), [to_rgb(colour) for colour in expected])
    paler = [1 - REGION_STRENGTH * (1 - np.array(to_rgb(colour))) for colour in expected]
    np.testing.assert_allclose(regions(ax)[0, ::4], paler)


WRONG_COLOURS = [
    (["gold", "greem", "red"], "colours[1] must be an opaque colour as matplotlib takes it, such as 'tab:"),
    (["gold", "red", (255, 0, 0)], "colours[2] must be an opaque colour"),
    (["gold", "red", "#11223380"], "colours[2] must be an opaque colour"),
    ({0: "gold", 1: "red", 2: None}, "colours[2] must be an opaque colour"),
    ("red", "the name of a colormap, such as 'Set2' or 'viridis', got 'red'"),
    ({"gold", "red"}, "colours must be a sequence with one colour per class"),
    (["gold"] * 4, "colours must be as many as there are classes, 3 ([0, 1, 2]), got 4"),
    ({0: "gold", 2: "red"}, "colours must have one for every class, but have none for 1"),
    (ListedColormap(["r", "g"], "two"), "colours: 'two' has 2 colours, but there are 3 classes"),
]
WRONG_MARKERS = [
    ("os", "markers must be as many as there are classes, 3 ([0, 1, 2]), got 2"),
    ({0: "o", 2: "s"}, "markers must have one for every class, but have none for 1"),
    (["o", "s", "?"], "markers[2] must be one of matplotlib's filled markers, such as 'o', 's' or '^', got"),
    ("osx", "markers[2] must be one of matplotlib's filled markers"),  # lines alone have no colour inside
    (3, "markers must be a sequence with one marker per class, such as ['o', 's'], a mapping"),
    (True, "or 'auto', got True"),
]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        *(({"colours": colours}, message) for colours, message in WRONG_COLOURS),
        *(({"markers": markers}, message) for markers, message in WRONG_MARKERS),
        ({"cmap": "virids"}, "cmap must be a Colormap or the name of one of matplotlib's"),
        ({"cmap": ["red", "blue"]}, "got ['red', 'blue']"),
        ({"cmap": "viridis"}, "response is 'class': choose the colours of classes with colours="),
    ],
)
def test_wrong_choices_are_refused_and_nothing_is_drawn_or_written(tmp_path, image, ax, choice, message):
    calls = [
        lambda: image.plot(ax, X, y, **choice),
        lambda: fastnn.plot_decision_boundary(thirds, X, y, ax=ax, resolution=5, **choice),
    ]
    if "markers" not in choice:
        out = tmp_path / "a.png"
        calls += [
            lambda: image.save(out, **choice),
            lambda: fastnn.render_boundary(thirds, **SQUARE, size=5, classes=range(3), out=out, **choice),
        ]
    for call in calls:
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
    assert not list(tmp_path.iterdir())
    assert not ax.get_images()
    assert not ax.collections


def test_a_picture_keeps_the_colours_that_it_was_rendered_with(tmp_path, ax, image):
    options = {**SQUARE, "size": (12, 4), "colours": CHOSEN}
    fastnn.render_boundary(thirds, **options, classes=range(3), out=tmp_path / "out.png")
    kept = fastnn.render_boundary(thirds, **options)
    kept.save(tmp_path / "kept.png")
    assert (tmp_path / "kept.png").read_bytes() == (tmp_path / "out.png").read_bytes()
    kept.save(tmp_path / "other.png", colours="Set2")
    image.save(tmp_path / "expected.png", colours="Set2")
    assert (tmp_path / "other.png").read_bytes() == (tmp_path / "expected.png").read_bytes()
    kept.plot(ax, X, y)
    np.testing.assert_allclose(sample_colours(ax), [to_rgb(colour) for colour in CHOSEN])
    wrong = fastnn.render_boundary(thirds, **options | {"colours": CHOSEN[:2]})  # the classes are not known
    for call in (lambda: wrong.save(tmp_path / "a.png"), lambda: wrong.plot(ax)):
        with pytest.raises(ValueError, match="colours must be as many as there are classes, 3"):
            call()


def test_files_without_colours_refuse_them(tmp_path, image, ramp):
    many = fastnn.render_boundary(lambda P: np.floor(P[:, 0] * 300), **SQUARE, size=(300, 1))
    for picture, name, choice, message in (
        (ramp, "a.zarr", {"cmap": "viridis"}, "a .zarr file holds numbers, without colours"),
        (image, "a.zarr", {"colours": CHOSEN}, "a .zarr file holds numbers, without colours: choose .png or"),
        (many, "a.png", {"colours": "viridis"}, "at most 256 colours, but there are 300 classes: leave"),
        (ramp, "a.png", {"colours": CHOSEN}, "colours work only with classes, but the picture holds a resp"),
    ):
        with pytest.raises(ValueError, match=message):
            picture.save(tmp_path / name, **choice)
    assert not list(tmp_path.iterdir())


def test_colours_follow_the_order_of_the_models_classes_and_then_of_the_samples(tmp_path, ax, image):
    class Reversed:
        classes_ = np.array([2, 1, 0])
        predict = staticmethod(thirds)

    reverse = fastnn.render_boundary(Reversed(), **SQUARE, size=(12, 4), colours=["r", "g", "b"])
    assert reverse.classes.tolist() == [2, 1, 0]
    reverse.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png")[0, ::4], rgb("bgr"))
    reverse.plot(ax, X, y)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["class 2", "class 1", "class 0"]
    assert sample_colours(ax) == [to_rgb(c) for c in "rgb"]
    ax.clear()
    with pytest.raises(ValueError, match=re.escape("4 ([0, 1, 2, 7]), got 3")):
        image.plot(ax, X, np.where(y == 0, 7, y), colours=CHOSEN)
    image.plot(ax, X, np.where(y == 0, 7, y), colours=[*CHOSEN, "k"])
    np.testing.assert_allclose(sample_colours(ax), [to_rgb(colour) for colour in [*CHOSEN[1:], "k"]])


CMAPS = ["viridis", ListedColormap(["r", "b"]), LinearSegmentedColormap.from_list("a", ["r", "k"], N=17)]


@pytest.mark.parametrize("cmap", CMAPS)
def test_a_response_in_colours_equals_that_of_matplotlib(tmp_path, ramp, ax, cmap):
    for name in ("a.png", "a.dzi"):
        ramp.save(tmp_path / name, cmap=cmap)
    colormap = colormaps.get_cmap(cmap)
    expected = colormap(ramp.data, bytes=True)[..., :3]
    assert len(np.unique(expected[0], axis=0)) > 0.99 * colormap.N, "the picture has nearly all colours"
    pixels = read_pixels(tmp_path / "a.png")
    np.testing.assert_allclose(pixels, expected, atol=1)  # matplotlib truncates, fastnn rounds
    np.testing.assert_array_equal(read_pixels(tmp_path / "a_files/10/0_0.png"), pixels[:, :512])
    out = tmp_path / "out.png"
    options = {**SQUARE, "size": (1000, 2), "response": "probability", "cmap": cmap}
    fastnn.render_boundary(Ramp(), **options, out=out)
    assert out.read_bytes() == (tmp_path / "a.png").read_bytes()
    fastnn.render_boundary(Ramp(), **options).plot(ax)
    assert ax.get_images()[0].get_cmap() == colormap


def test_a_response_has_256_opaque_colours_is_clipped_and_lowest_for_nan(tmp_path, ramp):
    ramp.save(tmp_path / "a.png", cmap=LinearSegmentedColormap.from_list("a", ["k", "w"], N=1000))
    assert np.unique(read_pixels(tmp_path / "a.png")[0, :, 0]).tolist() == list(range(256))
    ramp.save(tmp_path / "a.png", cmap=ListedColormap([(1, 0, 0, 0.5), (0, 0, 0, 1)]))
    assert np.unique(read_pixels(tmp_path / "a.png")[0], axis=0).tolist() == [[0, 0, 0], [255, 128, 128]]
    for dtype in (np.float32, np.float64):
        pixels = np.array([[-np.inf, -0.1, 0, 0.5, 1, 1.1, np.inf, np.nan]], dtype)
        replace(ramp, data=pixels).save(tmp_path / "a.png", cmap="viridis")
        with Image.open(tmp_path / "a.png") as file:
            assert np.asarray(file).tolist() == [[0, 0, 0, 128, 255, 255, 255, 0]]


@pytest.mark.parametrize("shown", [0, 1])
def test_a_probability_has_the_colours_of_the_samples_by_default(ax, shown):
    options = {"ax": ax, "response": "probability", "class_of_interest": shown, "resolution": 60}
    fastnn.plot_decision_boundary(Ramp(), X, (X[:, 0] > 0.5).astype(int), **options, xlim=(0, 1))
    assert [axes.get_ylabel() for axes in ax.figure.axes[1:]] == [f"probability of class {shown}"]
    middle, ends = regions(ax)[20, 30], regions(ax)[20, [0, -1]]
    assert middle.min() > 0.95, "white where both are as likely"
    np.testing.assert_allclose(ends, 1 - 0.7 * (1 - np.array(sample_colours(ax))), atol=0.05)


def test_a_probability_of_several_classes_begins_in_white(ax):
    table, labels = load_iris(return_X_y=True, as_frame=False)
    names = load_iris().target_names[labels]
    model = KNeighborsClassifier().fit(table[:, :2], names)
    options = {"ax": ax, "response": "probability", "class_of_interest": "versicolor"}
    fastnn.plot_decision_boundary(model, table[:, :2], names, **options)
    assert ax.figure.axes[1].get_ylabel() == "probability of versicolor"
    low, high = ax.get_images()[0].get_cmap()([0.0, 1.0])[:, :3]
    assert low.tolist() == [1, 1, 1]
    np.testing.assert_allclose(high, 1 - 0.7 * (1 - np.array(sample_colours(ax)[1])))


def shapes(collections):
    return [c.get_paths()[0].vertices for c in collections]


def check_shapes(found, markers):
    for vertices, marker in zip(found, markers, strict=True):
        style = MarkerStyle(marker)
        expected = style.get_path().transformed(style.get_transform()).vertices
        np.testing.assert_allclose(vertices, expected)


MARKERS = [
    (None, "ooo"),
    ("auto", "os^"),
    ("auto", [*CLASS_MARKERS, "o", "s"]),  # again after ten classes
    ("D^s", "D^s"),
    (["*", "o", "8"], "*o8"),
    ({2: "p", 0: "X", 1: "h", "unused": "v"}, "Xhp"),
]


@pytest.mark.parametrize(("markers", "expected"), MARKERS)
def test_markers_may_be_a_sequence_or_a_mapping_or_auto(ax, image, markers, expected):
    labels = y if len(expected) == 3 else np.arange(60) % len(expected)
    fastnn.plot_decision_boundary(thirds, X, labels, ax=ax, resolution=5, markers=markers)
    check_shapes(shapes(samples(ax)), expected)
    check_shapes(shapes(ax.get_legend().legend_handles), expected)
    for drawn in samples(ax):
        np.testing.assert_allclose(drawn.get_edgecolor()[0, :3], to_rgb(OUTLINE))
        assert drawn.get_linewidth()[0] > 0
    check_shapes(shapes(samples(image.plot(X=X, y=labels, markers=markers))), expected)


@pytest.mark.parametrize(("response", "layers"), [("class", 1), ("confidence", 2)])
def test_pale_samples_keep_their_markers(ax, response, layers):
    table, labels = load_iris(return_X_y=True)
    model = KNeighborsClassifier().fit(table, labels)
    options = {"response": response, "markers": "auto"}
    fastnn.plot_decision_boundary(model, table, labels, ax=ax, resolution=20, **options)
    pale = [c for c in ax.collections if c.get_alpha() is not None and c.get_label().startswith("_")]
    assert len(pale) == 3 * layers  # the rims on a response are as pale
    check_shapes(shapes(pale), np.repeat(["o", "s", "^"], layers))
