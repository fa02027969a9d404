"""The softmax output: kernels against the reference, the reference against SciPy."""

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, Draw, counts, draws, read_only, tolerance, untouched

import fastnn
from fastnn.reference import output as reference
from fastnn_kernels import output as compiled

classes = st.one_of(st.integers(1, 12), st.sampled_from([2, 2, 300]))


def wide(array):
    return array.astype(np.float64)


@given(draws, classes, counts)
def test_forward_is_the_reference(draw: Draw, n_classes, count):
    S = draw.array(n_classes, draw.padded(count))
    P = untouched(S.shape, draw.dtype)
    compiled.softmax_forward(read_only(S), P)
    expected = reference.softmax_forward(wide(S.T)).T if count else wide(S)
    # exp turns the rounding of a difference of scores into a relative error of the probability.
    spread = np.ptp(S, axis=0).max() if count else 0.0
    rtol = tolerance(draw.dtype, n_classes + spread)
    np.testing.assert_allclose(P, expected, rtol=rtol, atol=np.finfo(draw.dtype).tiny)
    in_place = S.copy()
    compiled.softmax_forward(in_place, in_place)
    np.testing.assert_array_equal(in_place, P)


@given(draws, classes, counts)
def test_loss_is_the_reference(draw: Draw, n_classes, count):
    T = draw.padded(count)
    S, y = draw.array(n_classes, T), draw.labels(n_classes, T)
    loss = compiled.softmax_loss(read_only(S), read_only(y.astype(draw.dtype)[None]), 0.5, count)
    expected = reference.softmax_loss(wide(S.T)[:count], y[:count], 0.5) if count else 0.0
    scale = np.abs(S[:, :count]).sum() + count
    assert abs(loss - expected) <= tolerance(draw.dtype, n_classes) * scale


@given(draws, classes, counts)
def test_backward_is_the_reference(draw: Draw, n_classes, count):
    T = draw.padded(count)
    S, y = draw.array(n_classes, T), draw.labels(n_classes, T)
    dS = untouched(S.shape, draw.dtype)
    compiled.softmax_backward(read_only(S), read_only(y.astype(draw.dtype)[None]), count, dS)
    assert (dS[:, count:] == 0).all()
    if count:
        expected = reference.softmax_backward(wide(S.T)[:count], y[:count]).T
        spread = np.ptp(S, axis=0).max()
        np.testing.assert_allclose(
            dS[:, :count], expected, rtol=0, atol=tolerance(draw.dtype, n_classes + spread)
        )


@given(draws, classes, counts, st.sampled_from([np.uint8, np.uint16, np.int64]))
def test_argmax_is_the_reference(draw: Draw, n_classes, count, integer):
    # Few different scores, so that ties are common.
    S = np.round(draw.array(n_classes, draw.padded(count)) / draw.scale)
    S = S.astype(draw.dtype)
    target = np.full((3, count + 5), 77, integer)
    compiled.argmax(read_only(S), 1, 2, count, target)
    np.testing.assert_array_equal(target[1, 2 : 2 + count], reference.argmax(S.T[:count]))
    target[1, 2 : 2 + count] = 77
    assert (target == 77).all()


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_loss_is_finite_for_any_finite_scores(dtype, n_classes):
    # The mean, even where the sum of so many is infinite.
    largest = np.finfo(dtype).max / 2
    lanes = 64 // dtype.itemsize
    S = np.zeros((n_classes, lanes), dtype)
    S[0] = largest
    y = np.ones((1, lanes), dtype)
    loss = compiled.softmax_loss(S, y, 1 / lanes, lanes)
    assert loss == pytest.approx(float(largest), rel=1e-6)
    labels = np.ones(lanes, int)
    assert reference.softmax_loss(S.T, labels, 1 / lanes) == pytest.approx(float(largest), rel=1e-6)
    assert fastnn.Softmax().loss(S.T, labels) == pytest.approx(float(largest), rel=1e-6)
    dS = untouched(S.shape, dtype)
    compiled.softmax_backward(S, y, lanes, dS)
    np.testing.assert_array_equal(dS[:2, 0], [1, -1])
    compiled.softmax_forward(S, S)
    np.testing.assert_array_equal(S[:, 0], [1] + [0] * (n_classes - 1))


@given(draws, st.integers(1, 12), st.integers(1, 40))
def test_reference_is_scipy(draw: Draw, n_classes, count):
    S, y = wide(draw.array(count, n_classes)), draw.labels(n_classes, count)
    softmax = fastnn.Softmax()
    np.testing.assert_allclose(softmax.predict(S), scipy.special.softmax(S, axis=1), rtol=1e-13)
    truth = -scipy.special.log_softmax(S, axis=1)[np.arange(count), y].mean()
    assert softmax.loss(S, y) == pytest.approx(truth, rel=1e-13, abs=1e-15)


def test_reference_diff_is_central_differences():
    random = np.random.default_rng(0)
    S, y = random.normal(size=(4, 3)), np.array([0, 2, 1, 1])
    softmax = fastnn.Softmax()
    diff = softmax.diff(S, y)
    for index in np.ndindex(S.shape):
        moved = [S.copy(), S.copy()]
        moved[0][index] += 1e-6
        moved[1][index] -= 1e-6
        # diff is of the summed loss, loss the mean.
        expected = 4 * (softmax.loss(moved[0], y) - softmax.loss(moved[1], y)) / 2e-6
        assert diff[index] == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([[0, 1], [2, 3]], [[0], [1]], "y must have one dimension"),
        ([[0, 1], [2, 3]], [0], "X has 2 samples, but y has 1 labels"),
        ([[0, 1]], [-1], "labels count from 0"),
        ([[0, 1]], [0.5], "y must hold integer labels"),
        ([0, 1], [0], "scores must have the shape"),
    ],
)
def test_units_refuse_what_does_not_fit(scores, labels, message):
    for method in (fastnn.Softmax().loss, fastnn.Softmax().diff):
        with pytest.raises(ValueError, match=message):
            method(scores, labels)


def test_units_take_integers_for_numbers():
    for dtype in (np.uint8, np.int8, np.int64):
        S = np.array([[0, 100], [50, 20]], dtype)
        np.testing.assert_array_equal(fastnn.Softmax().predict(S), fastnn.Softmax().predict(wide(S)))
        np.testing.assert_array_equal(fastnn.Sigmoid().forward(S), fastnn.Sigmoid().forward(wide(S)))
        np.testing.assert_array_equal(fastnn.Tanh().forward(S), np.tanh(wide(S)))
