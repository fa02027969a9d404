"""The width of a tile: whole cache lines, so whole vectors of any width, checked wherever it is chosen."""

import numpy as np
import pytest

import fastnn
from fastnn.boundary import grids
from fastnn.engine import compiled, compiled_lbfgs, compiled_trainer, get_backend
from fastnn.engine.tiles import check_tile_width, choose_tile_width, choose_training_width
from fastnn.network.description import ALIGNMENT, Network

X = np.random.default_rng(0).standard_normal((40, 2)).astype(np.float32)
y = (X[:, 0] > 0).astype(int)
NETWORK = Network.create([2, 3, 2], dtype="float32")


def evaluate_loss_and_gradient(model):
    targets, weights = np.eye(2, dtype=np.float32)[y], np.ones(len(X))
    get_backend("numba").loss_and_gradient(NETWORK, NETWORK.make_statistics(), X, targets, weights, 0)


@pytest.mark.parametrize(
    "use",
    [
        lambda model: model.train(X, y, 1),
        lambda model: model.train(X, y, 1, optimizer="lbfgs"),
        evaluate_loss_and_gradient,
        lambda model: model.predict(X),
        lambda model: model.predict_proba(X),
        lambda model: model.calculate_loss(X, y),
        lambda model: model.predictor(40),
        lambda model: fastnn.render_boundary(model, (-1, 1), (-1, 1), size=40),
    ],
)
def test_a_tile_that_is_not_whole_cache_lines_is_refused(use, monkeypatch):
    model = fastnn.Model([2, 3, 2], dtype="float32", random_state=0)
    use(model)
    for module in (compiled, compiled_lbfgs, compiled_trainer, grids):
        for name in ("choose_training_width", "choose_tile_width"):
            monkeypatch.setattr(module, name, lambda network, n_samples: 8, raising=False)
    with pytest.raises(
        ValueError, match="width of a tile must be a multiple of 16 samples in float32, got 8"
    ):
        use(model)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_whole_cache_lines_are_accepted(dtype):
    network = Network.create([2, 3, 2], dtype=np.dtype(dtype))
    line = ALIGNMENT // network.dtype.itemsize
    for n in (1, 2, 7):
        check_tile_width(network, n * line)
    for width in (0, -line, line - 1, line + 1):
        with pytest.raises(ValueError, match="the width of a tile"):
            check_tile_width(network, width)


def test_huge_layers_have_narrow_tiles():
    """An interrupt is handled between calls of a kernel: narrow tiles keep calls of huge layers short."""
    network = Network.create([4000, 4000, 4000, 10], "tanh", "tanh", np.float64)
    assert choose_tile_width(network, 1000) == 48
    assert choose_training_width(network, 1000) == 16
