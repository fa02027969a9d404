"""SavableAttributes: what files hold of objects in scikit-learn's form, estimators and transformers."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Mapping
from typing import Any, ClassVar, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np

from .files import Savable


class SavableAttributes(Savable):
    """Base class of estimators and transformers that can be saved; it precedes ``BaseEstimator``.

    A file holds the parameters and the fitted attributes: all whose names end in an underscore, and
    the attributes in `_SAVED`. Files, pickles and copies are checked by `_check_state`.
    """

    # Private fitted attributes that files hold.
    _SAVED: ClassVar[tuple[str, ...]] = ()
    # Types of fitted attributes of several classes.
    _TYPES: ClassVar[Mapping[str, Any]] = {
        "classes_": np.ndarray,
        "estimators_": list,
        "n_features_in_": int,
        "n_outputs_": int,
    }
    # Types of fitted attributes with one item for each feature, all of which a fitted object has.
    _PER_FEATURE: ClassVar[Mapping[str, Any]] = {}

    def _check_state(self) -> None:
        """Raise an error if fitted attributes are not what predictions and fits rely on."""
        state = self.__dict__
        fitted = [name for name in ("n_features_in_", *self._PER_FEATURE) if name in state]
        if not (self._PER_FEATURE and fitted):
            return
        size = state.get("n_features_in_")
        for name, form in self._PER_FEATURE.items():
            value = state.get(name)
            if not (has_type(size, int) and has_type(value, form) and len(value) == size):  # type: ignore[arg-type]
                raise ValueError(f"{name} is not of the type {form} with an item for each feature")

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set the attributes that `__getstate__` returned, in this machine's byte order, and check them."""
        native = {
            name: np.asarray(value, value.dtype.newbyteorder("=")) if isinstance(value, np.ndarray) else value
            for name, value in state.items()
        }
        for name, form in self._TYPES.items():
            if name in native and not has_type(native[name], form):
                raise ValueError(f"{name} is not of the type {form.__name__}")
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
            if not cls._is_saved(name) or (name not in cls._SAVED and hasattr(cls, name)):
                raise ValueError(f"{cls.__name__} has no attribute {name!r} that a file could set")
        if missing := set(cls._get_param_names()) - set(state):  # type: ignore[attr-defined]
            raise ValueError(f"{cls.__name__} lacks its parameter {min(missing)!r}")
        return super()._from_state(state)

    @classmethod
    def _is_saved(cls, name: str) -> bool:
        is_fitted = name.endswith("_") and not name.startswith("_")
        return is_fitted or name in cls._SAVED or name in cls._get_param_names()  # type: ignore[attr-defined]


def has_type(value: object, form: Any) -> bool:
    """Return True if a value has a type: a class, a list of a type, an array of a kind, or a dict of keys."""
    base, arguments = get_origin(form) or form, get_args(form)
    if is_typeddict(form):
        hints = get_type_hints(form)
        return isinstance(value, dict) and all(has_type(value.get(key), hints[key]) for key in hints)
    if base in (int, float):
        numeric = numbers.Integral if base is int else numbers.Real
        return isinstance(value, numeric) and not isinstance(value, bool)
    if not (inspect.isclass(base) and isinstance(value, base)):
        return False
    if base is list and arguments:
        return all(has_type(item, arguments[0]) for item in value)  # type: ignore[attr-defined]
    if base is np.ndarray and arguments:
        return value.ndim == 1 and np.issubdtype(value.dtype, *get_args(arguments[1]))  # type: ignore[attr-defined]
    return True
