"""Affine maps ``x -> x A + b`` of scikit-learn's transformers, read from their fitted attributes.

Scalers, projections and selections of columns are affine, so that they can be folded into the first layer of
a network that follows. Only scikit-learn's own types are accepted: a subclass may override the
transformation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AffineMap",
    "NotAffineError",
    "affine_map",
    "chain_map",
    "check_agreement",
    "final_step",
    "step_names",
]

Array = NDArray[Any]

# Relative difference, some 4500 ulp, that rounding may cause between a chain of transformers and the product
# of their maps.
AGREEMENT = 1e-12

_SEARCHES = ("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV")
_SELECTORS = (
    "GenericUnivariateSelect", "RFE", "RFECV", "SelectFdr", "SelectFpr", "SelectFromModel", "SelectFwe",
    "SelectKBest", "SelectPercentile", "SequentialFeatureSelector", "VarianceThreshold",
)  # fmt: skip


class NotAffineError(ValueError):
    """Exception for a transformer without a known affine map; the message says which one and why."""


class AffineMap(NamedTuple):
    """The map ``x -> x @ weights + offsets``, in float64.

    Parameters
    ----------
    weights : array (n_in, n_out)
        Matrix.
    offsets : array (n_out,)
        Value of the map at the sample 0.
    """

    weights: NDArray[np.float64]
    offsets: NDArray[np.float64]

    def __call__(self, X: Array) -> NDArray[np.float64]:
        """Return the samples (n, n_in) mapped, (n, n_out)."""
        return X @ self.weights + self.offsets

    def then(self, other: AffineMap) -> AffineMap:
        """Return the map that applies this one first and `other` to its result."""
        return AffineMap(self.weights @ other.weights, self.offsets @ other.weights + other.offsets)


def final_step(model: Any) -> tuple[Any, list[Any]]:
    """Return the estimator of a model, and the transformers that are applied before it.

    Parameters
    ----------
    model : object
        Pipelines, fitted searches and frozen estimators of scikit-learn, which may be nested, are unwrapped.
        Any other object is its own final step.

    Returns
    -------
    object
        The estimator that predicts.
    list
        Fitted transformers in the order of application, without "passthrough".

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> final_step(make_pipeline("passthrough", StandardScaler(), DecisionTreeClassifier()))
    (DecisionTreeClassifier(), [StandardScaler()])
    """
    steps: list[Any] = []
    while True:
        name = _sklearn_name(model)
        if name in _SEARCHES and hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        elif name == "FrozenEstimator":
            model = model.estimator
        elif name == "Pipeline":
            steps += [step for _, step in model.steps[:-1] if not _passes_through(step)]
            model = model.steps[-1][1]
        else:
            return model, steps


def step_names(steps: Sequence[Any]) -> str:
    """Return the types of transformers as text, such as "StandardScaler, PCA"."""
    return ", ".join(type(step).__name__ for step in steps)


def chain_map(steps: Sequence[Any], n_features: int) -> AffineMap:
    """Return the affine map of transformers that are applied one after the other.

    Parameters
    ----------
    steps : sequence of transformers
        Fitted transformers in the order of application.
    n_features : int
        Number of features that the first transformer takes.

    Raises
    ------
    NotAffineError
        If `affine_map` raises NotAffineError for one of the transformers.
    """
    result = _identity(n_features)
    for step in steps:
        result = result.then(affine_map(step, result.offsets.size))
    return result


def affine_map(transformer: Any, n_features: int) -> AffineMap:
    """Return the affine map of a fitted transformer, for samples without missing values.

    Parameters
    ----------
    transformer : object or None
        A fitted transformer of scikit-learn, "passthrough" or None.
    n_features : int
        Number of features that the transformer takes.

    Returns
    -------
    AffineMap
        Map of the features of a sample.

    Raises
    ------
    NotAffineError
        For a type that is not known to be affine, including subclasses of affine types; for parameters that
        make the map piecewise, such as ``clip=True``; and for fitted attributes that do not match
        `n_features` or are not finite.

    Examples
    --------
    >>> from sklearn.preprocessing import MinMaxScaler
    >>> affine_map(MinMaxScaler().fit([[1.0], [5.0]]), 1)
    AffineMap(weights=array([[0.25]]), offsets=array([-0.25]))
    """
    if _passes_through(transformer):
        return _identity(n_features)
    name = type(transformer).__name__
    read = _MAPS.get(_sklearn_name(transformer))
    if read is None:
        raise NotAffineError(f"{name} is not known to be affine")
    try:
        result = read(transformer, n_features)
    except NotAffineError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise NotAffineError(f"{name} has attributes that could not be read: {error}") from error
    if result.weights.shape != (n_features, result.offsets.size):
        raise NotAffineError(f"{name} was not fitted to {n_features} features")
    if not all(np.isfinite(array).all() for array in result):
        raise NotAffineError(f"{name} has attributes that are not finite")
    return result


def check_agreement(
    steps: Sequence[Any], found: AffineMap, points: NDArray[np.float64], names: list[str] | None
) -> None:
    """Raise NotAffineError unless transformers and their affine map agree at some points, up to rounding.

    Parameters
    ----------
    steps : sequence of transformers
        Fitted transformers in the order of application.
    found : AffineMap
        Result of `chain_map` for the transformers.
    points : array (n, n_in)
        Samples at which the results are compared.
    names : list of str or None
        Names of the features, if the transformers were fitted with names.
    """
    values: Any = points.copy()  # a transformer with copy=False writes into its argument
    if names is not None:
        import pandas as pd

        values = pd.DataFrame(values, columns=names)
    try:
        for step in steps:
            values = step.transform(values)
        values = np.asarray(values, np.float64)
    except Exception as error:  # transformers may raise anything
        raise NotAffineError(f"{step_names(steps)} failed at points of the picture: {error}") from error
    expected = found(points)
    allowed = AGREEMENT * (np.abs(points) @ np.abs(found.weights) + np.abs(found.offsets))
    if values.shape != expected.shape or not (np.abs(values - expected) <= allowed).all():
        raise NotAffineError(f"{step_names(steps)} did not transform points as the fitted attributes say")


def _sklearn_name(thing: Any) -> str:
    """Return the name of an object's type if scikit-learn defines the type, else ""."""
    kind = type(thing)
    return kind.__name__ if kind.__module__.partition(".")[0] == "sklearn" else ""


