"""ParquetRows: the rows of Parquet files, read in blocks, in any order of the row groups."""

from __future__ import annotations

import bisect
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...system.extras import import_extra
from ...system.frames import undictionaried
from ...system.messages import listed
from ...system.validation import shown
from .source import checked_columns, common_types, first_line, opened_dataset, shown_source

__all__ = ["Block", "Group", "GroupReader", "ParquetRows"]

Array = NDArray[Any]

# Rows that are decoded at once: at most MAX_ROWS, and about BLOCK_BYTES.
MAX_ROWS, MIN_ROWS, BLOCK_BYTES = 16_384, 256, 8 << 20
# Bytes that an open row group takes for each column: compressed and decompressed pages, and a dictionary.
COLUMN_BYTES = 3 << 20
# Bytes of a compressed column that are read at once.
READ_BYTES = 1 << 18
# Size and time of the last change of a file that does not exist.
NO_FILE = (None, None)


class Group(NamedTuple):
    """Row group of a file, and the file."""

    fragment: Any  # of a pyarrow.dataset: path and file system of the file
    constants: dict[str, Any]  # columns that the names of the file's folders hold
    stamp: tuple[Any, ...]  # size and time of the last change, to notice that the file changed
    number: int  # of the row group in the file
    first: int  # number of the first row among the rows of all files,
    in_file: int  # and among those of the file
    n_rows: int

    @property
    def place(self) -> str:
        """File and number of the row group, for messages."""
        return f"{self.fragment.path}, row group {self.number}"


