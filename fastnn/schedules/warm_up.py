"""WarmUp: a linear rise before any other schedule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..system.lengths import check_bounded, check_length, in_steps
from ..system.validation import store_checked
from .base import Schedule, ScheduleLike, register, resolve_schedule

__all__ = ["WarmUp"]


@register
@dataclass(frozen=True)
class WarmUp(Schedule):
    """A linear warm-up before another schedule: the rate rises to the other schedule's first rate.

    For the other schedule, the run begins at the end of the warm-up: steps count, and fractions are measured,
    from there.

    Parameters
    ----------
    schedule : Schedule, str or callable, default "constant"
        Schedule after the warm-up: an object, a name, or a function of the step.
    length : int or float, default 0.05
        Length of the warm-up: an int counts steps, a float is a fraction of the run and is rounded to whole
        steps.
    start : float, default 0.0
        Fraction of the other schedule's first factor from which the rise begins, from 0 to 1.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    "Gradual warmup" of Goyal et al. (2017), "Accurate, large minibatch SGD: training ImageNet in 1
    hour", section 2.2. The fraction at a step is ``start + (1 - start) * (step + 1) / length``. It counts
    from ``step + 1`` because a first step at rate 0 would change nothing.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import StepDecay, WarmUp
    >>> WarmUp(length=4).factors(np.arange(6), 6).tolist()
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    >>> WarmUp(StepDecay(2, gamma=0.5), length=2).factors(np.arange(6), 6).tolist()
    [0.5, 1.0, 1.0, 1.0, 0.5, 0.5]
    """

    schedule: ScheduleLike = "constant"
    length: float = 0.05
    start: float = 0.0

    def __post_init__(self) -> None:
        store_checked(
            self,
            schedule=resolve_schedule(self.schedule),
            length=check_length(self.length, "length"),
            start=check_bounded(
                self.start, "start", 0, 1, "it is a fraction of the factor that the warm-up rises to"
            ),
        )

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        length = round(in_steps(self.length, total))
        rise = np.minimum((steps + 1) / length, 1.0)
        # During the warm-up, `since` is 0: the rise is a fraction of the other schedule's first factor.
        since = np.maximum(steps - length, 0)
        follows = resolve_schedule(self.schedule).factors(since, max(1, total - length))
        return follows * (self.start + (1 - self.start) * rise)
