"""Files that a user names by paths or URLs, as a dataset of pyarrow, and the types of their columns."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ...system.extras import import_extra
from ...system.files import is_url
from ...system.imports import imported
from ...system.validation import shown

__all__ = [
    "checked_columns",
    "common_types",
    "first_line",
    "is_files",
    "is_parquet_folder",
    "opened_dataset",
    "read_dataset",
    "read_url",
    "shown_source",
]


def is_files(X: Any) -> bool:
    """Return True for a path, a list of paths and a dataset of pyarrow."""
    if isinstance(X, str | os.PathLike):
        return True
    if isinstance(X, list | tuple):
        return len(X) > 0 and all(isinstance(one, str | os.PathLike) for one in X)
    datasets = sys.modules.get("pyarrow.dataset")  # only a program that has imported it has such an object
    return datasets is not None and isinstance(X, datasets.Dataset)


def located(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, one of pyarrow or of fsspec for pyarrow, and the path in it."""
    arrow = import_extra("pyarrow", "cli", "a URL")
    systems = import_extra("pyarrow.fs", "cli", "a URL")
    with _errors_named(url):
        try:
            return systems.FileSystem.from_uri(url)
        except arrow.ArrowInvalid as error:
            if "Unrecognized filesystem type" not in str(error):
                raise
        except arrow.ArrowNotImplementedError:  # of a pyarrow that was built without the file system
            pass
        try:
            core = imported("fsspec.core")
        except ModuleNotFoundError:
            scheme = url.partition("://")[0]
            raise ImportError(f"pyarrow does not know {scheme}://, fsspec may: pip install fsspec") from None
        try:
            system, path = core.url_to_fs(url)
        except ValueError as error:
            raise ValueError(
                f"{first_line(error)}: pyarrow and fsspec know URLs such as s3:// and gs://"
            ) from None
        return systems.PyFileSystem(systems.FSSpecHandler(system)), path


@contextmanager
def _errors_named(url: str) -> Iterator[None]:
    """Let errors of file systems name the URL."""
    name = shown_source(url)
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {name}") from None
    except (ImportError, OSError, ValueError) as error:
        kind = next(one for one in (ImportError, OSError, ValueError) if isinstance(error, one))
        raise kind(f"{name} cannot be read: {first_line(error).replace(url, name)}") from None


def _is_folder(source: str) -> bool:
    """Return True for a folder; raise FileNotFoundError if there is neither a file nor a folder."""
    if is_url(source):
        system, path = located(source)
        with _errors_named(source):
            kind = system.get_file_info(path).type.name
        is_there, is_folder = kind != "NotFound", kind == "Directory"
    else:
        is_there, is_folder = os.path.exists(source), os.path.isdir(source)
    if not is_there:
        raise FileNotFoundError(f"there is no file {shown_source(source)}")
    return is_folder


def is_parquet_folder(source: str | Path) -> bool:
    """Return True for the name of a folder that holds Parquet files, perhaps in folders."""
    if not is_url(source):
        return source != "-" and Path(source).is_dir() and any(Path(source).rglob("*.parquet"))
    if not _is_folder(str(source)):
        return False
    system, path = located(str(source))
    selector = import_extra("pyarrow.fs", "cli", "a URL").FileSelector(path, recursive=True)
    with _errors_named(str(source)):
        return any(info.path.endswith(".parquet") for info in system.get_file_info(selector))


def read_url(url: str, n_bytes: int | None = None) -> bytes:
    """Return the bytes of the file at a URL, or the first `n_bytes` of them."""
    system, path = located(url)
    with _errors_named(url), system.open_input_file(path) as file:
        return file.read(n_bytes)


def opened_dataset(source: Any, schema: Any = None) -> Any:
    """Return files as a dataset of pyarrow, with the schema of the first file unless one is given.

    Raises
    ------
    ValueError
        If the files are not Parquet files, or lie in several file systems.
    FileNotFoundError
        If a file does not exist.
    ImportError
        If the file system of a URL needs a package that is missing.
    """
    arrow = import_extra("pyarrow", "cli", "a Parquet file")
    datasets = import_extra("pyarrow.dataset", "cli", "a Parquet file")
    if isinstance(source, datasets.Dataset):
        return source
    given: Any = [source] if isinstance(source, str | os.PathLike) else source
    names: list[str] = [os.fspath(path) for path in given]
    folders = [name for name in names if _is_folder(name)]
    if len(names) > 1 and folders:
        raise ValueError(f"{shown_source(folders[0])} is a folder: pass one folder, or a list of files alone")
    places = [located(name) if is_url(name) else (None, name) for name in names]
    system, paths = places[0][0], [path for _, path in places]
    for name, (other, _) in zip(names, places, strict=True):
        if other != system:
            raise ValueError(
                f"{shown_source(names[0])} and {shown_source(name)} lie in different file systems: pass the "
                "files of one"
            )
    try:
        return datasets.dataset(
            paths[0] if len(paths) == 1 else paths, schema=schema, filesystem=system, format="parquet",
            partitioning="hive",
        )  # fmt: skip
    except arrow.ArrowException as error:
        name = shown_source(source)
        raise ValueError(f"{name} is not a Parquet file that can be read: {first_line(error)}") from None


def common_types(schema: Any, schemas: Sequence[Any]) -> dict[str, Any]:
    """Return types that hold the values of all files, such as float64 for integers and floats.

    A column whose types have nothing in common, such as text and numbers, keeps its type in the dataset.

    Parameters
    ----------
    schema : pyarrow Schema
        Schema of the dataset.
    schemas : sequence of pyarrow Schema
        Schemas of the files, which may lack columns.
    """
    arrow = import_extra("pyarrow", "cli", "a Parquet file")
    fields: dict[str, list[Any]] = {}
    for one in (schema, *schemas):
        for field in one:
            fields.setdefault(field.name, []).append(arrow.schema([field]))
    types = {}
    for name, given in fields.items():
        types[name] = given[0].types[0]
        with suppress(arrow.ArrowException):
            types[name] = arrow.unify_schemas(given, promote_options="permissive").types[0]
    return types


def read_dataset(source: str | Path) -> Any:
    """Return the rows of a file or folder as a pyarrow Table, whose types hold the values of all files."""
    dataset = opened_dataset(source)
    types = common_types(dataset.schema, [one.physical_schema for one in dataset.get_fragments()])
    fields = [field.with_type(types[field.name]) for field in dataset.schema]
    schema = import_extra("pyarrow", "cli", "a Parquet file").schema(fields, dataset.schema.metadata)
    return opened_dataset(source, schema).to_table()


def checked_columns(columns: Any) -> list[str]:
    """Return `columns` as a list; raise ValueError unless it is an ordered collection of distinct names."""
    if isinstance(columns, str | set | frozenset) or not isinstance(columns, Iterable):
        raise ValueError(f"columns must be a list of names, got {shown(columns)}")
    names = list(columns)
    twice = next((name for k, name in enumerate(names) if name in names[:k]), None)
    if twice is not None:
        raise ValueError(f"columns holds {twice!r} more than once: pass each name once")
    return names


def shown_source(source: Any) -> str:
    """Return the name of files for messages; that of a URL without its password and its query."""
    if is_url(source):
        return re.sub("(://)[^/@]*:[^/@]*@", r"\1", source.partition("?")[0])
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    files = list(source) if isinstance(source, list | tuple) else list(getattr(source, "files", []))
    if not files:
        return "the dataset"
    first = shown_source(files[0])
    return first if len(files) == 1 else f"{first} and {len(files) - 1} more files"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
