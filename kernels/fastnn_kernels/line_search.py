"""The line search of Moré & Thuente ("Line search algorithms with guaranteed sufficient decrease", 1994).

A search looks for a step along a direction of descent at which the value has fallen enough and the slope is
close to 0. It evaluates nothing itself: `search_ends` is told value and slope at each trial, and chooses the
next. Constants and tests are those of MINPACK-2's subroutine ``dcsrch``, and of L-BFGS-B.
"""

from __future__ import annotations

import numpy as np

from .compiler.jit import kernel

__all__ = [
    "LONGEST_STEP",
    "N_SEARCH",
    "SLOPE_BEFORE",
    "STEP",
    "VALUE_BEFORE",
    "begin_search",
    "interpolate",
    "search_ends",
]

# Shares of the first slope by which the value must fall and which the slope may keep, the relative width of
# an interval that ends the search, and the longest step.
DECREASE, CURVATURE, LEAST_WIDTH, LONGEST_STEP = 1e-3, 0.9, 0.1, 1e10

# Indices of the array `search` (N_SEARCH,). STEP: the trial, or the accepted step. VALUE_BEFORE,
# SLOPE_BEFORE: at step 0. LOWER, UPPER: limits of the next step. WIDTH, WIDTH_BEFORE: widths of the last two
# intervals. BRACKETED: 1 if the interval contains a minimum. MODIFIED: 1 if the interval is still chosen for
# the value minus the least decrease. BEST and OTHER, three numbers each: step, value and slope at the best
# end of the interval, and at the other end.
STEP, VALUE_BEFORE, SLOPE_BEFORE, LOWER, UPPER, WIDTH, WIDTH_BEFORE, BRACKETED, MODIFIED = range(9)
BEST, OTHER, N_SEARCH = 9, 12, 15


@kernel
def interpolate(best, other, trial, is_bracketed, lower, upper):
    """Return the next step of a line search, and the new ends of the interval that contains the minimum.

    Moré & Thuente's subroutine ``dcstep``. best, other, trial: step, value and slope of the best end of the
    interval, of the other end, and of the last trial; is_bracketed: True if the interval is known to contain
    a minimum; lower, upper: limits of the next step. Returns (step, best, other, is_bracketed).
    """
    step_best, value_best, slope_best = best
    step_other, value_other, slope_other = other
    step, value, slope = trial
    turns = slope * (slope_best / abs(slope_best)) < 0.0
    if value > value_best:
        # The minimum lies between: the cubic's if it is closer to the best step than the parabola's.
        theta = 3.0 * (value_best - value) / (step - step_best) + slope_best + slope
        scale = max(abs(theta), abs(slope_best), abs(slope))
        gamma = scale * np.sqrt((theta / scale) ** 2 - (slope_best / scale) * (slope / scale))
        if step < step_best:
            gamma = -gamma
        r = ((gamma - slope_best) + theta) / (((gamma - slope_best) + gamma) + slope)
        cubic = step_best + r * (step - step_best)
        secant = slope_best / ((value_best - value) / (step - step_best) + slope_best)
        parabola = step_best + secant / 2.0 * (step - step_best)
        if abs(cubic - step_best) < abs(parabola - step_best):
            following = cubic
        else:
            following = cubic + (parabola - cubic) / 2.0
        is_bracketed = True
    elif turns:
        # The minimum lies between: the farther of the cubic's and the secant's.
        theta = 3.0 * (value_best - value) / (step - step_best) + slope_best + slope
        scale = max(abs(theta), abs(slope_best), abs(slope))
        gamma = scale * np.sqrt((theta / scale) ** 2 - (slope_best / scale) * (slope / scale))
        if step > step_best:
            gamma = -gamma
        r = ((gamma - slope) + theta) / (((gamma - slope) + gamma) + slope_best)
        cubic = step + r * (step_best - step)
        secant = step + slope / (slope - slope_best) * (step_best - step)
        following = cubic if abs(cubic - step) > abs(secant - step) else secant
        is_bracketed = True
    elif abs(slope) < abs(slope_best):
        # The slope falls: the cubic's minimum, if it lies beyond the trial.
        theta = 3.0 * (value_best - value) / (step - step_best) + slope_best + slope
        scale = max(abs(theta), abs(slope_best), abs(slope))
        square = (theta / scale) ** 2 - (slope_best / scale) * (slope / scale)
        gamma = scale * np.sqrt(square if square > 0.0 else 0.0)
        if step > step_best:
            gamma = -gamma
        r = ((gamma - slope) + theta) / ((gamma + (slope_best - slope)) + gamma)
        if r < 0.0 and gamma != 0.0:
            cubic = step + r * (step_best - step)
        else:
            cubic = upper if step > step_best else lower
        secant = step + slope / (slope - slope_best) * (step_best - step)
        is_closer = abs(cubic - step) < abs(secant - step)
        if is_bracketed:
            following = cubic if is_closer else secant
            limit = step + 0.66 * (step_other - step)
            if step > step_best:
                following = following if following < limit else limit
            else:
                following = following if following > limit else limit
        else:
            following = cubic if abs(cubic - step) > abs(secant - step) else secant
            following = following if following < upper else upper
            following = following if following > lower else lower
    elif is_bracketed:
        theta = 3.0 * (value - value_other) / (step_other - step) + slope_other + slope
        scale = max(abs(theta), abs(slope_other), abs(slope))
        gamma = scale * np.sqrt((theta / scale) ** 2 - (slope_other / scale) * (slope / scale))
        if step > step_other:
            gamma = -gamma
        r = ((gamma - slope) + theta) / (((gamma - slope) + gamma) + slope_other)
        following = step + r * (step_other - step)
    else:
        following = upper if step > step_best else lower
    if value > value_best:
        other = trial
    else:
        if turns:
            other = best
        best = trial
    return following, best, other, is_bracketed


