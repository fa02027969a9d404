"""Encodings of numerical columns: kernels against the reference, the reference against other formulas."""

from functools import partial

import numpy as np
from comparisons import call_kernel
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies import read_only, untouched

from fastnn.reference import encoding as reference
from fastnn.tables.encoding.transformers import compute_interval_terms, find_quantile_edges
from fastnn_kernels import encoding as compiled

F64 = np.dtype(np.float64)
finite = st.one_of(st.floats(-100, 100), st.floats(allow_nan=False, allow_infinity=False))
numbers = hnp.arrays(np.float64, st.integers(0, 70), elements=st.one_of(finite, st.just(np.nan)))
scales = st.floats(1e-300, 1e300)
# Errors of float64 change a result rounded to float32 by one ulp at most.
ONE_ULP = 2 * np.finfo(np.float32).eps


@given(numbers, finite, scales, st.sampled_from([1.0, 3.0, 1e-3, 1e300]), st.integers(0, 4))
@example(np.array([1e308, -1e308]), 0.0, 1.0, 1e-3, 0)
def test_smooth_scaling_matches_the_reference(x, center, scale, limit, column):
    kernel = partial(compiled.smooth_scaled, read_only(x), center, scale, limit)
    (out,) = call_kernel(lambda out: kernel(out, column), [], [untouched((x.size, 5), np.float32)])
    with np.errstate(over="ignore"):
        expected = reference.smooth_scaled(x, center, scale, limit).astype(np.float32)
    np.testing.assert_allclose(out[:, column], expected, rtol=ONE_ULP, atol=np.finfo(np.float32).tiny)
    assert np.isnan(np.delete(out, column, axis=1)).all()


@given(numbers, hnp.arrays(np.float64, st.integers(1, 60), elements=finite), st.integers(1, 40), st.data())
def test_positions_match_the_reference_bit_for_bit(x, column, n_bins, data):
    low, width, factor = compute_interval_terms(find_quantile_edges(column, n_bins), F64)
    x = np.concatenate([x, column])  # numbers that lie on edges too
    first, n_after = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    kernel = partial(compiled.piecewise_linear, read_only(x), read_only(low), read_only(width), factor)
    shape = x.size, first + low.size + n_after
    (out,) = call_kernel(lambda out: kernel(out, first), [], [untouched(shape, np.float32)])
    expected = reference.piecewise_linear(x, low, width, factor).astype(np.float32)
    np.testing.assert_array_equal(out[:, first : first + low.size], expected)
    assert np.isnan(np.delete(out, np.s_[first : first + low.size], axis=1)).all()


@given(st.lists(st.integers(-100, 100), min_size=2, max_size=9, unique=True), st.floats(-200, 200))
def test_positions_add_up_to_the_place_among_the_edges(edges, x):
    """The sum of the positions is the number of the edge at x, interpolated between edges."""
    edges = np.sort(edges) / 4
    low, width, factor = compute_interval_terms(edges, F64)
    (positions,) = reference.piecewise_linear(np.array([x]), low, width, factor)
    expected = np.interp(x, edges, np.arange(edges.size))
    np.testing.assert_allclose(positions.sum(), expected, atol=1e-9, rtol=1e-9)
