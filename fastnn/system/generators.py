"""Random generators: fast access to the state of `RandomState` objects, from which the kernels also draw.

NumPy needs more time to seed a generator, and to read and set its state, than a small network needs for
several epochs. The functions here gather no entropy when a seed is given, and copy the state in memory.
"""

from __future__ import annotations

import ctypes
import functools
import numbers
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

from .validation import shown

__all__ = [
    "generator_state",
    "is_twister",
    "put_generator_state",
    "resolve_random_state",
    "seeded",
    "twister_with",
]

# Number of 32-bit words of a Mersenne Twister's state. The position, the 625th number, follows them.
WORDS = 624
# Number of 32-bit words that seed a generator from another.
WORDS_OF_SEED = 8


class _NoEntropy(ISeedSequence):
    """Seed sequence of zeros, for a bit generator that is seeded again immediately."""

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        return [0] * n_words


def seeded(seed: Any) -> np.random.RandomState:
    """Return ``RandomState(seed)`` without gathering the entropy that a given seed makes superfluous.

    Raises
    ------
    ValueError, TypeError
        If `seed` is not a valid seed of ``RandomState``.
    """
    random = np.random.RandomState(np.random.MT19937(_NoEntropy()))  # type: ignore[arg-type]
    random.seed(seed)
    return random


def twister_with(state: dict[str, Any]) -> np.random.RandomState:
    """Return the ``RandomState`` with a state that ``RandomState.get_state(legacy=False)`` returned."""
    random = np.random.RandomState(np.random.MT19937(_NoEntropy()))  # type: ignore[arg-type]
    random.set_state(state)
    return random


def is_twister(random: np.random.RandomState) -> bool:
    """Return True if the bit generator of a ``RandomState`` is a Mersenne Twister."""
    return isinstance(random._bit_generator, np.random.MT19937)


def _words(random: np.random.RandomState) -> NDArray[np.uint32]:
    """Return a view (625,) of a twister's words and position, valid while `random` exists."""
    address = random._bit_generator.ctypes.state_address
    return np.frombuffer(memoryview((ctypes.c_uint32 * (WORDS + 1)).from_address(address)), np.uint32)


def _documented_state(random: np.random.RandomState) -> NDArray[np.uint32]:
    """Return a copy (625,) of a twister's words and position, read by ``RandomState.get_state``."""
    state: Any = random.get_state(legacy=False)
    return np.append(state["state"]["key"], state["state"]["pos"]).astype(np.uint32)


@functools.cache
def _is_layout_known() -> bool:
    """Return True if a twister's state has the expected layout: NumPy documents only its address."""
    random = seeded(0)
    random.random_sample(100)
    return bool((_words(random) == _documented_state(random)).all())


def generator_state(random: np.random.RandomState) -> NDArray[np.uint32]:
    """Return the state (625,) of a ``RandomState``: the words of its Mersenne Twister, and the position."""
    if not _is_layout_known():
        return _documented_state(random)
    with random._bit_generator.lock:
        return _words(random).copy()


def put_generator_state(random: np.random.RandomState, generator: NDArray[np.uint32]) -> None:
    """Set a ``RandomState`` to `generator`, a result of `generator_state`."""
    if _is_layout_known():
        with random._bit_generator.lock:
            _words(random)[...] = generator
        return
    state: Any = random.get_state(legacy=False)
    state["state"] = {"key": generator[:WORDS], "pos": int(generator[WORDS])}
    random.set_state(state)


def resolve_random_state(random_state: Any, rng: Any = None, default: int | None = None) -> Any:
    """Return the generator for `random_state`: the module ``numpy.random`` for None, or a ``RandomState``.

    If `rng` is given, return a ``RandomState`` that is seeded by it. NumPy guarantees that what is drawn here
    never changes: raw numbers of the bit generator, and those of an integer's ``SeedSequence``.

    Parameters
    ----------
    random_state : None, int or numpy.random.RandomState
        As in scikit-learn.
    rng : None, int or numpy.random.Generator
        As in SPEC 7 of scientific Python.
    default : None or int
        Default of `random_state`, which may be left in its place if `rng` is given.

    Raises
    ------
    ValueError
        If `random_state` is not None, an integer from 0 to 2**32 - 1 or a ``RandomState``; if `rng` is not
        None, an integer of at least 0 or a ``Generator``; or if both are given.
    """
    if rng is not None:
        if not (random_state is None or (type(random_state) is int and random_state == default)):
            raise ValueError("random_state and rng exclude each other: pass one of the two")
        if isinstance(rng, np.random.Generator):
            return seeded(rng.bit_generator.random_raw(WORDS_OF_SEED).astype(np.uint32))
        if not isinstance(rng, bool) and isinstance(rng, numbers.Integral) and int(rng) >= 0:
            return seeded(np.random.SeedSequence(int(rng)).generate_state(WORDS_OF_SEED))
        raise ValueError(
            f"rng must be None, an integer of at least 0 or a numpy.random.Generator, got {shown(rng)}"
        )
    if random_state is None:
        return np.random
    if isinstance(random_state, np.random.RandomState):
        return random_state
    if isinstance(random_state, numbers.Integral) and 0 <= int(random_state) < 2**32:
        return seeded(int(random_state))
    remedy = ": pass it as rng" if isinstance(random_state, np.random.Generator) else ""
    raise ValueError(
        "random_state must be None, an integer from 0 to 2**32 - 1 or a numpy.random.RandomState, "
        f"got {shown(random_state)}{remedy}"
    )
