"""Parameters of both estimators: documentation, checks, and conversion to the engine's names and sizes.

To add a parameter, add its constraint to `CONSTRAINTS`, its documentation to `PARAMETERS_DOC`, and the
parameter to the `__init__` of both estimators. The code that uses it belongs here if it concerns the network,
in ``solvers.py`` if it concerns the optimizer or learning rate, otherwise in `make_job` of ``fitting.py``.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import operator
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import get_scorer_names

from ..network.initialization import INITIALIZERS
from ..optimizers import OPTIMIZERS, Optimizer
from ..reference.layer import ACTIVATIONS
from ..schedules import SCHEDULES, Schedule
from ..system.sklearn_internals import Interval, Options, StrOptions, validate_parameter_constraints
from ..system.validation import short_repr
from ..training.patience import TIES
from .solvers import SKLEARN_RATES, SOLVERS

if TYPE_CHECKING:
    from .base import BaseMLP

# The engine's names of activations, by scikit-learn's names where the two differ.
ENGINE_NAMES = {"logistic": "sigmoid"}
ACTIVATION_NAMES = {*ACTIVATIONS, *ENGINE_NAMES}

CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", Interval(numbers.Integral, 1, None, closed="left")],
    "activation": [StrOptions(ACTIVATION_NAMES), list, tuple],
    "solver": [StrOptions(SOLVERS), Optimizer],
    "alpha": [Interval(numbers.Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(numbers.Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions({*SKLEARN_RATES, *SCHEDULES}), Schedule, callable],
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
    "n_iter_no_change": [Interval(numbers.Integral, 1, None, closed="left"), Options(numbers.Real, {np.inf})],
    "max_fun": [Interval(numbers.Integral, 1, None, closed="left")],
    "dropout": [Interval(numbers.Real, 0, 1, closed="left"), list, tuple],
    "batch_norm": ["boolean"],
    "weight_decay": [Interval(numbers.Real, 0, None, closed="left"), None],
    "max_grad_norm": [Interval(numbers.Real, 0, None, closed="neither"), None],
    "ema_decay": [Interval(numbers.Real, 0, 1, closed="left"), None],
    "scoring": [StrOptions({*get_scorer_names(), "loss"}), callable, None],
    "n_threads": [Interval(numbers.Integral, 1, None, closed="left"), None],
    "init": [StrOptions(set(INITIALIZERS)), None],
    "ties": [StrOptions(set(TIES))],
}


def _format_names(before: str, names: Iterable[str], after: str) -> str:
    """Return the quoted names of a registry between two texts, as lines of `PARAMETERS_DOC`."""
    text = before + ", ".join(f'"{name}"' for name in names) + after
    indent = " " * 8
    return textwrap.fill(
        text, width=109, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


_ACTIVATION_LIST = _format_names(
    "Activation of the hidden layers, one for all or one for each: ",
    ACTIVATIONS,
    '. "logistic" is scikit-learn\'s name for "sigmoid".',
)
_SOLVER_LIST = _format_names(
    "",
    OPTIMIZERS,
    ', or an object such as ``fastnn.RMSprop(alpha=0.9)``. "adam", "sgd" (with `momentum` and '
    '`nesterovs_momentum`) and "lbfgs" are scikit-learn\'s; "lm" is short for "levenberg_marquardt", '
    "which regressors take with the squared error; the others are torch.optim's.",
)
_INIT_LIST = _format_names("", INITIALIZERS, ".")

PARAMETERS_DOC = f"""
    hidden_layer_sizes : array-like of int or int, default (100,)
        Number of units in every hidden layer.
    activation : str or list of str, default "relu"
{_ACTIVATION_LIST}
    solver : str or Optimizer, default "adam"
{_SOLVER_LIST}
    alpha : float, default 0.0001
        Strength of the L2 penalty ``alpha / 2 |W|^2``, which is divided by the number of samples, or with
        sample weights by their sum.
    batch_size : int or "auto", default "auto"
        Number of samples in a minibatch; "auto" is ``min(200, n_samples)``.
    learning_rate : str, Schedule or function, default "constant"
        "constant", "invscaling" and "adaptive" are scikit-learn's and affect the solver "sgd" only. A fastnn
        schedule, given by its name, as an object, or as a function of the step (and the number of steps),
        affects every solver but "lbfgs" and "lm". A schedule spans `max_iter` epochs, and its end issues no
        ConvergenceWarning. To pickle the estimator, define the function in a module: pickle takes no lambda.
    learning_rate_init : float, default 0.001
        Learning rate, which a schedule multiplies by its factors.
    power_t : float, default 0.5
        Exponent of "invscaling": the rate is divided by ``(samples trained on + 1) ** power_t``.
    max_iter : int, default 200
        Largest number of epochs, passes over the data, or of iterations of "lbfgs" or "lm".
    shuffle : bool, default True
        Shuffle the samples before every epoch.
    random_state : None, int or RandomState, default None
        Generator of the initial parameters, the validation split, the orders of the samples and the dropout
        masks. If the value is changed before a fit that continues an earlier one, this fit shuffles the
        samples from their original order.
    tol : float, default 1e-4
        Smallest change of the loss or validation score that counts as an improvement; for "lbfgs" the
        gradient tolerance, which for "lm" is `gtol` of ``fastnn.LevenbergMarquardt``.
    verbose : bool or int, default False
        1 shows a progress bar with the loss and the learning rate; True, or a number above 1, prints a line
        per epoch as scikit-learn does.
    warm_start : bool, default False
        Continue the last fit, with its optimizer's state, schedule and generator.
    momentum : float, default 0.9
        Momentum of the solvers "sgd", "momentum" and "nesterov".
    nesterovs_momentum : bool, default True
        Use Nesterov's momentum with "sgd".
    early_stopping : bool, default False
        End the fit when the score of the validation data no longer improves, and restore the parameters of
        the best epoch. The validation data are `X_val` and `y_val` of `fit` or, without these, a part of X.
        As in scikit-learn, "lbfgs" ignores it.
    validation_fraction : float, default 0.1
        Fraction of the samples in X that `early_stopping` uses as validation data.
    beta_1, beta_2, epsilon : float, default 0.9, 0.999, 1e-8
        Decay rates and the stabilising constant of "adam" and "adamw".
    n_iter_no_change : int or inf, default 10
        Number of epochs in a row without an improvement after which the fit ends.
    max_fun : int, default 15000
        Largest number of evaluations of the loss by "lbfgs".
    dropout : float or list of float, default 0.0
        Dropout rate, at least 0 and below 1: the fraction of the hidden units that a step sets to 0. A list
        has one rate for the inputs and one for each hidden layer.
    batch_norm : bool, default False
        Normalise the sums of the hidden layers over the minibatch.
    weight_decay : float, optional
        Weight decay of all parameters: decoupled for "adam", which becomes AdamW, and for "adamw"; an L2
        penalty, as in torch, for the other solvers.
    max_grad_norm : float, optional
        Largest Euclidean norm of a step's gradient; a longer gradient is scaled down to it.
    ema_decay : float, optional
        Decay, in every step, of an exponential moving average of the parameters, which then predicts. By
        default the last parameters predict.
    scoring : str or callable, optional
        Score for `early_stopping`: a scorer of scikit-learn, or "loss" for the validation loss. By default
        the estimator's `score`. All of them are weighted by the sample weights times the weights of the
        classes, as in scikit-learn's HistGradientBoostingClassifier; metrics and functions without a
        parameter `sample_weight` take no weights.
    n_threads : int, optional
        Largest number of threads that share a step or a prediction. Small steps and predictions run on one
        thread. By default as many as are fastest, which is measured during the fit. The results are the same,
        bit for bit, for any number.
    init : str, optional
        Method that draws the initial weights, with biases of 0 except for "tutorial":
{_INIT_LIST}
        By default weights and biases are drawn as scikit-learn draws them (Glorot & Bengio, 2010).
    ties : {{"earliest", "latest"}}, default "earliest"
        Epoch whose parameters `early_stopping` restores if several epochs have the best score.
