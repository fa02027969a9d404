"""Fitted objects of every kind that can be saved, for the tests of files."""

import contextlib
import copy
import functools
import importlib
import warnings

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


def trained(model, targets, **options):
    """Return a model after a training, whose arguments are its attribute `arguments`."""
    options = {"num_passes": 4, "epsilon": 1e-3, "random_state": 0} | options
    model.train(X, targets, **options)
    model.arguments = targets, options
    return model


ADAM = {"optimizer": "adam", "batch_size": 16, "reduction": "mean"}
MAKERS = {
    "model": lambda: trained(model(), y),
    "model, never trained": lambda: model(),
    "model, everything": lambda: trained(
        model(batch_norm=True, dropout=0.1, dtype=np.float32),
        y,
        ema_decay=0.9,
        schedule="cosine_decay",
        **ADAM,
    ),
    "model, stopped early": lambda: trained(
        model(batch_norm=True),
        y,
        validation_data=(X, y),
        callbacks=[fastnn.EarlyStopping(1)],
        epsilon=0.5,
        num_passes=30,
    ),
    "model, regression": lambda: trained(
        model(1, loss=fastnn.Quantile(0.3), output_activation="identity"),
        X[:, 0],
        schedule=fastnn.WarmUp(fastnn.StepDecay(2)),
        optimizer=fastnn.RMSprop(0.9, momentum=0.5),
    ),
    "model, numpy": lambda: trained(model(backend="numpy"), y, **ADAM),
    "model, L-BFGS": lambda: trained(model(), y, optimizer="lbfgs"),
    "model, Adagrad": lambda: trained(model(), y, optimizer=fastnn.Adagrad(initial_accumulator_value=0.1)),
    "classifier": lambda: classifier().fit(X, y),
    "classifier, not fitted": lambda: classifier(random_state=np.random.RandomState(3)),
    "classifier of text": lambda: classifier(
        solver="sgd", learning_rate="adaptive", random_state=np.random.RandomState(0)
    ).fit(X.astype(np.float32), NAMES),
    "classifier of objects": lambda: classifier(class_weight={"no": 1, "yes": 3}).fit(
        X, NAMES.astype(object)
    ),
    "classifier of booleans": lambda: classifier(ema_decay=0.9, batch_norm=True, dropout=[0.1, 0, 0.2]).fit(
        X, y > 0
    ),
    "classifier of one class": lambda: classifier().fit(X, np.full(60, 7)),
    "classifier of labels": lambda: classifier().fit(X, sparse.csr_matrix(LABELS)),
    "classifier of three": lambda: classifier(label_smoothing=0.1).fit(X, LABELS.sum(axis=1) * 10.0),
    "classifier, early": lambda: classifier(early_stopping=True, ema_decay=0.5, batch_norm=True).fit(X, y),
    "classifier, full batches": lambda: classifier(batch_size=60, solver="nesterov", shuffle=False).fit(X, y),
    "classifier, L-BFGS": lambda: classifier(solver="lbfgs").fit(X, y),
    "classifier of sparse": lambda: classifier().fit(sparse.csr_matrix(X * (X > 1.5)), y),
    "classifier, schedule": lambda: classifier(
        learning_rate=fastnn.CosineDecay(cycle=0.5, restarts=True), solver=fastnn.AdamW(weight_decay=0.1)
    ).fit(X, y),
    "classifier of a frame": lambda: classifier(n_iter_no_change=np.inf).fit(frame(), NAMES),
    "regressor": lambda: regressor().fit(X, X[:, 0]),
    "regressor of two": lambda: regressor("huber", activation="gelu", solver="rmsprop").fit(X, X),
    "regressor, inverse scaling": lambda: regressor(solver="sgd", learning_rate="invscaling").fit(X, X[:, 0]),
    "ensemble": lambda: fastnn.MLPEnsembleClassifier(classifier(), 2, random_state=0).fit(X, NAMES),
    "ensemble of several": lambda: fastnn.MLPEnsembleClassifier(
        [classifier(), classifier(activation="tanh")],
        3,
        random_state=np.random.RandomState(1),
        method="bootstrap",
    ).fit(X, LABELS),
    "ensemble of snapshots": lambda: fastnn.MLPEnsembleRegressor(
        regressor(max_iter=6), 2, method="snapshots", random_state=0
    ).fit(X, X[:, 0]),
    "ensemble, not fitted": lambda: fastnn.MLPEnsembleRegressor(regressor(), 2, random_state=0),
}


