"""Certified painting: squares that a class wins, undecided squares and filled squares, by both sides."""

import numpy as np
import pytest
from committees import draw_network, draw_parameters, empty_form, kernel_side, reference_side, single
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES

from fastnn.boundary.committee import Committee
from fastnn.boundary.grids import _first_squares
from fastnn.network.description import allocate_empty
from fastnn.reference import quadtree as reference
from fastnn_kernels.calls import pictures
from fastnn_kernels.calls.formulas import bounds_table
from fastnn_kernels.calls.pictures import BOUNDED, UNDECIDED, WAITING, WON

BATCH = 64
LEAF = 8
sides = st.one_of(st.integers(1, 90), st.sampled_from([1, 8, 64, 65, 129]))


def draw_axes(random, committee, width, height):
    """Return the pixel centres, x of the columns and y of the rows, of a view of random size and place."""
    for count in (width, height):
        centre, reach = random.standard_normal(), 10.0 ** random.uniform(-3, 1)
        at = np.linspace(-1, 1, count) if count > 1 else np.zeros(1)
        yield (centre + reach * at).astype(committee.dtype)


class Lists:
    """Lists of squares that `subdivide` works on, and the squares that it has reported."""

    def __init__(self, committee, xs, ys, capacity=2000, n_waiting=10_000):
        (self.networks, n_units), dtype = kernel_side(committee, bounds_table), committee.dtype
        self.committee, self.xs, self.ys = committee, xs, ys
        squares = _first_squares(xs, ys, LEAF, 512)
        waiting = np.full((n_waiting, 3), -1)
        waiting[: len(squares)] = squares
        self.lists = np.full((capacity, 4), -1), np.full((capacity, 3), -1)
        self.counts = np.array([len(squares), 0, 0, 0])
        self.squares = pictures.Squares(waiting, np.full((BATCH, 3), -1), *self.lists, self.counts)
        self.workspaces = [allocate_empty(8 * BATCH, dtype), allocate_empty(4 * n_units * BATCH, dtype)]
        for array in self.workspaces:
            array[...] = np.nan
        self.total = empty_form(committee.n_classes, BATCH, dtype)
        self.won, self.undecided, self.calls = [], [], 0

    def run(self):
        kernel = pictures.subdivide(self.committee.votes, self.committee.dtype)
        counts = self.counts
        while counts[WAITING]:
            kernel(self.networks, self.xs, self.ys, LEAF, 1000, self.squares, *self.workspaces, self.total)
            for found, array, k in zip((self.won, self.undecided), self.lists, (WON, UNDECIDED), strict=True):
                assert counts[k] <= len(array)
                assert (array[counts[k] :] == -1).all()
                found += map(tuple, array[: counts[k]].tolist())
                array[...] = -1
                counts[k] = 0
            self.calls += 1
        return self


def count_squares(squares, shape):
    times = np.zeros(shape, int)
    for row, column, size, *_ in squares:
        times[row : row + size, column : column + size] += 1
    return times


def reference_squares(committee, xs, ys):
    networks, waiting = reference_side(committee), _first_squares(xs, ys, LEAF, 512)
    won, undecided = [], []
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        while len(waiting):
            step_won, step_undecided, waiting = reference.subdivide(
                networks, committee.votes, xs, ys, LEAF, waiting
            )
            won, undecided = [*won, *step_won], [*undecided, *step_undecided]
    return [[tuple(map(int, square)) for square in squares] for squares in (won, undecided)]


def make_workspaces(committee):
    networks, n_units = kernel_side(committee)
    tile, units, total = (allocate_empty(n * 64, committee.dtype) for n in (2, n_units, committee.n_classes))
    return networks, (tile, units, total.reshape(committee.n_classes, 64))


def evaluate_all(committee, xs, ys, dtype=np.uint8):
    networks, workspaces = make_workspaces(committee)
    classes = np.full((len(ys), len(xs)), 99, dtype)
    kernel = pictures.grid_classes(committee.votes, committee.dtype, classes.dtype)
    kernel(networks, xs, ys, *workspaces, classes)
    return classes


