"""Registry of the backends: compiled kernels, or the NumPy reference.

Both backends have the operations of `Backend` on a `Network` and its flat parameter vector.
"""

from __future__ import annotations

import functools

from .compiled import NumbaBackend
from .numpy import NumpyBackend
from .protocol import Backend

__all__ = ["BACKENDS", "get_backend"]

# Registry of the backends: classes by name.
BACKENDS: dict[str, type[NumbaBackend] | type[NumpyBackend]] = {
    "numba": NumbaBackend,
    "numpy": NumpyBackend,
}


@functools.cache
def get_backend(name: str) -> Backend:
    """Return the backend `name`, a key of `BACKENDS`, which is created on the first call."""
    return BACKENDS[name]()
