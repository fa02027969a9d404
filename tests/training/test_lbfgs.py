"""Training by L-BFGS: minima, histories, callbacks and refused options."""

import numpy as np
import pytest
from estimator_checks import parameters
from small_models import X, X_val, model_for, y, y_val
from trainings import STEP_OPTIONS

import fastnn
from fastnn.engine import limits
from fastnn.training.options import SETTINGS

# Optimizers, the iterations that suffice, and the relative error that they leave.
MINIMISERS = {"lbfgs": (fastnn.LBFGS(ftol=0.0, gtol=1e-10), 200, 1e-6)}
MINIMISERS["levenberg_marquardt"] = fastnn.LevenbergMarquardt(), 8, 1e-9


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("name", MINIMISERS)
def test_the_minimum_of_one_linear_layer_is_ridge_regression(name, reduction, backend):
    """The minimum has a closed form; the penalty applies to the weights and not to the bias."""
    optimizer, num_passes, error = MINIMISERS[name]
    weights = 1.0 + np.arange(200) % 3
    targets = X @ [[1.5, 1.0], [-2.0, 0.0]] + 3.0 + np.sin(7 * X[:, 1:])
    reg_lambda = 100.0 if reduction == "sum" else 100.0 / weights.sum()
    network = {"output_activation": "identity", "loss": "squared_error", "random_state": 0}
    model = fastnn.Model([2, 2], backend=backend, **network)
    options = {"reduction": reduction, "reg_lambda": reg_lambda, "sample_weight": weights}
    history = model.train(X, targets, num_passes, optimizer=optimizer, **options)
    A = np.column_stack([X, np.ones(200)])
    expected = np.linalg.solve(
        A.T @ (weights[:, None] * A) + np.diag([100.0, 100.0, 0.0]), A.T @ (weights[:, None] * targets)
    )
    np.testing.assert_allclose(np.vstack([*model.W, *model.b]), expected, rtol=error)
    assert history.gradient_norm[-1] < 1e-5 * history.gradient_norm[0]
    expected = model.calculate_loss(X, targets, sample_weight=weights)
    assert history.loss[-1] == pytest.approx(expected, rel=1e-10)


def test_the_losses_of_lbfgs_never_rise_and_ratios_are_relative_to_the_weights_before(backend):
    model, weights = model_for(backend), []
    before = [W.copy() for W in model.W]
    options = {"optimizer": "lbfgs", "reg_lambda": 0.0, "validation_data": (X_val, y_val)}
    callbacks = [lambda history: weights.append([W.copy() for W in model.W])]
    history = model.train(X, y, num_passes=50, callbacks=callbacks, **options)
    assert (np.diff(history.loss) <= 0).all()
    assert np.isnan(history.learning_rate).all(), "line searches choose the steps"
    assert np.isfinite(history.gradient_norm).all()
    assert history.validation_loss[-1] == pytest.approx(model.calculate_loss(X_val, y_val), rel=1e-12)
    for ratios, after in zip(history.update_ratio, weights, strict=True):
        norms = [(np.linalg.norm(W - old), np.linalg.norm(old)) for W, old in zip(after, before, strict=True)]
        np.testing.assert_allclose(ratios, [change / size for change, size in norms], rtol=1e-12)
        before = after


@pytest.mark.parametrize(("seconds", "operations"), [(0.0, 0.0), (10.0, 1e8)])
def test_callbacks_are_called_once_per_iteration_whatever_calls_do(backend, seconds, operations, monkeypatch):
    monkeypatch.setattr(limits, "CALL_SECONDS", seconds)
    monkeypatch.setattr(limits, "FIRST_CALL_OPERATIONS", operations)
    seen = []
    optimizer = fastnn.LBFGS(maxls=20 if seconds else 1)  # with 1, the last line search will fail
    callbacks = [lambda history: seen.append(len(history))]
    history = model_for(backend).train(X, y, num_passes=50, optimizer=optimizer, callbacks=callbacks)
    assert seen == list(range(1, len(history) + 1))


SUPPORTED = {"epsilon", "reg_lambda", "optimizer", "reduction", "shuffle"}
UNSUPPORTED = STEP_OPTIONS | {"batch_size": 16, "schedule": "cosine_decay", "dropout": 0.5}


def test_minimisers_support_or_refuse_every_option_that_decides_the_result():
    assert {*SETTINGS} == SUPPORTED | {*UNSUPPORTED} - {"dropout"}, "add the option to one of the two"


@pytest.mark.parametrize("optimizer", ["lbfgs", "levenberg_marquardt"])
@pytest.mark.parametrize(("name", "value"), UNSUPPORTED.items())
def test_options_that_minimisers_do_not_support_are_refused(name, value, optimizer):
    network, options = ({name: value}, {}) if name == "dropout" else ({}, {name: value})
    model = model_for("numpy", loss="squared_error", **network)
    before = parameters(model)
    with pytest.raises(ValueError, match=f"optimizer '{optimizer}' .* Leave {name} out"):
        model.train(X, X, num_passes=5, optimizer=optimizer, **options)
    np.testing.assert_array_equal(parameters(model), before)
