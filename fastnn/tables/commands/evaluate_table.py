"""Command ``fastnn evaluate``: compare the predictions of a saved model with the truth in a table."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...system.messages import escape_controls
from ...system.printing import print
from ...system.validation import Array
from .options import EvaluateOptions

if TYPE_CHECKING:
    from .pieces import TableInPieces
    from .reading import ReadTable

__all__ = ["evaluate_table"]

# Largest number of classes of which the confusion matrix is printed.
MAX_CLASSES = 12
# Largest number of characters of a class's name there, but for numbers, and for names that begin alike.
NAME_WIDTH = 14


def evaluate_table(options: EvaluateOptions) -> int:
    """Predict, compare and print; return the exit status."""
    from ...system.files import atomic_path, check_output

    path = None if options.out in (None, "-") else check_output(options.out, "--out", "a file of scores")
    import numpy as np
    from sklearn.metrics import confusion_matrix

    from ...system.messages import pluralize
    from .matching import Matching, find_known_texts, ignore_unseen, list_fitted_columns, load_model
    from .pieces import TableInPieces
    from .reading import Columns
    from .rows import are_numbers, check_any, note_missing_targets
    from .scores import compute_scores, estimate_margins, format_scores, predict_constant, to_json

    model = load_model(options.model)
    options = options.follow(getattr(model, "reading_", None))
    classes = getattr(model, "classes_", None)
    task = "regression" if classes is None else "classification"
    texts = find_known_texts(model)
    target = options.target or model.target_name_
    if target is None:
        raise ValueError(f"--target: {options.model} was fitted to a target without a name: name the column")
    if classes is not None and classes.dtype == object and not are_numbers(classes):
        texts[target] = classes.tolist()
    is_whole = not hasattr(model, "feature_names_in_")
    kept = [*list_fitted_columns(model), target]
    columns = Columns(text=texts, kept=kept, target=target, task=task)
    table = TableInPieces(options.table, options, columns, is_whole)
    table.check_names([target], "--target")
    table.check_names([] if options.weights is None else [options.weights], "--weights")
    others = [target] if options.weights is None else [target, options.weights]
    matching = Matching(model, table.columns, table.name, options.date_format, others)
    rows = _Rows(table, target, options.weights, task, classes)
    # Some scores compare all rows with each other: keep a few numbers of each row.
    kept_rows: list[Any] = []
    for piece, present, y, weights in rows.read(matching.fitted):
        X = matching.match_rows(piece)[present]
        if not len(y):
            continue
        with ignore_unseen():
            predictions = model.predict(X) if classes is None else model.predict_proba(X)
        places = y if classes is None else np.searchsorted(classes, y).astype(np.int32)
        kept_rows.append((places, predictions, np.ones(len(y)) if weights is None else weights))
    n_rows = sum(len(y) for y, _, _ in kept_rows)
    check_any(n_rows, None, table.name, target, options.weights)
    y, predictions, weights = map(np.concatenate, zip(*kept_rows, strict=True))
    check_any(n_rows, weights, table.name, target, options.weights)
    labels = None if classes is None else np.arange(len(classes))
    constant = np.broadcast_to(predict_constant(task, y, weights, labels, 1), predictions.shape)
    scores = {
        "fastnn": compute_scores(task, y, predictions, labels, weights),
        "constant": compute_scores(task, y, constant, labels, weights),
    }
    margins = estimate_margins(task, y, predictions, labels, weights)
    notes = [*table.notes, *matching.notes, *note_missing_targets(rows.n_missing)]
    printed = [
        f"{table.name}: {pluralize(n_rows, 'row')} with {target}",
        *(f"  note: {note}" for note in notes),
    ]
    printed.append(f"\n{format_scores(task, scores, margins)}")
    if classes is not None and len(classes) <= MAX_CLASSES:
        counts = confusion_matrix(y, predictions.argmax(axis=1), labels=labels)
        printed.append(f"\n{_format_confusion(counts, classes)}")
    print(*printed, sep="\n", file=sys.stderr if options.out == "-" else sys.stdout)
    if options.out is not None:
        content = {"model": str(options.model), "table": table.name, "rows": n_rows, "target": target}
        text = json.dumps(
            to_json(content | {"scores": scores, "margins": margins}), indent=2, allow_nan=False
        )
        if path is None:
            print(text)
            return 0
        with atomic_path(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    return 0


class _Rows:
    """Rows of a table that have a target; `n_missing` have none, of those that were read last."""

    def __init__(
        self, table: TableInPieces, target: str, weights: str | None, task: str, classes: Array | None
    ) -> None:
        self._table, self._target, self._weights = table, target, weights
        self._task, self._classes, self.n_missing = task, classes, 0

    def read(self, columns: list[str]) -> Iterator[tuple[ReadTable, Array, Array, Array | None]]:
        """Yield pieces with some columns: all rows, which of them have a target, targets, and weights."""
        from .rows import check_classes, parse_rows

        self.n_missing, target = 0, self._target
        named = [target] if self._weights is None else [target, self._weights]
        for piece in self._table.read_pieces(list(dict.fromkeys([*columns, *named])), [target]):
            # Integers with missing values are floats, which round, but for those of the columns to copy.
            piece.read.frame[target] = piece.kept[target]
            rows = parse_rows(piece.read, target, self._task, self._weights, [])
            present, y = piece.read.frame[target].notna().to_numpy(), rows.target.to_numpy()
            if self._classes is not None and len(y):
                y = check_classes(y, self._classes, piece.read, target)
            self.n_missing += len(present) - len(y)
            yield piece.read, present, y, rows.weights


def _format_confusion(counts: Array, classes: Array) -> str:
    """Return the confusion matrix as lines: a row for each true class, a column for each predicted one."""
    from .rows import are_numbers

    names = [escape_controls(str(one)) for one in classes]
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
