"""Where pictures go: every format is read back by somebody else, and what was there stays until the end."""

import io
import json
import os
import random
import re
import shutil
import signal
import stat
import struct
import subprocess
import threading
import xml.etree.ElementTree
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from fastnn.boundary import sinks
from fastnn.boundary.sinks import FORMATS, Picture, Rect, array, deepzoom, open_sink, png, save_pixels, tiff
from fastnn.system.files import Draft, written_whole

EXTENT = (-1.5, 2.5, -1.0, 2.0)
# One pixel, lines, and one more or less than whole tiles of the small ones below.
SIZES = [(1, 1), (1, 37), (37, 1), (16, 16), (15, 33), (33, 17), (63, 64), (65, 31), (129, 70)]


@pytest.fixture
def small(monkeypatch):
    """Rectangles, tiles and blocks so small that little pictures have many."""
    for module, name, value in (
        (array, "LEAST_ROWS", 3), (array, "MOST_ROWS", 5), (png, "PNG_POINTS", 100),
        (png, "BLOCK_POINTS", 40), (tiff, "TIFF_TILE", 16), (tiff, "TIFF_TILES", 2),
        (sinks.zarr, "ZARR_CHUNK", 8), (deepzoom, "DZI_TILE", 4),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)


def colours_of(n_classes):
    """Colours of which no two are equal."""
    number = np.arange(n_classes)
    return np.column_stack([255 - number % 256, number % 7 * 30, number // 256 + 50]).astype(np.uint8)


def class_picture(width, height, n_classes, dtype=np.uint8, classes=None):
    """Classes in stripes that no symmetry maps to themselves, with areas of one class."""
    row, column = np.mgrid[:height, :width]
    pixels = ((column * 3 + row * row) // 50 % n_classes).astype(dtype)
    pixels[height // 2 :, width // 2 :] = n_classes - 1
    return pixels, Picture(width, height, pixels.dtype, EXTENT, colours_of(n_classes), classes)


def response_picture(width, height, dtype=np.float32):
    row, column = np.mgrid[:height, :width]
    pixels = (0.5 + 0.7 * np.sin(row / 9 + column / 5)).astype(dtype)  # some are beyond 0 and 1
    return pixels, Picture(width, height, pixels.dtype, EXTENT)


def grey(pixels, most):
    return np.floor(np.clip(pixels.astype(np.float32), 0, 1) * most + 0.5).astype(int)


def deposit(sink, pixels, n_threads=3, seed=0):
    """Everything into a sink, encoded on threads in any order."""
    rectangles = list(sink.rectangles())
    shuffled = random.Random(seed).sample(rectangles, len(rectangles))

    def paint(rect):
        target = sink.target(rect)
        if target is None:
            target = np.empty((rect.top - rect.bottom, rect.right - rect.left), sink_dtype)
        target[:] = pixels[rect.bottom : rect.top, rect.left : rect.right]
        encoded = sink.encode(rect, target)
        target[:] = 0 if sink.target(rect) is None else target  # the painter may use it again
        return encoded

    sink_dtype = pixels.dtype
    with sink:
        with ThreadPoolExecutor(n_threads) as pool:
            encoded = dict(zip(shuffled, pool.map(paint, shuffled), strict=True))
        for rect in rectangles:
            sink.put(rect, encoded[rect])


def level_by_level(pixels):
    """The levels of a pyramid, the whole picture last."""
    levels = [pixels[::-1]]
    while max(levels[0].shape) > 1:
        levels.insert(0, levels[0][::2, ::2])
    return levels


def read_level(folder, shape, tile, reads=np.array):
    level = np.full(shape, -1)
    names = set()
    for row in range(0, shape[0], tile):
        for column in range(0, shape[1], tile):
            name = f"{column // tile}_{row // tile}.png"
            names.add(name)
            part = level[row : row + tile, column : column + tile]
            with Image.open(folder / name) as image:
                values = reads(image)
            assert values.shape == part.shape
            part[:] = values
    assert {path.name for path in folder.iterdir()} == names
    return level


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


# ---- rectangles ----


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("suffix", ["", *FORMATS])
def test_rectangles_cover_every_pixel_once(tmp_path, small, suffix, size):
    picture = class_picture(*size, 3)[1]
    sink = open_sink(tmp_path / f"a{suffix}" if suffix else None, picture)
    count = np.zeros((picture.height, picture.width), int)
    for rect in sink.rectangles():
        assert rect.bottom < rect.top
        assert rect.left < rect.right
        count[rect.bottom : rect.top, rect.left : rect.right] += 1
    assert (count == 1).all()
    sink.discard()


@pytest.mark.parametrize(
    ("suffix", "first", "most"),
    [
        ("", Rect(0, 512, 0, 10**6), 512 * 10**6),
        (".png", Rect(10**6 - 8, 10**6, 0, 10**6), 1 << 23),
        (".tif", Rect(10**6 - 512, 10**6, 0, 8192), 1 << 22),
        (".zarr", Rect(0, 2048, 0, 2048), 1 << 22),
        (".dzi", Rect(10**6 - 2048, 10**6, 0, 2048), 1 << 22),
    ],
)
def test_rectangles_of_huge_pictures_are_small(tmp_path, suffix, first, most):
    picture = Picture(10**6, 10**6, np.dtype(np.uint8), EXTENT, colours_of(2))
    if suffix:
        sink = open_sink(tmp_path / f"a{suffix}", picture)
    else:
        sink = open_sink(
            np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (10**6,) * 2, (0, 0)), picture
        )
    rect = next(iter(sink.rectangles()))
    assert rect == first
    assert (rect.top - rect.bottom) * (rect.right - rect.left) <= most
    sink.discard()


# ---- arrays ----


@pytest.mark.parametrize("size", SIZES)
def test_a_new_array(small, size):
    pixels, picture = class_picture(*size, 5)
    sink = open_sink(None, picture)
    deposit(sink, pixels)
    np.testing.assert_array_equal(sink.pixels, pixels)
    assert sink.pixels.dtype == np.uint8


@pytest.mark.parametrize(
    ("make", "in_place"),
    [
        (lambda: np.zeros((33, 65), np.uint8), True),
        (lambda: np.zeros((33, 65), np.uint8, order="F"), False),
        (lambda: np.zeros((66, 130), np.uint8)[::2, ::-2], False),
        (lambda: np.zeros((33, 65), np.int64), False),
        (lambda: np.zeros((33, 65), np.int8), False),  # holds 5 classes
        (lambda: np.zeros((33, 65), np.float32), False),
    ],
)
def test_an_array_of_the_caller(small, make, in_place):
    pixels, picture = class_picture(65, 33, 5)
    out = make()
    sink = open_sink(out, picture)
    rect = next(iter(sink.rectangles()))
    assert (sink.target(rect) is not None) == in_place
    deposit(sink, pixels)
    assert sink.pixels is out
    np.testing.assert_array_equal(out, pixels)


def test_a_mapped_file(tmp_path, small):
    pixels, picture = response_picture(65, 33)
    out = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float32, (33, 65))
    deposit(open_sink(out, picture), pixels)
    out.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), pixels)


