"""Predictor: predictions of a few samples within microseconds; everything else is prepared beforehand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..network.description import Array, Network
from ..system.memory import check_memory
from ..system.messages import warn
from ..system.validation import _convert_to_rows, check_count, short_repr
from . import get_backend

# Methods whose results a predictor can return.
METHODS = ("predict", "predict_proba")


class Predictor:
    """Function that predicts a fixed number of samples, without checking their values.

    Predictors are created by `Model.predictor` and by the estimators' `predictor`. A predictor has a copy of
    the parameters, with batch normalisation folded in, and can be pickled and copied. Calls from several
    threads run one after another.

    `names` (n_features,), if not None, are the names that the columns of a data frame must have.
    `output` is the name of the network's output, None for classes. `finish`, which can be pickled, turns the
    outputs into the prediction, a new array: the next call overwrites the outputs.
    """

    def __init__(
        self,
        backend: str,
        network: Network,
        parameters: Array,
        n_rows: int,
        output: str | None,
        finish: Callable[[Array], Array],
        names: Array | None = None,
    ) -> None:
        self._shape = (check_count(n_rows, "n_rows", 1), network.n_inputs)
        n_rows = self._shape[0]
        n_bytes = n_rows * network.n_inputs * network.dtype.itemsize
        check_memory(n_bytes, f"n_rows: a table of {n_rows} samples takes", "choose fewer")
        self._X = np.zeros(self._shape, network.dtype)
        self._parameters = parameters.copy()
        self._run, self._result = get_backend(backend).bind(network, self._X, output)
        self._finish, self._names = finish, names
        self._lock = threading.Lock()
        self._arguments = backend, network, self._parameters, n_rows, output, finish, names

    def __reduce__(self) -> tuple[object, ...]:
        """Return the arguments from which pickle and copy create a new predictor."""
        # The lock and the kernel's pointers are bound to this process: a copy creates new ones.
        return type(self), self._arguments

    def __call__(self, X: ArrayLike) -> Array:
        """Predict the samples.

        Parameters
        ----------
        X : array-like (n_rows, n_features)
            Samples; a single row may have one dimension. X is not checked for NaN and infinity. If a score is
            not finite, the prediction is meaningless, and a RuntimeWarning is issued.

        Returns
        -------
        array
            Prediction in a new array, equal to the result of the method chosen for the predictor.

        Raises
        ------
        ValueError
            If X has another shape, does not hold numbers, or is a data frame with other columns.
        """
        if not (type(X) is np.ndarray and X.shape == self._shape and X.dtype.kind in "fiub"):
            X = self._read_table(X)
        with self._lock:
            try:
                self._X[...] = X
            except FloatingPointError:  # under numpy.seterr; errstate for every call would take too long
                with np.errstate(all="ignore"):
                    self._X[...] = X
            if not self._run(self._parameters):
                warn(
                    "a score is not finite: the prediction is meaningless. Look for NaN, infinity and values "
                    "that are too large in X",
                    RuntimeWarning,
                )
            return self._finish(self._result)

    def _read_table(self, X: Any) -> Array:
        if not isinstance(getattr(X, "shape", None), tuple):  # X is a list, or not a table at all
            try:
                X = np.asarray(X)
            except ValueError as error:
                raise ValueError(f"X is not a rectangular table: {error}") from None
        self._check_shape(X.shape)
        columns = getattr(X, "columns", None)
        if columns is not None and self._names is not None and [*columns] != [*self._names]:
            names = short_repr([*self._names]), short_repr([*columns])
            raise ValueError("X must have the columns {} in this order, got {}".format(*names))
        if type(X) is not np.ndarray or X.dtype.kind not in "fiub":
            X = _convert_to_rows(X, self._X.dtype, "X", 1)
            self._check_shape(X.shape)
        return X.reshape(self._shape)

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        n_rows, n_features = self._shape
        if shape != self._shape and (n_rows > 1 or shape != (n_features,)):
            remedy = (
                "make a predictor for another number of rows"
                if shape[1:] == (n_features,)
                else f"the network has {n_features} inputs, a column each"
            )
            raise ValueError(f"X must have the shape {self._shape}, got {shape}: {remedy}")


def label_positive(scores: Array) -> NDArray[np.int64]:
    """Return labels of the shape of the scores: 1 where the score is above 0, else 0."""
    return (scores > 0).astype(np.int64)


def label_flat(scores: Array) -> NDArray[np.int64]:
    """Return the labels (n,) of scores (n, 1)."""
    return label_positive(scores).ravel()
