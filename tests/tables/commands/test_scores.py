"""Scores and baselines of the command line, compared with scikit-learn."""

import numpy as np
import pytest
from extras import all_need, optional
from sklearn import metrics
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastnn.tables.commands.scores import (
    METRICS,
    compute_scores,
    estimate_margins,
    format_scores,
    score_baselines,
)
from fastnn.tables.members import make_splits

pytestmark = all_need("pandas")
pd = optional("pandas")

random = np.random.RandomState(0)
N = 120
X = pd.DataFrame({"a": random.normal(size=N), "b": random.normal(size=N)})
WEIGHTS, NOISE = random.randint(0, 3, N).astype(float), random.normal(size=N)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_scores_of_classes_equal_scikit_learns(n_classes, weights):
    y = random.randint(0, n_classes, N)
    P = random.dirichlet(np.ones(n_classes), N)
    found = compute_scores(y, P, np.arange(n_classes), weights)
    best = P.argmax(axis=1)
    assert found["accuracy"] == metrics.accuracy_score(y, best, sample_weight=weights)
    assert found["balanced_accuracy"] == metrics.balanced_accuracy_score(y, best, sample_weight=weights)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(y, P, sample_weight=weights))
    scores = P[:, 1] if n_classes == 2 else P
    expected = metrics.roc_auc_score(y, scores, multi_class="ovr", sample_weight=weights)
    assert found["roc_auc"] == pytest.approx(expected)
    chosen = [np.bincount(y, weights).argmin()] if n_classes == 2 else range(n_classes)
    areas = [metrics.average_precision_score(y == k, P[:, k], sample_weight=weights) for k in chosen]
    assert found["average_precision"] == pytest.approx(np.mean(areas))


def test_scores_of_numbers_equal_scikit_learns():
    y, values = random.normal(size=(2, N))
    found = compute_scores(y, values, None, None)
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, values))
    assert found["mae"] == metrics.mean_absolute_error(y, values)
    assert found["r2"] == metrics.r2_score(y, values)


@pytest.mark.parametrize(("n_rows", "size"), [(200, 1), (200, 10), (20_000, 10)])
def test_margins_are_those_of_the_normal_approximation(n_rows, size):
    """Rows of a group are alike, so the number of groups decides the margin."""
    random = np.random.RandomState(0)
    is_right = np.repeat(random.rand(n_rows // size) < 0.8, size)
    y = random.randint(0, 2, n_rows)
    P = np.eye(2)[np.where(is_right, y, 1 - y)]
    groups = None if size == 1 else np.repeat(np.arange(n_rows // size), size)
    scores = compute_scores(y, P, np.arange(2), None)
    found = estimate_margins(scores, y, P, np.arange(2), None, groups)
    assert found["accuracy"] == pytest.approx(1.96 * np.sqrt(0.16 * size / n_rows), rel=0.3)
    if n_rows == 200:  # where right predictions alone have a weight, there is nothing to vary
        assert estimate_margins(scores, y, P, np.arange(2), is_right * 2.0, groups)["accuracy"] == 0


@pytest.mark.parametrize(("scale", "center"), [(1.0, 0.0), (1e150, 0.0), (1e-100, 0.0), (1.0, 1e9)])
def test_the_linear_baseline_is_a_ridge_of_standardised_columns_in_any_unit(scale, center):
    X = pd.DataFrame(np.random.RandomState(0).standard_t(2, size=(N, 2)) ** 3 * [1, 1e4], columns=["a", "b"])
    y = (X["a"].to_numpy() * 2 + NOISE) * scale + center
    splits = make_splits(5, N, np.random.RandomState(0))
    found = score_baselines(X, y, None, splits, None, np.arange(N))
    values = np.empty(N)
    for ours, theirs in splits:
        ridge = make_pipeline(StandardScaler(), Ridge(1.0)).fit(X.iloc[ours], y[ours])
        values[theirs] = ridge.predict(X.iloc[theirs]).clip(y[ours].min(), y[ours].max())
    assert found["linear model"]["r2"] == pytest.approx(metrics.r2_score(y, values), abs=1e-3)
    assert found["mean"]["r2"] == pytest.approx(0, abs=1e-6)
    assert list(found) == ["linear model", "mean"]


def test_higher_scores_are_better_where_scikit_learn_has_a_scorer_of_the_name():
    scorers = METRICS.keys() & set(metrics.get_scorer_names())  # scorers of losses have the prefix "neg_"
    assert {name for name, metric in METRICS.items() if metric.is_better_high} == scorers


@pytest.mark.parametrize(
    ("task", "score", "expected"), [("classification", "log_loss", -np.log(0.4)), ("regression", "rmse", 0.6)]
)
def test_the_linear_baseline_of_rows_that_are_all_alike_is_constant(task, score, expected):
    y = np.arange(6) % 2
    table, splits = pd.DataFrame({"a": [1.0] * 5 + [2.0]}), [(np.arange(5), np.array([5]))]
    classes = np.arange(2) if task == "classification" else None
    found = score_baselines(table, y, None, splits, classes, np.array([5]))
    assert found["linear model"][score] == pytest.approx(expected)


def test_baselines_are_judged_on_some_rows_and_with_folds_that_lack_a_class():
    y = np.where(X["a"] > 0, 1, 0)
    y[0] = 2
    splits = make_splits(4, N, np.random.RandomState(0), y)
    assert sorted(np.concatenate([theirs for _, theirs in splits]).tolist()) == list(range(N))
    rows = np.arange(10, 50)
    found = score_baselines(X, y, WEIGHTS, splits, np.arange(3), rows)
    assert found["linear model"]["accuracy"] > 0.8
    is_best = y[rows] == np.bincount(y, WEIGHTS).argmax()
    assert found["majority"]["accuracy"] == pytest.approx(np.average(is_best, weights=WEIGHTS[rows]))
    splits = [(np.arange(30, N), np.arange(30))]
    found = score_baselines(X, y, None, splits, np.arange(3), np.arange(30))
    assert found["majority"]["accuracy"] == (y[:30] == np.bincount(y[30:]).argmax()).mean()


@pytest.mark.parametrize("names", [["accuracy", "roc_auc", "log_loss"], ["rmse", "mae", "r2"]])
def test_the_columns_of_a_table_of_scores_are_aligned(names):
    values = [0.5, 12345.678, 3.21e-7, 1.234567e9, -1.5e-300, np.nan]
    scores = {f"model {value}": dict.fromkeys(names, value) for value in values}
    header, *lines = format_scores(scores, dict.fromkeys(names, 0.01)).splitlines()
    assert {len(line) for line in lines} == {len(header)}
    assert lines[0].split()[2:] == ["0.5000"] * len(names)
    assert lines[1].split() == ["+/-", "(95", "%)", *["0.0100"] * len(names)]
    shown = [METRICS[name] for name in names]
    places = [header.index(metric.label) + len(metric.label) for metric in shown]
    for line in lines:  # every cell ends where its label ends
        assert all(line[end - 1] != " " and line[end : end + 1] in ("", " ") for end in places)
    for place, metric in zip(places, shown, strict=True):
        assert lines[3][:place].endswith(" 0.0000" if metric.is_better_high else " 3.21e-07")
        assert lines[4][:place].endswith(" 1.235e+09")
