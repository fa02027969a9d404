"""The choice between the backends: compiled kernels, or the NumPy reference.

Both offer the same operations on a `Network` and its flat parameter vector.
"""

from __future__ import annotations

import functools

from .compiled import NumbaBackend
from .numpy import NumpyBackend
from .protocol import Backend

__all__ = ["BACKENDS", "get_backend"]

BACKENDS: dict[str, type[NumbaBackend] | type[NumpyBackend]] = {
    "numba": NumbaBackend,
    "numpy": NumpyBackend,
}


@functools.cache
def get_backend(name: str) -> Backend:
    """Return the backend `name`, one of `BACKENDS`, made when it is first needed."""
    return BACKENDS[name]()
