"""Training runs that are compared, and the libraries that run them, each as its experts would use it.

    python bench/workloads.py [workload ...]

Everything is float32 and trained by Adam with its usual defaults (rate 0.001, betas 0.9 and 0.999) on the
mean loss of a batch, without weight decay. Samples are drawn in a new order every epoch, and the short batch
at the end of an epoch is trained on, too. A batch of all samples is not shuffled, because no order changes
it.

The squared error is the mean over all values, samples and outputs alike. scikit-learn descends half the sum
over the outputs instead: a constant factor, which Adam divides out.

A run starts from new parameters, the same each time, and returns a function that scores the trained network
on the training data. PyTorch and JAX are optional.
"""

from __future__ import annotations

import importlib.util
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import sklearn.neural_network
from scipy.linalg import expm
from sklearn.datasets import load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

import fastnn
from fastnn.system.threads import count_cores

Run = Callable[[], Callable[[], float]]

RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8

# --- workloads -----------------------------------------------------------------------------------


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's digits, with pixels from 0 to 1."""
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def table() -> tuple[np.ndarray, np.ndarray]:
    """Return a table of 20,000 samples, 20 features and three classes."""
    X, y = make_classification(20_000, 20, n_informative=12, n_classes=3, random_state=0)
    return StandardScaler().fit_transform(X), y


def prototypes() -> tuple[np.ndarray, np.ndarray]:
    """Return data of MNIST's shape: ten class centres under noise that hides a few samples in a hundred."""
    random = np.random.default_rng(0)
    centers = 0.12 * random.normal(size=(10, 784))
    y = random.integers(0, 10, 60_000)
    return centers[y] + random.normal(size=(60_000, 784)), y


def matrix_exponential() -> tuple[np.ndarray, np.ndarray]:
    """Return the data of the example of SimpleChains.jl: ``vec(exp(reshape(x, 2, 2)))``.

    Julia reads x by columns, NumPy by rows; the data are the same, because the exponential of a transpose
    is the transpose of the exponential.
    """
    X = np.random.default_rng(0).normal(size=(10_000, 4))
    return X, expm(X.reshape(-1, 2, 2)).reshape(-1, 4)


def rows() -> tuple[np.ndarray, np.ndarray]:
    """Return 2,048 samples of 13 features and two classes, for training a few rows at a time."""
    return make_classification(2048, 13, random_state=0)


def random_classes(n_samples: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return samples of `width` features of noise, and ten random classes."""
    random = np.random.default_rng(0)
    return random.normal(size=(n_samples, width)), random.integers(0, 10, n_samples)


WIDTHS = (128, 256, 512, 1024)

DATA = {
    "digits": digits,
    "table": table,
    "mnist shape": prototypes,
    "simplechains": matrix_exponential,
    "rows": rows,
    **{f"width {width}": partial(random_classes, 4096, width) for width in WIDTHS},
}


@cache
def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a workload's data in the dtypes of `Workload.data`, the same arrays on every call."""
    X, y = DATA[name]()
    target = np.float32 if y.dtype.kind == "f" else np.int64
    return np.ascontiguousarray(X, np.float32), np.ascontiguousarray(y, target)


def training_operations(layers_dim: tuple[int, ...], n_samples: int) -> float:
    """Return the FLOPs of a training's matrix products, two for each weight and sample of a product.

    A layer has three products: the forward pass, the weights' gradient and the inputs' gradient, which the
    first layer does not need.
    """
    sizes = [n_in * n_out for n_in, n_out in pairwise(layers_dim)]
    return 2.0 * (3 * sum(sizes) - sizes[0]) * n_samples


@dataclass(frozen=True)
class Workload:
    """A network, its data and its training; `loss` is ``"cross entropy"`` or ``"squared error"``."""

    name: str
    layers_dim: tuple[int, ...]
    activation: str
    loss: str
    batch_size: int
    n_passes: int

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Return X in float32, and y: int64 classes or float32 targets; the same arrays on every call."""
        return load(self.name)

    @property
    def classifies(self) -> bool:
        """True if the outputs are classes, False if they are numbers."""
        return self.loss == "cross entropy"

    @property
    def n_steps(self) -> int:
        """Number of optimizer steps of the run."""
        return self.n_passes * -(-len(self.data()[0]) // self.batch_size)

    @property
    def operations(self) -> float:
        """FLOPs of the run's matrix products."""
        return training_operations(self.layers_dim, len(self.data()[0]) * self.n_passes)

    def score(self, predicted: np.ndarray) -> float:
        """Return the accuracy on the training data, or the mean squared error."""
        _, y = self.data()
        return float(np.mean(predicted == y) if self.classifies else np.mean((predicted - y) ** 2))


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("digits", (64, 64, 10), "relu", "cross entropy", 32, 50),
        Workload("table", (20, 64, 32, 3), "relu", "cross entropy", 64, 10),
        Workload("mnist shape", (784, 256, 128, 10), "relu", "cross entropy", 128, 1),
        Workload("simplechains", (4, 32, 16, 4), "tanh", "squared error", 10_000, 100),
    )
}

