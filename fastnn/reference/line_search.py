"""The line search of Moré & Thuente ("Line search algorithms with guaranteed sufficient decrease", 1994).

A search looks for a step along a direction of descent at which the value has fallen enough and the slope, the
derivative along the direction, is close to 0. Constants and tests follow MINPACK-2's subroutine
``dcsrch``, which L-BFGS-B uses.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# An accepted step lowers the value by at least DECREASE times the first slope times the step, and leaves a
# slope of at most CURVATURE times the first slope, in magnitude.
DECREASE, CURVATURE = 1e-3, 0.9
# Relative width of an interval that ends the search.
MIN_WIDTH = 0.1
LONGEST_STEP = 1e10


class Trial(NamedTuple):
    """A step along the direction, with the value and the slope at its end."""

    step: float
    value: float
    slope: float


def cubic_minimum(a, b, clipped=False):
    """Return the minimum of the cubic through two trials, as a proportion of the way from b to a, and gamma.

    gamma is the square root in the formula; it is 0 instead of NaN for a cubic without minimum if `clipped`.
    """
    theta = 3 * (a.value - b.value) / (b.step - a.step) + a.slope + b.slope
    scale = max(abs(theta), abs(a.slope), abs(b.slope))
    square = (theta / scale) ** 2 - (a.slope / scale) * (b.slope / scale)
    gamma = scale * np.sqrt(np.fmax(0, square) if clipped else square)
    if b.step > a.step:
        gamma = -gamma
    return ((gamma - b.slope) + theta) / (((gamma - b.slope) + gamma) + a.slope), gamma


def interpolate(best, other, trial, is_bracketed, lower, upper):
    """Return the next step of a line search, the new best and other end of the interval, and `is_bracketed`.

    The trials `best`, the smallest value so far, and `other` are the ends of the interval, which contains a
    minimum if `is_bracketed`; `trial` is the last trial. While no minimum is bracketed, the next step lies
    between `lower` and `upper`.
    """
    way = best.step - trial.step
    secant = (
        trial.step + trial.slope / (trial.slope - best.slope) * way if trial.slope != best.slope else np.nan
    )
    turns = trial.slope * np.sign(best.slope) < 0
    if trial.value > best.value:
        # The minimum lies between `best` and the trial. If the cubic's minimum is closer to `best` than the
        # minimum of the parabola through both values and the slope at `best`, take it, else their middle.
        r, _ = cubic_minimum(trial, best)
        cubic = best.step - r * way
        fall = (best.value - trial.value) / -way + best.slope
        parabola = best.step - best.slope / fall / 2 * way
        is_closer = abs(cubic - best.step) < abs(parabola - best.step)
        step = cubic if is_closer else cubic + (parabola - cubic) / 2
        is_bracketed = True
    elif turns:
        # The minimum lies between `best` and the trial. Take the cubic's or the secant's, the one farther
        # from the trial.
        r, _ = cubic_minimum(best, trial)
        cubic = trial.step + r * way
        step = cubic if abs(cubic - trial.step) > abs(secant - trial.step) else secant
        is_bracketed = True
    elif abs(trial.slope) < abs(best.slope):
        # The slope falls: the minimum may lie beyond the trial.
        r, gamma = cubic_minimum(best, trial, clipped=True)
        limit = upper if way < 0 else lower
        cubic = trial.step + r * way if r < 0 and gamma != 0 else limit
        if is_bracketed:
            step = cubic if abs(cubic - trial.step) < abs(secant - trial.step) else secant
            limit = trial.step + 0.66 * (other.step - trial.step)
            step = np.fmin(limit, step) if way < 0 else np.fmax(limit, step)
        else:
            step = cubic if abs(cubic - trial.step) > abs(secant - trial.step) else secant
            step = np.fmax(lower, np.fmin(upper, step))
    elif is_bracketed:
        r, _ = cubic_minimum(other, trial)
        step = trial.step + r * (other.step - trial.step)
    else:
        step = upper if way < 0 else lower
    if trial.value > best.value:
        return step, best, trial, is_bracketed
    return step, trial, best if turns else other, is_bracketed


class LineSearch:
    """A line search from a point with this value and slope; `step` is the next trial's, or accepted."""

    def __init__(self, value, slope, step):
        self.value, self.slope, self.step = value, slope, step
        self._best = self._other = Trial(0.0, value, slope)
        self._is_bracketed, self._is_modified = False, True
        self._lower, self._upper = 0.0, 5 * step
        self._width, self._width_before = LONGEST_STEP, 2 * LONGEST_STEP

    def ends(self, value, slope):
        """Return True if the search ends at its trial, with this value and slope; else choose another."""
        step, least = self.step, DECREASE * self.slope
        allowed = self.value + step * least
        if value <= allowed and slope >= 0:
            self._is_modified = False
        if (
            (self._is_bracketed and self._is_narrow(step))
            or (step == LONGEST_STEP and value <= allowed and slope <= least)
            or (step == 0 and (value > allowed or slope >= least))
            or (value <= allowed and abs(slope) <= -CURVATURE * self.slope)
        ):
            return True
        # At first the interval is chosen for the value minus the required decrease.
        tilt = least if self._is_modified and allowed < value <= self._best.value else 0.0
        step, best, other, self._is_bracketed = interpolate(
            subtract_tilt(self._best, tilt),
            subtract_tilt(self._other, tilt),
            subtract_tilt(Trial(step, value, slope), tilt),
            self._is_bracketed,
            self._lower,
            self._upper,
        )
        self._best, self._other = subtract_tilt(best, -tilt), subtract_tilt(other, -tilt)
        if self._is_bracketed:
            width = abs(other.step - best.step)
            if width >= 0.66 * self._width_before:  # the interval shrinks too slowly: bisect it
                step = best.step + (other.step - best.step) / 2
            self._width_before, self._width = self._width, width
            self._lower, self._upper = min(best.step, other.step), max(best.step, other.step)
        else:
            self._lower, self._upper = step + 1.1 * (step - best.step), step + 4 * (step - best.step)
        self.step = np.fmin(np.fmax(step, 0.0), LONGEST_STEP)  # NaN becomes 0
        if self._is_bracketed and self._is_narrow(self.step):
            self.step = best.step
        return False

    def _is_narrow(self, step):
        lower, upper = self._lower, self._upper
        return step <= lower or step >= upper or upper - lower <= MIN_WIDTH * upper


def subtract_tilt(trial, tilt):
    """Return a trial of the function minus `tilt` times the step."""
    return Trial(trial.step, trial.value - trial.step * tilt, trial.slope - tilt)
