"""BaseMLP: fits and predictions of an estimator, from scikit-learn's arguments to the engine's job.

A fit checks the parameters as scikit-learn does, converts X and y to `Samples`, derives a `Job` from the
samples and the parameters, and runs the job by a `Fit`. A fitted estimator holds a `FittedNetwork`: the
network with its parameters, the optimizer's state and the generator of orders. k epochs in one fit and m
epochs in a second fit that continues the first, by warm start, partial fit or after pickling, equal k + m
epochs in one fit.
"""

from __future__ import annotations

import functools
import numbers
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..engine.checks import check_batches
from ..engine.choice import get_backend
from ..engine.job import Job
from ..engine.predictor import Predictor, check_method
from ..export.methods import Exportable
from ..losses import Loss, SquaredError
from ..model import Model
from ..network.description import Network
from ..network.views import FoldedViews, LiveViews
from ..optimizers import LBFGS, Optimizer
from ..saving.records import Reader, Writer
from ..schedules import resolve_schedule
from ..system.generators import seeded
from ..system.messages import warn
from ..system.sklearn_internals import CallbackSupportMixin, fit_context, safe_indexing, with_callbacks
from ..system.validation import check_count, check_limit, check_weights
from ..training.loop import Hook
from .claims import claimed
from .documentation import DocumentationLinkMixin
from .fitted import FittedNetwork
from .fitting import Fit
from .holdout import split_validation, validation_functions
from .online import online_steps
from .parameters import engine_activations, hidden_sizes, validate_parameters
from .reporting import CallbackData, restore_attributes
from .samples import Samples, converted_to, densified, is_kernel_table
from .saved import SavableEstimator, described_network, restore_network_of
from .solvers import chosen_optimizer, chosen_schedule, has_schedule
from .targets import FLOATS, Targets

__all__ = ["BaseMLP"]

Array = NDArray[Any]

# Fitted attributes that only stochastic solvers set.
_STOCHASTIC = ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_")
# scikit-learn's names of the output activations, by the engine's names.
_OUT_ACTIVATIONS = {"softmax": "softmax", "sigmoid": "logistic", "identity": "identity", "exponential": "exp"}


