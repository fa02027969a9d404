"""Trainings end with finite numbers or raise an error; predictions that are not finite cause a warning."""

import pickle

import numpy as np
import pytest
from estimator_checks import parameters, state
from scipy.sparse import csr_matrix
from small_models import X, model_for, y

import fastnn
from fastnn.engine import limits

LINEAR = {"activation": "identity", "output_activation": "identity"}
# Four features, and the same with one that is too large for float32 when it is squared.
wide = np.random.default_rng(0).standard_normal((200, 4)).astype("f4")
classes = (wide[:, 0] > 0).astype(int)
huge = wide * np.array([1, 1, 1, 1e20], "f4")


DIVERGING = {"float64": {}, "float32": {}, "average": {"ema_decay": 0.9}}
DIVERGING |= {"batches": {"batch_size": 16, "random_state": 0}}
DIVERGING |= {"schedule": {"epsilon": 50.0, "schedule": lambda step: 4.0}}


@pytest.mark.parametrize("way", DIVERGING)
@pytest.mark.filterwarnings("ignore:epsilon=")
def test_a_divergence_names_its_cause_and_keeps_the_last_finite_step(way, backend):
    dtype = "float32" if way == "float32" else "float64"
    model, again = (model_for(backend, dtype=dtype) for _ in range(2))
    options = {"epsilon": 200.0, "reg_lambda": 1.0} | DIVERGING[way]
    with pytest.raises(fastnn.DivergenceError, match="must stay below 2: lower one of them") as caught:
        model.train(X, y, num_passes=10000, **options)
    error = caught.value
    assert isinstance(error, ValueError)
    assert f"diverged in epoch {error.iteration}:" in str(error)
    assert "epsilon=200 and reg_lambda=1." in str(error)
    assert (error.epsilon, error.reg_lambda) == (200.0, 1.0)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert 500 > model.history_.n_passes == error.iteration > 0, "the history ends before the divergence"
    assert np.isfinite(model.history_.loss).all()
    assert np.isfinite(parameters(model)).all()
    assert np.abs(parameters(model)).max() > np.finfo(dtype).max ** 0.9
    if not options.keys() & {"batch_size", "ema_decay"}:  # neither in the middle of an epoch nor averaged
        again.train(X, y, num_passes=error.iteration, **options)
        np.testing.assert_array_equal(parameters(again), parameters(model))


SQUARED = LINEAR | {"loss": "squared_error"}
FLOAT32 = SQUARED | {"dtype": "f4"}
HINGE = LINEAR | {"loss": "multiclass_hinge", "weight": 1e200}
SMALL = FLOAT32 | {"weight": 1e-20}
STATE, RUNNING = "the state of the optimizer", "a running statistic of batch normalisation"
NORMALISED = {"batch_norm": True, "dtype": "f4"}
MEAN = {"reduction": "mean"}
targets = np.full(200, 1e25)
two_rows = [[1e200], [2e200]], [[1e200], [3.0]]
# Layers, network, samples and targets, options of the training, what diverges, and words of the message.
CAUSES = {
    "rate": ([2, 3, 2], LINEAR, (1e200 * X, y), {"epsilon": 1.0}, "a parameter", r"for instance to 0\.1,"),
    "clip": ([1, 3, 1], SQUARED, ([[1e160]], [[1.0]]), {"clip_norm": 1.0}, "a parameter", "epoch 0"),
    **{
        name: ([1, 1], SQUARED, two_rows, {"optimizer": name}, "the loss", "finite with reg_lambda=0.01.")
        for name in ("lbfgs", "levenberg_marquardt")
    },
    "loss": ([4, 1], FLOAT32, (wide, targets), {"epsilon": 1e-9, **MEAN}, "the loss", "epoch 4.* and y if"),
    # Comparisons with NaN are False, which could hide an overflow.
    "hinge": ([4, 3, 2], HINGE, (wide, classes), {}, "a parameter", "in epoch"),
    # Adam divides by the root of an infinite second moment: the parameters stay finite, but stop moving.
    "moment": ([4, 1], SMALL, (1e25 * wide, classes), {"optimizer": "adam", **MEAN}, STATE, "in epoch"),
    **{
        f"{name}, running": ([4, 6, 2], NORMALISED, (huge, classes), {"optimizer": name}, RUNNING, "standard")
        for name in ("adam", "sgd", "lbfgs")
    },
}


@pytest.mark.parametrize("cause", CAUSES)
def test_every_cause_of_a_divergence_is_named(cause, backend):
    layers_dim, network, data, options, what, message = CAUSES[cause]
    network = dict(network)
    weight = network.pop("weight", None)
    model = fastnn.Model(layers_dim, random_state=0, backend=backend, **network)
    if weight:
        model.W = [np.full(W.shape, weight) for W in model.W]
    with pytest.raises(fastnn.DivergenceError, match=message) as caught:
        model.train(*data, num_passes=5, **options)
    assert caught.value.what == pickle.loads(pickle.dumps(caught.value)).what == what
    assert np.isfinite(state(model)).all()
    if cause in ("lbfgs", "levenberg_marquardt"):
        assert np.isnan(caught.value.epsilon)
        assert "epsilon" not in str(caught.value)


