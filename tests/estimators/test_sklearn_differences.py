"""docs/scikit-learn.md: fits give scikit-learn's numbers, and each row of the tables has a test."""

import contextlib
import io
import re
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
import sklearn.base
import sklearn.datasets
from estimator_checks import parameters
from example_counts import with_examples
from extras import since
from fit_checks import assert_equal_to_theirs
from hypothesis import given
from hypothesis import strategies as st
from problems import OURS, PROBLEMS, TARGETS, THEIRS, UNCONVERGED, WEIGHTS, X, classifier, regressor, y
from sklearn.base import is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.metrics import get_scorer
from sklearn.utils import estimator_html_repr
from sklearn.utils.validation import has_fit_parameter

import fastnn
from fastnn.system import sklearn_internals

pytestmark = UNCONVERGED

CLASSES = [0, 1, 2]
# Parameters of solvers and schedules for `partial_fit`.
RULES = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 1},
}


def are_equal(one, other):
    return np.allclose(parameters(one), parameters(other), rtol=0, atol=1e-10)


def have_same_bits(one, other):
    return np.array_equal(parameters(one), parameters(other))


def make_both(make, **options):
    return [make(module, **options) for module in (THEIRS, OURS)]


def fit_both(make, X=X, y=y, sample_weight=None, **options):
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}
    return [model.fit(X, y, **weights) for model in make_both(make, **options)]


def fit_in_parts(estimator, n_calls=5, before=lambda estimator: None):
    """Return an estimator after `n_calls` calls of `partial_fit`; `before` is called before each."""
    for _ in range(n_calls):
        before(estimator)
        estimator.partial_fit(X, y, classes=CLASSES)
    return estimator


def fit_often(estimator, n_calls=3, before=lambda estimator: None):
    """Return an estimator after `n_calls` calls of `fit`; `before` is called before each."""
    for _ in range(n_calls):
        before(estimator)
        estimator.fit(X, y)
    return estimator


def reseed(estimator):
    estimator.set_params(random_state=np.random.RandomState(0))


# scikit-learn's networks take sample_weight, and the regressor's loss, from 1.7 on.
THEIRS_TAKE_WEIGHTS = has_fit_parameter(THEIRS.MLPRegressor, "sample_weight")


def fit_problem(problem, weights=None, rows=slice(None), **options):
    make, targets, own = PROBLEMS[problem]
    if not THEIRS_TAKE_WEIGHTS and (weights is not None or own):
        pytest.skip("scikit-learn's networks take sample_weight and loss from 1.7 on")
    weights = None if weights is None else weights[rows]
    return *fit_both(make, X[rows], targets[rows], weights, **options, **own), targets


def assert_equal_predictions(theirs, ours, y, atol=1e-10):
    predicted = ours.predict(X)
    assert predicted.dtype == theirs.predict(X).dtype
    if is_classifier(ours):
        np.testing.assert_array_equal(predicted, theirs.predict(X))
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=atol)
        np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), atol=atol)
    else:
        np.testing.assert_allclose(predicted, theirs.predict(X), rtol=0, atol=atol)
    for weights in (None, WEIGHTS):
        np.testing.assert_allclose(ours.score(X, y, weights), theirs.score(X, y, weights))


SGD = {"solver": st.just("sgd"), "learning_rate": st.sampled_from(["constant", "invscaling", "adaptive"])}
SGD |= {"momentum": st.sampled_from([0, 0.7, 0.9]), "nesterovs_momentum": st.booleans()}
SGD |= {"learning_rate_init": st.sampled_from([1e-4, 1e-3])}  # at higher rates, some fits diverge
ADAM = {"solver": st.just("adam"), "learning_rate_init": st.sampled_from([1e-3, 0.02])}
ADAM |= {"beta_1": st.sampled_from([0.5, 0.9]), "epsilon": st.sampled_from([1e-8, 1e-3])}
SETTINGS = {
    "hidden_layer_sizes": st.lists(st.integers(1, 9), max_size=3) | st.integers(1, 9),
    "activation": st.sampled_from(["identity", "logistic", "tanh", "relu"]),
    "alpha": st.sampled_from([0, 1e-3, 1.0]),
    "shuffle": st.booleans(),
    "early_stopping": st.booleans(),
    "validation_fraction": st.sampled_from([0.1, 0.3]),
    "tol": st.sampled_from([1e-4, 0.01]),
    "n_iter_no_change": st.integers(1, 4),
    "max_iter": st.integers(1, 30),
    "random_state": st.integers(0, 2**32 - 1),
}


