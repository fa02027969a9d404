"""Copies between tables, with a sample in each row, and tiles, with a sample in each column."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import Draw, Windows, draws, read_only, untouched, widths

from fastnn_kernels.vectors import tile as compiled

numbers = st.one_of(st.integers(1, 40), st.sampled_from([64, 129]))
few = st.integers(0, 9)


@given(draws, widths, few, numbers, few, st.integers(0, 2), st.booleans())
def test_a_tile_has_a_sample_in_each_column(draw: Draw, n_features, first, n, after, extra, is_gathered):
    """Gathered indices have any order and may repeat. The last sample is repeated in the padding."""
    X = draw.array(first + n + after, n_features)
    indices = draw.random.integers(0, len(X), len(X)) if is_gathered else np.arange(len(X))
    output = Windows(untouched((n_features, draw.padded(n) + extra * draw.padded(1)), draw.dtype))
    (tile,) = output.views
    if is_gathered:
        compiled.gather_tile(read_only(X), indices, first, n, tile)
    else:
        compiled.copy_tile(read_only(X), first, n, tile)
    columns = np.minimum(np.arange(tile.shape[1]), n - 1)
    np.testing.assert_array_equal(tile, X[indices[first + columns]].T)
    assert output.are_kept_apart()
