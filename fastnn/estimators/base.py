"""scikit-learn's face of it: estimators that replace its multilayer perceptrons.

A fit goes straight through: the parameters are checked as scikit-learn checks its own, X and y become
the tables that the kernels take (`_Data`), all else becomes a `Job`, and `fitting` runs it. What a fitted
estimator goes on from is its `fitting.State`: the network and its parameters, the optimizer's state, the
generator of the orders. A fit of k passes and one of m more, by warm start, partial fit or after pickling,
are a fit of k + m passes.

To add a parameter: its constraint in `_CONSTRAINTS`, its line in `_PARAMETERS`, and the place in `_fit`
that reads it.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import operator
from abc import abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
import scipy.special
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
from sklearn.metrics import accuracy_score, check_scoring, get_scorer_names, r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils._param_validation import (
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    type_of_target,
)
from sklearn.utils.validation import check_is_fitted

from ..engine.backends import Job, get_backend
from ..engine.predictor import Predictor, check_method, positive
from ..losses import (
    LOSSES,
    REGRESSION_LOSSES,
    Loss,
    Quantile,
    SigmoidBinaryCrossEntropy,
    SoftmaxCrossEntropy,
    SquaredError,
)
from ..model import LiveViews, Model
from ..network.description import Network
from ..optimizers import LBFGS, OPTIMIZERS, SGD, Adam, AdamW, Momentum, Nesterov, Optimizer, resolve_optimizer
from ..reference.layer import ACTIVATIONS
from ..schedules import SCHEDULES, Constant, Schedule, resolve_schedule
from ..system.generators import seeded
from ..system.messages import warn
from ..system.threads import available_cores
from ..system.validation import all_finite, check_limit, check_weights, shown, sorted_classes
from .documentation import DocumentationLinkMixin
from .fitting import CallbackSupportMixin, Fit, Shown, State, Validation, claimed, with_callbacks
from .sparse import checked_sparse
from .targets import FLOATS, ClassTargets, NumberTargets, Targets

__all__ = ["BaseMLP", "MLPClassifier", "MLPRegressor"]

Array = NDArray[Any]

# scikit-learn's names where they differ from the engine's.
_SIGMOID = {"logistic": "sigmoid"}
# scikit-learn's own rates; as there, they concern the solver "sgd" alone.
_SGD_RATES = ("constant", "invscaling", "adaptive")
# L-BFGS ends where the objective falls by less than this share, scikit-learn's (SciPy's) default.
_LBFGS_FTOL = 2.220446049250313e-09

# Of the values of a table: where no more are other than 0, the kernels take it as a sparse one.
SPARSE_SHARE = 0.1

# What only solvers that take passes have.
_CURVES = ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_")

_ACTIVATION_NAMES = {*ACTIVATIONS, *_SIGMOID}
_CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", Interval(numbers.Integral, 1, None, closed="left")],
    "activation": [StrOptions(_ACTIVATION_NAMES), list, tuple],
    "solver": [StrOptions(set(OPTIMIZERS)), Optimizer],
    "alpha": [Interval(numbers.Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(numbers.Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions({*_SGD_RATES, *SCHEDULES}), Schedule, callable],
    "learning_rate_init": [Interval(numbers.Real, 0, None, closed="neither")],
    "power_t": [Interval(numbers.Real, 0, None, closed="left")],
    "max_iter": [Interval(numbers.Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(numbers.Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(numbers.Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(numbers.Real, 0, 1, closed="left")],
    "beta_1": [Interval(numbers.Real, 0, 1, closed="left")],
    "beta_2": [Interval(numbers.Real, 0, 1, closed="left")],
    "epsilon": [Interval(numbers.Real, 0, None, closed="neither")],
    "n_iter_no_change": [
        Interval(numbers.Integral, 1, None, closed="left"),
        Options(numbers.Real, {np.inf}),
    ],
    "max_fun": [Interval(numbers.Integral, 1, None, closed="left")],
    "dropout": [Interval(numbers.Real, 0, 1, closed="left"), list, tuple],
    "batch_norm": ["boolean"],
    "weight_decay": [Interval(numbers.Real, 0, None, closed="left"), None],
    "max_grad_norm": [Interval(numbers.Real, 0, None, closed="neither"), None],
    "ema_decay": [Interval(numbers.Real, 0, 1, closed="left"), None],
    "scoring": [StrOptions({*get_scorer_names(), "loss"}), callable, None],
    "n_threads": [Interval(numbers.Integral, 1, None, closed="left"), None],
}

_PARAMETERS = """
    hidden_layer_sizes : array-like of int or int, default (100,)
        Units of every hidden layer.
    activation : str or list of str, default "relu"
        Of the hidden layers, one for all or one for each: "identity", "logistic" (also "sigmoid"), "tanh",
        "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus".
    solver : str or Optimizer, default "adam"
        "adam", "sgd" (with `momentum` and `nesterovs_momentum`) and "lbfgs" are scikit-learn's; "momentum",
        "nesterov", "adagrad", "rmsprop", "adamw" and objects, as ``fastnn.RMSprop(alpha=0.9)``, are
        torch.optim's.
    alpha : float, default 0.0001
        Strength of the L2 penalty, divided by the number of samples (the sum of their weights).
    batch_size : int or "auto", default "auto"
        Samples of a step; "auto" is ``min(200, n_samples)``.
    learning_rate : str, Schedule or function, default "constant"
        "constant", "invscaling" and "adaptive" are scikit-learn's and concern the solver "sgd"; any schedule
        of fastnn, by its name or as an object or a function of the step, concerns every solver but "lbfgs".
        Its run is of `max_iter` passes, whose end then is no reason for a ConvergenceWarning.
    learning_rate_init : float, default 0.001
        The learning rate that a schedule begins with.
    power_t : float, default 0.5
        Exponent of "invscaling": the rate is divided by ``(samples trained on + 1) ** power_t``.
    max_iter : int, default 200
        Passes over the data at the most; iterations of "lbfgs".
    shuffle : bool, default True
        Take the samples in a new order in every pass.
    random_state : None, int or RandomState, default None
        Of the initial parameters, the validation split, the orders and dropout. Changed before a fit that
        goes on, it begins a new order of the samples.
    tol : float, default 1e-4
        What counts as an improvement of the loss or the validation score.
    verbose : bool or int, default False
        1 shows a bar with the loss and the rate; True, or more than 1, prints a line a pass as scikit-learn
        does.
    warm_start : bool, default False
        Go on from where the last fit ended, the optimizer's state, schedule and generator too.
    momentum : float, default 0.9
        Of the solvers "sgd", "momentum" and "nesterov".
    nesterovs_momentum : bool, default True
        Whether the momentum of "sgd" is Nesterov's.
    early_stopping : bool, default False
        Stop when the score of validation data gets no better, and go back to the best parameters. The
        data are `X_val` and `y_val` of `fit`, or else set aside from X.
    validation_fraction : float, default 0.1
        Share of the samples that are set aside.
    beta_1, beta_2, epsilon : float, default 0.9, 0.999, 1e-8
        Of the solvers "adam" and "adamw".
    n_iter_no_change : int or inf, default 10
        Passes in a row without an improvement after which the fit ends.
    max_fun : int, default 15000
        Evaluations of the loss by "lbfgs" at the most.
    dropout : float or list of float, default 0.0
        Share of the hidden units that a step leaves out, or a list with the share of the inputs and that of
        every hidden layer.
    batch_norm : bool, default False
        Normalise the sums of the hidden layers over the batch.
    weight_decay : float, optional
        Decoupled decay of all parameters: "adam" becomes AdamW. For the other solvers, torch's L2.
    max_grad_norm : float, optional
        Largest norm of a step's gradient, which is scaled down to it.
    ema_decay : float, optional
        Predict with a running average of the parameters that forgets with this factor a step.
    scoring : str or callable, optional
        What `early_stopping` watches: one of scikit-learn's scorers, or "loss" for the validation loss. By
        default `score`.
    n_threads : int, optional
        Threads that share a step, or the samples of a prediction, where there is work for them. By default as
        many as there are cores. The results have the same bits for any number.
