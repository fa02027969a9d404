"""Base classes of the transformers, which are saved to files, and checks of what a file holds."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import validate_data

from ...saving.attributes import SavableAttributes
from ...system.sklearn_internals import OUTPUT_CONFIG
from ...system.validation import shown

__all__ = ["NumberTransformer", "SavableTransformer", "check_edges", "is_numbers"]

Array = NDArray[Any]


class SavableTransformer(SavableAttributes):
    """Base class of the transformers: files hold parameters, fitted attributes and the form of the output."""

    _SAVED: ClassVar[tuple[str, ...]] = (OUTPUT_CONFIG,)

    def _check_restored(self) -> None:
        """Raise ValueError if the fitted attributes contradict each other."""
        state = self.__dict__
        output = state.get(OUTPUT_CONFIG, {})
        if not isinstance(output, dict) or not set(output.values()) <= {"default", "pandas", "polars"}:
            raise ValueError(f"the output of the transformer is {shown(output)}")
        names = [name for name in state if name.endswith("_") and name != "n_features_in_"]
        if names or "n_features_in_" in state:
            n_features = state.get("n_features_in_")
            if type(n_features) is not int or n_features < 1:
                raise ValueError(f"n_features_in_ is {shown(n_features)}")
            self._check_fitted(n_features)
        given = state.get("feature_names_in_")
        if given is not None and not (
            isinstance(given, np.ndarray)
            and given.shape == (state["n_features_in_"],)
            and given.dtype == object
            and all(isinstance(name, str) for name in given)
        ):
            raise ValueError("feature_names_in_ holds no name for every feature")

    @abstractmethod
    def _check_fitted(self, n_features: int) -> None:
        """Raise ValueError if the fitted attributes of a transformer of `n_features` are invalid."""


class NumberTransformer(TransformerMixin, SavableTransformer, BaseEstimator):
    """Base class of the transformers of arrays of numbers, which may hold NaN."""

    def _checked(self, X: Any, reset: bool) -> Array:
        """Return X as an array of float64 or float32; raise ValueError for infinity and wrong shapes."""
        return validate_data(
            self, X, reset=reset, dtype=(np.float64, np.float32), ensure_all_finite="allow-nan"
        )  # fmt: skip

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def is_numbers(values: Any, shape: tuple[int, ...]) -> bool:
    """Return True if `values` is an array of finite float64 numbers of the given shape."""
    return bool(
        isinstance(values, np.ndarray)
        and values.dtype == np.float64
        and values.shape == shape
        and np.isfinite(values).all()
    )


def check_edges(edges: Any, name: str) -> None:
    """Raise ValueError unless `edges` is an array of increasing numbers, at least one."""
    is_valid = isinstance(edges, np.ndarray) and edges.ndim == 1 and edges.size > 0
    if not (is_valid and is_numbers(edges, edges.shape) and (np.diff(edges) > 0).all()):
        raise ValueError(f"the edges of the intervals of {name} do not increase")
