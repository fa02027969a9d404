"""Formulas that are given as lists of operations, such as recordings of functions in NumPy.

An operation is the name of a function of NumPy and its operands: an integer counts the arguments of the
formula and then the operations, a text is a constant. The last operation is the result.
"""

from __future__ import annotations

import hashlib
import math
import operator
from collections.abc import Callable
from typing import Any

from numba import types

from .value import Value, emitter
from .vmath import compute_exp, log, tanh

Operations = tuple[tuple[Any, ...], ...]


def _log1p(x: Value) -> Value:
    # The logarithm of the rounded sum lacks its rounding error, which the quotient adds to first order.
    total = x + 1.0
    near = log.formula(total)
    return (near - ((total - 1.0) - x) / total).where(near.magnitude() < math.inf, near)


def _minimum(x: Value, y: Value) -> Value:
    return x.at_most(y).where(y.equals(y), y)  # NaN if either is NaN


def _maximum(x: Value, y: Value) -> Value:
    return x.at_least(y).where(y.equals(y), y)


def _power(x: Value, y: Value) -> Value:
    """Return x to the power y for x >= 0, else NaN."""
    return compute_exp(y * log.formula(x))


# Formulas of the operations on numbers, by the names of NumPy's functions.
FORMULAS: dict[str, Callable[..., Value]] = {
    "positive": lambda x: x,
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "negative": operator.neg,
    "absolute": Value.magnitude,
    "minimum": _minimum,
    "maximum": _maximum,
    "power": _power,
    "sqrt": Value.sqrt,
    "exp": compute_exp,
    # exp(x) - 1 = (exp(x) + 1) tanh(x / 2), where nothing cancels.
    "expm1": lambda x: (compute_exp(x) + 1.0) * tanh.formula(x * 0.5),
    "log": log.formula,
    "log1p": _log1p,
    "tanh": tanh.formula,
    "less": lambda x, y: x < y,
    "greater": lambda x, y: x > y,
    "less_equal": lambda x, y: x._compare("<=", y),
    "greater_equal": lambda x, y: x._compare(">=", y),
    "equal": Value.equals,
}
# Formulas whose first operand, or both, are masks.
OF_MASKS: dict[str, Callable[..., Value]] = {
    "where": lambda mask, x, y: x.where(mask, y),
    "bitwise_and": lambda x, y: x.like(x.builder.and_(x.ir, y.ir), types.boolean),
    "bitwise_or": lambda x, y: x | y,
}


def make_formula(operations: Operations) -> Any:
    """Return the emitter ``(s, y, parameter)`` of operations on s and y; the parameter is not used."""

    def formula(s: Value, y: Value, parameter: Value) -> Value:
        values = [s, y]

        def number(value: Value) -> Value:
            return s.constant(1.0).where(value, 0.0) if value.dtype == types.boolean else value

        for name, *operands in operations:
            given = [s.constant(float(one)) if isinstance(one, str) else values[one] for one in operands]
            if name == "where":
                values.append(OF_MASKS[name](given[0], *map(number, given[1:])))
            elif name in OF_MASKS:
                values.append(OF_MASKS[name](*given))
            else:
                values.append(FORMULAS[name](*map(number, given)))
        return values[-1]

    # The cache of kernels identifies a formula by its name.
    formula.__qualname__ = f"recorded_{hashlib.sha256(repr(operations).encode()).hexdigest()[:24]}"
    return emitter(formula)
