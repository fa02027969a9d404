"""BaseMLP: parameters, predictions and fitted attributes of an estimator.

A fitted estimator holds a `FittedNetwork`: the network with its parameters, the optimizer's state and the
generator of orders. ``fitting.py`` shows how it is fitted.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ..engine import get_backend
from ..engine.predictor import METHODS, Predictor
from ..export.methods import Exportable
from ..export.sklearn import OUT_ACTIVATIONS
from ..losses import Loss
from ..model import Model
from ..network.decision import refuse_override
from ..network.description import Network
from ..network.views import LiveViews
from ..system.messages import warn
from ..system.sklearn_internals import NEVER_CALLED, CallbackSupportMixin, fit_context, with_callbacks
from ..system.validation import Array, check_choice, check_count
from .fitted import STOCHASTIC, FittedNetwork
from .fitting import fit_network
from .parameters import validate_parameters
from .samples import Samples, cast_samples, densify, is_kernel_table
from .scores import Score
from .targets import Targets, Weights
from .weights import adopt_weights, check_out_activation


class BaseMLP(Targets, Exportable, CallbackSupportMixin, BaseEstimator):
    """Common part of the classifier and the regressor."""

    _SAVED: ClassVar = {
        "_state": FittedNetwork,
        "best_loss_": float | None,
        "best_validation_score_": float | None,
        "loss_": float,
        "loss_curve_": list[float],
        "n_iter_": int,
        "n_layers_": int,
        "t_": int,
        "validation_loss_curve_": list[float],
        "validation_scores_": list[float] | None,
    }
    n_features_in_: int
    n_iter_: int

    if TYPE_CHECKING:  # parameters and fitted attributes have no types, as in scikit-learn

        def __getattr__(self, name: str) -> Any: ...

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Warn of methods that scikit-learn's fits would call, but fastnn's compiled ones never do."""
        super().__init_subclass__(**arguments)
        bases = [base for base in cls.__bases__ if issubclass(base, BaseMLP)]
        for name, remedy in NEVER_CALLED.items():
            if hasattr(cls, name) and not any(hasattr(base, name) for base in bases):
                warn(f"{cls.__name__}.{name} is never called, unlike in scikit-learn: {remedy}")

    # --- methods of the subclasses ----------------------------------------------------------------

    @abstractmethod
    def _make_loss(self) -> Loss: ...

    @abstractmethod
    def _encode(self, y: Array, dtype: np.dtype) -> Array:
        """Encode checked targets for the loss, as an array (n, n_targets)."""

    @abstractmethod
    def _make_score(self, data: Samples) -> Score:
        """Return the score of predictions of checked samples that `early_stopping` uses without `scoring`."""

    def _adopt_targets(self) -> None:
        """Set what a fit derives from y and `n_outputs_` does not say, for weights assigned without a fit."""

    def _weigh_samples(self, y: Array) -> NDArray[np.float64] | None:
        """Return the weight of every sample's class (n,), or None if all classes have the same weight."""
        return None

    # --- parameters --------------------------------------------------------------------------------

    def _validate_params(self) -> None:
        validate_parameters(self)

    @classmethod
    @functools.cache
    def _get_param_names(cls) -> list[str]:
        """Return the parameters' names, cached since scikit-learn needs them in every fit and clone."""
        return super()._get_param_names()

    @property
    def _threads(self) -> int:
        return 0 if self.n_threads is None else check_count(self.n_threads, "n_threads")

    def _compute_batch_size(self, n_samples: int) -> int:
        return min(200 if self.batch_size == "auto" else int(self.batch_size), n_samples)

    def _warn_of_batch_size(self, n_samples: int) -> None:
        if self.batch_size != "auto" and self.batch_size > n_samples:
            warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")

    def _count_batches(self, n_samples: int) -> int:
        return -(-n_samples // self._compute_batch_size(n_samples))

    # --- fitting -----------------------------------------------------------------------------------

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: object, y: object, sample_weight: Weights = None, X_val: object = None, y_val: object = None
    ) -> BaseMLP:
        """Fit the network to X and y.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            Samples. A sparse matrix with at most a tenth of non-zero values is used as a CSR matrix; others
            are converted to arrays. float32 stays float32, every other dtype becomes float64.
        y : array-like (n_samples,) or (n_samples, n_outputs)
            Classes or targets; for a classifier of several labels, a table of 0 and 1. Rows of fractions
            that sum to 1 are soft targets of the classes 0, 1, ..., such as a teacher's `predict_proba`.
        sample_weight : array-like (n_samples,), optional
            Weights of the samples, not below 0. With full batches, a weight of 2 has the effect of the
            sample occurring twice.
        X_val, y_val : array-like, optional
            Validation data. `validation_loss_curve_` records their loss, and `early_stopping` uses them
            instead of a part of X.

        Returns
        -------
        BaseMLP
            The estimator itself.

        Raises
        ------
        ValueError
            If the data or a parameter are invalid; scikit-learn's InvalidParameterError is a ValueError.
        DivergenceError
            If a parameter becomes infinite or NaN. The estimator then holds the last finite parameters. With
            `early_stopping` a ConvergenceWarning is issued instead, and the estimator holds the parameters
            of the best epoch.

        Notes
        -----
        Ctrl-C ends the fit with a warning and leaves the estimator fitted.
        """
        fit_network(self, X, y, sample_weight, X_val, y_val)
        return self

    # --- predicting --------------------------------------------------------------------------------

    def _check_input(self, X: object) -> Array:
        """Return samples for a prediction, checked and converted.

        Arrays that need no conversion skip scikit-learn's validation, which would take longer than the
        prediction of a row.
        """
        if "_state" not in self.__dict__:
            check_is_fitted(self)
        network = self._state.network
        if (
            is_kernel_table(X, (network.dtype,))
            and X.shape[1] == network.n_inputs
            and "feature_names_in_" not in self.__dict__
        ):
            return X
        return cast_samples(network.dtype, densify(self._validate_data(X, reset=False)))

    def _compute_outputs(self, X: Array, name: str | None) -> Array:
        state = self._state
        return get_backend("numba").outputs(state.network, state.folded, X, name, self._threads)

    def _compute_predictions(self, X: Array, method: str) -> Array:
        output, finish = self._choose_output(method)
        return finish(self._compute_outputs(X, output))

    def jacobian(self, X: object, *, of: str = "scores") -> Array:
        """Compute the derivatives of the network's scores, or of its probabilities, by the features.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            Samples.
        of : {"scores", "probabilities"}, default "scores"
            What is differentiated: the outputs of the last layer, a single one for two classes; or the
            probabilities of a classifier, a column per class or label.

        Returns
        -------
        array (n_samples, n_scores or n_classes, n_features)
            Derivative of every output by every feature, for every sample.
        """
        X = self._check_input(X)
        J = self.model_.jacobian(X, of=of)
        n_columns = J.shape[1]
        if of == "probabilities":  # of two classes, the network computes the second alone
            n_columns = self._compute_predictions(X[:1], "predict_proba").shape[1]
        return J if n_columns == J.shape[1] else np.concatenate([-J, J], axis=1)

    def layer_outputs(self, X: object) -> list[Array]:
        """Compute the outputs of every layer, the hidden ones included.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            Samples.

        Returns
        -------
        list of array (n_samples, n_units)
            Outputs of the hidden layers, then the scores.
        """
        return self.model_.layer_outputs(self._check_input(X))

    def predictor(self, n_rows: int = 1, method: str = "predict") -> Predictor:
        """Return a function that predicts a fixed number of samples within microseconds, for serving.

        Parameters
        ----------
        n_rows : int, default 1
            Number of samples in every call.
        method : {"predict", "predict_proba"}, default "predict"
            Method of the estimator whose results the function returns.

        Returns
        -------
        Predictor
            Function with a copy of the present parameters, which later fits do not change. The function can
            be pickled and copied. It does not check X for NaN and infinity.

        Raises
        ------
        TypeError
            If a subclass overrides `predict` or `predict_proba`.
        ValueError
            If `method` is unknown or missing from the estimator, or `n_rows` is below 1.
        """
        if "_state" not in self.__dict__:
            check_is_fitted(self)
        if not hasattr(self, check_choice(method, "method", METHODS)):
            raise ValueError(f"{type(self).__name__} has no {method}: its predictor is for 'predict'")
        refuse_override(self)
        state = self._state
        output, finish = self._choose_output(method)
        names = getattr(self, "feature_names_in_", None)
        return Predictor("numba", state.network, state.folded, n_rows, output, finish, names)

    @abstractmethod
    def _choose_output(self, method: str) -> tuple[str | None, Callable[[Array], Array]]:
        """Return the name of the output for `method`, None for classes, and a picklable function of it."""

    # --- fitted attributes -------------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return "_state" in self.__dict__ or {"coefs_", "intercepts_"} <= self.__dict__.keys()

    @functools.cached_property
    def _state(self) -> FittedNetwork:
        """The fitted network: a fit sets it, or it is made, when it is first used, of assigned weights."""
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"{type(self).__name__!r} has no attribute '_state' before it is fitted")
        return adopt_weights(self)

    def _get_state(self, name: str) -> FittedNetwork:
        """Return the fitted state; raise AttributeError for the attribute `name` before a fit."""
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r} before it is fitted")
        return self._state

    @property
    def coefs_(self) -> list[Array]:
        """Weights of the layers, with batch normalisation folded in: then they are read-only copies."""
        return self._get_views(Network.weights, "coefs_")

    @coefs_.setter
    def coefs_(self, values: Iterable[ArrayLike]) -> None:
        self._set_views(Network.weights, values, "coefs_")

    @property
    def intercepts_(self) -> list[Array]:
        """Biases of the layers, with batch normalisation folded in: then they are read-only copies."""
        return self._get_views(_get_biases, "intercepts_")

    @intercepts_.setter
    def intercepts_(self, values: Iterable[ArrayLike]) -> None:
        self._set_views(_get_biases, values, "intercepts_")

    def _get_views(self, arrays_of: Callable[[Network, Array], list[Array]], name: str) -> list[Array]:
        """Return views of arrays of all layers; with batch normalisation read-only copies.

        Programs that read `coefs_` and `intercepts_` know no batch normalisation. Weights into which it is
        folded give them the estimator's predictions.
        """
        if "_state" not in self.__dict__ and name in self.__dict__:
            return self.__dict__[name]
        state = self._get_state(name)
        if not state.network.batch_norm:
            return LiveViews(arrays_of(state.network, state.predicting), name)
        folded = state.folded
        folded.flags.writeable = False
        return LiveViews(arrays_of(state.network, folded), name, is_folded=True)

    def _set_views(
        self, arrays_of: Callable[[Network, Array], list[Array]], values: Iterable[ArrayLike], name: str
    ) -> None:
        """Write arrays of all layers into a copy of the state, since shallow copies may share the state.

        Before a fit, keep the arrays for `_state`.
        """
        if "_state" not in self.__dict__:
            self.__dict__[name] = list(values)
            return
        if self._state.network.batch_norm:
            LiveViews([], name, is_folded=True)[:] = values  # raises
        state = self._state.copy()
        state.adopt_best()
        # With `ema_decay`, the parameters and the average that predicts are different arrays: write to both.
        for parameters in (state.parameters, state.predicting):
            LiveViews(arrays_of(state.network, parameters), name)[:] = values
            # `values` may be an iterator, which can be read only once: read the written arrays from now on.
            values = arrays_of(state.network, parameters)
        self._state = state

    @property
    def model_(self) -> Model:
        """Network as a `Model` that shares the parameters."""
        state = self._get_state("model_")
        return Model._share(state.network, state.predicting, state.predicting_statistics)

    @property
    def out_activation_(self) -> str:
        """Name of the output activation, which the loss chooses."""
        return OUT_ACTIVATIONS[self._get_state("out_activation_").network.loss.output]

    @out_activation_.setter
    def out_activation_(self, name: str) -> None:
        if "_state" in self.__dict__:
            check_out_activation(self._state.network, name)
        else:
            self._assigned_output = name

    @property
    def _no_improvement_count(self) -> int:
        """Number of epochs in a row without an improvement, under scikit-learn's name."""
        return self._get_state("_no_improvement_count").n_no_improvement

    @_no_improvement_count.setter
    def _no_improvement_count(self, count: int) -> None:
        if "_state" in self.__dict__:
            self._state.count_no_improvement(check_count(count, "_no_improvement_count"))

    # --- files and tags ----------------------------------------------------------------------------

    def _get_saved_state(self, training: bool) -> dict[str, Any]:
        hasattr(self, "_state")  # if weights were assigned, this makes `_state` of them
        state = super()._get_saved_state(training)
        state = {name: value for name, value in state.items() if name not in ("coefs_", "intercepts_")}
        if not training and "_state" in state:
            state["_state"] = state["_state"].drop_training()
            state = {name: value for name, value in state.items() if name not in STOCHASTIC}
            state["validation_loss_curve_"] = []
        return state

    def _check_state(self) -> None:
        super()._check_state()
        if "_state" in self.__dict__:
            self._state.check()
            network = self._state.network
            if (self.n_features_in_, self.n_outputs_) != (network.n_inputs, network.n_outputs):
                raise ValueError("n_features_in_ or n_outputs_ do not fit the network")


def _get_biases(network: Network, parameters: Array) -> list[Array]:
    return [b[0] for b in network.biases(parameters)]
