"""What happens around the steps: history, callbacks, early stopping, schedules, weights of samples.

The kernels these tests compile are few: the tutorial's network, on the whole batch and on batches.
"""

import math
import pickle

import numpy as np
import pytest
from estimator_checks import parameters
from processes import run_python
from sklearn.datasets import make_moons
from strategies import name_of

import fastnn
from fastnn import schedules
from fastnn.engine.choice import BACKENDS as SIDES
from fastnn.optimizers import OPTIMIZERS
from fastnn.training.history import MOST_RECORDS

BACKENDS = ("numba", "numpy")
CLOSE = {"rtol": 1e-10, "atol": 1e-12}

X, y = make_moons(200, noise=0.20, random_state=0)
X_val, y_val = make_moons(70, noise=0.35, random_state=1)
few, few_y = X[:37], y[:37]


def model_for(backend="numba", **options):
    options = {"random_state": 0} | options
    return fastnn.Model([2, 3, 2], backend=backend, **options)


# --- a training written out, for a network of two layers of tanh and softmax over them ---------------


def by_hand(model, X, y, n_passes, epsilon, weights=None, batch_size=None, mean=False, reg_lambda=0.0,
            l1=0.0, clip_norm=None, max_norm=None, ema_decay=None):  # fmt: skip
    """Parameters, losses, norms of gradients and ratios of updates, from plain gradient descent."""
    W, b = [w.copy() for w in model.W], [v[0].copy() for v in model.b]
    average = [a.copy() for a in (*W, *b)]
    weights = np.ones(len(X)) if weights is None else np.asarray(weights, float)
    size = batch_size or len(X)
    losses, norms, ratios = [], [], []
    for _ in range(n_passes):
        loss = 0.0
        for first in range(0, len(X), size):
            samples, labels, shares = (a[first : first + size] for a in (X, y, weights))
            if mean:
                shares = shares / shares.sum()
            hidden = np.tanh(samples @ W[0] + b[0])
            scores = np.tanh(hidden @ W[1] + b[1])
            e = np.exp(scores)
            probabilities = e / e.sum(axis=1, keepdims=True)
            loss -= weights[first : first + size] @ np.log(probabilities[np.arange(len(labels)), labels])
            d = (probabilities - np.eye(2)[labels]) * shares[:, None] * (1 - scores**2)
            below = (d @ W[1].T) * (1 - hidden**2)
            gradients = [samples.T @ below, hidden.T @ d, below.sum(axis=0), d.sum(axis=0)]
            norm = math.sqrt(sum((g**2).sum() for g in gradients))
            if clip_norm and norm > clip_norm:
                gradients = [g * clip_norm / norm for g in gradients]
            before = [w.copy() for w in W]
            for k in (0, 1):
                W[k] -= epsilon * (gradients[k] + reg_lambda * W[k] + l1 * np.sign(W[k]))
                b[k] -= epsilon * gradients[2 + k]
                if max_norm:
                    W[k] *= np.minimum(1, max_norm / np.linalg.norm(W[k], axis=0))
            if ema_decay is not None:
                average = [
                    ema_decay * old + (1 - ema_decay) * new
                    for old, new in zip(average, (*W, *b), strict=True)
                ]
        losses.append(loss / weights.sum())
        norms.append(norm)
        ratios.append(
            [np.linalg.norm(w - old) / np.linalg.norm(old) for w, old in zip(W, before, strict=True)]
        )
    found = average if ema_decay is not None else (*W, *b)
    return np.concatenate([a.ravel() for a in found]), losses, norms, ratios


WRITTEN_OUT = {
    "plain": {},
    "mean": {"reduction": "mean", "epsilon": 0.2},
    "batches and a short last one": {"batch_size": 8},
    "batches, mean": {"batch_size": 8, "reduction": "mean", "epsilon": 0.2},
    "batches of one": {"batch_size": 1},
    "a batch larger than the data": {"batch_size": 1000},
    "weights": {"weights": np.arange(37) % 4},
    "weights, batches, mean": {
        "weights": 0.1 + np.arange(37) % 4, "batch_size": 8, "reduction": "mean", "epsilon": 0.2,
    },
    "L2": {"reg_lambda": 0.7},
    "L1": {"l1": 0.5},
    "L1, L2, batches": {"l1": 0.3, "reg_lambda": 0.2, "batch_size": 8},
    "clipped": {"clip_norm": 1.5, "reg_lambda": 0.2},
    "norms limited": {"max_norm": 0.8, "batch_size": 8},
    "average": {"ema_decay": 0.9},
    "average, batches": {"ema_decay": 0.5, "batch_size": 8},
    "average that is the parameters": {"ema_decay": 0.0},
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", WRITTEN_OUT.values(), ids=WRITTEN_OUT)
def test_against_the_training_written_out(options, backend):
    options = {"epsilon": 0.02, "reg_lambda": 0.0} | options
    hand = {k: v for k, v in options.items() if k != "reduction"}
    model = model_for(backend)
    expected, losses, norms, ratios = by_hand(
        model, few, few_y, 12, mean=options.get("reduction") == "mean", **hand
    )
    weights = options.pop("weights", None)
    history = model.train(few, few_y, num_passes=12, shuffle=False, sample_weight=weights, **options)
    np.testing.assert_allclose(parameters(model), expected, **CLOSE)
    np.testing.assert_allclose(history.loss, losses, **CLOSE)
    np.testing.assert_allclose(history.gradient_norm, norms, **CLOSE)
    np.testing.assert_allclose(history.update_ratio, ratios, **CLOSE)


# --- history -------------------------------------------------------------------------------------


def test_fields_of_a_history():
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
        f"History(passes=20, loss={history.loss[-1]:.6g}, validation_loss={history.validation_loss[-1]:.6g})"
    )
    again = pickle.loads(pickle.dumps(history))
    np.testing.assert_array_equal(again.loss, history.loss)


