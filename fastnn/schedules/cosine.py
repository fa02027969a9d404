"""Schedules along cosines: CosineDecay, CosineLog and OneCycle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..system.lengths import check_bounded, check_fraction, check_length, in_steps
from ..system.validation import check_count, shown, store_checked
from .base import DIVISOR, ROUNDING, Schedule, cosine_fall, register

__all__ = ["CosineDecay", "CosineLog", "OneCycle"]


@register
@dataclass(frozen=True)
class CosineDecay(Schedule):
    """A rate that falls along half a cosine, once or in cycles with warm restarts (SGDR).

    At the fraction p of a cycle the factor is ``minimum + (1 - minimum) * (1 + cos(pi * p)) / 2``.

    Parameters
    ----------
    cycle : int or float, default 1.0
        Length of the first cycle: an int counts steps, a float is a fraction of the run.
    restarts : bool, default False
        True begins a new cycle at the full rate after each cycle; False keeps the factor `minimum` after the
        first cycle.
    growth : float, default 1.0
        Ratio of the lengths of a cycle and the cycle before it, at least 1.
    minimum : float, default 0.0
        Factor at the end of a cycle, from 0 to 1.

    Raises
    ------
    ValueError
        If an argument is out of its range, or if `growth` is not 1 and `restarts` is False.

    Notes
    -----
    Loshchilov & Hutter (2017), "SGDR: Stochastic gradient descent with warm restarts", section 3, equation 5:
    `cycle` is their T_0 and `growth` their T_mult. For a run of exactly n cycles, choose `cycle` as ``1 / n``
    without growth and as ``(growth - 1) / (growth**n - 1)`` with growth. With ``growth=2``, these are 1/3,
    1/7 and 1/15 for two, three and four cycles.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import CosineDecay
    >>> CosineDecay().factors(np.arange(4), 4).round(3).tolist()
    [1.0, 0.854, 0.5, 0.146]
    >>> CosineDecay(cycle=2, restarts=True, growth=2, minimum=0.5).factors(np.arange(6), 6).round(3).tolist()
    [1.0, 0.75, 1.0, 0.927, 0.75, 0.573]
    """

    cycle: float = 1.0
    restarts: bool = False
    growth: float = 1.0
    minimum: float = 0.0

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not isinstance(self.restarts, (bool, np.bool_)):
            raise ValueError(
                f"restarts must be True or False, got {shown(self.restarts)}: how many restarts there are "
                "follows from cycle and growth"
            )
        store_checked(
            self,
            cycle=check_length(self.cycle, "cycle"),
            restarts=bool(self.restarts),
            growth=check_bounded(
                self.growth, "growth", 1, math.inf, "1 keeps the cycles as long as the first"
            ),
            minimum=check_bounded(
                self.minimum, "minimum", 0, 1, "it is a factor of the learning rate, not a rate"
            ),
        )
        if self.growth != 1 and not self.restarts:
            raise ValueError(
                f"growth is {self.growth!r}, but without restarts there is one cycle: set restarts=True, "
                "or leave growth out"
            )

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        progress = steps / in_steps(self.cycle, total)
        if self.restarts:
            progress = self._since_restart(progress)
        return cosine_fall(np.clip(progress, 0, 1), self.minimum)

    def _since_restart(self, elapsed: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the elapsed fraction of the present cycle.

        `elapsed` is the time since the beginning of the run, in units of the first cycle's length.
        """
        if self.growth == 1:
            return elapsed - np.floor(elapsed + ROUNDING)
        # Cap the growth at 2**63: its square does not overflow, and the second cycle already outlasts any
        # run.
        growth = min(self.growth, 2.0**63)
        # Solve the geometric series of the cycles' lengths for the number of finished cycles. For a growth
        # close to 1 the direct formula would lose digits by cancellation: use log1p and expm1.
        log_growth = math.log(growth)
        n_before = np.floor(np.log1p(elapsed * (growth - 1)) / log_growth + ROUNDING)
        begin = np.expm1(n_before * log_growth) / (growth - 1)
        return (elapsed - begin) / np.exp(n_before * log_growth)


