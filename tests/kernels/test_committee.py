"""Committees of networks: values and bounds of values, kernels against the reference."""

import numpy as np
from committees import (
    compute_bounds,
    compute_values,
    draw_cells,
    outside,
    points_in,
    reference_side,
    single,
    voting,
)
from example_counts import with_examples
from hypothesis import given
from hypothesis import strategies as st
from strategies import wide

from fastnn.reference import bound as reference_bound
from fastnn.reference import committee as reference
from fastnn_kernels.calls.formulas import Form

N_CELLS = 64
committees = st.one_of(voting(), single())


@with_examples(150)
@given(committees, st.integers(4, 32))
def test_values_and_their_forms_match_the_reference(problem, n_points):
    committee, random = problem
    votes, n_members, eps = committee.votes, len(committee.members), np.finfo(committee.dtype).eps
    cells = draw_cells(random, N_CELLS, committee.dtype)
    points, at = points_in(random, cells, n_points)
    X = points.reshape(2, -1)
    form, values = compute_bounds(committee, cells), compute_values(committee, X)
    networks, reference_cells = reference_side(committee), reference_bound.Form(*(a.T for a in cells))
    exact_networks = [(names, [*map(wide, W)], [*map(wide, b)]) for names, W, b in networks]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        arrays = reference.committee_bounds(networks, votes, reference_cells)
        plain = reference.committee_scores(networks, votes, X.T).T
        exact = reference.committee_scores(exact_networks, votes, wide(X.T)).T
    # The rounding error of the reference in the committee's dtype shows the size of the kernels' error.
    if np.isfinite(plain).all():
        error = 50 * np.abs(exact - plain).max() + 1e3 * eps
        np.testing.assert_allclose(values, exact, rtol=0, atol=error * max(1.0, np.abs(exact).max()))

    # Values lie in their form.
    expected = Form(*(array.T for array in arrays))
    shape = committee.n_classes, N_CELLS, n_points
    assert (outside(values.reshape(shape), form, at) <= 0).all()
    assert not (outside(plain.reshape(shape), expected, at) > 0).any()  # NaN if scores overflow
    if votes:
        np.testing.assert_allclose(values.sum(axis=0), n_members, rtol=1e-5)
        # A probability is at most 1: no radius exceeds half of the number of members, plus rounding.
        assert (form.radius <= 0.51 * n_members).all()
        assert (expected.radius <= 0.51 * n_members).all()

    # Forms without an overflow are alike; kernels and reference multiply in different orders.
    proves = np.isfinite(form.radius).all(axis=0)
    assert np.isfinite(expected.radius[:, proves]).all()
    form, expected = (np.array(arrays, np.longdouble)[:, :, proves] for arrays in (form, expected))
    if votes:  # the narrower of an interval and a tangent: if both are about as wide, rounding decides
        error, fewest = 1e4 * eps * n_members + 1e-2 * np.abs(expected), 0.8
    else:  # rounding decides in a few cells whether the range of a unit contains a knot
        error, fewest = 1e3 * eps * np.abs(expected).sum(axis=0) + 1e-3 * expected[3], 0.9
    is_same = (np.abs(form - expected) <= error).all(axis=(0, 1))
    assert is_same.sum() >= fewest * is_same.size