def read_only():
    out = np.zeros((3, 4), np.uint8)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (
            np.zeros((4, 3), np.uint8),
            ValueError,
            "out must be an array of shape (3, 4) (height, width), got ",
        ),
        (
            np.zeros((3, 4), bool),
            ValueError,
            "out must have a dtype that holds 300 classes, as uint16 does, ",
        ),
        (np.zeros((3, 4), np.uint8), ValueError, "got an array of uint8"),
        (np.zeros((3, 4), np.float16), ValueError, "got an array of float16"),
        (np.zeros((3, 4), object), ValueError, "got an array of object"),
        (np.zeros((3, 4), complex), ValueError, "got an array of complex128"),
        (read_only(), ValueError, "out must be an array that can be written to, got a read-only one"),
        ([[0]], TypeError, "out must be an array, a path or None, got list"),
        (7, TypeError, "out must be an array, a path or None, got int"),
        ("a.jpg", ValueError, "a.jpg must end in one of .png, .tif, .tiff, .zarr, .dzi"),
        ("png", ValueError, "png must end in one of"),
        ("nowhere/a.png", ValueError, "out: there is no folder "),
        (".", ValueError, "must end in one of"),
    ],
)
def test_bad_out(out, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=re.escape(message)):
        open_sink(out, class_picture(4, 3, 300, np.uint16)[1])
    assert not list(tmp_path.iterdir())


