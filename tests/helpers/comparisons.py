"""Calls of kernels, and what their results are compared with: the reference and central differences."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from strategies import Windows, read_only, wide


def call_kernel(kernel: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[np.ndarray]) -> list:
    """Return copies of the outputs, to which ``kernel(*inputs, *copies)`` writes; inputs are read-only."""
    windows = Windows(*outputs)
    arguments = [read_only(value) if isinstance(value, np.ndarray) else value for value in inputs]
    kernel(*arguments, *windows.views)
    assert windows.are_kept_apart()
    return windows.views


def central_differences(function: Callable[[], float], array: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Return the derivatives of ``function()`` by every value of `array`, which is changed and restored."""
    derivatives = np.empty_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + step
        above = function()
        array[index] = value - step
        derivatives[index] = (above - function()) / (2 * step)
        array[index] = value
    return derivatives


def twin_results(
    twin: Callable[..., Any], arrays: Sequence[np.ndarray], random: np.random.Generator
) -> Iterator[tuple[np.ndarray, float]]:
    """Yield every result of ``twin(*arrays)`` in float64, and a bound on the error of a kernel's result.

    The bound is a multiple of an ulp of the largest number, and of the effect of changing the arguments by up
    to 2 ulp of their dtype.
    """
    info = np.finfo(arrays[0].dtype)
    nudges = [[1 + info.eps * random.integers(-2, 3, array.shape) for array in arrays] for _ in range(4)]
    with np.errstate(all="ignore"):
        exact = [np.asarray(result) for result in twin(*map(wide, arrays))]
        nudged = [twin(*map(np.multiply, map(wide, arrays), nudge)) for nudge in nudges]
    for result, *others in zip(exact, *nudged, strict=True):
        moved = max(np.abs(other - result).max(initial=0) for other in others)
        yield result, 64 * info.eps * np.abs(result).max(initial=0) + 16 * moved + 1e3 * float(info.tiny)
