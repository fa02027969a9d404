"""Fits by fastnn's estimators and by scikit-learn's, for the benchmarks and the report.

A side is a module with `MLPClassifier`; everything else in a comparison is the same for both sides.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from functools import cache, partial
from types import ModuleType

import joblib
import numpy as np
import scipy.sparse
import sklearn.neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_blobs, make_circles, make_moons
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.preprocessing import StandardScaler, normalize
from workloads import WORKLOADS, load, workload_estimator

import fastnn
from fastnn.system.threads import count_cores

SIDES = {"fastnn": fastnn, "scikit-learn": sklearn.neural_network}
NETWORKS = 64
EPOCHS = 100


def quietly(action: Callable[[], object]) -> object:
    """Return the result of `action`, with warnings of fits that have not converged ignored."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return action()


@cache
def iris() -> tuple[np.ndarray, np.ndarray]:
    """Return the samples and classes of iris."""
    return load_iris(return_X_y=True)


def fit_iris(module: ModuleType, **options) -> object:
    """Fit iris with default parameters except `options`."""
    return quietly(lambda: module.MLPClassifier(random_state=0, **options).fit(*iris()))


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the samples and classes of the digits, in float64."""
    return load_digits(return_X_y=True)


def fit_digits(module: ModuleType) -> object:
    """Fit digits for 20 epochs with default parameters otherwise."""
    return quietly(lambda: module.MLPClassifier(max_iter=20, random_state=0).fit(*digits()))


# Small tables on which L-BFGS is compared.
LBFGS_TABLES: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "iris": iris,
    "moons": lambda: make_moons(200, noise=0.2, random_state=0),
    "circles": lambda: make_circles(200, noise=0.1, factor=0.5, random_state=0),
    "digits": digits,
}
LBFGS_WIDTHS = (10, 30, 100)


@cache
def load_standardised(table: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the standardised samples and the classes of one of `LBFGS_TABLES`."""
    X, y = LBFGS_TABLES[table]()
    return StandardScaler().fit_transform(X), y


def fit_by_lbfgs(module: ModuleType, table: str, width: int) -> object:
    """Fit a network with one hidden layer by L-BFGS, with default parameters otherwise."""
    estimator = module.MLPClassifier((width,), solver="lbfgs", random_state=0)
    return quietly(lambda: estimator.fit(*load_standardised(table)))


def held_out_accuracies(name: str, module: ModuleType, n_seeds: int = 10) -> np.ndarray:
    """Return the accuracies on held-out quarters of the data, one split and one network a seed."""
    workload = WORKLOADS[name]
    scores = []
    for seed in range(n_seeds):
        X, X_test, y, y_test = train_test_split(*workload.data(), random_state=seed)
        estimator = workload_estimator(workload, module, random_state=seed)
        scores.append(quietly(lambda: estimator.fit(X, y)).score(X_test, y_test))
    return np.array(scores)


@cache
def words() -> tuple[scipy.sparse.csr_matrix, np.ndarray]:
    """Return a CSR matrix of documents in float32, and their classes.

    There are 5,000 documents of 100 words out of 30,000, in 20 classes. Eight words of a document are drawn
    from the 50 words of its class.
    """
    random = np.random.default_rng(0)
    n_documents, n_words, length, n_class_words = 5000, 30_000, 100, 8
    frequencies = 1 / np.arange(1, n_words + 1) ** 0.9
    columns = random.choice(n_words, (n_documents, length), p=frequencies / frequencies.sum())
    y = random.integers(0, 20, n_documents)
    class_words = y[:, None] * 50 + random.integers(0, 50, (n_documents, n_class_words))
    columns[:, :n_class_words] = n_words - 1 - class_words
    starts = np.arange(0, columns.size + 1, length)
    X = scipy.sparse.csr_matrix(
        (np.ones(columns.size, np.float32), columns.ravel(), starts), (n_documents, n_words)
    )
    X.sum_duplicates()
    return normalize(X), y


def fit_words(module: ModuleType) -> object:
    """Fit the documents with default parameters for two epochs."""
    return quietly(lambda: module.MLPClassifier(max_iter=2, random_state=0).fit(*words()))


