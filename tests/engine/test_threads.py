"""Parallel trainings: on threads of fastnn, and on threads of the caller.

The network is large enough for threads to share its batches. Every training must end, with the same bits as
on one thread.
"""

import gc
import threading
import warnings

import numba
import numpy as np
import pytest
from estimator_checks import parameters, state
from processes import PATIENCE
from sklearn.exceptions import ConvergenceWarning
from trainings import begin

import fastnn
from fastnn.engine import limits
from fastnn.engine.arguments import divide_step
from fastnn.engine.job import Job
from fastnn.network.description import Network
from fastnn.system import threads
from fastnn.system.threads import CorePlaces
from fastnn_kernels.compiler.entry import PreparedCall
from fastnn_kernels.compiler.jit import OPTIONS as KERNEL_OPTIONS
from fastnn_kernels.team import updates_in_strips

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
    """Run functions, each on its own thread, and return their results."""
    results = {}
    workers = [
        threading.Thread(target=lambda k=k: results.update({k: tasks[k]()})) for k in range(len(tasks))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return [results[k] for k in range(len(tasks))]


def assert_all_equal(results):
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize(
    ("layers", "batch_size", "settings", "expected"),
    [
        (LAYERS, 512, {"dropout": 0.2}, (8, False)),
        ([2, 3, 2], 200, {}, (1, False)),
        # Samples are shared if a batch has more sums than the network has parameters, else units.
        ([64, 100, 10], 200, {}, (2, False)),
        ([784, 256, 10], 128, {}, (2, True)),
        ([784, 256, 10], 128, {"batch_norm": True}, (2, True)),
        ([784, 256, 10], 512, {"batch_norm": True}, (2, True)),
        ([784, 256, 10], 1024, {"batch_norm": True}, (1, False)),
        ([64, 100, 10], 200, {"batch_norm": True}, (1, False)),
        ([784, 256, 10], 128, {"batch_norm": True, "dropout": 0.2}, (2, True)),
    ],
)
def test_threads_share_samples_or_units_of_large_batches(layers, batch_size, settings, expected):
    assert divide_step(Network.create(layers, **settings), batch_size) == expected


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": 500, "clip_norm": 5.0, "max_norm": 1.0, "ema_decay": 0.5, "reduction": "mean"},
        {"batch_size": 512, "sample_weight": 0.5 + np.arange(1200) % 3, "l1": 1e-3, "reg_lambda": 0.1},
        {"batch_size": 530},
    ],
    ids=["plain", "clipped, limited, averaged", "weighted", "shards of unequal size"],
)
def test_any_number_of_threads_gives_the_same_bits(options):
    assert_all_equal([train(0, n_threads, **options) for n_threads in (1, 2, 3, 8, 100)])


# Networks, and for each layer whether either part's weights are updated in strips, which are whole vectors.
# Each part of the first network's first layer has several strips.
IN_STRIPS = {
    (244, 32, 24, 8): [(True, True), (True, True), (False, False)],
    (249, 33, 8, 3): [(False, False)] * 3,
}
each_width = pytest.mark.parametrize("layers", IN_STRIPS, ids=["whole vectors", "incomplete vectors"])


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
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_batch_normalisation_and_dropout_of_shared_units_match_the_reference(
    monkeypatch, layers, batch_size, dropout
):
    share_everything(monkeypatch)
    X, y = random.normal(size=(300, layers[0])), random.integers(0, layers[-1], 300)
    options = {"optimizer": "momentum", "reduction": "mean", "batch_size": batch_size, "random_state": 0}
    results = []
    for backend, n_threads in (("numba", 1), ("numba", 2), ("numpy", 1)):
        network = fastnn.Model(layers, batch_norm=True, dropout=dropout, random_state=0, backend=backend)
        weights = 0.5 + np.arange(300) % 3
        history = network.train(X, y, 5, 0.01, sample_weight=weights, n_threads=n_threads, **options)
        results.append(np.concatenate([state(network), history.loss, history.gradient_norm]))
    assert_all_equal(results[:2])
    np.testing.assert_allclose(results[0], results[2], rtol=1e-9, atol=1e-11)


