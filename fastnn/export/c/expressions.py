"""Activations as C functions, written from their formulas."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..formulas import VARIABLE, Expression, formula
from .text import literal

__all__ = ["activation_function", "calls"]

# Operations whose names are those of functions of the mathematical library.
LIBRARY = frozenset(["exp", "expm1", "log", "log1p", "tanh", "sqrt"])
# C operators by the operation.
INFIX = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "less": "<", "greater": ">"}


def activation_function(activation: str, name: str, dtype: np.dtype) -> str:
    """Return the definition of an activation as a C function.

    Parameters
    ----------
    activation : str
        Name of the activation.
    name : str
        Beginning of the names of functions.
    dtype : numpy.dtype
        Data type of argument and value, float32 or float64.
    """
    kind = "float" if dtype == np.float32 else "double"
    writer = _Writer(formula(activation), name, dtype)
    body = "".join(f"    {line}\n" for line in writer.lines)
    return f"static inline {kind} {name}_{activation}({kind} z)\n{{\n{body}    return {writer.result};\n}}\n"


def calls(activation: str) -> dict[str, int]:
    """Return how often an activation of one value calls functions of the mathematical library, by name."""
    counts: dict[str, int] = {}
    seen = set()

    def visit(node: Any) -> None:
        if isinstance(node, Expression) and id(node) not in seen:
            seen.add(id(node))
            function = "exp" if node.operation == "sigmoid" else node.operation
            if function in LIBRARY:
                counts[function] = counts.get(function, 0) + 1
            for one in node.arguments:
                visit(one)

    visit(formula(activation))
    return counts


class _Writer:
    """Statements and the result of a formula.

    A subexpression that is used more than once gets a variable. So do operands of minimum, maximum and power,
    which the C expression holds more than once.
    """

    def __init__(self, root: Any, name: str, dtype: np.dtype) -> None:
        self._name, self._dtype = name, dtype
        self._suffix = "f" if dtype == np.float32 else ""
        self._kind = "float" if dtype == np.float32 else "double"
        self._uses: dict[int, int] = {}
        self._names: dict[int, str] = {}
        self.lines: list[str] = []
        self._count(root)
        # The function of the sigmoid must not call itself: its body is written out.
        is_sigmoid = root is not VARIABLE and root.operation == "sigmoid" and root.arguments[0] is VARIABLE
        self.result = self._sigmoid() if is_sigmoid else _bare(self._text(root))

    def _sigmoid(self) -> str:
        """Write the body of the sigmoid, which cannot overflow."""
        f = self._suffix
        self.lines.append(f"const {self._kind} e = exp{f}(-fabs{f}(z));")
        return f"(z < 0.0{f} ? e : 1.0{f}) / (1.0{f} + e)"

    def _count(self, node: Any) -> None:
        """Count the uses of every subexpression."""
        if isinstance(node, Expression):
            self._uses[id(node)] = self._uses.get(id(node), 0) + 1
            if self._uses[id(node)] == 1:
                for one in node.arguments:
                    self._count(one)

    def _text(self, node: Any) -> str:
        """Return a subexpression as an operand: a name, a number, a call or an expression in parentheses."""
        if not isinstance(node, Expression):
            return literal(self._dtype.type(node))
        if node is VARIABLE:
            return "z"
        if id(node) in self._names:
            return self._names[id(node)]
        text = self._operation(node)
        return self._named(node, text) if self._uses[id(node)] > 1 else text

    def _named(self, node: Expression, text: str) -> str:
        """Write a variable with the value of a subexpression, and return its name."""
        name = self._names[id(node)] = f"t{len(self._names) + 1}"
        self.lines.append(f"const {self._kind} {name} = {_bare(text)};")
        return name

    def _simple(self, node: Any) -> str:
        """Return a subexpression as a name or a number."""
        text = self._text(node)
        is_simple = not isinstance(node, Expression) or node is VARIABLE or id(node) in self._names
        return text if is_simple else self._named(node, text)

    def _operation(self, node: Expression) -> str:
        """Return an operation with its operands."""
        operation, arguments = node.operation, node.arguments
        if operation in ("minimum", "maximum"):
            a, b = map(self._simple, arguments)
            return f"({a} {'<' if operation == 'minimum' else '>'} {b} ? {a} : {b})"
        if operation == "power" and isinstance(arguments[1], float) and arguments[1] in (2.0, 3.0, 4.0):
            return "(" + " * ".join([self._simple(arguments[0])] * int(arguments[1])) + ")"
        texts = [self._text(one) for one in arguments]
        if operation in INFIX:
            return f"({texts[0]} {INFIX[operation]} {texts[1]})"
        if operation == "negative":
            return f"(-{texts[0]})"
        if operation == "where":
            return f"({_bare(texts[0])} ? {texts[1]} : {texts[2]})"
        if operation == "sigmoid":
            return f"{self._name}_sigmoid({_bare(texts[0])})"
        function = {"absolute": "fabs", "power": "pow"}.get(operation, operation)
        return f"{function}{self._suffix}({', '.join(map(_bare, texts))})"


def _bare(text: str) -> str:
    """Return an expression without the parentheses around all of it."""
    if not text.startswith("("):
        return text
    depth = 0
    for position, one in enumerate(text):
        depth += (one == "(") - (one == ")")
        if not depth:
            return text[1:-1] if position == len(text) - 1 else text
    return text