def _passes_through(step: Any) -> bool:
    return step is None or (isinstance(step, str) and step == "passthrough")


def _float64(values: Any) -> NDArray[np.float64]:
    return np.asarray(values, np.float64)


def _identity(n_features: int) -> AffineMap:
    return AffineMap(np.eye(n_features), np.zeros(n_features))


def _centred(weights: Any, centre: Any = None) -> AffineMap:
    """Return the map ``x -> (x - centre) @ weights``; by default the centre is 0."""
    weights = _float64(weights)
    offsets = np.zeros(weights.shape[1]) if centre is None else -(_float64(centre) @ weights)
    return AffineMap(weights, offsets)


def _refuse_clip(transformer: Any) -> None:
    if getattr(transformer, "clip", False):
        raise NotAffineError(f"{type(transformer).__name__}(clip=True) is not affine")


# --- one function for each kind of transformer -----------------------------------------------------


def _standard(scaler: Any, n_features: int) -> AffineMap:
    scale = _float64(scaler.scale_) if scaler.with_std else np.ones(n_features)
    return _centred(np.diag(1 / scale), scaler.mean_ if scaler.with_mean else None)


def _robust(scaler: Any, n_features: int) -> AffineMap:
    scale = _float64(scaler.scale_) if scaler.with_scaling else np.ones(n_features)
    return _centred(np.diag(1 / scale), scaler.center_ if scaler.with_centering else None)


def _min_max(scaler: Any, n_features: int) -> AffineMap:
    _refuse_clip(scaler)
    return AffineMap(np.diag(_float64(scaler.scale_)), _float64(scaler.min_))


def _max_abs(scaler: Any, n_features: int) -> AffineMap:
    _refuse_clip(scaler)
    return _centred(np.diag(1 / _float64(scaler.scale_)))


def _imputer(imputer: Any, n_features: int) -> AffineMap:
    """Return the map of SimpleImputer."""
    # Pixels have no NaN: the imputer changes nothing, unless another value denotes missing ones.
    missing = imputer.missing_values
    if not (isinstance(missing, float) and math.isnan(missing)):
        raise NotAffineError(f"SimpleImputer(missing_values={missing!r}) is not affine")
    # Columns without any value are dropped, and an indicator adds columns: refuse both.
    if imputer.add_indicator or np.isnan(_float64(imputer.statistics_)).any():
        raise NotAffineError("SimpleImputer adds or drops columns")
    return _identity(n_features)


