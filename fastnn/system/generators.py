"""Sources of random numbers: `RandomState` objects, whose Mersenne Twisters the kernels draw from, too.

NumPy takes longer to seed a generator, and to read and set its state, than a small network takes for some
passes. Here a given seed mixes no entropy, and states are copied in memory.
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

__all__ = ["generator_state", "is_twister", "put_generator_state", "resolve_random_state", "seeded"]

# Words of a Mersenne Twister's state; the position among them follows.
WORDS = 624


class _NoEntropy(ISeedSequence):
    """A seed of zeros, for a bit generator that is seeded again at once."""

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        """Return zeros."""
        return [0] * n_words


def seeded(seed: Any) -> np.random.RandomState:
    """Return ``RandomState(seed)``, without the entropy that ``RandomState`` gathers first and does not use.

    Raises
    ------
    ValueError, TypeError
        For anything but a seed, as ``RandomState`` does.
    """
    random = np.random.RandomState(np.random.MT19937(_NoEntropy()))  # type: ignore[arg-type]
    random.seed(seed)
    return random


def is_twister(random: np.random.RandomState) -> bool:
    """Return whether a ``RandomState`` draws from a Mersenne Twister, and not from another bit generator."""
    return isinstance(random._bit_generator, np.random.MT19937)


def _words(random: np.random.RandomState) -> NDArray[np.uint32]:
    """Return a view of a twister's words and position, which is valid as long as `random` exists."""
    address = random._bit_generator.ctypes.state_address
    return np.frombuffer(memoryview((ctypes.c_uint32 * (WORDS + 1)).from_address(address)), np.uint32)


def _documented_state(random: np.random.RandomState) -> NDArray[np.uint32]:
    """Return a copy of a twister's words and position, read by NumPy's documented method."""
    state: Any = random.get_state(legacy=False)
    return np.append(state["state"]["key"], state["state"]["pos"]).astype(np.uint32)


@functools.cache
def _are_readable() -> bool:
    """Return whether a twister's words lie in memory as expected: NumPy documents the address alone."""
    random = seeded(0)
    random.random_sample(100)
    return bool((_words(random) == _documented_state(random)).all())


def generator_state(random: np.random.RandomState) -> NDArray[np.uint32]:
    """Return the state (625,) of a ``RandomState``: the words of its Mersenne Twister, and the position."""
    if not _are_readable():
        return _documented_state(random)
    with random._bit_generator.lock:
        return _words(random).copy()


def put_generator_state(random: np.random.RandomState, generator: NDArray[np.uint32]) -> None:
    """Set a ``RandomState`` to `generator`, a result of `generator_state`."""
    if _are_readable():
        with random._bit_generator.lock:
            _words(random)[...] = generator
        return
    state: Any = random.get_state(legacy=False)
    state["state"] = {"key": generator[:WORDS], "pos": int(generator[WORDS])}
    random.set_state(state)


def resolve_random_state(random_state: Any) -> Any:
    """Return the generator to draw from: NumPy's global one for None, else a ``RandomState``.

    Raises
    ------
    ValueError
        For anything but None, an integer from 0 to 2**32 - 1 and a ``RandomState``.
    """
    if random_state is None:
        return np.random
    if isinstance(random_state, np.random.RandomState):
        return random_state
    if isinstance(random_state, numbers.Integral) and 0 <= int(random_state) < 2**32:
        return seeded(int(random_state))
    raise ValueError(
        "random_state must be None, an integer from 0 to 2**32 - 1 or a numpy.random.RandomState, "
        f"got {shown(random_state)}"
    )
