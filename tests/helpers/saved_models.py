"""Fitted objects of every kind that can be saved, for the tests of files."""

import copy
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import make_moons

import fastnn
from fastnn.saving.container import read_container, write_container

X, y = make_moons(60, noise=0.2, random_state=0)
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
    "classifier of labels": lambda: classifier().fit(X, scipy.sparse.csr_matrix(LABELS)),
    "classifier of three": lambda: classifier(label_smoothing=0.1).fit(X, LABELS.sum(axis=1) * 10.0),
    "classifier, early": lambda: classifier(early_stopping=True, ema_decay=0.5, batch_norm=True).fit(X, y),
    "classifier, full batches": lambda: classifier(batch_size=60, solver="nesterov", shuffle=False).fit(X, y),
    "classifier, L-BFGS": lambda: classifier(solver="lbfgs").fit(X, y),
    "classifier of sparse": lambda: classifier().fit(scipy.sparse.csr_matrix(X * (X > 1.5)), y),
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

# The names as parameters of a test.
NAMED = [
    pytest.param(name, marks=pytest.mark.needs("pandas") if name == "classifier of a frame" else ())
    for name in MAKERS
]


def frame():
    import pandas as pd

    return pd.DataFrame(X, columns=["width", "height"])


def make(name):
    """Return a new object of a name in `MAKERS`, without warnings about short fits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MAKERS[name]()


def outputs(thing):
    """Return all predictions of an object."""
    samples = frame() if hasattr(thing, "feature_names_in_") else X
    names = ("predict", "predict_proba", "decision_function")
    results = []
    for name in names:
        if hasattr(thing, name):
            try:
                result = getattr(thing, name)(samples)
            except ValueError:  # a network for regression has no probabilities
                continue
            results.append(result.toarray() if scipy.sparse.issparse(result) else result)
    return results


def fit_more(thing, name):
    """Train a model for three further epochs, or an estimator by a warm start and a partial fit."""
    targets = {
        "model, regression": X[:, 0],
        "classifier of text": NAMES,
        "classifier of objects": NAMES.astype(object),
        "classifier of booleans": y > 0,
        "classifier of one class": np.full(60, 7),
        "classifier of labels": scipy.sparse.csr_matrix(LABELS),
        "classifier of three": LABELS.sum(axis=1) * 10.0,
        "classifier of a frame": NAMES,
        "regressor of two": X,
        "ensemble": NAMES,
        "ensemble of several": LABELS,
    }.get(
        name, X[:, 0] if "regressor" in name or "snapshots" in name or name == "ensemble, not fitted" else y
    )
    samples = X
    if name == "classifier of a frame":
        samples = frame()
    elif name == "classifier of sparse":
        samples = scipy.sparse.csr_matrix(X * (X > 1.5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(thing, fastnn.Model):
            thing.train(X, targets, num_passes=3, epsilon=1e-3, random_state=1, **ADAM)
            return
        if hasattr(thing, "warm_start"):
            thing.set_params(warm_start=True)
        thing.fit(samples, targets)
        if hasattr(thing, "partial_fit") and not thing.early_stopping:
            thing.partial_fit(samples, targets)


def assert_same_predictions(one, other):
    """Assert that all predictions of two objects have the same bits and dtypes."""
    for ours, theirs in zip(outputs(one), outputs(other), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert (ours == theirs).all()


def rewrite(source, target, change):
    """Write a file with a right checksum whose description and arrays are changed by a function."""
    contents = copy.deepcopy(read_container(source)[0])
    write_container(target, change(*contents) or contents)
