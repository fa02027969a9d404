"""Trainings whose results have the same bits on every machine, and the digests of these bits.

They depend on the width of the vectors, and on whether the processor has fused multiply-add; on nothing else.
Data and parameters are multiples of powers of two, so that they are the same everywhere as well.

After a change that is meant to change results, run ``python tests/helpers/golden_bits.py`` with every
width in `FASTNN_VECTOR_BYTES`: it writes the digests of that width into ``golden_bits.json``.
"""

import hashlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastnn

FILE = Path(__file__).with_suffix(".json")
N = 150


def _whole(*shape: int, seed: int = 0) -> np.ndarray:
    """Return multiples of 1 / 64 from -2 to 2."""
    return np.random.RandomState(seed).randint(-128, 129, shape) / 64


X = _whole(N, 5)
LABELS = (np.abs(X).sum(axis=1) > 5).astype(int) + (X[:, 0] > 1)
NUMBERS = X[:, :1] * X[:, 1:2] - X[:, 2:3]


def _model(layers_dim: list[int], **settings: Any) -> fastnn.Model:
    """Return a model whose weights are multiples of 1 / 256."""
    model = fastnn.Model(layers_dim, random_state=0, **settings)
    for k, W in enumerate(model.W):
        W[...] = _whole(*W.shape, seed=k) / 4
    return model


def train(hidden, n_outputs=3, table=X, targets=LABELS, settings=None, **training) -> Iterator[np.ndarray]:
    model = _model([5, *hidden, n_outputs], **(settings or {}))
    training = {"num_passes": 30, "epsilon": 0.01, "random_state": 0} | training
    yield model.train(table.astype(model.W[0].dtype), targets, **training).loss
    yield from (*model.W, *model.b)
    yield model.predict_proba(table) if n_outputs > 1 else model.predict(table)


def train_on_numbers(hidden, loss, settings=None, **training) -> Iterator[np.ndarray]:
    settings = {"loss": loss, "output_activation": "identity"} | (settings or {})
    return train(hidden, 1, targets=NUMBERS, settings=settings, **training)


def _sparse() -> Iterator[np.ndarray]:
    import scipy.sparse

    table = scipy.sparse.csr_array(X * (_whole(N, 5, seed=1) > 1))
    classifier = fastnn.MLPClassifier((10,), batch_size=40, max_iter=30, random_state=0)
    with warnings.catch_warnings(action="ignore"):  # the optimization has not converged
        classifier.fit(table.astype(np.float32), LABELS)
    yield from (*classifier.coefs_, *classifier.intercepts_, np.array(classifier.loss_curve_))


def _picture() -> Iterator[np.ndarray]:
    model = _model([2, 20, 3])
    for response in ("class", "probability"):
        options = {"response": response} | ({"class_of_interest": 1} if response == "probability" else {})
        yield fastnn.render_boundary(model, (-2, 2), (-2, 2), size=(90, 50), **options).data


SINGLE = {"dtype": "float32"}
TRAININGS: dict[str, Callable[[], Iterator[np.ndarray]]] = {
    "tanh, whole batches": lambda: train([3]),
    "tanh, whole batches, float32": lambda: train([3], settings=SINGLE),
    "two classes": lambda: train([9], 2, targets=LABELS % 2, settings={"activation": "tanh"}),
    "two classes, float32": lambda: train([9], 2, targets=LABELS % 2, settings=SINGLE, batch_size=70),
    "relu, Adam": lambda: train(
        [16, 16], settings={"activation": "relu"} | SINGLE, optimizer="adam", batch_size=32
    ),
    "gelu, AdamW, cosine": lambda: train(
        [9], settings={"activation": "gelu"}, optimizer="adamw", batch_size=16, schedule="cosine_decay"
    ),
    "mish, RMSprop, batch norm": lambda: train(
        [8, 7], settings={"activation": "mish", "batch_norm": True}, optimizer="rmsprop", batch_size=50
    ),
    "elu, Nesterov, dropout": lambda: train(
        [12], settings={"activation": "elu", "dropout": 0.25} | SINGLE, optimizer="nesterov", batch_size=30
    ),
    "silu, L-BFGS": lambda: train([6], settings={"activation": "silu"}, optimizer="lbfgs"),
    "softplus, L-BFGS, float32": lambda: train(
        [6], settings={"activation": "softplus"} | SINGLE, optimizer="lbfgs"
    ),
    "sigmoid, single samples": lambda: train(
        [7], settings={"activation": "sigmoid"}, optimizer="momentum", batch_size=1, num_passes=3
    ),
    "leaky ReLU, four samples": lambda: train(
        [20], settings={"activation": "leaky_relu"} | SINGLE, batch_size=4, num_passes=5
    ),
    "CSR": _sparse,
    "selu, Huber, Adagrad": lambda: train_on_numbers(
        [11], "huber", {"activation": "selu"}, optimizer="adagrad", batch_size=25
    ),
    "shared by threads": lambda: train(
        [256, 128], settings={"activation": "relu"} | SINGLE, num_passes=2, batch_size=100, n_threads=2
    ),
    "a picture": _picture,
}


def this_kind() -> str:
    """Return the entry of the file that belongs to the kernels of this process."""
    from fastnn_kernels.vectors.processor import HAS_FMA, VECTOR_BYTES

    return f"{VECTOR_BYTES} bytes" if HAS_FMA else f"{VECTOR_BYTES} bytes without FMA"


def digest(arrays: Iterator[np.ndarray]) -> str:
    found = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        found.update(repr((array.dtype.str, array.shape)).encode() + array.tobytes())
    return found.hexdigest()[:16]


if __name__ == "__main__":
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    known[this_kind()] = {name: digest(run()) for name, run in TRAININGS.items()}
    FILE.write_text(json.dumps(known, indent=4, sort_keys=True) + "\n")
    sys.stdout.write(f"{FILE.name}: {this_kind()}\n")
