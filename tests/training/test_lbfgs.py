"""Training by L-BFGS: minima, histories, callbacks and refused options."""

import numpy as np
import pytest
from estimator_checks import parameters
from small_models import BACKENDS, X, X_val, few, model_for, noise_y, y, y_val

import fastnn
from fastnn.engine import limits


@pytest.mark.parametrize("backend", BACKENDS)
def test_200_iterations_of_lbfgs_end_lower_than_2000_epochs_of_gradient_descent(backend):
    model, descent = (fastnn.Model([2, 8, 2], backend=backend, random_state=0) for _ in range(2))
    history = model.train(X, y, num_passes=200, optimizer="lbfgs", reg_lambda=0.01)
    descent.train(X, y, num_passes=2000, epsilon=0.01, reg_lambda=0.01)

    def objective(model):
        return 200 * model.calculate_loss(X, y) + 0.005 * sum((W**2).sum() for W in model.W)

    assert objective(model) < objective(descent)
    assert len(history) <= 200
    assert history.loss[-1] == pytest.approx(model.calculate_loss(X, y), rel=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_lbfgs_of_one_linear_layer_is_ridge_regression(reduction, backend):
    """The minimum has a closed form; the penalty applies to the weights and not to the bias."""
    weights = 1.0 + np.arange(200) % 3
    targets = X @ [[1.5], [-2.0]] + 3.0 + np.sin(7 * X[:, 1:])
    reg_lambda = 100.0 if reduction == "sum" else 100.0 / weights.sum()
    model = fastnn.Model(
        [2, 1], output_activation="identity", loss="squared_error", backend=backend, random_state=0
    )
    history = model.train(
        X, targets, num_passes=200, optimizer=fastnn.LBFGS(ftol=0.0, gtol=1e-10), reduction=reduction,
        reg_lambda=reg_lambda, sample_weight=weights,
    )  # fmt: skip
    mean_x, mean_y = (np.average(values, axis=0, weights=weights) for values in (X, targets))
    centred = X - mean_x
    W = np.linalg.solve(
        centred.T @ (weights[:, None] * centred) + 100.0 * np.eye(2),
        centred.T @ (weights[:, None] * (targets - mean_y)),
    )
    np.testing.assert_allclose(model.W[0], W, rtol=1e-6)
    np.testing.assert_allclose(model.b[0], [mean_y - mean_x @ W], rtol=1e-6)
    assert history.gradient_norm[-1] < 1e-5 * history.gradient_norm[0]
    expected = model.calculate_loss(X, targets, sample_weight=weights)
    assert history.loss[-1] == pytest.approx(expected, rel=1e-10)


def test_both_backends_minimise_alike():
    histories, found = [], []
    for backend in BACKENDS:
        model = model_for(backend)
        histories.append(
            model.train(
                X, y, num_passes=30, optimizer=fastnn.LBFGS(gtol=1e-9), reduction="mean", reg_lambda=1e-3,
                sample_weight=1.0 + np.arange(200) % 2,
            )
        )  # fmt: skip
        found.append(parameters(model))
    # Every iteration magnifies the rounding errors of the earlier ones.
    np.testing.assert_allclose(histories[0].loss, histories[1].loss, rtol=1e-6)
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_losses_of_lbfgs_never_rise(backend):
    model = model_for(backend)
    history = model.train(
        X, y, num_passes=50, optimizer="lbfgs", reg_lambda=0.0, validation_data=(X_val, y_val)
    )
    assert (np.diff(history.loss) <= 0).all()
    assert np.isnan(history.learning_rate).all(), "line searches choose the steps"
    assert np.isfinite(history.gradient_norm).all()
    assert (history.update_ratio > 0).all()
    assert history.update_ratio.shape == (len(history), 2)
    assert history.validation_loss[-1] == pytest.approx(model.calculate_loss(X_val, y_val), rel=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_update_ratios_of_lbfgs_are_relative_to_the_weights_before_the_iteration(backend):
    model, weights = model_for(backend), []
    before = [W.copy() for W in model.W]
    history = model.train(
        X, y, num_passes=5, optimizer="lbfgs", reg_lambda=0.5,
        callbacks=[lambda history: weights.append([W.copy() for W in model.W])],
    )  # fmt: skip
    for ratios, after in zip(history.update_ratio, weights, strict=True):
        norms = [(np.linalg.norm(W - old), np.linalg.norm(old)) for W, old in zip(after, before, strict=True)]
        np.testing.assert_allclose(ratios, [change / size for change, size in norms], rtol=1e-12)
        before = after


def test_lbfgs_ends_when_the_objective_hardly_falls():
    model = model_for("numpy")
    history = model.train(X, y, num_passes=100000, optimizer=fastnn.LBFGS(ftol=1e-4))
    assert len(history) < 300
    assert history.stopped_early is False


def test_callbacks_and_early_stopping_end_lbfgs():
    seen = []
    model = model_for()

    def until_five(history):
        seen.append(len(history))
        return len(history) == 5

    history = model.train(X, y, num_passes=50, optimizer="lbfgs", callbacks=[until_five])
    assert seen == [1, 2, 3, 4, 5]
    assert history.stopped_early
    again = model_for()
    again.train(X, y, num_passes=5, optimizer="lbfgs")
    np.testing.assert_array_equal(parameters(model), parameters(again))

    model = model_for()
    history = model.train(
        few, noise_y, num_passes=500, optimizer="lbfgs", reg_lambda=0.0, validation_data=(X_val, y_val),
        callbacks=[fastnn.EarlyStopping(patience=10)],
    )  # fmt: skip
    assert history.stopped_early
    best = np.nanmin(history.validation_loss)
    assert best < history.validation_loss[-1]
    assert model.calculate_loss(X_val, y_val) == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_callbacks_are_called_once_per_iteration_even_if_calls_are_shorter(backend, monkeypatch):
    monkeypatch.setattr(limits, "CALL_SECONDS", 0.0)
    monkeypatch.setattr(limits, "FIRST_CALL_OPERATIONS", 0.0)
    seen = []
    optimizer = fastnn.LBFGS(maxls=1)  # the last line search will fail
    model = model_for(backend)
    history = model.train(X, y, optimizer=optimizer, callbacks=[lambda history: seen.append(len(history))])
    assert seen == list(range(1, len(history) + 1))


def test_no_epochs_of_lbfgs_change_nothing():
    model = model_for("numpy", batch_norm=True)
    before = parameters(model), model._statistics.copy()
    assert len(model.train(X, y, num_passes=0, optimizer="lbfgs")) == 0
    np.testing.assert_array_equal(parameters(model), before[0])
    np.testing.assert_array_equal(model._statistics, before[1])


def test_lbfgs_in_float32_ends_at_the_same_loss():
    losses = []
    for dtype in (np.float64, np.float32):
        model = model_for("numpy", dtype=dtype, random_state=5)
        model.train(X, y, num_passes=300, optimizer="lbfgs")
        assert model.W[0].dtype == dtype
        losses.append(model.calculate_loss(X, y))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.parametrize(
    ("name", "options", "model_options"),
    [
        ("batch_size", {"batch_size": 16}, {}),
        ("schedule", {"schedule": "cosine_decay"}, {}),
        ("l1", {"l1": 0.1}, {}),
        ("max_norm", {"max_norm": 1.0}, {}),
        ("clip_norm", {"clip_norm": 1.0}, {}),
        ("ema_decay", {"ema_decay": 0.5}, {}),
        ("dropout", {}, {"dropout": 0.5}),
    ],
)
def test_options_that_lbfgs_does_not_support_are_refused(name, options, model_options):
    model = model_for("numpy", **model_options)
    before = parameters(model)
    with pytest.raises(ValueError, match=f"optimizer 'lbfgs' .* Leave {name} out"):
        model.train(X, y, num_passes=5, optimizer="lbfgs", **options)
    np.testing.assert_array_equal(parameters(model), before)
