"""Painters, which compute the pixels of a picture: the number of a class or a response for every pixel.

A `NetworkPainter` evaluates networks of fastnn by kernels or the reference; a `TablePainter` calls the
prediction function of any other model. A painter is called for one rectangle at a time, with the coordinates
of the rectangle's columns and rows; painters whose attribute `is_threaded` is True are called from several
threads at once.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.ma  # np.unique would import it while a thread trains: a child forked then would wait forever
from numpy.typing import NDArray

from fastnn_kernels.compiler.interrupts import let_interrupts_through

from ..engine.choice import get_backend
from ..reference.grid import RESPONSES as VALUE_RESPONSES
from ..system.validation import check_choice
from .committee import Committee, Plane, plane_of
from .grids import GRIDS, Tally
from .subjects import (
    TableSubject,
    check_own_classes,
    class_number,
    network_subject,
    section_of,
    table_subject,
)

__all__ = ["METHODS", "RESPONSES", "NetworkPainter", "Painter", "TablePainter", "make_painter"]

Array = NDArray[Any]

RESPONSES = ("class", *VALUE_RESPONSES)
METHODS = ("auto", "dense", "certified")
# Number of points for which a model of another library predicts in one call.
PORTION_POINTS = 1 << 16
# "auto" chooses certified painting for pictures of at least this many operations (about 50 ms): in smaller
# ones it saves less time than its kernels take to compile or load.
CERTIFIED_OPERATIONS = 4e9
# Fraction of evaluated pixels, among at least a million pixels, above which "auto" changes to dense painting.
DENSE_FRACTION, PROBED_POINTS = 0.6, 1 << 20


class Painter(ABC):
    """Computation of the pixels in rectangles.

    Attributes
    ----------
    dtype : numpy.dtype
        Type of the pixels.
    classes : array or None
        Labels of the classes, in the order of the numbers in the pixels; None for a response.
    is_threaded : bool
        True if several threads paint at once, none of them the caller's; False if the caller's thread paints.
    finds_classes : bool
        True if the classes are not known before painting: they are the predicted ones, numbered in the order
        in which they are found.
    is_bounded : bool
        False for a response that may be above 1: margins of scores.
    folded : str
        Transformers that were folded into the first layer, or the reason why not; see `RenderStats`.
    """

    dtype: np.dtype
    classes: Array | None
    is_threaded = True
    finds_classes = False
    is_bounded = True
    folded = ""

    @abstractmethod
    def paint(self, xs: Array, ys: Array, target: Array, stopped: Callable[[], bool]) -> Tally:
        """Paint the pixels at (xs[column], ys[row]) into `target`.

        Parameters
        ----------
        xs, ys : array of float64
            Coordinates of the columns and rows.
        target : array (len(ys), len(xs))
            C-contiguous array of `dtype`; overwritten.
        stopped : callable
            Function that returns True if the painter should stop; the target may then be incomplete.
        """

    @abstractmethod
    def classes_at(self, points: NDArray[np.float64]) -> Array:
        """Return the class numbers (n,) at points (n, 2); only for a painter of classes."""

    def undecided_blocks(self, xs: Array, ys: Array, size: int) -> Iterator[NDArray[np.int64]]:
        """Yield the blocks of a lattice that may contain points of two classes; see `Grid.undecided_blocks`.

        This default implementation yields all blocks.
        """
        columns = np.arange(0, xs.size - 1, size)
        for row in range(0, ys.size - 1, size):
            yield np.column_stack([np.full(columns.size, row), columns])

    def prepare(self) -> None:  # noqa: B027
        """Compile or load kernels; called once, in the caller's thread, which Ctrl-C can interrupt."""

    @property
    @abstractmethod
    def method(self) -> str:
        """Method of painting, so far or planned; a value of `RenderStats.method`."""


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
    class_index : int
        Number of the class whose probability is painted.
    method : str
        One of `METHODS`.
    backend : str
        Name of the backend that evaluates the networks.
    plane : Plane, optional
        Relation of the networks' inputs to the picture's coordinates. By default the inputs are the
        coordinates.
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
        self._grid = GRIDS[backend](committee)
        self._committee, self._response, self._class_index = committee, response, class_index
        self._certified = method == "certified"
        self._may_switch = False
        self.classes = classes if response == "class" else None
        self.dtype = np.min_scalar_type(len(classes) - 1) if response == "class" else committee.dtype
        self._n_certified = self._n_dense = 0
        self._n_evaluated = self._n_painted = 0

    def choose_method(self, n_pixels: int) -> None:
        """Choose the method for a picture of `n_pixels` pixels, and permit a change to "dense" later."""
        if self._response == "class":
            self._certified = n_pixels * self._committee.operations > CERTIFIED_OPERATIONS
            self._may_switch = True

    @property
    def method(self) -> str:
        """Method of painting, so far or planned; a value of `RenderStats.method`."""
        if not self._n_certified:
            return "dense" if self._n_dense or not self._certified else "certified"
        return "certified, then dense" if self._n_dense else "certified"

    def prepare(self) -> None:
        """Compile or load the kernels of the chosen method by painting one pixel."""
        point = np.zeros(1, self._committee.dtype)
        target = np.empty((1, 1), self.dtype)
        if self._certified:
            self._grid.certified(point, point, target, lambda: False)
        else:
            self._band(point, point, target)

    def undecided_blocks(self, xs: Array, ys: Array, size: int) -> Iterator[NDArray[np.int64]]:
        """Yield the blocks that the bounds do not decide, or all blocks for the dense method."""
        if not self._certified:
            return super().undecided_blocks(xs, ys, size)
        return self._grid.undecided_blocks(*self._plane.coordinates(xs, ys, self._committee.dtype), size)

    def paint(self, xs: Array, ys: Array, target: Array, stopped: Callable[[], bool]) -> Tally:
        """Paint a rectangle by the chosen method; change to "dense" if bounds decide too few pixels."""
        xs, ys = self._plane.coordinates(xs, ys, self._committee.dtype)
        if self._certified:
            tally = self._grid.certified(xs, ys, target, stopped)
            self._n_certified += 1
            self._n_evaluated += tally.points_evaluated
            self._n_painted += target.size
            is_worthwhile = (
                self._n_evaluated < DENSE_FRACTION * self._n_painted or self._n_painted < PROBED_POINTS
            )
            if self._may_switch and not is_worthwhile:
                self._certified = False
            return tally
        self._n_dense += 1
        most = max(1, int(self._grid.call_operations / self._committee.operations))
        tally = Tally()
        # Kernels write whole rows of a contiguous target. If a row is too long for one call, its pieces are
        # painted into a buffer and copied.
        n_columns = min(xs.size, most)
        n_rows = max(1, most // xs.size)
        buffer = None if n_columns == xs.size else np.empty((1, n_columns), target.dtype)
        for first in range(0, ys.size, n_rows):
            rows = slice(first, min(first + n_rows, ys.size))
            for begin in range(0, xs.size, n_columns):
                if stopped():
                    return tally
                columns = slice(begin, min(begin + n_columns, xs.size))
                if buffer is None:
                    tally += self._band(xs, ys[rows], target[rows])
                else:
                    shorter = buffer.ravel()[: columns.stop - begin].reshape(1, -1)
                    tally += self._band(xs[columns], ys[rows], shorter)
                    target[rows, columns] = shorter
        return tally

    def classes_at(self, points: NDArray[np.float64]) -> Array:
        """Return the class numbers (n,) at points (n, 2)."""
        X = np.column_stack(self._plane.coordinates(points[:, 0], points[:, 1], self._committee.dtype))
        members = self._committee.members
        if not self._committee.votes:
            return self._backend.predict(*members[0], X)
        return np.sum([self._backend.outputs(*member, X, "softmax") for member in members], 0).argmax(axis=1)

    def _band(self, xs: Array, ys: Array, target: Array) -> Tally:
        """Evaluate all pixels of some rows in one call of a kernel."""
        began = time.perf_counter()
        if self._response == "class":
            self._grid.classes(xs, ys, target)
        else:
            self._grid.values(self._response, self._class_index, xs, ys, target)
        return Tally(points_evaluated=target.size, evaluating=time.perf_counter() - began)


class TablePainter(Painter):
    """A model or function that predicts for a table of samples, called for some points at a time."""

    is_threaded = False  # a model of another library may not be safe to call from several threads
    method = "dense"

    def __init__(self, subject: TableSubject) -> None:
        self._predict, self._section, self._given_classes, self._respond, self.is_bounded = subject
        self._class_numbers: dict[Any, int] = {}
        self.finds_classes = self._respond is None and self._given_classes is None
        if self._respond is not None:
            self.dtype = np.dtype(np.float64)
        elif self._given_classes is not None:
            self.dtype = np.min_scalar_type(len(self._given_classes) - 1)
        else:
            self.dtype = np.dtype(np.uint16)

    @property
    def classes(self) -> Array | None:  # type: ignore[override]
        """Labels; if the user gave no `classes`, those found so far. None for a response."""
        if self._respond is not None:
            return None
        return np.array(list(self._class_numbers)) if self._given_classes is None else self._given_classes

    def paint(self, xs: Array, ys: Array, target: Array, stopped: Callable[[], bool]) -> Tally:
        """Paint a rectangle, some points at a time."""
        began = time.perf_counter()
        flat = target.reshape(-1)
        for first in range(0, flat.size, PORTION_POINTS):
            if stopped():
                break
            index = np.arange(first, min(first + PORTION_POINTS, flat.size))
            flat[first : first + index.size] = self._values_at(xs[index % xs.size], ys[index // xs.size])
        return Tally(points_evaluated=flat.size, evaluating=time.perf_counter() - began)

    def classes_at(self, points: NDArray[np.float64]) -> Array:
        """Return the class numbers (n,) at points (n, 2)."""
        found = np.empty(len(points), self.dtype)
        for first in range(0, len(points), PORTION_POINTS):
            portion = slice(first, first + PORTION_POINTS)
            found[portion] = self._values_at(*points[portion].T)
        return found

    def _values_at(self, x: Array, y: Array) -> Array:
        """Return the values of the pixels at (x[i], y[i])."""
        points = self._section.samples(x, y)
        with let_interrupts_through():
            values = self._predict(points)
        if np.ma.is_masked(values):
            raise ValueError("the model predicts masked values: fill them, as numpy.ma.filled does")
        return self._pixel_values(np.asarray(values), len(x))

    def _pixel_values(self, values: Array, n: int) -> Array:
        """Return the pixels (n,) for the predictions of n points: class numbers, or the response."""
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
            raise ValueError(
                f"the model predicts classes that cannot be sorted: {error}. Fit it to classes of one type, "
                "all text or all numbers"
            ) from None
        missing = found[found != found]
        if missing.size:
            raise ValueError(f"the model predicts values that are not classes, such as {missing[0]}")
        if self._given_classes is None:
            for label in found:
                self._class_numbers.setdefault(label, len(self._class_numbers))
            if len(self._class_numbers) > np.iinfo(self.dtype).max + 1:
                raise ValueError(f"the model predicts more than {len(self._class_numbers) - 1} classes")
            return np.array([self._class_numbers[label] for label in found])[inverse]
        order = np.argsort(self._given_classes)  # a model's classes need not be sorted
        places = order[np.searchsorted(self._given_classes, found, sorter=order).clip(0, order.size - 1)]
        unknown = found[self._given_classes[places] != found].tolist()
        if unknown:
            raise ValueError(
                f"the model predicts {unknown[0]!r}, which is none of the classes "
                f"{self._given_classes.tolist()}"
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
        Number of pixels in the picture, for the choice of the method "auto".

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
    if class_of_interest is not None and response != "probability" and not is_label:
        raise ValueError(
            f"class_of_interest is the class that a probability is of, and response is {response!r}: leave "
            f"class_of_interest={class_of_interest!r} out, or choose response='probability'"
        )
    if subject is None:
        if method == "certified":
            raise ValueError(
                f"method 'certified' works only with networks of fastnn{f' ({folded})' if folded else ''}: "
                "use method='dense' or 'auto'"
            )
        table = TablePainter(table_subject(model, section, response, class_of_interest, classes))
        table.folded = folded
        return table
    labels = subject.classes
    check_own_classes(classes, labels)
    class_index = 0
    if response == "probability":
        class_index = class_number(labels, None if is_label else class_of_interest)
    painter = NetworkPainter(
        subject.committee, labels, response, class_index, method, subject.backend, subject.plane
    )
    painter.folded = folded
    if method == "auto":
        painter.choose_method(n_pixels)
    return painter