def test_without_validation_data_there_is_no_such_loss():
    history = model_for().train(X, y, num_passes=3)
    assert np.isnan(history.validation_loss).all()
    assert "validation" not in repr(history)


@pytest.mark.parametrize("backend", BACKENDS)
def test_history_of_nothing(backend):
    model = model_for(backend)
    before = parameters(model)
    history = model.train(X, y, num_passes=0, batch_size=16, validation_data=(X_val, y_val))
    assert len(history) == 0
    assert history.update_ratio.shape == (0, 2)
    assert repr(history) == "History(no passes)"
    np.testing.assert_array_equal(parameters(model), before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_long_run_keeps_every_third_pass(backend):
    model = model_for(backend)
    history = model.train(few, few_y, num_passes=2500, epsilon=0.001, validation_data=(X_val[:5], y_val[:5]))
    np.testing.assert_array_equal(history.passes, np.arange(0, 2500, 3))
    assert len(history) <= MOST_RECORDS
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
def test_which_passes_are_kept(num_passes, backend):
    history = model_for(backend).train(few[:5], few_y[:5], num_passes=num_passes, epsilon=0.001)
    every = -(-num_passes // MOST_RECORDS)
    np.testing.assert_array_equal(history.passes, sorted({*range(0, num_passes, every), num_passes - 1}))
    assert len(history.loss) == len(history.update_ratio) == len(history)
    assert (history.gradient_norm > 0).all()
    assert (history.loss > 0).all()


def test_any_integer_counts_passes():
    for number in (np.int8(100), np.uint8(100), np.uint64(100), 100):
        history = model_for().train(few, few_y, num_passes=number, batch_size=np.int8(40))
        assert len(history) == 100


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", [{}, {"batch_size": 16}, {"ema_decay": 0.8}])
def test_validation_loss_is_the_models_after_the_pass(options, backend):
    history = model_for(backend).train(
        X, y, num_passes=4, epsilon=0.005, validation_data=(X_val, y_val), random_state=3, **options
    )
    for n in range(1, 5):
        model = model_for(backend)
        model.train(X, y, num_passes=n, epsilon=0.005, random_state=3, **options)
        expected = model.calculate_loss(X_val, y_val)
        assert history.validation_loss[n - 1] == pytest.approx(expected, rel=1e-12)


def test_looking_on_does_not_change_the_training():
    looks = []

    def score(model, X, y):
        # The last pass is the best: the training goes back to no other.
        looks.append(len(looks))
        return looks[-1]

    alone, watched = model_for(), model_for()
    first = alone.train(X, y, num_passes=30, batch_size=16, random_state=1)
    second = watched.train(
        X, y, num_passes=30, batch_size=16, random_state=1, validation_data=(X_val, y_val),
        callbacks=[lambda history: None, fastnn.EarlyStopping(patience=1000, scorer=score)],
    )  # fmt: skip
    assert looks == list(range(len(second.passes)))
    np.testing.assert_array_equal(parameters(alone), parameters(watched))
    np.testing.assert_array_equal(first.loss, second.loss)


# --- callbacks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_callbacks_see_the_history_grow(backend):
    seen = []
    history = model_for(backend).train(
        X, y, num_passes=12, validation_data=(X_val, y_val), callbacks=[seen.append, lambda h: None]
    )
    # With validation data every pass is looked at.
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
    assert called == [1, 2, 3, 4, 5], "the others see the end too"
    again = model_for(backend)
    again.train(X, y, num_passes=5)
    np.testing.assert_array_equal(parameters(model), parameters(again))


@pytest.mark.parametrize("answer", [1, "yes", np.ones(3), None])
def test_other_answers_of_callbacks_do_not_end_it(answer):
    history = model_for().train(X, y, num_passes=20, callbacks=[lambda history: answer])
    assert len(history) == 20


def test_a_training_that_was_done_did_not_stop_early():
    history = model_for().train(X, y, num_passes=1, callbacks=[lambda history: True])
    assert history.stopped_early is False


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_callback_that_raises(error, backend, capsys):
    model = model_for(backend)

    def fail(history):
        if len(history) == 3:
            raise error("enough")

    with pytest.raises(error, match="enough"):
        model.train(X, y, num_passes=100, validation_data=(X_val, y_val), callbacks=[fail], progress=True)
    again = model_for(backend)
    again.train(X, y, num_passes=3)
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
        ([3], r"callbacks must be functions or an EarlyStopping\(\), got 3"),
        ([fastnn.EarlyStopping], r"callbacks must be functions or an EarlyStopping\(\), got <class"),
        ([fastnn.EarlyStopping()], "EarlyStopping watches validation data"),
    ],
)
def test_bad_callbacks(callbacks, message):
    model = model_for("numpy")
    before = parameters(model)
    with pytest.raises(ValueError, match=message):
        model.train(X, y, callbacks=callbacks)
    np.testing.assert_array_equal(parameters(model), before)


