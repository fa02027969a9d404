"""Notices before a compilation of some seconds: one per process and dtype.

A notice is a record of level INFO on the logger "fastnn". In a terminal or a notebook, where users wait for
the result, the notice is also printed, unless logging is configured to show such records or the logger has a
level.
"""

from __future__ import annotations

import logging
import sys

logger = logging.getLogger("fastnn")

_announced: set[str] = set()


def announce_compilation(types: tuple[object, ...]) -> None:
    """Announce the first compilation of kernels for a dtype, given the numba types of a kernel's arguments.

    ``fastnn_kernels.compiler.jit`` calls its listeners while it holds numba's compiler lock.
    """
    from fastnn_kernels.compiler.jit import find_arrays

    # Kernels for float32 have float64 arguments too, such as sample weights: look for float32 first.
    dtypes = {str(array.dtype) for array in find_arrays(types)}
    dtype = next((name for name in ("float32", "float64") if name in dtypes), None)
    if dtype is None or dtype in _announced:
        return
    _announced.add(dtype)
    message = f"compiling kernels for {dtype}, once: this takes some seconds ..."
    logger.info(message)
    is_configured = logger.level or logger.handlers or logger.isEnabledFor(logging.INFO)
    if not is_configured and _is_watched():
        from tqdm import tqdm

        # tqdm.write prints above a progress bar on the screen. tqdm.auto warns where ipywidgets is missing.
        tqdm.write(f"fastnn: {message}", file=sys.stderr)


def _is_watched() -> bool:
    if sys.stderr is not None and sys.stderr.isatty():
        return True
    # A notebook's process has loaded IPython already: do not import IPython for the check.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)
