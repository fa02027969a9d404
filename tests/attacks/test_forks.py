"""Attacks by forks: wherever a process is forked, parent and child continue and compute the same results."""

import os
import sys

import pytest
from processes import run_python

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")]

COMMON = """
    import os, signal, sys, threading, time, warnings
    import numpy as np
    import fastnn
    from fastnn.engine import limits
    from fastnn.system import threads

    # Python warns of forks where there are threads: ignore it, since these tests show that such forks work.
    warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
    threads.available_cores = lambda: 2
    random = np.random.default_rng(0)
    X, y = random.normal(size=(1200, 20)), random.integers(0, 3, 1200)
    large = random.normal(size=(50000, 20))

    def trained(n_threads=2, **options):
        model = fastnn.Model([20, 64, 64, 3], dropout=0.2, random_state=0)
        options = {"num_passes": 3, "epsilon": 1e-4, "batch_size": 512, "random_state": 0} | options
        model.train(X, y, n_threads=n_threads, **options)
        return model

    def results(model=None):
        model = trained() if model is None else model
        small = fastnn.Model([2, 8, 2], random_state=0)
        image = fastnn.render_boundary(small, (-2, 2), (-2, 2), 300, method="dense")
        return model._parameters.tobytes() + model.predict_proba(large).tobytes() + image.data.tobytes()

    def forked(work):
        \"\"\"Return the exit status of a child process that calls `work`: 0 if the call returned True.\"\"\"
        child = os.fork()
        if child == 0:
            status = 2
            try:
                status = 0 if work() else 1
            except BaseException:
                import traceback
                traceback.print_exc()
            os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


def test_a_training_forked_in_a_callback_ends_the_same_in_both_processes():
    """The child lacks the threads with which the parent shares a step: it must not wait for them."""
    program = """
    expected = results()
    children = []

    def fork(history):
        if not children:
            children.append(os.fork())

    FIRST = limits.FIRST_CALL_OPERATIONS
    limits.FIRST_CALL_OPERATIONS = limits.CALL_SECONDS = 0  # a call of the kernel for each step
    model = trained(callbacks=[fork])
    limits.FIRST_CALL_OPERATIONS, limits.CALL_SECONDS = FIRST, 0.05
    same = results(model) == expected
    if children[0] == 0:
        os._exit(0 if same else 1)
    assert same
    print(os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]))
    """
    assert run_python(COMMON + program).split() == ["0"]


FIRSTS = {
    "training": "fastnn.Model([20, 3], random_state=0).train(X, y, num_passes=2, epsilon=1e-4)",
    "picture": "fastnn.render_boundary(fastnn.Model([2, 3], random_state=0), (-2, 2), (-2, 2), 300)",
    "table": "fastnn.TableEncoder().fit_transform(X)",
}


@pytest.mark.parametrize("work", FIRSTS.values(), ids=FIRSTS)
def test_children_forked_while_a_thread_imports_and_compiles_do_not_wait(work):
    """A child lacks the thread that holds the lock of the import or the compiler: it must not wait for it."""
    program = f"""
    def first():
        {work}
        return True

    thread = threading.Thread(target=first)
    thread.start()
    while "numba" not in sys.modules:
        time.sleep(1e-3)
    print([forked(first) for _ in range(3)])
    thread.join()
    """
    assert run_python(COMMON + program).strip() == "[0, 0, 0]"


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="newer cached properties have no lock")
@pytest.mark.parametrize("work", FIRSTS.values(), ids=FIRSTS)
def test_no_cached_property_holds_a_lock_that_a_fork_ignores(work):
    """Python 3.11 computes cached properties under a lock, which a child forked meanwhile would inherit."""
    program = f"""
    import functools
    from fastnn_kernels.compiler.forks import import_lock

    computed, get = set(), functools.cached_property.__get__

    def watched(self, instance, owner=None):
        lock = getattr(sys.modules.get("numba.core.compiler_lock"), "global_compiler_lock", None)
        if not import_lock._is_owned() and not (lock and lock.is_locked()):
            computed.add(f"{{type(instance).__module__}}.{{type(instance).__qualname__}}.{{self.attrname}}")
        return get(self, instance, owner)

    functools.cached_property.__get__ = watched
    {work}
    print(sorted(computed))
    """
    assert run_python(COMMON + program).strip() == "[]"


@pytest.mark.parametrize(
    "lock", ["forks.import_lock", "numba_internals.global_compiler_lock", "numba_internals.llvm_lock"]
)
def test_a_fork_waits_for_the_locks_that_other_threads_hold(lock):
    program = f"""
    from fastnn_kernels.compiler import forks, jit, numba_internals

    lock, held = {lock}, threading.Event()

    def hold():
        lock.acquire()
        held.set()
        threading.Event().wait(0.3)
        lock.release()

    def work():
        signal.alarm(600)
        lock.acquire()
        lock.release()
        return True

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    print(forked(work))
    thread.join()
    """
    assert run_python(COMMON + program).strip() == "0"


def test_a_fork_waits_for_locks_in_spite_of_an_interrupt():
    program = """
    from fastnn_kernels.compiler import forks

    held = threading.Event()

    def hold():
        with forks.import_lock:
            held.set()
            threading.Event().wait(0.3)
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(0.3)

    sys.unraisablehook = lambda dropped: print(dropped.exc_type.__name__)
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    print(forked(lambda: forks.import_lock.acquire(timeout=1)))
    thread.join()
    """
    assert run_python(COMMON + program).split() == ["KeyboardInterrupt", "0"]


def test_a_child_forked_while_a_thread_calls_a_predictor_calls_it_too():
    program = """
    predict, begun, ended = trained().predictor(1, "predict_proba"), threading.Event(), threading.Event()
    expected, finish = predict(X[:1]).tobytes(), predict._finish

    def slow(outputs):
        begun.set()
        ended.wait()
        return finish(outputs)

    predict._finish = slow
    thread = threading.Thread(target=predict, args=[X[:1]])
    thread.start()
    begun.wait()

    def work():
        signal.alarm(600)
        ended.set()
        return predict(X[:1]).tobytes() == expected

    print(forked(work))
    ended.set()
    thread.join()
    """
    assert run_python(COMMON + program).strip() == "0"


def test_children_forked_while_threads_train_predict_and_paint_compute_the_same():
    program = """
    expected, ended, begun = results(), threading.Event(), threading.Semaphore(0)

    def work():
        while not ended.is_set():
            results()
            begun.release()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = []
    for _ in range(5):
        found.append(forked(lambda: results() == expected))
        begun.acquire()
    ended.set()
    for worker in workers:
        worker.join()
    print(found, results() == expected, threads._budget.in_use, threads._budget.places)
    """
    assert run_python(COMMON + program).strip() == "[0, 0, 0, 0, 0] True 0 []"


def test_children_forked_after_ctrl_c_compute_the_same():
    program = """
    expected = results()
    for _ in range(3):
        try:
            trained(num_passes=10**9, epsilon=1e-7, callbacks=[lambda _: signal.raise_signal(signal.SIGINT)])
        except KeyboardInterrupt:
            print(forked(lambda: results() == expected), results() == expected)
    """
    assert run_python(COMMON + program).split() == ["0", "True"] * 3


def test_an_interrupt_of_a_child_leaves_the_parent_unaffected():
    program = """
    expected = results()

    def interrupted():
        try:
            trained(num_passes=10**9, epsilon=1e-7, callbacks=[lambda _: os.kill(os.getpid(), signal.SIGINT)])
        except KeyboardInterrupt:
            return results() == expected

    print(forked(interrupted), results() == expected)
    """
    assert run_python(COMMON + program).split() == ["0", "True"]


POOLS = """
import multiprocessing
import sys
import warnings

import numpy as np
import fastnn

warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)

def weights(seed):
    random = np.random.default_rng(0)
    X, y = random.normal(size=(100, 4)), random.integers(0, 3, 100)
    model = fastnn.Model([4, 8, 3], random_state=seed)
    model.train(X, y, num_passes=20, epsilon=1e-3, n_threads=2)
    return model._parameters.tobytes() + model.predict_proba(X).tobytes()

if __name__ == "__main__":
    expected = [weights(seed) for seed in range(6)]
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        assert pool.map(weights, range(6)) == expected
    assert weights(0) == expected[0]
    print("done")
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_a_pool_compute_the_same(tmp_path, method):
    script = tmp_path / "pools.py"
    script.write_text(POOLS)
    program = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    if method == "spawn":  # spawned children import the main program by its path: it must be the script
        program = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]], check=True)"
    assert run_python(program, script, method).split() == ["done"]
