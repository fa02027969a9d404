"""Tabular estimators in files, with the encoding of the table, all networks, and what was measured.

No fit continues an earlier one, so that files hold the parameters of the networks that predict and no state
of their training. Checkpoints of streamed fits are the exception. With ``training=True`` files also hold the
curves of the networks and the out-of-fold predictions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..saving.records import Reader, Writer
from ..saving.values import check_integer
from ..system.validation import check_flag, shown
from .encoding.encoder import TableEncoder

__all__ = ["check_fitted", "describe_fitted", "restore_fitted"]

# Arrays with a row for every out-of-fold prediction.
_ROWS = ("oof_prediction_", "oof_quantiles_", "oof_rows_")
# Entries of the state of a streamed fit, and of each of its networks.
_STREAM = {"settings", "seeds", "n_buffers", "seconds", "runs"}
_RUN = {"is_over", "best_before", "losses"}
# Data types of arrays with a value for every row, by name.
_DTYPES = {"float32": np.float32, "float64": np.float64, "int64": np.int64}


def describe_fitted(estimator: Any, description: dict[str, Any], writer: Writer) -> dict[str, Any]:
    """Return the description of an estimator, completed by what was fitted, and collect its arrays."""
    if "estimators_" not in estimator.__dict__:
        return description
    description["encoder"] = writer.described(estimator.encoder_, "encoder_")
    if not writer.training:
        return description
    description["member_curves"] = []
    if estimator._members_resume():
        description["stream"] = writer.value(estimator._stream, "stream")
    else:  # networks that can be trained further hold their curves themselves
        for k, member in enumerate(estimator.estimators_):
            names = [name for name in member._CURVES if getattr(member, name, None) is not None]
            description["member_curves"].append(names)
            for name in names:
                writer.tensor(f"estimators_.{k}.{name}", np.array(getattr(member, name), np.float64))
    rows = {name: estimator.__dict__[name] for name in _ROWS if name in estimator.__dict__}
    if "_oof_targets" in estimator.__dict__:
        targets = estimator._oof_targets
        rows["targets"] = np.searchsorted(estimator.classes_, targets) if estimator._HAS_CLASSES else targets
    description["rows"] = {name: array.dtype.name for name, array in rows.items()}
    for name, array in rows.items():
        writer.tensor(f"rows.{name}", array)
    return description


def restore_fitted(estimator: Any, description: dict[str, Any], reader: Reader) -> None:
    """Set encoder, networks, curves and out-of-fold predictions from a description."""
    members = estimator.__dict__.get("estimators_")
    if members is None:
        return
    estimator.encoder_ = reader.restored(description.get("encoder"))
    if not isinstance(estimator.encoder_, TableEncoder) or not hasattr(estimator.encoder_, "encodings_"):
        raise ValueError("the estimator has no fitted encoder of tables")
    estimator._adopt_columns()
    if description.get("stream") is not None:
        estimator._stream = _checked_stream(reader.value(description["stream"]), len(members))
    for k, (member, names) in enumerate(zip(members, description.get("member_curves", []), strict=False)):
        for name in names:
            if name not in estimator._MEMBER._CURVES:
                raise ValueError(f"a network has no curve {shown(name)}")
            curve = reader.read(f"estimators_.{k}.{name}", np.float64, (None,))
            setattr(member, name, curve.tolist())
    rows = description.get("rows", {})
    if not isinstance(rows, dict) or not set(rows) <= {"targets", *_ROWS}:
        raise ValueError(f"the arrays of rows are {shown(rows)}")
    arrays = {}
    for name, dtype in rows.items():
        n_dimensions = len(reader.shape(f"rows.{name}"))
        arrays[name] = reader.read(f"rows.{name}", _DTYPES[dtype], (None,) * n_dimensions)
    if len({len(array) for array in arrays.values()}) > 1:
        raise ValueError("the out-of-fold predictions have different numbers of rows")
    if "targets" in arrays:
        targets = arrays.pop("targets")
        estimator._oof_targets = estimator.classes_[targets] if estimator._HAS_CLASSES else targets
    for name, array in arrays.items():
        setattr(estimator, name, array)


def check_fitted(estimator: Any) -> None:
    """Raise ValueError if the fitted attributes contradict each other."""
    members = estimator.__dict__.get("estimators_")
    if members is None:
        return
    if not members or not all(type(member) is estimator._MEMBER for member in members):
        raise ValueError(f"the estimator holds other networks than those of {estimator._MEMBER.__name__}")
    estimator._check_types()
    n_features = estimator.encoder_._ends[-1]
    for member in members:
        state = member.__dict__
        if "_state" not in state or state["n_features_in_"] != n_features:
            raise ValueError("the networks do not fit the encoder")
        if state["n_outputs_"] != estimator._n_scores():
            raise ValueError("the networks do not fit the number of classes")
    name = estimator.__dict__.get("target_name_")
    if not (name is None or isinstance(name, str)):
        raise ValueError(f"target_name_ is {shown(name)}")
    importances = estimator.__dict__.get("importances_")
    if not isinstance(importances, np.ndarray) or importances.shape != (estimator.n_features_in_,):
        raise ValueError("importances_ holds no number for every column")
    shapes: dict[str, tuple[int, ...]] = {}
    if estimator._HAS_CLASSES:
        _check_classes(estimator.classes_, estimator.temperature_)
        shapes["oof_prediction_"] = estimator.classes_.shape
    else:
        _check_numbers(estimator)
        shapes["oof_quantiles_"] = (len(estimator._quantiles),)
    for name in _ROWS:
        array = estimator.__dict__.get(name)
        if array is not None and array.shape[1:] != shapes.get(name, ()):
            raise ValueError(f"{name} has the shape {array.shape}")


def _check_classes(classes: Any, temperature: Any) -> None:
    """Raise ValueError if what a classifier predicts by is invalid."""
    is_valid = isinstance(classes, np.ndarray) and classes.ndim == 1
    if not (is_valid and classes.size > 1 and len(np.unique(classes)) == classes.size):
        raise ValueError("classes_ is not a list of distinct classes")
    if not (isinstance(temperature, float) and 0 < temperature < np.inf):
        raise ValueError(f"temperature_ is {temperature!r}")


def _check_numbers(estimator: Any) -> None:
    """Raise ValueError if what a regressor predicts by is invalid."""
    numbers = [estimator._center, estimator._scale, *estimator._range, *estimator._quantiles]
    if not all(isinstance(number, float) and np.isfinite(number) for number in numbers):
        raise ValueError("the scale, range or quantiles of the targets are not numbers")
    if not isinstance(estimator._quantiles, list) or len(estimator._range) != 2:
        raise ValueError("the quantiles or the range of the targets are not a list")
    n_heads = 1 + len(estimator._quantiles)
    shifts = estimator._shifts
    if not (isinstance(shifts, np.ndarray) and shifts.shape == (n_heads - 1,) and shifts.dtype.kind == "f"):
        raise ValueError("the shifts of the quantiles do not fit the quantiles")
    if len(estimator.estimators_) % n_heads:
        raise ValueError("the number of networks does not fit the quantiles")


def _checked_stream(stream: Any, n_members: int) -> dict[str, Any]:
    """Return the state of a streamed fit; raise ValueError unless it has what the fit is resumed from."""
    if not (isinstance(stream, dict) and set(stream) == _STREAM and isinstance(stream["settings"], dict)):
        raise ValueError("the state of the streamed fit is incomplete")
    check_integer(stream["n_buffers"], "n_buffers", 2**62)
    seeds, runs, seconds = stream["seeds"], stream["runs"], stream["seconds"]
    if not all(type(given) is list for given in (seeds, runs, seconds)):
        raise ValueError("the state of the streamed fit has no lists of seeds, networks and times")
    for seed in seeds:
        check_integer(seed, "seeds", 2**31)
    if len(runs) != n_members or not all(isinstance(run, dict) and set(run) == _RUN for run in runs):
        raise ValueError("the state of the streamed fit does not fit the networks")
    for run in runs:
        check_flag(run["is_over"], "is_over")
        numbers = [run["best_before"], *(loss for loss, _ in run["losses"])]
        if not all(type(number) is float for number in [*numbers, *seconds]) or len(seconds) != 2:
            raise ValueError("the state of the streamed fit holds no numbers for its losses or times")
        for _, n_rows in run["losses"]:
            check_integer(n_rows, "losses", 2**62)
    return stream
