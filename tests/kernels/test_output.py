"""Outputs (softmax, sigmoid, ...): kernels against the reference, the reference against SciPy."""

import numpy as np
import pytest
import scipy.special
from comparisons import call_kernel
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import Draw, counts, draws, padded, read_only, tolerance, untouched, wide

import fastnn
from fastnn.reference import output as reference
from fastnn_kernels import output as compiled
from fastnn_kernels.calls.formulas import forward_pointer

classes = st.one_of(st.integers(1, 12), st.sampled_from([2, 2, 300]))


def forward(name, S):
    return call_kernel(forward_pointer(name, S.dtype), [S], [untouched(S.shape, S.dtype)])[0]


@given(draws, st.sampled_from(sorted(reference.OUTPUTS)), classes, counts, st.sampled_from([0.0, 0.2]))
def test_every_output_matches_the_reference(draw: Draw, name, n_classes, count, share_of_nan):
    S = draw.array(n_classes, draw.padded(count))
    nan = draw.random.random(S.shape) < share_of_nan
    S[nan] = np.nan
    P, info = forward(name, S), np.finfo(draw.dtype)
    with np.errstate(over="ignore", under="ignore"):
        expected = reference.output_forward(name, wide(S.T)).T
        expected = np.where(expected > info.max, np.inf, expected)
    # exp turns the rounding of the softmax's differences into a relative error of the probability.
    terms = n_classes + np.ptp(np.nan_to_num(S), axis=0).max(initial=0) if name == "softmax" else 1
    np.testing.assert_allclose(P, expected, rtol=tolerance(draw.dtype, terms), atol=info.tiny)
    assert np.isnan(P[nan]).all()
    in_place = S.copy()
    forward_pointer(name, draw.dtype)(in_place, in_place)
    np.testing.assert_array_equal(in_place, P)


@given(draws, classes, counts, st.sampled_from([np.uint8, np.uint16, np.int64]), st.booleans())
def test_argmax_matches_the_reference(draw: Draw, n_classes, count, integer, with_nan):
    assume(n_classes - 1 <= np.iinfo(integer).max)
    # Few different scores, so that ties are common.
    S = np.round(draw.array(n_classes, draw.padded(count)) / draw.scale).astype(draw.dtype)
    if with_nan:
        S[np.abs(S) == 1] = np.nan
    target = np.full((3, count + 5), 77, integer)
    compiled.argmax(read_only(S), 1, 2, count, target)
    np.testing.assert_array_equal(target[1, 2 : 2 + count], reference.argmax(S.T[:count]))
    target[1, 2 : 2 + count] = 77
    assert (target == 77).all()


@given(draws, classes, counts, st.sampled_from([None, np.nan, np.inf, -np.inf, "largest"]), st.data())
def test_all_finite_matches_the_reference(draw: Draw, n_classes, count, odd, data):
    S = draw.array(n_classes, draw.padded(count))
    if odd is not None and S.size:
        place = data.draw(st.integers(0, S.size - 1))
        S.flat[place] = np.finfo(draw.dtype).max if odd == "largest" else odd
    assert compiled.all_finite(read_only(S)) == reference.all_finite(S)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_and_losses_are_finite_for_any_finite_scores(dtype, n_classes):
    largest = np.finfo(dtype).max / 2
    S = np.zeros((n_classes, padded(3, dtype)), dtype)
    S[0, 0], S[1, 1], S[:, 2] = largest, -largest, largest
    for P in (forward("softmax", S), reference.softmax_forward(S.T).T):
        np.testing.assert_array_equal(P[:, 0], [1] + [0] * (n_classes - 1))
        np.testing.assert_allclose(P[:, 1], [1 / (n_classes - 1), 0, 1 / (n_classes - 1)][:n_classes])
        np.testing.assert_allclose(P[:, 2], 1 / n_classes, rtol=np.finfo(dtype).eps)
    # The loss is a mean: it is finite although the sum over the 16 samples would overflow.
    loss = fastnn.Softmax().loss(np.tile(S[:, 0], (16, 1)), np.ones(16, int))
    assert loss == pytest.approx(float(largest), rel=1e-6)


@given(draws, st.integers(1, 12), st.integers(1, 40))
def test_reference_softmax_matches_scipy(draw: Draw, n_classes, count):
    S, y = wide(draw.array(count, n_classes)), draw.labels(n_classes, count)
    softmax = fastnn.Softmax()
    np.testing.assert_allclose(softmax.predict(S), scipy.special.softmax(S, axis=1), rtol=1e-13)
    expected = -scipy.special.log_softmax(S, axis=1)[np.arange(count), y].mean()
    assert softmax.loss(S, y) == pytest.approx(expected, rel=1e-13, abs=1e-15)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([[0, 1], [2, 3]], [[0], [1]], "y must have one dimension"),
        ([[0, 1], [2, 3]], [0], "X has 2 samples, but y has 1 labels"),
        ([[0, 1]], [-1], "labels 0 .. 1, got .*: number the classes from 0"),
        ([[0, 1]], [0.5], "labels 0 .. 1"),
        ([[0, 1]], ["a"], "labels 0 .. 1"),
        ([0, 1], [0], "X must hold scores of the shape"),
    ],
)
def test_the_softmax_unit_refuses_scores_and_labels_that_do_not_fit(scores, labels, message):
    for method in (fastnn.Softmax().loss, fastnn.Softmax().diff):
        with pytest.raises(ValueError, match=message):
            method(scores, labels)
