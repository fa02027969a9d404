"""The parameter update: kernels against the reference, which PyTorch's records and scikit-learn confirm."""

import numpy as np
import pytest
from comparisons import call_kernel, twin_results
from example_counts import with_examples
from hypothesis import given
from hypothesis import strategies as st
from strategies import Draw, Windows, draws, padded, read_only, tolerance, wide

from fastnn import optimizers
from fastnn.reference import update as reference
from fastnn_kernels import update as compiled
from fastnn_kernels.calls.formulas import update_pointer

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
UNLISTED = {*optimizers.STEPPING} - {optimizer.name for optimizer in LISTED}
OPTIMIZERS = (*LISTED, *(optimizers.OPTIMIZERS[name]() for name in sorted(UNLISTED)))
every_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
chosen = st.sampled_from(OPTIMIZERS)
sizes = st.integers(0, 20)  # numbers of whole vectors of parameters
counts = st.integers(1, 5)
rates = st.sampled_from([0.0, 1e-3, 0.1, 2.0])


def coefficients(optimizer, n_steps, dtype):
    steps = np.arange(n_steps)
    return np.ascontiguousarray(optimizer.coefficients(0.1 / (1 + steps), steps), dtype)


def name_coefficients(optimizer, step):
    return {"rate": 0.1 / (1 + step), "step": step, **optimizer.hyperparameters}


def make_state(optimizer, size, dtype):
    return np.repeat(np.array(optimizer.initial_state, dtype)[:, None], size, axis=1)


@with_examples(120)
@given(
    draws, chosen, sizes, counts, st.integers(0, 4), rates, rates, st.sampled_from([1.0, 0.3]), st.booleans()
)
def test_a_step_matches_the_reference(
    draw: Draw, optimizer, n_vectors, n_gradients, step, l2, l1, shrink, plain
):
    """The derivative is shrunk and regularised; a plain update takes a single gradient as it is."""
    dtype, size = draw.dtype, n_vectors * draw.padded(1)
    parameters, gradients = draw.array(size), draw.array(1 if plain else n_gradients, size)
    parameters[::3] = 0  # where |p| has its kink
    state = np.abs(draw.array(len(optimizer.initial_state), size))
    c, numbers = coefficients(optimizer, 5, dtype)[step], np.array([l2, l1, shrink], dtype)
    names = name_coefficients(optimizer, step)

    def twin(parameters, state, gradients):
        l2, l1, shrink = (0.0, 0.0, 1.0) if plain else map(float, numbers)
        gradient = shrink * gradients.sum(axis=0)
        assert reference.update(optimizer.name, gradient, parameters, state, names, l2, l1)
        return parameters, state

    expected = list(twin_results(twin, (parameters, state, gradients), draw.random))
    buffers = Windows(parameters, state)
    kernel = update_pointer(optimizer.rule, not plain, dtype, plain)
    assert kernel(gradients, *buffers.views, c, *numbers, 0, size)
    for ours, (theirs, error) in zip(buffers.views, expected, strict=True):
        assert (np.abs(ours - theirs) <= error).all()
    assert buffers.are_kept_apart()


@given(draws, chosen, sizes, st.integers(1, 20), sizes, st.integers(2, 8))
def test_the_range_and_the_order_of_gradients_do_not_change_a_bit(
    draw: Draw, optimizer, before, n_vectors, after, n_gradients
):
    """Parameters outside of the range stay; gradients are added in their order, whoever computed them."""
    dtype, lanes = draw.dtype, draw.padded(1)
    begin, end = before * lanes, (before + n_vectors) * lanes
    part, size = slice(begin, end), end + after * lanes
    parameters, gradients = draw.array(size), draw.array(n_gradients, size)
    state, (c,) = np.abs(draw.array(len(optimizer.initial_state), size)), coefficients(optimizer, 1, dtype)
    numbers = [dtype.type(number) for number in (0.1, 0.2, 0.5)]
    kernel = update_pointer(optimizer.rule, True, dtype)

    def update(gradients, p, state, *span):
        p, state = p.copy(), state.copy()
        kernel(np.ascontiguousarray(gradients), p, state, c, *numbers, *span)
        return p, state

    expected = update(gradients[:, part], parameters[part], state[:, part], 0, end - begin)
    total = gradients[0].copy()
    for gradient in gradients[1:]:
        total += gradient
    for results in (update(some, parameters, state, begin, end) for some in (gradients, total[None])):
        for now, then, new in zip(results, (parameters, state), expected, strict=True):
            np.testing.assert_array_equal(now[..., part], new)
            now[..., part] = then[..., part]
            np.testing.assert_array_equal(now, then)
    sums = [compiled.sum_gradient_squares(read_only(rows), begin, end) for rows in (gradients, total[None])]
    assert sums[0] == sums[1]


