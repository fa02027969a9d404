"""Exportable: the methods of models, estimators and ensembles that export them to other systems."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike
    from onnx import ModelProto
    from sklearn.base import BaseEstimator
    from torch.nn import Module

    from .description import ModelDescription


class Exportable:
    """Base class of everything that has a description and can be exported."""

    # All subclasses; and the functions to call with each of them, by purpose.
    _classes: ClassVar[list[type[Exportable]]] = []
    _watchers: ClassVar[dict[str, Callable[[type], None]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Exportable._classes.append(cls)
        for watch in Exportable._watchers.values():
            watch(cls)

    @staticmethod
    def _watch_classes(purpose: str, watch: Callable[[type], None]) -> None:
        """Call a function with every subclass, now and later: converters know classes by identity."""
        Exportable._watchers[purpose] = watch
        for kind in tuple(Exportable._classes):
            watch(kind)

    @abstractmethod
    def _description(self) -> ModelDescription:
        """Return what the model computes, the only input of the exporters."""

    def to_onnx(
        self, path: str | PathLike[str] | None = None, *, dtype: DTypeLike | None = None
    ) -> ModelProto:
        """Export the model to ONNX.

        The input "X" (n, n_features) may have any number of rows. Classifiers have the outputs "label" and
        "probabilities", numbers the output "variable", under the names that skl2onnx uses. Labels have the
        type of the classes: text, int64, bool or double. Ensembles are one graph, which computes the mean of
        the members' probabilities or numbers.

        Parameters
        ----------
        path : str or path, optional
            Name of the file that is written. By default none is written.
        dtype : {numpy.float32, numpy.float64}, optional
            Data type of samples, parameters and probabilities; by default the model's.

        Returns
        -------
        onnx.ModelProto
            Model in ONNX, opset 13, checked by ONNX's checker.

        Raises
        ------
        ImportError
            If the package onnx is not installed; the message says how to install it.
        ValueError
            If a parameter is NaN or infinite or too large for `dtype`, the classes have no type in ONNX, or
            the file's name or folder is unusable.

        Notes
        -----
        A network decides by its scores and an ensemble by its probabilities, as in `predict`.
        `decision_function` and `return_std` are not exported.

        Examples
        --------
        >>> import fastnn
        >>> model = fastnn.Model([2, 3, 2], random_state=0)
        >>> onnx_model = model.to_onnx("moons.onnx")  # doctest: +SKIP
        """
        from .onnx import to_onnx

        return to_onnx(self._description(), path, dtype)

    def to_sklearn(self) -> BaseEstimator:
        """Export the model to scikit-learn, as a fitted MLPClassifier or MLPRegressor of scikit-learn.

        The result needs no fastnn. Everything that knows scikit-learn's classes takes it: skops, mlflow,
        skl2onnx, emlearn and others. Batch normalisation is folded into `coefs_` and `intercepts_`. An
        ensemble becomes a VotingClassifier with soft votes or a VotingRegressor.

        Returns
        -------
        MLPClassifier, MLPRegressor, VotingClassifier or VotingRegressor
            Fitted estimator of scikit-learn, with the model's predictions up to rounding.

        Raises
        ------
        ValueError
            If scikit-learn cannot express the model. Networks of scikit-learn have one activation in all
            hidden layers, "identity", "logistic", "tanh" or "relu", and none in the output layer; ensembles
            predict one class or one number. Also if a parameter is NaN or infinite, or there is only one
            class, of which scikit-learn's networks give two probabilities.

        Notes
        -----
        Two classes with a score each become scikit-learn's single score, their difference. The solver's state
        is left out: `partial_fit` and `warm_start` of the result begin with new moments.

        Examples
        --------
        >>> import fastnn
        >>> model = fastnn.Model([2, 3, 2], output_activation="identity", random_state=0)
        >>> classifier = model.to_sklearn()
        >>> type(classifier).__module__.split(".")[0], classifier.predict([[0.5, -0.2]]).shape
        ('sklearn', (1,))
        """
        from .sklearn import to_sklearn

        return to_sklearn(self._description())

    def to_torch(self, *, dtype: DTypeLike | None = None) -> Module:
        """Export the model to PyTorch, as a module that computes probabilities or numbers.

        Parameters
        ----------
        dtype : {numpy.float32, numpy.float64}, optional
            Data type of the parameters; by default the model's.

        Returns
        -------
        torch.nn.Module
            Module in evaluation mode, which maps samples (n, n_features) to the result (n, n_outputs) of
            `predict_proba`, or to numbers. A single network is a ``torch.nn.Sequential``; for a classifier,
            ``module[:-1]`` computes the scores, for instance to continue training with a loss of PyTorch.

        Raises
        ------
        ImportError
            If PyTorch is not installed.
        ValueError
            If PyTorch has no module for an activation, or a parameter is NaN or infinite or too large for
            `dtype`.

        Examples
        --------
        >>> import fastnn
        >>> module = fastnn.Model([2, 3, 2], random_state=0).to_torch()  # doctest: +SKIP
        """
        from .torch import to_torch

        return to_torch(self._description(), dtype)

    def to_c(
        self,
        path: str | PathLike[str] | None = None,
        dtype: DTypeLike = "float32",
        *,
        X: ArrayLike | None = None,
        name: str | None = None,
    ) -> str:
        """Export the model to C99, as one header that also compiles as C++.

        The functions allocate nothing and keep no state; the header's first comment states memory and
        operations. Names begin with `name`, so that a program can include several networks. Compiled with
        ``-D<NAME>_SELF_TEST``, the header holds three samples and a function that checks their predictions.

        Parameters
        ----------
        path, dtype, X, name : optional
            See `fastnn.to_c`, which also exports a pipeline of scalers and a network.

        Returns
        -------
        str
            Text of the header.

        Raises
        ------
        ValueError
            If `dtype` is unknown, `name` is not an identifier of C or `X` does not fit the model. Also if a
            parameter is NaN or infinite or too large for the dtype.

        Examples
        --------
        >>> import fastnn
        >>> header = fastnn.Model([2, 3, 2], random_state=0).to_c(name="moons")
        >>> "static inline int moons_predict(const float *x)" in header
        True
        """
        from .c import to_c

        return to_c(self, path, dtype, X=X, name=name)
