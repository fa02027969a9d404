"""The losses: kernels against the reference, the reference against closed forms and central differences."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, Draw, counts, draws, padded, read_only, targets, tolerance, untouched, wide

from fastnn import losses
from fastnn.reference import loss as reference
from fastnn_kernels import loss as compiled

LISTED = (
    losses.SoftmaxCrossEntropy(),
    losses.SoftmaxCrossEntropy(label_smoothing=0.1),
    losses.MulticlassHinge(),
    losses.MulticlassHinge(margin=0.25),
    losses.SigmoidBinaryCrossEntropy(),
    losses.SquaredError(),
    losses.AbsoluteError(),
    losses.Huber(),
    losses.Huber(delta=0.3),
    losses.Quantile(),
    losses.Quantile(0.9),
    losses.Poisson(),
)
CASES = (*LISTED, *(losses.LOSSES[name]() for name in losses.LOSSES.keys() - {loss.name for loss in LISTED}))
cases = st.sampled_from(CASES)
every_case = pytest.mark.parametrize("loss", CASES, ids=repr)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
n_scores = st.one_of(st.integers(1, 12), st.sampled_from([2, 2, 70]))


def problem(draw: Draw, loss, n_scores, count):
    """Return scores (K, T), targets (Y, T) and weights (1, T), which are 0 in the padding."""
    T = draw.padded(count)
    S = draw.array(n_scores, T)
    if draw.random.random() < 0.3:
        S = np.round(S)  # ties, and scores equal to their targets
    if loss.name == "poisson":
        S = np.clip(S, -80, 80)  # the exponential is finite in both dtypes
    y = np.ascontiguousarray(targets(loss, n_scores, T, draw.dtype, draw.random).T)
    return S, y, draw.weights(count)


def parameter_of(loss, dtype):
    """Return the parameter of a loss in the kernels' form."""
    return float(dtype.type(loss.parameter))


def in_rows(loss, S, y, weights):
    """Return arrays in the reference's layout, a sample in each row."""
    return S.T, (y[0] if loss.of_labels else y.T), weights[0]


def terms_of_value(loss, S, y):
    """Return the summed magnitudes (T,) of the terms of each sample's loss."""
    with np.errstate(over="ignore"):
        each = {
            "sigmoid_binary_cross_entropy": lambda: 1 + np.abs(S) + np.abs(y * S),
            "poisson": lambda: np.exp(S) + np.abs(y * S),
        }.get(loss.name, lambda: np.abs(S - y) * (1 + np.abs(S - y)))
        if loss.of_labels:
            return len(S) * (1 + loss.parameter) + np.abs(S).sum(axis=0) + len(S) * np.abs(S).max(axis=0)
        return each().sum(axis=0)


def terms_of_slope(loss, S, y):
    """Return the summed magnitudes (K, T) of the terms of each derivative."""
    if loss.name == "softmax_cross_entropy":
        return len(S) + np.ptp(S, axis=0) + np.zeros_like(S)
    if loss.name == "multiclass_hinge":
        return np.full_like(S, len(S) ** 2)  # the derivative by the label's score has K - 1 terms
    if loss.name == "poisson":
        return np.exp(S) + y
    return 1 + np.abs(S - y) if loss.name in {"squared_error", "huber"} else np.ones_like(S) + loss.parameter


@given(draws, cases, n_scores, counts)
def test_value_matches_the_reference(draw: Draw, loss, n_scores, count):
    S, y, weights = problem(draw, loss, n_scores, count)
    parameter = parameter_of(loss, draw.dtype)
    value = compiled.loss_value(loss.name)(read_only(S), read_only(y), read_only(weights), parameter)
    exact = [wide(array) for array in (S, y, weights)]
    expected = reference.loss_value(loss.name, *in_rows(loss, *exact), parameter) if count else 0.0
    scale = (terms_of_value(loss, *exact[:2]) * exact[2][0]).sum()
    # A sample's loss is computed in the dtype, the sum over samples in float64.
    error = tolerance(draw.dtype, n_scores) + tolerance(np.dtype(np.float64), S.size)
    assert abs(value - expected) <= error * scale


