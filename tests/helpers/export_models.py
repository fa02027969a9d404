"""Small fitted models of every kind that exports treat differently, and the sizes of their errors."""

import functools
import warnings

import numpy as np
from sklearn.datasets import load_iris

import fastnn

X, labels = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
NAMES = np.array(["setosa", 'versicolor */ "?"', "virgin\u00edca"])
# Largest error of an export against the model's own predictions.
LIMITS = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-14}
SETTINGS = {"hidden_layer_sizes": (6, 5), "batch_norm": True, "max_iter": 20, "random_state": 0}
several = np.column_stack([labels > 0, labels == 1, labels > 1]).astype(int)


def _ensemble(kind, member, method="seeds"):
    return kind(member, n_estimators=3, method=method, random_state=0)


def _classifier(**options):
    return fastnn.MLPClassifier(**SETTINGS | options)


def _regressor(**options):
    return fastnn.MLPRegressor(**SETTINGS | options)


def _model(outputs, **options):
    return fastnn.Model([4, 6, outputs], random_state=0, **options)


# By case: a function that returns an unfitted model and its targets.
CASES = {
    "classes": lambda: (_classifier(), labels),
    "text": lambda: (_classifier(), NAMES[labels]),
    "two classes of text": lambda: (_classifier(), NAMES[np.minimum(labels, 1)].astype(object)),
    "bool": lambda: (_classifier(), labels > 0),
    "float": lambda: (_classifier(), labels * 2.0),
    "uint8": lambda: (_classifier(), labels.astype(np.uint8)),
    "one class": lambda: (_classifier(), np.full(150, "the only")),
    "labels": lambda: (_classifier(), several),
    "ensemble": lambda: (_ensemble(fastnn.MLPEnsembleClassifier, _classifier()), NAMES[labels]),
    "ensemble of two classes": lambda: (
        _ensemble(fastnn.MLPEnsembleClassifier, _classifier(), "snapshots"), labels > 0
    ),
    "average": lambda: (_ensemble(fastnn.MLPEnsembleClassifier, _classifier(), "average"), labels),
    "ensemble of labels": lambda: (_ensemble(fastnn.MLPEnsembleClassifier, _classifier()), several),
    "ensemble of one class": lambda: (
        _ensemble(fastnn.MLPEnsembleClassifier, _classifier()), np.full(150, 7)
    ),
    "number": lambda: (_regressor(), labels / 3),
    "numbers": lambda: (_regressor(), np.column_stack([labels / 3, X[:, 0]])),
    "poisson": lambda: (_regressor(loss="poisson"), labels),
    "ensemble of numbers": lambda: (_ensemble(fastnn.MLPEnsembleRegressor, _regressor()), labels / 3),
    "model": lambda: (_model(3), labels),
    "model of two classes": lambda: (_model(2, output_activation="identity"), labels > 0),
    "model of labels": lambda: (_model(3, loss="sigmoid_binary_cross_entropy"), several),
    "model of numbers": lambda: (_model(1, loss="huber"), labels / 3),
    "model of rates": lambda: (_model(2, loss="poisson", batch_norm=True), several[:, :2]),
}  # fmt: skip


@functools.cache
def fitted(case, dtype=np.float64):
    """Return a fitted model, and samples of its dtype."""
    model, y = CASES[case]()
    samples = X.astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few epochs do not converge
        if isinstance(model, fastnn.Model):
            if dtype == np.float32:
                model = type(model)(
                    model.layers_dim, loss=model.loss, dtype=dtype, random_state=0,
                    batch_norm=bool(model.batch_norm),
                    output_activation=model._network.activations[-1],
                )  # fmt: skip
            model.train(samples, y, num_passes=50, epsilon=0.001)
        else:
            model.fit(samples, y)
    return model, samples


def outputs(model, X):
    """Return a model's probabilities, or the numbers that it predicts if it has none, (n, n_outputs)."""
    if model._description().kind == "numbers":
        return np.asarray(model.predict(X)).reshape(len(X), -1)
    return model.predict_proba(X)


def error(computed, expected):
    """Return the largest error: absolute for expected values up to 1, relative for larger ones."""
    return (np.abs(computed - expected) / np.maximum(1, np.abs(expected))).max()


def network(activation, depth, dtype=np.float64, n_outputs=3):
    """Return a model of `depth` layers, all of which have the same activation."""
    layers = [4, *[7] * (depth - 1), n_outputs]
    return fastnn.Model(
        layers, activation=activation, output_activation=activation, dtype=dtype, random_state=depth
    )
