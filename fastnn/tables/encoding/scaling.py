"""SmoothRobustScaler: numbers centred at the median, divided by the quartiles' distance, and squashed."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from sklearn.base import OneToOneFeatureMixin

from ...reference.encoding import smooth_scaled
from ...system.sklearn_internals import Interval
from ...system.validation import Array, check_number
from .transformers import NumberTransformer

# Value that the output approaches for large inputs: RealMLP's choice.
LIMIT = 3.0


def find_center_and_scale(x: Array) -> tuple[float, float]:
    """Return the median of finite numbers, at least one, and the divisor of the distances from the median.

    It is the distance between the quartiles; half the range if these are equal; 1 for a constant.
    """
    low, center, high = np.quantile(x, [0.25, 0.5, 0.75])
    # Differences of huge numbers would overflow, so halves are subtracted. The doubled result may overflow.
    with np.errstate(over="ignore"):
        scale = 2 * (high / 2 - low / 2) or x.max() / 2 - x.min() / 2
    # A range that rounds to 0, or a subnormal one, would make quotients infinite.
    usable = np.isfinite(scale) and scale > np.finfo(np.float64).smallest_normal
    return float(center), float(scale) if usable else 1.0


class SmoothRobustScaler(OneToOneFeatureMixin, NumberTransformer):
    """Scale every feature by median and quartiles, and squash outliers smoothly into an interval.

    A value x becomes ``u / sqrt(1 + (u / limit)^2)``, where ``u = (x - median) / (q75 - q25)``. If the
    quartiles are equal, half the range is the divisor; a constant feature becomes 0.

    Parameters
    ----------
    limit : float, default 3.0
        Bound of the output, above 0: results lie between -limit and limit.

    Attributes
    ----------
    center_ : array (n_features,)
        Medians.
    scale_ : array (n_features,)
        Numbers by which the distances from the medians are divided.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : array (n_features_in_,)
        Names of the features, where X has names and all of them are text.

    Notes
    -----
    The scaling is RealMLP's: Holzmüller, Grinsztajn & Steinwart (2024), "Better by default: strong pre-tuned
    MLPs and boosted trees on tabular data", section 3. `fit` ignores NaN, and `transform` keeps it.

    Examples
    --------
    >>> import fastnn
    >>> scaler = fastnn.SmoothRobustScaler().fit([[0.0], [1.0], [2.0], [3.0], [4.0]])
    >>> scaler.transform([[2.0], [4.0], [1e9]]).round(3).ravel().tolist()
    [0.0, 0.949, 3.0]
    """

    _SAVED: ClassVar = dict.fromkeys(("center_", "scale_"), np.ndarray[tuple[int], np.dtype[np.floating]])
    _PER_FEATURE = ("center_", "scale_")
    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        "limit": [Interval(numbers.Real, 0, None, closed="neither")]
    }

    def __init__(self, limit=LIMIT):
        self.limit = limit

    def _fit_features(self, features: Sequence[Array]) -> None:
        fitted = [find_center_and_scale(x.astype(np.float64)) if x.size else (0.0, 1.0) for x in features]
        self.center_, self.scale_ = map(np.array, zip(*fitted, strict=True))

    def _transform_feature(self, k: int, x: Array) -> Array:
        limit = check_number(self.limit, "limit", 0.0, exclusive_start=True)
        return smooth_scaled(x, self.center_[k], self.scale_[k], limit)