def test_signed_integers_hold_half_as_many_classes():
    open_sink(np.zeros((3, 4), np.int8), class_picture(4, 3, 128)[1])
    with pytest.raises(ValueError, match="holds 129 classes, as uint8 does, got an array of int8"):
        open_sink(np.zeros((3, 4), np.int8), class_picture(4, 3, 129)[1])


def test_integers_hold_no_response():
    with pytest.raises(ValueError, match="out must have a dtype that holds a response, as float32 does"):
        open_sink(np.zeros((3, 4), np.int64), response_picture(4, 3)[1])
    out = np.zeros((3, 4), np.float32)  # rounded
    deposit(open_sink(out, response_picture(4, 3, np.float64)[1]), response_picture(4, 3, np.float64)[0])
    np.testing.assert_array_equal(out, response_picture(4, 3)[0])


# ---- PNG ----


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("n_classes", "bits"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (17, 8), (256, 8)])
def test_png(tmp_path, small, size, n_classes, bits):
    pixels, picture = class_picture(*size, n_classes)
    deposit(open_sink(tmp_path / "a.png", picture), pixels)
    assert (tmp_path / "a.png").read_bytes()[24] == bits
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.array(image), pixels[::-1])
        np.testing.assert_array_equal(np.array(image.convert("RGB")), picture.colours[pixels[::-1]])


@pytest.mark.parametrize("size", SIZES)
def test_png_of_many_classes_is_their_numbers(tmp_path, small, size):
    pixels, picture = class_picture(*size, 257, np.uint16)
    deposit(open_sink(tmp_path / "a.png", picture), pixels)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "I;16"
        np.testing.assert_array_equal(np.array(image), pixels[::-1])


def test_png_with_few_of_many_numbers(tmp_path, small):
    """The dtype may be larger than the classes need."""
    for n_classes in (2, 3, 17):
        pixels, picture = class_picture(65, 31, n_classes, np.uint16)
        deposit(open_sink(tmp_path / "a.png", picture), pixels)
        with Image.open(tmp_path / "a.png") as image:
            np.testing.assert_array_equal(np.array(image), pixels[::-1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES)
def test_png_of_a_response(tmp_path, small, size, dtype):
    pixels, picture = response_picture(*size, dtype)
    deposit(open_sink(tmp_path / "a.png", picture), pixels)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.array(image), grey(pixels[::-1], 65535))


def test_png_of_what_is_no_probability(tmp_path):
    pixels = np.array([[np.nan, -np.inf, -1, 0, 0.5, 1, 2, np.inf]])
    save_pixels(pixels, tmp_path / "a.png", Picture(8, 1, pixels.dtype, EXTENT))
    with Image.open(tmp_path / "a.png") as image:
        assert np.array(image).tolist() == [[0, 0, 0, 0, 32768, 65535, 65535, 65535]]


def test_png_in_its_full_strips(tmp_path):
    pixels, picture = class_picture(5001, 4003, 3)
    save_pixels(pixels, tmp_path / "a.png", picture)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.array(image), pixels[::-1])