@given(draws, cases, n_scores, counts)
def test_backward_matches_the_reference(draw: Draw, loss, n_scores, count):
    S, y, weights = problem(draw, loss, n_scores, count)
    parameter = parameter_of(loss, draw.dtype)
    dS, dS_alone = untouched(S.shape, draw.dtype), untouched(S.shape, draw.dtype)
    arguments = read_only(S), read_only(y), read_only(weights), parameter
    value = compiled.loss_backward(loss.name)(*arguments, True, dS)
    assert compiled.loss_backward(loss.name)(*arguments, False, dS_alone) == 0
    np.testing.assert_array_equal(dS, dS_alone)
    value_alone = compiled.loss_value(loss.name)(*arguments)
    scale = (terms_of_value(loss, wide(S), wide(y)) * wide(weights)[0]).sum()
    assert abs(value - value_alone) <= tolerance(draw.dtype, n_scores) * scale
    # Rounding to the dtype may move a score to the other side of a hinge: compare in the dtype.
    exact = [wide(array) if loss.name != "multiclass_hinge" else array for array in (S, y, weights)]
    expected = reference.loss_backward(loss.name, *in_rows(loss, *exact), parameter).T if count else S
    assert (np.abs(dS - expected) <= tolerance(draw.dtype) * terms_of_slope(loss, *exact[:2]) * weights).all()
    assert (dS[:, weights[0] == 0] == 0).all()
    assert dS.dtype == draw.dtype


@every_dtype
def test_derivatives_for_two_classes_are_accurate_even_if_tiny(dtype):
    lead = np.resize(np.linspace(-80, 80, 1601), padded(1601, dtype)).astype(dtype)
    S = np.stack([np.zeros_like(lead), lead])
    ones, dS = np.ones_like(lead)[None], untouched(S.shape, dtype)
    backward = compiled.loss_backward("softmax_cross_entropy")
    for label in (0, 1):
        backward(read_only(S), read_only(label * ones), read_only(ones), 0.0, False, dS)
        wrong = scipy.special.expit(wide(-lead if label else lead))
        np.testing.assert_allclose(dS[1 - label], wrong, rtol=tolerance(dtype))
        np.testing.assert_array_equal(dS[label], -dS[1 - label])


def both_sides(loss, S, y, weights):
    """Yield (value, dS) of the kernels, and of the reference in the same dtype."""
    dS = untouched(S.shape, S.dtype)
    arguments = read_only(S), read_only(y), read_only(weights), parameter_of(loss, S.dtype)
    value = compiled.loss_backward(loss.name)(*arguments, True, dS)
    # The kernel of the value alone treats NaN and samples of weight 0 alike.
    np.testing.assert_allclose(value, compiled.loss_value(loss.name)(*arguments), rtol=tolerance(S.dtype, 90))
    yield value, dS
    arguments = *in_rows(loss, S, y, weights), loss.parameter
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        yield reference.loss_value(loss.name, *arguments), reference.loss_backward(loss.name, *arguments).T


def constant_targets(loss, value, n_scores, T, dtype):
    return np.full((1 if loss.of_labels else n_scores, T), value, dtype)


@every_case
@every_dtype
def test_samples_of_weight_0_have_no_loss_and_no_derivative(loss, dtype):
    # Not even samples with an infinite loss: the padding of a tile may have any scores.
    T, largest = padded(4, dtype), np.finfo(dtype).max
    S, y = np.zeros((3, T), dtype), constant_targets(loss, 1, 3, T, dtype)
    S[:, 0], S[0, 1], S[1, 1], S[0, 2], S[1, 2] = 1e4, largest, -largest, -largest, largest
    weights = np.zeros((1, T), dtype)
    for value, dS in both_sides(loss, S, y, weights):
        assert value == 0
        assert (dS == 0).all()
    weights[0, 3] = 2
    (value, dS), (alone, _) = both_sides(loss, S, y, weights)
    assert value == pytest.approx(alone, rel=tolerance(dtype, 3))
    assert (dS[:, :3] == 0).all()
    assert (dS[:, 4:] == 0).all()


