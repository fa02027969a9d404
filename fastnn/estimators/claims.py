"""Exclusive use of random generators by parallel fits."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..system.generators import seeded

__all__ = ["claimed"]


class _Claims:
    """Python ids of the generators from which running fits draw, with the lock that guards them."""

    def __init__(self) -> None:
        self.lock, self.ids = threading.Lock(), set[int]()


_claims = _Claims()


def _reset_after_fork() -> None:
    """Clear all claims in a forked child process, which lacks the fits of other threads."""
    global _claims
    _claims = _Claims()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


@contextmanager
def claimed(random: np.random.RandomState) -> Iterator[np.random.RandomState]:
    """Yield the generator for exclusive use; if another fit is using it, yield a new one seeded from it.

    During a call the kernels draw from a copy of the state: two fits with one generator would draw the same
    numbers.
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
