"""Cached properties without a lock: all threads get the value that was stored first."""

import threading

from processes import PATIENCE

from fastnn_kernels.compiler.forks import cached_property


class Counted:
    """Object whose property waits until as many threads as `barrier` has parties compute it."""

    def __init__(self, n_threads):
        self.barrier, self.computed = threading.Barrier(n_threads), []

    @cached_property
    def value(self):
        """A new object for every computation."""
        self.barrier.wait(PATIENCE)
        self.computed.append(object())
        return self.computed[-1]


def test_a_value_is_computed_once():
    counted = Counted(1)
    assert counted.value is counted.value
    assert len(counted.computed) == 1


def test_threads_that_compute_at_once_all_get_the_same_value():
    """A thread may keep an address within the value: no thread may get a value that the object drops."""
    counted, found = Counted(4), []
    threads = [threading.Thread(target=lambda: found.append(counted.value)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counted.computed) == 4
    assert len(found) == 4
    assert all(value is counted.value for value in found)


def test_the_class_shows_the_property_itself():
    assert isinstance(Counted.value, cached_property)
    assert Counted.value.__doc__ == "A new object for every computation."
