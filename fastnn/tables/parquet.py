"""Sources of tables: paths and URLs of files, folders of Parquet files, and datasets of pyarrow."""

from __future__ import annotations

import importlib
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.random import sample_without_replacement

from ..system.extras import import_extra
from ..system.files import is_url

if TYPE_CHECKING:
    from pyarrow import Array as ArrowArray
    from pyarrow import DataType, RecordBatch, Schema, Table
    from pyarrow.dataset import Dataset, Fragment, ParquetFileFormat
    from pyarrow.fs import FileSystem
    from pyarrow.parquet import FileMetaData

    # Parquet files: a path or URL, a list of them, or a dataset of pyarrow.
    Files: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Dataset

# First bytes of Parquet files.
PARQUET = b"PAR1"
# Largest number of rows of a batch, and of bytes of a batch of several rows.
BATCH_ROWS, BATCH_BYTES = 16_384, 1 << 25
# Largest number of unpacked bytes of a compressed file, and their ratio to the packed bytes of larger files.
MAX_UNPACKED, MAX_RATIO = 1 << 25, 100


def import_arrow(module: str = "pyarrow") -> Any:
    """Import pyarrow or a module of it; raise ImportError with a remedy if it is missing."""
    return import_extra(module, "cli", "a Parquet file or a URL")


# --- files that a user names --------------------------------------------------------------------------------


def is_files(X: object) -> TypeGuard[Files]:
    """Return True for a path, a list of paths and a dataset of pyarrow."""
    if isinstance(X, str | os.PathLike):
        return True
    if isinstance(X, list | tuple):
        return len(X) > 0 and all(isinstance(one, str | os.PathLike) for one in X)
    datasets = sys.modules.get("pyarrow.dataset")  # only a program that has imported it has such an object
    return datasets is not None and isinstance(X, datasets.Dataset)


def name_source(source: object) -> str:
    """Return the name of files for messages; a URL loses its password and its query."""
    if is_url(source):
        return re.sub("(://)[^/@]*:[^/@]*@", r"\1", str(source).partition("?")[0])
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    files = list(source) if isinstance(source, list | tuple) else list(getattr(source, "files", []))
    if not files:
        return "the dataset"
    first = name_source(files[0])
    return first if len(files) == 1 else f"{first} and {len(files) - 1} more files"


def get_first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def _name_errors(url: str) -> Iterator[None]:
    name = name_source(url)
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {name}") from None
    except (ImportError, OSError, ValueError) as error:
        kind = next(one for one in (ImportError, OSError, ValueError) if isinstance(error, one))
        raise kind(f"{name} cannot be read: {get_first_line(error).replace(url, name)}") from None


def _find_file_system(url: str) -> tuple[FileSystem, str]:
    """Return the file system of a URL, one of pyarrow or of fsspec for pyarrow, and the path in it."""
    arrow, systems = import_arrow(), import_arrow("pyarrow.fs")
    with _name_errors(url):
        try:
            return systems.FileSystem.from_uri(url)
        except arrow.ArrowInvalid as error:
            if "Unrecognized filesystem type" not in str(error):
                raise
        except arrow.ArrowNotImplementedError:  # of a pyarrow that was built without the file system
            pass
        try:
            core = importlib.import_module("fsspec.core")
        except ModuleNotFoundError:
            scheme = url.partition("://")[0]
            raise ImportError(f"pyarrow does not know {scheme}://, fsspec may: pip install fsspec") from None
        try:
            system, path = core.url_to_fs(url)
        except ValueError as error:
            raise ValueError(
                f"{get_first_line(error)}: pyarrow and fsspec know URLs such as s3:// and gs://"
            ) from None
        return systems.PyFileSystem(systems.FSSpecHandler(system)), path


def read_url(url: str, n_bytes: int | None = None) -> bytes:
    """Return the bytes of the file at a URL, or the first `n_bytes` of them."""
    system, path = _find_file_system(url)
    with _name_errors(url), system.open_input_file(path) as file:
        return file.read(n_bytes)


def _is_folder(source: str) -> bool:
    """Return True for a folder; raise FileNotFoundError if there is neither a file nor a folder."""
    if is_url(source):
        system, path = _find_file_system(source)
        with _name_errors(source):
            kind = system.get_file_info(path).type.name
        is_there, is_folder = kind != "NotFound", kind == "Directory"
    else:
        is_there, is_folder = os.path.exists(source), os.path.isdir(source)
    if not is_there:
        raise FileNotFoundError(f"there is no file {name_source(source)}")
    return is_folder