@given(
    problem=st.sampled_from(sorted(PROBLEMS)),
    n=st.integers(30, 150),
    batch_size=st.integers(5, 150),
    weighted=st.booleans() if THEIRS_TAKE_WEIGHTS else st.just(False),
    options=st.fixed_dictionaries(SETTINGS | SGD) | st.fixed_dictionaries(SETTINGS | ADAM),
)
@with_examples(100)
def test_fits_equal_scikit_learns(problem, n, batch_size, weighted, options):
    """The fits have the same weights, losses and scores, and end in the same epoch.

    But for the losses of a weighted Poisson fit, which have a row of their own.
    """
    rows = np.random.RandomState(0).permutation(150)[:n]
    weights = WEIGHTS + 1 if weighted and problem != "poisson" else None
    options |= {"batch_size": min(batch_size, int(n * 0.7))}
    theirs, ours, targets = fit_problem(problem, weights, rows, **options)
    assert_equal_to_theirs(theirs, ours, atol=1e-10)
    assert_equal_predictions(theirs, ours, targets, atol=1e-9)


weighted_or_not = pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])


@weighted_or_not
@pytest.mark.parametrize("problem", PROBLEMS)
def test_lbfgs_equals_scikit_learns(problem, weights):
    """Each line search amplifies rounding errors: compare few iterations. `early_stopping` has no effect."""
    options = {"solver": "lbfgs", "max_iter": 10, "activation": "tanh", "early_stopping": weights is None}
    theirs, ours, targets = fit_problem(problem, weights, **options)
    assert not hasattr(ours, "loss_curve_")
    assert_equal_to_theirs(theirs, ours, atol=1e-7)
    assert_equal_predictions(theirs, ours, targets, atol=1e-6)


def test_lbfgs_ends_in_the_same_iteration_as_scikit_learns():
    for limits in ({"max_iter": 3}, {"max_fun": 5}, {"tol": 0.5}, {"tol": 0.01}):
        options = {"solver": "lbfgs", "alpha": 1.0, "max_iter": 200} | limits
        theirs, ours = fit_both(regressor, y=TARGETS[:, 0], **options)
        assert ours.n_iter_ == theirs.n_iter_
        np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-9)


GENERATORS = {
    "int": lambda seed: seed,
    "RandomState": np.random.RandomState,
    "global": np.random.seed,  # returns None, the `random_state` that stands for it
    "PCG64": lambda seed: np.random.RandomState(np.random.PCG64(seed)),
}


@pytest.mark.parametrize(
    "options",
    [{}, {"batch_size": 32}, {"shuffle": False}, {"early_stopping": True}, {"solver": "lbfgs"}],
    ids=str,
)
@pytest.mark.parametrize("kind", ["RandomState", "global"])
def test_a_shared_generator_is_left_as_scikit_learn_leaves_it(kind, options):
    """A program that seeds a generator once draws the same numbers after a fit by either library."""
    drawn = []
    for module in (THEIRS, OURS):
        generator = GENERATORS[kind](5)
        classifier(module, random_state=generator, **options).fit(X, y)
        drawn.append((np.random if generator is None else generator).random_sample(5).tolist())
    assert drawn[0] == drawn[1]


# Batches whose samples no generator orders.
ORDERED = {"one batch": {}, "batches": {"batch_size": 40, "shuffle": False}}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("batches", ORDERED.values(), ids=ORDERED)
@pytest.mark.parametrize("kind", ["int", "RandomState", "global"])
def test_partial_fits_without_random_order_equal_scikit_learns(kind, batches, rule):
    results, drawn = [], []
    for module in (THEIRS, OURS):
        np.random.seed(5)
        model = classifier(module, **batches | rule | {"random_state": GENERATORS[kind](5)})
        results.append(fit_in_parts(model))
        drawn.append(np.random.random_sample())
    theirs, ours = results
    assert are_equal(theirs, ours)
    assert theirs.t_ == ours.t_ == 750
    assert theirs.n_iter_ == ours.n_iter_ == 1
    assert drawn[0] == drawn[1]
    np.testing.assert_allclose(theirs.loss_curve_, ours.loss_curve_)


