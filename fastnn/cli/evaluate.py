"""The subcommand ``fastnn evaluate``: compare the predictions of a saved model with the truth in a table."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .arguments import add_reading_arguments, file_or_dash

__all__ = ["add_command"]

# Largest number of classes of which the confusion matrix is printed.
MOST_CLASSES = 12


def add_command(commands: Any, summary: str) -> None:
    """Add the subcommand, with a summary in one line, to the subparsers of ``fastnn``."""
    parser = commands.add_parser(
        "evaluate",
        help=summary,
        description="Print the scores of a model that 'fastnn train' has written on the rows of a CSV or "
        "Parquet file with the target, beside those of the training and of a constant prediction.",
        epilog="example: fastnn evaluate run/model.fastnn test.csv",
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="file of the saved model")
    parser.add_argument(
        "table", metavar="TABLE", type=file_or_dash, help="CSV or Parquet file, - for standard input"
    )
    parser.add_argument(
        "--target", metavar="COLUMN", help="column with the truth (default: of the name in the training)"
    )
    parser.add_argument("--weights", metavar="COLUMN", help="column with the weights of the rows")
    parser.add_argument("-o", "--out", metavar="FILE", type=Path, help="JSON file of the scores")
    add_reading_arguments(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Predict, compare and print; return the exit status."""
    from ..system.files import check_file_name, check_folder, check_replaceable, written_whole

    if options.out is not None:
        check_file_name(options.out, "--out")
        check_folder(options.out, "--out")
        check_replaceable(options.out, "--out", "a file of scores")
    import numpy as np

    from .columns import check_names, matched_rows, text_columns
    from .models import loaded_model
    from .problem import check_classes, posed_rows
    from .reading import read_table
    from .scores import plain_scores, scores_of, table_of_scores

    model = loaded_model(options.model)
    classes = getattr(model, "classes_", None)
    task = "regression" if classes is None else "classification"
    texts = text_columns(model)
    target = options.target or model.target_name_
    if target is None:
        raise ValueError(f"--target: {options.model} was fitted to a target without a name: name the column")
    if classes is not None and classes.dtype == object:
        texts.append(target)
    read = read_table(options.table, options, texts)
    check_names([target] if options.weights is None else [target, options.weights], read, "--target")
    frame = matched_rows(model, read, options.date_format)
    columns = list(read.frame.columns)
    rows = posed_rows(read, target, task, options.weights, columns)
    present = read.frame[target].notna().to_numpy()
    X = frame[present]
    y = rows.target.to_numpy()
    if classes is not None:
        y = check_classes(y, classes, read, target)
        predictions = model.predict_proba(X)
        counts = np.bincount(np.searchsorted(classes, y), rows.weights, minlength=len(classes))
        constant = np.tile(counts / counts.sum(), (len(y), 1))
    else:
        predictions = model.predict(X)
        constant = np.full(len(y), np.average(y, weights=rows.weights))
    scores = {
        "fastnn": scores_of(task, y, predictions, classes, rows.weights),
        "constant": scores_of(task, y, constant, classes, rows.weights),
    }
    print(f"{read.name}: {len(y):,} rows with {target}")
    for note in (*read.notes, *rows.notes):
        print(f"  note: {note}")
    print(f"\n{table_of_scores(task, scores)}")
    if classes is not None and len(classes) <= MOST_CLASSES:
        print(f"\n{_confusion(y, predictions, classes)}")
    if options.out is not None:
        content = {"model": str(options.model), "table": read.name, "rows": len(y), "target": target}
        text = json.dumps(content | {"scores": plain_scores(scores)}, indent=2, allow_nan=False)
        with written_whole(options.out) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    return 0


def _confusion(y: Any, P: Any, classes: Any) -> str:
    """Return the confusion matrix as lines: a row for each true class, a column for each predicted one."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(y, classes[P.argmax(axis=1)], labels=classes)
    names = [str(one)[:14] for one in classes]
    cells = [
        ["true \\ predicted", *names],
        *([name, *map(str, row)] for name, row in zip(names, counts, strict=True)),
    ]
    widths = [max(len(row[k]) for row in cells) for k in range(len(names) + 1)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        )
        for row in cells
    )
