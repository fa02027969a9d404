"""Subjects of pictures: any model or function that decides the class of a point becomes a `Subject`.

A model of fastnn's networks, perhaps after transformers that are affine, has a committee, which kernels
evaluate. Any other model predicts for a table of samples.
"""

from __future__ import annotations

import functools
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..network.decision import DecisionNetworks, read_networks
from ..network.description import Array
from ..system.affine import Chain, read_chain
from ..system.validation import check_real_array, short_repr, sort_classes
from .committee import Committee, make_committee

# The features along x and y, and the values of all others.
Features = tuple[int | str, int | str]
Fill = ArrayLike | Mapping[str, float]

# Remedy in error messages about features that are not numbers.
NUMBERS_ALONE = (
    "in a picture, all features are numbers. In place of a model with other columns, pass a function of the "
    "points (n, 2) that adds these columns: lambda points: model.predict(table_of(points))"
)


class Section(NamedTuple):
    """A plane in the space of the features, in which two features vary and the others are fixed."""

    features: tuple[int, int]  # numbers of the features along x and y
    fixed: NDArray[np.float64]  # (n_features,): values of the other features; 0 for the two that vary
    names: list[str] | None  # of all features, if the model knows names

    def samples(self, x: Array, y: Array) -> NDArray[np.float64]:
        """Return the samples (n, n_features) at the points (x[i], y[i])."""
        points = np.empty((len(x), self.fixed.size))
        points[...] = self.fixed
        points[:, self.features[0]] = x
        points[:, self.features[1]] = y
        return points


@dataclass(frozen=True)
class Subject:
    """A model or function that decides the class of a point in a plane."""

    section: Section  # the plane
    classes: Array | None  # labels in the order of the scores; None if only a prediction tells them
    predict: Callable[[Array], Any] | None  # returns the classes (n,) of samples (n, n_features)
    # Returns probabilities (n, n_classes), or scores of a decision function, of samples.
    scores: Callable[[Array], Any] | None = None
    is_bounded: bool = True  # False if `scores` are not probabilities
    committee: Committee | None = None  # networks of fastnn that decide; None for other models
    n_labels: int = 0  # number of labels of which one is decided; 0: one class per sample
    folded: str = ""  # transformers that are folded into the networks
    reason: str = ""  # why the subject has no committee


class Overlay(NamedTuple):
    """Samples to be drawn over a picture."""

    table: NDArray[np.float64]  # (n, n_features)
    columns: list[str]  # names of the features; empty if there are none


def check_model(model: Any, call: str) -> None:
    """Raise TypeError for an object that cannot predict; the message shows the call with its arguments."""
    predicts = any(hasattr(model, name) for name in ("predict", "predict_proba", "decision_function"))
    if not (predicts or callable(model)):
        given = repr(model) if isinstance(model, numbers.Number | str | None) else type(model).__name__
        raise TypeError(
            f"model must be a fastnn.Model, have predict or be callable, got {given}: the model comes first: "
            f"{call}"
        )
    if isinstance(model, type):
        raise TypeError(f"model must be an instance with predict, or a function, got {short_repr(model)}")


def make_subject(
    model: Any,
    call: str,
    features: Features | None = None,
    fill: Fill | None = None,
    class_of_interest: Any = None,
    classes: ArrayLike | None = None,
    *,
    samples: Overlay | None = None,
    may_regress: bool = False,
) -> Subject:
    """Return the subject of a model, estimator, pipeline, ensemble or function.

    `call` is the user's call, for an error message; `render_boundary` describes the choices and the errors.
    Columns of `samples` may be `features`, and their mean is the default of `fill`. With `may_regress`, the
    model may predict numbers, and its subject then has neither classes nor a committee.
    """
    check_model(model, call)
    chain = read_chain(model)
    networks = None if may_regress else read_networks(chain.estimator)
    n_features, names = _count_features(model, chain, networks, fill, samples), chain.feature_names
    section = _make_section(model, n_features, names, features, fill, samples)
    known = getattr(model, "classes_", None) if networks is None else networks.classes
    labels = _find_classes(known, classes)
    predict, scores, is_bounded = _make_functions(model, chain.estimator, labels, names)
    reason, committee, n_labels = _explain_no_committee(networks, chain), None, 0
    if networks is not None:
        output, n_labels = _find_deciding_output(networks, class_of_interest), networks.n_labels
        predict = functools.partial(_choose_classes, predict, output)
        scores = functools.partial(_complete_probabilities, scores, output, n_labels > 0)
        if not reason:
            committee = make_committee(networks, section.features, section.fixed, chain.mapping, output)
    folded = "" if reason else chain.transformers
    return Subject(section, labels, predict, scores, is_bounded, committee, n_labels, folded, reason)


