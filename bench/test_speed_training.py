"""Benchmarks of training runs by the tutorial's NumPy, the reference, the kernels and the installed peers."""

import cases
import numpy as np
import pytest
from workloads import SMALL_BATCHES, WORKLOADS, fastnn_run, sides

import fastnn

# Epochs of every side of the tutorial's training.
EPOCHS = 2000
SIDES = {
    "tutorial": cases.train_tutorial,
    "numpy": lambda n_passes: cases.train_model(n_passes, backend="numpy"),
    "numba float64": cases.train_model,
    "numba float32": lambda n_passes: cases.train_model(n_passes, dtype=np.float32),
    "scikit-learn": cases.train_sklearn,
}


@pytest.mark.parametrize("side", SIDES)
def test_tutorial(benchmark, side):
    """Benchmark the tutorial's training."""
    benchmark.group = f"the tutorial's training, {EPOCHS} epochs"
    SIDES[side](1)
    benchmark.pedantic(SIDES[side], (EPOCHS,), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("layers_dim", [[2, 16, 16, 3], [64, 64, 10], [200, 100, 50, 10]], ids=str)
def test_shapes(benchmark, layers_dim, dtype, backend):
    """Benchmark 100 epochs of networks of several sizes."""
    benchmark.group = f"100 epochs of {layers_dim} on 1000 samples, {dtype}"
    random = np.random.default_rng(0)
    X = random.normal(size=(1000, layers_dim[0])).astype(dtype)
    y = random.integers(0, layers_dim[-1], 1000)
    model = fastnn.Model(layers_dim, backend=backend, dtype=dtype, random_state=0)
    benchmark.pedantic(model.train, (X, y, 100, 1e-5), rounds=3, warmup_rounds=1)


MINIBATCH_SIDES = {**sides(), "numpy": lambda workload: fastnn_run(workload, backend="numpy")}


@pytest.mark.parametrize("side", MINIBATCH_SIDES)
@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=list(WORKLOADS))
def test_minibatches(benchmark, workload, side):
    """Benchmark a whole training from new parameters; record the FLOPs of its products and its score."""
    benchmark.group = f"{workload.name}: {list(workload.layers_dim)}, batches of {workload.batch_size}"
    run = MINIBATCH_SIDES[side](workload)
    score = benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    benchmark.extra_info.update(score=score(), operations=workload.operations)


@pytest.mark.parametrize("size", SMALL_BATCHES)
def test_small_batches(benchmark, size):
    """Benchmark a training of [13, 100, 2] by small batches, from new parameters."""
    benchmark.group = "[13, 100, 2], small batches"
    benchmark.pedantic(fastnn_run(SMALL_BATCHES[size]), rounds=3, warmup_rounds=1)
    benchmark.extra_info.update(n_steps=SMALL_BATCHES[size].n_steps)


def test_one_gradient(benchmark):
    """Benchmark one loss and gradient of [24, 8, 2] on 200 samples, with dropout, in float64."""
    random = np.random.default_rng(0)
    model = fastnn.Model([24, 8, 2], output_activation="identity", dropout=0.2, random_state=0)
    X = random.normal(size=(200, 24))
    y = random.integers(0, 2, 200)
    evaluate = cases.gradient(model, X, y)
    benchmark(evaluate)


@pytest.mark.parametrize("side", ["levenberg_marquardt", "lbfgs", "pyrenn"])
def test_levenberg_marquardt(benchmark, side):
    """Benchmark 20 iterations for the inverse of a robot arm, beside L-BFGS and pyrenn's, in NumPy."""
    benchmark.group = "20 iterations of [2, 20, 2] on 2000 samples, squared error"
    a, b = np.random.default_rng(0).uniform(0, [[np.pi / 2], [3]], (2, 2000))
    X = np.cos([a, a - np.pi / 2]).T + 0.7 * np.cos([a + b, a + b - np.pi / 2]).T
    Y = np.column_stack([a, b])
    options = {"output_activation": "identity", "loss": "squared_error", "random_state": 0}

    def run():
        model = fastnn.Model([2, 20, 2], **options)
        return model.train(X, Y, num_passes=20, reg_lambda=0, reduction="mean", optimizer=side).loss[-1]

    def run_pyrenn():
        network = pyrenn.train_LM(X.T, Y.T, pyrenn.CreateNN([2, 20, 2]), k_max=20, E_stop=0)
        return network["ErrorHistory"][-1] / len(X)

    if side == "pyrenn":
        pyrenn = pytest.importorskip("pyrenn")
        np.random.seed(0)  # draws its weights
        run = run_pyrenn
    loss = benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    benchmark.extra_info.update(loss=loss)
