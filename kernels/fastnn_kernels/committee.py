"""The scores of one network, or the summed probabilities of several: a committee.

Networks of a committee follow one another in one plan and one vector of parameters; they have the same inputs
and classes, and may differ in all else.

Shape letters: M networks, L layers of them all, K classes, T samples of a tile or cells of a batch (a whole
number of vectors), P parameters.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .bound import bound_pass, layer_form
from .compiler.jit import kernel
from .network import ACTIVATION, BIASES, WEIGHTS, forward_pass, last_outputs
from .output import softmax_forward
from .vectors import vmath
from .vectors.value import fill
from .vectors.vector import lanes, load, store

__all__ = ["Committee", "add_probability_bounds", "committee_bounds", "committee_scores", "placed"]


class Committee(NamedTuple):
    """Networks with two inputs, as the kernels take them.

    activations: a table of pointers, `layer.forward_table`, or `bound.bounds_table` where bounds are asked
    for; plan (L, `N_COLUMNS`); first (M + 1,): the layer with which each begins, and the end of the last;
    parameters (P,); magnitudes (P,): absolute values of the weights, and 0 for all else.
    """

    activations: Any
    plan: Any
    first: Any
    parameters: Any
    magnitudes: Any


def placed(plan: Any, offset: int, codes: Sequence[int]) -> Any:
    """Return the plan of a network whose parameters begin at `offset`, with other codes of activations."""
    plan = plan.copy()
    plan[:, [WEIGHTS, BIASES]] += offset
    plan[:, ACTIVATION] = codes
    return plan


@functools.cache
def committee_scores(votes: bool) -> Any:
    """Return the kernel ``(networks, X, units, total)``, which returns (K, T): the highest value wins.

    If `votes`, the kernel returns the sum of the networks' probabilities, in `total` (K, T), else the scores
    of the only network, in the workspace `units`.
    """
    forward = forward_pass(False, False, False)

    @kernel
    def committee_scores(networks, X, units, total):
        T = X.shape[1]
        if not votes:
            forward(networks.activations, networks.plan, networks.parameters, X, units, None)
            return last_outputs(networks.plan, T, units)
        for m in range(networks.first.shape[0] - 1):
            plan = networks.plan[networks.first[m] : networks.first[m + 1]]
            forward(networks.activations, plan, networks.parameters, X, units, None)
            S = last_outputs(plan, T, units)
            softmax_forward(S, S)
            for k in range(S.shape[0]):
                for t in range(0, T, lanes(S)):
                    if m == 0:
                        store(total, k, t, load(S, k, t))
                    else:
                        store(total, k, t, load(total, k, t) + load(S, k, t))
        return total

    return committee_scores


@functools.cache
def committee_bounds(votes: bool) -> Any:
    """Return the kernel ``(networks, cells, forms, total)``: the form (K, T) of the committee's scores."""

    @kernel
    def committee_bounds(networks, cells, forms, total):
        T = cells.centre.shape[1]
        if not votes:
            plan = networks.plan
            bound_pass(networks.activations, plan, networks.parameters, networks.magnitudes, cells, forms)
            return layer_form(plan, plan.shape[0] - 1, T, forms)
        for array in total:
            array[:] = 0
        for m in range(networks.first.shape[0] - 1):
            plan = networks.plan[networks.first[m] : networks.first[m + 1]]
            bound_pass(networks.activations, plan, networks.parameters, networks.magnitudes, cells, forms)
            add_probability_bounds(layer_form(plan, plan.shape[0] - 1, T, forms), total)
        return total

    return committee_bounds


