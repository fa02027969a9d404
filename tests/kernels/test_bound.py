"""Bounds of scores: the scores of kernels and reference lie within the bounds of each, which are narrow."""

import functools

import numba
import numpy as np
import pytest
from committees import (
    SETS,
    draw_cells,
    draw_network,
    draw_parameters,
    kernel_side,
    outside,
    points_in,
    reference_side,
    single,
)
from hypothesis import given
from hypothesis import strategies as st
from kernel_packages import copying
from strategies import DTYPES, dtypes, read_only, seeds

from fastnn.boundary.committee import Committee
from fastnn.network.description import aligned_empty
from fastnn.reference import bound as reference
from fastnn.reference import layer as reference_layer
from fastnn.reference.network import scores as reference_scores
from fastnn_kernels import bound as compiled
from fastnn_kernels.calls.formulas import bounds_table
from fastnn_kernels.committee import committee_scores
from fastnn_kernels.compiler.jit import OPTIONS
from fastnn_kernels.curvature import curvature
from fastnn_kernels.layer import ACTIVATIONS, activation_forward
from fastnn_kernels.vectors.vector import lanes, load, store

NAMES = sorted(ACTIVATIONS)
each_name = pytest.mark.parametrize("name", NAMES)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
N_CELLS = 64


# --- strips that enclose the graph of an activation ----------------------------------------------


@functools.cache
def strip_kernel(name):
    """Return the kernel ``(centre, radius, strip)`` that fills strip (3, T): slope, middle and width."""
    enclosing_strip = compiled.enclosing_strip(name)

    @numba.njit(**OPTIONS)  # not @kernel, whose cache on disk does not notice changes of this file
    def run(centre, radius, strip):
        for t in range(0, centre.shape[1], lanes(centre)):
            slope, middle, width = enclosing_strip(load(centre, 0, t), load(radius, 0, t))
            store(strip, 0, t, slope)
            store(strip, 1, t, middle)
            store(strip, 2, t, width)

    return run


def strips(name, centre, radius):
    strip = np.full((3, centre.size), np.nan, centre.dtype)
    strip_kernel(name)(centre[None], radius[None], strip)
    return strip


def intervals(random, name, dtype):
    """Return centres and radii from 1e-6 to 1e3; half of the intervals contain a knot or end near one."""
    radius = 10.0 ** random.uniform(-6, 3, N_CELLS)
    centre = random.choice([-1, 1], N_CELLS) * 10.0 ** random.uniform(-6, 3, N_CELLS)
    edges = [0.0, *(edge for knot in curvature(name).knots for edge in knot[:2])]
    near = random.choice(edges, N_CELLS) + random.choice([-1, 0, 1], N_CELLS) * radius
    near += random.choice([0.0, 1e-7, -1e-7, 1e-3], N_CELLS) * random.standard_normal(N_CELLS)
    near += random.uniform(-1, 1, N_CELLS) * radius * random.choice([0, 1], N_CELLS)
    return np.where(random.random(N_CELLS) < 0.5, near, centre).astype(dtype), radius.astype(dtype)


@each_name
@given(seeds, dtypes)
def test_the_graph_lies_in_the_strip(name, seed, dtype):
    random = np.random.default_rng(seed)
    centre, radius = intervals(random, name, dtype)
    c, r = centre.astype(np.longdouble)[:, None], radius.astype(np.longdouble)[:, None]
    at = random.uniform(-1, 1, (N_CELLS, 64))
    at[:, :8] = -1, 1, -1 + 1e-6, 1 - 1e-6, 0, 1e-6, -0.5, 0.5
    Z = (c + at * r).astype(dtype)
    for knot in curvature(name).knots:
        Z[:, 8:10] = knot.begin, knot.end
    Z[:, 10] = 0
    Z = np.where(np.abs(Z - c) <= r, Z, centre[:, None]).astype(dtype)
    A = np.empty_like(Z)
    activation_forward(name)(read_only(Z), A)  # the argument types of test_layer.py: compiled once
    with np.errstate(under="ignore"):
        reference_strip = np.array(reference.enclosing_strip(name, centre, radius))
        reference_A = reference_layer.activation_forward(name, Z)
    for strip, values in ((strips(name, centre, radius), A), (reference_strip, reference_A)):
        slope, middle, width = (row[:, None] for row in strip.astype(np.longdouble))
        assert (np.abs(values - slope * Z - middle) <= width).all()


