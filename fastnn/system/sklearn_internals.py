"""All private names of scikit-learn that fastnn uses.

Other files import public names alone. If a release of scikit-learn moves or renames anything else, this file
alone changes, but for the names that scikit-learn itself looks up on estimators: these are listed in
`LOOKED_UP`, and the estimators define them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.base import _fit_context as fit_context
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._param_validation import Interval, Options, StrOptions, validate_parameter_constraints
from sklearn.utils.multiclass import _check_partial_fit_first_call as check_first_partial_fit
from sklearn.utils.validation import _check_feature_names_in as check_feature_names
from sklearn.utils.validation import _check_sample_weight as check_sample_weight

from .messages import WRAPPERS

try:  # callbacks exist from scikit-learn 1.9 on
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Empty replacement of scikit-learn's mixin for versions without callbacks."""

    def with_callbacks(method: Any) -> Any:
        """Return the method unchanged."""
        return method


# Every name, with the property of scikit-learn that it relies on.
__all__ = [
    "CALLBACKS",  # attribute in which `set_callbacks` stores its arguments
    "CALLBACK_ATTRIBUTES",  # attributes of an estimator by which `with_callbacks` ends the callbacks of a fit
    "LOOKED_UP",  # scikit-learn and programs written for it read these attributes of estimators
    "NEVER_CALLED",  # methods of MLPClassifier and MLPRegressor that programs override, with the public way
    "OUTPUT_CONFIG",  # attribute of a transformer in which `set_output` stores its choice, a dict
    "CallbackSupportMixin",  # public, with the private methods and attributes of the functions below
    "Interval",  # a constraint: numbers of a type between two bounds, `closed` on the sides named
    "Options",  # a constraint: certain values of a type
    "StrOptions",  # a constraint: certain texts
    "check_feature_names",  # the argument of `get_feature_names_out` as an array, or the names seen in fit
    "check_first_partial_fit",  # stores `classes` as `classes_`; True at the first call of `partial_fit`
    "check_sample_weight",  # weights as a float array (n,), ones for None
    "find_metric",  # a scorer has the metric that it calls
    "fit_context",  # a decorator of fits, which calls `_validate_params` first
    "get_callbacks",  # the arguments of `set_callbacks`, in `CALLBACKS`
    "has_watched_fits",  # a search with callbacks gives its candidates `_parent_callback_ctx`
    "safe_indexing",  # selects rows of an array, a sparse matrix, a list or a dataframe
    "set_private_attributes",  # a fit of MLPClassifier and MLPRegressor leaves these attributes
    "start_callbacks",  # the mixin's `_init_callback_context` returns the context of a fit's root task
    "validate_parameter_constraints",  # raises InvalidParameterError, a ValueError, in scikit-learn's words
    "with_callbacks",  # public, a decorator of fits; its module is one of `messages.WRAPPERS`
]

LOOKED_UP = (
    "_get_param_names",  # the sorted names of the parameters, which `get_params` and `clone` read
    "_label_binarizer",  # converters of other packages read it of an MLPClassifier
    "_no_improvement_count",  # programs that continue the fits of an MLPClassifier read it
    "_parameter_constraints",  # a dict of constraints by parameter, read by tests of estimators, too
    "_validate_params",  # called by `fit_context` before a fit
)
_PASSES = "fastnn.Backprop runs forward passes, backward passes and steps around a loss of yours"
_INITIAL = "the parameter init chooses the initial weights, and coefs_ and intercepts_ may be assigned"
_EPOCHS = "callbacks of fastnn.Model.train observe and end a training epoch by epoch"
NEVER_CALLED = {
    "_backprop": _PASSES,
    "_compute_loss_grad": _PASSES,
    "_forward_pass": _PASSES,
    "_forward_pass_fast": _PASSES,
    "_init_coef": _INITIAL,
    "_initialize": _INITIAL,
    "_fit_stochastic": _EPOCHS,
    "_update_no_improvement_count": _EPOCHS,
}
OUTPUT_CONFIG = "_sklearn_output_config"
CALLBACKS = "_skl_callbacks"
CALLBACK_ATTRIBUTES = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")

# Warnings skip the frames of the functions by which these decorators wrap methods.
WRAPPERS.update({fit_context.__module__, with_callbacks.__module__})


def get_callbacks(estimator: Any) -> Sequence[Any]:
    """Return the callbacks of an estimator, perhaps none."""
    return getattr(estimator, CALLBACKS, [])


def has_watched_fits(estimator: object) -> bool:
    """Return True if the estimator has callbacks, or is fitted within a search that has some."""
    attributes = vars(estimator)  # asking for missing attributes takes longer than a step
    return bool(attributes.get(CALLBACKS)) or "_parent_callback_ctx" in attributes


def start_callbacks(estimator: Any, n_tasks: int) -> Any:
    """Begin to report a fit of up to `n_tasks` tasks to callbacks; return the context of the whole fit."""
    return estimator._init_callback_context(max_subtasks=n_tasks)


def find_metric(scorer: object) -> Any:
    """Return the metric that a scorer of scikit-learn calls; a user's function is its own."""
    return getattr(scorer, "_score_func", scorer)


def set_private_attributes(network: Any, label_binarizer: Any = None) -> None:
    """Give an MLPClassifier or MLPRegressor with weights the private attributes that a fit leaves."""
    if label_binarizer is not None:
        network._label_binarizer = label_binarizer
    network._best_coefs = [W.copy() for W in network.coefs_]
    network._best_intercepts = [b.copy() for b in network.intercepts_]
    network._no_improvement_count = 0
