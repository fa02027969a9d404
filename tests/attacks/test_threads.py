"""Attacks by threads: many at once, errors in the main thread, and an interpreter that ends meanwhile."""

import pytest
from processes import run_python

pytestmark = pytest.mark.slow

COMMON = """
    import sys, threading
    import numpy as np
    import fastnn
    from fastnn.engine import limits
    from fastnn.system import threads

    threads.count_cores = lambda: 4
    random = np.random.default_rng(0)
    X, y = random.normal(size=(1200, 20)), random.integers(0, 3, 1200)
    large = random.normal(size=(50000, 20))

    def read_bits(model):
        return b"".join(map(bytes, (*model.W, *model.b)))

    def train(n_threads, num_passes=3, **options):
        model = fastnn.Model([20, 64, 64, 3], dropout=0.2, random_state=0)
        options = {"epsilon": 1e-5, "batch_size": 512, "random_state": 0} | options
        model.train(X, y, num_passes=num_passes, n_threads=n_threads, **options)
        return model

    def draw():
        small = fastnn.Model([2, 8, 2], random_state=0)
        return fastnn.render_boundary(small, (-2, 2), (-2, 2), 500, method="dense").data.tobytes()

    def compute(n_threads=3):
        model = train(n_threads)
        return read_bits(model) + model.predict_proba(large).tobytes() + draw()
"""


def test_eight_threads_compute_the_same_while_the_main_thread_raises():
    """Each thread trains its own models; all threads predict by one shared model."""
    program = """
    expected = compute()
    shared = train(1)
    probabilities = shared.predict_proba(large).tobytes()
    wrong, begun, raised, n_raised = [], threading.Semaphore(0), threading.Event(), 0

    def work(k):
        begun.release()
        while True:
            if compute(1 + k % 3) != expected or shared.predict_proba(large).tobytes() != probabilities:
                wrong.append(k)
            if raised.is_set():
                return

    workers = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for worker in workers:
        worker.start()
        begun.acquire()
    for k in range(6):
        def fail(_):
            raise KeyboardInterrupt if k % 2 else ZeroDivisionError

        for call in (
            lambda: train(2, num_passes=1000, callbacks=[fail]),
            lambda: fastnn.render_boundary(lambda P: 1 // 0, (0, 1), (0, 1), 8),
        ):
            try:
                call()
            except (KeyboardInterrupt, ZeroDivisionError):
                n_raised += 1
    raised.set()
    for worker in workers:
        worker.join()
    same = compute() == expected
    with threads.acquire_cores(4, waits=False) as n_free:
        print(wrong, n_raised, n_free, same)
    """
    assert run_python(COMMON + program).strip() == "[] 12 4 True"


def test_threads_import_and_compile_at_once(tmp_path):
    """The first uses in a process, on an empty cache: the kernels that threads need are the same."""
    program = """
    from concurrent.futures import ThreadPoolExecutor
    begin = threading.Barrier(4)

    def work(_):
        begin.wait()
        model = fastnn.Model([20, 3], random_state=0)
        model.train(X, y, num_passes=3, epsilon=1e-5, batch_size=100, random_state=0)
        return read_bits(model) + model.predict_proba(X).tobytes()

    print(len({*ThreadPoolExecutor(4).map(work, range(4))}))
    """
    assert run_python(COMMON + program, NUMBA_CACHE_DIR=str(tmp_path)).split() == ["1"]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_interpreter_ends_while_a_daemon_thread_trains(n_threads):
    program = """
    begun = threading.Event()
    options = {"num_passes": 10**9, "callbacks": [lambda _: begun.set()]}
    threading.Thread(target=train, args=[int(sys.argv[1])], kwargs=options, daemon=True).start()
    begun.wait()
    print("end")
    """
    assert run_python(COMMON + program, n_threads).split() == ["end"]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_other_threads_continue_after_the_main_thread_has_ended(n_threads):
    """Python has closed its thread pools and starts no threads: a thread does the work of its pool itself."""
    program = """
    import warnings
    warnings.simplefilter("ignore")
    n_threads = int(sys.argv[1])
    compute(n_threads)
    # This loads the modules now: an interpreter that is ending imports none.
    many = [fastnn.MLPClassifier((4,), max_iter=2, tol=0, random_state=k) for k in range(3)]
    begun, closed = threading.Event(), threading.Event()
    threading._threading_atexits.insert(0, closed.set)  # called last, after the functions that close pools

    def wait_for_the_end(history):
        begun.set()
        closed.wait()

    def work():
        assert read_bits(train(n_threads, callbacks=[wait_for_the_end])) == expected
        assert compute(n_threads)[: len(expected)] == expected
        fastnn.fit_many(many, X, y, n_jobs=n_threads)
        print(all(hasattr(one, "coefs_") for one in many), flush=True)

    expected = read_bits(train(1))
    limits.CALL_SECONDS = limits.FIRST_CALL_OPERATIONS = 0  # a call of the kernel for each step
    threading.Thread(target=work).start()
    begun.wait()
    """
    assert run_python(COMMON + program, n_threads).split() == ["True"]
