"""Parameters that scikit-learn's estimators do not have."""

import numpy as np
import pytest
import scipy.special
from estimator_checks import parameters
from fit_checks import assert_same_fit
from problems import COUNTS, LABELS, PROBLEMS, UNCONVERGED, X, classifier, regressor, y
from sklearn.base import clone
from sklearn.metrics import get_scorer
from sklearn.model_selection import train_test_split

import fastnn

pytestmark = UNCONVERGED


@pytest.mark.parametrize("targets", [y, y == 1, LABELS], ids=["softmax", "sigmoid", "labels"])
def test_probabilities_are_functions_of_the_logits(targets):
    model = classifier(max_iter=50).fit(X, targets)
    scores, P = model.decision_function(X), model.predict_proba(X)
    if targets is y:
        np.testing.assert_array_equal(scores.argmax(axis=1), model.predict(X))
        np.testing.assert_allclose(scipy.special.softmax(scores, axis=1), P)
    else:
        np.testing.assert_array_equal(scores > 0, model.predict(X))
        np.testing.assert_allclose(scipy.special.expit(scores), P if targets is LABELS else P[:, 1])
    # Logarithms are finite where probabilities underflow.
    model.coefs_ = [coef * 500 for coef in model.coefs_]
    logarithms = model.predict_log_proba(X)
    assert np.isfinite(logarithms).all()
    assert logarithms.min() < np.log(np.finfo(float).tiny)


DECAYED = {"alpha": 0, "weight_decay": 0.1}
STOPPED = {"early_stopping": True}
# Pairs of parameters that mean the same: names and the objects that they stand for.
EQUAL = [
    ({"activation": "silu"}, {"activation": ("silu",)}),
    ({"activation": "sigmoid"}, {"activation": "logistic"}),
    ({"solver": "momentum"}, {"solver": fastnn.Momentum(0.9)}),
    ({"solver": "nesterov"}, {"solver": fastnn.Nesterov(0.9)}),
    ({"solver": "adagrad"}, {"solver": fastnn.Adagrad()}),
    ({"solver": "rmsprop"}, {"solver": fastnn.RMSprop()}),
    ({"solver": "adamw"}, {"solver": fastnn.AdamW()}),
    (DECAYED, {"alpha": 0, "solver": fastnn.AdamW(weight_decay=0.1, eps_hat=True)}),
    (DECAYED | {"solver": "sgd", "momentum": 0}, {"alpha": 0, "solver": fastnn.SGD(weight_decay=0.1)}),
    ({"learning_rate": "cosine_decay"}, {"learning_rate": fastnn.CosineDecay()}),
    ({"learning_rate": "one_cycle"}, {"learning_rate": fastnn.OneCycle()}),
    ({"learning_rate": "constant"}, {"learning_rate": fastnn.Constant()}),
    # As in scikit-learn, only "sgd" follows "invscaling": Adam keeps a constant learning rate.
    ({"learning_rate": "constant"}, {"learning_rate": "invscaling"}),
    ({"dropout": 0.3}, {"dropout": (0.0, 0.3)}),
    # With a decay of 0, the average is the parameters after the last step.
    ({"ema_decay": 0.0}, {}),
    (STOPPED, {**STOPPED, "scoring": get_scorer("accuracy")}),
    (STOPPED, {**STOPPED, "scoring": lambda model, *data: model.score(*data)}),
]


@pytest.mark.parametrize(("one", "other"), EQUAL, ids=lambda value: str(value)[:40])
def test_parameters_that_mean_the_same_give_the_same_fit(one, other):
    usual = {"batch_size": 40, "max_iter": 8, "learning_rate_init": 0.01}
    fits = [classifier(**usual | options).fit(X, y) for options in (one, other)]
    assert_same_fit(*fits)
    if one.get("learning_rate") != "constant" and one is not STOPPED and "ema_decay" not in one:
        assert not np.array_equal(parameters(fits[0]), parameters(classifier(**usual).fit(X, y)))


def test_loss_names_mean_their_objects():
    options = {"quantile": 0.2, "activation": ["tanh"]}
    by_name, by_object = (regressor(loss=loss, **options) for loss in ("quantile", fastnn.Quantile(0.2)))
    assert_same_fit(by_name.fit(X, COUNTS), by_object.fit(X, COUNTS))
    one, other = (regressor(loss=loss).fit(X, COUNTS) for loss in (fastnn.Huber(0.1), "huber"))
    assert not np.array_equal(parameters(one), parameters(other))


def test_a_schedule_counts_the_steps_of_all_epochs():
    steps = []
    classifier(learning_rate=lambda step: steps.append(step) or 1.0, batch_size=40).fit(X, y)
    assert sorted(set(steps)) == list(range(5 * 4))  # 5 epochs of 4 batches


