"""Whole runs of the tutorial's network, against the tutorial's own formulas as it wrote them.

At its learning rate the run is chaotic between passes 600 and 3000: a relative change of 1e-15 in
the weights moves the loss at 2000 in its third digit, after which all runs fall back together.
"""

import numpy as np
import pytest
from tutorial import moons, tutorial_run

import fastnn

BACKENDS = ("numba", "numpy")
# What the tutorial's code prints for seed 0.
PUBLISHED = [
    0.700172, 0.322804, 0.190807, 0.163432, 0.161709, 0.160969, 0.160582, 0.160362, 0.160229, 0.160147,
    0.160094, 0.160060, 0.160037, 0.160022, 0.160012, 0.160005, 0.160001, 0.159997, 0.159995, 0.159994,
]  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_first_500_passes_are_the_tutorials(backend):
    X, y = moons()
    model = fastnn.Model([2, 3, 2], backend=backend)
    moons()  # the generator at the same place again
    for W, b in tutorial_run(X, y, [2, 3, 2], 500, 0.01, 0.01):
        model.train(X, y, num_passes=1, epsilon=0.01, reg_lambda=0.01)
        for ours, theirs in zip((*model.W, *model.b), (*W, *b), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_20000_passes_at_a_rate_that_is_not_chaotic(backend):
    X, y = moons()
    model = fastnn.Model([2, 3, 2], backend=backend)
    moons()
    for done, (W, b) in enumerate(tutorial_run(X, y, [2, 3, 2], 20000, 0.001, 0.01), start=1):
        if done % 50 == 0:
            model.train(X, y, num_passes=50, epsilon=0.001, reg_lambda=0.01)
            for ours, theirs in zip((*model.W, *model.b), (*W, *b), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_printed_losses_are_the_published_ones(backend, capsys):
    X, y = moons()
    model = fastnn.Model([2, 3, 2], backend=backend)
    model.train(X, y, num_passes=20000, epsilon=0.01, reg_lambda=0.01, print_loss=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Loss after iteration 0: 0.700172"
    losses = []
    for number, line in enumerate(lines):
        words, loss = line.split(": ")
        assert words == f"Loss after iteration {1000 * number}"
        losses.append(float(loss))
    assert len(losses) == len(PUBLISHED)
    np.testing.assert_allclose(losses[5:], PUBLISHED[5:], rtol=0, atol=2e-5)
    np.testing.assert_allclose(losses[-1], PUBLISHED[-1], rtol=0, atol=2e-6)
    assert (model.predict(X) == y).sum() == 197


@pytest.mark.parametrize("layers_dim", [[2, 2], [2, 7, 5, 2]])
@pytest.mark.parametrize("backend", BACKENDS)
def test_other_depths_are_the_tutorials_too(backend, layers_dim):
    X, y = moons()
    model = fastnn.Model(layers_dim, backend=backend)
    model.train(X, y, num_passes=300, epsilon=0.002, reg_lambda=0.1)
    moons()
    *_, (W, b) = tutorial_run(X, y, layers_dim, 300, 0.002, 0.1)
    for ours, theirs in zip((*model.W, *model.b), (*W, *b), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


def test_float32_ends_at_the_same_loss():
    X, y = moons()
    model = fastnn.Model([2, 3, 2], dtype=np.float32)
    model.train(X, y)
    assert model.calculate_loss(X, y) == pytest.approx(PUBLISHED[-1], abs=2e-5)
