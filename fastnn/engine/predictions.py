"""PredictingNetwork: losses and predictions of a network with parameters, base class of `Model`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..network.views import ParameterViews
from ..system.messages import warn
from ..system.validation import check_samples, check_weights
from .checks import cause_of_overflow
from .choice import get_backend
from .predictor import Predictor, check_method, positive

__all__ = ["PredictingNetwork"]


class PredictingNetwork(ParameterViews):
    """Base class of a network with parameters that predicts with the backend named by `backend`."""

    backend: str

    def calculate_loss(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Compute the mean loss of the samples, without regularisation terms.

        Parameters
        ----------
        X : array-like (n, layers_dim[0])
            Samples.
        y : array-like (n,) or (n, layers_dim[-1])
            Labels or targets, as in `train`.
        sample_weight : array-like (n,), optional
            Weights of the samples in the mean.

        Returns
        -------
        float
            Mean loss. The formulas give a finite loss for scores of ordinary size, however extreme the
            probabilities; a loss that overflows is accompanied by a RuntimeWarning.

        Raises
        ------
        ValueError
            If X, y or `sample_weight` is invalid, as for `train`.
        """
        X, y = self._check(X, y)
        weights = check_weights(sample_weight, X.shape[0])
        backend = get_backend(self.backend)
        loss = backend.loss(self._network, self._predicting, X, y, weights / weights.sum())
        if not math.isfinite(loss):
            cause = cause_of_overflow(self._network, self._predicting) or (
                f"the network's scores, or the losses computed from them, are too large for {self.dtype}. "
                "Scale X and y as they were in the training"
            )
            warn(f"the loss is {loss}: {cause}", RuntimeWarning)
        return loss

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Predict the class, the labels or the outputs of every sample.

        Parameters
        ----------
        X : array-like (n, layers_dim[0])
            Samples.

        Returns
        -------
        array (n,) of int64
            For "softmax_cross_entropy" and "multiclass_hinge": the class with the highest score, the first
            of several equal ones.
        array (n, layers_dim[-1]) of int64
            For "sigmoid_binary_cross_entropy": 1 where the probability is above one half, else 0.
        array (n, layers_dim[-1]) of the model's dtype
            For the other losses: the outputs; for "poisson" the rates, the exponential of the scores.

        Raises
        ------
        ValueError
            If X holds NaN or infinity, has another number of features or no samples.
        """
        network = self._network
        X = check_samples(X, network.n_inputs, network.dtype)
        backend = get_backend(self.backend)
        if network.loss.of_labels:
            return backend.predict(network, self._predicting, X)
        if network.loss.output == "sigmoid":
            return positive(backend.outputs(network, self._predicting, X, "identity"))
        return backend.outputs(network, self._predicting, X, network.loss.output)

    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Predict the probability of every class for every sample.

        Parameters
        ----------
        X : array-like (n, layers_dim[0])
            Samples.

        Returns
        -------
        array (n, layers_dim[-1]) of the model's dtype
            Probabilities. Each row sums to 1, except for "sigmoid_binary_cross_entropy", where every entry
            is an independent probability.

        Raises
        ------
        ValueError
            If X holds NaN or infinity, has another number of features or no samples, or if the loss is for
            regression.
        """
        network = self._network
        self._check_probabilistic()
        X = check_samples(X, network.n_inputs, network.dtype)
        return get_backend(self.backend).outputs(network, self._predicting, X, network.loss.output)

    def predictor(self, n_rows: int = 1, method: str = "predict") -> Predictor:
        """Return a function that predicts `n_rows` samples within microseconds, for serving.

        Parameters
        ----------
        n_rows : int, default 1
            Number of samples in every call.
        method : {"predict", "predict_proba"}, default "predict"
            Method whose results the function returns.

        Returns
        -------
        Predictor
            Function with a copy of the present parameters, which can be pickled and copied. The function
            does not check X for NaN and infinity.

        Raises
        ------
        ValueError
            If `method` is unknown, or "predict_proba" although the loss is for regression, or if `n_rows` is
            below 1.

        Examples
        --------
        >>> import fastnn
        >>> predict = fastnn.Model([2, 3, 2], random_state=0).predictor()
        >>> predict([[0.5, -0.2]]).shape
        (1,)
        """
        network = self._network
        finish: Callable[[Any], Any] = np.copy
        output: str | None = network.loss.output
        if check_method(method) == "predict_proba":
            self._check_probabilistic()
        elif network.loss.of_labels:
            output = None
        elif output == "sigmoid":
            output, finish = "identity", positive
        return Predictor(self.backend, network, self._predicting, n_rows, output, finish)

    def _check_probabilistic(self) -> None:
        """Raise ValueError if the loss is for regression, without probabilities."""
        loss = self._network.loss
        if loss.output not in ("softmax", "sigmoid"):
            raise ValueError(f"a network with the loss {loss.name!r} has no probabilities: use predict")

    def _check(self, X: Any, y: Any, suffix: str = "") -> tuple[NDArray[Any], NDArray[Any]]:
        """Return checked samples and targets; `suffix` extends their names in error messages."""
        network = self._network
        X = check_samples(X, network.n_inputs, network.dtype, f"X{suffix}")
        return X, network.loss.check(y, X.shape[0], network.n_outputs, network.dtype, f"y{suffix}")
