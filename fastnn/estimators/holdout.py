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
        self._weights = data.weights / data.weights.sum()

    def compute_loss(self) -> float:
        """Return the present loss."""
        estimator, data, state = self._estimator, self._data, self._estimator._state
        loss = get_backend("numba").loss(
            state.network, state.folded, data.X, data.y, self._weights, estimator._threads
        )
        estimator.validation_loss_curve_.append(loss)
        return loss

    def compute_score(self) -> float:
        """Return the present score by the parameter `scoring`; the loss has been computed before."""
        estimator, data = self._estimator, self._data
        if estimator.scoring == "loss":
            score = -estimator.validation_loss_curve_[-1]
        elif estimator.scoring is None:
            score = estimator._compute_score(data)
        else:
            nameless = copy.copy(estimator)
            nameless.__dict__.pop("feature_names_in_", None)  # `data.X` has no names
            scorer = check_scoring(nameless, estimator.scoring)
            has_weights = (
                data.given_weights is not None or getattr(estimator, "class_weight", None) is not None
            )
            options = make_weight_argument(scorer, data.weights if has_weights else None)
            score = call_scorer("scoring", scorer, nameless, data.X, data.given_y, **options)
        estimator.validation_scores_.append(score)
        return score


def make_weight_argument(scorer: Any, weights: NDArray[np.float64] | None) -> dict[str, Any]:
    """Return the argument `sample_weight` of a scorer, a user's function or scikit-learn's.

    The weights are sample weights times class weights. The result is empty for None, and if the
    metric or function has no parameter of this name.
    """
    if weights is None:
        return {}
    try:
        parameters = inspect.signature(find_metric(scorer)).parameters
    except (TypeError, ValueError):  # a function that is written in C may have no signature
        return {}
    return {"sample_weight": weights} if "sample_weight" in parameters else {}
