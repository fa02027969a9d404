"""The encoding of tables of numbers as a stage of exported models."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels.calls.encoding import FAR

from ...export.stages import FLAG, LINEAR, MISSING, SMOOTH, Stage, linear
from .columns import DateEncoding, Dropped, FlagEncoding, NumberEncoding
from .encoder import TableEncoder
from .scaling import LIMIT

__all__ = ["table_stage"]

Array = NDArray[Any]


def table_stage(encoder: TableEncoder) -> tuple[Stage, list[str]]:
    """Return the encoding of a table of numbers and booleans as a stage, and the names of its features.

    The features are the columns that are not left out.

    Raises
    ------
    ValueError
        If a column holds dates, categories or text.
    """
    names: list[str] = []
    rows: list[dict[str, Any]] = []
    for encoding in encoder.encodings_:
        if isinstance(encoding, Dropped):
            continue
        if isinstance(encoding, NumberEncoding):
            rows += [{"sources": len(names), **row} for row in _number_rows(encoding)]
        elif isinstance(encoding, FlagEncoding):
            rows.append({"sources": len(names), **_flag_row(encoding)})
        else:
            what = "dates" if isinstance(encoding, DateEncoding) else "categories or text"
            raise ValueError(
                f"column {encoding.name!r} holds {what}, and C headers take numbers and booleans alone: "
                "export by to_onnx, or fit without the column"
            )
        names.append(encoding.name)
    identity = linear(1)
    defaults = {"kinds": LINEAR} | {name: value[0] for name, value in identity.numbers.items()}
    columns = {
        name: np.array([row.get(name, defaults.get(name)) for row in rows]) for name in ("sources", *defaults)
    }
    return Stage(len(names), **columns), names


def _number_rows(encoding: NumberEncoding) -> list[dict[str, Any]]:
    """Return the numbers of a stage for the features of a number, in their order."""
    rows: list[dict[str, Any]] = []
    common = {"fill": encoding.center}
    if encoding.is_scaled:
        far = FAR * LIMIT
        rows.append(
            {
                **common, "kinds": SMOOTH, "center": encoding.center, "scale": encoding.scale, "low": -far,
                "high": far, "limit": LIMIT,
            }
        )  # fmt: skip
    for low, high in zip(encoding.edges[:-1], encoding.edges[1:], strict=True):
        rows.append({**common, "center": low, "scale": high - low, "low": 0.0, "high": 1.0})
    return rows + [{"kinds": MISSING, "fill": 0.0}] * encoding.has_indicator


def _flag_row(encoding: FlagEncoding) -> dict[str, Any]:
    """Return the numbers of a stage for one of two values."""
    if np.isnan(encoding.high):  # an indicator: no value equals the largest number
        return {"kinds": FLAG, "center": np.inf, "fill": 1.0}
    return {"kinds": FLAG, "center": encoding.high, "fill": 0.0}
