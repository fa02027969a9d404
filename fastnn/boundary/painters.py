"""Painters, which compute the pixels of a picture: the number of a class or a response for every pixel.

A `NetworkPainter` evaluates networks of fastnn by kernels; a `TablePainter` calls the
prediction function of any other model. `make_painter` decides which one paints a subject, and how.
"""

from __future__ import annotations

import functools
import itertools
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels.compiler.interrupts import let_interrupts_through

from ..network.description import Array
from ..reference.grid import RESPONSES as RESPONSE_FUNCTIONS
from ..system.validation import check_choice, is_masked, short_repr
from .grids import CALL_OPERATIONS, Grid, Tally
from .subjects import Subject
from .view import Axis, Regions, View

Advance = Callable[..., bool]
Squares = NDArray[np.int64] | None
# Regions that are known before a picture is painted, and the statistics of finding them.
Found = tuple[Regions | None, Tally]

RESPONSES = ("class", *RESPONSE_FUNCTIONS)
METHODS = ("auto", "dense", "certified")
# Number of points for which a model of another library predicts in one call.
PORTION_POINTS = 1 << 16
# "auto" chooses certified painting for pictures of at least this many operations (about 50 ms): in smaller
# ones it saves less time than its kernels take to compile or load.
CERTIFIED_OPERATIONS = 4e9
# Fraction of evaluated pixels, among at least a million pixels, above which "auto" changes to dense painting.
DENSE_FRACTION, PROBED_POINTS = 0.6, 1 << 20
# Maximum number of squares that are bounded before a picture is painted. They take a byte or two each.
MAX_CELLS = 1 << 26
# Number of squares up to which bounding them first takes longer than it saves.
FEW_CELLS = 4


def never_stop(n_pixels: int = 0) -> bool:
    return False


class Painter(ABC):
    """Computation of the pixels in rectangles.

    `class_index` is the number of the class whose probability is painted. `reason` says why all pixels are
    evaluated, and is empty for certified painting; `method` is the planned method of painting. Both are
    values of `RenderStats`.
    """

    dtype: np.dtype  # of the pixels
    classes: Array | None  # labels in the order of the numbers in the pixels; None for a response
    method: str
    is_threaded = True  # several threads paint at once, none of them the caller's; else the caller's alone
    # True if the classes are the predicted ones, numbered in the order in which they are found.
    finds_classes = False
    is_bounded = True  # False for a response that may be above 1: margins of scores

    def __init__(self, subject: Subject, response: str, class_index: int, reason: str) -> None:
        self.subject, self.response, self.class_index, self.reason = subject, response, class_index, reason

    def compile(self) -> None:  # noqa: B027
        """Find, load or compile the kernels that paint."""

    @abstractmethod
    def paint(
        self, xs: Array, ys: Array, target: Array, advance: Advance = never_stop, squares: Squares = None
    ) -> Tally:
        """Paint the pixels at (xs[column], ys[row]) into `target`, C-contiguous, of `dtype`.

        `advance` returns True if the painter should stop; the target may then be incomplete. Its argument, by
        default 0, is a number of pixels to add to the progress bar. `squares` (n, 3) are left to paint by the
        `Regions` of the picture: row, column, size. By default these are all pixels.
        """

    def find_regions(self, view: View, side: int, stopped: Callable[[], bool]) -> Found:
        """Return the squares of `side` pixels in which one class provably wins, if any, and statistics."""
        return None, Tally()


def make_painter(
    subject: Subject,
    response: str = "class",
    method: str = "auto",
    class_of_interest: Any = None,
    n_pixels: int = 0,
) -> Painter:
    """Return the painter of a subject; `n_pixels` of the picture decide for the method "auto".

    `render_boundary` describes the other arguments and the errors.
    """
    check_choice(response, "response", RESPONSES)
    check_choice(method, "method", METHODS)
    committee = subject.committee
    if committee is None:
        _check_functions(subject, response)
    class_index = _class_index(subject, response, class_of_interest)
    n_operations = 0 if committee is None else n_pixels * committee.operations
    reason = ""  # why all pixels are evaluated
    if response != "class":
        reason = f"response {response!r} differs from pixel to pixel"
    elif committee is None:
        reason = subject.reason
    elif method == "dense":
        reason = "method='dense' was chosen"
    elif method == "auto" and n_operations <= CERTIFIED_OPERATIONS:
        reason = "the picture has few pixels"
    if method == "certified" and reason:
        raise ValueError(
            f"method 'certified' fills areas of one class of a network, but {reason}: use 'dense' or 'auto'"
        )
    if committee is None:
        return TablePainter(subject, response, class_index, reason)
    return NetworkPainter(subject, response, class_index, reason, may_switch=method == "auto")


