"""Losses that users write: their operations for the kernels, and the backend that trains with them."""

from __future__ import annotations

import functools
from typing import Any

from fastnn_kernels.calls.formulas import backward_pointer, value_pointer

from ..losses import Loss
from ..network.description import Network
from ..system.expressions import Expression, list_operations
from . import get_backend
from .protocol import Backend


@functools.lru_cache(256)
def record_loss(loss: Loss) -> tuple[Any, Any] | None:
    """Return the operations of a user's methods, `value` and `slope`; None if either cannot be recorded."""
    variables = Expression("variable"), Expression("variable")
    try:
        methods = loss.formulas.value, loss.formulas.slope
        return (
            list_operations(methods[0](*variables), variables),
            list_operations(methods[1](*variables), variables),
        )
    except Exception:  # any that a function of arrays raises for other objects
        return None


def get_kernel_loss(loss: Loss) -> Any:
    """Return what kernels find a loss by: its name, or its operations."""
    return record_loss(loss) if loss.is_own else loss.name


def get_training_backend(name: str, network: Network) -> Backend:
    """Return the backend `name`, or the reference for a user's loss that cannot be compiled.

    Both compute the same to rounding. A loss cannot be compiled if it cannot be recorded, or without numba.
    """
    loss = network.loss
    if name == "numba" and loss.is_own:
        operations = record_loss(loss)
        try:
            if operations is None:
                return get_backend("numpy")
            for make_pointer in (value_pointer, backward_pointer):
                _ = make_pointer(operations, network.dtype).address
        except RuntimeError:  # numba is switched off or not installed
            return get_backend("numpy")
    return get_backend(name)
