"""Callbacks, printed losses and progress bars of a training."""

import numpy as np
import pytest
from estimator_checks import parameters
from small_models import BACKENDS, X, X_val, model_for, y, y_val

import fastnn
from fastnn.training.loop import Hook


@pytest.mark.parametrize("backend", BACKENDS)
def test_callbacks_see_the_history_grow(backend):
    seen = []
    history = model_for(backend).train(
        X, y, num_passes=12, validation_data=(X_val, y_val), callbacks=[seen.append, lambda h: None]
    )
    # With validation data, callbacks are called after every epoch.
    assert [len(one) for one in seen] == list(range(1, 13))
    assert all(isinstance(one, fastnn.History) for one in seen)
    np.testing.assert_array_equal(seen[4].loss, history.loss[:5])
    np.testing.assert_array_equal(seen[4].validation_loss, history.validation_loss[:5])


@pytest.mark.parametrize("backend", BACKENDS)
def test_callbacks_are_called_without_validation_data_too(backend):
    seen = []
    model_for(backend).train(X, y, num_passes=50, callbacks=(seen.append,))
    assert seen
    assert len(seen[-1]) == 50


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_callback_that_returns_true_ends_the_training(backend):
    model, called = model_for(backend), []

    def second(history):
        called.append(len(history))

    history = model.train(
        X, y, num_passes=1000, validation_data=(X_val, y_val),
        callbacks=[lambda history: len(history) == 5, second],
    )  # fmt: skip
    assert history.stopped_early is True
    assert len(history) == 5
    assert called == [1, 2, 3, 4, 5], "callbacks after the one that ends the training are called, too"
    again = model_for(backend)
    again.train(X, y, num_passes=5)
    np.testing.assert_array_equal(parameters(model), parameters(again))


@pytest.mark.parametrize("answer", [1, "yes", np.ones(3), None])
def test_callbacks_that_return_anything_else_do_not_end_the_training(answer):
    history = model_for().train(X, y, num_passes=20, callbacks=[lambda history: answer])
    assert len(history) == 20


def test_a_training_ended_after_its_last_epoch_did_not_stop_early():
    history = model_for().train(X, y, num_passes=1, callbacks=[lambda history: True])
    assert history.stopped_early is False


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("options", [{}, {"optimizer": "lbfgs"}], ids=["descent", "lbfgs"])
def test_a_callback_that_raises_leaves_the_model_after_the_last_epoch(options, error, backend, capsys):
    model = model_for(backend)

    def fail(history):
        if len(history) == 3:
            raise error("enough")

    with pytest.raises(error, match="enough"):
        model.train(
            X, y, num_passes=100, validation_data=(X_val, y_val), callbacks=[fail], progress=True, **options
        )
    again = model_for(backend)
    again.train(X, y, num_passes=3, **options)
    np.testing.assert_array_equal(parameters(model), parameters(again))
    model.train(X, y, num_passes=2)
    again.train(X, y, num_passes=2)
    np.testing.assert_array_equal(parameters(model), parameters(again))


def test_a_callback_may_use_the_model():
    model, losses = model_for(), []
    history = model.train(
        X, y, num_passes=4, validation_data=(X_val, y_val),
        callbacks=[lambda history: losses.append(model.calculate_loss(X_val, y_val))],
    )  # fmt: skip
    np.testing.assert_allclose(losses, history.validation_loss, rtol=1e-12)


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (len, "callbacks must be a list, got <built-in function len>"),
        (None, "callbacks must be a list, got None"),
        ([3], r"callbacks must be functions, an EarlyStopping\(\) or a Checkpoint\(\), got 3"),
        ([fastnn.EarlyStopping], r"an EarlyStopping\(\) or a Checkpoint\(\), got <class"),
        ([fastnn.EarlyStopping()], "EarlyStopping watches validation data"),
    ],
)
def test_bad_callbacks_are_refused(callbacks, message):
    model = model_for("numpy")
    before = parameters(model)
    with pytest.raises(ValueError, match=message):
        model.train(X, y, callbacks=callbacks)
    np.testing.assert_array_equal(parameters(model), before)


def test_two_early_stoppings_are_refused():
    with pytest.raises(ValueError, match="more than one EarlyStopping"):
        model_for().train(X, y, validation_data=(X, y), callbacks=[fastnn.EarlyStopping()] * 2)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_at_the_beginning_of_a_hook_is_raised_and_changes_nothing(error):
    class Failing(Hook):
        def begin(self, training):
            raise error("not today")

    model = model_for()
    before = parameters(model).copy()
    with pytest.raises(error, match="not today"):
        model.train(X, y, num_passes=5, callbacks=[Failing()], progress=True)
    np.testing.assert_array_equal(parameters(model), before)
    assert model.history_ is None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs"])
def test_progress_is_a_bar_on_stderr(optimizer, backend, capsys):
    model_for(backend).train(
        X, y, num_passes=10, optimizer=optimizer, validation_data=(X_val, y_val), progress=True
    )
    out, err = capsys.readouterr()
    assert out == ""
    assert "10/10" in err
    for shown in ("loss=", "samples/s=", "validation=", "rate="):
        assert shown in err


def test_the_bar_of_a_resumed_training_begins_at_the_epochs_done_before(capsys):
    model = model_for()
    options = {"epsilon": 0.01, "reduction": "mean", "random_state": 0}
    model.train(X, y, num_passes=10, **options)
    model.train(X, y, num_passes=20, resume=True, progress=True, **options)
    err = capsys.readouterr().err
    assert "10/20" in err
    assert "20/20" in err


def test_a_training_without_progress_prints_nothing(capsys):
    model_for().train(
        X, y, num_passes=10, batch_size=16, validation_data=(X_val, y_val), progress=False,
        callbacks=[fastnn.EarlyStopping()],
    )  # fmt: skip
    assert capsys.readouterr() == ("", "")


def test_printed_losses_are_those_of_the_averaged_parameters(capsys):
    model = model_for()
    model.train(X, y, num_passes=1, ema_decay=0.5, print_loss=True)
    assert capsys.readouterr().out == f"Loss after iteration 0: {model.calculate_loss(X, y):f}\n"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_callback_may_return_a_numpy_bool(backend):
    model = fastnn.Model([2, 3, 2], backend=backend, random_state=0)
    history = model.train(X, y, num_passes=10**6, callbacks=[lambda history: history.loss[-1] < 10.0])
    assert history.stopped_early
    assert len(history)


def test_callbacks_wait_for_the_first_epoch():
    seen = []
    random = np.random.default_rng(0)
    wide, labels = random.normal(size=(20_000, 300)), random.integers(0, 2, 20_000)
    model = fastnn.Model([300, 200, 2], random_state=0)
    model.train(
        wide, labels, num_passes=1, epsilon=1e-6, callbacks=[lambda history: seen.append(len(history))]
    )
    assert seen
    assert min(seen) == 1
