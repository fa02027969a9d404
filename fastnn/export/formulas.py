"""Formulas of the activations as expressions, which exporters write in the language of another system.

The formula of an activation is written once, in plain NumPy, in ``fastnn/reference/layer.py``. If its
argument is an `Expression` instead of an array, NumPy's protocols for array types record the operations. An
activation that is added to the reference therefore reaches every exporter that writes expressions.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..reference.layer import ACTIVATIONS, Sigmoid

__all__ = ["VARIABLE", "Expression", "formula"]

# Operations that exporters write, by the names of NumPy's functions; "sigmoid" is recognised in formulas.
OPERATIONS = frozenset(
    [
        "add", "subtract", "multiply", "divide", "negative", "absolute", "minimum", "maximum", "power",
        "sqrt", "exp", "expm1", "log", "log1p", "tanh", "less", "greater", "where", "sigmoid",
    ]
)  # fmt: skip


class Expression(np.lib.mixins.NDArrayOperatorsMixin):
    """Operation of a formula, with its arguments.

    Parameters
    ----------
    operation : str
        Name of NumPy's function; "variable" for the argument of the formula.
    *arguments : Expression or float
        Arguments of the operation.
    """

    dtype = np.dtype(np.float64)
    __hash__ = object.__hash__  # NDArrayOperatorsMixin defines ==, which removes the hash

    def __init__(self, operation: str, *arguments: Any) -> None:
        self.operation = operation
        self.arguments = tuple(one if isinstance(one, Expression) else float(one) for one in arguments)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Record an elementwise function or an arithmetic operator."""
        if method != "__call__" or kwargs or ufunc.__name__ not in OPERATIONS:
            raise TypeError(f"a formula with numpy.{ufunc.__name__} cannot be exported")
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


@functools.cache
def formula(activation: str) -> Expression:
    """Return the expression of an activation of `VARIABLE`.

    Parameters
    ----------
    activation : str
        Name of the activation.

    Returns
    -------
    Expression
        Expression of the activation. A subexpression that several operations use is one object.

    Raises
    ------
    TypeError
        If the formula uses a function of NumPy that cannot be recorded.

    Examples
    --------
    >>> formula("silu").operation, [node.operation for node in formula("silu").arguments]
    ('multiply', ['variable', 'sigmoid'])
    """
    return _simplified(ACTIVATIONS[activation].value(VARIABLE), {})


def _simplified(node: Any, known: dict[int, Any]) -> Any:
    """Replace the formula of the sigmoid by one operation, and leave out factors of 1."""
    if not isinstance(node, Expression) or node is VARIABLE:
        return node
    if id(node) not in known:
        argument: list[Any] = []
        if _matches(Sigmoid.value(VARIABLE), node, argument):
            known[id(node)] = Expression("sigmoid", _simplified(argument[0], known))
        elif node.operation == "multiply" and type(node.arguments[0]) is float and node.arguments[0] == 1.0:
            known[id(node)] = _simplified(node.arguments[1], known)
        else:
            arguments = [_simplified(one, known) for one in node.arguments]
            known[id(node)] = Expression(node.operation, *arguments)
    return known[id(node)]


def _matches(pattern: Any, node: Any, argument: list[Any]) -> bool:
    """Return True if `node` is the pattern with one node for `VARIABLE`, which is put into `argument`."""
    if pattern is VARIABLE:
        argument.append(node)
        return argument[0] is node
    if not (isinstance(pattern, Expression) and isinstance(node, Expression)):
        return type(pattern) is type(node) and pattern == node
    return (
        pattern.operation == node.operation
        and len(pattern.arguments) == len(node.arguments)
        and all(_matches(a, b, argument) for a, b in zip(pattern.arguments, node.arguments, strict=True))
    )
