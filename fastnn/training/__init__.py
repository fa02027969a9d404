"""Training: the loop over chunks of epochs, history, callbacks and the gradient check.

Pickles of version 0.1 look for some classes in a module ``fastnn.training``: the package resolves their
names.
"""

from __future__ import annotations

import importlib
from typing import Any

_FORMER = {"DivergenceError": "divergence", "EarlyStopping": "callbacks", "History": "history"}


def __getattr__(name: str) -> Any:
    if name not in _FORMER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_FORMER[name]}", __name__), name)
