"""Sinks, the destinations of pictures: their rectangles, and arrays as sinks."""

import re

import numpy as np
import pytest
from sink_pictures import EXTENT, SIZES, class_picture, colours_of, formats, response_picture, write_pixels

from fastnn.boundary.sinks import FORMATS, Picture, Rect, open_sink


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("suffix", formats("", *FORMATS))
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
        pytest.param(".tif", Rect(10**6 - 512, 10**6, 0, 8192), 1 << 22, marks=pytest.mark.needs("tifffile")),
        pytest.param(".zarr", Rect(0, 2048, 0, 2048), 1 << 22, marks=pytest.mark.needs("zarr")),
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


@pytest.mark.parametrize("size", SIZES)
def test_a_sink_without_a_destination_makes_an_array(small, size):
    pixels, picture = class_picture(*size, 5)
    sink = open_sink(None, picture)
    write_pixels(sink, pixels)
    np.testing.assert_array_equal(sink.pixels, pixels)
    assert sink.pixels.dtype == np.uint8


@pytest.mark.parametrize(
    ("make", "in_place"),
    [
        (lambda: np.zeros((33, 65), np.uint8), True),
        (lambda: np.zeros((33, 65), np.uint8, order="F"), False),
        (lambda: np.zeros((66, 130), np.uint8)[::2, ::-2], False),
        (lambda: np.zeros((33, 65), np.int64), False),
        (lambda: np.zeros((33, 65), np.int8), False),  # wide enough for 5 classes
        (lambda: np.zeros((33, 65), np.float32), False),
    ],
)
def test_an_array_of_the_caller_is_filled(small, make, in_place):
    pixels, picture = class_picture(65, 33, 5)
    out = make()
    sink = open_sink(out, picture)
    rect = next(iter(sink.rectangles()))
    assert (sink.target(rect) is not None) == in_place
    write_pixels(sink, pixels)
    assert sink.pixels is out
    np.testing.assert_array_equal(out, pixels)


def test_a_memory_map_is_filled(tmp_path, small):
    pixels, picture = response_picture(65, 33)
    out = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float32, (33, 65))
    write_pixels(open_sink(out, picture), pixels)
    out.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), pixels)


def read_only():
    """Return an array that cannot be written to."""
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
def test_unsuitable_destinations_are_refused(out, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=re.escape(message)):
        open_sink(out, class_picture(4, 3, 300, np.uint16)[1])
    assert not list(tmp_path.iterdir())


def test_signed_integers_hold_half_as_many_classes():
    open_sink(np.zeros((3, 4), np.int8), class_picture(4, 3, 128)[1])
    with pytest.raises(ValueError, match="holds 129 classes, as uint8 does, got an array of int8"):
        open_sink(np.zeros((3, 4), np.int8), class_picture(4, 3, 129)[1])


def test_a_response_needs_an_array_of_floats():
    with pytest.raises(ValueError, match="out must have a dtype that holds a response, as float32 does"):
        open_sink(np.zeros((3, 4), np.int64), response_picture(4, 3)[1])
    out = np.zeros((3, 4), np.float32)  # a response is rounded to float32
    write_pixels(open_sink(out, response_picture(4, 3, np.float64)[1]), response_picture(4, 3, np.float64)[0])
    np.testing.assert_array_equal(out, response_picture(4, 3)[0])
