"""Strips that contain the graph of an activation, and classes that win a cell: kernels and reference."""

import numpy as np
from example_counts import with_examples
from hypothesis import given
from hypothesis import strategies as st
from strategies import dtypes, seeds

from fastnn.reference import bound as reference
from fastnn.reference import layer as reference_layer
from fastnn_kernels import bound as compiled
from fastnn_kernels.calls.formulas import bounds_table, forward_table
from fastnn_kernels.curvature import curvature
from fastnn_kernels.layer import ACTIVATIONS

NAMES = sorted(ACTIVATIONS)
N_CELLS = 64


def intervals(random, name, dtype):
    """Return centres and radii from 1e-6 to 1e3; half of the intervals contain a knot or end near one."""
    radius = 10.0 ** random.uniform(-6, 3, N_CELLS)
    centre = random.choice([-1, 1], N_CELLS) * 10.0 ** random.uniform(-6, 3, N_CELLS)
    edges = [0.0, *(edge for knot in curvature(name).knots for edge in knot[:2])]
    near = random.choice(edges, N_CELLS) + random.choice([-1, 0, 1], N_CELLS) * radius
    near += random.choice([0.0, 1e-7, -1e-7, 1e-3], N_CELLS) * random.standard_normal(N_CELLS)
    near += random.uniform(-1, 1, N_CELLS) * radius * random.choice([0, 1], N_CELLS)
    return np.where(random.random(N_CELLS) < 0.5, near, centre).astype(dtype), radius.astype(dtype)


@with_examples(250)
@given(st.sampled_from(NAMES), seeds, dtypes)
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
    A, zero = np.empty_like(Z), np.zeros((1, N_CELLS), dtype)
    forward_table((name,), dtype).pointers[0](Z, A)
    # A form whose value is the centre plus dx times the radius: the graph lies in the outputs' form, even
    # without the rounding errors of the next layer, here those that the kernel adds for a layer of no inputs.
    form = compiled.Form(centre[None].copy(), radius[None].copy(), zero, zero.copy())
    roundings = reference.bound_rounding(1, dtype.type), dtype.type(-8 * np.finfo(dtype).eps)
    bounds_table((name,), dtype).pointers[0](form, zero[:, :1].copy(), *roundings)
    middle, slope, _, width = (array.astype(np.longdouble).T for array in form)
    assert (np.abs(A - middle - slope * ((Z - c) / r)) <= width).all()
    with np.errstate(under="ignore"):
        strip = np.array(reference.enclose_activation(name, centre, radius)).astype(np.longdouble)
        A = reference_layer.activation_forward(name, Z)
    slope, middle, width = strip[:, :, None]
    assert (np.abs(A - slope * Z - middle) <= width).all()


@given(seeds, dtypes, st.integers(2, 10), st.sampled_from([1e-3, 0.1, 1.0]))
def test_winners_match_the_reference_and_lead_in_every_corner(seed, dtype, n_classes, reach):
    random = np.random.default_rng(seed)
    shape = n_classes, N_CELLS
    arrays = random.standard_normal(shape), *reach * random.standard_normal((2, *shape))
    form = compiled.Form(*(a.astype(dtype) for a in (*arrays, reach * random.uniform(0, 1, shape))))
    reference_form = reference.Form(*(array.T for array in form))
    c, x, y, r = (array.astype(np.float64) for array in form)
    corners = np.stack([c + i * x + j * y for i in (-1, 1) for j in (-1, 1)])
    for t in range(N_CELLS):
        winners = [k for k in range(n_classes) if compiled.is_won(form, t, k)]
        assert winners == [k for k in range(n_classes) if reference.is_won(reference_form, t, k)]
        assert len(winners) <= 1
        for k in winners:  # it leads in all corners, whatever the radii add or take away, and in between
            rivals = np.delete(corners[:, :, t] + r[:, t], k, axis=1)
            assert (corners[:, k, t] - r[k, t] > rivals.max(axis=1)).all()


FLAT, BAD = (0.0, 0.0), (np.nan, np.inf)


def test_ties_infinity_and_nan_have_no_winner(dtype):
    eps = float(np.finfo(dtype).eps)
    cases = [((1.0, 0.0), 0.0, FLAT, [0]), ((0.0, 1.0), 0.0, FLAT, [1]), ((1.0, 1 + eps), 0.0, FLAT, [])]
    cases += [((1.0, 0.0), 1.0, FLAT, []), ((1.0, 0.0), 0.9, FLAT, [0])]
    cases += [((1.0, 0.0), 0.0, (0.6, -0.6), []), ((1.0, 0.0), 0.0, (0.6, 0.6), [0])]
    cases += [((4 * eps, 0.0), 0.0, (1.0, 1.0), [])]  # a lead smaller than the rounding of the slopes
    cases += [((1.0, 0.0), bad, FLAT, []) for bad in BAD] + [((1.0, 0.0), 0.0, (bad, 0.0), []) for bad in BAD]
    cases += [((np.nan, 0.0), 0.0, FLAT, []), ((0.0, np.nan), 0.0, FLAT, [])]
    for centre, radius, slope, winners in cases:
        columns = np.array([[centre], [slope], [[0, 0]], [[radius, 0]]], dtype)
        form = compiled.Form(*(array.T.copy() for array in columns))
        assert [k for k in (0, 1) if compiled.is_won(form, 0, k)] == winners
        with np.errstate(invalid="ignore"):
            assert [k for k in (0, 1) if reference.is_won(reference.Form(*columns), 0, k)] == winners