def test_png_stream_and_checksums_are_right(tmp_path, small):
    """Readers are lenient: of all chunks the checksum, and a stream without anything behind it."""
    pixels, picture = class_picture(65, 31, 3)
    save_pixels(pixels, tmp_path / "a.png", picture)
    data, at, stream, kinds = (tmp_path / "a.png").read_bytes(), 8, b"", []
    while at < len(data):
        (size,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        chunk, (checksum,) = data[at + 8 : at + 8 + size], struct.unpack(">I", data[at + 8 + size :][:4])
        assert checksum == zlib.crc32(kind + chunk)
        kinds.append(kind)
        stream += chunk if kind == b"IDAT" else b""
        at += 12 + size
    assert kinds[:2] == [b"IHDR", b"PLTE"]
    assert kinds[-1] == b"IEND"
    reader = zlib.decompressobj()
    assert len(reader.decompress(stream)) == 31 * (1 + 17)
    assert reader.eof
    assert not reader.unused_data


@pytest.mark.parametrize("sizes", [(0, 5), (5, 0), (1, 1), (70000, 200001)])
def test_joint_checksum(sizes):
    first, second = (bytes(np.random.default_rng(size).integers(200, 256, size, np.uint8)) for size in sizes)
    joint = png._joint_checksum(zlib.adler32(first), zlib.adler32(second), len(second))
    assert joint == zlib.adler32(first + second)


def test_packing_any_values():
    values = np.random.default_rng(0)
    for bits in (1, 2, 4, 8):
        for width in (1, 7, 8, 9, 64, 131):
            pixels = values.integers(0, 1 << bits, (3, width), np.uint8)
            packed = np.empty((3, -(-width * bits // 8)), np.uint8)
            png._pack(pixels, bits, packed)
            unpacked = np.unpackbits(packed, axis=1)[:, : width * bits].reshape(3, width, bits)
            np.testing.assert_array_equal(unpacked @ (1 << np.arange(bits)[::-1]), pixels)


# ---- TIFF ----


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("n_classes", "dtype"), [(2, np.uint8), (256, np.uint8), (3, np.uint16)])
def test_tiff(tmp_path, small, size, n_classes, dtype):
    labels = (np.int64(4), "b", *range(n_classes - 2))
    pixels, picture = class_picture(*size, n_classes, dtype, classes=labels)
    deposit(open_sink(tmp_path / "a.tif", picture), pixels)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff
        page = file.pages[0]
        assert page.is_tiled
        assert page.photometric == tifffile.PHOTOMETRIC.PALETTE
        assert page.dtype == np.uint8
        np.testing.assert_array_equal(page.asarray(), pixels[::-1])
        assert json.loads(page.description) == {
            "extent": list(EXTENT), "classes": [4, "b", *range(n_classes - 2)],
        }  # fmt: skip
    with Image.open(tmp_path / "a.tif") as image:
        np.testing.assert_array_equal(np.array(image.convert("RGB")), picture.colours[pixels[::-1]])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_tiff_without_a_palette(tmp_path, small, size, dtype):
    pixels, picture = (
        response_picture(*size, dtype) if dtype != np.uint16 else class_picture(*size, 999, dtype)
    )
    deposit(open_sink(tmp_path / "a.TIFF", picture), pixels)
    read = tifffile.imread(tmp_path / "a.TIFF")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, pixels[::-1])


def test_tiff_that_cannot_be_written_is_an_error_and_no_deadlock(tmp_path, small, monkeypatch):
    def fails(*_, **__):
        raise OSError("the disk is full")

    monkeypatch.setattr(tifffile.TiffWriter, "write", fails)
    pixels, picture = class_picture(129, 129, 3)
    with pytest.raises(OSError, match="the disk is full"):
        save_pixels(pixels, tmp_path / "a.tif", picture)
    assert not list(tmp_path.iterdir())


# ---- Zarr ----


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_zarr(tmp_path, small, size, dtype):
    labels = ("a", "b", np.float64(2.5))
    is_response = dtype in (np.float32, np.float64)
    pixels, picture = (
        response_picture(*size, dtype) if is_response else class_picture(*size, 3, dtype, classes=labels)
    )
    deposit(open_sink(tmp_path / "a.zarr", picture), pixels)
    array = zarr.open_array(tmp_path / "a.zarr", mode="r")
    assert array.dtype == dtype
    np.testing.assert_array_equal(array[:], pixels)
    assert dict(array.attrs) == {
        "extent": list(EXTENT), "classes": None if is_response else ["a", "b", 2.5], "origin": "lower",
    }  # fmt: skip


# ---- Deep Zoom ----


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n_classes", [2, 256])
def test_deep_zoom(tmp_path, small, size, n_classes):
    pixels, picture = class_picture(*size, n_classes)
    deposit(open_sink(tmp_path / "a.dzi", picture), pixels)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dzi", "a.html", "a_files"]
    image = xml.etree.ElementTree.parse(tmp_path / "a.dzi").getroot()
    assert image.tag == "{http://schemas.microsoft.com/deepzoom/2008}Image"
    assert image.attrib == {"Format": "png", "Overlap": "0", "TileSize": "4"}
    assert image[0].attrib == {"Width": str(size[0]), "Height": str(size[1])}
    levels = level_by_level(pixels)
    assert {path.name for path in (tmp_path / "a_files").iterdir()} == {str(k) for k in range(len(levels))}
    for k, level in enumerate(levels):
        np.testing.assert_array_equal(read_level(tmp_path / "a_files" / str(k), level.shape, 4), level)
    with Image.open(tmp_path / "a_files" / str(len(levels) - 1) / "0_0.png") as tile:
        np.testing.assert_array_equal(
            np.array(tile.convert("RGB")), picture.colours[pixels[::-1][:4, :4]]
        )  # fmt: skip


def test_deep_zoom_of_a_response(tmp_path, small):
    pixels, picture = response_picture(65, 31)
    deposit(open_sink(tmp_path / "a.dzi", picture), pixels)
    for k, level in enumerate(level_by_level(pixels)):
        read = read_level(tmp_path / "a_files" / str(k), level.shape, 4)
        np.testing.assert_array_equal(read, grey(level, 255))


@pytest.mark.parametrize("size", [(511, 513), (2049, 512), (1, 2047), (4100, 2500)])
def test_deep_zoom_in_full_tiles(tmp_path, size):
    pixels, picture = class_picture(*size, 3)
    save_pixels(pixels, tmp_path / "a.dzi", picture)
    for k, level in enumerate(level_by_level(pixels)):
        np.testing.assert_array_equal(read_level(tmp_path / "a_files" / str(k), level.shape, 512), level)


def test_page_has_everything_in_it_and_escapes_names(tmp_path):
    labels = ("</script><b>", "R&D")
    pixels, picture = class_picture(9, 9, 2, classes=labels)
    save_pixels(pixels, tmp_path / "<i> & #1.dzi", picture)
    page = (tmp_path / "<i> & #1.html").read_text(encoding="utf-8")
    assert "<title>&lt;i&gt; &amp; #1</title>" in page
    data = json.loads(re.search(r"^const picture = (.*);$", page, re.MULTILINE)[1])
    assert data == {
        "width": 9, "height": 9, "extent": list(EXTENT), "tileSize": 512,
        "tiles": "%3Ci%3E%20%26%20%231_files/",
        "legend": [["</script><b>", "#ff0032"], ["R&D", "#fe1e32"]],
    }  # fmt: skip
    assert page.count("</script>") == 2
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page.split("<script>")[0])
    for copyright in ("Copyright (C) 2009 CodePlex Foundation", "Redistributions in binary form"):
        assert copyright in page


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def screenshot(url, folder, milliseconds):
    picture = folder / "screenshot.png"
    subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={folder / 'profile'}", f"--virtual-time-budget={milliseconds}",
            "--hide-scrollbars", "--window-size=1000,700", f"--screenshot={picture}", url,
        ],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    with Image.open(io.BytesIO(picture.read_bytes())) as image:
        return np.array(image.convert("RGB"))


