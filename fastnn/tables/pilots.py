"""Scales of columns, found by pilots: networks that are fitted first, to show which columns matter.

Where the features of the other columns are scaled down, networks fit less noise with them. The rivals of the
pilots are the same networks, fitted with these scales; the better scores decide. Short pilots are fitted for
few epochs and thrown away; others are the first networks of the estimator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..system.validation import Array
from .importances import estimate_importances
from .presets import Preset, Recipe

if TYPE_CHECKING:
    from .base import Tabular
    from .fits import TableFits
    from .members import Member, Rows

# Number of pilots, where the estimator has as many networks.
N_PILOTS = 2
# Number of the most important columns whose mean importance a column with the scale 1 has.
N_LEADING = 3
# Smallest scale of a column.
MIN_SCALE = 0.1
# Powers: the scale of a column is its relative importance to one of these.
STRONG, GENTLE = 0.5, 0.25
# Epochs of a network per epoch of a short pilot.
EPOCHS_PER_PILOT_EPOCH = 5
# Columns are scaled strongly where that lowers the validation loss of short pilots by more than the first
# fraction. Gentle scales seldom harm, and losses vary: columns are scaled gently unless strong scales raise
# the loss by more than the second fraction.
CLEAR_GAIN, TOLERATED_LOSS = 0.1, 0.1
# Largest number of rows of a fold on which short pilots estimate the importances of the columns.
SHORT_PILOT_ROWS = 1000


def count_short_epochs(n_passes: int) -> int:
    """Return the epochs of a short pilot of networks of `n_passes` epochs."""
    return max(1, n_passes // EPOCHS_PER_PILOT_EPOCH)


def count_pilot_epochs(preset: Preset, recipe: Recipe, n_pilots: int) -> int:
    """Return the epochs of all networks that are fitted beside the estimator's own.

    Short pilots are fitted twice. Others are networks of the estimator: only their rivals are further fits.
    """
    return n_pilots * (2 * count_short_epochs(preset.epochs) if recipe.pilots == "short" else preset.epochs)


def choose_pilots(
    estimator: Tabular,
    fits: TableFits,
    pilots: list[Member],
    rivals: list[Member],
    splits: Sequence[tuple[Rows, Rows]],
    validation: tuple[Array, ...],
) -> tuple[list[Member], Array | None]:
    """Fit the first networks, with and without scaled columns; find which are better.

    The first networks show which columns matter. The same networks, the rivals, are fitted again with the
    features of the other columns scaled down. The scales of a network come from the validation rows of
    others, unless it is the only one. Return the networks with the better validation scores, and the factors
    (n_features,) of the features for the other networks; None if these should be as they are.
    """
    n_pilots, own_splits = len(pilots), splits[: len(pilots)]
    fits.run(pilots, own_splits, [None] * n_pilots)
    Z, targets, _ = validation
    importances = np.array(
        [
            estimate_importances(estimator, [pilot], Z, targets, [split])
            for pilot, split in zip(pilots, own_splits, strict=True)
        ]
    )
    widths = estimator.encoder_._widths
    others = [[j for j in range(n_pilots) if j != k] or [k] for k in range(n_pilots)]
    scales = [compute_scales(importances[chosen].mean(axis=0), widths) for chosen in others]
    fits.run(rivals, own_splits, scales)
    if average_scores(rivals) > average_scores(pilots):
        return rivals, compute_scales(importances.mean(axis=0), widths)
    return pilots, None


def find_scales(
    estimator: Tabular,
    fits: TableFits,
    settings: dict[str, Any],
    seeds: Sequence[int],
    splits: Sequence[tuple[Rows, Rows]],
    validation: tuple[Array, ...],
) -> Array | None:
    """Return the factors of all features that networks of few epochs find, or None to leave them as they are.

    The networks show which columns matter. They are fitted again with the features of the other columns
    scaled down, and the change of their validation losses says how far columns should be scaled.

    `settings` are the parameters of all networks of the estimator, and `seeds` has the seed of every pilot.
    See `choose_pilots` for the other arguments.
    """
    n_pilots, own_splits = len(seeds), splits[: len(seeds)]
    settings = settings | {"max_iter": count_short_epochs(settings["max_iter"]), "scoring": "loss"}
    # The networks of the mean come before the networks of quantiles.
    pilots, rivals = (estimator._make_members(settings, seeds)[:n_pilots] for _ in range(2))
    fits.run(pilots, own_splits, [None] * n_pilots)
    Z, targets, _ = validation
    importances = estimate_importances(estimator, pilots, Z, targets, own_splits, SHORT_PILOT_ROWS)
    widths = estimator.encoder_._widths
    fits.run(rivals, own_splits, [compute_scales(importances, widths)] * n_pilots)
    power = choose_power(-average_scores(pilots), -average_scores(rivals))
    return None if power is None else compute_scales(importances, widths, power)


def compute_scales(importances: Array, widths: Array, power: float = STRONG) -> NDArray[np.float32]:
    """Return the factors (n_features,) of all features, by the importances (n_columns,) of their columns.

    A network learns slowly from small features, and so fits less noise with them. The factor of a column is a
    power, `STRONG` or `GENTLE`, of its importance relative to the leading columns, from `MIN_SCALE` to 1; all
    are 1 if no column is important. `widths` (n_columns,) are the numbers of the columns' features.
    """
    gains = np.maximum(importances, 0.0)
    leading = np.sort(gains)[-N_LEADING:].mean()
    if not leading:
        return np.ones(int(widths.sum()), np.float32)
    scales = np.clip((gains / leading) ** power, MIN_SCALE, 1.0)
    return np.repeat(scales, widths).astype(np.float32)


def choose_power(plain: float, scaled: float) -> float | None:
    """Return the power of `compute_scales`; None if the features should be as they are.

    The arguments are the validation losses of short pilots without scales, and with scales of the power
    `STRONG`.
    """
    if scaled < (1 - CLEAR_GAIN) * plain:
        return STRONG
    return GENTLE if scaled <= (1 + TOLERATED_LOSS) * plain else None


def average_scores(members: Sequence[Member]) -> float:
    """Return the mean of the best validation scores of networks."""
    return float(np.mean([member.best_validation_score_ for member in members]))
