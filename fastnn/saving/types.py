"""Types of saved values, checked when a file is loaded."""

from __future__ import annotations

import numbers
import types
from collections.abc import Sequence
from inspect import formatannotation
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np


def check_type(value: Any, form: Any, name: str) -> None:
    """Raise ValueError if the value of this name does not have the type of an annotation."""
    if not has_type(value, form):
        raise ValueError(f"{name} is not of the type {formatannotation(form)}")


def has_type(value: Any, form: Any) -> bool:
    """Return True if a value has the type of an annotation, and so have the items of lists and tuples."""
    base: Any = type(None) if form is None else get_origin(form) or form
    arguments = get_args(form)
    if form in (Any, object):
        return True
    if hasattr(base, "__value__"):  # of a statement `type`, which NDArray is in some releases of NumPy
        return has_type(value, base.__value__[arguments] if arguments else base.__value__)
    if base in (Union, types.UnionType):
        return any(has_type(value, one) for one in arguments)
    if is_typeddict(form):
        hints = get_type_hints(form)
        return isinstance(value, dict) and all(has_type(value.get(key), hints[key]) for key in hints)
    if base in (int, float):
        numeric = numbers.Integral if base is int else numbers.Real
        return isinstance(value, numeric) and not isinstance(value, bool)
    if not isinstance(value, base):
        return False
    if base is np.ndarray and arguments:
        shape, (scalar,) = get_args(arguments[0]), get_args(arguments[1])
        is_free = shape[-1:] in ((), (...,))
        return (is_free or value.ndim == len(shape)) and (scalar is Any or np.issubdtype(value.dtype, scalar))
    if base is tuple and arguments[-1:] != (...,):
        return len(value) == len(arguments) and all(map(has_type, value, arguments))
    if issubclass(base, Sequence) and base is not str and arguments:
        return all(has_type(item, arguments[0]) for item in value)
    hints = get_type_hints(base) if hasattr(base, "_fields") else {}  # of a named tuple
    return all(has_type(getattr(value, name), hint) for name, hint in hints.items())
