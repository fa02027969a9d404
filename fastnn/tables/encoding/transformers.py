"""Transformers of numbers, SmoothRobustScaler and PiecewiseLinearEncoder, and base classes of the others."""

from __future__ import annotations

import abc
import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ...reference.encoding import piecewise_linear, smooth_scaled
from ...saving.attributes import SavableAttributes
from ...system.sklearn_internals import OUTPUT_CONFIG, Interval, check_feature_names, fit_context
from ...system.validation import Array, check_number, refuse_masked

if TYPE_CHECKING:
    from sklearn.utils import Tags

    from ...system.frames import TableLike

# Number of rows that are encoded at once: a block of features then stays in the processor's cache.
BLOCK = 4096
# Value that the output approaches for large inputs: RealMLP's choice.
LIMIT = 3.0


class SavableTransformer(TransformerMixin, SavableAttributes, BaseEstimator):
    """Base class of the transformers: files hold parameters, fitted attributes and the form of the output."""

    _SAVED: ClassVar = {OUTPUT_CONFIG: dict[str, Any]}


class PartsTransformer(SavableTransformer, abc.ABC):
    """Base class of the transformers that divide a feature into parts, which have names."""

    @abc.abstractmethod
    def _list_parts(self) -> list[list[str]]:
        """Return the names of the parts of every feature."""

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Array:
        """Return the names of the outputs, such as "age_bin0" or "sold_month".

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the features; by default `feature_names_in_`, or else "x0", "x1" and so on.

        Returns
        -------
        array (n_outputs,) of object
            Names.
        """
        check_is_fitted(self)
        names = check_feature_names(self, input_features)
        pairs = zip(names, self._list_parts(), strict=True)
        return np.array([f"{name}_{part}" for name, parts in pairs for part in parts], object)


class NumberTransformer(SavableTransformer, abc.ABC):
    """Base class of the transformers of arrays of numbers, which may hold NaN."""

    @abc.abstractmethod
    def _fit_features(self, features: Sequence[Array]) -> None:
        """Set the fitted attributes, given the numbers of every feature without missing values."""

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: TableLike, y: ArrayLike | None = None) -> Self:
        """Measure every feature.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            Numbers; NaN marks a missing value.
        y : None
            Ignored.

        Returns
        -------
        SmoothRobustScaler or PiecewiseLinearEncoder
            The transformer itself.
        """
        X = self._check_numbers(X, reset=True)
        self._fit_features([column[~np.isnan(column)] for column in X.T])
        return self

    @abc.abstractmethod
    def _transform_feature(self, k: int, x: Array) -> Array:
        """Return the outputs, (n,) or (n, n_outputs), of numbers x (n,) of feature `k`."""

    def transform(self, X: TableLike) -> Array:
        """Encode numbers.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            Numbers; NaN marks a missing value.

        Returns
        -------
        array (n_samples, n_outputs)
            Scaled numbers, or the positions in all intervals of each feature in turn: in float32 if X is
            float32, else in float64. The outputs of a missing value are NaN.
        """
        check_is_fitted(self)
        X = self._check_numbers(X, reset=False)
        blocks = [
            np.column_stack([self._transform_feature(k, x) for k, x in enumerate(X[first : first + BLOCK].T)])
            for first in range(0, len(X), BLOCK)
        ]
        return np.concatenate(blocks, dtype=X.dtype, casting="same_kind")

    def _check_numbers(self, X: TableLike, reset: bool) -> Array:
        """Return X as an array of float64 or float32; raise ValueError for infinity and wrong shapes."""
        refuse_masked(X, "X", "fill them by NaN")
        return validate_data(
            self, X, reset=reset, dtype=(np.float64, np.float32), ensure_all_finite="allow-nan"
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


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
