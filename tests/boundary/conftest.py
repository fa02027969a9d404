"""Models and settings that several modules of these tests share."""

import pytest
from views import X, y

import fastnn


@pytest.fixture(scope="module", params=["numba", "numpy"])
def model(request):
    model = fastnn.Model([2, 3, 2], random_state=0, backend=request.param)
    model.train(X, y, num_passes=500)
    return model


@pytest.fixture(scope="module")
def trained():
    model = fastnn.Model([2, 3, 2], random_state=0)
    model.train(X, y, num_passes=2000)
    return model
