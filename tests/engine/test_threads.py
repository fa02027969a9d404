"""Parallel trainings: on threads of fastnn, on threads of the caller, and in forked processes.

The network is large enough for threads to share its batches. Every training must end, with the same bits as
on one thread.
"""

import gc
import importlib.util
import os
import textwrap
import threading
import warnings

import numba
import numpy as np
import pytest
from processes import PATIENCE, run_python
from sklearn.exceptions import ConvergenceWarning
from trainings import begin

import fastnn
from fastnn.engine import limits
from fastnn.engine.arguments import sharing
from fastnn.engine.job import Job
from fastnn.system import threads
from fastnn.system.threads import CorePlaces, acquired_cores, available_cores
from fastnn_kernels.compiler.entry import PreparedCall
from fastnn_kernels.compiler.jit import OPTIONS as KERNEL_OPTIONS
from fastnn_kernels.team import updates_in_strips

random = np.random.default_rng(0)
X, y = random.normal(size=(1200, 20)), random.integers(0, 3, 1200)
OPTIONS = {"num_passes": 5, "epsilon": 1e-4, "batch_size": 512}
LAYERS = [20, 64, 64, 3]


def trained(seed, n_threads=1, dropout=0.2, **options):
    """Return parameters and records after a training; other tests compile the kernels for dropout, too."""
    model = fastnn.Model(LAYERS, dropout=dropout, random_state=seed)
    history = model.train(X, y, n_threads=n_threads, random_state=seed, **OPTIONS | options)
    return np.concatenate([model._parameters, history.loss, history.gradient_norm, *history.update_ratio])


