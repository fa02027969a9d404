"""The line search of Moré & Thuente ("Line search algorithms with guaranteed sufficient decrease", 1994).

A search looks for a step along a direction of descent at which the value has fallen enough and the slope is
close to 0. The caller evaluates the function; `search_ends` takes value and slope at each trial and chooses
the next trial. Constants and tests follow MINPACK-2's subroutine ``dcsrch``, and L-BFGS-B.
"""

import math

from .calls.lbfgs import (
    BEST,
    BRACKETED,
    LOWER,
    MODIFIED,
    N_SEARCH,
    OTHER,
    SLOPE_BEFORE,
    STEP,
    UPPER,
    VALUE_BEFORE,
    WIDTH,
    WIDTH_BEFORE,
)
from .compiler.jit import kernel

# Shares of the first slope by which the value must fall and which the slope may keep, the relative width of
# an interval that ends the search, and the longest step.
DECREASE, CURVATURE, MIN_WIDTH, LONGEST_STEP = 1e-3, 0.9, 0.1, 1e10


@kernel
def cubic_minimum(a, b, is_clipped):
    """Return the minimum of the cubic through two trials, as a proportion of the way from b to a, and gamma.

    a, b: step, value and slope. gamma is the square root in the formula; if `is_clipped`, it is 0 instead of
    NaN for a cubic without minimum.
    """
    theta = 3.0 * (a[1] - b[1]) / (b[0] - a[0]) + a[2] + b[2]
    scale = abs(theta)
    for slope in (a[2], b[2]):
        scale = abs(slope) if abs(slope) > scale else scale
    square = (theta / scale) * (theta / scale) - (a[2] / scale) * (b[2] / scale)
    if is_clipped and not square > 0.0:
        square = 0.0
    gamma = scale * math.sqrt(square)
    if b[0] > a[0]:
        gamma = -gamma
    return ((gamma - b[2]) + theta) / (((gamma - b[2]) + gamma) + a[2]), gamma


@kernel
def interpolate(best, other, trial, is_bracketed, lower, upper):
    """Return the next step of a line search, and the new ends of the interval that contains the minimum.

    Moré & Thuente's subroutine ``dcstep``. best, other, trial: step, value and slope of the best end of the
    interval, of the other end, and of the last trial; is_bracketed: True if the interval is known to contain
    a minimum; lower, upper: limits of the next step. Returns (step, best, other, is_bracketed).
    """
    step = trial[0]
    way = best[0] - step
    turns = trial[2] * (best[2] / abs(best[2])) < 0.0
    is_higher = trial[1] > best[1]
    if is_higher:
        # A minimum lies between `best` and the trial. Take the minimum of the cubic if it is closer to `best`
        # than the minimum of the parabola through both values and the slope at `best`, else the mean of both.
        r, gamma = cubic_minimum(trial, best, False)
        cubic = best[0] - r * way
        parabola = best[0] - best[2] / ((best[1] - trial[1]) / -way + best[2]) / 2.0 * way
        following = cubic
        if not abs(cubic - best[0]) < abs(parabola - best[0]):
            following = cubic + (parabola - cubic) / 2.0
        is_bracketed = True
    elif turns or abs(trial[2]) < abs(best[2]):
        # If the slope changes its sign, a minimum lies between `best` and the trial: take the cubic's
        # or the secant's, whichever is farther from the trial. Otherwise a minimum may lie beyond the trial.
        r, gamma = cubic_minimum(best, trial, not turns)
        cubic = step + r * way
        if not turns and not (r < 0.0 and gamma != 0.0):
            cubic = upper if way < 0.0 else lower
        secant = step + trial[2] / (trial[2] - best[2]) * way
        is_closer, is_farther = abs(cubic - step) < abs(secant - step), abs(cubic - step) > abs(secant - step)
        takes_cubic = is_farther
        if is_bracketed and not turns:
            takes_cubic = is_closer
        following = cubic if takes_cubic else secant
        if turns:
            is_bracketed = True
        elif is_bracketed:
            limit = step + 0.66 * (other[0] - step)
            if (following > limit) == (way < 0.0):
                following = limit
        else:
            following = following if following < upper else upper
            following = following if following > lower else lower
    elif is_bracketed:
        r, gamma = cubic_minimum(other, trial, False)
        following = step + r * (other[0] - step)
    else:
        following = upper if way < 0.0 else lower
    if is_higher:
        other = trial
    else:
        if turns:
            other = best
        best = trial
    return following, best, other, is_bracketed


