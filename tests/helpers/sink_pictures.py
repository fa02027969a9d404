"""Pictures of stripes, and a function that writes them to a sink from several threads."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastnn.boundary.sinks import FORMATS, Picture

EXTENT = (-1.5, 2.5, -1.0, 2.0)
# Widths and heights: a single pixel, row or column; whole tiles of the fixture `small`, a pixel more or less.
SIZES = [(1, 1), (1, 37), (37, 1), (16, 16), (15, 33), (33, 17), (63, 64), (65, 31), (129, 70)]


def formats(*suffixes):
    """Return suffixes as parameters of a test, with the mark `needs` for formats that a package writes."""
    packages = {suffix: FORMATS[suffix].package for suffix in suffixes if suffix}
    return [
        pytest.param(suffix, marks=pytest.mark.needs(packages[suffix]) if packages.get(suffix) else ())
        for suffix in suffixes
    ]


def colours_of(n_classes):
    """Return different colours (n_classes, 3)."""
    number = np.arange(n_classes)
    return np.column_stack([255 - number % 256, number % 7 * 30, number // 256 + 50]).astype(np.uint8)


def class_picture(width, height, n_classes, dtype=np.uint8, classes=None):
    """Return stripes of classes without symmetry, a quadrant of one class, and the `Picture` of them."""
    row, column = np.mgrid[:height, :width]
    pixels = ((column * 3 + row * row) // 50 % n_classes).astype(dtype)
    pixels[height // 2 :, width // 2 :] = n_classes - 1
    return pixels, Picture(width, height, pixels.dtype, EXTENT, colours_of(n_classes), classes)


def response_picture(width, height, dtype=np.float32):
    """Return stripes of a response, with values below 0 and above 1, and the `Picture` of them."""
    row, column = np.mgrid[:height, :width]
    pixels = (0.5 + 0.7 * np.sin(row / 9 + column / 5)).astype(dtype)
    return pixels, Picture(width, height, pixels.dtype, EXTENT)


def grey(pixels, most):
    """Return the levels of grey, from 0 to `most`, at which a format stores a response."""
    return np.floor(np.clip(pixels.astype(np.float32), 0, 1) * most + 0.5).astype(int)


def write_pixels(sink, pixels, n_threads=3, seed=0):
    """Write pixels to a sink: encode its rectangles on threads in a random order, then put them in order."""
    rectangles = list(sink.rectangles())
    shuffled = random.Random(seed).sample(rectangles, len(rectangles))

    def paint(rect):
        target = sink.target(rect)
        if target is None:
            target = np.empty((rect.top - rect.bottom, rect.right - rect.left), sink_dtype)
        target[:] = pixels[rect.bottom : rect.top, rect.left : rect.right]
        encoded = sink.encode(rect, target)
        target[:] = 0 if sink.target(rect) is None else target  # a painter may reuse its buffer
        return encoded

    sink_dtype = pixels.dtype
    with sink:
        with ThreadPoolExecutor(n_threads) as pool:
            encoded = dict(zip(shuffled, pool.map(paint, shuffled), strict=True))
        for rect in rectangles:
            sink.put(rect, encoded[rect])
