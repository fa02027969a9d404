"""Content of a report: a fit and what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...system.validation import Array

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..commands.scores import Metric
    from ..estimators import TabularClassifier, TabularRegressor

__all__ = ["EvaluatedFit"]


@dataclass(kw_only=True)
class EvaluatedFit:
    """Fitted estimator and what was measured."""

    model: TabularClassifier | TabularRegressor  # estimator, fitted to all training rows
    target: str  # name of the column that is predicted
    task: str  # kind of the target: "classification" or "regression"
    frame: DataFrame  # training rows
    y: Array  # (n,): targets of the training rows
    classes: Array | None  # classes of a classification
    truth: Array  # (m,): targets of the held-out rows
    predictions: Array  # (m, n_classes): probabilities or numbers predicted for the held-out rows
    metrics: dict[str, Metric]  # descriptions of the scores by name, the most important first
    scores: dict[str, dict[str, float]]  # scores by name, of the networks and of the baselines
    margins: dict[str, float]  # halves of the 95 % intervals of the networks' scores
    how: str  # how the held-out rows were chosen, in words
    # Remarks for the user about the table, and about the predictions.
    notes: list[str]
    remarks: list[str]