@dataclass(frozen=True)
class Block:
    """Rows with targets and weights."""

    files: ParquetRows
    rows: NDArray[np.int64]  # numbers of the rows in all files, counted from 0
    data: Any  # pyarrow Table of the columns to predict from, the target and the weights
    place: str  # file and row group, for messages
    first: int  # number of the first row in its file, for messages

    @property
    def table(self) -> Any:
        """Columns to predict from, a pyarrow Table."""
        return self.data.select(self.files.columns)

    @property
    def target(self) -> Any:
        """Target of every row, a pyarrow Array."""
        return self.data[self.files.target].combine_chunks()

    @property
    def weights(self) -> NDArray[np.float64]:
        """Weight of every row."""
        name = self.files.weights
        return np.ones(len(self)) if name is None else self.data[name].to_numpy()

    def __len__(self) -> int:
        return len(self.rows)

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the indices in the block of those of `rows`, increasing numbers, that the block holds."""
        first, last = np.searchsorted(rows, [self.rows[0], self.rows[-1] + 1])
        places = np.searchsorted(self.rows, rows[first:last])
        return places[self.rows[places] == rows[first:last]]

    def chosen(self, places: Array) -> Block:
        """Return a copy of the rows at the indices `places`."""
        return replace(self, rows=self.rows[places], data=self.data.take(places))

    def missing(self, column: str) -> Array:
        """Return True for every row that has a missing value in a column, NaN included."""
        return self.data[column].is_null(nan_is_null=True).to_numpy()


class ParquetRows:
    """Rows of one or more Parquet files; one column may be the target.

    Parameters
    ----------
    source : path or URL, sequence of these, or pyarrow.dataset.Dataset
        Files, or a folder with files; names of folders such as "year=2024" become columns.
    target : str, optional
        Column to predict; None for rows without a target.
    weights : str, optional
        Column with the weights of the rows.
    columns : sequence of str, optional
        Columns to predict from, by default all others.
    skips_missing : bool, default False
        True leaves out rows without a target; False raises an error for them.
    dates : sequence of str
        Columns of dates; text that holds ISO dates becomes dates.

    Raises
    ------
    ValueError
        If a file is not a Parquet file, lacks a column, or there are no rows.
    FileNotFoundError
        If a file does not exist.
    """

    def __init__(
        self, source: Any, target: Any, weights: Any = None, columns: Sequence[str] | None = None,
        skips_missing: bool = False, dates: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.unreadable = (self._arrow.ArrowException, OSError)
        self.name = shown_source(source)
        self.target, self.weights, self.skips_missing = target, weights, skips_missing
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
        self.columns = others if columns is None else checked_columns(columns)
        named = [("y", target), ("sample_weight", weights), *(("columns", name) for name in self.columns)]
        for argument, name in named:
            if name is not None and str(name) not in known:
                raise ValueError(
                    f"{argument}: {self.name} has no column {name!r}; its columns are {listed(known)}"
                )
        if target is not None and target == weights:
            raise ValueError(f"sample_weight: {target!r} is the target, and cannot hold the weights as well")
        if any(name is not None and name in self.columns for name in (target, weights)):
            raise ValueError(f"columns: the target {target!r} and the weights cannot be predicted from")
        if not self.columns:
            raise ValueError(f"{self.name} has no column to predict {target!r} from")
        self.needed = [*self.columns, *(name for name in (target, weights) if name is not None)]
        twice = next((name for name in self.needed if known.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{self.name} has more than one column named {twice!r}: rename or remove one")
        self.groups: list[Group] = []
        self.n_rows = 0
        types = self._read_metadata(dataset)
        # Types of the columns that are read, which hold the values of all files.
        self.types = {name: _takeable(self._arrow, types[name]) for name in self.needed}
        for name in dates:
            if not self._arrow.types.is_temporal(self.types[name]):
                self.types[name] = self._arrow.timestamp("us")
        if not self.n_rows:
            raise ValueError(f"{self.name} has no rows")
        self.block_rows = int(np.clip(BLOCK_BYTES // (8 * len(self.needed)), MIN_ROWS, MAX_ROWS))

    @property
    def _arrow(self) -> Any:
        return import_extra("pyarrow", "cli", "a Parquet file")

    @property
    def _parquet(self) -> Any:
        return import_extra("pyarrow.parquet", "cli", "a Parquet file")

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs to read the rows: it may run in another folder."""
        local = import_extra("pyarrow.fs", "cli", "a Parquet file").LocalFileSystem
        fragments = {group.fragment.path: group.fragment for group in self.groups}
        for path, one in fragments.items():
            if isinstance(one.filesystem, local):
                fragments[path] = one.format.make_fragment(os.path.abspath(path), one.filesystem)
        groups = [group._replace(fragment=fragments[group.fragment.path]) for group in self.groups]
        return vars(self) | {"groups": groups}

    # --- what there is -----------------------------------------------------------------------------

    def _read_metadata(self, dataset: Any) -> dict[str, Any]:
        """Read the numbers of rows of all row groups, and return the types of the columns."""
        datasets = import_extra("pyarrow.dataset", "cli", "a Parquet file")
        schemas = []
        for fragment in dataset.get_fragments():
            if not isinstance(fragment, datasets.ParquetFileFragment):
                raise ValueError(
                    f"{self.name} is a dataset whose files are not Parquet: write it as Parquet with "
                    "pyarrow.dataset.write_dataset, or pass its table"
                )
            path, constants = fragment.path, datasets.get_partition_keys(fragment.partition_expression)
            try:
                with fragment.open() as source:  # what the fragment remembers may be older than the file
                    opened = self._parquet.ParquetFile(source)
                    metadata, schema = opened.metadata, opened.schema_arrow
            except self.unreadable as error:
                raise ValueError(
                    f"{path} is not a Parquet file that can be read: {first_line(error)}"
                ) from None
            schemas.append(schema)
            lacking = [name for name in self.needed if name not in (*schema.names, *constants)]
            if lacking:
                raise ValueError(f"{path} lacks the column {lacking[0]!r} of the other files")
            stamp, begin = _stamp(fragment), self.n_rows
            for number in [group.id for group in fragment.row_groups]:
                n_rows = metadata.row_group(number).num_rows
                if n_rows:
                    places = number, self.n_rows, self.n_rows - begin
                    self.groups.append(Group(fragment, constants, stamp, *places, n_rows))
                self.n_rows += n_rows
        return common_types(dataset.schema, schemas)

    def max_features(self, n_bins: int, max_categories: int) -> int:
        """Return an upper bound of the usual number of features of a row, from the types of the columns."""
        types = self._arrow.types
        count = 0
        for name in self.columns:
            kind = self.types[name]
            if types.is_boolean(kind):
                count += 2
            elif types.is_temporal(kind) and not types.is_duration(kind):
                count += 4 * (n_bins + 2)
            elif types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
                count += n_bins + 2
            else:
                count += max_categories + 3
        return count

    def described(self) -> dict[str, Any]:
        """Return the columns' types and the row groups' numbers of rows, which identify the rows, as JSON."""
        return {
            "columns": [[name, str(kind)] for name, kind in self.types.items()],
            "rows": [group.n_rows for group in self.groups],
        }

    @property
    def group_bytes(self) -> int:
        """Largest number of bytes of an open row group, for pages of the usual size."""
        return COLUMN_BYTES * len(self.needed)

    # --- reading -----------------------------------------------------------------------------------

    def blocks(self) -> Iterator[Block]:
        """Yield all rows in their order, without those whose target is missing if `skips_missing`."""
        for group in self.groups:
            with closing(GroupReader(self, group)) as reader:
                yield from reader.take(group.n_rows)

    def read(self, rows: NDArray[np.int64] | None = None) -> Block:
        """Return all rows, or those of `rows`, increasing numbers, that have a target, as one block."""
        blocks = self.blocks() if rows is None else (one.chosen(one.places(rows)) for one in self.blocks())
        return self.joined([block for block in blocks if len(block)])

    def joined(self, blocks: Sequence[Block]) -> Block:
        """Return the rows of several blocks as one; raise ValueError if there are none."""
        if not blocks:
            raise ValueError(f"{self.name}: the target {self.target!r} holds only missing values")
        rows = np.concatenate([block.rows for block in blocks])
        data = self._arrow.concat_tables([block.data for block in blocks]).combine_chunks()
        return replace(blocks[0], rows=rows, data=data, first=0)

    def check_finite(self, block: Block) -> None:
        """Raise ValueError, which names file, row group, column and row, if a number is infinite."""
        for name in self.columns:
            if self._arrow.types.is_floating(self.types[name]):
                infinite = np.isinf(block.data[name].to_numpy())
                if infinite.any():
                    raise ValueError(
                        f"{block.place}: column {name!r} holds infinity in row "
                        f"{block.first + infinite.argmax()} of the file: replace it by a number or by NaN"
                    )

    def numbers(self, block: Block) -> NDArray[np.float64]:
        """Return the targets of a block as finite numbers; integers from 2^53 on are rounded."""
        what = f"{block.place}: the target {self.target!r}"
        floats = self._cast(block.target, self._arrow.float64(), f"{what} should hold numbers", block.first)
        values = floats.to_numpy(False)
        if not np.isfinite(values).all():
            place = int(np.argmin(np.isfinite(values)))
            raise ValueError(
                f"{what} holds {values[place]} in row {block.first + place} of the file: replace it by a "
                "finite number, or leave out the row"
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
        tests = types.is_boolean, types.is_integer, types.is_floating, types.is_string, types.is_large_string
        if not any(test(target.type) for test in tests):
            raise ValueError(
                f"{block.place}: the target {self.target!r} holds {target.type}: choose a column of numbers, "
                "booleans or text, or convert it"
            )
        coded = target.dictionary_encode()
        used, places = np.unique(coded.indices.to_numpy(False), return_inverse=True)
        return coded.dictionary.to_numpy(zero_copy_only=False)[used], places

    def targets(self, block: Block, has_classes: bool) -> Array:
        """Return the targets of a block's rows: classes, or numbers."""
        if not has_classes:
            return self.numbers(block)
        values, places = self.classes(block)
        return values[places]

    def _cast(self, column: Any, kind: Any, message: str, first: int) -> Any:
        """Return a column cast to a type; raise ValueError that begins with `message`, and names the row.

        The column's first row has the number `first` in the file.
        """
        safe = not self._arrow.types.is_floating(kind)  # integers among floats are rounded, as in a dataframe

        def fails(n_rows: int) -> bool:
            try:
                column[:n_rows].cast(kind, safe=safe)
            except self._arrow.ArrowException:
                return True
            return False

        try:
            return column.cast(kind, safe=safe)
        except self._arrow.ArrowException as error:
            if fails(0):
                raise ValueError(f"{message}: {first_line(error)}") from None
        place = bisect.bisect_left(range(1, len(column)), True, key=fails)
        raise ValueError(
            f"{message}, but row {first + place} of the file holds {shown(column[place].as_py())}"
        )

    def block(self, group: Group, first: int, batch: Any) -> Block:
        """Return the rows of a batch as a block; its first row has the number `first` in the group."""
        place, columns = group.place, {}
        for name in self.needed:
            kind = self.types[name]
            if name in batch.schema.names:
                column = batch.column(name)
            else:
                constant = self._arrow.scalar(group.constants[name], kind)
                column = self._arrow.repeat(constant, batch.num_rows)
            if name == self.weights:
                message = f"{place}: the weights {name!r} should be numbers"
                column = self._cast(column, self._arrow.float64(), message, group.in_file + first)
            elif column.type != kind:
                message = f"{place}: column {name!r} should hold {kind} as other files do"
                column = self._cast(column, kind, message, group.in_file + first)
            if name == self.target and self._arrow.types.is_dictionary(kind):
                column = column.dictionary_decode()
            columns[name] = column
        rows = group.first + first + np.arange(batch.num_rows)
        block = Block(self, rows, self._arrow.table(columns), place, group.in_file + first)
        weights = block.weights
        wrong = ~(weights >= 0) | np.isinf(weights)
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"{place}: the weight {self.weights!r} in row {block.first + row} of the file is "
                f"{weights[row]}: weights are numbers of at least 0"
            )
        if self.target is None or not (missing := block.missing(self.target)).any():
            return block
        if self.skips_missing:
            return block.chosen(np.flatnonzero(~missing))
        raise ValueError(
            f"{place}: the target {self.target!r} is missing in row {block.first + missing.argmax()} of the "
            "file: leave out the rows without a target"
        )

    def batches(self, group: Group, names: list[str]) -> Iterator[Any]:
        """Yield the rows of a row group with the columns `names` in batches.

        A scanner of pyarrow.dataset would decode the whole row group at once.
        """
        path, stamp = group.fragment.path, _stamp(group.fragment)
        if stamp == NO_FILE != group.stamp:
            raise ValueError(
                f"{path} has changed while it was read, or {platform.node()} lacks it: all workers must find "
                "the files by the same names, on a shared disk or by URLs"
            )
        if stamp != group.stamp:
            raise ValueError(
                f"{path} has changed while it was read: begin again (all workers must read the same file)"
            )
        with (
            group.fragment.open() as source,
            # Without a buffer, or with `pre_buffer`, whole columns of a row group would be read at once.
            self._parquet.ParquetFile(source, buffer_size=READ_BYTES, pre_buffer=False) as file,
        ):
            yield from file.iter_batches(
                self.block_rows, row_groups=[group.number], use_threads=False,
                columns=[name for name in names if name in file.schema_arrow.names],
            )  # fmt: skip

    def damaged(self, group: Group, error: BaseException) -> ValueError:
        """Return the error for a row group that cannot be decoded; it names the first damaged column."""
        column = ""
        for name in ("", *self.needed):  # without a name, the file as a whole
            try:
                for _ in self.batches(group, [name]):
                    pass
            except self.unreadable:
                column = f", column {name!r}" if name else ""
                break
        what = "cannot be read" if isinstance(error, PermissionError) else "is damaged"
        return ValueError(f"{group.place}{column}: the file {what}: {first_line(error)}")


