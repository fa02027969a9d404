"""Base classes of the transformers, which can be saved to files."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ...saving.attributes import SavableAttributes
from ...system.sklearn_internals import OUTPUT_CONFIG, check_feature_names
from ...system.validation import Array


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
