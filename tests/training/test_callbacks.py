"""Callbacks, progress bars and hooks of a training."""

import numpy as np
import pytest
from estimator_checks import parameters
from small_models import X, X_val, few, few_y, model_for, y, y_val

import fastnn
from fastnn.training.loop import Hook

VALIDATED = {"validation_data": (X_val, y_val)}


def test_callbacks_see_the_history_grow(backend):
    seen = []
    callbacks = (seen.append, lambda h: None)
    history = model_for(backend).train(X, y, num_passes=12, callbacks=callbacks, **VALIDATED)
    # With validation data, callbacks are called after every epoch.
    assert [len(one) for one in seen] == list(range(1, 13))
    np.testing.assert_array_equal(seen[4].loss, history.loss[:5])
    np.testing.assert_array_equal(seen[4].validation_loss, history.validation_loss[:5])
    # A callback that is called for the first time after the first epoch also sees that one alone.
    wide, seen[:] = np.ones((20_000, 300)), []
    fastnn.Model([300, 200, 2], random_state=0).train(wide, [0] * 20_000, 1, 1e-6, callbacks=callbacks)
    assert min(map(len, seen)) == 1


def test_a_callback_that_returns_true_ends_the_training(backend):
    model, called = model_for(backend), []
    callbacks = [lambda history: np.bool_(len(history) == 5), lambda history: called.append(len(history))]
    history = model.train(X, y, num_passes=1000, callbacks=callbacks, **VALIDATED)
    assert (history.stopped_early, len(history)) == (True, 5)
    assert called == [1, 2, 3, 4, 5], "callbacks after the one that ends the training are called, too"
    again = model_for(backend)
    again.train(X, y, num_passes=5)
    np.testing.assert_array_equal(parameters(model), parameters(again))
    for answer in (1, "yes", np.ones(3), None):
        assert len(model.train(X, y, num_passes=20, callbacks=[lambda history, answer=answer: answer])) == 20
    assert model.train(X, y, num_passes=1, callbacks=[lambda history: True]).stopped_early is False


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, StopIteration])
@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs", "levenberg_marquardt"])
def test_a_callback_that_raises_leaves_the_model_after_the_last_epoch(optimizer, error, backend, capsys):
    network, data = {"loss": "squared_error"}, {"X": X, "y": np.tanh(X), "validation_data": (X_val, X_val)}
    options = {"optimizer": optimizer, **data}
    model = model_for(backend, **network)
    assert model.history_ is None

    def fail(history):
        if len(history) == 3:
            raise error("enough") from StopIteration()

    message = "^a callback, a scorer or a schedule raised Stop" if error is StopIteration else "enough"
    with pytest.raises(RuntimeError if error is StopIteration else error, match=message):
        model.train(num_passes=100, callbacks=[fail], progress=True, **options)
    again = model_for(backend, **network)
    again.train(num_passes=3, **options)
    np.testing.assert_array_equal(parameters(model), parameters(again))
    assert model.history_ == again.history_
    for each in (model, again):
        assert each.train(num_passes=2, **options) is each.history_
    np.testing.assert_array_equal(parameters(model), parameters(again))


@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs"])
def test_progress_is_a_bar_on_stderr(optimizer, backend, capsys):
    model_for(backend).train(X, y, num_passes=10, optimizer=optimizer, progress=True, **VALIDATED)
    out, err = capsys.readouterr()
    assert out == ""
    for text in ("10/10", "loss=", "samples/s=", "validation=", "rate="):
        assert text in err
    model, options = model_for(backend), {"optimizer": optimizer, "reg_lambda": 0.1}
    model.train(X, y, num_passes=5, callbacks=[fastnn.EarlyStopping()], **VALIDATED, **options)
    assert capsys.readouterr() == ("", "")
    model.train(X, y, num_passes=8, resume=True, progress=True, **VALIDATED, **options)
    err = capsys.readouterr().err
    assert "5/8" in err, "the bar begins at the epochs done before"
    assert "8/8" in err


class StopAtSteps(Hook):
    """Hook that ends chunks at certain steps, which it records, and the training at the last one."""

    def __init__(self, stops):
        self.stops, self.seen = stops, []

    def next_step(self, training):
        return next((stop for stop in self.stops if stop > training.trainer.n_steps), None)

    def after_chunk(self, training):
        self.seen.append(training.trainer.n_steps)
        return self.seen[-1] == self.stops[-1]


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_chunks_end_at_the_steps_of_hooks(backend, optimizer):
    options = {"num_passes": 9} if optimizer == "lbfgs" else {"num_passes": 3, "batch_size": 16}
    hooks = StopAtSteps([2, 100]), StopAtSteps([1, 3, 8])  # an epoch of adam has three steps
    history = model_for(backend).train(few, few_y, optimizer=optimizer, callbacks=hooks, **options)
    assert {1, 2, 3, 8} <= {*hooks[0].seen}
    assert hooks[0].seen[-1] == 8
    assert history.stopped_early
