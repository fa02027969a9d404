"""The parameter update: kernels against the reference, the reference against independent formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neural_network import _stochastic_optimizers as peers
from strategies import DTYPES, Draw, Windows, draws, padded, read_only, tolerance, wide

from fastnn import optimizers
from fastnn.reference import update as reference
from fastnn_kernels import update as compiled

LISTED = (
    optimizers.SGD(),
    optimizers.Momentum(0.8, dampening=0.3),
    optimizers.Momentum(0.8, dampening=0.3, rate_in_velocity=True),
    optimizers.Momentum(1.0),
    optimizers.Nesterov(0.7),
    optimizers.Nesterov(0.7, rate_in_velocity=True),
    optimizers.Adagrad(lr_decay=0.1, initial_accumulator_value=0.5),
    optimizers.RMSprop(alpha=0.9, momentum=0.5),
    optimizers.Adam((0.8, 0.99)),
    optimizers.Adam((0.8, 0.99), eps=1e-3, eps_hat=True),
    optimizers.AdamW(weight_decay=0.2),
    optimizers.AdamW(eps=1e-3, weight_decay=0.2, eps_hat=True),
)
# L-BFGS has no update rule.
UNLISTED = optimizers.OPTIMIZERS.keys() - {optimizer.name for optimizer in LISTED} - {"lbfgs"}
OPTIMIZERS = (*LISTED, *(optimizers.OPTIMIZERS[name]() for name in sorted(UNLISTED)))
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
chosen = st.sampled_from(OPTIMIZERS)
# Numbers of whole vectors of parameters.
sizes = st.integers(0, 20)
counts = st.integers(1, 5)


def coefficients(optimizer, n_steps, dtype):
    """Return coefficients in the kernels' form, a row for each step, with falling rates."""
    steps = np.arange(n_steps)
    return np.ascontiguousarray(optimizer.coefficients(0.1 / (1 + steps), steps), dtype)


def named(optimizer, step):
    """Return the hyperparameters by name, in the reference's form."""
    return {"rate": 0.1 / (1 + step), "step": step, **optimizer.hyperparameters}


def initial_state(optimizer, size, dtype):
    values = np.array(optimizer.initial_state, dtype)
    return np.repeat(values[:, None], size, axis=1)


def sum_in_order(gradients):
    """Return the sum of gradients, added in their order."""
    total = gradients[0].copy()
    for gradient in gradients[1:]:
        total += gradient
    return total


@given(draws, chosen, sizes, counts, counts)
def test_rules_match_the_reference(draw: Draw, optimizer, n_vectors, n_steps, n_gradients):
    # A parameter's gradients have one sign, so that nothing cancels: rounding is a matter of ulp then.
    dtype, size = draw.dtype, n_vectors * draw.padded(1)
    parameters = draw.array(size)
    shape = n_steps, n_gradients, size
    sign = np.sign(draw.array(size))
    gradients = (draw.scale * sign * draw.random.uniform(0.1, 1, shape)).astype(dtype)
    state, table = initial_state(optimizer, size, dtype), coefficients(optimizer, n_steps, dtype)
    exact, exact_state = wide(parameters), wide(state)
    moved = np.abs(exact)
    buffers = Windows(parameters, state)
    p, s = buffers.views
    for step, (g, c) in enumerate(zip(gradients, table, strict=True)):
        zero = dtype.type(0)
        assert compiled.update(optimizer.rule)(
            read_only(g), p, s, read_only(c), zero, zero, dtype.type(1), 0, size, 0
        )
        before = exact.copy()
        assert reference.update(
            optimizer.name, wide(g).sum(axis=0), exact, exact_state, named(optimizer, step), 0.0, 0.0
        )
        moved += np.abs(exact - before)
    assert buffers.are_kept_apart()
    error = tolerance(dtype, n_steps * (n_gradients + 8))
    assert (np.abs(p - exact) <= error * moved + 4 * np.finfo(dtype).tiny).all()
    assert (np.abs(s - exact_state) <= error * np.abs(exact_state) + np.finfo(dtype).tiny).all()


