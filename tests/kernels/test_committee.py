"""Committees of networks: scores and bounds of scores, kernels against the reference."""

import numpy as np
import pytest
from committees import (
    draw_cells,
    draw_network,
    draw_parameters,
    empty_form,
    kernel_side,
    outside,
    points_in,
    reference_side,
    single,
    voting,
)
from hypothesis import given
from hypothesis import strategies as st
from kernel_packages import copying
from strategies import DTYPES, counts, dtypes, padded, seeds, untouched, wide

from fastnn.boundary.committee import Committee, make_committee, plane_of, restricted_network
from fastnn.network.description import aligned_empty
from fastnn.reference import bound as reference_bound
from fastnn.reference import committee as reference
from fastnn.reference.network import scores as reference_scores
from fastnn_kernels import committee as compiled
from fastnn_kernels.bound import slack
from fastnn_kernels.calls.formulas import Form, bounds_table

N_CELLS = 64


def scores(committee, X):
    networks, n_units = kernel_side(committee)
    units = aligned_empty(n_units * X.shape[1], committee.dtype)
    units[...] = np.nan
    total = untouched((committee.n_classes, X.shape[1]), committee.dtype)
    kernel = copying(compiled.committee_scores(committee.votes))
    return kernel((networks, X, units, total), np.empty_like(total))


def bounds(committee, cells):
    (networks, n_units), T = kernel_side(committee, bounds_table), cells.centre.shape[1]
    forms = aligned_empty(4 * n_units * T, committee.dtype)
    forms[...] = np.nan
    total = empty_form(Form, committee.n_classes, T, committee.dtype)
    kernel = copying(compiled.committee_bounds(committee.votes))
    return kernel((networks, cells, forms, total), Form(*map(np.empty_like, total)))


def wide_side(committee):
    """Return the committee in the form of the reference, in float64."""
    return [
        (names, [wide(array) for array in W], [wide(array) for array in b])
        for names, W, b in reference_side(committee)
    ]


@given(st.one_of(voting(), single()), counts)
def test_scores_match_the_reference(problem, count):
    committee, random = problem
    X = random.standard_normal((2, padded(count, committee.dtype))).astype(committee.dtype)
    with np.errstate(under="ignore"):
        exact = reference.committee_scores(wide_side(committee), committee.votes, wide(X.T)).T
        plain = reference.committee_scores(reference_side(committee), committee.votes, X.T).T
    # The rounding error of the reference in the committee's dtype shows the size of the kernels' error.
    error = 50 * np.abs(exact - plain).max(initial=0) + 1e3 * np.finfo(committee.dtype).eps
    error = error * max(1.0, np.abs(exact).max(initial=0))
    result = scores(committee, X)
    assert result.dtype == committee.dtype
    np.testing.assert_allclose(result, exact, rtol=0, atol=error)
    if committee.votes:
        np.testing.assert_allclose(result.sum(axis=0), len(committee.members), rtol=1e-5)


@given(voting())
def test_sums_of_probabilities_lie_in_their_form(problem):
    committee, random = problem
    cells = draw_cells(random, Form, slack(2, committee.dtype.type), N_CELLS, committee.dtype)
    form = bounds(committee, cells)
    points, at = points_in(random, cells, 32)
    X = points.reshape(2, -1)
    reference_cells = reference_bound.Form(*(array.T for array in cells))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        arrays = reference.committee_bounds(reference_side(committee), True, reference_cells)
        reference_P = reference.committee_scores(reference_side(committee), True, X.T).T
    reference_form = Form(*(array.T for array in arrays))
    for P, bound in ((scores(committee, X), form), (reference_P, reference_form)):
        assert (outside(P.reshape(committee.n_classes, N_CELLS, 32), bound, at) <= 0).all()
        # A probability is at most 1: no radius exceeds half of the number of members, plus rounding.
        assert (bound.radius <= 0.51 * len(committee.members)).all()


@given(voting())
def test_bounds_match_the_reference(problem):
    committee, random = problem
    cells = draw_cells(random, Form, slack(2, committee.dtype.type), N_CELLS, committee.dtype)
    form = bounds(committee, cells)
    reference_cells = reference_bound.Form(*(array.T for array in cells))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        expected = reference.committee_bounds(reference_side(committee), True, reference_cells)
    # The narrower of an interval and a tangent is the bound. If both are about as wide, rounding decides.
    error = 1e4 * np.finfo(committee.dtype).eps * len(committee.members)
    is_same = [np.abs(a - b.T) <= error + 1e-2 * np.abs(b.T) for a, b in zip(form, expected, strict=True)]
    assert np.all(is_same, axis=(0, 1)).mean() >= 0.8


# --- probabilities -------------------------------------------------------------------------------


def random_form(random, n_classes, dtype, scale, kind):
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


