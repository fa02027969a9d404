"""SavableModel: base class of `Model` for files, pickles and resumed trainings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.choice import BACKENDS, get_backend
from ..engine.predictions import PredictingNetwork
from ..network.description import Network
from ..saving.files import Savable, load
from ..saving.networks import (
    describe_network,
    read_parameters,
    read_statistics,
    restore_network,
    write_parameters,
    write_statistics,
)
from ..saving.records import Reader, Writer
from ..system.files import check_file_name
from ..system.validation import check_choice, shown
from .checkpoint import Checkpoint
from .history import History
from .state import TrainingState

__all__ = ["SavableModel", "native"]

Array = NDArray[Any]

# Version of the state in pickles.
PICKLE_VERSION = 1
# Attributes of a History in files.
CURVES = ("loss", "validation_loss", "learning_rate", "gradient_norm")


class SavableModel(Savable, PredictingNetwork):
    """Network that can be saved, pickled and trained further."""

    # Class attributes serve as the defaults for models that were pickled without them.
    history_: History | None = None
    _training: TrainingState | None = None

    # --- files -------------------------------------------------------------------------------------------

    def _describe(self, writer: Writer) -> dict[str, Any]:
        """Return the description of the model as JSON, and collect its arrays."""
        network, history, training = self._network, self.history_, self._training
        write_parameters(network, self._parameters, "layer", writer)
        write_statistics(network, self._statistics, "layer", writer)
        description = {"network": describe_network(network, writer), "backend": self.backend}
        if not writer.training:
            return description
        if history is not None:
            writer.tensor("history.passes", history.passes)
            for name in CURVES:
                writer.tensor(f"history.{name}", getattr(history, name))
            writer.tensor("history.update_ratio", history.update_ratio)
            description["history"] = {"stopped_early": bool(history.stopped_early)}
        if training is not None:
            description["training"] = training.describe(network, writer)
        return description

    @classmethod
    def _restore(cls, description: dict[str, Any], reader: Reader) -> Any:
        """Return the model of a description."""
        model = cls.__new__(cls)
        network = restore_network(description.get("network"), reader)
        model._network, model.backend = network, check_choice(description.get("backend"), "backend", BACKENDS)
        get_backend(model.backend)  # raises where the backend cannot run
        model._parameters = read_parameters(network, "layer", reader)
        model._statistics = read_statistics(network, "layer", reader)
        if description.get("training") is not None:
            model._training = TrainingState.restore(network, description["training"], reader)
        if description.get("history") is not None:
            passes = reader.read("history.passes", np.int64, (None,))
            curves = [reader.read(f"history.{name}", np.float64, passes.shape) for name in CURVES]
            ratios = reader.read("history.update_ratio", np.float64, (passes.size, len(network.shapes)))
            loss, validation, rates, norms = curves
            stopped = bool(description["history"]["stopped_early"])
            n_passes = _passes_done(model._training)
            model.history_ = History(passes, loss, validation, rates, norms, ratios, stopped, n_passes)
        return model

    # --- resumed trainings ---------------------------------------------------------------------------------

    def _resumed(self, resume: Any) -> tuple[TrainingState, Any] | None:
        """Return the training state that `train` resumes, and the model that has it; None for a new training.

        Parameters
        ----------
        resume : None, False, True, str, path or Checkpoint
            Argument of `train`.

        Raises
        ------
        ValueError
            If there is no state to resume, or the file's model has another network or backend.
        FileNotFoundError
            If `resume` is the name of a file that does not exist.
        """
        if resume is None or resume is False:
            return None
        source: Any = self
        if resume is not True:
            if isinstance(resume, Checkpoint):
                resume = resume.path
                if not Path(resume).exists():
                    return None
            elif not isinstance(resume, str | os.PathLike):
                raise ValueError(
                    f"resume must be True, the name of a file or a Checkpoint, got {shown(resume)}"
                )
            path = check_file_name(resume, "resume")
            if not path.exists():
                raise FileNotFoundError(
                    f"resume: there is no file {path}: leave resume out to begin a new training, or pass the "
                    "Checkpoint itself, which begins a new training where there is no file yet"
                )
            try:
                source = load(path)
            except ValueError as error:
                raise ValueError(f"resume: {error}") from error
            self._check_same(source, path)
        state = source._training
        if state is None:
            what = "this model" if source is self else f"the model in {resume}"
            raise ValueError(
                f"resume: {what} has no training to go on: it has not been trained, or it was saved with "
                "training=False. Leave resume out to begin a new training from the present parameters"
            )
        if state.last is not None:
            # The model predicts with the best or the average parameters, but the steps go on from `last`.
            best = state.best
            predicting = best.parameters if best is not None else state.memory.average
            if not np.array_equal(predicting, source._parameters):
                raise ValueError(
                    "resume: the parameters have been changed since the training, which would not go on from "
                    "the new ones: leave resume out to begin a new training from the present parameters"
                )
        return state, source

    def _check_same(self, other: Any, path: Path) -> None:
        """Raise ValueError unless the model of a file has this model's class, network and backend."""
        if not isinstance(other, SavableModel):
            raise ValueError(f"resume: {path} holds a {type(other).__name__}, not a Model")
        pairs = [
            (name, getattr(other._network, name), getattr(self._network, name))
            for name in ("layers_dim", "activations", "dtype", "loss", "batch_norm", "dropout")
        ]
        pairs.append(("backend", other.backend, self.backend))
        wrong = [f"{name} ({theirs} there, {ours} here)" for name, theirs, ours in pairs if theirs != ours]
        if wrong:
            raise ValueError(f"resume: the model in {path} is another one: {', '.join(wrong)}")

    def _beginning(self, resumed: tuple[TrainingState, Any] | None) -> tuple[Any, Any]:
        """Return the parameters and statistics with which a training begins: this model's, or the resumed."""
        if resumed is None:
            return self._parameters, self._statistics
        state, source = resumed
        return (source._parameters, source._statistics) if state.last is None else state.last

    @contextmanager
    def _begun_with(self, parameters: Any, statistics: Any) -> Iterator[None]:
        """Set parameters and statistics; restore the earlier ones if an error comes before the training."""
        if parameters is self._parameters:
            yield
            return
        before, history = (self._parameters.copy(), self._statistics.copy()), self.history_
        self._parameters[...], self._statistics[...] = parameters, statistics
        try:
            yield
        except BaseException:
            if self.history_ is history:  # every training that has begun leaves a history of its own
                self._parameters[...], self._statistics[...] = before
            raise

    # --- pickles and copies --------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Return the model as plain values and arrays, so that pickles name none of the private classes."""
        network, history, training = self._network, self.history_, self._training
        return {
            "version": PICKLE_VERSION,
            "network": network.plain(),
            "backend": self.backend,
            "parameters": self._parameters,
            "statistics": self._statistics,
            "history": None if history is None else _plain_history(history),
            "training": None if training is None else training.plain(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set the model to a state that `__getstate__` returned."""
        if state["version"] > PICKLE_VERSION:
            raise ValueError(
                "the pickle was written by a newer version of fastnn, with states of version "
                f"{state['version']}: install that version"
            )
        state = native(state)
        self._network, self.backend = Network.of_plain(state["network"]), state["backend"]
        self._parameters, self._statistics = state["parameters"], state["statistics"]
        if state["training"] is not None:
            self._training = TrainingState.of_plain(state["training"])
        if state["history"] is not None:
            self.history_ = History(**state["history"], n_passes=_passes_done(self._training))

    def __copy__(self) -> Any:
        """Return a shallow copy, which shares the parameters."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other


def _plain_history(history: History) -> dict[str, Any]:
    """Return the fields of a history but the number of passes, which the training state holds as steps."""
    return {name: value for name, value in vars(history).items() if name != "n_passes"}


def _passes_done(training: TrainingState | None) -> int:
    """Return the number of passes of a training; -1, the default of `History`, if its state is not kept."""
    return -1 if training is None else training.n_passes


def native(value: Any) -> Any:
    """Return plain values with all arrays in this machine's byte order; pickles may hold the other one."""
    if isinstance(value, np.ndarray):
        return value if value.dtype.isnative else value.astype(value.dtype.newbyteorder("="))
    if isinstance(value, dict):
        return {key: native(item) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(native(item) for item in value)
    return value