def _explain_no_committee(networks: DecisionNetworks | None, chain: Chain) -> str:
    """Return the reason why kernels cannot evaluate a model; empty if they can."""
    if networks is None:
        return "the model is not a network of fastnn"
    if networks.backend != "numba":
        return f"the model's backend is {networks.backend!r}"
    if networks.override:
        return f"{type(chain.estimator).__name__} overrides {networks.override}"
    if chain.reason:
        return f"transformers are not folded: {chain.reason}"
    n_given = networks.n_inputs if chain.mapping is None else chain.mapping.offsets.size
    if n_given != networks.n_inputs:
        return f"{chain.transformers} gives {n_given} features, but the network takes {networks.n_inputs}"
    return ""


# --- features --------------------------------------------------------------------------------------


def _count_features(
    model: Any, chain: Chain, networks: DecisionNetworks | None, fill: Fill | None, samples: Overlay | None
) -> int:
    count = chain.n_features
    if count is None and networks is not None:
        count = networks.n_inputs
    if count is None and hasattr(model, "fit") and hasattr(model, "predict"):
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(model)
    if count is None and samples is not None:
        count = samples.table.shape[1]
    if count is None:
        given = None if fill is None else check_real_array(fill, "fill")
        if given is not None and not given.ndim:
            raise ValueError(
                "fill must hold a number for every feature, since nothing else says how many the function "
                f"takes, got {short_repr(fill)}"
            )
        count = 2 if given is None else len(given)
    return count


def _make_section(
    model: Any,
    n_features: int,
    names: list[str] | None,
    features: Features | None,
    fill: Fill | None,
    samples: Overlay | None,
) -> Section:
    """Return the plane that the user chose by `features` and `fill`."""
    known_names = names
    if samples is not None:
        if names and samples.columns and names != samples.columns:
            raise ValueError(
                f"X must have the model's features as its columns, {names}, got {samples.columns}"
            )
        if samples.table.shape[1] != n_features:
            raise ValueError(f"X has {samples.table.shape[1]} features, but the model takes {n_features}")
        fill = samples.table.mean(axis=0) if fill is None else fill
        known_names = names or samples.columns
    pair = _resolve_features(features, n_features, known_names)
    # A tabular estimator describes its columns; columns of a single value are left out of its networks.
    columns = [one for one in getattr(model, "columns_", ()) if isinstance(one, dict) and one.get("features")]
    others = [one["name"] for one in columns if one["kind"] in ("category", "date")]
    if others:
        raise ValueError(f"the model takes columns that are not numeric, {others}: {NUMBERS_ALONE}")
    return Section(pair, _fill_values(fill, n_features, pair, known_names), names)


def _resolve_features(features: Any, n_features: int, names: list[str] | None) -> tuple[int, int]:
    """Return the numbers of the two features along x and y, which the user chose by numbers or names."""
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
                f"features must be two numbers from 0 to {n_features - 1}{known}, got {short_repr(features)}"
            )
    if isinstance(features, str) or len(places) != 2 or places[0] == places[1]:
        raise ValueError(f"features must be two different features, as (0, 1), got {short_repr(features)}")
    return places[0], places[1]


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool | np.bool_)


def _fill_values(
    fill: Any, n_features: int, features: tuple[int, int], names: list[str] | None
) -> NDArray[np.float64]:
    """Return the values (n_features,) of all features, with 0 for the two of the picture."""
    if names and hasattr(fill, "keys"):  # a mapping, or a Series
        missing = [name for k, name in enumerate(names) if k not in features and name not in fill]
        unknown = [name for name in fill.keys() if name not in names]  # noqa: SIM118  # a Series has values
        if missing:
            raise ValueError(
                f"fill must have a value for every feature but the picture's two, but has none for {missing}"
                + (f"; unknown are {unknown}" if unknown else "")
            )
        if unknown:
            raise ValueError(f"fill has values for {unknown}, but the model's features are {names}")
        fill = [fill.get(name, 0.0) for name in names]
    if fill is None:
        if n_features > 2:
            raise ValueError(
                f"the model has {n_features} inputs, but a picture shows two: choose them with "
                "features=(0, 1), and set the others with fill=, for example fill=X.mean(axis=0)"
            )
        return np.zeros(n_features)
    try:
        values = np.array(np.broadcast_to(check_real_array(fill, "fill"), (n_features,)))
    except ValueError:
        is_complete = isinstance(fill, list | tuple | np.ndarray) and len(fill) == n_features
        for feature, value in zip(names or range(n_features), fill if is_complete else (), strict=False):
            if isinstance(value, str):
                raise ValueError(
                    f"fill must hold numbers, got {str(value)!r} for feature {feature!r}: {NUMBERS_ALONE}"
                ) from None
        mapping = ", or a mapping of their names" if names else ""
        raise ValueError(
            f"fill must be a number or {n_features} numbers, one per feature{mapping}, got {short_repr(fill)}"
        ) from None
    values[list(features)] = 0
    if not np.isfinite(values).all():
        raise ValueError(f"fill must hold finite numbers, got {short_repr(fill)}")
    return values


