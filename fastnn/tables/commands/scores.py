"""Scores of predictions, and baselines: always the same prediction, and a linear model."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn
from pandas import DataFrame
from sklearn import metrics
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from ...system.messages import format_error
from ...system.validation import Array
from ..calibration import log_loss
from ..encoding.columns import NumberEncoding, count_features
from ..encoding.encoder import TableEncoder
from .matching import ignore_unseen

if TYPE_CHECKING:
    from ..base import Tabular
    from ..members import Rows

# Largest number of rows to which the linear model is fitted.
MAX_ROWS = 20_000
# Bound of the linear model's numbers, which only float32 and the squares of their deviations need.
BOUND = 1e15
# Numbers from here on are shown as powers of ten.
MAX_IN_FULL = 1e7
# Largest and least number of iterations of the logistic regression; the work of the networks decides between.
MAX_ITERATIONS, MIN_ITERATIONS = 200, 5
# If the most frequent class has at least this fraction of the rows, the accuracy is not the first score.
MAX_MAJORITY = 0.9
# Draws of a bootstrap, and how many rows of many, and rows or groups at least, each of them has.
N_DRAWS, MAX_DRAWN_ROWS, MIN_DRAWN = 50, 1000, 50
# Scores of classes that come first where one class is that frequent.
RARE_FIRST = ("balanced_accuracy", "average_precision")


@dataclass(frozen=True)
class Metric:
    """Score of predictions, as it is shown."""

    label: str  # display name
    is_better_high: bool  # True if a higher score is better

    def format(self, value: float) -> str:
        """Return a score as text; a loss, which may have any magnitude, as an error."""
        return format_score(value, not self.is_better_high)


# Registry of the scores by name: scores of classes, then scores of numbers.
METRICS = {
    "accuracy": Metric("accuracy", True),
    "balanced_accuracy": Metric("balanced accuracy", True),
    "roc_auc": Metric("ROC AUC", True),
    "average_precision": Metric("avg. precision", True),
    "log_loss": Metric("log-loss", False),
    "rmse": Metric("RMSE", False),
    "mae": Metric("MAE", False),
    "r2": Metric("R2", True),
}


def compute_scores(
    y: Array, predictions: Array, classes: Array | None, weights: Array | None
) -> dict[str, float]:
    """Return the scores of probabilities (n, n_classes), or without classes of numbers (n,), by name.

    The names are in `METRICS`, the most important first. A score that is not defined is NaN. With several
    classes, areas are means over each class against all others; with two, the average precision is the
    rarer class's.
    """
    if classes is None:
        return {
            "rmse": float(np.sqrt(metrics.mean_squared_error(y, predictions, sample_weight=weights))),
            "mae": float(metrics.mean_absolute_error(y, predictions, sample_weight=weights)),
            "r2": float(metrics.r2_score(y, predictions, sample_weight=weights)) if len(y) > 1 else np.nan,
        }
    best = classes[predictions.argmax(axis=1)]
    places = np.searchsorted(classes, y)
    n_rows = np.bincount(places, minlength=len(classes))
    counts = np.bincount(places, weights, minlength=len(classes))
    recall = metrics.recall_score(y, best, average="macro", sample_weight=weights, zero_division=0.0)
    each = range(len(classes))
    second, rarer = ([1], [int(counts[1] <= counts[0])]) if len(classes) == 2 else (each, each)

    def average_areas(score: Callable[..., float], chosen: Iterable[int], n_rows: Array) -> float:
        if not n_rows.all():
            return np.nan
        return float(np.mean([score(places == k, predictions[:, k], sample_weight=weights) for k in chosen]))

    return {
        "accuracy": float(metrics.accuracy_score(y, best, sample_weight=weights)),
        "balanced_accuracy": float(recall),
        "roc_auc": average_areas(metrics.roc_auc_score, second, n_rows),
        "average_precision": average_areas(metrics.average_precision_score, rarer, counts),
        "log_loss": log_loss(predictions, places, weights),
    }


def estimate_margins(
    names: Collection[str],
    y: Array,
    predictions: Array,
    classes: Array | None,
    weights: Array | None,
    groups: Array | None,
) -> dict[str, float]:
    """Return half of the width of the 95 % interval of each score by name; NaN for one row or group.

    The names and their order are as in `compute_scores`. This is a bootstrap over rows, or over groups (n,)
    of rows: of many rows, it draws fewer, whose scores vary more by a known factor.
    """
    if groups is None:
        rows_by_group, n_units = None, len(y)
    else:
        counts = np.unique(groups, return_counts=True)[1]
        rows_by_group = np.split(np.argsort(groups, kind="stable"), np.cumsum(counts)[:-1])
        n_units = len(counts)
    if n_units < 2:
        return dict.fromkeys(names, np.nan)
    n_drawn = min(n_units, max(MIN_DRAWN, n_units * MAX_DRAWN_ROWS // len(y)))
    random = np.random.RandomState(0)
    draws = np.full((N_DRAWS, len(names)), np.nan)
    # The checks of arguments would take most of the time.
    checks = sklearn.config_context(assume_finite=True, skip_parameter_validation=True)
    with checks, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a draw may lack a class
        for draw in draws:
            rows = random.randint(n_units, size=n_drawn)
            if rows_by_group is not None:
                rows = np.concatenate([rows_by_group[k] for k in rows])
            drawn = None if weights is None else weights[rows]
            if drawn is None or drawn.any():
                draw[:] = [*compute_scores(y[rows], predictions[rows], classes, drawn).values()]
        spread = np.nanstd(draws, axis=0)
        spread[spread < 1e-12 * np.abs(np.nanmean(draws, axis=0))] = 0.0  # of rounding
    margins = 1.96 * np.sqrt(n_drawn / n_units) * spread
    return dict(zip(names, margins.tolist(), strict=True))


def score_baselines(
    X: DataFrame,
    y: Array,
    weights: Array | None,
    splits: Sequence[tuple[Rows, Rows]],
    classes: Array | None,
    scored: Rows,
    work: float = math.inf,
) -> dict[str, dict[str, float]]:
    """Return the scores of the baselines by name, "linear model" and the constant prediction.

    The linear model is fitted to the training rows of every split, and predicts the others, of which the
    `scored` rows count. The classes are sorted. The fits may take `work` operations in all: with as many as
    the networks' fits took, a simple model does not cost more.
    """
    values = np.zeros(len(y) if classes is None else (len(y), len(classes)))
    random = np.random.RandomState(0)
    for fitted, predicted in splits:
        if len(fitted) > MAX_ROWS:
            fitted = np.sort(random.permutation(fitted)[:MAX_ROWS])
        own = _select_weights(weights, fitted)
        # BLAS threads spin between products as small as these. Rare values of the table may be new to a fold.
        with threadpool_limits(1), ignore_unseen():
            values[predicted] = _predict_linear(
                X.iloc[fitted], y[fitted], own, classes, work / len(splits), X.iloc[predicted]
            )
    # Constants from the rows of each fold would differ and so rank the rows, so all folds share one constant.
    rows = np.unique(np.concatenate([fitted for fitted, _ in splits]))
    constant = predict_constant(y[rows], _select_weights(weights, rows), classes, len(scored))
    given = None if weights is None else weights[scored]
    return {
        "linear model": compute_scores(y[scored], values[scored], classes, given),
        "majority" if classes is not None else "mean": compute_scores(y[scored], constant, classes, given),
    }


def _select_weights(weights: Array | None, rows: Rows) -> Array | None:
    """Return the weights of rows, or None if all are 0: such rows, of a sample or a fold, count alike."""
    return None if weights is None or not weights[rows].any() else weights[rows]


def _predict_linear(
    X: DataFrame, y: Array, weights: Array | None, classes: Array | None, work: float, X_test: DataFrame
) -> Array:
    """Return the predictions for other rows by a linear model, which is fitted in `work` operations."""
    present = np.unique(y)
    try:
        Z, Z_test = _encode_standardised(X, X_test)
    except ValueError:  # no column tells the fold's rows apart, or its kinds differ from the other rows'
        present = present[:1]
    if len(present) < 2:
        return predict_constant(y, weights, classes, len(X_test))
    if classes is None:
        # Ridge computes in float32, as the features are: large numbers, or their differences, would be lost.
        center, scale = y.mean(), y.std()
        values = Ridge(1.0).fit(Z, (y - center) / scale, weights).predict(Z_test).astype(np.float64)
        return np.clip(values * scale + center, y.min(), y.max())
    # Two products of all features and outputs per iteration, a multiplication and an addition each.
    operations = 4.0 * Z.size * (1 if len(present) == 2 else len(present))
    n_iterations = int(np.clip(work / operations, MIN_ITERATIONS, MAX_ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the baseline may end before it converges
        model = LogisticRegression(max_iter=n_iterations).fit(Z, y, weights)
    P = np.zeros((len(X_test), len(classes)))
    P[:, np.searchsorted(classes, present)] = model.predict_proba(Z_test)
    return P


def _encode_standardised(X: DataFrame, X_test: DataFrame) -> list[Array]:
    """Encode two tables by an encoder fitted to the first, whose numbers are standardised and not bounded."""
    encoder = TableEncoder(numbers="smooth", text="rare").fit(X)
    places, first = [], 0
    for encoding in encoder.encodings_:
        for one in getattr(encoding, "numbers", [encoding]):  # a date has several
            if isinstance(one, NumberEncoding):
                one.limit = BOUND
                places.append(first)
            first += count_features(one)
    tables = [encoder.transform(X), encoder.transform(X_test)]
    values = tables[0][:, places].astype(np.float64)
    center, scale = values.mean(axis=0), values.std(axis=0)
    scale[scale == 0] = 1.0
    for Z in tables:
        Z[:, places] = (Z[:, places] - center) / scale
    return tables


def predict_constant(y: Array, weights: Array | None, classes: Array | None, n_rows: int) -> Array:
    """Return the fractions of the classes, or the mean, for every row."""
    if classes is None:
        return np.full(n_rows, np.average(y, weights=weights))
    counts = np.bincount(np.searchsorted(classes, y), weights, minlength=len(classes))
    return np.tile(counts / counts.sum(), (n_rows, 1))


def count_operations(model: Tabular, n_rows: int) -> float:
    """Return the operations that the networks of a tabular estimator took: three products per epoch."""
    layers = [one.model_.layers_dim for one in model.estimators_]
    n_parameters = [sum(m * n for m, n in itertools.pairwise(dims)) for dims in layers]
    n_epochs = [one.n_iter_ for one in model.estimators_]
    return 6.0 * n_rows * float(np.dot(n_parameters, n_epochs))


def order_metrics(scores: dict[str, dict[str, float]]) -> dict[str, Metric]:
    """Return the metrics in the order in which they matter, given the scores by model, the constant last.

    Where one class is very frequent, the accuracy says little.
    """
    constant = list(scores.values())[-1]
    first = RARE_FIRST if constant.get("accuracy", 0.0) >= MAX_MAJORITY else ()
    return {name: METRICS[name] for name in dict.fromkeys((*first, *constant))}


def format_scores(scores: dict[str, dict[str, float]], margins: dict[str, float]) -> str:
    """Return the scores as lines of text, a line for each model; the first has its margins below it."""
    own, *others = scores
    columns = {}
    for key, metric in order_metrics(scores).items():
        values = [metric.format(by_name[key]) for by_name in scores.values()]
        columns[metric.label] = [values[0], format_score(margins[key], is_error=True), *values[1:]]
    rows = [own, "  +/- (95 %)", *others]
    return DataFrame(columns, rows).to_string(col_space=[len(label) + 1 for label in columns])


def to_json(value: Any) -> Any:
    """Return a value as JSON holds it: NumPy's scalars as Python's, NaN and infinity as None."""
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def format_score(value: float, is_error: bool = False) -> str:
    """Return a score as text with four decimals or, from 10 on, four digits or more; a dash for NaN.

    An error, which may have any magnitude, has four digits also where four decimals would leave fewer.
    """
    if np.isnan(value):
        return "-"
    if abs(value) < 10:
        return format_error(value) if is_error else f"{round(value, 4) + 0.0:.4f}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < MAX_IN_FULL else f"{value:,.4g}"
