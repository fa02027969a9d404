"""Display of pictures in notebooks."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import fastnn


def show(image):
    with Image.open(io.BytesIO(image._repr_png_())) as picture:
        picture.load()
        return picture


def check_shown_as_saved(image, path):
    image.save(path)
    with Image.open(path) as saved:
        picture = show(image)
        assert picture.mode == saved.mode
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), np.asarray(saved.convert("RGB")))


def test_pictures_are_shown_as_they_are_saved(tmp_path):
    for n in (1, 3, 40, 300):
        options = {"xlim": (0, n), "ylim": (0, 1), "size": (n, 4), "classes": range(n)}
        image = fastnn.render_boundary(lambda points: np.floor(points[:, 0]), **options)
        check_shown_as_saved(image, tmp_path / "stripes.png")
        for dtype in (np.int64, np.uint16):  # arrays of the user's
            wider = replace(image, data=image.data.astype(dtype))
            np.testing.assert_array_equal(np.asarray(show(wider)), np.asarray(show(image)))
    model = fastnn.Model([2, 3, 2], random_state=0)
    for response in ("probability", "confidence", "margin"):
        image = fastnn.render_boundary(model, (-1, 1), (-1, 1), (30, 20), response=response)
        check_shown_as_saved(image, tmp_path / "response.png")
    image = fastnn.render_boundary(model, (0, 1), (0, 1), 20, out=tmp_path / "boundary.png")
    assert image._repr_png_() is None, "the picture is in a file"


SIZES = [((1024, 3), (1024, 3)), ((3000, 1025), (1000, 342)), ((2, 2049), (1, 683))]


@pytest.mark.parametrize(("size", "expected"), SIZES)
def test_large_pictures_are_shown_smaller(size, expected):
    image = fastnn.render_boundary(lambda points: points[:, 1] > 0.5, (0, 1), (0, 1), size)
    picture = np.asarray(show(image))
    assert picture.shape == expected[::-1]
    # Rows begin at the top.
    assert picture[0].all()
    assert not picture[-1].any()
