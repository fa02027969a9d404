"""Scores of predictions, and baselines: always the same prediction, and a linear model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline

from ..preprocessing.encoder import TableEncoder

__all__ = [
    "METRICS",
    "Metric",
    "baselines",
    "folds_of",
    "plain_scores",
    "scores_of",
    "shown_score",
    "table_of_scores",
]

Array = NDArray[Any]
Rows = NDArray[np.int64]

# Largest number of rows to which the linear model is fitted.
MOST_ROWS = 20_000
# Largest number of iterations of the logistic regression: the baseline must not cost more than the fit.
MOST_ITERATIONS = 200


@dataclass(frozen=True)
class Metric:
    """Score of predictions.

    Parameters
    ----------
    label : str
        Name for people.
    is_better_high : bool
        True if a higher score is better.
    compute : callable
        Function of true targets, predictions (probabilities of the classes, or numbers), classes or None, and
        weights or None.
    """

    label: str
    is_better_high: bool
    compute: Callable[[Array, Array, Any, Any], float]


def _predicted(P: Array, classes: Array) -> Array:
    """Return the classes of the highest probabilities."""
    return classes[P.argmax(axis=1)]


def _roc_auc(y: Array, P: Array, classes: Array, weights: Any) -> float:
    """Return the area under the ROC curve; of several classes, the mean of each against all others."""
    areas = []
    for k in range(1 if len(classes) == 2 else 0, len(classes)):
        truth = y == classes[k]
        if truth.all() or not truth.any():
            return np.nan
        areas.append(metrics.roc_auc_score(truth, P[:, k], sample_weight=weights))
    return float(np.mean(areas))


def _log_loss(y: Array, P: Array, classes: Array, weights: Any) -> float:
    """Return the mean negative logarithm of the true classes' probabilities."""
    p_true = P[np.arange(len(y)), np.searchsorted(classes, y)].astype(np.float64)
    return float(np.average(-np.log(np.maximum(p_true, 1e-15)), weights=weights))


# Registry of the scores by task and name, the most important first.
METRICS: dict[str, dict[str, Metric]] = {
    "classification": {
        "accuracy": Metric(
            "accuracy",
            True,
            lambda y, P, classes, w: float(
                metrics.accuracy_score(y, _predicted(P, classes), sample_weight=w)
            ),
        ),
        "balanced_accuracy": Metric(
            "balanced accuracy",
            True,
            lambda y, P, classes, w: float(
                metrics.recall_score(
                    y, _predicted(P, classes), average="macro", sample_weight=w, zero_division=0.0
                )
            ),
        ),
        "roc_auc": Metric("ROC AUC", True, _roc_auc),
        "log_loss": Metric("log-loss", False, _log_loss),
    },
    "regression": {
        "rmse": Metric(
            "RMSE",
            False,
            lambda y, v, _, w: float(np.sqrt(metrics.mean_squared_error(y, v, sample_weight=w))),
        ),
        "mae": Metric(
            "MAE", False, lambda y, v, _, w: float(metrics.mean_absolute_error(y, v, sample_weight=w))
        ),
        "r2": Metric(
            "R2",
            True,
            lambda y, v, _, w: float(metrics.r2_score(y, v, sample_weight=w)) if len(y) > 1 else np.nan,
        ),
    },
}


def scores_of(task: str, y: Array, predictions: Array, classes: Any, weights: Any) -> dict[str, float]:
    """Return all scores of predictions by name; NaN where a score is not defined."""
    return {name: metric.compute(y, predictions, classes, weights) for name, metric in METRICS[task].items()}


def folds_of(task: str, y: Array, n_folds: int, seed: int) -> list[tuple[Rows, Rows]]:
    """Return the training and test rows of a cross-validation; classes have equal shares in all folds."""
    kind = KFold
    if task == "classification" and np.unique(y, return_counts=True)[1].min() >= n_folds:
        kind = StratifiedKFold
    return list(kind(n_folds, shuffle=True, random_state=seed).split(np.zeros(len(y)), y))


