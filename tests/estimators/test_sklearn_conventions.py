"""Estimators behave as scikit-learn's do: its tests of networks and its checks of any estimator pass.

A test of scikit-learn runs unchanged, but the names of scikit-learn's classes in it mean fastnn's.
"""

import copy
import functools
import types
import warnings

import numpy as np
import pytest
import sklearn
import sklearn.neural_network.tests.test_mlp as theirs
from extras import since
from fit_checks import assert_same_fit
from problems import OURS, THEIRS, UNCONVERGED, WEIGHTS, X, classifier, regressor, y
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastnn import MLPClassifier, MLPEnsembleClassifier, MLPEnsembleRegressor, MLPRegressor

pytestmark = UNCONVERGED

REPLACED = {theirs.MLPClassifier: MLPClassifier, theirs.MLPRegressor: MLPRegressor}

# scikit-learn's tests that cannot run unchanged, each with its use of something private. That fits have
# scikit-learn's numbers, by every rule of the learning rate, test_sklearn_differences.py tests.
EXCLUDED = {
    "test_gradient": "calls _loss_grad_lbfgs",
    "test_learning_rate_warmstart": "reads _optimizer.learning_rate",
    "test_adaptive_learning_rate": "reads _optimizer.learning_rate",
}
# Least number of scikit-learn's tests that run unchanged; scikit-learn 1.9 has 40.
MIN_TESTS = 36


def replace_value(value):
    """Return the argument of a parametrised test with scikit-learn's estimators replaced by fastnn's."""
    if isinstance(value, tuple | list):
        return type(value)(map(replace_value, value))
    return REPLACED.get(value, value) if isinstance(value, type) else value


def replace_mark(mark):
    if mark.name != "parametrize":
        return mark
    names, values = mark.args
    return pytest.mark.parametrize(names, [replace_value(value) for value in values], **mark.kwargs).mark


def copy_test(test):
    """Return a copy of a test in which the names of scikit-learn's estimators mean fastnn's."""
    names = test.__globals__ | {ours.__name__: ours for ours in REPLACED.values()}
    copied = types.FunctionType(test.__code__, names, test.__name__, test.__defaults__, test.__closure__)
    copied.__kwdefaults__ = test.__kwdefaults__
    copied.pytestmark = [
        # These fits stop at max_iter, and scikit-learn's suite ignores the warning.
        pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning").mark,
        *map(replace_mark, getattr(test, "pytestmark", [])),
    ]
    if "pandas" in test.__code__.co_consts:  # the name of the package without which the test skips itself
        copied.pytestmark.append(pytest.mark.needs("pandas").mark)
    return copied


THEIR_TESTS = {name: test for name, test in vars(theirs).items() if name.startswith("test_")}
OUR_TESTS = {name: copy_test(test) for name, test in THEIR_TESTS.items() if name not in EXCLUDED}
globals().update(OUR_TESTS)


@pytest.fixture
def global_random_seed():
    """Return a seed, as the fixture of this name in scikit-learn's suite does."""
    return 42


@pytest.fixture(autouse=True)
def _seeded():
    """Seed the global generator, from which many tests draw: every run is the same."""
    np.random.seed(42)


def test_the_other_tests_of_scikit_learn_run():
    assert EXCLUDED.keys() <= THEIR_TESTS.keys()
    assert len(OUR_TESTS) == len(THEIR_TESTS) - len(EXCLUDED) >= MIN_TESTS
    here = globals()
    for name, test in OUR_TESTS.items():
        assert here[name] is test, f"{name} is defined anew in this module"
        assert test.__globals__["MLPClassifier"] is MLPClassifier
        assert test.__globals__["MLPRegressor"] is MLPRegressor


QUICK = {"hidden_layer_sizes": (6,), "max_iter": 60, "learning_rate_init": 0.05}
# Members are made, and predict, in one way for classes and numbers: each method is checked with either.
CHECKED = [
    MLPClassifier(max_iter=100),
    MLPRegressor(max_iter=100),
    *(MLPEnsembleClassifier(MLPClassifier(**QUICK), 2, method=way) for way in ("bootstrap", "average")),
    *(MLPEnsembleRegressor(MLPRegressor(**QUICK), 2, method=way) for way in ("seeds", "snapshots")),
]


def list_expected_failures(estimator):
    """Return the checks that an estimator is expected to fail, each with the reason."""
    checks = [f"check_sample_weight_equivalence_on_{kind}_data" for kind in ("dense", "sparse")]
    is_bootstrap = getattr(estimator, "method", None) == "bootstrap"
    return dict.fromkeys(checks * is_bootstrap, "the rows drawn depend on the number of rows")


@parametrize_with_checks(CHECKED, expected_failed_checks=list_expected_failures)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # checks set a low max_iter
def test_the_check_of_scikit_learn_passes(estimator, check):
    check(estimator)


def list_warnings(act):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        act()
    return [(warning.category, str(warning.message)[:60]) for warning in found]


