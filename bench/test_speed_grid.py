"""Classes at the pixels of a picture."""

import cases
import numpy as np
import pytest

SIDES = {
    "float32, 1 thread": lambda size: cases.grid_model(size, 1),
    "float32, 2 threads": lambda size: cases.grid_model(size, 2),
    "float64, 1 thread": lambda size: cases.grid_model(size, 1, np.float64),
    "numpy float32": lambda size: cases.grid_model(size, 1, backend="numpy"),
    "numpy float64": lambda size: cases.grid_model(size, 1, np.float64, backend="numpy"),
    "tutorial": cases.grid_tutorial,
    "scikit-learn": cases.grid_sklearn,
}


@pytest.mark.parametrize("side", SIDES)
def test_small(benchmark, side):
    benchmark.group = "grid of 1024 x 1024"
    benchmark.pedantic(SIDES[side], (1024,), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("side", ["float32, 1 thread", "float32, 2 threads"])
def test_large(benchmark, side):
    benchmark.group = f"grid of {cases.GRID} x {cases.GRID}"
    benchmark.pedantic(SIDES[side], (cases.GRID,), rounds=5, warmup_rounds=1)
