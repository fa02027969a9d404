"""Fitted objects of every kind that can be saved, for the tests of files."""

import contextlib
import copy
import functools
import importlib
import re
import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest
from extras import optional

import fastnn
from fastnn.play.datasets import moons
from fastnn.saving.container import read_container, write_container

sparse = optional("scipy.sparse")
X, y = moons(60, 0.2, 0)
NAMES = np.array(["no", "yes"])[y]
LABELS = np.column_stack([y == 0, y > 0, X[:, 0] > 0]).astype(int)
SHORT = {"max_iter": 4, "tol": 0, "n_iter_no_change": 100, "batch_size": 16, "random_state": 0}


def model(outputs=2, **options):
    return fastnn.Model([2, 5, 4, outputs], **{"random_state": 0, "activation": ["tanh", "relu"]} | options)


def classifier(**options):
    return fastnn.MLPClassifier((5, 4), **SHORT | options)


def regressor(loss="squared_error", **options):
    return fastnn.MLPRegressor(loss, (5,), **SHORT | options)


TRAINING = {"num_passes": 4, "epsilon": 1e-3, "random_state": 0}
ADAM = {"optimizer": "adam", "batch_size": 16, "reduction": "mean"}


def trained(model, targets, **options):
    """Return a model after a short training."""
    model.train(X, targets, **TRAINING | options)
    return model


NO_OPTIONS: dict[str, Any] = {}


class Case(NamedTuple):
    """A new object, and what it is fitted to by which options; None for an object to be saved as it is."""

    thing: Any
    X: Any = X
    y: Any = y
    options: dict[str, Any] | None = NO_OPTIONS


def to_train(model, y=y, **options):
    return Case(model, y=y, options=TRAINING | options)


def frame():
    return importlib.import_module("pandas").DataFrame(X, columns=["width", "height"])


CASES = {
    "model": lambda: to_train(model()),
    "model, never trained": lambda: Case(model(), options=None),
    "model, everything": lambda: to_train(
        model(batch_norm=True, dropout=0.1, dtype=np.float32), ema_decay=0.9, schedule="cosine_decay", **ADAM
    ),
    "model, stopped early": lambda: to_train(
        model(batch_norm=True),
        validation_data=(X, y),
        callbacks=[fastnn.EarlyStopping(1)],
        epsilon=0.5,
        num_passes=30,
    ),
    "model, regression": lambda: to_train(
        model(1, loss=fastnn.Quantile(0.3), output_activation="identity"),
        X[:, 0],
        schedule=fastnn.WarmUp(fastnn.StepDecay(2)),
        optimizer=fastnn.RMSprop(0.9, momentum=0.5),
    ),
    "model, numpy": lambda: to_train(model(backend="numpy"), **ADAM),
    "model, L-BFGS": lambda: to_train(model(), optimizer="lbfgs"),
    "model, Levenberg": lambda: to_train(model(1, loss="squared_error"), optimizer="levenberg_marquardt"),
    "model, Adagrad": lambda: to_train(model(), optimizer=fastnn.Adagrad(initial_accumulator_value=0.1)),
    "classifier": lambda: Case(classifier()),
    "classifier, not fitted": lambda: Case(classifier(random_state=np.random.RandomState(3)), options=None),
    "classifier of text": lambda: Case(
        classifier(solver="sgd", learning_rate="adaptive", random_state=np.random.RandomState(0)),
        X.astype(np.float32),
        NAMES,
    ),
    "classifier of objects": lambda: Case(classifier(class_weight={"no": 1, "yes": 3}), y=NAMES.astype("O")),
    "classifier of booleans": lambda: Case(
        classifier(ema_decay=0.9, batch_norm=True, dropout=[0.1, 0, 0.2]), y=y > 0
    ),
    "classifier of one class": lambda: Case(classifier(), y=np.full(60, 7)),
    "classifier of labels": lambda: Case(classifier(), y=sparse.csr_matrix(LABELS)),
    "classifier of three": lambda: Case(classifier(label_smoothing=0.1), y=LABELS.sum(axis=1) * 10.0),
    "classifier, early": lambda: Case(classifier(early_stopping=True, ema_decay=0.5, batch_norm=True)),
    "classifier, full batches": lambda: Case(classifier(batch_size=60, solver="nesterov", shuffle=False)),
    "classifier, L-BFGS": lambda: Case(classifier(solver="lbfgs")),
    "classifier of sparse": lambda: Case(classifier(), sparse.csr_matrix(X * (X > 1.5))),
    "classifier, schedule": lambda: Case(
        classifier(
            learning_rate=fastnn.CosineDecay(cycle=0.5, restarts=True), solver=fastnn.AdamW(weight_decay=0.1)
        )
    ),
    "classifier of a frame": lambda: Case(classifier(n_iter_no_change=np.inf), frame(), NAMES),
    "regressor": lambda: Case(regressor(), y=X[:, 0]),
    "regressor of two": lambda: Case(regressor("huber", activation="gelu", solver="rmsprop"), y=X),
    "regressor, invscaling": lambda: Case(regressor(solver="sgd", learning_rate="invscaling"), y=X[:, 0]),
    "ensemble": lambda: Case(fastnn.MLPEnsembleClassifier(classifier(), 2, random_state=0), y=NAMES),
    "ensemble of several": lambda: Case(
        fastnn.MLPEnsembleClassifier(
            [classifier(), classifier(activation="tanh")],
            3,
            random_state=np.random.RandomState(1),
            method="bootstrap",
        ),
        y=LABELS,
    ),
    "ensemble of snapshots": lambda: Case(
        fastnn.MLPEnsembleRegressor(regressor(max_iter=6), 2, method="snapshots", random_state=0), y=X[:, 0]
    ),
    "ensemble, not fitted": lambda: Case(
        fastnn.MLPEnsembleRegressor(regressor(), 2, random_state=0), y=X[:, 0], options=None
    ),
}

