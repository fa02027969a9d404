"""Base classes of the transformers, which can be saved to files."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ...saving.attributes import SavableAttributes
from ...system.sklearn_internals import OUTPUT_CONFIG, check_feature_names, fit_context
from ...system.validation import Array, refuse_masked

if TYPE_CHECKING:
    from sklearn.utils import Tags

    from ...system.frames import TableLike


# Number of rows that are encoded at once: a block of features then stays in the processor's cache.
BLOCK = 4096


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