@functools.cache
def steepness(name):
    """Return the largest magnitude of the second derivative, and the largest jump of the first."""
    activation = reference_layer.ACTIVATIONS[name]
    z = np.linspace(-12, 12, 100_001)
    z += (z[1] - z[0]) / 3  # no point is 0, where some activations have a kink
    slopes = activation.slope(activation.value(z), z)
    change = np.abs(np.diff(slopes))
    near = np.zeros(change.size, bool)
    for kink in activation.kinks:
        near |= np.abs(z[1:] - kink) <= 0.01
    jump = change[near].max(initial=0)
    return change[~near].max() / (z[1] - z[0]) * 1.02, jump * 1.02


@each_name
@each_dtype
def test_strips_of_short_intervals_are_narrow(name, dtype):
    random = np.random.default_rng(0)
    centre, radius = intervals(random, name, dtype)
    radius = np.minimum(radius, 0.1).astype(dtype)
    centre = np.clip(centre, -20, 20)
    _, _, width = strips(name, centre, radius).astype(np.float64)
    bend, jump = steepness(name)
    c, r = centre.astype(np.float64), radius.astype(np.float64)
    # Within a knot, the slope is known only to lie between two limits.
    uncertain = sum(knot.most - knot.least for knot in curvature(name).knots) * 2
    allowed = bend * r**2 + (np.where(np.abs(c) <= 2 * r, jump, 0) + uncertain) * r
    rounding = np.finfo(dtype).eps * (200 * (np.abs(c) + r + 1))
    assert (width <= allowed + rounding).all()
    # Away from knots and kinks the strip follows a tangent and is narrower.
    is_smooth = np.abs(c) > 2 * r
    for knot in curvature(name).knots:
        is_smooth &= (c - 2 * r > knot.end) | (c + 2 * r < knot.begin)
    assert is_smooth.sum() > 10
    assert (width <= bend * r**2 / 4 + rounding)[is_smooth].all()


@each_name
@each_dtype
def test_strips_match_the_reference(name, dtype):
    centre, radius = intervals(np.random.default_rng(1), name, dtype)
    expected = np.array(reference.enclosing_strip(name, centre, radius), np.float64)
    strip = strips(name, centre, radius).astype(np.float64)
    c, r = np.abs(centre.astype(np.float64)), radius.astype(np.float64)
    error = 300 * np.finfo(dtype).eps * (c + r + 1) * (r + 1)
    # Rounding decides whether some intervals contain a knot: their strips may differ, and both are valid.
    is_same = (np.abs(strip - expected) <= error).all(axis=0)
    assert is_same.mean() > 0.9


@each_dtype
@each_name
def test_intervals_that_are_not_finite_have_no_finite_strip(name, dtype):
    largest = np.finfo(dtype).max
    centre, radius = np.full(N_CELLS, 0.5, dtype), np.full(N_CELLS, 0.25, dtype)
    centre[:3] = np.nan, np.inf, -np.inf
    radius[3:5] = np.nan, np.inf
    centre[5:7], radius[5:7] = (largest, -largest), largest
    *_, width = strips(name, centre, radius)
    assert not np.isfinite(width[:7]).any()
    assert np.isfinite(width[7:]).all()


# --- networks ------------------------------------------------------------------------------------


