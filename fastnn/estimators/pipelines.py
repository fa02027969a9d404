"""to_c: pipelines of scalers and a network, and everything else that can be exported to C, as one header."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import sklearn.preprocessing
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..export.methods import Exportable
from ..export.stages import Stage, linear
from ..system.validation import shown

__all__ = ["to_c"]


def to_c(
    model: Any, path: Any = None, dtype: str = "float32", *, X: Any = None, name: str | None = None
) -> str:
    """Export a model, or a pipeline of scalers and a model, to C99 as one header.

    The header of a pipeline scales the features as the pipeline does, in its own dtype.

    Parameters
    ----------
    model : Model, estimator, ensemble, tabular estimator or Pipeline
        Fitted model with a method ``to_c``, or a `Pipeline` of scikit-learn whose last step is such a network
        or ensemble, and whose other steps are StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler,
        `SmoothRobustScaler` or "passthrough".
    path : str or path, optional
        Name of the file that is written. By default none is written.
    dtype : {"float32", "float64", "int8"}, default "float32"
        Data type of the computation. With "int8", features are scaled in float32 and then quantised.
    X : array-like (n, n_features), optional
        Samples, before scaling. "int8" needs them, for calibration; the self-test uses three of them.
    name : str, optional
        Prefix of all names; by default derived from the file's name, "net" without a file.

    Returns
    -------
    str
        Text of the header.

    Raises
    ------
    ValueError
        If a step of the pipeline is not such a scaler, or for the reasons of the method ``to_c``.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_iris(return_X_y=True)
    >>> network = fastnn.MLPClassifier((8,), solver="lbfgs", random_state=0)
    >>> pipeline = make_pipeline(StandardScaler(), network).fit(X, y)
    >>> header = fastnn.to_c(pipeline, name="iris")
    >>> "static inline int iris_predict(const float *x)" in header
    True
    """
    if not isinstance(model, Pipeline):
        if not hasattr(model, "to_c"):
            raise ValueError(f"model must be a fitted model of fastnn or a Pipeline, got {shown(model)}")
        return model.to_c(path, dtype, X=X, name=name)
    from ..export.c import to_c as write

    *steps, (last_name, last) = model.steps
    if not isinstance(last, Exportable):
        raise ValueError(
            f"the last step of the pipeline, {last_name!r}, is not a network of fastnn: {shown(last)}"
        )
    stages = []
    for step_name, step in steps:
        if step is None or step == "passthrough":
            continue
        check_is_fitted(step)
        stage = _scaler_stage(step)
        if stage is None:
            raise ValueError(
                f"the step {step_name!r} of the pipeline, {shown(step)}, cannot be exported to C: choose a "
                "StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler or SmoothRobustScaler"
            )
        stages.append(stage)
    description = replace(last._description(), stages=tuple(stages))
    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        description = replace(description, feature_names=tuple(map(str, names)))
    return write(description, path, dtype, X, name)


def _scaler_stage(scaler: Any) -> Stage | None:
    """Return a fitted scaler as a stage; None for another transformer."""
    if hasattr(scaler, "_as_stage"):
        stage: Stage = scaler._as_stage()
        return stage
    numbers_of = _SCALERS.get(type(scaler))
    return None if numbers_of is None else linear(scaler.n_features_in_, **numbers_of(scaler))


def _chosen(**numbers: tuple[bool, Any]) -> dict[str, Any]:
    """Return the numbers whose first entry is True."""
    return {name: value for name, (is_used, value) in numbers.items() if is_used}


def _of_ranges(scaler: Any) -> dict[str, Any]:
    """Return the numbers of a MinMaxScaler."""
    low, high = scaler.feature_range
    limits = _chosen(low=(scaler.clip, low), high=(scaler.clip, high))
    return {"center": scaler.data_min_, "scale": 1 / scaler.scale_, "offset": low, **limits}


def _of_largest(scaler: Any) -> dict[str, Any]:
    """Return the numbers of a MaxAbsScaler, which has the parameter `clip` from scikit-learn 1.8 on."""
    is_cut = getattr(scaler, "clip", False)
    return {"scale": scaler.scale_, **_chosen(low=(is_cut, -1.0), high=(is_cut, 1.0))}


# Functions that return a stage's numbers for a fitted scaler of scikit-learn.
_SCALERS: dict[type, Callable[[Any], dict[str, Any]]] = {
    sklearn.preprocessing.StandardScaler: lambda scaler: _chosen(
        center=(scaler.with_mean, scaler.mean_), scale=(scaler.with_std, scaler.scale_)
    ),
    sklearn.preprocessing.RobustScaler: lambda scaler: _chosen(
        center=(scaler.with_centering, scaler.center_), scale=(scaler.with_scaling, scaler.scale_)
    ),
    sklearn.preprocessing.MinMaxScaler: _of_ranges,
    sklearn.preprocessing.MaxAbsScaler: _of_largest,
}
