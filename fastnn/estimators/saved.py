"""Estimators in files and pickles: parameters, fitted attributes, and the state that a fit continues."""

from __future__ import annotations

import numbers
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin

from ..engine.job import Memory
from ..optimizers import Optimizer
from ..saving.attributes import SavableAttributes
from ..saving.networks import (
    describe_network,
    read_parameters,
    read_statistics,
    restore_network,
    write_parameters,
    write_statistics,
)
from ..saving.records import Reader, Writer
from ..saving.values import check_integer, plain_state, random_with
from ..system.validation import check_rate, shown
from ..training.saved import check_pickle_version, native
from ..training.state import read_memory, write_memory
from .fitted import FittedNetwork

__all__ = ["SavableEstimator", "described_network", "restore_network_of"]

Array = NDArray[Any]

# Version of the state in pickles.
PICKLE_VERSION = 1


class SavableEstimator(SavableAttributes):
    """Base class of the estimators of arrays: files, pickles, copies."""

    # Private fitted attributes that files hold.
    _SAVED: ClassVar[tuple[str, ...]] = ("_has_labels", "_is_sparse")

    # --- pickles -------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes, with the fitted state as plain values: pickles name no private class."""
        state: dict[str, Any] = dict(super().__getstate__())  # type: ignore[call-overload]
        state.pop("_online", None)  # buffers that the next partial fit makes anew
        if "_state" in state:
            state["_state"] = state["_state"].plain()
        return state | {"_pickle_version": PICKLE_VERSION}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set the attributes that `__getstate__` returned."""
        state = {
            name: native(value) if isinstance(value, np.ndarray) else value for name, value in state.items()
        }
        check_pickle_version(state.pop("_pickle_version"), PICKLE_VERSION)
        if "_state" in state:
            state["_state"] = FittedNetwork.of_plain(native(state["_state"]))
        super().__setstate__(state)  # type: ignore[misc]

    def _check_types(self) -> None:
        super()._check_types()
        if isinstance(self, ClassifierMixin):
            for name, kind in {"classes_": np.ndarray, "_has_labels": bool, "_is_sparse": bool}.items():
                if type(self.__dict__.get(name)) is not kind:
                    raise ValueError(f"the fitted attribute {name!r} is missing or has another type")
        names = self.__dict__.get("feature_names_in_")
        if names is not None and np.shape(names) != (self.__dict__["n_features_in_"],):
            raise ValueError("feature_names_in_ does not hold a name for every feature")

    def _check_restored(self) -> None:
        """Raise ValueError if the fitted attributes contradict each other."""
        classes = self.__dict__.get("classes_")
        if classes is None:
            return
        n_outputs, has_labels = self.__dict__.get("n_outputs_"), self.__dict__.get("_has_labels")
        if not isinstance(classes, np.ndarray) or classes.ndim != 1 or not classes.size:
            raise ValueError("classes_ is not a list of classes")
        expected = classes.size if has_labels or classes.size > 2 else 1
        if n_outputs is not None and n_outputs != expected:
            raise ValueError(f"{classes.size} classes do not fit n_outputs_={n_outputs}")


def described_network(estimator: Any, writer: Writer) -> dict[str, Any]:
    """Return the description of the network of an estimator, empty before a fit, and collect its arrays."""
    state = estimator.__dict__.get("_state")
    if state is None:
        return {}
    network = state.network
    description = {"network": describe_network(network, writer)}
    if not writer.training:
        write_parameters(network, state.predicting, "layer", writer)
        write_statistics(network, state.predicting_statistics, "layer", writer)
        return description
    write_parameters(network, state.parameters, "layer", writer)
    write_statistics(network, state.statistics, "layer", writer)
    if state.best is not None:
        write_parameters(network, state.best[0], "best", writer)
        write_statistics(network, state.best[1], "best", writer)
    # A generator is compared by identity, which a file can only state.
    given = estimator.random_state
    is_parameter = state.random_state is given or (
        isinstance(given, numbers.Integral) and state.random_state == given
    )
    description["training"] = {
        "optimizer": writer.value(state.optimizer, "solver"),
        "memory": write_memory(network, state.memory, writer),
        "n_steps": state.n_steps,
        "seed": writer.value(state.seed, "seed"),
        "rate_factor": state.rate_factor,
        "n_no_improvement": state.n_no_improvement,
        "random": writer.value(state.random, "random_state"),
        "random_state": None if is_parameter else writer.value(state.random_state, "random_state"),
        "random_state_changed": not is_parameter,
        "split": None if state.split is None else writer.value(state.split, "split"),
        "has_best": state.best is not None,
    }
    return description


def restore_network_of(estimator: Any, description: dict[str, Any], reader: Reader) -> None:
    """Set the network of a description, if it has one, and check that the fitted attributes fit it."""
    if description.get("network") is None:
        return
    network = restore_network(description["network"], reader)
    parameters = read_parameters(network, "layer", reader)
    state = FittedNetwork(network, parameters, read_statistics(network, "layer", reader))
    if description.get("training") is not None:
        _restore_training(state, description["training"], estimator.random_state, reader)
    elif not hasattr(estimator, "validation_loss_curve_"):
        estimator.validation_loss_curve_ = []
    estimator._state = state
    estimator._check_types()
    if "loss_curve_" in estimator.__dict__:
        missing = {"best_loss_", "validation_scores_", "best_validation_score_"} - set(estimator.__dict__)
        if missing:
            raise ValueError(f"the fitted attribute {min(missing)!r} is missing")
        if estimator.validation_scores_ is not None and estimator.best_validation_score_ is None:
            raise ValueError("the validation scores have no best")
    if estimator.n_features_in_ != network.n_inputs or estimator.n_outputs_ != network.n_outputs:
        raise ValueError("n_features_in_ or n_outputs_ do not fit the network")


def _restore_training(state: FittedNetwork, training: Any, random_state: Any, reader: Reader) -> None:
    """Add the training state of a description to the state of an estimator."""
    if not isinstance(training, dict):
        raise ValueError("the training state is not a JSON object")
    optimizer = reader.value(training["optimizer"])
    if not (optimizer is None or isinstance(optimizer, Optimizer)):
        raise ValueError("the training state has no optimizer")
    state.optimizer = optimizer
    memory = read_memory(state.network, optimizer, training["memory"], reader)
    if not (memory is None or isinstance(memory, Memory)):
        raise ValueError("the state of L-BFGS is that of a Model")
    state.memory = memory
    state.n_steps = check_integer(training["n_steps"], "n_steps", 2**62)
    state.seed = check_integer(reader.value(training["seed"]), "seed", 2**64)
    state.rate_factor = check_rate(training["rate_factor"], "rate_factor")
    state.n_no_improvement = check_integer(training["n_no_improvement"], "n_no_improvement", 2**62)
    random = reader.value(training["random"])
    if not (random is None or isinstance(random, np.random.RandomState)):
        raise ValueError("the training state has no generator")
    state.random = random
    changed = training["random_state_changed"]
    state.random_state = reader.value(training["random_state"]) if changed else random_state
    if not (state.random_state is None or isinstance(state.random_state, int | np.random.RandomState)):
        raise ValueError(f"random_state is {shown(state.random_state)}")
    if training["split"] is not None:
        state.split = plain_state(random_with(reader.value(training["split"])))
    if training["has_best"]:
        network = state.network
        state.best = read_parameters(network, "best", reader), read_statistics(network, "best", reader)
