"""Subjects of pictures: models, pipelines, ensembles and functions, restricted to two features.

A model that consists of fastnn's networks becomes a `NetworkSubject`, which kernels evaluate. Any other model
or function becomes a `TableSubject`, which predicts for a table of samples.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..network.decision import DecisionNetworks
from ..reference.grid import RESPONSES as RESPONSE_FUNCTIONS
from ..system.validation import real_array, shown, sorted_classes
from .affine import NotAffineError, chain_map, check_agreement, final_step, step_names
from .committee import Committee, Plane, make_committee, plane_of, restricted_network

__all__ = [
    "NUMBERS_ALONE",
    "NetworkSubject",
    "Section",
    "TableSubject",
    "by_names",
    "check_model",
    "check_own_classes",
    "class_number",
    "fixed_values",
    "known_features",
    "network_subject",
    "resolve_features",
    "section_of",
    "table_subject",
]

Array = NDArray[Any]

# Remedy in error messages about features that are not numbers.
NUMBERS_ALONE = (
    "in a picture, all features are numbers. In place of a model with other columns, pass a function of the "
    "points (n, 2) that adds these columns: lambda points: model.predict(table_of(points))"
)
# Number of points at which transformers are compared with their affine map.
N_PROBES = 64


class Section(NamedTuple):
    """A plane in the space of the features, in which two features vary and the others are fixed.

    Parameters
    ----------
    features : (int, int)
        Numbers of the features along x and y.
    fixed : array (n_features,)
        Values of the other features; 0 for the two that vary.
    names : list of str, optional
        Names of all features.
    """

    features: tuple[int, int]
    fixed: NDArray[np.float64]
    names: list[str] | None

    def samples(self, x: Array, y: Array) -> NDArray[np.float64]:
        """Return the samples (n, n_features) at the points (x[i], y[i])."""
        points = np.empty((len(x), self.fixed.size))
        points[...] = self.fixed
        points[:, self.features[0]] = x
        points[:, self.features[1]] = y
        return points


class NetworkSubject(NamedTuple):
    """Networks of fastnn, restricted to a section.

    Parameters
    ----------
    committee : Committee
        Networks of two inputs, the coordinates in `plane`.
    plane : Plane
        Relation of the coordinates to those of the picture.
    classes : array (n_classes,)
        Labels in the order of the scores.
    backend : str
        Name of the backend that evaluates the networks.
    is_label : bool
        True for one label of several.
    """

    committee: Committee
    plane: Plane
    classes: Array
    backend: str
    is_label: bool


class TableSubject(NamedTuple):
    """A model of another library or a function, which predicts for tables of samples.

    Parameters
    ----------
    predict : callable
        Function of samples (n, n_features) that returns classes (n,); for a response, one that returns
        probabilities (n, n_classes) or scores.
    section : Section
        Features of the picture.
    classes : array (n_classes,), optional
        Labels, if they are known before the prediction.
    respond : callable, optional
        Function that returns the response (n,), given the result of `predict`; None for classes.
    is_bounded : bool, default True
        False for a response that may be above 1.
    """

    predict: Callable[[Array], Any]
    section: Section
    classes: Array | None
    respond: Callable[[Array], Array] | None
    is_bounded: bool = True


def check_model(model: Any, call: str) -> None:
    """Raise TypeError for an object that cannot predict; the message shows the call with its arguments."""
    predicts = any(hasattr(model, name) for name in ("predict", "predict_proba", "decision_function"))
    if not (predicts or callable(model)):
        given = repr(model) if isinstance(model, numbers.Number | str | None) else type(model).__name__
        raise TypeError(
            f"model must be a fastnn.Model, have predict or be callable, got {given}: the model comes first: "
            f"{call}"
        )


# --- features --------------------------------------------------------------------------------------


def known_features(model: Any, fill: Any) -> tuple[int, list[str] | None]:
    """Return the number of features that a model takes, and their names if the model knows names.

    Parameters
    ----------
    model : object
        Model, estimator or function.
    fill : optional
        Argument of `render_boundary`; its length gives the number of features of a function.
    """
    names = getattr(model, "feature_names_in_", None)
    count = getattr(model, "n_features_in_", None)
    if count is None:
        # A pipeline that begins with "passthrough" has no attributes for its features: use those of the first
        # transformer or estimator after it.
        estimator, steps = final_step(model)
        first = [*steps, estimator][0]
        names, count = getattr(first, "feature_names_in_", None), getattr(first, "n_features_in_", None)
    if count is None:
        networks = _decision_networks(model)
        count = None if networks is None else networks.n_inputs
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
    """Return the numbers of the two features along x and y.

    Parameters
    ----------
    features : optional
        Argument of `render_boundary`: numbers or names; by default the first two features.
    n_features : int
        Number of all features.
    names : list of str, optional
        Names of all features.

    Raises
    ------
    ValueError
        For unknown features, the same feature twice, and fewer than two features in all.
    """
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


def section_of(model: Any, features: Any, fill: Any) -> Section:
    """Return the section of a model's features; `features` and `fill` are arguments of `render_boundary`."""
    n_features, names = known_features(model, fill)
    pair = resolve_features(features, n_features, names)
    # A tabular estimator describes its columns; those of a single value are left out of its networks.
    columns = [one for one in getattr(model, "columns_", ()) if isinstance(one, dict) and one.get("features")]
    others = [one["name"] for one in columns if one["kind"] in ("category", "date")]
    if others:
        raise ValueError(f"the model takes columns that are not numeric, {others}: {NUMBERS_ALONE}")
    return Section(pair, fixed_values(fill, n_features, pair, names), names)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool | np.bool_)


