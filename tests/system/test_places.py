"""Places: the threads of a call run on different cores, and may use the same cores afterwards as before."""

import os
import threading

import numpy as np
import pytest
from processes import run_python

import fastnn
from fastnn.engine import shared_calls
from fastnn.system import threads


class Machine:
    """A pretended system with `n_cores` cores, on which every new thread starts on core 0.

    `moves` has all changes of the cores that a thread may use, in order.
    """

    def __init__(self, n_cores, refuses=False):
        self.cores, self.refuses = frozenset(range(n_cores)), refuses
        # State of the calling thread. A new thread may have the identifier of an earlier one.
        self.thread, self.moves = threading.local(), []

    def current_core(self):
        return getattr(self.thread, "core", 0)

    def getaffinity(self, process):
        assert process == 0, "the calling thread"
        return set(getattr(self.thread, "allowed", self.cores))

    def setaffinity(self, process, cores):
        assert process == 0, "the calling thread"
        assert cores
        assert self.cores.issuperset(cores)
        self.moves.append(set(cores))
        if self.refuses:
            raise PermissionError(1, "Operation not permitted")
        self.thread.allowed = set(cores)
        if self.current_core() not in cores:
            self.thread.core = min(cores)


@pytest.fixture
def pretended(monkeypatch):
    """Return a function that replaces the system by a pretended one."""

    def replace(*arguments):
        machine = Machine(*arguments)
        monkeypatch.setattr(threads, "_current_core", machine.current_core)
        monkeypatch.setattr(os, "sched_getaffinity", machine.getaffinity, raising=False)
        monkeypatch.setattr(os, "sched_setaffinity", machine.setaffinity, raising=False)
        return machine

    assert threads._budget.places == []
    yield replace
    assert threads._budget.places == []


def on_new_thread(function):
    """Call a function on a new thread; return its result or raise its error."""
    results = []

    def run():
        try:
            results.append((function(), None))
        except BaseException as error:
            results.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    result, error = results[0]
    if error is not None:
        raise error
    return result


def taken(machine, places):
    """Take a place on a new thread; return the thread's core and the cores that it may use afterwards."""

    def take():
        places.take()
        return machine.current_core(), machine.getaffinity(0)

    return on_new_thread(take)


def test_every_thread_of_a_call_gets_another_core(pretended):
    machine = pretended(4)
    places = threads.CorePlaces()
    found = [taken(machine, places) for _ in range(3)]
    places.release()
    assert found == [(core, set(range(4))) for core in (1, 2, 3)]
    assert machine.current_core() == 0, "the calling thread stays"
    assert not vars(machine.thread), "the cores of the calling thread stay"


@pytest.mark.parametrize(
    ("n_cores", "refuses", "core"), [(2, False, 1), (1, False, 0), (2, True, 0)],
    ids=["on a free core", "with one core", "on a system that refuses"],
)  # fmt: skip
def test_a_thread_is_not_moved(pretended, n_cores, refuses, core):
    machine = pretended(n_cores, refuses)
    machine.thread.core = core
    places = threads.CorePlaces()
    assert taken(machine, places) == (0, set(range(n_cores)))
    places.release()
    assert bool(machine.moves) == refuses, "a system that refuses was asked"


def test_the_threads_of_several_calls_get_different_cores(pretended):
    machine = pretended(4)
    first, second = threads.CorePlaces(), on_new_thread(threads.CorePlaces)
    found = [taken(machine, places)[0] for places in (first, second, first)]
    assert found == [1, 2, 3]
    # No core is left: leave those of the own call.
    assert taken(machine, second)[0] == 1
    first.release()
    assert sorted(threads._budget.places) == [0, 1, 2]
    second.release()


@pytest.mark.parametrize("missing", [["sched_setaffinity"], ["sched_getaffinity", "sched_setaffinity"]])
def test_a_system_may_lack_the_functions(pretended, monkeypatch, missing):
    machine = pretended(2)
    for name in missing:
        monkeypatch.delattr(os, name)
    places = threads.CorePlaces()
    on_new_thread(places.take)
    places.release()
    assert machine.moves == []


