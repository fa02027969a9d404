"""SavableTabular: tabular estimators in files, with the encoding of the table and all networks."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..saving.attributes import SavableAttributes
from ..saving.records import Reader, Writer
from ..saving.values import check_integer
from ..system.validation import check_flag, shown
from .encoding.encoder import TableEncoder

__all__ = ["SavableTabular"]

Array = NDArray[Any]

# Entries of the state of a streamed fit, and of each of its networks.
_STREAM = {"settings", "seeds", "n_buffers", "seconds", "runs"}
_RUN = {"is_over", "best_before", "losses"}
# Data types of arrays with a value for every row, by name.
_DTYPES = {"float32": np.float32, "float64": np.float64, "int64": np.int64}


class SavableTabular(SavableAttributes):
    """Base class of the tabular estimators: files hold the encoder, the networks and what was measured.

    No fit continues an earlier one, so that files hold the parameters of the networks that predict and no
    state of their training. Checkpoints of streamed fits are the exception. With ``training=True`` files also
    hold the curves of the networks and the out-of-fold predictions.
    """

    _MEMBERS: ClassVar[tuple[str, ...]] = ("estimators_",)
    _REQUIRED: ClassVar[dict[str, tuple[type, ...]]] = dict.fromkeys(
        ("fit_seconds_", "fit_cpu_seconds_"), (float, int)
    )
    _SAVED: ClassVar[tuple[str, ...]] = ("_center", "_majority", "_quantiles", "_range", "_scale", "_shifts")
    # The encoder is an object of its own, and gives the names and records of the columns.
    _DESCRIBED: ClassVar[tuple[str, ...]] = (
        "columns_", "encoder_", "feature_names_in_", "n_features_in_", "oof_prediction_",
        "oof_quantiles_", "oof_rows_",
    )  # fmt: skip
    # Arrays with a row for every out-of-fold prediction.
    _ROWS: ClassVar[tuple[str, ...]] = ("oof_prediction_", "oof_quantiles_", "oof_rows_")
    # Class of the networks.
    _MEMBER: ClassVar[type]
    # True for an estimator of classes.
    _HAS_CLASSES: ClassVar[bool]

    encoder_: TableEncoder
    columns_: list[dict[str, Any]]
    estimators_: list[Any]
    importances_: Array
    n_features_in_: int

    def _adopt_columns(self) -> None:
        """Copy the attributes of the columns from the encoder."""
        self.n_features_in_ = self.encoder_.n_features_in_
        self.__dict__.pop("feature_names_in_", None)
        if hasattr(self.encoder_, "feature_names_in_"):
            self.feature_names_in_ = self.encoder_.feature_names_in_
        self.columns_ = self.encoder_.columns_

    @abstractmethod
    def _n_scores(self) -> int:
        """Return the number of outputs of a network."""

    def _describe(self, writer: Writer) -> dict[str, Any]:
        """Return the description of the estimator as JSON, and collect its arrays."""
        description = super()._describe(writer)
        if "estimators_" not in self.__dict__:
            return description
        description["encoder"] = writer.described(self.encoder_, "encoder_")
        if not writer.training:
            return description
        description["member_curves"] = []
        if self._members_go_on():
            description["stream"] = writer.value(self.__dict__["_stream"], "stream")
        else:  # networks that go on hold their curves themselves
            for k, member in enumerate(self.estimators_):
                names = [name for name in member._CURVES if getattr(member, name, None) is not None]
                description["member_curves"].append(names)
                for name in names:
                    writer.tensor(f"estimators_.{k}.{name}", np.array(getattr(member, name), np.float64))
        rows = {name: self.__dict__[name] for name in self._ROWS if name in self.__dict__}
        if "_oof_targets" in self.__dict__:
            rows["targets"] = self._described_targets()
        description["rows"] = {name: array.dtype.name for name, array in rows.items()}
        for name, array in rows.items():
            writer.tensor(f"rows.{name}", array)
        return description

    def _members_go_on(self) -> bool:
        """Return True for a checkpoint of a streamed fit."""
        return "_stream" in self.__dict__

    def _described_targets(self) -> Array:
        """Return the true targets of the out-of-fold predictions as numbers; classes as their numbers."""
        targets = self.__dict__["_oof_targets"]
        return np.searchsorted(self.__dict__["classes_"], targets) if self._HAS_CLASSES else targets

    def _restore_described(self, description: dict[str, Any], reader: Reader) -> None:
        """Set encoder, networks, curves and out-of-fold predictions from a description."""
        members = self.__dict__.get("estimators_")
        if members is None:
            return
        self.encoder_ = reader.restored(description.get("encoder"))
        if not isinstance(self.encoder_, TableEncoder) or not hasattr(self.encoder_, "encodings_"):
            raise ValueError("the estimator has no fitted encoder of tables")
        self._adopt_columns()
        if description.get("stream") is not None:
            self._stream = _checked_stream(reader.value(description["stream"]), len(members))
        for k, (member, names) in enumerate(zip(members, description.get("member_curves", []), strict=False)):
            for name in names:
                if name not in self._MEMBER._CURVES:  # type: ignore[attr-defined]
                    raise ValueError(f"a network has no curve {shown(name)}")
                curve = reader.read(f"estimators_.{k}.{name}", np.float64, (None,))
                setattr(member, name, curve.tolist())
        rows = description.get("rows", {})
        if not isinstance(rows, dict) or not set(rows) <= {"targets", *self._ROWS}:
            raise ValueError(f"the arrays of rows are {shown(rows)}")
        arrays = {}
        for name, dtype in rows.items():
            n_dimensions = len(reader.shape(f"rows.{name}"))
            arrays[name] = reader.read(f"rows.{name}", _DTYPES[dtype], (None,) * n_dimensions)
        if len({len(array) for array in arrays.values()}) > 1:
            raise ValueError("the out-of-fold predictions have different numbers of rows")
        if "targets" in arrays:
            targets = arrays.pop("targets")
            self._oof_targets = self.__dict__["classes_"][targets] if self._HAS_CLASSES else targets
        for name, array in arrays.items():
            setattr(self, name, array)

    def _check_restored(self) -> None:
        """Raise ValueError if the fitted attributes contradict each other."""
        members = self.__dict__.get("estimators_")
        if members is None:
            return
        if not members or not all(type(member) is self._MEMBER for member in members):
            raise ValueError(f"the estimator holds other networks than those of {self._MEMBER.__name__}")
        self._check_types()
        n_features = self.encoder_._ends[-1]
        for member in members:
            state = member.__dict__
            if "_state" not in state or state["n_features_in_"] != n_features:
                raise ValueError("the networks do not fit the encoder")
            if state["n_outputs_"] != self._n_scores():
                raise ValueError("the networks do not fit the number of classes")
        name = self.__dict__.get("target_name_")
        if not (name is None or isinstance(name, str)):
            raise ValueError(f"target_name_ is {shown(name)}")
        importances = self.__dict__.get("importances_")
        if not isinstance(importances, np.ndarray) or importances.shape != (self.n_features_in_,):
            raise ValueError("importances_ holds no number for every column")
        self._check_fitted()
        shapes: dict[str, tuple[int, ...]] = {}
        if self._HAS_CLASSES:
            shapes["oof_prediction_"] = self.__dict__["classes_"].shape
        else:
            shapes["oof_quantiles_"] = (len(self.__dict__["_quantiles"]),)
        for name in self._ROWS:
            array = self.__dict__.get(name)
            if array is not None and array.shape[1:] != shapes.get(name, ()):
                raise ValueError(f"{name} has the shape {array.shape}")

    @abstractmethod
    def _check_fitted(self) -> None:
        """Raise ValueError if the fitted attributes of the subclass are invalid."""


def _checked_stream(stream: Any, n_members: int) -> dict[str, Any]:
    """Return the state of a streamed fit; raise ValueError unless it has what the fit goes on from."""
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
