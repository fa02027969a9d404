"""Attacks by threads: many at once, errors in the main thread, and an interpreter that ends meanwhile."""

import pytest
from processes import run_python

pytestmark = pytest.mark.slow

COMMON = """
    import sys, threading
    import numpy as np
    import fastnn
    from fastnn.boundary import render
    from fastnn.engine import limits
    from fastnn.system import threads

    for module in (render, threads):
        module.available_cores = lambda: 4
    random = np.random.default_rng(0)
    X, y = random.normal(size=(1200, 20)), random.integers(0, 3, 1200)
    large = random.normal(size=(50000, 20))
    small = fastnn.Model([2, 8, 2], random_state=0)

    def trained(n_threads, num_passes=3, **options):
        model = fastnn.Model([20, 64, 64, 3], dropout=0.2, random_state=0)
        model.train(
            X, y, num_passes=num_passes, epsilon=1e-5, batch_size=512, n_threads=n_threads, random_state=0,
            **options,
        )
        return model

    def picture():
        return fastnn.render_boundary(small, (-2, 2), (-2, 2), 500, method="dense").data.tobytes()

    def results(n_threads=3):
        model = trained(n_threads)
        return model._parameters.tobytes() + model.predict_proba(large).tobytes() + picture()
"""


def test_eight_threads_compute_the_same_while_the_main_thread_raises():
    """Each thread trains its own models; all threads predict and paint by one shared model."""
    program = """
    expected = results()
    shared = trained(1)
    probabilities, image = shared.predict_proba(large).tobytes(), picture()
    wrong, begun, raised = [], threading.Semaphore(0), threading.Event()

    def work(k):
        begun.release()
        while True:
            if results(1 + k % 3) != expected or shared.predict_proba(large).tobytes() != probabilities:
                wrong.append(k)
            if raised.is_set():
                return

    workers = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for worker in workers:
        worker.start()
        begun.acquire()
    n_raised = 0
    for k in range(6):
        try:
            def fail(_):
                raise KeyboardInterrupt if k % 2 else ZeroDivisionError

            trained(2, num_passes=1000, callbacks=[fail])
        except (KeyboardInterrupt, ZeroDivisionError):
            n_raised += 1
        try:
            fastnn.render_boundary(lambda P: 1 // 0, (0, 1), (0, 1), 8)
        except ZeroDivisionError:
            n_raised += 1
    raised.set()
    for worker in workers:
        worker.join()
    print(wrong, n_raised, threads._budget.in_use, results() == expected)
    """
    assert run_python(COMMON + program).strip() == "[] 12 0 True"


def test_a_model_that_eight_threads_train_stays_usable():
    """The parameters of a model that threads train at once are undefined, but finite and usable."""
    program = """
    model = fastnn.Model([20, 64, 64, 3], random_state=0)

    def train():
        model.train(X, y, num_passes=3, epsilon=1e-5, batch_size=512, n_threads=2)
        assert model.predict_proba(X).shape == (1200, 3)

    workers = [threading.Thread(target=train) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(np.isfinite(model._parameters).all(), threads._budget.in_use)
    """
    assert run_python(COMMON + program).split() == ["True", "0"]


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_the_interpreter_ends_while_a_daemon_thread_trains(n_threads):
    program = """
    begun = threading.Event()

    def train():
        trained(int(sys.argv[1]), num_passes=10**9, callbacks=[lambda _: begun.set()])

    threading.Thread(target=train, daemon=True).start()
    begun.wait()
    print("end")
    """
    assert run_python(COMMON + program, n_threads).split() == ["end"]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_other_threads_continue_after_the_main_thread_has_ended(n_threads):
    """Python has closed its thread pools and starts no threads: a thread does the work of its pool itself."""
    program = """
    n_threads = int(sys.argv[1])
    results(n_threads)
    # This loads the modules now: an interpreter that is ending imports none.
    many = [fastnn.MLPClassifier((4,), max_iter=2, tol=0, random_state=k) for k in range(3)]
    begun, closed = threading.Event(), threading.Event()
    threading._threading_atexits.insert(0, closed.set)  # called last, after the functions that close pools

    def wait_for_the_end(history):
        begun.set()
        closed.wait()

    def work():
        import warnings
        warnings.simplefilter("ignore")
        limits.CALL_SECONDS = limits.FIRST_CALL_OPERATIONS = 0
        model = trained(n_threads, callbacks=[wait_for_the_end])
        limits.CALL_SECONDS, limits.FIRST_CALL_OPERATIONS = 0.05, 1e8
        assert model._parameters.tobytes() == expected
        assert results(n_threads)[: len(expected)] == expected
        fastnn.fit_many(many, X, y, n_jobs=n_threads)
        print(all(hasattr(one, "coefs_") for one in many), flush=True)

    expected = trained(1)._parameters.tobytes()
    threading.Thread(target=work).start()
    begun.wait()
    """
    assert run_python(COMMON + program, n_threads).split() == ["True"]
