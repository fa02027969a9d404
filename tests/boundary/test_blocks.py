"""Boundary lines by blocks of a lattice: blocks in which a network provably has one class are left out."""

import numpy as np
import pytest
from committees import single, voting
from hypothesis import given
from hypothesis import strategies as st
from views import X, y

import fastnn
from fastnn import boundary_lines
from fastnn.boundary import lines, painters
from fastnn.boundary.grids import NumbaGrid, NumpyGrid
from fastnn.boundary.tracing import mixed_squares

XLIM, YLIM = (-2, 3), (-1.5, 2)
sides = st.one_of(st.integers(2, 80), st.sampled_from([2, 3, 17, 65]))


def lattice(random, committee, n_columns, n_rows):
    """Draw the coordinates of columns and rows of a lattice, anywhere and of any size."""
    centre, reach = random.standard_normal(2), 10.0 ** random.uniform(-3, 1, 2)
    return (
        (centre[k] + reach[k] * np.linspace(-1, 1, count)).astype(committee.dtype)
        for k, count in enumerate((n_columns, n_rows))
    )


@given(
    st.one_of(single(), voting()), sides, sides, st.sampled_from([1, 2, 5, 8, 64]),
    st.sampled_from([NumbaGrid, NumpyGrid]),
)  # fmt: skip
def test_blocks_that_are_left_out_have_one_class(problem, n_columns, n_rows, size, kind):
    committee, random = problem
    xs, ys = lattice(random, committee, n_columns, n_rows)
    grid = kind(committee)
    classes = np.empty((n_rows, n_columns), np.uint8)
    grid.classes(xs, ys, classes)
    blocks = [tuple(corner) for part in grid.undecided_blocks(xs, ys, size) for corner in part.tolist()]
    assert len(set(blocks)) == len(blocks)
    all_blocks = {
        (row, column) for row in range(0, n_rows - 1, size) for column in range(0, n_columns - 1, size)
    }
    assert all_blocks.issuperset(blocks)
    for row, column in all_blocks.difference(blocks):
        assert np.ptp(classes[row : row + size + 1, column : column + size + 1]) == 0
    mixed = mixed_squares(classes)
    corners = zip((mixed.rows // size * size).tolist(), (mixed.columns // size * size).tolist(), strict=True)
    assert set(blocks).issuperset(corners)


def three_classes(**options):
    """Return a model of three classes, and no options of a picture."""
    model = fastnn.Model([2, 8, 3], random_state=0, **options)
    model.train(X, np.where(X[:, 0] > 1, 2, y), num_passes=300)
    return model, {}


def one_label_of_two():
    """Return a model of two labels, and the option that chooses the second one."""
    model = fastnn.Model([2, 6, 2], loss="sigmoid_binary_cross_entropy", random_state=1)
    model.train(X, np.column_stack([y, X[:, 0] > 0.3]), num_passes=300)
    return model, {"class_of_interest": 1}


def ensemble(**options):
    """Return an ensemble for four features, and the options that choose two of them."""
    member = fastnn.MLPClassifier((4,), max_iter=100, tol=1e-2, learning_rate_init=0.05, **options)
    model = fastnn.MLPEnsembleClassifier(member, 3, random_state=0)
    return model.fit(np.column_stack([X, X[:, ::-1]]), y), {"features": (3, 0), "fill": 0.3}


@pytest.fixture
def evaluated(monkeypatch):
    """Return a list of the numbers of points that every call of `boundary_lines` evaluates."""
    counts, blocks = [], lines._blocks

    def counted(*arguments):
        rects, n_points = blocks(*arguments)
        counts.append(n_points)
        return rects, n_points

    monkeypatch.setattr(lines, "_blocks", counted)
    return counts


# Functions that return a model and options of its lines.
MODELS = {
    "float64": three_classes,
    "float32": lambda: three_classes(dtype="float32"),
    "numpy": lambda: three_classes(backend="numpy"),
    "numpy, float32": lambda: three_classes(backend="numpy", dtype="float32"),
    "a label": one_label_of_two,
    "an ensemble": ensemble,
}


@pytest.mark.parametrize("name", MODELS)
def test_lines_are_those_of_the_whole_lattice(name, evaluated, monkeypatch):
    model, options = MODELS[name]()
    monkeypatch.setattr(lines, "BLOCK", 32)
    monkeypatch.setattr(painters, "CERTIFIED_OPERATIONS", np.inf)
    expected = boundary_lines(model, XLIM, YLIM, tolerance=0.01, **options)
    monkeypatch.setattr(painters, "CERTIFIED_OPERATIONS", 0)
    for size, n_threads in ((32, 1), (11, 2)):
        monkeypatch.setattr(lines, "BLOCK", size)
        found = boundary_lines(model, XLIM, YLIM, tolerance=0.01, n_threads=n_threads, **options)
        assert list(found) == list(expected)
        for pair, some in found.items():
            assert len(some) == len(expected[pair])
            for line, other in zip(some, expected[pair], strict=True):
                np.testing.assert_array_equal(line, other)
    assert evaluated[0] > 501 * 351
    assert max(evaluated[1:]) < 0.5 * evaluated[0], "most of the lattice is left out"


def test_the_points_evaluated_grow_with_the_length_of_the_lines(evaluated, monkeypatch):
    """A lattice with steps of an eighth has 64 times the points, but only 8 times the points near lines."""
    model, _ = three_classes()
    monkeypatch.setattr(painters, "CERTIFIED_OPERATIONS", 0)
    monkeypatch.setattr(lines, "BLOCK", 64)
    sides = 2000, 16_000
    coarse, fine = (boundary_lines(model, XLIM, YLIM, tolerance=(5 / side, 3.5 / side)) for side in sides)
    assert list(fine) == list(coarse)
    assert evaluated[1] < 1.5 * 8 * evaluated[0]


def test_a_rectangle_of_one_class_is_not_evaluated(monkeypatch):
    model, _ = three_classes()
    monkeypatch.setattr(painters.NetworkPainter, "paint", lambda *_: pytest.fail("painted"))
    limits = (3, 3.1), (1.9, 2)
    assert len(set(model.predict(np.stack(np.meshgrid(*limits), -1).reshape(-1, 2)).tolist())) == 1
    assert boundary_lines(model, *limits, tolerance=1e-7) == {}


def test_a_boundary_along_the_edge_of_two_blocks_is_found(monkeypatch):
    """The two blocks share a column of points; the other points of each have one class."""
    model = fastnn.Model([2, 2])
    model.W[0][...] = [[-1, 1], [0, 0]]
    monkeypatch.setattr(painters, "CERTIFIED_OPERATIONS", 0)
    monkeypatch.setattr(lines, "BLOCK", 8)
    for place in (7.5, 8.0, 8.5):
        model.b[0][...] = [[place, -place]]
        (line,) = boundary_lines(model, (0, 16), (0, 16), tolerance=1)[0, 1]
        np.testing.assert_allclose(line, [(place, 0), (place, 16)], atol=1e-3)


# ---- limits ----


def test_a_tolerance_that_takes_too_many_points_is_refused_at_once():
    calls = []

    def predict(points):
        calls.append(len(points))
        return points[:, 0] > 0.5

    with pytest.raises(ValueError, match=r"tolerance=1e-06 is too small: of 1e\+12 squares"):
        boundary_lines(predict, (0, 1), (0, 1), tolerance=1e-6)
    assert not calls


def test_too_many_points_near_the_boundary_are_refused(monkeypatch):
    model, _ = three_classes()
    monkeypatch.setattr(lines, "MAX_POINTS", 1e6)
    assert boundary_lines(model, XLIM, YLIM, tolerance=(5 / 900, 3.5 / 900))
    with pytest.raises(ValueError, match="more than 1e\\+06 points would have to be evaluated"):
        boundary_lines(model, XLIM, YLIM, tolerance=(5 / 90_000, 3.5 / 90_000))


def test_lines_larger_than_memory_are_refused(monkeypatch):
    def predict(points):
        return np.floor(points[:, 0]) % 2

    class Memory:
        available = 500 * 1000

    monkeypatch.setattr(lines.psutil, "virtual_memory", Memory)
    assert len(boundary_lines(predict, (0, 10.5), (0, 1), tolerance=0.5)[0, 1]) == 10
    with pytest.raises(MemoryError, match=r"of a side of 0.5 take .* bytes, and 500,000 are free"):
        boundary_lines(predict, (0, 10.5), (0, 1000), tolerance=0.5)


def test_all_lines_are_interpolated_together(monkeypatch):
    interp, lengths = np.interp, []

    def counted(x, *arguments):
        lengths.append(len(x))
        return interp(x, *arguments)

    monkeypatch.setattr(np, "interp", counted)
    found = boundary_lines(lambda P: np.floor(P[:, 0]) % 2, (0.5, 400.5), (0, 1), tolerance=0.3)
    assert len(found[0, 1]) == 400
    assert len(lengths) < 10
