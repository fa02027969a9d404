"""The budget of cores: how many there are, and that no more threads compute at once."""

import contextlib
import importlib.util
import os
import signal
import sys
import threading
import time
import types
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import run_python


def load_threads():
    """Load the module again, with the real number of cores and none of them in use."""
    spec = importlib.util.find_spec("fastnn.system.threads")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# One module for all tests: a fork calls back into every module that was ever loaded.
threads = load_threads()
available_cores = threads.available_cores


@contextlib.contextmanager
def cores(count):
    """Set the number of cores, and assert that all are free before and afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "available_cores", lambda: count)
        assert threads._budget.in_use == 0
        yield
        assert threads._budget.in_use == 0


# --- the number of cores -------------------------------------------------------------------------


@pytest.fixture
def granted(monkeypatch):
    """Let the system grant six cores, without limits in the environment."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    monkeypatch.setattr(threads, "_quota", lambda: sys.maxsize)
    monkeypatch.delitem(sys.modules, "distributed.worker", raising=False)  # Dask sets limits of its own
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return 6


def test_the_system_gives_the_number_of_cores(granted, monkeypatch):
    assert available_cores() == granted
    monkeypatch.delattr(os, "sched_getaffinity")
    assert available_cores() == 12
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


@pytest.mark.parametrize(
    ("text", "cores", "idle"),
    [
        ("0.85 4.10 5.02 1/137 29134\n", 12, 11),  # this thread runs alone
        ("0.85 4.10 5.02 12/137 29134\n", 12, 0),
        ("0.85 4.10 5.02 40/137 29134\n", 12, 0),
        ("0.85 4.10 5.02 1/137 29134\n", 6, None),  # the other six belong to other processes
        ("", 12, None),
        ("0.85 4.10 5.02 x/137 29134\n", 12, None),
        (None, 12, None),
    ],
)
def test_the_system_says_how_many_are_idle(granted, monkeypatch, tmp_path, text, cores, idle):
    path, system_open = tmp_path / "loadavg", os.open
    if text is not None:
        path.write_text(text)
    opened = []

    def open_copy(name, *options):
        opened.append(name)
        return system_open(path, *options)

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    monkeypatch.setattr(os, "open", open_copy)
    threads._machine_cores.cache_clear()
    try:
        assert threads.idle_cores() == idle
        assert opened == ["/proc/loadavg"]
        monkeypatch.delattr(os, "sched_getaffinity")
        assert threads.idle_cores() is None
    finally:
        threads._machine_cores.cache_clear()


LIMITS = {
    "1": 1, "3": 3, " 4 ": 4, "04": 4, "6": 6, "100": 6, "9" * 30: 6, "9" * 5000: 6,
    # A list of limits by levels of nesting, of which the first one counts.
    "2,8": 2, "5, 1, 1": 5, "8,2": 6,
    # Values that are not limits.
    "": 6, " ": 6, "0": 6, "00": 6, "0,2": 6, ",2": 6, "-1": 6, "+2": 6, "2.5": 6, "two": 6, "2 cores": 6,
    "1_0": 6, "1e0": 6, "\u00b2": 6, "\u0662": 6, "true": 6,
}  # fmt: skip


@pytest.mark.parametrize("name", ["NUMBA_NUM_THREADS", "OMP_NUM_THREADS"])
@pytest.mark.parametrize(("value", "expected"), LIMITS.items(), ids=[repr(value[:40]) for value in LIMITS])
def test_the_environment_may_limit_the_number_of_cores(granted, monkeypatch, name, value, expected):
    monkeypatch.setenv(name, value)
    assert available_cores() == expected


@pytest.mark.parametrize(("numba", "omp", "expected"), [("4", "2", 2), ("2", "4", 2), ("none", "3", 3)])
def test_the_lower_limit_counts(granted, monkeypatch, numba, omp, expected):
    monkeypatch.setenv("NUMBA_NUM_THREADS", numba)
    monkeypatch.setenv("OMP_NUM_THREADS", omp)
    assert available_cores() == expected


