"""The kernels that encode numbers of a table."""

from __future__ import annotations

import functools

from ..compiler.entry import FunctionPointer
from ..compiler.kinds import FLOAT64, INT64, NONE, SCALARS, Array

# Distance, in limits, from which a smoothly scaled number equals the limit to rounding: v / sqrt(1 + v^2)
# differs from 1 by 1 / (2 v^2). Numbers are cut off there, so that no square overflows.
FAR = 1e9

COLUMN, FEATURES = Array(FLOAT64, 1, readonly=True), Array(SCALARS["float32"], 2)


@functools.cache
def smooth_scaled() -> FunctionPointer:
    kinds = {"x": COLUMN, **dict.fromkeys(("center", "scale", "limit"), FLOAT64), "out": FEATURES}
    return FunctionPointer("encoding.smooth_scaled", None, kinds | {"column": INT64}, NONE)


@functools.cache
def piecewise_linear() -> FunctionPointer:
    kinds = {"x": COLUMN, "low": COLUMN, "width": COLUMN, "factor": FLOAT64, "out": FEATURES}
    return FunctionPointer("encoding.piecewise_linear", None, kinds | {"column": INT64}, NONE)