@cache
def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Return 300 samples of three classes in the plane, in float32."""
    X, y = make_blobs(300, 2, centers=3, random_state=0)
    return X.astype(np.float32), y


def networks(module: ModuleType, count: int = NETWORKS) -> list:
    """Return estimators of [2, 16, 16, 3], each with its own seed, for 100 epochs in batches of 32."""
    return [
        module.MLPClassifier(
            (16, 16),
            activation="tanh",
            batch_size=32,
            max_iter=EPOCHS,
            tol=0.0,
            n_iter_no_change=EPOCHS,
            random_state=seed,
        )
        for seed in range(count)
    ]


def fit_side_by_side(count: int = NETWORKS) -> list:
    """Fit all networks by `fit_many`."""
    return quietly(lambda: fastnn.fit_many(networks(fastnn, count), *blobs()))


def fit_one_by_one(module: ModuleType, count: int = NETWORKS) -> list:
    """Fit the networks one after the other."""
    return quietly(lambda: [network.fit(*blobs()) for network in networks(module, count)])


def row_fit(module: ModuleType, kind: str) -> Callable[[], object]:
    """Return a function that fits one more row, in float64, to an estimator with a hidden layer of 100."""
    X, y = load("rows")
    X = X.astype(np.float64)
    is_classifier = kind == "MLPClassifier"
    targets = y if is_classifier else X[:, 0].copy()
    samples = [(X[k : k + 1].copy(), targets[k : k + 1].copy()) for k in range(100)]
    estimator = getattr(module, kind)(random_state=0)
    estimator.partial_fit(*samples[0], **({"classes": np.unique(y)} if is_classifier else {}))
    turns = itertools.cycle(samples)
    return lambda: estimator.partial_fit(*next(turns))


def list_everyday_calls(module: ModuleType) -> dict[str, Callable[[], object]]:
    """Return short calls of one side on one thread, by what they are."""
    one = {"random_state": 0, **({"n_threads": 1} if module is fastnn else {})}
    stopping = {"early_stopping": True, "hidden_layer_sizes": (32, 16), "n_iter_no_change": 200, **one}
    random = np.random.default_rng(0)
    X = random.normal(size=(569, 30))
    y, targets, few = (X[:, 0] > 0).astype(int), X[:, :2].copy(), (X[:20], (X[:20, 0] > 0).astype(int))
    learner = module.MLPRegressor(hidden_layer_sizes=(10, 10))
    classifier, regressor = module.MLPClassifier, module.MLPRegressor
    short = classifier(max_iter=1, **one)
    calls = {
        "`early_stopping=True`: classifier (32, 16), 569 rows, 200 epochs": lambda: classifier(
            **stopping
        ).fit(X, y),
        "the same, regressor, 442 rows": lambda: regressor(**stopping).fit(X[:442], targets[:442, 0]),
        "`MLPClassifier()`, 569 rows, 40 epochs": lambda: classifier(max_iter=40, **one).fit(X, y),
        "`MLPRegressor()`, 442 rows, 40 epochs": lambda: regressor(max_iter=40, **one).fit(
            X[:442], targets[:442, 0]
        ),
        "`MLPClassifier()`, 20 rows, one epoch": lambda: short.fit(*few),
        "the same by `cross_val_score` in 3 folds": lambda: cross_val_score(short, *few, cv=3),
        "`clone`": lambda: clone(short),
    }
    calls = {what: partial(quietly, call) for what, call in calls.items()}
    for n in (1, 2, 32, 64):
        calls[f"`partial_fit`, regressor (10, 10), 2 outputs, rows: {n}"] = partial(
            learner.partial_fit, X[:n].copy(), targets[:n].copy()
        )
    turns = itertools.cycle([(X[:n].copy(), targets[:n].copy()) for n in (1, 50, 8, 64, 20)])
    calls["the same, rows: 1, 50, 8, 64, 20 in turn"] = lambda: learner.partial_fit(*next(turns))
    return calls


GRID = {
    "hidden_layer_sizes": [(32,), (64,), (32, 32)],
    "alpha": [1e-4, 1e-2],
    "learning_rate_init": [1e-3, 3e-3],
    "activation": ["relu", "tanh"],
}


def search(module: ModuleType, batch_size: int | str = 32, n_jobs: int = 0) -> GridSearchCV:
    """Search 24 candidates in 5 folds of the digits, in float32: on threads for fastnn, else on processes."""
    X, y = WORKLOADS["digits"].data()
    estimator = module.MLPClassifier(batch_size=batch_size, max_iter=50, random_state=0)
    backend = "threading" if module is fastnn else "loky"

    def run() -> GridSearchCV:
        with joblib.parallel_config(backend=backend, n_jobs=n_jobs or count_cores()):
            return GridSearchCV(estimator, GRID, cv=5).fit(X, y)

    return quietly(run)
