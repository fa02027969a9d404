"""SavableAttributes: what files hold of objects in scikit-learn's form, estimators and transformers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .files import Savable


class SavableAttributes(Savable):
    """Base class of estimators and transformers that can be saved; it precedes ``BaseEstimator``.

    A file holds the parameters and the fitted attributes: all whose names end in an underscore, and
    the attributes in `_SAVED`. Files, pickles and copies are checked by `_check_state`.
    """

    # Private fitted attributes that files hold.
    _SAVED: ClassVar[tuple[str, ...]] = ()

    def _check_state(self) -> None:
        """Raise an error if fitted attributes are not what predictions and fits rely on."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set the attributes that `__getstate__` returned, in this machine's byte order, and check them."""
        native = {
            name: np.asarray(value, value.dtype.newbyteorder("=")) if isinstance(value, np.ndarray) else value
            for name, value in state.items()
        }
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
        """Return True if files hold the attribute of this name."""
        is_fitted = name.endswith("_") and not name.startswith("_")
        return is_fitted or name in cls._SAVED or name in cls._get_param_names()  # type: ignore[attr-defined]