class BaseMLP(
    SavableEstimator, Targets, Exportable, DocumentationLinkMixin, CallbackSupportMixin, BaseEstimator
):
    """Common part of the classifier and the regressor."""

    n_features_in_: int
    _state: FittedNetwork

    # What files hold: see `SavableAttributes`.
    _CURVES = ("loss_curve_", "validation_scores_", "validation_loss_curve_")
    _REQUIRED: ClassVar[dict[str, tuple[type, ...]]] = {
        "n_features_in_": (int,), "n_outputs_": (int,), "n_layers_": (int,), "n_iter_": (int,), "t_": (int,),
        "out_activation_": (str,), "validation_loss_curve_": (list,),
    }  # fmt: skip
    _OPTIONAL: ClassVar[dict[str, tuple[type, ...]]] = {
        "loss_": (float, int), "best_loss_": (float, int, type(None)), "loss_curve_": (list,),
        "validation_scores_": (list, type(None)), "best_validation_score_": (float, int, type(None)),
    }  # fmt: skip

    # --- methods of the subclasses ----------------------------------------------------------------

    @abstractmethod
    def _loss(self) -> Loss:
        """Return the engine's loss."""

    @abstractmethod
    def _encoded(self, y: Any, dtype: np.dtype) -> Array:
        """Encode checked targets for the loss, as an array (n, n_targets)."""

    @abstractmethod
    def _default_score(self, data: Samples) -> float:
        """Return the score of checked samples that `early_stopping` uses without `scoring`."""

    def _class_weights(self, y: Any) -> Any:
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
        """Number of threads, 0 for as many as are fastest."""
        return 0 if self.n_threads is None else check_count(self.n_threads, "n_threads")

    def _batch_size(self, n_samples: int) -> int:
        return min(200 if self.batch_size == "auto" else int(self.batch_size), n_samples)

    def _n_batches(self, n_samples: int) -> int:
        return -(-n_samples // self._batch_size(n_samples))

    # --- fitting -----------------------------------------------------------------------------------

    @with_callbacks
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None) -> BaseMLP:
        """Fit the network to X and y.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            Samples. A sparse matrix with at most a tenth of non-zero values is used as a CSR matrix; others
            are converted to arrays. float32 stays float32, every other dtype becomes float64.
        y : array-like (n_samples,) or (n_samples, n_outputs)
            Classes or targets; for a classifier of several labels, a table of 0 and 1.
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
        return self._fit(X, y, sample_weight, X_val, y_val)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None,
        n_passes: int | None = None, knows_classes: bool = False, stopped: Callable[[], bool] | None = None,
        hooks: Sequence[Hook] = (), weights_val: Any = None, total_steps: int | None = None,
    ) -> BaseMLP:  # fmt: skip
        """Fit the network, or continue the last fit for `n_passes`.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val
            Arguments of `fit`.
        n_passes : int, optional
            Number of epochs by which the last fit is continued; by default `max_iter` epochs are run.
        knows_classes : bool
            True if the attributes that `_check_targets` derives from y are already set.
        stopped : callable, optional
            Function that returns True if the fit must end with a KeyboardInterrupt.
        hooks : sequence of Hook
            Further hooks of a stochastic training, called last.
        weights_val : array-like, optional
            Weights of the validation data.
        total_steps : int, optional
            Length of the run for the schedule of the learning rate; by default `max_iter` epochs over X, or
            more if more are done.
        """
        sizes = hidden_sizes(self.hidden_layer_sizes)
        check_limit(self.max_grad_norm, "max_grad_norm")
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val go together: pass both, or neither")
        if n_passes is not None:
            self._validate_params()  # scikit-learn skips this in partial fits of a fitted estimator
        if n_passes is not None and (self.early_stopping or X_val is not None):
            raise ValueError("partial_fit does not support early_stopping=True")
        begins = not hasattr(self, "_state") or not (self.warm_start or n_passes is not None)
        known, continued = ("first", "partial") if knows_classes or n_passes else ("new", "warm")
        online = self.__dict__.pop("_online", None)
        before = self.__dict__.copy()
        fit: Fit | None = None
        with ExitStack() as claims:
            try:
                data = self._checked(X, y, sample_weight, known if begins else continued)
                network = Network.create(
                    [data.X.shape[1], *sizes, self.n_outputs_], engine_activations(self.activation),
                    "identity", data.X.dtype, self._loss(), self.batch_norm, self.dropout,
                )  # fmt: skip
                optimizer = chosen_optimizer(self)
                if has_schedule(self):
                    resolve_schedule(self.learning_rate, "learning_rate")
                state = self._new_state(network) if begins else self._state
                if not begins:
                    self._check_continued(network)
                source = self._random(state, begins)
                random = claims.enter_context(claimed(source))
                if begins:
                    self._draw(state, random)
                validation = None
                if X_val is not None:
                    validation = self._checked_validation(X_val, y_val, weights_val)
                elif self.early_stopping and not isinstance(optimizer, LBFGS):
                    data, validation = split_validation(self, data, state, random)
                if not begins:
                    state = self._continued_state(network, optimizer)
                state.keep_generator(source, self.random_state)
                self._begin_curves(optimizer)
                self._seed(state, random)
                job = self._job(data, state, optimizer, n_passes or int(self.max_iter), total_steps)
                fit = Fit(self, state, job, random, stopped, self._callback_data(X, data))
                if isinstance(optimizer, LBFGS):
                    fit.run_lbfgs(validation_functions(self, validation, state))
                else:
                    fit.run(validation_functions(self, validation, state), n_passes is None, hooks)
                    if n_passes == 1 and not hooks:
                        self._online = online_steps(self, job, online)
            except BaseException as error:
                if fit is None or not fit.is_kept(error):  # so that an earlier fit is not lost
                    restore_attributes(self, before)
                raise
        return self

    def _callback_data(self, X: Any, data: Samples) -> CallbackData:
        """Return the training data for scikit-learn's callbacks; X keeps the names of its features."""

        def named() -> Any:
            if not hasattr(self, "feature_names_in_"):
                return data.X
            return X if data.rows is None else safe_indexing(X, data.rows)

        weights = data.given_weights
        return CallbackData(named, data.given_y, None if weights is None else {"sample_weight": weights})

    def _checked_validation(self, X_val: Any, y_val: Any, weights_val: Any) -> Samples:
        try:
            return self._checked(X_val, y_val, weights_val, "validation")
        except ValueError as error:
            raise ValueError(f"X_val, y_val: {error}") from error

    def _checked(self, X: Any, y: Any, sample_weight: Any, use: str) -> Samples:
        """Check samples; `use` has the meaning documented in `Targets._check_targets`."""
        begins = use in ("new", "first")
        if (
            is_kernel_table(X, FLOATS)
            and type(y) is np.ndarray
            and y.shape == X.shape[:1]
            and y.dtype.kind in "ib"
            and not self._target_checks
            and (begins or (X.shape[1] == self.n_features_in_ and not hasattr(self, "feature_names_in_")))
        ):
            self.n_features_in_ = X.shape[1]
            self.__dict__.pop("feature_names_in_", None)
        else:
            X, y = self._validated(X, y, reset=begins)
        y = self._check_targets(y, use)
        X = densified(X)
        if not begins:
            X = converted_to(self._state.network.dtype, X)
        weights = self._validated_weights(sample_weight, X)
        given_weights = None if sample_weight is None else weights
        if (factors := self._class_weights(y)) is not None:
            weights = check_weights(weights * factors, X.shape[0])
        return Samples(X, self._encoded(y, X.dtype), weights, y, given_weights)

    def _new_state(self, network: Network) -> FittedNetwork:
        """Create the state of a new network, and reset the attributes that accumulate over several fits."""
        self.t_ = 0
        self.n_layers_ = len(network.layers_dim)
        self.validation_loss_curve_: list[float] = []
        for name in _STOCHASTIC:
            self.__dict__.pop(name, None)
        self._state = FittedNetwork(network, network.neutral_parameters(), network.initial_statistics())
        return self._state

    def _begin_curves(self, optimizer: Optimizer) -> None:
        """Create missing curves, which the fit extends; as in scikit-learn, "lbfgs" has no curves."""
        self.out_activation_ = _OUT_ACTIVATIONS[self._state.network.loss.output]
        if isinstance(optimizer, LBFGS):
            return
        if "loss_curve_" not in self.__dict__:
            self.loss_curve_: list[float] = []
            self.best_loss_: float | None = None
            self.validation_scores_: list[float] | None = None
            self.best_validation_score_: float | None = None
        if self.early_stopping and self.validation_scores_ is None:
            self.validation_scores_, self.best_validation_score_ = [], -np.inf
        if not self.early_stopping and self.best_loss_ is None:
            self.best_loss_ = np.inf

    def _check_continued(self, network: Network) -> None:
        """Raise ValueError if the fitted network has other layers than the network of the next fit."""
        old = self._state.network
        for name in ("layers_dim", "batch_norm"):
            if getattr(old, name) != getattr(network, name):
                raise ValueError(
                    f"the fitted network has {name}={getattr(old, name)}, but now it is to have "
                    f"{getattr(network, name)}: clone the estimator, or fit it with warm_start=False, to "
                    "begin anew"
                )

    def _continued_state(self, network: Network, optimizer: Optimizer) -> FittedNetwork:
        """Prepare the last fit's state for the network and optimizer of the next fit; return the state."""
        if not self._state.is_writeable:
            self._state = self._state.copy()
        self._state.network = network
        self._state.switch_optimizer(optimizer)
        if not self.early_stopping:
            self._state.adopt_best()
        return self._state

    def _random(self, state: FittedNetwork, begins: bool) -> np.random.RandomState:
        """Return the generator of this fit; a generator seeded by an integer continues from the last fit."""
        if not isinstance(self.random_state, numbers.Integral):
            return check_random_state(self.random_state)
        if begins or state.random is None or state.random_state != self.random_state:
            return seeded(self.random_state)
        return state.random

    def _draw(self, state: FittedNetwork, random: np.random.RandomState) -> None:
        """Draw initial parameters by `init`, or else exactly as scikit-learn does.

        scikit-learn draws weights and biases by Glorot & Bengio (2010).
        """
        network = state.network
        if self.init is not None:
            state.parameters[...] = network.draw_parameters(random, self.init)
            return
        names = {self.activation} if isinstance(self.activation, str) else set(self.activation)
        factor = 2.0 if names and names <= {"logistic", "sigmoid"} else 6.0
        for W, b in zip(network.weights(state.parameters), network.biases(state.parameters), strict=True):
            bound = np.sqrt(factor / sum(W.shape))
            W[...] = random.uniform(-bound, bound, W.shape)
            b[...] = random.uniform(-bound, bound, b.shape[1])

    def _seed(self, state: FittedNetwork, random: np.random.RandomState) -> None:
        """Draw the seed of the dropout masks, unless an earlier fit that is continued has drawn it."""
        if state.network.dropout and not state.seed:
            high, low = random.randint(0, 2**32, 2, np.uint64).tolist()
            state.seed = (high << 32) | low | 1

    def _job(
        self, data: Samples, state: FittedNetwork, optimizer: Optimizer, n_passes: int,
        total_steps: int | None = None,
    ) -> Job:  # fmt: skip
        """Return the engine's job for `n_passes` epochs over the samples, in a run of `total_steps`."""
        n_samples = data.X.shape[0]
        batch_size = self._batch_size(n_samples)
        if isinstance(optimizer, LBFGS):  # whose iterations evaluate the loss once or more
            batch_size, n_passes = n_samples, min(n_passes, (optimizer.maxfun or n_passes) + 1)
        elif self.batch_size != "auto" and self.batch_size > n_samples:
            warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
        check_batches(state.network, batch_size, n_samples)
        n_batches = -(-n_samples // batch_size)
        return Job(
            data.X, data.y, data.weights, n_passes, batch_size,
            averaged=True,
            shuffled=self.shuffle and batch_size < n_samples,
            seed=state.seed,
            optimizer=optimizer,
            schedule=chosen_schedule(self, state, n_samples, n_batches),
            epsilon=float(self.learning_rate_init),
            reg_lambda=float(self.alpha),
            clip_norm=float(self.max_grad_norm or 0.0),
            average_share=0.0 if self.ema_decay is None else 1.0 - float(self.ema_decay),
            n_threads=self._threads,
            of_objective=True,
            # For squared errors scikit-learn reports the mean over the outputs, but minimises their sum.
            loss_share=1 / self.n_outputs_ if isinstance(state.network.loss, SquaredError) else 1.0,
            tol=float(self.tol),
            patience=0 if self.early_stopping else int(min(self.n_iter_no_change, 2**62)),
            steps_before=state.n_steps,
            total_steps=max(
                int(self.max_iter) * n_batches if total_steps is None else total_steps,
                state.n_steps + n_passes * n_batches,
            ),
        )  # fmt: skip

    # --- predicting --------------------------------------------------------------------------------

    def _samples(self, X: Any) -> Array:
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
        X = self._validated(X, reset=False)
        return converted_to(network.dtype, densified(X))

    def _outputs(self, X: Array, name: str, warns: bool = True) -> Array:
        """Return the outputs (n, n_outputs) of checked samples: the function `name` of the scores."""
        state = self._state
        return get_backend("numba").outputs(state.network, state.folded, X, name, self._threads, warns)

    def _predicted(self, X: Array, method: str, warns: bool = True) -> Array:
        """Return the predictions or probabilities for checked samples."""
        output, finish = self._output_and_finish(method)
        if output is None:
            state = self._state
            predict = get_backend("numba").predict
            return finish(predict(state.network, state.folded, X, self._threads, warns))
        return finish(self._outputs(X, output, warns))

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
        ValueError
            If `method` is unknown or missing from the estimator, or `n_rows` is below 1.
        """
        if "_state" not in self.__dict__:
            check_is_fitted(self)
        if not hasattr(self, check_method(method)):
            raise ValueError(f"{type(self).__name__} has no {method}: its predictor is for 'predict'")
        output, finish = self._output_and_finish(method)
        state = self._state
        return Predictor("numba", state.network, state.folded, n_rows, output, finish)

    @abstractmethod
    def _output_and_finish(self, method: str) -> tuple[str | None, Callable[[Array], Array]]:
        """Return the name of the network's output for `method`, and a function from outputs to predictions.

        The name is None for class numbers. The function is picklable.
        """

    # --- fitted attributes -------------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return "_state" in self.__dict__

    def _fitted_state(self, name: str) -> FittedNetwork:
        """Return the fitted state; raise AttributeError for the attribute `name` before a fit."""
        if "_state" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r} before it is fitted")
        return self._state

    @property
    def coefs_(self) -> list[Array]:
        """Weights of the layers, with batch normalisation folded in: then they are read-only copies."""
        return self._views(Network.weights, "coefs_")

    @coefs_.setter
    def coefs_(self, values: Any) -> None:
        self._set_views(Network.weights, values, "coefs_")

    @property
    def intercepts_(self) -> list[Array]:
        """Biases of the layers, with batch normalisation folded in: then they are read-only copies."""
        return self._views(_rows_of_biases, "intercepts_")

    @intercepts_.setter
    def intercepts_(self, values: Any) -> None:
        self._set_views(_rows_of_biases, values, "intercepts_")

    def _views(self, arrays_of: Callable[[Network, Array], list[Array]], name: str) -> list[Array]:
        """Return views of arrays of all layers; with batch normalisation read-only copies.

        Programs that read `coefs_` and `intercepts_` know no batch normalisation. Weights into which it is
        folded give them the estimator's predictions.
        """
        state = self._fitted_state(name)
        if not state.network.batch_norm:
            return LiveViews(arrays_of(state.network, state.predicting), name)
        folded = state.folded
        folded.flags.writeable = False
        return FoldedViews(arrays_of(state.network, folded), name)

    def _set_views(self, arrays_of: Callable[[Network, Array], list[Array]], values: Any, name: str) -> None:
        """Write arrays of all layers into a copy of the state, since shallow copies may share the state."""
        if self._fitted_state(name).network.batch_norm:
            raise ValueError(FoldedViews.refusal(name))
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
        state = self._fitted_state("model_")
        return Model._sharing(state.network, state.predicting, state.predicting_statistics)

    @property
    def _no_improvement_count(self) -> int:
        """Number of epochs in a row without an improvement, under scikit-learn's name."""
        return self._fitted_state("_no_improvement_count").n_no_improvement

    # --- files and tags ----------------------------------------------------------------------------

    def _file_description(self, writer: Writer) -> dict[str, Any]:
        return super()._file_description(writer) | described_network(self, writer)

    @classmethod
    def _restore(cls, description: dict[str, Any], reader: Reader) -> Any:
        estimator = super()._restore(description, reader)
        restore_network_of(estimator, description, reader)
        return estimator


def _rows_of_biases(network: Network, parameters: Array) -> list[Array]:
    """Return views (n_out,) of the layers' biases in the flat parameter vector."""
    return [b[0] for b in network.biases(parameters)]
