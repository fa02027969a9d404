"""Pilots: the first networks of a tabular estimator, which show how the columns should be scaled."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fits import TableFits

__all__ = ["Piloted", "column_scales", "mean_score", "short_passes", "strength"]

Array = NDArray[Any]

# Number of the most important columns whose mean importance is that of a column with the scale 1.
N_LEADING = 3
# Smallest scale of a column.
LEAST_SCALE = 0.1
# Powers: the scale of a column is its relative importance to one of these.
STRONG, GENTLE = 0.5, 0.25
# Passes of a network for each pass of a short pilot.
PASSES_A_SHORT_PASS = 5
# Columns are scaled strongly where that lowers the validation loss of short pilots by more than this share.
# Gentle scales seldom harm, and losses vary: columns are scaled gently unless strong scales raise the loss by
# more than the second share.
CLEAR_GAIN, TOLERATED_LOSS = 0.1, 0.1
# Largest number of rows of a fold on which the importances of the columns are estimated; the importances by
# short pilots are estimated on more rows.
IMPORTANCE_ROWS, SHORT_PILOT_ROWS = 400, 1000


class Piloted:
    """Mixin of the tabular estimators that estimates the importances and the scales of columns."""

    columns_: list[dict[str, Any]]

    @abstractmethod
    def _members(self, settings: dict[str, Any], seeds: Sequence[int]) -> list[Any]:
        """Return the networks to fit: `len(seeds)` for each prediction that the estimator makes."""

    @abstractmethod
    def _losses(self, scores: Array, y: Array) -> Array:
        """Return the losses (n,) for scores (n, k) of one network and encoded targets."""

    def _chosen_pilots(
        self, fits: TableFits, pilots: list[Any], rivals: list[Any], parts: list[Any], judging: Any
    ) -> tuple[list[Any], Array | None]:
        """Fit the first networks, with and without scaled columns; find which are better.

        The first networks show which columns matter. The same networks are fitted again with the features of
        the other columns scaled down. A network is not judged by the rows from which its scales were found,
        unless it is the only one.

        Parameters
        ----------
        fits : TableFits
            Fits of the networks.
        pilots, rivals : list of MLPClassifier or MLPRegressor
            The first networks of the estimator, twice.
        parts : list of two arrays of int
            Training rows and validation rows of all networks.
        judging : tuple of three arrays
            Table with the validation rows.

        Returns
        -------
        list of MLPClassifier or MLPRegressor
            The networks with the better validation scores.
        array (n_features,) or None
            Factors of the features for the other networks; None if they should be as they are.
        """
        n_pilots, own_parts = len(pilots), parts[: len(pilots)]
        fits.run(pilots, own_parts, [None] * n_pilots)
        Z, targets = judging[:2]
        importances = np.array(
            [self._estimated_importances([pilot], Z, targets, [part])
             for pilot, part in zip(pilots, own_parts, strict=True)]
        )  # fmt: skip
        widths = self._widths()
        judges = [[j for j in range(n_pilots) if j != k] or [k] for k in range(n_pilots)]
        scales = [column_scales(importances[own].mean(axis=0), widths) for own in judges]
        fits.run(rivals, own_parts, scales)
        if mean_score(rivals) > mean_score(pilots):
            return rivals, column_scales(importances.mean(axis=0), widths)
        return pilots, None

    def _short_pilots_scales(
        self, fits: TableFits, settings: dict[str, Any], seeds: Sequence[int], parts: list[Any], judging: Any
    ) -> Array | None:
        """Find the scales of the columns by networks that are fitted for few passes.

        The networks show which columns matter. They are fitted again with the features of the other columns
        scaled down, and the change of their validation losses says how far columns should be scaled.

        Parameters
        ----------
        fits : TableFits
            Fits of the networks.
        settings : dict
            Parameters of all networks of the estimator.
        seeds : sequence of int
            Seed of every pilot.
        parts : list of two arrays of int
            Training rows and validation rows of all networks.
        judging : tuple of three arrays
            Table with the validation rows.

        Returns
        -------
        array (n_features,) or None
            Factors of the features; None if they should be as they are.
        """
        n_pilots, own_parts = len(seeds), parts[: len(seeds)]
        settings = settings | {"max_iter": short_passes(settings["max_iter"]), "scoring": "loss"}
        # The networks of the mean come before those of quantiles.
        pilots, rivals = (self._members(settings, seeds)[:n_pilots] for _ in range(2))
        fits.run(pilots, own_parts, [None] * n_pilots)
        Z, targets = judging[:2]
        importances = self._estimated_importances(pilots, Z, targets, own_parts, SHORT_PILOT_ROWS)
        widths = self._widths()
        fits.run(rivals, own_parts, [column_scales(importances, widths)] * n_pilots)
        power = strength(-mean_score(pilots), -mean_score(rivals))
        return None if power is None else column_scales(importances, widths, power)

    def _widths(self) -> NDArray[np.int64]:
        """Return the number of features of every column."""
        return np.array([record["features"] for record in self.columns_])

    def _estimated_importances(
        self, head: list[Any], Z: Array, targets: Array, parts: list[Any], n_rows: int = IMPORTANCE_ROWS
    ) -> Array:
        """Return the mean increase of the networks' losses when the values of a column are shuffled."""
        random = np.random.RandomState(0)
        increases = []
        for member, (_, val) in zip(head, parts, strict=True):
            rows = random.permutation(val)[:n_rows]
            sample, truth = Z[rows], targets[rows]
            order = random.permutation(rows.size)
            before = self._losses(member._outputs(sample, "identity"), truth).mean()
            increases.append(
                [self._losses(member._outputs(one, "identity"), truth).mean() - before
                 for one in self._shuffled(sample, order)]
            )  # fmt: skip
        return np.mean(increases, axis=0)

    def _shuffled(self, Z: Array, order: Array) -> Any:
        """Yield a copy of encoded rows for every column, with the column's features in another order."""
        end = 0
        for width in self._widths():
            begin, end = end, end + width
            other = Z.copy()
            other[:, begin:end] = Z[order, begin:end]
            yield other