# One call, one call per step with copies before each of them, and copies before the first call alone.
CALLS = {
    "one call": {},
    "many copies": {"FIRST_CALL_OPERATIONS": 0, "CALL_SECONDS": 0.0, "COPY_FRACTION": np.inf},
    "one copy": {"FIRST_CALL_OPERATIONS": 0, "CALL_SECONDS": 0.0, "COPY_FRACTION": 1e-12},
}


@pytest.mark.parametrize(("backend", "calls"), [*[("numba", name) for name in CALLS], ("numpy", "one call")])
def test_a_divergence_ends_at_the_last_finite_step(backend, calls, monkeypatch):
    """A sample of the 19th batch overflows the statistics: the 18 steps before are kept."""
    for name, value in CALLS[calls].items():
        monkeypatch.setattr(limits, name, value)
    samples = wide.copy()
    samples[150] = 3e19
    options = {"epsilon": 1e-3, "batch_size": 8, "shuffle": False, "reduction": "mean", "optimizer": "adam"}
    network = {"batch_norm": True, "dtype": "f4", "random_state": 0, "backend": backend}
    broken, whole = (fastnn.Model([4, 6, 2], **network) for _ in range(2))
    with pytest.raises(fastnn.DivergenceError, match="in epoch 0: a running statistic"):
        broken.train(samples, classes, num_passes=3, **options)
    whole.train(samples[:144], classes[:144], num_passes=1, **options)
    np.testing.assert_array_equal(state(broken), state(whole))


large_samples = np.random.default_rng(0).standard_normal((5, 4))
large_samples[[1, 4]] = 1e300


OVERFLOWING = [("softmax_cross_entropy", "predict_proba"), ("sigmoid_binary_cross_entropy", "predict_proba")]
OVERFLOWING += [(loss, "predict") for loss in (*dict(OVERFLOWING), "squared_error")]


@pytest.mark.parametrize(("loss", "method"), OVERFLOWING)
def test_predictions_that_are_not_finite_warn_on_both_backends(loss, method):
    results, n_outputs = [], 3 if loss == "softmax_cross_entropy" else 2
    for backend in ("numba", "numpy"):
        options = {"loss": loss, "activation": "relu", "output_activation": "identity", "random_state": 0}
        model = fastnn.Model([4, 6, n_outputs], backend=backend, **options)
        model.W = [W * 1e10 for W in model.W]
        with pytest.warns(RuntimeWarning, match="in 2 of 5 samples, first in row 1") as caught:
            results.append(getattr(model, method)(large_samples))
        assert [warning.filename for warning in caught] == [__file__]
        predict = model.predictor(method=method)
        with pytest.warns(RuntimeWarning, match="prediction"):
            predict(large_samples[1])
        with pytest.warns(RuntimeWarning, match="the loss is (nan|inf)"):
            model.calculate_loss(large_samples, [0, 1, 0, 0, 1] if n_outputs == 3 else np.ones((5, 2)))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_estimators_warn_of_predictions_that_are_not_finite(method):
    labels = np.where(np.arange(200) < 50, 2, classes)
    classifier = fastnn.MLPClassifier((6,), random_state=0)
    classifier.partial_fit(wide.astype("f8"), labels, classes=[0, 1, 2])
    classifier.coefs_ = [W * 1e10 for W in classifier.coefs_]
    rows = np.zeros((2000, 4))
    rows[700, 0] = 1e300
    for table in (rows, csr_matrix(rows)):
        with pytest.warns(RuntimeWarning, match="in 1 of 2000 samples, first in row 700"):
            getattr(classifier, method)(table)


def test_numbers_below_the_normal_range_count_as_0(backend):
    losses = []
    for dropout in ([5e-324, 0], [1e-310, 0], 0.0):
        model = fastnn.Model([4, 8, 2], dropout=dropout, random_state=0, backend=backend)
        losses.append(model.train(wide, classes, num_passes=4, epsilon=1e-3).loss)
        for name in ("clip_norm", "max_norm"):
            with pytest.raises(ValueError, match=rf"{name} must be a finite number above 0, got 1e-310"):
                model.train(wide, classes, 1, **{name: 1e-310})
    np.testing.assert_array_equal(losses[0], losses[2])
    np.testing.assert_array_equal(losses[1], losses[2])
    for dtype in ("f4", "f8"):
        model = fastnn.Model([4, 8, 2], random_state=0, backend=backend, dtype=dtype)
        model.W = [W * 0 for W in model.W]  # the smallest change of a weight 0 is visible
        before = model.W[0].copy()
        model.train(wide, classes, num_passes=2, epsilon=float(np.finfo(dtype).tiny) / 8)
        np.testing.assert_array_equal(model.W[0], before)
