"""Colours that users choose for classes and responses, in files, drawings and moving pictures."""

import re
import xml.etree.ElementTree as ET

import matplotlib.pyplot as plt
import numpy as np
import pytest
from extras import optional
from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, to_rgb
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import make_blobs

import fastnn
from fastnn.boundary.colours import FILE_STRENGTH, chosen_colours, class_colours, pale, response_colours
from fastnn.boundary.sinks import Picture, save_pixels

pd = optional("pandas")
tifffile = optional("tifffile")

UNIT = (0.0, 1.0)
CHOSEN = ["gold", "tab:red", "#3060a0"]
X, y = make_blobs(60, centers=3, random_state=1)
GRID = (X - X.min(axis=0)) / np.ptp(X, axis=0)  # scaled to the unit square


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
    """Return a picture of three classes."""
    return fastnn.render_boundary(thirds, UNIT, UNIT, (12, 4))


@pytest.fixture(scope="module")
def ramp():
    """Return a picture of a probability that grows from left to right."""
    return fastnn.render_boundary(Ramp(), UNIT, UNIT, (1000, 2), response="probability")


@pytest.fixture
def ax():
    """Return axes that fill a figure of 400 x 300 pixels."""
    return Figure(figsize=(4, 3), dpi=100).add_axes((0, 0, 1, 1))


def bytes_of(colours):
    """Return colours as tuples of red, green and blue from 0 to 255."""
    return [tuple(np.round(255 * np.array(to_rgb(colour))).astype(int)) for colour in colours]


def shown(path):
    """Return the RGB pixels of a file."""
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB"))


def regions(ax):
    """Return red, green and blue of the pixels of a plot's picture, from 0 to 1."""
    (image,) = ax.get_images()
    return image.to_rgba(image.get_array())[:, :, :3]


def sample_colours(ax):
    """Return the colour of the samples of every class in a plot, which have an entry in its legend."""
    dots = [c for c in ax.collections if len(c.get_offsets()) > 1 and not c.get_label().startswith("_")]
    return [to_rgb(c.get_facecolor()[0]) for c in dots]


# --- ways to choose colours --------------------------------------------------------------------------


@pytest.mark.needs("pandas")
def test_colours_may_be_a_list_or_a_mapping_or_a_colormap():
    classes = np.array(["b", "a", "c"])
    rgb = [to_rgb(colour) for colour in CHOSEN]
    for colours in (CHOSEN, tuple(CHOSEN), np.array(CHOSEN), np.array(rgb)):
        np.testing.assert_array_equal(chosen_colours(classes, colours), rgb)
    mapping = {"c": CHOSEN[2], "unused": "k", "a": CHOSEN[1], "b": CHOSEN[0]}
    for colours in (mapping, pd.Series(mapping)):
        np.testing.assert_array_equal(chosen_colours(classes, colours), rgb)
    set2 = colormaps["Set2"](np.arange(3))[:, :3]
    for colours in ("Set2", colormaps["Set2"]):
        np.testing.assert_array_equal(chosen_colours(classes, colours), set2)
    for name in ("viridis", "RdBu"):  # a list of 256 colours, and a function
        evenly = colormaps[name]([0.0, 0.5, 1.0])[:, :3]
        np.testing.assert_array_equal(chosen_colours(classes, name), evenly)
    np.testing.assert_array_equal(chosen_colours(classes, "petroff6")[0], to_rgb("#5790fc"))
    np.testing.assert_array_equal(chosen_colours(classes), class_colours(3))
    assert chosen_colours(classes[:0], "viridis").shape == (0, 3)


@pytest.mark.parametrize(
    "numbers", [[0, 1, 2], np.array([0.0, 1.0, 2.0]), np.array([0, 1, 2], np.int8), [False, True, 2]]
)
def test_numbers_in_a_mapping_may_have_any_type(numbers):
    colours = {0: "r", 1: "g", np.int64(2): "b"}
    np.testing.assert_array_equal(chosen_colours(np.array(numbers), colours), [to_rgb(c) for c in "rgb"])


WRONG_COLOURS = [
    (["gold", "greem", "red"], "colours[1] must be an opaque colour as matplotlib takes it, such as 'tab:"),
    (["gold", "red", (255, 0, 0)], "colours[2] must be an opaque colour"),
    (["gold", "red", (0, np.nan, 0)], "colours[2] must be"),
    (["gold", "red", "none"], "got 'none'"),
    (["gold", "red", "#11223380"], "colours[2] must be an opaque colour"),
    (["gold", "red", 0.5], "colours[2] must be an opaque colour"),
    ({0: "gold", 1: "red", 2: None}, "colours[2] must be an opaque colour"),
    ("red", "the name of a colormap, such as 'Set2' or 'viridis', got 'red'"),
    (3, "colours must be a sequence with one colour per class"),
    ({"gold", "red"}, "colours must be a sequence with one colour per class"),
]  # fmt: skip
WRONG_COUNTS = [
    (["gold", "red"], "colours must be as many as there are classes, 3 ([0, 1, 2]), got 2"),
    (["gold"] * 4, "colours must be as many as there are classes, 3 ([0, 1, 2]), got 4"),
    ({0: "gold", 2: "red"}, "colours must have one for every class, but have none for 1"),
    (ListedColormap(["r", "g"], "two"), "colours: 'two' has 2 colours, but there are 3 classes"),
]


