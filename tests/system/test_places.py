"""Places: the threads of a call run on different cores, and may use the same cores afterwards as before."""

import ctypes
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from processes import load_again


class Machine:
    """A pretended system with `n_cores` cores, on which every new thread starts on core 0."""

    def __init__(self, n_cores, refuses=False):
        self.cores, self.refuses = frozenset(range(n_cores)), refuses
        # State of the calling thread. A new thread may have the identifier of an earlier one.
        self.thread, self.n_moves = threading.local(), 0

    def get_core(self):
        return getattr(self.thread, "core", 0)

    def get_allowed(self, process):
        return set(getattr(self.thread, "allowed", self.cores))

    def set_allowed(self, process, cores):
        assert process == 0, "the calling thread"
        assert cores
        assert self.cores.issuperset(cores)
        self.n_moves += 1
        if self.refuses:
            raise PermissionError(1, "Operation not permitted")
        self.thread.allowed = set(cores)
        if self.get_core() not in cores:
            self.thread.core = min(cores)


@pytest.fixture
def pretend(monkeypatch):
    """Return a function that replaces the system by a pretended one, and loads the module for it."""

    def replace(*arguments):
        machine = Machine(*arguments)
        library = SimpleNamespace(sched_getcpu=machine.get_core)
        monkeypatch.setattr(ctypes, "PyDLL", lambda name: library)
        monkeypatch.setattr(os, "sched_getaffinity", machine.get_allowed, raising=False)
        monkeypatch.setattr(os, "sched_setaffinity", machine.set_allowed, raising=False)
        return machine, load_again("fastnn.system.threads")

    return replace


def call_on_new_thread(function):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def take(machine, places):
    """Take a place on a new thread; return its core. It may use the same cores afterwards."""

    def take_place():
        places.take()
        assert machine.get_allowed(0) == machine.cores
        return machine.get_core()

    return call_on_new_thread(take_place)


def test_the_threads_of_several_calls_get_different_cores(pretend):
    machine, threads = pretend(4)
    first, second = threads.CorePlaces(), call_on_new_thread(threads.CorePlaces)
    assert [take(machine, places) for places in (first, second, first)] == [1, 2, 3]
    assert take(machine, second) == 1, "no core is left outside the own call"
    first.release()
    second.release()
    assert take(machine, threads.CorePlaces()) == 1, "all places but the caller's are free again"
    assert not vars(machine.thread), "the calling thread stays, and its cores"


@pytest.mark.parametrize(("n_cores", "refuses", "core"), [(2, False, 1), (1, False, 0), (2, True, 0)])
def test_a_thread_is_not_moved(pretend, n_cores, refuses, core):
    machine, threads = pretend(n_cores, refuses)
    machine.thread.core = core
    places = threads.CorePlaces()
    assert take(machine, places) == 0
    places.release()
    assert bool(machine.n_moves) == refuses, "a system that refuses was asked"


@pytest.mark.parametrize("missing", ["sched_setaffinity", "sched_getaffinity", TypeError, OSError])
def test_a_system_may_lack_the_functions(pretend, monkeypatch, missing):
    machine, threads = pretend(4)
    if isinstance(missing, str):
        monkeypatch.delattr(os, missing)
    else:
        monkeypatch.setattr(ctypes, "PyDLL", Mock(side_effect=missing))
    assert take(machine, threads.CorePlaces()) == 0
