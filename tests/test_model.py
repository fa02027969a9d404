"""`Model` from its user's side: parameters, training, interrupts and threads."""

import copy

import numpy as np
import pytest
from estimator_checks import parameters, state
from interrupts import interrupt_after
from small_models import X, trained, y

import fastnn
from fastnn.losses import LOSSES
from fastnn.network.initialization import INITIALIZERS


def test_a_seed_a_generator_and_the_global_generator_initialise_alike():
    np.random.seed(3)
    from_global = fastnn.Model([2, 3, 2])
    seeded = fastnn.Model([2, 3, 2], random_state=3)
    from_state = fastnn.Model([2, 3, 2], random_state=np.random.RandomState(3))
    np.testing.assert_array_equal(parameters(from_global), parameters(seeded))
    np.testing.assert_array_equal(parameters(from_state), parameters(seeded))
    assert (parameters(fastnn.Model([2, 3, 2], random_state=4)) != parameters(seeded)).all()
    random = np.random.RandomState(3)
    for W, b in zip(seeded.W, seeded.b, strict=True):  # the tutorial's draws
        np.testing.assert_array_equal(W, random.randn(*W.shape) / np.sqrt(W.shape[0]))
        np.testing.assert_array_equal(b[0], random.randn(b.size))


def test_rng_seeds_models_trainings_and_gradient_checks():
    def run(rng):
        model = fastnn.Model([2, 3, 2], dropout=0.2, rng=rng)
        model.train(X, y, num_passes=3, epsilon=0.001, batch_size=32, rng=rng)
        error = model.check_gradients(X, y, n_points=1, rng=rng).max_relative_error
        return [*parameters(model), error]

    before = np.random.get_state()[1].copy()
    assert run(3) == run(np.int64(3)) != run(4)
    rng = np.random.default_rng(3)
    first, second = run(rng), run(rng)
    assert first == run(np.random.default_rng(3)) != second
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_parameters_are_live_views(backend):
    model = fastnn.Model([2, 3, 2], random_state=0, backend=backend)
    assert [w.shape for w in model.W] == [(2, 3), (3, 2)]
    assert [b.shape for b in model.b] == [(1, 3), (1, 2)]
    for array in (*model.W, *model.b):
        array[...] = 0
    np.testing.assert_array_equal(model.predict_proba(X), np.full((200, 2), 0.5))
    model.b[-1][0, 1] = 1.0
    assert (model.predict(X) == 1).all()
    model.b[-1] = [[1.0, 0.0]]
    assert (model.predict(X) == 0).all()
    model.W[0] += 1.0
    assert (model.W[0] == 1).all()
    held = model.W[0]
    model.train(X, y, num_passes=5)
    np.testing.assert_array_equal(held, model.W[0])
    assert (held != 1).any()


def test_all_parameters_can_be_set_at_once():
    source, target = trained(), fastnn.Model([2, 3, 2], random_state=9)
    target.W, target.b = source.W, source.b
    np.testing.assert_array_equal(target.predict_proba(X), source.predict_proba(X))
    square = fastnn.Model([2, 2, 2], random_state=0)
    first, second = (w.copy() for w in square.W)
    square.W = square.W[::-1]
    np.testing.assert_array_equal(square.W, [second, first])


def test_repr_shows_the_layers_and_all_options_that_are_set():
    assert repr(fastnn.Model([2, 3, 2])) == (
        "Model([2, 3, 2], activation='tanh', output_activation='tanh', backend='numba', dtype=float64)"
    )
    assert "activation='tanh', output" not in repr(fastnn.Model([2, 2]))
    network = {"activation": ["relu", "gelu"], "output_activation": "identity", "loss": fastnn.Huber(0.5)}
    options = {"dropout": 0.25, "batch_norm": True, "backend": "numpy", "dtype": np.float32}
    assert repr(fastnn.Model([2, 3, 4, 2], **network, **options)) == (
        "Model([2, 3, 4, 2], activation=['relu', 'gelu'], output_activation='identity', "
        "loss=Huber(delta=0.5), dropout=[0.0, 0.25, 0.25], batch_norm=True, backend='numpy', dtype=float32)"
    )


@pytest.mark.parametrize("name", INITIALIZERS)
def test_initial_weights_have_the_variance_of_their_rule(name, dtype):
    n_in, n_out = 300, 200
    model = fastnn.Model([n_in, n_out, 2], init=name, dtype=dtype, random_state=0)
    W, b = model.W[0].astype(float), model.b[0]
    variances = {"glorot": 2 / (n_in + n_out), "he": 2 / n_in}
    variance = variances.get(name.partition("_")[0], 1 / n_in)
    # The variance of 60,000 normal numbers has a standard error of 1 in 170.
    assert W.var() == pytest.approx(variance, rel=0.03)
    assert abs(W.mean()) < 4 * np.sqrt(variance / W.size)
    if "uniform" in name:
        assert np.abs(W).max() <= np.sqrt(3 * variance) * (1 + 1e-6)
    else:
        assert np.abs(W).max() > 3 * np.sqrt(variance)
    if name == "orthogonal":
        np.testing.assert_allclose(W.T @ W, np.eye(n_out), atol=1e-5)
    assert (b != 0).all() if name == "tutorial" else (b == 0).all()


