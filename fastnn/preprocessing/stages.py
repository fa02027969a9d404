"""Scalers, and the encoding of tables of numbers, as stages of exported models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn.preprocessing
from numpy.typing import NDArray

from ..export.stages import FLAG, GAP, LINEAR, SMOOTH, Stage, linear
from ..system.validation import check_number
from .columns import DateEncoding, Dropped, FlagEncoding, NumberEncoding, encoding_kernels
from .encoder import TableEncoder
from .scaling import LIMIT, SmoothRobustScaler

__all__ = ["scaler_stage", "table_stage"]

Array = NDArray[Any]


def table_stage(encoder: TableEncoder) -> tuple[Stage, list[str]]:
    """Return the encoding of a table of numbers and booleans as a stage, and the names of its features.

    The features are the columns that are not left out.

    Raises
    ------
    ValueError
        If a column holds dates, categories or text.
    """
    names: list[str] = []
    rows: list[dict[str, Any]] = []
    for encoding in encoder.encodings_:
        if isinstance(encoding, Dropped):
            continue
        if isinstance(encoding, NumberEncoding):
            rows += [{"sources": len(names), **row} for row in _number_rows(encoding)]
        elif isinstance(encoding, FlagEncoding):
            rows.append({"sources": len(names), **_flag_row(encoding)})
        else:
            what = "dates" if isinstance(encoding, DateEncoding) else "categories or text"
            raise ValueError(
                f"column {encoding.name!r} holds {what}, and C headers take numbers and booleans alone: "
                "export by to_onnx, or fit without the column"
            )
        names.append(encoding.name)
    identity = linear(1)
    defaults = {"kinds": LINEAR} | {name: value[0] for name, value in identity.numbers.items()}
    columns = {
        name: np.array([row.get(name, defaults.get(name)) for row in rows]) for name in ("sources", *defaults)
    }
    return Stage(len(names), **columns), names


def _number_rows(encoding: NumberEncoding) -> list[dict[str, Any]]:
    """Return the numbers of a stage for the features of a number, in their order."""
    rows: list[dict[str, Any]] = []
    common = {"fill": encoding.center}
    if encoding.is_scaled:
        far = encoding_kernels().FAR * LIMIT
        rows.append(
            {
                **common, "kinds": SMOOTH, "center": encoding.center, "scale": encoding.scale, "low": -far,
                "high": far, "limit": LIMIT,
            }
        )  # fmt: skip
    for low, high in zip(encoding.edges[:-1], encoding.edges[1:], strict=True):
        rows.append({**common, "center": low, "scale": high - low, "low": 0.0, "high": 1.0})
    return rows + [{"kinds": GAP, "fill": 0.0}] * encoding.has_indicator


def _flag_row(encoding: FlagEncoding) -> dict[str, Any]:
    """Return the numbers of a stage for one of two values."""
    if np.isnan(encoding.high):  # an indicator: no value equals the largest number
        return {"kinds": FLAG, "center": np.inf, "fill": 1.0}
    return {"kinds": FLAG, "center": encoding.high, "fill": 0.0}


def scaler_stage(scaler: Any) -> Stage | None:
    """Return a fitted scaler as a stage; None for another transformer."""
    kind = type(scaler)
    if kind is SmoothRobustScaler:
        limit = check_number(scaler.limit, "limit", 0.0, exclusive=True)
        far = encoding_kernels().FAR * limit
        numbers = {"center": scaler.center_, "scale": scaler.scale_, "low": -far, "high": far, "limit": limit}
        stage = linear(scaler.n_features_in_, **numbers)
        return Stage(stage.n_features, stage.sources, np.full_like(stage.kinds, SMOOTH), **stage.numbers)
    numbers_of = _SCALERS.get(kind)
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
