"""Import of the optional packages, the extras of the distribution."""

from __future__ import annotations

import importlib
from typing import Any


def import_extra(package: str, extra: str, feature: str) -> Any:
    """Import a package of an extra; raise ImportError that names the feature, the package and the remedy.

    Examples
    --------
    >>> import_extra("nowhere", "render", "a .png file")
    Traceback (most recent call last):
    ImportError: a .png file needs nowhere: run pip install "fastnn-numba[render]"
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        # pip finds the installed fastnn, from a wheel or a clone, and adds the packages of the extra.
        raise ImportError(f'{feature} needs {package}: run pip install "fastnn-numba[{extra}]"') from None