"""

_ATTRIBUTES = """
    coefs_, intercepts_ : list of array (n_in, n_out) and (n_out,)
        Weights and biases of the layers, views of the parameters that predict: writing to them changes the
        estimator. With `early_stopping` or `ema_decay` a later fit goes on from others; assign whole lists
        then, ``estimator.coefs_ = [...]``. Arrays that are assigned must have the same shape and hold real
        numbers that the dtype can hold; if one does not, none is written.
    loss_ : float
        The objective (loss and penalty) of the last pass.
    loss_curve_, best_loss_ : list of float, float
        The objective of every pass, and the least there was; the latter is None with `early_stopping`. Not
        with "lbfgs".
    validation_scores_, best_validation_score_ : list of float, float
        With `early_stopping`, else None. Not with "lbfgs".
    validation_loss_curve_ : list of float
        Loss of the validation data after every pass, where there are such data.
    n_iter_ : int
        Passes of the last fit.
    t_ : int
        Samples trained on in all fits.
    n_layers_, n_outputs_ : int
        Layers, the inputs counted as one, and outputs.
    out_activation_ : str
        Of the outputs.
    n_features_in_ : int
    feature_names_in_ : array (n_features_in_,)
        Where X has such names, all of them text.
    model_ : Model
        The network as fastnn's own class, on the same parameters.
"""


@dataclass(frozen=True)
class _Data:
    """Samples as the kernels take them: X (n, inputs), y (n, targets), weights (n,).

    And y and the weights as they came, and which rows of X as it came these are, None for all.
    """

    X: Array
    y: Array
    weights: NDArray[np.float64]
    given: Any
    given_weights: Any = None
    rows: NDArray[np.int64] | None = None

    def taken(self, rows: NDArray[np.int64]) -> _Data:
        given_weights = None if self.given_weights is None else self.given_weights[rows]
        return _Data(
            self.X[rows], self.y[rows], self.weights[rows], self.given[rows], given_weights, rows
        )  # fmt: skip


@dataclass(frozen=True)
class _InverseScaling(Schedule):
    """scikit-learn's "invscaling", whose rate changes with the samples seen when a pass begins."""

    power: float
    samples_before: int
    steps_before: int
    n_samples: int
    n_batches: int

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        passes = (steps - self.steps_before) // self.n_batches
        return np.asarray(self.samples_before + passes * self.n_samples + 1.0) ** -self.power


@dataclass(frozen=True)
class _Adaptive(Schedule):
    """scikit-learn's "adaptive": the state knows how far the rate has fallen."""

    state: State

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        return np.full(steps.shape, self.state.rate_factor)