def _check_functions(subject: Subject, response: str) -> None:
    if response == "class" and subject.predict is None:
        raise TypeError("model must have predict, or be a function, for the response 'class'")
    if response != "class" and (subject.scores is None or not (subject.is_bounded or response == "margin")):
        scores = ", or a decision_function with a score per class (of an SVC, decision_function_shape='ovr')"
        needed = f"predict_proba{scores if response == 'margin' else ''}"
        raise ValueError(f"response {response!r} needs {needed}, which the model does not have")


def _class_index(subject: Subject, response: str, class_of_interest: Any) -> int:
    """Return the number of the class whose probability is painted, by default the second of two; else 0."""
    if subject.n_labels:
        return 1
    if response != "probability":
        if class_of_interest is not None:
            raise ValueError(
                f"class_of_interest is the class that a probability is of, and response is {response!r}: "
                f"leave class_of_interest={class_of_interest!r} out, or choose response='probability'"
            )
        return 0
    classes = subject.classes
    if classes is None:
        raise ValueError("response 'probability' needs classes_ of the model, or classes=")
    if class_of_interest is None:
        if len(classes) == 2:
            return 1
        raise ValueError(
            f"response 'probability' is of one class: name it, class_of_interest= one of {classes.tolist()}"
        )
    # NumPy compares a list with the classes one by one, so a list of as many labels would pass for a label.
    found = np.flatnonzero(classes == class_of_interest) if np.ndim(class_of_interest) == 0 else np.empty(0)
    if found.size != 1:
        raise ValueError(
            f"class_of_interest must be one of {classes.tolist()}, got {short_repr(class_of_interest)}"
        )
    return int(found[0])


