"""Benchmarks of pictures of decision boundaries."""

import cases
import numpy as np
import pictures
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
    """Benchmark a grid of 1024 x 1024 pixels by every backend and peer."""
    benchmark.group = "grid of 1024 x 1024"
    benchmark.pedantic(SIDES[side], (1024,), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("side", ["float32, 1 thread", "float32, 2 threads"])
def test_large(benchmark, side):
    """Benchmark a grid of 8192 x 8192 pixels."""
    benchmark.group = f"grid of {cases.GRID} x {cases.GRID}"
    benchmark.pedantic(SIDES[side], (cases.GRID,), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("name", pictures.MODELS)
@pytest.mark.parametrize("method", ["dense", "certified"])
def test_methods(benchmark, name, method):
    """Benchmark pictures by evaluating every pixel and by squares."""
    size = 2048
    benchmark.group = f"{name}, {size} x {size}"
    benchmark.pedantic(getattr(pictures, method), (pictures.MODELS[name](), size), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("peer", pictures.PEERS)
def test_peers(benchmark, peer):
    """Benchmark the predictions of a grid by the installed peers."""
    model, size = pictures.spiral_model(), 512
    benchmark.group = f"[2, 32, 32, 3], {size} x {size}, torch, jax, scikit-learn, NumPy"
    benchmark.pedantic(pictures.PEERS[peer], (model, size), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("size", pictures.GROWTH[:4])
def test_growth(benchmark, size):
    """Benchmark pictures by squares of growing size."""
    benchmark.group = "[2, 32, 32, 3] by squares, into an array"
    model, out = pictures.spiral_model(), np.zeros((size, size), np.uint8)
    benchmark.pedantic(pictures.certified, (model, size, out), rounds=5, warmup_rounds=1)


def test_large_png(benchmark):
    """Benchmark a PNG of 32768 x 32768 pixels."""
    benchmark.group = "[2, 32, 32, 3], 32768 x 32768 to a PNG"
    benchmark.pedantic(pictures.to_png, (pictures.spiral_model(), 32768), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("who", [pictures.plot_ours, pictures.plot_sklearn], ids=["fastnn", "scikit-learn"])
def test_plot(benchmark, who):
    """Benchmark `plot_decision_boundary` beside `DecisionBoundaryDisplay`."""
    benchmark.group = "plot, 2048 x 2048"
    benchmark.pedantic(who, (2048,), rounds=3, warmup_rounds=1)
