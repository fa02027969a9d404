"""Formulas of functions of one value as expressions, which exporters write in the language of another system.

The formula of an activation is written once, in plain NumPy, in ``fastnn/reference/layer.py``. If its
argument is an `Expression` instead of an array, NumPy's protocols for array types record the operations. An
activation that is added to the reference therefore reaches every exporter that writes expressions.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..reference.layer import ACTIVATIONS, Sigmoid
from ..reference.output import OUTPUTS

# Operations that exporters write, by the names of NumPy's functions.
OPERATIONS = frozenset(
    [
        "add",
        "subtract",
        "multiply",
        "divide",
        "negative",
        "absolute",
        "minimum",
        "maximum",
        "power",
        "sqrt",
        "exp",
        "expm1",
        "log",
        "log1p",
        "tanh",
        "less",
        "greater",
        "where",
    ]
)


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

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Record an elementwise function or an arithmetic operator."""
        if method != "__call__" or kwargs or ufunc.__name__ not in OPERATIONS:
            raise TypeError(f"a formula with numpy.{ufunc.__name__} cannot be exported")
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


VARIABLE = Expression("variable")


def record_formula(name: str) -> Expression:
    """Return the expression of an activation, or of an output function other than the softmax.

    It is a function of `VARIABLE`. A subexpression that several operations use is one object. A function of
    NumPy that cannot be recorded is a TypeError.

    Examples
    --------
    >>> record_formula("softplus")
    add(maximum(variable(), 0.0), log1p(exp(negative(absolute(variable())))))
    """
    function = ACTIVATIONS[name].value if name in ACTIVATIONS else OUTPUTS[name]
    return function(VARIABLE)


def find_sigmoid_argument(node: Expression) -> Expression | None:
    """Return the expression `a` if a node is the formula of ``sigmoid(a)``, else None."""
    return next((one for one in _list_parts(node) if repr(Sigmoid.value(one)) == repr(node)), None)


def _list_parts(node: Expression) -> list[Expression]:
    """Return all expressions of which a node is made."""
    inner = [one for one in node.arguments if isinstance(one, Expression)]
    return inner + [part for one in inner for part in _list_parts(one)]
