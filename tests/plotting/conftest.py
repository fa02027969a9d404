"""Fixtures of the tests of drawings."""

import pytest
from matplotlib.figure import Figure


@pytest.fixture
def ax():
    return Figure(figsize=(4, 3), dpi=100).add_axes((0, 0, 1, 1))
