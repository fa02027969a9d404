"""scikit-learn's own tests of its multilayer perceptrons, and its checks of any estimator, run on fastnn.

A test of scikit-learn runs unchanged, but the names of scikit-learn's classes in it mean fastnn's. Tests that
read private attributes, which differ in fastnn, are rewritten below with public ones.
"""

import copy
import re
import types
import warnings
from unittest import SkipTest

import numpy as np
import pytest
import sklearn.neural_network.tests.test_mlp as theirs
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import fastnn
from fastnn import MLPClassifier, MLPRegressor

OURS = {theirs.MLPClassifier: MLPClassifier, theirs.MLPRegressor: MLPRegressor}

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
    return OURS.get(value, value) if isinstance(value, type) else value


def _our_mark(mark):
    if mark.name != "parametrize":
        return mark
    names, values = mark.args
    return pytest.mark.parametrize(names, [_our_value(value) for value in values], **mark.kwargs).mark


def _our_test(test):
    """Return a copy of a test in which the names of scikit-learn's estimators mean fastnn's."""
    names = test.__globals__ | {ours.__name__: ours for ours in OURS.values()}
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
    X, y = random.rand(5, 10), 1 + np.mod(np.arange(5) + 1, n_labels)
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

ESTIMATORS = [MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)]
# Least number of checks for each estimator; scikit-learn 1.9 has 68 and 60.
MIN_CHECKS = 50
MAY_BE_SKIPPED = {"check_array_api_input": "asks for SCIPY_ARRAY_API=1 in the environment"}


@parametrize_with_checks(ESTIMATORS)
def test_the_check_of_scikit_learn_passes(estimator, check):
    name = getattr(check, "func", check).__name__
    skipped = None
    with warnings.catch_warnings():
        # Checks set a low max_iter and do not need converged fits.
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            check(estimator)
        except SkipTest as reason:
            skipped = reason
    if skipped:
        assert name in MAY_BE_SKIPPED, f"{name} was skipped: {skipped}"
        pytest.skip(str(skipped))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_scikit_learn_has_checks_for_each_estimator(estimator):
    checks = list(estimator_checks_generator(estimator))
    assert len(checks) >= MIN_CHECKS
