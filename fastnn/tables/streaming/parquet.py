"""ParquetRows: the rows of Parquet files, read in pieces, in any order of the row groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...system.extras import import_extra
from ...system.frames import undictionaried
from ...system.validation import shown
from .row_groups import File, Group
from .source import checked_columns, common_types, first_line, listed, opened_dataset, shown_source

__all__ = ["Block", "GroupReader", "ParquetRows", "piece_bytes"]

Array = NDArray[Any]

# Rows that are decoded at once: at most MOST_ROWS, and about BLOCK_BYTES.
MOST_ROWS, LEAST_ROWS, BLOCK_BYTES = 16_384, 256, 8 << 20
# Bytes that an open row group takes for each column: compressed and decompressed pages, and a dictionary.
COLUMN_BYTES = 3 << 20
# Bytes of a compressed column that are read at once.
READ_BYTES = 1 << 18


@dataclass(frozen=True)
class Block:
    """Rows with targets and weights.

    Parameters
    ----------
    rows : array (n,) of int64
        Numbers of the rows in all files, counted from 0.
    table : pyarrow Table
        Columns to predict from.
    target : pyarrow Array or None
        Target of every row; None if the source has no target.
    weights : array (n,) of float64
        Weight of every row.
    place : str
        File and row group, for messages.
    first : int
        Number of the first row in its file, for messages.
    """

    rows: NDArray[np.int64]
    table: Any
    target: Any
    weights: NDArray[np.float64]
    place: str
    first: int

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the indices in the block of those of `rows`, increasing numbers, that the block holds."""
        first, last = np.searchsorted(rows, [self.rows[0], self.rows[-1] + 1])
        places = np.searchsorted(self.rows, rows[first:last])
        return places[self.rows[places] == rows[first:last]]


