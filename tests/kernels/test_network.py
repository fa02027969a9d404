"""Networks: their description, and forward and backward passes of the kernels against the reference."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_packages import copying
from strategies import (
    DTYPES,
    PARTS,
    RECIPES,
    is_padding,
    keys,
    networks,
    sample_weights,
    seeds,
    targets,
    untouched,
    wide,
)

from fastnn.engine.tiles import tile_width, widest_tile
from fastnn.network.description import ALIGNMENT, Network, aligned_empty
from fastnn.network.initialization import INITIALIZERS
from fastnn.reference import network as reference
from fastnn.reference.layer import ACTIVATIONS
from fastnn.reference.norm import EPS
from fastnn.reference.train import gather_gradient, loss_and_gradient
from fastnn_kernels import network as compiled
from fastnn_kernels.calls import prediction as plans
from fastnn_kernels.calls.formulas import backward_table, forward_table
from fastnn_kernels.calls.training import Batch


def random_parameters(network, random):
    """Return parameters that are 0 only where they belong to no layer."""
    parameters = aligned_empty(network.n_parameters, network.dtype)
    parameters[...] = 0
    for part in PARTS:
        for view in part(network, parameters):
            if view is not None:
                view[...] = random.normal(size=view.shape)
    return parameters


def random_statistics(network, random):
    statistics = network.initial_statistics()
    for running in network.running(statistics):
        if running is not None:
            running[0] = random.normal(size=running.shape[1])
            running[1] = random.uniform(0.1, 3, running.shape[1])
    return statistics


def reference_batch(network, parameters, statistics, weights, key):
    return reference.Batch(
        weights, network.scales(parameters), network.shifts(parameters), network.running(statistics),
        network.dropout or (0.0,) * len(network.shapes), key,
    )  # fmt: skip


def layer_units(chain, kind):
    """Return the unit of this kind in every layer, None for a layer without one."""
    layers = []
    for unit in chain:
        if isinstance(unit, reference.Affine):
            layers.append(None)
        if isinstance(unit, kind):
            layers[-1] = unit
    return layers


def rows(units, plan, layer, column, T):
    """Return the rows of a workspace to which a column of the plan points."""
    begin = plan[layer, column] * T
    return units[begin : begin + plan[layer, plans.OUTPUTS] * T].reshape(-1, T)


@given(networks(), st.integers(1, 40), seeds, keys)
def test_passes_match_the_reference(network: Network, count, seed, key):
    random = np.random.default_rng(seed)
    dtype = network.dtype
    T = network.whole_tile(count)
    parameters, statistics = random_parameters(network, random), random_statistics(network, random)
    X = random.normal(size=(network.n_inputs, T)).astype(dtype)
    weights = np.zeros((1, T), dtype)
    weights[0, :count] = sample_weights(count, random)
    dS = (random.normal(size=(network.n_outputs, T)) * (weights > 0)).astype(dtype)

    exact, moved = wide(parameters), wide(statistics)
    batch = reference_batch(network, exact, moved, wide(weights[0]), key)
    W = network.weights(exact)
    chain = reference.chain_of(network.activations, W, network.biases(exact), batch)
    reference.forward_pass(chain, wide(X.T))
    reference.backward_pass(chain, wide(dS.T))
    affines, activations = layer_units(chain, reference.Affine), layer_units(chain, reference.Activation)
    normalisations = layer_units(chain, reference.Normalisation)

    layout = network.training_layout
    plan, kind = layout.plan, (network.batch_norm, bool(network.dropout), False)
    named = network.kernel_activations, dtype
    batch = Batch(weights, statistics, np.array(network.dropout), np.uint64(key), 0)
    units = untouched((layout.n_units * T,), dtype)
    compiled.forward_pass(*kind)(forward_table(*named), plan, parameters, parameters, X, units, batch)
    # Every layer rounds, and a normalisation divides these errors by the standard deviation.
    magnified = np.prod([max(np.max(unit.inverse), 1) for unit in normalisations if unit is not None])
    error = 2000 * np.finfo(dtype).eps * magnified
    values = [*(unit.X for unit in affines), *(array for unit in activations for array in (unit.Z, unit.A))]
    largest = max(1.0, *(np.abs(array).max() for array in values))

    def check(actual, expected, largest=largest):
        np.testing.assert_allclose(actual, expected, rtol=error, atol=error * largest)

    for layer, activation in enumerate(activations):
        check(rows(units, plan, layer, plans.UNITS, T), activation.A.T)
        if ACTIVATIONS[network.activations[layer]].needs_sums:
            check(rows(units, plan, layer, plans.SUMS, T), activation.Z.T)
        if normalisations[layer] is not None:
            check(rows(units, plan, layer, plans.NORMALISED, T), normalisations[layer].N.T)
        if plan[layer, plans.SOURCE] >= 0:
            begin = plan[layer, plans.SOURCE] * T
            check(units[begin : begin + network.shapes[layer][0] * T].reshape(-1, T), affines[layer].X.T)
    assert np.isfinite(units).all(), "the forward pass must write all rows of the workspace"
    for ours, theirs in zip(network.running(statistics), network.running(moved), strict=True):
        if ours is not None:
            check(ours, theirs, largest**2)
    np.testing.assert_array_equal(
        copying(compiled.last_outputs)((plan, T, units), np.empty((network.n_outputs, T), dtype)),
        rows(units, plan, -1, plans.UNITS, T),
    )

    dunits = untouched((layout.n_dunits * T,), dtype)
    rows(dunits, plan, -1, plans.DUNITS, T)[...] = dS
    scratch = untouched((T * network.whole_tile(max(n_out for _, n_out in network.shapes)),), dtype)
    gradient = np.where(is_padding(network), 0, np.nan).astype(dtype)
    backward = functools.partial(compiled.backward_pass(*kind), backward_table(*named))
    backward(plan, parameters, X, units, dunits.copy(), scratch, gradient, False, batch)
    if not network.batch_norm:  # else a batch is one tile, and gradients are never added
        twice = gradient.copy()
        backward(plan, parameters, X, units, dunits, scratch, twice, True, batch)
        check(twice, 2 * gradient, largest * max(1.0, np.abs(gradient).max()))
    expected = np.zeros_like(exact)
    gather_gradient(network, chain, expected)
    check(gradient, expected, largest * max(1.0, np.abs(expected).max()))
    assert (gradient[is_padding(network)] == 0).all()


@given(networks(), st.integers(2, 8), seeds, keys)
def test_reference_gradient_matches_central_differences(network: Network, count, seed, key):
    network = replace(network, dtype=DTYPES[0])
    random = np.random.default_rng(seed)
    parameters = 0.5 * random_parameters(network, random)
    X = random.normal(size=(count, network.n_inputs))
    y = targets(network.loss, network.n_outputs, count, network.dtype, random)
    y = y[:, 0] if network.loss.of_labels else y
    weights = sample_weights(count, random)

    def evaluate(values):
        return loss_and_gradient(network, values, network.initial_statistics(), X, y, weights, key)

    loss, gradient = evaluate(parameters)
    scale = max(1.0, abs(loss), np.abs(gradient).max())
    n_kinks = 0
    for k in random.permutation(np.flatnonzero(~is_padding(network)))[:20]:
        step = np.zeros_like(parameters)
        step[k] = 1e-6
        above, below = evaluate(parameters + step)[0], evaluate(parameters - step)[0]
        # A difference across a jump of the derivative approximates nothing: skip it.
        if abs(above - 2 * loss + below) > 1e-9 * scale:
            n_kinks += 1
            continue
        assert gradient[k] == pytest.approx((above - below) / 2e-6, rel=1e-5, abs=1e-7 * scale)
    assert n_kinks <= 5
    assert (gradient[is_padding(network)] == 0).all()


# --- the flat vectors ----------------------------------------------------------------------------


@given(networks())
def test_views_share_the_flat_vector_weights_first(network: Network):
    parameters = np.arange(network.n_parameters, dtype=np.float64)
    views = [[view for view in part(network, parameters) if view is not None] for part in PARTS]
    W, b, scales, shifts = views
    hidden = [(1, n_out) for _, n_out in network.shapes[:-1]] if network.batch_norm else []
    assert [view.shape for view in W] == list(network.shapes)
    assert [view.shape for view in b] == [(1, n_out) for _, n_out in network.shapes]
    assert [view.shape for view in scales] == [view.shape for view in shifts] == hidden
    # Each element is in one view, without gaps. Padding to a cache line follows the weights and the others.
    indices = np.concatenate([view.ravel() for view in W]).astype(int)
    np.testing.assert_array_equal(indices, np.arange(indices.size))
    lanes = ALIGNMENT // network.dtype.itemsize
    assert 0 <= network.n_weights - indices.size < lanes
    others = np.concatenate([view.ravel() for part in (b, scales, shifts) for view in part]).astype(int)
    np.testing.assert_array_equal(np.sort(others), network.n_weights + np.arange(others.size))
    assert 0 <= network.n_parameters - network.n_weights - others.size < lanes
    assert network.n_weights % lanes == network.n_parameters % lanes == 0
    assert all(np.shares_memory(view, parameters) for part in views for view in part)
    assert is_padding(network).sum() == network.n_parameters - indices.size - others.size


@given(networks())
def test_initial_scales_shifts_and_statistics_are_neutral(network: Network):
    parameters = network.draw_parameters(np.random.RandomState(0))
    assert parameters.dtype == network.dtype
    assert (parameters[is_padding(network)] == 0).all()
    for scale, shift in zip(network.scales(parameters), network.shifts(parameters), strict=True):
        assert scale is None or ((scale == 1).all() and (shift == 0).all())
    statistics = network.initial_statistics()
    assert statistics.size == network.n_statistics
    for (_, n_out), running in zip(network.shapes, network.running(statistics), strict=True):
        if running is not None:
            assert running.shape == (2, n_out)
            np.testing.assert_array_equal(running, np.repeat([[0.0], [1.0]], n_out, axis=1))
    n_normalised = len(network.shapes) - 1 if network.batch_norm else 0
    assert sum(running is not None for running in network.running(statistics)) == n_normalised


@given(networks(), seeds)
def test_conversion_to_another_dtype_keeps_the_parameters(network: Network, seed):
    other = replace(network, dtype=next(dtype for dtype in DTYPES if dtype != network.dtype))
    parameters = random_parameters(network, np.random.default_rng(seed))
    converted = other.converted(network, parameters)
    assert converted.dtype == other.dtype
    assert converted.size == other.n_parameters
    assert (converted[is_padding(other)] == 0).all()
    for part in PARTS:
        for ours, theirs in zip(part(other, converted), part(network, parameters), strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                np.testing.assert_array_equal(ours, theirs.astype(other.dtype))


@given(networks(), seeds)
def test_folded_parameters_predict_as_the_normalised_network(network: Network, seed):
    network = replace(network, batch_norm=True)
    random = np.random.default_rng(seed)
    parameters, statistics = random_parameters(network, random), random_statistics(network, random)
    X = random.normal(size=(7, network.n_inputs))
    folded = network.folded(parameters, statistics)
    assert folded.dtype == network.dtype
    assert folded.size == network.n_parameters
    # The prediction with running statistics, layer by layer in float64.
    exact, statistics = wide(parameters), wide(statistics)
    A, largest = X, 1.0
    for layer, name in enumerate(network.activations):
        Z = A @ network.weights(exact)[layer] + network.biases(exact)[layer]
        if (running := network.running(statistics)[layer]) is not None:
            Z = (Z - running[0]) / np.sqrt(running[1] + EPS)
            Z = Z * network.scales(exact)[layer] + network.shifts(exact)[layer]
        A = ACTIVATIONS[name].value(Z)
        largest = max(largest, np.abs(Z).max())
    ours = wide(folded)
    S = reference.scores(network.activations, network.weights(ours), network.biases(ours), X)
    np.testing.assert_allclose(S, A, rtol=0, atol=500 * np.finfo(network.dtype).eps * largest)
    # Without batch normalisation there is nothing to fold, and no copy.
    assert np.shares_memory(replace(network, batch_norm=False).folded(parameters, statistics), parameters)


# --- layouts -------------------------------------------------------------------------------------


def regions(network, layout):
    """Return first row and number of rows of every region of the workspace that the plan assigns."""
    found = set()
    for layer, (n_in, n_out) in enumerate(network.shapes):
        row = layout.plan[layer]
        assert tuple(row[[plans.INPUTS, plans.OUTPUTS]]) == (n_in, n_out)
        found |= {(row[column], n_out) for column in (plans.SUMS, plans.UNITS)}
        found |= {(row[plans.NORMALISED], n_out)} if row[plans.NORMALISED] >= 0 else set()
        found |= {(row[plans.SOURCE], n_in)} if row[plans.SOURCE] >= 0 else set()
    return sorted(found)


@given(networks())
def test_layouts_place_regions_without_gaps_or_overlap(network: Network):
    for layout in (network.layout, network.training_layout):
        end = 0
        for begin, size in regions(network, layout):
            assert begin == end
            end += size
        assert end == layout.n_units
        widest = max(network.layers_dim[1:])
        assert layout.n_dunits == 2 * widest
        positions = layout.plan[:, plans.DUNITS]
        assert set(positions) <= {0, widest}
        assert (np.diff(positions) != 0).all(), "neighbouring layers must not share a region of derivatives"


@given(networks())
def test_only_training_layouts_keep_what_the_backward_pass_needs(network: Network):
    prediction, training = network.layout.plan, network.training_layout.plan
    rates = network.dropout or (0.0,) * len(network.shapes)
    for layer, name in enumerate(network.activations):
        below = prediction[layer - 1, plans.UNITS] if layer else -1
        assert prediction[layer, plans.SOURCE] == below
        assert prediction[layer, plans.SUMS] == prediction[layer, plans.UNITS]
        assert prediction[layer, plans.NORMALISED] == prediction[layer, plans.STATISTICS] == -1
        below = training[layer - 1, plans.UNITS] if layer else -1
        assert (training[layer, plans.SOURCE] == below) == (rates[layer] == 0)
        kept = training[layer, plans.SUMS] != training[layer, plans.UNITS]
        assert kept == ACTIVATIONS[name].needs_sums
        normalised = network.batch_norm and layer < len(network.shapes) - 1
        for column in (plans.NORMALISED, plans.STATISTICS, plans.SCALES, plans.SHIFTS):
            assert (training[layer, column] >= 0) == normalised
        for plan in (prediction, training):
            assert network.kernel_activations[plan[layer, plans.ACTIVATION]] == name


def test_the_plan_points_to_the_views():
    network = Network.create([3, 4, 5, 2], "tanh", "identity", np.float32, batch_norm=True)
    parameters = np.arange(network.n_parameters, dtype=np.float64)
    plan = network.training_layout.plan
    columns = plans.WEIGHTS, plans.BIASES, plans.SCALES, plans.SHIFTS
    for column, part in zip(columns, PARTS, strict=True):
        for layer, view in enumerate(part(network, parameters)):
            assert plan[layer, column] == (-1 if view is None else view[0, 0])
    statistics = np.arange(network.n_statistics, dtype=np.float64)
    for layer, view in enumerate(network.running(statistics)):
        assert plan[layer, plans.STATISTICS] == (-1 if view is None else view[0, 0])


@given(networks(), st.integers(1, 5000))
def test_tiles_are_whole_cache_lines(network: Network, count):
    T = tile_width(network, count)
    assert T * network.dtype.itemsize % ALIGNMENT == 0
    n_tiles = -(-count // T)
    assert (n_tiles - 1) * T < count <= n_tiles * T
    assert widest_tile(network) + ALIGNMENT // network.dtype.itemsize >= T
    whole = network.whole_tile(count)
    assert whole * network.dtype.itemsize % ALIGNMENT == 0
    assert 0 <= whole - count < ALIGNMENT // network.dtype.itemsize


@given(st.integers(1, 300), st.sampled_from(DTYPES))
def test_aligned_empty_begins_at_a_cache_line(size, dtype):
    array = aligned_empty(size, dtype)
    assert array.shape == (size,)
    assert array.dtype == dtype
    assert array.ctypes.data % ALIGNMENT == 0


# --- initialisation ------------------------------------------------------------------------------


def test_initialisation_draws_in_the_tutorials_order():
    network = Network.create([2, 3, 4], "tanh", "tanh", np.float64)
    parameters = network.draw_parameters(np.random.RandomState(7))
    expected = np.random.RandomState(7)
    for W, b in zip(network.weights(parameters), network.biases(parameters), strict=True):
        np.testing.assert_array_equal(W, expected.randn(*W.shape) / np.sqrt(W.shape[0]))
        np.testing.assert_array_equal(b, expected.randn(b.shape[1]).reshape(1, -1))


VARIANCES = {
    "tutorial": lambda n_in, n_out: 1 / n_in,
    "glorot_uniform": lambda n_in, n_out: 2 / (n_in + n_out),
    "glorot_normal": lambda n_in, n_out: 2 / (n_in + n_out),
    "he_uniform": lambda n_in, n_out: 2 / n_in,
    "he_normal": lambda n_in, n_out: 2 / n_in,
    "lecun_normal": lambda n_in, n_out: 1 / n_in,
    "orthogonal": lambda n_in, n_out: 1 / max(n_in, n_out),
}


@pytest.mark.parametrize("init", sorted(INITIALIZERS))
@pytest.mark.parametrize("shape", [(200, 100), (80, 250)])
def test_initial_weights_have_the_variance_of_their_initializer(init, shape):
    network = Network.create(shape, output_activation="identity")
    parameters = network.draw_parameters(np.random.RandomState(0), init)
    (W,), (b,) = network.weights(parameters), network.biases(parameters)
    assert W.var() == pytest.approx(VARIANCES[init](*shape), rel=0.05)
    assert abs(W.mean()) < 5 * W.std() / np.sqrt(W.size)
    if init.endswith("uniform"):
        assert np.abs(W).max() <= np.sqrt(3 * VARIANCES[init](*shape))
    if init == "orthogonal":
        Q = W if shape[0] > shape[1] else W.T
        np.testing.assert_allclose(Q.T @ Q, np.eye(Q.shape[1]), atol=1e-13)
    assert (b.var() == pytest.approx(1, rel=0.5)) if init == "tutorial" else not b.any()


def test_recipes_cover_all_activations_losses_optimizers_and_switches():
    from fastnn.losses import LOSSES
    from fastnn.optimizers import OPTIMIZERS

    assert {name for recipe in RECIPES for name in (*recipe.hidden, recipe.output)} == ACTIVATIONS.keys()
    assert {recipe.loss.name for recipe in RECIPES} == LOSSES.keys()
    assert {recipe.optimizer.name for recipe in RECIPES} == OPTIMIZERS.keys() - {"lbfgs"}
    for switch in ("gathered", "batch_norm", "dropped"):
        assert {getattr(recipe, switch) for recipe in RECIPES} == {False, True}
        assert {recipe.dtype for recipe in RECIPES if getattr(recipe, switch)} == set(DTYPES)
