"""Random generators: equal to NumPy's, but created, read and set faster."""

import copy
import pickle

import numpy as np
import pytest

from fastnn.system import generators
from fastnn.system.generators import (
    generator_state,
    is_twister,
    put_generator_state,
    resolve_random_state,
    seeded,
)


@pytest.fixture(params=[True, False], ids=["in memory", "by NumPy's methods"])
def either_way(request, monkeypatch):
    """Test both ways to the state: in memory, and by NumPy's documented methods."""
    assert generators._is_layout_known()
    monkeypatch.setattr(generators, "_is_layout_known", lambda: request.param)


def state_by_numpy(random):
    """Return the words of a Mersenne Twister and the index of the next word, by NumPy's methods."""
    state = random.get_state(legacy=False)["state"]
    return np.append(state["key"], state["pos"])


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, np.uint8(3), [1, 2], np.arange(5, dtype=np.uint32)])
def test_seeded_generators_draw_numpys_numbers(seed):
    ours, theirs = seeded(seed), np.random.RandomState(seed)
    for draw in ("random_sample", "standard_normal", "tomaxint"):
        np.testing.assert_array_equal(getattr(ours, draw)(700), getattr(theirs, draw)(700))
    for again in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        np.testing.assert_array_equal(again.permutation(9), copy.deepcopy(theirs).permutation(9))


@pytest.mark.parametrize("wrong", [-1, 2**32, "1", 1.5])
def test_wrong_seeds_raise_numpys_errors(wrong):
    errors = []
    for make in (seeded, np.random.RandomState):
        with pytest.raises((ValueError, TypeError)) as error:
            make(wrong)
        errors.append((type(error.value), str(error.value)))
    assert errors[0] == errors[1]


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("n_drawn", [0, 1, 623, 624, 1000])
def test_states_can_be_read_and_set(n_drawn):
    random = np.random.RandomState(5)
    random.randint(0, 2**32, n_drawn, np.uint32)
    random.normal()  # normal numbers come in pairs: the second is stored
    state = generator_state(random)
    assert state.dtype == np.uint32
    np.testing.assert_array_equal(state, state_by_numpy(random))
    other = np.random.RandomState(9)
    other.normal()
    spare = other.get_state()[3:]
    put_generator_state(other, state)
    np.testing.assert_array_equal(state_by_numpy(other), state)
    assert other.get_state()[3:] == spare  # the stored number belongs to the generator
    before = state.copy()
    np.testing.assert_array_equal(other.randint(2**31, size=2000), random.randint(2**31, size=2000))
    np.testing.assert_array_equal(state, before)  # the state is a copy


def test_is_twister_recognises_mersenne_twisters():
    assert is_twister(np.random.RandomState(0))
    assert is_twister(seeded(0))
    assert is_twister(np.random.mtrand._rand)
    assert not is_twister(np.random.RandomState(np.random.PCG64(0)))


def test_a_random_state_may_be_none_a_generator_or_a_seed():
    assert resolve_random_state(None) is np.random
    state = np.random.RandomState(3)
    assert resolve_random_state(state) is state
    assert resolve_random_state(np.uint8(3)).rand() == np.random.RandomState(3).rand()


def test_a_seed_or_generator_given_as_rng_seeds_by_numbers_that_numpy_guarantees():
    assert resolve_random_state(None, 7).rand() == 0.06154131894332404
    assert resolve_random_state(None, np.random.default_rng(7)).rand() == 0.24479292307737843


def test_a_generator_given_as_rng_moves_on():
    rng = np.random.default_rng(0)
    draws = [resolve_random_state(None, rng).rand() for _ in range(2)]
    assert draws[0] != draws[1]
    again = np.random.default_rng(0)
    assert [resolve_random_state(None, again).rand() for _ in range(2)] == draws


@pytest.mark.parametrize("bits", [np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM])
def test_every_bit_generator_seeds(bits):
    draws = {resolve_random_state(None, np.random.Generator(bits(seed))).rand() for seed in (0, 0, 1)}
    assert len(draws) == 2


def test_a_default_seed_gives_way_to_rng():
    assert resolve_random_state(0, 7, default=0).rand() == resolve_random_state(None, 7).rand()
    for random_state, default in ((0, None), (1, 0), (np.random.RandomState(0), 0), (True, 1)):
        with pytest.raises(ValueError, match="random_state and rng exclude each other"):
            resolve_random_state(random_state, 7, default=default)
