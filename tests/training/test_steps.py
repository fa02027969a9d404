"""Steps of a training: formulas by hand, sample weights, regularisation, and the order of the samples."""

import math

import numpy as np
import pytest
from estimator_checks import parameters
from small_models import CLOSE, X, few, few_y, model_for, y
from trainings import STEP_OPTIONS


def train_by_hand(model, n_passes, epsilon, reg_lambda, sample_weight=None, **options):
    """Train on `few` by gradient descent; return parameters, losses, gradient norms and update ratios."""
    W, b = [w.copy() for w in model.W], [v[0].copy() for v in model.b]
    average = [a.copy() for a in (*W, *b)]
    weights = np.ones(37) if sample_weight is None else np.asarray(sample_weight, float)
    size, decay = options.get("batch_size", 37), options.get("ema_decay", 0.0)
    clip_norm, max_norm = options.get("clip_norm", np.inf), options.get("max_norm", np.inf)
    losses, norms, ratios = [], [], []
    for _ in range(n_passes):
        loss = 0.0
        for first in range(0, 37, size):
            samples, labels, shares = (a[first : first + size] for a in (few, few_y, weights))
            if options.get("reduction") == "mean":
                shares = shares / max(shares.sum(), 1e-300)
            hidden = np.tanh(samples @ W[0] + b[0])
            scores = np.tanh(hidden @ W[1] + b[1])
            probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            loss -= weights[first : first + size] @ np.log(probabilities[np.arange(len(labels)), labels])
            d = (probabilities - np.eye(2)[labels]) * shares[:, None] * (1 - scores**2)
            below = (d @ W[1].T) * (1 - hidden**2)
            gradients = [samples.T @ below, hidden.T @ d, below.sum(axis=0), d.sum(axis=0)]
            norm = math.sqrt(sum((g**2).sum() for g in gradients))
            gradients = [g * min(1, clip_norm / max(norm, 1e-300)) for g in gradients]
            before = [w.copy() for w in W]
            for k in (0, 1):
                penalty = reg_lambda * W[k] + options.get("l1", 0.0) * np.sign(W[k])
                W[k] -= epsilon * (gradients[k] + penalty)
                b[k] -= epsilon * gradients[2 + k]
                W[k] *= np.minimum(1, max_norm / np.linalg.norm(W[k], axis=0))
            average = [decay * old + (1 - decay) * new for old, new in zip(average, (*W, *b), strict=True)]
        losses.append(loss / weights.sum())
        norms.append(norm)
        ratios.append([np.linalg.norm(w - v) / np.linalg.norm(v) for w, v in zip(W, before, strict=True)])
    return np.concatenate([a.ravel() for a in average]), losses, norms, ratios


MEANS = {"batch_size": 8, "reduction": "mean"}
# Options of trainings that `train_by_hand` computes as well.
OPTIONS_BY_HAND = {
    "plain": {},
    "mean": {"reduction": "mean", "epsilon": 0.2},
    "batches and a short last one": {"batch_size": 8},
    "batches, mean": MEANS | {"epsilon": 0.2},
    "batches of one": {"batch_size": 1},
    "a batch larger than the data": {"batch_size": 1000},
    "weights": {"sample_weight": np.arange(37) % 4},
    "weights, batches, mean": {"sample_weight": 0.1 + np.arange(37) % 4, **MEANS, "epsilon": 0.2},
    "a batch of weight 0": {"sample_weight": np.arange(37) // 8 != 2, **MEANS},
    "L2": {"reg_lambda": 0.7},
    "L1": {"l1": 0.5},
    "L1, L2, batches": {"l1": 0.3, "reg_lambda": 0.2, "batch_size": 8},
    "clipped": {"clip_norm": 1.5, "reg_lambda": 0.2},
    "not clipped": {"clip_norm": 1e6},
    "norms limited": {"max_norm": 0.8, "batch_size": 8},
    "norms limited to less than at first": {"max_norm": 0.2},
    "average": {"ema_decay": 0.9},
    "average, batches": {"ema_decay": 0.5, "batch_size": 8},
    "average that is the parameters": {"ema_decay": 0.0},
    "every option of a step": STEP_OPTIONS,
}


@pytest.mark.parametrize("options", OPTIONS_BY_HAND.values(), ids=OPTIONS_BY_HAND)
def test_a_training_matches_gradient_descent_by_hand(options, backend):
    options = {"epsilon": 0.02, "reg_lambda": 0.0} | options
    model = model_for(backend)
    expected, losses, norms, ratios = train_by_hand(model, 12, **options)
    history = model.train(few, few_y, num_passes=12, shuffle=False, **options)
    np.testing.assert_allclose(parameters(model), expected, **CLOSE)
    np.testing.assert_allclose(history.loss, losses, **CLOSE)
    np.testing.assert_allclose(history.gradient_norm, norms, **CLOSE)
    np.testing.assert_allclose(history.update_ratio, ratios, **CLOSE)


@pytest.mark.parametrize("batch_size", [None, 16])
def test_gradients_whose_squares_are_just_finite_are_clipped(batch_size, backend):
    """The squares of these gradients are near the largest float64; the squares of larger ones overflow."""
    model = model_for(backend)
    for W in model.W:
        W *= 1e-3
    before = parameters(model)
    options = {"reg_lambda": 0.0, "clip_norm": 1.0, "batch_size": batch_size}
    huge, weights = 1e125 * np.sign(few), np.full(37, 1e25)
    history = model.train(huge, few_y, num_passes=1, epsilon=0.01, sample_weight=weights, **options)
    assert np.isfinite(history.gradient_norm).all()
    assert np.isfinite(parameters(model)).all()
    assert np.linalg.norm(parameters(model) - before) <= 0.01 * (3 if batch_size else 1) * (1 + 1e-12)


def test_a_seed_gives_the_same_run_and_another_gives_another(backend):
    def trained(seed, **options):
        model = model_for(backend, dropout=0.3)
        model.train(X, y, num_passes=5, batch_size=16, random_state=seed, **options)
        return parameters(model)

    np.testing.assert_array_equal(trained(1), trained(1))
    assert (trained(1) != trained(2)).any()
    assert (trained(1) != trained(1, shuffle=False)).any()
    np.random.seed(1)
    np.testing.assert_array_equal(trained(None), trained(1))
    state = np.random.RandomState(1)
    np.testing.assert_array_equal(trained(state), trained(1))
    assert (trained(state) != trained(1)).any(), "the generator has moved on"


def test_the_global_generator_is_used_only_if_there_is_something_to_draw():
    np.random.seed(5)
    expected = np.random.rand()
    for options in ({}, {"batch_size": 16, "shuffle": False}, {"batch_size": 200}, {"random_state": 3}):
        np.random.seed(5)
        model_for().train(X, y, num_passes=2, **options)
        assert np.random.rand() == expected, options
    np.random.seed(5)
    model_for().train(X, y, num_passes=2, batch_size=16)
    assert np.random.rand() != expected


def test_every_epoch_takes_every_sample_once(backend):
    """At a rate of 0 the losses of the batches add up to the loss of the data, in whatever order."""
    model = model_for(backend)
    history = model.train(X, y, num_passes=5, epsilon=0.0, batch_size=16, random_state=0)
    np.testing.assert_allclose(history.loss, model.calculate_loss(X, y), rtol=1e-12)
    assert len(np.unique(history.gradient_norm)) == 5, "every epoch has another last batch"