def test_the_system_may_grant_fewer_cores_than_the_environment(granted, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3})
    assert available_cores() == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [("max 100000", None), ("250000 100000", 3), ("100000 100000", 1), ("5000 100000", 1), ("", None),
     (None, None)],
)  # fmt: skip
def test_the_quota_of_a_container_limits_the_number_of_cores(monkeypatch, tmp_path, content, expected):
    path = tmp_path / "cpu.max"
    if content is not None:
        path.write_text(content)
    opened = []

    def open_copy(name):
        opened.append(name)
        return path.open()

    monkeypatch.setattr(threads, "open", open_copy, raising=False)
    quota = threads._quota.__wrapped__
    assert quota() == (expected or sys.maxsize)
    assert opened == ["/sys/fs/cgroup/cpu.max"]
    monkeypatch.setattr(threads, "_quota", quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert available_cores() == (expected or 6)


class DaskWorker:
    """A worker of Dask, as the library sees it."""

    _instances: ClassVar[list] = []

    def __init__(self, nthreads):
        self.state = types.SimpleNamespace(nthreads=nthreads)
        self.status = types.SimpleNamespace(name="running")


@pytest.fixture
def dask(granted, monkeypatch):
    """Let Dask be imported, without workers; return the list of the workers in this process."""
    workers = []
    monkeypatch.setattr(DaskWorker, "_instances", workers)
    monkeypatch.setitem(sys.modules, "distributed.worker", types.SimpleNamespace(Worker=DaskWorker))
    spawned = {"MALLOC_TRIM_THRESHOLD_": 65536, "OMP_NUM_THREADS": 1}
    settings = {"distributed.nanny.pre-spawn-environ": spawned}
    monkeypatch.setitem(sys.modules, "dask.config", types.SimpleNamespace(get=settings.get))
    for name, limit in spawned.items():  # a LocalCluster leaves them in the process that started it
        monkeypatch.setenv(name, str(limit))
    return workers


def test_the_limit_that_dask_sets_for_blas_is_none(dask, granted, monkeypatch):
    assert available_cores() == granted
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    assert available_cores() == 2


@pytest.mark.parametrize("limit", [1, 4])
def test_the_users_own_limit_counts_where_dask_is_imported(dask, monkeypatch, limit):
    monkeypatch.setenv("OMP_NUM_THREADS", str(limit))
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_")
    assert available_cores() == limit


@pytest.mark.parametrize(("nthreads", "expected"), [((1,), 1), ((1, 2), 3), ((8,), 6)])
def test_dask_workers_have_the_threads_that_dask_gave_them(dask, monkeypatch, nthreads, expected):
    dask += map(DaskWorker, nthreads)
    assert available_cores() == expected
    dask[0].status.name = "paused"
    assert available_cores() == expected
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    assert available_cores() == 1
    monkeypatch.delenv("NUMBA_NUM_THREADS")
    for worker in dask:
        worker.status.name = "closed"
    assert available_cores() == 6


# --- acquired cores ------------------------------------------------------------------------------


@given(st.integers(1, 6), st.lists(st.integers(1, 8), max_size=6))
def test_as_many_cores_are_acquired_as_are_free(n_cores, wanted):
    free = n_cores
    with cores(n_cores), contextlib.ExitStack() as stack:
        for most in wanted:
            if not free:
                break
            count = stack.enter_context(threads.acquired_cores(most))
            assert count == min(most, free)
            free -= count
            assert threads._budget.in_use == n_cores - free


class Gauge:
    """A count of the cores in use, kept by their users."""

    def __init__(self):
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def add(self, count):
        with self.lock:
            self.now += count
            self.most = max(self.most, self.now)


def run_all(targets):
    """Run functions on a thread each; raise an error of any of them."""
    errors = []

    def run(target):
        try:
            target()
        except BaseException as error:
            errors.append(error)

    started = [threading.Thread(target=run, args=(target,)) for target in targets]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("n_cores", [1, 2, 3, 8])
def test_no_more_cores_are_in_use_than_there_are(n_cores):
    gauge = Gauge()

    def compute(most):
        for _ in range(30):
            with threads.acquired_cores(most) as count:
                assert 1 <= count <= min(most, n_cores)
                gauge.add(count)
                time.sleep(0)  # releases the GIL, so that other threads try as well
                gauge.add(-count)

    # Each of six threads starts four others, which compute.
    def nest(most):
        run_all([lambda: compute(1), lambda: compute(most), lambda: compute(8), lambda: compute(most)])

    with cores(n_cores):
        run_all([lambda k=k: nest(k) for k in range(1, 7)])
    assert 1 <= gauge.most <= n_cores
    assert gauge.now == 0


class Late:
    """A thread that acquires up to five cores while none is free; `events` lists what happens, in order."""

    def __init__(self, monkeypatch):
        self.events, self._waits = [], threading.Semaphore(0)
        budget = threads._budget
        wait = budget.changed.wait

        def noted_wait():
            self._waits.release()
            wait()

        monkeypatch.setattr(budget.changed, "wait", noted_wait)
        self._thread = threading.Thread(target=self._acquire)
        self._thread.start()
        self._waits.acquire()
        # The other thread waits: it has released the lock, which this thread takes now.
        with budget.changed:
            self.events.append("waits")

    def _acquire(self):
        with threads.acquired_cores(5) as count:
            self.events.append(f"acquires {count}")

    def join(self):
        self._thread.join()


def test_a_waiting_thread_gets_all_cores_that_are_released_together(monkeypatch):
    with cores(2):
        with threads.acquired_cores(2):
            late = Late(monkeypatch)
            late.events.append("released")
        late.join()
    assert late.events == ["waits", "released", "acquires 2"]


def test_a_waiting_thread_gets_the_first_core_that_is_released(monkeypatch):
    with cores(2), threads.acquired_cores(1):
        with threads.acquired_cores(1):
            late = Late(monkeypatch)
            late.events.append("released")
        late.join()
    assert late.events == ["waits", "released", "acquires 1"]


class UsersInterrupt(BaseException):
    pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, UsersInterrupt])
