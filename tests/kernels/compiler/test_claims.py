"""Claims of cache entries: one process at a time holds a claim, however others wait for it."""

import errno
import queue
import threading
import time
from types import SimpleNamespace

import pytest

from fastnn_kernels.compiler import cache

NAME = "kernel.0123.nbc"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "cache_folders", lambda: iter([tmp_path]))
    return tmp_path


class Waiting:
    """Thread that claims the entry; `events` gets "waits" for each of its pauses, and "holds" at the end.

    `go_on` lets the thread go on after a pause.
    """

    def __init__(self, monkeypatch):
        self.events, self.go_on = queue.Queue(), threading.Semaphore(0)
        self.release = threading.Event()
        self._thread = threading.Thread(target=self._claim, daemon=True)
        clock = SimpleNamespace(monotonic=time.monotonic, sleep=self._pause)
        monkeypatch.setattr(cache, "time", clock)
        self._thread.start()

    def _pause(self, seconds):
        self.events.put("waits")
        self.go_on.acquire()

    def _claim(self):
        with cache.claimed(NAME):
            self.events.put("holds")
            self.release.wait()

    def end(self):
        self.release.set()
        self.go_on.release(1000)
        self._thread.join()


def test_a_claim_that_ends_without_an_entry_goes_to_one_of_those_who_want_it(folder, monkeypatch):
    with cache.claimed(NAME):
        waiting = Waiting(monkeypatch)
        assert waiting.events.get() == "waits"
    with cache.claimed(NAME):  # before the waiting thread looks again
        waiting.go_on.release()
        assert waiting.events.get() == "waits"
        assert [path.name for path in folder.iterdir()] == [f"{cache.DIGEST}.{NAME}.claim"]
    waiting.go_on.release()
    assert waiting.events.get() == "holds"
    waiting.end()
    assert not list(folder.iterdir())


def test_who_gives_up_waiting_leaves_the_claim_to_its_holder(folder, monkeypatch):
    with cache.claimed(NAME):
        monkeypatch.setattr(cache, "WAIT_SECONDS", 0.0)
        with cache.claimed(NAME):  # after the wait, everybody may go on
            pass
        assert [path.name for path in folder.iterdir()] == [f"{cache.DIGEST}.{NAME}.claim"]
    assert not list(folder.iterdir())


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EROFS])
def test_without_locks_nobody_waits(folder, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, "no locks")

    monkeypatch.setattr(cache, "_try_lock", refuse)
    with cache.claimed(NAME), cache.claimed(NAME):
        pass
    assert not list(folder.iterdir())
