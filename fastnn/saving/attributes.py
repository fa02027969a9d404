"""SavableAttributes: what files hold of objects in scikit-learn's form, estimators and transformers."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from .files import Savable
from .types import check_type


class SavableAttributes(Savable):
    """Base class of estimators and transformers that can be saved; it precedes ``BaseEstimator``.

    A file holds the parameters and the fitted attributes in `_SAVED`. In files, pickles and copies, the types
    of these attributes are checked, and the rest by `_check_state`.
    """

    # Types of the fitted attributes that the class adds.
    _SAVED: ClassVar[Mapping[str, Any]] = {"feature_names_in_": np.ndarray, "n_features_in_": int}
    # Names of the attributes with one item for each feature, all of which a fitted object has.
    _PER_FEATURE: ClassVar[tuple[str, ...]] = ()

    def _store_arguments(self, arguments: dict[str, Any]) -> None:
        """Set the arguments of `__init__`, which are its `locals()`, as attributes of the same names."""
        self.__dict__.update((name, value) for name, value in arguments.items() if name != "self")

    @classmethod
    def _get_types(cls) -> dict[str, Any]:
        """Return the types of the fitted attributes that files hold."""
        return dict(ChainMap(*(vars(one).get("_SAVED", {}) for one in cls.__mro__)))

    def _check_state(self) -> None:
        """Raise an error if fitted attributes are not what predictions and fits rely on."""
        state = self.__dict__
        is_fitted = any(name in state for name in ("n_features_in_", *self._PER_FEATURE))
        for name in self._PER_FEATURE if is_fitted else ():
            if len(state.get(name, ())) != state.get("n_features_in_"):
                raise ValueError(f"{name} does not have an item for each feature")

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set the attributes that `__getstate__` returned, in this machine's byte order, and check them."""
        native = {
            name: np.asarray(value, value.dtype.newbyteorder("=")) if isinstance(value, np.ndarray) else value
            for name, value in state.items()
        }
        for name, form in self._get_types().items():
            if name in native:
                check_type(native[name], form, name)
        super().__setstate__(native)  # type: ignore[misc]
        self._check_state()

    def _get_networks(self) -> tuple[list[Any], list[Any]]:
        fitted = [one._state for one in getattr(self, "estimators_", [self]) if "_state" in vars(one)]
        return [one.network for one in fitted], [one for one in fitted if one.optimizer is not None]

    def _get_saved_state(self, training: bool) -> dict[str, Any]:
        attributes: dict[str, Any] = self.__getstate__()  # type: ignore[assignment]
        return {name: value for name, value in attributes.items() if self._is_saved(name)}

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Any:
        for name in state:
            if not cls._is_saved(name):
                raise ValueError(f"{cls.__name__} has no attribute {name!r} that a file could set")
        if missing := set(cls._get_param_names()) - set(state):  # type: ignore[attr-defined]
            raise ValueError(f"{cls.__name__} lacks its parameter {min(missing)!r}")
        return super()._from_state(state)

    @classmethod
    def _is_saved(cls, name: str) -> bool:
        return name in cls._get_types() or name in cls._get_param_names()  # type: ignore[attr-defined]