def frame():
    return importlib.import_module("pandas").DataFrame(X, columns=["width", "height"])


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


def of_table(kind, targets, *arguments, **options):
    """Return an estimator of tables, fitted for a few epochs."""
    options = {"random_state": 0} | options
    return getattr(fastnn, kind)(*arguments, "fast", **options).fit(table(), targets, passes=3)


C, R = "TabularClassifier", "TabularRegressor"
TABLES = {
    "scaler": lambda: fastnn.SmoothRobustScaler(2.5).fit(X.astype(np.float32)),
    "piecewise": lambda: fastnn.PiecewiseLinearEncoder(5).fit(table()[["number", "gap or one"]]),
    "dates": lambda: fastnn.DateEncoder().fit(table()[["day"]]),
    "encoder": lambda: fastnn.TableEncoder(random_state=0).fit(table(), CLASSES),
    "encoder of numbers": lambda: fastnn.TableEncoder("smooth", text="hash", n_hashes=7).fit(table(), SCORE),
    "encoder without target": lambda: fastnn.TableEncoder(random_state=np.random.RandomState(0)).fit(table()),
    "encoder with output": lambda: fastnn.TableEncoder().set_output(transform="pandas").fit(table()),
    "encoder of an array": lambda: fastnn.TableEncoder().fit(X),
    "encoder, not fitted": lambda: fastnn.TableEncoder(n_bins=3),
    "tabular classifier": lambda: of_table(C, CLASSES, 2),
    "tabular, three": lambda: of_table(C, ROWS % 3, 2, scoring="accuracy", class_weight={0: 2.0}),
    "tabular, booleans": lambda: of_table(C, SCORE > 0, 1),
    "tabular regressor": lambda: of_table(R, SCORE, 2),
    "tabular, quantiles": lambda: of_table(
        R, SCORE, 1, quantiles=(0.1, 0.9), random_state=np.random.RandomState(1)
    ),
    "tabular, array": lambda: fastnn.TabularClassifier(1, "fast", random_state=0).fit(X, y, passes=3),
}
MAKERS |= TABLES
WITH_PANDAS = ("classifier of a frame", *TABLES)

# The names as parameters of a test.
NAMED = [
    pytest.param(name, marks=pytest.mark.needs("pandas") if name in WITH_PANDAS else ()) for name in MAKERS
]


def make(name):
    """Return a new object of a name in `MAKERS`, without warnings about short fits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MAKERS[name]()


def make_samples(thing, *, new=True):
    """Return samples for an object; rows of a table have new categories and missing values where `new`."""
    if (names := getattr(thing, "feature_names_in_", None)) is None:
        return X
    if "width" in names:
        return frame()
    few = table()["few"].where(ROWS % 3 > 0, "new")
    return (table().assign(few=few, number=np.nan) if new else table())[list(names)]


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
    targets = {
        "model, regression": X[:, 0],
        "classifier of text": NAMES,
        "classifier of objects": NAMES.astype(object),
        "classifier of booleans": y > 0,
        "classifier of one class": np.full(60, 7),
        "classifier of labels": sparse and sparse.csr_matrix(LABELS),
        "classifier of three": LABELS.sum(axis=1) * 10.0,
        "classifier of a frame": NAMES,
        "regressor of two": X,
        "ensemble": NAMES,
        "ensemble of several": LABELS,
    }.get(
        name, X[:, 0] if "regressor" in name or "snapshots" in name or name == "ensemble, not fitted" else y
    )
    samples = make_samples(thing, new=False)
    if name == "classifier of sparse":
        samples = sparse.csr_matrix(X * (X > 1.5))
    elif len(samples) == N:
        targets = np.resize(thing.classes_, N) if hasattr(thing, "classes_") else SCORE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(thing, fastnn.Model):
            thing.train(X, targets, num_passes=3, epsilon=1e-3, random_state=1, **ADAM)
            return
        if hasattr(thing, "warm_start"):
            thing.set_params(warm_start=True)
        thing.fit(samples, targets, **({"passes": 3} if hasattr(thing, "feature_importances") else {}))
        if hasattr(thing, "partial_fit") and not thing.early_stopping:
            thing.partial_fit(samples, targets)


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