def bounds(committee, cells):
    """Return the form (K, T) that bounds the scores of the committee's only network."""
    (networks, n_units), T = kernel_side(committee, bounds_table), cells.centre.shape[1]
    forms = aligned_empty(4 * n_units * T, committee.dtype)
    forms[...] = np.nan
    compiled.bound_pass(
        networks.activations, networks.plan, networks.parameters, networks.magnitudes, cells, forms
    )
    arrays = (np.empty((committee.n_classes, T), committee.dtype) for _ in compiled.Form._fields)
    arguments = networks.plan, len(networks.plan) - 1, T, forms
    return copying(compiled.layer_form)(arguments, compiled.Form(*arrays))


def computed_scores(committee, X):
    """Return the scores (K, T) of X (2, T) by the kernels."""
    networks, n_units = kernel_side(committee)
    units = aligned_empty(n_units * X.shape[1], committee.dtype)
    total = np.empty((committee.n_classes, X.shape[1]), committee.dtype)
    kernel = copying(committee_scores(committee.votes))
    return kernel((networks, X, units, total), np.empty_like(total))


def cells_for(random, dtype):
    return draw_cells(random, compiled.Form, compiled.slack(2, dtype.type), N_CELLS, dtype)


def check_enclosure(committee, random):
    """Check that the scores at random points of cells lie within the forms over the cells."""
    cells = cells_for(random, committee.dtype)
    form = bounds(committee, cells)
    points, at = points_in(random, cells, 32)
    scores = computed_scores(committee, points.reshape(2, -1)).reshape(committee.n_classes, N_CELLS, 32)
    assert (outside(scores, form, at) <= 0).all()


@given(single())
def test_scores_lie_in_their_form(problem):
    check_enclosure(*problem)


@given(single())
def test_scores_of_the_reference_lie_in_its_form(problem):
    committee, random = problem
    cells = cells_for(random, committee.dtype)
    form = reference.Form(*(array.T for array in reference_bounds(committee, cells)))
    points, at = points_in(random, cells, 32)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        scores = reference_scores(*reference_side(committee)[0], points.reshape(2, -1).T).T
    distances = outside(scores.reshape(committee.n_classes, N_CELLS, 32), form, at)
    assert not (distances > 0).any()  # NaN where scores overflow


@pytest.mark.parametrize("names", SETS, ids="-".join)
@each_dtype
def test_scores_of_wide_and_deep_networks_lie_in_their_form(names, dtype):
    random = np.random.default_rng(0)
    for scale in (0.3, 1.0, 2.0, 10.0):
        for widest in (3, 128):
            network = draw_network(random, names, dtype, widest)
            committee = Committee([(network, draw_parameters(random, network, scale))], votes=False)
            check_enclosure(committee, random)


def reference_bounds(committee, cells):
    cells = reference.Form(*(array.T for array in cells))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return reference.bound_pass(*reference_side(committee)[0], cells)


@given(single())
def test_forms_match_the_reference(problem):
    committee, random = problem
    cells = cells_for(random, committee.dtype)
    form, expected = bounds(committee, cells), reference_bounds(committee, cells)
    # Compare forms without an overflow; kernels and reference multiply in different orders.
    proves = np.isfinite(form.radius).all(axis=0)
    assert np.isfinite(expected.radius[proves]).all()
    form, expected = (
        [array.astype(np.longdouble)[:, proves] for array in arrays]
        for arrays in (form, [array.T for array in expected])
    )
    size = np.sum(np.abs(expected), axis=0)
    error = 1e3 * np.finfo(committee.dtype).eps * size + 1e-3 * expected[3]
    is_same = (np.abs(np.subtract(form, expected)) <= error).all(axis=(0, 1))
    # In a few cells rounding decides whether the range of a unit contains a knot.
    assert is_same.sum() >= 0.9 * is_same.size


