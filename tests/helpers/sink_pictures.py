"""Pictures of stripes, painted through the public call from a function of the points."""

from dataclasses import replace

import numpy as np
import pytest

import fastnn


def formats(*suffixes):
    """Return suffixes as parameters of a test, with the mark `needs` for formats that a package writes."""
    return [pytest.param(one, marks=pytest.mark.needs("zarr") if one == ".zarr" else ()) for one in suffixes]


def make_colours(n_classes):
    number = np.arange(n_classes)
    return np.column_stack([255 - number % 256, number % 7 * 30, number // 256 + 50]).astype(np.uint8)


def make_stripes(width, height, n_classes):
    """Return the classes (height, width) of stripes without symmetry, and of a quadrant of one class."""
    row, column = np.ogrid[:height, :width]
    pixels = (column * 3 + row * row) // 50 % n_classes
    pixels[height // 2 :, width // 2 :] = n_classes - 1
    return pixels


def render_pixels(pixels, labels, model=None, **options):
    """Render a function of points, by default the label of the pixel (of side 1) around a point."""
    height, width = pixels.shape

    def predict(points):
        return np.asarray(labels)[pixels[tuple(points[:, ::-1].astype(int).T)]]

    size = width, height
    return fastnn.render_boundary(model or predict, (0, width), (0, height), size, classes=labels, **options)


def render_stripes(width, height, n_classes, **options):
    pixels = make_stripes(width, height, n_classes)
    return pixels, render_pixels(pixels, range(n_classes), **options)


def hold_stripes(width, height, labels):
    """Return stripes, and a picture that holds them without painting a function of so many points."""
    pixels = make_stripes(width, height, len(labels))
    image = fastnn.render_boundary(lambda points: labels[:1], (0, width), (0, height), 1, classes=labels)
    return pixels, replace(image, data=pixels)