class BaseMLP(Targets, DocumentationLinkMixin, CallbackSupportMixin, BaseEstimator):
    """What the classifier and the regressor share."""

    _parameter_constraints: ClassVar[dict[str, Any]] = _CONSTRAINTS
    n_features_in_: int
    _state: State

    def _validate_params(self) -> None:
        # What was left at its default is right, and a small fit takes no longer than asking for all.
        changed = {
            name: getattr(self, name)
            for name, default in _defaults(type(self))
            if getattr(self, name) is not default
        }
        for name, value in changed.items():
            if isinstance(value, numbers.Real) and _takes_reals(self._parameter_constraints.get(name, ())):
                changed[name] = _as_float(value, name)
        validate_parameter_constraints(self._parameter_constraints, changed, caller_name=type(self).__name__)

    @classmethod
    @functools.cache
    def _get_param_names(cls) -> list[str]:
        # scikit-learn reads the signature anew for every fit and clone, which takes as long as a small fit.
        return super()._get_param_names()

    # --- what the two differ in -------------------------------------------------------------------

    @abstractmethod
    def _loss(self) -> Loss:
        """The engine's loss."""

    @abstractmethod
    def _encoded(self, y: Any, dtype: np.dtype) -> Array:
        """Checked targets as the loss takes them, (n, targets)."""

    @abstractmethod
    def _own_score(self, data: _Data) -> float:
        """What `score` gives for data."""

    def _class_weights(self, y: Any) -> Any:
        """Factors of the samples' weights, None for none."""
        return None

    # --- fitting -----------------------------------------------------------------------------------

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None) -> BaseMLP:
        """Fit the network to X and y.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
            A sparse one stays so where at most a tenth of it is not 0. float32 stays float32, all else
            becomes float64.
        y : array-like (n_samples,) or (n_samples, n_outputs)
            Classes or targets; a table of 0 and 1 for a classifier of several labels.
        sample_weight : array-like (n_samples,), optional
            Weights of the samples, not below 0. Where a step takes all samples, a weight of 2 is as good as
            the sample twice.
        X_val, y_val : array-like, optional
            Validation data: their loss is `validation_loss_curve_`, and `early_stopping` watches them
            instead of setting some of X aside.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data or parameters that do not fit; sklearn's InvalidParameterError is one.
        DivergenceError
            Where a parameter is no longer finite. The estimator holds the last finite ones. With
            `early_stopping` it is a ConvergenceWarning, and the estimator holds those of the best pass.

        Notes
        -----
        Ctrl-C ends the fit with a warning and leaves the estimator fitted.
        """
        return self._fit(X, y, sample_weight, X_val, y_val)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None,
        n_passes: int | None = None, knows_classes: bool = False, stopped: Callable[[], bool] | None = None,
    ) -> BaseMLP:  # fmt: skip
        """`fit`; or go on with `n_passes`, whatever the parameters say of their number.

        knows_classes: what `_check_targets` learns of y is there already. stopped: says whether the fit is to
        end, by KeyboardInterrupt as if from outside.
        """
        sizes = self._hidden_layer_sizes()
        check_limit(self.max_grad_norm, "max_grad_norm")
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val go together: pass both, or neither")
        if n_passes is not None and (self.early_stopping or X_val is not None):
            raise ValueError("partial_fit does not support early_stopping=True")
        begins = not hasattr(self, "_state") or not (self.warm_start or n_passes is not None)
        known, going_on = ("first", "partial") if knows_classes or n_passes else ("new", "warm")
        before = self.__dict__.copy()
        with ExitStack() as claims:
            try:
                data = self._checked(X, y, sample_weight, known if begins else going_on)
                network = Network.create(
                    [data.X.shape[1], *sizes, self.n_outputs_], self._activations(), "identity",
                    data.X.dtype, self._loss(), self.batch_norm, self.dropout,
                )  # fmt: skip
                optimizer = self._chosen_optimizer()
                if self._has_own_schedule():
                    resolve_schedule(self.learning_rate, "learning_rate")
                state = self._begun(network) if begins else self._state
                if not begins:
                    self._check_continued(network)
                source = self._random(state, begins)
                random = claims.enter_context(claimed(source))
                if begins:
                    self._draw(state, random)
                validation = None
                if X_val is not None:
                    validation = self._checked_validation(X_val, y_val)
                elif self.early_stopping and not isinstance(optimizer, LBFGS):
                    data, validation = self._split(data, state, random)
            except BaseException:  # what was fitted before stays so
                self.__dict__.clear()
                self.__dict__.update(before)
                raise
            if not begins:
                state = self._continued(network, optimizer)
            state.draw_from(source, self.random_state)
            self._begin_curves(optimizer)
            self._seed(state, random)
            job = self._job(data, state, optimizer, n_passes or int(self.max_iter))
            fit = Fit(self, state, job, random, stopped, self._shown(X, data))
            if isinstance(optimizer, LBFGS):
                fit.run_lbfgs(optimizer, self._validation(validation, state))
            else:
                fit.run(self._validation(validation, state), n_passes is None)
        return self

    def _shown(self, X: Any, data: _Data) -> Shown:
        """What callbacks are shown of the training data, of which X has the names of the features."""

        def named() -> Any:
            if not hasattr(self, "feature_names_in_"):
                return data.X
            return X if data.rows is None else _safe_indexing(X, data.rows)

        weights = data.given_weights
        return Shown(named, data.given, None if weights is None else {"sample_weight": weights})

    def _hidden_layer_sizes(self) -> list[int]:
        given = self.hidden_layer_sizes
        if isinstance(given, np.ndarray) and not given.ndim:
            given = given[()]
        try:
            sizes = [operator.index(size) for size in (given if hasattr(given, "__iter__") else [given])]
        except TypeError:
            raise ValueError(
                "hidden_layer_sizes must be an integer or a list of integers such as (100, 50), got "
                f"{shown(self.hidden_layer_sizes)}"
            ) from None
        if any(size <= 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return sizes

    def _activations(self) -> str | list[str]:
        if isinstance(self.activation, str):
            return _SIGMOID.get(self.activation, self.activation)
        for k, name in enumerate(self.activation):
            if not (isinstance(name, str) and name in _ACTIVATION_NAMES):
                raise ValueError(
                    f"activation[{k}] must be one of {sorted(_ACTIVATION_NAMES)}, got {shown(name)}"
                )
        return [_SIGMOID.get(name, name) for name in self.activation]

    def _checked_validation(self, X_val: Any, y_val: Any) -> _Data:
        try:
            return self._checked(X_val, y_val, None, "validation")
        except ValueError as error:
            raise ValueError(f"X_val, y_val: {error}") from error

    def _checked(self, X: Any, y: Any, sample_weight: Any, use: str) -> _Data:
        begins = use in ("new", "first")
        if (
            _is_table(X, FLOATS)
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
        X = _unless_sparse(X)
        if not begins:
            X = _narrowed(X, self._state.network.dtype)
        weights = self._validated_weights(sample_weight, X)
        given_weights = None if sample_weight is None else weights
        if (factors := self._class_weights(y)) is not None:
            weights = check_weights(weights * factors, X.shape[0])
        return _Data(X, self._encoded(y, X.dtype), weights, y, given_weights)

    def _begun(self, network: Network) -> State:
        """The state of a network that is new."""
        self.t_ = 0
        self.n_layers_ = len(network.layers_dim)
        self.validation_loss_curve_: list[float] = []
        for name in _CURVES:
            self.__dict__.pop(name, None)
        self._state = State(network, network.neutral_parameters(), network.initial_statistics())
        return self._state

    def _begin_curves(self, optimizer: Optimizer) -> None:
        """The attributes that a fit extends, those that are not there; scikit-learn has none for "lbfgs"."""
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
        """Raise where the state that is to be gone on from is not of such a network."""
        old = self._state.network
        for name in ("layers_dim", "batch_norm"):
            if getattr(old, name) != getattr(network, name):
                raise ValueError(
                    f"the fitted network has {name}={getattr(old, name)}, but now it is to have "
                    f"{getattr(network, name)}: clone the estimator, or fit it with warm_start=False, to "
                    "begin anew"
                )

    def _continued(self, network: Network, optimizer: Optimizer) -> State:
        """The state that is gone on from."""
        if not self._state.parameters.flags.writeable:  # they were loaded as a memory map
            self._state = self._state.copy()
        self._state.network = network
        self._state.turn_to(optimizer)
        if not self.early_stopping:
            self._state.settle()
        return self._state

    def _random(self, state: State, begins: bool) -> np.random.RandomState:
        """Where this fit draws from: a generator that was made of a number goes on in the next fit."""
        if not isinstance(self.random_state, numbers.Integral):
            return check_random_state(self.random_state)
        if begins or state.random is None or state.random_state != self.random_state:
            return seeded(self.random_state)
        return state.random

    def _draw(self, state: State, random: np.random.RandomState) -> None:
        """Initial parameters, draw for draw scikit-learn's (Glorot & Bengio, 2010, but for the biases)."""
        network = state.network
        names = {self.activation} if isinstance(self.activation, str) else set(self.activation)
        factor = 2.0 if names and names <= {"logistic", "sigmoid"} else 6.0
        for W, b in zip(network.weights(state.parameters), network.biases(state.parameters), strict=True):
            bound = np.sqrt(factor / sum(W.shape))
            W[...] = random.uniform(-bound, bound, W.shape)
            b[...] = random.uniform(-bound, bound, b.shape[1])

    def _seed(self, state: State, random: np.random.RandomState) -> None:
        """What the masks of dropout come from, in this fit and those that go on with it."""
        if state.network.dropout and not state.seed:
            high, low = random.randint(0, 2**32, 2, np.uint64).tolist()
            state.seed = (high << 32) | low | 1

    def _split(self, data: _Data, state: State, random: np.random.RandomState) -> tuple[_Data, _Data]:
        """Training and validation data; the same ones where a fit goes on."""
        if state.split is None:
            state.split = random.get_state()
        else:
            random = np.random.RandomState()
            random.set_state(state.split)
        stratify = data.y > 0.5 if self.n_outputs_ == 1 else None
        try:
            ours, theirs = train_test_split(
                np.arange(data.X.shape[0]), random_state=random, test_size=float(self.validation_fraction),
                stratify=stratify if isinstance(self, ClassifierMixin) else None,
            )  # fmt: skip
        except ValueError as error:
            raise ValueError(f"validation_fraction={self.validation_fraction}: {error}") from error
        if len(theirs) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        parts = data.taken(ours), data.taken(theirs)
        if not all(part.weights.any() for part in parts):
            raise ValueError(
                "All samples that early_stopping sets aside, or all others, have the weight 0: leave out "
                "samples of weight 0, or pass X_val and y_val"
            )
        return parts

    def _chosen_optimizer(self) -> Optimizer:
        decay: dict[str, Any] = (
            {} if self.weight_decay is None else {"weight_decay": float(self.weight_decay)}
        )
        if isinstance(self.solver, str):
            made = _SOLVERS.get(self.solver)
            optimizer = made(self, decay) if made else OPTIMIZERS[self.solver](**decay)
        elif decay:
            raise ValueError(
                f"weight_decay={self.weight_decay} goes with a solver given by its name: set it in "
                f"{self.solver!r} instead"
            )
        else:
            optimizer = resolve_optimizer(self.solver)
        if isinstance(optimizer, LBFGS):
            for name in ("dropout", "max_grad_norm", "ema_decay", "weight_decay"):
                if np.any(getattr(self, name)):
                    raise ValueError(
                        f"solver 'lbfgs' minimises a smooth function that stays the same, which {name} is "
                        f"not made for: leave {name} out or choose another solver"
                    )
        return optimizer

    def _has_own_schedule(self) -> bool:
        """Whether the rate is not one of scikit-learn's ways."""
        return not (isinstance(self.learning_rate, str) and self.learning_rate in _SGD_RATES)

    def _schedule(self, state: State, n_samples: int, n_batches: int) -> Schedule:
        if self._has_own_schedule():
            return resolve_schedule(self.learning_rate, "learning_rate")
        if self.solver != "sgd" or self.learning_rate == "constant":
            return Constant()
        if self.learning_rate == "adaptive":
            return _Adaptive(state)
        return _InverseScaling(float(self.power_t), self.t_, state.n_steps, n_samples, n_batches)

    def _batch_size(self, n_samples: int) -> int:
        return min(200 if self.batch_size == "auto" else int(self.batch_size), n_samples)

    def _n_batches(self, n_samples: int) -> int:
        """Steps of a pass."""
        return -(-n_samples // self._batch_size(n_samples))

    def _job(self, data: _Data, state: State, optimizer: Optimizer, n_passes: int) -> Job:
        n_samples = data.X.shape[0]
        batch_size = self._batch_size(n_samples)
        if isinstance(optimizer, LBFGS):
            batch_size = n_samples
        elif self.batch_size != "auto" and self.batch_size > n_samples:
            warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
        n_batches = -(-n_samples // batch_size)
        return Job(
            data.X, data.y, data.weights, n_passes, batch_size,
            averaged=True,
            shuffled=self.shuffle and batch_size < n_samples,
            seed=state.seed,
            optimizer=optimizer,
            schedule=self._schedule(state, n_samples, n_batches),
            epsilon=float(self.learning_rate_init),
            reg_lambda=float(self.alpha),
            clip_norm=float(self.max_grad_norm or 0.0),
            average_share=0.0 if self.ema_decay is None else 1.0 - float(self.ema_decay),
            n_threads=int(self.n_threads or available_cores()),
            of_objective=True,
            # scikit-learn's squared error is a mean over the outputs, of which it descends the sum.
            loss_share=1 / self.n_outputs_ if isinstance(state.network.loss, SquaredError) else 1.0,
            tol=float(self.tol),
            patience=0 if self.early_stopping else int(min(self.n_iter_no_change, 2**62)),
            steps_before=state.n_steps,
            total_steps=max(
                int(self.max_iter) * n_batches, state.n_steps + n_passes * n_batches
            ),
        )  # fmt: skip

    def _validation(self, data: _Data | None, state: State) -> Validation | None:
        if data is None:
            return None
        backend, network = get_backend("numba"), state.network

        def loss() -> float:
            total = data.weights.sum()
            weights = data.weights / total
            return backend.loss(network, state.folded, data.X, data.y, weights, int(self.n_threads or 0))

        def score() -> float:
            if self.scoring is None:
                return self._own_score(data)
            scorer = check_scoring(looked_at, self.scoring)
            weights: dict[str, Any] = {}
            if data.given_weights is not None and _takes_weights(scorer):
                weights["sample_weight"] = data.given_weights
            value = scorer(looked_at, data.X, data.given, **weights)
            try:
                return float(value)
            except (TypeError, ValueError):
                raise ValueError(f"scoring must give a number, got {shown(value)}") from None

        looked_at = self._without_names()
        if self.scoring == "loss":
            return Validation(loss, lambda: -self.validation_loss_curve_[-1])
        return Validation(loss, score)

    def _without_names(self) -> BaseMLP:
        """The same estimator for arrays that have no names of features."""
        other = type(self).__new__(type(self))
        other.__dict__ = {name: value for name, value in self.__dict__.items() if name != "feature_names_in_"}
        return other

    # --- predicting --------------------------------------------------------------------------------

    def _samples(self, X: Any) -> Array:
        """X as the kernels take it. What fits already is looked at here, since a row takes microseconds."""
        if "_state" not in self.__dict__:
            check_is_fitted(self)
        network = self._state.network
        if (
            _is_table(X, (network.dtype,))
            and X.shape[1] == network.n_inputs
            and "feature_names_in_" not in self.__dict__
        ):
            return X
        X = self._validated(X, reset=False)
        return _narrowed(_unless_sparse(X), network.dtype)

    def _outputs(self, X: Array, name: str, warns: bool = True) -> Array:
        """Return the outputs `name` of the scores of checked samples, (n, n_outputs)."""
        state = self._state
        n_threads = int(self.n_threads or 0)
        return get_backend("numba").outputs(state.network, state.folded, X, name, n_threads, warns)

    def predictor(self, n_rows: int = 1, method: str = "predict") -> Predictor:
        """A function that predicts for so many samples in microseconds, for serving.

        Parameters
        ----------
        n_rows : int, default 1
            Samples of a call.
        method : {"predict", "predict_proba"}, default "predict"
            What it gives for them: what the estimator's method of that name does.

        Returns
        -------
        Predictor
            Of the network as it is now. It does not look for NaN and infinity in what it is given. It can be
            pickled and copied.

        Raises
        ------
        ValueError
            For another method, one that the estimator does not have, n_rows below 1.
        """
        if "_state" not in self.__dict__:
            check_is_fitted(self)
        if not hasattr(self, check_method(method)):
            raise ValueError(f"{type(self).__name__} has no {method}: its predictor is for 'predict'")
        output, finish = self._serving(method)
        state = self._state
        return Predictor("numba", state.network, state.folded, n_rows, output, finish)

    @abstractmethod
    def _serving(self, method: str) -> tuple[str | None, Callable[[Array], Array]]:
        """Return the engine's output, None for classes, and a picklable function that predicts from it."""

    # --- what is fitted ----------------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return "_state" in self.__dict__

    def _fitted_state(self, name: str) -> State:
        if "_state" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r} before it is fitted")
        return self._state

    @property
    def coefs_(self) -> list[Array]:
        state = self._fitted_state("coefs_")
        return LiveViews(state.network.weights(state.predicting), "coefs_")

    @coefs_.setter
    def coefs_(self, values: Any) -> None:
        self._set_views(Network.weights, values, "coefs_")

    @property
    def intercepts_(self) -> list[Array]:
        state = self._fitted_state("intercepts_")
        return LiveViews(_rows_of_biases(state.network, state.predicting), "intercepts_")

    @intercepts_.setter
    def intercepts_(self, values: Any) -> None:
        self._set_views(_rows_of_biases, values, "intercepts_")

    def _set_views(self, part: Callable[[Network, Array], list[Array]], values: Any, name: str) -> None:
        """Write arrays of all layers, on a state that no copy of the estimator shares."""
        self._fitted_state(name)
        state = self._state.copy()
        state.settle()
        # Both, where the parameters that predict are an average.
        for parameters in (state.parameters, state.predicting):
            LiveViews(part(state.network, parameters), name)[:] = values
            values = part(state.network, parameters)  # an iterator can be gone through once
        self._state = state

    @property
    def model_(self) -> Model:
        state = self._fitted_state("model_")
        return Model._sharing(state.network, state.predicting, state.predicting_statistics)

    @property
    def _no_improvement_count(self) -> int:
        return self._fitted_state("_no_improvement_count").n_no_improvement

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _takes_reals(constraints: Any) -> bool:
    """True for the constraints of a parameter that may be any real number of an interval."""
    return any(isinstance(one, Interval) and one.type is numbers.Real for one in constraints)


def _as_float(value: Any, name: str) -> Any:
    """Return a real number as scikit-learn's intervals take it, where a float can hold it.

    Raises
    ------
    ValueError
        For a finite number beyond all floats, which those intervals would let pass.
    """
    if isinstance(value, float | bool | np.bool_):
        return value
    try:
        with np.errstate(over="ignore"):
            number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number) and value not in (math.inf, -math.inf):
        raise ValueError(f"{name} must be a number that a float can hold, got {shown(value)}")
    return value if isinstance(value, numbers.Integral) else number


def _rows_of_biases(network: Network, parameters: Array) -> list[Array]:
    """Return views (n_out,) of the biases in the flat vector."""
    return [b[0] for b in network.biases(parameters)]


@functools.cache
def _defaults(kind: type[BaseMLP]) -> tuple[tuple[str, Any], ...]:
    parameters = inspect.signature(kind).parameters.values()
    variadic = inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL
    return tuple((p.name, p.default) for p in parameters if p.kind not in variadic)


def _one_of_two(classes: Array, scores: Array) -> Array:
    """Return the second class where its score (n, 1) is above 0, else the first, perhaps the only one."""
    return classes[np.minimum(scores[:, 0] > 0, len(classes) - 1)]


def _both(P: Array) -> Array:
    """Return the probabilities (n, 2) of two classes, given those of the second, (n, 1)."""
    return np.hstack([1 - P, P])


def _only_column(S: Array) -> Array:
    """Return a copy (n,) of the outputs (n, 1)."""
    return S[:, 0].copy()


def _unless_sparse(X: Any) -> Any:
    """Samples as an array, but for a table so sparse that kernels are faster with it as it is."""
    if scipy.sparse.issparse(X) and X.nnz > SPARSE_SHARE * X.shape[0] * X.shape[1]:
        return X.toarray(order="C")
    return X


def _narrowed(X: Any, dtype: np.dtype) -> Any:
    """Checked samples in the dtype that an estimator was fitted in."""
    if X.dtype == dtype:
        return X
    with np.errstate(over="ignore"):
        narrow = X.astype(dtype)
    if not all_finite(narrow.data if scipy.sparse.issparse(narrow) else narrow):
        raise ValueError(f"X holds values too large for {dtype}, which this estimator was fitted in: scale X")
    return narrow


def _is_table(X: Any, dtypes: tuple[Any, ...]) -> bool:
    """Whether X is as the kernels take it: what scikit-learn's validation would only find out at length."""
    return bool(
        type(X) is np.ndarray
        and X.dtype in dtypes
        and X.ndim == 2
        and 0 not in X.shape
        and X.flags.c_contiguous
        and X.flags.aligned
        and all_finite(X)
    )


def _takes_weights(scorer: Any) -> bool:
    """Whether a scorer's metric knows of weights; a function of the user's own is not asked to."""
    metric = getattr(scorer, "_score_func", None)
    return metric is not None and "sample_weight" in inspect.signature(metric).parameters


def _is_stochastic(estimator: BaseMLP) -> bool:
    if estimator.solver == "lbfgs" or isinstance(estimator.solver, LBFGS):
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic."
        )
    return True


_OUT_ACTIVATIONS = {"softmax": "softmax", "sigmoid": "logistic", "identity": "identity", "exponential": "exp"}


def _sgd(mlp: Any, decay: dict[str, Any]) -> Optimizer:
    if not mlp.momentum:
        return SGD(**decay)
    kind = Nesterov if mlp.nesterovs_momentum else Momentum
    return kind(momentum=float(mlp.momentum), rate_in_velocity=True, **decay)


def _adam(mlp: Any, decay: dict[str, Any], kind: type[Adam] = Adam, eps_hat: bool = True) -> Optimizer:
    if decay:
        kind = AdamW
    betas = float(mlp.beta_1), float(mlp.beta_2)
    return kind(betas=betas, eps=float(mlp.epsilon), eps_hat=eps_hat, **decay)


# Functions that make the optimizer of an estimator, and of its weight decay where it has one, from its own
# parameters. All others of `OPTIMIZERS` are made with their defaults.
_SOLVERS: dict[str, Callable[[Any, dict[str, Any]], Optimizer]] = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": functools.partial(_adam, kind=AdamW, eps_hat=False),
    "momentum": lambda mlp, decay: Momentum(momentum=float(mlp.momentum), **decay),
    "nesterov": lambda mlp, decay: Nesterov(momentum=float(mlp.momentum), **decay),
    "lbfgs": lambda mlp, decay: LBFGS(
        ftol=_LBFGS_FTOL, gtol=float(mlp.tol), maxfun=min(int(mlp.max_fun), 2**62)
    ),
}


