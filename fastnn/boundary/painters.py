"""What paints the pixels of a picture: the kernels, for networks of fastnn, or somebody else's `predict`.

A painter is asked for a rectangle of pixels by the coordinates of its columns and rows, from several threads
at once where it allows it, and gives a number for every pixel: that of a class, or a response.
"""

from __future__ import annotations

import numbers
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels.compiler.interrupts import let_interrupts_through

from ..engine.choice import get_backend
from ..model import Model
from ..system.validation import check_choice, real_array, shown, sorted_classes
from .affine import NotAffine, chain_map, check_agreement, final_step, step_names
from .committee import Committee, Plane, joined, plane_of, restricted
from .grids import Tally

__all__ = [
    "METHODS",
    "RESPONSES",
    "NetworkPainter",
    "Painter",
    "TablePainter",
    "check_model",
    "known_features",
    "make_painter",
    "resolve_features",
]

Array = NDArray[Any]

RESPONSES = ("class", "probability", "margin", "confidence")
METHODS = ("auto", "dense", "certified")
# Points given to somebody else's predict at once.
PORTION_POINTS = 1 << 16
# Operations of a picture (some 50 ms) from which on "auto" takes squares: below, what is saved is not worth
# the kernels that must be compiled or loaded.
CERTIFIED_OPERATIONS = 4e9
# Share of the pixels that had to be looked at, of a million at the least, beyond which squares do not pay.
DENSE_SHARE, PROBED_POINTS = 0.6, 1 << 20
# Points at which transformers are compared with their affine map.
N_PROBES = 64


class Painter(ABC):
    """Paints rectangles of pixels.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the pixels.
    classes : array or None
        What the numbers of classes stand for; None for a response.
    is_threaded : bool
        Whether several threads may paint at once, none of them the caller's.
    finds_classes : bool
        Whether the classes are those that come up, numbered as they do.
    is_bounded : bool
        False for a response that may be above 1: margins of scores.
    folded : str
        The transformers that were folded into the first layer, or why they were not; see `RenderStats`.
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

        It may be left half done once `stopped` says so.
        """

    @abstractmethod
    def classes_at(self, points: NDArray[np.float64]) -> Array:
        """The numbers of the classes (n,) at points (n, 2), for a painter of classes."""

    def unproven(self, xs: Array, ys: Array, size: int) -> Iterator[NDArray[np.int64]]:
        """Find the blocks of a lattice that may hold points of two classes, as `Grid.unproven` does: all of
        them, where nothing is proven."""
        columns = np.arange(0, xs.size - 1, size)
        for row in range(0, ys.size - 1, size):
            yield np.column_stack([np.full(columns.size, row), columns])

    def prepare(self) -> None:  # noqa: B027
        """What is done once, in the caller's thread, which hears Ctrl-C: kernels are compiled or loaded."""

    @property
    @abstractmethod
    def method(self) -> str:
        """How the pixels are, or were, painted."""


