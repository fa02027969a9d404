"""Random numbers: kernels and reference agree to the last bit, and dropout masks pass statistical tests."""

import numpy as np
import pytest
from comparisons import call_kernel
from hypothesis import given
from hypothesis import strategies as st
from strategies import Draw, counts, draws, keys, read_only, seeds, untouched, widths

from fastnn.reference import random as reference
from fastnn.system.generators import TwisterState
from fastnn_kernels import random as compiled

rates = st.one_of(st.sampled_from([0.0, 0.1, 0.5, 0.999]), st.floats(0, 1, exclude_max=True))
# Positions of a tile's first sample in its batch, which are even.
firsts = st.integers(0, 1000).map(lambda k: 2 * k)


def test_random_numbers_match_splitmix64():
    # The published test vector of SplitMix64 for the seed 1234567.
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert reference.draw(1234567, np.arange(4)).tolist() == expected
    assert [compiled.draw(np.uint64(1234567), k) for k in range(4)] == expected


@given(keys, st.integers(0, 2**20), st.integers(0, 2**62))
def test_numbers_of_a_stream_match_the_reference(key, n, position):
    assert compiled.draw(np.uint64(key), position) == int(reference.draw(key, position))
    later = np.uint64(compiled.advance_stream(np.uint64(key), n))
    assert compiled.draw(later, position) == int(reference.draw(key, n + position))


@given(seeds, st.integers(0, 2000), st.integers(0, 1500))
def test_shuffles_match_numpy(seed, n, n_drawn):
    theirs = np.random.RandomState(seed)
    theirs.randint(0, 2**32, n_drawn, np.uint64)  # begin at any word of the generator
    theirs.normal()  # draws a pair and stores its second number, which must not be lost
    generators = TwisterState(theirs).read(), TwisterState(theirs).read()
    orders = [np.arange(n) for _ in range(3)]
    for _ in range(2):
        compiled.shuffle(generators[0], orders[0])
        reference.shuffle(generators[1], orders[1])
        theirs.shuffle(orders[2])
        for order in orders[1:]:
            np.testing.assert_array_equal(orders[0], order)
    np.testing.assert_array_equal(*generators)
    ours = np.random.RandomState(seed)
    ours.randint(0, 2**32, n_drawn, np.uint64)
    ours.normal()
    TwisterState(ours).write(generators[0])
    assert [ours.normal(), ours.randint(2**31)] == [theirs.normal(), theirs.randint(2**31)]


def drop(A, key, first, rate):
    return call_kernel(compiled.dropout, (A, np.uint64(key), first, rate), [untouched(A.shape, A.dtype)])[0]


@given(draws, widths, counts, keys, firsts, rates)
def test_dropout_matches_the_reference(draw: Draw, n_units, count, key, first, rate):
    A = draw.array(n_units, draw.padded(count))
    nan = draw.random.random(A.shape) < 0.1
    A[nan] = np.nan  # is dropped too
    D = drop(A, key, first, rate)
    np.testing.assert_array_equal(D, reference.dropout(A.T, key, first, rate).T)
    kept = (D != 0) & ~nan
    assert (np.abs(D[kept]) >= np.abs(A[kept])).all()
    compiled.dropout(read_only(A), np.uint64(key), first, rate, A)  # in place
    np.testing.assert_array_equal(A, D)


@given(draws, widths, counts, keys, firsts, rates)
def test_dropout_backward_tells_dropped_values_from_zeros(draw: Draw, n_units, count, key, first, rate):
    """Kept values that are 0 or -0 have a derivative, dropped values have none."""
    A, dD = draw.array(2, n_units, draw.padded(count))
    A[draw.random.random(A.shape) < 0.3] = 0.0
    A[draw.random.random(A.shape) < 0.3] = -0.0
    D, dA = drop(A, key, first, rate), untouched(A.shape, A.dtype)
    compiled.dropout_backward(read_only(D), read_only(dD), rate, dA)
    mask = drop(np.ones_like(A), key, first, rate)  # 0 for dropped values, the factor of the kept ones
    np.testing.assert_array_equal(dA, dD * mask)
    np.testing.assert_array_equal(dA.T, reference.dropout_backward(D.T, dD.T, rate))
    theirs = reference.dropout(A.T, key, first, rate).T
    np.testing.assert_array_equal(np.signbit(D), np.signbit(theirs))
    compiled.dropout_backward(read_only(D), dD, rate, dD)  # in place
    np.testing.assert_array_equal(dD, dA)


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.5, 0.95])
def test_dropout_keeps_the_right_share(rate):
    dropped = reference.dropout(np.ones((50, 2000)), 5, 0, rate) == 0
    # Shares of all values, of the values by either half of a random number, and of each unit.
    for part in (dropped, dropped[::2], dropped[1::2], *dropped.T):
        assert abs(part.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / part.size)
    # Neighbours of a unit and of a sample are uncorrelated, and so are masks of two keys.
    other_key = reference.dropout(np.ones((50, 2000)), 6, 0, rate) == 0
    pairs = (dropped[::2], dropped[1::2]), (dropped[:, ::2], dropped[:, 1::2]), (dropped, other_key)
    for one, other in pairs:
        deviation = rate * (1 - rate) / np.sqrt(one.size)
        assert abs(((one - rate) * (other - rate)).mean()) < 5 * deviation
