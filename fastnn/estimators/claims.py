"""Claims of fits on the random generators that they draw from."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..system.generators import seeded

__all__ = ["claimed"]


class _Claims:
    """Ids of the generators that fits draw from, on whatever threads."""

    def __init__(self) -> None:
        self.lock, self.ids = threading.Lock(), set[int]()


_claims = _Claims()


def _reset_after_fork() -> None:
    """Forget all claims in a child process: the fits of other threads do not exist there."""
    global _claims
    _claims = _Claims()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


@contextmanager
def claimed(random: np.random.RandomState) -> Iterator[np.random.RandomState]:
    """Give the generator to one fit alone; while another fit draws from it, give one seeded from it.

    The kernels draw from a copy for as long as a call takes: two fits would draw the same numbers.
    """
    claims = _claims
    with claims.lock:
        is_free = id(random) not in claims.ids
        if is_free:
            claims.ids.add(id(random))
        else:
            random = seeded(random.randint(0, 2**32, 4, np.uint32))
    try:
        yield random
    finally:
        if is_free:
            with claims.lock:
                claims.ids.discard(id(random))
