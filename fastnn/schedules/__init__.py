"""Schedules: how the learning rate changes from one optimization step to the next.

A schedule returns the *factor* by which ``epsilon`` is multiplied at every step of a run. NumPy computes
the factors of thousands of steps in one call, and the compiled loop reads them.

A length is an int, which counts steps, or a float above 0 and at most 1, which is a fraction of the run:
``1`` is one step and ``1.0`` is the whole run. A fraction shorter than a step counts as one step. Only
`WarmUp` rounds fractions to whole steps. Elsewhere three thirds of 100 steps, rounded to 33 each, would end
one step early, and a fourth period would begin at the last step.

Every schedule raises ValueError for an argument out of its range. To add a schedule, write a frozen dataclass
with a default for every argument, decorate it with `register`, and list it here.
"""

from .base import SCHEDULES as SCHEDULES
from .base import FunctionSchedule as FunctionSchedule
from .base import Schedule as Schedule
from .base import resolve_schedule as resolve_schedule
from .cosine import CosineDecay, CosineLog, OneCycle
from .decay import Constant, ExponentialDecay, InverseTimeDecay, StepDecay
from .warm_up import WarmUp

__all__ = [
    "Constant",
    "CosineDecay",
    "CosineLog",
    "ExponentialDecay",
    "InverseTimeDecay",
    "OneCycle",
    "StepDecay",
    "WarmUp",
]