"""

ATTRIBUTES_DOC = """
    coefs_, intercepts_ : list of array (n_in, n_out) and (n_out,)
        Weights and biases of the layers, views of the parameters that predict. Writing to a view changes the
        estimator. After a fit with `early_stopping` or `ema_decay`, a later fit would continue from
        parameters that a view does not change: assign a whole list instead, ``estimator.coefs_ = [...]``.
        Assigned arrays must have the views' shapes and hold real numbers within the range of the dtype; if
        one array is refused, none is written.
    loss_ : float
        Objective (loss and penalty) of the last epoch.
    loss_curve_, best_loss_ : list of float, float
        Objective of every epoch, and its minimum, which is None with `early_stopping`. Both are missing after
        a fit by "lbfgs".
    validation_scores_, best_validation_score_ : list of float, float
        Validation score of every epoch, and its maximum; None without `early_stopping`. Both are missing
        after a fit by "lbfgs".
    validation_loss_curve_ : list of float
        Loss of the validation data after every epoch; empty without validation data.
    n_iter_ : int
        Number of epochs in the last fit.
    t_ : int
        Number of samples trained on in all fits.
    n_layers_, n_outputs_ : int
        Number of layers, the inputs counted as one, and number of outputs.
    out_activation_ : str
        Name of the output activation.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : array (n_features,)
        Names of the features, where X has names and all of them are text.
    model_ : Model
        Network as a `fastnn.Model` that shares the parameters.
