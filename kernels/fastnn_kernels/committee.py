"""Committees: the scores of a single network, or the summed probabilities of several networks.

The networks of a committee are stored one after another in one plan and one vector of parameters. They have
the same inputs and classes; their layers may differ.

Shape letters: M networks, L layers of all networks, K classes, T samples of a tile or cells of a batch (a
whole number of vectors), P parameters of all networks.
"""

from __future__ import annotations

import functools

import numpy as np

from .bound import bound_pass, layer_form
from .compiler.jit import Kernel, kernel
from .network import forward_pass, last_outputs
from .output import softmax_forward
from .vectors import vmath
from .vectors.value import fill
from .vectors.vector import lanes, load, store


@functools.cache
def committee_scores(votes: bool) -> Kernel:
    """Return the kernel ``(networks, X, units, total)`` of the values (K, T) whose highest is the class.

    If `votes` is True, the values are the networks' summed probabilities, and the result is `total` (K, T).
    Otherwise they are the scores of a single network, and the result is a window of the workspace `units`.
    X (2, T) is a tile of samples.
    """
    forward = forward_pass(False, False, False)

    @kernel
    def committee_scores(networks, X, units, total):
        T = X.shape[1]
        if not votes:
            forward(networks.activations, networks.plan, networks.parameters, networks.packed, X, units, None)
            return last_outputs(networks.plan, T, units)
        for m in range(networks.first.shape[0] - 1):
            plan = networks.plan[networks.first[m] : networks.first[m + 1]]
            forward(networks.activations, plan, networks.parameters, networks.packed, X, units, None)
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
def committee_bounds(votes: bool) -> Kernel:
    """Return the kernel ``(networks, cells, forms, total)``, which returns the form of a committee's values.

    The form (K, T) bounds the values of `committee_scores`; with `votes` it is `total`. cells and forms are
    arguments of `bound.bound_pass`.
    """

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
    """Add the form of the softmax of `scores`, a form of arrays (K, T), to the form `total`.

    For each probability, the narrower of two forms is added. One is the tangent at the centre: a probability
    differs from the tangent by at most half of the square of the greatest change of a difference of scores,
    because the second derivative of softmax along v is ``p ((v - mean v)^2 - variance v)``. The other is an
    interval that follows from the ranges of the scores. The radius of a score must be at least a few eps
    times its centre, as `bound.bound_pass` guarantees.
    """
    C, X, Y, R = scores.centre, scores.slope_x, scores.slope_y, scores.radius
    n_classes = C.shape[0]
    dtype = C.dtype.type
    # Bound of the rounding errors of a probability and of the sums in this function.
    slack = fill(C, dtype((n_classes + 32) * 4 * np.finfo(dtype).eps))
    half, zero, one = fill(C, dtype(0.5)), fill(C, 0), fill(C, 1)
    for t in range(0, C.shape[1], lanes(C)):
        highest = load(C, 0, t)
        nan_or_zero, widest = zero, zero
        for k in range(n_classes):
            reach = vmath.magnitude(load(X, k, t)) + vmath.magnitude(load(Y, k, t)) + load(R, k, t)
            highest = vmath.maximum(highest, load(C, k, t))
            widest = vmath.maximum(widest, reach)
            # Comparisons may drop a NaN, which must reach the radius: sum up terms that are NaN or 0.
            nan_or_zero = nan_or_zero + (reach - reach) + (load(C, k, t) - load(C, k, t))
        top = highest + widest
        centre_sum, low_sum, high_sum = zero, zero, zero
        for k in range(n_classes):
            reach = vmath.magnitude(load(X, k, t)) + vmath.magnitude(load(Y, k, t)) + load(R, k, t)
            centre_sum = centre_sum + vmath.exp_to_zero(load(C, k, t) - highest)
            low_sum = low_sum + vmath.exp_to_zero(load(C, k, t) - reach - top)
            high_sum = high_sum + vmath.exp_to_zero(load(C, k, t) + reach - top)
        mean_x, mean_y, mean_r = zero, zero, zero
        for k in range(n_classes):
            p = vmath.exp_to_zero(load(C, k, t) - highest) / centre_sum
            mean_x = mean_x + p * load(X, k, t)
            mean_y = mean_y + p * load(Y, k, t)
            mean_r = mean_r + p * load(R, k, t)
        bend = (widest + widest) * (widest + widest) * half * (one + slack)
        for k in range(n_classes):
            c, x, y, r = load(C, k, t), load(X, k, t), load(Y, k, t), load(R, k, t)
            reach = vmath.magnitude(x) + vmath.magnitude(y) + r
            p = vmath.exp_to_zero(c - highest) / centre_sum
            tilt_x, tilt_y = p * (x - mean_x), p * (y - mean_y)
            off = p * (r + mean_r) + bend + slack * (vmath.magnitude(x) + vmath.magnitude(y) + r) * p
            tangent = vmath.magnitude(tilt_x) + vmath.magnitude(tilt_y) + off
            # A probability is lowest where its score is lowest and the other scores are highest; it is
            # highest in the opposite case.
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
                load(total.radius, k, t) + off + slack + slack * load(total.centre, k, t) + nan_or_zero,
            )
