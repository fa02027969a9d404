"""Affine maps ``x -> x A + b`` of scikit-learn's transformers, read from what they do to points.

Scalers, projections and selections of columns are affine, so that they can be folded into the first layer of
a network that follows. Only scikit-learn's own types are accepted: a subclass may override the
transformation, and other transformers may bend between the points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .validation import Array

# Distance of the points at which the matrix is read: far above the offsets in units of the features, so that
# their rounding does not matter.
FAR = 2.0**40
# Number of points at which transformers are compared with their map, and the relative difference, some 4500
# ulp, that rounding may cause between them.
N_PROBES, AGREEMENT = 64, 1e-12

_SEARCHES = ("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV")
# Types whose transformation is affine, but for the parameters that `_check_type` knows.
_AFFINE = (
    "FastICA", "FunctionTransformer", "GaussianRandomProjection", "GenericUnivariateSelect",
    "IncrementalPCA", "LinearDiscriminantAnalysis", "MaxAbsScaler", "MinMaxScaler",
    "NeighborhoodComponentsAnalysis", "PCA", "RFE", "RFECV", "RobustScaler", "SelectFdr", "SelectFpr",
    "SelectFromModel", "SelectFwe", "SelectKBest", "SelectPercentile", "SequentialFeatureSelector",
    "SimpleImputer", "SparseRandomProjection", "StandardScaler", "TruncatedSVD", "VarianceThreshold",
)  # fmt: skip
# Functions that return the transformers within others.
_CONTAINERS: dict[str, Callable[[Any], list[Any]]] = {
    "ColumnTransformer": lambda step: [each for _, each, _ in getattr(step, "transformers_", [])],
    "FeatureUnion": lambda step: [each for _, each in step.transformer_list],
    "FrozenEstimator": lambda step: [step.estimator],
    "Pipeline": lambda step: [each for _, each in step.steps],
}


class NotAffineError(ValueError):
    """Exception for a transformer without a known affine map; the message says which one and why."""


class AffineMap(NamedTuple):
    """The map ``x -> x @ weights + offsets``, in float64."""

    weights: NDArray[np.float64]  # (n_in, n_out)
    offsets: NDArray[np.float64]  # (n_out,): value of the map at the sample 0

    def __call__(self, X: Array) -> NDArray[np.float64]:
        """Return the samples (n, n_in) mapped, (n, n_out)."""
        return X @ self.weights + self.offsets


class Chain(NamedTuple):
    """A model, taken apart."""

    estimator: Any  # the estimator that predicts
    n_features: int | None  # number of features that the model takes, if it knows it
    feature_names: list[str] | None  # their names, if it knows names
    transformers: str  # types of the fitted transformers before the estimator, such as "StandardScaler, PCA"
    mapping: AffineMap | None = None  # None without transformers, and where they are not known to be affine
    reason: str = ""  # why transformers have no affine map


def read_chain(model: Any) -> Chain:
    """Return the parts of a model; see `split_pipeline`."""
    estimator, steps = split_pipeline(model)
    # A pipeline that begins with "passthrough" has no attributes for its features.
    parts = model, [*steps, estimator][0]
    known = next((one for one in parts if getattr(one, "n_features_in_", None) is not None), None)
    names = getattr(known, "feature_names_in_", None)
    chain = Chain(
        estimator,
        None if known is None else int(known.n_features_in_),
        None if names is None else [str(name) for name in names],
        _join_type_names(steps),
    )
    if not steps:
        return chain
    try:
        return chain._replace(mapping=compose_maps(steps))
    except NotAffineError as error:
        return chain._replace(reason=str(error))


def split_pipeline(model: Any) -> tuple[Any, list[Any]]:
    """Return the estimator of a model, and the transformers before it in order, without "passthrough".

    Pipelines, fitted searches and frozen estimators of scikit-learn, which may be nested, are unwrapped. Any
    other object is its own final step.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> split_pipeline(make_pipeline("passthrough", StandardScaler(), DecisionTreeClassifier()))
    (DecisionTreeClassifier(), [StandardScaler()])
    """
    steps: list[Any] = []
    while True:
        name = _get_sklearn_name(model)
        if name in _SEARCHES and hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        elif name == "FrozenEstimator":
            model = model.estimator
        elif name == "Pipeline":
            steps += [step for _, step in model.steps[:-1] if step not in ("passthrough", None)]
            model = model.steps[-1][1]
        else:
            return model, steps


def compose_maps(steps: Sequence[Any]) -> AffineMap:
    """Return the affine map of one or more fitted transformers that are applied one after the other.

    The transformers themselves are called: users may have changed what they do, or their attributes. Raise
    NotAffineError for a type that is not known to be affine, including subclasses of affine types; for
    parameters that make the map piecewise, such as ``clip=True``; and for transformers that fail, give
    numbers that are not finite, or differ from an affine map at points near the data and far away.

    Examples
    --------
    >>> from sklearn.preprocessing import MinMaxScaler
    >>> compose_maps([MinMaxScaler().fit([[1.0], [5.0]])])
    AffineMap(weights=array([[0.25]]), offsets=array([-0.25]))
    """
    for step in steps:
        _check_type(step)
    n_features = getattr(steps[0], "n_features_in_", None)
    if n_features is None:
        raise NotAffineError(f"{_join_type_names(steps[:1])} does not tell how many features it takes")
    values = _transform(steps, np.vstack([np.zeros(n_features), FAR * np.eye(n_features)]))
    found = AffineMap((values[1:] - values[0]) / FAR, values[0])
    # Points in units of the results, around the one whose result is nearest to 0: for a scaler, the mean.
    scale = np.abs(found.weights).max(axis=1, initial=0.0)
    unit = np.divide(1, scale, where=scale > 0, out=np.ones(n_features))
    nearest = np.linalg.lstsq((unit[:, None] * found.weights).T, -found.offsets)[0]
    random = np.random.default_rng(0)
    reach = random.choice([-1, 1], (N_PROBES, n_features)) * 10.0 ** random.uniform(-3, 6, (N_PROBES, 1))
    points = (nearest + reach) * unit
    allowed = AGREEMENT * (np.abs(points) @ np.abs(found.weights) + np.abs(found.offsets))
    if not (np.abs(_transform(steps, points) - found(points)) <= allowed).all():
        raise NotAffineError(f"{_join_type_names(steps)} did not transform points by an affine map")
    return found


def _transform(steps: Sequence[Any], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points transformed; raise NotAffineError if that fails or gives numbers that are not finite."""
    values: Any = points.copy()  # a transformer with copy=False writes into its argument
    names = getattr(steps[0], "feature_names_in_", None)
    if names is not None:
        import pandas as pd

        values = pd.DataFrame(values, columns=names)
    try:
        with np.errstate(all="ignore"):
            for step in steps:
                values = step.transform(values)
        values = np.asarray(values, np.float64)
    except Exception as error:  # transformers may raise anything
        raise NotAffineError(f"{_join_type_names(steps)} failed at points that try it: {error}") from error
    if not np.isfinite(values).all():
        raise NotAffineError(f"{_join_type_names(steps)} gives numbers that are not finite")
    return values


def _check_type(step: Any) -> None:
    name = type(step).__name__
    kind = _get_sklearn_name(step)
    if kind in _CONTAINERS:
        for each in _CONTAINERS[kind](step):
            if not (each is None or isinstance(each, str)):  # "passthrough", "drop"
                _check_type(each)
    elif kind not in _AFFINE:
        raise NotAffineError(f"{name} is not known to be affine")
    elif getattr(step, "clip", False):
        raise NotAffineError(f"{name}(clip=True) is not affine")
    elif getattr(step, "func", None) is not None:
        raise NotAffineError(f"{name} with a function is not known to be affine")
    elif name == "SimpleImputer" and not _is_nan(step.missing_values):  # pixels have no NaN
        raise NotAffineError(f"{name}(missing_values={step.missing_values!r}) is not affine")


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _join_type_names(steps: Sequence[object]) -> str:
    return ", ".join(type(step).__name__ for step in steps)


def _get_sklearn_name(thing: object) -> str:
    """Return the name of an object's type if scikit-learn defines the type, else ""."""
    kind = type(thing)
    return kind.__name__ if kind.__module__.partition(".")[0] == "sklearn" else ""
