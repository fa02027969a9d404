"""Random numbers, and what is drawn from them: masks by position, orders one after the other.

Masks are functions of a key and a position: SplitMix64 (Steele, Lea & Flood, "Fast splittable
pseudorandom number generators", 2014), read at any position: number p of the stream `key` is
``mix(key + (p + 1) GOLDEN)``. So a number does not depend on which thread draws it, on how the samples
are cut into tiles, or on what was drawn before. Keys of streams are numbers of other streams: of a seed,
of a step in it, of a layer in that.

Orders of the samples are those that NumPy's ``RandomState.shuffle`` makes, draw for draw, from the same
Mersenne Twister: so a run can be held against one that anybody else made from the same seed.

Shape letters: J units, T samples of a tile (a whole number of vectors).
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .jit import kernel
from .simd import Value, Vector, lanes, load, store

__all__ = ["draw", "dropout", "shuffle"]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# (shift, factor) of the rounds of `mix`, and its last shift.
ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
LAST_SHIFT = 31

# Words of a Mersenne Twister, and how far apart those are that it combines.
WORDS, SHIFT = 624, 397

_SHIFTS = tuple(np.uint64(shift) for shift, _ in ROUNDS)
_FACTORS = tuple(np.uint64(factor) for _, factor in ROUNDS)
_LAST_SHIFT = np.uint64(LAST_SHIFT)


@kernel
def draw(key, position):
    """Number `position` of the stream `key`, 64 random bits.

    Parameters
    ----------
    key : uint64
    position : int

    Returns
    -------
    uint64
    """
    x = key + (np.uint64(position) + np.uint64(1)) * GOLDEN
    x = (x ^ (x >> _SHIFTS[0])) * _FACTORS[0]
    x = (x ^ (x >> _SHIFTS[1])) * _FACTORS[1]
    return x ^ (x >> _LAST_SHIFT)


@kernel
def shuffle(generator, indices):
    """Put `indices` into another order, as ``numpy.random.RandomState.shuffle`` would.

    Parameters
    ----------
    generator : array (625,) of uint32
        The 624 words of a Mersenne Twister and the position among them; updated.
    indices : array of int64
        Updated.
    """
    mask = np.int64(0xFFFFFFFF)
    position = np.int64(generator[WORDS])
    i = indices.shape[0] - 1
    while i > 0:
        while mask >> 1 >= i:  # as few bits as i has
            mask >>= 1
        if position >= WORDS:
            twist(generator)
            position = np.int64(0)
        least = mask >> 1
        while i > least and position < WORDS:
            j = tempered(np.int64(generator[position])) & mask
            position += 1
            # One that is too large is no place to go to. It comes too often, and without a pattern, for a
            # branch: the entry is exchanged with itself instead.
            fits = j <= i
            j = j if fits else i
            indices[i], indices[j] = indices[j], indices[i]
            i -= fits
    generator[WORDS] = position


@kernel
def tempered(y):
    """32 bits of a word of the Mersenne Twister (Matsumoto & Nishimura, 1998, section 2.1)."""
    y ^= y >> 11
    y ^= (y << 7) & 0x9D2C5680
    y ^= (y << 15) & 0xEFC60000
    return y ^ (y >> 18)


@kernel
def twist(generator):
    """The next 624 words in place of the last."""
    for k in range(WORDS - SHIFT):
        generator[k] = twisted(generator[k], generator[k + 1], generator[k + SHIFT])
    for k in range(WORDS - SHIFT, WORDS - 1):
        generator[k] = twisted(generator[k], generator[k + 1], generator[k + SHIFT - WORDS])
    generator[WORDS - 1] = twisted(generator[WORDS - 1], generator[0], generator[SHIFT - 1])


@kernel
def twisted(word, following, distant):
    """The word in the place of one."""
    y = (np.int64(word) & 0x80000000) | (np.int64(following) & 0x7FFFFFFF)
    return np.int64(distant) ^ (y >> 1) ^ (-(y & 1) & 0x9908B0DF)


@kernel
def dropout(A, key, first, rate, D):
    """Inverted dropout: every value is 0 with probability `rate`, else divided by 1 - `rate`.

    The derivatives go back through the same kernel with the same key.

    Parameters
    ----------
    A : array (J, T)
    key : uint64
        Row j draws from stream ``draw(key, j)``.
    first : int
        Position in the batch of the tile's first sample, an even number.
    rate : float
        0 <= rate < 1.
    D : array (J, T)
        Overwritten; may be A.
    """
    threshold = np.int64(rate * 4294967296.0)
    scale = A.dtype.type(1.0 / (1.0 - rate))
    for j in range(A.shape[0]):
        row = draw(key, j)
        for t in range(0, A.shape[1], lanes(A)):
            store(D, j, t, kept(load(A, j, t), row, (first + t) // 2, threshold, scale))


@intrinsic
def kept(typing_context, value, key, position, threshold, scale):
    """``value * scale`` in the lanes whose 32 bits are not below `threshold`, 0 in the others.

    Each 64-bit number of the stream, from `position` on, serves two lanes, its low half the first.
    """
    if not isinstance(value, Vector):
        return None

    def generate(context, builder, signature, args):
        x = Value(context, builder, value, args[0])
        wide = Vector(types.int64, value.lanes // 2)
        first = context.cast(builder, args[2], signature.args[2], types.int64)
        start = builder.add(
            args[1],
            builder.mul(builder.add(first, first.type(1)), first.type(int(GOLDEN))),
        )
        numbers = Value.wrap(context, builder, wide, start, types.int64)
        steps = numbers.like(ir.Constant(wide.llvm, [(k * int(GOLDEN)) % 2**64 for k in range(wide.lanes)]))
        z = numbers + steps
        for shift, number in ROUNDS:
            z = (z ^ z.shifted_down(shift)) * number
        z = z ^ z.shifted_down(LAST_SHIFT)
        halves = Vector(types.int32, value.lanes)
        bits = builder.bitcast(z.ir, halves.llvm)
        limit = Value.wrap(context, builder, halves, args[3], signature.args[3])
        mask = x.like(builder.icmp_unsigned(">=", bits, limit.ir), types.boolean)
        factor = Value.wrap(context, builder, value, args[4], signature.args[4])
        return (x * factor).where(mask, 0.0).ir

    return value(value, types.uint64, types.int64, types.int64, value.dtype), generate