@pytest.mark.parametrize(("colours", "message"), WRONG_COLOURS + WRONG_COUNTS)
def test_wrong_colours_are_refused_and_nothing_is_drawn(tmp_path, image, ax, colours, message):
    plots = {"ax": ax, "colours": colours}
    for call in (
        lambda: image.save(tmp_path / "a.png", colours=colours),
        lambda: image.plot(**plots),
        lambda: fastnn.plot_decision_boundary(thirds, GRID, y, resolution=5, **plots),
        lambda: fastnn.render_boundary(
            thirds, UNIT, UNIT, 5, classes=[0, 1, 2], out=tmp_path / "a.png", colours=colours
        ),
        lambda: fastnn.animate_training(
            [lambda P: thirds(P)], GRID, y, tmp_path / "a.gif", titles=[""], colours=colours
        ),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
    assert not list(tmp_path.iterdir())
    assert not ax.get_images()
    assert not ax.collections


def test_wrong_choices_are_refused_before_a_prediction_or_a_training(tmp_path, ax):
    def predict(points):
        raise AssertionError("the model was called")

    model = fastnn.Model([2, 3, 3], random_state=0, backend="numpy")
    before = model.W[0].copy()
    for options, message in (
        ({"colours": ["red", "greem"]}, "colours[1]"),
        ({"cmap": "viridis"}, "response is 'class': choose the colours of classes with colours="),
        ({"cmap": "virids"}, "cmap must be a Colormap or the name of one of matplotlib's"),
    ):
        for call in (
            lambda options: fastnn.plot_decision_boundary(predict, X, y, ax=ax, **options),
            lambda options: fastnn.render_boundary(predict, UNIT, UNIT, 5, **options),
            lambda options: fastnn.animate_training(model, X, y, tmp_path / "a.gif", **options),
        ):
            with pytest.raises(ValueError, match=re.escape(message)):
                call(options)
    with pytest.raises(ValueError, match="colours must be as many as there are classes, 3"):
        fastnn.animate_training(model, X, y, tmp_path / "a.gif", colours=["red", "blue"])
    np.testing.assert_array_equal(model.W[0], before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cmap", ["virids", 3, ["red", "blue"]])
def test_wrong_colormaps_are_refused(tmp_path, ramp, ax, cmap):
    with pytest.raises(ValueError, match=re.escape(f"got {cmap!r}")):
        ramp.save(tmp_path / "a.png", cmap=cmap)
    with pytest.raises(ValueError, match=re.escape(f"got {cmap!r}")):
        ramp.plot(ax, cmap=cmap)
    assert not list(tmp_path.iterdir())
    assert not ax.get_images()


# --- files ---------------------------------------------------------------------------------------------


@pytest.mark.needs("tifffile")
def test_files_have_exactly_the_chosen_colours(tmp_path, image):
    expected = np.repeat(bytes_of(CHOSEN), 4, axis=0)
    for name in ("a.png", "a.dzi", "a.tif", "a.svg", "a.pdf"):
        image.save(tmp_path / name, colours=CHOSEN)
    np.testing.assert_array_equal(shown(tmp_path / "a.png")[0], expected)
    np.testing.assert_array_equal(shown(tmp_path / "a_files/4/0_0.png")[0], expected)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        palette = file.pages[0].colormap.T[:3] // 257
    np.testing.assert_array_equal(palette, bytes_of(CHOSEN))
    paths = ET.parse(tmp_path / "a.svg").getroot().iter("{http://www.w3.org/2000/svg}path")
    fills = [path.get("fill") for path in paths if path.get("fill")]
    assert fills == [f"#{bytes(np.array(rgb, np.uint8)).hex()}" for rgb in bytes_of(CHOSEN)]
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert '"legend": [["0", "#ffd700"]' in page


def test_without_a_choice_files_have_pale_colours(tmp_path, image):
    image.save(tmp_path / "a.png")
    expected = np.repeat(np.round(255 * pale(class_colours(3), FILE_STRENGTH)), 4, axis=0)
    np.testing.assert_array_equal(shown(tmp_path / "a.png")[0], expected)


@pytest.mark.needs("zarr")
def test_a_picture_keeps_the_colours_that_it_was_rendered_with(tmp_path, ax):
    options = {"classes": [0, 1, 2], "colours": CHOSEN}
    fastnn.render_boundary(thirds, UNIT, UNIT, (12, 4), out=tmp_path / "out.png", **options)
    image = fastnn.render_boundary(thirds, UNIT, UNIT, (12, 4), **options)
    image.save(tmp_path / "kept.png")
    assert (tmp_path / "kept.png").read_bytes() == (tmp_path / "out.png").read_bytes()
    image.save(tmp_path / "kept.zarr")  # a format without colours
    image.save(tmp_path / "other.png", colours="Set2")
    np.testing.assert_array_equal(
        shown(tmp_path / "other.png")[0, ::4], np.round(255 * chosen_colours(np.arange(3), "Set2"))
    )
    image.plot(ax, GRID, y)
    np.testing.assert_allclose(sample_colours(ax), [to_rgb(colour) for colour in CHOSEN])


def test_colours_are_counted_once_the_classes_are_known(tmp_path, ax):
    image = fastnn.render_boundary(thirds, UNIT, UNIT, (12, 4), colours=CHOSEN[:2])
    with pytest.raises(ValueError, match="colours must be as many as there are classes, 3"):
        image.save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="colours must be as many as there are classes, 3"):
        image.plot(ax)
    image.save(tmp_path / "a.png", colours=CHOSEN)


CMAPS = [
    "viridis", "RdBu", ListedColormap(["r", "b"]), LinearSegmentedColormap.from_list("a", ["r", "k"], N=17),
]  # fmt: skip


@pytest.mark.parametrize("cmap", CMAPS)
def test_a_response_in_colours_equals_that_of_matplotlib(tmp_path, ramp, cmap):
    ramp.save(tmp_path / "a.png", cmap=cmap)
    ramp.save(tmp_path / "a.dzi", cmap=cmap)
    colormap = colormaps.get_cmap(cmap)
    expected = colormap(ramp.data, bytes=True)[..., :3]
    assert len(np.unique(expected[0], axis=0)) > 0.99 * colormap.N, "the picture has nearly all colours"
    pixels = shown(tmp_path / "a.png")
    np.testing.assert_allclose(pixels, expected, atol=1)  # matplotlib truncates, fastnn rounds
    np.testing.assert_array_equal(shown(tmp_path / "a_files/10/0_0.png"), pixels[:, :512])
    with Image.open(tmp_path / "a.png") as file:
        assert file.mode == "P"


def test_a_response_has_256_opaque_colours_at_most():
    many = response_colours(LinearSegmentedColormap.from_list("a", ["k", "w"], N=1000))
    assert many.shape == (256, 3)
    assert (np.diff(many[:, 0].astype(int)) == 1).all()
    half = response_colours(ListedColormap([(1, 0, 0, 0.5), (0, 0, 0, 1)]))
    np.testing.assert_array_equal(half, [(255, 128, 128), (0, 0, 0)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_response_is_clipped_to_its_range_and_nan_is_lowest(tmp_path, dtype):
    pixels = np.array([[-np.inf, -0.1, 0, 0.5, 1, 1.1, np.inf, np.nan]], dtype)
    picture = Picture(8, 1, pixels.dtype, (0, 1, 0, 1), response_colours=response_colours("viridis"))
    save_pixels(pixels, tmp_path / "a.png", picture)
    with Image.open(tmp_path / "a.png") as file:
        assert np.asarray(file).tolist() == [[0, 0, 0, 128, 255, 255, 255, 0]]


@pytest.mark.needs("tifffile")
def test_a_response_keeps_its_colormap(tmp_path, ax):
    options = {"response": "probability", "cmap": "viridis"}
    image = fastnn.render_boundary(Ramp(), UNIT, UNIT, (50, 2), **options)
    fastnn.render_boundary(Ramp(), UNIT, UNIT, (50, 2), out=tmp_path / "out.png", **options)
    image.save(tmp_path / "kept.png")
    assert (tmp_path / "kept.png").read_bytes() == (tmp_path / "out.png").read_bytes()
    image.save(tmp_path / "kept.tif")  # a format of numbers
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "kept.tif")[::-1], image.data)
    image.plot(ax)
    assert ax.get_images()[0].get_cmap() == colormaps["viridis"]


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".zarr", ".svg", ".pdf"])
def test_formats_without_colours_for_a_response_refuse_a_colormap(tmp_path, ramp, suffix):
    out = tmp_path / f"a{suffix}"
    message = re.escape(f"cmap: a {suffix} file has no colours for a response: choose .png or .dzi, or leave")
    with pytest.raises(ValueError, match=message):
        ramp.save(out, cmap="viridis")
    with pytest.raises(ValueError, match=message):
        fastnn.render_boundary(Ramp(), UNIT, UNIT, 5, response="probability", out=out, cmap="viridis")
    assert not list(tmp_path.iterdir())


