"""Tables and bars of a report as HTML, in the style of the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...system.frames import as_table, is_missing
from ...system.messages import format_error
from ...system.validation import Array
from ..encoding.categories import to_text
from .pictures import draw_sparkline, escape

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..commands.scores import Metric
    from ..encoding.encoder import ColumnRecord

# Largest numbers of bars in the small picture of a column: intervals of numbers and dates, and categories.
N_INTERVALS, MAX_VALUES = 20, 12
# Sign for no value.
DASH = "\N{EN DASH}"
# Fraction of the longest bar below which a bar has the value 0.
MIN_FRACTION = 5e-5


def make_scores_table(scores: dict[str, dict[str, float]], metrics: dict[str, Metric]) -> str:
    """Return the scores, a row for each model; the networks come first."""
    head = "".join(f'<th class="number">{escape(metric.label)}</th>' for metric in metrics.values())
    rows = []
    for k, (name, by_metric) in enumerate(scores.items()):
        cells = []
        for key, metric in metrics.items():
            others = [each[key] for each in scores.values() if np.isfinite(each[key])]
            best = (max if metric.is_better_high else min)(others, default=np.nan)
            mark = " best" if by_metric[key] == best else ""
            cells.append(f'<td class="number{mark}">{metric.format(by_metric[key])}</td>')
        rows.append(f'<tr class="{"own" if k == 0 else ""}"><td>{escape(name)}</td>{"".join(cells)}</tr>')
    return (
        f'<div class="scroll"><table><thead><tr><th>model</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def make_confusion_table(counts: Array, classes: Array, totals: Array) -> str:
    """Return a confusion matrix.

    The counts (n_classes, n_classes) have rows by true class, columns by predicted class. The totals
    (n_classes,) are the rows of every true class, with any predicted class, shown or not.
    """
    # Long names are cut off by the style: the title, which a browser shows at the cursor, has them whole.
    heads = [f'<th title="{escape(str(one))}"><span>{escape(str(one))}</span></th>' for one in classes]
    body = []
    for k, predicted in enumerate(counts):
        cells = []
        for j, n_rows in enumerate(predicted):
            share = n_rows / max(1, totals[k])
            kind = " ".join(word for word, holds in (("wrong", j != k), ("strong", share > 0.6)) if holds)
            small = f"<small>{share:.0%}</small>"
            cells.append(f'<td class="{kind}" style="--share:{share:.3f}"><b>{n_rows:,}</b>{small}</td>')
        body.append(f"<tr>{heads[k]}{''.join(cells)}</tr>")
    dense = " dense" if is_dense(classes) else ""
    return (
        f'<div class="scroll"><table class="matrix{dense}"><thead><tr><th></th>'
        f'<th colspan="{len(classes)}">predicted</th></tr><tr><th>true</th>{"".join(heads)}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def is_dense(classes: Array) -> bool:
    """Return True if a confusion matrix has small cells and takes the width of the page."""
    return len(classes) > 5


def make_classes_table(counts: Array, classes: Array, chosen: Array) -> str:
    """Return the table of recall and precision of the chosen classes, with plain words beside them.

    The counts (n_classes, n_classes) have rows by true class, columns by predicted class.
    """
    rows = []
    for k in chosen:
        one = classes[k]
        right, n_true, n_predicted = counts[k, k], counts[k].sum(), counts[:, k].sum()
        recall = f"{right / n_true:.1%}" if n_true else DASH
        precision = f"{right / n_predicted:.1%}" if n_predicted else DASH
        rows.append(
            f'<tr><td class="name">{escape(str(one))}</td><td class="number">{n_true:,}</td>'
            f'<td class="number">{recall}</td><td class="number">{precision}</td></tr>'
        )
    head = (
        '<th class="number">rows</th><th class="number">recall<small>found</small></th>'
        '<th class="number">precision<small>right if predicted</small></th>'
    )
    body = "".join(rows)
    return f'<table class="classes"><thead><tr><th>class</th>{head}</tr></thead><tbody>{body}</tbody></table>'


def draw_bars(names: Sequence[str], values: Array) -> str:
    """Return horizontal bars with names and values."""
    largest = max(float(values.max()), 1e-300)
    shown = np.where(values >= MIN_FRACTION * largest, values, 0.0).tolist()
    rows = "".join(
        f'<span class="label">{escape(name)}</span>'
        f'<span class="bar"><i style="width:{100 * value / largest:.1f}%"></i></span>'
        f'<span class="value">{format_error(value)}</span>'
        for name, value in zip(names, shown, strict=True)
    )
    return f'<div class="bars">{rows}</div>'


def make_columns_table(frame: DataFrame, records: list[ColumnRecord]) -> str:
    """Return a table with a row for each column: kind, distribution, values, missing values and treatment."""
    table = as_table(frame)
    rows = []
    for record, values in zip(records, table.columns, strict=True):
        heights = _count_heights(values)
        title = f"distribution of {escape(record['name'])}"
        share = record["missing"] / table.n_rows
        missing = f"{share:.1%}" if share >= 0.001 else "&lt; 0.1%"
        if not share:
            missing = DASH
        row_class = "" if record["features"] else "out"
        rows.append(
            f'<tr class="{row_class}"><td class="name">{escape(record["name"])}</td>'
            f'<td><span class="badge">{escape(record["kind"])}</span></td>'
            f'<td>{draw_sparkline(heights, title)}</td><td class="number">{record["values"]:,}</td>'
            f'<td class="number">{missing}</td><td class="text">{escape(record["treatment"])}</td></tr>'
        )
    head = (
        '<th>column</th><th>kind</th><th>distribution</th><th class="number">values</th>'
        '<th class="number">missing values</th><th class="text">what the networks see</th>'
    )
    body = "".join(rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _count_heights(values: Array | Sequence[object]) -> list[float]:
    if isinstance(values, Sequence):  # categories, as a list or as codes
        frequent = Counter(to_text(value) for value in values if not is_missing(value))
        return [float(n_rows) for _, n_rows in frequent.most_common(MAX_VALUES)]
    is_date = values.dtype.kind == "M"
    present = values[~(np.isnat(values) if is_date else np.isnan(values))]
    if not present.size:
        return []
    numbers = present.astype(np.int64).astype(np.float64) if is_date else present
    distinct, counts = np.unique(numbers, return_counts=True)
    if distinct.size <= N_INTERVALS // 2:
        return counts.astype(float).tolist()
    low, high = np.quantile(numbers, [0.01, 0.99])  # a few far values would leave one bar
    if not low < high:
        low, high = numbers.min(), numbers.max()
    # np.histogram refuses ranges of fewer floats than edges. Halves keep the range of large floats finite.
    places = (np.clip(numbers, low, high) / 2 - low / 2) / (high / 2 - low / 2) * N_INTERVALS
    places = np.minimum(places.astype(np.int64), N_INTERVALS - 1)
    return np.bincount(places, minlength=N_INTERVALS).astype(float).tolist()
