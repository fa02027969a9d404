"""`Model` from its user's side: parameters, training, interrupts and threads."""

import copy
import pickle
import threading

import joblib
import numpy as np
import pytest
from estimator_checks import parameters
from interrupts import interrupt_after
from small_models import BACKENDS, X, everything, trained, y

import fastnn
from fastnn.engine.choice import get_backend
from fastnn.engine.job import Job, Memory
from fastnn.engine.tiles import tile_width, training_width
from fastnn.losses import LOSSES
from fastnn.network.description import Network
from fastnn.network.initialization import INITIALIZERS
from fastnn.optimizers import OPTIMIZERS
from fastnn.training.history import record_every
from fastnn.training.loop import run_training


def test_a_seed_a_generator_and_the_global_generator_initialise_alike():
    np.random.seed(3)
    from_global = fastnn.Model([2, 3, 2])
    seeded = fastnn.Model([2, 3, 2], random_state=3)
    from_state = fastnn.Model([2, 3, 2], random_state=np.random.RandomState(3))
    np.testing.assert_array_equal(parameters(from_global), parameters(seeded))
    np.testing.assert_array_equal(parameters(from_state), parameters(seeded))
    assert (parameters(fastnn.Model([2, 3, 2], random_state=4)) != parameters(seeded)).all()


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


def test_a_seed_leaves_the_global_generator_unchanged():
    np.random.seed(5)
    expected = np.random.rand()
    np.random.seed(5)
    trained()
    assert np.random.rand() == expected


@pytest.mark.parametrize("backend", BACKENDS)
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
    with pytest.raises(ValueError, match=r"shape \(2, 3\), got \(3, 2\)"):
        target.W[0] = np.zeros((3, 2))
    square = fastnn.Model([2, 2, 2], random_state=0)
    first, second = (w.copy() for w in square.W)
    square.W = square.W[::-1]
    np.testing.assert_array_equal(square.W, [second, first])
    before = parameters(target)
    with pytest.raises(ValueError, match=r"shape \(3, 2\), got \(2, 3\)"):
        target.W = [np.zeros((2, 3)), np.zeros((2, 3))]
    np.testing.assert_array_equal(parameters(target), before)
    with pytest.raises(ValueError, match="2 layers take 2 arrays, got 1"):
        target.b = [np.zeros((1, 3))]


def test_training_from_parameters_that_are_not_finite_is_refused():
    model = fastnn.Model([2, 3, 2], random_state=0)
    model.W[0][0, 0] = np.nan
    with pytest.raises(ValueError, match="W or b holds NaN or infinity"):
        model.train(X, y)


@pytest.mark.parametrize("options", [{}, {"batch_norm": True, "loss": fastnn.MulticlassHinge(2.0)}], ids=str)
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_are_complete_and_independent(clone, options):
    model = trained(backend="numpy" if options else "numba", **options)
    other = clone(model)
    np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
    assert repr(other) == repr(model)
    assert (other.layers_dim, other.dtype, other.backend) == (model.layers_dim, model.dtype, model.backend)
    assert other.loss == model.loss
    before = everything(model)
    other.train(X, y, num_passes=3)
    np.testing.assert_array_equal(everything(model), before)
    model.train(X, y, num_passes=3)
    np.testing.assert_array_equal(everything(other), everything(model))
    assert (everything(model) != before).any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_model_whose_parameters_are_read_only_trains_on_a_copy(batch_norm, backend, tmp_path):
    model = fastnn.Model([2, 3, 2], random_state=0, batch_norm=batch_norm, backend=backend)
    joblib.dump(model, tmp_path / "model")
    model = joblib.load(tmp_path / "model", mmap_mode="r")
    assert not model._parameters.flags.writeable
    before = everything(model)
    if backend == "numpy":
        assert model.check_gradients(X[:5], y[:5], n_points=1).max_relative_error < 1e-7
    # With batches, the training uses kernels that other tests compile, too.
    model.train(X, y, num_passes=3, batch_size=50, shuffle=False)
    assert (everything(model) != before).any()
    np.testing.assert_array_equal(everything(joblib.load(tmp_path / "model")), before)


def test_repr_shows_the_layers_and_all_options_that_are_set():
    assert repr(fastnn.Model([2, 3, 2])) == (
        "Model([2, 3, 2], activation='tanh', output_activation='tanh', backend='numba', dtype=float64)"
    )
    assert "activation='tanh', output" not in repr(fastnn.Model([2, 2]))
    whole = fastnn.Model(
        [2, 3, 4, 2], activation=["relu", "gelu"], output_activation="identity", loss=fastnn.Huber(0.5),
        dropout=0.25, batch_norm=True, backend="numpy", dtype=np.float32,
    )  # fmt: skip
    assert repr(whole) == (
        "Model([2, 3, 4, 2], activation=['relu', 'gelu'], output_activation='identity', "
        "loss=Huber(delta=0.5), dropout=[0.0, 0.25, 0.25], batch_norm=True, backend='numpy', dtype=float32)"
    )