@every_case
@every_dtype
def test_nan_scores_give_a_nan_loss_and_nan_derivatives(loss, dtype):
    # Otherwise a training that has diverged would go on unnoticed.
    T = padded(5, dtype)
    S, y = np.zeros((2, T), dtype), constant_targets(loss, 1, 2, T, dtype)
    S[0, 0] = S[1, 1] = S[:, 2] = np.nan
    for value, dS in both_sides(loss, S, y, np.ones((1, T), dtype)):
        assert np.isnan(value)
        assert np.isnan(dS[:, :3]).any(axis=0).all()
        assert np.isfinite(dS[:, 3:]).all()


# The largest scores with a finite loss, for losses that grow faster than their scores.
LARGEST = {"squared_error": lambda info: np.sqrt(info.max) / 4, "poisson": lambda info: np.log(info.max) - 4}


@every_case
@every_dtype
def test_loss_and_derivatives_are_finite_for_finite_scores(loss, dtype):
    largest = LARGEST.get(loss.name, lambda info: info.max / 16)(np.finfo(dtype))
    T = padded(6, dtype)
    S, y = np.zeros((3, T), dtype), constant_targets(loss, 1, 3, T, dtype)
    S[0, 0], S[1, 1], S[0, 2], S[1, 3], S[:, 4] = largest, largest, -largest, -largest, largest
    if loss.name == "poisson":  # the exponential is 0
        S[:, 5] = -np.finfo(dtype).max / 16
    weights = np.ones((1, T), dtype)
    (value, dS), (expected, expected_dS) = both_sides(loss, S, y, weights)
    assert np.isfinite(value)
    assert value == pytest.approx(expected, rel=tolerance(dtype, 90))
    assert np.isfinite(dS).all()
    np.testing.assert_allclose(dS, expected_dS, rtol=tolerance(dtype, 90), atol=tolerance(dtype))


# Closed forms of scores (n, k) and labels (n,) or targets (n, k), by functions of SciPy where there are any.
def hinge(S, y, margin):
    return [sum(max(0, s - row[label] + margin) for k, s in enumerate(row) if k != label)
            for row, label in zip(S, y.astype(int), strict=True)]  # fmt: skip


def cross_entropy(S, y, smoothing):
    logs = scipy.special.log_softmax(S, axis=1)
    of_label = logs[np.arange(len(S)), y.astype(int)]
    return -(1 - smoothing) * of_label - smoothing * logs.mean(axis=1)


CLOSED_FORMS = {
    "softmax_cross_entropy": cross_entropy,
    "multiclass_hinge": hinge,
    "sigmoid_binary_cross_entropy": lambda S, y, _: (
        -(y * scipy.special.log_expit(S) + (1 - y) * scipy.special.log_expit(-S)).sum(axis=1)
    ),
    "squared_error": lambda S, y, _: 0.5 * np.linalg.norm(S - y, axis=1) ** 2,
    "absolute_error": lambda S, y, _: np.linalg.norm(S - y, axis=1, ord=1),
    "huber": lambda S, y, delta: scipy.special.huber(delta, S - y).sum(axis=1),
    "quantile": lambda S, y, q: np.maximum(q * (y - S), (q - 1) * (y - S)).sum(axis=1),
    "poisson": lambda S, y, _: (
        -(scipy.stats.poisson.logpmf(y, np.exp(S)) + scipy.special.gammaln(y + 1)).sum(axis=1)
    ),
}


def small_problem(loss, n=30, k=4):
    random = np.random.default_rng(0)
    S = 2 * random.normal(size=(n, k))
    y = targets(loss, k, n, S.dtype, random)
    return S, (y[:, 0] if loss.of_labels else y), random.uniform(0, 2, n)