# Training runs by batches from one row on, of some 16,000 steps or, if fewer, 64 epochs.
SMALL_BATCHES = {
    size: Workload("rows", (13, 100, 2), "tanh", "cross entropy", size, min(8 * size, 64))
    for size in (1, 2, 4, 8, 16, 32, 64)
}

# Training runs of wide layers, 256 steps each.
WIDE_TRAININGS = {
    f"width {width}": Workload(f"width {width}", (width, width, width, 10), "relu", "cross entropy", 128, 8)
    for width in WIDTHS
}

# --- sides: one way to run a workload each -------------------------------------------------------


def fastnn_run(
    workload: Workload,
    n_threads: int = 1,
    backend: str = "numba",
    dtype: str = "float32",
    optimizer: str = "adam",
) -> Run:
    """Return the run of a workload by `Model`, compiled."""
    X, y = workload.data()
    X = X.astype(dtype, copy=False)
    relu = workload.activation == "relu"

    def train(n_passes: int) -> Callable[[], float]:
        model = fastnn.Model(
            workload.layers_dim,
            activation=workload.activation,
            output_activation="identity",
            loss="softmax_cross_entropy" if workload.classifies else "squared_error",
            init="he_normal" if relu else "glorot_normal",
            dtype=dtype,
            random_state=0,
            backend=backend,
        )
        model.train(
            X,
            y,
            num_passes=n_passes,
            epsilon=RATE,
            reg_lambda=0.0,
            batch_size=workload.batch_size,
            optimizer=optimizer,
            reduction="mean",
            n_threads=n_threads,
            random_state=0,
        )
        return lambda: workload.score(model.predict(X))

    train(1)
    return partial(train, workload.n_passes)


def workload_estimator(workload: Workload, module: Any, **options: Any) -> Any:
    """Return the workload's estimator out of `module`, scikit-learn's or fastnn's; both use all cores."""
    estimator = module.MLPClassifier if workload.classifies else module.MLPRegressor
    settings = {
        "hidden_layer_sizes": workload.layers_dim[1:-1],
        "activation": workload.activation,
        "solver": "adam",
        "learning_rate_init": RATE,
        "beta_1": BETA1,
        "beta_2": BETA2,
        "epsilon": EPSILON,
        "alpha": 0.0,
        "batch_size": workload.batch_size,
        "shuffle": workload.batch_size < len(workload.data()[0]),
        "random_state": 0,
        "early_stopping": False,
        "tol": 0.0,
        "max_iter": workload.n_passes,
        "n_iter_no_change": workload.n_passes + 1,
    }
    return estimator(**settings | options)


def estimator_run(workload: Workload, module: Any) -> Run:
    """Return the run of a workload by an estimator out of `module`."""
    X, y = workload.data()

    def train(n_passes: int) -> Callable[[], float]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = workload_estimator(workload, module, max_iter=n_passes).fit(X, y)
        return lambda: workload.score(model.predict(X))

    train(1)
    return partial(train, workload.n_passes)