class MLPClassifier(ClassTargets, ClassifierMixin, BaseMLP):
    __doc__ = (
        """A multilayer network for classes or labels: scikit-learn's MLPClassifier, and more.

    Parameters
    ----------"""
        + _PARAMETERS.rstrip()
        + """
    label_smoothing : float, default 0.0
        Share of the targets that is spread over all classes.
    class_weight : dict or "balanced", optional
        Weights of the classes, which times those of the samples; "balanced" makes the classes' sums equal.

    Attributes
    ----------
    classes_ : array (n_classes,)
        The classes, sorted."""
        + _ATTRIBUTES.rstrip()
        + """

    Notes
    -----
    Parameters, defaults, attributes, messages and random numbers are scikit-learn's, so that a program that
    imports its class works with this one. Beyond it stand the parameters from `dropout` on, the other
    activations, solvers and schedules, and the validation data of `fit`.

    Some things differ on purpose. A fit that goes on (`warm_start`, `partial_fit`) goes on with the generator
    and the order of the samples, and a warm start with the optimizer's state too, where scikit-learn begins
    them anew: k passes and then m are k + m passes. Pass ``np.random.RandomState(seed)`` as a new
    `random_state` before each call of `partial_fit` to get scikit-learn's weights. `CalibratedClassifierCV`
    and the scorers "roc_auc" and "average_precision" use `decision_function`, which scikit-learn's class does
    not have. ``docs/scikit-learn.md`` in the sources lists all differences, each with its reason.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = fastnn.MLPClassifier(max_iter=500, random_state=0).fit(X, y)
    >>> bool(classifier.score(X, y) > 0.95)
    True
    """
    )

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_CONSTRAINTS,
        "label_smoothing": [Interval(numbers.Real, 0, 1, closed="both")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }
    # An attribute of scikit-learn's classifier too, although no parameter.
    loss: ClassVar[str] = "log_loss"

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        dropout=0.0,
        batch_norm=False,
        weight_decay=None,
        max_grad_norm=None,
        ema_decay=None,
        scoring=None,
        n_threads=None,
        label_smoothing=0.0,
        class_weight=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.weight_decay = weight_decay
        self.max_grad_norm = max_grad_norm
        self.ema_decay = ema_decay
        self.scoring = scoring
        self.n_threads = n_threads
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight

    # --- fitting -----------------------------------------------------------------------------------

    @available_if(_is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """Go on with one pass over X and y.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        y : array-like (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like (n_samples,), optional
        classes : array-like (n_classes,), optional
            All classes there will be; needed in the first call.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit` does; for classes that are not there or cannot be sorted; with `early_stopping`.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' would balance the samples of each call by themselves: pass the "
                "weights of all classes as a dict, as sklearn.utils.compute_class_weight gives them"
            )
        y = checked_sparse(y, "y")
        if classes is not None:
            sorted_classes(classes)
        try:
            with np.errstate(invalid="ignore"):  # NaN and infinity are refused later
                if _check_partial_fit_first_call(self, classes):
                    self._has_labels = type_of_target(y).startswith("multilabel")
            return self._fit(X, y, sample_weight, n_passes=1, knows_classes=True)
        except BaseException:
            if "_state" not in self.__dict__:  # then the next call is the first again
                for name in ("classes_", "_has_labels"):
                    self.__dict__.pop(name, None)
            raise

    def _encoded(self, y: Any, dtype: np.dtype) -> Array:
        targets = y if self._has_labels else np.searchsorted(self.classes_, y)[:, None]
        targets = targets.astype(dtype)
        if self.label_smoothing and not isinstance(self._loss(), SoftmaxCrossEntropy):
            share = float(self.label_smoothing)
            targets = targets * (1 - share) + share / 2
        return targets

    def _class_weights(self, y: Any) -> Any:
        if self.class_weight is None:
            return None
        if not isinstance(self.class_weight, dict) or self._has_labels:
            return compute_sample_weight(self.class_weight, y)
        # Of all classes, not only of those in y: a part of the data need not hold every one.
        factors = compute_class_weight(self.class_weight, classes=self.classes_, y=self.classes_)
        if not (np.isfinite(factors) & (factors >= 0)).all():
            raise ValueError(f"class_weight must hold finite numbers not below 0, got {self.class_weight!r}")
        return factors[np.searchsorted(self.classes_, y)]

    def _loss(self) -> Loss:
        if self.n_outputs_ == 1 or self._has_labels:
            return SigmoidBinaryCrossEntropy()
        return SoftmaxCrossEntropy(label_smoothing=float(self.label_smoothing))

    def _own_score(self, data: _Data) -> float:
        return float(
            accuracy_score(data.given, self._predicted(data.X, "predict", False), sample_weight=data.weights)
        )

    # --- predicting --------------------------------------------------------------------------------

    def _serving(self, method: str) -> tuple[str | None, Callable[[Array], Array]]:
        classes, is_binary = self.classes_, self.n_outputs_ == 1 and not self._has_labels
        if method == "predict":
            if self._has_labels:
                return "identity", positive
            if is_binary:
                return "identity", functools.partial(_one_of_two, classes)
            return None, classes.take
        if not is_binary:
            return "sigmoid" if self._has_labels else "softmax", np.copy
        if len(classes) == 1:
            return "sigmoid", np.ones_like
        return "sigmoid", _both

    def _predicted(self, X: Array, method: str, warns: bool = True) -> Array:
        """Return what `method` gives for checked samples."""
        output, finish = self._serving(method)
        if output is None:
            state = self._state
            predict = get_backend("numba").predict
            return finish(predict(state.network, state.folded, X, int(self.n_threads or 0), warns))
        return finish(self._outputs(X, output, warns))

    def predict(self, X: Any) -> Array:
        """The class of every sample, or 1 for every label it has.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)

        Returns
        -------
        array (n_samples,) of classes, or (n_samples, n_labels) of 0 and 1
            A sparse matrix where the labels of the fit were one.
        """
        classes = self._predicted(self._samples(X), "predict")
        return scipy.sparse.csr_matrix(classes) if self._is_sparse else classes

    def decision_function(self, X: Any) -> Array:
        """The scores behind the probabilities.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)

        Returns
        -------
        array (n_samples,) for two classes, else (n_samples, n_classes)
            Above 0 says that the second class, or a label, is the likelier.
        """
        scores = self._outputs(self._samples(X), "identity")
        return scores[:, 0] if self.n_outputs_ == 1 and not self._has_labels else scores

    def predict_proba(self, X: Any) -> Array:
        """The probability of every class, in the order of `classes_`, or of every label.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)

        Returns
        -------
        array (n_samples, n_classes)
        """
        return self._predicted(self._samples(X), "predict_proba")

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of `predict_proba`, finite where that rounds to 0.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)

        Returns
        -------
        array (n_samples, n_classes)
        """
        X = self._samples(X)
        P, scores = self._predicted(X, "predict_proba"), self._outputs(X, "identity")
        if self._has_labels:
            exact = scipy.special.log_expit(scores)
        elif self.n_outputs_ > 1:
            exact = scipy.special.log_softmax(scores, axis=1)
        else:
            exact = scipy.special.log_expit(np.hstack([-scores, scores])[:, : P.shape[1]])
        with np.errstate(divide="ignore"):
            return np.where(np.finfo(P.dtype).tiny <= P, np.log(P), exact)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(NumberTargets, RegressorMixin, BaseMLP):
    __doc__ = (
        """A multilayer network for numbers: scikit-learn's MLPRegressor, and more.

    Parameters
    ----------
    loss : str or Loss, default "squared_error"
        "squared_error", "absolute_error", "huber", "quantile", "poisson" (whose predictions are exponentials
        of the scores, and whose targets are not below 0), or an object, as ``fastnn.Huber(delta=0.5)``."""
        + _PARAMETERS.rstrip()
        + """
    quantile : float, default 0.5
        Of the loss "quantile": 0.9 predicts what nine in ten targets are below.

    Attributes
    ----------"""
        + _ATTRIBUTES.rstrip()
        + """

    Notes
    -----
    Those of `MLPClassifier` apply, but for `decision_function`. `partial_fit` is not there with "lbfgs".

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = fastnn.MLPRegressor(learning_rate_init=0.05, max_iter=400, random_state=0).fit(X, y)
    >>> bool(regressor.score(X, y) > 0.5)
    True
    """
    )

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_CONSTRAINTS,
        "loss": [StrOptions(set(REGRESSION_LOSSES)), Loss],
        "quantile": [Interval(numbers.Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        loss="squared_error",
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        dropout=0.0,
        batch_norm=False,
        weight_decay=None,
        max_grad_norm=None,
        ema_decay=None,
        scoring=None,
        n_threads=None,
        quantile=0.5,
    ):
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.weight_decay = weight_decay
        self.max_grad_norm = max_grad_norm
        self.ema_decay = ema_decay
        self.scoring = scoring
        self.n_threads = n_threads
        self.quantile = quantile

    # --- fitting -----------------------------------------------------------------------------------

    @available_if(_is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Go on with one pass over X and y.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)
        y : array-like (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like (n_samples,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As `fit` does; with `early_stopping`.
        """
        return self._fit(X, y, sample_weight, n_passes=1)

    def _encoded(self, y: Any, dtype: np.dtype) -> Array:
        return self._loss().check(y, y.shape[0], self.n_outputs_, dtype)

    def _loss(self) -> Loss:
        if isinstance(self.loss, Loss):
            if self.loss.of_labels:
                raise ValueError(f"loss={self.loss!r} is of classes: MLPClassifier is made for them")
            return self.loss
        return Quantile(float(self.quantile)) if self.loss == "quantile" else LOSSES[self.loss]()

    def _own_score(self, data: _Data) -> float:
        predicted = self._numbers(data.X, warns=False)
        if not all_finite(predicted):
            return float("nan")
        with np.errstate(over="ignore"):  # on the way to where they are not finite
            return float(r2_score(data.given, predicted, sample_weight=data.given_weights))

    # --- predicting --------------------------------------------------------------------------------

    def predict(self, X: Any) -> Array:
        """The number, or numbers, for every sample.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features)

        Returns
        -------
        array (n_samples,) or (n_samples, n_outputs)
        """
        return self._numbers(self._samples(X))

    def _serving(self, method: str) -> tuple[str | None, Callable[[Array], Array]]:
        output = self._state.network.loss.output
        return output, _only_column if self.n_outputs_ == 1 else np.copy

    def _numbers(self, X: Array, warns: bool = True) -> Array:
        output, finish = self._serving("predict")
        return finish(self._outputs(X, str(output), warns))
