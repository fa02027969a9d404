"""Random numbers, and what is drawn from them: masks of dropout and orders of the samples.

Masks are functions of a key and a position: SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom
number generators", 2014), read at any position: number p of the stream `key` is
``mix(key + (p + 1) GOLDEN)``. So a number does not depend on which thread draws it, on how the samples are
cut into tiles, or on what was drawn before. The key of a stream is a number of another stream: a layer's key
comes from the stream of its step, a step's key from the stream of the seed.

Orders of the samples are those that NumPy's ``RandomState.shuffle`` makes, draw for draw, from the same
Mersenne Twister: a run can be compared with any other that began from the same seed.

Shape letters: J units, T samples of a tile (a whole number of vectors).
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .compiler.jit import kernel
from .compiler.numba_internals import array_without_count, cgutils
from .vectors.processor import VECTOR_BYTES
from .vectors.value import Value, emitter
from .vectors.vector import Vector, flat, is_plain, lanes, load, store, vector_of, vector_pointer

__all__ = ["draw", "dropout", "dropout_backward", "shuffle"]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# (shift, factor) of the rounds of `mix`, and its last shift.
ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
LAST_SHIFT = 31

# Values for which a register of random numbers has bits, two for each number: one vector or two.
VALUES = VECTOR_BYTES // 4
HALF = VALUES // 2
# Words of a Mersenne Twister, and the distance of the words that it combines.
WORDS, SHIFT = 624, 397

_SHIFTS = tuple(np.uint64(shift) for shift, _ in ROUNDS)
_FACTORS = tuple(np.uint64(factor) for _, factor in ROUNDS)
_LAST_SHIFT = np.uint64(LAST_SHIFT)


@kernel
def draw(key, position):
    """Return number `position` of the stream `key`, 64 random bits.

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
    numbers = words()
    mask = np.int64(0xFFFFFFFF)
    position = np.int64(generator[WORDS])
    is_tempered = False
    i = indices.shape[0] - 1
    while i > 0:
        while mask >> 1 >= i:  # as few bits as i has
            mask >>= 1
        if position >= WORDS:
            twist(generator)
            position = np.int64(0)
            is_tempered = False
        if not is_tempered:
            for k in range(WORDS):
                numbers[k] = tempered(generator[k])
            is_tempered = True
        # First find the numbers that are places, not larger than i. Many are larger, without a pattern, and a
        # branch would be mispredicted. Unsigned indices spare the check whether they count from the end.
        least, last, begin = mask >> 1, i, position
        end = begin
        while i > least and position < WORDS:
            j = np.int64(numbers[np.uint64(position)]) & mask
            position += 1
            numbers[np.uint64(end)] = j
            fits = j <= i
            end += fits
            i -= fits
        for k in range(end - begin):
            here, there = np.uint64(last - k), np.uint64(numbers[np.uint64(begin + k)])
            indices[here], indices[there] = indices[there], indices[here]
    generator[WORDS] = position


@intrinsic
def words(typing_context):
    """Return an array of `WORDS` arbitrary uint32 on the stack, which lasts until the kernel returns."""
    array = types.Array(types.uint32, 1, "C")

    def generate(context, builder, signature, args):
        word = ir.IntType(32)
        return array_without_count(
            context,
            builder,
            array,
            data=cgutils.alloca_once(builder, word, size=WORDS),
            shape=[ir.IntType(64)(WORDS)],
            strides=[ir.IntType(64)(4)],
            itemsize=ir.IntType(64)(4),
        )

    return array(), generate


@kernel
def tempered(y):
    """Return the output of a word of the Mersenne Twister (Matsumoto & Nishimura, 1998, section 2.1)."""
    y ^= y >> np.uint32(11)
    y ^= (y << np.uint32(7)) & np.uint32(0x9D2C5680)
    y ^= (y << np.uint32(15)) & np.uint32(0xEFC60000)
    return y ^ (y >> np.uint32(18))


@kernel
def twist(generator):
    """Replace the 624 words by the next ones."""
    for k in range(WORDS - SHIFT):
        generator[k] = twisted(generator[k], generator[k + 1], generator[k + SHIFT])
    for k in range(WORDS - SHIFT, WORDS - 1):
        generator[k] = twisted(generator[k], generator[k + 1], generator[k + SHIFT - WORDS])
    generator[WORDS - 1] = twisted(generator[WORDS - 1], generator[0], generator[SHIFT - 1])