def shown(url, folder, is_there):
    """The page when its tiles are there: the browser's clock may run out before its decoder is done."""
    for attempt in range(1, 11):
        image = screenshot(url, folder, 8000 * attempt)
        if is_there(image):
            break
    return image


@pytest.mark.skipif(BROWSER is None, reason="no Chromium that could show the page")
def test_page_in_a_browser(tmp_path):
    width, height = 3000, 2000
    colours = np.array([[200, 60, 40], [40, 90, 210]], np.uint8)
    pixels = np.zeros((height, width), np.uint8)
    pixels[:501, :2001] = 1  # the lower left; odd numbers, which no lower level shows
    picture = Picture(width, height, pixels.dtype, (0.0, 30.0, 0.0, 20.0), colours, ("north", "south"))
    save_pixels(pixels, tmp_path / "two areas.dzi", picture)
    url = (tmp_path / "two areas.html").as_uri()

    def colour_at(image, *place):
        return next((k for k, colour in enumerate(colours) if (image[place] == colour).all()), None)

    def area(image):
        """Where the picture is: header and legend are above row 41."""
        is_in = (image[:, :, None] == colours).all(-1).any(-1)
        is_in[:41] = False
        rows, columns = np.flatnonzero(is_in.any(1)), np.flatnonzero(is_in.any(0))
        return (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) if len(rows) else None

    def is_whole(image):
        """Whether all tiles are there, and not some of them alone."""
        top, bottom, left, right = area(image) or (0, 1, 0, 0)
        return right - left > 400 and abs((right - left) / (bottom - top) - 1.5) < 0.02

    home = shown(url, tmp_path, is_whole)
    assert is_whole(home)
    top, bottom, left, right = area(home)
    for x, y, expected in [(1, 1, 1), (19, 4, 1), (21, 4, 0), (19, 6, 0), (1, 19, 0), (29, 1, 0)]:
        row, column = bottom - y / 20 * (bottom - top), left + x / 30 * (right - left)
        assert colour_at(home, int(row), int(column)) == expected, (x, y)
    for colour in colours:  # the legend
        assert (home[:41] == colour).all(-1).sum() > 100

    # 16 pixels of the screen or some more a pixel of the picture, the corner of the areas in the middle.
    def south(image):
        return (image == colours[1]).all(-1)[60:640]

    def width_of_south(image):
        return np.flatnonzero(south(image).any(0)).max(initial=0) + 1

    near = shown(
        f"{url}#x=20.01&y=5.01&zoom=16", tmp_path, lambda image: abs(width_of_south(image) - 500) <= 1
    )
    assert abs(width_of_south(near) - 500) <= 1
    is_south, is_north = south(near), (near == colours[0]).all(-1)[60:640]
    assert (is_south | is_north).all()  # nothing between the two: pixels are sharp
    rows = np.flatnonzero(is_south.any(1))
    assert is_south[rows[0] :, : width_of_south(near)].all()
    assert is_south.sum() == len(rows) * width_of_south(near)
    # In the middle between header and footer.
    assert abs(60 + rows[0] - 350) <= 6


