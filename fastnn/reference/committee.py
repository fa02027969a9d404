"""Committees: the scores of a single network, or the summed probabilities of several networks.

`networks` is a list of tuples (activations, W, b); `votes` is False for the scores of a single network.
"""

import numpy as np

from .bound import Form, bound_pass
from .network import scores
from .output import softmax_forward


def committee_scores(networks, votes, X):
    """Return values (n, k), the highest of which wins: summed probabilities if `votes`, else scores."""
    each = [scores(activations, W, b, X) for activations, W, b in networks]
    return np.sum([softmax_forward(S) for S in each], axis=0) if votes else each[0]


def committee_bounds(networks, votes, cells):
    """Return the form (n, k) over cells that bounds the values of `committee_scores`."""
    forms = [bound_pass(activations, W, b, cells) for activations, W, b in networks]
    if not votes:
        return forms[0]
    total = Form(*(np.zeros_like(array) for array in forms[0]))
    for form in forms:
        add_probability_bounds(form, total)
    return total


def add_probability_bounds(scores, total):
    """Add the form of the softmax of `scores`, a form, to the form `total`."""
    c, x, y, r = scores
    eps = np.finfo(c.dtype).eps
    slack = (c.shape[1] + 32) * 4 * eps
    reach = np.abs(x) + np.abs(y) + r
    # First form: the tangent at the centre. Its error follows from the second derivative of softmax along v,
    # p ((v - mean v)^2 - variance v).
    P = softmax_forward(c)
    mean_x, mean_y, mean_r = ((P * a).sum(axis=1, keepdims=True) for a in (x, y, r))
    tilt_x, tilt_y = P * (x - mean_x), P * (y - mean_y)
    bend = (2 * reach.max(axis=1, keepdims=True)) ** 2 / 2 * (1 + slack)
    off = P * (r + mean_r) + bend + slack * P * reach
    # Second form: an interval. A probability is lowest where its score is lowest and the other scores are
    # highest; it is highest in the opposite case.
    highest = (c + reach).max(axis=1, keepdims=True)
    low, high = np.exp(c - reach - highest), np.exp(c + reach - highest)
    low_sum, high_sum = low.sum(axis=1, keepdims=True), high.sum(axis=1, keepdims=True)
    least = low / (low + np.maximum(high_sum - high, 0) + slack * high_sum + 1e-30)
    most = (high + 1e-30) / (high + np.maximum(low_sum - low - slack * low_sum, 0) + 1e-30)
    spread = (most - least) / 2
    is_tangent = spread > np.abs(tilt_x) + np.abs(tilt_y) + off
    total.centre[...] += np.where(is_tangent, P, (least + most) / 2)
    total.slope_x[...] += np.where(is_tangent, tilt_x, 0)
    total.slope_y[...] += np.where(is_tangent, tilt_y, 0)
    total.radius[...] += np.where(is_tangent, off, spread) + slack + slack * total.centre
