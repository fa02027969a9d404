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
from strategies import dtypes, seeds, wide

from fastnn.reference import bound as reference_bound
from fastnn.reference import committee as reference
from fastnn_kernels import committee as compiled
from fastnn_kernels.bound import is_won
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


@given(single(), st.sampled_from([np.nan, np.inf, -np.inf, 1e300]), seeds)
def test_scores_that_are_not_finite_win_no_cell(problem, value, seed):
    committee, random = problem
    (network, parameters), chooser = committee.members[0], np.random.default_rng(seed)
    arrays = [*network.weights(parameters), *network.biases(parameters)]
    if abs(value) == 1e300:  # weights so large that products overflow
        for W in network.weights(parameters):
            W[...] = np.sqrt(np.finfo(network.dtype).max) * np.where(W < 0, -1, 1)
    else:
        array = arrays[chooser.integers(len(arrays))]
        array[0, chooser.integers(array.shape[1])] = value
    cells = draw_cells(random, N_CELLS, committee.dtype)
    form, (points, _) = compute_bounds(committee, cells), points_in(random, cells, 32)
    scores = compute_values(committee, points.reshape(2, -1)).reshape(-1, N_CELLS, 32)
    for t in np.flatnonzero(~np.isfinite(scores).all(axis=(0, 2))):
        assert not any(is_won(form, t, k) for k in range(committee.n_classes))


# --- probabilities -------------------------------------------------------------------------------


def draw_form(random, n_classes, dtype, scale, kind):
    """Return a form of scores of size `scale` over small and large cells; radii exceed rounding errors."""
    c = scale * random.standard_normal((n_classes, N_CELLS))
    reach = scale * 10.0 ** random.uniform(-6, 0, (1, N_CELLS))
    x, y = (reach * random.standard_normal((n_classes, N_CELLS)) for _ in range(2))
    r = reach * random.uniform(0, 1, (n_classes, N_CELLS)) * 10.0 ** random.uniform(-4, 0, N_CELLS)
    if kind == "slopes without radii":
        r = 0 * r
    elif kind == "radii without slopes":
        x, y = 0 * x, 0 * y
    elif kind == "tied":
        c = np.tile(c[:1], (n_classes, 1))
    r = r + 8 * np.finfo(dtype).eps * np.abs(c)
    return Form(*(array.astype(dtype) for array in (c, x, y, r)))


KINDS = ("slopes and radii", "slopes without radii", "radii without slopes", "tied")


@with_examples(120)
@given(seeds, dtypes, st.integers(1, 10), st.integers(-4, 3), st.sampled_from(KINDS), st.integers(0, 3))
def test_probabilities_lie_in_the_bounds_of_their_scores(seed, dtype, n_classes, magnitude, kind, before):
    random = np.random.default_rng(seed)
    form = draw_form(random, n_classes, dtype, 10.0**magnitude, kind)
    total, expected = np.zeros((4, n_classes, N_CELLS), dtype), np.zeros((4, N_CELLS, n_classes), dtype)
    total[0], expected[0] = before, before
    compiled.add_probability_bounds(form, Form(*total))
    with np.errstate(under="ignore"):
        reference_form = reference_bound.Form(*(array.T for array in form))
        reference.add_probability_bounds(reference_form, reference_bound.Form(*expected))
    expected = expected.swapaxes(1, 2)
    c, x, y, r = (array.astype(np.longdouble)[:, :, None] for array in form)
    at = random.uniform(-1, 1, (2, N_CELLS, 64))
    at[:, :, :4] = np.array([[-1, -1, 1, 1], [-1, 1, -1, 1]])[:, None]
    within = random.uniform(-1, 1, (n_classes, N_CELLS, 64))
    # In some points one class is as high and the others are as low as possible, or the reverse.
    within[:, :, :32] = -1
    within[random.integers(n_classes, size=N_CELLS), np.arange(N_CELLS), :32] = 1
    within[:, :, 16:32] *= -1
    S = c + x * at[0] + y * at[1] + r * within
    e = np.exp(S - S.max(axis=0))
    P = e / e.sum(axis=0)
    for bound in (total, expected):
        assert (outside(before + P, bound, at) <= 0).all()
        # The bounds are no wider than the trivial ones, 0 and 1.
        assert (bound[3] <= 0.51 + 1e-2 * before).all()
    if -2 <= magnitude < 2:
        is_same = (np.abs(total - expected) <= 1e4 * np.finfo(dtype).eps).all(axis=(0, 1))
        assert is_same.mean() >= 0.9