# --- classes and functions ---------------------------------------------------------------------------


def _find_deciding_output(networks: DecisionNetworks, class_of_interest: Any) -> int | None:
    """Return the number of the one output that decides between two classes; None if all outputs decide."""
    n_labels = networks.n_labels
    if not n_labels:
        assert networks.classes is not None
        return 0 if networks.n_outputs == 1 and len(networks.classes) == 2 else None
    if not (_is_number(class_of_interest) and 0 <= class_of_interest < n_labels):
        raise ValueError(
            f"the model decides each of {n_labels} labels independently: choose one, class_of_interest=0 to "
            f"{n_labels - 1}, got {class_of_interest!r}"
        )
    return int(class_of_interest)


def _find_classes(known: ArrayLike | None, classes: ArrayLike | None) -> Array | None:
    """Return the labels that the model knows, else the user's argument `classes`, else None."""
    if isinstance(known, list):
        raise ValueError("the model predicts several outputs: give one that predicts a class per sample")
    given = None if classes is None else sort_classes(classes)
    if known is None:
        return given
    labels = np.asarray(known)
    if given is not None and set(given.tolist()) != set(labels.tolist()):
        raise ValueError(f"classes are {labels.tolist()}, the model's own: leave the argument out")
    return labels


def _make_functions(
    model: Any, estimator: Any, labels: Array | None, names: list[str] | None
) -> tuple[Callable[[Array], Any] | None, Callable[[Array], Any] | None, bool]:
    """Return functions of samples that give classes and scores, and True if the scores are probabilities."""
    predict = getattr(model, "predict", model if callable(model) else None)
    scores, is_bounded = getattr(model, "predict_proba", None), True
    # Three classes have as many pairs as classes, so the number of scores does not tell them apart.
    is_of_pairs = getattr(estimator, "decision_function_shape", None) == "ovo" and (
        labels is not None and len(labels) > 2
    )
    if scores is None and hasattr(model, "decision_function") and not is_of_pairs:
        scores, is_bounded = functools.partial(_split_scores, model.decision_function, labels), False
    if names is not None:
        predict, scores = (
            function and functools.partial(_by_names, function, names) for function in (predict, scores)
        )
    return predict, scores, is_bounded


def _choose_classes(predict: Any, output: int | None, samples: Array) -> Array:
    """Return the classes (n,) that one output decides; all outputs decide together if it is None."""
    return np.asarray(predict(samples)).reshape(len(samples), -1)[:, output or 0]


def _complete_probabilities(scores: Any, output: int | None, is_label: bool, samples: Array) -> Array:
    """Return the probabilities of all classes; one output is the probability of the second of two."""
    P = np.asarray(scores(samples)).reshape(len(samples), -1)
    if is_label or P.shape[1] == 1:
        P = P[:, [output or 0]]
        return np.hstack([1 - P, P])
    return P


def _by_names(predict: Callable[[Any], Any], names: list[str], samples: Array) -> Any:
    import pandas as pd

    return predict(pd.DataFrame(samples, columns=names))


def _split_scores(decide: Callable[[Any], Any], labels: Array | None, samples: Any) -> Array:
    """Return the scores of a decision function with a column for each class; one score becomes two."""
    scores = np.asarray(decide(samples), np.float64)
    scores = scores.reshape(len(scores), -1)
    n_scores = scores.shape[1]
    if n_scores == 1:
        # The score is split into two scores of opposite signs, whose difference it is.
        return np.hstack([-scores / 2, scores / 2])
    if labels is not None and n_scores != len(labels):
        raise ValueError(
            f"decision_function must give a score per class: for {len(labels)} classes it gave {n_scores}; "
            "an SVC gives them with decision_function_shape='ovr'"
        )
    return scores
