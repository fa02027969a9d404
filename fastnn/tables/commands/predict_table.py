"""Command ``fastnn predict``: predict the rows of a table by a saved model."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from pandas import DataFrame

from ...system.files import atomic_path, check_output
from ...system.messages import pluralize
from ...system.printing import VisibleText, print
from ...system.validation import Array
from ..estimators import TabularClassifier, TabularRegressor
from ..options import PredictOptions
from ..parquet import import_arrow
from .matching import Matching, check_known, find_known_texts, ignore_unseen, list_fitted_columns, load_model
from .reading import Columns, TableInPieces, resolve_names

if TYPE_CHECKING:
    from pyarrow import Schema

# Extensions of archives and spreadsheets, which are not written.
OTHERS = (".zip", ".zst", ".xls", ".xlsx", ".ods")
# Compressions in pandas by extension. Without a name and a time, the same predictions give the same bytes.
COMPRESSIONS: dict[str, dict[str, object]] = {
    ".gz": {"method": "gzip", "filename": "", "mtime": 0},
    ".bz2": {"method": "bz2"},
    ".xz": {"method": "xz"},
}


def predict_table(options: PredictOptions) -> int:
    """Predict and write; return the exit status."""
    inputs = options.model, options.table
    path = None if options.out == "-" else check_output(options.out, "--out", "a table", inputs)
    if path is not None and path.suffix.lower() in OTHERS:
        raise ValueError(
            f"--out: no {path.suffix} file is written: choose .csv, .csv.gz, .csv.bz2, .csv.xz or .parquet"
        )
    model = load_model(options.model)
    options = options.follow(getattr(model, "reading_", None))
    has_classes = hasattr(model, "classes_")
    if options.proba and not has_classes:
        raise ValueError(f"--proba: {options.model} predicts numbers, not classes")
    if options.quantiles and (has_classes or not len(model._quantiles)):
        raise ValueError(f"--quantiles: {options.model} has none: train it with --quantiles 0.05,0.5,0.95")
    # Columns of a model without names are found by their places in the whole table.
    is_whole = not hasattr(model, "feature_names_in_")
    columns = Columns(text=find_known_texts(model), kept=list_fitted_columns(model), copied=options.keep)
    table = TableInPieces(options.table, options, columns, is_whole)
    keep = resolve_names(options.keep, table.columns)
    check_known(keep, table.columns, table.name, "--keep")
    matching = Matching(model, table, options.date_format)
    pieces = (
        _predict_rows(model, matching.match_rows(read), kept, options)
        for read, kept in table.read_pieces(matching.fitted, keep)
    )
    if path is None:
        # A terminal would obey control characters in the names of classes; a file or pipe gets the data.
        _write_csv(pieces, VisibleText() if sys.stdout.isatty() else sys.stdout)
        sys.stdout.flush()
    else:
        with atomic_path(path) as draft:
            if path.suffix.lower() in (".parquet", ".pq"):
                _write_parquet(pieces, draft, table.get_kept_schema(keep))
            else:
                with draft.open("wb") as file:
                    _write_csv(pieces, file, COMPRESSIONS.get(path.suffix.lower()))
    for note in (*table.notes, *matching.notes):
        print(f"note: {note}", file=sys.stderr)
    if path is not None:
        print(f"{path}: {pluralize(matching.n_rows, 'prediction')}", file=sys.stderr)
    return 0


def _predict_rows(
    model: TabularClassifier | TabularRegressor,
    rows: DataFrame | Array,
    kept: DataFrame,
    options: PredictOptions,
) -> DataFrame:
    columns: dict[str, Array] = {}
    with ignore_unseen():
        if options.proba:
            P = model.predict_proba(rows)
            columns["prediction"] = model.classes_[P.argmax(axis=1)]
            columns |= {f"probability_{one}": P[:, k] for k, one in enumerate(model.classes_)}
        else:
            columns["prediction"] = model.predict(rows)
        if options.quantiles and isinstance(model, TabularRegressor):
            Q = model.predict(rows, quantiles=True)
            columns |= {f"quantile_{q:g}": Q[:, k] for k, q in enumerate(model._quantiles)}
    for name, values in columns.items():
        if name in kept:
            raise ValueError(f"--keep: {name!r} is the name of a column of the predictions")
        kept[name] = values
    return kept


def _write_csv(
    frames: Iterable[DataFrame],
    file: BinaryIO | TextIO | VisibleText,
    compression: dict[str, object] | None = None,
) -> None:
    for k, frame in enumerate(frames):
        frame.to_csv(file, index=False, header=k == 0, lineterminator="\n", compression=compression)


def _write_parquet(frames: Iterator[DataFrame], path: Path, schema: Schema | None) -> None:
    """Write dataframes as row groups of a file.

    The first columns have the types of the schema, if any; the first dataframe decides about the others.
    """
    arrow, parquet = import_arrow(), import_arrow("pyarrow.parquet")
    first = next(frames)
    types = arrow.Schema.from_pandas(first, preserve_index=False)
    for k, field in enumerate(schema or ()):
        types = types.set(k, field)
    with parquet.ParquetWriter(path, types) as file:
        for frame in itertools.chain([first], frames):
            file.write_table(arrow.Table.from_pandas(frame, types, preserve_index=False))