def test_cores_are_released_after_errors(error):
    def fail():
        with threads.acquired_cores(2):
            assert threads._budget.in_use == 2
            raise error

    with cores(3), pytest.raises(error):
        fail()


@pytest.mark.parametrize("error", [KeyboardInterrupt, UsersInterrupt])
def test_an_interrupt_while_waiting_releases_no_cores(error, monkeypatch):
    def interrupted():
        raise error

    with cores(1), threads.acquired_cores(1):
        monkeypatch.setattr(threads._budget.changed, "wait", interrupted)
        with pytest.raises(error), threads.acquired_cores(1):
            pass
        assert threads._budget.in_use == 1


def test_a_thread_waits_if_more_cores_are_in_use_than_are_left(monkeypatch):
    # A process may be moved to fewer cores while it computes.
    with cores(4), threads.acquired_cores(1):
        with threads.acquired_cores(3):
            monkeypatch.setattr(threads, "available_cores", lambda: 2)
            late = Late(monkeypatch)
        late.join()
    assert late.events == ["waits", "acquires 1"]


FORKS = """
    import os
    import sys
    import threading
    import warnings

    import numpy as np
    import fastnn
    from fastnn.system import threads

    # Python warns of forks in processes with threads; this test is about surviving them.
    warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)

    random = np.random.default_rng(0)
    X, y = random.normal(size=(100, 4)), random.integers(0, 3, 100)

    def trained():
        model = fastnn.Model([4, 5, 3], random_state=0)
        model.train(X, y, num_passes=20, epsilon=1e-3)
        return model._parameters.tobytes()

    def child_trains():
        assert threads._budget.in_use == 0
        with threads.acquired_cores(1000) as count:
            assert count == n_cores
        return trained() == expected

    expected, n_cores = trained(), threads.available_cores()
    held, released = threading.Event(), threading.Event()

    def hold():
        with threads.acquired_cores(n_cores), threads._budget.changed:  # holds the lock, too
            held.set()
            released.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if child == 0:
        os._exit(0 if child_trains() else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert threads._budget.in_use == n_cores
    released.set()
    holder.join()
    assert threads._budget.in_use == 0
    assert trained() == expected
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_all_cores_are_free_in_a_forked_child():
    run_python(FORKS)


def test_spare_cores_are_those_that_are_free():
    with cores(3):
        with (
            threads.spare_cores(2) as first,
            threads.spare_cores(5) as second,
            threads.spare_cores(1) as third,
        ):
            assert (first, second, third) == (2, 1, 1)
            assert threads._budget.in_use == 3, "the third, without a free core, is not counted"
        with threads.acquired_cores(1), threads.spare_cores(5) as others:
            assert others == 2


# --- work on items -------------------------------------------------------------------------------


@pytest.mark.parametrize("n_cores", [1, 3])
@pytest.mark.parametrize("n_items", [0, 1, 20])
def test_items_are_computed_in_order_and_once(n_cores, n_items):
    seen = []

    def work(item):
        seen.append(item)
        return item * 10

    with cores(n_cores):
        assert threads.map_on_threads(work, range(n_items)) == [10 * item for item in range(n_items)]
    assert sorted(seen) == list(range(n_items))


@pytest.mark.parametrize("n_cores", [1, 3])
def test_an_error_of_an_item_is_raised(n_cores):
    def work(item):
        if item == 3:
            raise ZeroDivisionError
        return item

    with cores(n_cores), pytest.raises(ZeroDivisionError):
        threads.map_on_threads(work, range(9))


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to a thread")
@pytest.mark.parametrize("n_cores", [1, 3])
@pytest.mark.parametrize("raises", [False, True])
def test_an_interrupt_ends_the_work_or_lets_it_be_completed(n_cores, raises):
    handled, seen = [], []

    def handler(number, frame):
        handled.append(number)
        if raises:
            raise KeyboardInterrupt

    def work(item):
        seen.append(item)
        if item == 2 and not handled:
            signal.raise_signal(signal.SIGINT)
        return item

    before = signal.signal(signal.SIGINT, handler)
    try:
        with cores(n_cores):
            if raises:
                with pytest.raises(KeyboardInterrupt):
                    threads.map_on_threads(work, range(50))
                assert len(seen) < 50
            else:
                assert threads.map_on_threads(work, range(50)) == list(range(50))
    finally:
        signal.signal(signal.SIGINT, before)
    assert handled == [signal.SIGINT]
