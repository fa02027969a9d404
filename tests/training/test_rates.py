"""Learning rates of trainings with a schedule."""

import numpy as np
import pytest
from estimator_checks import parameters
from small_models import X, few, few_y, model_for, y
from strategies import name_of

import fastnn
from fastnn import schedules

SCHEDULES = {
    **{name: (name, schedules.SCHEDULES[name]()) for name in schedules.SCHEDULES},
    "object": (warm_up := fastnn.WarmUp(fastnn.CosineDecay(minimum=0.1), length=7), warm_up),
    "function": (lambda step: 1 / (1 + step), fastnn.InverseTimeDecay(decay_steps=1, decay_rate=1)),
}


@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize(("given", "schedule"), SCHEDULES.values(), ids=SCHEDULES)
def test_rates_are_epsilon_times_the_factors_of_the_schedule(given, schedule, batch_size):
    history = model_for().train(few, few_y, num_passes=20, batch_size=batch_size, schedule=given)
    n_batches = 3 if batch_size else 1
    expected = 0.01 * schedule.factors(np.arange(1, 21) * n_batches - 1, 20 * n_batches)
    np.testing.assert_allclose(history.learning_rate, expected, rtol=1e-13, atol=1e-18)


class Broken(schedules.Schedule):
    def __init__(self, value):
        self.value = value

    def factors(self, steps, total):
        return self.value


@pytest.mark.parametrize(
    "value",
    [0.5, np.array([0.5, 0.5]), *(np.full(30, factor) for factor in (np.nan, -1.0, 1 + 0j, "1", "fast"))],
    ids=name_of,
)
def test_wrong_factors_of_a_users_schedule_are_refused(value, backend):
    """With too few factors, a kernel would read beyond the end of the array."""
    model = model_for(backend)
    before = parameters(model)
    with pytest.raises(ValueError, match="schedule must give a finite factor of at least 0"):
        model.train(X, y, num_passes=30, schedule=Broken(value))
    np.testing.assert_array_equal(parameters(model), before)
