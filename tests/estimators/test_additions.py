"""Parameters that scikit-learn's estimators do not have."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse
import sklearn
import sklearn.neural_network
from estimator_checks import parameters
from estimator_problems import (
    COUNTS,
    LABELS,
    PROBLEMS,
    TARGETS,
    UNCONVERGED,
    WEIGHTS,
    X,
    assert_same_fit,
    classifier,
    regressor,
    y,
)
from sklearn.base import clone
from sklearn.metrics import mean_pinball_loss
from sklearn.model_selection import train_test_split

import fastnn
from fastnn.network.initialization import INITIALIZERS, draw_layer

pytestmark = UNCONVERGED


def test_decision_function_returns_the_logits_of_the_probabilities():
    model = classifier(max_iter=50).fit(X, y)
    scores = model.decision_function(X)
    np.testing.assert_array_equal(scores.argmax(axis=1), model.predict(X))
    np.testing.assert_allclose(scipy.special.softmax(scores, axis=1), model.predict_proba(X))
    model.fit(X, y == 1)
    scores = model.decision_function(X)
    assert scores.shape == (150,)
    np.testing.assert_array_equal(scores > 0, model.predict(X))
    np.testing.assert_allclose(scipy.special.expit(scores), model.predict_proba(X)[:, 1])
    model.fit(X, LABELS)
    scores = model.decision_function(X)
    np.testing.assert_array_equal(scores > 0, model.predict(X))
    np.testing.assert_allclose(scipy.special.expit(scores), model.predict_proba(X))


@pytest.mark.parametrize("targets", [y, y == 1, LABELS], ids=["softmax", "sigmoid", "labels"])
def test_log_probabilities_are_finite_where_probabilities_underflow(targets):
    model = classifier().fit(X, targets)
    model.coefs_ = [coef * 500 for coef in model.coefs_]
    logarithms = model.predict_log_proba(X)
    assert np.isfinite(logarithms).all()
    assert logarithms.min() < np.log(np.finfo(float).tiny)


def test_activation_is_one_name_or_one_name_for_each_hidden_layer():
    names = ["leaky_relu", "gelu", "softplus"]
    model = classifier(activation=names, hidden_layer_sizes=(5, 5, 5)).fit(X, y)
    assert model.model_._network.activations == (*names, "identity")
    one, other = (classifier(activation=name).fit(X, y) for name in ("silu", ("silu",)))
    assert_same_fit(one, other)
    one, other = (regressor(activation=name).fit(X, COUNTS) for name in ("sigmoid", "logistic"))
    assert_same_fit(one, other)
    with pytest.raises(ValueError, match="one name for each hidden layer"):
        classifier(activation=["relu", "tanh"]).fit(X, y)
    with pytest.raises(ValueError, match="got 'square'"):
        classifier(activation=["square"]).fit(X, y)


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        ("momentum", fastnn.Momentum(0.9)),
        ("nesterov", fastnn.Nesterov(0.9)),
        ("adagrad", fastnn.Adagrad()),
        ("rmsprop", fastnn.RMSprop()),
        ("adamw", fastnn.AdamW()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_solver_name_means_its_optimizer_object(name, optimizer):
    one = classifier(solver=name, batch_size=40, max_iter=60, learning_rate_init=0.01).fit(X, y)
    other = classifier(solver=optimizer, batch_size=40, max_iter=60, learning_rate_init=0.01).fit(X, y)
    assert_same_fit(one, other)
    assert one.score(X, y) > 0.8
    assert hasattr(one, "partial_fit")


def test_weight_decay_means_an_optimizer_object_with_that_decay():
    options = {"batch_size": 40, "alpha": 0}
    decayed = classifier(weight_decay=0.1, **options).fit(X, y)
    by_object = classifier(solver=fastnn.AdamW(weight_decay=0.1, eps_hat=True), **options).fit(X, y)
    assert_same_fit(decayed, by_object)
    assert not np.array_equal(parameters(decayed), parameters(classifier(**options).fit(X, y)))
    assert_same_fit(
        classifier(solver="sgd", momentum=0, weight_decay=0.1, **options).fit(X, y),
        classifier(solver=fastnn.SGD(weight_decay=0.1), **options).fit(X, y),
    )
    with pytest.raises(ValueError, match=r"set it in RMSprop\("):
        classifier(weight_decay=0.1, solver=fastnn.RMSprop()).fit(X, y)


def test_a_schedule_name_means_its_schedule_object():
    schedules = {
        "cosine_decay": fastnn.CosineDecay(),
        "step_decay": fastnn.StepDecay(),
        "one_cycle": fastnn.OneCycle(),
        "warm_up": fastnn.WarmUp(),
        "exponential_decay": fastnn.ExponentialDecay(),
        "inverse_time_decay": fastnn.InverseTimeDecay(),
        "constant": fastnn.Constant(),
    }
    options = {"batch_size": 40, "max_iter": 15}
    fits = {name: classifier(learning_rate=name, **options).fit(X, y) for name in schedules}
    for name, schedule in schedules.items():
        assert_same_fit(fits[name], classifier(learning_rate=schedule, **options).fit(X, y))
    assert len({parameters(fitted).tobytes() for fitted in fits.values()}) == len(schedules)
    # As in scikit-learn, only "sgd" follows "invscaling": Adam keeps a constant learning rate.
    assert_same_fit(fits["constant"], classifier(learning_rate="invscaling", **options).fit(X, y))


def test_a_schedule_counts_the_steps_of_all_epochs():
    steps = []
    classifier(learning_rate=lambda step: steps.append(step) or 1.0, batch_size=40).fit(X, y)
    assert sorted(set(steps)) == list(range(5 * 4))  # 5 epochs of 4 batches


def test_dropout_changes_the_fit_but_not_the_predictions():
    fits = {
        rate: classifier(dropout=rate, batch_size=40, max_iter=2).fit(X, y)
        for rate in (0.0, 0.3, (0.0, 0.3), (0.3, 0.0))
    }
    assert_same_fit(fits[0.3], fits[0.0, 0.3])
    assert len({parameters(fitted).tobytes() for fitted in fits.values()}) == 3
    other = classifier(dropout=0.3, batch_size=40, max_iter=2, random_state=1).fit(X, y)
    assert not np.array_equal(parameters(other), parameters(fits[0.3]))
    # Predictions do not depend on dropout.
    expected = fits[0.3].predict_proba(X)
    np.testing.assert_array_equal(fits[0.3].set_params(dropout=0.0).predict_proba(X), expected)
    without = classifier(max_iter=1).fit(X, y)
    without.coefs_, without.intercepts_ = fits[0.3].coefs_, fits[0.3].intercepts_
    np.testing.assert_array_equal(without.predict_proba(X), expected)


def test_batch_norm_predicts_with_the_running_statistics():
    model = classifier(batch_norm=True, batch_size=40, max_iter=30, learning_rate_init=0.01).fit(X, y)
    assert model.score(X, y) > 0.8
    np.testing.assert_array_equal(model.predict_proba(X[:1]), model.predict_proba(X)[:1])
    # Early stopping restores the statistics of the best epoch along with its parameters.
    chosen = classifier(batch_norm=True, early_stopping=True, learning_rate_init=1.0, max_iter=15)
    scores = chosen.fit(X, y, X_val=X, y_val=y).validation_scores_
    assert chosen.score(X, y) == max(scores) > scores[-1]


def test_max_grad_norm_limits_the_norm_of_the_gradient():
    options = {
        "solver": "sgd", "nesterovs_momentum": False, "activation": "tanh", "learning_rate_init": 1.0,
        "max_iter": 1, "alpha": 0,
    }  # fmt: skip
    start = parameters(regressor(**options | {"learning_rate_init": 1e-300}).fit(X, TARGETS))
    step = parameters(regressor(**options).fit(X, TARGETS)) - start
    assert np.linalg.norm(step) > 0.1
    limited = parameters(regressor(max_grad_norm=0.1, **options).fit(X, TARGETS)) - start
    np.testing.assert_allclose(limited, 0.1 * step / np.linalg.norm(step), atol=1e-12)


def test_ema_decay_averages_the_parameters_after_every_step():
    options = {"solver": "sgd", "batch_size": 150, "warm_start": True, "max_iter": 1}
    plain, averaged = regressor(**options), regressor(ema_decay=0.75, **options)
    average = parameters(regressor(**options | {"learning_rate_init": 1e-300}).fit(X, COUNTS))
    for _ in range(4):
        average = 0.75 * average + 0.25 * parameters(plain.fit(X, COUNTS))
        np.testing.assert_allclose(parameters(averaged.fit(X, COUNTS)), average, rtol=1e-9)
    # With a decay of 0, the average is the parameters after the last step.
    assert_same_fit(regressor(ema_decay=0.0).fit(X, COUNTS), regressor().fit(X, COUNTS))


def test_label_smoothing_lowers_the_largest_fitted_probability():
    for targets, n_classes in ((y, 3), (y == 1, 2)):
        model = classifier(label_smoothing=0.3, alpha=0, solver="lbfgs", max_iter=300, tol=1e-9)
        model.fit(X[[0, 60, 120]].repeat(2, axis=0), targets[[0, 60, 120]].repeat(2))
        assert model.predict_proba(X[[0, 60, 120]]).max(axis=1) == pytest.approx(
            1 - 0.3 + 0.3 / n_classes, rel=1e-4
        )


def test_a_fit_to_constant_samples_predicts_the_minimum_of_its_loss():
    """Networks whose samples are all alike can only predict one number: mean, median or quantile."""
    targets = (np.arange(1.0, 102.0) / 51) ** 2
    table = np.zeros((101, 1))
    options = {
        "solver": "sgd", "activation": "tanh", "alpha": 0, "max_iter": 3000, "learning_rate_init": 0.05,
        "learning_rate": "cosine_decay", "n_iter_no_change": np.inf,
    }  # fmt: skip
    expected = {
        "squared_error": targets.mean(), "absolute_error": 1.0, "huber": None, "quantile": (81 / 51) ** 2,
        "poisson": targets.mean(),
    }  # fmt: skip
    for loss, value in expected.items():
        found = regressor(loss=loss, quantile=0.8, **options).fit(table, targets).predict([[0.0]])[0]
        if loss == "huber":  # at the minimum, the clipped errors add up to 0
            assert np.clip(targets - found, -1, 1).sum() == pytest.approx(0, abs=1e-3)
        else:
            assert found == pytest.approx(value, rel=0.02 if loss in ("absolute_error", "quantile") else 1e-4)


def test_a_loss_name_means_its_loss_object():
    by_name, by_object = {"loss": "quantile", "quantile": 0.2}, {"loss": fastnn.Quantile(0.2)}
    options = {"solver": "sgd", "activation": "tanh"}
    assert_same_fit(
        regressor(**by_name, **options).fit(X, COUNTS), regressor(**by_object, **options).fit(X, COUNTS)
    )
    assert not np.array_equal(
        parameters(regressor(loss=fastnn.Huber(0.1), **options).fit(X, COUNTS)),
        parameters(regressor(loss="huber", **options).fit(X, COUNTS)),
    )


def test_each_quantile_has_the_smaller_pinball_loss_at_its_own_level():
    low, high = (
        regressor(
            loss="quantile",
            quantile=q,
            max_iter=400,
            learning_rate_init=0.01,
            solver="sgd",
            activation="tanh",
        ).fit(X, TARGETS[:, 1])
        for q in (0.1, 0.9)
    )
    for model, other, q in ((low, high, 0.1), (high, low, 0.9)):
        losses = [mean_pinball_loss(TARGETS[:, 1], one.predict(X), alpha=q) for one in (model, other)]
        assert losses[0] < losses[1]


def test_loss_is_the_objective_that_is_minimised():
    """An epoch of a single batch records the objective of the parameters before its step."""
    for loss, error in (
        ("squared_error", lambda d: (d**2).sum(axis=1) / 2 / 3),
        ("absolute_error", lambda d: np.abs(d).sum(axis=1)),
        ("huber", lambda d: np.where(np.abs(d) <= 1, d**2 / 2, np.abs(d) - 0.5).sum(axis=1)),
        ("quantile", lambda d: np.maximum(0.3 * d, -0.7 * d).sum(axis=1)),
    ):
        model = regressor(
            loss=loss, quantile=0.3, alpha=0.7, warm_start=True, solver="sgd", activation="tanh"
        )
        model.fit(X, TARGETS, WEIGHTS)
        difference = TARGETS - model.predict(X)
        penalty = 0.35 * sum((coef**2).sum() for coef in model.coefs_) / WEIGHTS.sum()
        model.set_params(max_iter=1).fit(X, TARGETS, WEIGHTS)
        assert model.loss_ == pytest.approx(np.average(error(difference), weights=WEIGHTS) + penalty)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_validation_data_are_scored_after_every_epoch(problem):
    _, targets, options = PROBLEMS[problem]
    rows, others = train_test_split(np.arange(150), random_state=0)
    model = (classifier if problem in ("binary", "multiclass", "multilabel") else regressor)(
        learning_rate_init=0.02, max_iter=8, **options
    )
    model.fit(X[rows], targets[rows], X_val=X[others], y_val=targets[others])
    assert len(model.validation_loss_curve_) == model.n_iter_ == 8
    assert model.validation_scores_ is None
    without = clone(model).fit(X[rows], targets[rows])
    np.testing.assert_array_equal(parameters(model), parameters(without))
    model.set_params(early_stopping=True, max_iter=60, n_iter_no_change=5)
    model.fit(X[rows], targets[rows], X_val=X[others], y_val=targets[others])
    scores = model.validation_scores_
    assert len(scores) == model.n_iter_
    assert model.best_validation_score_ == max(scores)
    assert model.score(X[others], targets[others]) == pytest.approx(max(scores), abs=1e-12)
    assert model.t_ == model.n_iter_ * len(rows)


def test_the_last_validation_loss_is_that_of_the_fitted_network():
    model = classifier(max_iter=3).fit(X, y, X_val=X[:70], y_val=y[:70])
    expected = -model.predict_log_proba(X[:70])[np.arange(70), y[:70]].mean()
    assert model.validation_loss_curve_[-1] == pytest.approx(expected)
    model = regressor(max_iter=3).fit(X, COUNTS, X_val=X[:70], y_val=COUNTS[:70])
    assert model.validation_loss_curve_[-1] == pytest.approx(
        ((model.predict(X[:70]) - COUNTS[:70]) ** 2).mean() / 2
    )
    model = regressor(solver="lbfgs", max_iter=6).fit(X, COUNTS, X_val=X[:70], y_val=COUNTS[:70])
    assert len(model.validation_loss_curve_) == 6
    assert model.validation_loss_curve_[-1] == pytest.approx(
        ((model.predict(X[:70]) - COUNTS[:70]) ** 2).mean() / 2
    )


def test_a_scorer_sees_the_estimator_after_the_present_epoch():
    seen = []

    def scoring(estimator, X, y):
        seen.append((estimator.n_iter_, estimator.loss_, estimator.validation_loss_curve_[-1]))
        return estimator.n_iter_

    model = classifier(early_stopping=True, scoring=scoring)
    for _ in range(2):
        model.fit(X, y)
        passes = range(1, 1 + model.n_iter_)
        assert seen == list(zip(passes, model.loss_curve_, model.validation_loss_curve_, strict=True))
        seen.clear()


def test_scoring_takes_a_name_or_a_scorer_or_a_function():
    options = {"early_stopping": True, "learning_rate_init": 0.05, "max_iter": 12}
    by_default = classifier(**options).fit(X, y)
    for scoring in (
        "accuracy",
        sklearn.metrics.get_scorer("accuracy"),
        lambda model, X, y: model.score(X, y),
    ):
        assert_same_fit(by_default, classifier(scoring=scoring, **options).fit(X, y))
    by_loss = classifier(scoring="loss", **options).fit(X, y)
    assert by_loss.validation_scores_ == [-loss for loss in by_loss.validation_loss_curve_]
    by_name = classifier(scoring="neg_log_loss", **options).fit(X, y)
    np.testing.assert_allclose(by_name.validation_scores_, by_loss.validation_scores_)
    by_error = regressor(scoring="neg_mean_absolute_error", **options).fit(X, TARGETS, X_val=X, y_val=TARGETS)
    assert by_error.best_validation_score_ == pytest.approx(-np.abs(TARGETS - by_error.predict(X)).mean())


def test_unsuitable_validation_data_are_refused():
    for validation, message in (
        ({"X_val": X}, "X_val and y_val go together"),
        ({"y_val": y}, "X_val and y_val go together"),
        ({"X_val": X[:, :2], "y_val": y}, "X has 2 features, but MLPClassifier is expecting 4"),
        ({"X_val": X, "y_val": y[:3]}, "inconsistent numbers of samples"),
        ({"X_val": X * np.nan, "y_val": y}, "contains NaN"),
        ({"X_val": X[:0], "y_val": y[:0]}, "Found array with 0 sample"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier().fit(X, y, **validation)
    with pytest.raises(ValueError, match="y has 1 outputs, but the estimator was fitted with 3"):
        regressor().fit(X, TARGETS, X_val=X, y_val=COUNTS)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        classifier(early_stopping=True).partial_fit(X, y, classes=[0, 1, 2])


def test_lbfgs_refuses_options_of_stochastic_solvers():
    for options in ({"dropout": 0.1}, {"ema_decay": 0.9}, {"max_grad_norm": 1.0}, {"weight_decay": 0.1}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} out or choose another solver"):
            classifier(solver="lbfgs", **options).fit(X, y)
    for solver in ("lbfgs", fastnn.LBFGS()):
        assert not hasattr(classifier(solver=solver), "partial_fit")
        with pytest.raises(AttributeError, match="has no attribute 'partial_fit'") as raised:
            classifier(solver=solver).partial_fit(X, y)
        assert "partial_fit is only available for stochastic optimizers" in str(raised.value.__cause__)
    assert classifier(solver=fastnn.LBFGS(), activation="tanh").fit(X, y).n_iter_ == 5


def test_threads_make_no_difference():
    table, labels = np.tile(X, (4, 10)), np.tile(y, 4)
    fits = [
        classifier(hidden_layer_sizes=(250, 250), n_threads=n_threads, batch_size=500, max_iter=2).fit(
            table, labels
        )
        for n_threads in (1, 2, 4, None)
    ]
    for fitted in fits[1:]:
        assert_same_fit(fits[0], fitted)


def test_fits_on_several_threads_of_the_caller_are_equal():
    expected = classifier(batch_size=40).fit(X, y)
    with ThreadPoolExecutor(4) as pool:
        fits = list(pool.map(lambda _: classifier(batch_size=40).fit(X, y), range(8)))
        predictions = list(pool.map(lambda _: expected.predict_proba(X), range(8)))
    for fitted, predicted in zip(fits, predictions, strict=True):
        assert_same_fit(expected, fitted)
        np.testing.assert_array_equal(predicted, expected.predict_proba(X))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process.* is multi-threaded:DeprecationWarning")
def test_a_fit_in_a_forked_process_equals_the_fit_in_its_parent():
    table, labels = np.tile(X, (4, 10)), np.tile(y, 4)
    model = classifier(hidden_layer_sizes=(250, 250), n_threads=2, batch_size=500, max_iter=2)
    expected = parameters(model.fit(table, labels))
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        failed = 1
        try:
            with open(writing, "wb") as pipe:
                pipe.write(parameters(clone(model).fit(table, labels)).tobytes())
            failed = 0
        finally:
            os._exit(failed)
    os.close(writing)
    with open(reading, "rb") as pipe:
        np.testing.assert_array_equal(np.frombuffer(pipe.read()), expected)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("init", sorted(INITIALIZERS))
def test_init_draws_as_a_model_does(init):
    """A learning rate close to 0 leaves the initial parameters as they were drawn."""
    fitted = classifier(init=init, learning_rate_init=1e-300, max_iter=1, alpha=0).fit(X, y)
    random = np.random.RandomState(0)
    for W, b in zip(fitted.coefs_, fitted.intercepts_, strict=True):
        expected = draw_layer(init, random, *W.shape)
        np.testing.assert_allclose(W, expected[0], atol=1e-200)
        np.testing.assert_allclose(b, expected[1], atol=1e-200)


@pytest.mark.parametrize("ties", ["earliest", "latest"])
def test_ties_chooses_the_earliest_or_latest_of_equally_good_epochs(ties):
    options = {"early_stopping": True, "scoring": lambda *_: 0.5, "n_iter_no_change": 2, "ties": ties}
    stopped = classifier(max_iter=30, **options).fit(X, y)
    assert stopped.n_iter_ < 30
    last = stopped.n_iter_ if ties == "latest" else 1
    other = classifier(max_iter=last, **options | {"n_iter_no_change": np.inf, "ties": "latest"}).fit(X, y)
    np.testing.assert_array_equal(parameters(stopped), parameters(other))