@given(single(), sides, sides)
def test_squares_match_the_reference(problem, width, height):
    committee, random = problem
    xs, ys = draw_axes(random, committee, width, height)
    lists = Lists(committee, xs, ys).run()
    won, undecided = reference_squares(committee, xs, ys)
    assert (count_squares([*lists.won, *lists.undecided], (height, width)) == 1).all()
    assert all(size <= LEAF for *_, size in lists.undecided)
    assert lists.counts[BOUNDED] >= len(lists.won) + len(lists.undecided)
    # Rounding may decide whether a class wins a square, and then the quarters of that square differ as well.
    ours, theirs = (count_squares([s[:3] for s in squares], (height, width)) for squares in (lists.won, won))
    assert (ours != theirs).mean() <= 0.1
    expected = evaluate_all(committee, xs, ys)
    for squares in (lists.won, won):
        for row, column, size, winner in squares:
            assert (expected[row : row + size, column : column + size] == winner).all()
    assert (count_squares([*won, *undecided], (height, width)) == 1).all()


@given(single(), sides, sides, st.sampled_from([64, 65, 100, 128]))
def test_short_lists_return_the_same_squares_in_several_calls(problem, width, height, capacity):
    committee, random = problem
    xs, ys = draw_axes(random, committee, width, height)
    whole = Lists(committee, xs, ys).run()
    parts = Lists(committee, xs, ys, capacity).run()
    assert whole.calls == 1
    assert (parts.won, parts.undecided) == (whole.won, whole.undecided)
    assert parts.counts[BOUNDED] == whole.counts[BOUNDED]


def test_squares_for_which_no_room_is_left_are_not_divided():
    random = np.random.default_rng(3)
    network = draw_network(random, ("identity", "tanh"), DTYPES[0], 40, n_classes=3)
    committee = Committee([(network, draw_parameters(random, network, 2.0))], votes=False)
    xs = np.linspace(-3, 3, 700)  # a boundary winds through the picture
    assert Lists(committee, xs, xs, BATCH).run().calls > 10
    for n_waiting in (4 * BATCH, 4 * BATCH + 30, 6 * BATCH):
        lists = Lists(committee, xs, xs, n_waiting=n_waiting).run()
        assert (count_squares([*lists.won, *lists.undecided], (700, 700)) == 1).all()
        assert max(size for *_, size in lists.undecided) > LEAF


@given(single(), sides, sides)
def test_evaluated_pixels_match_the_grid(problem, width, height):
    committee, random = problem
    xs, ys = draw_axes(random, committee, width, height)
    corners = [(r, c, LEAF) for r in range(0, height, LEAF) for c in range(0, width, LEAF)]
    squares = [square for square in corners if random.random() < 0.5]
    inside = count_squares(squares, (height, width)) == 1
    table = np.array([*squares, (0, 0, 99)])[:-1]  # the kernel must not read the last one
    networks, workspaces = make_workspaces(committee)
    dtype = np.dtype(np.uint8 if committee.dtype == np.float32 else np.uint16)
    expected, classes = evaluate_all(committee, xs, ys, dtype), np.full((height, width), 77, dtype)
    places, row = np.full((2, 64), -1), np.full((1, 64), 99, dtype)
    kernel = pictures.evaluate(committee.votes, committee.dtype, dtype)
    assert kernel(networks, xs, ys, table, places, row, *workspaces, classes) == inside.sum()
    np.testing.assert_array_equal(classes[inside], expected[inside])
    assert (classes[~inside] == 77).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_fill_squares_matches_the_reference(dtype):
    random = np.random.default_rng(0)
    for height, width in ((1, 1), (3, 70), (40, 77), (130, 200), (3, 1000), (2, 100_000)):
        for size in (1, 3, 8, 32, 61, 400, 99_990):  # the last is too long for the caches
            corners = [(row, column) for row in range(0, height, size) for column in range(0, width, size)]
            chosen = random.permutation(len(corners))[:40]
            squares = [(*corners[k], size, random.integers(min(np.iinfo(dtype).max, 2**62))) for k in chosen]
            squares = [(row, min(column + random.integers(9), width - 1), *b) for row, column, *b in squares]
            table = np.array([*squares, (0, 0, 1, 0)])[:-1]  # the kernel must not read the last one
            classes, expected = np.full((height, width), 111, dtype), np.full((height, width), 111, dtype)
            n = pictures.fill_squares(classes.dtype)(table, classes)
            assert n == reference.fill_squares(squares, expected)
            np.testing.assert_array_equal(classes, expected)