# Rules without a division, which would magnify rounding errors where the terms of a derivative cancel.
LINEAR = [optimizer for optimizer in OPTIMIZERS if optimizer.rule in {"sgd", "momentum"}]
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
        optimizer.name, float(shrink) * wide(gradients).sum(axis=0), exact, exact_state, named(optimizer, 0),
        float(l2), float(l1),
    )  # fmt: skip
    arguments = read_only(gradients), parameters, state, read_only(c), l2, l1, shrink
    assert compiled.update(optimizer.rule)(*arguments, 0, size, 0)
    assert parameters.dtype == dtype
    assert (np.abs(parameters - exact) <= tolerance(dtype, n_gradients) * scale).all()


@given(draws, chosen, sizes, st.integers(0, 3), counts)
def test_plain_updates_are_those_without_penalties(draw: Draw, optimizer, n_vectors, before, n_steps):
    dtype, lanes = draw.dtype, draw.padded(1)
    begin, size = before * lanes, (before + n_vectors) * lanes
    results = []
    parameters, gradients = draw.array(size), draw.array(n_steps, 1, size)
    table, zero = coefficients(optimizer, n_steps, dtype), dtype.type(0)
    for plain, numbers in ((False, (zero, zero, dtype.type(1))), (True, draw.array(3))):
        buffers = Windows(parameters.copy(), initial_state(optimizer, size, dtype))
        p, s = buffers.views
        kernel = compiled.update(optimizer.rule, plain=plain)
        for g, c in zip(gradients, table, strict=True):
            assert kernel(read_only(g), p, s, read_only(c), *numbers, begin, size, 0)
        assert buffers.are_kept_apart()
        results.append((p.copy(), s.copy()))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@given(draws, chosen, sizes, sizes, sizes)
def test_only_the_parameters_of_the_range_are_updated(draw: Draw, optimizer, before, n_vectors, after):
    dtype, lanes = draw.dtype, draw.padded(1)
    begin, end = before * lanes, (before + n_vectors) * lanes
    size = end + after * lanes
    parameters, gradients = draw.array(size), draw.array(2, size)
    state, (c,) = np.abs(draw.array(len(optimizer.initial_state), size)), coefficients(optimizer, 1, dtype)
    kept = parameters.copy(), state.copy()
    l2, l1, shrink = (dtype.type(number) for number in (0.1, 0.2, 0.5))
    part = slice(begin, end)
    expected = [parameters[part].copy(), state[:, part].copy()]
    compiled.update(optimizer.rule)(
        read_only(gradients), parameters, state, read_only(c), l2, l1, shrink, begin, end, 0
    )
    # Other parameters stay as they were. The update depends neither on them nor on the gradient's offset.
    alone = read_only(np.ascontiguousarray(gradients[:, part])), read_only(c), l2, l1, shrink
    shifted = kept[0].copy(), kept[1].copy()
    compiled.update(optimizer.rule)(alone[0], *shifted, *alone[1:], begin, end, begin)
    for now, then in zip(shifted, (parameters, state), strict=True):
        np.testing.assert_array_equal(now, then)
    compiled.update(optimizer.rule)(alone[0], *expected, *alone[1:], 0, end - begin, 0)
    np.testing.assert_array_equal(parameters[part], expected[0])
    np.testing.assert_array_equal(state[:, part], expected[1])
    for now, then in zip((parameters, state), kept, strict=True):
        now[..., part] = then[..., part]
        np.testing.assert_array_equal(now, then)


@given(draws, chosen, st.integers(1, 20), st.integers(2, 8))
def test_gradients_are_added_in_their_order(draw: Draw, optimizer, n_vectors, n_gradients):
    # To the last bit: a training must not depend on the threads that computed the gradients.
    dtype, size = draw.dtype, n_vectors * draw.padded(1)
    gradients = draw.array(n_gradients, size)
    results = []
    parameters, (c,) = draw.array(size), coefficients(optimizer, 1, dtype)
    for rows in (gradients, sum_in_order(gradients)[None]):
        p, state = parameters.copy(), initial_state(optimizer, size, dtype)
        numbers = (dtype.type(number) for number in (0.1, 0.2, 0.5))
        compiled.update(optimizer.rule)(read_only(rows), p, state, read_only(c), *numbers, 0, size, 0)
        norm = compiled.gradient_square_sum(read_only(rows), 0, size)
        results.append((p, state, norm))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@each_optimizer