def test_files_without_colours_for_classes_refuse_colours(tmp_path, image, ramp):
    with pytest.raises(ValueError, match=re.escape("a .zarr file of 3 classes holds their numbers")):
        image.save(tmp_path / "a.zarr", colours=CHOSEN)
    many = fastnn.render_boundary(lambda P: np.floor(P[:, 0] * 300), UNIT, UNIT, (300, 1))
    for suffix in (".png", ".tif"):
        with pytest.raises(ValueError, match=re.escape("choose .svg or .pdf, or leave colours out")):
            many.save(tmp_path / f"a{suffix}", colours="viridis")
    with pytest.raises(ValueError, match="colours work only with classes, but the picture holds a response"):
        ramp.save(tmp_path / "a.png", colours=CHOSEN)
    with pytest.raises(ValueError, match="response is 'class': choose the colours of classes with colours="):
        image.save(tmp_path / "a.png", cmap="viridis")
    assert not list(tmp_path.iterdir())


# --- drawings ------------------------------------------------------------------------------------------


def test_regions_are_paler_than_samples(ax):
    fastnn.plot_decision_boundary(thirds, GRID, y, ax=ax, colours=CHOSEN, resolution=60)
    rgb = np.array([to_rgb(colour) for colour in CHOSEN])
    np.testing.assert_allclose(sample_colours(ax), rgb)
    np.testing.assert_allclose(regions(ax)[30, [1, 30, -2]], pale(rgb))