def test_two_early_stoppings_are_one_too_many():
    with pytest.raises(ValueError, match="more than one EarlyStopping"):
        model_for().train(X, y, validation_data=(X, y), callbacks=[fastnn.EarlyStopping()] * 2)


# --- early stopping ------------------------------------------------------------------------------

# Labels that cannot be learned, only by heart.
noise_y = np.random.default_rng(3).integers(0, 2, 37)
OVERFITTING = {
    "num_passes": 900, "epsilon": 0.05, "reg_lambda": 0.0, "optimizer": "adam", "reduction": "mean",
    "validation_data": (X_val, y_val),
}  # fmt: skip


def overfit(backend, stopping, **options):
    model = model_for(backend, **{k: options.pop(k) for k in ("batch_norm",) if k in options})
    return model, model.train(few, noise_y, callbacks=[stopping], **OVERFITTING | options)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "options",
    [{}, {"ema_decay": 0.9}, {"batch_norm": True}, {"batch_size": 16, "random_state": 0}],
    ids=name_of,
)
def test_early_stopping_goes_back_to_the_best(options, backend):
    if backend == "numba" and options not in ({}, {"ema_decay": 0.9}):
        # Compiled for other tests.
        options = options | {"optimizer": "sgd", "epsilon": 0.5, "batch_size": 16, "random_state": 0}
    model, history = overfit(backend, fastnn.EarlyStopping(patience=20), **dict(options))
    assert history.stopped_early
    best = int(np.argmin(history.validation_loss))
    assert len(history) == best + 21
    assert history.validation_loss[-1] > history.validation_loss[best]
    assert model.calculate_loss(X_val, y_val) == pytest.approx(history.validation_loss[best], rel=1e-13)


def test_patience_counts_passes_of_a_long_run():
    """A run of which only every third pass is looked at."""
    _, history = overfit("numba", fastnn.EarlyStopping(patience=20), num_passes=3000)
    best = int(np.argmin(history.validation_loss))
    assert history.passes[-1] - history.passes[best] == 21


def test_an_improvement_smaller_than_min_delta_is_none():
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
def test_a_scorer_is_better_the_higher_it_is(backend):
    scores = []

    def scorer(model, X, y):
        scores.append(accuracy(model, X, y))
        return scores[-1]

    model, history = overfit(backend, fastnn.EarlyStopping(patience=15, scorer=scorer))
    assert history.stopped_early
    assert len(scores) == len(history) == np.argmax(scores) + 16
    assert accuracy(model, X_val, y_val) == max(scores)
    assert np.isfinite(history.validation_loss).all()


def test_a_scorer_of_a_regression_gets_the_targets():
    def scorer(model, X, y):
        assert y.shape == (70, 1)
        return -np.abs(model.predict(X) - y).mean()

    model = fastnn.Model([2, 3, 1], loss="squared_error", backend="numpy", random_state=0)
    model.train(
        X, y, num_passes=20, epsilon=0.001, validation_data=(X_val, y_val),
        callbacks=[fastnn.EarlyStopping(scorer=scorer)],
    )  # fmt: skip


def test_a_scorer_cannot_spoil_the_training():
    def scorer(model, X, y):
        model.W[0][...] = np.nan
        return 0.0

    model, alone = model_for(), model_for()
    model.train(X, y, num_passes=1, validation_data=(X, y), callbacks=[fastnn.EarlyStopping(scorer=scorer)])
    alone.train(X, y, num_passes=1)
    np.testing.assert_array_equal(parameters(model), parameters(alone))


def test_scores_that_are_no_numbers_are_no_improvement():
    model, history = overfit("numpy", fastnn.EarlyStopping(patience=5, scorer=lambda *_: math.nan))
    assert len(history) == 5
    assert np.isfinite(parameters(model)).all()


def test_the_best_may_be_the_last():
    model = model_for()
    history = model.train(
        X, y, num_passes=30, epsilon=0.001, validation_data=(X, y), callbacks=[fastnn.EarlyStopping()]
    )
    assert history.stopped_early is False
    assert model.calculate_loss(X, y) == pytest.approx(history.validation_loss[-1], rel=1e-13)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 0}, "patience must be an integer not below 1 .*got 0"),
        ({"patience": 2.5}, "patience must be an integer .*got 2.5"),
        ({"min_delta": -1}, "min_delta must be a finite number not below 0, got -1"),
        ({"min_delta": math.nan}, "min_delta must be .*got nan"),
        ({"scorer": "accuracy"}, "scorer must be a function of model, X and y, got 'accuracy'"),
    ],
)
def test_bad_early_stopping(options, message):
    with pytest.raises(ValueError, match=message):
        fastnn.EarlyStopping(**options)


