"""Work that takes all cores: trainings whose steps threads share, and predictions of wide layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise

import estimators
import numpy as np
from workloads import random_classes, training_operations

import fastnn

# --- trainings -----------------------------------------------------------------------------------

DENSE = {
    "[784, 256, 128, 10], batch 128": ((784, 256, 128, 10), 128),
    "[784, 512, 256, 10], batch 512": ((784, 512, 256, 10), 512),
}
OPTIONS = {
    "plain": {},
    "dropout": {"dropout": 0.3},
    "batch normalisation": {"batch_norm": True},
    "both": {"dropout": 0.3, "batch_norm": True},
}


@cache
def noise() -> tuple[np.ndarray, np.ndarray]:
    """Return 12,800 samples of noise in float32, of MNIST's width, and random classes."""
    X, y = random_classes(12_800, 784)
    return X.astype(np.float32), y


def train_noise(layers_dim: tuple[int, ...], batch_size: int, n_threads: int | None, **options) -> None:
    """Train two epochs by Adam."""
    model = fastnn.Model(layers_dim, activation="relu", dtype="float32", random_state=0, **options)
    model.train(
        *noise(),
        num_passes=2,
        batch_size=batch_size,
        optimizer="adam",
        epsilon=1e-3,
        n_threads=n_threads,
        random_state=0,
    )


def fit_words(dtype: type, n_threads: int | None) -> None:
    """Fit sparse documents for three epochs with default parameters otherwise."""
    X, y = estimators.words()
    X = X.astype(dtype)
    estimator = fastnn.MLPClassifier(max_iter=3, random_state=0, n_threads=n_threads)
    estimators.quietly(lambda: estimator.fit(X, y))


def list_shared_trainings() -> dict[str, tuple[Callable[[int | None], None], float]]:
    """Return trainings by name: a function of `n_threads`, and the FLOPs of its products, NaN if sparse."""
    trainings: dict[str, tuple[Callable[[int | None], None], float]] = {}
    for shape, sizes in DENSE.items():
        operations = training_operations(sizes[0], 2 * len(noise()[0]))
        for name, options in OPTIONS.items():
            trainings[f"{shape}, float32, {name}"] = partial(train_noise, *sizes, **options), operations
    for dtype in (np.float32, np.float64):
        name = f"5,000 documents of 30,000 words, sparse, {np.dtype(dtype)}"
        trainings[name] = partial(fit_words, dtype), float("nan")
    return trainings


# --- predictions ---------------------------------------------------------------------------------

N_SAMPLES = 4096
WIDE = ((2048, 2048, 2048, 10), (784, 1000, 500, 10), (512, 512, 512, 10))


def wide(layers_dim: tuple[int, ...], dtype: type) -> tuple[dict[str, Callable[[], object]], float]:
    """Return ours and NumPy's products of a network with wide layers, and the FLOPs of the products.

    fastnn predicts the probabilities of `N_SAMPLES` samples. NumPy multiplies matrices of the layers' shapes
    and does nothing else.
    """
    random = np.random.default_rng(0)
    model = fastnn.Model(layers_dim, activation="relu", dtype=dtype, random_state=0)
    inputs = [random.normal(size=(N_SAMPLES, width)).astype(dtype) for width in layers_dim[:-1]]
    outputs = [np.empty((N_SAMPLES, width), dtype) for width in layers_dim[1:]]
    weights = [W.copy() for W in model.W]

    def products() -> None:
        for X, W, Z in zip(inputs, weights, outputs, strict=True):
            np.matmul(X, W, out=Z)

    actions = {"ours": lambda: model.predict_proba(inputs[0]), "numpy": products}
    return actions, 2 * N_SAMPLES * sum(n_in * n_out for n_in, n_out in pairwise(layers_dim))