@kernel
def begin_search(value, slope, step, search):
    """Begin a line search at a point with this value and slope, with `step` as the first trial."""
    for k in range(N_SEARCH):
        search[k] = 0.0
    search[STEP], search[UPPER] = step, 5.0 * step
    search[WIDTH], search[WIDTH_BEFORE], search[MODIFIED] = LONGEST_STEP, 2.0 * LONGEST_STEP, 1.0
    for k in (VALUE_BEFORE, BEST + 1, OTHER + 1):
        search[k], search[k + 1] = value, slope


@kernel
def get_end(search, k, tilt):
    """Return step, value and slope at the end `BEST` or `OTHER` of the function minus `tilt` times the step.

    k: the index of the end.
    """
    return search[k], search[k + 1] - search[k] * tilt, search[k + 2] - tilt


@kernel
def set_end(end, tilt, k, search):
    """Store the end `BEST` or `OTHER` of the interval, the inverse of `get_end`."""
    search[k], search[k + 1], search[k + 2] = end[0], end[1] + end[0] * tilt, end[2] + tilt


@kernel
def is_narrow(step, lower, upper):
    """Return True if an interval leaves no room for another step."""
    return step <= lower or step >= upper or upper - lower <= MIN_WIDTH * upper


@kernel
def search_ends(value, slope, search):
    """Return True if the search ends at its trial, which has this value and slope; else choose another."""
    step, first_slope = search[STEP], search[SLOPE_BEFORE]
    least = DECREASE * first_slope
    allowed = search[VALUE_BEFORE] + step * least
    has_fallen = value <= allowed
    if has_fallen and slope >= 0.0:
        search[MODIFIED] = 0.0
    is_bracketed, lower, upper = search[BRACKETED] != 0.0, search[LOWER], search[UPPER]
    if (
        (has_fallen and (abs(slope) <= CURVATURE * -first_slope or (step == LONGEST_STEP and slope <= least)))
        or (step == 0.0 and (value > allowed or slope >= least))
        or (is_bracketed and is_narrow(step, lower, upper))
    ):
        return True
    # At first the interval is chosen for the value minus the least decrease.
    tilt = 0.0
    if search[MODIFIED] != 0.0 and value <= search[BEST + 1] and value > allowed:
        tilt = least
    following, best, other, is_bracketed = interpolate(
        get_end(search, BEST, tilt),
        get_end(search, OTHER, tilt),
        (step, value - step * tilt, slope - tilt),
        is_bracketed,
        lower,
        upper,
    )
    set_end(best, tilt, BEST, search)
    set_end(other, tilt, OTHER, search)
    if is_bracketed:
        width = abs(other[0] - best[0])
        if width >= 0.66 * search[WIDTH_BEFORE]:  # the interval shrinks too slowly: bisect it
            following = best[0] + 0.5 * (other[0] - best[0])
        search[BRACKETED], search[WIDTH_BEFORE], search[WIDTH] = 1.0, search[WIDTH], width
        lower, upper = best[0], other[0]
        if lower > upper:
            lower, upper = upper, lower
    else:
        lower, upper = following + 1.1 * (following - best[0]), following + 4.0 * (following - best[0])
    following = following if following > 0.0 else 0.0  # 0 for NaN, too
    following = following if following < LONGEST_STEP else LONGEST_STEP
    if is_bracketed and is_narrow(following, lower, upper):
        following = best[0]
    search[LOWER], search[UPPER], search[STEP] = lower, upper, following
    return False
