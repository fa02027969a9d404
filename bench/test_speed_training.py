"""The training: the tutorial's own NumPy, the reference, the kernels, scikit-learn."""

import cases
import numpy as np
import pytest

import fastnn

# All of one group do so many passes.
PASSES = 2000
SIDES = {
    "tutorial": cases.train_tutorial,
    "numpy": lambda n_passes: cases.train_model(n_passes, backend="numpy"),
    "numba float64": cases.train_model,
    "numba float32": lambda n_passes: cases.train_model(n_passes, dtype=np.float32),
    "scikit-learn": cases.train_sklearn,
}


@pytest.mark.parametrize("side", SIDES)
def test_tutorial(benchmark, side):
    benchmark.group = f"the tutorial's training, {PASSES} passes"
    SIDES[side](1)
    benchmark.pedantic(SIDES[side], (PASSES,), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("layers_dim", [[2, 16, 16, 3], [64, 64, 10], [200, 100, 50, 10]], ids=str)
def test_shapes(benchmark, layers_dim, dtype, backend):
    benchmark.group = f"100 passes of {layers_dim} on 1000 samples, {dtype}"
    random = np.random.default_rng(0)
    X = random.normal(size=(1000, layers_dim[0])).astype(dtype)
    y = random.integers(0, layers_dim[-1], 1000)
    model = fastnn.Model(layers_dim, backend=backend, dtype=dtype, random_state=0)
    benchmark.pedantic(model.train, (X, y, 100, 1e-5), rounds=3, warmup_rounds=1)
