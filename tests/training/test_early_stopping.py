"""Early stopping: the rule of patience, scorers, and the restored parameters."""

import gc
import math
import weakref

import numpy as np
import pytest
from estimator_checks import parameters
from small_models import X, X_val, few, model_for, noise_y, y, y_val

import fastnn
from fastnn.training.loop import Hook
from fastnn.training.patience import TIES, Patience

OVERFITTING = {"num_passes": 900, "reg_lambda": 0.0, "reduction": "mean", "validation_data": (X_val, y_val)}
ADAM = {"optimizer": "adam", "epsilon": 0.05}


def overfit(backend, stopping, batch_norm=False, **options):
    model = model_for(backend, batch_norm=batch_norm)
    return model, model.train(few, noise_y, callbacks=[stopping], **OVERFITTING | ADAM | options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ema_decay": 0.9},
        {"batch_norm": True, "batch_size": 16, "optimizer": "sgd", "epsilon": 0.5, "random_state": 0},
        {"num_passes": 3000},  # only every third epoch is validated, but patience counts all
        {"optimizer": "lbfgs"},
    ],
    ids=["plain", "average", "normalised batches", "long", "lbfgs"],
)
def test_early_stopping_restores_the_best_parameters(options, backend):
    model, history = overfit(backend, fastnn.EarlyStopping(patience=20), **options)
    assert history.stopped_early
    best = int(np.argmin(history.validation_loss))
    assert history.passes[-1] - history.passes[best] == (21 if "num_passes" in options else 20)
    assert model.calculate_loss(X_val, y_val) == pytest.approx(history.validation_loss[best], rel=1e-13)


def test_an_improvement_below_min_delta_does_not_count():
    losses = overfit("numpy", fastnn.EarlyStopping(patience=10, min_delta=0.02))[1].validation_loss
    best, best_pass = math.inf, None
    for number, loss in enumerate(losses):
        if loss < best - 0.02:
            best, best_pass = loss, number
    assert len(losses) == best_pass + 11


def test_the_epoch_with_the_highest_score_is_the_best(backend):
    scores = []

    def score(model, X, y):
        assert isinstance(model, fastnn.Model)
        assert (y.shape, y.dtype.kind) == ((70,), "i")
        scores.append((model.predict(X) == y).mean())
        model.W[0][...] = np.nan  # changes a copy, not the training
        return scores[-1]

    model, history = overfit(backend, fastnn.EarlyStopping(patience=15, scorer=score))
    assert history.stopped_early
    assert len(scores) == len(history) == np.argmax(scores) + 16
    assert (model.predict(X_val) == y_val).mean() == max(scores)
    assert np.isfinite(history.validation_loss).all()


def test_a_scorer_of_a_regression_gets_the_targets_as_given():
    shapes = []
    stopping = fastnn.EarlyStopping(scorer=lambda model, X, y: shapes.append(y.shape) or 0.0)
    model = fastnn.Model([2, 3, 1], loss="squared_error", backend="numpy", random_state=0)
    for targets in (y_val, y_val[:, None]):
        model.train(X, y, num_passes=1, validation_data=(X_val, targets), callbacks=[stopping])
    assert shapes == [(70,), (70, 1)]


@pytest.mark.parametrize("ties", TIES)
def test_ties_go_to_the_chosen_epoch(ties):
    """All epochs have the same score: the parameters are those after the first epoch, or after the last."""
    model, other = model_for("numpy"), model_for("numpy")
    options = {"epsilon": 0.001, "validation_data": (X_val, y_val)}
    stopping = fastnn.EarlyStopping(patience=3, scorer=lambda *_: 0.5, ties=ties)
    history = model.train(X, y, num_passes=20, callbacks=[stopping], **options)
    assert len(history) == 4  # ties do not extend the patience
    other.train(X, y, num_passes=1 if ties == "earliest" else 4, **options)
    np.testing.assert_array_equal(parameters(model), parameters(other))


@pytest.mark.parametrize("score", [math.nan, -math.inf])
def test_a_training_without_a_finite_score_keeps_its_last_epoch(score, tmp_path):
    stopping = fastnn.EarlyStopping(patience=5, scorer=lambda *_: score, ties="latest")
    model, trainers = model_for("numpy"), weakref.WeakSet()
    note = type("Note", (Hook,), {"begin": lambda _, training: trainers.add(training.trainer)})()
    gc.disable()
    with pytest.warns(UserWarning, match="^no score was a finite number: the last epoch is kept"):
        history = model.train(few, noise_y, callbacks=[stopping, note], **OVERFITTING)
    gc.enable()
    assert not trainers  # no cycle keeps the arrays of a training
    with pytest.raises(KeyError):  # and no warning, which would be an error here
        model_for("numpy").train(few, noise_y, callbacks=[stopping, lambda _: {}[0]], **OVERFITTING)
    assert len(history) == 5
    assert np.isfinite(parameters(model)).all()
    model.save(tmp_path / "run.fastnn")
    assert fastnn.load(tmp_path / "run.fastnn").history_ == history


@pytest.mark.parametrize("score", [None, "high", np.zeros(2)], ids=["None", "text", "array"])
def test_a_score_that_is_not_a_number_is_refused(score):
    with pytest.raises(ValueError, match="^scorer must give a number, got"):
        overfit("numpy", fastnn.EarlyStopping(scorer=lambda *_: score))


def test_values_between_the_ends_of_cycles_do_not_count():
    patience, kept = Patience(1, cycles=[2, 5, 8]), []
    for n_done, value in enumerate([3.0, 4.0, 5.0, 6.0, 3.0, 1.0, 9.0, 3.0], 1):
        if patience.observe(value, n_done):
            kept.append(n_done)
        assert patience.is_over == (n_done == 8)
    assert kept == [2, 5]
