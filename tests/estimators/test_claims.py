"""Claims: while a fit draws from a random generator, other fits draw from generators of their own."""

import numpy as np
import pytest

from fastnn.estimators import claims
from fastnn.estimators.claims import claimed


def test_one_generator_is_claimed_once():
    """A second fit draws from a generator of its own, seeded from the first one's."""
    random = np.random.RandomState(0)
    with claimed(random) as first, claimed(random) as second:
        assert first is random
        assert second is not random
        assert (second.rand(8) != np.random.RandomState(0).rand(8)).all()
    with claimed(random) as again:
        assert again is random


def test_a_claim_ends_with_an_interrupted_fit(monkeypatch):
    """Claims are kept by Python's id, which a later generator may reuse: no claim may outlive its fit."""

    class InterruptedLock:
        n_entered = 0

        def __enter__(self):
            self.n_entered += 1
            if self.n_entered == 2:  # a fit acquires the lock a second time to give its claim back
                raise KeyboardInterrupt

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(claims, "_claims", claims._Claims())
    monkeypatch.setattr(claims._claims, "lock", InterruptedLock())
    random = np.random.RandomState(0)
    with pytest.raises(KeyboardInterrupt) as caught, claimed(random):
        assert len(claims._claims.held) == 1
    del caught  # frames of the traceback refer to the claim
    assert not claims._claims.held
    with claimed(random) as again:
        assert again is random
