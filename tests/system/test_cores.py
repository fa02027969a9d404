"""The budget of cores: how many there are, and that no more threads compute at once."""

import builtins
import contextlib
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import load_again

threads = load_again("fastnn.system.threads")  # with the real number of cores


@contextlib.contextmanager
def set_cores(count):
    """Set the number of cores, and assert that all are free afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "count_cores", lambda: count)
        yield
        patch.setattr(threads, "count_cores", lambda: count)
        with threads.acquire_cores(count + 1, waits=False) as free:
            assert free == count


@pytest.fixture
def system(monkeypatch, tmp_path):
    """Let the system grant six cores of twelve, without limits; the module has asked for none yet.

    Files of the system that say how many cores there are can be written to `system.folder`.
    """
    files = {"/sys/fs/cgroup/cpu.max": tmp_path / "cpu.max", "/proc/loadavg": tmp_path / "loadavg"}

    def redirect(system_open):
        return lambda name, *options, **others: system_open(files.get(name, name), *options, **others)

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    monkeypatch.delitem(sys.modules, "distributed.worker", raising=False)  # Dask sets limits of its own
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    module = load_again("fastnn.system.threads")
    monkeypatch.setattr(os, "open", redirect(os.open))
    monkeypatch.setattr(builtins, "open", redirect(open))
    module.folder = tmp_path
    return module


def test_the_system_gives_the_number_of_cores(system, monkeypatch):
    assert system.count_cores() == 6
    monkeypatch.delattr(os, "sched_getaffinity")
    assert system.count_cores() == 12
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert system.count_cores() == 1


@pytest.mark.parametrize(
    ("text", "cores", "idle"),
    [
        ("0.85 4.10 5.02 1/137 29134\n", 12, 11),  # this thread runs alone
        ("0.85 4.10 5.02 40/137 29134\n", 12, 0),
        ("0.85 4.10 5.02 1/137 29134\n", 6, None),  # the other six belong to other processes
        ("", 12, None),
        ("0.85 4.10 5.02 x/137 29134\n", 12, None),
        (None, 12, None),
    ],
)
def test_the_system_says_how_many_are_idle(system, monkeypatch, text, cores, idle):
    if text is not None:
        (system.folder / "loadavg").write_text(text)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    assert system.count_idle_cores() == idle
    monkeypatch.delattr(os, "sched_getaffinity")
    assert system.count_idle_cores() is None


@pytest.mark.parametrize("name", ["NUMBA_NUM_THREADS", "OMP_NUM_THREADS"])
def test_the_environment_may_limit_the_number_of_cores(system, monkeypatch, name):
    # OpenMP takes a list of limits by levels of nesting: the first one counts.
    limits = {"1": 1, " 4 ": 4, "04": 4, "100": 6, "9" * 5000: 6, "2,8": 2, "5, 1, 1": 5, "8,2": 6}
    others = ["", " ", "0", "00", "0,2", ",2", "-1", "+2", "2.5", "two", "2 cores", "1_0", "1e0", "\u00b2"]
    for value, expected in {**limits, **dict.fromkeys(others, 6)}.items():
        monkeypatch.setenv(name, value)
        assert system.count_cores() == expected, value[:40]


@pytest.mark.parametrize(("numba", "omp", "expected"), [("4", "2", 2), ("2", "4", 2), ("none", "3", 3)])
def test_the_lowest_limit_counts(system, monkeypatch, numba, omp, expected):
    monkeypatch.setenv("NUMBA_NUM_THREADS", numba)
    monkeypatch.setenv("OMP_NUM_THREADS", omp)
    assert system.count_cores() == expected
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3})
    assert system.count_cores() == 1


@pytest.mark.parametrize(("quota", "expected"), [("max", 6), ("250000", 3), ("5000", 1), (None, 6)])
def test_the_quota_of_a_container_limits_the_number_of_cores(system, quota, expected):
    (system.folder / "cpu.max").write_text(f"{quota} 100000" if quota else "")
    assert system.count_cores() == expected


@pytest.mark.parametrize(
    ("limits", "nthreads", "expected"),
    [
        ({}, (), 6),  # the limit that Dask sets for BLAS is none
        ({"NUMBA_NUM_THREADS": "2"}, (), 2),
        ({"OMP_NUM_THREADS": "4", "MALLOC_TRIM_THRESHOLD_": ""}, (), 4),  # the user's own
        ({}, (1,), 1),
        ({}, (1, 2), 3),
        ({}, (8,), 6),
        ({"NUMBA_NUM_THREADS": "1"}, (1, 2), 1),
    ],
)
def test_workers_of_dask_have_the_threads_that_dask_gave(system, monkeypatch, limits, nthreads, expected):
    """A LocalCluster leaves the limits of its workers in the environment of the process that started it."""
    status = SimpleNamespace(name="running")
    workers = [SimpleNamespace(state=SimpleNamespace(nthreads=n), status=status) for n in nthreads]
    kind = SimpleNamespace(_instances=workers)
    monkeypatch.setitem(sys.modules, "distributed.worker", SimpleNamespace(Worker=kind))
    spawned = {"MALLOC_TRIM_THRESHOLD_": 65536, "OMP_NUM_THREADS": 1}
    settings = {"distributed.nanny.pre-spawn-environ": spawned}
    monkeypatch.setitem(sys.modules, "dask.config", SimpleNamespace(get=settings.get))
    for name, limit in {**spawned, **limits}.items():
        monkeypatch.setenv(name, str(limit))
    for status.name in ("running", "paused"):
        assert system.count_cores() == expected
    status.name = "closed"
    assert workers == [] or "NUMBA_NUM_THREADS" in limits or system.count_cores() == 6


@given(st.integers(1, 6), st.lists(st.integers(1, 8), max_size=6))
def test_as_many_cores_are_acquired_as_are_free(n_cores, wanted):
    free = n_cores
    with set_cores(n_cores), contextlib.ExitStack() as stack:
        for most in wanted:
            if free:
                count = stack.enter_context(threads.acquire_cores(most))
                assert count == min(most, free)
                free -= count
        assert stack.enter_context(threads.acquire_cores(3, waits=False)) == min(3, free)


@pytest.mark.parametrize("n_cores", [1, 2, 3, 8])
def test_no_more_cores_are_in_use_than_there_are(n_cores):
    lock, in_use, most_used = threading.Lock(), [], []

    def compute(most):
        for _ in range(30):
            with threads.acquire_cores(most) as count:
                assert 1 <= count <= min(most, n_cores)
                with lock:
                    in_use.extend([None] * count)
                    most_used.append(len(in_use))
                time.sleep(0)  # releases the GIL, so that other threads try as well
                with lock:
                    del in_use[:count]

    with set_cores(n_cores), ThreadPoolExecutor(24) as pool:
        list(pool.map(compute, [1, 2, 3, 4, 6, 8] * 4))
    assert 1 <= max(most_used) <= n_cores
    assert not in_use


@pytest.mark.parametrize(("held", "left", "acquired"), [(0, 4, 4), (1, 4, 3), (1, 2, 1)])
def test_a_thread_waits_until_cores_are_free_and_gets_all_of_them(held, left, acquired, monkeypatch):
    """A process may be moved to fewer cores while it computes."""

    def acquire():
        with threads.acquire_cores(5) as count:
            found.append(count)

    found, thread = [], threading.Thread(target=acquire)
    with set_cores(4), contextlib.ExitStack() as others:
        if held:
            others.enter_context(threads.acquire_cores(held))
        with threads.acquire_cores(4 - held):
            monkeypatch.setattr(threads, "count_cores", lambda: left)
            thread.start()
            thread.join(0.01)  # enough for a thread that does not wait
            assert not found
        thread.join()
        assert found == [acquired]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_cores_are_released_after_errors_and_interrupts(error, monkeypatch):
    def fail(*_):
        raise error

    with set_cores(3), pytest.raises(error), threads.acquire_cores(2), threads.acquire_cores(2, waits=False):
        fail()
    with set_cores(1), threads.acquire_cores(1):
        monkeypatch.setattr(threading.Condition, "wait", fail)
        with pytest.raises(error), threads.acquire_cores(1):
            pass


@pytest.mark.parametrize("n_cores", [1, 3])
@pytest.mark.parametrize("n_items", [0, 1, 20])
def test_items_are_computed_in_order_and_once(n_cores, n_items):
    seen = []

    def work(item):
        seen.append(item)
        if item == 30:
            raise ZeroDivisionError
        return item * 10

    with set_cores(n_cores):
        assert threads.map_on_threads(work, range(n_items)) == [10 * item for item in range(n_items)]
        assert sorted(seen) == list(range(n_items))
        with pytest.raises(ZeroDivisionError):
            threads.map_on_threads(work, range(25, 40))


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to a thread")
@pytest.mark.parametrize("n_cores", [1, 3])
@pytest.mark.parametrize("raises", [False, True])
def test_an_interrupt_ends_the_work_or_lets_it_be_completed(n_cores, raises):
    handled, seen = [], []

    def handle(number, frame):
        handled.append(number)
        if raises:
            raise KeyboardInterrupt

    def work(item):
        seen.append(item)
        if item == 2 and not handled:
            signal.raise_signal(signal.SIGINT)
        return item

    before = signal.signal(signal.SIGINT, handle)
    try:
        with set_cores(n_cores), pytest.raises(KeyboardInterrupt) if raises else contextlib.nullcontext():
            assert threads.map_on_threads(work, range(50)) == list(range(50))
    finally:
        signal.signal(signal.SIGINT, before)
    assert handled == [signal.SIGINT]
    assert len(seen) >= 50 or raises
    assert not raises or len(set(seen)) < 50
