"""Ends of fits: convergence, interrupts, divergence, failures, generators shared by several fits."""

import itertools
import pickle
import warnings

import joblib
import numpy as np
import pytest
from estimator_checks import parameters
from estimator_problems import COUNTS, TARGETS, UNCONVERGED, X, classifier, regressor, y
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import accuracy_score, get_scorer
from sklearn.utils import compute_sample_weight

import fastnn
from fastnn.engine import compiled_trainer
from fastnn.estimators.holdout import weights_for

pytestmark = UNCONVERGED


def test_a_fit_that_has_not_converged_says_what_to_do():
    with pytest.warns(
        ConvergenceWarning,
        match=r"Stochastic Optimizer: Maximum iterations \(5\) reached and the optimization hasn't converged "
        r"yet\. Raise max_iter",
    ) as caught:
        classifier().fit(X, y)
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(ConvergenceWarning, match=r"lbfgs failed to converge after 5 iteration\(s\)") as caught:
        classifier(solver="lbfgs").fit(X, y)
    assert "Increase the number of iterations to improve the convergence (max_iter=5)" in str(
        caught[0].message
    )
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(UserWarning, match="It is going to be clipped") as caught:
        classifier(batch_size=500).partial_fit(X, y, classes=[0, 1, 2])
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():  # a converged fit and a partial fit do not warn
        warnings.simplefilter("error")
        classifier(tol=10.0, n_iter_no_change=1).fit(X, y)
        classifier().partial_fit(X, y, classes=[0, 1, 2])


@pytest.mark.parametrize("max_iter", [2**40, 2**63, 10**400])
def test_a_fit_by_lbfgs_may_have_any_number_of_iterations(max_iter):
    """It takes memory for as many as `max_fun` allows."""
    for max_fun in (20, 15_000):
        model = classifier(solver="lbfgs", max_iter=max_iter, max_fun=max_fun).fit(X, y)
        other = classifier(solver="lbfgs", max_iter=10_000, max_fun=max_fun).fit(X, y)
        assert model.n_iter_ == other.n_iter_ <= max_fun
        np.testing.assert_array_equal(parameters(model), parameters(other))


@pytest.mark.parametrize("limit", [1, 2, np.inf])
def test_n_iter_no_change_is_the_patience_of_a_fit(limit):
    """The first epoch is always an improvement: the best loss before it is infinite."""
    model = classifier(tol=1e9, n_iter_no_change=limit, max_iter=30).fit(X, y)
    assert model.n_iter_ == min(30, limit + 2)
    assert classifier(tol=0, n_iter_no_change=1, max_iter=30).fit(X, y).n_iter_ == 30
    assert classifier(max_iter=1).fit(X, y).n_iter_ == 1


def interrupt_call(monkeypatch, after):
    """Raise KeyboardInterrupt, as Ctrl-C does, at the end of the trainer's call number `after`."""
    calls = itertools.count(1)
    run = compiled_trainer.NumbaTrainer.run

    def interrupted(self, last_pass, last_step=None):
        finite = run(self, last_pass, last_step)
        if next(calls) == after:
            raise KeyboardInterrupt
        return finite

    monkeypatch.setattr(compiled_trainer.NumbaTrainer, "run", interrupted)


# Options, and validation data, with which every call of the trainer is a single epoch.
SINGLE_EPOCHS = {
    "validation data": ({}, {"X_val": X, "y_val": y}),
    "early stopping": ({"early_stopping": True}, {}),
    "average": ({"ema_decay": 0.9}, {"X_val": X, "y_val": y}),
}


@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize(("options", "validation"), SINGLE_EPOCHS.values(), ids=SINGLE_EPOCHS.keys())
def test_an_interrupt_leaves_a_fitted_estimator(monkeypatch, options, validation, after):
    """An interrupted fit keeps its parameters and all records of the completed epochs."""
    expected = classifier(max_iter=after, **options).fit(X, y, **validation)
    model = classifier(max_iter=50, **options)
    interrupt_call(monkeypatch, after)
    with pytest.warns(UserWarning, match=r"Training interrupted by user\.") as caught:
        model.fit(X, y, **validation)
    assert [warning.filename for warning in caught] == [__file__]
    assert model.n_iter_ == after
    assert model.t_ == expected.t_
    assert model.loss_ == expected.loss_
    assert model.loss_curve_ == expected.loss_curve_
    if not options.get("early_stopping"):  # with early stopping, the interrupted epoch has no score
        np.testing.assert_array_equal(parameters(model), parameters(expected))
    assert model.predict(X).shape == (150,)
    for one in (model, expected):
        one.set_params(early_stopping=False, warm_start=True, max_iter=2).fit(X, y)
    if not options.get("early_stopping"):
        np.testing.assert_array_equal(parameters(model), parameters(expected))