@given(
    seeds, dtypes, st.integers(1, 10), st.sampled_from([10.0**k for k in range(-4, 4)]),
    st.sampled_from(KINDS), st.integers(0, 3),
)  # fmt: skip
def test_probabilities_lie_in_the_bounds_of_their_scores(seed, dtype, n_classes, scale, kind, before):
    random = np.random.default_rng(seed)
    form = random_form(random, n_classes, dtype, scale, kind)
    total = Form(*(np.zeros((n_classes, N_CELLS), dtype) for _ in range(4)))
    total.centre[...] = before
    compiled.add_probability_bounds(Form(*(array.copy() for array in form)), total)
    reference_total = reference_bound.Form(*(np.zeros((N_CELLS, n_classes), dtype) for _ in range(4)))
    reference_total.centre[...] = before
    with np.errstate(under="ignore"):
        reference.add_probability_bounds(reference_bound.Form(*(array.T for array in form)), reference_total)
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
    for bound in (total, Form(*(array.T for array in reference_total))):
        assert (outside(before + P, bound, at) <= 0).all()
        # The bounds are no wider than the trivial ones, 0 and 1.
        assert (bound.radius <= 0.51 + 1e-2 * before).all()


@given(seeds, dtypes, st.integers(1, 10), st.sampled_from([1e-2, 1.0, 30.0]), st.sampled_from(KINDS))
def test_probability_bounds_match_the_reference(seed, dtype, n_classes, scale, kind):
    random = np.random.default_rng(seed)
    form = random_form(random, n_classes, dtype, scale, kind)
    total = Form(*(np.ones((n_classes, N_CELLS), dtype) for _ in range(4)))
    expected = reference_bound.Form(*(np.ones((N_CELLS, n_classes), dtype) for _ in range(4)))
    with np.errstate(under="ignore"):
        reference.add_probability_bounds(reference_bound.Form(*(array.T for array in form)), expected)
    compiled.add_probability_bounds(form, total)
    error = 1e4 * np.finfo(dtype).eps
    is_same = np.all([np.abs(a - b.T) <= error for a, b in zip(total, expected, strict=True)], axis=(0, 1))
    assert is_same.mean() >= 0.9


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_forms_that_are_not_finite_have_no_finite_bounds(part, value):
    for dtype in (np.float64, np.float32):
        form = random_form(np.random.default_rng(0), 3, dtype, 1.0, "slopes and radii")
        form[part][1, 5] = value
        total = Form(*(np.zeros((3, N_CELLS), dtype) for _ in range(4)))
        compiled.add_probability_bounds(form, total)
        finite = np.isfinite(total.radius)
        assert not finite[:, 5].any()
        assert np.delete(finite, 5, axis=1).all()


@given(seeds, dtypes)
def test_small_cells_have_narrow_bounds(seed, dtype):
    random = np.random.default_rng(seed)
    form = random_form(random, 3, dtype, 1.0, "slopes without radii")
    reach = 1e-3
    form = Form(form.centre, *(np.clip(form[k], -reach, reach).astype(dtype) for k in (1, 2)), form.radius)
    total = Form(*(np.zeros((3, N_CELLS), dtype) for _ in range(4)))
    compiled.add_probability_bounds(form, total)
    # The radius of a tangent grows with the square of the reach, that of an interval with the reach.
    rounding = 600 * np.finfo(dtype).eps
    is_tangent = (total.slope_x != 0) | (total.slope_y != 0)
    assert is_tangent.mean() > 0.1
    assert (total.radius <= 10 * reach**2 + rounding)[is_tangent].all()
    assert (total.radius <= 2 * reach + rounding).all()


# --- from models to committees -------------------------------------------------------------------


@pytest.mark.parametrize("label", [None, 1])
def test_a_restricted_network_is_the_network_with_the_other_features_fixed(label):
    random = np.random.default_rng(0)
    network = draw_network(random, ("identity", "tanh"), np.dtype(float), n_inputs=4, n_classes=3)
    parameters = draw_parameters(random, network)
    fixed = random.standard_normal(4)
    X = random.standard_normal((50, 2))
    table = np.tile(fixed, (50, 1))
    table[:, [3, 1]] = X
    smaller, new = restricted_network(network, parameters, plane_of((3, 1), fixed), label)
    ours, theirs = (
        reference_scores(net.activations, net.weights(flat), net.biases(flat), points)
        for net, flat, points in ((smaller, new, X), (network, parameters, table))
    )
    if label is not None:
        theirs = np.stack([-theirs[:, label] / 2, theirs[:, label] / 2], axis=1)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


def test_a_network_of_two_features_keeps_its_parameters(monkeypatch):
    # Fill new arrays with 7: the padding of the parameters must be set to 0, too.
    monkeypatch.setattr(
        "fastnn.boundary.committee.aligned_empty", lambda size, dtype: np.full(size, 7, dtype)
    )
    random = np.random.default_rng(0)
    for dtype in DTYPES:
        network = draw_network(random, ("identity", "tanh"), dtype)
        parameters = draw_parameters(random, network)
        restricted, new = restricted_network(network, parameters, plane_of((0, 1), np.zeros(2)))
        assert restricted.layers_dim == network.layers_dim
        np.testing.assert_array_equal(new, parameters)


def test_a_committee_has_the_widest_dtype_of_its_members():
    random = np.random.default_rng(0)
    members = []
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        network = draw_network(random, ("tanh",), dtype, n_classes=3)
        members.append((network, draw_parameters(random, network)))
    committee = make_committee(members, votes=True)
    assert committee.dtype == np.float64
    assert committee.activations == ("tanh",)
    X = random.standard_normal((2, 64))
    exact = sum(
        reference.committee_scores(wide_side(Committee([member], True)), True, X.T) for member in members
    )
    np.testing.assert_allclose(scores(committee, X), exact.T, rtol=1e-12, atol=1e-13)
