"""Estimators behave as scikit-learn's do: its tests of networks and its checks of any estimator pass.

A test of scikit-learn runs unchanged, but the names of scikit-learn's classes in it mean fastnn's. Tests that
read private attributes, which differ in fastnn, are rewritten below with public ones.
"""

import copy
import pickle
import re
import types
import warnings
from unittest import SkipTest

import joblib
import numpy as np
import pytest
import sklearn
import sklearn.neural_network
import sklearn.neural_network.tests.test_mlp as theirs
import sklearn_pairs
from ensemble_problems import METHODS, assert_same_members, problems
from estimator_checks import parameters
from estimator_problems import (
    COUNTS,
    NAMES,
    TARGETS,
    UNCONVERGED,
    WEIGHTS,
    X,
    assert_same_fit,
    classifier,
    regressor,
    y,
)
from extras import since
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks
from sklearn_pairs import OURS, THEIRS

import fastnn
from fastnn import (
    MLPClassifier,
    MLPEnsembleClassifier,
    MLPEnsembleRegressor,
    MLPRegressor,
)

pytestmark = UNCONVERGED

REPLACED = {theirs.MLPClassifier: MLPClassifier, theirs.MLPRegressor: MLPRegressor}

# scikit-learn's tests that cannot run unchanged, each with its use of something private. Every one has an
# equivalent of the same name below.
EXCLUDED = {
    "test_fit": "sets the attributes of an estimator that was never fitted, some of them private",
    "test_gradient": "calls _loss_grad_lbfgs",
    "test_learning_rate_warmstart": "reads _optimizer.learning_rate",
    "test_adaptive_learning_rate": "reads _optimizer.learning_rate",
}
# Least number of scikit-learn's tests that run unchanged; scikit-learn 1.9 has 39.
MIN_TESTS = 35


def _our_value(value):
    """Return the argument of a parametrised test with scikit-learn's estimators replaced by fastnn's."""
    if isinstance(value, tuple | list):
        return type(value)(map(_our_value, value))
    return REPLACED.get(value, value) if isinstance(value, type) else value


def _our_mark(mark):
    if mark.name != "parametrize":
        return mark
    names, values = mark.args
    return pytest.mark.parametrize(names, [_our_value(value) for value in values], **mark.kwargs).mark


def _our_test(test):
    """Return a copy of a test in which the names of scikit-learn's estimators mean fastnn's."""
    names = test.__globals__ | {ours.__name__: ours for ours in REPLACED.values()}
    copied = types.FunctionType(test.__code__, names, test.__name__, test.__defaults__, test.__closure__)
    copied.__kwdefaults__ = test.__kwdefaults__
    copied.pytestmark = [
        # These fits stop at max_iter, and scikit-learn's suite ignores the warning.
        pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning").mark,
        *map(_our_mark, getattr(test, "pytestmark", [])),
    ]
    if "pandas" in test.__code__.co_consts:  # the name of the package without which the test skips itself
        copied.pytestmark.append(pytest.mark.needs("pandas").mark)
    return copied


THEIR_TESTS = {
    name: test
    for name, test in vars(theirs).items()
    if name.startswith("test_") and isinstance(test, types.FunctionType)
}
OUR_TESTS = {name: _our_test(test) for name, test in THEIR_TESTS.items() if name not in EXCLUDED}
globals().update(OUR_TESTS)


@pytest.fixture
def global_random_seed():
    """Return a seed, as the fixture of this name in scikit-learn's suite does."""
    return 42


@pytest.fixture(autouse=True)
def _seeded():
    """Seed the global generator, from which many tests draw: every run is the same."""
    np.random.seed(42)


def test_every_test_of_scikit_learn_runs_or_has_an_equivalent():
    assert EXCLUDED.keys() <= THEIR_TESTS.keys()
    assert len(OUR_TESTS) == len(THEIR_TESTS) - len(EXCLUDED) >= MIN_TESTS
    here = globals()
    for name, test in OUR_TESTS.items():
        assert here[name] is test, f"{name} is defined anew in this module"
        assert test.__globals__["MLPClassifier"] is fastnn.MLPClassifier
        assert test.__globals__["MLPRegressor"] is fastnn.MLPRegressor
    for name in EXCLUDED:
        assert here[name].__module__ == __name__, f"{name} has no equivalent"


