"""Random committees of networks in the forms that the kernels and the reference take.

Every layer of a network, the last one included, has an activation of a given set.
"""

import numpy as np
from hypothesis import strategies as st
from kernel_packages import copying
from strategies import dtypes, seeds

from fastnn.boundary.committee import Committee
from fastnn.boundary.grids import Grid
from fastnn.network.description import Network
from fastnn.reference.layer import ACTIVATIONS
from fastnn_kernels.bound import bound_rounding
from fastnn_kernels.calls.formulas import Form, bounds_table, forward_table
from fastnn_kernels.committee import committee_bounds, committee_scores

PAIRS = tuple(tuple(sorted(("identity", name))) for name in sorted(ACTIVATIONS) if name != "identity")
# Sets of activations of committees of one network.
SETS = (("identity",), ("tanh",), *PAIRS)
# Sets of activations of committees that vote.
VOTING = (
    ("identity", "relu", "tanh"),
    ("tanh",),
    ("elu", "gelu", "softplus"),
    ("leaky_relu", "selu", "sigmoid", "silu"),
)


def draw_network(random, names, dtype, widest=40, n_inputs=2, n_classes=None):
    """Return a network of 1 to 5 layers in which each activation of `names` occurs."""
    depth = int(random.integers(len(names), 6))
    activations = [*names, *random.choice(names, depth - len(names))]
    random.shuffle(activations)
    widths = np.exp(random.uniform(0, np.log(widest + 1), depth - 1)).astype(int)
    n_classes = n_classes or int(random.integers(2, 11))
    return Network((n_inputs, *widths.tolist(), n_classes), tuple(map(str, activations)), dtype)


def draw_parameters(random, network, scale=1.0):
    """Return weights that keep the size of the values, times `scale`, and biases as large as the weights."""
    parameters = network.make_neutral_parameters()
    for W, b in zip(network.weights(parameters), network.biases(parameters), strict=True):
        W[...] = scale * random.standard_normal(W.shape) * np.sqrt(2 / len(W))
        b[...] = scale * random.standard_normal(b.shape)
    return parameters


@st.composite
def single(draw):
    """Return a committee of one network, and a generator of random numbers."""
    random = np.random.default_rng(draw(seeds))
    network = draw_network(random, *map(draw, (st.sampled_from(SETS), dtypes, st.sampled_from([3, 40, 128]))))
    scale = draw(st.sampled_from([1.0, 1.0, 0.1, 3.0, 100.0]))
    return Committee([(network, draw_parameters(random, network, scale))], votes=False), random


@st.composite
def voting(draw):
    """Return a committee of networks of different depths and widths that vote, and a generator."""
    random = np.random.default_rng(draw(seeds))
    names, dtype, n_classes = draw(st.sampled_from(VOTING)), draw(dtypes), draw(st.integers(1, 10))
    members = []
    for k in range(draw(st.integers(1, 4))):
        # The first member has every activation of the set, so that the committee has them all.
        activations = names if k == 0 else tuple(random.choice(names, 1))
        network = draw_network(random, activations, dtype, n_classes=n_classes)
        members.append((network, draw_parameters(random, network, random.choice([0.3, 1.0, 5.0]))))
    return Committee(members, votes=True), random


def kernel_side(committee, table=forward_table):
    """Return a committee in the kernels' form, with activations from `table`, and the rows of a workspace."""
    grid = Grid(committee)
    activations = table(committee.activations, committee.dtype)
    return grid._networks._replace(activations=activations), grid._n_units


def reference_side(committee):
    return [
        (network.activations, network.weights(parameters), network.biases(parameters))
        for network, parameters in committee.members
    ]


def empty_form(n_rows, count, dtype):
    return Form(*np.full((4, n_rows, count), np.nan, dtype))


def compute_values(committee, X):
    """Return the values (K, T) of the samples X (2, T), whose highest is the class, by the kernels."""
    networks, n_units = kernel_side(committee)
    units = np.full(n_units * X.shape[1], np.nan, committee.dtype)
    total = np.full((committee.n_classes, X.shape[1]), np.nan, committee.dtype)
    return copying(committee_scores(committee.votes))((networks, X, units, total), np.empty_like(total))


def compute_bounds(committee, cells):
    """Return the form (K, T) of the values over cells, by the kernels."""
    (networks, n_units), T = kernel_side(committee, bounds_table), cells.centre.shape[1]
    forms = np.full(4 * n_units * T, np.nan, committee.dtype)
    total = empty_form(committee.n_classes, T, committee.dtype)
    kernel = copying(committee_bounds(committee.votes))
    return kernel((networks, cells, forms, total), Form(*map(np.empty_like, total)))


def draw_cells(random, count, dtype):
    """Return the affine forms (2, count) of the two inputs over rectangles of all sizes."""
    error = bound_rounding(2, dtype.type)
    centre = random.standard_normal((2, count)) * 10.0 ** random.uniform(-3, 1, count)
    reach = 10.0 ** random.uniform(-7, 1, (2, count))
    centre, reach = centre.astype(dtype), reach.astype(dtype)
    zero = np.zeros(count, dtype)
    slopes = np.stack([reach[0], zero]), np.stack([zero, reach[1]])
    return Form(centre, *slopes, error * (np.abs(centre) + reach))


def points_in(random, cells, each):
    """Return points of the cells, and their places in the cells from -1 to 1, both (2, count, each)."""
    centre = cells.centre[:, :, None]
    reach = np.stack([cells.slope_x[0], cells.slope_y[1]])[:, :, None]
    at = random.uniform(-1, 1, (2, centre.shape[1], each))
    at[:, :, :4] = np.array([[-1, -1, 1, 1], [-1, 1, -1, 1]])[:, None]
    points = (centre + at * reach).astype(centre.dtype)
    # Rounding may have moved points out of their cells: compute their places anew, and replace points outside
    # by the centre.
    at = (points.astype(np.longdouble) - centre) / reach
    points = np.where(np.abs(at) <= 1, points, centre)
    return points, np.where(np.abs(at) <= 1, at, 0)


def outside(values, form, at):
    """Return how far values (k, count, each) lie beyond a form (k, count) of kernels; above 0 is outside."""
    c, x, y, r = (array.astype(np.longdouble)[:, :, None] for array in form)
    return np.abs(values - (c + x * at[0] + y * at[1])) - r