def torch_run(workload: Workload, n_threads: int) -> Run:
    """Return the run of a workload by PyTorch."""
    import torch
    from torch import nn

    X, y = (torch.from_numpy(array) for array in workload.data())
    n, size = len(X), workload.batch_size
    loss_function = nn.functional.cross_entropy if workload.classifies else nn.functional.mse_loss

    def new_network(generator: torch.Generator) -> nn.Sequential:
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(workload.layers_dim):
            linear = nn.Linear(n_in, n_out)
            if workload.activation == "relu":
                nn.init.kaiming_normal_(linear.weight, nonlinearity="relu", generator=generator)
            else:
                nn.init.xavier_normal_(linear.weight, generator=generator)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.ReLU() if workload.activation == "relu" else nn.Tanh()]
        return nn.Sequential(*layers[:-1])

    def train(n_passes: int) -> Callable[[], float]:
        # The number of threads belongs to the process, and another run may have changed it: set it again.
        torch.set_num_threads(n_threads)
        generator = torch.Generator().manual_seed(0)
        network = new_network(generator)
        # Of PyTorch's three implementations of Adam, the fused one is the fastest here by a fifth and more.
        optimizer = torch.optim.Adam(
            network.parameters(), lr=RATE, betas=(BETA1, BETA2), eps=EPSILON, fused=True
        )

        def step(inputs: torch.Tensor, targets: torch.Tensor) -> None:
            loss = loss_function(network(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        for _ in range(n_passes):
            if size >= n:
                step(X, y)
                continue
            for batch in torch.randperm(n, generator=generator).split(size):
                step(X.index_select(0, batch), y.index_select(0, batch))

        @torch.inference_mode()
        def score() -> float:
            output = network(X)
            return workload.score((output.argmax(1) if workload.classifies else output).numpy())

        return score

    train(1)
    return partial(train, workload.n_passes)


def jax_run(workload: Workload) -> Run:
    """Return the run of a workload by JAX, one compiled function.

    XLA uses the cores that its process may use at the start of JAX.
    """
    import jax
    import jax.numpy as jnp
    from jax import lax

    X, y = (jnp.asarray(array) for array in workload.data())
    n, size = len(X), workload.batch_size
    relu = workload.activation == "relu"
    activation = jax.nn.relu if relu else jnp.tanh
    initializer = jax.nn.initializers.he_normal() if relu else jax.nn.initializers.glorot_normal()
    # Rows that fit into the cache are fastest gathered once per epoch; larger tables a batch at a time.
    gather_epoch = X.nbytes <= 1 << 22

    def new_params(key):
        keys = jax.random.split(key, len(workload.layers_dim) - 1)
        return [
            (initializer(key, shape), jnp.zeros(shape[1]))
            for key, shape in zip(keys, pairwise(workload.layers_dim), strict=True)
        ]

    def forward(params, inputs):
        for W, b in params[:-1]:
            inputs = activation(inputs @ W + b)
        W, b = params[-1]
        return inputs @ W + b

    def loss_function(params, inputs, targets):
        output = forward(params, inputs)
        if workload.classifies:
            return -jnp.take_along_axis(jax.nn.log_softmax(output), targets[:, None], axis=1).mean()
        return jnp.square(output - targets).mean()

    def step(state, inputs, targets):
        params, m, v, t = state
        t = t + 1
        gradients = jax.grad(loss_function)(params, inputs, targets)
        m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, gradients)
        v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, gradients)
        # Apply the corrections of m and v as two scalars: two divisions of whole arrays fewer.
        root = jnp.sqrt(1 - BETA2**t)
        rate, epsilon = RATE * root / (1 - BETA1**t), EPSILON * root
        params = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + epsilon), params, m, v)
        return params, m, v, t

    @jax.jit
    def train(key, X, y):
        def rows(state, batch):
            inputs, targets = batch if gather_epoch else (X[batch], y[batch])
            return step(state, inputs, targets), None

        def one_epoch(state, key):
            if size >= n:
                return step(state, X, y), None
            order = jax.random.permutation(key, n)
            samples = (X[order], y[order]) if gather_epoch else order
            whole = n - n % size
            batches = jax.tree.map(lambda a: a[:whole].reshape(-1, size, *a.shape[1:]), samples)
            state, _ = lax.scan(rows, state, batches)
            # The batches of a scan have one shape. A short last batch is run by itself: padding it with
            # samples of weight 0 would make every other batch read weights, which costs more.
            if whole < n:
                state, _ = rows(state, jax.tree.map(lambda a: a[whole:], samples))
            return state, None

        keys = jax.random.split(key, workload.n_passes + 1)
        params = new_params(keys[0])
        zeros = jax.tree.map(jnp.zeros_like, params)
        (params, *_), _ = lax.scan(one_epoch, (params, zeros, zeros, jnp.float32(0)), keys[1:])
        return params

    key = jax.random.key(0)

    def run() -> Callable[[], float]:
        params = jax.block_until_ready(train(key, X, y))

        def score() -> float:
            output = forward(params, X)
            return workload.score(np.asarray(output.argmax(axis=1) if workload.classifies else output))

        return score

    run()
    return run


# --- the comparison ------------------------------------------------------------------------------


def sides() -> dict[str, Callable[[Workload], Run]]:
    """Return the ways to run a workload: by fastnn, and by the installed peers."""
    return {
        "fastnn": fastnn_run,
        "fastnn, 2 threads": partial(fastnn_run, n_threads=2),
        **peers(),
    }


def peers() -> dict[str, Callable[[Workload], Run]]:
    """Return the ways to run a workload by scikit-learn and by PyTorch and JAX, where these are installed."""
    peers: dict[str, Callable[[Workload], Run]] = {
        "scikit-learn": partial(estimator_run, module=sklearn.neural_network)
    }
    if importlib.util.find_spec("torch"):
        for n_threads in sorted({1, count_cores()}):
            name = f"torch, {n_threads} thread{'s' * (n_threads > 1)}"
            peers[name] = partial(torch_run, n_threads=n_threads)
    if importlib.util.find_spec("jax"):
        peers["jax"] = jax_run
    return peers


def main(names: list[str]) -> None:
    """Print the seconds and the score of each side on the named workloads, on all of them by default."""
    print("| workload | side | seconds | us per step | score |\n| --- | --- | --- | --- | --- |")
    for name in names or WORKLOADS:
        workload = WORKLOADS[name]
        for side, prepare in sides().items():
            run = prepare(workload)
            seconds = float("inf")
            for _ in range(3):
                started = time.perf_counter()
                score = run()
                seconds = min(seconds, time.perf_counter() - started)
            step = seconds / workload.n_steps * 1e6
            print(f"| {name} | {side} | {seconds:.4f} | {step:.1f} | {score():.4f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