class ParquetRows:
    """Rows of one or more Parquet files, of which one column may be the target.

    Parameters
    ----------
    source : path, sequence of paths or pyarrow.dataset.Dataset
        Files, or a folder with files; names of folders such as "year=2024" become columns.
    target : str, optional
        Column to predict; None for rows without a target.
    weights : str, optional
        Column with the weights of the rows.
    columns : sequence of str, optional
        Columns to predict from, by default all others.
    skips_gaps : bool, default False
        True leaves out rows without a target; False raises an error for them.
    dates : sequence of str
        Columns of text that holds ISO dates, which become dates.

    Raises
    ------
    ValueError
        If a file is no Parquet file, lacks a column, or there are no rows.
    FileNotFoundError
        If a file does not exist.
    """

    def __init__(
        self, source: Any, target: Any, weights: Any = None, columns: Sequence[str] | None = None,
        skips_gaps: bool = False, dates: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._arrow = import_extra("pyarrow", "cli", "a Parquet file")
        self._parquet = import_extra("pyarrow.parquet", "cli", "a Parquet file")
        self._compute = import_extra("pyarrow.compute", "cli", "a Parquet file")
        self.name = shown_source(source)
        self.target, self.weights, self.skips_gaps = target, weights, skips_gaps
        for argument, name in (("y", target), ("sample_weight", weights)):
            if not (name is None or isinstance(name, str)):
                raise ValueError(
                    f"{argument} must be the name of a column where X names files, got {shown(name)}"
                )
        dataset = opened_dataset(source)
        known = list(dataset.schema.names)
        if not known:
            raise ValueError(f"{self.name} holds no Parquet file")
        others = [name for name in known if name not in (target, weights)]
        given = others if columns is None else checked_columns(columns)
        named: list[Any] = [("y", target), ("sample_weight", weights), *(("columns", name) for name in given)]
        for argument, name in named:
            if name is not None and str(name) not in known:
                raise ValueError(f"{argument}: {self.name} has no column {name!r}, it has {listed(known)}")
        if target is not None and target == weights:
            raise ValueError(f"sample_weight: {target!r} is the target, and cannot hold the weights as well")
        if any(name is not None and name in given for name in (target, weights)):
            raise ValueError(f"columns: the target {target!r} and the weights cannot be predicted from")
        if not given:
            raise ValueError(f"{self.name} has no column to predict {target!r} from")
        self._needed = [*given, *(name for name in (target, weights) if name is not None)]
        twice = next((name for name in self._needed if known.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{self.name} has more than one column {twice!r}: rename or remove one")
        self.columns = given
        self._types: dict[str, Any] = {}
        self._files: list[File] = []
        self.groups: list[Group] = []
        self.n_rows = 0
        self._read_metadata(dataset)
        self._types |= dict.fromkeys(dates, self._arrow.timestamp("us"))
        if not self.n_rows:
            raise ValueError(f"{self.name} has no rows")
        self.block_rows = int(np.clip(BLOCK_BYTES // (8 * len(self._needed)), LEAST_ROWS, MOST_ROWS))

    # --- what there is -----------------------------------------------------------------------------

    def _read_metadata(self, dataset: Any) -> None:
        """Read the numbers of rows of all row groups, and the types of the columns."""
        datasets = import_extra("pyarrow.dataset", "cli", "a Parquet file")
        try:
            fragments = list(dataset.get_fragments())
        except ValueError:  # pyarrow has no fragments of a dataset with a filter
            raise ValueError(
                f"{self.name} is a dataset with a filter, which streaming cannot apply: write its rows by "
                "pyarrow.dataset.write_dataset first"
            ) from None
        schemas = []
        for fragment in fragments:
            if not isinstance(fragment, datasets.ParquetFileFragment):
                raise ValueError(
                    f"{self.name} is a dataset of other files than Parquet files: write it as Parquet by "
                    "pyarrow.dataset.write_dataset, or pass its table"
                )
            path, constants = fragment.path, datasets.get_partition_keys(fragment.partition_expression)
            try:
                file = self._parquet.ParquetFile(fragment.filesystem.open_input_file(path))
            except (self._arrow.ArrowException, OSError) as error:
                raise ValueError(f"{path} is no Parquet file that can be read: {first_line(error)}") from None
            with file:
                schemas.append(file.schema_arrow)
                metadata, names = file.metadata, list(file.schema_arrow.names)
                lacking = [name for name in self._needed if name not in names and name not in constants]
                if lacking:
                    raise ValueError(f"{path} lacks the column {lacking[0]!r} of the other files")
                stamp = _stamp(fragment.filesystem, path)
                self._files.append(File(fragment.filesystem, path, constants, names, stamp))
                numbers = [group.id for group in fragment.row_groups]
                start = self.n_rows
                for number in numbers:
                    n_rows = metadata.row_group(number).num_rows
                    if n_rows:
                        place = self.n_rows, self.n_rows - start, n_rows
                        self.groups.append(Group(len(self._files) - 1, number, *place))
                    self.n_rows += n_rows
        types = common_types(dataset.schema, schemas)
        self._types = {name: _takeable(self._arrow, types[name]) for name in self._needed}

    def most_features(self, n_bins: int, most_categories: int) -> int:
        """Return an upper bound of the usual number of features of a row, from the types of the columns."""
        types = self._arrow.types
        count = 0
        for name in self.columns:
            kind = self._types[name]
            if types.is_boolean(kind):
                count += 2
            elif types.is_temporal(kind) and not types.is_duration(kind):
                count += 4 * (n_bins + 2)
            elif types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
                count += n_bins + 2
            else:
                count += most_categories + 3
        return count

    @property
    def types(self) -> dict[str, Any]:
        """Types of the columns that are read, which hold the values of all files."""
        return dict(self._types)

    def is_text(self, column: str) -> bool:
        """Return True if a column holds text."""
        types, kind = self._arrow.types, self._types[column]
        return types.is_string(kind) or types.is_large_string(kind)

    def described(self) -> dict[str, Any]:
        """Return the columns' types and the row groups' numbers of rows, which identify the rows, as JSON."""
        return {
            "columns": [[name, str(kind)] for name, kind in self._types.items()],
            "rows": [group.n_rows for group in self.groups],
        }

    # --- reading -----------------------------------------------------------------------------------

    def reader(self, group: Group) -> GroupReader:
        """Return a reader of the rows of a row group in their order."""
        return GroupReader(self, group)

    def blocks(self) -> Iterator[Block]:
        """Yield all rows in their order."""
        for group in self.groups:
            with self.reader(group) as reader:
                yield from reader.take(group.n_rows)

    def read(self, rows: NDArray[np.int64] | None = None) -> Block:
        """Return all rows, or those of `rows`, increasing numbers, that have a target, as one block."""
        blocks = []
        for block in self.blocks():
            if rows is not None:
                block = self.chosen(block, block.places(rows))
            if len(block):
                blocks.append(block)
        return self.joined(blocks)

    def joined(self, blocks: Sequence[Block]) -> Block:
        """Return the rows of several blocks as one; raise ValueError if there are none."""
        if not blocks:
            raise ValueError(f"{self.name}: the target {self.target!r} holds nothing but gaps")
        target = None
        if self.target is not None:
            target = self._arrow.chunked_array([block.target for block in blocks]).combine_chunks()
        return Block(
            np.concatenate([block.rows for block in blocks]),
            self._arrow.concat_tables([block.table for block in blocks]).combine_chunks(),
            target, np.concatenate([block.weights for block in blocks]), blocks[0].place, 0,
        )  # fmt: skip

    def chosen(self, block: Block, places: Array) -> Block:
        """Return a copy of the rows of a block at the indices `places`."""
        taken = self._arrow.array(places)
        return Block(
            block.rows[places], block.table.take(taken),
            None if block.target is None else block.target.take(taken), block.weights[places],
            block.place, block.first,
        )  # fmt: skip

    def gaps(self, block: Block, column: str) -> Array:
        """Return True for every row of a block that has a gap in a column, NaN included."""
        return self._are_gaps(block.table[column].combine_chunks())

    def check_finite(self, block: Block) -> None:
        """Raise ValueError, which names file, row group, column and row, if a number is infinite."""
        for name in self.columns:
            if self._arrow.types.is_floating(self._types[name]):
                infinite = self._compute.is_inf(block.table[name].combine_chunks())
                if self._compute.any(infinite).as_py():
                    place = int(np.argmax(self._compute.fill_null(infinite, False).to_numpy(False)))
                    raise ValueError(
                        f"{block.place}: column {name!r} holds infinity in row {block.first + place} of the "
                        "file: replace it by a number, or by a gap"
                    )

    def numbers(self, block: Block) -> NDArray[np.float64]:
        """Return the targets of a block as finite numbers."""
        try:
            # Whole numbers from 2^53 on are rounded.
            values = self._compute.cast(block.target, self._arrow.float64(), safe=False).to_numpy(False)
        except self._arrow.ArrowException as error:
            raise ValueError(
                f"{block.place}: the target {self.target!r} should hold numbers: {first_line(error)}"
            ) from None
        if not np.isfinite(values).all():
            place = int(np.argmin(np.isfinite(values)))
            raise ValueError(
                f"{block.place}: the target {self.target!r} holds {values[place]} in row "
                f"{block.first + place} of the file: replace it by a finite number, or leave out the row"
            )
        return values

    def classes(self, block: Block) -> tuple[Array, NDArray[np.int64]]:
        """Return the distinct targets of a block, unsorted, and for every row the index of its target."""
        types, target = self._arrow.types, block.target
        if types.is_decimal(target.type):
            try:
                # Integers first: float64 would join large ones.
                target = target.cast(self._arrow.int64() if target.type.scale == 0 else self._arrow.float64())
            except self._arrow.ArrowException:
                target = target.cast(self._arrow.float64(), safe=False)
        is_class = types.is_boolean(target.type) or types.is_integer(target.type)
        is_class |= types.is_floating(target.type) or types.is_string(target.type)
        if not (is_class or types.is_large_string(target.type)):
            raise ValueError(
                f"{block.place}: the target {self.target!r} holds {target.type}: choose numbers or classes"
            )
        coded = self._compute.dictionary_encode(target)
        used, places = np.unique(coded.indices.to_numpy(False), return_inverse=True)
        return coded.dictionary.to_numpy(zero_copy_only=False)[used], places

    def _are_gaps(self, column: Any) -> Array:
        """Return True for every null and NaN of an array."""
        return self._compute.is_null(column, nan_is_null=True).to_numpy(False)

    def _block(self, group: Group, first: int, batch: Any) -> Block:
        """Return the rows of a batch as a block; its first row has the number `first` in the group."""
        place, in_file = self.place(group), group.in_file
        constants, arrays = self._files[group.file].constants, {}
        for name in self._needed:
            kind = self._types[name]
            if name in batch.schema.names:
                column = batch.column(name)
            else:
                column = self._arrow.repeat(self._arrow.scalar(constants[name], kind), batch.num_rows)
            if column.type != kind:
                try:
                    # Whole numbers among floats are rounded, as in any dataframe.
                    column = column.cast(kind, safe=not self._arrow.types.is_floating(kind))
                except self._arrow.ArrowException as error:
                    raise ValueError(
                        f"{place}: column {name!r} holds {column.type} instead of {kind}: {first_line(error)}"
                    ) from None
            arrays[name] = column
        weights = np.ones(batch.num_rows)
        if self.weights is not None:
            weights = self._checked_weights(arrays[self.weights], place, in_file + first)
        rows = group.first + first + np.arange(batch.num_rows)
        table = self._arrow.table({name: arrays[name] for name in self.columns})
        target = None if self.target is None else arrays[self.target]
        if target is None:
            return Block(rows, table, None, weights, place, in_file + first)
        if self._arrow.types.is_dictionary(target.type):
            target = target.dictionary_decode()
        block = Block(rows, table, target, weights, place, in_file + first)
        missing = self._are_gaps(target)
        if not missing.any():
            return block
        if not self.skips_gaps:
            raise ValueError(
                f"{place}: the target {self.target!r} has a gap in row {in_file + first + missing.argmax()} "
                "of the file: leave out the rows without a target"
            )
        return self.chosen(block, np.flatnonzero(~missing))

    def _checked_weights(self, column: Any, place: str, first: int) -> NDArray[np.float64]:
        """Return weights as numbers; raise ValueError unless they are finite and not below 0."""
        try:
            weights = column.cast(self._arrow.float64()).to_numpy(False)
        except self._arrow.ArrowException as error:
            raise ValueError(
                f"{place}: the weights {self.weights!r} should be numbers: {first_line(error)}"
            ) from None
        wrong = ~(weights >= 0) | np.isinf(weights)
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"{place}: the weight {self.weights!r} in row {first + row} of the file is {weights[row]}: "
                "weights are numbers not below 0"
            )
        return weights

    def place(self, group: Group) -> str:
        """Return file and number of a row group, for messages."""
        return f"{self._files[group.file].path}, row group {group.number}"

    def _batches(self, group: Group, names: list[str]) -> Iterator[Any]:
        """Yield the rows of a row group with the columns `names` in batches."""
        one = self._files[group.file]
        if _stamp(one.filesystem, one.path) != one.stamp:
            raise ValueError(f"{one.path} has changed while it was read: begin again")
        with (
            one.filesystem.open_input_file(one.path) as source,
            # Without a buffer, or with `pre_buffer`, whole columns of a row group would be read at once.
            self._parquet.ParquetFile(source, buffer_size=READ_BYTES, pre_buffer=False) as file,
        ):
            yield from file.iter_batches(
                self.block_rows, row_groups=[group.number], use_threads=False,
                columns=[name for name in names if name in one.names],
            )  # fmt: skip

    def _damaged(self, group: Group, error: BaseException) -> ValueError:
        """Return the error for a row group that cannot be decoded; it names the first damaged column."""
        column, names = "", self._needed
        try:
            for _ in self._batches(group, []):
                pass
        except (self._arrow.ArrowException, OSError):
            names = []  # the file as a whole cannot be read
        for name in names:
            try:
                for _ in self._batches(group, [name]):
                    pass
            except (self._arrow.ArrowException, OSError):
                column = f", column {name!r}"
                break
        return ValueError(f"{self.place(group)}{column}: the file is damaged: {first_line(error)}")


class GroupReader:
    """Reader of a row group, which decodes a block of rows at a time.

    Parameters
    ----------
    source : ParquetRows
        Rows of all files.
    group : Group
        Row group.
    """

    def __init__(self, source: ParquetRows, group: Group) -> None:
        self._source, self._group, self._next = source, group, 0
        self._batches = source._batches(group, source._needed)
        self._left: Any = None

    def __enter__(self) -> GroupReader:
        """Return the reader."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._left = None
        self._batches.close()  # type: ignore[attr-defined]

    def skip(self, n_rows: int) -> None:
        """Decode rows without returning them: a compressed page cannot be read from its middle."""
        for _ in self._next_batches(n_rows):
            pass

    def take(self, n_rows: int) -> Iterator[Block]:
        """Yield the next rows in blocks, without those that have no target if the source skips gaps."""
        for first, batch in self._next_batches(n_rows):
            block = self._source._block(self._group, first, batch)
            if len(block):
                yield block

    def _next_batches(self, n_rows: int) -> Iterator[tuple[int, Any]]:
        """Yield the next rows as batches, each with the number of its first row in the group."""
        while n_rows:
            if self._left is None or not self._left.num_rows:
                try:
                    self._left = next(self._batches)
                except StopIteration:
                    raise ValueError(
                        f"{self._source.place(self._group)} ends after {self._next} rows instead of "
                        f"{self._group.n_rows}: the file has changed, or is damaged"
                    ) from None
                except (self._source._arrow.ArrowException, OSError) as error:
                    raise self._source._damaged(self._group, error) from None
            batch = self._left.slice(0, n_rows)
            self._left = self._left.slice(batch.num_rows)
            n_rows -= batch.num_rows
            first, self._next = self._next, self._next + batch.num_rows
            yield first, batch


def piece_bytes(source: ParquetRows) -> int:
    """Return the bytes that an open row group takes at most, for pages of the usual size."""
    return COLUMN_BYTES * len(source._needed)


def _stamp(filesystem: Any, path: str) -> tuple[Any, ...]:
    """Return size and time of the last change of a file, as far as its file system knows them."""
    info = filesystem.get_file_info(path)
    return info.size, info.mtime_ns


def _takeable(arrow: Any, kind: Any) -> Any:
    """Return the type as which a column is read.

    pyarrow cannot take rows from a view of text, nor make a dictionary of anything but text: columns of these
    types are read as text and as their values.
    """
    kind = undictionaried(kind)
    return {arrow.string_view(): arrow.string(), arrow.binary_view(): arrow.binary()}.get(kind, kind)