def baselines(
    task: str,
    train: tuple[Any, Array, Any],
    splits: Sequence[tuple[Rows, Rows]] | None,
    test: tuple[Any, Array, Any] | None,
    classes: Any,
    judged: Rows | None,
) -> dict[str, dict[str, float]]:
    """Return the scores of the baselines.

    Parameters
    ----------
    task : {"classification", "regression"}
        Kind of the target.
    train : tuple of DataFrame, array (n,) and array (n,) or None
        Rows, targets and weights.
    splits : list of two arrays of rows, optional
        Folds: the baselines predict the second part of each, fitted to the first.
    test : tuple of DataFrame, array (m,) and array (m,) or None, optional
        Rows to predict instead of those of the folds, with targets and weights.
    classes : array or None
        Classes of a classification, sorted.
    judged : array of int, optional
        Rows of the folds' predictions that count; by default all.

    Returns
    -------
    dict
        Scores by name of the baseline, "linear model" and the constant prediction.
    """
    X, y, weights = train
    constant_name = "majority" if task == "classification" else "mean"
    parts: list[tuple[Rows, Rows | None]] = [*(splits or [])]
    if test is not None:
        parts = [(np.arange(len(y)), None)]
    rows_of_test: list[Rows] = []
    found: dict[str, list[Array]] = {"linear model": [], constant_name: []}
    random = np.random.RandomState(0)
    for fitted, predicted in parts:
        if len(fitted) > MOST_ROWS:
            fitted = np.sort(random.permutation(fitted)[:MOST_ROWS])
        fit_weights = None if weights is None else weights[fitted]
        X_test = test[0] if test is not None else X.iloc[predicted]
        rows_of_test.append(np.arange(len(X_test)) if predicted is None else predicted)
        predict = _linear(task, X.iloc[fitted], y[fitted], fit_weights, classes)
        found["linear model"].append(predict(X_test))
        # A constant from the fold's rows would differ from fold to fold, and rank the rows: take all rows.
        found[constant_name].append(_constant(task, y, weights, classes, len(X_test)))
    order = np.concatenate(rows_of_test)
    chosen = slice(None) if judged is None or test is not None else np.isin(order, judged)
    truth, given = (y, weights) if test is None else (test[1], test[2])
    rows = order[chosen]
    result = {}
    for name, predictions in found.items():
        values = np.concatenate(predictions)[chosen]
        result[name] = scores_of(task, truth[rows], values, classes, None if given is None else given[rows])
    return result


def _linear(task: str, X: Any, y: Array, weights: Any, classes: Any) -> Callable[[Any], Array]:
    """Fit a linear model to an encoded table; return the function that predicts."""
    encoder = TableEncoder(numbers="smooth", text="rare")
    if task == "regression":
        model: Any = make_pipeline(encoder, Ridge(1.0)).fit(X, y, ridge__sample_weight=weights)
        return lambda X_test: np.clip(model.predict(X_test), y.min(), y.max())
    present = np.unique(y)
    if len(present) < 2:
        return lambda X_test: _constant(task, y, weights, classes, len(X_test))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the baseline may end before it converges
        model = make_pipeline(encoder, LogisticRegression(max_iter=MOST_ITERATIONS))
        model.fit(X, y, logisticregression__sample_weight=weights)

    def predict(X_test: Any) -> Array:
        P = np.zeros((len(X_test), len(classes)))
        P[:, np.searchsorted(classes, present)] = model.predict_proba(X_test)
        return P

    return predict


def _constant(task: str, y: Array, weights: Any, classes: Any, n_rows: int) -> Array:
    """Return the shares of the classes, or the mean, for every row."""
    if task == "regression":
        return np.full(n_rows, np.average(y, weights=weights))
    counts = np.bincount(np.searchsorted(classes, y), weights, minlength=len(classes))
    return np.tile(counts / counts.sum(), (n_rows, 1))


def table_of_scores(task: str, scores: dict[str, dict[str, float]]) -> str:
    """Return the scores as lines of text, a line for each model."""
    labels = [metric.label for metric in METRICS[task].values()]
    width = max(len(name) for name in scores)
    widths = [max(10, len(label)) for label in labels]
    lines = [" " * width + "".join(f"  {label:>{w}}" for label, w in zip(labels, widths, strict=True))]
    for name, values in scores.items():
        cells = (f"  {shown_score(value):>{w}}" for value, w in zip(values.values(), widths, strict=True))
        lines.append(f"{name:<{width}}{''.join(cells)}")
    return "\n".join(lines)


def plain_scores(scores: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """Return scores as JSON holds them: None for NaN."""
    return {
        name: {key: None if np.isnan(value) else value for key, value in values.items()}
        for name, values in scores.items()
    }


def shown_score(value: float) -> str:
    """Return a score as text with four decimals or, from 10 on, four digits or more; a dash for NaN."""
    if np.isnan(value):
        return "-"
    if abs(value) < 10:
        return f"{value:.4f}"
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