PAGE = (Path(__file__).parents[2] / "docs" / "scikit-learn.md").read_text(encoding="utf-8")
# First cells of the rows that have a test.
tested = set()


def row(cell):
    """Return a decorator that registers a test for the row with this first cell."""

    def register(test):
        tested.add(cell)
        return test

    return register


def test_every_row_has_a_test():
    rows = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in cells] for cells in rows]
    rows = [cells for cells in rows if cells[0] not in ("what", "---")]
    assert all(len(cells) == 4 and all(cells) for cells in rows)
    names = [cells[0] for cells in rows]
    assert (len(set(names)), set(names)) == (len(names), tested)


@row("overridden private methods")
@pytest.mark.parametrize("name", sklearn_internals.NEVER_CALLED)
def test_a_class_with_a_method_that_is_never_called_warns_where_it_is_made(name):
    assert hasattr(sklearn.neural_network.MLPClassifier, name)
    assert not hasattr(fastnn.MLPClassifier, name)
    mixin = type("Mixin", (), {name: None})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        class Own(mixin, fastnn.MLPClassifier):
            pass

        class Later(Own):
            pass

    assert str(caught[0].message).startswith(f"Own.{name} is never called, unlike in scikit-learn: ")
    assert [one.filename for one in caught] == [__file__]


@row("order of the samples")
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_order_of_the_samples(rule):
    """scikit-learn shuffles the original order anew in every call; fastnn continues as in a single fit."""
    options = {"batch_size": 40, "tol": 10.0} | rule
    theirs, ours = map(fit_in_parts, make_both(classifier, **options))
    assert not are_equal(theirs, ours)
    assert have_same_bits(ours, classifier(**options).fit(X, y))
    assert are_equal(theirs, fit_in_parts(classifier(**options), before=reseed))
    options = {"batch_size": 40, "warm_start": True, "solver": "sgd", "momentum": 0}
    theirs, ours = map(fit_often, make_both(classifier, **options))
    assert have_same_bits(ours, classifier(**options | {"max_iter": 15}).fit(X, y))
    assert are_equal(theirs, fit_often(classifier(**options), before=reseed))


@row("optimizer of a warm start")
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_optimizer_of_a_warm_start(rule):
    options = {"warm_start": True, "shuffle": False, "batch_size": 40} | rule
    theirs, ours = (fit_often(model, 2) for model in make_both(classifier, **options))
    at_once = fit_both(classifier, **options | {"max_iter": 10})
    assert not are_equal(theirs, ours)
    assert not are_equal(theirs, at_once[0])
    assert have_same_bits(ours, at_once[1])


@row("validation data of a warm start")
@pytest.mark.parametrize("kind", ["int", "RandomState", "PCG64"])
def test_validation_data_of_a_warm_start(kind):
    """scikit-learn, which takes no scorer, does not show its own."""
    options = {"early_stopping": True, "warm_start": True, "random_state": GENERATORS[kind](3), "max_iter": 1}
    seen = []
    fit_often(classifier(scoring=lambda model, X, y: seen.append(X) or 0.0, **options), 2)
    np.testing.assert_array_equal(*seen)


@row("best epoch of a warm start")
def test_best_epoch_of_a_warm_start():
    options = {"early_stopping": True, "warm_start": True, "n_iter_no_change": 100}
    for model in fit_both(classifier, learning_rate_init=0.02, max_iter=40, random_state=3, **options):
        best, score = parameters(model), model.best_validation_score_
        model.set_params(learning_rate_init=50.0, max_iter=5).fit(X, y)
        assert max(model.validation_scores_[40:]) <= score == model.best_validation_score_
        assert np.array_equal(parameters(model), best) == isinstance(model, fastnn.MLPClassifier)


@row("parameters changed between calls of `partial_fit`")
@pytest.mark.parametrize("changed", [{"learning_rate_init": 1}, {"beta_1": 0.1}, {"solver": "sgd"}], ids=str)
def test_parameters_changed_between_calls_of_partial_fit(changed):
    for module in (THEIRS, OURS):
        kept, other = (fit_in_parts(classifier(module), 2) for _ in range(2))
        other.set_params(**changed)
        assert are_equal(fit_in_parts(kept, 2), fit_in_parts(other, 2)) == (module is THEIRS)


