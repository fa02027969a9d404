"""Losses and predictions of one network by a backend.

Parameters are flat vectors with batch normalisation folded in (`Network.folded`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network.description import Network
from ..system.messages import warn
from ..system.validation import check_samples, check_weights
from .checks import cause_of_overflow
from .choice import get_backend
from .predictor import Predictor, check_method, positive

__all__ = ["check_data", "mean_loss", "predict", "predict_proba", "predictor"]

Array = NDArray[Any]


def check_data(network: Network, X: Any, y: Any, suffix: str = "") -> tuple[Array, Array]:
    """Return checked samples and targets; `suffix` extends their names in error messages."""
    X = check_samples(X, network.n_inputs, network.dtype, f"X{suffix}")
    return X, network.loss.check(y, X.shape[0], network.n_outputs, network.dtype, f"y{suffix}")


def mean_loss(backend: str, network: Network, parameters: Array, X: Any, y: Any, sample_weight: Any) -> float:
    """Return the mean loss of the samples; warn if it is not finite, and name the cause."""
    X, y = check_data(network, X, y)
    weights = check_weights(sample_weight, X.shape[0])
    loss = get_backend(backend).loss(network, parameters, X, y, weights / weights.sum())
    if not math.isfinite(loss):
        cause = cause_of_overflow(network, parameters) or (
            f"the network's scores, or the losses computed from them, are too large for {network.dtype}. "
            "Scale X and y as they were in the training"
        )
        warn(f"the loss is {loss}: {cause}", RuntimeWarning)
    return loss


def predict(backend: str, network: Network, parameters: Array, X: Any) -> Array:
    """Return the class, the labels or the outputs of every sample, whichever the loss is for."""
    X = check_samples(X, network.n_inputs, network.dtype)
    run = get_backend(backend)
    if network.loss.of_labels:
        return run.predict(network, parameters, X)
    if network.loss.output == "sigmoid":
        return positive(run.outputs(network, parameters, X, "identity"))
    return run.outputs(network, parameters, X, network.loss.output)


def predict_proba(backend: str, network: Network, parameters: Array, X: Any) -> Array:
    """Return the probability of every class for every sample."""
    _check_probabilistic(network)
    X = check_samples(X, network.n_inputs, network.dtype)
    return get_backend(backend).outputs(network, parameters, X, network.loss.output)


def predictor(backend: str, network: Network, parameters: Array, n_rows: int, method: str) -> Predictor:
    """Return the function that gives `n_rows` samples the results of `predict` or `predict_proba`."""
    finish: Callable[[Any], Any] = np.copy
    output: str | None = network.loss.output
    if check_method(method) == "predict_proba":
        _check_probabilistic(network)
    elif network.loss.of_labels:
        output = None
    elif output == "sigmoid":
        output, finish = "identity", positive
    return Predictor(backend, network, parameters, n_rows, output, finish)


def _check_probabilistic(network: Network) -> None:
    loss = network.loss
    if loss.output not in ("softmax", "sigmoid"):
        raise ValueError(f"a network with the loss {loss.name!r} has no probabilities: use predict")
