"""The losses: kernels against the reference, which PyTorch's records and central differences confirm."""

import numpy as np
import pytest
import scipy.special
from comparisons import central_differences, twin_results
from example_counts import with_examples
from hypothesis import given
from hypothesis import strategies as st
from strategies import Draw, counts, draws, padded, targets, tolerance, untouched, wide

from fastnn import losses
from fastnn.reference import loss as reference
from fastnn_kernels.calls.formulas import backward_pointer, value_pointer

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
every_case = pytest.mark.parametrize("loss", CASES, ids=repr)
n_scores = st.one_of(st.integers(1, 12), st.sampled_from([2, 2, 70]))


def make_problem(draw: Draw, loss, n_scores, count, is_soft):
    """Return scores (K, T), targets (Y, T), soft ones if possible, and weights (1, T), 0 in the padding."""
    T = draw.padded(count)
    S = draw.array(n_scores, T)
    if draw.random.random() < 0.3:
        S = np.round(S)  # ties, and scores equal to their targets
    if loss.name == "poisson":
        S = np.clip(S, -80, 80)  # the exponential is finite in both dtypes
    y = targets(loss, n_scores, T, draw.dtype, draw.random).T
    if is_soft and loss.name == "softmax_cross_entropy" and n_scores > 1:
        y = draw.random.dirichlet(np.full(n_scores, 0.4), T).T.astype(draw.dtype)
    return S, np.ascontiguousarray(y), draw.weights(count)


def in_rows(loss, S, y, weights):
    return S.T, (y[0] if loss.of_labels and len(y) == 1 else y.T), weights[0]


@every_case
@with_examples(20)
@given(draws, n_scores, counts, st.booleans())
def test_loss_and_derivatives_match_the_reference(loss, draw: Draw, n_scores, count, is_soft):
    S, y, weights = make_problem(draw, loss, n_scores, count, is_soft)
    parameter = float(draw.dtype.type(loss.parameter))
    dS, dS_alone = untouched(S.shape, draw.dtype), untouched(S.shape, draw.dtype)
    arguments = S, y, weights, parameter
    value = backward_pointer(loss.name, draw.dtype)(*arguments, True, dS)
    assert backward_pointer(loss.name, draw.dtype)(*arguments, False, dS_alone) == 0
    np.testing.assert_array_equal(dS, dS_alone)

    def twin(S, weights):
        if loss.name == "multiclass_hinge":  # rounding may move a score to the other side of a hinge
            S = S.astype(draw.dtype)
        rows = *in_rows(loss, S, wide(y), weights), parameter
        if not count:
            return 0.0, S
        return reference.loss_value(loss.name, *rows), reference.loss_backward(loss.name, *rows).T

    (expected, error), (slopes, slope_error) = twin_results(twin, (S, weights), draw.random)
    assert abs(value - expected) <= error
    assert abs(value_pointer(loss.name, draw.dtype)(*arguments) - expected) <= error
    assert (np.abs(dS - slopes) <= slope_error).all()
    assert (dS[:, weights[0] == 0] == 0).all()


def test_derivatives_for_two_classes_are_accurate_even_if_tiny(dtype):
    lead = np.resize(np.linspace(-80, 80, 1601), padded(1601, dtype)).astype(dtype)
    S = np.stack([np.zeros_like(lead), lead])
    ones, dS = np.ones_like(lead)[None], untouched(S.shape, dtype)
    backward = backward_pointer("softmax_cross_entropy", dtype)
    for label in (0, 1):
        backward(S, label * ones, ones, 0.0, False, dS)
        wrong = scipy.special.expit(wide(-lead if label else lead))
        np.testing.assert_allclose(dS[1 - label], wrong, rtol=tolerance(dtype))
        np.testing.assert_array_equal(dS[label], -dS[1 - label])


def both_sides(loss, S, y, weights):
    """Yield (value, dS) of the kernels, and of the reference in the same dtype."""
    dS = untouched(S.shape, S.dtype)
    arguments = S, y, weights, float(S.dtype.type(loss.parameter))
    value = backward_pointer(loss.name, S.dtype)(*arguments, True, dS)
    # The kernel of the value alone treats NaN and samples of weight 0 alike.
    alone = value_pointer(loss.name, S.dtype)(*arguments)
    np.testing.assert_allclose(value, alone, rtol=tolerance(S.dtype, 90))
    yield value, dS
    arguments = *in_rows(loss, S, y, weights), loss.parameter
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        yield reference.loss_value(loss.name, *arguments), reference.loss_backward(loss.name, *arguments).T