@row("solver or `early_stopping` changed before a warm start")
@pytest.mark.parametrize(
    "old", [{"solver": "lbfgs"}, {"early_stopping": True}, {"early_stopping": False}], ids=str
)
def test_solver_or_early_stopping_changed_before_a_warm_start(old):
    then = {name: "adam" if name == "solver" else not value for name, value in old.items()}
    theirs, ours = fit_both(classifier, warm_start=True, **old)
    with pytest.raises((AttributeError, TypeError)):
        theirs.set_params(**then).fit(X, y)
    assert ours.set_params(**then).fit(X, y).n_iter_ == 5


@row("`partial_fit` with `warm_start=True`")
def test_partial_fit_with_warm_start():
    theirs, ours = (fit_in_parts(model, 1) for model in make_both(classifier, warm_start=True))
    plain = fit_in_parts(classifier(), 1)
    with pytest.raises(ValueError, match="same classes"):
        theirs.partial_fit(X[:60], y[:60])
    assert have_same_bits(ours.partial_fit(X[:60], y[:60]), plain.partial_fit(X[:60], y[:60]))


@row('`partial_fit` of a regressor with "lbfgs"')
def test_partial_fit_of_a_regressor_with_lbfgs():
    theirs, ours = make_both(regressor, solver="lbfgs")
    assert np.allclose(*map(parameters, (theirs.partial_fit(X, TARGETS), ours.fit(X, TARGETS))), atol=1e-7)
    assert not hasattr(ours, "partial_fit")
    for solver in ("lbfgs", fastnn.LBFGS(), "lm", fastnn.LevenbergMarquardt()):
        with pytest.raises(AttributeError, match="has no attribute 'partial_fit'") as raised:
            classifier(solver=solver).partial_fit(X, y)
        assert "partial_fit is only available for stochastic optimizers" in str(raised.value.__cause__)
    assert not hasattr(classifier(THEIRS, solver="lbfgs"), "partial_fit")


@since("scikit-learn", "1.7")
@row("fit that fails")
def test_fit_that_fails():
    theirs, ours = fit_both(classifier)
    before = ours.predict_proba(X)
    for model in (theirs, ours):
        with pytest.raises(ValueError, match=r"sample_weight\.shape"):
            model.fit(X[:, :2], y, sample_weight=[1.0])
    with pytest.raises(ValueError, match="expecting 2 features"):
        theirs.predict(X)
    np.testing.assert_array_equal(ours.predict_proba(X), before)


class WithoutScores(fastnn.MLPClassifier):
    """The subclass without `decision_function` that the table names."""

    decision_function = property()


@row("`decision_function`")
def test_decision_function():
    options = {"hidden_layer_sizes": (7,), "random_state": 3, "max_iter": 100, "learning_rate_init": 0.02}
    models = [kind(**options) for kind in (THEIRS.MLPClassifier, fastnn.MLPClassifier, WithoutScores)]
    assert [hasattr(model, "decision_function") for model in models] == [False, True, False]
    calibrated = [CalibratedClassifierCV(m, cv=3, ensemble=False).fit(X, y).predict_proba(X) for m in models]
    np.testing.assert_allclose(calibrated[0], calibrated[2], atol=1e-6)
    assert np.abs(calibrated[0] - calibrated[1]).max() > 0.01
    # The scores 40 and 50 differ, but both probabilities round to 1.
    samples, labels = np.repeat([[40.0], [50.0]], 10, axis=0), np.repeat([0, 1], 10)
    values = []
    for model in models:
        model.set_params(hidden_layer_sizes=(), max_iter=1).fit(samples, labels)
        model.coefs_, model.intercepts_ = [np.ones((1, 1))], [np.zeros(1)]
        values.append(get_scorer("roc_auc")(model, samples, labels))
    assert values == [0.5, 1.0, 0.5]


def set_last_bias(model, bias):
    model.coefs_ = [np.zeros_like(W) for W in model.coefs_]
    biases = [np.zeros_like(b) for b in model.intercepts_]
    biases[-1][-1] = bias
    model.intercepts_ = biases
    return model


@row("classes of nearly equal probability")
@pytest.mark.parametrize(("targets", "last"), [(y, 2), (y == 1, 1), (np.eye(3, dtype=int)[y], [0, 0, 1])])
def test_classes_of_nearly_equal_probability(targets, last):
    theirs, ours = (set_last_bias(model, 1e-17) for model in fit_both(classifier, y=targets))
    np.testing.assert_array_equal(theirs.predict_proba(X), ours.predict_proba(X))
    assert not theirs.predict(X).any()
    assert (ours.predict(X) == last).all()
    theirs, ours = (set_last_bias(model, 0.0) for model in (theirs, ours))
    np.testing.assert_array_equal(theirs.predict(X), ours.predict(X))