def results_in_parallel(tasks):
    """Run functions, each on its own thread, and return their results."""
    results = [None] * len(tasks)

    def run(k):
        results[k] = tasks[k]()

    threads = [threading.Thread(target=run, args=(k,)) for k in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_threads_share_samples_or_units_of_large_batches():
    network = fastnn.Model(LAYERS, dropout=0.2)._network
    assert sharing(network, 512) == (8, False)
    assert sharing(fastnn.Model([2, 3, 2])._network, 200) == (1, False)
    # Samples are shared if a batch has more sums than the network has parameters, else units.
    assert sharing(fastnn.Model([64, 100, 10])._network, 200) == (2, False)
    assert sharing(fastnn.Model([784, 256, 10])._network, 128) == (2, True)
    wide = fastnn.Model([784, 256, 10], batch_norm=True)._network
    assert [sharing(wide, size) for size in (128, 512, 1024)] == [(2, True), (2, True), (1, False)]
    assert sharing(fastnn.Model([64, 100, 10], batch_norm=True)._network, 200) == (1, False)
    assert sharing(fastnn.Model([784, 256, 10], batch_norm=True, dropout=0.2)._network, 128) == (2, True)


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
    alone = trained(0, 1, **options)
    for n_threads in (2, 3, 8, 100):
        np.testing.assert_array_equal(trained(0, n_threads, **options), alone)


# Networks, and for each layer whether either part's weights are updated in strips, which are whole vectors.
# Each part of the first network's first layer has several strips.
IN_STRIPS = {
    (244, 32, 24, 8): [(True, True), (True, True), (False, False)],
    (249, 33, 8, 3): [(False, False)] * 3,
}


@pytest.mark.parametrize("layers_dim", IN_STRIPS, ids=["whole vectors", "incomplete vectors"])
@pytest.mark.parametrize("estimator", [False, True], ids=["model", "estimator"])
def test_updates_in_strips_give_the_same_bits_as_updates_at_once(monkeypatch, layers_dim, estimator):
    """With `clip_norm`, all weights are updated at once, when the norm of the gradient is known."""
    monkeypatch.setattr(limits, "SHARED_OPERATIONS", 0)
    monkeypatch.setattr(limits, "TEAM_TRAFFIC", 0.0)
    X, y = random.normal(size=(300, layers_dim[0])), random.integers(0, layers_dim[-1], 300)
    options = {"batch_size": 64, "random_state": 0}
    results = []
    for clip_norm, n_threads in ((None, 1), (None, 2), (1e30, 1), (1e30, 2)):
        if estimator:  # an estimator records objectives, with the squares of the weights
            network = fastnn.MLPClassifier(
                layers_dim[1:-1],
                max_iter=3,
                alpha=0.1,
                max_grad_norm=clip_norm,
                n_threads=n_threads,
                **options,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                network.fit(X, y)
            results.append(np.concatenate([*map(np.ravel, network.coefs_), network.loss_curve_]))
        else:
            network = fastnn.Model(layers_dim, activation="relu", random_state=0)
            history = network.train(
                X, y, 3, 0.01, optimizer="adam", clip_norm=clip_norm, n_threads=n_threads, **options
            )
            results.append(np.concatenate([network._parameters, history.loss, history.gradient_norm]))
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize("layers_dim", IN_STRIPS, ids=["whole vectors", "incomplete vectors"])
@pytest.mark.parametrize("batch_size", [64, 250])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_batch_normalisation_and_dropout_of_shared_units_match_the_reference(
    monkeypatch, layers_dim, batch_size, dropout
):
    monkeypatch.setattr(limits, "SHARED_OPERATIONS", 0)
    monkeypatch.setattr(limits, "TEAM_TRAFFIC", 0.0)
    X, y = random.normal(size=(300, layers_dim[0])), random.integers(0, layers_dim[-1], 300)
    results = []
    for backend, n_threads in (("numba", 1), ("numba", 2), ("numpy", 1)):
        network = fastnn.Model(layers_dim, batch_norm=True, dropout=dropout, random_state=0, backend=backend)
        history = network.train(
            X, y, 5, 0.01, optimizer="momentum", reduction="mean", sample_weight=0.5 + np.arange(300) % 3,
            batch_size=batch_size, random_state=0, n_threads=n_threads,
        )  # fmt: skip
        statistics = [part for views in network.batch_norm for part in views]
        arrays = [network._parameters, history.loss, history.gradient_norm, *map(np.ravel, statistics)]
        results.append(np.concatenate(arrays))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_allclose(results[0], results[2], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("layers_dim", IN_STRIPS)
def test_layers_of_whole_vectors_are_updated_in_strips(layers_dim):
    @numba.njit(**KERNEL_OPTIONS)
    def in_strips(plan, layer, part, T, n_lanes):
        return updates_in_strips(plan, layer, part, T, n_lanes)

    plan = fastnn.Model(layers_dim)._network.training_layout.plan
    found = [tuple(in_strips(plan, layer, part, 64, 8) for part in range(2)) for layer in range(len(plan))]
    assert found == IN_STRIPS[layers_dim]


def test_a_training_on_threads_matches_the_reference():
    """The reference does not divide batches into shards: results differ by rounding only."""
    results = []
    for backend, n_threads in (("numba", 3), ("numpy", 1)):
        model = fastnn.Model(LAYERS, dropout=0.2, random_state=0, backend=backend)
        history = model.train(X, y, n_threads=n_threads, random_state=0, **OPTIONS)
        results.append((model._parameters, history.loss, history.gradient_norm, history.update_ratio))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_small_batches_give_the_same_bits_with_many_threads():
    results = []
    for n_threads in (1, 8):
        model = fastnn.Model([20, 4, 3], dropout=0.2, random_state=0)
        model.train(X, y, n_threads=n_threads, random_state=0, **OPTIONS)
        results.append(model._parameters)
    np.testing.assert_array_equal(*results)


def test_trainings_on_eight_threads_give_the_same_bits():
    """Each training asks for two threads: sixteen threads compete for the cores."""
    alone = [trained(seed) for seed in range(8)]
    together = results_in_parallel([lambda seed=seed: trained(seed, 2) for seed in range(8)])
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_varying_number_of_free_cores_gives_the_same_bits():
    """Another thread takes all cores but one for a millisecond, again and again."""
    alone, ended = trained(0), threading.Event()

    def disturb():
        while not ended.is_set():
            with acquired_cores(available_cores() - 1):
                ended.wait(0.001)

    def train():
        try:
            return [trained(0, 2) for _ in range(5)]
        finally:
            ended.set()

    for result in results_in_parallel([train, disturb])[0]:
        np.testing.assert_array_equal(result, alone)


def test_a_thread_may_predict_with_a_model_that_another_trains():
    model = fastnn.Model(LAYERS, dropout=0.2, random_state=0)
    model.predict_proba(X)

    def predict():
        return all(np.isfinite(model.predict_proba(X[:100])).all() for _ in range(50))

    results = results_in_parallel(
        [lambda: model.train(X, y, n_threads=2, random_state=0, **OPTIONS), predict, predict]
    )
    assert results[1:] == [True, True]
    np.testing.assert_array_equal(model._parameters, trained(0)[: len(model._parameters)])


def test_divergence_on_two_threads_raises_the_same_error():
    messages = []
    for n_threads in (1, 2):
        model = fastnn.Model(LAYERS, dropout=0.2, random_state=0)
        with pytest.raises(fastnn.DivergenceError) as caught:
            model.train(
                X, y, n_threads=n_threads, random_state=0, batch_size=512, epsilon=100.0, reg_lambda=1.0
            )
        messages.append(str(caught.value))
        assert np.isfinite(model._parameters).all()
    assert messages[0] == messages[1]


def test_the_threads_of_a_training_end_though_an_error_refers_to_the_training():
    gc.collect()  # threads of earlier tests
    others = set(threading.enumerate())  # threads of other pools, which stay
    errors = []
    for n_passes in (1, 3):

        def stop(history, n_passes=n_passes):
            if len(history.loss) == n_passes:
                raise ArithmeticError("stopped")

        with pytest.raises(ArithmeticError, match="stopped") as error:
            trained(0, 4, callbacks=[stop], validation_data=(X, y))
        errors.append(error)
    assert all(error.traceback for error in errors)
    for thread in set(threading.enumerate()) - others:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_a_closed_trainer_runs_on(monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    network = fastnn.Model(LAYERS)._network
    job = Job(
        X, y.astype(float)[:, None], np.ones(1200), num_passes=4, batch_size=512, epsilon=1e-4,
        reg_lambda=0.01, n_threads=2,
    )  # fmt: skip
    results = []
    for closes in (False, True):
        trainer, arrays = begin("numba", network, job)
        for n_passes in range(1, 5):
            while trainer.n_passes < n_passes:  # a slow call makes the next shorter than an epoch
                assert trainer.run(n_passes)
                assert trainer._calls.n_running == 2
                if closes:
                    trainer.close()
        trainer.close()
        results.append(arrays["parameters"])
    np.testing.assert_array_equal(*results)


def test_a_thread_without_memory_to_move_computes_where_it_is(monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    expected, failures = trained(0, 2), []

    def take(places):
        failures.append(places)
        raise MemoryError

    monkeypatch.setattr(CorePlaces, "take", take)
    np.testing.assert_array_equal(trained(0, 2), expected)
    assert failures


# --- forked children, threading layers -----------------------------------------------------------

PARALLEL = """
    import multiprocessing
    import threading
    import warnings

    import numpy as np
    import fastnn

    # Python warns of forks in processes with threads; this test is about surviving them.
    warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)

    random = np.random.default_rng(0)
    X, y = random.normal(size=(1200, 20)), random.integers(0, 3, 1200)

    def trained(seed, n_threads, queue=None):
        model = fastnn.Model([20, 64, 64, 3], dropout=0.2, random_state=seed)
        model.train(
            X, y, num_passes=3, epsilon=1e-4, batch_size=512, n_threads=n_threads, random_state=seed
        )
        probabilities = model.predict_proba(X)
        result = model._parameters.tobytes() + probabilities.tobytes()
        if queue is not None:
            queue.put((seed, result))
        return result

    def main():
        if USE_NUMBA:  # start the threading layer that the environment names
            from numba import njit, prange, threading_layer

            @njit(parallel=True)
            def total(values):
                result = 0.0
                for k in prange(values.size):
                    result += values[k]
                return result

            assert total(np.ones(1000)) == 1000
            print(threading_layer())
        alone = {seed: trained(seed, 1) for seed in range(8)}
        found = {}
        threads = [
            threading.Thread(target=lambda seed=seed: found.update({seed: trained(seed, 2)}))
            for seed in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == alone
        print("threads")

        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        children = [context.Process(target=trained, args=(seed, 2, queue)) for seed in range(2)]
        for child in children:
            child.start()
        found = dict(queue.get(timeout=1200) for _ in children)
        for child in children:
            child.join()
            assert child.exitcode == 0, child.exitcode
        assert found == {seed: alone[seed] for seed in range(2)}
        # The parent can still train.
        assert trained(0, 2) == alone[0]
        print("children")

    main()
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.mark.slow
@needs_fork
def test_parallel_threads_and_forked_children_train_alike():
    assert run_python("USE_NUMBA = False\n" + textwrap.dedent(PARALLEL)).split() == [
        "threads",
        "children",
    ]


def has_layer(name):
    if name == "workqueue":
        return True
    return importlib.util.find_spec(f"numba.np.ufunc.{name}pool") is not None


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize("layer", ["workqueue", "omp", "tbb"])
def test_trainings_work_with_every_threading_layer_of_numba(layer):
    program = "USE_NUMBA = True\n" + textwrap.dedent(PARALLEL)
    if not has_layer(layer):
        pytest.skip(f"numba is installed without {layer}")
    try:
        printed = run_python(program, NUMBA_THREADING_LAYER=layer)
    except AssertionError as error:
        if "No threading layer could be loaded" in str(error):
            pytest.skip(f"numba cannot load {layer} here")
        raise
    assert printed.split() == [layer, "threads", "children"]


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
    results = []
    for n_threads in (1, 2):
        model = fastnn.Model([900, 16, 3], random_state=0)
        model.train(X, y, 2, 0.001, batch_size=100, optimizer="adam", n_threads=n_threads, random_state=0)
        results.append(model._parameters)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("failing", [0, 1])
def test_an_exception_in_the_kernel_of_one_thread_does_not_leave_the_others_waiting(failing, monkeypatch):
    call_kernel = PreparedCall.__call__

    def call_or_fail(call):
        if call.arguments.get("n_threads") == 2 and call.arguments["thread"] == failing:
            raise IndexError("out of bounds")
        return call_kernel(call)

    monkeypatch.setattr(PreparedCall, "__call__", call_or_fail)
    with pytest.raises(IndexError, match="out of bounds"):
        trained(0, 2)
    monkeypatch.undo()
    np.testing.assert_array_equal(trained(0, 2), trained(0, 1))