@pytest.mark.parametrize("kind", [str, int])
def test_warnings_are_scikit_learns(kind):
    """Fits to as many classes as samples, a column of classes, or fewer samples than a batch warn."""
    targets = np.arange(30).astype(kind)

    def act(module):
        make, samples = functools.partial(classifier, module), X[:30]
        make().partial_fit(samples, targets, classes=targets).partial_fit(samples, targets)
        make(max_iter=2).fit(samples, targets)
        make(batch_size=31).fit(samples, targets[:, None])

    assert list_warnings(lambda: act(THEIRS)) == list_warnings(lambda: act(OURS))
    # "lbfgs" has no batches: any batch_size will do.
    assert not list_warnings(lambda: classifier(batch_size=151, solver="lbfgs", max_iter=99, tol=1).fit(X, y))


@since("scikit-learn", "1.7")
@pytest.mark.parametrize("make", [classifier, regressor])
def test_unfitted_estimators_have_scikit_learns_parameters_methods_and_tags(make):
    theirs, ours = make(THEIRS), make(OURS)
    assert theirs.get_params().items() <= ours.get_params().items()
    methods = {name for name in dir(theirs) if not name.startswith("_") and callable(getattr(theirs, name))}
    assert methods <= set(dir(ours))
    assert repr(theirs) == repr(ours) == repr(clone(ours))
    assert repr(theirs.__sklearn_tags__()) == repr(ours.__sklearn_tags__())
    assert theirs.loss == ours.loss


@pytest.mark.parametrize("make", [classifier, regressor])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_fitted_estimators_have_scikit_learns_attributes(make, solver):
    """The attributes are those whose names end in an underscore, and have scikit-learn's types."""
    theirs, ours = (make(module, solver=solver).fit(X, y) for module in (THEIRS, OURS))
    names = [name for name in dir(theirs) if name.endswith("_") and not name.startswith("_")]
    assert {"coefs_", "loss_", "n_iter_", "t_"} <= set(names) <= set(dir(ours))
    for name in names:
        one, other = getattr(theirs, name), getattr(ours, name)
        assert isinstance(other, float if isinstance(one, float) else type(one)), name
    assert hasattr(theirs, "loss_curve_") == hasattr(ours, "loss_curve_") == (solver == "adam")


kept = pytest.mark.parametrize("options", [{}, {"ema_decay": 0.5}, {"early_stopping": True}], ids=str)


@kept
def test_coefs_are_views_of_the_parameters_and_copies_are_independent(options):
    model = classifier(batch_size=40, **options).fit(X, y)
    np.testing.assert_array_equal(model.model_.predict_proba(X), model.predict_proba(X))
    before = model.predict_proba(X)
    model.coefs_[-1][...] *= 2
    after = model.predict_proba(X)
    assert not np.array_equal(after, before)
    np.testing.assert_array_equal(model.model_.predict_proba(X), after)
    deep, shallow = copy.deepcopy(model), copy.copy(model)
    for array in (*deep.model_.W, *deep.model_.b):
        array[...] = 7
    # A list is assigned as a whole, or not at all.
    for wrong in ([np.ones((2, 2))] * 2, [1.0, 2.0]):
        with pytest.raises(ValueError, match=r"coefs_\[0\] must have the shape"):
            shallow.coefs_ = wrong
    shallow.coefs_ = [0 * W for W in shallow.coefs_]
    shallow.intercepts_ = (0 * b for b in shallow.intercepts_)
    np.testing.assert_allclose(shallow.predict_proba(X), 1 / 3, rtol=1e-6)
    np.testing.assert_array_equal(model.predict_proba(X), after)
    if "early_stopping" not in options:  # a partial fit starts from the assigned arrays
        shallow.set_params(learning_rate_init=1e-12).partial_fit(X, y)
        np.testing.assert_allclose(shallow.predict_proba(X), 1 / 3, rtol=1e-3)


def test_a_pipeline_transforms_the_validation_data():
    table = 100 * X + 7
    requested = classifier(early_stopping=True)
    with sklearn.config_context(enable_metadata_routing=True):
        requested.set_fit_request(X_val=True, y_val=True, sample_weight=True)
        unweighted = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = Pipeline([("scaler", unweighted), ("mlp", requested)], transform_input=["X_val"])
        pipeline.fit(table[:120], y[:120], X_val=table[100:], y_val=y[100:], sample_weight=WEIGHTS[:120])
        requested = classifier().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(requested, {"alpha": [0, 1]}, cv=2)
        assert search.fit(X, y, sample_weight=WEIGHTS + 1.0).best_score_ > 0
    scale = StandardScaler().fit(table[:120]).transform
    alone = classifier(early_stopping=True)
    alone.fit(scale(table[:120]), y[:120], WEIGHTS[:120], scale(table[100:]), y[100:])
    assert_same_fit(pipeline["mlp"], alone)
