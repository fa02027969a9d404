"""fastnn: small neural networks, trained on the CPU at the speed of the hardware."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .model import Model as Model
    from .plotting import plot_decision_boundary as plot_decision_boundary
    from .reference.gate import AddGate as AddGate
    from .reference.gate import MultiplyGate as MultiplyGate
    from .reference.layer import Sigmoid as Sigmoid
    from .reference.layer import Tanh as Tanh
    from .reference.output import Softmax as Softmax
    from .training import DivergenceError as DivergenceError

# Resolved on first use (PEP 562): numba, scikit-learn and matplotlib are loaded when they are used.
_HOMES = {
    "AddGate": "reference.gate",
    "DivergenceError": "training",
    "Model": "model",
    "MultiplyGate": "reference.gate",
    "Sigmoid": "reference.layer",
    "Softmax": "reference.output",
    "Tanh": "reference.layer",
    "plot_decision_boundary": "plotting",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