class NetworkPainter(Painter):
    """Networks of fastnn, by kernels or the reference."""

    def __init__(
        self,
        committee: Committee,
        classes: Array,
        response: str,
        which: int,
        method: str,
        backend: str,
        plane: Plane | None = None,
    ) -> None:
        # By default the networks' inputs are the picture's coordinates.
        self._plane = plane_of((0, 1), np.zeros(2)) if plane is None else plane
        self._backend = get_backend(backend)
        self._grid = self._backend.grid(committee)
        self._committee, self._response, self._which = committee, response, which
        self._certified = method == "certified"
        self._may_give_up = False
        self.classes = classes if response == "class" else None
        self.dtype = np.min_scalar_type(len(classes) - 1) if response == "class" else committee.dtype
        self._n_certified = self._n_dense = 0
        self._looked_at = self._passed = 0

    def choose(self, n_pixels: int) -> None:
        """Decide how to paint a picture of so many pixels."""
        if self._response == "class":
            self._certified = n_pixels * self._committee.operations > CERTIFIED_OPERATIONS
            self._may_give_up = True

    @property
    def method(self) -> str:
        if not self._n_certified:
            return "dense" if self._n_dense or not self._certified else "certified"
        return "certified, then dense" if self._n_dense else "certified"

    def prepare(self) -> None:
        point = np.zeros(1, self._committee.dtype)
        target = np.empty((1, 1), self.dtype)
        if self._certified:
            self._grid.certified(point, point, target, lambda: False)
        else:
            self._band(point, point, target)

    def unproven(self, xs: Array, ys: Array, size: int) -> Iterator[NDArray[np.int64]]:
        if not self._certified:
            return super().unproven(xs, ys, size)
        return self._grid.unproven(*self._plane.coordinates(xs, ys, self._committee.dtype), size)

    def paint(self, xs: Array, ys: Array, target: Array, stopped: Callable[[], bool]) -> Tally:
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
        # Of a row that is too long for a call a part at a time goes through an array of its own.
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
        X = np.column_stack(self._plane.coordinates(points[:, 0], points[:, 1], self._committee.dtype))
        members = self._committee.members
        if not self._committee.votes:
            return self._backend.predict(*members[0], X)
        return np.sum([self._backend.outputs(*member, X, "softmax") for member in members], 0).argmax(axis=1)

    def _band(self, xs: Array, ys: Array, target: Array) -> Tally:
        began = time.perf_counter()
        if self._response == "class":
            self._grid.classes(xs, ys, target)
        else:
            self._grid.values(self._response, self._which, xs, ys, target)
        return Tally(points_evaluated=target.size, evaluating=time.perf_counter() - began)