# --- the excluded tests, through public attributes ---------------------------------------------------


def test_fit():
    """scikit-learn's test derives the expected numbers by hand."""
    X, y = np.array([[0.6, 0.8, 0.7]]), np.array([0])
    mlp = MLPClassifier(
        solver="sgd", learning_rate_init=0.1, alpha=0.1, activation="logistic", random_state=1,
        hidden_layer_sizes=2, momentum=0,
    )  # fmt: skip
    mlp.partial_fit(X, y, classes=[0, 1])
    mlp.coefs_ = [np.array([[0.1, 0.2], [0.3, 0.1], [0.5, 0]]), np.array([[0.1], [0.2]])]
    mlp.intercepts_ = [np.array([0.1, 0.1]), np.array([1.0])]
    mlp.partial_fit(X, y)
    first_weights = [[0.098, 0.195756], [0.2956664, 0.096008], [0.4939998, -0.002244]]
    np.testing.assert_almost_equal(mlp.coefs_[0], first_weights, decimal=3)
    np.testing.assert_almost_equal(mlp.coefs_[1], [[0.04706], [0.154089]], decimal=3)
    np.testing.assert_almost_equal(mlp.intercepts_[0], [0.098333, 0.09626], decimal=3)
    np.testing.assert_almost_equal(mlp.intercepts_[1], [0.9235], decimal=3)
    np.testing.assert_almost_equal(mlp.predict_proba(X)[0, 1], 0.739, decimal=3)


@pytest.mark.parametrize("activation", theirs.ACTIVATION_TYPES)
@pytest.mark.parametrize("n_labels", [2, 3])
def test_gradient(n_labels, activation):
    """A step of gradient descent is the rate times the gradient; an epoch records the loss before it."""
    random = np.random.RandomState(42)
    X, y = random.rand(5, 3), 1 + np.mod(np.arange(5) + 1, n_labels)
    rate = 0.25
    mlp = MLPClassifier(
        activation=activation, hidden_layer_sizes=4, solver="sgd", momentum=0, alpha=1e-5,
        learning_rate_init=rate, random_state=1,
    )  # fmt: skip
    mlp.partial_fit(X, y, classes=np.unique(y))
    start = [array.copy() for array in mlp.coefs_ + mlp.intercepts_]
    n_layers = len(mlp.coefs_)

    def loss_and_end(parameters):
        mlp.coefs_, mlp.intercepts_ = parameters[:n_layers], parameters[n_layers:]
        mlp.partial_fit(X, y)
        return mlp.loss_, mlp.coefs_ + mlp.intercepts_

    _, end = loss_and_end(start)
    for before, after in zip(start, end, strict=True):
        gradient = (before - after) / rate
        for k in np.ndindex(*before.shape):
            kept, losses = before[k], []
            for shift in (1e-5, -1e-5):
                before[k] = kept + shift
                losses.append(loss_and_end(start)[0])
            before[k] = kept
            np.testing.assert_allclose(gradient[k], (losses[0] - losses[1]) / 2e-5, atol=1e-7)


