"""The size of a picture as one number: its longer side; the other side is in proportion."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import make_moons

import fastnn
from fastnn.boundary.render import check_size

X, y = make_moons(60, noise=0.2, random_state=0)
# The picture's (width, height) for size=80, and (xlim, ylim).
VIEWS = {
    (80, 56): ((-2, 3), (-1.5, 2)),
    (56, 80): ((-1.5, 2), (-2, 3)),
    (80, 80): ((0, 1), (5, 6)),
    (80, 20): ((0, 4), (0, 1)),
    (80, 10): ((0, 8), (0, 1)),
    # The longer side is at most 8 times the shorter one.
    (10, 80): ((0, 1e-6), (0, 1e6)),
}


@pytest.fixture(scope="module")
def model():
    return fastnn.Model([2, 3, 2], random_state=0)


@pytest.mark.parametrize(("size", "view"), VIEWS.items(), ids=str)
@pytest.mark.needs("dask")
def test_one_number_is_the_longer_side(model, size, view, tmp_path):
    for number in (80, np.int32(80)):
        assert fastnn.render_boundary(model, *view, number).data.shape == size[::-1]
    np.testing.assert_array_equal(
        fastnn.render_boundary(model, *view, 80).data, fastnn.render_boundary(model, *view, size).data
    )
    fastnn.render_boundary(model, *view, 80, out=tmp_path / "boundary.png")
    with Image.open(tmp_path / "boundary.png") as image:
        assert image.size == size
    assert fastnn.boundary_array(model, *view, 80).shape == size[::-1]


def test_the_default_is_1024_along_the_longer_side(model):
    assert fastnn.render_boundary(model, (-2, 3), (-1.5, 2)).data.shape == (717, 1024)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_side_has_one_pixel_at_least(model, size):
    assert fastnn.render_boundary(model, (0, 100), (0, 1), size).data.shape == (1, size)


def test_two_numbers_are_width_and_height(model):
    assert fastnn.render_boundary(model, (0, 1e6), (0, 1), (3, 7)).data.shape == (7, 3)


@pytest.mark.needs("dask")
def test_a_number_below_1_is_refused(model):
    for call in (fastnn.render_boundary, fastnn.boundary_array):
        with pytest.raises(ValueError, match="size must be an integer of at least 1"):
            call(model, (0, 1), (0, 1), 0)
        with pytest.raises(
            ValueError, match="size must be .width, height. in pixels, or one integer, got 'a'"
        ):
            call(model, (0, 1), (0, 1), "a")


def test_sizes_of_large_pictures_are_exact_integers():
    assert check_size(32768, 5.0, 3.5) == (32768, 22938)
    assert check_size(2**62, 1.0, 1.0) == (2**62, 2**62)


def test_a_plot_has_the_proportion_of_its_axes(model):
    figure = Figure(figsize=(6, 3))
    ax = figure.add_axes((0, 0, 1, 1))
    fastnn.plot_decision_boundary(model, X, y, ax=ax, resolution=50)
    assert ax.images[0].get_array().shape[:2] == (25, 50)
    # The size does not depend on the units of the data.
    ax = figure.add_axes((0, 0, 0.5, 1))
    fastnn.plot_decision_boundary(model, X * [1, 1e5], y, ax=ax, resolution=50)
    assert ax.images[0].get_array().shape[:2] == (50, 50)


def test_a_frame_has_the_proportion_of_the_default_size(model, tmp_path):
    path = fastnn.animate_training([model], X, y, tmp_path / "a.gif", size=320)
    with Image.open(path) as image:
        assert image.size == (320, 240)
