"""Summary of a fitted tabular estimator in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..system.messages import format_error, format_range

if TYPE_CHECKING:
    from .base import Tabular


def summarize(estimator: Tabular) -> str:
    """Return the text of ``summary()`` of a tabular estimator."""
    check_is_fitted(estimator)
    head = ("column", "kind", "values", "missing", "treatment")
    rows = [head, *([*map(str, record.values())][: len(head)] for record in estimator.columns_)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(head) - 1)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]
    network = estimator.estimators_[0].model_
    passes = [member.n_iter_ for member in estimator.estimators_]
    curves = [getattr(member, "validation_scores_", None) for member in estimator.estimators_]
    kept = [1 + find_last_best(scores) for scores in curves if scores]  # files may lack the curves
    lines += [
        "",
        f"networks  {len(passes)} of layers {list(network.layers_dim)}, preset {estimator.preset!r}",
        f"epochs    {format_range(passes)}" + (f" (best: {format_range(kept)})" if kept else ""),
    ]
    if estimator._HAS_CLASSES:
        accuracy, majority = estimator.oof_accuracy_, estimator._majority
        loss, temperature = format_error(estimator.oof_log_loss_), estimator.temperature_
        lines += [
            f"accuracy  {accuracy:.4f} out of fold; always the same class: {majority:.4f}",
            f"log-loss  {loss} out of fold, temperature {temperature:.2f}",
        ]
    else:
        lines += [
            f"RMSE      {estimator.oof_rmse_:.6g} out of fold; always the mean: {estimator._scale:.6g}",
            f"R2        {estimator.oof_r2_:.4f} out of fold",
        ]
    lines.append(f"time      {estimator.fit_seconds_:.1f} s (CPU time: {estimator.fit_cpu_seconds_:.1f} s)")
    return "\n".join(lines)


def find_last_best(scores: Sequence[float]) -> int:
    """Return the index of the last of the highest scores, or of the last score if all are NaN."""
    values = np.asarray(scores)
    return len(values) - 1 - int(np.where(np.isnan(values), -np.inf, values)[::-1].argmax())
