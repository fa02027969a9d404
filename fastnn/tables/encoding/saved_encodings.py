"""Encodings of columns in files: descriptions, and checks of what a file holds."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from ...saving.records import Reader, Writer
from ...system.validation import shown
from .categories import MAX_HASHES, CategoryEncoding, WordsEncoding
from .columns import DateEncoding, Dropped, Encoding, FlagEncoding, NumberEncoding
from .dates import PARTS, is_microsecond
from .saved import check_edges, is_numbers

__all__ = ["ENCODINGS", "FILE_NAMES", "describe_encoding", "restore_encoding"]

# Registry of the encodings by name.
ENCODINGS: dict[str, type] = {
    kind.__name__: kind
    for kind in (Dropped, NumberEncoding, FlagEncoding, DateEncoding, CategoryEncoding, WordsEncoding)
}
# Names in files of fields of encodings and of entries of a column's record, where they differ.
FILE_NAMES = {"has_missing": "has_gap", "missing": "gaps"}


def describe_encoding(encoding: Encoding, writer: Writer) -> dict[str, Any]:
    """Return the description of the encoding of a column as JSON."""
    values: dict[str, Any] = {}
    for field in fields(encoding):  # type: ignore[arg-type]
        value = getattr(encoding, field.name)
        if field.name == "numbers":
            values[field.name] = [describe_encoding(one, writer) for one in value]
        else:
            key = FILE_NAMES.get(field.name, field.name)
            values[key] = writer.value(value, f"column {encoding.name!r}")
    return {"encoding": type(encoding).__name__, **values}


def restore_encoding(description: Any, reader: Reader, is_date_part: bool = False) -> Any:
    """Return the encoding of a description.

    Parameters
    ----------
    description : object
        JSON that `describe_encoding` returned.
    reader : Reader
        Decoder of the values.
    is_date_part : bool, default False
        True for the encoding of a part of a date, which is that of a number.

    Raises
    ------
    ValueError
        If `description` describes no encoding, or its values contradict each other.
    """
    name = description.get("encoding") if isinstance(description, dict) else None
    kind: Any = ENCODINGS.get(name) if isinstance(name, str) else None
    if kind is None or (is_date_part and kind not in (Dropped, NumberEncoding, FlagEncoding)):
        what = "a part of a date" if is_date_part else "a column"
        raise ValueError(f"there is no encoding {shown(name)} for {what}")
    values = {}
    for field in fields(kind):
        key = FILE_NAMES.get(field.name, field.name)
        if key not in description:
            raise ValueError(f"{name} lacks {key!r}")
        value = description[key]
        if field.name == "numbers":
            if not isinstance(value, list):
                raise ValueError(f"{name}: {key!r} must be a list of encodings")
            values[field.name] = [restore_encoding(one, reader, True) for one in value]
            continue
        values[field.name] = decoded = reader.value(value)
        if not _has_type(decoded, str(field.type)):
            raise ValueError(f"{name}: {key!r} must be of type {field.type}, got {shown(decoded)}")
    encoding = kind(**values)
    _check_encoding(encoding)
    return encoding


def _has_type(value: Any, annotation: str) -> bool:
    """Return True if a value has the type that an annotation of an encoding's dataclass names."""
    if annotation == "NDArray[np.float64]":
        return isinstance(value, np.ndarray) and value.dtype == np.float64
    if annotation == "list[str]":
        return type(value) is list and all(type(item) is str for item in value)
    return type(value).__name__ == annotation


def _check_encoding(encoding: Any) -> None:
    """Raise ValueError if the values of an encoding contradict each other."""
    name = repr(encoding.name)
    if isinstance(encoding, NumberEncoding):
        check_edges(encoding.edges, name)
        usable = np.isfinite(encoding.center) and np.isfinite(encoding.scale) and encoding.scale > 0
        if not usable or not (encoding.is_scaled or encoding.edges.size > 1):
            raise ValueError(f"the numeric column {name} has no scale or no features")
    elif isinstance(encoding, DateEncoding):
        if not set(encoding.parts) <= set(PARTS) or len(encoding.numbers) != 1 + len(encoding.parts):
            raise ValueError(f"the dates {name} have unknown or surplus parts: {shown(encoding.parts)}")
        if not is_microsecond(encoding.origin):
            raise ValueError(f"the dates {name} begin at microsecond {encoding.origin}, out of range")
    elif isinstance(encoding, CategoryEncoding):
        if len(set(encoding.categories)) != len(encoding.categories) or not encoding.categories:
            raise ValueError(f"the categories of {name} are not distinct")
        n_statistics = encoding.statistics.shape[-1] if encoding.statistics.ndim == 2 else -1
        n_rows = len(encoding.known) + 2 if n_statistics else 0
        if not is_numbers(encoding.statistics, (n_rows, n_statistics)):
            raise ValueError(f"the statistics of {name} do not fit its categories")
    elif isinstance(encoding, WordsEncoding) and not 0 < encoding.n_features <= MAX_HASHES:
        raise ValueError(f"the words of {name} are hashed to {encoding.n_features} numbers")