@pytest.mark.parametrize("error", [TypeError, AttributeError, OSError])
def test_the_core_is_unknown_without_the_function_of_the_c_library(monkeypatch, error):
    def missing(name):
        raise error

    monkeypatch.setattr(threads.ctypes, "PyDLL", missing)
    threads._core_function.cache_clear()
    try:
        assert threads._current_core() == -1
    finally:
        threads._core_function.cache_clear()


needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system has no sched_setaffinity"
)


@needs_affinity
def test_the_system_names_a_core_that_the_thread_may_use():
    assert threads._current_core() in os.sched_getaffinity(0)


random = np.random.default_rng(0)
X, y = random.normal(size=(1200, 20)), random.integers(0, 3, 1200)


def trained(n_threads):
    """Return the parameters after a training whose steps several threads share."""
    model = fastnn.Model([20, 64, 64, 3], random_state=0)
    model.train(X, y, num_passes=3, epsilon=1e-4, batch_size=512, n_threads=n_threads, random_state=0)
    return model._parameters


@needs_affinity
@pytest.mark.parametrize("refused", [False, True])
def test_every_thread_may_use_the_same_cores_after_a_training(monkeypatch, refused):
    monkeypatch.setattr(threads, "available_cores", lambda: 3)
    monkeypatch.setattr(threads, "_current_core", lambda: min(os.sched_getaffinity(0)))  # all share a core
    found, moves, set_cores = [], [], os.sched_setaffinity

    def set_noted(process, cores):
        moves.append(cores)
        if refused:
            raise PermissionError(1, "Operation not permitted")
        set_cores(process, cores)

    class Noted(threads.CorePlaces):
        def take(self):
            before = os.sched_getaffinity(0)
            super().take()
            found.append((before, os.sched_getaffinity(0), threading.get_ident()))

    monkeypatch.setattr(os, "sched_setaffinity", set_noted)
    monkeypatch.setattr(shared_calls, "CorePlaces", Noted)
    before = os.sched_getaffinity(0)
    alone = trained(1)
    assert not found
    np.testing.assert_array_equal(trained(3), alone)
    assert len({thread for _, _, thread in found}) == 2
    assert threading.get_ident() not in {thread for _, _, thread in found}
    assert all(first == second == before for first, second, _ in found)
    assert os.sched_getaffinity(0) == before
    assert bool(moves) == (len(before) > 1)
    assert threads._budget.places == []


ONE_CORE = """
    import os

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before NumPy starts threads

    import numpy as np
    import fastnn
    from fastnn.system import threads

    assert threads.available_cores() == 1
    random = np.random.default_rng(0)
    X, y = random.normal(size=(1200, 20)), random.integers(0, 3, 1200)

    def trained(n_threads):
        model = fastnn.Model([20, 64, 64, 3], random_state=0)
        model.train(X, y, num_passes=2, epsilon=1e-4, batch_size=512, n_threads=n_threads, random_state=0)
        return model._parameters.tobytes()

    expected = trained(2)
    threads.available_cores = lambda: 2  # two threads share the core all the same
    assert trained(2) == expected
    assert len(os.sched_getaffinity(0)) == 1
    assert {len(os.sched_getaffinity(int(thread))) for thread in os.listdir("/proc/self/task")} == {1}
    print("done")
"""


@needs_affinity
def test_a_process_on_one_core_trains():
    assert run_python(ONE_CORE).split() == ["done"]


FORK = """
    import os
    import threading
    import warnings

    from fastnn.system import threads

    warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
    taken, released = threading.Event(), threading.Event()

    def hold():
        places = threads.CorePlaces()
        with threads._budget.lock:
            taken.set()
            released.wait()
        places.release()

    holder = threading.Thread(target=hold)
    holder.start()
    taken.wait()
    child = os.fork()
    if child == 0:
        places = threads.CorePlaces()
        places.take()
        same = len(threads._budget.places) == 2
        places.release()
        os._exit(0 if same and not threads._budget.places else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(threads._budget.places))
    released.set()
    holder.join()
    print(threads._budget.places)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_takes_no_place_of_its_parents_threads():
    assert run_python(FORK).split() == ["0", "1", "[]"]
