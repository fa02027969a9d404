"""Steps of a training: formulas by hand, sample weights, regularisation, and the order of the samples."""

import math

import numpy as np
import pytest
from estimator_checks import parameters
from processes import run_python
from small_models import BACKENDS, CLOSE, X, few, few_y, model_for, y

import fastnn
from fastnn.engine.choice import BACKENDS as ALL_BACKENDS
from fastnn.optimizers import OPTIMIZERS


def by_hand(model, X, y, n_passes, epsilon, weights=None, batch_size=None, mean=False, reg_lambda=0.0,
            l1=0.0, clip_norm=None, max_norm=None, ema_decay=None):  # fmt: skip
    """Train by gradient descent; return parameters, losses, gradient norms and update ratios."""
    W, b = [w.copy() for w in model.W], [v[0].copy() for v in model.b]
    average = [a.copy() for a in (*W, *b)]
    weights = np.ones(len(X)) if weights is None else np.asarray(weights, float)
    size = batch_size or len(X)
    losses, norms, ratios = [], [], []
    for _ in range(n_passes):
        loss = 0.0
        for first in range(0, len(X), size):
            samples, labels, shares = (a[first : first + size] for a in (X, y, weights))
            if mean:
                shares = shares / shares.sum()
            hidden = np.tanh(samples @ W[0] + b[0])
            scores = np.tanh(hidden @ W[1] + b[1])
            e = np.exp(scores)
            probabilities = e / e.sum(axis=1, keepdims=True)
            loss -= weights[first : first + size] @ np.log(probabilities[np.arange(len(labels)), labels])
            d = (probabilities - np.eye(2)[labels]) * shares[:, None] * (1 - scores**2)
            below = (d @ W[1].T) * (1 - hidden**2)
            gradients = [samples.T @ below, hidden.T @ d, below.sum(axis=0), d.sum(axis=0)]
            norm = math.sqrt(sum((g**2).sum() for g in gradients))
            if clip_norm and norm > clip_norm:
                gradients = [g * clip_norm / norm for g in gradients]
            before = [w.copy() for w in W]
            for k in (0, 1):
                W[k] -= epsilon * (gradients[k] + reg_lambda * W[k] + l1 * np.sign(W[k]))
                b[k] -= epsilon * gradients[2 + k]
                if max_norm:
                    W[k] *= np.minimum(1, max_norm / np.linalg.norm(W[k], axis=0))
            if ema_decay is not None:
                average = [
                    ema_decay * old + (1 - ema_decay) * new
                    for old, new in zip(average, (*W, *b), strict=True)
                ]
        losses.append(loss / weights.sum())
        norms.append(norm)
        ratios.append(
            [np.linalg.norm(w - old) / np.linalg.norm(old) for w, old in zip(W, before, strict=True)]
        )
    found = average if ema_decay is not None else (*W, *b)
    return np.concatenate([a.ravel() for a in found]), losses, norms, ratios


