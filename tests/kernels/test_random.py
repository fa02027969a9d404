"""Random numbers: kernels and reference agree to the last bit, and dropout masks pass statistical tests."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, Draw, counts, draws, keys, padded, read_only, untouched, widths

from fastnn.reference import random as reference
from fastnn.system.generators import generator_state, put_generator_state
from fastnn_kernels import random as compiled

rates = st.one_of(st.sampled_from([0.0, 0.1, 0.5, 0.999]), st.floats(0, 1, exclude_max=True))
# Positions of a tile's first sample in its batch, which are even.
firsts = st.integers(0, 1000).map(lambda k: 2 * k)


def random_of(generator):
    """Return a RandomState with the state of a kernels' generator."""
    random = np.random.RandomState()
    put_generator_state(random, generator)
    return random


each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def test_random_numbers_match_splitmix64():
    # The published test vector of SplitMix64 for the seed 1234567.
    expected = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
        16408922859458223821,
    ]  # fmt: skip
    assert reference.draw(1234567, np.arange(5)).tolist() == expected
    assert [compiled.draw(np.uint64(1234567), k) for k in range(5)] == expected


@given(keys, st.integers(0, 2**62))
def test_draw_matches_the_reference(key, position):
    assert compiled.draw(np.uint64(key), position) == int(reference.draw(key, position))


@given(keys, st.integers(0, 2**20), st.integers(0, 2**20))
def test_later_streams_begin_where_they_are_told_to(key, n, position):
    later = np.uint64(compiled.later_streams(np.uint64(key), n))
    assert compiled.draw(later, position) == int(reference.draw(key, n + position))


seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.integers(0, 2000), st.integers(0, 1500))
def test_shuffles_match_numpy(seed, n, n_drawn):
    theirs = np.random.RandomState(seed)
    theirs.randint(0, 2**32, n_drawn, np.uint64)  # begin at any word of the generator
    generators = generator_state(theirs), generator_state(theirs)
    orders = [np.arange(n) for _ in range(3)]
    for _ in range(2):
        compiled.shuffle(generators[0], orders[0])
        reference.shuffle(generators[1], orders[1])
        theirs.shuffle(orders[2])
        for order in orders[1:]:
            np.testing.assert_array_equal(orders[0], order)
    assert theirs.randint(2**31) == random_of(generators[0]).randint(2**31)
    np.testing.assert_array_equal(*generators)


def test_put_generator_state_keeps_the_stored_normal_number():
    generator = generator_state(np.random.RandomState(5))
    compiled.shuffle(generator, np.arange(1000))
    theirs = np.random.RandomState(5)
    theirs.normal()  # draws a pair and stores its second number, which must not be lost
    put_generator_state(theirs, generator)
    state = theirs.get_state()
    assert state[3] == 1
    np.testing.assert_array_equal(np.append(state[1], state[2]), generator)


def drop(A, key, first, rate):
    D = untouched(A.shape, A.dtype)
    compiled.dropout(read_only(A), np.uint64(key), first, rate, D)
    return D


@given(draws, widths, counts, keys, firsts, rates)
def test_dropout_matches_the_reference(draw: Draw, n_units, count, key, first, rate):
    A = draw.array(n_units, draw.padded(count))
    D = drop(A, key, first, rate)
    np.testing.assert_array_equal(D, reference.dropout(A.T, key, first, rate).T)
    kept = D != 0
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


@given(draws, st.integers(1, 5), st.integers(1, 60), keys, st.integers(1, 4))
def test_dropout_does_not_depend_on_the_division_into_tiles(draw: Draw, n_units, count, key, n_vectors):
    A = draw.array(n_units, draw.padded(count))
    whole = drop(A, key, 0, 0.4)
    width = n_vectors * draw.padded(1)
    for first in range(0, A.shape[1], width):
        tile = np.ascontiguousarray(A[:, first : first + width])
        np.testing.assert_array_equal(drop(tile, key, first, 0.4), whole[:, first : first + width])


@given(keys, firsts, st.floats(0, 0.99))
def test_dropout_masks_are_the_same_in_both_dtypes(key, first, rate):
    masks = [drop(np.ones((3, 64), dtype), key, first, rate) != 0 for dtype in DTYPES]
    np.testing.assert_array_equal(*masks)


@each_dtype
def test_dropout_with_rate_0_keeps_everything(dtype):
    A = Draw(dtype, np.random.default_rng(0), 1.0).array(5, 64)
    np.testing.assert_array_equal(drop(A, 7, 0, 0.0), A)
    np.testing.assert_array_equal(reference.dropout(A, 7, 0, 0.0), A)


@each_dtype
@pytest.mark.parametrize("rate", [0.01, 0.3, 0.5, 0.95])
def test_dropout_keeps_the_right_share(rate, dtype):
    n_units, T = 50, 2000
    D = drop(np.ones((n_units, T), dtype), 5, 0, rate)
    np.testing.assert_array_equal(np.unique(D), [0, dtype.type(1 / (1 - rate))])
    dropped = D == 0
    # Shares of all values, of the values by either half of a random number, and of each unit.
    for part in (dropped, dropped[:, ::2], dropped[:, 1::2], *dropped):
        deviation = np.sqrt(rate * (1 - rate) / part.size)
        assert abs(part.mean() - rate) < 5 * deviation
    # Neighbours in a row and in a column are uncorrelated.
    for one, other in ((dropped[:, ::2], dropped[:, 1::2]), (dropped[::2], dropped[1::2])):
        deviation = rate * (1 - rate) / np.sqrt(one.size)
        assert abs(((one - rate) * (other - rate)).mean()) < 5 * deviation


def test_masks_of_two_keys_are_independent():
    A = np.ones((4, 1000))
    masks = [drop(A, key, 0, 0.5) == 0 for key in (1, 2)]
    assert abs((masks[0] == masks[1]).mean() - 0.5) < 5 * 0.5 / np.sqrt(A.size)


@each_dtype
def test_nan_is_dropped_too(dtype):
    A = np.full((1, padded(64, dtype)), np.nan, dtype)
    D = drop(A, 3, 0, 0.5)
    assert set(np.isnan(D).ravel()) == {True, False}
    assert (D[~np.isnan(D)] == 0).all()
