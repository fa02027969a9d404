"""The work of ``fastnn evaluate``: compare the predictions of a saved model with the truth in a table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from ...system.messages import visible
from ...system.printing import print

__all__ = ["run"]

# Largest number of classes of which the confusion matrix is printed.
MAX_CLASSES = 12
# Largest number of characters of a class's name there, but for numbers, and for names that begin alike.
NAME_WIDTH = 14


def run(options: argparse.Namespace) -> int:
    """Predict, compare and print; return the exit status."""
    from ...system.files import check_output, written_whole

    to_file = options.out not in (None, "-")
    if to_file:
        check_output(options.out, "--out", "a file of scores")
    import numpy as np
    from sklearn.metrics import confusion_matrix

    from ...system.messages import counted
    from .columns import Matching, fitted_columns, text_columns, unseen_unwarned
    from .models import loaded_model
    from .pieces import TableInPieces
    from .problem import are_numbers, check_any, missing_target_notes
    from .scores import constant_prediction, plain, scores_of, table_of_scores

    model = loaded_model(options.model)
    classes = getattr(model, "classes_", None)
    task = "regression" if classes is None else "classification"
    texts = text_columns(model)
    target = options.target or model.target_name_
    if target is None:
        raise ValueError(f"--target: {options.model} was fitted to a target without a name: name the column")
    if classes is not None and classes.dtype == object and not are_numbers(classes):
        texts[target] = classes.tolist()
    is_whole = not hasattr(model, "feature_names_in_")
    kept = [*fitted_columns(model), target]
    table = TableInPieces(options.table, options, texts, is_whole, kept, target, task)
    table.check_names([target], "--target")
    table.check_names([] if options.weights is None else [options.weights], "--weights")
    others = [target] if options.weights is None else [target, options.weights]
    matching = Matching(model, table.columns, table.name, options.date_format, others)
    rows = _Rows(table, target, options.weights, task, classes)
    # Some scores compare all rows with each other: keep a few numbers of each row.
    kept_rows: list[Any] = []
    for piece, present, y, weights in rows.read(matching.fitted):
        X = matching.rows(piece)[present]
        if not len(y):
            continue
        with unseen_unwarned():
            predictions = model.predict(X) if classes is None else model.predict_proba(X)
        places = y if classes is None else np.searchsorted(classes, y).astype(np.int32)
        kept_rows.append((places, predictions, np.ones(len(y)) if weights is None else weights))
    n_rows = sum(len(y) for y, _, _ in kept_rows)
    check_any(n_rows, None, table.name, target, options.weights)
    y, predictions, weights = map(np.concatenate, zip(*kept_rows, strict=True))
    check_any(n_rows, weights, table.name, target, options.weights)
    labels = None if classes is None else np.arange(len(classes))
    constant = np.broadcast_to(constant_prediction(task, y, weights, labels, 1), predictions.shape)
    scores = {
        "fastnn": scores_of(task, y, predictions, labels, weights),
        "constant": scores_of(task, y, constant, labels, weights),
    }
    notes = [*table.notes, *matching.notes, *missing_target_notes(rows.n_missing)]
    printed = [
        f"{table.name}: {counted(n_rows, 'row')} with {target}",
        *(f"  note: {note}" for note in notes),
    ]
    printed.append(f"\n{table_of_scores(task, scores)}")
    if classes is not None and len(classes) <= MAX_CLASSES:
        counts = confusion_matrix(y, predictions.argmax(axis=1), labels=labels)
        printed.append(f"\n{_confusion(counts, classes)}")
    print(*printed, sep="\n", file=sys.stderr if options.out == "-" else sys.stdout)
    if options.out is not None:
        content = {"model": str(options.model), "table": table.name, "rows": n_rows, "target": target}
        text = json.dumps(content | {"scores": plain(scores)}, indent=2, allow_nan=False)
        if not to_file:
            print(text)
            return 0
        with written_whole(options.out) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    return 0


class _Rows:
    """Rows of a table that have a target.

    Parameters
    ----------
    table : TableInPieces
        Table.
    target : str
        Column with the truth.
    weights : str or None
        Column with the weights of the rows.
    task : {"classification", "regression"}
        Kind of the target.
    classes : array or None
        Classes of the model.

    Attributes
    ----------
    n_missing : int
        Number of rows without a target that were read last.
    """

    def __init__(self, table: Any, target: str, weights: str | None, task: str, classes: Any) -> None:
        self._table, self._target, self._weights = table, target, weights
        self._task, self._classes, self.n_missing = task, classes, 0

    def read(self, columns: list[str]) -> Iterator[tuple[Any, Any, Any, Any]]:
        """Yield pieces with some columns: all rows, which of them have a target, targets, and weights."""
        from .problem import check_classes, stated_rows

        self.n_missing, target = 0, self._target
        named = [target] if self._weights is None else [target, self._weights]
        for piece in self._table.pieces(list(dict.fromkeys([*columns, *named])), [target]):
            # Integers with missing values are floats, which round, but for those of the columns to copy.
            piece.read.frame[target] = piece.kept[target]
            rows = stated_rows(piece.read, target, self._task, self._weights, [])
            present, y = piece.read.frame[target].notna().to_numpy(), rows.target.to_numpy()
            if self._classes is not None and len(y):
                y = check_classes(y, self._classes, piece.read, target)
            self.n_missing += len(present) - len(y)
            yield piece.read, present, y, rows.weights


def _confusion(counts: Any, classes: Any) -> str:
    """Return the confusion matrix as lines: a row for each true class, a column for each predicted one."""
    from .problem import are_numbers

    names = [visible(str(one)) for one in classes]
    cut = [name[:NAME_WIDTH] for name in names]
    if len(set(cut)) == len(cut) and not are_numbers(classes):
        names = cut
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
