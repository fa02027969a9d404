"""PiecewiseLinearEncoder: a number as its positions within the intervals between its quantiles."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ...reference.encoding import piecewise_linear
from ...system.sklearn_internals import Interval
from ...system.validation import Array
from .transformers import NumberTransformer, PartsTransformer


def find_quantile_edges(x: Array, n_bins: int) -> NDArray[np.float64]:
    """Return the increasing edges (T + 1,) of at most `n_bins` intervals that hold about equally many values.

    The column has finite numbers, at least one. If at most ``n_bins + 1`` are distinct, these are the edges;
    otherwise they are the distinct quantiles. Where frequent values leave fewer than a quarter of the
    intervals, no value counts for more than one interval.
    """
    distinct, counts = np.unique(x, return_counts=True)
    if distinct.size > n_bins + 1:
        edges = _find_distinct_quantiles(x, n_bins)
        if edges.size - 1 < n_bins / 4:
            while counts.max() > (largest := max(1, counts.sum() // n_bins)):
                counts = np.minimum(counts, largest)
            edges = _find_distinct_quantiles(np.repeat(distinct, counts), n_bins)
        distinct = edges
    distinct = distinct.astype(np.float64)
    # Edges at a subnormal distance count as one, since quotients by the distance would overflow.
    apart = np.diff(distinct) > np.finfo(np.float64).smallest_normal
    return distinct[np.concatenate([[True], apart])]


def _find_distinct_quantiles(x: Array, n_bins: int) -> Array:
    return np.unique(np.quantile(x, np.linspace(0, 1, n_bins + 1)).astype(np.float64))


def compute_interval_terms(edges: NDArray[np.float64], dtype: DTypeLike) -> tuple[Array, Array, float]:
    """Return the arguments `low`, `width` and `factor` of `fastnn.reference.encoding.piecewise_linear`.

    They are the lower edges (T,) and the widths (T,) of the intervals, both times the factor: 1, or 1/4 where
    differences of huge numbers of the dtype would overflow.
    """
    factor = 1.0 if np.abs(edges).max() < np.finfo(dtype).max / 4 else 0.25
    low = edges[:-1] * factor
    return low, edges[1:] * factor - low, factor


class PiecewiseLinearEncoder(PartsTransformer, NumberTransformer):
    """Encode every number by its positions within the intervals between the feature's quantiles.

    With the edges ``q[0] < ... < q[T]``, a number x becomes the T numbers
    ``clip((x - q[t-1]) / (q[t] - q[t-1]), 0, 1)``: 1 for each interval below x, 0 for each above x, and a
    fraction for the interval that holds x. A network can then bend a function of x at every edge.

    Parameters
    ----------
    n_bins : int, default 16
        Largest number T of intervals of a feature, at least 1. A feature of few distinct values has
        an interval between each two neighbours; a constant feature has none. Where frequent values would
        leave less than a quarter of the intervals, each of them counts for one interval.

    Attributes
    ----------
    edges_ : list of array (T + 1,)
        Edges of every feature.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : array (n_features_in_,)
        Names of the features, where X has names and all of them are text.

    Notes
    -----
    Gorishniy, Rubachev & Babenko (2022), "On embeddings for numerical features in tabular deep learning",
    section 3.2, with quantiles as edges; unlike there, the first and the last interval are clipped too. NaN
    is left out in `fit` and gives NaN in `transform`.

    Examples
    --------
    >>> import fastnn
    >>> encoder = fastnn.PiecewiseLinearEncoder(n_bins=2).fit([[0.0], [1.0], [2.0], [4.0], [10.0]])
    >>> encoder.transform([[1.0], [6.0]]).tolist()
    [[0.5, 0.0], [1.0, 0.5]]
    """

    _SAVED: ClassVar = {"edges_": list[np.ndarray[tuple[int], np.dtype[np.floating]]]}
    _PER_FEATURE = ("edges_",)
    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        "n_bins": [Interval(numbers.Integral, 1, None, closed="left")]
    }

    def __init__(self, n_bins=16):
        self.n_bins = n_bins

    def _fit_features(self, features: Sequence[Array]) -> None:
        n_bins = int(self.n_bins)
        self.edges_ = [find_quantile_edges(x, n_bins) if x.size else np.zeros(1) for x in features]

    def _transform_feature(self, k: int, x: Array) -> Array:
        return piecewise_linear(x, *compute_interval_terms(self.edges_[k], x.dtype))

    def _list_parts(self) -> list[list[str]]:
        return [[f"bin{t}" for t in range(edges.size - 1)] for edges in self.edges_]
