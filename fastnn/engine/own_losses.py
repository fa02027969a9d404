"""Losses that users write, as the kernels call them: compiled where their methods can be recorded."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn_kernels.calls.formulas import GIVEN_LOSS, backward_pointer
from fastnn_kernels.compiler.entry import FunctionPointer, PreparedCall, PythonPointer

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
    def prepare(S: int, K: int, T: int, y: int, Y: int, weights: int, dS: int) -> tuple[Any, ...]:
        """Return the scores and targets of a tile, arrays for values and slopes, and the call that adds them.

        The call weighs the slopes and returns the sum of the weighted values.
        """

        def view(address: int, n_rows: int) -> Array:
            memory: Any = (ctypes.c_char * (n_rows * T * dtype.itemsize)).from_address(address)
            return np.ndarray((n_rows, T), dtype, memory)

        values, slopes, unused = np.zeros((3, K, T), dtype)
        given = {"S": values, "y": slopes, "weights": view(weights, 1), "dS": view(dS, K) if dS else unused}
        call = PreparedCall(backward_pointer(GIVEN_LOSS, dtype), parameter=0.0, wanted=True, **given)
        return view(S, K).T, view(y, Y).T, values.T, slopes.T, call

    def copy(rows: Array) -> Array:
        """Return a copy of a tile: a method may keep it, and the kernel's memory ends with the training."""
        array = rows.copy("K")
        array.setflags(write=False)
        return array

    @np.errstate(all="ignore")
    def run(*words: Any) -> float:
        S, K, T, y, Y, _, weights, _, _, _, wanted, dS, *_ = *words, True, 0
        scores, targets, values, slopes, call = prepare(S, K, T, y, Y, weights, dS)
        scores, targets = copy(scores), copy(targets)
        try:
            if dS:
                np.copyto(slopes, loss.slope(scores, targets))
            if wanted:
                np.copyto(values, loss.value(scores, targets))
        except BaseException:
            slopes[...] = np.nan  # ends the training
            raise
        finally:
            total = call()
        return total if wanted else 0.0

    return run
