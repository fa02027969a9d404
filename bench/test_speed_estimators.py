"""Benchmarks of the estimators beside scikit-learn's, and of many networks at once."""

import estimators
import numpy as np
import pytest
from workloads import WORKLOADS, estimator_run

import fastnn

sides = pytest.mark.parametrize("side", estimators.SIDES)


@sides
@pytest.mark.parametrize("name", ["digits", "table", "mnist shape"])
def test_fit(benchmark, name, side):
    """Benchmark fits of the workloads' classifiers."""
    benchmark.group = f"fit: {name}"
    run = estimator_run(WORKLOADS[name], estimators.SIDES[side])
    score = benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    benchmark.extra_info.update(score=score())


@sides
@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_partial_fit(benchmark, kind, side):
    """Benchmark partial fits of one row."""
    benchmark.group = f"{kind}.partial_fit: one row"
    benchmark(estimators.row_fit(estimators.SIDES[side], kind))


@sides
def test_words(benchmark, side):
    """Benchmark fits to a sparse table of documents."""
    benchmark.group = "fit: 5,000 documents"
    module = estimators.SIDES[side]
    fitted = benchmark.pedantic(estimators.fit_words, (module,), rounds=3, warmup_rounds=1)
    benchmark.extra_info.update(score=fitted.score(*estimators.words()))


@sides
@pytest.mark.parametrize("max_iter", [200, 1])
def test_iris(benchmark, side, max_iter):
    """Benchmark fits of iris with defaults; a fit of one epoch is nearly all overhead."""
    benchmark.group = f"fit: iris, {max_iter} epochs at most"
    module = estimators.SIDES[side]
    benchmark.pedantic(estimators.fit_iris, (module,), {"max_iter": max_iter}, rounds=10, warmup_rounds=1)


@sides
@pytest.mark.parametrize("width", [10, 100])
@pytest.mark.parametrize("table", estimators.LBFGS_TABLES)
def test_lbfgs(benchmark, table, width, side):
    """Benchmark fits of small tables by L-BFGS."""
    benchmark.group = f"fit by lbfgs: {table}, hidden layer of {width}"
    arguments = estimators.SIDES[side], table, width
    fitted = benchmark.pedantic(estimators.fit_by_lbfgs, arguments, rounds=5, warmup_rounds=1)
    benchmark.extra_info.update(iterations=fitted.n_iter_, loss=fitted.loss_)


@pytest.mark.parametrize("how", ["fit_many", "one by one", "scikit-learn"])
def test_many(benchmark, how):
    """Benchmark the fits of many networks together and one by one."""
    benchmark.group = "networks [2, 16, 16, 3] at once"
    run = {
        "fit_many": estimators.fit_side_by_side,
        "one by one": lambda: estimators.fit_one_by_one(fastnn),
        "scikit-learn": lambda: estimators.fit_one_by_one(estimators.SIDES["scikit-learn"], 2),
    }[how]
    benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    benchmark.extra_info.update(networks=2 if how == "scikit-learn" else estimators.NETWORKS)


@sides
def test_search(benchmark, side):
    """Benchmark a grid search."""
    benchmark.group = "GridSearchCV on digits"
    benchmark.pedantic(estimators.search, (estimators.SIDES[side],), rounds=1)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize("side", [*estimators.SIDES, "predictor"])
def test_row(benchmark, side, method):
    """Benchmark the prediction of one row by estimators and by a predictor."""
    benchmark.group = f"{method} of one row"
    module = estimators.SIDES.get(side, fastnn)
    estimator = estimators.fit_iris(module)
    row = np.array([[5.1, 3.5, 1.4, 0.2]])
    benchmark(estimator.predictor(method=method) if side == "predictor" else getattr(estimator, method), row)
