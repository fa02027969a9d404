"""Tables in pieces: Parquet files are decoded block by block, other tables are read as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...system.extras import import_extra
from ..streaming.parquet import Block, ParquetRows
from ..streaming.source import opened_dataset, shown_source
from .columns import check_known
from .reading import INDEX, ReadTable, is_parquet, read_table

__all__ = ["Piece", "TableInPieces"]


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of a table."""

    read: ReadTable  # columns that were asked for; the index holds the numbers of the rows in the table
    kept: Any  # dataframe of the columns to copy, with the same data types in all pieces


class TableInPieces:
    """Table of a file whose rows are read when they are asked for.

    Only a few thousand rows of a Parquet file, or of a folder of such files, are in memory at a time. A table
    of another kind is read at once, and is its only piece.

    Parameters
    ----------
    source : str or Path
        Name or URL of a file or folder, or "-" for standard input.
    options : namespace
        Options of `add_reading_arguments`.
    text_columns : mapping of str to iterable of str
        Columns of a CSV file whose fields stay as they are.
    is_whole : bool, default False
        Read a Parquet file at once too.
    kept : iterable of str
        Columns that are not left out, even if they number the rows.
    target, task : str, optional
        Column that may hold classes, and the kind of the target: see `read_table`.
    copied : sequence of str
        Columns of a CSV file to be copied as they are.

    Attributes
    ----------
    name : str
        Name in messages.
    columns : list of str
        Names of the columns.
    notes : list of str
        Remarks on how the table was read.

    Raises
    ------
    ValueError
        If the file is empty, or holds no table.
    OSError
        If the file does not exist or cannot be read.
    """

    def __init__(
        self, source: str | Path, options: Any, text_columns: Any = (), is_whole: bool = False,
        kept: Any = (), target: str | None = None, task: str | None = None, copied: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._read: ReadTable | None = None
        self.name, self._source = shown_source(source), str(source)
        if is_whole or not is_parquet(source):
            self._read = read_table(source, options, text_columns, kept, target, task, copied)
            self.name, self.notes = self._read.name, self._read.notes
            self.columns = list(self._read.frame.columns)
            return
        self.columns = [name for name in opened_dataset(self._source).schema.names if name != INDEX]
        self.notes = []

    def check_names(self, names: Sequence[str], argument: str) -> None:
        """Raise ValueError if the table lacks one of the columns that an argument names."""
        check_known(names, self.columns, self.name, argument)

    def kept_schema(self, names: Sequence[str]) -> Any:
        """Return the pyarrow Schema of columns to copy; None if the table is not a Parquet file."""
        if self._read is not None or not names:
            return None
        arrow = import_extra("pyarrow", "cli", "a Parquet file")
        types = ParquetRows(self._source, None, columns=list(names)).types
        return arrow.schema(
            (name, kind.value_type if arrow.types.is_dictionary(kind) else kind)
            for name, kind in types.items()
        )

    def pieces(self, names: Sequence[str], kept: Sequence[str] = ()) -> Iterator[Piece]:
        """Yield all rows in their order, with some columns, and columns to copy.

        Parameters
        ----------
        names : sequence of str
            Columns to read.
        kept : sequence of str
            Columns to copy.
        """
        if self._read is not None:
            yield Piece(self._read, _copied(self._read, kept))
            return
        pandas = import_extra("pandas", "cli", "reading a table")
        wanted = list(dict.fromkeys([*names, *kept]))
        for block in ParquetRows(self._source, None, columns=wanted).blocks():
            frame = _frame(pandas, block, names, None)
            copied = _frame(pandas, block, kept, _nullable_types(pandas).get)
            yield Piece(ReadTable(frame, self.name), copied)


def _copied(read: ReadTable, names: Sequence[str]) -> Any:
    """Return columns to copy: numbers, booleans or dates only where the file has the same text for them."""
    frame = read.frame[list(names)].copy()
    for name in () if read.copied is None else names:
        fields = read.copied[name]
        if not frame[name].astype("string").equals(fields):
            frame[name] = fields
    return frame


def _frame(pandas: Any, block: Block, names: Sequence[str], types: Any) -> Any:
    """Return columns of a block as a dataframe, whose index holds the numbers of the rows."""
    frame = block.table.select(list(names)).to_pandas(types_mapper=types)
    frame.index = pandas.RangeIndex(block.rows[0], block.rows[-1] + 1)
    return frame


def _nullable_types(pandas: Any) -> dict[Any, Any]:
    """Return pandas data types with missing values, so that integers are written alike in every piece."""
    alias = import_extra("pyarrow", "cli", "a Parquet file").type_for_alias
    names = "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "boolean"
    return {alias(name.lower()): pandas.api.types.pandas_dtype(name) for name in names}
