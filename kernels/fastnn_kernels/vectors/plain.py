"""Evaluation of formulas in plain Python, on NumPy arrays instead of compiled vectors.

A formula on `Value` (``value.py``) emits instructions. The same formula on `Numbers` computes the result of
those instructions without compilation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from .processor import HAS_FMA

__all__ = ["Numbers", "evaluate", "fused"]

NUMPY_DTYPES = {types.float64: np.float64, types.float32: np.float32, types.int64: np.int64}


def evaluate(formula: Callable[..., Any], *arrays: Any) -> np.ndarray:
    """Return the results of a formula on `Value`, given an array for each argument, all of one shape.

    The arrays are converted to float64.
    """
    with np.errstate(all="ignore"):
        result = formula(*(Numbers(np.asarray(array, np.float64)) for array in arrays))
        return np.array(result.array)


class Numbers:
    """An array with the methods of `Value` that formulas of activations use.

    Parameters
    ----------
    array : array of float64, float32, int64 or bool
    dtype : numba type, default float64
        Type of the values.
    """

    def __init__(self, array: Any, dtype: Any = types.float64) -> None:
        self.array, self.dtype = array, dtype

    def _lift(self, other: Any) -> Any:
        return other.array if isinstance(other, Numbers) else NUMPY_DTYPES[self.dtype](other)

    def _like(self, array: Any, dtype: Any = None) -> Numbers:
        return Numbers(array, dtype or self.dtype)

    def constant(self, number: float) -> Numbers:
        return self._like(np.full(self.array.shape, number, NUMPY_DTYPES[self.dtype]))

    def __add__(self, other: Any) -> Numbers:
        return self._like(self.array + self._lift(other))

    def __sub__(self, other: Any) -> Numbers:
        return self._like(self.array - self._lift(other))

    def __mul__(self, other: Any) -> Numbers:
        return self._like(self.array * self._lift(other))

    def __truediv__(self, other: Any) -> Numbers:
        return self._like(self.array / self._lift(other))

    def __rsub__(self, other: float) -> Numbers:
        return self.constant(other) - self

    def __rtruediv__(self, other: float) -> Numbers:
        return self.constant(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Numbers:
        return self._like(-self.array)

    def __lshift__(self, bits: int) -> Numbers:
        return self._like(self.array << bits)

    def __rshift__(self, bits: int) -> Numbers:
        return self._like(self.array >> bits)

    def __lt__(self, other: Any) -> Numbers:
        return self._like(self.array < self._lift(other), types.boolean)

    def __gt__(self, other: Any) -> Numbers:
        return self._like(self.array > self._lift(other), types.boolean)

    def equals(self, other: Any) -> Numbers:
        return self._like(self.array == self._lift(other), types.boolean)

    def where(self, mask: Numbers, other: Any) -> Numbers:
        return self._like(np.where(mask.array, self.array, self._lift(other)))

    def at_most(self, other: Any) -> Numbers:
        """Return the smaller of the two; NaN in this array stays NaN."""
        return self._like(np.where(self.array > self._lift(other), self._lift(other), self.array))

    def at_least(self, other: Any) -> Numbers:
        """Return the larger of the two; NaN in this array stays NaN."""
        return self._like(np.where(self.array < self._lift(other), self._lift(other), self.array))

    def fma(self, factor: Any, addend: Any) -> Numbers:
        """Return ``self * factor + addend``, rounded once.

        Without FMA the kernels round the product, and so does this method.
        """
        if not HAS_FMA:
            return self * factor + addend
        return self._like(fused(self.array, self._lift(factor), self._lift(addend)))

    def sqrt(self) -> Numbers:
        return self._like(np.sqrt(self.array))

    def magnitude(self) -> Numbers:
        return self._like(np.abs(self.array))

    def copy_sign(self, sign: Numbers) -> Numbers:
        return self._like(np.copysign(self.array, sign.array))

    def bits(self) -> Numbers:
        """Return the bits of float64 numbers as integers."""
        return self._like(self.array.view(np.int64), types.int64)

    def from_bits(self) -> Numbers:
        """Return the float64 numbers that have these integers as their bits."""
        return self._like(self.array.view(np.float64), types.float64)

    def to(self, dtype: Any) -> Numbers:
        """Return the numbers converted to another numba type."""
        return self._like(self.array.astype(NUMPY_DTYPES[dtype]), dtype)


def fused(x: Any, y: Any, z: Any) -> Any:
    """Return ``x y + z``, rounded once, by operations of float64: some systems have no wider format.

    See Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums", 2008. The product is exactly two
    numbers, and so is each sum; the smallest terms are rounded to odd, which the last rounding cannot mistake
    for a tie. Only factors above 2^996, whose halves overflow, and products below 2^-969 are rounded twice.
    """
    rounded = x * y + z
    if rounded.dtype == np.float32:
        product = np.multiply(x, y, dtype=np.float64)  # exact
        return _sum_to_odd(product, np.float64(z) if np.ndim(z) == 0 else z.astype(np.float64)).astype(
            np.float32
        )
    product = x * y
    error = _product_error(x, y, product)
    middle, low = _two_sum(z, error)
    high, rest = _two_sum(product, middle)
    result = high + _sum_to_odd(low, rest)
    return np.where(np.isfinite(result), result, rounded)


def _two_sum(x: Any, y: Any) -> tuple[Any, Any]:
    """Return the rounded sum, and its error (Knuth)."""
    total = x + y
    other = total - x
    return total, (x - (total - other)) + (y - other)


def _product_error(x: Any, y: Any, product: Any) -> Any:
    """Return the error of a rounded product, by products of halves of 26 bits (Dekker)."""
    (x_high, x_low), (y_high, y_low) = _halves(x), _halves(y)
    return ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low


def _halves(x: Any) -> tuple[Any, Any]:
    """Return two numbers of 26 bits at most, whose sum is a number of float64 (Veltkamp)."""
    scaled = x * 134217729.0  # 2^27 + 1
    high = scaled - (scaled - x)
    return high, x - high


def _sum_to_odd(x: Any, y: Any) -> Any:
    """Return the sum; if it is inexact, of its two neighbours in float64 the one whose last bit is 1."""
    total, error = _two_sum(x, y)
    bits = np.asarray(total).view(np.int64)
    is_away = (error > 0) == (total > 0)  # the exact sum is farther from 0 than the rounded one
    to_odd = (error != 0) & (bits & 1 == 0) & np.isfinite(total)
    return np.where(to_odd, bits + np.where(is_away, 1, -1), bits).view(np.float64)