def test_predictions_of_a_normalised_network_depend_on_the_sample_alone(backend):
    model = fastnn.Model([2, 3, 2], batch_norm=True, random_state=0, backend=backend)
    model.train(X[:33], y[:33], num_passes=5, batch_size=16)  # the last batch has one sample
    together = model.predict_proba(X)
    assert np.isfinite(state(model)).all()
    np.testing.assert_allclose(model.predict_proba(X[:1]), together[:1], rtol=1e-12)
    np.testing.assert_allclose(model.predict_proba(X[50:60]), together[50:60], rtol=1e-12)


@pytest.mark.native("threads")
@pytest.mark.parametrize(("backend", "n_threads"), [("numba", 1), ("numba", 2), ("numpy", 1)])
def test_an_interrupt_is_raised_at_the_end_of_an_epoch(backend, n_threads):
    samples, labels = (X, y) if n_threads == 1 else (np.tile(X, (20, 1)), np.tile(y, 20))
    options = {"epsilon": 1e-4, "n_threads": n_threads}
    model, again = (fastnn.Model([2, 40, 2], random_state=0, backend=backend) for _ in range(2))
    model.train(samples, labels, num_passes=50, **options)  # a busy machine may do no epoch before
    with pytest.raises(KeyboardInterrupt), interrupt_after(0.2):
        model.train(samples, labels, num_passes=10**12, **options)
    again.train(samples, labels, num_passes=50 + model.history_.n_passes, **options)
    np.testing.assert_array_equal(parameters(again), parameters(model))


def test_batch_norm_gives_live_views():
    model = fastnn.Model([2, 3, 4, 2], batch_norm=True, random_state=0)
    assert [layer.scale.shape for layer in model.batch_norm] == [(1, 3), (1, 4)]
    assert [layer.running_variance.shape for layer in model.batch_norm] == [(3,), (4,)]
    before = model.predict_proba(X)
    model.batch_norm[0].shift[...] = 5
    assert (model.batch_norm[0].shift == 5).all()
    assert not np.array_equal(model.predict_proba(X), before)
    assert fastnn.Model([2, 3, 2]).batch_norm == []


def test_the_loss_decides_what_is_predicted(backend):
    # Networks of one seed have the same parameters, and thus the same scores for every loss.
    options = {"output_activation": "identity", "backend": backend, "random_state": 0}
    models = {loss: fastnn.Model([2, 4, 3], loss=loss, **options) for loss in LOSSES}
    outputs = models["squared_error"].predict(X)
    assert (outputs.shape, outputs.dtype) == ((200, 3), np.float64)
    for loss, model in models.items():
        predicted = model.predict(X)
        if loss in ("softmax_cross_entropy", "multiclass_hinge"):
            expected, labels = np.exp(outputs) / np.exp(outputs).sum(axis=1)[:, None], outputs.argmax(axis=1)
        elif loss == "sigmoid_binary_cross_entropy":
            expected, labels = 1 / (1 + np.exp(-outputs)), outputs > 0
        else:
            np.testing.assert_allclose(
                predicted, np.exp(outputs) if loss == "poisson" else outputs, rtol=1e-12
            )
            with pytest.raises(ValueError, match=f"the loss '{loss}' has no probabilities: use predict"):
                model.predict_proba(X)
            continue
        np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-12)
        np.testing.assert_array_equal(predicted, labels)
        assert predicted.dtype == np.int64


def test_parameters_that_are_made_read_only_are_changed_by_nothing():
    model = fastnn.Model([2, 3, 2], random_state=0)
    model.W[0].setflags(write=False)
    before = [W.copy() for W in model.W]
    with pytest.raises(ValueError, match=r"W\[0\] is read-only: W\[0\].setflags\(write=True\) frees it"):
        model.train([[0.0, 1.0]], [0], num_passes=2)
    with pytest.raises(ValueError, match="read-only"):
        model.W = before[::-1][::-1]
    with pytest.raises(ValueError, match="read-only"):
        model.W[0][0, 0] = 7
    assert all(map(np.array_equal, model.W, before))
    assert copy.deepcopy(model).W[0].flags.writeable
    model.W[0].setflags(write=True)
    model.train([[0.0, 1.0]], [0], num_passes=2)