def test_divergence_says_what_to_do():
    model = regressor(solver="sgd", learning_rate_init=1e3, max_iter=300)
    with pytest.raises(fastnn.DivergenceError) as raised:
        model.fit(100 * X, TARGETS)
    message = str(raised.value)
    assert message.startswith(
        "Solver produced non-finite parameter weights. The input data may contain large values and need to "
        "be preprocessed."
    )
    assert "learning_rate_init=1000" in message
    assert "lower learning_rate_init, for instance to 100, or set max_grad_norm" in message
    assert isinstance(raised.value, ValueError)
    assert str(pickle.loads(pickle.dumps(raised.value))) == message
    # The estimator keeps the last finite parameters: it predicts, and can be fitted with a smaller rate.
    assert np.isfinite(parameters(model)).all()
    with pytest.warns(RuntimeWarning, match="scores are too large"):
        assert model.predict(X).shape == (150, 3)
    model.set_params(learning_rate_init=1e-3).fit(X, TARGETS)
    model = classifier(
        alpha=1e4, solver="sgd", momentum=0, learning_rate_init=10.0, max_iter=3000, batch_size=10
    )
    with pytest.raises(
        fastnn.DivergenceError, match=r"learning_rate_init \* alpha, .* is 10000 and must stay below"
    ):
        model.fit(X, y)
    with pytest.raises(fastnn.DivergenceError, match=r"The loss is not finite at the start") as raised:
        regressor(solver="lbfgs").fit(X * 1e300, COUNTS)
    assert "learning_rate_init" not in str(raised.value)


def test_early_stopping_keeps_the_best_epoch_before_a_divergence():
    model = regressor(
        solver="sgd", learning_rate_init=1e3, max_iter=300, early_stopping=True, n_iter_no_change=np.inf
    )
    with pytest.warns(
        ConvergenceWarning, match="The estimator holds the parameters of the best epoch"
    ) as caught:
        model.fit(100 * X, COUNTS)
    assert [warning.filename for warning in caught] == [__file__]
    assert np.isnan(model.validation_scores_[-1])
    assert np.isfinite(model.best_validation_score_)
    assert np.isfinite(model.predict(X)).all()


# Parameters with which a fit fails, and a part of the message.
WRONG = {
    "activation": ({"activation": ["relu", "tanh", "relu"]}, "activation"),
    "an item of activation": ({"activation": ["relu", ["tanh"]]}, r"activation\[1\] must be one of"),
    "X_val": ({}, "^X_val, y_val: X has 2 features"),
    "dropout with lbfgs": ({"solver": "lbfgs", "dropout": 0.5}, "which dropout is not made for"),
    "validation_fraction": (
        {"early_stopping": True, "validation_fraction": 1e-3},
        "validation set|test_size",
    ),
    "a factor of learning_rate": ({"learning_rate": lambda step: -1.0}, r"factor at step \d must be a"),
}


@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_fit_that_fails_leaves_the_earlier_fit(wrong, warm_start):
    other_X, other_y = X[:, :3].copy(), np.array(list("ab"))[y % 2]
    model = classifier(hidden_layer_sizes=(5, 4)).fit(X, y)
    before = model.predict_proba(X)
    options, message = WRONG[wrong]
    model.set_params(warm_start=warm_start, **options)
    data = (X, y) if warm_start else (other_X, other_y)
    extra = {"X_val": data[0][:, :2], "y_val": data[1]} if wrong == "X_val" else {}
    with pytest.raises(ValueError, match=message):
        model.fit(*data, **extra)
    assert model.n_features_in_ == 4
    np.testing.assert_array_equal(model.predict_proba(X.tolist()), before)
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    new = classifier(**options)
    with pytest.raises(ValueError, match=message):
        new.fit(*data, **extra)
    with pytest.raises(NotFittedError):
        new.predict(X)


