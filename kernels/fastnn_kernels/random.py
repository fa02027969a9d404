"""Random numbers for dropout masks and for shuffling the samples.

Dropout masks come from SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators",
2014) with random access: number p of the stream `key` is ``mix(key + (p + 1) GOLDEN)``. A number depends on
key and position alone, not on the thread that draws it, the division of samples into tiles, or earlier draws.
The key of a stream is itself a number of another stream: a layer's key comes from the stream of its step, and
a step's key from the stream of the seed.

Samples are shuffled by a Mersenne Twister exactly as by NumPy's ``RandomState.shuffle``, so that trainings
can be compared with others from the same seed.

Shape letters: J units, T samples of a tile (a whole number of vectors).
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .compiler.jit import kernel
from .compiler.numba_internals import cgutils, make_array
from .vectors.matrix import Matrix
from .vectors.processor import VECTOR_BYTES
from .vectors.value import Value, emitter
from .vectors.vector import Vector, flat, get_vector, is_plain, lanes, load, store

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# The function mix of SplitMix64: (shift, factor) of its rounds, and the last shift.
ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
LAST_SHIFT = 31

# Number of the seed's random stream from which each step draws its key.
STEPS = 1
# Number of values for which one vector of 64-bit random numbers has bits, 32 for each value; VALUES values
# are one vector of float32 or two of float64.
VALUES = VECTOR_BYTES // 4
HALF = VALUES // 2
# Number of words of a Mersenne Twister, and the distance of the words that it combines.
WORDS, SHIFT = 624, 397

_SHIFTS = tuple(np.uint64(shift) for shift, _ in ROUNDS)
_FACTORS = tuple(np.uint64(factor) for _, factor in ROUNDS)
_LAST_SHIFT = np.uint64(LAST_SHIFT)


@kernel
def draw(key, position):
    """Return number `position` of the stream `key`, 64 random bits.

    key and the result are uint64.
    """
    x = key + (np.uint64(position) + np.uint64(1)) * GOLDEN
    x = (x ^ (x >> _SHIFTS[0])) * _FACTORS[0]
    x = (x ^ (x >> _SHIFTS[1])) * _FACTORS[1]
    return x ^ (x >> _LAST_SHIFT)


@kernel
def advance_stream(key, n):
    """Return the key of a stream that begins at number n of the stream `key`.

    For all j, ``draw(advance_stream(key, n), j)`` is ``draw(key, n + j)``: `dropout` of the rows of a matrix
    from row n on, with this key, draws the numbers of the whole matrix.
    """
    return key + np.uint64(n) * GOLDEN


@kernel
def shuffle(generator, indices):
    """Shuffle `indices` in place, with the same result as ``numpy.random.RandomState.shuffle``.

    generator (625,) of uint32: the 624 words of a Mersenne Twister, and the index of the next word; updated.
    """
    numbers = allocate_words()
    mask = np.int64(0xFFFFFFFF)
    position = np.int64(generator[WORDS])
    is_tempered = False
    i = indices.shape[0] - 1
    while i > 0:
        while mask >> 1 >= i:  # the mask has as many bits as i
            mask >>= 1
        if position >= WORDS:
            twist(generator)
            position = np.int64(0)
            is_tempered = False
        if not is_tempered:
            for k in range(WORDS):
                numbers[k] = temper(generator[k])
            is_tempered = True
        # First collect the numbers that are valid positions, at most i. Many numbers are larger, in no
        # pattern that a branch predictor could learn: collect them without a branch. Unsigned indices avoid
        # the check for negative ones.
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
def allocate_words(typing_context):
    """Return an uninitialised array (`WORDS`,) of uint32 on the stack, valid until the kernel returns."""
    array = types.Array(types.uint32, 1, "C")

    def generate(context, builder, signature, args):
        words = cgutils.alloca_once(builder, ir.IntType(32), size=WORDS)
        return make_array(context, builder, array, words, [ir.IntType(64)(WORDS)])

    return array(), generate


@kernel
def temper(y):
    """Return the tempered word y, an output of the generator (Matsumoto & Nishimura, 1998, section 2.1)."""
    y ^= y >> np.uint32(11)
    y ^= (y << np.uint32(7)) & np.uint32(0x9D2C5680)
    y ^= (y << np.uint32(15)) & np.uint32(0xEFC60000)
    return y ^ (y >> np.uint32(18))


@kernel
def twist(generator):
    """Replace the 624 words of a Mersenne Twister by the next ones."""
    for k in range(WORDS - SHIFT):
        generator[k] = twist_word(generator[k], generator[k + 1], generator[k + SHIFT])
    for k in range(WORDS - SHIFT, WORDS - 1):
        generator[k] = twist_word(generator[k], generator[k + 1], generator[k + SHIFT - WORDS])
    generator[WORDS - 1] = twist_word(generator[WORDS - 1], generator[0], generator[SHIFT - 1])


@kernel
def twist_word(word, following, distant):
    """Return the word that replaces `word`, given the next word and the one `SHIFT` words further on."""
    y = (np.int64(word) & 0x80000000) | (np.int64(following) & 0x7FFFFFFF)
    return np.int64(distant) ^ (y >> 1) ^ (-(y & 1) & 0x9908B0DF)


@kernel
def dropout_threshold(rate):
    """Return the threshold below which 32 random bits, as a number, lie with probability `rate`."""
    return np.int64(rate * 4294967296.0)


@kernel
def dropout(A, key, first, rate, D):
    """Set each value to -0 with probability `rate`, else divide it by 1 - `rate` (inverted dropout).

    Only dropped values are -0: a kept -0 becomes 0. So `dropout_backward` recognises dropped values without
    drawing random numbers again.

    A and D (J, T), where D may be A; 0 <= rate < 1. Row j draws from stream ``draw(key, j)``. first, an even
    number, is the position of the tile's first sample in the batch.
    """
    threshold = dropout_threshold(rate)
    scale = A.dtype.type(1.0 / (1.0 - rate))
    T = A.shape[1]
    # A vector of random numbers may have bits for two vectors of values: if one vector of values is left, it
    # takes half a vector of random numbers.
    whole = T // VALUES * VALUES
    for j in range(A.shape[0]):
        row = draw(key, j)
        for t in range(0, whole, VALUES):
            drop(VALUES, A, j, t, row, (first + t) // 2, threshold, scale, D)
        if whole < T:
            drop(HALF, A, j, whole, row, (first + whole) // 2, threshold, scale, D)


@kernel
def dropout_backward(D, dD, rate, dA):
    """Compute the derivative of the loss by the input of `dropout`, given the derivative by its output.

    D, dD and dA are (J, T); dA may be dD.
    """
    scale = D.dtype.type(1.0 / (1.0 - rate))
    D, dD, dA = flat(D), flat(dD), flat(dA)
    for k in range(0, D.shape[1], lanes(D)):
        store(dA, 0, k, scale_unless_dropped(load(dD, 0, k), load(D, 0, k), scale))


@emitter
def scale_unless_dropped(d: Value, outcome: Value, scale: Value) -> Value:
    """Return ``d * scale``, or 0 where `outcome`, the output of dropout, is -0."""
    is_dropped = outcome.bits().equals(outcome.constant(-0.0).bits())
    return d.constant(0.0).where(is_dropped, d * scale)


@intrinsic
def drop(typing_context, n_values, A, row, column, key, position, threshold, scale, D):
    """Set ``D[row, column + k] = A[row, column + k] * scale``, or -0 if the bits of k are below `threshold`.

    k runs from 0 to before `n_values`, a constant, a whole number of vectors. Each 64-bit number of the
    stream `key`, from `position` on, has the bits of two values, 32 for each; the low half belongs to the
    first.
    """
    are_plain = is_plain(A, 2) and is_plain(D, 2, written=True)
    if not (isinstance(n_values, types.IntegerLiteral) and are_plain and A.dtype == D.dtype):
        return None
    count, vector = n_values.literal_value, get_vector(A)

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
        masks = limit.like(builder.icmp_unsigned(">=", bits, limit.ir), types.boolean)
        source, target = Matrix(context, builder, A, A_value), Matrix(context, builder, D, D_value)
        for k, mask in enumerate(masks.parts(vector.lanes)):
            here = builder.add(column, column.type(k * vector.lanes))
            factor = Value.wrap(context, builder, vector, scale, A.dtype)
            kept = source.load(row, here).fma(factor, 0.0).where(mask, -0.0)  # -0 + 0 is 0
            target.store(row, here, kept)
        return context.get_dummy_value()

    return types.void(
        n_values, A, types.intp, types.intp, types.uint64, types.intp, types.int64, A.dtype, D
    ), generate
