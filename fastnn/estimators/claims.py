"""Claims: a fit has its random generator to itself while fits run in parallel."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

import numpy as np

from ..system.generators import seeded

__all__ = ["claimed"]


class _Claim:
    """Claim of a generator by a fit, which keeps the generator alive: no other object gets its Python id."""

    def __init__(self, random: np.random.RandomState) -> None:
        self.random = random


class _Claims:
    """Claims of running fits by the Python id of the generator, with the lock that guards them.

    The references are weak: if an interrupt ends a fit before the claim is given back, the claim ends with
    the fit's frames.
    """

    def __init__(self) -> None:
        self.lock, self.held = threading.Lock(), WeakValueDictionary[int, _Claim]()


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
        is_free = id(random) not in claims.held
        if is_free:
            claim = claims.held[id(random)] = _Claim(random)
        else:
            random = seeded(random.randint(0, 2**32, 4, np.uint32))
    try:
        yield random
    finally:
        if is_free:
            with claims.lock:
                del claim