@register
@dataclass(frozen=True)
class CosineLog(Schedule):
    """A rate that rises from 0 and falls back to 0 in cycles of doubling length: RealMLP's coslog.

    The factor is ``(1 - cos(2 pi log2(1 + (2^cycles - 1) t))) / 2``, where ``t = (step + 1/2) / total`` is
    the fraction of the run in the middle of a step.

    Parameters
    ----------
    cycles : int, default 4
        Number of cycles, from 1 to 52. The last takes about half of the run.

    Raises
    ------
    ValueError
        If `cycles` is not an integer from 1 to 52.

    Notes
    -----
    "coslog4" of Holzmüller, Grinsztajn & Steinwart (2024), "Better by default: strong pre-tuned MLPs and
    boosted trees on tabular data", section 3. The rate is 0 at the fractions ``(2^k - 1) / (2^cycles - 1)``
    for k = 0 ... cycles, the *valleys*; `valleys` returns those above 0, the ends of the cycles: 1/15, 3/15,
    7/15 and 1 for four cycles. Parameters have settled there, so that a run can be evaluated, and ended, in
    any valley. The authors take the fraction at the beginning of a step: their first step has the rate 0 and
    changes nothing.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import CosineLog
    >>> CosineLog(cycles=2).factors(np.arange(6), 6).round(3).tolist()
    [0.718, 0.324, 0.259, 0.984, 0.653, 0.083]
    >>> CosineLog(cycles=2).valleys(6).tolist()
    [2, 6]
    """

    cycles: int = 4

    def __post_init__(self) -> None:
        store_checked(self, cycles=check_count(self.cycles, "cycles", 1))
        if self.cycles > 52:  # the first cycle would be shorter than a float's resolution
            raise ValueError(f"cycles must be at most 52, got {self.cycles}: 4 is usual")

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        phase = np.log2(1 + (2**self.cycles - 1) * ((steps + 0.5) / total))
        return (1 - np.cos(2 * np.pi * phase)) / 2

    def valleys(self, total: int) -> NDArray[np.int64]:
        """Return the ends of the cycles in a run, where the rate is 0.

        Parameters
        ----------
        total : int
            Length of the run, at least 1, in steps or any other unit such as epochs.

        Returns
        -------
        array of int64, shape (cycles,)
            Ends of the cycles in the same unit, rounded; the last is `total`.
        """
        ends = np.exp2(np.arange(1, self.cycles + 1)) - 1
        return np.rint(ends * total / ends[-1]).astype(np.int64)


@register
@dataclass(frozen=True)
class OneCycle(Schedule):
    """A rate that rises to its peak and falls to almost nothing, both along half a cosine.

    At the peak the factor is 1 and the learning rate is ``epsilon``, which may be several times as high as a
    constant rate.

    Parameters
    ----------
    pct_start : float, default 0.3
        Position of the peak as a fraction of the run, above 0 and at most 1.
    div_factor : float, default 25.0
        The first factor is ``1 / div_factor``; at least 1.
    final_div_factor : float, default 1e4
        The last factor is the first factor divided by this number; at least 1.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    Smith & Topin (2018), "Super-convergence: very fast training of neural networks using large
    learning rates", section 3. The two cosines, and the names and defaults of the arguments, are those of
    ``torch.optim.lr_scheduler.OneCycleLR``. The peak is at step ``pct_start * total - 1``, or at the first
    step if the run is too short for a rise.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import OneCycle
    >>> OneCycle(pct_start=0.5, div_factor=5, final_div_factor=2).factors(np.arange(6), 6).round(3).tolist()
    [0.2, 0.6, 1.0, 0.775, 0.325, 0.1]
    """

    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    def __post_init__(self) -> None:
        store_checked(
            self,
            pct_start=check_fraction(
                self.pct_start, "pct_start", "it is a fraction of the run, 0.3 by default"
            ),
            div_factor=check_bounded(self.div_factor, "div_factor", 1, math.inf, DIVISOR),
            final_div_factor=check_bounded(self.final_div_factor, "final_div_factor", 1, math.inf, DIVISOR),
        )

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        first = 1 / self.div_factor
        last = first / self.final_div_factor
        peak = in_steps(self.pct_start, total) - 1
        # If the rise or the fall has no steps, its quotient is 0 or unused: divide by 1 instead of 0.
        rise = np.clip((peak - steps) / (peak or 1.0), 0, 1)
        fall = np.clip((steps - peak) / (total - 1 - peak or 1.0), 0, 1)
        return np.where(steps < peak, cosine_fall(rise, first), cosine_fall(fall, last))
