"""Models and settings that several modules of these tests share."""

import pytest
from views import X, y

import fastnn
from fastnn.boundary import sinks
from fastnn.boundary.sinks import array, deepzoom, png, tiff


@pytest.fixture(scope="module", params=["numba", "numpy"])
def model(request):
    """Return a model of the two moons, trained on either backend."""
    model = fastnn.Model([2, 3, 2], random_state=0, backend=request.param)
    model.train(X, y, num_passes=500)
    return model


@pytest.fixture(scope="module")
def trained():
    """Return the tutorial's model of the two moons, trained by the kernels."""
    model = fastnn.Model([2, 3, 2], random_state=0)
    model.train(X, y, num_passes=2000)
    return model


@pytest.fixture
def small(monkeypatch):
    """Make rectangles, tiles and blocks so small that small pictures have many of them."""
    for module, name, value in (
        (array, "MIN_ROWS", 3), (array, "MAX_ROWS", 5), (png, "PNG_POINTS", 100),
        (png, "BLOCK_POINTS", 40), (tiff, "TIFF_TILE", 16), (tiff, "TIFF_TILES", 2),
        (sinks.zarr, "ZARR_CHUNK", 8), (deepzoom, "DZI_TILE", 4),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
