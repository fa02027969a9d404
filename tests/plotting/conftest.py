"""Fixtures of the tests of drawings."""

import pytest
from matplotlib.figure import Figure


@pytest.fixture
def ax():
    """Return axes that fill a figure of 400 x 300 pixels."""
    return Figure(figsize=(4, 3), dpi=100).add_axes((0, 0, 1, 1))
