"""What the property-based tests draw: sizes, dtypes, and arrays as the kernels take them.

Kernels hold a unit a row and a sample a column, the reference a sample a row: ``array.T`` of one is
the other.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from fastnn.network import ALIGNMENT, Network

DTYPES = (np.dtype(np.float64), np.dtype(np.float32))

dtypes = st.sampled_from(DTYPES)
# One, odd, and beyond a register block; now and then far beyond.
widths = st.one_of(st.integers(1, 13), st.sampled_from([1, 4, 5, 16, 33, 70]))
# Samples that are real, none among them; the tile is filled up to whole vectors.
counts = st.one_of(st.integers(0, 40), st.sampled_from([1, 64, 129, 512, 1000]))


@dataclass
class Draw:
    """Random arrays of one dtype."""

    dtype: np.dtype
    random: np.random.Generator
    scale: float

    def array(self, *shape: int) -> np.ndarray:
        return (self.scale * self.random.standard_normal(shape)).astype(self.dtype)

    def labels(self, n_classes: int, count: int) -> np.ndarray:
        return self.random.integers(0, n_classes, count)

    def padded(self, count: int) -> int:
        """Samples of the smallest tile of whole vectors that holds `count`."""
        lanes = ALIGNMENT // self.dtype.itemsize
        return -(-count // lanes) * lanes


draws = st.builds(
    Draw,
    dtypes,
    st.integers(0, 2**32 - 1).map(np.random.default_rng),
    st.sampled_from([1e-3, 0.3, 1.0, 10.0, 300.0]),
)


def tolerance(dtype: np.dtype, terms: int = 1) -> float:
    """Relative error of a sum of `terms` products in any order, of a few ulp each."""
    return float(np.finfo(dtype).eps) * (4 + terms)


def untouched(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An output buffer: NaN wherever a kernel forgot to write."""
    return np.full(shape, np.nan, dtype)


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.view()
    array.flags.writeable = False
    return array


# Each combination is compiled: the tutorial's, the textbook's, and all there are.
activations = st.sampled_from([["tanh"], ["identity", "tanh"], ["identity", "sigmoid", "tanh"]])
# Any depth and widths; the last is the number of classes.
layers = st.lists(st.integers(1, 9), min_size=2, max_size=5)


@st.composite
def networks(draw, layers_dim=layers) -> Network:
    """A network description, each layer with an activation of its own."""
    dims = tuple(draw(layers_dim))
    names = draw(activations)
    chosen = [draw(st.sampled_from(names)) for _ in dims[1:]]
    return Network(dims, (*chosen[:-1], names[0]), draw(dtypes))