@given(single(), st.sampled_from([np.nan, np.inf, -np.inf, 1e300]), seeds)
def test_scores_that_are_not_finite_win_no_cell(problem, value, seed):
    committee, random = problem
    (network, parameters), chooser = committee.members[0], np.random.default_rng(seed)
    with np.errstate(over="ignore"):
        value = committee.dtype.type(value)
    arrays = [*network.weights(parameters), *network.biases(parameters)]
    array = arrays[chooser.integers(len(arrays))]
    if abs(value) < np.inf:  # weights so large that products overflow
        for W in network.weights(parameters):
            W[...] = np.sqrt(np.finfo(network.dtype).max) * np.where(W < 0, -1, 1)
    else:
        array[0, chooser.integers(array.shape[1])] = value
    cells = cells_for(random, committee.dtype)
    form = bounds(committee, cells)
    points, _ = points_in(random, cells, 32)
    scores = computed_scores(committee, points.reshape(2, -1)).reshape(-1, N_CELLS, 32)
    for t in range(N_CELLS):
        if not np.isfinite(scores[:, t]).all():
            assert not any(compiled.is_won(form, t, k) for k in range(committee.n_classes))


# --- the winning class ---------------------------------------------------------------------------


@given(seeds, dtypes, st.integers(2, 10), st.sampled_from([1e-3, 0.1, 1.0]))
def test_winners_match_the_reference_and_lead_in_every_corner(seed, dtype, n_classes, reach):
    random = np.random.default_rng(seed)
    shape = n_classes, N_CELLS
    arrays = random.standard_normal(shape), *(reach * random.standard_normal(shape) for _ in range(2))
    form = compiled.Form(*(a.astype(dtype) for a in (*arrays, reach * random.uniform(0, 1, shape))))
    reference_form = reference.Form(*(array.T for array in form))
    c, x, y, r = (array.astype(np.float64) for array in form)
    corners = [c + i * x + j * y for i in (-1, 1) for j in (-1, 1)]
    for t in range(N_CELLS):
        winners = [k for k in range(n_classes) if compiled.is_won(form, t, k)]
        assert winners == [k for k in range(n_classes) if reference.is_won(reference_form, t, k)]
        # A winner leads in all corners, whatever the radii add or take away, and hence in between.
        ahead = [
            k
            for k in range(n_classes)
            if all(
                corner[k, t] - r[k, t] > corner[j, t] + r[j, t]
                for corner in corners
                for j in range(n_classes)
                if j != k
            )
        ]
        assert set(winners) <= set(ahead)
        assert len(ahead) <= 1


@each_dtype
def test_ties_infinity_and_nan_have_no_winner(dtype):
    def form(centre, radius=0.0, slope=(0.0, 0.0)):
        columns = np.array([[centre], [slope], [[0, 0]], [[radius, 0]]], dtype)
        return tuple(array.T.copy() for array in columns)

    def winners(*arguments):
        arrays = form(*arguments)
        ours = [k for k in (0, 1) if compiled.is_won(compiled.Form(*arrays), 0, k)]
        reference_form = reference.Form(*(array.T for array in arrays))
        with np.errstate(invalid="ignore"):
            assert ours == [k for k in (0, 1) if reference.is_won(reference_form, 0, k)]
        return ours

    assert winners((1.0, 0.0)) == [0]
    assert winners((0.0, 1.0)) == [1]
    assert winners((1.0, 1.0)) == []
    assert winners((1.0, 1 + np.finfo(dtype).eps)) == []
    assert winners((1.0, 0.0), 1.0) == []
    assert winners((1.0, 0.0), 0.9) == [0]
    assert winners((1.0, 0.0), 0.0, (0.6, -0.6)) == []
    assert winners((1.0, 0.0), 0.0, (0.6, 0.6)) == [0]
    for bad in (np.nan, np.inf):
        assert winners((1.0, 0.0), bad) == []
        assert winners((1.0, 0.0), 0.0, (bad, 0.0)) == []
    assert winners((np.nan, 0.0)) == []
    assert winners((0.0, np.nan)) == []