@pytest.mark.parametrize("learning_rate", ["invscaling", "constant"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_learning_rate_warmstart(learning_rate):
    """After two fits, the next step equals a step at the expected rate, set as a constant rate."""
    X, y = [[3, 2], [1, 6], [5, 6], [-2, -4]], [1, 1, 1, 0]
    mlp = MLPClassifier(
        solver="sgd", hidden_layer_sizes=4, learning_rate=learning_rate, max_iter=1, power_t=0.25,
        warm_start=True, momentum=0, random_state=0,
    )  # fmt: skip
    mlp.fit(X, y).fit(X, y)
    assert mlp.t_ == 8
    rate = mlp.learning_rate_init
    if learning_rate == "invscaling":
        rate /= pow(8 + 1, mlp.power_t)
    other = copy.deepcopy(mlp).set_params(learning_rate="constant", learning_rate_init=rate)
    start = mlp.coefs_[0].copy()
    mlp.fit(X, y)
    other.fit(X, y)
    np.testing.assert_allclose(mlp.coefs_[0] - start, other.coefs_[0] - start, rtol=1e-9)
    assert not np.array_equal(mlp.coefs_[0], start)


def test_adaptive_learning_rate(capsys):
    X, y = [[3, 2], [1, 6]], [1, 0]
    mlp = MLPClassifier(tol=0.5, max_iter=3000, solver="sgd", learning_rate="adaptive", verbose=True)
    mlp.fit(X, y)
    assert mlp.max_iter > mlp.n_iter_
    printed = capsys.readouterr().out
    rates = [float(rate) for rate in re.findall(r"Setting learning rate to (\S+)", printed)]
    np.testing.assert_allclose(rates, 0.001 / 5.0 ** np.arange(1, 6), atol=5e-7)
    assert printed.endswith("Learning rate too small. Stopping.\n")


# --- the checks of any estimator ----------------------------------------------------------------------

CHECKED = [
    MLPClassifier(max_iter=100),
    MLPRegressor(max_iter=100),
    *(
        kind(
            member(hidden_layer_sizes=(6,), max_iter=60, learning_rate_init=0.05),
            n_estimators=2,
            method=method,
        )
        for kind, member in ((MLPEnsembleClassifier, MLPClassifier), (MLPEnsembleRegressor, MLPRegressor))
        for method in METHODS
    ),
]

# Least number of checks for each estimator; scikit-learn 1.9 has 56 to 68.
MIN_CHECKS = 50

# Checks that may skip themselves, with the reason.
MAY_BE_SKIPPED = {
    "check_array_api_input": "asks for SCIPY_ARRAY_API=1 in the environment",
    "check_classifiers_multilabel_output_format_decision_function": "an ensemble has no decision_function",
}

# A bootstrap fails these checks: the rows that it draws depend on the number of rows.
WEIGHT_CHECKS = (
    "check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"
)  # fmt: skip


def expected_failures(estimator):
    """Return the checks that an estimator is expected to fail, each with the reason."""
    if getattr(estimator, "method", None) != "bootstrap":
        return {}
    return dict.fromkeys(WEIGHT_CHECKS, "the rows drawn depend on the number of rows")


def name_of(check):
    return getattr(check, "func", check).__name__


@parametrize_with_checks(CHECKED, expected_failed_checks=expected_failures)
def test_the_check_of_scikit_learn_passes(estimator, check):
    skipped = None
    with warnings.catch_warnings():
        # Checks set a low max_iter and do not need converged fits.
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            check(estimator)
        except SkipTest as reason:
            skipped = reason
    if skipped:
        assert name_of(check) in MAY_BE_SKIPPED, f"{name_of(check)} was skipped: {skipped}"
        assert hasattr(estimator, "n_estimators") or name_of(check) == "check_array_api_input"
        pytest.skip(str(skipped))


@pytest.mark.parametrize("estimator", CHECKED)
def test_only_the_weight_checks_of_a_bootstrap_fail(estimator):
    """An expected failure is tested to be one, and scikit-learn yields all of its checks."""
    checks = [check for _, check in estimator_checks_generator(estimator)]
    assert len(checks) >= MIN_CHECKS
    failures = [check for check in checks if name_of(check) in expected_failures(estimator)]
    assert len(failures) == (2 if getattr(estimator, "method", None) == "bootstrap" else 0)
    for check in failures:
        with pytest.raises(AssertionError, match="is not equivalent to fitting with"):
            check(estimator)


# --- parameters, attributes and warnings are scikit-learn's -------------------------------------------


def test_estimators_have_scikit_learns_parameters_and_methods():
    for name in ("MLPClassifier", "MLPRegressor"):
        theirs, ours = (getattr(module, name)() for module in (THEIRS, OURS))
        assert theirs.get_params().items() <= ours.get_params().items()
        for estimator in (theirs, ours):
            assert is_classifier(estimator) == (name == "MLPClassifier")
            assert is_regressor(estimator) == (name == "MLPRegressor")
        for method in dir(theirs):
            if not method.startswith("_") and callable(getattr(theirs, method)):
                assert hasattr(ours, method), method


@since("scikit-learn", "1.7")
@pytest.mark.parametrize("make", [sklearn_pairs.classifier, sklearn_pairs.regressor])
def test_unfitted_estimators_have_scikit_learns_parameters_and_tags(make):
    theirs, ours = make(THEIRS), make(OURS)
    assert repr(theirs) == repr(ours) == repr(clone(ours))
    assert repr(theirs.__sklearn_tags__()) == repr(ours.__sklearn_tags__())
    assert theirs.loss == ours.loss


@pytest.mark.parametrize("make", [sklearn_pairs.classifier, sklearn_pairs.regressor])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_fitted_estimators_have_scikit_learns_attributes(make, solver):
    """The attributes are those whose names end in an underscore, and have scikit-learn's types."""
    theirs, ours = (make(module, solver=solver).fit(X, y) for module in (THEIRS, OURS))
    names = [name for name in dir(theirs) if name.endswith("_") and not name.startswith("_")]
    assert {"coefs_", "loss_", "n_iter_", "t_"} <= set(names) <= set(dir(ours))
    for name in names:
        one, other = getattr(theirs, name), getattr(ours, name)
        assert isinstance(other, float if isinstance(one, float) else type(one)), name
    with_curves = solver == "adam"
    assert hasattr(theirs, "loss_curve_") == hasattr(ours, "loss_curve_") == with_curves


@pytest.mark.parametrize("as_text", [False, True])
def test_many_classes_cause_only_scikit_learns_warnings(as_text):
    targets = np.arange(30).astype(str if as_text else int)
    caught = []
    for module in (THEIRS, OURS):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            sklearn_pairs.classifier(module).partial_fit(X[:30], targets, classes=targets).partial_fit(
                X[:30], targets
            )
            sklearn_pairs.classifier(module, max_iter=2).fit(X[:30], targets)
        caught.append([(warning.category, str(warning.message)[:60]) for warning in found])
    assert caught[0] == caught[1]


def test_a_batch_larger_than_the_data_is_clipped():
    for estimator in (classifier(batch_size=151), THEIRS.MLPClassifier(batch_size=151)):
        with pytest.warns(UserWarning, match="Got `batch_size` less than 1 or larger than sample size"):
            estimator.fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # lbfgs has no batches: any batch_size will do
        classifier(batch_size=151, solver="lbfgs", max_iter=500, tol=0.1).fit(X, y)


# --- estimators as objects: parameters, copies, fitted attributes, pipelines and searches -------------


def test_parameters_can_be_read_and_set_and_cloned():
    options = {
        "solver": fastnn.RMSprop(alpha=0.9), "learning_rate": fastnn.CosineDecay(), "dropout": [0.1, 0.2],
        "activation": ["elu"],
    }  # fmt: skip
    model = classifier(**options)
    assert model.get_params().items() >= options.items()
    assert clone(model).get_params() == model.get_params()
    assert not hasattr(clone(classifier().fit(X, y)), "coefs_")
    assert "RMSprop(alpha=0.9" in repr(model)
    assert "MLPClassifier" in model._repr_html_()
    assert model.set_params(alpha=0.5).alpha == 0.5
    with pytest.raises(ValueError, match="Invalid parameter 'alfa'"):
        model.set_params(alfa=1)


@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.5}, {"early_stopping": True}, {"batch_norm": True}])
def test_copies_are_independent(options):
    model = classifier(batch_size=40, **options).fit(X, y)
    before, predicted = parameters(model), model.predict_proba(X)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(copied.predict_proba(X), predicted)
        for array in (*copied.model_.W, *copied.model_.b):
            array[...] = 7
        copied.set_params(early_stopping=False).partial_fit(X, y)
    if "batch_norm" in options:  # coefs_ and intercepts_ are read-only
        return
    copied = copy.copy(model)
    copied.coefs_ = [0 * coef for coef in copied.coefs_]
    copied.intercepts_ = [np.arange(len(intercept)) for intercept in copied.intercepts_]
    assert copied.predict(X).tolist() == [2] * 150
    np.testing.assert_array_equal(parameters(model), before)
    np.testing.assert_array_equal(model.predict_proba(X), predicted)


