"""Printed losses, and the history that a training leaves in the model however it ends."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.datasets import make_moons
from small_models import BACKENDS, model_for

import fastnn

X, y = make_moons(50, noise=0.2, random_state=0)
each_backend = pytest.mark.parametrize("backend", BACKENDS)


def printed(capsys):
    """Return the epochs after which a loss was printed."""
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("Loss after iteration ") for line in lines)
    return [int(line.split()[3].rstrip(":")) for line in lines]


# --- printed losses ------------------------------------------------------------------------------


@each_backend
@pytest.mark.parametrize("options", [{}, {"batch_size": 16, "random_state": 0}], ids=["whole", "batches"])
def test_losses_are_printed_every_print_every_epochs(backend, options, capsys):
    model_for(backend).train(X, y, num_passes=251, print_loss=True, print_every=100, **options)
    assert printed(capsys) == [0, 100, 200]


def test_print_every_alone_turns_printing_on(capsys):
    model_for().train(X, y, num_passes=7, print_every=np.int64(3))
    assert printed(capsys) == [0, 3, 6]
    model_for().train(X, y, num_passes=4, print_every=1)
    assert printed(capsys) == [0, 1, 2, 3]
    model_for().train(X, y, num_passes=4, print_every=2**62)
    assert printed(capsys) == [0]


def test_losses_are_printed_every_1000_epochs_by_default(capsys):
    model_for().train(X, y, num_passes=2001, print_loss=True)
    assert printed(capsys) == [0, 1000, 2000]
    model_for().train(X, y, num_passes=2001)
    assert printed(capsys) == []


def test_a_printed_loss_is_that_of_the_model_after_the_epoch(capsys):
    model = model_for()
    model.train(X, y, num_passes=11, print_every=5)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"Loss after iteration 10: {model.calculate_loss(X, y):f}"


def test_losses_of_lbfgs_are_printed_every_print_every_iterations(capsys):
    model_for().train(X, y, num_passes=7, optimizer="lbfgs", print_every=3)
    assert printed(capsys) == [0, 3, 6]


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "10"])
def test_a_print_every_that_is_not_a_positive_integer_is_refused(value, capsys):
    model = model_for()
    before = model._parameters.copy()
    with pytest.raises(ValueError, match="print_every must be an integer of at least 1, got"):
        model.train(X, y, print_every=value)
    np.testing.assert_array_equal(model._parameters, before)
    assert model.history_ is None
    assert printed(capsys) == []


def test_printing_does_not_change_the_training(capsys):
    silent, loud = model_for(), model_for()
    silent.train(X, y, num_passes=300)
    loud.train(X, y, num_passes=300, print_every=7)
    np.testing.assert_array_equal(silent._parameters, loud._parameters)
    assert len(printed(capsys)) == 43


# --- the history of the last training --------------------------------------------------------------


def check_beginning(history, model, n, **options):
    """Check that a history equals the first `n` epochs of a training of `model`."""
    assert len(history) == n
    expected = model.train(X, y, num_passes=1000, **options)
    np.testing.assert_array_equal(history.passes, expected.passes[:n])
    for name in ("loss", "gradient_norm", "update_ratio", "learning_rate"):
        np.testing.assert_allclose(
            getattr(history, name), getattr(expected, name)[:n], rtol=1e-9, equal_nan=True
        )
    assert not history.stopped_early


@each_backend
@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs"])
def test_history_is_the_object_that_train_returned(optimizer, backend):
    model = model_for(backend)
    assert model.history_ is None
    first = model.train(X, y, num_passes=5, optimizer=optimizer)
    assert model.history_ is first
    second = model.train(X, y, num_passes=3, optimizer=optimizer)
    assert model.history_ is second
    assert len(second) == 3
    nothing = model.train(X, y, num_passes=0, optimizer=optimizer)
    assert model.history_ is nothing


@each_backend
@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_the_history_ends_at_an_interrupt_or_error_of_a_callback(error, optimizer, backend):
    seen = []

    def fail(history):
        seen.append(history)
        if len(seen) == 3:
            raise error

    model = model_for(backend)
    with pytest.raises(error):
        model.train(X, y, num_passes=1000, optimizer=optimizer, callbacks=[fail], validation_data=(X, y))
    history = model.history_
    assert np.isfinite(history.validation_loss).all()
    np.testing.assert_array_equal(history.loss, seen[-1].loss)
    check_beginning(history, model_for(backend), 3, optimizer=optimizer)


@each_backend
def test_the_history_of_a_divergence_is_finite_and_ends_before_it(backend):
    model = fastnn.Model([2, 3, 2], random_state=0, backend=backend)
    old = model.train(X, y, num_passes=5)
    with pytest.raises(fastnn.DivergenceError) as caught:
        model.train(X, y, num_passes=1000, epsilon=4.0, reg_lambda=1.0)
    history = model.history_
    assert history is not old
    assert 0 < len(history) == caught.value.iteration
    assert np.isfinite(history.loss).all()


@pytest.mark.parametrize(
    "options",
    [
        {"epsilon": -1.0}, {"optimizer": "lbfgs", "batch_size": 5}, {"validation_data": (X, y[:3])},
        {"callbacks": [7]}, {"schedule": lambda step: -1.0}, {"schedule": lambda step: None}, {"progress": 3},
    ],
    ids="-".join,
)  # fmt: skip
def test_a_refused_training_leaves_the_old_history(options):
    model = model_for()
    old = model.train(X, y, num_passes=5)
    with pytest.raises(ValueError, match=r".+"):
        model.train(X, y, **options)
    assert model.history_ is old


def test_copies_and_pickles_keep_the_history():
    model = model_for()
    history = model.train(X, y, num_passes=5)
    for clone in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), copy.copy(model)):
        np.testing.assert_array_equal(clone.history_.loss, history.loss)


def test_a_pickle_without_a_history_loads():
    model = model_for()
    old = model_for()
    old.train(X, y, num_passes=5)
    del old.__dict__["history_"]
    for pickled in (pickle.dumps(model), pickle.dumps(old)):
        loaded = pickle.loads(pickled)
        assert loaded.history_ is None
        loaded.train(X, y, num_passes=2)
        assert len(loaded.history_) == 2


def test_an_animated_training_leaves_its_history(tmp_path):
    model = model_for()
    fastnn.animate_training(model, X, y, tmp_path / "a.gif", num_passes=30, frames=3, size=(240, 180))
    assert len(model.history_) == 30
    held = model.history_
    with pytest.raises(ValueError, match="epsilon"):
        fastnn.animate_training(model, X, y, tmp_path / "a.gif", epsilon=-1.0, size=(240, 180))
    assert model.history_ is held


def test_public_names_are_what_dir_shows():
    import fastnn.training.hints

    names = [name for name in dir(fastnn) if not name.startswith("__")]
    assert sorted(names) == sorted(name for name in fastnn.__all__ if not name.startswith("__"))
    assert {"__version__", "__doc__", "__name__", "__all__"} <= set(dir(fastnn))


@pytest.mark.parametrize(
    ("layers_dim", "network", "options"),
    [
        ([2, 3, 1], {"loss": "squared_error"}, {"num_passes": 100}),
        ([2, 3, 2], {}, {"num_passes": 99, "epsilon": 1.0}),
        ([2, 3, 2], {}, {"num_passes": 50, "epsilon": 100.0, "reduction": "mean"}),
    ],
)
def test_a_loss_that_has_risen_far_is_a_warning(layers_dim, network, options):
    X, y = make_moons(200, noise=0.2, random_state=0)
    model = fastnn.Model(layers_dim, output_activation="identity", random_state=0, **network)
    targets = y if layers_dim[-1] == 2 else 1000 * X[:, 0]
    with pytest.warns(UserWarning, match=r"the loss has risen from [\d.e+]+ to [\d.e+]+: lower epsilon="):
        history = model.train(X, targets, random_state=0, **options)
    assert history.loss[-1] > 10 * history.loss[0]


def test_batches_of_one_sample_are_refused_for_batch_normalisation():
    model = fastnn.Model([2, 3, 2], batch_norm=True, random_state=0)
    for fit in (model.train, fastnn.MLPClassifier(batch_norm=True, batch_size=1).fit):
        options = {"batch_size": 1} if fit == model.train else {}
        with pytest.raises(ValueError, match="batch_size=1 does not work with batch_norm"):
            fit(X, y, **options)
    model.train(X[:1], y[:1], batch_size=1, num_passes=2)
