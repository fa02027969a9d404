"""Estimators and transformers in scikit-learn's form in files: parameters, fitted attributes, members."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import numpy as np

from ..system.validation import shown
from .files import Savable
from .records import Reader, Writer

__all__ = ["SavableAttributes"]


class SavableAttributes(Savable):
    """Base class of objects in scikit-learn's form that can be saved: estimators and transformers.

    A file holds the parameters by name, so that parameters that a later version adds get their defaults, and
    the fitted attributes: all those whose names end in an underscore, and those of `_SAVED`.
    """

    # Private fitted attributes that files hold.
    _SAVED: ClassVar[tuple[str, ...]] = ()
    # Fitted attributes that are lists of floats. Files hold arrays of them, together with the training state.
    _CURVES: ClassVar[tuple[str, ...]] = ()
    # Fitted attributes that are lists of estimators.
    _MEMBERS: ClassVar[tuple[str, ...]] = ()
    # Types of fitted attributes, those that every fitted object has, and those that some have.
    _REQUIRED: ClassVar[dict[str, tuple[type, ...]]] = {}
    _OPTIONAL: ClassVar[dict[str, tuple[type, ...]]] = {}
    # Fitted attributes that subclasses describe in their own way.
    _DESCRIBED: ClassVar[tuple[str, ...]] = ()

    def _file_description(self, writer: Writer) -> dict[str, Any]:
        """Return the description of the estimator as JSON, and collect its arrays."""
        estimator: Any = self
        parameters = {
            name: writer.value(value, name) for name, value in estimator.get_params(deep=False).items()
        }
        fitted, curves = {}, []
        for name, value in sorted(self.__dict__.items()):
            if not self._is_fitted_attribute(name):
                continue
            if name in self._MEMBERS or name in self._DESCRIBED:
                continue
            if name in self._CURVES and isinstance(value, list):
                if writer.training:
                    writer.tensor(name, np.array(value, np.float64))
                    curves.append(name)
            else:
                fitted[name] = writer.value(value, name)
        member_writer = writer if self._members_resume() else writer.without_training()
        members = {
            name: [
                member_writer.described(member, f"{name}.{k}") for k, member in enumerate(self.__dict__[name])
            ]
            for name in self._MEMBERS
            if name in self.__dict__
        }
        return {"parameters": parameters, "fitted": fitted, "curves": curves, "members": members}

    @classmethod
    def _restore(cls, description: dict[str, Any], reader: Reader) -> Any:
        """Return the estimator of a description."""
        sections = [description.get(name) for name in ("parameters", "fitted", "curves", "members")]
        parameters, fitted, curves, members = sections
        if not (isinstance(parameters, dict) and isinstance(fitted, dict) and isinstance(members, dict)):
            raise ValueError("the parameters, fitted attributes or members of the estimator are missing")
        known = inspect.signature(cls).parameters
        for name in parameters:
            if name not in known:
                raise ValueError(f"{cls.__name__} has no parameter {name!r}")
        estimator = cls(**{name: reader.value(value) for name, value in parameters.items()})
        for name, value in fitted.items():
            if not cls._is_fitted_attribute(name):
                raise ValueError(f"{name!r} is not the name of a fitted attribute")
            if hasattr(cls, name) or name in known or name in cls._DESCRIBED:
                raise ValueError(f"{cls.__name__} has no fitted attribute {name!r} that could be set")
            setattr(estimator, name, reader.value(value))
        for name in curves if isinstance(curves, list) else []:
            if name not in cls._CURVES:
                raise ValueError(f"{cls.__name__} has no curve {name!r}")
            setattr(estimator, name, reader.read(name, np.float64, (None,)).tolist())
        for name, given in members.items():
            if name not in cls._MEMBERS or not isinstance(given, list):
                raise ValueError(f"{cls.__name__} has no members {name!r}")
            setattr(estimator, name, [reader.restored(member) for member in given])
        estimator._restore_described(description, reader)
        estimator._check_restored()
        return estimator

    @classmethod
    def _is_fitted_attribute(cls, name: str) -> bool:
        """Return True if files hold the attribute of this name."""
        return name in cls._SAVED or (name.endswith("_") and not name.startswith("_"))

    def _members_resume(self) -> bool:
        """Return True if files hold the training states of the members too."""
        return True

    def _restore_described(self, description: dict[str, Any], reader: Reader) -> None:
        """Set the attributes of `_DESCRIBED` from a description."""

    def _check_restored(self) -> None:
        """Raise ValueError if the fitted attributes contradict each other."""

    def _check_types(self) -> None:
        """Raise ValueError if a fitted attribute is missing, has another type or is a negative integer."""
        values = self.__dict__
        for name, kinds in (self._REQUIRED | self._OPTIONAL).items():
            if name not in values:
                if name in self._OPTIONAL:
                    continue
                raise ValueError(f"the fitted attribute {name!r} is missing")
            value = values[name]
            if type(value) not in kinds or (type(value) is int and not 0 <= value < 2**62):
                raise ValueError(f"the fitted attribute {name!r} is {shown(value)}")
