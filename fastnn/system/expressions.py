"""Functions of numbers, written in plain NumPy, as expressions and lists of operations.

If the argument of such a function is an `Expression` instead of an array, NumPy's protocols for array types
record the operations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# Operations whose results are booleans.
CONDITIONS = {"less", "greater", "less_equal", "greater_equal", "equal", "bitwise_and", "bitwise_or"}
# Operations that are recorded, by the names of NumPy's functions. The formulas that exporters write have no
# conditions but `less` and `greater`.
OPERATIONS = CONDITIONS | {
    "add", "subtract", "multiply", "divide", "negative", "absolute", "minimum", "maximum", "power",
    "sqrt", "exp", "expm1", "log", "log1p", "tanh", "where",
}  # fmt: skip


class Expression(np.lib.mixins.NDArrayOperatorsMixin):
    """Operation of a formula, by the name of NumPy's function, with its arguments.

    The operation "variable" stands for the argument of the formula.
    """

    dtype = np.dtype(np.float64)

    def __init__(self, operation: str, *arguments: Any) -> None:
        self.operation = operation
        self.arguments = tuple(one if isinstance(one, Expression) else float(one) for one in arguments)

    def __repr__(self) -> str:
        return f"{self.operation}({', '.join(map(repr, self.arguments))})"

    def __bool__(self) -> bool:
        raise TypeError("a formula that branches on its argument cannot be recorded: use numpy.where")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Record an elementwise function or an arithmetic operator."""
        if method == "__call__" and not kwargs and ufunc in REWRITTEN:
            return REWRITTEN[ufunc](*inputs)
        if method != "__call__" or kwargs or ufunc.__name__ not in OPERATIONS:
            raise TypeError(f"a formula with numpy.{ufunc.__name__} cannot be recorded")
        if ufunc is np.power and isinstance(inputs[1], int) and inputs[1] in (2, 3, 4):
            return functools.reduce(np.multiply, [inputs[0]] * inputs[1])
        if ufunc is np.multiply and isinstance(inputs[0], float) and inputs[0] == 1:
            return inputs[1]
        return Expression(ufunc.__name__, *inputs)

    def __array_function__(self, function: Any, types: Any, inputs: Any, kwargs: Any) -> Any:
        """Record `where`; express other functions by recorded ones."""
        if kwargs:
            return NotImplemented
        if function is np.where:
            return Expression("where", *inputs)
        if function is np.clip:
            return np.minimum(np.maximum(inputs[0], inputs[1]), inputs[2])
        if function in (np.ones_like, np.zeros_like):
            return float(function is np.ones_like)
        return NotImplemented


# Functions that are expressed by recorded ones.
REWRITTEN: dict[np.ufunc, Callable[..., Any]] = {
    np.square: lambda x: x * x,
    np.sign: lambda x: np.where(x > 0.0, 1.0, np.where(x < 0.0, -1.0, x)),
    np.cosh: lambda x: (np.exp(x) + np.exp(-x)) * 0.5,
    np.sinh: lambda x: (np.expm1(x) - np.expm1(-x)) * 0.5,
    np.logaddexp: lambda x, y: np.maximum(x, y) + np.log1p(np.exp(-np.abs(x - y))),
}


def list_operations(result: Any, variables: Sequence[Expression]) -> tuple[tuple[Any, ...], ...]:
    """Return the operations of an expression of `variables` in order, each once, the result last.

    An operation is its name and its operands: an integer counts the variables and then the operations, a text
    is a constant. Equal formulas have equal lists.

    Examples
    --------
    >>> s, y = Expression("variable"), Expression("variable")
    >>> list_operations(2.0 * (s - y), [s, y])
    (('subtract', 0, 1), ('multiply', '2.0', 2), ('positive', 3))
    """
    places: dict[Any, int] = {id(variable): k for k, variable in enumerate(variables)}
    operations: list[tuple[Any, ...]] = []

    def locate(node: Any) -> int | str:
        if not isinstance(node, Expression):
            return repr(float(node))
        if id(node) not in places:
            operation = (node.operation, *map(locate, node.arguments))
            if operation not in places:
                operations.append(operation)
                places[operation] = len(variables) + len(operations) - 1
            places[id(node)] = places[operation]
        return places[id(node)]

    operations.append(("positive", locate(result)))
    return tuple(operations)


def list_kinks(operations: Sequence[tuple[Any, ...]], *arguments: Any) -> list[Any]:
    """Return arrays that change sign where a function of arrays, of these operations, may have a kink."""
    values, kinks = list(arguments), []
    for name, *operands in operations:
        given = [float(one) if isinstance(one, str) else values[one] for one in operands]
        values.append(getattr(np, name)(*given))
        if name == "absolute":
            kinks.append(given[0])
        elif name in ("minimum", "maximum", *CONDITIONS) and not name.startswith("bitwise"):
            kinks.append(given[0] - given[1])
    return kinks