def column_scales(importances: Array, widths: Array, power: float = STRONG) -> NDArray[np.float32]:
    """Return the factors of all features, by the importances of their columns.

    A network learns slowly from small features, and so fits less noise with them. The factor of a column is a
    power of its importance relative to the leading columns, from `LEAST_SCALE` to 1.

    Parameters
    ----------
    importances : array (n_columns,)
        Increase of the loss when the values of a column are shuffled.
    widths : array (n_columns,) of int
        Number of features of every column.
    power : float
        Power: `STRONG`, the square root, or `GENTLE`, the fourth root.

    Returns
    -------
    array (n_features,)
        Factors; all are 1 if no column is important.
    """
    gains = np.maximum(importances, 0.0)
    leading = np.sort(gains)[-N_LEADING:].mean()
    if not leading:
        return np.ones(int(widths.sum()), np.float32)
    scales = np.clip((gains / leading) ** power, LEAST_SCALE, 1.0)
    return np.repeat(scales, widths).astype(np.float32)


def strength(plain: float, scaled: float) -> float | None:
    """Return the power of `column_scales` for the losses of short pilots without and with scaled columns.

    Parameters
    ----------
    plain, scaled : float
        Validation losses of the pilots without scales, and with the scales of the power `STRONG`.

    Returns
    -------
    float or None
        Power; None if the features should be as they are.
    """
    if scaled < (1 - CLEAR_GAIN) * plain:
        return STRONG
    return GENTLE if scaled <= (1 + TOLERATED_LOSS) * plain else None


def short_passes(n_passes: int) -> int:
    """Return the passes of a short pilot of networks of `n_passes` passes."""
    return max(1, n_passes // PASSES_A_SHORT_PASS)


def mean_score(members: Sequence[Any]) -> float:
    """Return the mean of the best validation scores of networks."""
    return float(np.mean([member.best_validation_score_ for member in members]))
