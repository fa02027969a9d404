"""Validation samples: their split from the training samples, and their evaluation after every epoch."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split

from ..engine import get_backend
from ..system.sklearn_internals import find_metric
from ..training.callbacks import call_scorer
from .fitted import FittedNetwork
from .samples import Samples, check_samples
from .targets import Weights

if TYPE_CHECKING:
    from .base import BaseMLP


class Validation(NamedTuple):
    """Functions that return the present loss and score of the validation data."""

    loss: Callable[[], float]
    score: Callable[[], float]


def check_validation(estimator: BaseMLP, X_val: object, y_val: object, weights_val: Weights) -> Samples:
    """Check validation data, whose arguments the message of an error names."""
    try:
        return check_samples(estimator, X_val, y_val, weights_val, "validation")
    except ValueError as error:
        raise ValueError(f"X_val, y_val: {error}") from error


def split_validation(
    estimator: BaseMLP, data: Samples, state: FittedNetwork, random: np.random.RandomState
) -> tuple[Samples, Samples]:
    """Split samples into training and validation samples; a continued fit repeats the first fit's split."""
    if state.split is None:
        state.split = copy.deepcopy(random)
    else:
        random = copy.deepcopy(state.split)
    stratify = data.y > 0.5 if estimator.n_outputs_ == 1 else None
    try:
        training, held_out = train_test_split(
            np.arange(data.X.shape[0]),
            random_state=random,
            test_size=float(estimator.validation_fraction),
            stratify=stratify if isinstance(estimator, ClassifierMixin) else None,
        )
    except ValueError as error:
        raise ValueError(f"validation_fraction={estimator.validation_fraction}: {error}") from error
    if len(held_out) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
        )
    subsets = data.take_rows(training), data.take_rows(held_out)
    if not all(subset.weights.any() for subset in subsets):
        raise ValueError(
            "All samples that early_stopping sets aside, or all others, have the weight 0: leave out "
            "samples of weight 0, or pass X_val and y_val"
        )
    return subsets


def make_validation(estimator: BaseMLP, data: Samples | None, state: FittedNetwork) -> Validation | None:
    """Return the functions that compute loss and score of the validation samples, or None without samples."""
    if data is None:
        return None
    backend, network = get_backend("numba"), state.network
    weights = data.weights / data.weights.sum()

    def loss() -> float:
        return backend.loss(network, state.folded, data.X, data.y, weights, estimator._threads)

    def score() -> float:
        if estimator.scoring is None:
            return estimator._compute_score(data)
        nameless = copy.copy(estimator)
        nameless.__dict__.pop("feature_names_in_", None)  # `data.X` has lost them
        scorer = check_scoring(nameless, estimator.scoring)
        is_weighted = data.given_weights is not None or getattr(estimator, "class_weight", None) is not None
        options = make_weight_argument(scorer, data.weights if is_weighted else None)
        return call_scorer("scoring", scorer, nameless, data.X, data.given_y, **options)

    if estimator.scoring == "loss":
        return Validation(loss, lambda: -estimator.validation_loss_curve_[-1])
    return Validation(loss, score)


def make_weight_argument(scorer: Any, weights: NDArray[np.float64] | None) -> dict[str, Any]:
    """Return the argument `sample_weight` of a scorer, a user's function or scikit-learn's.

    The weights are those of the samples times those of the classes. The result is empty for None, and if the
    metric or function has no parameter of this name.
    """
    if weights is None:
        return {}
    try:
        parameters = inspect.signature(find_metric(scorer)).parameters
    except (TypeError, ValueError):  # a function that is written in C may have no signature
        return {}
    return {"sample_weight": weights} if "sample_weight" in parameters else {}
