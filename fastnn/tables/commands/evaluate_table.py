"""Command ``fastnn evaluate``: compare the predictions of a saved model with the truth in a table."""

from __future__ import annotations

import json
import sys

import numpy as np
from pandas import DataFrame
from sklearn.metrics import confusion_matrix

from ...system.files import atomic_path, check_output
from ...system.messages import escape_controls, pluralize
from ...system.printing import print
from ...system.validation import Array
from ..options import EvaluateOptions
from .matching import Matching, check_known, find_known_texts, ignore_unseen, list_fitted_columns, load_model
from .reading import Columns, TableInPieces
from .rows import are_numbers, check_any, check_classes, note_missing_targets, parse_rows
from .scores import compute_scores, estimate_margins, format_scores, predict_constant, to_json

# Largest number of classes of which the confusion matrix is printed.
MAX_MATRIX_CLASSES = 12
# Largest number of characters of a class's name there, but for numbers, and for names that begin alike.
NAME_WIDTH = 14


def evaluate_table(options: EvaluateOptions) -> int:
    """Predict, compare and print; return the exit status."""
    path, inputs = None, (options.model, options.table)
    if options.out not in (None, "-"):
        path = check_output(options.out, "--out", "a file of scores", inputs)
    model = load_model(options.model)
    options = options.follow(getattr(model, "reading_", None))
    classes = getattr(model, "classes_", None)
    task = "regression" if classes is None else "classification"
    target, weights = options.target or model.target_name_, options.weights
    if target is None:
        raise ValueError(f"--target: {options.model} was fitted to a target without a name: name the column")
    groups = options.groups or model.groups_name_
    texts = find_known_texts(model)
    if classes is not None and classes.dtype == object and not are_numbers(classes):
        texts[target] = classes.tolist()
    kept = [*list_fitted_columns(model), target, *filter(None, [groups])]
    columns = Columns(text=texts, kept=kept, target=target, task=task)
    table = TableInPieces(options.table, options, columns, is_whole=not hasattr(model, "feature_names_in_"))
    notes = table.notes
    if options.groups is None and groups not in (None, *table.columns):
        notes.append(
            f"the table lacks the column {groups!r} of the training's groups: the margins hold for "
            "independent rows"
        )
        groups = None
    roles = {"--target": target, "--weights": weights, "--groups": groups}
    others = list(dict.fromkeys(name for name in roles.values() if name is not None))
    for argument, name in roles.items():
        check_known([name], table.columns, table.name, argument)
    matching = Matching(model, table, options.date_format, others)
    # Some scores compare all rows with each other, so a few numbers of each row are kept.
    evaluated, n_missing = [], 0
    for read, copied in table.read_pieces(list(dict.fromkeys([*matching.fitted, *others])), [target]):
        # Integers with missing values become floats, which round, except in the columns to copy.
        read.frame[target] = copied[target]
        present = read.frame[target].notna().to_numpy()
        rows = parse_rows(read, target, task, weights, [], groups)
        n_missing += int((~present).sum())
        X = matching.match_rows(read)[present]
        if not len(X):
            continue
        y = rows.target.to_numpy()
        if classes is not None:
            y = np.searchsorted(classes, check_classes(y, classes, read, target)).astype(np.int32)
        with ignore_unseen():
            predictions = model.predict(X) if classes is None else model.predict_proba(X)
        own = [np.ones(len(y)) if one is None else one for one in (rows.weights, rows.groups)]
        evaluated.append((y, predictions, *own))
    check_any(len(evaluated), None, table.name, target, weights)
    y, found, w, names = map(np.concatenate, zip(*evaluated, strict=True))
    check_any(len(y), w, table.name, target, weights)
    labels = None if classes is None else np.arange(len(classes))
    constant = np.broadcast_to(predict_constant(y, w, labels, 1), found.shape)
    scores = {
        "fastnn": compute_scores(y, found, labels, w),
        "constant": compute_scores(y, constant, labels, w),
    }
    margins = estimate_margins(scores["fastnn"], y, found, labels, w, None if groups is None else names)
    notes += [*matching.notes, *note_missing_targets(n_missing)]
    printed = [
        f"{table.name}: {pluralize(len(y), 'row')} with {target}",
        *(f"  note: {note}" for note in notes),
        f"\n{format_scores(scores, margins)}",
    ]
    if classes is not None and len(classes) <= MAX_MATRIX_CLASSES:
        counts = confusion_matrix(y, found.argmax(axis=1), labels=labels)
        printed.append(f"\n{_format_confusion(counts, classes)}")
    print(*printed, sep="\n", file=sys.stderr if options.out == "-" else sys.stdout)
    content = {"model": str(options.model), "table": table.name, "rows": len(y), "target": target}
    content |= {"scores": scores, "margins": margins}
    text = json.dumps(to_json(content), indent=2, allow_nan=False)
    if options.out == "-":
        print(text)
    elif path is not None:
        with atomic_path(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    return 0


def _format_confusion(counts: Array, classes: Array) -> str:
    """Return the confusion matrix as lines: a row for each true class, a column for each predicted one."""
    names = [escape_controls(str(one)) for one in classes]
    cut = [name[:NAME_WIDTH] for name in names]
    if len(set(cut)) == len(cut) and not are_numbers(classes):
        names = cut
    return DataFrame(counts, names, names).rename_axis(columns="true \\ predicted").to_string()