# ---- whole or not at all ----


def test_what_is_no_picture_is_not_replaced(tmp_path, small):
    pixels, picture = class_picture(33, 65, 3)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("precious", shape=10, dtype="int64")[:] = np.arange(10)
    (tmp_path / "b.html").write_text("mine")
    (tmp_path / "c_files").write_text("mine")
    (tmp_path / "c.dzi").write_text("mine")
    before = contents(tmp_path)
    for name in ("a.zarr", "b.dzi", "c.dzi"):
        with pytest.raises(ValueError, match="path: there is already something at"):
            save_pixels(pixels, tmp_path / name, picture)
    assert contents(tmp_path) == before
    np.testing.assert_array_equal(zarr.open_group(tmp_path / "a.zarr")["precious"][:], np.arange(10))


def test_older_pictures_are_kept_even_where_they_cannot_be_moved_back(tmp_path, small, monkeypatch):
    pixels, picture = class_picture(33, 65, 3)
    save_pixels(pixels, tmp_path / "a.dzi", picture)
    before = contents(tmp_path)
    replace, moves = os.replace, []

    def fails(source, goal):
        moves.append(goal)
        if len(moves) > 3:
            raise OSError("the disk is gone")
        replace(source, goal)

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="the disk is gone"):
        save_pixels(pixels, tmp_path / "a.dzi", picture)
    monkeypatch.undo()
    (draft,) = tmp_path.iterdir()
    older = next(folder for folder in draft.iterdir() if (folder / "a.dzi").exists())
    assert contents(older) == before


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers that interrupt")
@pytest.mark.parametrize("suffix", FORMATS)
def test_interrupts_at_any_moment_leave_the_older_picture_or_the_new_one(tmp_path, small, suffix):
    pixels, picture = class_picture(33, 65, 3)
    save_pixels(pixels, tmp_path / f"a{suffix}", picture)
    before, n_interrupts = contents(tmp_path), 0
    old = signal.signal(signal.SIGALRM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        for delay in np.linspace(1e-4, 0.03, 60):
            try:
                signal.setitimer(signal.ITIMER_REAL, delay)
                save_pixels(pixels, tmp_path / f"a{suffix}", picture)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                n_interrupts += 1
            assert contents(tmp_path) == before
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert n_interrupts


@pytest.mark.parametrize("suffix", FORMATS)
def test_older_pictures_are_replaced(tmp_path, small, suffix):
    for size in ((33, 65), (65, 9)):
        pixels, picture = class_picture(*size, 3)
        save_pixels(pixels, tmp_path / f"a{suffix}", picture)
        mode = stat.S_IMODE((tmp_path / f"a{suffix}").stat().st_mode)
    new = contents(tmp_path)
    assert not any(name.startswith(".") for name in new)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    save_pixels(pixels, tmp_path / f"a{suffix}", picture)
    assert contents(tmp_path) == new
    umask = os.umask(0)
    os.umask(umask)
    assert mode == (0o777 if suffix == ".zarr" else 0o666) & ~umask


@pytest.mark.parametrize("put", [False, True])
@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_discarded_leaves_the_folder_as_it_was(tmp_path, small, suffix, put):
    before_threads = threading.active_count()
    for is_older in (False, True):
        if is_older:
            pixels, picture = class_picture(33, 65, 3)
            save_pixels(pixels, tmp_path / f"a{suffix}", picture)
        before = contents(tmp_path)
        pixels, picture = class_picture(65, 64, 4)

        def deposit_some(sink):
            for k, rect in enumerate(sink.rectangles()):
                if k == 5 or not put:
                    raise KeyboardInterrupt
                sink.put(
                    rect, sink.encode(rect, pixels[rect.bottom : rect.top, rect.left : rect.right].copy())
                )

        with pytest.raises(KeyboardInterrupt), open_sink(tmp_path / f"a{suffix}", picture) as sink:
            deposit_some(sink)
        assert contents(tmp_path) == before
    assert threading.active_count() <= before_threads + (suffix == ".zarr") * 10  # zarr keeps its own


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_failure_in_the_last_moment_changes_nothing(tmp_path, small, suffix, monkeypatch):
    pixels, picture = class_picture(33, 65, 3)
    save_pixels(pixels, tmp_path / f"a{suffix}", picture)
    before = contents(tmp_path)
    replace, goals = os.replace, []

    def fails_at_the_last(source, goal):
        goals.append(Path(goal))
        if Path(goal).name == last and Path(goal).parent == tmp_path and goals.count(Path(goal)) == 1:
            raise OSError("no")
        replace(source, goal)

    last = "a.html" if suffix == ".dzi" else f"a{suffix}"
    monkeypatch.setattr(os, "replace", fails_at_the_last)
    with pytest.raises(OSError, match="no"):
        save_pixels(*(pixels * 0, tmp_path / f"a{suffix}", picture))
    assert contents(tmp_path) == before


def test_tiles_come_before_their_index_and_go_after_it(tmp_path, small, monkeypatch):
    pixels, picture = class_picture(9, 9, 3)
    save_pixels(pixels, tmp_path / "a.dzi", picture)
    replace, seen = os.replace, []

    def watched(source, goal):
        replace(source, goal)
        seen.append({path.name for path in tmp_path.iterdir() if not path.name.startswith(".")})

    monkeypatch.setattr(os, "replace", watched)
    save_pixels(pixels, tmp_path / "a.dzi", picture)
    assert seen == [
        {"a.dzi", "a_files"}, {"a_files"}, set(), {"a_files"}, {"a.dzi", "a_files"},
        {"a.dzi", "a.html", "a_files"},
    ]  # fmt: skip


def test_nothing_of_somebody_else_is_replaced(tmp_path):
    picture = class_picture(9, 9, 2)[1]
    for name in ("a.png", "a.tif", "a.dzi", "b.html", "c_files", "d.zarr"):
        (tmp_path / name).mkdir()
    (tmp_path / "e.zarr").write_text("mine")
    before = contents(tmp_path)
    for name, message in [
        ("a.png", "a.png is a folder, not the name of a picture"),
        ("a.tif", "a.tif is a folder"),
        ("a.dzi", "a.dzi is a folder"),
        ("b.dzi", "b.html is a folder"),
        ("c.dzi", "c_files that belongs to no c.dzi"),
        ("d.zarr", "d.zarr that is no Zarr array"),
        ("e.zarr", "e.zarr that is no Zarr array"),
    ]:
        with pytest.raises(ValueError, match=f"out: .*{message}"):
            open_sink(tmp_path / name, picture)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "a.png",
            {"width": 2**31},
            "a side of a .png picture has at most 2147483647 pixels, but it is 2147483648",
        ),
        ("a.tif", {"height": 2**32}, "a side of a .tif picture has at most 4294967295 pixels"),
        (
            "a.png",
            {"dtype": np.dtype(np.int64)},
            "must be of a dtype for classes: uint8 or uint16, not int64",
        ),
        ("a.zarr", {"colours": None}, "must be of a dtype for a response: floating, not uint8"),
        (
            "a.dzi",
            {"colours": colours_of(257)},
            "at most 256 classes, but there are 257; .tif and .zarr hold more",
        ),
        ("a.png", {"colours": colours_of(65537)}, "a .png picture has at most 65536 classes"),
    ],
)
def test_what_a_format_cannot_hold(tmp_path, name, changes, message):
    options = {
        "width": 3,
        "height": 3,
        "dtype": np.dtype(np.uint8),
        "extent": EXTENT,
        "colours": colours_of(2),
    }
    with pytest.raises(ValueError, match=re.escape(message)):
        open_sink(tmp_path / name, Picture(**options | changes))
    assert not list(tmp_path.iterdir())


def test_pictures_agree_with_what_is_said_of_them(tmp_path):
    with pytest.raises(ValueError, match="3 classes must have a colour each, got 2 colours"):
        class_picture(3, 3, 2, classes=("a", "b", "c"))
    pixels, picture = class_picture(3, 4, 2)
    with pytest.raises(
        ValueError, match=re.escape("pixels must have shape (4, 3) (height, width), got (3, 4)")
    ):
        save_pixels(pixels.T, tmp_path / "a.png", picture)
    assert not list(tmp_path.iterdir())


def test_written_whole(tmp_path):
    path = tmp_path / "a.txt"
    with written_whole(path) as temporary:
        temporary.write_text("old")
        assert temporary.suffix == ".txt"
        assert not path.exists()

    def fails():
        with written_whole(path) as temporary:
            temporary.write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert contents(tmp_path) == {"a.txt": b"old"}
    Draft(path).discard()
    assert contents(tmp_path) == {"a.txt": b"old"}