class TablePainter(Painter):
    """Anything that predicts, a portion of points at a time."""

    is_threaded = False  # nobody knows what it bears
    method = "dense"

    def __init__(
        self,
        predict: Callable[[Array], Any],
        n_features: int,
        features: tuple[int, int],
        rest: NDArray[np.float64] | None,
        classes: Array | None,
        respond: Callable[[Array], Array] | None,
        is_bounded: bool = True,
    ) -> None:
        self._predict, self._n_features, self._features, self._rest = predict, n_features, features, rest
        self._respond, self.is_bounded = respond, is_bounded
        self._known: Array | None = classes
        self._numbers: dict[Any, int] = {}
        self.finds_classes = respond is None and classes is None
        if respond is not None:
            self.dtype = np.dtype(np.float64)
        elif classes is not None:
            self.dtype = np.min_scalar_type(len(classes) - 1)
        else:
            self.dtype = np.dtype(np.uint16)

    @property
    def classes(self) -> Array | None:  # type: ignore[override]
        if self._respond is not None:
            return None
        return np.array(list(self._numbers)) if self._known is None else self._known

    def paint(self, xs: Array, ys: Array, target: Array, stopped: Callable[[], bool]) -> Tally:
        began = time.perf_counter()
        flat = target.reshape(-1)
        for first in range(0, flat.size, PORTION_POINTS):
            if stopped():
                break
            index = np.arange(first, min(first + PORTION_POINTS, flat.size))
            flat[first : first + index.size] = self._at(xs[index % xs.size], ys[index // xs.size])
        return Tally(points_evaluated=flat.size, evaluating=time.perf_counter() - began)

    def classes_at(self, points: NDArray[np.float64]) -> Array:
        found = np.empty(len(points), self.dtype)
        for first in range(0, len(points), PORTION_POINTS):
            portion = slice(first, first + PORTION_POINTS)
            found[portion] = self._at(*points[portion].T)
        return found

    def _at(self, x: Array, y: Array) -> Array:
        """What is at (x[i], y[i])."""
        points = np.empty((len(x), self._n_features))
        if self._rest is not None:
            points[...] = self._rest
        points[:, self._features[0]] = x
        points[:, self._features[1]] = y
        with let_interrupts_through():
            values = self._predict(points)
        if np.ma.is_masked(values):
            raise ValueError("the model predicts masked values: fill them, as numpy.ma.filled does")
        return self._numbered(np.asarray(values), len(x))

    def _numbered(self, values: Array, n: int) -> Array:
        if self._respond is not None:
            if values.ndim not in ((2,) if self.is_bounded else (1, 2)) or len(values) != n:
                name = "predict_proba" if self.is_bounded else "decision_function"
                raise ValueError(f"{name} must give a row a point: for {n} points it gave {values.shape}")
            return self._respond(values)
        if values.shape != (n,):
            raise ValueError(
                f"the model must predict one class a point: for {n} points it gave shape {values.shape}"
            )
        if values.dtype.kind == "f":
            wrong = values[~np.isfinite(values) | (values != np.floor(values))]
            if wrong.size:
                raise ValueError(f"the model predicts numbers that are no classes, such as {wrong[0]}")
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
        order = np.argsort(self._known)  # a model may have an order of its own
        places = order[np.searchsorted(self._known, found, sorter=order).clip(0, order.size - 1)]
        strange = found[self._known[places] != found].tolist()
        if strange:
            raise ValueError(
                f"the model predicts {strange[0]!r}, which is none of the classes {self._known.tolist()}"
            )
        return places[inverse]


# --- from what users give to a painter -------------------------------------------------------------


def check_model(model: Any, call: str) -> None:
    """Raise TypeError for what predicts nothing, as samples in the model's place; `call` is the remedy."""
    predicts = any(hasattr(model, name) for name in ("predict", "predict_proba", "decision_function"))
    if not (predicts or callable(model)):
        given = repr(model) if isinstance(model, numbers.Number | str | None) else type(model).__name__
        raise TypeError(
            f"model must be a fastnn.Model, have predict or be callable, got {given}: the model comes first: "
            f"{call}"
        )


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
    """The painter of a model; arguments as `render_boundary` takes them."""
    check_choice(response, "response", RESPONSES)
    check_choice(method, "method", METHODS)
    if method == "certified" and response != "class":
        raise ValueError(
            f"method 'certified' paints classes, in areas of one; response {response!r} differs from pixel "
            "to pixel: use method='dense' or 'auto'"
        )
    n_features, names = known_features(model, fill)
    pair = resolve_features(features, n_features, names)
    rest = _rest(fill, n_features, pair, names)
    estimator, steps = final_step(model)
    subject = _networks(estimator, class_of_interest)
    plane, folded = plane_of(pair, rest), ""
    if subject is not None and steps:
        try:
            n_inputs = subject.members[0][0].n_inputs
            plane, folded = _folded_plane(steps, n_inputs, pair, rest, names), step_names(steps)
        except NotAffine as reason:
            subject, folded = None, f"not folded: {reason}"
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
        table = _table_painter(model, n_features, pair, rest, names, response, class_of_interest, classes)
        table.folded = folded
        return table
    labels = subject.classes
    if classes is not None and not np.array_equal(sorted_classes(classes), labels):
        raise ValueError(f"classes are {labels.tolist()}, the model's own: leave the argument out")
    which = 0
    if response == "probability":
        which = _which(labels, None if is_label else class_of_interest)
    committee = joined(
        [restricted(network, parameters, plane, subject.output) for network, parameters in subject.members],
        subject.votes,
    )
    painter = NetworkPainter(committee, labels, response, which, method, subject.backend, plane)
    painter.folded = folded
    if method == "auto":
        painter.choose(n_pixels)
    return painter


def known_features(model: Any, fill: Any) -> tuple[int, list[str] | None]:
    """How many features the model takes, and their names where it knows them."""
    if isinstance(model, Model):
        return model.layers_dim[0], None
    names = getattr(model, "feature_names_in_", None)
    count = getattr(model, "n_features_in_", None)
    if count is None:
        # A pipeline that begins with "passthrough" does not know what its first transformer does.
        estimator, steps = final_step(model)
        first = [*steps, estimator][0]
        names, count = getattr(first, "feature_names_in_", None), getattr(first, "n_features_in_", None)
    if count is None and hasattr(model, "fit") and hasattr(model, "predict"):
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(model)
    if count is None:
        given = None if fill is None else real_array(fill, "fill")
        if given is not None and not given.ndim:
            raise ValueError(
                "fill must hold a number for every feature, since nothing else says how many the function "
                f"takes, got {shown(fill)}"
            )
        count = 2 if given is None else len(given)
    return int(count), None if names is None else [str(name) for name in names]


def resolve_features(features: Any, n_features: int, names: list[str] | None) -> tuple[int, int]:
    """The numbers of the two features along x and y; `features` and `names` as users give them."""
    if n_features < 2:
        raise ValueError(f"a picture needs 2 features, but there are {n_features}")
    if features is None:
        return 0, 1
    try:
        given = list(features)
    except TypeError:
        given = []
    places: list[int] = []
    for feature in given:
        if isinstance(feature, str) and names and feature in names:
            places.append(names.index(feature))
        elif _is_number(feature) and 0 <= feature < n_features:
            places.append(int(feature))
        else:
            known = f", or names of {names}" if names else ""
            raise ValueError(
                f"features must be two numbers from 0 to {n_features - 1}{known}, got {shown(features)}"
            )
    if isinstance(features, str) or len(places) != 2 or places[0] == places[1]:
        raise ValueError(f"features must be two different features, as (0, 1), got {shown(features)}")
    return places[0], places[1]


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool | np.bool_)


def _rest(
    fill: Any, n_features: int, features: tuple[int, int], names: list[str] | None
) -> NDArray[np.float64]:
    """Values of all features, of which those of the picture's two do not matter."""
    if names and hasattr(fill, "keys"):  # a mapping, or a Series
        missing = [name for k, name in enumerate(names) if k not in features and name not in fill]
        if missing:
            raise ValueError(
                f"fill must have a value for every feature but the picture's two, not for {missing}"
            )
        fill = [fill.get(name, 0.0) for name in names]
    if fill is None:
        if n_features > 2:
            raise ValueError(
                f"the model has {n_features} inputs and a picture two: name them with features=(0, 1) and "
                "give values of the others with fill=, as fill=X.mean(axis=0)"
            )
        return np.zeros(n_features)
    try:
        values = np.array(np.broadcast_to(real_array(fill, "fill"), (n_features,)))
    except ValueError:
        raise ValueError(
            f"fill must be a number or {n_features} numbers, one a feature"
            f"{', or a mapping of their names' if names else ''}, got {shown(fill)}"
        ) from None
    values[list(features)] = 0
    if not np.isfinite(values).all():
        raise ValueError(f"fill must hold finite numbers, got {shown(fill)}")
    return values


def _folded_plane(
    steps: list[Any], n_inputs: int, features: tuple[int, int], rest: Array, names: list[str] | None
) -> Plane:
    """Return the plane of a picture behind affine transformers; raise NotAffine for others."""
    found = chain_map(steps, rest.size)
    if found.offsets.size != n_inputs:
        raise NotAffine(
            f"{step_names(steps)} gives {found.offsets.size} features, but the network takes {n_inputs}"
        )
    plane = plane_of(features, rest, found)
    # The transformers are asked themselves, too, near the data and far away, in units of what they give.
    random = np.random.default_rng(0)
    points = np.tile(rest, (N_PROBES, 1))
    reach = 10.0 ** random.uniform(-3, 6, (N_PROBES, 2))
    unit = np.where(plane.scale > 0, plane.scale, 1)
    points[:, list(features)] = plane.origin + random.choice([-1, 1], (N_PROBES, 2)) * reach / unit
    check_agreement(steps, found, points, names)
    return plane


class _Subject(NamedTuple):
    """The networks of a model of fastnn's, and how its classes come from them."""

    members: list[tuple[Any, Array]]
    classes: Array
    votes: bool
    backend: str
    output: int | None = None  # whose score alone tells two classes apart
    is_label: bool = False  # whether it is one label of several


def _networks(model: Any, class_of_interest: Any) -> _Subject | None:
    """What there is to be painted of a model of fastnn's; None for other models."""
    if isinstance(model, Model):
        network, loss = model._network, model.loss
        members = [(network, model._predicting)]
        if loss.of_labels:
            return _Subject(members, np.arange(network.n_outputs), False, model.backend)
        if loss.output == "sigmoid":
            two, several = np.arange(2), network.n_outputs > 1
            output = _label(network.n_outputs, class_of_interest) if several else 0
            return _Subject(members, two, False, model.backend, output, several)
        raise ValueError(f"a boundary lies between classes, but the model is a regression: {model!r}")
    # Whoever gives something else has not loaded scikit-learn for nothing.
    from sklearn.base import is_regressor
    from sklearn.utils.validation import check_is_fitted

    if hasattr(model, "__sklearn_tags__") and is_regressor(model):
        raise ValueError(f"a boundary lies between classes, but the model is a regressor: {model!r}")
    from ..estimators.base import MLPClassifier
    from ..estimators.ensemble import MLPEnsembleClassifier

    if not isinstance(model, MLPClassifier | MLPEnsembleClassifier):
        return None
    check_is_fitted(model)
    votes = isinstance(model, MLPEnsembleClassifier)
    states = [member._state for member in (model.estimators_ if votes else [model])]
    members = [(state.network, state.folded) for state in states]
    if model._has_labels:
        several = model.n_outputs_ > 1
        output = _label(model.n_outputs_, class_of_interest) if several else 0
        return _Subject(members, np.arange(2), votes, "numba", output, several)
    if len(model.classes_) == 1:
        return None
    return _Subject(members, model.classes_, votes, "numba", 0 if model.n_outputs_ == 1 else None)


def _label(n_outputs: int, class_of_interest: Any) -> int:
    """Which label of several."""
    if not (_is_number(class_of_interest) and 0 <= class_of_interest < n_outputs):
        raise ValueError(
            f"the model gives each of {n_outputs} labels by itself: choose one, class_of_interest=0 to "
            f"{n_outputs - 1}, got {class_of_interest!r}"
        )
    return int(class_of_interest)


def _which(classes: Array, class_of_interest: Any) -> int:
    """The number of the class that a probability is of: by default the second of two."""
    if class_of_interest is None:
        if len(classes) == 2:
            return 1
        raise ValueError(
            f"response 'probability' is of one class: name it, class_of_interest= one of {classes.tolist()}"
        )
    found = np.flatnonzero(classes == class_of_interest)
    if found.size != 1:
        raise ValueError(f"class_of_interest must be one of {classes.tolist()}, got {class_of_interest!r}")
    return int(found[0])


def _table_painter(
    model: Any, n_features: int, features: tuple[int, int], rest: Array, names: list[str] | None,
    response: str, class_of_interest: Any, classes: Any,
) -> Painter:  # fmt: skip
    own, is_bounded = getattr(model, "classes_", None), True
    if isinstance(own, list):
        raise ValueError("the model predicts several outputs: give one that predicts a class a sample")
    if own is not None:
        labels: Array | None = np.asarray(own)
    elif classes is not None:
        labels = sorted_classes(classes)
    else:
        labels = None
    if response == "class":
        predict = getattr(model, "predict", model)
        respond = None
        if not callable(predict) or isinstance(model, type):
            raise TypeError(f"model must be a fastnn.Model, have predict or be callable, got {shown(model)}")
    else:
        from ..reference.grid import RESPONSES as FUNCTIONS

        predict = getattr(model, "predict_proba", None)
        if predict is None and response == "margin":
            predict = getattr(model, "decision_function", None)
            is_bounded = False
        if predict is None:
            needed = "predict_proba or decision_function" if response == "margin" else "predict_proba"
            raise ValueError(f"response {response!r} needs {needed}, which the model has not: {model!r}")
        which = 0
        if response == "probability":
            if labels is None:
                raise ValueError("response 'probability' needs classes_ of the model, or classes=")
            which = _which(labels, class_of_interest)

        def respond(P: Array) -> Array:
            return FUNCTIONS[response](P if is_bounded else _by_class(P, labels), which)

    if names is not None:
        import pandas as pd

        by_array = predict

        def predict(points: Array) -> Any:
            return by_array(pd.DataFrame(points, columns=names))

    return TablePainter(predict, n_features, features, rest, labels, respond, is_bounded)


def _by_class(scores: Array, labels: Array | None) -> Array:
    """Return the scores of a decision function, which gives one for two classes, as a column a class."""
    scores = np.asarray(scores, np.float64).reshape(len(scores), -1)
    n_scores = scores.shape[1]
    if n_scores == 1:
        # Half of it for the one class and half against the other: the difference is the score itself.
        return np.hstack([-scores / 2, scores / 2])
    if labels is not None and n_scores != len(labels):
        raise ValueError(
            f"decision_function must give a score a class: for {len(labels)} classes it gave {n_scores}; an "
            "SVC gives them with decision_function_shape='ovr'"
        )
    return scores
