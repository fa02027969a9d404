"""Scores and baselines against scikit-learn's own."""

import numpy as np
import pytest
from extras import all_need, optional
from sklearn import metrics
from sklearn.linear_model import LinearRegression

from fastnn.cli.scores import METRICS, baselines, folds_of, scores_of, shown_score, table_of_scores

pytestmark = all_need("pandas")
pd = optional("pandas")

random = np.random.RandomState(0)
N = 120
X = pd.DataFrame({"a": random.normal(size=N), "b": random.normal(size=N)})
WEIGHTS = random.randint(0, 3, N).astype(float)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_scores_of_classes(n_classes, weights):
    y = random.randint(0, n_classes, N)
    P = random.dirichlet(np.ones(n_classes), N)
    found = scores_of("classification", y, P, np.arange(n_classes), weights)
    best = P.argmax(axis=1)
    assert found["accuracy"] == metrics.accuracy_score(y, best, sample_weight=weights)
    assert found["balanced_accuracy"] == metrics.balanced_accuracy_score(y, best, sample_weight=weights)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(y, P, sample_weight=weights))
    scores = P[:, 1] if n_classes == 2 else P
    expected = metrics.roc_auc_score(y, scores, multi_class="ovr", sample_weight=weights)
    assert found["roc_auc"] == pytest.approx(expected)


def test_scores_of_numbers():
    y, values = random.normal(size=(2, N))
    found = scores_of("regression", y, values, None, None)
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, values))
    assert found["mae"] == metrics.mean_absolute_error(y, values)
    assert found["r2"] == metrics.r2_score(y, values)


def test_scores_that_are_not_defined_are_nan():
    P = np.array([[0.2, 0.8]])
    found = scores_of("classification", np.array([1]), P, np.arange(2), None)
    assert np.isnan(found["roc_auc"])
    assert shown_score(found["roc_auc"]) == "-"
    assert np.isnan(scores_of("regression", np.ones(1), np.ones(1), None, None)["r2"])


def test_the_linear_model_is_linear():
    y = X["a"].to_numpy() * 2 + random.normal(size=N)
    splits = folds_of("regression", y, 5, 0)
    found = baselines("regression", (X, y, None), splits, None, None, None)
    values = np.empty(N)
    for ours, theirs in splits:
        values[theirs] = LinearRegression().fit(X.iloc[ours], y[ours]).predict(X.iloc[theirs])
    # The baseline's features are squashed: it is close to, and not equal to, a linear function.
    assert found["linear model"]["r2"] == pytest.approx(metrics.r2_score(y, values), abs=0.05)
    assert found["mean"]["r2"] == pytest.approx(0, abs=1e-12)
    assert list(found) == ["linear model", "mean"]


def test_rows_that_judge_and_folds_without_a_class():
    y = np.where(X["a"] > 0, 1, 0)
    y[0] = 2
    splits = folds_of("classification", y, 4, 0)
    assert sorted(np.concatenate([theirs for _, theirs in splits]).tolist()) == list(range(N))
    rows = np.arange(10, 50)
    found = baselines("classification", (X, y, WEIGHTS), splits, None, np.arange(3), rows)
    assert found["linear model"]["accuracy"] > 0.8
    counts = np.bincount(y, WEIGHTS)
    is_best = y[rows] == counts.argmax()
    assert found["majority"]["accuracy"] == pytest.approx(np.average(is_best, weights=WEIGHTS[rows]))
    test = (X[:30], y[:30], None)
    found = baselines("classification", (X, y, None), None, test, np.arange(3), None)
    assert found["majority"]["accuracy"] == (y[:30] == np.bincount(y).argmax()).mean()


@pytest.mark.parametrize("task", METRICS)
def test_tables_align(task):
    scores = {"one": dict.fromkeys(METRICS[task], 0.5), "another": dict.fromkeys(METRICS[task], 12345.678)}
    lines = table_of_scores(task, scores).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "12,346" in lines[2]