def test_fits_on_threads_that_share_a_generator_are_all_different():
    shared = np.random.RandomState(0)
    for random_state in (None, shared):
        models = joblib.Parallel(4, backend="threading")(
            joblib.delayed(classifier(random_state=random_state, batch_size=20, max_iter=30).fit)(X, y)
            for _ in range(24)
        )
        assert len({model.coefs_[0].tobytes() for model in models}) == 24


def test_a_fit_never_draws_again_what_a_scorer_drew():
    drawn = []

    def scorer(model, X, y):
        drawn.append(np.random.randint(2**31))
        return len(drawn)

    np.random.seed(0)
    classifier(random_state=None, early_stopping=True, scoring=scorer, batch_size=20, max_iter=20).fit(X, y)
    drawn += np.random.randint(2**31, size=100).tolist()
    assert len(set(drawn)) == 120


def test_a_callback_cannot_change_the_patience_of_the_running_fit():
    class MorePatience:
        def setup(self, estimator, context):
            pass

        teardown = on_fit_task_begin = setup

        def on_fit_task_end(self, estimator, context):
            estimator.n_iter_no_change = 10**6

    pytest.importorskip("sklearn.callback")
    model = classifier(max_iter=300, n_iter_no_change=15, tol=1e3).set_callbacks(MorePatience()).fit(X, y)
    assert model.n_iter_ == 17


def test_partial_fit_refuses_balanced_class_weights():
    with pytest.raises(ValueError, match="class_weight='balanced' would balance the samples of each call"):
        classifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])


def test_scorers_get_the_sample_weights_if_their_metric_takes_weights():
    weights = np.linspace(0.1, 3, 150)
    options = {"early_stopping": True, "max_iter": 3, "random_state": 0}
    named = classifier(scoring="accuracy", **options).fit(X, y, sample_weight=weights)
    scorer = classifier(scoring=get_scorer("accuracy"), **options).fit(X, y, sample_weight=weights)
    default = classifier(**options).fit(X, y, sample_weight=weights)
    assert named.validation_scores_ == scorer.validation_scores_ == default.validation_scores_
    unweighted = classifier(**options).fit(X, y)
    assert named.validation_scores_ != unweighted.validation_scores_
    # The largest error takes no weights.
    model = regressor(scoring="neg_max_error", **options)
    model.fit(X, COUNTS, weights, X_val=X, y_val=COUNTS)
    assert model.best_validation_score_ == pytest.approx(-np.abs(COUNTS - model.predict(X)).max())


@pytest.mark.parametrize("class_weight", ["balanced", {0: 5.0, 2: 0.5}])
@pytest.mark.parametrize("weights", [None, np.linspace(0.1, 3, 120)], ids=["plain", "weighted"])
def test_scorers_are_weighted_as_the_default_score(weights, class_weight):
    seen = []

    def weighted(model, X, y, sample_weight):
        seen.append(sample_weight)
        return accuracy_score(y, model.predict(X), sample_weight=sample_weight)

    def plain(model, X, y):
        return accuracy_score(y, model.predict(X))

    options = {"early_stopping": True, "max_iter": 8, "random_state": 0, "learning_rate_init": 0.05}
    scores = {}
    for scoring in (None, "accuracy", weighted, plain):
        model = classifier(scoring=scoring, class_weight=class_weight, **options)
        scores[scoring] = model.fit(X[:120], y[:120], sample_weight=weights).validation_scores_
    assert scores[None] == scores["accuracy"] == scores[weighted] != scores[plain]
    classes = compute_sample_weight(class_weight, y[:120])
    products = classes if weights is None else weights * classes
    assert set(seen[0].round(9)) <= set(products.round(9))
    unweighted = classifier(scoring=lambda model, X, y, sample_weight="none": float(sample_weight == "none"))
    assert unweighted.set_params(**options).fit(X, y).validation_scores_[0] == 1


def test_scorers_without_a_signature_take_no_weights():
    assert weights_for(min, np.ones(3)) == {}
