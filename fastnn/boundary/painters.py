"""Painters, which compute the pixels of a picture, by kernels for networks of fastnn or by any `predict`.

A painter gets the coordinates of the columns and rows of a rectangle, from several threads at once if it
allows that, and computes a number for every pixel: the number of a class, or a response.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels.compiler.interrupts import let_interrupts_through

from ..engine.choice import get_backend
from ..system.validation import check_choice, sorted_classes
from .committee import Committee, Plane, plane_of
from .grids import Tally, make_grid
from .subjects import TableSubject, class_number, network_subject, section_of, table_subject

__all__ = ["METHODS", "RESPONSES", "NetworkPainter", "Painter", "TablePainter", "make_painter"]

Array = NDArray[Any]

RESPONSES = ("class", "probability", "margin", "confidence")
METHODS = ("auto", "dense", "certified")
# Points of a table that a model of another library gets at once.
PORTION_POINTS = 1 << 16
# Operations of a picture (some 50 ms) from which on "auto" chooses squares: smaller pictures save less time
# than the kernels take to be compiled or loaded.
CERTIFIED_OPERATIONS = 4e9
# Share of evaluated pixels, among a million at the least, beyond which squares do not pay.
DENSE_SHARE, PROBED_POINTS = 0.6, 1 << 20


class Painter(ABC):
    """Computation of the pixels in rectangles.

    Attributes
    ----------
    dtype : numpy.dtype
        Type of the pixels.
    classes : array or None
        Labels of the numbers in the pixels; None for a response.
    is_threaded : bool
        True if several threads may paint at once, none of them the caller's.
    finds_classes : bool
        True if the classes are those that are predicted, numbered in the order they are found.
    is_bounded : bool
        False for a response that may be above 1: margins of scores.
    folded : str
        Transformers that were folded into the first layer, or why they were not; see `RenderStats`.
    """

    dtype: np.dtype
    classes: Array | None
    is_threaded = True
    finds_classes = False
    is_bounded = True
    folded = ""

    @abstractmethod
    def paint(self, xs: Array, ys: Array, target: Array, stopped: Callable[[], bool]) -> Tally:
        """Paint the pixels at (xs[column], ys[row]), float64, into target (len(ys), len(xs)), C-contiguous.

        Once `stopped` returns True, the target may be left incomplete.
        """

    @abstractmethod
    def classes_at(self, points: NDArray[np.float64]) -> Array:
        """Return the numbers of the classes (n,) at points (n, 2), if the painter paints classes."""

    def unproven(self, xs: Array, ys: Array, size: int) -> Iterator[NDArray[np.int64]]:
        """Yield the blocks of a lattice that may hold points of two classes; see `Grid.unproven`.

        A painter that proves nothing yields all blocks.
        """
        columns = np.arange(0, xs.size - 1, size)
        for row in range(0, ys.size - 1, size):
            yield np.column_stack([np.full(columns.size, row), columns])

    def prepare(self) -> None:  # noqa: B027
        """Compile or load kernels, once and in the caller's thread, which Ctrl-C can interrupt."""

    @property
    @abstractmethod
    def method(self) -> str:
        """Method by which the pixels are, or were, painted: `RenderStats.method`."""


