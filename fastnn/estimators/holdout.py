"""Validation samples: their split from the training samples, and their evaluation after every epoch."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split

from fastnn_kernels.compiler.interrupts import let_interrupts_through

from ..engine.choice import get_backend
from ..saving.values import plain_state, random_with
from ..system.validation import shown
from .fitted import FittedNetwork
from .fitting import Validation
from .samples import Samples

__all__ = ["split_validation", "validation_functions", "weights_for"]


def split_validation(
    estimator: Any, data: Samples, state: FittedNetwork, random: np.random.RandomState
) -> tuple[Samples, Samples]:
    """Split samples into training and validation samples; a continued fit repeats the first fit's split."""
    if state.split is None:
        state.split = plain_state(random)
    else:
        random = random_with(state.split)
    stratify = data.y > 0.5 if estimator.n_outputs_ == 1 else None
    try:
        training, held_out = train_test_split(
            np.arange(data.X.shape[0]), random_state=random, test_size=float(estimator.validation_fraction),
            stratify=stratify if isinstance(estimator, ClassifierMixin) else None,
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"validation_fraction={estimator.validation_fraction}: {error}") from error
    if len(held_out) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
        )
    subsets = data.subset(training), data.subset(held_out)
    if not all(subset.weights.any() for subset in subsets):
        raise ValueError(
            "All samples that early_stopping sets aside, or all others, have the weight 0: leave out "
            "samples of weight 0, or pass X_val and y_val"
        )
    return subsets


def validation_functions(estimator: Any, data: Samples | None, state: FittedNetwork) -> Validation | None:
    """Return the functions that compute loss and score of the validation samples, or None without samples."""
    if data is None:
        return None
    backend, network = get_backend("numba"), state.network

    def loss() -> float:
        total = data.weights.sum()
        weights = data.weights / total
        return backend.loss(network, state.folded, data.X, data.y, weights, estimator._threads)

    def score() -> float:
        if estimator.scoring is None:
            return estimator._default_score(data)
        nameless = _without_names(estimator)
        scorer = check_scoring(nameless, estimator.scoring)
        is_weighted = data.given_weights is not None or getattr(estimator, "class_weight", None) is not None
        weights = weights_for(scorer, data.weights if is_weighted else None)
        with let_interrupts_through():
            value = scorer(nameless, data.X, data.given_y, **weights)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ValueError(f"scoring must give a number, got {shown(value)}") from None

    if estimator.scoring == "loss":
        return Validation(loss, lambda: -estimator.validation_loss_curve_[-1])
    return Validation(loss, score)


def _without_names(estimator: Any) -> Any:
    """Return a shallow copy of an estimator that accepts arrays without feature names."""
    other = copy.copy(estimator)
    other.__dict__.pop("feature_names_in_", None)
    return other


def weights_for(scorer: Any, weights: NDArray[np.float64] | None) -> dict[str, Any]:
    """Return the arguments with which a scorer is given the weights of its samples.

    Parameters
    ----------
    scorer : callable
        Scorer of scikit-learn, or a user's function of the estimator, X and y.
    weights : array (n,) or None
        Weights of the samples, multiplied by the weights of the classes; None for samples without weights.

    Returns
    -------
    dict
        The argument `sample_weight`; empty without weights, and if the scorer's metric or the user's function
        has no parameter of this name.
    """
    if weights is None:
        return {}
    try:
        parameters = inspect.signature(getattr(scorer, "_score_func", scorer)).parameters
    except (TypeError, ValueError):  # a function that is written in C may have no signature
        return {}
    return {"sample_weight": weights} if "sample_weight" in parameters else {}