def test_samples_on_a_response_have_the_chosen_colours(ax):
    fastnn.plot_decision_boundary(
        Ramp(), GRID, y > 0, ax=ax, response="probability", cmap="RdBu", colours=["k", "w"], resolution=20
    )
    assert ax.get_images()[0].get_cmap() == colormaps["RdBu"]
    assert sample_colours(ax) == [(0, 0, 0), (1, 1, 1)]


def test_a_class_that_only_samples_have_needs_a_colour_too(ax, image):
    labels = np.where(y == 0, 7, y)
    with pytest.raises(ValueError, match=re.escape("4 ([0, 1, 2, 7]), got 3")):
        image.plot(ax, GRID, labels, colours=CHOSEN)
    image.plot(ax, GRID, labels, colours=[*CHOSEN, "k"])
    np.testing.assert_allclose(sample_colours(ax), [to_rgb(colour) for colour in [*CHOSEN[1:], "k"]])


def test_colours_follow_the_order_of_the_models_classes(tmp_path, ax):
    class Reversed:
        classes_ = np.array([2, 1, 0])
        predict = staticmethod(thirds)

    image = fastnn.render_boundary(Reversed(), UNIT, UNIT, (12, 4), colours=["r", "g", "b"])
    assert image.classes.tolist() == [2, 1, 0]
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(shown(tmp_path / "a.png")[0, ::4], bytes_of("bgr"))
    image.plot(ax, GRID, y)
    np.testing.assert_allclose(regions(ax)[0, ::4], pale(np.array([to_rgb(c) for c in "bgr"])))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["class 2", "class 1", "class 0"]
    np.testing.assert_allclose(sample_colours(ax), [to_rgb(c) for c in "rgb"])


def test_moving_pictures_have_the_chosen_colours(tmp_path):
    options = {"titles": [""], "size": (200, 150), "colours": {0: "r", 1: "g", 2: "b"}}
    fastnn.animate_training([thirds], GRID, y, tmp_path / "a.png", **options)
    frame = shown(tmp_path / "a.png")
    for colour in np.array([to_rgb(c) for c in "rgb"]):
        assert (np.abs(frame - 255 * pale(colour)).max(axis=2) < 2).mean() > 0.1
        assert (np.abs(frame - 255 * colour).max(axis=2) < 8).any(), "the samples are drawn"
    options |= {"response": "probability", "cmap": "RdBu", "colours": ["k", "w"]}
    fastnn.animate_training([Ramp()], GRID, y > 0, tmp_path / "b.png", **options)
    frame = shown(tmp_path / "b.png")
    # The left and the right end have nearly the first and the last colour of the colormap.
    for end in (0.05, 0.95):
        colour = 255 * np.array(colormaps["RdBu"](end)[:3])
        assert (np.abs(frame - colour).max(axis=2) < 20).mean() > 0.01


def test_files_and_frames_leave_no_figure_open(tmp_path, image):
    for suffix in (".png", ".pdf", ".svg"):
        image.save(tmp_path / f"a{suffix}", colours=CHOSEN)
    fastnn.animate_training([thirds], GRID, y, tmp_path / "a.gif", titles=[""], size=(200, 150))
    assert not plt.get_fignums()
