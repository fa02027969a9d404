"""Tables in pieces: Parquet files are read batch by batch, other tables as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas
from pandas import DataFrame

from ..options import ReadOptions
from ..parquet import Source, import_arrow, is_parquet
from .reading import INDEX, Columns, ReadTable, read_table

if TYPE_CHECKING:
    from pyarrow import Schema


class TableInPieces:
    """Table of a file whose rows are read when they are asked for.

    Only a few thousand rows of a Parquet file, or of a folder of them, are in memory at a time. A table
    of another kind, or any with `is_whole`, is read at once, and is its only piece. It has a name for
    messages, the names of its columns, and notes on how it was read.
    """

    def __init__(self, source: str | Path, options: ReadOptions, columns: Columns, is_whole: bool) -> None:
        self._read: ReadTable | None = None
        if is_whole or not is_parquet(source):
            self._read = read_table(source, options, columns)
            self.name, self.notes = self._read.name, self._read.notes
            self.columns = list(self._read.frame.columns)
        else:
            self._source = Source.open(source)
            self.name, self.notes = self._source.name, []
            self.columns = [name for name in self._source.columns if name != INDEX]

    def get_kept_schema(self, names: Sequence[str]) -> Schema | None:
        """Return the pyarrow Schema of columns to copy; None if the table is not a Parquet file."""
        if self._read is not None or not names:
            return None
        return import_arrow().schema(map(self._source.schema.field, names))

    def read_pieces(self, names: Sequence[str], kept: Sequence[str]) -> Iterator[tuple[ReadTable, DataFrame]]:
        """Yield all rows in their order, as tables with the columns `names`, and the columns `kept` to copy.

        The index holds the numbers of the rows; columns to copy have the same data types in all pieces.
        """
        if self._read is not None:
            yield self._read, _copy_columns(self._read, kept)
            return
        types, first = _map_nullable_types(), 0
        for batch in self._source.read_batches(list(dict.fromkeys([*names, *kept]))):
            rows = pandas.RangeIndex(first, first := first + len(batch))
            frame = batch.select(list(names)).to_pandas().set_axis(rows)
            copied = batch.select(list(kept)).to_pandas(types_mapper=types.get).set_axis(rows)
            yield ReadTable(frame, self.name), copied
        if not first:
            raise ValueError(f"{self.name} has no rows")


def _copy_columns(read: ReadTable, names: Sequence[str]) -> DataFrame:
    """Return columns to copy: numbers, booleans or dates only where the file has the same text for them."""
    frame = read.frame[list(names)].copy()
    if read.copied is not None:
        for name in names:
            fields = read.copied[name]
            if not frame[name].astype("string").equals(fields):
                frame[name] = fields
    return frame


def _map_nullable_types() -> dict[object, object]:
    """Return pandas data types with missing values, so that integers are written alike in every piece."""
    alias = import_arrow().type_for_alias
    names = "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "boolean"
    return {alias(name.lower()): pandas.api.types.pandas_dtype(name) for name in names}
