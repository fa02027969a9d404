"""The work of ``fastnn predict``: predict the rows of a table by a saved model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ...system.printing import VisibleText, print

__all__ = ["run"]

# Least number of rows in a row group of a Parquet file of predictions; the last group has fewer.
GROUP_ROWS = 1 << 17
# Extensions of archives and spreadsheets, which are not written.
OTHERS = (".zip", ".zst", ".xls", ".xlsx", ".ods")


def run(options: argparse.Namespace) -> int:
    """Predict and write; return the exit status."""
    from ...system.files import check_output, written_whole
    from ...system.messages import counted

    if options.out != "-":
        check_output(options.out, "--out", "a table")
        if options.out.suffix.lower() in OTHERS:
            raise ValueError(
                f"--out: no {options.out.suffix} file is written: choose .csv, .csv.gz, .csv.bz2, .csv.xz or "
                ".parquet"
            )

    from .columns import Matching, fitted_columns, text_columns, unseen_unwarned
    from .models import loaded_model
    from .pieces import TableInPieces
    from .reading import given_names

    model = loaded_model(options.model)
    has_classes = hasattr(model, "classes_")
    if options.proba and not has_classes:
        raise ValueError(f"--proba: {options.model} predicts numbers, not classes")
    if options.quantiles and (has_classes or not len(model._quantiles)):
        raise ValueError(f"--quantiles: {options.model} has none: train it with --quantiles 0.05,0.5,0.95")
    # Columns of a model without names are found by their places in the whole table.
    is_whole = not hasattr(model, "feature_names_in_")
    table = TableInPieces(
        options.table, options, text_columns(model), is_whole, fitted_columns(model), copied=options.keep
    )
    keep = given_names(options.keep, table.columns)
    table.check_names(keep, "--keep")
    matching = Matching(model, table.columns, table.name, options.date_format)
    n_rows = 0
    draft: AbstractContextManager[Any] = nullcontext() if options.out == "-" else written_whole(options.out)
    with draft as temporary, _opened(temporary, table.kept_schema(keep)) as write:
        for piece in table.pieces(matching.fitted, keep):
            with unseen_unwarned():
                predictions = _predictions(model, matching.rows(piece.read), piece.kept, options)
            write(predictions)
            n_rows += len(piece.kept)
    for note in (*table.notes, *matching.notes):
        print(f"note: {note}", file=sys.stderr)
    if options.out != "-":
        print(f"{options.out}: {counted(n_rows, 'prediction')}", file=sys.stderr)
    return 0


def _predictions(model: Any, rows: Any, kept: Any, options: argparse.Namespace) -> Any:
    """Return a dataframe of the copied columns and the predictions."""
    columns: dict[str, Any] = {}
    if options.proba:
        P = model.predict_proba(rows)
        columns["prediction"] = model.classes_[P.argmax(axis=1)]
        columns |= {f"probability_{one}": P[:, k] for k, one in enumerate(model.classes_)}
    else:
        columns["prediction"] = model.predict(rows)
    if options.quantiles:
        Q = model.predict(rows, quantiles=True)
        columns |= {f"quantile_{q:g}": Q[:, k] for k, q in enumerate(model._quantiles)}
    for name, values in columns.items():
        if name in kept:
            raise ValueError(f"--keep: {name!r} is the name of a column of the predictions")
        kept[name] = values
    return kept


@contextmanager
def _opened(path: Path | None, schema: Any) -> Iterator[Any]:
    """Yield a function that adds a dataframe to a file of the kind that its name says; None prints CSV.

    Parameters
    ----------
    path : Path or None
        Name of the file.
    schema : pyarrow Schema or None
        Types of the first columns in a Parquet file; None leaves all types to the first dataframe.
    """
    extension = None if path is None else path.suffix.lower()
    if extension in (".parquet", ".pq"):
        with _ParquetFile(path, schema) as file:
            yield file.write
        return
    if path is None:
        # A terminal would obey control characters in the names of classes; a file or pipe gets the data.
        yield _csv_writer(VisibleText() if sys.stdout.isatty() else sys.stdout)
        sys.stdout.flush()
        return
    import io

    with (
        path.open("wb") as raw,
        _packed(raw, extension) as binary,
        io.TextIOWrapper(binary, "utf-8", newline="") as text,
    ):
        yield _csv_writer(text)


def _packed(file: Any, extension: str | None) -> Any:
    """Return a context with a file that compresses into another one, as the extension of its name says."""
    import bz2
    import gzip
    import lzma

    if extension == ".gz":
        # Without a name and a time, the same predictions give the same bytes.
        return gzip.GzipFile("", "wb", fileobj=file, mtime=0)
    openers: dict[str | None, Any] = {".bz2": bz2.open, ".xz": lzma.open}
    return openers[extension](file, "wb") if extension in openers else nullcontext(file)


def _csv_writer(file: Any) -> Any:
    """Return a function that writes dataframes, the names of the columns once."""
    has_names = False

    def write(frame: Any) -> None:
        nonlocal has_names
        frame.to_csv(file, index=False, header=not has_names, lineterminator="\n")
        has_names = True

    return write


class _ParquetFile:
    """Parquet file to which dataframes are added as row groups.

    Parameters
    ----------
    path : Path
        Name of the file.
    schema : pyarrow Schema or None
        Types of the first columns; None leaves all types to the first dataframe.
    """

    def __init__(self, path: Any, schema: Any) -> None:
        from ...system.extras import import_extra

        self._arrow = import_extra("pyarrow", "cli", "a Parquet file")
        self._parquet = import_extra("pyarrow.parquet", "cli", "a Parquet file")
        self._path, self._schema = path, schema
        self._writer: Any = None
        self._waiting: list[Any] = []

    def __enter__(self) -> _ParquetFile:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        """Close the file, after an error without the last rows: the caller then removes it."""
        if self._writer is not None:
            if kind is None:
                self._flush()
            self._writer.close()

    def write(self, frame: Any) -> None:
        """Add the rows of a dataframe."""
        if self._writer is None:
            found = self._arrow.Schema.from_pandas(frame, preserve_index=False)
            for k, field in enumerate(self._schema or ()):
                found = found.set(k, field)
            self._schema = found
            self._writer = self._parquet.ParquetWriter(self._path, found)
        self._waiting.append(self._arrow.Table.from_pandas(frame, self._schema, preserve_index=False))
        if sum(map(len, self._waiting)) >= GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        """Write the rows that wait as a row group."""
        if self._waiting:
            self._writer.write_table(self._arrow.concat_tables(self._waiting))
            self._waiting = []
