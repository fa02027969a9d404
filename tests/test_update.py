"""The parameter update: kernels against the reference, the reference against the rules by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, Draw, Windows, draws, padded, read_only, tolerance, wide

from fastnn import optimizers
from fastnn.reference import update as reference
from fastnn_kernels import update as compiled

OPTIMIZERS = (
    optimizers.SGD(),
    optimizers.Momentum(0.8, dampening=0.3),
    optimizers.Nesterov(0.7),
    optimizers.Adagrad(lr_decay=0.1, initial_accumulator_value=0.5),
    optimizers.RMSprop(alpha=0.9, momentum=0.5),
    optimizers.Adam((0.8, 0.99)),
    optimizers.AdamW(weight_decay=0.2),
)
each = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.name)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
chosen = st.sampled_from(OPTIMIZERS)
# Whole vectors of parameters, none among them, and whole vectors of them that are left alone.
sizes = st.integers(0, 20)
counts = st.integers(1, 5)


def coefficients(optimizer, n_steps, dtype):
    """As the kernels take them: a row a step, the rates falling."""
    steps = np.arange(n_steps)
    return np.ascontiguousarray(optimizer.coefficients(0.1 / (1 + steps), steps), dtype)


def initial_state(optimizer, size, dtype):
    values = np.array(optimizer.initial_state, dtype)
    return np.repeat(values[:, None], size, axis=1)


def one_after_the_other(gradients):
    """Their sum, in their order."""
    total = gradients[0].copy()
    for gradient in gradients[1:]:
        total += gradient
    return total


@given(draws, chosen, sizes, counts, counts)
def test_rules_are_the_reference(draw: Draw, optimizer, n_vectors, n_steps, n_gradients):
    # A parameter's gradients have one sign, so that nothing cancels: rounding is a matter of ulp then.
    dtype, size = draw.dtype, n_vectors * draw.padded(1)
    parameters = draw.array(size)
    shape = n_steps, n_gradients, size
    sign = np.sign(draw.array(size))
    gradients = (draw.scale * sign * draw.random.uniform(0.1, 1, shape)).astype(dtype)
    state, table = initial_state(optimizer, size, dtype), coefficients(optimizer, n_steps, dtype)
    exact, exact_state = wide(parameters), wide(state)
    moved = np.abs(exact)
    room = Windows(parameters, state)
    for g, c in zip(gradients, table, strict=True):
        zero = dtype.type(0)
        assert compiled.update(optimizer.name)(
            read_only(g), room.views[0], room.views[1], read_only(c), zero, zero, dtype.type(1), 0, size
        )
        before = exact.copy()
        assert reference.update(
            optimizer.name, wide(g).sum(axis=0), exact, exact_state, c.astype(np.float64), 0.0, 0.0
        )
        moved += np.abs(exact - before)
    assert room.are_kept_apart()
    error = tolerance(dtype, n_steps * (n_gradients + 8))
    assert (np.abs(room.views[0] - exact) <= error * moved + 4 * np.finfo(dtype).tiny).all()
    assert (np.abs(room.views[1] - exact_state) <= error * np.abs(exact_state) + np.finfo(dtype).tiny).all()


# The rules whose step is not divided by anything: there rounding is not magnified where terms cancel.
LINEAR = [optimizer for optimizer in OPTIMIZERS if optimizer.name in {"sgd", "momentum", "nesterov"}]
rates = st.sampled_from([0.0, 1e-3, 0.1, 2.0])


@given(draws, st.sampled_from(LINEAR), sizes, counts, rates, rates, st.sampled_from([1.0, 0.3]))
def test_the_derivative_is_shrunk_and_regularised(draw, optimizer, n_vectors, n_gradients, l2, l1, shrink):
    dtype, size = draw.dtype, n_vectors * draw.padded(1)
    parameters, gradients = draw.array(size), draw.array(n_gradients, size)
    parameters[::3] = 0  # where |p| has its kink
    state, (c,) = initial_state(optimizer, size, dtype), coefficients(optimizer, 1, dtype)
    l2, l1, shrink = (dtype.type(number) for number in (l2, l1, shrink))
    exact, exact_state = wide(parameters), wide(state)
    terms = shrink * np.abs(gradients).sum(axis=0) + l2 * np.abs(parameters) + l1
    scale = np.abs(parameters) + 2 * c[0] * terms
    assert reference.update(
        optimizer.name, float(shrink) * wide(gradients).sum(axis=0), exact, exact_state, wide(c),
        float(l2), float(l1),
    )  # fmt: skip
    arguments = read_only(gradients), parameters, state, read_only(c), l2, l1, shrink
    assert compiled.update(optimizer.name)(*arguments, 0, size)
    assert parameters.dtype == dtype
    assert (np.abs(parameters - exact) <= tolerance(dtype, n_gradients) * scale).all()


@given(draws, chosen, sizes, sizes, sizes)
def test_only_what_is_asked_for_is_updated(draw: Draw, optimizer, before, n_vectors, behind):
    dtype, lanes = draw.dtype, draw.padded(1)
    begin, end = before * lanes, (before + n_vectors) * lanes
    size = end + behind * lanes
    parameters, gradients = draw.array(size), draw.array(2, size)
    state, (c,) = np.abs(draw.array(len(optimizer.initial_state), size)), coefficients(optimizer, 1, dtype)
    kept = parameters.copy(), state.copy()
    l2, l1, shrink = (dtype.type(number) for number in (0.1, 0.2, 0.5))
    part = slice(begin, end)
    expected = [parameters[part].copy(), state[:, part].copy()]
    compiled.update(optimizer.name)(
        read_only(gradients), parameters, state, read_only(c), l2, l1, shrink, begin, end
    )
    # The rest is as it was, and what is updated does not depend on it.
    compiled.update(optimizer.name)(
        read_only(np.ascontiguousarray(gradients[:, part])),
        *expected,
        read_only(c),
        l2,
        l1,
        shrink,
        0,
        end - begin,
    )
    np.testing.assert_array_equal(parameters[part], expected[0])
    np.testing.assert_array_equal(state[:, part], expected[1])
    for now, then in zip((parameters, state), kept, strict=True):
        now[..., part] = then[..., part]
        np.testing.assert_array_equal(now, then)


@given(draws, chosen, st.integers(1, 20), st.integers(2, 8))
def test_gradients_are_added_in_their_order(draw: Draw, optimizer, n_vectors, n_gradients):
    # To the last bit: so a training is the same whichever threads computed them.
    dtype, size = draw.dtype, n_vectors * draw.padded(1)
    gradients = draw.array(n_gradients, size)
    results = []
    parameters, (c,) = draw.array(size), coefficients(optimizer, 1, dtype)
    for given_ones in (gradients, one_after_the_other(gradients)[None]):
        p, state = parameters.copy(), initial_state(optimizer, size, dtype)
        numbers = (dtype.type(number) for number in (0.1, 0.2, 0.5))
        compiled.update(optimizer.name)(read_only(given_ones), p, state, read_only(c), *numbers, 0, size)
        norm = compiled.square_sum(read_only(given_ones), 0, size)
        results.append((p, state, norm))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@each
@each_dtype
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_not_finite_is_told(optimizer, dtype, value):
    size = 3 * padded(1, dtype)
    (c,) = coefficients(optimizer, 1, dtype)
    zero, one = dtype.type(0), dtype.type(1)
    for position in (0, 3, padded(1, dtype), size - 1):
        parameters, gradients = np.ones(size, dtype), np.ones((1, size), dtype)
        parameters[position] = value
        twin, state = parameters.copy(), initial_state(optimizer, size, dtype)
        arguments = read_only(gradients), parameters, state.copy(), read_only(c), zero, zero, one
        assert not compiled.update(optimizer.name)(*arguments, 0, size)
        with np.errstate(invalid="ignore"):
            assert not reference.update(optimizer.name, gradients[0], twin, state, c, zero, zero)


def by_hand(optimizer, gradients):
    """Parameters after the steps, from 1 on, as the papers write the rules, with rates 0.1 / (1 + step)."""
    p, v, s, m = 1.0, 0.0, 0.0, 0.0
    s = getattr(optimizer, "initial_accumulator_value", 0.0)
    for step, g in enumerate(gradients):
        rate = 0.1 / (1 + step)
        match optimizer.name:
            case "sgd":
                p -= rate * g
            case "momentum":
                v = g if step == 0 else optimizer.momentum * v + (1 - optimizer.dampening) * g
                p -= rate * v
            case "nesterov":
                v = optimizer.momentum * v + g
                p -= rate * (g + optimizer.momentum * v)
            case "adagrad":
                s += g**2
                p -= rate / (1 + step * optimizer.lr_decay) * g / (s**0.5 + optimizer.eps)
            case "rmsprop":
                s = optimizer.alpha * s + (1 - optimizer.alpha) * g**2
                v = optimizer.momentum * v + g / (s**0.5 + optimizer.eps)
                p -= rate * v
            case "adam" | "adamw":
                if optimizer.name == "adamw":
                    p *= 1 - rate * optimizer.weight_decay
                first, second = optimizer.betas
                m, s = first * m + (1 - first) * g, second * s + (1 - second) * g**2
                corrected = m / (1 - first ** (step + 1)), s / (1 - second ** (step + 1))
                p -= rate * corrected[0] / (corrected[1] ** 0.5 + optimizer.eps)
    return p


@each
def test_reference_is_the_rule_by_hand(optimizer):
    gradients = np.random.default_rng(0).normal(size=12)
    p, state = np.ones(1), initial_state(optimizer, 1, np.float64)
    for g, c in zip(gradients, coefficients(optimizer, 12, np.float64), strict=True):
        assert reference.update(optimizer.name, np.array([g]), p, state, c, 0.0, 0.0)
    assert p[0] == pytest.approx(by_hand(optimizer, gradients), rel=1e-13)


def test_reference_regularises():
    parameters = np.array([1.0, -2.0, 0.0, 3.0])
    l2, l1 = np.array([0.2, 0.2, 0.2, 0]), np.array([0.1, 0.1, 0.1, 0])
    reference.update("sgd", np.full(4, 0.5), parameters, np.empty((0, 4)), [0.1], l2, l1)
    expected = [1 - 0.1 * (0.5 + 0.2 + 0.1), -2 - 0.1 * (0.5 - 0.4 - 0.1), -0.1 * 0.5, 3 - 0.1 * 0.5]
    np.testing.assert_allclose(parameters, expected, rtol=1e-15)


# --- what goes with the rules --------------------------------------------------------------------


@given(draws, sizes, sizes, st.sampled_from([0.0, 1e-3, 0.3, 1.0]))
def test_average_is_the_reference(draw: Draw, n_vectors, behind, share):
    lanes = draw.padded(1)
    end, size = n_vectors * lanes, (n_vectors + behind) * lanes
    parameters, average = draw.array(size), draw.array(size)
    share = draw.dtype.type(share)
    expected, kept = wide(average[:end]), average[end:].copy()
    reference.add_to_average(wide(parameters[:end]), float(share), expected)
    scale = np.abs(average[:end]) + share * (np.abs(parameters[:end]) + np.abs(average[:end]))
    compiled.add_to_average(read_only(parameters), share, 0, end, average)
    assert (np.abs(average[:end] - expected) <= tolerance(draw.dtype) * scale).all()
    np.testing.assert_array_equal(average[end:], kept)


limits = st.sampled_from([0.01, 0.5, 3.0, 100.0])


@given(draws, st.integers(1, 40), st.integers(1, 20), limits)
def test_limited_norms_are_the_reference(draw: Draw, n_in, n_out, limit):
    W = draw.array(n_in, n_out)
    W[:, 0] = 0
    expected, before = wide(W), W.copy()
    reference.limit_norms(expected, limit)
    room = Windows(W)
    compiled.limit_norms(room.views[0], limit)
    np.testing.assert_allclose(room.views[0], expected, rtol=tolerance(draw.dtype))
    assert room.are_kept_apart()
    norms = np.linalg.norm(wide(before), axis=0)
    np.testing.assert_allclose(
        np.linalg.norm(expected, axis=0), np.minimum(norms, limit), rtol=1e-13
    )  # fmt: skip
    small = norms <= limit * (1 - 1e-6)
    np.testing.assert_array_equal(room.views[0][:, small], before[:, small])


@given(draws, sizes, sizes, counts)
def test_square_sum(draw: Draw, before, n_vectors, n_gradients):
    lanes = draw.padded(1)
    begin, end = before * lanes, (before + n_vectors) * lanes
    gradients = draw.array(n_gradients, end + lanes)
    total = compiled.square_sum(read_only(gradients), begin, end)
    exact = wide(gradients[:, begin:end]).sum(axis=0)
    magnitudes = np.abs(gradients[:, begin:end]).sum(axis=0)
    # Sums of gradients in their dtype, that of the squares in float64.
    error = tolerance(draw.dtype, 2 * n_gradients) + tolerance(np.dtype(np.float64), end - begin)
    assert abs(total - (exact**2).sum()) <= error * (wide(magnitudes) ** 2).sum()


def test_all_sides_have_the_same_optimizers():
    names = optimizers.OPTIMIZERS.keys() - {"lbfgs"}  # SciPy's
    assert compiled.OPTIMIZERS.keys() == reference.OPTIMIZERS.keys() == names
    assert {optimizer.name for optimizer in OPTIMIZERS} == names