"""


def validate_parameters(estimator: BaseMLP) -> None:
    """Check the parameters of an estimator that differ from their defaults by scikit-learn's validation."""
    # Validating all parameters would take as long as a small fit, and defaults are valid: skip defaults.
    kind: Any = type(estimator)
    for name, default in _list_defaults(kind):
        value = getattr(estimator, name)
        if value is not default:  # a number or a text is validated once for all fits
            validate = _validate if type(value) in (int, float, str) else _validate.__wrapped__
            validate(kind, name, value)


def parse_hidden_sizes(hidden_layer_sizes: Any) -> list[int]:
    """Return the number of units of every hidden layer."""
    given = hidden_layer_sizes
    if isinstance(given, np.ndarray) and not given.ndim:
        given = given[()]
    try:
        sizes = [operator.index(size) for size in (given if hasattr(given, "__iter__") else [given])]
    except TypeError:
        raise ValueError(
            "hidden_layer_sizes must be an integer or a list of integers such as (100, 50), got "
            f"{short_repr(hidden_layer_sizes)}"
        ) from None
    if any(size <= 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return sizes


def parse_activations(activation: Any) -> str | list[str]:
    """Return the engine's name, or list of names, of the hidden layers' activations."""
    if isinstance(activation, str):
        return ENGINE_NAMES.get(activation, activation)
    for k, name in enumerate(activation):
        if not (isinstance(name, str) and name in ACTIVATION_NAMES):
            raise ValueError(
                f"activation[{k}] must be one of {sorted(ACTIVATION_NAMES)}, got {short_repr(name)}"
            )
    return [ENGINE_NAMES.get(name, name) for name in activation]


@functools.cache
def _list_defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    parameters = inspect.signature(kind).parameters.values()
    variadic = inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL
    return tuple((p.name, p.default) for p in parameters if p.kind not in variadic)


@functools.lru_cache(4096, typed=True)  # 1 and 1.0 are equal, but not both valid
def _validate(kind: Any, name: str, value: Any) -> None:
    constraints = kind._parameter_constraints
    ranges = [one for one in constraints.get(name, ()) if isinstance(one, Interval)]
    if isinstance(value, numbers.Real) and any(one.type is numbers.Real for one in ranges):
        value = _convert_to_float(value, name)
    validate_parameter_constraints(constraints, {name: value}, caller_name=kind.__name__)


def _convert_to_float(value: Any, name: str) -> Any:
    """Return a real number that a float can hold, in a type that scikit-learn's intervals can compare."""
    if isinstance(value, float | bool | np.bool_):
        return value
    try:
        with np.errstate(over="ignore"):
            number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number) and value not in (math.inf, -math.inf):
        raise ValueError(f"{name} must be a number that a float can hold, got {short_repr(value)}")
    return value if isinstance(value, numbers.Integral) else number
