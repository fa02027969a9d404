"""C99: a model as one header, in floating-point numbers or in integers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...system.validation import check_choice, check_samples
from ..description import ModelDescription
from ..files import write_file
from . import floats, int8
from .text import prefix

__all__ = ["to_c"]


def to_c(description: ModelDescription, path: Any, dtype: Any, X: Any, name: Any) -> str:
    """Return a model as a C header, and write it to a file if `path` is given.

    `fastnn.Model.to_c` documents the arguments and the errors.
    """
    check_choice(dtype, "dtype", ("float32", "float64", "int8"))
    chosen = prefix(name, path)
    if X is not None:
        X = check_samples(X, description.n_inputs, np.dtype(np.float64), "X")
    if dtype == "int8":
        text = int8.header(description, chosen, X)
    else:
        stages = tuple(stage.converted(np.dtype(dtype)) for stage in description.stages)
        text = floats.header(replace(description.converted(dtype), stages=stages), chosen, X)
    if path is not None:
        write_file(path, text.encode())
    return text
