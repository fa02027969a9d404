"""Early stopping: patience, scorers, and the restored parameters."""

import math

import numpy as np
import pytest
from estimator_checks import parameters
from small_models import BACKENDS, X, X_val, few, model_for, noise_y, y, y_val
from strategies import name_of

import fastnn

OVERFITTING = {
    "num_passes": 900, "epsilon": 0.05, "reg_lambda": 0.0, "optimizer": "adam", "reduction": "mean",
    "validation_data": (X_val, y_val),
}  # fmt: skip


def overfit(backend, stopping, **options):
    """Train on random labels with early stopping; return model and history."""
    model = model_for(backend, **{k: options.pop(k) for k in ("batch_norm",) if k in options})
    return model, model.train(few, noise_y, callbacks=[stopping], **OVERFITTING | options)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "options",
    [{}, {"ema_decay": 0.9}, {"batch_norm": True}, {"batch_size": 16, "random_state": 0}],
    ids=name_of,
)
def test_early_stopping_restores_the_best_parameters(options, backend):
    if backend == "numba" and options not in ({}, {"ema_decay": 0.9}):
        # Take options whose kernels other tests compile, too.
        options = options | {"optimizer": "sgd", "epsilon": 0.5, "batch_size": 16, "random_state": 0}
    model, history = overfit(backend, fastnn.EarlyStopping(patience=20), **dict(options))
    assert history.stopped_early
    best = int(np.argmin(history.validation_loss))
    assert len(history) == best + 21
    assert history.validation_loss[-1] > history.validation_loss[best]
    assert model.calculate_loss(X_val, y_val) == pytest.approx(history.validation_loss[best], rel=1e-13)


def test_patience_counts_epochs_of_a_long_run():
    """Only every third epoch of this run is validated."""
    _, history = overfit("numba", fastnn.EarlyStopping(patience=20), num_passes=3000)
    best = int(np.argmin(history.validation_loss))
    assert history.passes[-1] - history.passes[best] == 21


def test_an_improvement_below_min_delta_does_not_count():
    losses = overfit("numpy", fastnn.EarlyStopping(patience=10, min_delta=0.02))[1].validation_loss
    best, best_pass = math.inf, None
    for number, loss in enumerate(losses):
        if loss < best - 0.02:
            best, best_pass = loss, number
    assert len(losses) == best_pass + 11


def accuracy(model, X, y):
    assert isinstance(model, fastnn.Model)
    assert y.ndim == 1
    assert y.dtype.kind == "i"
    return (model.predict(X) == y).mean()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_epoch_with_the_highest_score_is_the_best(backend):
    scores = []

    def scorer(model, X, y):
        scores.append(accuracy(model, X, y))
        return scores[-1]

    model, history = overfit(backend, fastnn.EarlyStopping(patience=15, scorer=scorer))
    assert history.stopped_early
    assert len(scores) == len(history) == np.argmax(scores) + 16
    assert accuracy(model, X_val, y_val) == max(scores)
    assert np.isfinite(history.validation_loss).all()


def test_a_scorer_of_a_regression_gets_the_targets_as_given():
    def scorer(model, X, y):
        assert y.shape == given.shape
        return -np.abs(model.predict(X) - y.reshape(-1, 1)).mean()

    model = fastnn.Model([2, 3, 1], loss="squared_error", backend="numpy", random_state=0)
    for given in (y_val, y_val[:, None]):
        model.train(
            X, y, num_passes=20, epsilon=0.001, validation_data=(X_val, given),
            callbacks=[fastnn.EarlyStopping(scorer=scorer)],
        )  # fmt: skip


@pytest.mark.parametrize("ties", ["earliest", "latest"])
def test_ties_go_to_the_chosen_epoch(ties):
    """All epochs have the same score: the parameters are those after the first epoch, or after the last."""
    model = fastnn.Model([2, 3, 2], backend="numpy", random_state=0)
    options = {"num_passes": 20, "epsilon": 0.001, "validation_data": (X_val, y_val)}
    stopping = fastnn.EarlyStopping(patience=3, scorer=lambda *_: 0.5, ties=ties)
    history = model.train(X, y, callbacks=[stopping], **options)
    assert len(history) == 4  # ties do not extend the patience
    other = fastnn.Model([2, 3, 2], backend="numpy", random_state=0)
    other.train(X, y, **options | {"num_passes": 1 if ties == "earliest" else 4})
    np.testing.assert_array_equal(parameters(model), parameters(other))


def test_a_scorer_that_changes_its_model_does_not_change_the_training():
    def scorer(model, X, y):
        model.W[0][...] = np.nan
        return 0.0

    model, alone = model_for(), model_for()
    model.train(X, y, num_passes=1, validation_data=(X, y), callbacks=[fastnn.EarlyStopping(scorer=scorer)])
    alone.train(X, y, num_passes=1)
    np.testing.assert_array_equal(parameters(model), parameters(alone))


def test_a_score_of_nan_is_no_improvement():
    model, history = overfit("numpy", fastnn.EarlyStopping(patience=5, scorer=lambda *_: math.nan))
    assert len(history) == 5
    assert np.isfinite(parameters(model)).all()


def test_the_best_epoch_may_be_the_last():
    model = model_for()
    history = model.train(
        X, y, num_passes=30, epsilon=0.001, validation_data=(X, y), callbacks=[fastnn.EarlyStopping()]
    )
    assert history.stopped_early is False
    assert model.calculate_loss(X, y) == pytest.approx(history.validation_loss[-1], rel=1e-13)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 0}, "patience must be an integer of at least 1, got 0"),
        ({"patience": 2.5}, "patience must be an integer .*got 2.5"),
        ({"min_delta": -1}, "min_delta must be a finite number of at least 0, got -1"),
        ({"min_delta": math.nan}, "min_delta must be .*got nan"),
        ({"ties": "last"}, "ties must be"),
        ({"scorer": "accuracy"}, "scorer must be a function of model, X and y, got 'accuracy'"),
    ],
)
def test_bad_options_of_early_stopping_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fastnn.EarlyStopping(**options)


def test_a_model_without_a_finite_score_can_be_saved(tmp_path):
    """Epochs that only equal the score before the first epoch, which is minus infinity, are not the best."""
    model = model_for("numpy")
    stopping = fastnn.EarlyStopping(scorer=lambda *_: -math.inf, ties="latest")
    history = model.train(X, y, num_passes=3, validation_data=(X_val, y_val), callbacks=[stopping])
    model.save(tmp_path / "run.fastnn")
    np.testing.assert_array_equal(fastnn.load(tmp_path / "run.fastnn").history_.loss, history.loss)


@pytest.mark.parametrize("score", [None, "high", np.zeros(2)], ids=name_of)
def test_a_score_that_is_no_number_is_refused(score):
    stopping = fastnn.EarlyStopping(scorer=lambda *_: score)
    with pytest.raises(ValueError, match="^scorer must give a number, got"):
        model_for("numpy").train(X, y, num_passes=3, validation_data=(X_val, y_val), callbacks=[stopping])