def _function(transformer: Any, n_features: int) -> AffineMap:
    if transformer.func is not None:
        raise NotAffineError("FunctionTransformer with a function is not known to be affine")
    return _identity(n_features)


def _pca(pca: Any, n_features: int) -> AffineMap:
    """Return the map of PCA and IncrementalPCA."""
    # scikit-learn multiplies in the dtype of the attributes, and in float32 the rounding errors exceed
    # `AGREEMENT`: multiply in the same dtype.
    offsets = -_float64(pca.mean_ @ pca.components_.T)
    weights = _float64(pca.components_.T)
    if pca.whiten:
        scale = np.sqrt(pca.explained_variance_)
        scale = _float64(np.maximum(scale, np.finfo(scale.dtype).eps))
        weights, offsets = weights / scale, offsets / scale
    return AffineMap(weights, offsets)


def _projection(transformer: Any, n_features: int) -> AffineMap:
    """Return the map of transformers that multiply samples by the transposed `components_`."""
    components = transformer.components_
    return _centred((components.toarray() if hasattr(components, "toarray") else components).T)


def _ica(ica: Any, n_features: int) -> AffineMap:
    return _centred(ica.components_.T, ica.mean_ if ica.whiten else None)


def _discriminant(analysis: Any, n_features: int) -> AffineMap:
    weights = analysis.scalings_[:, : len(analysis.get_feature_names_out())]
    return _centred(weights, analysis.xbar_ if analysis.solver == "svd" else None)


def _selection(selector: Any, n_features: int) -> AffineMap:
    """Return the map of transformers that select features."""
    return _centred(np.eye(n_features)[:, selector.get_support()])


def _joined(branches: Sequence[tuple[str, Any, Any]], weights: Any, n_features: int) -> AffineMap:
    """Return the map of transformers whose results are concatenated.

    `branches` has tuples (name, transformer, columns); `weights` is a mapping of names to factors, or None.
    """
    found = [AffineMap(np.empty((n_features, 0)), np.empty(0))]
    for name, transformer, columns in branches:
        # scikit-learn skips empty selections of columns and does not fit their transformers: skip them, too.
        if (isinstance(transformer, str) and transformer == "drop") or not len(columns):
            continue
        branch = affine_map(transformer, len(columns))
        placed = np.zeros((n_features, branch.offsets.size))
        np.add.at(placed, np.asarray(columns), branch.weights)  # a column may be selected twice
        factor = (weights or {}).get(name)
        factor = 1.0 if factor is None else factor
        found.append(AffineMap(factor * placed, factor * branch.offsets))
    return AffineMap(
        np.hstack([branch.weights for branch in found]), np.hstack([branch.offsets for branch in found])
    )


def _by_columns(transformer: Any, n_features: int) -> AffineMap:
    """Return the map of ColumnTransformer."""
    from ..system.sklearn_internals import input_places

    places = input_places(transformer)
    branches = [(name, branch, places[name]) for name, branch, _ in transformer.transformers_]
    return _joined(branches, transformer.transformer_weights, n_features)


def _union(union: Any, n_features: int) -> AffineMap:
    branches = [(name, branch, range(n_features)) for name, branch in union.transformer_list]
    return _joined(branches, union.transformer_weights, n_features)


_MAPS: dict[str, Callable[[Any, int], AffineMap]] = {
    "ColumnTransformer": _by_columns,
    "FastICA": _ica,
    "FeatureUnion": _union,
    "FrozenEstimator": lambda frozen, n_features: affine_map(frozen.estimator, n_features),
    "FunctionTransformer": _function,
    "GaussianRandomProjection": _projection,
    "IncrementalPCA": _pca,
    "LinearDiscriminantAnalysis": _discriminant,
    "MaxAbsScaler": _max_abs,
    "MinMaxScaler": _min_max,
    "NeighborhoodComponentsAnalysis": _projection,
    "PCA": _pca,
    "Pipeline": lambda pipeline, n_features: chain_map([step for _, step in pipeline.steps], n_features),
    "RobustScaler": _robust,
    "SimpleImputer": _imputer,
    "SparseRandomProjection": _projection,
    "StandardScaler": _standard,
    "TruncatedSVD": _projection,
    **dict.fromkeys(_SELECTORS, _selection),
}