N = 200
ROWS = np.arange(N)
NUMBERS = np.random.RandomState(0).normal(size=(N, 2))
SCORE = NUMBERS.sum(axis=1)
CLASSES = np.where(SCORE > 0, "high", "low")


@functools.cache
def table():
    """Return a table with columns of every kind."""
    pd = importlib.import_module("pandas")
    return pd.DataFrame(
        {
            "number": np.where(ROWS % 9 == 0, np.nan, NUMBERS[:, 0]),
            "count": ROWS % 7,
            "gap or one": np.where(ROWS % 5 == 0, np.nan, 1.0),
            "flag": ROWS % 2 == 0,
            "two": np.array(["y", "n"])[ROWS % 2],
            "few": pd.Series(["red", "green", None, "blue", "ünïcode"] * (N // 5)),
            "many": [f"city {k % 50}" for k in range(N)],
            "words": [f"a text of {k} words and {k * k} letters" for k in range(N)],
            "day": (pd.Timestamp("2024-01-01") + pd.to_timedelta(ROWS * 7, "h")).where(ROWS != 3),
            "same": 1,
            "key": [f"k{k}" for k in range(N)],
        }
    )


def of_table(estimator, n_estimators, targets, **options):
    """Return the case of an estimator of tables, fitted for a few epochs."""
    thing = estimator(n_estimators, "fast", **{"random_state": 0} | options)
    return Case(thing, table(), targets, {"passes": 3})


CLASSIFIER, REGRESSOR = fastnn.TabularClassifier, fastnn.TabularRegressor
ENCODER = fastnn.TableEncoder
TABLES = {
    "scaler": lambda: Case(fastnn.SmoothRobustScaler(2.5), X.astype(np.float32)),
    "piecewise": lambda: Case(fastnn.PiecewiseLinearEncoder(5), table()[["number", "gap or one"]], None),
    "dates": lambda: Case(fastnn.DateEncoder(), table()[["day"]], None),
    "encoder": lambda: Case(ENCODER(random_state=0), table(), CLASSES),
    "encoder of numbers": lambda: Case(ENCODER("smooth", text="hash", n_hashes=7), table(), SCORE),
    "encoder without target": lambda: Case(ENCODER(random_state=np.random.RandomState(0)), table(), None),
    "encoder with output": lambda: Case(ENCODER().set_output(transform="pandas"), table(), None),
    "encoder of an array": lambda: Case(ENCODER(), y=None),
    "encoder, not fitted": lambda: Case(ENCODER(n_bins=3), options=None),
    "tabular classifier": lambda: of_table(CLASSIFIER, 2, CLASSES),
    "tabular, three": lambda: of_table(CLASSIFIER, 2, ROWS % 3, scoring="accuracy", class_weight={0: 2.0}),
    "tabular, booleans": lambda: of_table(CLASSIFIER, 1, SCORE > 0),
    "tabular regressor": lambda: of_table(REGRESSOR, 2, SCORE),
    "tabular, quantiles": lambda: of_table(
        REGRESSOR, 1, SCORE, quantiles=(0.1, 0.9), random_state=np.random.RandomState(1)
    ),
    "tabular, array": lambda: Case(CLASSIFIER(1, "fast", random_state=0), options={"passes": 3}),
}
CASES |= TABLES
WITH_PANDAS = ("classifier of a frame", *TABLES)

# The names as parameters of a test.
NAMED = [pytest.param(one, marks=pytest.mark.needs("pandas") if one in WITH_PANDAS else ()) for one in CASES]


def fit(thing, X, y, **options):
    """Fit an object without warnings about short fits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (thing.train if isinstance(thing, fastnn.Model) else thing.fit)(X, y, **options)


def make(name):
    """Return the object of a case, fitted unless the case is of a new one."""
    thing, X, y, options = CASES[name]()
    if options is not None:
        fit(thing, X, y, **options)
    return thing


def make_samples(thing):
    """Return samples for an object; rows of a table have new categories and missing values."""
    if (names := getattr(thing, "feature_names_in_", None)) is None:
        return X
    if "width" in names:
        return frame()
    few = table()["few"].where(ROWS % 3 > 0, "new")
    return table().assign(few=few, number=np.nan)[list(names)]


def outputs(thing):
    """Return all predictions of an object."""
    samples, results = make_samples(thing), []
    for name in ("predict", "predict_proba", "decision_function", "transform"):
        with contextlib.suppress(AttributeError, ValueError):  # a network for regression has no probabilities
            results.append(getattr(thing, name)(samples))
    if getattr(thing, "quantiles", None):
        results.append(thing.predict(samples, quantiles=True))
    return [result.toarray() if sparse and sparse.issparse(result) else result for result in results]


def fit_more(thing, name):
    """Train a model for three further epochs, or fit an object further, by a warm start and a partial fit."""
    _, X, y, options = CASES[name]()
    if isinstance(thing, fastnn.Model):
        fit(thing, X, y, num_passes=3, epsilon=1e-3, random_state=1, **ADAM)
        return
    if hasattr(thing, "warm_start"):
        thing.set_params(warm_start=True)
    fit(thing, X, y, **options or {})
    if hasattr(thing, "partial_fit") and not thing.early_stopping:
        thing.partial_fit(X, y)


def assert_same_predictions(one, other):
    """Assert that all predictions of two objects have the same types, dtypes and bits."""
    for ours, theirs in zip(outputs(one), outputs(other), strict=True):
        assert type(ours) is type(theirs)
        ours, theirs = np.asarray(ours), np.asarray(theirs)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(ours, theirs)


def rewrite(source, target, change):
    """Write a file with a right checksum whose description and arrays are changed by a function."""
    contents = copy.deepcopy(read_container(source)[0])
    write_container(target, change(*contents) or contents)


def set_entry(*path, value):
    """Return a change that sets an entry of the description, whose arrays go; the value ... deletes it."""

    def change(description, arrays):
        *outer, key = path
        for name in outer:
            description = description[name]
        for name in re.findall("'\\$array': '(.*?)'", repr(description[key])):
            del arrays[name]
        description[key] = value
        if value is ...:
            del description[key]

    return change
