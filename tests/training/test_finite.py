"""Trainings end with finite numbers or raise an error; predictions that are not finite cause a warning."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse as sp

import fastnn
from fastnn.engine import limits

BACKENDS = ["numba", "numpy"]


def scaled(column, factor, n=200, dtype="f4"):
    """Return samples (n, 4), one of whose columns is multiplied, and classes."""
    X = np.random.default_rng(0).standard_normal((n, 4)).astype(dtype)
    y = (X[:, 0] > 0).astype(int)
    X[:, column] *= factor
    return X, y


def assert_model_is_finite(model):
    assert np.isfinite(model._parameters).all()
    assert np.isfinite(model._statistics).all()


def assert_estimator_is_finite(estimator):
    state = estimator._state
    assert np.isfinite(state.predicting).all()
    for array in (state.parameters, state.statistics, *(state.best or ())):
        assert np.isfinite(array).all()
    if state.memory is not None:
        assert np.isfinite(state.memory.optimizer).all()
        assert np.isfinite(state.memory.average).all()


@pytest.mark.parametrize(
    "options", [{}, {"solver": "sgd"}, {"solver": "lbfgs"}, {"early_stopping": True}, {"ema_decay": 0.9}]
)
def test_a_fit_whose_running_statistics_overflow_has_diverged(options):
    X, y = scaled(3, 1e20)
    classifier = fastnn.MLPClassifier((16,), batch_norm=True, max_iter=20, random_state=0, **options)
    with pytest.raises(fastnn.DivergenceError, match="running statistic of batch normalisation"):
        classifier.fit(X, y)
    assert_estimator_is_finite(classifier)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs"])
def test_a_training_whose_running_statistics_overflow_has_diverged(backend, optimizer):
    X, y = scaled(3, 1e20)
    model = fastnn.Model([4, 6, 2], batch_norm=True, dtype="f4", random_state=0, backend=backend)
    with pytest.raises(fastnn.DivergenceError, match="standardise X") as caught:
        model.train(X, y, num_passes=5, optimizer=optimizer)
    assert caught.value.what == "a running statistic of batch normalisation"
    assert_model_is_finite(model)
    assert pickle.loads(pickle.dumps(caught.value)).what == caught.value.what


# One call, one call per step with copies before each of them, and copies before the first call alone.
CALLS = {
    "one call": {},
    "many copies": {"FIRST_CALL_OPERATIONS": 0, "CALL_SECONDS": 0.0, "COPY_FRACTION": np.inf},
    "one copy": {"FIRST_CALL_OPERATIONS": 0, "CALL_SECONDS": 0.0, "COPY_FRACTION": 1e-12},
}


@pytest.mark.parametrize(
    ("backend", "calls"), [*[("numba", calls) for calls in CALLS], ("numpy", "one call")]
)
def test_a_divergence_ends_at_the_last_finite_step(backend, calls, monkeypatch):
    """A sample of the 19th batch overflows the statistics: the 18 steps before are kept."""
    for name, value in CALLS[calls].items():
        monkeypatch.setattr(limits, name, value)
    X, y = scaled(3, 1.0)
    X[150] = 3e19
    options = {"epsilon": 1e-3, "batch_size": 8, "shuffle": False, "reduction": "mean", "optimizer": "adam"}

    def model():
        return fastnn.Model([4, 6, 2], batch_norm=True, dtype="f4", random_state=0, backend=backend)

    broken, whole = model(), model()
    with pytest.raises(fastnn.DivergenceError, match="in epoch 0: a running statistic"):
        broken.train(X, y, num_passes=3, **options)
    whole.train(X[:144], y[:144], num_passes=1, **options)
    assert_model_is_finite(broken)
    np.testing.assert_array_equal(broken._parameters, whole._parameters)
    np.testing.assert_array_equal(broken._statistics, whole._statistics)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_optimizer_whose_state_overflows_has_diverged(backend):
    """Adam divides by the root of an infinite second moment: the parameters stay finite, but stop moving."""
    X, y = scaled(slice(None), 1e25)
    model = fastnn.Model(
        [4, 1],
        output_activation="identity",
        loss="squared_error",
        dtype="f4",
        random_state=0,
        backend=backend,
    )
    model.W = [np.full((4, 1), 1e-20)]
    with pytest.raises(fastnn.DivergenceError) as caught:
        model.train(X, y.astype(float), num_passes=2, optimizer="adam", reduction="mean")
    assert caught.value.what == "the state of the optimizer"
    assert_model_is_finite(model)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_training_that_ends_with_an_infinite_loss_raises(backend):
    X, _ = scaled(0, 1.0)
    model = fastnn.Model(
        [4, 1],
        output_activation="identity",
        loss="squared_error",
        dtype="f4",
        random_state=0,
        backend=backend,
    )
    targets = np.full(len(X), 1e25)
    with pytest.raises(
        fastnn.DivergenceError, match="the loss is no longer finite.* and y if it holds"
    ) as caught:
        model.train(X, targets, num_passes=2, epsilon=1e-9, reduction="mean")
    assert caught.value.what == "the loss"
    assert caught.value.iteration == 1
    assert_model_is_finite(model)
    regressor = fastnn.MLPRegressor(
        hidden_layer_sizes=(), solver="sgd", momentum=0, learning_rate_init=1e-15, max_iter=3, random_state=0
    )
    with pytest.raises(fastnn.DivergenceError, match="the loss is no longer finite"):
        regressor.fit(X, targets.astype("f4"))
    assert_estimator_is_finite(regressor)


def test_running_statistics_that_are_not_finite_are_refused():
    X, y = scaled(0, 1.0)
    model = fastnn.Model([4, 3, 2], batch_norm=True, random_state=0)
    model.batch_norm[0].running_mean[1] = np.nan
    with pytest.raises(ValueError, match="batch_norm holds NaN or infinity"):
        model.train(X, y, num_passes=1)


def overflowing(backend="numba", loss="softmax_cross_entropy", outputs=3):
    """Return a network whose scores are finite for small samples alone."""
    model = fastnn.Model(
        [4, 6, outputs], activation="relu", output_activation="identity", random_state=0, backend=backend,
        loss=loss,
    )  # fmt: skip
    model.W = [W * 1e10 for W in model.W]
    return model


def large_samples():
    X = np.random.default_rng(0).standard_normal((5, 4))
    X[[1, 4]] = 1e300
    return X


@pytest.mark.parametrize(
    ("method", "loss", "outputs"),
    [
        ("predict", "softmax_cross_entropy", 3),
        ("predict_proba", "softmax_cross_entropy", 3),
        ("predict", "squared_error", 2),
        ("predict", "sigmoid_binary_cross_entropy", 2),
    ],
)
def test_predictions_that_are_not_finite_warn_on_both_backends(method, loss, outputs):
    results = []
    for backend in BACKENDS:
        model = overflowing(backend, loss, outputs)
        with pytest.warns(RuntimeWarning, match="in 2 of 5 samples, first in row 1") as caught:
            results.append(getattr(model, method)(large_samples()))
        assert len(caught) == 1
        assert caught[0].filename == __file__
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_estimators_warn_of_predictions_that_are_not_finite(method, sparse):
    X, y = scaled(0, 1.0, dtype="f8")
    y[:50] = 2
    classifier = fastnn.MLPClassifier((6,), max_iter=1, tol=1e9, n_iter_no_change=1, random_state=0)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        classifier.fit(X, y)
    classifier.coefs_ = [W * 1e10 for W in classifier.coefs_]
    rows = np.zeros((2000, 4))
    rows[700, 0] = 1e300
    table = sp.csr_matrix(rows) if sparse else rows
    with pytest.warns(RuntimeWarning, match="in 1 of 2000 samples, first in row 700"):
        getattr(classifier, method)(table)


def test_predictors_warn_of_predictions_that_are_not_finite():
    for backend in BACKENDS:
        predict = overflowing(backend).predictor()
        assert predict(large_samples()[0]).shape == (1,)
        with pytest.warns(RuntimeWarning, match="prediction"):
            predict(large_samples()[1])


def test_a_loss_that_is_not_finite_warns():
    for backend in BACKENDS:
        with pytest.warns(RuntimeWarning, match="the loss is nan"):
            assert np.isnan(overflowing(backend).calculate_loss(large_samples(), [0, 1, 2, 0, 1]))


# --- numbers below the normal range, which kernels flush to 0 ------------------------------------


@pytest.mark.parametrize("rate", [5e-324, 1e-310])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dropout_rate_below_the_normal_range_drops_nothing(rate, backend):
    X, y = scaled(0, 1.0)
    losses = []
    for dropout in ([rate, 0], 0.0):
        model = fastnn.Model([4, 8, 2], dropout=dropout, random_state=0, backend=backend)
        losses.append(model.train(X, y, num_passes=4, epsilon=1e-3).loss)
    np.testing.assert_array_equal(*losses)
    first = fastnn.MLPClassifier((8,), dropout=[rate, rate], max_iter=3, random_state=0)
    second = fastnn.MLPClassifier((8,), max_iter=3, random_state=0)
    for classifier in (first, second):
        with pytest.warns(UserWarning, match="Maximum iterations"):
            classifier.fit(X, y)
    np.testing.assert_array_equal(first.coefs_[0], second.coefs_[0])


def test_rows_for_dropout_are_filled_even_if_the_rate_is_flushed_to_0():
    """The plan of the workspace has rows for the results of dropout, which later layers read."""
    from dataclasses import replace

    X, y = scaled(0, 1.0)
    model = fastnn.Model([4, 8, 2], dropout=[0.5, 0.5], random_state=0)
    model._network = replace(model._network, dropout=(1e-310, 1e-310))
    plain = fastnn.Model([4, 8, 2], random_state=0)
    losses = [m.train(X, y, num_passes=4, epsilon=1e-3, random_state=0).loss for m in (model, plain)]
    np.testing.assert_array_equal(*losses)


@pytest.mark.parametrize("name", ["clip_norm", "max_norm"])
def test_limits_below_the_normal_range_are_refused(name):
    X, y = scaled(0, 1.0)
    for backend in BACKENDS:
        model = fastnn.Model([4, 8, 2], random_state=0, backend=backend)
        before = copy.deepcopy(model)
        with pytest.raises(
            ValueError, match=rf"{name} must be a finite number above 0, got 1e-310 \(below 2"
        ):
            model.train(X, y, num_passes=1, **{name: 1e-310})
        np.testing.assert_array_equal(model.W[0], before.W[0])
    with pytest.raises(ValueError, match="max_grad_norm must be a finite number above 0, got 1e-310"):
        fastnn.MLPClassifier(max_grad_norm=1e-310).fit(X, y)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_learning_rates_below_the_normal_range_are_0_on_both_backends(dtype):
    X, y = scaled(0, 1.0)
    rate = float(np.finfo(dtype).tiny) / 8
    for backend in BACKENDS:
        model = fastnn.Model([4, 8, 2], random_state=0, backend=backend, dtype=dtype)
        model.W = [W * 0 for W in model.W]  # the smallest change of a weight 0 is visible
        before = model.W[0].copy()
        model.train(X, y, num_passes=2, epsilon=rate)
        np.testing.assert_array_equal(model.W[0], before)
