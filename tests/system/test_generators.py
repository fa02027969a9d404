"""Random generators: equal to NumPy's, but created, read and set faster."""

import copy
import pickle

import numpy as np
import pytest

from fastnn.system.generators import make_random, resolve_random_state


@pytest.mark.parametrize("seed", [0, 2**32 - 1, np.uint8(3), [1, 2], np.arange(5, dtype=np.uint32)])
def test_seeded_generators_draw_numpys_numbers(seed):
    ours, theirs = make_random(seed), np.random.RandomState(seed)
    for draw in ("random_sample", "standard_normal", "tomaxint"):
        np.testing.assert_array_equal(getattr(ours, draw)(700), getattr(theirs, draw)(700))
    for again in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        np.testing.assert_array_equal(again.permutation(9), copy.deepcopy(theirs).permutation(9))


@pytest.mark.parametrize("wrong", [-1, 2**32, "1", 1.5])
def test_wrong_seeds_raise_numpys_errors(wrong):
    errors = []
    for make in (make_random, np.random.RandomState):
        with pytest.raises((ValueError, TypeError)) as error:
            make(wrong)
        errors.append((type(error.value), str(error.value)))
    assert errors[0] == errors[1]


def test_a_random_state_may_be_none_a_generator_or_a_seed():
    state = np.random.RandomState(3)
    assert resolve_random_state(None) is np.random
    assert resolve_random_state(state) is state
    assert resolve_random_state(np.uint8(3)).rand() == np.random.RandomState(3).rand()


def test_a_seed_or_generator_given_as_rng_seeds_by_numbers_that_numpy_guarantees():
    assert resolve_random_state(None, 7).rand() == 0.06154131894332404
    rng, again = np.random.default_rng(7), np.random.default_rng(7)
    assert resolve_random_state(None, rng).rand() == 0.24479292307737843
    draws = [resolve_random_state(None, one).rand() for one in (again, again, rng)]
    assert draws == [0.24479292307737843, draws[1], draws[1]], "a generator moves on"
    other = np.random.Generator(np.random.SFC64(0))
    assert resolve_random_state(None, other).rand() != resolve_random_state(None, other).rand()


def test_a_default_seed_gives_way_to_rng():
    assert resolve_random_state(0, 7, default=0).rand() == resolve_random_state(None, 7).rand()
    for random_state, default in ((0, None), (1, 0), (np.random.RandomState(0), 0), (True, 1)):
        with pytest.raises(ValueError, match="random_state and rng exclude each other"):
            resolve_random_state(random_state, 7, default=default)