@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.5}, {"early_stopping": True}])
def test_coefs_are_views_of_the_parameters(options):
    model = classifier(batch_size=40, **options).fit(X, y)
    np.testing.assert_array_equal(model.model_.predict_proba(X), model.predict_proba(X))
    before = model.predict_proba(X)
    model.coefs_[-1][...] *= 2
    assert not np.array_equal(model.predict_proba(X), before)
    np.testing.assert_array_equal(model.model_.predict_proba(X), model.predict_proba(X))
    for name in ("coefs_", "intercepts_", "model_", "loss_", "n_iter_"):
        assert not hasattr(classifier(), name)
    for wrong in ([np.ones((2, 2))] * 2, [1.0, 2.0]):
        with pytest.raises(ValueError, match=r"coefs_\[0\] must have the shape"):
            model.coefs_ = wrong
    # A partial fit starts from the assigned arrays.
    model.coefs_ = [0 * W for W in model.coefs_]
    model.intercepts_ = [0 * b for b in model.intercepts_]
    np.testing.assert_allclose(model.predict_proba(X), 1 / 3, rtol=1e-6)
    if "early_stopping" not in options:
        model.set_params(learning_rate_init=1e-12).partial_fit(X, y)
        np.testing.assert_allclose(model.predict_proba(X), 1 / 3, rtol=1e-3)


