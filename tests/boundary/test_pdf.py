"""Pictures as PDF: the regions and the lines between them, as vector shapes."""

import re
import shutil
import subprocess
import zlib

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from processes import PATIENCE

import fastnn
from fastnn.boundary import tracing
from fastnn.boundary.sinks import Picture, save_pixels
from fastnn.boundary.sinks.pdf import LINE_POINTS, PAGE_POINTS
from fastnn.boundary.tracing import regions, to_coordinates, trace_pixels

UNIT = (0.0, 1.0)
COLOURS = ["#ff8000", "#0080ff", "#80ff00"]
PDFTOPPM = shutil.which("pdftoppm")


def rings(points):
    """Return classes: a disc of 2 within a ring of 1 within 0, and a corner of 1."""
    x, y = points.T
    distance = np.hypot(x - 0.5, y - 0.5)
    return np.where(distance < 0.15, 2, ((distance < 0.35) | (x + y < 0.25)).astype(int))


def image(size=(300, 200)):
    return fastnn.render_boundary(rings, UNIT, UNIT, size, classes=[0, 1, 2], colours=COLOURS)


def content(path):
    """Return the operators that draw the page."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", path.read_bytes(), re.DOTALL)
    (page,) = (text for text in map(zlib.decompress, streams) if b" m\n" in text)
    return page.decode()


def test_a_page_has_a_shape_for_each_class_and_a_line_for_each_boundary(tmp_path):
    image().save(tmp_path / "a.pdf")
    data = (tmp_path / "a.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    box = re.search(rb"/MediaBox \[ ?([\d. ]+?) ?\]", data)[1].split()
    np.testing.assert_allclose([float(edge) for edge in box], [0, 0, PAGE_POINTS, PAGE_POINTS * 2 / 3])
    assert b"CreationDate" not in data
    page = content(tmp_path / "a.pdf")
    fills = re.findall(r"([\d.]+ [\d.]+ [\d.]+) rg\n", page)
    chosen = [tuple(int(text[k : k + 2], 16) / 255 for k in (1, 3, 5)) for text in COLOURS]
    np.testing.assert_allclose([tuple(map(float, fill.split())) for fill in fills], chosen, atol=1e-5)
    assert page.count("\nf\n") == 3, "a shape for each class"
    assert f"{LINE_POINTS} w" in page
    # Class 0: outline and hole. Class 1: ring, its hole, corner. Class 2: disc. Then three lines.
    assert page.count(" m\n") == 2 + 3 + 1 + 3


def test_rendering_to_pdf_is_saving_the_picture(tmp_path):
    image().save(tmp_path / "saved.pdf")
    options = {"classes": [0, 1, 2], "colours": COLOURS, "out": tmp_path / "rendered.pdf"}
    fastnn.render_boundary(rings, UNIT, UNIT, (300, 200), **options)
    assert (tmp_path / "saved.pdf").read_bytes() == (tmp_path / "rendered.pdf").read_bytes()


def test_settings_of_matplotlib_change_nothing(tmp_path):
    image().save(tmp_path / "a.pdf")
    with mpl.rc_context({"figure.autolayout": True, "path.simplify_threshold": 1.0, "figure.dpi": 300}):
        image().save(tmp_path / "b.pdf")
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()


def test_a_page_of_one_class_has_one_shape(tmp_path):
    for size in (1, (1, 40), (40, 1)):
        even = fastnn.render_boundary(lambda P: np.zeros(len(P), int), UNIT, UNIT, size)
        even.save(tmp_path / "a.pdf")
        assert content(tmp_path / "a.pdf").count(" m\n") == 1


@pytest.mark.skipif(PDFTOPPM is None, reason="pdftoppm is not installed")
@pytest.mark.parametrize("size", [(300, 200), (1440, 1440)])
def test_a_page_shows_the_pixels(tmp_path, size):
    picture = image(size)
    picture.save(tmp_path / "a.pdf")
    command = [PDFTOPPM, "-r", "72", "-png", "-singlefile", tmp_path / "a.pdf", tmp_path / "a"]
    subprocess.run(command, check=True, timeout=PATIENCE)
    with Image.open(tmp_path / "a.png") as file:
        seen = np.asarray(file.convert("RGB")).astype(int)
    height, width = seen.shape[:2]
    assert (width, height) == (PAGE_POINTS, PAGE_POINTS * size[1] // size[0])
    rows = ((np.arange(height) + 0.5) / height * size[1]).astype(int)
    columns = ((np.arange(width) + 0.5) / width * size[0]).astype(int)
    classes = picture.data[::-1][np.ix_(rows, columns)]
    table = np.array([[int(text[k : k + 2], 16) for k in (1, 3, 5)] for text in COLOURS])
    differs = (np.abs(seen - table[classes]) > 1).any(axis=2)
    assert 0.005 < differs.mean() < 0.03, "only lines differ"
    # Pixels far from other classes have the colour of their class.
    near = np.zeros_like(differs)
    for axis in (0, 1):
        for step in range(-4, 5):
            near |= np.roll(classes, step, axis) != classes
    assert not differs[~near].any()


@given(arrays(np.uint8, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.integers(0, 3)))
def test_rings_wind_once_around_the_points_of_their_class(pixels):
    """The winding numbers are 1 and 0: the even-odd and the nonzero rule of filling give the same regions."""
    height, width = pixels.shape
    xs, ys = (np.concatenate([[0], np.arange(side) + 0.5, [side]]) for side in (width, height))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "TOLERANCE", 0.0)  # a single pixel could be simplified away
        lines = to_coordinates(trace_pixels(pixels), xs, ys)
    found = regions(lines, int(pixels[0, 0]), (width, height))
    centres = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1).reshape(-1, 2)
    for number, parts in found.items():
        turns = np.zeros(len(centres))
        for ring in parts:
            offsets = ring[None] - centres[:, None]
            angles = np.arctan2(offsets[..., 1], offsets[..., 0])
            turns += ((np.diff(angles) + np.pi) % (2 * np.pi) - np.pi).sum(axis=1) / (2 * np.pi)
        np.testing.assert_allclose(turns, (pixels == number).ravel(), atol=1e-6)


def test_a_page_may_have_many_classes_and_any_labels(tmp_path):
    pixels = np.arange(300, dtype=np.uint16).reshape(15, 20)
    labels = ("<&>", "\x00\ud800", None, "Zoë", *range(296))
    colours = np.zeros((300, 3), np.uint8)
    save_pixels(pixels, tmp_path / "a.pdf", Picture(20, 15, pixels.dtype, (0, 1, 0, 1), colours, labels))
    assert content(tmp_path / "a.pdf").count("\nf\n") == 300


def test_pdf_of_a_response_is_refused(tmp_path):
    model = fastnn.Model([2, 3, 2], random_state=0, backend="numpy")
    with pytest.raises(ValueError, match="holds lines between classes, but a response has none"):
        fastnn.render_boundary(model, UNIT, UNIT, 5, response="margin", out=tmp_path / "a.pdf")
    assert not list(tmp_path.iterdir())
