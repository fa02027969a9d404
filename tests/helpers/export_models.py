"""Small fitted models of every kind that exports treat differently, and the sizes of their errors."""

import functools
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris

import fastnn

X, labels = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
NAMES = np.array(["setosa", 'versicolor */ "?"', "virgin\u00edca"])
# Largest error of an export against the model's own predictions.
LIMITS = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-14}
SETTINGS = {"hidden_layer_sizes": (6, 5), "batch_norm": True, "max_iter": 20, "random_state": 0}
several = np.column_stack([labels > 0, labels == 1, labels > 1]).astype(int)


def _classifier(**options):
    return fastnn.MLPClassifier(**SETTINGS | options)


def _regressor(**options):
    return fastnn.MLPRegressor(**SETTINGS | options)


def _voters(method="seeds"):
    return fastnn.MLPEnsembleClassifier(_classifier(), n_estimators=3, method=method, random_state=0)


def _model(outputs, **options):
    return lambda dtype: fastnn.Model([4, 6, outputs], random_state=0, dtype=dtype, **options)


# By case: an estimator, or a function that returns a model of a dtype, and its targets.
CASES = {
    "classes": (_classifier(), labels),
    "text": (_classifier(), NAMES[labels]),
    "two classes of text": (_classifier(), NAMES[np.minimum(labels, 1)].astype(object)),
    "bool": (_classifier(), labels > 0),
    "float": (_classifier(), labels * 2.0),
    "uint8": (_classifier(), labels.astype(np.uint8)),
    "one class": (_classifier(), np.full(150, "the only")),
    "labels": (_classifier(), several),
    "ensemble": (_voters(), NAMES[labels]),
    "ensemble of two classes": (_voters("snapshots"), labels > 0),
    "average": (_voters("average"), labels),
    "ensemble of labels": (_voters(), several),
    "ensemble of one class": (_voters(), np.full(150, 7)),
    "number": (_regressor(), labels / 3),
    "numbers": (_regressor(), np.column_stack([labels / 3, X[:, 0]])),
    "poisson": (_regressor(loss="poisson"), labels),
    "ensemble of numbers": (fastnn.MLPEnsembleRegressor(_regressor(), 3, random_state=0), labels / 3),
    "model": (_model(3), labels),
    "model of two classes": (_model(2, output_activation="identity"), labels > 0),
    "model of labels": (_model(3, loss="sigmoid_binary_cross_entropy"), several),
    "model of numbers": (_model(1, loss="huber"), labels / 3),
    "model of rates": (_model(2, loss="poisson", batch_norm=True), several[:, :2]),
}


@functools.cache
def fitted(case, dtype=np.float64):
    make, y = CASES[case]
    samples = X.astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few epochs do not converge
        if not case.startswith("model"):
            return clone(make).fit(samples, y), samples
        model = make(dtype)
        model.train(samples, y, num_passes=50, epsilon=0.001)
    return model, samples


def get_kind(case):
    if "labels" in case:
        return "labels"
    return "numbers" if "number" in case or case in ("poisson", "model of rates") else "classes"


def outputs(model, X):
    """Return a model's probabilities, or the numbers that it predicts if it has none, (n, n_outputs)."""
    if isinstance(model, fastnn.Model):
        has_classes = type(model.loss).__name__.endswith("CrossEntropy")
    else:
        has_classes = hasattr(model, "classes_")
    return model.predict_proba(X) if has_classes else np.asarray(model.predict(X)).reshape(len(X), -1)


def error(computed, expected):
    """Return the largest error: absolute for expected values up to 1, relative for larger ones."""
    return (np.abs(computed - expected) / np.maximum(1, np.abs(expected))).max()


def network(activation, depth, dtype=np.float64):
    layers, names = [4, *[7] * (depth - 1), 3], {"activation": activation, "output_activation": activation}
    return fastnn.Model(layers, **names, dtype=dtype, random_state=depth)


def run_onnx(model, X):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"X": X})
