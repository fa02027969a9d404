"""The history of a training: the epochs that it keeps, its fields, and printed losses."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from estimator_checks import parameters
from small_models import X, X_val, few, few_y, model_for, y, y_val

import fastnn
from fastnn.training.history import MAX_RECORDS


def test_fields_of_a_history_have_a_finite_value_for_each_epoch():
    history = model_for().train(X, y, num_passes=20, epsilon=0.001, validation_data=(X_val, y_val))
    assert isinstance(history, fastnn.History)
    assert len(history) == 20
    np.testing.assert_array_equal(history.passes, np.arange(20))
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


def test_the_history_of_no_epochs_is_empty(backend):
    model = model_for(backend)
    before = parameters(model)
    history = model.train(X, y, num_passes=0, batch_size=16, validation_data=(X_val, y_val))
    assert (len(history), history.update_ratio.shape) == (0, (0, 2))
    assert repr(history) == "History(no epochs)"
    np.testing.assert_array_equal(parameters(model), before)
    without = model.train(X, y, num_passes=3)
    assert np.isnan(without.validation_loss).all()
    assert "validation" not in repr(without)


@pytest.mark.parametrize(
    ("backend", "num_passes"),
    [*(("numba", n) for n in (1, 999, 1000, 1001, 2000, 2001)), ("numpy", 1001), ("numpy", 2000)],
)
def test_kept_epochs_are_equally_spaced_and_include_the_last(backend, num_passes):
    history = model_for(backend).train(few[:5], few_y[:5], num_passes=num_passes, epsilon=0.001)
    distance = -(-num_passes // MAX_RECORDS)
    np.testing.assert_array_equal(history.passes, sorted({*range(0, num_passes, distance), num_passes - 1}))
    assert len(history.loss) == len(history.update_ratio) == len(history)
    assert (history.gradient_norm > 0).all()
    assert (history.loss > 0).all()


@pytest.mark.parametrize("options", [{}, {"batch_size": 16}, {"ema_decay": 0.8}], ids=str)
def test_validation_and_printing_do_not_change_the_training(options, backend, capsys):
    """Every epoch is better than the one before: early stopping restores no earlier parameters."""
    scores, losses = [], []

    def score(model, X, y):
        losses.append(model.calculate_loss(X, y))
        scores.append(len(scores))
        return scores[-1]

    alone, watched = model_for(backend), model_for(backend)
    options |= {"num_passes": 30, "epsilon": 0.005, "random_state": 1, "validation_data": (X_val, y_val)}
    first = alone.train(X, y, **options)
    stopping = fastnn.EarlyStopping(patience=1000, scorer=score)
    second = watched.train(X, y, print_every=7, callbacks=[lambda history: None, stopping], **options)
    assert scores == list(range(30))
    np.testing.assert_array_equal(parameters(alone), parameters(watched))
    assert first == second
    assert len(capsys.readouterr().out.splitlines()) == 5
    np.testing.assert_allclose(first.validation_loss, losses, rtol=1e-12)


def test_histories_are_equal_if_all_their_entries_are():
    def history(num_passes=5, **options):
        return model_for("numpy").train(X, y, num_passes=num_passes, epsilon=1e-3, **options)

    one = history()
    assert one == history() == pickle.loads(pickle.dumps(one)) == copy.deepcopy(one)
    for other in (history(reg_lambda=0.5), history(validation_data=(X_val, y_val)), history(4), None, 5):
        assert one != other
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_a_history_counts_the_epochs_after_the_last_kept_one(backend, tmp_path):
    """L-BFGS converges between two kept epochs."""
    model = model_for(backend)
    converged = model.train(X, y, num_passes=10**6, optimizer="lbfgs", reg_lambda=0.1)
    assert len(converged) == 1 < converged.n_passes < 1000
    assert repr(converged) == f"History(epochs={converged.n_passes}, loss={converged.loss[0]:.6g} in epoch 0)"
    model.save(tmp_path / "model.fastnn")
    assert fastnn.load(tmp_path / "model.fastnn").history_ == converged
    assert converged != replace(converged, n_passes=converged.n_passes + 1)


PRINTED = [
    ({"num_passes": 251, "print_every": 100, "batch_size": 16, "random_state": 0}, [0, 100, 200]),
    ({"num_passes": 7, "print_every": np.int64(3)}, [0, 3, 6]),
    ({"num_passes": 7, "print_every": 3, "optimizer": "lbfgs"}, [0, 3, 6]),
    ({"num_passes": 4, "print_every": 2**62}, [0]),
    ({"num_passes": 1001, "print_loss": True}, [0, 1000]),
    ({"num_passes": 1, "print_loss": True, "ema_decay": 0.5}, [0]),
    ({"num_passes": 3}, []),
]


@pytest.mark.parametrize(("options", "epochs"), PRINTED)
def test_losses_are_printed_every_print_every_epochs(backend, options, epochs, capsys):
    model = model_for(backend)
    model.train(few, few_y, **options)
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(":")[0] for line in lines] == [f"Loss after iteration {k}" for k in epochs]
    if epochs and epochs[-1] == options["num_passes"] - 1:
        assert lines[-1].endswith(f": {model.calculate_loss(few, few_y):f}"), "the loss after the epoch"