@row("`predict_log_proba`")
def test_predict_log_proba():
    theirs, ours = fit_both(classifier)
    np.testing.assert_allclose(theirs.predict_log_proba(X), ours.predict_log_proba(X))
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert np.isneginf(theirs.predict_log_proba(1e5 * X)).any()
    assert np.isfinite(ours.predict_log_proba(1e5 * X)).all()


@row("`predict_proba` of one class")
@pytest.mark.parametrize("label", [4, True, "only", 2.0])
def test_predict_proba_of_one_class(label):
    labels = np.full(150, label)
    theirs, ours = fit_both(classifier, y=labels)
    assert are_equal(theirs, ours)
    assert theirs.predict_proba(X).shape == (150, 2)
    np.testing.assert_array_equal(ours.predict_proba(X), np.ones((150, 1)))
    np.testing.assert_array_equal(ours.predict_log_proba(X), np.zeros((150, 1)))
    np.testing.assert_array_equal(theirs.predict(X), ours.predict(X))
    assert ours.predict(X).dtype == labels.dtype
    assert ours.decision_function(X).shape == (150,)
    assert ours.score(X, labels) == 1


@row("float32")
def test_float32():
    narrow = X.astype(np.float32)
    for solver, dtype in (("adam", np.float32), ("lbfgs", np.float64)):
        theirs, ours = fit_both(classifier, narrow, solver=solver)
        assert (theirs.coefs_[0].dtype, ours.coefs_[0].dtype) == (dtype, np.float32)
        np.testing.assert_allclose(parameters(theirs), parameters(ours), atol=1e-4)
        assert theirs.predict_proba(X).dtype == np.float64
        assert ours.predict_proba(X).dtype == np.float32
        assert ours.set_params(solver="adam").partial_fit(X, y).coefs_[0].dtype == np.float32
    theirs, ours = fit_both(regressor, narrow, TARGETS.astype(np.float32))
    assert type(theirs.loss_) is np.float32
    assert type(ours.loss_) is float


@row("loss of a saturated output")
def test_loss_of_a_saturated_output():
    theirs, ours = fit_both(classifier, 1e4 * X, learning_rate_init=1e-12, max_iter=1, alpha=0)
    assert are_equal(theirs, ours)
    exact = -ours.predict_log_proba(1e4 * X)[np.arange(150), y].mean()
    np.testing.assert_allclose(ours.loss_, exact, rtol=1e-6)
    assert theirs.loss_ < -np.log(np.finfo(float).eps) < exact


@row("number of epochs on unscaled data")
def test_number_of_epochs_on_unscaled_data():
    """scikit-learn's clipped loss does not see that saturated outputs improve."""
    data = sklearn.datasets.load_breast_cancer(return_X_y=True)
    options = {"hidden_layer_sizes": (5,), "activation": "identity", "max_iter": 200}
    theirs, ours = fit_both(classifier, *data, **options)
    assert theirs.n_iter_ < ours.n_iter_ == 200
    assert ours.loss_ < theirs.loss_ / 5
    assert are_equal(*fit_both(classifier, *data, **options | {"max_iter": theirs.n_iter_}))


@since("scikit-learn", "1.7")
@row("loss of a weighted Poisson fit")
def test_loss_of_a_weighted_poisson_fit():
    for weights in (None, WEIGHTS):
        theirs, ours = fit_both(regressor, X, y, weights, loss="poisson", batch_size=40)
        assert are_equal(theirs, ours)
        assert np.allclose(theirs.loss_curve_, ours.loss_curve_) == (weights is None)


@row("divergence")
@pytest.mark.parametrize("early_stopping", [False, True])
def test_divergence(early_stopping):
    options = {"solver": "sgd", "learning_rate_init": 1e3, "max_iter": 30, "n_iter_no_change": 50}
    for model in make_both(regressor, early_stopping=early_stopping, **options):
        is_ours, message = isinstance(model, fastnn.MLPRegressor), None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                model.fit(X, TARGETS)
            except ValueError as error:
                message = str(error)
        categories = {warning.category for warning in caught}
        if not early_stopping:
            assert message.startswith("Solver produced non-finite parameter weights.")
        assert np.isfinite(parameters(model)).all() == (early_stopping or is_ours)
        assert (model.n_iter_ < 30) == is_ours
        if is_ours:
            assert categories == ({ConvergenceWarning} if early_stopping else set())
            assert all("parameters of the best epoch" in str(each.message) for each in caught)
        else:
            assert RuntimeWarning in categories


