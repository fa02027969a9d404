"""Small uses of fastnn, as users make them, that together call every kernel that Python calls."""

from functools import partial
from itertools import product

import numpy as np
from trainings import STEP_OPTIONS

import fastnn
from fastnn.boundary.committee import Committee
from fastnn.boundary.painters import NetworkPainter
from fastnn.boundary.subjects import Section, Subject
from fastnn.engine.arrays import pack_network_weights
from fastnn.losses import LOSSES
from fastnn.network.description import Network
from fastnn.optimizers import STEPPING
from fastnn.reference.grid import RESPONSES
from fastnn.reference.layer import ACTIVATIONS

DTYPES = ("float64", "float32")
N_SAMPLES = 210  # more than in the estimators' default minibatch of 200
# Layers wide enough for threads to share the units in a step.
WIDE = (300, 200, 3)
LABELS = np.arange(N_SAMPLES) % 3


def make_network_painter(committee, method):
    section, classes = Section((0, 1), np.zeros(2), None), np.arange(committee.n_classes)
    subject = Subject(section, classes, None, committee=committee)
    return NetworkPainter(subject, "class", 0, "" if method == "certified" else method)


def samples(dtype, n_features=2):
    return np.random.default_rng(0).standard_normal((N_SAMPLES, n_features)).astype(dtype)


def train(dtype, sizes=(2, 3, 3), batch_size=100, **settings):
    """Train for one epoch, with settings of `Model` and of `Model.train`; predict, and compute the loss."""
    names = {"activation", "loss", "dropout", "batch_norm"} & {*settings}
    model = fastnn.Model(sizes, dtype=dtype, random_state=0, **{name: settings.pop(name) for name in names})
    X, y = samples(dtype, sizes[0]), LABELS if model.loss.of_labels else np.eye(3)[LABELS]
    if model.loss.only_bounds:
        y = 2 * y - 1
    model.train(X, y, 1, epsilon=1e-6, batch_size=batch_size, random_state=0, **settings)
    model.predict(X)
    if model.loss.output in ("softmax", "sigmoid"):
        model.predict_proba(X)
    model.calculate_loss(X, y)


def fit(dtype, sparse=False, **settings):
    """Fit and run classifiers of three and of two classes, and a regressor."""
    X = samples(dtype)
    if sparse:
        import scipy.sparse

        X = scipy.sparse.random_array((N_SAMPLES, 40), density=0.05, format="csr", dtype=dtype, rng=0)
    kinds = fastnn.MLPClassifier, fastnn.MLPClassifier, fastnn.MLPRegressor
    for kind, y in zip(kinds, (LABELS, LABELS > 0, LABELS), strict=True):
        estimator = kind(**{"hidden_layer_sizes": (3,), "max_iter": 1, "random_state": 0, **settings})
        estimator.fit(X, y, X_val=X, y_val=y).predict(X)
        if kind is fastnn.MLPClassifier:
            estimator.predict_proba(X)


def check_gradients(dtype):
    fastnn.Model([2, 3, 3], dtype=dtype, random_state=0).check_gradients(samples(dtype), LABELS)


def pack_weights(dtype):
    """Pack weights of more bytes than `fastnn_kernels.vectors.packing.PACKED_BYTES`, as predictions do."""
    model = fastnn.Model((2, 600, 600, 3), dtype=dtype, random_state=0)
    pack_network_weights(model._network.layout.plan, model._parameters)


def encode(dtype):
    """Encode a table of numbers, in float64 to float32 whatever the dtype of the networks."""
    fastnn.TableEncoder().fit_transform(samples(dtype))


def paint(dtype, activation="tanh", **settings):
    model = fastnn.Model([2, 3, 2], activation=activation, dtype=dtype, random_state=0)
    fastnn.render_boundary(model, (-1, 1), (-1, 1), 16, n_threads=1, **settings)


def paint_ensemble(dtype, method):
    network = Network.create([2, 3, 3], "tanh", "identity", dtype)
    member = network, network.draw_parameters(np.random.RandomState(0), "tutorial")
    painter = make_network_painter(Committee([member] * 2, True), method)
    # Squares of a single class are not evaluated: the region must be wide enough to contain a boundary.
    xs = np.linspace(-4, 4, 32)
    painter.paint(xs, xs, np.empty((32, 32), painter.dtype), lambda: False)


TRAININGS = {
    "minibatches": {},
    "minibatches of few samples": {"batch_size": 4},
    "whole batches": {"batch_size": None},
    "options of a step": STEP_OPTIONS,
    "dropout": {"dropout": 0.1},
    "dropout, whole batches": {"dropout": 0.1, "batch_size": None},
    "batch normalisation": {"batch_norm": True},
    "batch normalisation and dropout": {"batch_norm": True, "dropout": 0.1},
}
PENALTIES = {"plain": {}, "no penalty": {"reg_lambda": 0.0}, "l1": {"l1": 0.1}}
SOLVERS = {"adam": {}, "adam, no penalty": {"alpha": 0.0}, "lbfgs": {"solver": "lbfgs"}}


def uses():
    for name, settings in TRAININGS.items():
        yield name, partial(train, **settings)
        yield f"{name}, shared", partial(train, sizes=WIDE, **settings)
    yield "optimizer lbfgs", partial(train, optimizer="lbfgs", batch_size=None)
    for name, penalty in product(sorted(STEPPING), PENALTIES):
        yield f"optimizer {name}, {penalty}", partial(train, optimizer=name, **PENALTIES[penalty])
    for name in LOSSES:
        yield f"loss {name}", partial(train, loss=name)
    for name in ACTIVATIONS:
        yield f"activation {name}", partial(train, activation=name)
        yield f"picture by squares, {name}", partial(paint, activation=name, method="certified")
    for name in RESPONSES:
        yield f"picture of {name}", partial(paint, response=name)
    yield "picture", partial(paint, method="dense")
    for method in ("dense", "certified"):
        yield f"picture of an ensemble, {method}", partial(paint_ensemble, method=method)
    for sparse, solver in product((False, True), SOLVERS):
        yield f"estimators, sparse={sparse}, {solver}", partial(fit, sparse=sparse, **SOLVERS[solver])
    yield "estimators, shared", partial(fit, hidden_layer_sizes=(400, 400))
    yield "gradient check", check_gradients
    yield "packing", pack_weights
    yield "table", encode
