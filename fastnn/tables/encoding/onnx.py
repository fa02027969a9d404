"""ONNX nodes that compute the encodings of tables.

A graph has an input (N, 1) for every column that is not left out, under the column's name. Numbers are
encoded in float64 and features rounded to float32, as `TableEncoder.transform` does.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from fastnn_kernels.calls.encoding import FAR

from ...export.onnx import TABLES, Graph, Tensor, check_text
from ...system.validation import Array, short_repr
from .categories import CategoryEncoding, WordsEncoding
from .columns import DateEncoding, Dropped, Encoding, FlagEncoding, NumberEncoding, count_features
from .encoder import TableEncoder
from .transformers import LIMIT, compute_interval_terms

# Dates are microseconds since 1970; a missing value is the least int64, as NumPy's NaT is.
MISSING_DATE = int(np.iinfo(np.int64).min)
# Missing values of categories are empty texts: ONNX has no missing text.
MISSING_TEXT = ""
_DAY = 86_400_000_000
_FLOAT, _DOUBLE, _INTEGER = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)
# Data type and comment of an input, by the kind of its column.
_INPUTS = {
    "number": (_DOUBLE, "number; NaN is a missing value"),
    "boolean": (_DOUBLE, "0 or 1; NaN is a missing value"),
    "date": (_INTEGER, f"microseconds since 1970-01-01; {MISSING_DATE} is a missing value"),
    "category": (np.dtype(object), "text; the empty text is a missing value"),
}


def list_inputs(
    encoder: TableEncoder, drop: Collection[str] = ()
) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """Return the inputs of a graph that encodes a table: one for every column neither left out nor in `drop`.

    The second list has a record of every input for the metadata: name, kind, and categories or range of the
    fit. If ONNX cannot express the encoding of a column, a ValueError names the column and a remedy.
    """
    inputs: list[Tensor] = []
    described: list[dict[str, Any]] = []
    names: set[str] = set()
    hashed = [
        one.name for one in encoder.encodings_ if isinstance(one, WordsEncoding) and one.name not in drop
    ]
    if hashed:
        raise ValueError(
            f"column {hashed[0]!r}: its texts are hashed word by word, which ONNX cannot express. Pass "
            f"drop={short_repr([*drop, *hashed])}, or --drop to fastnn export, to export without the "
            "texts, which then count as missing; or fit without the column"
        )
    for encoding, column in zip(encoder.encodings_, encoder.columns_, strict=True):
        if isinstance(encoding, Dropped) or encoding.name in drop:
            continue
        if isinstance(encoding, CategoryEncoding) and MISSING_TEXT in encoding.known:
            raise ValueError(
                f"column {encoding.name!r}: the empty text is one of its categories, but stands for a "
                "missing value in ONNX, which has no missing text. Replace it by a missing value or a "
                "word, and fit again"
            )
        if not encoding.name or encoding.name in names:
            raise ValueError(
                f"column {encoding.name!r}: inputs in ONNX need distinct names that are not empty. Rename "
                "the column, and fit again"
            )
        check_text(encoding.name, "the name of the column", "Rename the column, and fit again")
        record: dict[str, Any] = {"name": encoding.name, "kind": column["kind"]}
        if isinstance(encoding, CategoryEncoding):
            what = f"column {encoding.name!r}: the category"
            for known in encoding.known:
                check_text(known, what, "Replace the character in the column, and fit again")
            record["categories"] = encoding.known
        elif isinstance(encoding, NumberEncoding) and encoding.edges.size > 1:
            record["range"] = [float(encoding.edges[0]), float(encoding.edges[-1])]
        elif isinstance(encoding, DateEncoding):
            days = getattr(encoding.numbers[0], "edges", np.zeros(1))
            record["range"] = [encoding.origin, encoding.origin + round(float(days[-1]) * _DAY)]
        described.append(record)
        names.add(encoding.name)
        dtype, comment = _INPUTS[column["kind"]]
        inputs.append(Tensor(encoding.name, dtype, ("N", 1), comment=comment))
    return inputs, described


def add_table(encoder: TableEncoder, graph: Graph, drop: Collection[str] = ()) -> str:
    """Add the encoding of a table, and return the name of the features (N, n_features) in float32.

    The columns `drop` have the features of a missing value in every row.
    """
    features: list[str | Array] = []  # names of features, and constant features
    for encoding, record in zip(encoder.encodings_, encoder.columns_, strict=True):
        if isinstance(encoding, Dropped):
            continue
        if encoding.name in drop:
            features.append(encode_missing(encoding, record["kind"]))
        elif isinstance(encoding, CategoryEncoding):
            features.append(_add_lookup(encoding, encoding.categories, encoding.table, graph))
            if encoding.statistics.size:
                statistics = encoding.statistics.astype(np.float32)
                features.append(_add_lookup(encoding, encoding.known, statistics, graph))
        elif isinstance(encoding, DateEncoding):
            features.append(_add_date(encoding, graph))
        else:
            assert isinstance(encoding, NumberEncoding | FlagEncoding)  # hashed words were refused
            missing = graph.node("IsNaN", encoding.name)
            features.append(_add_number(encoding, encoding.name, missing, graph))
    first = next(feature for feature in features if isinstance(feature, str))
    n_rows = graph.node("Gather", graph.node("Shape", first), graph.constant(np.array([0]))) if drop else ""

    def repeat_value(row: Array) -> str:
        shape = graph.node("Concat", n_rows, graph.constant(np.array([row.size])), axis=0)
        return graph.node("Expand", graph.constant(row), shape)

    return graph.node(
        "Concat",
        *(feature if isinstance(feature, str) else repeat_value(feature) for feature in features),
        axis=1,
    )


def encode_missing(encoding: Encoding, kind: str) -> Array:
    """Return the features (1, n_features) of a missing value of a column."""
    row = np.zeros((1, count_features(encoding)), np.float32)
    missing = {"date": np.array(["NaT"], "datetime64[us]"), "category": [None]}
    encoding.prepare(missing.get(kind, np.array([np.nan])))(slice(0, 1), row, 0)
    return row


def _add_number(encoding: NumberEncoding | FlagEncoding, x: str, missing: str, graph: Graph) -> str:
    """Add the encoding of a number, given the names of values and of a mask of missing values."""
    if isinstance(encoding, FlagEncoding):
        return _add_flag(encoding, x, missing, graph)

    def number(value: float | Array) -> str:
        return graph.constant(np.asarray(value, np.float64))

    x = graph.node("Where", missing, number(encoding.center), x)
    features = []
    if encoding.is_scaled:
        u = graph.node("Div", graph.node("Sub", x, number(encoding.center)), number(encoding.scale))
        # ONNX has no hypot, and squares may overflow, so quotients are limited, as in the kernel.
        far = FAR * LIMIT
        u = graph.node("Max", graph.node("Min", u, number(far)), number(-far))
        v = graph.node("Div", u, number(LIMIT))
        below = graph.node("Sqrt", graph.node("Add", graph.node("Mul", v, v), number(1)))
        features.append(graph.node("Div", u, below))
    if encoding.edges.size > 1:
        low, width, factor = compute_interval_terms(encoding.edges, _DOUBLE)
        scaled = x if factor == 1 else graph.node("Mul", x, number(factor))
        fraction = graph.node("Div", graph.node("Sub", scaled, number(low)), number(width))
        features.append(graph.node("Min", graph.node("Max", fraction, number(0)), number(1)))
    if encoding.has_indicator:
        features.append(graph.cast(missing, _DOUBLE))
    joined = features[0] if len(features) == 1 else graph.node("Concat", *features, axis=1)
    return graph.cast(joined, _FLOAT)


def _add_flag(encoding: FlagEncoding, x: str, missing: str, graph: Graph) -> str:
    low, high = (graph.constant(np.array(value, np.float32)) for value in (-1, 1))
    if np.isnan(encoding.high):
        return graph.node("Where", missing, high, low)
    is_high = graph.node("Equal", x, graph.constant(np.array(encoding.high, np.float64)))
    middle = graph.constant(np.array(0, np.float32))
    return graph.node("Where", missing, middle, graph.node("Where", is_high, high, low))


def _add_date(encoding: DateEncoding, graph: Graph) -> str:
    name = encoding.name
    missing = graph.node("Equal", name, graph.constant(np.array(MISSING_DATE)))
    elapsed = graph.cast(graph.node("Sub", name, graph.constant(np.array(encoding.origin))), _DOUBLE)
    columns = [graph.node("Div", elapsed, graph.constant(np.array(_DAY, np.float64)))]
    if encoding.parts:
        parts = _add_parts(name, graph)
        columns += [graph.cast(parts[part], _DOUBLE) for part in encoding.parts]
    features = [
        _add_number(number, x, missing, graph)
        for number, x in zip(encoding.numbers, columns, strict=True)
        if not isinstance(number, Dropped)
    ]
    return graph.node("Concat", *features, axis=1)


def _add_parts(name: str, graph: Graph) -> dict[str, str]:
    """Add all parts of dates, microseconds since 1970 in int64, and return their names by `dates.PARTS`.

    Year, month and day follow Howard Hinnant, "chrono-compatible low-level date algorithms", 2021
    (`civil_from_days`): years begin in March, so that the leap day is the last.
    """

    def binary(operator: str, a: str, b: str | int) -> str:
        return graph.node(operator, a, graph.constant(np.array(b, np.int64)) if isinstance(b, int) else b)

    def floor(a: str, b: int) -> str:
        """Divide towards minus infinity; ONNX's Div rounds towards 0, and its Mod has the sign of b."""
        return binary("Div", binary("Sub", a, binary("Mod", a, b)), b)

    minutes = binary("Div", binary("Mod", name, _DAY), 60_000_000)
    days = floor(name, _DAY)
    # Days since 0000-03-01, and the day within an era: 400 years, which have 146,097 days.
    z = binary("Add", days, 719_468)
    day = binary("Mod", z, 146_097)
    leaps = binary("Sub", binary("Div", day, 1460), binary("Div", day, 36_524))
    leaps = binary("Add", leaps, binary("Div", day, 146_096))
    year = binary("Div", binary("Sub", day, leaps), 365)
    leaps = binary("Sub", binary("Div", year, 4), binary("Div", year, 100))
    day = binary("Sub", day, binary("Add", binary("Mul", year, 365), leaps))
    # Months since March, and the first day of each: a line approximates the sums of the months' lengths.
    month = binary("Div", binary("Add", binary("Mul", day, 5), 2), 153)
    first = binary("Div", binary("Add", binary("Mul", month, 153), 2), 5)
    is_next = graph.cast(binary("Greater", month, 9), _INTEGER)
    era = binary("Mul", floor(z, 146_097), 400)
    return {
        "year": binary("Add", binary("Add", year, era), is_next),
        "month": binary("Sub", binary("Add", month, 3), binary("Mul", is_next, 12)),
        "day": binary("Add", binary("Sub", day, first), 1),
        "weekday": binary("Mod", binary("Add", days, 3), 7),
        "hour": binary("Div", minutes, 60),
        "minute": binary("Mod", minutes, 60),
    }


def _add_lookup(encoding: CategoryEncoding, known: list[str], table: Array, graph: Graph) -> str:
    """Add a look-up of rows of a table by text; the last two rows are for missing and unknown texts."""
    codes = graph.node(
        "LabelEncoder",
        encoding.name,
        domain=TABLES,
        keys_strings=[*known, MISSING_TEXT],
        values_int64s=[*range(len(known) + 1)],
        default_int64=len(known) + 1,
    )
    axis = np.array([1])  # of the column (N, 1), which becomes (N,)
    return graph.node("Gather", graph.constant(table), graph.node("Squeeze", codes, graph.constant(axis)))
