"""A `Model` in files and in pickles: its network, parameters, history and the state of its training."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.choice import BACKENDS, get_backend
from ..network.description import Network
from ..saving.networks import (
    describe_network,
    read_parameters,
    read_statistics,
    restore_network,
    write_parameters,
    write_statistics,
)
from ..saving.records import Reader, Writer
from ..system.validation import check_choice
from .history import History
from .state import TrainingState

__all__ = ["check_pickle_version", "described", "native", "pickled", "restored", "unpickled"]

# Version of the state in pickles.
PICKLE_VERSION = 1
# Attributes of a History in files.
CURVES = ("loss", "validation_loss", "learning_rate", "gradient_norm")


def described(model: Any, writer: Writer) -> dict[str, Any]:
    """Return the description of a model as JSON, and collect its arrays."""
    network, history, training = model._network, model.history_, model._training
    write_parameters(network, model._parameters, "layer", writer)
    write_statistics(network, model._statistics, "layer", writer)
    description = {"network": describe_network(network, writer), "backend": model.backend}
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


def restored(description: dict[str, Any], reader: Reader) -> dict[str, Any]:
    """Return the attributes of the model of a description."""
    network = restore_network(description.get("network"), reader)
    backend = check_choice(description.get("backend"), "backend", BACKENDS)
    get_backend(backend)  # raises where the backend cannot run
    attributes: dict[str, Any] = {
        "_network": network,
        "backend": backend,
        "_parameters": read_parameters(network, "layer", reader),
        "_statistics": read_statistics(network, "layer", reader),
    }
    training = None
    if description.get("training") is not None:
        training = attributes["_training"] = TrainingState.restore(network, description["training"], reader)
    if description.get("history") is not None:
        passes = reader.read("history.passes", np.int64, (None,))
        loss, validation, rates, norms = (
            reader.read(f"history.{name}", np.float64, passes.shape) for name in CURVES
        )
        ratios = reader.read("history.update_ratio", np.float64, (passes.size, len(network.shapes)))
        stopped = bool(description["history"]["stopped_early"])
        n_passes = _epochs_done(training)
        attributes["history_"] = History(passes, loss, validation, rates, norms, ratios, stopped, n_passes)
    return attributes


def pickled(model: Any) -> dict[str, Any]:
    """Return a model as plain values and arrays, so that pickles name none of the private classes."""
    history, training = model.history_, model._training
    return {
        "version": PICKLE_VERSION,
        "network": model._network.plain(),
        "backend": model.backend,
        "parameters": model._parameters,
        "statistics": model._statistics,
        "history": None if history is None else _plain_history(history),
        "training": None if training is None else training.plain(),
    }


def unpickled(state: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of the model whose state `pickled` returned."""
    check_pickle_version(state["version"], PICKLE_VERSION)
    state = native(state)
    attributes: dict[str, Any] = {
        "_network": Network.of_plain(state["network"]),
        "backend": state["backend"],
        "_parameters": state["parameters"],
        "_statistics": state["statistics"],
    }
    training = None
    if state["training"] is not None:
        training = attributes["_training"] = TrainingState.of_plain(state["training"])
    if state["history"] is not None:
        attributes["history_"] = History(**state["history"], n_passes=_epochs_done(training))
    return attributes


def _plain_history(history: History) -> dict[str, Any]:
    """Return the fields of a history but the number of epochs, which the training state holds as steps."""
    return {name: value for name, value in vars(history).items() if name != "n_passes"}


def _epochs_done(training: TrainingState | None) -> int:
    """Return the number of epochs of a training; -1, the default of `History`, if its state is not kept."""
    return -1 if training is None else training.n_passes


def check_pickle_version(version: int, newest: int) -> None:
    """Raise ValueError for the version of a pickled state that is newer than the newest known one."""
    if version > newest:
        raise ValueError(
            f"the pickle was written by a newer version of fastnn, with states of version {version}: install "
            "that version"
        )


def native(value: Any) -> Any:
    """Return plain values with all arrays aligned and in this machine's byte order, as kernels need them.

    A pickle may hold the other order, and a message that Dask received puts arrays at any address.
    """
    if isinstance(value, np.ndarray):
        return np.require(value, value.dtype.newbyteorder("="), "A")
    if isinstance(value, dict):
        return {key: native(item) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(native(item) for item in value)
    return value
