"""Parallel trainings: on threads of fastnn, and on threads of the caller.

The network is large enough for threads to share its batches. Every training must end, with the same bits as
on one thread.
"""

import gc
import threading
import warnings

import numpy as np
import pytest
from estimator_checks import parameters, state
from processes import PATIENCE
from sklearn.exceptions import ConvergenceWarning

import fastnn
from fastnn.engine import limits
from fastnn.system import threads
from fastnn.system.threads import CorePlaces
from fastnn_kernels.compiler.entry import PreparedCall

random = np.random.default_rng(0)
X, y = random.normal(size=(1200, 20)), random.integers(0, 3, 1200)
OPTIONS = {"num_passes": 5, "epsilon": 1e-4, "batch_size": 512}
LAYERS = [20, 64, 64, 3]


def train(seed, n_threads=1, **options):
    """Return parameters and records after a training; other tests compile the kernels for dropout, too."""
    model = fastnn.Model(LAYERS, dropout=0.2, random_state=seed)
    history = model.train(X, y, n_threads=n_threads, random_state=seed, **OPTIONS | options)
    return np.concatenate([parameters(model), history.loss, history.gradient_norm, *history.update_ratio])


def run_together(tasks):
    found = {}
    workers = [threading.Thread(target=lambda k=k: found.update({k: tasks[k]()})) for k in range(len(tasks))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return [found[k] for k in range(len(tasks))]


def assert_all_equal(results):
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


# Layers whose weights are updated in strips of whole vectors: several in each part of the first layer;
# none; and a first layer whose derivatives by its inputs are empty.
each_width = pytest.mark.parametrize("layers", [(244, 32, 24, 8), (249, 33, 8, 3), (900, 16, 3)], ids=str)


def share_everything(monkeypatch):
    monkeypatch.setattr(limits, "SHARED_OPERATIONS", 0)
    monkeypatch.setattr(limits, "TEAM_TRAFFIC", 0.0)


@each_width
@pytest.mark.parametrize("estimator", [False, True], ids=["model", "estimator"])
def test_updates_in_strips_give_the_same_bits_as_updates_at_once(monkeypatch, layers, estimator):
    """With `clip_norm`, all weights are updated at once, when the norm of the gradient is known."""
    share_everything(monkeypatch)
    X, y = random.normal(size=(300, layers[0])), random.integers(0, layers[-1], 300)
    results = []
    for clip_norm, n_threads in ((None, 1), (None, 2), (1e30, 1), (1e30, 2)):
        options = {"batch_size": 64, "random_state": 0, "n_threads": n_threads}
        if estimator:  # an estimator records objectives, with the squares of the weights
            settings = {"max_iter": 3, "alpha": 0.1, "max_grad_norm": clip_norm}
            network = fastnn.MLPClassifier(layers[1:-1], **settings, **options)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                network.fit(X, y)
            results.append(np.concatenate([parameters(network), network.loss_curve_]))
        else:
            network = fastnn.Model(layers, activation="relu", random_state=0)
            history = network.train(X, y, 3, 0.01, optimizer="adam", clip_norm=clip_norm, **options)
            results.append(np.concatenate([parameters(network), history.loss, history.gradient_norm]))
    assert_all_equal(results)


@each_width
@pytest.mark.parametrize("batch_size", [64, 250])
@pytest.mark.parametrize("input_dropout", [0.0, 0.3])
def test_batch_normalisation_and_dropout_of_shared_units_match_the_reference(
    monkeypatch, layers, batch_size, input_dropout
):
    share_everything(monkeypatch)
    X, y = random.normal(size=(300, layers[0])), random.integers(0, layers[-1], 300)
    options = {"optimizer": "momentum", "reduction": "mean", "batch_size": batch_size, "random_state": 0}
    results = []
    for backend, n_threads in (("numba", 1), ("numba", 2), ("numpy", 1)):
        rates = [input_dropout, *[0.3] * (len(layers) - 2)]
        network = fastnn.Model(layers, batch_norm=True, dropout=rates, random_state=0, backend=backend)
        weights = 0.5 + np.arange(300) % 3
        history = network.train(X, y, 5, 0.01, sample_weight=weights, n_threads=n_threads, **options)
        results.append(np.concatenate([state(network), history.loss, history.gradient_norm]))
    assert_all_equal(results[:2])
    np.testing.assert_allclose(results[0], results[2], rtol=1e-9, atol=1e-11)


def test_trainings_on_eight_threads_give_the_same_bits():
    """Each training asks for two threads: sixteen threads compete for the cores."""
    together = run_together([lambda seed=seed: train(seed, 2) for seed in range(8)])
    for seed, result in enumerate(together):
        np.testing.assert_array_equal(train(seed), result)


def test_a_thread_may_predict_with_a_model_that_another_trains():
    models = [fastnn.Model(LAYERS, dropout=0.2, random_state=0) for _ in range(2)]
    options = {"random_state": 0, **OPTIONS}

    def predict():
        return all(np.isfinite(models[0].predict_proba(X[:100])).all() for _ in range(50))

    _, *are_finite = run_together([lambda: models[0].train(X, y, n_threads=2, **options), predict, predict])
    assert all(are_finite)
    models[1].train(X, y, **options)
    assert_all_equal([parameters(model) for model in models])


def test_the_threads_of_a_training_end_though_an_error_refers_to_the_training():
    gc.collect()  # threads of earlier tests
    others = set(threading.enumerate())  # threads of other pools, which stay

    def stop(history):
        raise ArithmeticError("stopped")

    with pytest.raises(ArithmeticError, match="stopped") as error:
        train(0, 4, callbacks=[stop], validation_data=(X, y))
    assert error.traceback
    for thread in set(threading.enumerate()) - others:
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.parametrize("failing", [0, 1])
def test_a_failing_thread_does_not_leave_the_others_waiting(failing, monkeypatch):
    """An exception in its kernel is raised; one that has no memory to move computes where it is."""
    monkeypatch.setattr(threads, "count_cores", lambda: 2)
    call_kernel, expected, failures = PreparedCall.__call__, train(0), []

    def take(places):
        failures.append(places)
        raise MemoryError

    def call_or_fail(call):
        if call.arguments.get("team", ())[:2] == (failing, 2):
            raise IndexError("out of bounds")
        return call_kernel(call)

    with monkeypatch.context() as patch:
        patch.setattr(PreparedCall, "__call__", call_or_fail)
        with pytest.raises(IndexError, match="out of bounds"):
            train(0, 2)
    monkeypatch.setattr(CorePlaces, "take", take)
    assert_all_equal([expected, train(0, 2)])
    assert failures