@kernel
def begin_search(value, slope, step, search):
    """Begin a line search at a point with this value and slope, with `step` as the first trial."""
    search[STEP], search[VALUE_BEFORE], search[SLOPE_BEFORE] = step, value, slope
    search[LOWER], search[UPPER] = 0.0, 5.0 * step
    search[WIDTH], search[WIDTH_BEFORE] = LONGEST_STEP, 2.0 * LONGEST_STEP
    search[BRACKETED], search[MODIFIED] = 0.0, 1.0
    search[BEST], search[BEST + 1], search[BEST + 2] = 0.0, value, slope
    search[OTHER], search[OTHER + 1], search[OTHER + 2] = 0.0, value, slope


@kernel
def search_ends(value, slope, search):
    """Return True if the search ends at its trial, of this value and slope; else choose another."""
    step, first_slope = search[STEP], search[SLOPE_BEFORE]
    least = DECREASE * first_slope
    allowed = search[VALUE_BEFORE] + step * least
    if value <= allowed and slope >= 0.0:
        search[MODIFIED] = 0.0
    is_bracketed = search[BRACKETED] != 0.0
    lower, upper = search[LOWER], search[UPPER]
    if (
        (is_bracketed and (step <= lower or step >= upper or upper - lower <= LEAST_WIDTH * upper))
        or (step == LONGEST_STEP and value <= allowed and slope <= least)
        or (step == 0.0 and (value > allowed or slope >= least))
        or (value <= allowed and abs(slope) <= CURVATURE * -first_slope)
    ):
        return True
    tilt = least if search[MODIFIED] != 0.0 and value <= search[BEST + 1] and value > allowed else 0.0
    best = (search[BEST], search[BEST + 1] - search[BEST] * tilt, search[BEST + 2] - tilt)
    other = (search[OTHER], search[OTHER + 1] - search[OTHER] * tilt, search[OTHER + 2] - tilt)
    trial = (step, value - step * tilt, slope - tilt)
    following, best, other, is_bracketed = interpolate(best, other, trial, is_bracketed, lower, upper)
    search[BEST], search[BEST + 1], search[BEST + 2] = best[0], best[1] + best[0] * tilt, best[2] + tilt
    search[OTHER], search[OTHER + 1] = other[0], other[1] + other[0] * tilt
    search[OTHER + 2] = other[2] + tilt
    search[BRACKETED] = 1.0 if is_bracketed else 0.0
    if is_bracketed:
        width = abs(other[0] - best[0])
        if width >= 0.66 * search[WIDTH_BEFORE]:  # the interval shrinks too slowly: bisect it
            following = best[0] + 0.5 * (other[0] - best[0])
        search[WIDTH_BEFORE], search[WIDTH] = search[WIDTH], width
        lower, upper = min(best[0], other[0]), max(best[0], other[0])
    else:
        lower, upper = following + 1.1 * (following - best[0]), following + 4.0 * (following - best[0])
    following = following if following > 0.0 else 0.0  # 0 for NaN, too
    following = following if following < LONGEST_STEP else LONGEST_STEP
    if is_bracketed and (following <= lower or following >= upper or upper - lower <= LEAST_WIDTH * upper):
        following = best[0]
    search[LOWER], search[UPPER], search[STEP] = lower, upper, following
    return False
