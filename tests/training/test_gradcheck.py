"""The gradient check passes for all activations and losses, finds wrong derivatives, and leaves out kinks."""

import numpy as np
import pytest
from estimator_checks import state

import fastnn
from fastnn.losses import LOSSES
from fastnn.reference.layer import ACTIVATIONS, Tanh
from fastnn.reference.loss import LOSSES as FORMULAS

# Largest relative errors of smooth functions, and of piecewise functions away from their kinks.
SMOOTH, OFF_KINKS = 1e-7, 1e-4
PIECEWISE = {name for name, activation in ACTIVATIONS.items() if activation.kinks} | {
    name for name, loss in FORMULAS.items() if loss.kinks(np.zeros((1, 2)), np.zeros((1, 1)), 0.5)
}

random = np.random.default_rng(0)
N = 5
X = random.normal(size=(N, 2))
LABELS = random.integers(0, 3, N)
# Targets from 0 to 1, which every loss accepts.
TARGETS = random.random((N, 3))


def targets_for(model):
    if model.loss.only_bounds:
        return np.where(TARGETS > 0.5, 1, -1)
    return LABELS if model.loss.of_labels else TARGETS


def model_for(activation, loss, depth=1, backend="numpy", **options):
    options |= {"output_activation": "identity", "loss": loss, "random_state": depth, "backend": backend}
    return fastnn.Model([2, *[3] * depth, 3], activation=activation, **options)