# --- progress ------------------------------------------------------------------------------------


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


def test_no_progress_is_silence(capsys):
    model_for().train(
        X, y, num_passes=10, batch_size=16, validation_data=(X_val, y_val), progress=False,
        callbacks=[fastnn.EarlyStopping()],
    )  # fmt: skip
    assert capsys.readouterr() == ("", "")


def test_printed_losses_are_the_averages_where_one_is_kept(capsys):
    model = model_for()
    model.train(X, y, num_passes=1, ema_decay=0.5, print_loss=True)
    assert capsys.readouterr().out == f"Loss after iteration 0: {model.calculate_loss(X, y):f}\n"


# --- schedules -----------------------------------------------------------------------------------

SCHEDULES = {
    **{name: (name, schedules.SCHEDULES[name]()) for name in schedules.SCHEDULES},
    "object": (
        fastnn.WarmUp(fastnn.CosineDecay(minimum=0.1), length=7),
        fastnn.WarmUp(fastnn.CosineDecay(minimum=0.1), length=7),
    ),
    "function": (lambda step: 1 / (1 + step), fastnn.InverseTimeDecay(decay_steps=1, decay_rate=1)),
}


@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize(("given", "schedule"), SCHEDULES.values(), ids=SCHEDULES)
def test_the_rates_of_a_schedule(given, schedule, batch_size):
    history = model_for().train(few, few_y, num_passes=20, batch_size=batch_size, schedule=given)
    n_batches = 3 if batch_size else 1
    last_steps = np.arange(1, 21) * n_batches - 1
    expected = 0.01 * schedule.factors(last_steps, 20 * n_batches)
    np.testing.assert_allclose(history.learning_rate, expected, rtol=1e-13, atol=1e-18)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_warm_up_step_by_step(backend):
    """The same as single passes at the rates of the schedule."""
    model, by_steps = model_for(backend), model_for(backend)
    schedule = fastnn.WarmUp(fastnn.StepDecay(3, gamma=0.5), length=4)
    history = model.train(X, y, num_passes=12, schedule=schedule)
    rates = [0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005, 0.005, 0.0025, 0.0025]
    np.testing.assert_allclose(history.learning_rate, rates)
    for rate in rates:
        by_steps.train(X, y, num_passes=1, epsilon=rate)
    np.testing.assert_allclose(parameters(model), parameters(by_steps), rtol=1e-12)


def test_a_rate_of_zero_changes_nothing():
    model = model_for()
    before = parameters(model)
    history = model.train(X, y, num_passes=5, schedule=lambda step: 0.0)
    np.testing.assert_array_equal(parameters(model), before)
    assert (history.update_ratio == 0).all()


class Broken(schedules.Schedule):
    def __init__(self, value):
        self.value = value

    def factors(self, steps, total):
        return self.value


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "value", [0.5, np.array([0.5, 0.5]), np.full(30, np.nan), np.full(30, -1.0)], ids=name_of
)
def test_a_schedule_of_ones_own_that_is_wrong(value, backend):
    """A kernel would read rates that are not there."""
    model = model_for(backend)
    before = parameters(model)
    with pytest.raises(ValueError, match="schedule must give a finite factor not below 0"):
        model.train(X, y, num_passes=30, schedule=Broken(value))
    np.testing.assert_array_equal(parameters(model), before)


# --- weights of samples, regularisation ----------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_weight_of_two_is_the_sample_twice(reduction, backend):
    weights = np.where(np.arange(37) % 3, 1.0, 2.0)
    twice = np.repeat(np.arange(37), weights.astype(int))
    weighted, repeated = model_for(backend), model_for(backend)
    options = {"num_passes": 20, "epsilon": 0.02, "reduction": reduction}
    first = weighted.train(few, few_y, sample_weight=weights, **options)
    second = repeated.train(few[twice], few_y[twice], **options)
    np.testing.assert_allclose(parameters(weighted), parameters(repeated), **CLOSE)
    np.testing.assert_allclose(first.loss, second.loss, **CLOSE)
    assert weighted.calculate_loss(few, few_y, weights) == pytest.approx(
        repeated.calculate_loss(few[twice], few_y[twice]), rel=1e-10
    )