class NetworkPainter(Painter):
    """Networks of fastnn, evaluated by kernels or the reference.

    Parameters
    ----------
    committee : Committee
        Networks of two inputs.
    classes : array (n_classes,)
        Labels in the order of the scores.
    response : str
        One of `RESPONSES`.
    which : int
        Number of the class whose probability is painted.
    method : str
        One of `METHODS`.
    backend : str
        Name of the backend that evaluates the networks.
    plane : Plane, optional
        Relation of the networks' inputs to the picture's coordinates, which are the inputs by default.
    """

    def __init__(
        self,
        committee: Committee,
        classes: Array,
        response: str,
        class_index: int,
        method: str,
        backend: str,
        plane: Plane | None = None,
    ) -> None:
        self._plane = plane_of((0, 1), np.zeros(2)) if plane is None else plane
        self._backend = get_backend(backend)
        self._grid = make_grid(backend, committee)
        self._committee, self._response, self._class_index = committee, response, class_index
        self._certified = method == "certified"
        self._may_give_up = False
        self.classes = classes if response == "class" else None
        self.dtype = np.min_scalar_type(len(classes) - 1) if response == "class" else committee.dtype
        self._n_certified = self._n_dense = 0
        self._looked_at = self._passed = 0

    def choose(self, n_pixels: int) -> None:
        """Choose the method for a picture of `n_pixels`, and permit a change to "dense" later."""
        if self._response == "class":
            self._certified = n_pixels * self._committee.operations > CERTIFIED_OPERATIONS
            self._may_give_up = True

    @property
    def method(self) -> str:
        """Method by which the pixels are, or were, painted: `RenderStats.method`."""
        if not self._n_certified:
            return "dense" if self._n_dense or not self._certified else "certified"
        return "certified, then dense" if self._n_dense else "certified"

    def prepare(self) -> None:
        """Compile or load the kernels of the chosen method: paint one pixel."""
        point = np.zeros(1, self._committee.dtype)
        target = np.empty((1, 1), self.dtype)
        if self._certified:
            self._grid.certified(point, point, target, lambda: False)
        else:
            self._band(point, point, target)

    def unproven(self, xs: Array, ys: Array, size: int) -> Iterator[NDArray[np.int64]]:
        """Yield the blocks that bounds leave open, or all blocks for the dense method."""
        if not self._certified:
            return super().unproven(xs, ys, size)
        return self._grid.unproven(*self._plane.coordinates(xs, ys, self._committee.dtype), size)

    def paint(self, xs: Array, ys: Array, target: Array, stopped: Callable[[], bool]) -> Tally:
        """Paint a rectangle by the chosen method, and give up certifying where it does not pay."""
        xs, ys = self._plane.coordinates(xs, ys, self._committee.dtype)
        if self._certified:
            tally = self._grid.certified(xs, ys, target, stopped)
            self._n_certified += 1
            self._looked_at += tally.points_evaluated
            self._passed += target.size
            pays = self._looked_at < DENSE_SHARE * self._passed or self._passed < PROBED_POINTS
            if self._may_give_up and not pays:
                self._certified = False
            return tally
        self._n_dense += 1
        most = max(1, int(self._grid.call_operations / self._committee.operations))
        tally = Tally()
        # Kernels write whole rows of a contiguous target: a row too long for one call goes through an array
        # of its own, part by part.
        n_columns = min(xs.size, most)
        n_rows = max(1, most // xs.size)
        part = None if n_columns == xs.size else np.empty((1, n_columns), target.dtype)
        for first in range(0, ys.size, n_rows):
            rows = slice(first, min(first + n_rows, ys.size))
            for begin in range(0, xs.size, n_columns):
                if stopped():
                    return tally
                columns = slice(begin, min(begin + n_columns, xs.size))
                if part is None:
                    tally += self._band(xs, ys[rows], target[rows])
                else:
                    shorter = part.ravel()[: columns.stop - begin].reshape(1, -1)
                    tally += self._band(xs[columns], ys[rows], shorter)
                    target[rows, columns] = shorter
        return tally

    def classes_at(self, points: NDArray[np.float64]) -> Array:
        """Return the numbers of the classes (n,) at points (n, 2)."""
        X = np.column_stack(self._plane.coordinates(points[:, 0], points[:, 1], self._committee.dtype))
        members = self._committee.members
        if not self._committee.votes:
            return self._backend.predict(*members[0], X)
        return np.sum([self._backend.outputs(*member, X, "softmax") for member in members], 0).argmax(axis=1)

    def _band(self, xs: Array, ys: Array, target: Array) -> Tally:
        """Evaluate every pixel of some rows in one call."""
        began = time.perf_counter()
        if self._response == "class":
            self._grid.classes(xs, ys, target)
        else:
            self._grid.values(self._response, self._class_index, xs, ys, target)
        return Tally(points_evaluated=target.size, evaluating=time.perf_counter() - began)


class TablePainter(Painter):
    """Anything that predicts for a table of samples, some points at a time."""

    is_threaded = False  # a model of another library may not be safe to call from several threads
    method = "dense"

    def __init__(self, subject: TableSubject) -> None:
        self._predict, self._section, self._known, self._respond, self.is_bounded = subject
        self._numbers: dict[Any, int] = {}
        self.finds_classes = self._respond is None and self._known is None
        if self._respond is not None:
            self.dtype = np.dtype(np.float64)
        elif self._known is not None:
            self.dtype = np.min_scalar_type(len(self._known) - 1)
        else:
            self.dtype = np.dtype(np.uint16)

    @property
    def classes(self) -> Array | None:  # type: ignore[override]
        """Labels, which without `classes` are those found so far; None for a response."""
        if self._respond is not None:
            return None
        return np.array(list(self._numbers)) if self._known is None else self._known

    def paint(self, xs: Array, ys: Array, target: Array, stopped: Callable[[], bool]) -> Tally:
        """Paint a rectangle, some points at a time."""
        began = time.perf_counter()
        flat = target.reshape(-1)
        for first in range(0, flat.size, PORTION_POINTS):
            if stopped():
                break
            index = np.arange(first, min(first + PORTION_POINTS, flat.size))
            flat[first : first + index.size] = self._at(xs[index % xs.size], ys[index // xs.size])
        return Tally(points_evaluated=flat.size, evaluating=time.perf_counter() - began)

    def classes_at(self, points: NDArray[np.float64]) -> Array:
        """Return the numbers of the classes (n,) at points (n, 2)."""
        found = np.empty(len(points), self.dtype)
        for first in range(0, len(points), PORTION_POINTS):
            portion = slice(first, first + PORTION_POINTS)
            found[portion] = self._at(*points[portion].T)
        return found

    def _at(self, x: Array, y: Array) -> Array:
        """Return the values of the pixels at (x[i], y[i])."""
        points = self._section.samples(x, y)
        with let_interrupts_through():
            values = self._predict(points)
        if np.ma.is_masked(values):
            raise ValueError("the model predicts masked values: fill them, as numpy.ma.filled does")
        return self._numbered(np.asarray(values), len(x))

    def _numbered(self, values: Array, n: int) -> Array:
        """Return the pixels (n,) for the prediction of n points: numbers of classes, or the response."""
        if self._respond is not None:
            if values.ndim not in ((2,) if self.is_bounded else (1, 2)) or len(values) != n:
                name = "predict_proba" if self.is_bounded else "decision_function"
                raise ValueError(f"{name} must give a row per point: for {n} points it gave {values.shape}")
            return self._respond(values)
        if values.shape != (n,):
            raise ValueError(
                f"the model must predict one class per point: for {n} points it gave shape {values.shape}"
            )
        if values.dtype.kind == "f":
            wrong = values[~np.isfinite(values) | (values != np.floor(values))]
            if wrong.size:
                raise ValueError(f"the model predicts numbers that are not classes, such as {wrong[0]}")
        try:
            found, inverse = np.unique(values, return_inverse=True)
        except TypeError as error:
            raise ValueError(f"the model predicts classes that cannot be sorted: {error}") from None
        if self._known is None:
            for label in found:
                self._numbers.setdefault(label, len(self._numbers))
            if len(self._numbers) > np.iinfo(self.dtype).max + 1:
                raise ValueError(f"the model predicts more than {len(self._numbers) - 1} classes")
            return np.array([self._numbers[label] for label in found])[inverse]
        order = np.argsort(self._known)  # a model need not sort its classes
        places = order[np.searchsorted(self._known, found, sorter=order).clip(0, order.size - 1)]
        strange = found[self._known[places] != found].tolist()
        if strange:
            raise ValueError(
                f"the model predicts {strange[0]!r}, which is none of the classes {self._known.tolist()}"
            )
        return places[inverse]


def make_painter(
    model: Any,
    *,
    response: str = "class",
    method: str = "auto",
    class_of_interest: Any = None,
    features: Any = None,
    fill: Any = None,
    classes: Any = None,
    n_pixels: int = 0,
) -> Painter:
    """Return the painter of a model.

    Parameters
    ----------
    model, response, method, class_of_interest, features, fill, classes
        Arguments of `render_boundary`.
    n_pixels : int
        Pixels of the picture, on which the choice of "auto" depends.

    Raises
    ------
    ValueError, TypeError
        Errors of `render_boundary` for these arguments.
    """
    check_choice(response, "response", RESPONSES)
    check_choice(method, "method", METHODS)
    if method == "certified" and response != "class":
        raise ValueError(
            f"method 'certified' fills areas of one class; response {response!r} differs from pixel "
            "to pixel: use method='dense' or 'auto'"
        )
    section = section_of(model, features, fill)
    subject, folded = network_subject(model, section, class_of_interest)
    is_label = subject is not None and subject.is_label
    if class_of_interest is not None and response == "class" and not is_label:
        raise ValueError(
            "class_of_interest is the class that a probability is of, and response is 'class': leave it out, "
            "or choose response='probability'"
        )
    if subject is None:
        if method == "certified":
            raise ValueError(
                f"method 'certified' is for networks of fastnn{f' ({folded})' if folded else ''}: use "
                "method='dense' or 'auto'"
            )
        table = TablePainter(table_subject(model, section, response, class_of_interest, classes))
        table.folded = folded
        return table
    labels = subject.classes
    if classes is not None and not np.array_equal(sorted_classes(classes), labels):
        raise ValueError(f"classes are {labels.tolist()}, the model's own: leave the argument out")
    class_index = 0
    if response == "probability":
        class_index = class_number(labels, None if is_label else class_of_interest)
    painter = NetworkPainter(
        subject.committee, labels, response, class_index, method, subject.backend, subject.plane
    )
    painter.folded = folded
    if method == "auto":
        painter.choose(n_pixels)
    return painter