# Every activation and every loss, with and without normalisation: a formula does not depend on the other's.
PAIRS = [
    (activation, (*LOSSES,)[(k + turn) % len(LOSSES)], batch_norm, depth)
    for k, activation in enumerate(ACTIVATIONS)
    for turn, batch_norm, depth in ((0, False, 1 + k % 3), (len(LOSSES) // 2, True, 3 - k % 3))
]


@pytest.mark.parametrize(("activation", "loss", "batch_norm", "depth"), PAIRS)
def test_the_check_passes_for_every_activation_and_loss_of_the_reference(activation, loss, batch_norm, depth):
    model = model_for(activation, loss, depth, batch_norm=batch_norm)
    report = model.check_gradients(X, targets_for(model), n_points=1, n_parameters=4)
    limit = OFF_KINKS if PIECEWISE & {activation, loss} else SMOOTH
    assert report.max_relative_error <= limit, str(report)
    checked = [array.n_checked for array in report.arrays]
    assert sum(checked) > 0.8 * sum(checked + [array.n_kinks for array in report.arrays])


def test_a_wrong_slope_is_found(monkeypatch):
    model = model_for("tanh", "softmax_cross_entropy", 2)
    assert model.check_gradients(X, LABELS, n_points=1).max_relative_error <= SMOOTH
    monkeypatch.setattr(Tanh, "slope", staticmethod(lambda A, Z=None: 1 - 0.99 * A**2))
    report = model.check_gradients(X, LABELS, n_points=1)
    assert report.max_relative_error > 1e-3
    # Gradients above the layer with the wrong derivative are right.
    errors = {array.name: array.max_relative_error for array in report.arrays}
    assert max(errors["W[2]"], errors["b[2]"]) <= SMOOTH
    assert min(errors["W[1]"], errors["W[0]"]) > 1e-3


@pytest.mark.parametrize("loss", LOSSES)
def test_a_wrong_loss_is_found_and_told_from_the_network(loss, monkeypatch):
    model = model_for("tanh", loss)
    right = FORMULAS[loss].slope
    monkeypatch.setattr(FORMULAS[loss], "slope", staticmethod(lambda S, y, p: 1.01 * right(S, y, p)))
    report = model.check_gradients(X, targets_for(model), n_points=1)
    *of_network, of_slope = report.arrays
    assert of_slope.name == f"slope of {loss}"
    assert of_slope.max_relative_error == report.max_relative_error > 1e-3
    assert max(array.max_relative_error for array in of_network) <= SMOOTH


def test_parameters_at_a_kink_are_left_out_and_counted():
    """For one sample, the sums of all relu units are 0: a difference across the kink is not a derivative."""
    model = model_for("relu", "squared_error")
    model.b[0][...] = 0
    report = model.check_gradients(np.vstack([np.zeros((1, 2)), X[1:]]), TARGETS, n_points=1)
    kinks = {array.name: array.n_kinks for array in report.arrays}
    assert kinks["b[0]"] == 3
    assert kinks["W[1]"] == kinks["b[1]"] == 0
    assert report.max_relative_error <= OFF_KINKS
    assert "3 at kinks not counted" in str(report)


def test_the_report_has_a_line_for_every_array_and_counts_what_was_checked():
    model = model_for("tanh", "squared_error", 2, batch_norm=True)
    report = model.check_gradients(X, TARGETS, n_points=2, n_parameters=2)
    assert isinstance(report, fastnn.GradientReport)
    names = ["W[0]", "b[0]", "scale[0]", "shift[0]", "W[1]", "b[1]", "scale[1]", "shift[1]", "W[2]", "b[2]"]
    names.append("slope of squared_error")
    for line, name, array in zip(str(report).splitlines(), names, report.arrays, strict=True):
        size = np.prod(array.shape)
        assert array.n_checked == 2 * (size if "slope" in name else min(size, 2))
        figures = f"max relative error {array.max_relative_error:.2e} ({array.n_checked} checked)"
        assert line.split() == f"{name} {array.shape} {figures}".split()
    assert report.max_relative_error == max(array.max_relative_error for array in report.arrays)
    same, others = (
        model.check_gradients(X, TARGETS, n_points=2, n_parameters=2, random_state=k) for k in (0, 1)
    )
    assert same == report != others


def test_n_samples_limits_the_samples_to_some_with_a_weight():
    many = np.random.default_rng(1).normal(size=(2000, 2))
    labels = (many[:, 0] > 0).astype(int)
    model = fastnn.Model([2, 3, 2], random_state=0)
    assert model.check_gradients(many, labels, n_samples=20).max_relative_error <= SMOOTH
    weights = np.zeros(2000)
    weights[[3, 700, 1999]] = 1.0
    report = model.check_gradients(many, labels, sample_weight=weights, n_samples=20)
    assert report == model.check_gradients(many[weights > 0], labels[weights > 0])
    for backend in ("numba", "numpy"):
        model = fastnn.Model([2, 3, 2], batch_norm=True, dropout=0.1, backend=backend, random_state=0)
        uneven = model.check_gradients(X, LABELS % 2, sample_weight=[0.5, 1.0, 2.5, 0.0, 0.3], n_points=1)
        assert uneven.max_relative_error <= SMOOTH


@pytest.mark.parametrize(
    ("backend", "options"), [("numba", {}), ("numpy", {"batch_norm": True, "dropout": 0.2})]
)
def test_the_check_does_not_change_the_model(backend, options, dtype):
    model = fastnn.Model([2, 3, 2], dtype=dtype, backend=backend, random_state=0, **options)
    before, global_state = state(model), np.random.get_state()[1].copy()
    report = model.check_gradients(X, LABELS % 2)
    np.testing.assert_array_equal(state(model), before)
    np.testing.assert_array_equal(np.random.get_state()[1], global_state)
    # The check runs in float64, whatever the model's dtype.
    assert report.max_relative_error <= SMOOTH


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_points": 0}, "n_points must be an integer of at least 1, got 0"),
        ({"n_parameters": 1.5}, "n_parameters must be an integer of at least 1, got 1.5"),
        ({"n_samples": -1}, "n_samples must be an integer of at least 1, got -1"),
        ({"random_state": "no"}, "random_state must be None, an integer .*got 'no'"),
        ({"sample_weight": [1.0]}, "sample_weight must hold a number for each of 5 samples"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fastnn.Model([2, 3, 3], random_state=0).check_gradients(X, LABELS, **options)
