"""Classes at the pixels of a picture."""

import cases
import pytest

SIDES = {
    "1 thread": lambda size: cases.grid_model(size, 1),
    "2 threads": lambda size: cases.grid_model(size, 2),
    "tutorial": cases.grid_tutorial,
    "scikit-learn": cases.grid_sklearn,
}


@pytest.mark.parametrize("side", SIDES)
def test_small(benchmark, side):
    benchmark.group = "grid of 1024 x 1024"
    benchmark.pedantic(SIDES[side], (1024,), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("side", ["1 thread", "2 threads"])
def test_large(benchmark, side):
    benchmark.group = f"grid of {cases.GRID} x {cases.GRID}"
    benchmark.pedantic(SIDES[side], (cases.GRID,), rounds=5, warmup_rounds=1)
