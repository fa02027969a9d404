"""Where random numbers come from: `RandomState`s, whose Mersenne Twisters the kernels draw from too.

NumPy takes longer to make a generator of a number, and to read and set its state, than a small network
takes for some passes: here no entropy is mixed for a seed that is there, and states are copied as they lie.
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

# Of a Mersenne Twister, and the position among them behind these.
WORDS = 624


class _NoEntropy(ISeedSequence):
    """Seeds a bit generator that is about to be seeded otherwise."""

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:
        return [0] * n_words


def seeded(seed: Any) -> np.random.RandomState:
    """``RandomState(seed)``, which would first gather and mix entropy that it makes no use of.

    Raises
    ------
    ValueError, TypeError
        As ``RandomState`` does for what is no seed.
    """
    random = np.random.RandomState(np.random.MT19937(_NoEntropy()))  # type: ignore[arg-type]
    random.seed(seed)
    return random


def is_twister(random: np.random.RandomState) -> bool:
    """Whether a ``RandomState`` draws from a Mersenne Twister, and not from what somebody made it of."""
    return isinstance(random._bit_generator, np.random.MT19937)


def _words(random: np.random.RandomState) -> NDArray[np.uint32]:
    """The words of a twister and its position, in place: alive as long as `random` is."""
    address = random._bit_generator.ctypes.state_address
    return np.frombuffer(memoryview((ctypes.c_uint32 * (WORDS + 1)).from_address(address)), np.uint32)


def _told(random: np.random.RandomState) -> NDArray[np.uint32]:
    """A copy of them by way of what NumPy promises."""
    state: Any = random.get_state(legacy=False)
    return np.append(state["state"]["key"], state["state"]["pos"]).astype(np.uint32)


@functools.cache
def _are_open() -> bool:
    """Whether this NumPy keeps them as all have: it gives the address, but no word on what is there."""
    random = seeded(0)
    random.random_sample(100)
    return bool((_words(random) == _told(random)).all())


def generator_state(random: np.random.RandomState) -> NDArray[np.uint32]:
    """The words of the Mersenne Twister of a ``RandomState``, and its position among them: (625,)."""
    if not _are_open():
        return _told(random)
    with random._bit_generator.lock:
        return _words(random).copy()


def put_generator_state(random: np.random.RandomState, generator: NDArray[np.uint32]) -> None:
    """Let a ``RandomState`` go on from where `generator`, of `generator_state`, has come to."""
    if _are_open():
        with random._bit_generator.lock:
            _words(random)[...] = generator
        return
    state: Any = random.get_state(legacy=False)
    state["state"] = {"key": generator[:WORDS], "pos": int(generator[WORDS])}
    random.set_state(state)


def resolve_random_state(random_state: Any) -> Any:
    """What to draw from: NumPy's global generator for None, else a ``RandomState``.

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
