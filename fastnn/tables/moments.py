"""Moments: mean, standard deviation and range of targets, from one array or from several in turn."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Moments", "RunningMoments"]

Array = NDArray[Any]

# Least range of numbers that are not all equal: squares of smaller differences lose digits, or vanish.
MIN_RANGE = 1e-150


@dataclass(frozen=True)
class Moments:
    """Weighted mean and standard deviation, and the range.

    Parameters
    ----------
    mean, deviation : float
        Mean and standard deviation.
    least, largest : float
        Range of the numbers, those of weight 0 included.

    Raises
    ------
    ValueError
        If the sum or the squares of the numbers are too large for a float, or the squares vanish.
    """

    mean: float
    deviation: float
    least: float
    largest: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.deviation)):
            raise ValueError(
                f"y holds numbers from {self.least:g} to {self.largest:g}, whose standard deviation is "
                "too large for a float: scale y down"
            )
        if 0 < self.largest - self.least < MIN_RANGE:
            raise ValueError(
                f"y holds numbers from {self.least:g} to {self.largest:g}, the squares of whose differences "
                "vanish: scale y up"
            )

    @classmethod
    def of(cls, y: Array, weights: Array) -> Moments:
        """Return the moments of numbers (n,)."""
        with np.errstate(over="ignore", invalid="ignore"):  # `Moments` checks the result
            mean = float(np.average(y, weights=weights))
            deviation = float(np.sqrt(np.average((y - mean) ** 2, weights=weights)))
        return cls(mean, deviation, float(y.min()), float(y.max()))


class RunningMoments:
    """Moments of numbers that come in several arrays, one after another.

    The sums are combined as in Chan, Golub & LeVeque, "Algorithms for computing the sample variance", 1983,
    which loses no digits where the mean is large.
    """

    def __init__(self) -> None:
        self.weight = self._mean = self._squares = 0.0
        self._least, self._largest = math.inf, -math.inf

    def add(self, y: Array, weights: Array) -> None:
        """Add numbers (n,), at least one, with their weights."""
        self._least, self._largest = min(self._least, y.min()), max(self._largest, y.max())
        weight = float(weights.sum())
        if not weight:
            return
        with np.errstate(over="ignore", invalid="ignore"):  # `Moments` checks the result
            mean = float(np.average(y, weights=weights))
            squares = float(weights @ (y - mean) ** 2)
        total, distance = self.weight + weight, mean - self._mean
        self._squares += squares + distance * distance * self.weight * weight / total
        self._mean += distance * weight / total
        self.weight = total

    def result(self) -> Moments:
        """Return the moments of all numbers added; at least one must have a weight above 0."""
        deviation = math.sqrt(self._squares / self.weight)
        return Moments(self._mean, deviation, float(self._least), float(self._largest))
