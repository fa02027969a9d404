"""Models and settings that several modules of these tests share."""

import pytest
from views import X, y

import fastnn


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