def test_a_subclass_may_have_other_parameters():
    class Mine(MLPClassifier):
        def __init__(self, depth=2, alpha=1e-4):
            super().__init__(hidden_layer_sizes=(5,) * depth, alpha=alpha, random_state=0, max_iter=5)
            self.depth = depth

    assert Mine(depth=3).fit(X, y).n_layers_ == 5
    assert clone(Mine(depth=1)).fit(X, y).n_layers_ == 3
    with pytest.raises(InvalidParameterError, match="'alpha'"):
        Mine(alpha=-1).fit(X, y)


@pytest.mark.needs("pandas")
def test_a_pipeline_encodes_columns_for_a_classifier():
    import pandas as pd

    frame = pd.DataFrame(X, columns=list("abcd")).assign(kind=np.array(["p", "q", "r"])[y])
    columns = make_column_transformer((StandardScaler(), list("ab")), (OneHotEncoder(), ["kind"]))
    pipeline = make_pipeline(columns, classifier(max_iter=60, learning_rate_init=0.05)).fit(frame, NAMES[y])
    assert pipeline.score(frame, NAMES[y]) > 0.95


def test_searches_on_threads_and_in_one_process_are_equal():
    grid = {"alpha": [0.0, 100.0], "solver": ["adam", "lbfgs"], "hidden_layer_sizes": [(3,), (4, 4)]}
    searches = []
    for backend in ("loky", "threading"):
        with joblib.parallel_config(backend=backend, n_jobs=1 if backend == "loky" else 2):
            search = GridSearchCV(classifier(max_iter=20, learning_rate_init=0.05), grid, cv=3)
            searches.append(search.fit(X, y))
    assert searches[0].best_params_ == searches[1].best_params_
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(searches[0].cv_results_[name], searches[1].cv_results_[name])
    assert searches[0].best_score_ > 0.8
    np.testing.assert_array_equal(
        parameters(searches[0].best_estimator_), parameters(searches[1].best_estimator_)
    )


