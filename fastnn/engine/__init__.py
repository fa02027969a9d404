"""Backends that run predictions and training jobs: the compiled kernels, or the NumPy reference.

Both have the operations of `Backend` on a `Network` and its flat parameter vector.
"""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING

from fastnn_kernels.compiler.interrupts import defer_signals

if TYPE_CHECKING:
    from .protocol import Backend

# Registry of the backends: module and class by name. The command line reads the names before NumPy is loaded.
BACKENDS = {"numba": ("compiled", "NumbaBackend"), "numpy": ("numpy", "NumpyBackend")}


@functools.cache
def get_backend(name: str) -> Backend:
    """Return the backend `name`, which is created on the first call; raise ValueError for other names."""
    if name not in BACKENDS:
        raise ValueError(f"backend must be one of {sorted(BACKENDS)}, got {name!r}")
    module, backend = BACKENDS[name]
    # An interrupt during the import could leave numba half loaded: hold interrupts until the end.
    with defer_signals():
        home = importlib.import_module(f"{__package__}.{module}")
    return getattr(home, backend)()
