"""Predictions a few samples at a time, in microseconds: everything that can be done before is done before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .backends import Backend
from .network import Network
from .validation import check_choice, check_count

__all__ = ["Predictor", "check_method"]

Array = NDArray[Any]

METHODS = ("predict", "predict_proba")


class Predictor:
    """Predictions of one network for a fixed number of samples, without a check of their values.

    It is made by `Model.predictor` and the estimators' `predictor`, keeps a copy of the parameters, and may
    be called from several threads, one after another.
    """

    def __init__(
        self,
        backend: Backend,
        network: Network,
        parameters: Array,
        n_rows: int,
        output: str | None,
        finish: Callable[[Array], Any],
    ) -> None:
        self._shape = (check_count(n_rows, "n_rows", 1), network.n_inputs)
        self._X = np.zeros(self._shape, network.dtype)
        self._run, self._result = backend.bound(network, parameters.copy(), self._X, output)
        self._finish = finish
        self._lock = threading.Lock()

    def __call__(self, X: ArrayLike) -> Any:
        """Predict.

        Parameters
        ----------
        X : array-like (n_rows, n_features)
            Numbers. NaN and infinity are not looked for: what is predicted for them means nothing.

        Returns
        -------
        array
            A new one, as the method gives it that the predictor was made for.

        Raises
        ------
        ValueError
            For another shape, or what is no number.
        """
        if getattr(X, "shape", None) != self._shape:
            X = np.asarray(X)
            if X.size != self._X.size or X.shape[-1:] != self._shape[1:]:
                raise ValueError(
                    f"X must have the shape {self._shape}, got {X.shape}: make a predictor for another "
                    "number of rows"
                )
            X = X.reshape(self._shape)
        with self._lock:
            self._X[...] = X
            self._run()
            return self._finish(self._result)


def check_method(method: Any) -> str:
    """The name of what is to be predicted."""
    return check_choice(method, "method", METHODS)
