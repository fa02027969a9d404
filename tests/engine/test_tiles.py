"""The width of a tile: whole cache lines, so whole vectors of any width, checked wherever it is chosen."""

import numpy as np
import pytest

import fastnn
from fastnn.boundary import grids
from fastnn.engine import compiled, compiled_lbfgs, compiled_trainer
from fastnn.engine.choice import get_backend
from fastnn.engine.tiles import check_tile_width
from fastnn.network.description import ALIGNMENT, Network

X = np.random.default_rng(0).standard_normal((40, 2))
y = (X[:, 0] > 0).astype(int)
WRONG = "the width of a tile must be a multiple of 16 samples in float32, got 8"


def evaluate_loss_and_gradient(model):
    network = model._network
    targets = np.eye(2, dtype=network.dtype)[y]
    samples, weights = X.astype(network.dtype), np.ones(len(X))
    get_backend("numba").loss_and_gradient(
        network, network.initial_statistics(), samples, targets, weights, 0
    )


USES = {
    "a training": (compiled_trainer, lambda model: model.train(X, y, 1)),
    "a training by L-BFGS": (compiled_lbfgs, lambda model: model.train(X, y, 1, optimizer="lbfgs")),
    "loss and gradient": (compiled, evaluate_loss_and_gradient),
    "classes": (None, lambda model: model.predict(X)),
    "probabilities": (None, lambda model: model.predict_proba(X)),
    "the loss": (None, lambda model: model.calculate_loss(X, y)),
    "a predictor": (None, lambda model: model.predictor(40)),
    "a picture": (None, lambda model: fastnn.render_boundary(model, (-1, 1), (-1, 1), size=40)),
}


@pytest.mark.parametrize("use", USES)
def test_a_tile_that_is_no_whole_cache_line_is_refused(use, monkeypatch):
    module, run = USES[use]
    model = fastnn.Model([2, 3, 2], dtype="float32", random_state=0)
    run(model)
    if module is not None:
        monkeypatch.setattr(module, "training_width", lambda network, n_samples: 8)
    else:
        for place in (compiled, grids):
            monkeypatch.setattr(place, "tile_width", lambda network, n_samples: 8)
    with pytest.raises(ValueError, match=WRONG):
        run(model)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_whole_cache_lines_are_accepted(dtype):
    network = Network.create([2, 3, 2], dtype=np.dtype(dtype))
    line = ALIGNMENT // network.dtype.itemsize
    for n in (1, 2, 7):
        check_tile_width(network, n * line)
    for width in (0, -line, line - 1, line + 1):
        with pytest.raises(ValueError, match="the width of a tile"):
            check_tile_width(network, width)