@since("scikit-learn", "1.7")
@row("batch whose weights are all 0")
def test_batch_whose_weights_are_all_0():
    weights = np.r_[np.zeros(50), np.ones(100)]
    options = {"batch_size": 50, "shuffle": False, "solver": "sgd", "momentum": 0, "alpha": 0}
    theirs, ours = make_both(classifier, **options)
    with pytest.raises(ZeroDivisionError):
        theirs.fit(X, y, sample_weight=weights)
    ours.fit(X, y, sample_weight=weights)
    left_out = classifier(**options)
    for _ in range(5):
        left_out.partial_fit(X[50:], y[50:], classes=CLASSES)
    assert are_equal(ours, left_out)


@row('Ctrl-C in "lbfgs"')
def test_interrupt_in_lbfgs():
    theirs, ours = make_both(classifier, solver="lbfgs", max_iter=100, verbose=True)
    theirs._unpack = lambda packed: signal.raise_signal(signal.SIGINT)  # called for every trial point
    with pytest.raises(KeyboardInterrupt):
        theirs.fit(X, y)
    lines = io.StringIO()
    lines.write = lambda text: signal.raise_signal(signal.SIGINT) if "Iteration 5" in text else None
    with contextlib.redirect_stdout(lines), pytest.warns(UserWarning, match="Training interrupted by user"):
        ours.fit(X, y)
    assert ours.n_iter_ == 5
    assert are_equal(ours, classifier(solver="lbfgs").fit(X, y))


@row("generators other than MT19937")
def test_generators_other_than_mt19937():
    def fit(module, **options):
        return classifier(module, batch_size=40, random_state=GENERATORS["PCG64"](3), **options).fit(X, y)

    assert are_equal(fit(THEIRS, shuffle=False), fit(OURS, shuffle=False))
    assert not are_equal(fit(THEIRS), fit(OURS))
    assert have_same_bits(fit(OURS), fit(OURS))


@row("`verbose=1`")
@row('`verbose` with "lbfgs"')
def test_verbose(capsys):
    printed = {}
    for verbose in (True, 1, 2):
        for model in make_both(classifier, verbose=verbose):
            model.fit(X, y)
            printed[isinstance(model, fastnn.MLPClassifier), str(verbose)] = capsys.readouterr()
    lines = printed[False, "1"].out
    assert lines.count("\n") == 5
    assert lines == printed[False, "True"].out == printed[True, "True"].out == printed[True, "2"].out
    assert printed[True, "1"].out == ""
    assert "5/5" in printed[True, "1"].err
    for module, n_lines in ((THEIRS, 0), (OURS, 5)):
        classifier(module, solver="lbfgs", verbose=True).fit(X, y)
        assert len(re.findall(r"(?m)^Iteration \d+, loss = ", capsys.readouterr().out)) == n_lines


def collect_warning(model):
    with pytest.warns(ConvergenceWarning) as caught:
        model.fit(X, y)
    return caught[0]


@row("ConvergenceWarning")
@row("module of warnings")
def test_convergence_warning():
    theirs, ours = map(collect_warning, make_both(classifier))
    assert str(ours.message).startswith(str(theirs.message))
    assert "Raise max_iter" in str(ours.message)
    assert "sklearn" in theirs.filename
    assert ours.filename == __file__
    for model in (classifier(), regressor(), fastnn.TabularRegressor(1, "fast"), fastnn.TableEncoder()):
        with pytest.warns(DataConversionWarning, match="A column-vector y was passed") as caught:
            model.fit(X, y[:, None])
        assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        classifier().fit(X, y)


@row("`coefs_`, `intercepts_`")
def test_coefs_and_intercepts():
    theirs, ours = fit_both(classifier)
    W = np.ones((4, 7))
    theirs.coefs_[0] = ours.coefs_[0] = W
    assert theirs.coefs_[0] is W
    np.testing.assert_array_equal(ours.coefs_[0], W)
    assert not np.shares_memory(ours.coefs_[0], W)
    theirs.coefs_[0] = np.ones((3, 2))
    with pytest.raises(ValueError, match="shape"):
        ours.coefs_[0] = np.ones((3, 2))