# Options of trainings that `by_hand` computes as well.
OPTIONS_BY_HAND = {
    "plain": {},
    "mean": {"reduction": "mean", "epsilon": 0.2},
    "batches and a short last one": {"batch_size": 8},
    "batches, mean": {"batch_size": 8, "reduction": "mean", "epsilon": 0.2},
    "batches of one": {"batch_size": 1},
    "a batch larger than the data": {"batch_size": 1000},
    "weights": {"weights": np.arange(37) % 4},
    "weights, batches, mean": {
        "weights": 0.1 + np.arange(37) % 4, "batch_size": 8, "reduction": "mean", "epsilon": 0.2,
    },
    "L2": {"reg_lambda": 0.7},
    "L1": {"l1": 0.5},
    "L1, L2, batches": {"l1": 0.3, "reg_lambda": 0.2, "batch_size": 8},
    "clipped": {"clip_norm": 1.5, "reg_lambda": 0.2},
    "norms limited": {"max_norm": 0.8, "batch_size": 8},
    "average": {"ema_decay": 0.9},
    "average, batches": {"ema_decay": 0.5, "batch_size": 8},
    "average that is the parameters": {"ema_decay": 0.0},
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", OPTIONS_BY_HAND.values(), ids=OPTIONS_BY_HAND)
def test_a_training_matches_gradient_descent_by_hand(options, backend):
    options = {"epsilon": 0.02, "reg_lambda": 0.0} | options
    hand = {k: v for k, v in options.items() if k != "reduction"}
    model = model_for(backend)
    expected, losses, norms, ratios = by_hand(
        model, few, few_y, 12, mean=options.get("reduction") == "mean", **hand
    )
    weights = options.pop("weights", None)
    history = model.train(few, few_y, num_passes=12, shuffle=False, sample_weight=weights, **options)
    np.testing.assert_allclose(parameters(model), expected, **CLOSE)
    np.testing.assert_allclose(history.loss, losses, **CLOSE)
    np.testing.assert_allclose(history.gradient_norm, norms, **CLOSE)
    np.testing.assert_allclose(history.update_ratio, ratios, **CLOSE)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_weight_of_two_counts_as_two_equal_samples(reduction, backend):
    weights = np.where(np.arange(37) % 3, 1.0, 2.0)
    twice = np.repeat(np.arange(37), weights.astype(int))
    weighted, repeated = model_for(backend), model_for(backend)
    options = {"num_passes": 20, "epsilon": 0.02, "reduction": reduction}
    first = weighted.train(few, few_y, sample_weight=weights, **options)
    second = repeated.train(few[twice], few_y[twice], **options)
    np.testing.assert_allclose(parameters(weighted), parameters(repeated), **CLOSE)
    np.testing.assert_allclose(first.loss, second.loss, **CLOSE)
    assert weighted.calculate_loss(few, few_y, weights) == pytest.approx(
        repeated.calculate_loss(few[twice], few_y[twice]), rel=1e-10
    )


@pytest.mark.parametrize(
    ("backend", "options"), [("numba", {}), ("numpy", {}), ("numpy", {"batch_norm": True})]
)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_sample_of_weight_zero_does_not_count(reduction, backend, options):
    counted = np.arange(37) % 5 > 0
    weighted, without = model_for(backend, **options), model_for(backend, **options)
    rates = {"num_passes": 20, "epsilon": 0.02, "reduction": reduction}
    first = weighted.train(few, few_y, sample_weight=counted, **rates)
    second = without.train(few[counted], few_y[counted], **rates)
    np.testing.assert_allclose(parameters(weighted), parameters(without), **CLOSE)
    np.testing.assert_allclose(weighted._statistics, without._statistics, **CLOSE)
    np.testing.assert_allclose(first.loss, second.loss, **CLOSE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_of_weight_zero_changes_nothing(backend):
    weights = np.repeat([1.0, 0.0, 1.0], [16, 16, 5])
    weighted, without = model_for(backend), model_for(backend)
    options = {"num_passes": 5, "reg_lambda": 0.0, "batch_size": 16, "shuffle": False, "reduction": "mean"}
    weighted.train(few, few_y, sample_weight=weights, **options)
    without.train(few[weights > 0], few_y[weights > 0], **options)
    np.testing.assert_allclose(parameters(weighted), parameters(without), **CLOSE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_mean_is_the_sum_divided_by_the_number_of_samples(backend):
    by_sum, by_mean = model_for(backend), model_for(backend)
    first = by_sum.train(X, y, num_passes=20, epsilon=0.005, reg_lambda=0.02)
    second = by_mean.train(X, y, num_passes=20, epsilon=0.005 * 200, reg_lambda=0.02 / 200, reduction="mean")
    np.testing.assert_allclose(parameters(by_sum), parameters(by_mean), **CLOSE)
    np.testing.assert_allclose(first.loss, second.loss, **CLOSE)
    np.testing.assert_allclose(first.gradient_norm, 200 * second.gradient_norm, **CLOSE)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("backend", BACKENDS)
def test_max_norm_holds_after_training(backend, dtype):
    model = model_for(backend, dtype=dtype)
    model.train(X, y, num_passes=50, reg_lambda=0.0, max_norm=0.2)
    norms = np.concatenate([np.linalg.norm(W.astype(float), axis=0) for W in model.W])
    assert (norms <= 0.2 * (1 + 4 * np.finfo(dtype).eps)).all()
    assert norms.max() == pytest.approx(0.2, rel=1e-5)
    assert max(np.abs(b).max() for b in model.b) > 0.2, "biases are not limited"


@pytest.mark.parametrize("backend", BACKENDS)
def test_l1_leads_to_small_weights_and_leaves_biases(backend):
    sparse, dense = model_for(backend), model_for(backend)
    options = {"num_passes": 500, "epsilon": 0.001, "reg_lambda": 0.0}
    sparse.train(X, y, l1=20.0, **options)
    dense.train(X, y, **options)
    # Weights that L1 has driven to 0 oscillate around 0 by less than a step.
    assert (np.abs(sparse.W[0]) <= 0.021).mean() >= 0.5
    assert sum(np.abs(W).sum() for W in sparse.W) < 0.5 * sum(np.abs(W).sum() for W in dense.W)
    assert max(np.abs(b).max() for b in sparse.b) > 0.1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch_size", [None, 16])
def test_gradients_whose_squares_are_just_finite_are_clipped(batch_size, backend):
    """The squares of these gradients are near the largest float64; those of larger gradients overflow."""
    model = model_for(backend)
    for W in model.W:
        W *= 1e-3
    before = parameters(model)
    huge = 1e125 * np.sign(few)
    history = model.train(
        huge, few_y, num_passes=1, epsilon=0.01, reg_lambda=0.0, clip_norm=1.0, batch_size=batch_size,
        sample_weight=np.full(37, 1e25),
    )  # fmt: skip
    assert np.isfinite(history.gradient_norm).all()
    assert np.isfinite(parameters(model)).all()
    steps = 3 if batch_size else 1
    assert np.linalg.norm(parameters(model) - before) <= 0.01 * steps * (1 + 1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_gradient_within_the_limit_is_not_clipped(backend):
    clipped, free = model_for(backend), model_for(backend)
    history = clipped.train(X, y, num_passes=10, clip_norm=1e6)
    free.train(X, y, num_passes=10)
    assert history.gradient_norm.max() < 1e6
    np.testing.assert_array_equal(parameters(clipped), parameters(free))


@pytest.mark.parametrize("backend", BACKENDS)
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


def test_both_backends_shuffle_and_drop_alike():
    model, other = model_for("numba", dropout=[0.1, 0.3]), model_for("numpy", dropout=[0.1, 0.3])
    options = {"num_passes": 6, "batch_size": 16, "random_state": 2, "epsilon": 0.01}
    first, second = model.train(X, y, **options), other.train(X, y, **options)
    np.testing.assert_allclose(parameters(model), parameters(other), **CLOSE)
    np.testing.assert_allclose(first.loss, second.loss, **CLOSE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_epoch_takes_every_sample_once(backend):
    """At a rate of 0 the losses of the batches add up to that of the data, in whatever order."""
    model = model_for(backend)
    history = model.train(X, y, num_passes=5, epsilon=0.0, batch_size=16, random_state=0)
    np.testing.assert_allclose(history.loss, model.calculate_loss(X, y), rtol=1e-12)
    assert len(np.unique(history.gradient_norm)) == 5, "every epoch has another last batch"


def test_a_whole_batch_is_not_shuffled():
    model, other = model_for(), model_for()
    model.train(X, y, num_passes=5, random_state=0)
    other.train(X, y, num_passes=5, batch_size=200, random_state=1)
    np.testing.assert_array_equal(parameters(model), parameters(other))


SAME_BITS = """
    import hashlib
    import numpy as np
    import fastnn

    random = np.random.default_rng(0)
    X, y = random.normal(size=(1200, 20)), random.integers(0, 3, 1200)
    for n_threads in (1, 2, 3, 8):
        model = fastnn.Model([20, 64, 64, 3], dropout=0.2, random_state=0)
        history = model.train(
            X, y, num_passes=3, epsilon=1e-4, batch_size=512, n_threads=n_threads, random_state=1
        )
        measured = history.loss.tobytes() + history.gradient_norm.tobytes() + history.update_ratio.tobytes()
        print(hashlib.sha256(model._parameters.tobytes() + measured).hexdigest())
"""


@pytest.mark.slow
def test_a_seed_gives_the_same_bits_in_five_processes_on_any_number_of_threads():
    from fastnn.engine.arguments import sharing

    network = fastnn.Model([20, 64, 64, 3], dropout=0.2)._network
    assert sharing(network, 512) == (8, False), "threads must share the samples of a batch"
    printed = [line for _ in range(5) for line in run_python(SAME_BITS).split()]
    assert len(printed) == 20
    assert len(set(printed)) == 1


def test_every_optimizer_lowers_the_loss():
    for name in OPTIMIZERS:
        model = model_for("numpy")
        model.train(X, y, num_passes=10, epsilon=0.001, optimizer=name)
        assert model.calculate_loss(X, y) < model_for("numpy").calculate_loss(X, y)


def test_the_tests_use_every_backend():
    assert set(ALL_BACKENDS) == set(BACKENDS)