def test_dropout_changes_the_fit_but_not_the_predictions():
    options = {"batch_size": 40, "max_iter": 2}
    settings = ({"dropout": 0.3}, {"dropout": 0.3, "random_state": 1}, {"dropout": (0.3, 0.0)})
    model, *others = (classifier(**options | each).fit(X, y) for each in settings)
    assert len({parameters(each).tobytes() for each in (model, *others)}) == 3
    without = fastnn.MLPClassifier.from_weights(model.coefs_, model.intercepts_, model.classes_)
    np.testing.assert_array_equal(without.predict_proba(X), model.predict_proba(X))


def test_batch_norm_predicts_with_the_running_statistics():
    model = classifier(batch_norm=True, batch_size=40, max_iter=30, learning_rate_init=0.01).fit(X, y)
    assert model.score(X, y) > 0.8
    np.testing.assert_array_equal(model.predict_proba(X[:1]), model.predict_proba(X)[:1])
    # Early stopping restores the statistics of the best epoch along with its parameters.
    chosen = classifier(batch_norm=True, early_stopping=True, learning_rate_init=1.0, max_iter=15)
    scores = chosen.fit(X, y, X_val=X, y_val=y).validation_scores_
    assert chosen.score(X, y) == max(scores) > scores[-1]


@pytest.mark.parametrize(("targets", "n_classes"), [(y, 3), (y == 1, 2)], ids=["softmax", "sigmoid"])
def test_label_smoothing_lowers_the_largest_fitted_probability(targets, n_classes):
    rows = [0, 60, 120]
    model = classifier(label_smoothing=0.3, alpha=0, solver="lbfgs", max_iter=300, tol=1e-9)
    model.fit(X[rows].repeat(2, axis=0), targets[rows].repeat(2))
    largest = model.predict_proba(X[rows]).max(axis=1)
    np.testing.assert_allclose(largest, 1 - 0.3 + 0.3 / n_classes, rtol=1e-4)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_validation_data_are_scored_after_every_epoch(problem):
    make, targets, options = PROBLEMS[problem]
    rows, others = train_test_split(np.arange(150), random_state=0)
    data = {"X": X[rows], "y": targets[rows], "X_val": X[others], "y_val": targets[others]}
    model = make(learning_rate_init=0.02, max_iter=8, **options).fit(**data)
    assert len(model.validation_loss_curve_) == model.n_iter_ == 8
    assert model.validation_scores_ is None
    without = clone(model).fit(X[rows], targets[rows])
    np.testing.assert_array_equal(parameters(model), parameters(without))
    model.set_params(early_stopping=True, max_iter=60, n_iter_no_change=5).fit(**data)
    scores = model.validation_scores_
    assert (len(scores), model.best_validation_score_) == (model.n_iter_, max(scores))
    assert model.score(X[others], targets[others]) == pytest.approx(max(scores), abs=1e-12)
    assert model.t_ == model.n_iter_ * len(rows)


def test_a_scorer_sees_the_estimator_after_the_present_epoch():
    seen = []

    def scoring(estimator, X, y):
        seen.append((estimator.n_iter_, estimator.loss_, estimator.validation_loss_curve_[-1]))
        return estimator.n_iter_

    model = classifier(early_stopping=True, scoring=scoring).fit(X, y).fit(X, y)
    assert seen == list(zip(range(1, 6), model.loss_curve_, model.validation_loss_curve_, strict=True)) * 2


def test_scoring_takes_a_name_of_scikit_learn_or_the_loss():
    options = {"early_stopping": True, "learning_rate_init": 0.05, "max_iter": 12}
    by_loss, by_name = (classifier(scoring=name, **options).fit(X, y) for name in ("loss", "neg_log_loss"))
    assert by_loss.validation_scores_ == [-loss for loss in by_loss.validation_loss_curve_]
    np.testing.assert_allclose(by_name.validation_scores_, by_loss.validation_scores_)


@pytest.mark.parametrize("init", ["glorot_uniform", "he_normal", "orthogonal", "tutorial"])
def test_init_draws_as_a_model_does(init):
    """A learning rate close to 0 leaves the initial parameters as they were drawn."""
    fitted = classifier(init=init, learning_rate_init=1e-300, max_iter=1, alpha=0).fit(X, y)
    model = fastnn.Model([4, 7, 3], activation="relu", init=init, random_state=0)
    np.testing.assert_allclose(parameters(fitted), parameters(model), atol=1e-200)


@pytest.mark.parametrize("ties", ["earliest", "latest"])
def test_ties_chooses_the_earliest_or_latest_of_equally_good_epochs(ties):
    options = {"early_stopping": True, "scoring": lambda *_: 0.5, "n_iter_no_change": 2, "ties": ties}
    stopped = classifier(max_iter=30, **options).fit(X, y)
    assert stopped.n_iter_ < 30
    last = stopped.n_iter_ if ties == "latest" else 1
    other = classifier(max_iter=last, **options | {"n_iter_no_change": np.inf, "ties": "latest"}).fit(X, y)
    np.testing.assert_array_equal(parameters(stopped), parameters(other))