@pytest.mark.parametrize(
    ("backend", "options"), [("numba", {}), ("numpy", {}), ("numpy", {"batch_norm": True})]
)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_weight_of_zero_is_no_sample(reduction, backend, options):
    there = np.arange(37) % 5 > 0
    weighted, without = model_for(backend, **options), model_for(backend, **options)
    rates = {"num_passes": 20, "epsilon": 0.02, "reduction": reduction}
    first = weighted.train(few, few_y, sample_weight=there, **rates)
    second = without.train(few[there], few_y[there], **rates)
    np.testing.assert_allclose(parameters(weighted), parameters(without), **CLOSE)
    np.testing.assert_allclose(weighted._statistics, without._statistics, **CLOSE)
    np.testing.assert_allclose(first.loss, second.loss, **CLOSE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_without_weight_is_no_step(backend):
    weights = np.repeat([1.0, 0.0, 1.0], [16, 16, 5])
    weighted, without = model_for(backend), model_for(backend)
    options = {"num_passes": 5, "reg_lambda": 0.0, "batch_size": 16, "shuffle": False, "reduction": "mean"}
    weighted.train(few, few_y, sample_weight=weights, **options)
    without.train(few[weights > 0], few_y[weights > 0], **options)
    np.testing.assert_allclose(parameters(weighted), parameters(without), **CLOSE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_mean_is_the_sum_by_the_number(backend):
    by_sum, by_mean = model_for(backend), model_for(backend)
    first = by_sum.train(X, y, num_passes=20, epsilon=0.005, reg_lambda=0.02)
    second = by_mean.train(X, y, num_passes=20, epsilon=0.005 * 200, reg_lambda=0.02 / 200, reduction="mean")
    np.testing.assert_allclose(parameters(by_sum), parameters(by_mean), **CLOSE)
    np.testing.assert_allclose(first.loss, second.loss, **CLOSE)
    np.testing.assert_allclose(first.gradient_norm, 200 * second.gradient_norm, **CLOSE)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("backend", BACKENDS)
def test_max_norm_holds_after_training(backend, dtype):
    model = model_for(backend, dtype=dtype)
    model.train(X, y, num_passes=50, reg_lambda=0.0, max_norm=0.2)
    norms = np.concatenate([np.linalg.norm(W.astype(float), axis=0) for W in model.W])
    assert (norms <= 0.2 * (1 + 4 * np.finfo(dtype).eps)).all()
    assert norms.max() == pytest.approx(0.2, rel=1e-5)
    assert max(np.abs(b).max() for b in model.b) > 0.2, "biases are not limited"


@pytest.mark.parametrize("backend", BACKENDS)
def test_l1_leads_to_small_weights_and_leaves_biases(backend):
    sparse, dense = model_for(backend), model_for(backend)
    options = {"num_passes": 500, "epsilon": 0.001, "reg_lambda": 0.0}
    sparse.train(X, y, l1=20.0, **options)
    dense.train(X, y, **options)
    # What is left swings about 0 within a step.
    assert (np.abs(sparse.W[0]) <= 0.021).mean() >= 0.5
    assert sum(np.abs(W).sum() for W in sparse.W) < 0.5 * sum(np.abs(W).sum() for W in dense.W)
    assert max(np.abs(b).max() for b in sparse.b) > 0.1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch_size", [None, 16])
def test_clipped_gradients_however_large(batch_size, backend):
    """The squares of these still are numbers; of some larger ones they are not."""
    model = model_for(backend)
    for W in model.W:
        W *= 1e-3
    before = parameters(model)
    huge = 1e125 * np.sign(few)
    history = model.train(
        huge, few_y, num_passes=1, epsilon=0.01, reg_lambda=0.0, clip_norm=1.0, batch_size=batch_size,
        sample_weight=np.full(37, 1e25),
    )  # fmt: skip
    assert np.isfinite(history.gradient_norm).all()
    assert np.isfinite(parameters(model)).all()
    steps = 3 if batch_size else 1
    assert np.linalg.norm(parameters(model) - before) <= 0.01 * steps * (1 + 1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_gradient_within_the_limit_is_not_clipped(backend):
    clipped, free = model_for(backend), model_for(backend)
    history = clipped.train(X, y, num_passes=10, clip_norm=1e6)
    free.train(X, y, num_passes=10)
    assert history.gradient_norm.max() < 1e6
    np.testing.assert_array_equal(parameters(clipped), parameters(free))


# --- order and chance ----------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_seed_gives_the_same_run_and_another_gives_another(backend):
    def trained(seed, **options):
        model = model_for(backend, dropout=0.3)
        model.train(X, y, num_passes=5, batch_size=16, random_state=seed, **options)
        return parameters(model)

    np.testing.assert_array_equal(trained(1), trained(1))
    assert (trained(1) != trained(2)).any()
    assert (trained(1) != trained(1, shuffle=False)).any()
    np.random.seed(1)
    np.testing.assert_array_equal(trained(None), trained(1))
    state = np.random.RandomState(1)
    np.testing.assert_array_equal(trained(state), trained(1))
    assert (trained(state) != trained(1)).any(), "the generator has moved on"


def test_the_global_generator_is_asked_only_if_there_is_something_to_draw():
    np.random.seed(5)
    expected = np.random.rand()
    for options in ({}, {"batch_size": 16, "shuffle": False}, {"batch_size": 200}, {"random_state": 3}):
        np.random.seed(5)
        model_for().train(X, y, num_passes=2, **options)
        assert np.random.rand() == expected, options
    np.random.seed(5)
    model_for().train(X, y, num_passes=2, batch_size=16)
    assert np.random.rand() != expected


@pytest.mark.parametrize("backend", BACKENDS)
def test_both_sides_shuffle_and_drop_alike(backend):
    model, other = model_for("numba", dropout=[0.1, 0.3]), model_for("numpy", dropout=[0.1, 0.3])
    options = {"num_passes": 6, "batch_size": 16, "random_state": 2, "epsilon": 0.01}
    first, second = model.train(X, y, **options), other.train(X, y, **options)
    np.testing.assert_allclose(parameters(model), parameters(other), **CLOSE)
    np.testing.assert_allclose(first.loss, second.loss, **CLOSE)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_pass_takes_every_sample_once(backend):
    """At a rate of 0 the losses of the batches add up to that of the data, in whatever order."""
    model = model_for(backend)
    history = model.train(X, y, num_passes=5, epsilon=0.0, batch_size=16, random_state=0)
    np.testing.assert_allclose(history.loss, model.calculate_loss(X, y), rtol=1e-12)
    assert len(np.unique(history.gradient_norm)) == 5, "but the last batch is another every time"


def test_a_whole_batch_is_not_shuffled():
    model, other = model_for(), model_for()
    model.train(X, y, num_passes=5, random_state=0)
    other.train(X, y, num_passes=5, batch_size=200, random_state=1)
    np.testing.assert_array_equal(parameters(model), parameters(other))


SAME_BITS = """
    import hashlib
    import numpy as np
    import fastnn

    random = np.random.default_rng(0)
    X, y = random.normal(size=(1200, 20)), random.integers(0, 3, 1200)
    for n_threads in (1, 2, 3, 8):
        model = fastnn.Model([20, 64, 64, 3], dropout=0.2, random_state=0)
        history = model.train(
            X, y, num_passes=3, epsilon=1e-4, batch_size=512, n_threads=n_threads, random_state=1
        )
        measured = history.loss.tobytes() + history.gradient_norm.tobytes() + history.update_ratio.tobytes()
        print(hashlib.sha256(model._parameters.tobytes() + measured).hexdigest())
"""


def test_a_seed_gives_the_same_bits_in_five_processes_on_any_number_of_threads():
    from fastnn.engine.arguments import sharing

    network = fastnn.Model([20, 64, 64, 3], dropout=0.2)._network
    assert sharing(network, 512) == (8, False), "there is something to share"
    printed = [line for _ in range(5) for line in run_python(SAME_BITS).split()]
    assert len(printed) == 20
    assert len(set(printed)) == 1


# --- divergence, interrupts ----------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", [{}, {"batch_size": 16}, {"ema_decay": 0.9}])
def test_divergence_names_pass_rate_and_remedy(options, backend):
    model = model_for(backend)
    with pytest.raises(fastnn.DivergenceError, match="must stay below 2: lower either") as caught:
        model.train(
            X, y, num_passes=10000, epsilon=200.0, reg_lambda=1.0, schedule=fastnn.StepDecay(100000),
            random_state=0, **options,
        )  # fmt: skip
    error = caught.value
    assert f"diverged in pass {error.iteration}:" in str(error)
    assert "epsilon=200 and reg_lambda=1." in str(error)
    assert (error.epsilon, error.reg_lambda) == (200.0, 1.0)
    assert 0 < error.iteration < 500
    assert np.isfinite(parameters(model)).all()
    assert np.abs(parameters(model)).max() > 1e290, "the last before it"
    # And the model works.
    assert model.predict(X).shape == (200,)


def test_divergence_comes_in_the_same_pass_on_both_sides():
    iterations = []
    for backend in BACKENDS:
        with pytest.raises(fastnn.DivergenceError) as caught:
            model_for(backend).train(
                X, y, num_passes=10000, epsilon=200.0, reg_lambda=1.0, batch_size=16, random_state=0
            )
        iterations.append(caught.value.iteration)
    assert iterations[0] == iterations[1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_divergence_names_the_scheduled_rate(backend):
    model = model_for(backend)
    with pytest.raises(fastnn.DivergenceError, match="epsilon=400 and") as caught:
        model.train(X, y, num_passes=100000, epsilon=100.0, reg_lambda=1.0, schedule=lambda step: 4.0)
    assert caught.value.epsilon == 400.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_interrupt_between_chunks(backend):
    model = model_for(backend)

    def interrupt(history):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.train(X, y, num_passes=10**9, epsilon=0.001, batch_size=16, callbacks=[interrupt])
    assert np.isfinite(parameters(model)).all()
    assert (parameters(model) != parameters(model_for(backend))).any()
    model.train(X, y, num_passes=2)


INTERRUPTED = """
    import os, signal, sys, threading
    import numpy as np
    import fastnn

    n_threads = int(sys.argv[1]) if len(sys.argv) > 1 else N_THREADS
    random = np.random.default_rng(0)
    X, y = random.normal(size=(1200, 20)), random.integers(0, 3, 1200)
    model = fastnn.Model([20, 64, 64, 3], random_state=0, backend=BACKEND, dropout=0.2)
    before = model._parameters.copy()
    chunks = []

    def under_way(history):
        chunks.append(len(history))
        if len(chunks) == 3:  # compiled, and running: the signal comes in the middle of the next chunk
            threading.Timer(0.02, os.kill, [os.getpid(), signal.SIGINT]).start()

    try:
        model.train(
            X, y, num_passes=10**9, epsilon=1e-5, batch_size=512, n_threads=n_threads, callbacks=[under_way]
        )
    except KeyboardInterrupt:
        print("interrupted")
    assert np.isfinite(model._parameters).all()
    assert (model._parameters != before).any()
    model.train(X, y, num_passes=1, epsilon=1e-5, batch_size=512, n_threads=n_threads)
    print("usable")
"""


@pytest.mark.parametrize(("backend", "n_threads"), [("numba", 1), ("numba", 2), ("numpy", 1)])
def test_a_signal_in_the_middle_of_a_training(backend, n_threads):
    program = INTERRUPTED.replace("BACKEND", repr(backend)).replace("N_THREADS", str(n_threads))
    assert run_python(program).split() == ["interrupted", "usable"]


def test_an_interrupt_while_threads_are_started_leaves_none_waiting():
    """It used to leave the others waiting for a thread that never came, so that Python could not end."""
    program = """
        import threading
        import numpy as np
        import fastnn
        from fastnn.system import threads

        class Interrupted(threads.ThreadPoolExecutor):
            def submit(self, *task):
                future = super().submit(*task)
                if threading.current_thread() is threading.main_thread():
                    raise KeyboardInterrupt
                return future

        random = np.random.default_rng(0)
        X, y = random.normal(size=(1200, 20)), random.integers(0, 3, 1200)
        model = fastnn.Model([20, 64, 64, 3], random_state=0, dropout=0.2)
        threads.available_cores = lambda: 2  # on whatever machine
        threads.ThreadPoolExecutor = Interrupted
        try:
            model.train(X, y, num_passes=2, epsilon=1e-5, batch_size=512, n_threads=2)
        except KeyboardInterrupt:
            print("interrupted")
    """
    assert run_python(program).split() == ["interrupted"]


# --- L-BFGS --------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_lbfgs_gets_further_than_2000_passes_of_gradient_descent(backend):
    model, descent = (fastnn.Model([2, 8, 2], backend=backend, random_state=0) for _ in range(2))
    history = model.train(X, y, num_passes=200, optimizer="lbfgs", reg_lambda=0.01)
    descent.train(X, y, num_passes=2000, epsilon=0.01, reg_lambda=0.01)

    def objective(model):
        return 200 * model.calculate_loss(X, y) + 0.005 * sum((W**2).sum() for W in model.W)

    assert objective(model) < objective(descent)
    assert len(history) <= 200
    assert history.loss[-1] == pytest.approx(model.calculate_loss(X, y), rel=1e-10)


def test_lbfgs_agrees_on_both_sides():
    histories, found = [], []
    for backend in BACKENDS:
        model = model_for(backend)
        histories.append(
            model.train(
                X, y, num_passes=30, optimizer=fastnn.LBFGS(gtol=1e-9), reduction="mean", reg_lambda=1e-3,
                sample_weight=1.0 + np.arange(200) % 2,
            )
        )  # fmt: skip
        found.append(parameters(model))
    # An iteration multiplies rounding errors by some number, so that they grow over 30 of them.
    np.testing.assert_allclose(histories[0].loss, histories[1].loss, rtol=1e-6)
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_history_of_lbfgs_falls(backend):
    model = model_for(backend)
    history = model.train(
        X, y, num_passes=50, optimizer="lbfgs", reg_lambda=0.0, validation_data=(X_val, y_val)
    )
    assert (np.diff(history.loss) <= 0).all()
    assert np.isnan(history.learning_rate).all(), "SciPy chooses the steps"
    assert np.isfinite(history.gradient_norm).all()
    assert (history.update_ratio > 0).all()
    assert history.update_ratio.shape == (len(history), 2)
    assert history.validation_loss[-1] == pytest.approx(model.calculate_loss(X_val, y_val), rel=1e-12)


def test_lbfgs_ends_where_it_gets_no_better():
    model = model_for("numpy")
    history = model.train(X, y, num_passes=100000, optimizer=fastnn.LBFGS(ftol=1e-4))
    assert len(history) < 300
    assert history.stopped_early is False


def test_callbacks_and_early_stopping_with_lbfgs():
    seen = []
    model = model_for()

    def until_five(history):
        seen.append(len(history))
        return len(history) == 5

    history = model.train(X, y, num_passes=50, optimizer="lbfgs", callbacks=[until_five])
    assert seen == [1, 2, 3, 4, 5]
    assert history.stopped_early
    again = model_for()
    again.train(X, y, num_passes=5, optimizer="lbfgs")
    np.testing.assert_array_equal(parameters(model), parameters(again))

    model = model_for()
    history = model.train(
        few, noise_y, num_passes=500, optimizer="lbfgs", reg_lambda=0.0, validation_data=(X_val, y_val),
        callbacks=[fastnn.EarlyStopping(patience=10)],
    )  # fmt: skip
    assert history.stopped_early
    best = np.nanmin(history.validation_loss)
    assert best < history.validation_loss[-1]
    assert model.calculate_loss(X_val, y_val) == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_callback_that_raises_in_lbfgs(backend):
    model = model_for(backend)

    def fail(history):
        if len(history) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.train(X, y, num_passes=50, optimizer="lbfgs", callbacks=[fail])
    again = model_for(backend)
    again.train(X, y, num_passes=3, optimizer="lbfgs")
    np.testing.assert_array_equal(parameters(model), parameters(again))


def test_no_passes_of_lbfgs_change_nothing():
    model = model_for("numpy", batch_norm=True)
    before = parameters(model), model._statistics.copy()
    assert len(model.train(X, y, num_passes=0, optimizer="lbfgs")) == 0
    np.testing.assert_array_equal(parameters(model), before[0])
    np.testing.assert_array_equal(model._statistics, before[1])


def test_lbfgs_in_float32_ends_at_the_same_loss():
    losses = []
    for dtype in (np.float64, np.float32):
        model = model_for("numpy", dtype=dtype, random_state=5)
        model.train(X, y, num_passes=300, optimizer="lbfgs")
        assert model.W[0].dtype == dtype
        losses.append(model.calculate_loss(X, y))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.parametrize(
    ("name", "options", "model_options"),
    [
        ("batch_size", {"batch_size": 16}, {}),
        ("schedule", {"schedule": "cosine_decay"}, {}),
        ("l1", {"l1": 0.1}, {}),
        ("max_norm", {"max_norm": 1.0}, {}),
        ("clip_norm", {"clip_norm": 1.0}, {}),
        ("ema_decay", {"ema_decay": 0.5}, {}),
        ("dropout", {}, {"dropout": 0.5}),
    ],
)
def test_what_lbfgs_refuses(name, options, model_options):
    model = model_for("numpy", **model_options)
    before = parameters(model)
    with pytest.raises(ValueError, match=f"optimizer 'lbfgs' .* leave {name} out"):
        model.train(X, y, num_passes=5, optimizer="lbfgs", **options)
    np.testing.assert_array_equal(parameters(model), before)


# --- what the network says -----------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_four_kinds_of_predictions(backend):
    def model_of(loss):
        return fastnn.Model(
            [2, 4, 3], output_activation="identity", loss=loss, backend=backend, random_state=0
        )

    labels = model_of("softmax_cross_entropy")
    probabilities = labels.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    assert (labels.predict(X).shape, labels.predict(X).dtype) == ((200,), np.int64)
    np.testing.assert_array_equal(labels.predict(X), probabilities.argmax(axis=1))

    several = model_of("sigmoid_binary_cross_entropy")
    probabilities = several.predict_proba(X)
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert (several.predict(X).shape, several.predict(X).dtype) == ((200, 3), np.int64)
    np.testing.assert_array_equal(several.predict(X), probabilities > 0.5)

    outputs = model_of("squared_error").predict(X)
    assert (outputs.shape, outputs.dtype) == ((200, 3), np.float64)
    # The same parameters behind another loss are the same scores.
    np.testing.assert_allclose(1 / (1 + np.exp(-outputs)), probabilities, rtol=1e-12)
    np.testing.assert_allclose(model_of("poisson").predict(X), np.exp(outputs), rtol=1e-12)
    np.testing.assert_allclose(
        model_of("multiclass_hinge").predict_proba(X), labels.predict_proba(X), rtol=1e-12
    )
    for loss in ("squared_error", "absolute_error", "huber", "quantile", "poisson"):
        with pytest.raises(ValueError, match=f"the loss '{loss}' has no probabilities: use predict"):
            model_of(loss).predict_proba(X)


def test_every_optimizer_by_its_name():
    for name in OPTIMIZERS:
        model = model_for("numpy")
        model.train(X, y, num_passes=10, epsilon=0.001, optimizer=name)
        assert model.calculate_loss(X, y) < model_for("numpy").calculate_loss(X, y)
    assert set(SIDES) == set(BACKENDS)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_callback_may_answer_with_a_numpy_bool(backend):
    model = fastnn.Model([2, 3, 2], backend=backend, random_state=0)
    history = model.train(X, y, num_passes=10**6, callbacks=[lambda history: history.loss[-1] < 10.0])
    assert history.stopped_early
    assert len(history)


def test_callbacks_wait_for_the_first_pass():
    seen = []
    random = np.random.default_rng(0)
    wide, labels = random.normal(size=(20_000, 300)), random.integers(0, 2, 20_000)
    model = fastnn.Model([300, 200, 2], random_state=0)
    model.train(
        wide, labels, num_passes=1, epsilon=1e-6, callbacks=[lambda history: seen.append(len(history))]
    )
    assert seen
    assert min(seen) == 1


def test_weights_whose_sum_is_beyond_float32():
    model = fastnn.Model([2, 3, 2], random_state=0)
    with pytest.raises(ValueError, match="divide the weights by their mean"):
        model.train(X, y, num_passes=1, sample_weight=np.full(len(X), 1e307))


@pytest.mark.parametrize("backend", BACKENDS)
def test_hinge_does_not_hide_an_overflow(backend):
    model = fastnn.Model(
        [2, 3, 2],
        activation="identity",
        output_activation="identity",
        loss="multiclass_hinge",
        backend=backend,
        random_state=0,
    )
    for W in model.W:
        W[...] = 1e200
    with pytest.raises(fastnn.DivergenceError, match="pass 0"):
        model.train(X, y, num_passes=3)
