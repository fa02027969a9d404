"""Trainings that diverge or are interrupted."""

import numpy as np
import pytest
from estimator_checks import parameters
from processes import run_python
from small_models import BACKENDS, X, model_for, y

import fastnn


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", [{}, {"batch_size": 16}, {"ema_decay": 0.9}])
def test_divergence_names_epoch_rate_and_remedy(options, backend):
    model = model_for(backend)
    with pytest.raises(fastnn.DivergenceError, match="must stay below 2: lower one of them") as caught:
        model.train(
            X, y, num_passes=10000, epsilon=200.0, reg_lambda=1.0, schedule=fastnn.StepDecay(100000),
            random_state=0, **options,
        )  # fmt: skip
    error = caught.value
    assert f"diverged in epoch {error.iteration}:" in str(error)
    assert "epsilon=200 and reg_lambda=1." in str(error)
    assert (error.epsilon, error.reg_lambda) == (200.0, 1.0)
    assert 0 < error.iteration < 500
    assert np.isfinite(parameters(model)).all()
    assert np.abs(parameters(model)).max() > 1e290, "the parameters must be those of the last finite step"
    # The model can still predict.
    assert model.predict(X).shape == (200,)


def test_both_backends_diverge_in_the_same_epoch():
    iterations = []
    for backend in BACKENDS:
        with pytest.raises(fastnn.DivergenceError) as caught:
            model_for(backend).train(
                X, y, num_passes=10000, epsilon=200.0, reg_lambda=1.0, batch_size=16, random_state=0
            )
        iterations.append(caught.value.iteration)
    assert iterations[0] == iterations[1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_divergence_names_the_scheduled_rate(backend):
    model = model_for(backend)
    with pytest.raises(fastnn.DivergenceError, match="epsilon=400 and") as caught:
        model.train(X, y, num_passes=100000, epsilon=100.0, reg_lambda=1.0, schedule=lambda step: 4.0)
    assert caught.value.epsilon == 400.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_divergence_of_lbfgs_names_no_rate(backend):
    model = fastnn.Model(
        [1, 1], output_activation="identity", loss="squared_error", random_state=0, backend=backend
    )
    with pytest.raises(fastnn.DivergenceError, match="with reg_lambda=0.01. The model") as caught:
        model.train([[1e200], [2e200]], [[1e200], [3.0]], num_passes=5, optimizer="lbfgs")
    assert np.isnan(caught.value.epsilon)
    assert "epsilon" not in str(caught.value)
    assert "standardise X" in str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_interrupt_between_chunks_leaves_a_finite_model(backend):
    model = model_for(backend)

    def interrupt(history):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.train(X, y, num_passes=10**9, epsilon=0.001, batch_size=16, callbacks=[interrupt])
    assert np.isfinite(parameters(model)).all()
    assert (parameters(model) != parameters(model_for(backend))).any()
    model.train(X, y, num_passes=2)


INTERRUPTED = """
    import signal, threading
    import numpy as np
    import fastnn

    random = np.random.default_rng(0)
    X, y = random.normal(size=(1200, 20)), random.integers(0, 3, 1200)
    model = fastnn.Model([20, 64, 64, 3], random_state=0, backend=BACKEND, dropout=0.2)
    before = model._parameters.copy()
    chunks = []

    def send_signal(history):
        chunks.append(len(history))
        if len(chunks) == 3:  # the kernels are compiled: the signal comes in the middle of a chunk
            threading.Timer(0.02, signal.raise_signal, [signal.SIGINT]).start()

    try:
        model.train(
            X, y, num_passes=10**9, epsilon=1e-5, batch_size=512, n_threads=N_THREADS, callbacks=[send_signal]
        )
    except KeyboardInterrupt:
        print("interrupted")
    assert np.isfinite(model._parameters).all()
    assert (model._parameters != before).any()
    model.train(X, y, num_passes=1, epsilon=1e-5, batch_size=512, n_threads=N_THREADS)
    print("usable")
"""


@pytest.mark.parametrize(("backend", "n_threads"), [("numba", 1), ("numba", 2), ("numpy", 1)])
def test_a_signal_in_the_middle_of_a_training_leaves_a_usable_model(backend, n_threads):
    program = INTERRUPTED.replace("BACKEND", repr(backend)).replace("N_THREADS", str(n_threads))
    assert run_python(program).split() == ["interrupted", "usable"]


def test_an_interrupt_while_threads_are_started_leaves_none_waiting():
    """Threads that wait for one that was never started would keep Python from exiting."""
    program = """
        import threading
        import numpy as np
        import fastnn
        from fastnn.system import threads

        class Interrupted(threads.ThreadPoolExecutor):
            def submit(self, *task):
                future = super().submit(*task)
                if threading.current_thread() is threading.main_thread():
                    raise KeyboardInterrupt
                return future

        random = np.random.default_rng(0)
        X, y = random.normal(size=(1200, 20)), random.integers(0, 3, 1200)
        model = fastnn.Model([20, 64, 64, 3], random_state=0, dropout=0.2)
        threads.available_cores = lambda: 2  # on any machine
        threads.ThreadPoolExecutor = Interrupted
        try:
            model.train(X, y, num_passes=2, epsilon=1e-5, batch_size=512, n_threads=2)
        except KeyboardInterrupt:
            print("interrupted")
    """
    assert run_python(program).split() == ["interrupted"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_hinge_loss_does_not_hide_an_overflow(backend):
    model = fastnn.Model(
        [2, 3, 2],
        activation="identity",
        output_activation="identity",
        loss="multiclass_hinge",
        backend=backend,
        random_state=0,
    )
    for W in model.W:
        W[...] = 1e200
    with pytest.raises(fastnn.DivergenceError, match="epoch 0"):
        model.train(X, y, num_passes=3)
