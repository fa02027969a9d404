"""Random numbers for dropout masks and for shuffling the samples.

Dropout masks come from SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators",
2014) with random access: number p of the stream `key` is ``mix(key + (p + 1) GOLDEN)``. Samples are shuffled
by NumPy's ``RandomState``.

Shapes: A (n, units).
"""

import numpy as np

GOLDEN = 0x9E3779B97F4A7C15
# Number of the random stream of the seed from which each step draws its key.
STEPS = 1


def draw(key, position):
    """Return number `position` of the stream `key`, 64 random bits; arrays are broadcast."""
    with np.errstate(over="ignore"):  # the arithmetic is modulo 2^64
        x = np.uint64(key) + (np.asarray(position).astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def shuffle(generator, indices):
    """Shuffle `indices` in place, as ``numpy.random.RandomState.shuffle`` does.

    generator (625,) uint32 has the 624 words of a Mersenne Twister and the index of the next word; updated.
    """
    random = np.random.RandomState()
    random.set_state(("MT19937", generator[:-1], int(generator[-1]), 0, 0.0))
    random.shuffle(indices)
    state = random.get_state(legacy=False)["state"]
    generator[:-1], generator[-1] = state["key"], state["pos"]


def dropout(A, key, first, rate):
    """Return A with each value set to -0 with probability `rate`, else divided by 1 - `rate`.

    Unit j draws from the stream ``draw(key, j)``. Sample k has the position ``first + k``. The halves of a
    random number serve two positions: the low half the even one. Only dropped values are -0: a kept -0
    becomes 0.
    """
    n, n_units = A.shape
    positions = first + np.arange(n)
    numbers = draw(draw(key, np.arange(n_units)), positions[:, None] // 2)
    halves = np.where(positions[:, None] % 2, numbers >> np.uint64(32), numbers & np.uint64(0xFFFFFFFF))
    scaled = A * A.dtype.type(1 / (1 - rate)) + A.dtype.type(0)
    return np.where(halves >= int(rate * 2**32), scaled, A.dtype.type(-0.0))


def dropout_backward(D, dD, rate):
    """Return the derivative by the input of `dropout`, given the output D and the derivative dD by D."""
    is_dropped = (D == 0) & np.signbit(D)
    return np.where(is_dropped, dD.dtype.type(0), dD * dD.dtype.type(1 / (1 - rate)))
