"""Networks whose decision boundaries are painted, and the libraries that paint them."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cases
import numpy as np
from estimators import quietly
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.neural_network import MLPClassifier

import fastnn

XLIM, YLIM = cases.XLIM, cases.YLIM
# Pixels a side of the pictures in the growth curve.
GROWTH = (1024, 2048, 4096, 8192, 16384, 32768)
# Pixels a side of the pictures that are written to Zarr arrays.
STORED = (8192, 32_768, 131_072, 524_288, 1_000_000)
# Points that a peer predicts in one call.
PORTION = 1 << 20


@cache
def spiral() -> tuple[np.ndarray, np.ndarray]:
    """Return the samples and classes of CS231n's spiral: three arms of 100 points."""
    random = np.random.default_rng(0)
    radius = np.tile(np.linspace(0.05, 1, 100), 3)
    y = np.repeat(np.arange(3), 100)
    angle = 4 * radius + 4 * y + random.normal(scale=0.2, size=300)
    return np.column_stack([0.5 + 1.5 * radius * np.sin(angle), 0.25 + 1.5 * radius * np.cos(angle)]), y


@cache
def tutorial_model() -> fastnn.Model:
    """Return the tutorial's network [2, 3, 2], trained in float32."""
    return cases.train_fastnn(dtype=np.float32)


@cache
def spiral_model() -> fastnn.Model:
    """Return a network [2, 32, 32, 3] with tanh, trained in float32 on the spiral."""
    X, y = spiral()
    model = fastnn.Model(
        [2, 32, 32, 3], output_activation="identity", init="glorot_uniform", dtype=np.float32, random_state=0
    )
    model.train(
        X,
        y,
        num_passes=400,
        batch_size=32,
        optimizer="adam",
        epsilon=3e-3,
        reg_lambda=0,
        reduction="mean",
        random_state=0,
    )
    return model


@cache
def estimator(kind: type) -> object:
    """Return an estimator of class `kind` with the spiral's network, fitted to the spiral."""
    X, y = spiral()
    fitted = kind(
        (32, 32), activation="tanh", batch_size=32, max_iter=300, tol=0, n_iter_no_change=300, random_state=0
    )
    return quietly(lambda: fitted.fit(X.astype(np.float32), y))


MODELS = {"[2, 3, 2]": tutorial_model, "[2, 32, 32, 3]": spiral_model}


def dense(model: fastnn.Model, size: int, n_threads: int | None = None) -> fastnn.BoundaryImage:
    """Paint a model by evaluating every pixel."""
    return fastnn.render_boundary(model, XLIM, YLIM, (size, size), method="dense", n_threads=n_threads)


def certified(
    model: fastnn.Model, size: int, out: np.ndarray | None = None, n_threads: int | None = None
) -> fastnn.BoundaryImage:
    """Paint a model by bounding squares."""
    return fastnn.render_boundary(
        model, XLIM, YLIM, (size, size), method="certified", out=out, n_threads=n_threads
    )


def to_png(model: fastnn.Model, size: int) -> int:
    """Paint a model into a PNG file and return the file's size in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "boundary.png"
        fastnn.render_boundary(model, XLIM, YLIM, (size, size), out=path)
        return os.path.getsize(path)


def to_zarr(model: fastnn.Model, size: int) -> tuple[float, int, int]:
    """Paint a model into a Zarr array; return the seconds, the number of files and their bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "boundary.zarr"
        image = fastnn.render_boundary(model, (-2, 3), (-1.5, 2), (size, size), out=path)
        sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
        return image.stats.seconds["total"], len(sizes), sum(sizes)


def plot_ours(size: int) -> None:
    """Plot the spiral's estimator by `plot_decision_boundary`."""
    import matplotlib.pyplot as plt

    X, y = spiral()
    fitted = estimator(fastnn.MLPClassifier)
    fastnn.plot_decision_boundary(fitted, X.astype(np.float32), y, resolution=(size, size))
    plt.close()


def plot_sklearn(size: int) -> None:
    """Plot the spiral's estimator by `DecisionBoundaryDisplay`, without samples, which fastnn's plot has."""
    import matplotlib.pyplot as plt

    X, _ = spiral()
    DecisionBoundaryDisplay.from_estimator(
        estimator(MLPClassifier), X.astype(np.float32), grid_resolution=size, response_method="predict"
    )
    plt.close()


# --- grids by other libraries ----------------------------------------------------------------------


def table(size: int) -> np.ndarray:
    """Return the points of a grid of `size` x `size` pixels, one per row, in float32."""
    axes = (np.linspace(*limits, size, dtype=np.float32) for limits in (XLIM, YLIM))
    return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)


def by_numpy(model: fastnn.Model, size: int) -> None:
    """Predict a grid in plain NumPy.

    A network of two layers has tanh in both and is predicted by the tutorial's code; any other network
    is predicted layer by layer.
    """
    points = table(size)
    if len(model.W) == 2:
        cases.predict_tutorial(model, points)
        return
    for first in range(0, len(points), PORTION):
        values = points[first : first + PORTION]
        for W, b in zip(model.W[:-1], model.b[:-1], strict=True):
            values = np.tanh(values @ W + b)
        np.argmax(values @ model.W[-1] + model.b[-1], axis=1)


def by_sklearn(model: fastnn.Model, size: int) -> None:
    """Predict a grid by scikit-learn's estimator."""
    fitted = cases.train_sklearn_twin() if len(model.W) == 2 else estimator(MLPClassifier)
    points = table(size)
    for first in range(0, len(points), PORTION):
        fitted.predict(points[first : first + PORTION])


def by_torch(model: fastnn.Model, size: int) -> None:
    """Predict a grid by PyTorch."""
    import torch

    last = torch.tanh if len(model.W) == 2 else torch.nn.Identity()
    layers = [
        (torch.from_numpy(W.copy()), torch.from_numpy(b.copy()))
        for W, b in zip(model.W, model.b, strict=True)
    ]
    points = torch.from_numpy(table(size))
    with torch.inference_mode():
        for values in points.split(PORTION):
            for W, b in layers[:-1]:
                values = torch.tanh(torch.addmm(b, values, W))
            last(torch.addmm(layers[-1][1], values, layers[-1][0])).argmax(1)


def by_jax(model: fastnn.Model, size: int) -> None:
    """Predict a grid by JAX."""
    layers = [(W.copy(), b.copy()) for W, b in zip(model.W, model.b, strict=True)]
    _jax_grid(len(layers) == 2, size)(layers).block_until_ready()


@cache
def _jax_grid(ends_in_tanh: bool, size: int) -> Callable:
    """Return a compiled function of the layers that predicts a grid row by row, JAX's fastest way here."""
    import jax
    import jax.numpy as jnp

    xs, ys = (jnp.linspace(*limits, size, dtype=jnp.float32) for limits in (XLIM, YLIM))

    @jax.jit
    def grid(layers):
        def row(y):
            values = jnp.stack([xs, jnp.full_like(xs, y)], axis=1)
            for W, b in layers[:-1]:
                values = jnp.tanh(values @ W + b)
            values = values @ layers[-1][0] + layers[-1][1]
            return jnp.argmax(jnp.tanh(values) if ends_in_tanh else values, axis=1).astype(jnp.uint8)

        return jax.lax.map(row, ys)

    return grid


PEERS = {"NumPy": by_numpy, "scikit-learn": by_sklearn}
if importlib.util.find_spec("torch"):
    PEERS["PyTorch"] = by_torch
if importlib.util.find_spec("jax"):
    PEERS["JAX"] = by_jax
