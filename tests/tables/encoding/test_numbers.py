"""Smooth robust scaling and piecewise-linear encoding: closed forms, and scikit-learn's checks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.base import clone
from sklearn.preprocessing import RobustScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastnn import PiecewiseLinearEncoder, SmoothRobustScaler, TableEncoder

columns = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e300, 1e300))


@parametrize_with_checks(
    [SmoothRobustScaler(), PiecewiseLinearEncoder(), TableEncoder(), TableEncoder(numbers="smooth")]
)
def test_the_check_of_scikit_learn_passes(estimator, check):
    check(estimator)


@pytest.mark.parametrize("limit", [1.0, 3.0])
def test_smooth_scaling_bounds_the_result_of_robust_scaling(limit):
    X = np.random.RandomState(0).standard_cauchy((200, 3))
    U = RobustScaler().fit_transform(X)
    result = SmoothRobustScaler(limit=limit).fit_transform(X)
    np.testing.assert_allclose(result, U / np.sqrt(1 + (U / limit) ** 2), rtol=1e-12)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([5.0, 5.0, 5.0], [0.0, 0.0, 0.0]),
        # The quartiles are equal: half of the range is the scale.
        ([0.0] * 8 + [4.0], [0.0] * 8 + [2 / np.sqrt(1 + 4 / 9)]),
        ([np.nan, 1.0, 2.0, 3.0], [np.nan, -1 / np.sqrt(1 + 1 / 9), 0.0, 1 / np.sqrt(1 + 1 / 9)]),
        ([np.nan, np.nan], [np.nan, np.nan]),
    ],
)
def test_smooth_scaling_of_constant_columns_and_missing_values_has_a_closed_form(column, expected):
    result = SmoothRobustScaler().fit_transform(np.array(column)[:, None])[:, 0]
    np.testing.assert_allclose(result, expected, rtol=1e-12)


@given(columns)
def test_smooth_scaling_is_monotone_and_finite(x):
    result = SmoothRobustScaler().fit_transform(x[:, None])[:, 0]
    assert (np.abs(result) <= 3).all()
    assert (np.diff(result[np.argsort(x)]) >= -1e-12).all()


@given(columns, st.integers(1, 9))
def test_positions_are_those_of_the_formula(x, n_bins):
    encoder = PiecewiseLinearEncoder(n_bins).fit(x[:, None])
    (edges,) = encoder.edges_
    assert edges.size <= n_bins + 1
    assert (np.diff(edges) > 0).all()
    result = encoder.transform(x[:, None])
    assert result.shape == (x.size, edges.size - 1)
    for t in range(edges.size - 1):
        low, high = edges[t], edges[t + 1]
        with np.errstate(over="ignore"):
            expected = np.clip((x / 4 - low / 4) / (high / 4 - low / 4), 0, 1)
        np.testing.assert_allclose(result[:, t], expected, rtol=1e-9, atol=1e-12)


def test_edges_are_quantiles_or_all_values_if_they_are_few():
    x = np.random.RandomState(0).lognormal(size=(1000, 1))
    (edges,) = PiecewiseLinearEncoder(4).fit(x).edges_
    np.testing.assert_allclose(edges, np.quantile(x, [0, 0.25, 0.5, 0.75, 1]))
    few = np.repeat([1.0, 2.0, 7.0], [50, 1, 1])[:, None]  # quantiles would lose the rare values
    encoder = PiecewiseLinearEncoder(4).fit(few)
    assert encoder.edges_[0].tolist() == [1, 2, 7]
    assert encoder.transform([[2.0], [4.5]]).tolist() == [[1.0, 0.0], [1.0, 0.5]]


@pytest.mark.parametrize(("share", "n_least"), [(0.0, 16), (0.7, 5), (0.85, 14), (0.92, 14)])
def test_a_value_of_most_rows_leaves_intervals_to_the_others(share, n_least):
    x = np.random.RandomState(0).uniform(1, 2, size=1000)
    x[: round(1000 * share)] = 0
    (edges,) = PiecewiseLinearEncoder(16).fit(x[:, None]).edges_
    assert n_least <= edges.size - 1 <= 16
    counts = np.histogram(x[x > 0], edges[1:])[0]
    assert counts.max() <= 1.5 * counts.min() + 2  # the others' quantiles


def test_missing_values_stay_missing_and_constant_columns_have_no_positions():
    X = np.array([[np.nan, 5.0, np.nan], [1.0, 5.0, np.nan], [3.0, 5.0, np.nan]])
    encoder = PiecewiseLinearEncoder(2).fit(X)
    assert encoder.get_feature_names_out(["a", "b", "c"]).tolist() == ["a_bin0"]
    np.testing.assert_array_equal(encoder.transform(X), [[np.nan], [0.0], [1.0]])


@pytest.mark.parametrize("transformer", [SmoothRobustScaler(), PiecewiseLinearEncoder(5)])
def test_float32_stays_float32_and_blocks_make_no_difference(transformer):
    X = np.random.RandomState(0).normal(size=(9000, 2)).astype(np.float32)
    fitted = clone(transformer).fit(X)
    result = fitted.transform(X)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, fitted.transform(X.astype(np.float64)), atol=1e-6)
    np.testing.assert_array_equal(result[5000:5003], fitted.transform(X[5000:5003]))
