"""Scores of predictions, and baselines: always the same prediction, and a linear model."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from ...system.messages import error_text
from ..calibration import log_loss
from ..encoding.encoder import TableEncoder
from .columns import unseen_unwarned

__all__ = [
    "METRICS",
    "Metric",
    "baselines",
    "constant_prediction",
    "folds_of",
    "metrics_of",
    "networks_work",
    "plain",
    "scores_of",
    "shown_score",
    "table_of_scores",
]

Array = NDArray[Any]
Rows = NDArray[np.int64]

# Largest number of rows to which the linear model is fitted.
MAX_ROWS = 20_000
# Numbers from here on are shown as powers of ten.
MAX_IN_FULL = 1e7
# Largest and least number of iterations of the logistic regression; the work of the networks decides between.
MAX_ITERATIONS, MIN_ITERATIONS = 200, 5
# If the most frequent class has at least this fraction of the rows, the accuracy is not the first score.
MAX_MAJORITY = 0.9
# Scores of classes that come first where one class is that frequent.
RARE_FIRST = ("balanced_accuracy", "average_precision")


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


def _average_precision(y: Array, P: Array, classes: Array, weights: Any) -> float:
    """Return the area under the precision-recall curve of the rarer of two classes, or the mean over more."""
    counts = np.bincount(np.searchsorted(classes, y), weights, minlength=len(classes))
    if not counts.all():
        return np.nan
    chosen = [int(counts[1] > counts[0]) ^ 1] if len(classes) == 2 else range(len(classes))
    areas = [metrics.average_precision_score(y == classes[k], P[:, k], sample_weight=weights) for k in chosen]
    return float(np.mean(areas))


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
        "average_precision": Metric("avg. precision", True, _average_precision),
        "log_loss": Metric(
            "log-loss", False, lambda y, P, classes, w: log_loss(P, np.searchsorted(classes, y), w)
        ),
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
    """Return the training and test rows of a cross-validation, stratified by classes if they have enough."""
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
    held_out: Rows | None,
    work: float = math.inf,
) -> dict[str, dict[str, float]]:
    """Return the scores of the baselines.

    Parameters
    ----------
    task : {"classification", "regression"}
        Kind of the target.
    train : tuple of DataFrame, array (n,) and array (n,) or None
        Rows, targets and weights.
    splits : list of two arrays of rows, optional
        Training and validation rows of every fold: the baselines are fitted to the former and predict the
        latter.
    test : tuple of DataFrame, array (m,) and array (m,) or None, optional
        Rows to predict instead of those of the folds, with targets and weights.
    classes : array or None
        Classes of a classification, sorted.
    held_out : array of int, optional
        Rows of the folds' predictions that count; by default all.
    work : float, optional
        Operations that the fits may take in all, such as those of the networks, so that a simple model does
        not cost more than they did.

    Returns
    -------
    dict
        Scores by name of the baseline, "linear model" and the constant prediction.
    """
    X, y, weights = train
    constant_name = "majority" if task == "classification" else "mean"
    folds: list[tuple[Rows, Rows | None]] = [*(splits or [])]
    if test is not None:
        folds = [(np.arange(len(y)), None)]
    rows_of_test: list[Rows] = []
    found: dict[str, list[Array]] = {"linear model": [], constant_name: []}
    random = np.random.RandomState(0)
    for fitted, predicted in folds:
        if len(fitted) > MAX_ROWS:
            fitted = np.sort(random.permutation(fitted)[:MAX_ROWS])
        fit_weights = _positive(weights, fitted)
        X_test = test[0] if test is not None else X.iloc[predicted]
        rows_of_test.append(np.arange(len(X_test)) if predicted is None else predicted)
        # BLAS threads spin between products as small as these. Rare values of the table may be new to a fold.
        with threadpool_limits(1), unseen_unwarned():
            predict = _linear(task, X.iloc[fitted], y[fitted], fit_weights, classes, work / len(folds))
            found["linear model"].append(predict(X_test))
        # A constant from the fold's rows would differ from fold to fold, and rank the rows: take all rows.
        found[constant_name].append(constant_prediction(task, y, _positive(weights), classes, len(X_test)))
    order = np.concatenate(rows_of_test)
    chosen = slice(None) if held_out is None or test is not None else np.isin(order, held_out)
    truth, given = (y, weights) if test is None else (test[1], test[2])
    rows = order[chosen]
    result = {}
    for name, predictions in found.items():
        values = np.concatenate(predictions)[chosen]
        result[name] = scores_of(task, truth[rows], values, classes, None if given is None else given[rows])
    return result


def _positive(weights: Any, rows: Any = slice(None)) -> Any:
    """Return the weights of rows, or None if all are 0: such rows, of a sample or a fold, count alike."""
    return None if weights is None or not weights[rows].any() else weights[rows]


def _linear(task: str, X: Any, y: Array, weights: Any, classes: Any, work: float) -> Callable[[Any], Array]:
    """Fit a linear model to an encoded table, in `work` operations; return the function that predicts."""
    encoder = TableEncoder(numbers="smooth", text="rare")
    present = np.unique(y)
    try:
        Z = encoder.fit_transform(X)
    except ValueError:  # no column tells the fold's rows apart
        present = present[:1]
    if len(present) < 2:
        return lambda X_test: constant_prediction(task, y, weights, classes, len(X_test))
    if task == "regression":
        # Ridge computes in float32, as the features are: large numbers, or their differences, would be lost.
        center, scale = y.mean(), y.std()
        ridge = Ridge(1.0).fit(Z, (y - center) / scale, weights)

        def predict_numbers(X_test: Any) -> Array:
            values = ridge.predict(encoder.transform(X_test)).astype(np.float64)
            return np.clip(values * scale + center, y.min(), y.max())

        return predict_numbers
    # Two products of all features and outputs per iteration, a multiplication and an addition each.
    operations = 4.0 * Z.size * (1 if len(present) == 2 else len(present))
    n_iterations = int(np.clip(work / operations, MIN_ITERATIONS, MAX_ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the baseline may end before it converges
        model = LogisticRegression(max_iter=n_iterations).fit(Z, y, weights)

    def predict(X_test: Any) -> Array:
        P = np.zeros((len(X_test), len(classes)))
        P[:, np.searchsorted(classes, present)] = model.predict_proba(encoder.transform(X_test))
        return P

    return predict


def constant_prediction(task: str, y: Array, weights: Any, classes: Any, n_rows: int) -> Array:
    """Return the fractions of the classes, or the mean, for every row."""
    if task == "regression":
        return np.full(n_rows, np.average(y, weights=weights))
    counts = np.bincount(np.searchsorted(classes, y), weights, minlength=len(classes))
    return np.tile(counts / counts.sum(), (n_rows, 1))


def networks_work(model: Any, n_rows: int) -> float:
    """Return the operations that the networks of a tabular estimator took: three products per epoch."""
    layers = [one.model_.layers_dim for one in model.estimators_]
    n_parameters = [sum(m * n for m, n in itertools.pairwise(dims)) for dims in layers]
    n_epochs = [one.n_iter_ for one in model.estimators_]
    return 6.0 * n_rows * float(np.dot(n_parameters, n_epochs))


def metrics_of(task: str, scores: dict[str, dict[str, float]]) -> dict[str, Metric]:
    """Return the metrics in the order in which they matter, given the scores by model, the constant last.

    Where one class is very frequent, the accuracy says little.
    """
    registry = METRICS[task]
    constant = list(scores.values())[-1]
    first = RARE_FIRST if constant.get("accuracy", 0.0) >= MAX_MAJORITY else ()
    return {name: registry[name] for name in dict.fromkeys((*first, *registry))}


def table_of_scores(task: str, scores: dict[str, dict[str, float]]) -> str:
    """Return the scores as lines of text, a line for each model."""
    columns = []
    for key, metric in metrics_of(task, scores).items():
        cells = [metric.label, *(shown_score(one[key], not metric.is_better_high) for one in scores.values())]
        width = max(10, *map(len, cells))
        columns.append([f"  {cell:>{width}}" for cell in cells])
    width = max(map(len, scores))
    names = [f"{name:<{width}}" for name in ("", *scores)]
    return "\n".join("".join(line) for line in zip(names, *columns, strict=True))


def plain(value: Any) -> Any:
    """Return a value as JSON holds it: NumPy's scalars as Python's, NaN and infinity as None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def shown_score(value: float, is_error: bool = False) -> str:
    """Return a score as text with four decimals or, from 10 on, four digits or more; a dash for NaN.

    An error, which may have any magnitude, has four digits also where four decimals would leave fewer.
    """
    if np.isnan(value):
        return "-"
    if abs(value) < 10:
        return error_text(value) if is_error else f"{round(value, 4) + 0.0:.4f}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < MAX_IN_FULL else f"{value:,.4g}"
