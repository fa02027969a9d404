"""Evaluation of formulas in plain Python, on NumPy arrays instead of compiled vectors.

A formula on `Value` (``value.py``) emits instructions. The same formula on `Numbers` computes the result of
those instructions without compilation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numba import types
from numpy.typing import ArrayLike

from .processor import HAS_FMA

Reals: TypeAlias = Any  # an array, or a number of NumPy

NUMPY_DTYPES: dict[types.Number, Any] = {
    types.float64: np.float64,
    types.float32: np.float32,
    types.int64: np.int64,
}


def evaluate(formula: Callable[..., Numbers], *arrays: ArrayLike) -> np.ndarray:
    """Return the results of a formula on `Value`, given an array for each argument, all of one shape.

    The arrays are converted to float64.
    """
    with np.errstate(all="ignore"):
        result = formula(*(Numbers(np.asarray(array, np.float64)) for array in arrays))
        return np.array(result.array)


class Numbers(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of a numba type, with what formulas of activations use of the class `Value`."""

    def __init__(self, array: np.ndarray, dtype: types.Number = types.float64) -> None:
        self.array, self.dtype = array, dtype

    def _lift(self, other: Numbers | float) -> Reals:
        return other.array if isinstance(other, Numbers) else NUMPY_DTYPES[self.dtype](other)

    def _like(self, array: np.ndarray, dtype: types.Number | None = None) -> Numbers:
        return Numbers(array, dtype or self.dtype)

    def constant(self, number: float) -> Numbers:
        return self._like(np.full(self.array.shape, number, NUMPY_DTYPES[self.dtype]))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Numbers | float) -> Numbers:
        """Compute an operator; called by NumPy."""
        result = ufunc(*map(self._lift, inputs))
        return self._like(result, types.boolean if result.dtype == np.bool_ else None)

    def equals(self, other: Numbers | float) -> Numbers:
        return self._like(self.array == self._lift(other), types.boolean)

    def where(self, mask: Numbers, other: Numbers | float) -> Numbers:
        return self._like(np.where(mask.array, self.array, self._lift(other)))

    def at_most(self, other: Numbers | float) -> Numbers:
        return self._like(np.where(self.array > self._lift(other), self._lift(other), self.array))

    def at_least(self, other: Numbers | float) -> Numbers:
        return self._like(np.where(self.array < self._lift(other), self._lift(other), self.array))

    def fma(self, factor: Numbers | float, addend: Numbers | float) -> Numbers:
        """Return ``self * factor + addend``, rounded once.

        Without FMA the kernels round the product, and so does this method.
        """
        if not HAS_FMA:
            return self * factor + addend
        return self._like(fuse(self.array, self._lift(factor), self._lift(addend)))

    def sqrt(self) -> Numbers:
        return self._like(np.sqrt(self.array))

    def magnitude(self) -> Numbers:
        return self._like(np.abs(self.array))

    def copy_sign(self, sign: Numbers) -> Numbers:
        return self._like(np.copysign(self.array, sign.array))

    def bits(self) -> Numbers:
        return self._like(self.array.view(np.int64), types.int64)

    def from_bits(self) -> Numbers:
        return self._like(self.array.view(np.float64), types.float64)

    def to(self, dtype: types.Number) -> Numbers:
        return self._like(self.array.astype(NUMPY_DTYPES[dtype]), dtype)


def fuse(x: Reals, y: Reals, z: Reals) -> Reals:
    """Return ``x y + z``, rounded once, by operations of float64: some systems have no wider format.

    See Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums", 2008. The product is exactly two
    numbers, and so is each sum; the smallest terms are rounded to odd, which the last rounding cannot mistake
    for a tie. Only factors above 2^996, whose halves overflow, and products below 2^-969 are rounded twice.
    """
    product = x * y
    error = _find_product_error(x, y, product)
    middle, low = _add_exactly(z, error)
    high, rest = _add_exactly(product, middle)
    result = high + _add_to_odd(low, rest)
    return np.where(np.isfinite(result), result, product + z)


def _add_exactly(x: Reals, y: Reals) -> tuple[Reals, Reals]:
    """Return the rounded sum, and its error (Knuth)."""
    total = x + y
    other = total - x
    return total, (x - (total - other)) + (y - other)


def _find_product_error(x: Reals, y: Reals, product: Reals) -> Reals:
    """Return the error of a rounded product, by products of halves of 26 bits (Dekker)."""
    (x_high, x_low), (y_high, y_low) = _split_halves(x), _split_halves(y)
    return ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low


def _split_halves(x: Reals) -> tuple[Reals, Reals]:
    """Return two numbers of 26 bits at most, whose sum is a number of float64 (Veltkamp)."""
    scaled = x * 134217729.0  # 2^27 + 1
    high = scaled - (scaled - x)
    return high, x - high


def _add_to_odd(x: Reals, y: Reals) -> Reals:
    """Return the sum; if it is inexact, of its two neighbours in float64 the one whose last bit is 1."""
    total, error = _add_exactly(x, y)
    bits = np.asarray(total).view(np.int64)
    is_away = (error > 0) == (total > 0)  # the exact sum is farther from 0 than the rounded one
    to_odd = (error != 0) & (bits & 1 == 0) & np.isfinite(total)
    return np.where(to_odd, bits + np.where(is_away, 1, -1), bits).view(np.float64)