@each_dtype
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_updates_report_parameters_that_are_not_finite(optimizer, dtype, value):
    size = 3 * padded(1, dtype)
    (c,) = coefficients(optimizer, 1, dtype)
    zero, one = dtype.type(0), dtype.type(1)
    for position in (0, 3, padded(1, dtype), size - 1):
        parameters, gradients = np.ones(size, dtype), np.ones((1, size), dtype)
        parameters[position] = value
        twin, state = parameters.copy(), initial_state(optimizer, size, dtype)
        arguments = read_only(gradients), parameters, state.copy(), read_only(c), zero, zero, one
        assert not compiled.update(optimizer.rule)(*arguments, 0, size, 0)
        with np.errstate(invalid="ignore"):
            assert not reference.update(
                optimizer.name, gradients[0], twin, state, named(optimizer, 0), zero, zero
            )


@each_dtype
def test_finite_parameters_with_an_infinite_sum_are_finite(dtype):
    size = 40 * padded(1, dtype)
    c, zero, one = coefficients(optimizers.SGD(), 1, dtype)[0], dtype.type(0), dtype.type(1)
    for sign in (np.ones(size), np.resize([1, -1], size)):
        parameters = (0.9 * np.finfo(dtype).max * sign).astype(dtype)
        gradient, state = read_only(np.zeros((1, size), dtype)), np.zeros((0, size), dtype)
        arguments = gradient, parameters, state, read_only(c), zero, zero, one
        assert compiled.update("sgd")(*arguments, 0, size, 0)
        parameters[size // 2] = np.inf
        assert not compiled.update("sgd")(*arguments, 0, size, 0)
        assert compiled.update("sgd")(*arguments, 0, size // 2, 0)


ROOTS = [
    optimizers.Adagrad(eps=0.0),
    optimizers.RMSprop(eps=0.0),
    optimizers.Adam(eps=0.0),
    optimizers.Adam((0.9, 0.0), eps=0.0),
    optimizers.AdamW(eps=0.0),
]


@each_dtype
@pytest.mark.parametrize("optimizer", ROOTS, ids=str)
def test_kernel_and_reference_agree_at_the_limits_of_the_dtype(optimizer, dtype):
    """Squares of the gradients underflow or overflow; the second step has a gradient of 0."""
    info = np.finfo(dtype)
    values = np.array(
        [0, info.tiny, 4 * info.tiny, info.tiny**0.5, 1e-20, 1, 0.99 * info.max**0.5, info.max**0.75]
    )
    size = 8 * padded(1, dtype)
    g = np.resize(np.concatenate([values, -values]), size).astype(dtype)
    sides = [(np.ones(size, dtype), initial_state(optimizer, size, dtype)) for _ in range(2)]
    table = coefficients(optimizer, 3, dtype)
    for step, (c, gradient) in enumerate(zip(table, (g, 0 * g, g), strict=True)):
        kernel, twin = sides
        zero = dtype.type(0)
        with np.errstate(all="ignore"):
            compiled.update(optimizer.rule)(
                read_only(gradient[None]), *kernel, read_only(c), zero, zero, dtype.type(1), 0, size, 0
            )
            reference.update(optimizer.name, gradient, *twin, named(optimizer, step), zero, zero)
        np.testing.assert_allclose(kernel[0], twin[0], rtol=20 * info.eps, atol=20 * info.eps)


def by_hand(optimizer, gradients):
    """Return a parameter, 1 at first, after steps of the published rules with rates 0.1 / (1 + step)."""
    p, v, s, m = 1.0, 0.0, 0.0, 0.0
    s = getattr(optimizer, "initial_accumulator_value", 0.0)
    for step, g in enumerate(gradients):
        rate = 0.1 / (1 + step)
        match optimizer.name:
            case "sgd":
                p -= rate * g
            case "momentum":
                damped = g if step == 0 else (1 - optimizer.dampening) * g
                if optimizer.rate_in_velocity:
                    v = optimizer.momentum * v + rate * damped
                    p -= v
                else:
                    v = optimizer.momentum * v + damped
                    p -= rate * v
            case "nesterov":
                if optimizer.rate_in_velocity:
                    v = optimizer.momentum * v + rate * g
                    p -= rate * g + optimizer.momentum * v
                else:
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
                corrections = 1 - first ** (step + 1), 1 - second ** (step + 1)
                if optimizer.eps_hat:
                    p -= rate * corrections[1] ** 0.5 / corrections[0] * m / (s**0.5 + optimizer.eps)
                else:
                    p -= rate * (m / corrections[0]) / ((s / corrections[1]) ** 0.5 + optimizer.eps)
    return p


@pytest.mark.parametrize("optimizer", LISTED, ids=str)
def test_reference_matches_the_rule_by_hand(optimizer):
    gradients = np.random.default_rng(0).normal(size=12)
    p, state = np.ones(1), initial_state(optimizer, 1, np.float64)
    for step, g in enumerate(gradients):
        assert reference.update(optimizer.name, np.array([g]), p, state, named(optimizer, step), 0.0, 0.0)
    assert p[0] == pytest.approx(by_hand(optimizer, gradients), rel=1e-13)


# An optimizer, scikit-learn's class for the same rule, that class's attribute of the rate, and its options.
PEERS = (
    (optimizers.Momentum(0.8, rate_in_velocity=True), peers.SGDOptimizer, "learning_rate",
     {"momentum": 0.8, "nesterov": False}),
    (optimizers.Nesterov(0.9, rate_in_velocity=True), peers.SGDOptimizer, "learning_rate",
     {"momentum": 0.9, "nesterov": True}),
    (optimizers.Nesterov(1.0, rate_in_velocity=True), peers.SGDOptimizer, "learning_rate",
     {"momentum": 1.0, "nesterov": True}),
    (optimizers.Adam(eps_hat=True), peers.AdamOptimizer, "learning_rate_init", {}),
    (optimizers.Adam((0.7, 0.95), eps=0.01, eps_hat=True), peers.AdamOptimizer, "learning_rate_init",
     {"beta_1": 0.7, "beta_2": 0.95, "epsilon": 0.01}),
)  # fmt: skip


@pytest.mark.parametrize(
    ("optimizer", "peer", "rate_name", "options"), PEERS, ids=[str(case[0]) for case in PEERS]
)
def test_twenty_steps_match_scikit_learn(optimizer, peer, rate_name, options):
    n_steps, size = 20, 3 * padded(1, np.dtype(np.float64))
    random = np.random.default_rng(0)
    parameters, gradients = random.normal(size=size), random.normal(size=(n_steps, size))
    theirs = [parameters.copy()]
    their_optimizer = peer(theirs, **options)
    sides = [(parameters.copy(), initial_state(optimizer, size, np.float64)) for _ in range(2)]
    table = coefficients(optimizer, n_steps, np.float64)
    for step, (g, c) in enumerate(zip(gradients, table, strict=True)):
        # Rates change from step to step: a velocity that contains the rate still moves by earlier rates.
        setattr(their_optimizer, rate_name, 0.1 / (1 + step))
        their_optimizer.update_params(theirs, [g])
        p, state = sides[0]
        assert reference.update(optimizer.name, g, p, state, named(optimizer, step), 0.0, 0.0)
        p, state = sides[1]
        assert compiled.update(optimizer.rule)(
            read_only(g[None]), p, state, read_only(c), 0.0, 0.0, 1.0, 0, size, 0
        )
        for p, _ in sides:
            np.testing.assert_allclose(p, theirs[0], rtol=1e-12, atol=1e-13)
    assert (np.abs(theirs[0] - parameters) > 1e-3).any()


def test_no_two_listed_optimizers_give_the_same_result():
    # If two did, the tests would not notice a switch without effect.
    gradients = np.random.default_rng(0).normal(size=12)
    results = np.sort([by_hand(optimizer, gradients) for optimizer in LISTED])
    assert (np.diff(results) > 1e-6).all()


def test_reference_adds_the_derivatives_of_both_penalties():
    parameters = np.array([1.0, -2.0, 0.0, 3.0])
    l2, l1 = np.array([0.2, 0.2, 0.2, 0]), np.array([0.1, 0.1, 0.1, 0])
    reference.update("sgd", np.full(4, 0.5), parameters, np.empty((0, 4)), {"rate": 0.1}, l2, l1)
    expected = [1 - 0.1 * (0.5 + 0.2 + 0.1), -2 - 0.1 * (0.5 - 0.4 - 0.1), -0.1 * 0.5, 3 - 0.1 * 0.5]
    np.testing.assert_allclose(parameters, expected, rtol=1e-15)


# --- averages, norms and sums of squares ---------------------------------------------------------


@given(draws, sizes, sizes, st.sampled_from([0.0, 1e-3, 0.3, 1.0]))
def test_average_matches_the_reference(draw: Draw, n_vectors, after, share):
    lanes = draw.padded(1)
    end, size = n_vectors * lanes, (n_vectors + after) * lanes
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
def test_limit_norms_matches_the_reference(draw: Draw, n_in, n_out, limit):
    W = draw.array(n_in, n_out)
    W[:, 0] = 0
    expected, before = wide(W), W.copy()
    reference.limit_norms(expected, limit)
    buffers = Windows(W)
    compiled.limit_norms(buffers.views[0], limit)
    np.testing.assert_allclose(buffers.views[0], expected, rtol=tolerance(draw.dtype))
    assert buffers.are_kept_apart()
    norms = np.linalg.norm(wide(before), axis=0)
    np.testing.assert_allclose(
        np.linalg.norm(expected, axis=0), np.minimum(norms, limit), rtol=1e-13
    )  # fmt: skip
    small = norms <= limit * (1 - 1e-6)
    np.testing.assert_array_equal(buffers.views[0][:, small], before[:, small])


@given(draws, sizes, sizes, counts)
def test_gradient_square_sum_matches_numpy(draw: Draw, before, n_vectors, n_gradients):
    lanes = draw.padded(1)
    begin, end = before * lanes, (before + n_vectors) * lanes
    gradients = draw.array(n_gradients, end + lanes)
    total = compiled.gradient_square_sum(read_only(gradients), begin, end)
    exact = wide(gradients[:, begin:end]).sum(axis=0)
    magnitudes = np.abs(gradients[:, begin:end]).sum(axis=0)
    # Gradients are added in their dtype, squares in float64.
    error = tolerance(draw.dtype, 2 * n_gradients) + tolerance(np.dtype(np.float64), end - begin)
    assert abs(total - (exact**2).sum()) <= error * (wide(magnitudes) ** 2).sum()


@given(draws, sizes, sizes, sizes)
def test_parameter_square_sum_matches_numpy(draw: Draw, before, n_vectors, after):
    lanes = draw.padded(1)
    begin, end = before * lanes, (before + n_vectors) * lanes
    parameters = draw.array(end + after * lanes)
    total = compiled.parameter_square_sum(read_only(parameters), begin, end)
    exact = (wide(parameters[begin:end]) ** 2).sum()
    assert abs(total - exact) <= tolerance(draw.dtype, end - begin) * exact


def test_kernels_reference_and_public_classes_have_the_same_optimizers():
    by_name = {name: kind() for name, kind in optimizers.OPTIMIZERS.items() if name != "lbfgs"}
    assert reference.OPTIMIZERS.keys() == by_name.keys()
    assert compiled.OPTIMIZERS.keys() == {optimizer.rule for optimizer in by_name.values()}


# Numbers of state values for each parameter, by rule.
N_STATES = {"sgd": 0, "momentum": 1, "adagrad": 1, "rmsprop": 2, "adam": 2, "adamw": 2}


@each_optimizer
def test_optimizers_compute_all_coefficients_of_their_rules(optimizer):
    # A kernel would read a missing coefficient beyond the end of the array, without an error.
    table = coefficients(optimizer, 3, np.float64)
    assert table.shape[1] == compiled.OPTIMIZERS[optimizer.rule].n_coefficients
    if optimizer in LISTED:
        assert len(optimizer.initial_state) == N_STATES[optimizer.rule]
    assert (table[:, 0] > 0).all()
