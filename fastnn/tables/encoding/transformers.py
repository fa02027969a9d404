"""Base classes of the transformers, which can be saved to files."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import validate_data

from ...saving.attributes import SavableAttributes
from ...system.sklearn_internals import OUTPUT_CONFIG
from ...system.validation import Array, refuse_masked

if TYPE_CHECKING:
    from sklearn.utils import Tags

    from ...system.frames import TableLike


class SavableTransformer(TransformerMixin, SavableAttributes, BaseEstimator):
    """Base class of the transformers: files hold parameters, fitted attributes and the form of the output."""

    _SAVED: ClassVar[tuple[str, ...]] = (OUTPUT_CONFIG,)


class NumberTransformer(SavableTransformer):
    """Base class of the transformers of arrays of numbers, which may hold NaN."""

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
