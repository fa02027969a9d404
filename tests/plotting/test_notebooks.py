"""Display of results in notebooks and at the Python prompt."""

import io

import numpy as np
import pytest
from PIL import Image

import fastnn


def shown(image):
    """Return the picture that a notebook shows."""
    with Image.open(io.BytesIO(image._repr_png_())) as picture:
        picture.load()
        return picture


def stripes(n_classes):
    """Return a picture of vertical stripes, each a class."""
    return fastnn.render_boundary(
        lambda points: np.floor(points[:, 0]),
        (0, n_classes),
        (0, 1),
        (n_classes, 4),
        classes=range(n_classes),
    )


def assert_shown_as_saved(image, path):
    """Assert that a notebook shows exactly the picture that `save` writes."""
    image.save(path)
    with Image.open(path) as saved:
        picture = shown(image)
        assert picture.mode == saved.mode
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(saved))
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), np.asarray(saved.convert("RGB")))


@pytest.mark.parametrize("n_classes", [1, 2, 3, 10, 40, 300])
def test_classes_are_shown_as_they_are_saved(n_classes, tmp_path):
    assert_shown_as_saved(stripes(n_classes), tmp_path / "stripes.png")


@pytest.mark.parametrize("response", ["probability", "confidence", "margin"])
def test_responses_are_shown_as_they_are_saved(response, tmp_path):
    model = fastnn.Model([2, 3, 2], random_state=0)
    image = fastnn.render_boundary(model, (-1, 1), (-1, 1), (30, 20), response=response)
    assert_shown_as_saved(image, tmp_path / "response.png")


@pytest.mark.parametrize(
    ("size", "shown_size"), [((1024, 3), (1024, 3)), ((3000, 1025), (1000, 342)), ((2, 2049), (1, 683))]
)
def test_large_pictures_are_shown_smaller(size, shown_size):
    image = fastnn.render_boundary(lambda points: points[:, 1] > 0.5, (0, 1), (0, 1), size)
    picture = np.asarray(shown(image))
    assert picture.shape == shown_size[::-1]
    # Rows begin at the top.
    assert picture[0].all()
    assert not picture[-1].any()


def test_pictures_of_any_dtype_are_shown():
    view = lambda points: points[:, 0] > points[:, 1], (0, 1), (0, 1), 20
    expected = np.asarray(shown(fastnn.render_boundary(*view)))
    assert len(np.unique(expected)) == 2
    for dtype in (np.int64, np.float32, np.uint16):
        out = np.empty((20, 20), dtype)
        image = fastnn.render_boundary(*view, classes=[False, True], out=out)
        np.testing.assert_array_equal(np.asarray(shown(image)), expected)


def test_a_picture_in_a_file_is_not_shown(tmp_path):
    model = fastnn.Model([2, 3, 2], random_state=0)
    image = fastnn.render_boundary(model, (0, 1), (0, 1), 20, out=tmp_path / "boundary.png")
    assert image._repr_png_() is None


def test_a_gradient_report_is_shown_as_its_table():
    report = fastnn.Model([2, 3, 2], random_state=0).check_gradients([[0.0, 1.0], [1.0, -1.0]], [0, 1])
    assert repr(report) == str(report)
    lines = repr(report).splitlines()
    assert [line.split()[0] for line in lines] == ["W[0]", "b[0]", "W[1]", "b[1]"]
    assert all("max relative error" in line for line in lines)
