"""The subcommand ``fastnn predict``: predict the rows of a table by a saved model."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path
from typing import Any

from .arguments import add_reading_arguments, file_or_dash, names

__all__ = ["add_command"]


def add_command(commands: Any, summary: str) -> None:
    """Add the subcommand, with a summary in one line, to the subparsers of ``fastnn``."""
    parser = commands.add_parser(
        "predict",
        help=summary,
        description="Predict every row of a CSV or Parquet file by a model that 'fastnn train', or the "
        "method save of a TabularClassifier or TabularRegressor, has written. Columns are found by their "
        "names, in any order. Remarks go to standard error.",
        epilog="example: fastnn predict run/model.fastnn new.csv --proba --keep id -o predictions.csv",
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="file of the saved model")
    parser.add_argument(
        "table", metavar="TABLE", type=file_or_dash, help="CSV or Parquet file, - for standard input"
    )
    parser.add_argument(
        "-o", "--out", metavar="FILE", type=file_or_dash, default="-",
        help="CSV or Parquet file of the predictions (default: CSV to standard output)",
    )  # fmt: skip
    parser.add_argument("--proba", action="store_true", help="add the probability of every class")
    parser.add_argument("--quantiles", action="store_true", help="add the quantiles that the model has")
    parser.add_argument(
        "--keep", metavar="COLUMN,COLUMN", type=names, default=(), help="columns of the table to copy"
    )
    add_reading_arguments(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Predict and write; return the exit status."""
    from ..system.files import check_file_name, check_folder, check_replaceable, written_whole

    if options.out != "-":
        check_file_name(options.out, "--out")
        check_folder(options.out, "--out")
        check_replaceable(options.out, "--out", "a table")

    from .columns import check_names, matched_rows, text_columns
    from .models import loaded_model
    from .reading import read_table

    model = loaded_model(options.model)
    has_classes = hasattr(model, "classes_")
    if options.proba and not has_classes:
        raise ValueError(f"--proba: {options.model} predicts numbers, not classes")
    if options.quantiles and (has_classes or not len(model._quantiles)):
        raise ValueError(f"--quantiles: {options.model} has none: train it with --quantiles 0.05,0.5,0.95")
    read = read_table(options.table, options, text_columns(model))
    check_names(options.keep, read, "--keep")
    rows = matched_rows(model, read, options.date_format)
    predictions = _predictions(model, read, rows, options)
    for note in read.notes:
        print(f"note: {note}", file=sys.stderr)
    if options.out == "-":
        predictions.to_csv(sys.stdout, index=False)
        sys.stdout.flush()
        return 0
    content = _content(predictions, options.out)
    with written_whole(options.out) as temporary:
        temporary.write_bytes(content)
    print(f"{options.out}: {len(predictions):,} predictions", file=sys.stderr)
    return 0


def _predictions(model: Any, read: Any, rows: Any, options: argparse.Namespace) -> Any:
    """Return a dataframe of the copied columns and the predictions."""
    predictions = read.frame[list(options.keep)].copy()
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
        if name in predictions:
            raise ValueError(f"--keep: {name!r} is the name of a column of the predictions")
        predictions[name] = values
    return predictions


def _content(predictions: Any, path: Path) -> bytes:
    """Return the predictions as the content of a file, whose name says which kind."""
    from ..system.extras import import_extra

    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] in ([".parquet"], [".pq"]):
        import_extra("pyarrow", "cli", "a Parquet file")
        buffer = io.BytesIO()
        predictions.to_parquet(buffer, index=False)
        return buffer.getvalue()
    text = predictions.to_csv(index=False).encode()
    if suffixes[-1:] == [".gz"]:
        import gzip

        return gzip.compress(text, mtime=0)
    return text