@pytest.mark.parametrize("name", INITIALIZERS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_initial_weights_have_the_variance_of_their_rule(name, dtype):
    n_in, n_out = 300, 200
    model = fastnn.Model([n_in, n_out, 2], init=name, dtype=dtype, random_state=0)
    W, b = model.W[0].astype(float), model.b[0]
    variance = {
        "tutorial": 1 / n_in,
        "glorot_uniform": 2 / (n_in + n_out),
        "glorot_normal": 2 / (n_in + n_out),
        "he_uniform": 2 / n_in,
        "he_normal": 2 / n_in,
        "lecun_normal": 1 / n_in,
        "orthogonal": 1 / n_in,
    }[name]
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


def test_the_tutorials_initialisation_draws_weights_and_biases_layer_by_layer():
    model = fastnn.Model([2, 3, 2], random_state=7)
    random = np.random.RandomState(7)
    for W, b in zip(model.W, model.b, strict=True):
        np.testing.assert_array_equal(W, random.randn(*W.shape) / np.sqrt(W.shape[0]))
        np.testing.assert_array_equal(b[0], random.randn(b.size))


def test_losses_and_optimizers_may_be_names_or_objects():
    for name, loss in LOSSES.items():
        assert fastnn.Model([2, 3, 2], loss=name).loss == fastnn.Model([2, 3, 2], loss=loss()).loss == loss()
    for name, optimizer in OPTIMIZERS.items():
        models = [fastnn.Model([2, 3, 2], backend="numpy", random_state=0) for _ in range(2)]
        for model, given in zip(models, (name, optimizer()), strict=True):
            model.train(X, y, num_passes=3, epsilon=0.001, optimizer=given)
        np.testing.assert_array_equal(parameters(models[0]), parameters(models[1]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_predictions_of_a_normalised_network_depend_on_the_sample_alone(backend):
    model = fastnn.Model([2, 3, 2], batch_norm=True, random_state=0, backend=backend)
    model.train(X, y, num_passes=5, batch_size=50)
    together = model.predict_proba(X)
    np.testing.assert_allclose(model.predict_proba(X[:1]), together[:1], rtol=1e-12)
    np.testing.assert_allclose(model.predict_proba(X[50:60]), together[50:60], rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_batches_of_one_sample_are_normalised_without_a_nan(backend):
    model = fastnn.Model([2, 3, 2], batch_norm=True, random_state=0, backend=backend)
    model.train(X[:33], y[:33], num_passes=3, batch_size=16, random_state=0)  # the last batch has one sample
    assert np.isfinite(everything(model)).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_training_in_parts_equals_training_at_once(backend):
    in_parts = fastnn.Model([2, 3, 2], random_state=0, backend=backend)
    in_parts.train(X, y, num_passes=30)
    in_parts.train(X, y, num_passes=0)
    in_parts.train(X, y, num_passes=20)
    whole = fastnn.Model([2, 3, 2], random_state=0, backend=backend)
    whole.train(X, y, num_passes=50)
    np.testing.assert_array_equal(parameters(in_parts), parameters(whole))


def test_training_is_silent_unless_asked(capsys):
    trained()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_textbook_network_learns_the_moons(backend):
    model = fastnn.Model([2, 8, 2], output_activation="identity", random_state=0, backend=backend)
    model.train(X, y, num_passes=1000, epsilon=0.002)
    assert model.calculate_loss(X, y) < 0.12
    assert (model.predict(X) == y).mean() > 0.95


@pytest.mark.parametrize("backend", BACKENDS)
def test_three_separate_classes_are_learned(backend):
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 300)
    samples = 3 * np.eye(3)[labels][:, :2] + 0.3 * random.normal(size=(300, 2))
    model = fastnn.Model([2, 5, 3], random_state=0, backend=backend)
    model.train(samples, labels, num_passes=500, epsilon=0.002)
    assert (model.predict(samples) == labels).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_network_may_have_more_outputs_than_classes(backend):
    model = fastnn.Model([2, 3, 5], random_state=0, backend=backend)
    model.train(X, y, num_passes=500, epsilon=0.002)
    assert set(model.predict(X)) == {0, 1}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.filterwarnings("ignore:epsilon=100 seems too high")  # the high rate makes the training diverge
def test_divergence_names_the_epoch_and_keeps_the_last_finite_parameters(backend, dtype):
    model = fastnn.Model([2, 3, 2], random_state=0, backend=backend, dtype=dtype)
    with pytest.raises(fastnn.DivergenceError, match=r"diverged in epoch \d+.* must stay below 2") as caught:
        model.train(X, y, epsilon=100.0, reg_lambda=1.0)
    assert isinstance(caught.value, ValueError)
    assert np.isfinite(parameters(model)).all()
    again = fastnn.Model([2, 3, 2], random_state=0, backend=backend, dtype=dtype)
    again.train(X, y, num_passes=caught.value.iteration, epsilon=100.0, reg_lambda=1.0)
    np.testing.assert_array_equal(parameters(again), parameters(model))
    assert model.predict(X).shape == (200,)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_error_of_a_high_rate_proposes_a_lower_one(backend):
    model = fastnn.Model(
        [2, 3, 2], random_state=0, backend=backend, activation="identity", output_activation="identity"
    )
    with pytest.raises(fastnn.DivergenceError, match=r"lower epsilon, for instance to 0\.1,"):
        model.train(1e200 * X, y, epsilon=1.0, reg_lambda=0.0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_loss_is_finite_for_scores_of_any_size(backend):
    model = fastnn.Model([1, 2], output_activation="identity", random_state=0, backend=backend)
    model.W[0][...] = [[1e150, -1e150]]
    assert model.calculate_loss([[1e150]], [1]) == pytest.approx(2e300)
    assert model.calculate_loss([[1e150]], [0]) == 0


def test_huge_layers_have_narrow_tiles():
    """An interrupt is handled between calls of a kernel: narrow tiles keep calls of huge layers short."""
    network = Network.create([4000, 4000, 4000, 10], "tanh", "tanh", np.float64)
    assert tile_width(network, 1000) == 48
    assert training_width(network, 1000) == 16


@pytest.mark.parametrize("name", BACKENDS)
def test_an_interrupt_is_raised_at_the_end_of_an_epoch(name):
    model = fastnn.Model([2, 3, 2], random_state=0)
    job = Job(
        X, y.astype(float)[:, None], np.ones(200), num_passes=10**12, batch_size=200, epsilon=0.001,
        reg_lambda=0.01, record_every=record_every(10**12),
    )  # fmt: skip
    trainer = get_backend(name).trainer(
        model._network,
        model._parameters,
        model._statistics,
        job,
        Memory.fresh(model._network, model._parameters, job),
    )
    trainer.run(1)  # compile before the timer starts
    with pytest.raises(KeyboardInterrupt), interrupt_after(0.2):
        run_training(trainer, job)
    again = fastnn.Model([2, 3, 2], random_state=0, backend=name)
    again.train(X, y, num_passes=trainer.n_passes, epsilon=0.001, reg_lambda=0.01)
    np.testing.assert_array_equal(parameters(again), parameters(model))
    model.train(X, y, num_passes=10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_interrupt_of_train_leaves_a_model_that_works(backend):
    model = fastnn.Model([2, 3, 2], random_state=0, backend=backend)
    model.train(X, y, num_passes=500)  # a busy machine may do no epoch before the interrupt
    with pytest.raises(KeyboardInterrupt), interrupt_after(0.2):
        model.train(X, y, num_passes=10**12)
    assert np.isfinite(parameters(model)).all()
    assert (model.predict(X) == y).mean() > 0.7


def test_models_trained_on_threads_equal_models_trained_one_by_one():
    seeds = range(8)
    models = [fastnn.Model([2, 3, 2], random_state=seed) for seed in seeds]
    threads = [threading.Thread(target=model.train, args=(X, y, 200)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, model in zip(seeds, models, strict=True):
        alone = fastnn.Model([2, 3, 2], random_state=seed)
        alone.train(X, y, 200)
        np.testing.assert_array_equal(parameters(model), parameters(alone))


def test_batch_norm_gives_live_views():
    model = fastnn.Model([2, 3, 4, 2], batch_norm=True, random_state=0)
    assert [layer.scale.shape for layer in model.batch_norm] == [(1, 3), (1, 4)]
    assert [layer.running_variance.shape for layer in model.batch_norm] == [(3,), (4,)]
    before = model.predict_proba(X)
    model.batch_norm[0].shift[...] = 5
    assert (model.batch_norm[0].shift == 5).all()
    assert not np.array_equal(model.predict_proba(X), before)
    assert fastnn.Model([2, 3, 2]).batch_norm == []


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_a_gradient_too_large_to_be_clipped_is_a_divergence(backend):
    model = fastnn.Model(
        [2, 3, 2],
        activation="identity",
        output_activation="identity",
        loss="squared_error",
        backend=backend,
        random_state=0,
    )
    with pytest.raises(fastnn.DivergenceError, match="epoch 0"):
        model.train([[1e160, 0.0]], [[1.0, 2.0]], num_passes=3, clip_norm=1.0)
    assert np.isfinite(model.W[0]).all()