def is_parquet(source: str | Path) -> bool:
    """Return True for the name or URL of a Parquet file, or of a folder that holds Parquet files."""
    if is_url(source):
        url = str(source)
        if not _is_folder(url):
            return read_url(url, len(PARQUET)) == PARQUET
        system, path = _find_file_system(url)
        with _name_errors(url):
            found = system.get_file_info(import_arrow("pyarrow.fs").FileSelector(path, recursive=True))
        return any(info.path.endswith(".parquet") for info in found)
    local = Path(source)
    if source == "-" or not local.is_file():  # standard input, a folder, or a pipe
        return source != "-" and any(local.rglob("*.parquet"))
    with local.open("rb") as file:
        return file.read(len(PARQUET)) == PARQUET


# --- their rows ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """Rows of files, which are read by pyarrow."""

    dataset: Dataset  # files; texts are read as dictionaries, each text once
    name: str  # name in messages
    schema: Schema  # columns; dictionaries are decoded to these types
    max_bytes: float = math.inf  # largest number of bytes of all texts
    batch_rows: int = BATCH_ROWS  # number of rows of a batch
    text_bytes: Mapping[str, int] = field(default_factory=dict)  # bytes of columns of texts

    @classmethod
    def open(cls, given: Files) -> Source:
        """Return the source that a user names: a path or URL, a list of these, a folder, or a dataset.

        The types of its columns hold the values of all files, such as float64 for integers and floats. A
        dataset of the user stays as it is. Files that are not Parquet files, lie in several file systems, or
        lack a column are a ValueError, a missing file a FileNotFoundError, and a missing package an
        ImportError.
        """
        datasets, name = import_arrow("pyarrow.dataset"), name_source(given)
        if isinstance(given, datasets.Dataset):
            return cls(given, name, given.schema)
        names = [os.fspath(one) for one in ([given] if isinstance(given, str | os.PathLike) else given)]
        folders = [one for one in names if _is_folder(one)]
        if len(names) > 1 and folders:
            raise ValueError(
                f"{name_source(folders[0])} is a folder: pass one folder, or a list of files alone"
            )
        places = [_find_file_system(one) if is_url(one) else (None, one) for one in names]
        for one, (system, _) in zip(names, places, strict=True):
            if system != places[0][0]:
                raise ValueError(
                    f"{name_source(names[0])} and {name_source(one)} lie in different file systems: pass the "
                    "files of one"
                )
        paths = [path for _, path in places] if len(places) > 1 else places[0][1]
        options = {"filesystem": places[0][0], "partitioning": "hive"}
        return cls._open(lambda form, schema: datasets.dataset(paths, schema, form, **options), name)

    @classmethod
    def read_stream(cls, file: BinaryIO, name: str) -> Source:
        """Return the source of an open Parquet file, which is read as a whole."""
        datasets, content = import_arrow("pyarrow.dataset"), import_arrow().py_buffer(file.read())

        def make_dataset(form: ParquetFileFormat, schema: Schema | None) -> Dataset:
            fragment = form.make_fragment(content)
            return datasets.FileSystemDataset([fragment], schema or fragment.physical_schema, form)

        return cls._open(make_dataset, name)

    @classmethod
    def _open(cls, make_dataset: Callable[[ParquetFileFormat, Schema | None], Dataset], name: str) -> Source:
        arrow, make_format = import_arrow(), import_arrow("pyarrow.dataset").ParquetFileFormat
        sizes = _Sizes()
        try:
            dataset = make_dataset(make_format(), None)
            fragments = list(dataset.get_fragments())
            schema = _unify_schemas(dataset, fragments, name)
            max_bytes = find_max_unpacked(sum(map(_count_packed_bytes, fragments)))
            for fragment in fragments:
                sizes.add(fragment.metadata)
            if sizes.n_bytes > max_bytes:
                raise _make_size_error(name)
            fields, texts = [], []
            for column in schema:
                base, files = _find_base(column.type), [one.physical_schema for one in fragments]
                bases = {_find_base(one.field(column.name).type) for one in files if column.name in one.names}
                # Metadata without a dictionary are no proof: pyarrow expands one that the pages hold.
                # pyarrow reads no dictionary from texts that are stored without their common prefixes.
                if base and bases == {base} and column.name not in sizes.prefixed:
                    texts.append(column.name)
                    column = column.with_type(arrow.dictionary(arrow.int32(), base))
                fields.append(column)
            stored = arrow.schema(fields, schema.metadata)
            dataset = make_dataset(make_format(dictionary_columns=texts), stored)
        except (arrow.ArrowException, OSError) as error:
            raise ValueError(
                f"{name} is not a Parquet file that can be read: {get_first_line(error)}"
            ) from None
        row_bytes = sizes.row_bytes + sum(
            one.type.byte_width for one in schema if arrow.types.is_fixed_size_binary(one.type)
        )
        batch_rows = min(BATCH_ROWS, max(1, int(BATCH_BYTES / row_bytes)))
        return cls(dataset, name, schema, max_bytes, batch_rows, sizes.text_bytes)

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.schema.names)

    @property
    def n_rows(self) -> int:
        """Number of rows, one at least."""
        count = self.dataset.count_rows()
        if not count:
            raise ValueError(f"{self.name} has no rows")
        return count

    def count_max_features(self, columns: Sequence[str], n_bins: int, max_categories: int) -> int:
        """Return an upper bound of the usual number of features of a row, from the types of columns."""
        types, count = import_arrow().types, 0
        for name in columns:
            kind = self.schema.field(name).type
            if types.is_boolean(kind):
                count += 2
            elif types.is_temporal(kind) and not types.is_duration(kind):
                count += 4 * (n_bins + 2)
            elif types.is_primitive(kind) or types.is_decimal(kind):
                count += n_bins + 2
            else:
                count += max_categories + 3
        return count

    def read(self, columns: Sequence[str], rows: NDArray[np.int64] | None = None) -> Table:
        """Return columns as a pyarrow Table: all rows, or the rows whose increasing numbers are `rows`."""
        schema = import_arrow().schema(map(self.schema.field, columns), self.schema.metadata)
        return import_arrow().Table.from_batches(list(self.read_batches(columns, rows)), schema)

    def read_batches(
        self, columns: Sequence[str], rows: NDArray[np.int64] | None = None
    ) -> Iterator[RecordBatch]:
        """Yield columns of all rows, or of `rows`, as pyarrow RecordBatches, of which few are in memory.

        Texts of more than `max_bytes` are a ValueError, before they are in memory.
        """
        arrow, n_left, n_read = import_arrow(), self.max_bytes, 0
        with self._explain_errors(columns):
            few_groups = import_arrow("pyarrow.dataset").ParquetFragmentScanOptions(
                use_buffered_stream=True, pre_buffer=False
            )
            for batch in self.dataset.to_batches(
                columns=list(columns),
                batch_size=self.batch_rows,
                batch_readahead=1,
                fragment_readahead=1,
                fragment_scan_options=few_groups,
            ):
                first, n_read = n_read, n_read + len(batch)
                if rows is not None:
                    batch = batch.take(
                        arrow.array(rows[slice(*np.searchsorted(rows, [first, n_read]))] - first)
                    )
                if not len(batch):  # files without rows have an empty batch
                    continue
                ends = np.cumsum(sum(map(_measure_rows, batch.columns), np.zeros(len(batch))))
                n_left -= ends[-1]
                if n_left < 0:
                    raise _make_size_error(self.name)
                edges = [0, *np.flatnonzero(np.diff(ends // BATCH_BYTES)) + 1, len(batch)]
                schema = arrow.schema(map(self.schema.field, columns), batch.schema.metadata)
                for begin, end in pairwise(edges):
                    part = batch.slice(begin, end - begin).columns
                    decoded = [
                        column if column.type == one.type else column.dictionary_decode().cast(one.type)
                        for column, one in zip(part, schema, strict=True)
                    ]
                    yield arrow.RecordBatch.from_arrays(decoded, schema=schema)

    @contextmanager
    def _explain_errors(self, columns: Sequence[str]) -> Iterator[None]:
        try:
            yield
        except (import_arrow().ArrowException, OSError) as error:
            place, reason = self._find_damage(columns) or (self.name, error)
            raise ValueError(f"{place} cannot be read: {get_first_line(reason)}") from None

    def _find_damage(self, columns: Sequence[str]) -> tuple[str, BaseException] | None:
        with suppress(ValueError):  # a dataset with a filter does not tell its files
            for fragment in self.dataset.get_fragments():
                for column in columns:
                    try:
                        fragment.to_table(self.dataset.schema, [column], batch_size=self.batch_rows)
                    except (import_arrow().ArrowException, OSError) as error:
                        return f"{fragment.path}, column {column!r}", error
        return None


def draw_rows(n_rows: int, count: int | None, random: np.random.RandomState) -> NDArray[np.int64] | None:
    """Return the increasing numbers of `count` random rows; None for all rows."""
    if count is None or count >= n_rows:
        return None
    return np.sort(sample_without_replacement(n_rows, count, random_state=random))


def find_max_unpacked(n_packed: int) -> int:
    """Return the largest number of bytes that a table in a compressed file of `n_packed` bytes may take."""
    return max(MAX_UNPACKED, MAX_RATIO * n_packed)


def _make_size_error(name: str) -> ValueError:
    return ValueError(
        f"{name} unpacks to more than {MAX_RATIO} times its size: if it is a table, write it "
        "without compression and dictionaries"
    )


def _count_packed_bytes(fragment: Fragment) -> int:
    if fragment.buffer is not None:
        return fragment.buffer.size
    return fragment.filesystem.get_file_info(fragment.path).size


@dataclass
class _Sizes:
    """Sizes of Parquet files, as their metadata say."""

    n_bytes: int = 0  # bytes of all columns before compression
    row_bytes: float = 1  # most of these bytes per row of a row group
    text_bytes: Counter[str] = field(default_factory=Counter)  # bytes of each column of texts
    prefixed: set[str] = field(default_factory=set)  # columns of texts stored without common prefixes

    def add(self, metadata: FileMetaData) -> None:
        """Add a file."""
        texts = [
            k for k in range(metadata.num_columns) if metadata.schema.column(k).physical_type == "BYTE_ARRAY"
        ]
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            self.n_bytes += group.total_byte_size
            self.row_bytes = max(self.row_bytes, group.total_byte_size / max(group.num_rows, 1))
            for chunk in map(group.column, texts):
                self.text_bytes[chunk.path_in_schema] += chunk.total_uncompressed_size
                if "DELTA_BYTE_ARRAY" in chunk.encodings:
                    self.prefixed.add(chunk.path_in_schema)


def _find_base(kind: DataType) -> DataType | None:
    """Return the type of texts or bytes in Parquet files, also of categories; None for other columns."""
    arrow = import_arrow()
    kind = kind.value_type if arrow.types.is_dictionary(kind) else kind
    bases = {"string": arrow.string(), "binary": arrow.binary()}
    return bases.get(str(kind).removeprefix("large_").removesuffix("_view"))


def _measure_rows(column: ArrowArray) -> NDArray[np.float64] | float:
    """Return the number of bytes of each text of a column, or their mean; 0 for numbers."""
    arrow = import_arrow()
    if not arrow.types.is_dictionary(column.type):
        is_number = arrow.types.is_primitive(column.type) or arrow.types.is_decimal(column.type)
        return 0 if is_number else column.nbytes / len(column)
    if _find_base(column.type) is None:
        return 0
    sizes = import_arrow("pyarrow.compute").binary_length(column.dictionary).take(column.indices)
    return sizes.fill_null(0).to_numpy(zero_copy_only=False)


def _unify_schemas(dataset: Dataset, fragments: Sequence[Fragment], name: str) -> Schema:
    """Return a schema of types that hold the values of all files of a dataset, given its name for messages.

    A column whose types have nothing in common, such as text and numbers, keeps its type in the first file.
    """
    arrow, datasets = import_arrow(), import_arrow("pyarrow.dataset")
    columns, schemas = dataset.schema.names, [fragment.physical_schema for fragment in fragments]
    for fragment, schema in zip(fragments, schemas, strict=True):
        constant = datasets.get_partition_keys(fragment.partition_expression)
        lacking = [column for column in columns if column not in (*schema.names, *constant)]
        if lacking:
            raise ValueError(f"{fragment.path} lacks the column {lacking[0]!r} of the other files")
    if not schemas:
        raise ValueError(f"{name} holds no Parquet file")
    # pyarrow takes no rows from views of text, which are a way to store it.
    views = {arrow.string_view(): arrow.string(), arrow.binary_view(): arrow.binary()}
    fields = []
    for column in dataset.schema:
        given = [column, *(one.field(column.name) for one in schemas if column.name in one.names)]
        kind = column.type
        with suppress(arrow.ArrowException):
            (kind,) = arrow.unify_schemas(
                [arrow.schema([one]) for one in given], promote_options="permissive"
            ).types
        fields.append(column.with_type(views.get(kind, kind)))
    return arrow.schema(fields, dataset.schema.metadata)
