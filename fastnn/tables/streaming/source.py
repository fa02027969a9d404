"""Files that a user names, as a dataset of pyarrow, and the types of their columns."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...system.extras import import_extra
from ...system.validation import shown

__all__ = [
    "checked_columns",
    "common_types",
    "first_line",
    "is_files",
    "opened_dataset",
    "read_dataset",
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


def opened_dataset(source: Any, schema: Any = None) -> Any:
    """Return files as a dataset of pyarrow, with the schema of the first file unless one is given.

    Raises
    ------
    ValueError
        If the files are not Parquet files.
    FileNotFoundError
        If a file does not exist.
    """
    arrow = import_extra("pyarrow", "cli", "a Parquet file")
    datasets = import_extra("pyarrow.dataset", "cli", "a Parquet file")
    if isinstance(source, datasets.Dataset):
        return source
    given: Any = [source] if isinstance(source, str | os.PathLike) else source
    paths: list[str] = [os.fspath(path) for path in given]
    for path in paths:
        if "://" not in path and not os.path.exists(path):
            raise FileNotFoundError(f"there is no file {path}")
    if len(paths) > 1 and (folder := next((path for path in paths if os.path.isdir(path)), None)):
        raise ValueError(f"{folder} is a folder: pass one folder, or a list of files alone")
    try:
        return datasets.dataset(
            paths[0] if len(paths) == 1 else paths, schema=schema, format="parquet", partitioning="hive"
        )
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
    """Return the name of files for messages."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    files = list(source) if isinstance(source, list | tuple) else list(getattr(source, "files", []))
    if not files:
        return "the dataset"
    first = os.fspath(files[0])
    return first if len(files) == 1 else f"{first} and {len(files) - 1} more files"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
