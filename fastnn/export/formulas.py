"""Formulas of functions of one value as expressions, which exporters write in the language of another system.

The formula of an activation is written once, in plain NumPy, in ``fastnn/reference/layer.py``. An
activation that is added to the reference therefore reaches every exporter that writes expressions.
"""

from __future__ import annotations

from ..reference.layer import ACTIVATIONS, Sigmoid
from ..reference.output import OUTPUTS
from ..system.expressions import Expression

VARIABLE = Expression("variable")


def record_formula(name: str) -> Expression:
    """Return the expression, by `VARIABLE`, of an activation or of an output function but the softmax.

    A subexpression that several operations use is one object.
    """
    function = ACTIVATIONS[name].value if name in ACTIVATIONS else OUTPUTS[name]
    return function(VARIABLE)


def find_sigmoid_argument(node: Expression) -> Expression | None:
    """Return the expression `a` if a node is the formula of ``sigmoid(a)``, else None."""
    return next((one for one in _list_parts(node) if repr(Sigmoid.value(one)) == repr(node)), None)


def _list_parts(node: Expression) -> list[Expression]:
    inner = [one for one in node.arguments if isinstance(one, Expression)]
    return inner + [part for one in inner for part in _list_parts(one)]
