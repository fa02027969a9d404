"""Parallel trainings: on threads of fastnn, and on threads of the caller.

The network is large enough for threads to share its batches. Every training must end, with the same bits as
on one thread.
"""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from estimator_checks import parameters, state
from processes import PATIENCE

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


@pytest.mark.parametrize("layers", [(244, 32, 24, 8), (249, 33, 8, 3), (900, 16, 3)], ids=str)
@pytest.mark.parametrize("batch_size", [64, 250])
@pytest.mark.parametrize("input_dropout", [0.0, 0.3])
def test_batch_normalisation_and_dropout_of_shared_units_match_the_reference(
    monkeypatch, layers, batch_size, input_dropout
):
    monkeypatch.setattr(limits, "SHARED_OPERATIONS", 0)
    monkeypatch.setattr(limits, "TEAM_TRAFFIC", 0.0)
    X, y = random.normal(size=(300, layers[0])), random.integers(0, layers[-1], 300)
    options = {"optimizer": "momentum", "reduction": "mean", "batch_size": batch_size, "random_state": 0}
    results = []
    for backend, n_threads in (("numba", 1), ("numba", 2), ("numpy", 1)):
        rates = [input_dropout, *[0.3] * (len(layers) - 2)]
        network = fastnn.Model(layers, batch_norm=True, dropout=rates, random_state=0, backend=backend)
        weights = 0.5 + np.arange(300) % 3
        history = network.train(X, y, 5, 0.01, sample_weight=weights, n_threads=n_threads, **options)
        results.append(np.concatenate([state(network), history.loss, history.gradient_norm]))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_allclose(results[0], results[2], rtol=1e-9, atol=1e-11)


@pytest.mark.native("threads")
def test_trainings_on_eight_threads_give_the_same_bits():
    """Each training asks for two threads: sixteen threads compete for the cores."""
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(train, range(8), [2] * 8))
    np.testing.assert_array_equal(together, [train(seed) for seed in range(8)])


@pytest.mark.native("threads")
def test_a_thread_may_predict_with_a_model_that_another_trains():
    model, alone = (fastnn.Model(LAYERS, dropout=0.2, random_state=0) for _ in range(2))

    def predict(_):
        return np.isfinite(model.predict_proba(X[:100])).all()

    with ThreadPoolExecutor(2) as pool:
        are_finite = pool.map(predict, range(100))
        model.train(X, y, n_threads=2, random_state=0, **OPTIONS)
    assert all(are_finite)
    alone.train(X, y, random_state=0, **OPTIONS)
    np.testing.assert_array_equal(parameters(model), parameters(alone))


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


@pytest.mark.native("threads")
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
    np.testing.assert_array_equal(train(0, 2), expected)
    assert failures
