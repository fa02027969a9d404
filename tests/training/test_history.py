"""The history of a training: the epochs that it keeps, and its fields."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from estimator_checks import parameters
from small_models import BACKENDS, X, X_val, few, few_y, model_for, y, y_val

import fastnn
from fastnn.training.history import MAX_RECORDS


def test_fields_of_a_history_have_a_finite_value_for_each_epoch():
    history = model_for().train(X, y, num_passes=20, epsilon=0.001, validation_data=(X_val, y_val))
    assert isinstance(history, fastnn.History)
    assert len(history) == 20
    np.testing.assert_array_equal(history.passes, np.arange(20))
    assert history.passes.dtype == np.int64
    for name in ("loss", "validation_loss", "learning_rate", "gradient_norm"):
        values = getattr(history, name)
        assert (values.shape, values.dtype) == ((20,), np.float64), name
        assert np.isfinite(values).all(), name
    assert history.update_ratio.shape == (20, 2)
    assert (history.update_ratio > 0).all()
    assert history.stopped_early is False
    assert (np.diff(history.loss) < 0).all()
    assert repr(history) == (
        f"History(epochs=20, loss={history.loss[-1]:.6g}, validation_loss={history.validation_loss[-1]:.6g})"
    )
    again = pickle.loads(pickle.dumps(history))
    np.testing.assert_array_equal(again.loss, history.loss)


def test_without_validation_data_the_validation_loss_is_nan():
    history = model_for().train(X, y, num_passes=3)
    assert np.isnan(history.validation_loss).all()
    assert "validation" not in repr(history)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_history_of_no_epochs_is_empty(backend):
    model = model_for(backend)
    before = parameters(model)
    history = model.train(X, y, num_passes=0, batch_size=16, validation_data=(X_val, y_val))
    assert len(history) == 0
    assert history.update_ratio.shape == (0, 2)
    assert repr(history) == "History(no epochs)"
    np.testing.assert_array_equal(parameters(model), before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_long_run_keeps_every_third_epoch(backend):
    model = model_for(backend)
    history = model.train(few, few_y, num_passes=2500, epsilon=0.001, validation_data=(X_val[:5], y_val[:5]))
    np.testing.assert_array_equal(history.passes, np.arange(0, 2500, 3))
    assert len(history) <= MAX_RECORDS
    for array in (history.loss, history.validation_loss, history.gradient_norm, history.update_ratio):
        assert len(array) == 834
        assert np.isfinite(array).all()
    again = model_for(backend)
    again.train(few, few_y, num_passes=7, epsilon=0.001)
    assert history.validation_loss[2] == pytest.approx(again.calculate_loss(X_val[:5], y_val[:5]), rel=1e-12)
    again.train(few, few_y, num_passes=2, epsilon=0.001)
    assert history.loss[3] == pytest.approx(again.calculate_loss(few, few_y), rel=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("num_passes", [1, 999, 1000, 1001, 2000, 2001])
def test_kept_epochs_are_equally_spaced_and_include_the_last(num_passes, backend):
    history = model_for(backend).train(few[:5], few_y[:5], num_passes=num_passes, epsilon=0.001)
    distance = -(-num_passes // MAX_RECORDS)
    np.testing.assert_array_equal(history.passes, sorted({*range(0, num_passes, distance), num_passes - 1}))
    assert len(history.loss) == len(history.update_ratio) == len(history)
    assert (history.gradient_norm > 0).all()
    assert (history.loss > 0).all()


def test_num_passes_may_be_any_integer_type():
    for number in (np.int8(100), np.uint8(100), np.uint64(100), 100):
        history = model_for().train(few, few_y, num_passes=number, batch_size=np.int8(40))
        assert len(history) == 100


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", [{}, {"batch_size": 16}, {"ema_decay": 0.8}])
def test_validation_loss_is_that_of_the_model_after_the_epoch(options, backend):
    history = model_for(backend).train(
        X, y, num_passes=4, epsilon=0.005, validation_data=(X_val, y_val), random_state=3, **options
    )
    for n in range(1, 5):
        model = model_for(backend)
        model.train(X, y, num_passes=n, epsilon=0.005, random_state=3, **options)
        expected = model.calculate_loss(X_val, y_val)
        assert history.validation_loss[n - 1] == pytest.approx(expected, rel=1e-12)


def test_validation_and_callbacks_do_not_change_the_training():
    scores = []

    def score(model, X, y):
        # Every epoch is better than the one before: early stopping restores no earlier parameters.
        scores.append(len(scores))
        return scores[-1]

    alone, watched = model_for(), model_for()
    first = alone.train(X, y, num_passes=30, batch_size=16, random_state=1)
    second = watched.train(
        X, y, num_passes=30, batch_size=16, random_state=1, validation_data=(X_val, y_val),
        callbacks=[lambda history: None, fastnn.EarlyStopping(patience=1000, scorer=score)],
    )  # fmt: skip
    assert scores == list(range(len(second.passes)))
    np.testing.assert_array_equal(parameters(alone), parameters(watched))
    np.testing.assert_array_equal(first.loss, second.loss)


def test_histories_are_equal_if_all_their_entries_are():
    def history(**options):
        return model_for(BACKENDS[0]).train(X, y, num_passes=5, epsilon=1e-3, **options)

    one = history()
    assert one == history()
    assert one in [history()]
    assert pickle.loads(pickle.dumps(one)) == one
    for other in (history(reg_lambda=0.5), history(validation_data=(X_val, y_val)), None, 5):
        assert one != other
    assert one != model_for(BACKENDS[0]).train(X, y, num_passes=4, epsilon=1e-3)
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_history_counts_the_epochs_after_the_last_kept_one(backend, tmp_path):
    """L-BFGS converges, a callback stops, and Ctrl-C comes between two kept epochs."""
    converged = model_for(backend).train(X, y, num_passes=10**6, optimizer="lbfgs", reg_lambda=0.1)
    assert len(converged) == 1
    assert 1 < converged.n_passes < 1000
    assert repr(converged) == f"History(epochs={converged.n_passes}, loss={converged.loss[0]:.6g} in epoch 0)"

    def interrupt(history):
        if history.n_passes > 1:
            raise KeyboardInterrupt

    model = model_for(backend)
    with pytest.raises(KeyboardInterrupt):
        model.train(few, few_y, num_passes=10**9, epsilon=1e-6, callbacks=[interrupt])
    interrupted = model.history_
    assert interrupted.n_passes > 1
    assert len(interrupted) == -(-interrupted.n_passes // 10**6)
    stopped = model_for(backend).train(
        few, few_y, num_passes=10**9, epsilon=1e-6, callbacks=[lambda history: history.n_passes > 1]
    )
    assert stopped.n_passes > 1
    model.save(tmp_path / "model.fastnn")
    assert fastnn.load(tmp_path / "model.fastnn").history_ == interrupted
    assert pickle.loads(pickle.dumps(model)).history_ == interrupted
    assert interrupted != replace(interrupted, n_passes=interrupted.n_passes + 1)