@pytest.mark.parametrize("loss", [loss for loss in CASES if loss.name in CLOSED_FORMS], ids=repr)
def test_reference_matches_the_closed_form(loss):
    S, y, weights = small_problem(loss)
    expected = CLOSED_FORMS[loss.name](S, y, loss.parameter)
    value = reference.loss_value(loss.name, S, y, weights, loss.parameter)
    assert value == pytest.approx(np.dot(weights, expected), rel=1e-13)


@every_case
def test_reference_slopes_match_central_differences(loss):
    S, y, weights = small_problem(loss)
    step = 1e-6
    smooth = np.ones(S.shape, bool)
    for kink in reference.LOSSES[loss.name].kinks(S, y, loss.parameter):
        near = np.abs(kink) < 10 * step
        if loss.of_labels:  # the label's score has no hinge, but moves all hinges of the sample
            near[np.arange(len(y)), y.astype(int)] = False
            near = near.any(axis=1, keepdims=True)
        smooth &= ~near
    assert smooth.mean() > 0.9
    slopes = reference.loss_backward(loss.name, S, y, weights, loss.parameter)
    for index in np.argwhere(smooth):
        values = []
        for move in (step, -step):
            moved = S.copy()
            moved[tuple(index)] += move
            values.append(reference.loss_value(loss.name, moved, y, weights, loss.parameter))
        numeric = (values[0] - values[1]) / (2 * step)
        assert slopes[tuple(index)] == pytest.approx(numeric, rel=1e-7, abs=1e-7)


KINKED = [loss for loss in CASES if loss.name in {"absolute_error", "quantile", "multiclass_hinge"}]


@pytest.mark.parametrize("loss", KINKED, ids=repr)
@every_dtype
def test_the_slope_is_0_at_a_kink(loss, dtype):
    # Every score is at a kink: below the label's score by the hinge's margin, or equal to its target.
    T = padded(1, dtype)
    S, y = np.ones((3, T), dtype), constant_targets(loss, 1, 3, T, dtype)
    if loss.of_labels:
        S[[0, 2]] -= dtype.type(loss.parameter)
    kinks = reference.LOSSES[loss.name].kinks(*in_rows(loss, S, y, y[:1])[:2], loss.parameter)
    assert all((kink == 0).all() for kink in kinks)
    for value, dS in both_sides(loss, S, y, np.ones((1, T), dtype)):
        assert value == 0
        assert (dS == 0).all()


SMOOTH = {"softmax_cross_entropy", "sigmoid_binary_cross_entropy", "squared_error", "poisson"}


@every_case
def test_kinks_are_where_the_slope_jumps_or_bends(loss):
    S, y, _ = small_problem(loss, n=2000)
    formulas = reference.LOSSES[loss.name]
    # Move the first score of every sample in two steps.
    moved = [S + step * (np.arange(S.shape[1]) == 0) for step in (0, 0.05, 0.1)]
    signs = [[np.sign(kink) for kink in formulas.kinks(Z, y, loss.parameter)] for Z in moved]
    if not signs[0]:
        assert loss.name in SMOOTH or loss not in LISTED
        return
    crossed = np.zeros(len(S), bool)
    for first, second, third in zip(*signs, strict=True):
        crossed |= (first != second).any(axis=1) | (second != third).any(axis=1)
    slopes = [formulas.slope(Z, y, loss.parameter) for Z in moved]
    bent = (np.abs(slopes[2] - 2 * slopes[1] + slopes[0]) > 1e-9).any(axis=1)
    assert crossed.any()
    np.testing.assert_array_equal(bent, crossed)


def test_kernels_reference_and_public_classes_have_the_same_losses():
    assert compiled.LOSSES.keys() == reference.LOSSES.keys() == losses.LOSSES.keys()
    for name, loss in losses.LOSSES.items():
        assert compiled.LOSSES[name].of_labels == loss.of_labels