@every_optimizer
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_updates_report_parameters_that_are_not_finite(optimizer, dtype, value):
    size = 3 * padded(1, dtype)
    (c,), zero = coefficients(optimizer, 1, dtype), dtype.type(0)
    for position in (0, 3, padded(1, dtype), size - 1):
        parameters, gradients = np.ones(size, dtype), np.ones((1, size), dtype)
        parameters[position] = value
        twin, state = parameters.copy(), make_state(optimizer, size, dtype)
        arguments = gradients, parameters, state.copy(), c, zero, zero, dtype.type(1)
        assert not compiled.are_finite(read_only(parameters), 0, size)
        assert not update_pointer(optimizer.rule, True, dtype)(*arguments, 0, size)
        with np.errstate(invalid="ignore"):
            names = name_coefficients(optimizer, 0)
            assert not reference.update(optimizer.name, gradients[0], twin, state, names, zero, zero)
        parameters[position] = 1
        parameters *= 0.9 * np.finfo(dtype).max  # finite, though the sum is infinite
        assert compiled.are_finite(read_only(parameters), 0, size)


ROOTS = [one(eps=0.0) for one in (optimizers.Adagrad, optimizers.RMSprop, optimizers.Adam, optimizers.AdamW)]


@pytest.mark.parametrize("optimizer", [*ROOTS, optimizers.Adam((0.9, 0.0), eps=0.0)], ids=str)
def test_kernel_and_reference_agree_at_the_limits_of_the_dtype(optimizer, dtype):
    """Squares of the gradients underflow or overflow; the second step has a gradient of 0."""
    info = np.finfo(dtype)
    values = np.array(
        [0, info.tiny, 4 * info.tiny, info.tiny**0.5, 1e-20, 1, 0.99 * info.max**0.5, info.max**0.75]
    )
    size, zero = 8 * padded(1, dtype), dtype.type(0)
    g = np.resize(np.concatenate([values, -values]), size).astype(dtype)
    kernel, twin = [(np.ones(size, dtype), make_state(optimizer, size, dtype)) for _ in range(2)]
    table = coefficients(optimizer, 3, dtype)
    for step, (c, gradient) in enumerate(zip(table, (g, 0 * g, g), strict=True)):
        with np.errstate(all="ignore"):
            update = update_pointer(optimizer.rule, True, dtype)
            update(gradient[None], *kernel, c, zero, zero, dtype.type(1), 0, size)
            names = name_coefficients(optimizer, step)
            reference.update(optimizer.name, gradient, *twin, names, zero, zero)
        np.testing.assert_allclose(kernel[0], twin[0], rtol=20 * info.eps, atol=20 * info.eps)


@every_optimizer
def test_optimizers_compute_all_coefficients_of_their_rules(optimizer):
    # A kernel would read a missing coefficient beyond the end of the array, without an error.
    table = coefficients(optimizer, 3, np.float64)
    assert table.shape[1] == compiled.OPTIMIZERS[optimizer.rule].n_coefficients
    assert (table[:, 0] > 0).all()


@given(draws, sizes, sizes, st.sampled_from([0.0, 1e-3, 0.3, 1.0]))
def test_average_matches_the_reference(draw: Draw, n_vectors, after, share):
    end, size = n_vectors * draw.padded(1), (n_vectors + after) * draw.padded(1)
    parameters, average, share = draw.array(size), draw.array(size), draw.dtype.type(share)
    expected, scale = wide(average), np.abs(average) + np.abs(parameters)
    reference.add_to_average(wide(parameters[:end]), float(share), expected[:end])
    compiled.add_to_average(read_only(parameters), share, 0, end, average)
    assert (np.abs(average - expected) <= tolerance(draw.dtype) * scale)[:end].all()
    np.testing.assert_array_equal(average[end:], expected[end:])


@given(draws, st.integers(1, 40), st.integers(1, 20), st.sampled_from([0.01, 0.5, 3.0, 100.0]))
def test_limit_norms_matches_the_reference(draw: Draw, n_in, n_out, limit):
    W = draw.array(n_in, n_out)
    W[:, 0] = 0
    expected, norms = wide(W), np.linalg.norm(wide(W), axis=0)
    reference.limit_norms(expected, limit)
    (limited,) = call_kernel(lambda W: compiled.limit_norms(W, limit), [], [W])
    np.testing.assert_allclose(limited, expected, rtol=tolerance(draw.dtype))
    np.testing.assert_allclose(np.linalg.norm(expected, axis=0), np.minimum(norms, limit), rtol=1e-13)
    small = norms <= limit * (1 - 1e-6)
    np.testing.assert_array_equal(limited[:, small], W[:, small])


@given(draws, sizes, sizes, counts)
def test_sums_of_squares_match_numpy(draw: Draw, before, n_vectors, n_gradients):
    lanes = draw.padded(1)
    begin, end = before * lanes, (before + n_vectors) * lanes
    gradients = draw.array(n_gradients, end + lanes)
    part, double = gradients[:, begin:end], np.dtype(np.float64)
    # Gradients are added in their dtype, squares in float64; squares of parameters in the parameters' dtype.
    error = tolerance(draw.dtype, 2 * n_gradients) + tolerance(double, end - begin)
    bound = error * (wide(np.abs(part).sum(axis=0)) ** 2).sum()
    total = compiled.sum_gradient_squares(read_only(gradients), begin, end)
    assert abs(total - (wide(part).sum(axis=0) ** 2).sum()) <= bound
    total = compiled.sum_parameter_squares(read_only(gradients[0]), begin, end)
    exact = (wide(part[0]) ** 2).sum()
    assert abs(total - exact) <= tolerance(draw.dtype, end - begin) * exact