def constant_targets(loss, value, n_scores, T, dtype):
    return np.full((1 if loss.of_labels else n_scores, T), value, dtype)


# The largest scores with a finite loss, for losses that grow faster than their scores.
LARGEST = {"squared_error": lambda info: np.sqrt(info.max) / 4, "poisson": lambda info: np.log(info.max) - 4}


@every_case
def test_losses_of_special_scores(loss, dtype):
    """A sample of weight 0 never counts; large scores have finite losses; NaN is not lost."""
    T, info = padded(9, dtype), np.finfo(dtype)
    S, y, weights = np.zeros((3, T), dtype), constant_targets(loss, 1, 3, T, dtype), np.zeros((1, T), dtype)
    # Not even samples with an infinite loss: the padding of a tile may have any scores.
    S[:, 0], S[:2, 1], S[:2, 2] = 1e4, (info.max, -info.max), (-info.max, info.max)
    for value, dS in both_sides(loss, S, y, weights):
        assert value == 0
        assert (dS == 0).all()
    weights[0, 3:9] = 2, 1, 1, 1, 1, 1
    largest = LARGEST.get(loss.name, lambda info: info.max / 16)(info)
    S[:, 4], S[0, 5], S[0, 6], S[1, 7] = largest, largest, -largest, -largest
    S[:, 8] = -info.max / 16 if loss.name == "poisson" else 0  # the exponential is 0
    (value, dS), (expected, expected_dS) = both_sides(loss, S, y, weights)
    assert np.isfinite(value)
    assert value == pytest.approx(expected, rel=tolerance(dtype, 90))
    np.testing.assert_allclose(dS, expected_dS, rtol=tolerance(dtype, 90), atol=tolerance(dtype))
    assert (dS[:, weights[0] == 0] == 0).all()
    # Otherwise a training that has diverged would go on unnoticed.
    S[0, 4] = S[1, 5] = S[:, 6] = np.nan
    for value, dS in both_sides(loss, S, y, weights):
        assert np.isnan(value)
        assert np.isnan(dS[:, 4:7]).any(axis=0).all()
        assert np.isfinite(np.delete(dS, np.s_[4:7], axis=1)).all()


@every_case
def test_no_digits_of_losses_near_0_cancel(loss):
    """In float32 no digit of ``log(cosh(s))`` would be left here; in float64, enough are for any formula."""
    dtype = np.dtype(np.float32)
    T = padded(1, dtype)
    for score in [sign * 2.0**-k for sign in (-1, 1) for k in range(14)]:
        S, weights = np.zeros((2, T), dtype), np.eye(1, T, dtype=dtype)
        S[0, 0] = score
        y = constant_targets(loss, 0, 2, T, dtype)
        rows = *in_rows(loss, wide(S), wide(y), wide(weights)), loss.parameter
        for value, dS in both_sides(loss, S, y, weights):
            np.testing.assert_allclose(value, reference.loss_value(loss.name, *rows), rtol=1e-6)
            np.testing.assert_allclose(dS, reference.loss_backward(loss.name, *rows).T, rtol=1e-6)


@every_case
def test_reference_slopes_match_central_differences(loss):
    random = np.random.default_rng(0)
    S, weights, step = 2 * random.normal(size=(30, 4)), random.uniform(0, 2, 30), 1e-6
    y = targets(loss, 4, 30, S.dtype, random)
    y = y[:, 0] if loss.of_labels else y
    smooth = np.ones(S.shape, bool)
    for kink in reference.LOSSES[loss.name].kinks(S, y, loss.parameter):
        near = np.abs(kink) < 10 * step
        if loss.of_labels:  # the label's score has no hinge, but moves all hinges of the sample
            near[np.arange(len(y)), y.astype(int)] = False
            near = near.any(axis=1, keepdims=True)
        smooth &= ~near
    assert smooth.mean() > 0.9
    slopes = reference.loss_backward(loss.name, S, y, weights, loss.parameter)
    expected = central_differences(
        lambda: reference.loss_value(loss.name, S, y, weights, loss.parameter), S, step
    )
    np.testing.assert_allclose(slopes[smooth], expected[smooth], rtol=1e-7, atol=1e-7)


KINKED = [loss for loss in CASES if loss.name in {"absolute_error", "quantile", "multiclass_hinge"}]


@pytest.mark.parametrize("loss", KINKED, ids=repr)
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
