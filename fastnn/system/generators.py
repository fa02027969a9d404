"""Random generators: fast access to the state of `RandomState` objects, from which the kernels also draw.

NumPy needs more time to seed a generator, and to read and set its state, than a small network needs for
several epochs. The functions here gather no entropy when a seed is given, and copy the state in memory.
"""

from __future__ import annotations

import ctypes
import numbers
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

from .validation import short_repr

# Source of random numbers: a generator, or the module numpy.random, whose functions draw from a global one.
Random: TypeAlias = np.random.RandomState | ModuleType

# Number of 32-bit words of a Mersenne Twister's state. The position, the 625th number, follows them.
WORDS = 624
# Number of 32-bit words that seed a generator from another.
WORDS_OF_SEED = 8


class _NoEntropy(ISeedSequence):
    """Seed sequence of zeros, for a bit generator that is seeded again immediately."""

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        return [0] * n_words


def make_random(seed: Any) -> np.random.RandomState:
    """Return ``RandomState(seed)`` without gathering the entropy that a given seed makes superfluous."""
    random = np.random.RandomState(np.random.MT19937(_NoEntropy()))  # type: ignore[arg-type]
    random.seed(seed)
    return random


def is_twister(random: np.random.RandomState) -> bool:
    """Return True if the bit generator of a ``RandomState`` is a Mersenne Twister."""
    return isinstance(random._bit_generator, np.random.MT19937)


class TwisterState:
    """Access to the state (625,) of a ``RandomState``: words of its Mersenne Twister, and the position."""

    def __init__(self, random: np.random.RandomState) -> None:
        self._random, self._lock = random, random._bit_generator.lock
        # NumPy documents the address alone; that the words come first, then the position, holds for every
        # release. The view is valid while `random` exists.
        address = random._bit_generator.ctypes.state_address
        words = (ctypes.c_uint32 * (WORDS + 1)).from_address(address)
        self._words = np.frombuffer(memoryview(words), np.uint32)

    def read(self) -> NDArray[np.uint32]:
        """Return a copy of the state."""
        with self._lock:
            return self._words.copy()

    def write(self, state: NDArray[np.uint32]) -> None:
        """Set the state to a result of `read`."""
        with self._lock:
            self._words[...] = state


class _Claim:
    """Claim of a generator by a fit, which keeps the generator alive: no other object gets its Python id."""

    def __init__(self, random: np.random.RandomState) -> None:
        self.random = random


# Claims of running fits by the Python id of the generator. The references are weak: a claim ends with the
# frame that holds it, however a fit ends.
_claims, _claims_lock = WeakValueDictionary[int, _Claim](), threading.Lock()


@contextmanager
def claim_random(random: np.random.RandomState) -> Iterator[np.random.RandomState]:
    """Yield the generator for exclusive use; if another fit is using it, yield a new one seeded from it.

    During a call the kernels draw from a copy of the state: two fits with one generator would draw the same
    numbers.
    """
    claim = _Claim(random)
    with _claims_lock:
        is_free = _claims.setdefault(id(random), claim) is claim
    yield random if is_free else make_random(random.randint(0, 2**32, 4, np.uint32))


def resolve_random_state(random_state: object, rng: object = None, default: int | None = None) -> Random:
    """Return the generator for `random_state`: the module ``numpy.random`` for None, or a ``RandomState``.

    If `rng`, as in SPEC 7 of scientific Python, is given, return a ``RandomState`` that is seeded by it;
    `random_state` may then only be `default`. NumPy guarantees that what is drawn here never changes: raw
    numbers of the bit generator, and of an integer's ``SeedSequence``. Anything else is a ValueError.
    """
    if rng is not None:
        if not (random_state is None or (type(random_state) is int and random_state == default)):
            raise ValueError("random_state and rng exclude each other: pass one of the two")
        if isinstance(rng, np.random.Generator):
            return make_random(rng.bit_generator.random_raw(WORDS_OF_SEED).astype(np.uint32))
        if not isinstance(rng, bool) and isinstance(rng, numbers.Integral) and int(rng) >= 0:
            return make_random(np.random.SeedSequence(int(rng)).generate_state(WORDS_OF_SEED))
        raise ValueError(
            f"rng must be None, an integer of at least 0 or a numpy.random.Generator, got {short_repr(rng)}"
        )
    if random_state is None:
        return np.random
    if isinstance(random_state, np.random.RandomState):
        return random_state
    if isinstance(random_state, numbers.Integral) and 0 <= int(random_state) < 2**32:
        return make_random(int(random_state))
    remedy = ": pass it as rng" if isinstance(random_state, np.random.Generator) else ""
    raise ValueError(
        "random_state must be None, an integer from 0 to 2**32 - 1 or a numpy.random.RandomState, "
        f"got {short_repr(random_state)}{remedy}"
    )


def draw_seed(random: Random) -> int:
    """Return a random integer of 64 bits, the seed of a training's dropout masks and orders."""
    high, low = random.randint(0, 2**32, 2, np.uint64).tolist()
    return (high << 32) | low
