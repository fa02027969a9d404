"""Workloads that the pytest benchmarks and the report share."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from sklearn.datasets import make_moons
from sklearn.neural_network import MLPClassifier

import fastnn
from fastnn.reference.tutorial import TutorialModel
from fastnn_kernels.vectors import vmath
from fastnn_kernels.vectors.elementwise import elementwise

EPOCHS = 20_000
GRID = 8192
XLIM, YLIM = (-2.0, 3.0), (-1.5, 2.0)
X, y = make_moons(200, noise=0.20, random_state=0)
# Samples that NumPy predicts at a time: its temporary arrays then stay in the processor's cache.
CACHED = 1 << 16


def train_tutorial(n_passes: int) -> None:
    """Train the tutorial's network by its plain loop in NumPy."""
    np.random.seed(0)
    TutorialModel([2, 3, 2]).train(X, y, num_passes=n_passes)


def train_model(n_passes: int, **options) -> None:
    """Train the tutorial's network by `Model`."""
    model = fastnn.Model([2, 3, 2], random_state=0, **options)
    model.train(X, y, num_passes=n_passes)


def train_sklearn(n_passes: int) -> None:
    """Train scikit-learn's nearest equivalent: whole-batch gradient descent, a network of the same shape."""
    model = MLPClassifier(
        (3,),
        activation="tanh",
        solver="sgd",
        batch_size=200,
        momentum=0,
        learning_rate_init=0.5,
        alpha=0.0,
        max_iter=n_passes,
        n_iter_no_change=n_passes,
        tol=0,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)


@cache
def train_fastnn(**options) -> fastnn.Model:
    """Return the tutorial's network, trained with default settings."""
    model = fastnn.Model([2, 3, 2], random_state=0, **options)
    model.train(X, y)
    return model


@cache
def train_sklearn_twin() -> MLPClassifier:
    """Return scikit-learn's classifier of the tutorial's shape, fitted to the tutorial's samples."""
    return MLPClassifier((3,), activation="tanh", max_iter=2000, random_state=0).fit(X, y)


def grid_model(size: int, n_threads: int, dtype: type = np.float32, backend: str = "numba") -> None:
    """Paint the tutorial's network by evaluating every pixel."""
    model = train_fastnn(dtype=dtype, backend=backend)
    fastnn.render_boundary(model, XLIM, YLIM, (size, size), method="dense", n_threads=n_threads)


def points(size: int) -> np.ndarray:
    """Return the points of a grid of `size` x `size` pixels, one per row, in float64."""
    axes = (np.linspace(*limits, size) for limits in (XLIM, YLIM))
    return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)


def predict_tutorial(model: fastnn.Model, samples: np.ndarray) -> None:
    """Predict by the tutorial's plain NumPy with the parameters of `model`, which has tanh in every layer."""
    plain = TutorialModel(model.layers_dim)
    plain.W, plain.b = list(model.W), list(model.b)
    for first in range(0, len(samples), CACHED):
        plain.predict(samples[first : first + CACHED])


def grid_tutorial(size: int) -> None:
    """Predict a grid by the tutorial's plain NumPy."""
    predict_tutorial(train_fastnn(), points(size))


def grid_sklearn(size: int) -> None:
    """Predict a grid by scikit-learn."""
    train_sklearn_twin().predict(points(size))


def gradient(model: fastnn.Model, X: np.ndarray, y: np.ndarray) -> Callable[[], object]:
    """Return a function that computes the gradient of all samples by two passes, with softmax in NumPy."""
    net, rows = fastnn.Backprop(model), np.arange(len(X))

    def run() -> None:
        S = net.forward(X)
        E = np.exp(S - S.max(axis=1, keepdims=True))
        dS = E / E.sum(axis=1, keepdims=True)
        dS[rows, y] -= 1
        net.backward(dS, inputs=False)

    return run


# --- whole processes -----------------------------------------------------------------------------

# A program that fits once: what a user waits for in a new process, imports included.
FIRST_FIT = """
import warnings
from sklearn.datasets import load_iris
from {module} import MLPClassifier
warnings.simplefilter("ignore")
MLPClassifier(random_state=0).fit(*load_iris(return_X_y=True))
"""
FIRST_FITS = {
    name: FIRST_FIT.format(module=module)
    for name, module in {"ours": "fastnn", "theirs": "sklearn.neural_network"}.items()
}


def python(program: str) -> None:
    """Run a program in a new interpreter."""
    subprocess.run([sys.executable, "-c", program], check=True)


def python_seconds(program: str, cache_folder: Path) -> list[float]:
    """Run a program in a new interpreter and return the numbers it prints; kernels go to `cache_folder`."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache_folder)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return [float(number) for number in done.stdout.split()]


def moons_command(cache_folder: str | None = None) -> None:
    """Run ``fastnn moons`` in a new process; its kernels are cached in `cache_folder`, if one is given."""
    environment = dict(os.environ)
    if cache_folder:
        environment["NUMBA_CACHE_DIR"] = cache_folder
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "fastnn", "moons", "--out", str(Path(folder) / "moons.png")],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )


def moons_cold() -> None:
    """Run ``fastnn moons`` in a new process with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        moons_command(folder)


# The program prints the seconds of trainings in a new process, one per line: the first one, with the import
# of fastnn but not of NumPy, and the first one in the other dtype.
FIRST_TRAININGS = """
import time, numpy as np
X = np.random.default_rng(0).normal(size=(200, 2))
y = (X[:, 0] > 0).astype(int)
for dtype in ("float64", "float32"):
    started = time.perf_counter()
    import fastnn
    fastnn.Model([2, 3, 2], dtype=dtype, random_state=0).train(X.astype(dtype), y, 10)
    print(time.perf_counter() - started)
"""


def first_trainings(turns: int = 5) -> dict[str, float]:
    """Return the least seconds of the first trainings in new processes, with an empty and a filled cache."""
    printed: dict[str, list[list[float]]] = {"empty": [], "filled": []}
    for _ in range(turns):
        with tempfile.TemporaryDirectory() as folder:
            for runs in printed.values():
                runs.append(python_seconds(FIRST_TRAININGS, Path(folder)))
    empty, filled = (np.min(runs, axis=0) for runs in printed.values())
    return {
        "import and first training, float64, kernels to be compiled": empty[0],
        "then the first training in float32": empty[1],
        "import and first training after NumPy's import, from then on": filled[0],
    }


# --- exp and tanh --------------------------------------------------------------------------------


def vector_function(name: str) -> Callable:
    """Return the kernel ``(x, y)`` that applies a function of vmath to every value of a row."""
    return elementwise(getattr(vmath, name))