def is_changed(module, change):
    """Return True if a change of a fitted classifier has an effect on its predictions."""
    model = classifier(module).fit(X, y)
    before = model.predict_proba(X), model.predict(X)
    change(model)
    return not all(map(np.array_equal, before, (model.predict_proba(X), model.predict(X))))


# By the row: a property of either library, scikit-learn's value and fastnn's.
PROPERTIES = {
    "`activation` changed after a fit": (
        lambda module: is_changed(module, lambda model: model.set_params(activation="tanh")),
        (True, False),
    ),
    "`classes_` assigned": (
        lambda module: is_changed(module, lambda model: setattr(model, "classes_", np.array([7, 8, 9]))),
        (False, True),
    ),
    "class of the estimators": (lambda m: issubclass(m.MLPClassifier, THEIRS.MLPClassifier), (True, False)),
}
# By the row: calls that scikit-learn accepts, and words of the message with which fastnn refuses them.
REFUSED = {
    "negative `sample_weight`": (
        lambda module: classifier(module).fit(X, y, sample_weight=np.r_[-1.0, np.ones(149)]),
        "at least 0",
    ),
    'negative `y` with `loss="poisson"`': (lambda m: regressor(m, loss="poisson").fit(X, -y), "at least 0"),
    "masked values in `X`, `y` or `sample_weight`": (
        lambda module: classifier(module).fit(np.ma.masked_less(X, 0), y),
        "X has masked values",
    ),
    "sizes changed before a warm start": (
        lambda module: regressor(module, warm_start=True).fit(X, TARGETS).fit(X, y),
        "y has 1 output, but the estimator was fitted with 3",
    ),
    "`out_activation_` assigned": (
        lambda module: setattr(regressor(module).fit(X, y), "out_activation_", "logistic"),
        "out_activation_ is 'identity' by the loss, got 'logistic'",
    ),
}
tested |= {*PROPERTIES, *REFUSED}


@pytest.mark.parametrize(("find", "values"), PROPERTIES.values(), ids=PROPERTIES)
def test_properties(find, values):
    assert (find(THEIRS), find(OURS)) == values


@since("scikit-learn", "1.7")
@pytest.mark.parametrize(("act", "message"), REFUSED.values(), ids=REFUSED)
def test_what_scikit_learn_accepts_is_refused(act, message):
    act(THEIRS)
    with pytest.raises(ValueError, match=message):
        act(OURS)


@row("`coefs_`, `intercepts_` with `batch_norm=True`")
def test_coefs_and_intercepts_with_batch_normalisation():
    ours = classifier(batch_norm=True).fit(X, y)
    scores = np.maximum(X @ ours.coefs_[0] + ours.intercepts_[0], 0) @ ours.coefs_[1] + ours.intercepts_[1]
    np.testing.assert_allclose(scores, ours.decision_function(X), rtol=1e-10, atol=1e-12)
    assert not np.allclose(ours.model_.W[0], ours.coefs_[0])
    for name in ("coefs_", "intercepts_"):
        values = getattr(ours, name)
        assert not values[0].flags.writeable
        for assign in (values.__setitem__, lambda _, value, name=name: setattr(ours, name, [value])):
            with pytest.raises(ValueError, match=f"{name} of .* model_.W, model_.b and model_.batch_norm"):
                assign(0, values[0].copy())


@row("private attributes")
def test_private_attributes():
    theirs, ours = fit_both(classifier)
    for name in ("_optimizer", "_random_state"):
        assert hasattr(theirs, name)
        assert not hasattr(ours, name)
    theirs._no_improvement_count = ours._no_improvement_count = 7
    assert theirs._no_improvement_count == ours._no_improvement_count == 7
    name = "_label_binarizer"
    assert vars(getattr(ours, name)).keys() == vars(getattr(theirs, name)).keys()
    assert not hasattr(classifier(), name)


@row("HTML representation")
def test_html_representation():
    address = "https://scikit-learn.org"
    theirs, ours = map(estimator_html_repr, make_both(classifier))
    assert f'href="{address}' in theirs
    assert address not in re.sub(r"<style>.*?</style>", "", ours, flags=re.S)