class GroupReader:
    """Reader of a row group, which decodes a block of rows at a time.

    Parameters
    ----------
    files : ParquetRows
        Rows of all files.
    group : Group
        Row group.
    n_skipped : int, default 0
        Number of rows to leave out; they are decoded, as a compressed page cannot be read from its middle.
    """

    def __init__(self, files: ParquetRows, group: Group, n_skipped: int = 0) -> None:
        self._files, self._group, self._next = files, group, 0
        self._batches: Any = files.batches(group, files.needed)
        self._left: Any = ()
        for _ in self._slices(n_skipped):
            pass

    def close(self) -> None:
        """Close the file."""
        self._batches.close()

    def take(self, n_rows: int) -> Iterator[Block]:
        """Yield the next rows in blocks, without those whose target is missing if `skips_missing`."""
        for first, batch in self._slices(n_rows):
            block = self._files.block(self._group, first, batch)
            if len(block):
                yield block

    def _slices(self, n_rows: int) -> Iterator[tuple[int, Any]]:
        """Yield the next rows as batches, each with the number of its first row in the group."""
        while n_rows:
            if not len(self._left):
                try:
                    self._left = next(self._batches)
                except (*self._files.unreadable, StopIteration) as error:
                    raise self._files.damaged(self._group, error) from None
            batch = self._left.slice(0, n_rows)
            self._left = self._left.slice(len(batch))
            n_rows -= len(batch)
            first, self._next = self._next, self._next + len(batch)
            yield first, batch


def _stamp(fragment: Any) -> tuple[Any, ...]:
    """Return size and time of the last change of a file, as far as its file system knows them."""
    info = fragment.filesystem.get_file_info(fragment.path)
    return info.size, info.mtime_ns


def _takeable(arrow: Any, kind: Any) -> Any:
    """Return the type as which a column is read.

    pyarrow cannot take rows from a view of text, nor make a dictionary of anything but text: columns of these
    types are read as text and as their values.
    """
    kind = undictionaried(kind)
    return {arrow.string_view(): arrow.string(), arrow.binary_view(): arrow.binary()}.get(kind, kind)
