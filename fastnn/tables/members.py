"""Networks of a tabular estimator: their parameters, their rows, the ends of their fits, and their scores."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import check_scoring
from sklearn.model_selection import GroupKFold

from ..estimators.holdout import make_weight_argument
from ..schedules import CosineLog
from ..system.frames import is_missing
from ..system.validation import Array
from ..training.loop import Hook, Training
from ..training.patience import Patience
from .presets import Preset

if TYPE_CHECKING:
    from ..estimators.classifier import MLPClassifier
    from ..estimators.regressor import MLPRegressor
    from .base import Tabular

    Member: TypeAlias = MLPClassifier | MLPRegressor

Rows = NDArray[np.int64]

# Least number of folds: a network is trained on four fifths of the rows, or more.
MIN_FOLDS = 5
# The batches of small tables shrink until an epoch has MIN_STEPS steps, but not below MIN_BATCH rows.
MIN_STEPS, MIN_BATCH = 16, 32


def make_member_settings(estimator: Tabular, preset: Preset, n_train: int) -> dict[str, Any]:
    """Return the parameters of all networks of a tabular estimator, for `n_train` training rows."""
    recipe = preset.get_recipe(estimator._HAS_CLASSES)
    wanted = max(MIN_BATCH, n_train // MIN_STEPS)
    settings: dict[str, Any] = {
        "activation": recipe.activation,
        "init": recipe.init,
        "learning_rate_init": recipe.rate,
        "dropout": recipe.dropout,
        "solver": "adamw" if recipe.weight_decay else "adam",
        "weight_decay": recipe.weight_decay or None,
        "hidden_layer_sizes": preset.hidden_layer_sizes,
        "batch_size": min(recipe.batch_size, 1 << (wanted.bit_length() - 1), n_train),
        "max_iter": preset.epochs,
        "learning_rate": CosineLog(),
        "beta_2": 0.95,
        "alpha": 0.0,
        "tol": 0.0,
        "early_stopping": True,
        "n_iter_no_change": np.inf,
        "ties": "latest",
        "scoring": "loss",
    }
    if estimator.scoring not in (None, "loss"):
        settings["scoring"] = MemberScorer(estimator._make_shadow(), estimator.scoring)
    return settings


def number_groups(groups: ArrayLike, n_rows: int) -> Rows:
    """Return the number of every row's group (n_rows,), from 0 on, given names of two groups at least."""
    names = np.asarray(groups)
    if names.shape not in ((n_rows,), (n_rows, 1)):
        raise ValueError(
            f"groups must have the shape ({n_rows},), a name for each row of X, got {names.shape}"
        )
    names = names.ravel()
    for row, name in enumerate(names.tolist()):
        if is_missing(name):
            raise ValueError(f"groups holds a missing value in row {row}: name it, or leave out the row")
    numbers = np.unique(names.astype(str), return_inverse=True)[1]
    if not numbers.any():
        raise ValueError(f"groups holds only one group, {str(names[0])!r}: two are needed")
    return numbers


def make_splits(
    n_folds: int,
    n_rows: int,
    random: np.random.RandomState,
    classes: Array | None = None,
    groups: Rows | None = None,
) -> list[tuple[Rows, Rows]]:
    """Return the training rows and the validation rows of every random fold; folds are about equally large.

    The folds have whole groups, whose numbers (n,) are from 0 on, or about as many rows of every class (n,).
    scikit-learn's `StratifiedKFold` warns of classes with fewer rows than folds, which are common in tables.
    """
    if groups is not None:
        order = random.permutation(groups.max() + 1)  # of groups with equal numbers of rows
        return list(GroupKFold(n_folds).split(groups, groups=order[groups]))
    order = random.permutation(n_rows)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    folds = np.empty(n_rows, np.int64)
    folds[order] = np.arange(n_rows) % n_folds
    return [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(n_folds)]


class StopAtCycleEnds(Hook):
    """Hook that ends a fit with a cycle of `CosineLog` if the score is no better than one cycle before."""

    def __init__(self, estimator: Member, schedule: CosineLog) -> None:
        self._estimator = estimator
        self._patience = Patience(1, cycles=schedule.valleys(int(estimator.max_iter)).tolist())

    def at_stop(self, training: Training) -> None:
        """At the end of a cycle, compare the best score with the best score one cycle before."""
        score = self._estimator.best_validation_score_
        assert score is not None  # the fit has early stopping
        self._patience.observe(-score, self._estimator.n_iter_)

    def after_chunk(self, training: Training) -> bool:
        """Return True if the comparison in `at_stop` ends the fit."""
        # A chunk may end within an epoch, so the comparison takes place once per epoch, in `at_stop`.
        return self._patience.is_over


class Deadline(Hook):
    """Hook that ends a fit at a time by ``time.monotonic``, but not before its first epoch."""

    def __init__(self, end: float) -> None:
        self._end = end

    def after_chunk(self, training: Training) -> bool:
        """Return True if the time is over."""
        return training.n_passes > 0 and time.monotonic() >= self._end


class MemberScorer:
    """Score of one network during its fit, by a scorer of the tabular estimator, copied as `shadow`."""

    def __init__(self, shadow: Tabular, scoring: str | Callable[..., float]) -> None:
        self._shadow, self._scoring = shadow, scoring

    def __call__(self, member: Member, X: Array, y: Array, sample_weight: Array | None = None) -> float:
        """Return the score of a network for encoded rows and targets, with their weights; fits check it."""
        shadow = copy.copy(self._shadow)
        shadow.estimators_ = [member]
        shadow._quantiles = []  # a regressor's network that is scored predicts the mean
        scorer = check_scoring(shadow, self._scoring)
        try:
            return scorer(shadow, X, shadow._decode_y(y), **make_weight_argument(scorer, sample_weight))
        except ValueError as error:
            if callable(self._scoring):
                raise
            raise ValueError(
                f"scoring={self._scoring!r} cannot score these targets, choose another scorer: {error}"
            ) from error


def check_validation_weights(weights: Array) -> None:
    """Raise ValueError if all rows that a network is validated on have the weight 0."""
    if not weights.any():
        raise ValueError(
            "all rows that are set aside to validate a network have the weight 0: pass validation rows, or "
            "leave out rows of weight 0"
        )


def find_last_best(scores: Sequence[float]) -> int:
    """Return the index of the last of the highest scores, or of the last score if all are NaN."""
    values = np.asarray(scores)
    return len(values) - 1 - int(np.where(np.isnan(values), -np.inf, values)[::-1].argmax())