class NetworkPainter(Painter):
    """Networks of fastnn, evaluated by kernels; `may_switch` if the bounds prove too little."""

    def __init__(
        self, subject: Subject, response: str, class_index: int, reason: str, may_switch: bool = False
    ) -> None:
        super().__init__(subject, response, class_index, reason)
        assert subject.committee is not None
        assert subject.classes is not None
        self._committee, self._may_switch = subject.committee, may_switch
        self.classes, self.dtype = None, subject.committee.dtype
        if response == "class":
            self.classes, self.dtype = subject.classes, np.min_scalar_type(len(subject.classes) - 1)
        # Pixels painted without bounds, pixels painted with bounds, and how many of these were evaluated.
        self._n_dense = self._n_probed = self._n_evaluated = 0

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the model, which kernels do not need."""
        return vars(self) | {"subject": replace(self.subject, predict=None, scores=None)}

    @property
    def method(self) -> str:  # type: ignore[override]
        if not self._n_probed:
            return "dense" if self.reason else "certified"
        return "certified, then dense" if self._n_dense else "certified"

    @functools.cached_property
    def _grid(self) -> Grid:
        return Grid(self._committee)

    def compile(self) -> None:
        self._grid.compile(self.response, self.dtype, certified=not self.reason)

    def find_regions(self, view: View, side: int, stopped: Callable[[], bool]) -> Found:
        axes = view.xs, view.ys
        shape = -(-view.ys.n_points // side), -(-view.xs.n_points // side)
        if self.reason or math.prod(shape) > MAX_CELLS:
            return None, Tally()
        assert self.classes is not None
        winners = np.full(shape, -1, np.min_scalar_type(-len(self.classes)))
        if winners.size <= FEW_CELLS:
            return Regions(side, winners, self.dtype), Tally()
        began, n_bounded = time.perf_counter(), 0
        edges = [np.append(np.arange(0, axis.n_points, side), axis.n_points) for axis in axes]
        ends = [
            axis.at(np.column_stack([edge[:-1], edge[1:] - 1]).ravel())
            for axis, edge in zip(axes, edges, strict=True)
        ]
        for won, _, n_own in self._grid.divide_cells(*self._committee.inputs(*ends), stopped):
            n_bounded += n_own
            for row, column, size, winner in won.tolist():
                winners[row : row + size, column : column + size] = winner
        widths, heights = map(np.diff, edges)
        n_known = int(heights @ (winners >= 0) @ widths)
        tally = Tally(n_bounded, points_filled=n_known, bounding=time.perf_counter() - began)
        return Regions(side, winners, self.dtype), tally

    def undecided_blocks(self, xs: Axis, ys: Axis, size: int) -> Iterator[NDArray[np.int64]]:
        """Yield the blocks of a lattice that may contain points of two classes: all for the dense method.

        The lattice has at least two columns and rows, and a block `size` of its squares to a side, or fewer
        at the upper and the right edge. Each array (n, 2) has row and column of the lower left points of n
        blocks. Blocks share the points on a common edge: all corners of a lattice square in a block that is
        not yielded have one class.
        """
        if self.reason:
            columns = np.arange(0, xs.n_points - 1, size)
            for row in range(0, ys.n_points - 1, size):
                yield np.column_stack([np.full(columns.size, row), columns])
            return
        firsts = [np.arange(0, axis.n_points - 1, size) for axis in (xs, ys)]
        ends = [
            axis.at(np.column_stack([first, np.minimum(first + size, axis.n_points - 1)]).ravel())
            for axis, first in zip((xs, ys), firsts, strict=True)
        ]
        for _, undecided, _ in self._grid.divide_cells(*self._committee.inputs(*ends)):
            yield undecided * size

    def decide(self, xs: Array, ys: Array, n_threads: int) -> tuple[NDArray[np.int64], Array]:
        """Return classes at points (xs, ys are broadcast), and how far their scores exceed the second."""
        u, v = np.broadcast_arrays(*self._committee.inputs(xs, ys))
        scores = self._committee.scores(np.stack([u.ravel(), v.ravel()], axis=1), n_threads)
        first, *others = np.ascontiguousarray(scores.T)
        classes, second = np.zeros(first.size, np.int64), np.full_like(first, -np.inf)
        with np.errstate(invalid="ignore"):  # of infinite scores
            for number, other in enumerate(others, start=1):
                classes[other > first] = number
                second = np.maximum(second, np.minimum(first, other))
                first = np.maximum(first, other)
            return classes.reshape(u.shape), (first - second).reshape(u.shape)

    def paint(
        self, xs: Array, ys: Array, target: Array, advance: Advance = never_stop, squares: Squares = None
    ) -> Tally:
        xs, ys = self._committee.inputs(xs, ys)
        # Where squares are known, the bounds are worth their time.
        if not self.reason or squares is not None:
            tally = self._grid.certified_classes(xs, ys, target, advance, squares)
            self._n_evaluated += tally.points_evaluated
            self._n_probed += target.size
            is_wasteful = self._n_evaluated >= DENSE_FRACTION * self._n_probed
            if self._may_switch and is_wasteful and self._n_probed >= PROBED_POINTS:
                self.reason = "the bounds proved too little"
            return tally
        self._n_dense += target.size
        most = max(1, int(CALL_OPERATIONS / self._committee.operations))
        # Whole rows, or pieces of one row. Both are contiguous, as kernels need them.
        n_rows, n_columns = max(1, most // xs.size), min(xs.size, most)
        fill: Callable[..., None] = self._grid.classes
        if self.response != "class":
            fill = functools.partial(self._grid.values, self.response, self.class_index)
        began, n_done = time.perf_counter(), 0
        for first, begin in itertools.product(range(0, ys.size, n_rows), range(0, xs.size, n_columns)):
            if advance():
                break
            rows, columns = slice(first, first + n_rows), slice(begin, begin + n_columns)
            fill(xs[columns], ys[rows], target[rows, columns])
            n_done += target[rows, columns].size
        return Tally(points_evaluated=n_done, evaluating=time.perf_counter() - began)


class TablePainter(Painter):
    """A model or function that predicts for a table of samples, called for some points at a time."""

    is_threaded = False  # a model of another library may not be safe to call from several threads
    method = "dense"

    def __init__(self, subject: Subject, response: str, class_index: int, reason: str) -> None:
        super().__init__(subject, response, class_index, reason)
        self._is_of_classes = response == "class"
        self._predict = subject.predict if self._is_of_classes else subject.scores
        self.is_bounded = self._is_of_classes or subject.is_bounded
        self.finds_classes = self._is_of_classes and subject.classes is None
        # Numbers by label; labels that are found are added.
        self._numbers: dict[Any, int] = {}
        self.dtype = np.dtype(np.uint16 if self._is_of_classes else np.float64)
        if self._is_of_classes and subject.classes is not None:
            self._numbers |= {label: number for number, label in enumerate(subject.classes)}
            self.dtype = np.min_scalar_type(len(subject.classes) - 1)

    @property
    def classes(self) -> Array | None:  # type: ignore[override]
        """Labels known before, or found so far; None for a response."""
        if not self._is_of_classes:
            return None
        return np.array(list(self._numbers)) if self.finds_classes else self.subject.classes

    def paint(
        self, xs: Array, ys: Array, target: Array, advance: Advance = never_stop, squares: Squares = None
    ) -> Tally:
        began = time.perf_counter()
        predict: Any = self._predict
        flat = target.reshape(-1)
        for first in range(0, flat.size, PORTION_POINTS):
            if advance():
                break
            index = np.arange(first, min(first + PORTION_POINTS, flat.size))
            samples = self.subject.section.samples(xs[index % xs.size], ys[index // xs.size])
            with let_interrupts_through():
                values = predict(samples)
            if is_masked(values):
                raise ValueError("the model predicts masked values: fill them, as numpy.ma.filled does")
            pixels = self._class_numbers if self._is_of_classes else self._responses
            flat[index] = pixels(np.asarray(values), index.size)
            advance(index.size)
        return Tally(points_evaluated=flat.size, evaluating=time.perf_counter() - began)

    def _responses(self, values: Array, n: int) -> Array:
        """Return the response (n,), given the scores of n points."""
        if values.ndim != 2 or len(values) != n:
            name = "predict_proba" if self.is_bounded else "decision_function"
            raise ValueError(f"{name} must give a row per point: for {n} points it gave {values.shape}")
        return RESPONSE_FUNCTIONS[self.response](values, self.class_index)

    def _class_numbers(self, labels: Array, n: int) -> Array:
        """Return the numbers of the classes (n,), given the labels of n points."""
        if labels.shape != (n,):
            raise ValueError(f"the model must predict one class per point, got shape {labels.shape} for {n}")
        if labels.dtype.kind == "f":
            wrong = labels[~np.isfinite(labels) | (labels != np.floor(labels))]
            if wrong.size:
                raise ValueError(f"the model predicts numbers that are not classes, such as {wrong[0]}")
        try:
            found, inverse = np.unique(labels, return_inverse=True)
        except TypeError as error:
            raise ValueError(
                f"the model predicts classes that cannot be sorted: {error}. Fit it to classes of one type, "
                "all text or all numbers"
            ) from None
        several = [label for label in found.tolist() if np.ndim(label)]
        if several:
            raise ValueError(
                f"the model predicts classes of several values, such as {short_repr(several[0])}: let it "
                "predict numbers or text"
            )
        missing = found[found != found]
        if missing.size:
            raise ValueError(f"the model predicts values that are not classes, such as {missing[0]}")
        for label in found:
            if label not in self._numbers:
                if not self.finds_classes:
                    wrong, known = (np.array(labels).tolist() for labels in (label, [*self._numbers]))
                    raise ValueError(
                        f"the model predicts {short_repr(wrong)}, which is none of the classes "
                        f"{short_repr(known)}"
                    )
                self._numbers[label] = len(self._numbers)
        if len(self._numbers) > np.iinfo(self.dtype).max + 1:
            raise ValueError(f"the model predicts more than {len(self._numbers) - 1} classes")
        return np.array([self._numbers[label] for label in found])[inverse]