@kernel
def twisted(word, following, distant):
    """Return the word that replaces `word`."""
    y = (np.int64(word) & 0x80000000) | (np.int64(following) & 0x7FFFFFFF)
    return np.int64(distant) ^ (y >> 1) ^ (-(y & 1) & 0x9908B0DF)


@kernel
def dropout(A, key, first, rate, D):
    """Set every value to 0 with probability `rate`, else divide it by 1 - `rate` (inverted dropout).

    A dropped value is -0, which no other value is, so that `dropout_backward` need not draw again.

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
    T = A.shape[1]
    # Whole registers of random numbers, then half of one, where a register has bits for two vectors and one
    # vector is left.
    whole = T // VALUES * VALUES
    for j in range(A.shape[0]):
        row = draw(key, j)
        for t in range(0, whole, VALUES):
            drop(VALUES, A, j, t, row, (first + t) // 2, threshold, scale, D)
        if whole < T:
            drop(HALF, A, j, whole, row, (first + whole) // 2, threshold, scale, D)


@kernel
def dropout_backward(D, dD, rate, dA):
    """Compute the derivatives through `dropout`.

    Parameters
    ----------
    D : array (J, T)
        Output of `dropout`.
    dD : array (J, T)
        Derivatives by D.
    rate : float
    dA : array (J, T)
        Overwritten; may be dD.
    """
    scale = D.dtype.type(1.0 / (1.0 - rate))
    D, dD, dA = flat(D), flat(dD), flat(dA)
    for k in range(0, D.shape[1], lanes(D)):
        store(dA, 0, k, unless_dropped(load(dD, 0, k), load(D, 0, k), scale))


@emitter
def unless_dropped(d: Value, outcome: Value, scale: Value) -> Value:
    """Return ``d * scale``, or 0 where the outcome of dropout is -0."""
    is_dropped = outcome.bits().equals(outcome.constant(-0.0).bits())
    return d.constant(0.0).where(is_dropped, d * scale)


@intrinsic
def drop(typing_context, n_values, A, row, column, key, position, threshold, scale, D):
    """Set ``D[row, column + k] = A[row, column + k] * scale``, or -0 where k's bits are below `threshold`.

    k runs from 0 to `n_values`, a constant, whole vectors. Each 64-bit number of the stream, from `position`
    on, has the bits of two k, 32 for each, the low half first.
    """
    are_plain = is_plain(A, 2) and is_plain(D, 2, written=True)
    if not (isinstance(n_values, types.IntegerLiteral) and are_plain and A.dtype == D.dtype):
        return None
    count, vector = n_values.literal_value, vector_of(A)

    def generate(context, builder, signature, args):
        _, A_value, row, column, key, position, threshold, scale, D_value = args
        wide = Vector(types.int64, count // 2)
        start = builder.add(key, builder.mul(builder.add(position, position.type(1)), key.type(int(GOLDEN))))
        numbers = Value.wrap(context, builder, wide, start, types.int64)
        steps = numbers.like(ir.Constant(wide.llvm, [(k * int(GOLDEN)) % 2**64 for k in range(wide.lanes)]))
        z = numbers + steps
        for shift, number in ROUNDS:
            z = (z ^ z.shifted_down(shift)) * number
        z = z ^ z.shifted_down(LAST_SHIFT)
        halves = Vector(types.int32, count)
        bits = builder.bitcast(z.ir, halves.llvm)
        limit = Value.wrap(context, builder, halves, threshold, types.int64)
        masks = builder.icmp_unsigned(">=", bits, limit.ir)
        for at in range(0, count - vector.lanes + 1, vector.lanes):
            lanes_of = ir.Constant(
                ir.VectorType(ir.IntType(32), vector.lanes), list(range(at, at + vector.lanes))
            )
            here = builder.add(column, column.type(at))
            pointer = vector_pointer(context, builder, A, A_value, row, here)
            x = Value(context, builder, vector, builder.load(pointer, align=vector.dtype.bitwidth // 8))
            factor = Value.wrap(context, builder, vector, scale, A.dtype)
            mask = x.like(builder.shuffle_vector(masks, masks, lanes_of), types.boolean)
            kept = x.fma(factor, 0.0).where(mask, -0.0)  # -0 + 0 is 0
            pointer = vector_pointer(context, builder, D, D_value, row, here)
            builder.store(kept.ir, pointer, align=vector.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(
        n_values, A, types.intp, types.intp, types.uint64, types.intp, types.int64, A.dtype, D
    ), generate
