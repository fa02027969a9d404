"""Patience: the rule of early stopping, compared with one that looks at all values at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnn.training.patience import TIES, Patience

values = st.integers(0, 5).map(float) | st.sampled_from([np.inf, -np.inf, np.nan])


def observed(patience, series):
    """Return the numbers of the epochs to keep, counted from 0, up to the epoch that ends the training."""
    kept = []
    for k, value in enumerate(series):
        if patience.observe(value, k + 1):
            kept.append(k)
        if patience.is_over:
            break
    return kept, k


@given(st.lists(values, min_size=1), st.integers(1, 4), st.sampled_from(TIES))
def test_the_best_epoch_is_kept_and_the_training_ends_after_the_patience(series, limit, ties):
    kept, last = observed(Patience(limit, ties=ties), series)
    seen = np.array(series[: last + 1])
    numbers = seen[~np.isnan(seen)]
    if numbers.size and numbers.min() < np.inf:
        best = np.flatnonzero(seen == numbers.min())
        assert kept[-1] == best[0 if ties == "earliest" else -1]
        assert last - best[0] == limit or (last == len(series) - 1 and last - best[0] < limit)


@given(st.lists(values, min_size=1), st.sampled_from([0.0, 1.0, 1.5]), st.sampled_from([0.0, np.inf]))
def test_small_decreases_are_kept_only_where_wanted(series, tolerance, best):
    ignoring = observed(Patience(np.inf, tolerance, best=best), series)[0]
    keeping = observed(Patience(np.inf, tolerance, keeps_small=True, best=best), series)[0]
    last = best
    for k, value in enumerate(series):
        assert (k in ignoring) == (value < last - tolerance)
        last = value if k in ignoring else last
        assert (k in keeping) == (value < min([best, *(one for one in series[:k] if one == one)]))


@pytest.mark.parametrize(("keeps_small", "counts"), [(False, [0, 1, 0, 1]), (True, [0, 0, 0, 0])])
def test_a_decrease_of_the_tolerance_itself_is_an_improvement_of_scikit_learn_alone(keeps_small, counts):
    patience = Patience(3, 1.0, keeps_small=keeps_small)
    for k, (value, count) in enumerate(zip([9.0, 8.0, 7.0, 6.0], counts, strict=True)):
        patience.observe(value, k + 1)
        assert patience.count == count


def test_epochs_without_a_value_count():
    patience = Patience(20)
    assert patience.observe(1.0, 1)
    assert not patience.observe(2.0, 20)
    assert (patience.count, patience.is_over) == (19, False)
    assert not patience.observe(2.0, 21)
    assert patience.is_over


def test_values_are_compared_at_the_ends_of_cycles_alone():
    patience = Patience(1, cycles=[2, 5, 8])
    for k, value in enumerate([3.0, 4.0, 5.0, 6.0, 3.0, 1.0, 9.0, 3.0]):
        assert not patience.is_over
        assert patience.observe(value, k + 1) == (k in (1, 4))
    assert patience.is_over