def test_estimators_can_be_calibrated_and_cross_validated():
    model = classifier(max_iter=60, learning_rate_init=0.02)
    calibrated = CalibratedClassifierCV(model, cv=3).fit(X, NAMES[y], sample_weight=WEIGHTS + 1.0)
    assert calibrated.score(X, NAMES[y]) > 0.9
    for method in ("predict_proba", "decision_function", "predict_log_proba"):
        assert cross_val_predict(model, X, NAMES[y], cv=3, method=method).shape == (150, 3)
    assert cross_val_predict(regressor(), X, TARGETS, cv=3).shape == (150, 3)


@pytest.fixture
def _routing():
    """Enable scikit-learn's metadata routing, which hands validation data through pipelines."""
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("_routing")
def test_a_pipeline_transforms_the_validation_data():
    table = 100 * X + 7
    requested = classifier(early_stopping=True).set_fit_request(X_val=True, y_val=True, sample_weight=True)
    unweighted = StandardScaler().set_fit_request(sample_weight=False)
    pipeline = Pipeline([("scaler", unweighted), ("mlp", requested)], transform_input=["X_val"])
    pipeline.fit(table[:120], y[:120], X_val=table[100:], y_val=y[100:], sample_weight=WEIGHTS[:120])
    scaler = StandardScaler().fit(table[:120])
    assert_same_fit(
        pipeline["mlp"],
        classifier(early_stopping=True).fit(
            scaler.transform(table[:120]), y[:120], WEIGHTS[:120], scaler.transform(table[100:]), y[100:]
        ),
    )
    requested = classifier().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    search = GridSearchCV(requested, {"alpha": [0, 1]}, cv=2)
    assert search.fit(X, y, sample_weight=WEIGHTS + 1.0).best_score_ > 0
    classifier().set_partial_fit_request(sample_weight=True, classes=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden_layer_sizes", None), ("hidden_layer_sizes", 0), ("activation", "square"), ("activation", 1),
        ("solver", "newton"), ("solver", fastnn.Adam), ("alpha", -1), ("alpha", "much"), ("batch_size", 0),
        ("batch_size", 1.5), ("learning_rate", "fast"), ("learning_rate", 3), ("learning_rate_init", 0),
        ("learning_rate_init", np.nan), ("power_t", -1), ("max_iter", 0), ("max_iter", 1.0),
        ("shuffle", "no"), ("random_state", "zero"), ("random_state", np.random.default_rng(0)), ("tol", -1),
        ("verbose", "loud"), ("warm_start", None), ("momentum", 1.1), ("nesterovs_momentum", None),
        ("early_stopping", None), ("validation_fraction", 1.0), ("beta_1", 1.0), ("beta_2", -0.1),
        ("epsilon", 0), ("n_iter_no_change", 0), ("n_iter_no_change", 1.5), ("max_fun", 0), ("dropout", 1),
        ("dropout", "some"), ("batch_norm", 1), ("weight_decay", -1), ("max_grad_norm", 0), ("ema_decay", 1),
        ("scoring", "nothing"), ("n_threads", 0), ("label_smoothing", 1.1), ("label_smoothing", None),
        ("class_weight", "equal"), ("class_weight", [1, 2]),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_parameters_of_both_estimators_are_refused(name, value):
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of MLPClassifier must be"):
        classifier(**{name: value}).fit(X, y)
    if name not in ("label_smoothing", "class_weight"):
        with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of MLPRegressor must be"):
            regressor(**{name: value}).partial_fit(X, COUNTS)


@pytest.mark.parametrize(
    ("name", "value"),
    [("loss", "hinge"), ("loss", None), ("quantile", 0), ("quantile", 1), ("quantile", None)],
)
def test_wrong_parameters_of_regressors_are_refused(name, value):
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of MLPRegressor must be"):
        regressor(**{name: value}).fit(X, COUNTS)


def test_wrong_items_and_objects_in_parameters_are_refused():
    for options, message in (
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be > 0, got"),
        ({"hidden_layer_sizes": (2.5,)}, "hidden_layer_sizes must be an integer or a list"),
        ({"dropout": [0.1]}, "a list of 2"),
        ({"dropout": [1.0, 0.0]}, r"dropout\[0\] must be"),
        ({"learning_rate": fastnn.CosineDecay}, "call it, as in"),
        ({"learning_rate": lambda step: -1.0}, "must be a finite number of at least 0"),
        ({"solver": fastnn.optimizers.Optimizer()}, "optimizer must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier(**options).fit(X, y)
    with pytest.raises(ValueError, match="is for classes: use MLPClassifier"):
        regressor(loss=fastnn.SoftmaxCrossEntropy()).fit(X, COUNTS)


def test_multilabel_targets_of_scikit_learn_are_learned():
    table, labels = make_multilabel_classification(n_samples=100, random_state=0)
    model = classifier(max_iter=300, learning_rate_init=0.01, hidden_layer_sizes=(30,)).fit(table, labels)
    assert model.score(table, labels) > 0.9
    assert model.predict(table).dtype == np.int64


# --- ensembles as objects ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@problems
def test_copies_of_ensembles_are_equal_and_independent(member, kind, targets, method):
    ensemble = kind(member(), 2, method, random_state=0).fit(X, targets)
    for other in (pickle.loads(pickle.dumps(ensemble)), copy.deepcopy(ensemble)):
        assert_same_members(other, ensemble.estimators_)
        np.testing.assert_array_equal(other.predict(X), ensemble.predict(X))
        other.estimators_[0].partial_fit(X, targets)
    assert_same_members(clone(ensemble).fit(X, targets), ensemble.estimators_)
    assert not hasattr(clone(ensemble), "estimators_")


def test_parameters_of_the_member_are_parameters_of_the_ensemble():
    member = classifier()
    ensemble = MLPEnsembleClassifier(member)
    shallow = {
        "estimator": member,
        "n_estimators": 10,
        "method": "seeds",
        "n_jobs": None,
        "random_state": None,
    }
    assert ensemble.get_params(deep=False) == shallow
    assert ensemble.get_params() == shallow | {f"estimator__{k}": v for k, v in member.get_params().items()}
    ensemble.set_params(estimator__alpha=0.5, n_estimators=2, estimator__solver="sgd")
    assert (member.alpha, ensemble.n_estimators) == (0.5, 2)
    assert [fitted.alpha for fitted in ensemble.fit(X, y).estimators_] == [0.5, 0.5]
    with pytest.raises(ValueError, match="Invalid parameter 'beta'"):
        ensemble.set_params(estimator__beta=1)
    grid = GridSearchCV(ensemble, {"estimator__alpha": [0, 1.0], "method": METHODS}, cv=2).fit(X, y)
    assert set(grid.best_params_) == {"estimator__alpha", "method"}
    assert cross_val_predict(ensemble, X, y, cv=2, method="predict_proba").shape == (150, 3)
    assert make_pipeline(StandardScaler(), ensemble).fit(X, y).predict(X).shape == (150,)


def test_representations_and_tags_describe_the_ensemble():
    ensemble = MLPEnsembleClassifier(classifier(alpha=0.5), 3)
    assert repr(ensemble).startswith("MLPEnsembleClassifier(estimator=MLPClassifier(")
    for shown in (ensemble, clone(ensemble).fit(X, y), MLPEnsembleClassifier([classifier()] * 2)):
        assert "MLPEnsembleClassifier" in shown._repr_html_()
        assert "alpha=0.5" in repr(shown) or isinstance(shown.estimator, list)
    assert sklearn.utils.get_tags(ensemble).classifier_tags.multi_label
    assert sklearn.utils.get_tags(ensemble).input_tags.sparse
    assert is_classifier(ensemble)
    assert is_regressor(MLPEnsembleRegressor())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("estimator", 3, "The 'estimator' parameter"),
        ("estimator", MLPClassifier, "The 'estimator' parameter"),
        ("n_estimators", 0, "The 'n_estimators' parameter"),
        ("n_estimators", 1.5, "The 'n_estimators' parameter"),
        ("method", "boosting", "The 'method' parameter"),
        ("n_jobs", 1.5, "The 'n_jobs' parameter"),
        ("n_jobs", 0, "n_jobs must be None or an integer other than 0"),
        ("random_state", "zero", "The 'random_state' parameter"),
        ("estimator", [], "estimator is an empty list"),
        ("estimator", regressor(), "estimator must be a fastnn.MLPClassifier, got MLPRegressor"),
        ("estimator", [classifier(), 3], r"estimator\[1\] must be a fastnn.MLPClassifier, got 3"),
        (
            "estimator", [sklearn.neural_network.MLPClassifier()],
            r"estimator\[0\] must be .* got MLPClassifier\(\) of sklearn.neural_network",
        ),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_wrong_parameters_of_ensembles_are_refused(name, value, message):
    ensemble = MLPEnsembleClassifier(**{"estimator": classifier(), "n_estimators": 2} | {name: value})
    with pytest.raises(ValueError, match=message):
        ensemble.fit(X, y)
    assert not hasattr(ensemble, "estimators_")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("name", "value"), [("alpha", -1), ("max_iter", "many"), ("batch_size", "all"), ("solver", "newton")]
)
def test_wrong_parameters_of_members_are_refused(method, name, value):
    ensemble = MLPEnsembleClassifier(classifier(**{name: value}), 2, method)
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of MLPClassifier must be"):
        ensemble.fit(X, y)


def test_sample_weights_of_ensembles_are_checked():
    ensemble = MLPEnsembleClassifier(classifier(), 2, random_state=0)
    for weights in (np.zeros(150), -np.ones(150), np.ones(149), np.full(150, np.nan), ["a"] * 150):
        with pytest.raises(ValueError):  # noqa: PT011, test_estimator_data.py tests the messages
            ensemble.fit(X, y, weights)
    same = clone(ensemble).fit(X, y, 1.0)  # one weight for all samples, as a member takes it
    assert_same_members(same, ensemble.fit(X, y).estimators_)


# Changes of an ensemble or of its data with which a fit is refused, and a part of the message.
REFUSED = {
    "n_jobs": ({"n_jobs": 0}, {}, "n_jobs must be None or an integer other than 0"),
    "estimator": ({"estimator": []}, {}, "estimator is an empty list"),
    "a member": ({"estimator": classifier(hidden_layer_sizes=(0,))}, {}, "hidden_layer_sizes must be > 0"),
    "X": ({}, {"X": np.full((len(X), 3), np.nan)}, "contains NaN"),
    "y": ({}, {"y": NAMES[y][:-1]}, "inconsistent numbers of samples"),
    "sample_weight": ({}, {"sample_weight": -np.ones(len(X))}, r"sample_weight\[0\] is -1"),
    "X_val": ({}, {"X_val": X[:, :1], "y_val": NAMES[y]}, "X_val, y_val"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_a_fit_of_an_ensemble_that_is_refused_leaves_the_earlier_fit(wrong):
    changes, data, message = REFUSED[wrong]
    ensemble = MLPEnsembleClassifier(classifier(), 2, n_jobs=1, random_state=0).fit(X, y)
    before = ensemble.predict_proba(X)
    ensemble.set_params(**changes)
    with pytest.raises(ValueError, match=message):
        ensemble.fit(**{"X": X[:, :3], "y": NAMES[y]} | data)
    assert ensemble.n_features_in_ == X.shape[1]
    np.testing.assert_array_equal(ensemble.classes_, np.unique(y))
    np.testing.assert_array_equal(ensemble.predict_proba(X), before)


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_of_an_ensemble_that_diverges_discards_the_earlier_fit(method):
    ensemble = MLPEnsembleClassifier(classifier(), 2, method).fit(X, y)
    ensemble.set_params(estimator=classifier(solver="sgd", learning_rate_init=1e300))
    with pytest.raises(fastnn.DivergenceError):
        ensemble.fit(X[:, :3], NAMES[y])
    with pytest.raises(NotFittedError):
        ensemble.predict(X)
    ensemble.set_params(estimator=classifier()).fit(X, y).predict(X)