@each_width
def test_layers_of_whole_vectors_are_updated_in_strips(layers):
    @numba.njit(**KERNEL_OPTIONS)
    def in_strips(plan, layer, part, T, n_lanes):
        return updates_in_strips(plan, layer, part, T, n_lanes)

    plan = Network.create(layers).training_layout.plan
    found = [tuple(in_strips(plan, layer, part, 64, 8) for part in range(2)) for layer in range(len(plan))]
    assert found == IN_STRIPS[layers]


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


def test_divergence_on_two_threads_raises_the_same_error():
    messages = set()
    for n_threads in (1, 2):
        model = fastnn.Model(LAYERS, dropout=0.2, random_state=0)
        options = {"random_state": 0, "batch_size": 512, "epsilon": 100.0, "reg_lambda": 1.0}
        with pytest.raises(fastnn.DivergenceError) as caught:
            model.train(X, y, n_threads=n_threads, **options)
        messages.add(str(caught.value))
        assert np.isfinite(parameters(model)).all()
    assert len(messages) == 1


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


def test_a_closed_trainer_runs_on(monkeypatch):
    monkeypatch.setattr(threads, "count_cores", lambda: 2)
    options = {"num_passes": 4, "batch_size": 512, "epsilon": 1e-4, "reg_lambda": 0.01, "n_threads": 2}
    job = Job(X, y.astype(float)[:, None], np.ones(1200), **options)
    results = []
    for closes in (False, True):
        trainer, arrays = begin("numba", Network.create(LAYERS), job)
        for n_passes in range(1, 5):
            while trainer.n_passes < n_passes:  # a slow call makes the next shorter than an epoch
                assert trainer.run(n_passes)
                assert trainer._calls.n_running == 2
                if closes:
                    trainer.close()
        trainer.close()
        results.append(arrays["parameters"])
    assert_all_equal(results)


def test_restoring_the_middle_of_a_step_restores_its_weights(monkeypatch):
    """After a divergence, the trainer returns to the beginning of a call, here in the middle of a step."""
    X, y = random.normal(size=(3000, 10)), random.integers(0, 3, 3000)
    curves = []
    for operations in (1, 1e15):  # the first call does one tile, or calls do whole steps
        monkeypatch.setattr(limits, "FIRST_CALL_OPERATIONS", operations)
        network = fastnn.MLPClassifier(
            (16,), solver="sgd", learning_rate_init=1e160, alpha=1e3, batch_size=3000, random_state=0
        )
        with pytest.raises(ValueError, match="non-finite"):
            network.fit(X, y)
        curves.append(network.loss_curve_)
    assert np.isfinite(curves[0][0])
    assert curves[0] == curves[1]


def test_threads_share_the_units_of_more_inputs_than_hidden_units(monkeypatch):
    """With NUMBA_BOUNDSCHECK=1: the empty derivatives by the first inputs begin within their array."""
    monkeypatch.setattr(limits, "SHARED_OPERATIONS", 0)
    X, y = np.random.default_rng(0).normal(size=(200, 900)), np.arange(200) % 3
    models = [fastnn.Model([900, 16, 3], random_state=0) for _ in range(2)]
    for k, model in enumerate(models):
        model.train(X, y, 2, 0.001, batch_size=100, optimizer="adam", n_threads=k + 1, random_state=0)
    assert_all_equal([parameters(model) for model in models])


@pytest.mark.parametrize("failing", [0, 1])
def test_a_failing_thread_does_not_leave_the_others_waiting(failing, monkeypatch):
    """An exception in its kernel is raised; one that has no memory to move computes where it is."""
    monkeypatch.setattr(threads, "count_cores", lambda: 2)
    call_kernel, expected, failures = PreparedCall.__call__, train(0), []

    def take(places):
        failures.append(places)
        raise MemoryError

    def call_or_fail(call):
        if call.arguments.get("n_threads") == 2 and call.arguments["thread"] == failing:
            raise IndexError("out of bounds")
        return call_kernel(call)

    with monkeypatch.context() as patch:
        patch.setattr(PreparedCall, "__call__", call_or_fail)
        with pytest.raises(IndexError, match="out of bounds"):
            train(0, 2)
    monkeypatch.setattr(CorePlaces, "take", take)
    assert_all_equal([expected, train(0, 2)])
    assert failures
