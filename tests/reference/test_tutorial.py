"""Whole runs of the tutorial's network: its plain loop, both backends, and the losses the tutorial printed.

At its learning rate the run is chaotic between epochs 600 and 3000: a relative change of 1e-15 in
the weights moves the loss at epoch 2000 in its third digit; after epoch 3000 all runs agree again.
"""

import inspect

import numpy as np
import pytest
from sklearn.datasets import make_moons

import fastnn
from fastnn.reference.tutorial import TutorialModel

# The losses that the tutorial's code prints for seed 0, from iteration 5000 on.
PUBLISHED = [0.160969, 0.160582, 0.160362, 0.160229, 0.160147, 0.160094, 0.160060, 0.160037]
PUBLISHED += [0.160022, 0.160012, 0.160005, 0.160001, 0.159997, 0.159995, 0.159994]
SIDES = {
    "numba": lambda layers_dim: fastnn.Model(layers_dim, backend="numba"),
    "numpy": lambda layers_dim: fastnn.Model(layers_dim, backend="numpy"),
    "plain": TutorialModel,
}


def moons():
    """Return the tutorial's data, with NumPy's global generator seeded as the tutorial seeds it."""
    np.random.seed(0)
    return make_moons(200, noise=0.20)


def both(backend, layers_dim):
    X, y = moons()
    model = fastnn.Model(layers_dim, backend=backend)
    moons()  # put the global generator into the same state again
    return X, y, model, TutorialModel(layers_dim)


def assert_same_parameters(model, plain, **tolerances):
    for ours, theirs in zip((*model.W, *model.b), (*plain.W, *plain.b), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, **tolerances)


@pytest.mark.parametrize("layers_dim", [[2, 2], [2, 3, 2], [2, 7, 5, 2]])
def test_the_first_300_passes_match_the_plain_loop(backend, layers_dim):
    X, y, model, plain = both(backend, layers_dim)
    assert_same_parameters(model, plain, rtol=0, atol=0)
    for _ in range(60):
        plain.train(X, y, num_passes=5, epsilon=0.002, reg_lambda=0.1)
        model.train(X, y, num_passes=5, epsilon=0.002, reg_lambda=0.1)
        assert_same_parameters(model, plain, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    assert model.calculate_loss(X, y) == pytest.approx(plain.calculate_loss(X, y), rel=1e-12)


@pytest.mark.parametrize(("side", "num_passes"), [("numba", 20000), ("plain", 8000), ("numpy", 6000)])
def test_printed_losses_match_the_published_ones(side, num_passes, capsys):
    """The default arguments are those of the tutorial."""
    X, y = moons()
    model = SIDES[side]([2, 3, 2])
    assert inspect.signature(model.train).parameters["num_passes"].default == 20000
    model.train(X, y, num_passes, print_loss=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Loss after iteration 0: 0.700172"
    losses = []
    for number, line in enumerate(lines):
        words, loss = line.split(": ")
        assert words == f"Loss after iteration {1000 * number}"
        losses.append(float(loss))
    published = PUBLISHED[: num_passes // 1000 - 5]
    assert len(losses) == 5 + len(published)
    np.testing.assert_allclose(losses[5:], published, rtol=0, atol=2e-5)
    np.testing.assert_allclose(losses[-1], published[-1], rtol=0, atol=2e-6)
    assert (model.predict(X) == y).sum() == 197


def test_float32_ends_at_the_same_loss():
    X, y = moons()
    model = fastnn.Model([2, 3, 2], dtype=np.float32)
    model.train(X, y)
    assert model.calculate_loss(X, y) == pytest.approx(PUBLISHED[-1], abs=2e-5)


def test_the_plain_loop_refuses_labels_that_do_not_fit_and_changes_nothing():
    (X, y), plain = moons(), TutorialModel([2, 3, 2])
    before = [parameter.copy() for parameter in (*plain.W, *plain.b)]
    with pytest.raises(ValueError, match=r"X has 200 samples, but y has 199 labels"):
        plain.train(X, y[:-1])
    with pytest.raises(ValueError, match="y"):
        plain.train(X, y + 1)
    for old, new in zip(before, (*plain.W, *plain.b), strict=True):
        np.testing.assert_array_equal(old, new)
