"""Losses that users write, as the kernels call them: compiled where their methods can be recorded."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn_kernels.compiler.entry import FunctionPointer, PythonPointer

from ..losses import Loss
from ..network.description import Array
from ..system.expressions import Expression, list_operations


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


def get_loss_pointer(
    make_pointer: Callable[[Any, np.dtype], FunctionPointer], loss: Loss, dtype: np.dtype
) -> FunctionPointer | PythonPointer:
    """Return the pointer to a loss; `make_pointer` is `formulas.value_pointer` or `backward_pointer`.

    The kernels call the methods of a user's loss in Python if they cannot be recorded, or without numba. The
    pointer is then a new one, with errors of its own: pass it to `raise_loss_error` after each kernel.
    """
    if not loss.is_own:
        return make_pointer(loss.name, dtype)
    if operations := record_loss(loss):
        pointer = make_pointer(operations, dtype)
        try:
            _ = pointer.address
            return pointer
        except RuntimeError:  # numba is switched off or not installed
            pass
    return PythonPointer(make_pointer("squared_error", dtype), _make_function(loss, dtype))


def raise_loss_error(pointer: FunctionPointer | PythonPointer) -> None:
    """Raise what a user's method has raised in a kernel, if it has."""
    if isinstance(pointer, PythonPointer):
        pointer.raise_error()


def _make_function(loss: Any, dtype: np.dtype) -> Callable[..., float]:
    """Return the function that calls a user's methods, given the words of a kernel of `loss.py`."""

    @functools.lru_cache(1024)
    def view(address: int, n_rows: int, n_samples: int) -> Array:
        memory: Any = (ctypes.c_char * (n_rows * n_samples * dtype.itemsize)).from_address(address)
        return np.ndarray((n_rows, n_samples), dtype, memory).T

    def copy(*words: int) -> Array:
        """Return a copy of a tile: a method may keep it, and the kernel's memory ends with the training."""
        array = view(*words).copy("K")
        array.flags.writeable = False
        return array

    @np.errstate(all="ignore")
    def run(*words: Any) -> float:
        S, K, T, y, Y, _, weights, _, _, _, wanted, dS, *_ = *words, True, 0
        scores, targets, factors = copy(S, K, T), copy(y, Y, T), view(weights, 1, T)
        try:
            if dS:
                result = view(dS, K, T)
                np.multiply(loss.slope(scores, targets), factors, out=result, casting="same_kind")
                if not math.isfinite(np.vdot(result.T, result.T)):
                    result[factors[:, 0] == 0] = 0  # such as padding
            if not wanted:
                return 0.0
            losses = np.multiply(loss.value(scores, targets), factors, out=np.empty((K, T)).T)
            total = float(np.add.reduce(losses, axis=None))
            return total if math.isfinite(total) else float(losses[factors[:, 0] > 0].sum())
        except BaseException:
            if dS:
                view(dS, K, T)[...] = np.nan  # ends the training
            raise

    return run
