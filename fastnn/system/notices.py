"""Notices of compilations: one per process and dtype, before the seconds that a compilation takes.

A notice is a record of level INFO on the logger "fastnn". It is also a line in a terminal or a notebook,
where somebody waits, unless logging shows such records or the logger has a level of its own.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

__all__ = ["announce_compilation"]

logger = logging.getLogger("fastnn")

_announced: set[str] = set()


def announce_compilation(types: tuple[Any, ...]) -> None:
    """Announce the first compilation of kernels for a dtype.

    Parameters
    ----------
    types : tuple of numba types
        Types of the arguments of a kernel that is about to be compiled, passed by
        ``fastnn_kernels.compiler.jit`` to its listeners. The caller holds numba's lock.
    """
    from fastnn_kernels.compiler.pointer import arrays_among

    # Kernels for float32 have float64 arguments, too, such as weights of samples: float32 decides.
    dtypes = {str(array.dtype) for array in arrays_among(types)}
    dtype = next((name for name in ("float32", "float64") if name in dtypes), None)
    if dtype is None or dtype in _announced:
        return
    _announced.add(dtype)
    message = f"compiling kernels for {dtype}, once: this takes some seconds ..."
    logger.info(message)
    is_configured = logger.level or logger.handlers or logger.isEnabledFor(logging.INFO)
    if not is_configured and _is_watched():
        from tqdm.auto import tqdm

        tqdm.write(f"fastnn: {message}", file=sys.stderr)  # above a bar that is on the screen


def _is_watched() -> bool:
    """Return whether stderr is a terminal, or this process belongs to a notebook."""
    if sys.stderr is not None and sys.stderr.isatty():
        return True
    # A notebook's process has loaded IPython: it is not imported here.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)