@kernel
def add_probability_bounds(scores, total):
    """Add the form of the softmax of a form of scores to `total`, both of arrays (K, T).

    The narrower of two forms is added: the tangent at the centre, from which a probability differs by half of
    the square of the scores' greatest change (the second derivative of softmax along v is
    ``p ((v - mean v)^2 - variance v)``); or an interval, from the scores' ranges. The radius of a score must
    be some eps of its centre at the least, as it is for every network: probabilities are not more exact.
    """
    C, X, Y, R = scores.centre, scores.slope_x, scores.slope_y, scores.radius
    n_classes = C.shape[0]
    dtype = C.dtype.type
    # The rounding errors of a probability and of the sums of this function.
    slack = fill(C, dtype((n_classes + 32) * 4 * np.finfo(dtype).eps))
    half, zero, one = fill(C, dtype(0.5)), fill(C, 0), fill(C, 1)
    for t in range(0, C.shape[1], lanes(C)):
        highest = load(C, 0, t)
        top, widest = zero, zero
        for k in range(n_classes):
            reach = vmath.magnitude(load(X, k, t)) + vmath.magnitude(load(Y, k, t)) + load(R, k, t)
            highest = vmath.maximum(highest, load(C, k, t))
            widest = vmath.maximum(widest, reach)
            # Comparisons may drop a NaN: add it here, so that it reaches the radius.
            top = top + (reach - reach) + (load(C, k, t) - load(C, k, t))
        poison = top
        top = highest + widest
        centre_sum, low_sum, high_sum = zero, zero, zero
        for k in range(n_classes):
            reach = vmath.magnitude(load(X, k, t)) + vmath.magnitude(load(Y, k, t)) + load(R, k, t)
            centre_sum = centre_sum + vmath.exp_to_zero(load(C, k, t) - highest)
            low_sum = low_sum + vmath.exp_to_zero(load(C, k, t) - reach - top)
            high_sum = high_sum + vmath.exp_to_zero(load(C, k, t) + reach - top)
        mean_x, mean_y, mean_r = zero, zero, zero
        for k in range(n_classes):
            p = vmath.divide(vmath.exp_to_zero(load(C, k, t) - highest), centre_sum)
            mean_x = mean_x + p * load(X, k, t)
            mean_y = mean_y + p * load(Y, k, t)
            mean_r = mean_r + p * load(R, k, t)
        bend = (widest + widest) * (widest + widest) * half * (one + slack)
        for k in range(n_classes):
            c, x, y, r = load(C, k, t), load(X, k, t), load(Y, k, t), load(R, k, t)
            reach = vmath.magnitude(x) + vmath.magnitude(y) + r
            p = vmath.divide(vmath.exp_to_zero(c - highest), centre_sum)
            tilt_x, tilt_y = p * (x - mean_x), p * (y - mean_y)
            off = p * (r + mean_r) + bend + slack * (vmath.magnitude(x) + vmath.magnitude(y) + r) * p
            tangent = vmath.magnitude(tilt_x) + vmath.magnitude(tilt_y) + off
            # A probability is lowest where its score is lowest and the others are highest, and vice versa.
            low, high = vmath.exp_to_zero(c - reach - top), vmath.exp_to_zero(c + reach - top)
            others_high = vmath.maximum(high_sum - high, zero) + slack * high_sum
            others_low = vmath.maximum(low_sum - low - slack * low_sum, zero)
            tiny = fill(C, dtype(1e-30))
            least = vmath.quotient(low, low + others_high + tiny)
            most = vmath.quotient(high + tiny, high + others_low + tiny)
            middle, spread = (least + most) * half, (most - least) * half
            p = vmath.where_greater(spread, tangent, p, middle)
            tilt_x = vmath.where_greater(spread, tangent, tilt_x, zero)
            tilt_y = vmath.where_greater(spread, tangent, tilt_y, zero)
            off = vmath.where_greater(spread, tangent, off, spread)
            store(total.centre, k, t, load(total.centre, k, t) + p)
            store(total.slope_x, k, t, load(total.slope_x, k, t) + tilt_x)
            store(total.slope_y, k, t, load(total.slope_y, k, t) + tilt_y)
            store(
                total.radius,
                k,
                t,
                load(total.radius, k, t) + off + slack + slack * load(total.centre, k, t) + poison,
            )
