"""Validation samples: their split from the training samples, and their evaluation after every epoch."""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

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


class Validation:
    """Validation data of a fit; their losses and scores extend the curves of the estimator."""

    def __init__(self, estimator: BaseMLP, data: Samples) -> None:
        self._estimator, self._data = estimator, data
        network, n_threads = estimator._state.network, estimator._threads
        weights = data.weights / data.weights.sum()
        self._loss = get_backend("numba").loss(network, data.X, data.y, weights, n_threads)
        self._scoring = estimator.scoring
        if estimator.early_stopping and self._scoring is None:
            self._score = estimator._make_score(data)
            name, self._finish = estimator._choose_output("predict")
            self._fill, self._outputs = get_backend("numba").bind(network, data.X, name, n_threads)

    def compute_loss(self) -> float:
        """Return the present loss."""
        estimator = self._estimator
        loss = self._loss(estimator._state.folded)
        estimator.validation_loss_curve_.append(loss)
        return loss

    def compute_score(self) -> float:
        """Return the present score by the parameter `scoring`; the loss has been computed before."""
        estimator, data = self._estimator, self._data
        if self._scoring == "loss":
            score = -estimator.validation_loss_curve_[-1]
        elif self._scoring is None:
            self._fill(estimator._state.folded)
            score = self._score(self._finish(self._outputs))
        else:
            nameless = copy.copy(estimator)
            nameless.__dict__.pop("feature_names_in_", None)  # `data.X` has no names
            scorer = check_scoring(nameless, self._scoring)
            has_weights = (
                data.given_weights is not None or getattr(estimator, "class_weight", None) is not None
            )
            options = make_weight_argument(scorer, data.weights if has_weights else None)
            score = call_scorer("scoring", scorer, nameless, data.X, data.given_y, **options)
        estimator.validation_scores_.append(score)
        return score


def make_weight_argument(scorer: Any, weights: NDArray[np.float64] | None) -> dict[str, Any]:
    """Return the argument `sample_weight` of a scorer, if there are weights and it takes them."""
    if weights is None:
        return {}
    try:
        parameters = inspect.signature(find_metric(scorer)).parameters
    except (TypeError, ValueError):  # a function that is written in C may have no signature
        return {}
    return {"sample_weight": weights} if "sample_weight" in parameters else {}
