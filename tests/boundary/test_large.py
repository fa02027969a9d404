"""A picture of more than 2^31 pixels; only ``pytest -m large`` runs these tests."""

import numpy as np
import psutil
import pytest
from sklearn.datasets import make_moons

import fastnn
from fastnn.boundary.render import centres

pytestmark = pytest.mark.large

XLIM, YLIM, SIDE = (-2.0, 3.0), (-1.5, 2.0), 46_400


@pytest.fixture(scope="module")
def model():
    X, y = make_moons(200, noise=0.20, random_state=0)
    model = fastnn.Model([2, 3, 2], random_state=0, dtype=np.float32)
    model.train(X, y)
    return model


def test_both_methods_agree_and_equal_the_predictions(model):
    assert SIDE**2 > 2**31
    if psutil.virtual_memory().available < 2.2 * SIDE**2:
        pytest.skip("needs 5 GB of memory")
    certified, dense = (
        fastnn.render_boundary(model, XLIM, YLIM, (SIDE, SIDE), method=method)
        for method in ("certified", "dense")
    )
    assert certified.stats.points == SIDE**2
    assert certified.stats.points_filled + certified.stats.points_evaluated == SIDE**2
    counts = []
    for image in (certified, dense):
        assert image.data.shape == (SIDE, SIDE)
        counts.append(sum(np.bincount(row, minlength=2) for row in image.data))
    assert counts[0].sum() == SIDE**2
    np.testing.assert_array_equal(counts[0], counts[1])
    for a, b in zip(certified.data, dense.data, strict=True):
        assert np.array_equal(a, b)
    xs, ys = (centres(limits, SIDE).points(0, SIDE) for limits in (XLIM, YLIM))
    random = np.random.default_rng(0)
    for row, column in random.integers(0, SIDE - 64, (200, 2)):
        tile = slice(row, row + 64), slice(column, column + 64)
        points = np.stack(np.meshgrid(xs[tile[1]], ys[tile[0]]), axis=-1).reshape(-1, 2)
        np.testing.assert_array_equal(certified.data[tile].ravel(), model.predict(points))


def test_a_file_of_so_many_pixels_shows_the_picture(model, tmp_path):
    from PIL import Image

    path = tmp_path / "boundary.png"
    image = fastnn.render_boundary(model, XLIM, YLIM, (SIDE, SIDE), out=path)
    assert image.stats.points == SIDE**2
    small = fastnn.render_boundary(model, XLIM, YLIM, (SIDE // 16, SIDE // 16)).data
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(path) as picture:
        # Take a pixel near the centre of every square of 16 x 16; the file begins with the top row.
        seen = np.asarray(picture)[::-1][8::16, 8::16]
    # The centres of the large pixels lie half a pixel beside: only pixels on the boundary differ.
    assert (seen != small).mean() < 1e-3