def fixed_values(
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
        values = np.array(np.broadcast_to(real_array(fill, "fill"), (n_features,)))
    except ValueError:
        given = list(fill) if isinstance(fill, list | tuple | np.ndarray) else []
        texts = [k for k, value in enumerate(given) if isinstance(value, str)]
        if texts and len(given) == n_features:
            place, text = texts[0], str(given[texts[0]])
            raise ValueError(
                f"fill must hold numbers, got {text!r} for feature {repr(names[place]) if names else place}: "
                f"{NUMBERS_ALONE}"
            ) from None
        raise ValueError(
            f"fill must be a number or {n_features} numbers, one per feature"
            f"{', or a mapping of their names' if names else ''}, got {shown(fill)}"
        ) from None
    values[list(features)] = 0
    if not np.isfinite(values).all():
        raise ValueError(f"fill must hold finite numbers, got {shown(fill)}")
    return values


# --- networks of fastnn ----------------------------------------------------------------------------


def network_subject(
    model: Any, section: Section, class_of_interest: Any
) -> tuple[NetworkSubject | None, str]:
    """Return the networks of a model in a section.

    Parameters
    ----------
    model : object
        Model, estimator or function.
    section : Section
        Features of the picture.
    class_of_interest : optional
        For a model of several labels, the number of the label.

    Returns
    -------
    subject : NetworkSubject or None
        None if the model is anything but networks of fastnn after affine transformers.
    folded : str
        Value for `RenderStats.folded`.

    Raises
    ------
    ValueError
        For a regression, and for a model of several labels without the number of one.
    """
    estimator, steps = final_step(model)
    networks = _decision_networks(estimator)
    if networks is None:
        _check_no_regressor(estimator)
        return None, ""
    if networks.classes is None:
        raise ValueError(f"a boundary lies between classes, but the model is a regression: {model!r}")
    output = _deciding_output(networks, class_of_interest)
    plane, folded = plane_of(section.features, section.fixed), ""
    if steps:
        try:
            plane, folded = _folded_plane(steps, networks.n_inputs, section), step_names(steps)
        except NotAffineError as reason:
            return None, f"not folded: {reason}"
    members = [
        restricted_network(network, parameters, plane, output) for network, parameters in networks.members
    ]
    committee = make_committee(members, networks.votes)
    return NetworkSubject(committee, plane, networks.classes, networks.backend, networks.n_labels > 0), folded


def class_number(classes: Array, class_of_interest: Any) -> int:
    """Return the number of the class whose probability is rendered, by default the second of two.

    Raises
    ------
    ValueError
        For a label that is not among the classes, and for no label unless there are two classes.
    """
    if class_of_interest is None:
        if len(classes) == 2:
            return 1
        raise ValueError(
            f"response 'probability' is of one class: name it, class_of_interest= one of {classes.tolist()}"
        )
    # NumPy compares a list with the classes one by one: a list of as many labels would pass for one of them.
    found = np.flatnonzero(classes == class_of_interest) if np.ndim(class_of_interest) == 0 else np.empty(0)
    if found.size != 1:
        raise ValueError(
            f"class_of_interest must be one of {classes.tolist()}, got {shown(class_of_interest)}"
        )
    return int(found[0])


def check_own_classes(classes: Any, known: Array) -> None:
    """Raise ValueError if a user's argument `classes` differs from the classes that the model knows."""
    if classes is not None and set(sorted_classes(classes).tolist()) != set(known.tolist()):
        raise ValueError(f"classes are {known.tolist()}, the model's own: leave the argument out")


def _decision_networks(model: Any) -> DecisionNetworks | None:
    """Return the networks of a model of fastnn, None for other models."""
    # An instance may have a `__getattr__` that answers any name: look the method up in the class.
    read = getattr(type(model), "_decision_networks", None)
    return None if read is None else read(model)


def _check_no_regressor(model: Any) -> None:
    """Raise ValueError for a regressor of scikit-learn."""
    if hasattr(model, "__sklearn_tags__"):
        from sklearn.base import is_regressor

        if is_regressor(model):
            raise ValueError(f"a boundary lies between classes, but the model is a regressor: {model!r}")


def _deciding_output(networks: DecisionNetworks, class_of_interest: Any) -> int | None:
    """Return the number of the one output that decides between two classes; None if all decide."""
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


def _folded_plane(steps: list[Any], n_inputs: int, section: Section) -> Plane:
    """Return the plane of a section after affine transformers; raise NotAffineError for others."""
    features, fixed = section.features, section.fixed
    found = chain_map(steps, fixed.size)
    if found.offsets.size != n_inputs:
        raise NotAffineError(
            f"{step_names(steps)} gives {found.offsets.size} features, but the network takes {n_inputs}"
        )
    plane = plane_of(features, fixed, found)
    # Users might have changed fitted attributes: call the transformers themselves and compare, at points near
    # the data and far away, in units of the transformers' results.
    random = np.random.default_rng(0)
    points = np.tile(fixed, (N_PROBES, 1))
    reach = 10.0 ** random.uniform(-3, 6, (N_PROBES, 2))
    unit = np.where(plane.scale > 0, plane.scale, 1)
    points[:, list(features)] = plane.origin + random.choice([-1, 1], (N_PROBES, 2)) * reach / unit
    check_agreement(steps, found, points, section.names)
    return plane


# --- other models and functions --------------------------------------------------------------------


def table_subject(
    model: Any, section: Section, response: str, class_of_interest: Any, classes: Any
) -> TableSubject:
    """Return the subject of a model or function that predicts for tables.

    Parameters
    ----------
    model : object
        Model, estimator or function.
    section : Section
        Features of the picture.
    response, class_of_interest, classes
        Arguments of `render_boundary`.

    Raises
    ------
    ValueError
        For a model of several outputs, for `classes` that are not the model's own, and for a response that
        the model does not have.
    TypeError
        For an object that cannot predict.
    """
    model_classes, is_bounded = getattr(model, "classes_", None), True
    if isinstance(model_classes, list):
        raise ValueError("the model predicts several outputs: give one that predicts a class per sample")
    labels: Array | None = None
    if model_classes is not None:
        labels = np.asarray(model_classes)
        check_own_classes(classes, labels)
    elif classes is not None:
        labels = sorted_classes(classes)
    respond: Callable[[Array], Array] | None = None
    if response == "class":
        predict = getattr(model, "predict", model)
        if not callable(predict) or isinstance(model, type):
            raise TypeError(f"model must be an instance with predict, or a function, got {shown(model)}")
    else:
        predict = getattr(model, "predict_proba", None)
        if predict is None and response == "margin":
            predict = getattr(model, "decision_function", None)
            is_bounded = False
            if getattr(final_step(model)[0], "decision_function_shape", None) == "ovo":
                _check_no_pairs(labels)
        if predict is None:
            needed = "predict_proba or decision_function" if response == "margin" else "predict_proba"
            raise ValueError(
                f"response {response!r} needs {needed}, which the model does not have: {model!r}"
            )
        class_index = 0
        if response == "probability":
            if labels is None:
                raise ValueError("response 'probability' needs classes_ of the model, or classes=")
            class_index = class_number(labels, class_of_interest)

        def respond(P: Array) -> Array:
            return RESPONSE_FUNCTIONS[response](P if is_bounded else _by_class(P, labels), class_index)

    if section.names is not None:
        predict = by_names(predict, section.names)
    return TableSubject(predict, section, labels, respond, is_bounded)


def by_names(predict: Callable[[Any], Any], names: list[str]) -> Callable[[Array], Any]:
    """Return a function of arrays that calls `predict` with a data frame with these column names."""
    import pandas as pd

    return lambda points: predict(pd.DataFrame(points, columns=names))


def _check_no_pairs(labels: Array | None) -> None:
    # Three classes have as many pairs as classes: the number of scores does not tell them apart.
    if labels is not None and len(labels) > 2:
        raise ValueError(
            f"decision_function must give a score per class, and with decision_function_shape='ovo' it gives "
            f"one per pair of the {len(labels)} classes: choose decision_function_shape='ovr'"
        )


def _by_class(scores: Array, labels: Array | None) -> Array:
    """Return the scores of a decision function with a column for each class; one score becomes two."""
    scores = np.asarray(scores, np.float64).reshape(len(scores), -1)
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
