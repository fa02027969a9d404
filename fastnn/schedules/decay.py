"""Schedules whose learning rate is constant or falls: in steps, exponentially, or by inverse time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..system.lengths import check_bounded, check_fraction, check_length, in_steps
from ..system.validation import store_checked
from .base import GROWING, ROUNDING, Schedule, register

__all__ = ["Constant", "ExponentialDecay", "InverseTimeDecay", "StepDecay"]


@register
@dataclass(frozen=True)
class Constant(Schedule):
    """A constant learning rate: the factor is 1 at every step.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import Constant
    >>> Constant().factors(np.arange(3), 3).tolist()
    [1.0, 1.0, 1.0]
    """

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        return np.ones(steps.shape)


@register
@dataclass(frozen=True)
class StepDecay(Schedule):
    """A rate that is multiplied by gamma at regular steps: ``gamma ** floor(step / step_size)``.

    Parameters
    ----------
    step_size : int or float, default 1/3
        Length from one fall to the next: an int counts steps, a float is a fraction of the run.
    gamma : float, default 0.1
        Factor by which the rate is multiplied at every fall, above 0 and at most 1.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    The rule is that of ``torch.optim.lr_scheduler.StepLR``. The default, three rates of which each is a tenth
    of the one before, follows Krizhevsky, Sutskever & Hinton (2012), "ImageNet classification with deep
    convolutional neural networks", section 5, who chose the steps by hand.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import StepDecay
    >>> StepDecay(step_size=2, gamma=0.5).factors(np.arange(6), 6).tolist()
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    step_size: float = 1 / 3
    gamma: float = 0.1

    def __post_init__(self) -> None:
        store_checked(
            self,
            step_size=check_length(self.step_size, "step_size"),
            gamma=check_fraction(self.gamma, "gamma", GROWING),
        )

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        return self.gamma ** np.floor(steps / in_steps(self.step_size, total) + ROUNDING)


@register
@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """A rate that falls by the same proportion at every step: ``gamma ** (step / decay_steps)``.

    Parameters
    ----------
    decay_steps : int or float, default 1.0
        Length after which the factor is `gamma`: an int counts steps, a float is a fraction of the run.
    gamma : float, default 0.1
        Factor after `decay_steps`, above 0 and at most 1.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    The rule is that of ``optax.exponential_decay``; with ``decay_steps=1`` also PyTorch's ``ExponentialLR``.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import ExponentialDecay
    >>> ExponentialDecay(decay_steps=2, gamma=0.25).factors(np.arange(4), 4).tolist()
    [1.0, 0.5, 0.25, 0.125]
    """

    decay_steps: float = 1.0
    gamma: float = 0.1

    def __post_init__(self) -> None:
        store_checked(
            self,
            decay_steps=check_length(self.decay_steps, "decay_steps"),
            gamma=check_fraction(self.gamma, "gamma", GROWING),
        )

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        return self.gamma ** (steps / in_steps(self.decay_steps, total))


@register
@dataclass(frozen=True)
class InverseTimeDecay(Schedule):
    """A rate inversely proportional to the time: ``1 / (1 + decay_rate * step / decay_steps)``.

    Parameters
    ----------
    decay_steps : int or float, default 1.0
        Length after which the factor is ``1 / (1 + decay_rate)``: an int counts steps, a float is a fraction
        of the run.
    decay_rate : float, default 9.0
        Strength of the decay, not below 0. The default of 9 ends a run at a tenth of the initial rate, as
        `ExponentialDecay` does by default.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    "Search then converge" of Darken & Moody (1990), "Note on learning rate schedules for stochastic
    optimization"; Bottou (2012), "Stochastic gradient descent tricks", section 5.2.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import InverseTimeDecay
    >>> InverseTimeDecay(decay_steps=1, decay_rate=1).factors(np.array([0, 1, 3]), 4).tolist()
    [1.0, 0.5, 0.25]
    """

    decay_steps: float = 1.0
    decay_rate: float = 9.0

    def __post_init__(self) -> None:
        store_checked(
            self,
            decay_steps=check_length(self.decay_steps, "decay_steps"),
            decay_rate=check_bounded(
                self.decay_rate, "decay_rate", 0, math.inf, "9 lowers the rate to a tenth within decay_steps"
            ),
        )

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        with np.errstate(over="ignore"):  # the denominator may overflow to infinity: the factor is then 0
            return 1 / (1 + self.decay_rate * (steps / in_steps(self.decay_steps, total)))
