"""docs/scikit-learn.md: behaviour equal to scikit-learn's, and fits in parts equal to fits at once."""

import warnings

import joblib
import numpy as np
import pytest
from extras import since
from sklearn.base import clone
from sklearn_pairs import (
    OURS,
    RULES,
    TARGETS,
    THEIRS,
    X,
    are_equal,
    classifier,
    fitted_in_parts,
    fitted_often,
    have_same_bits,
    parameters,
    regressor,
    y,
)

# Most fits here end at max_iter.
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:Stochastic Optimizer. Maximum iterations:sklearn.exceptions.ConvergenceWarning"
    ),
    pytest.mark.filterwarnings("ignore:lbfgs failed to converge:sklearn.exceptions.ConvergenceWarning"),
]


# Batches whose samples no generator orders.
ORDERED = {"one batch": {}, "batches": {"batch_size": 40, "shuffle": False}}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("batches", ORDERED.values(), ids=ORDERED)
@pytest.mark.parametrize("kind", ["int", "RandomState", "global"])
def test_partial_fits_without_random_order_equal_scikit_learns(kind, batches, rule):
    results, drawn = [], []
    for module in (THEIRS, OURS):
        np.random.seed(5)
        state = {"int": 5, "RandomState": np.random.RandomState(5), "global": None}[kind]
        results.append(fitted_in_parts(classifier(module, **batches | rule | {"random_state": state})))
        drawn.append(np.random.random_sample())
    theirs, ours = results
    assert are_equal(theirs, ours)
    assert theirs.t_ == ours.t_ == 750
    assert theirs.n_iter_ == ours.n_iter_ == 1
    assert drawn[0] == drawn[1]
    np.testing.assert_allclose(theirs.loss_curve_, ours.loss_curve_)


def test_partial_fits_of_a_regressor_equal_scikit_learns():
    theirs, ours = (regressor(module) for module in (THEIRS, OURS))
    for estimator in (theirs, ours):
        for start in (0, 50, 100, 0, 100):
            estimator.partial_fit(X[start : start + 50], TARGETS[start : start + 50])
    assert are_equal(theirs, ours)


@pytest.mark.parametrize(
    "options",
    [
        {"solver": "lbfgs"},
        {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.1},
        {"solver": "sgd", "momentum": 0, "learning_rate_init": 0.1, "batch_size": 40, "shuffle": False},
    ],
    ids=str,
)
def test_warm_starts_without_optimizer_state_equal_scikit_learns(options):
    theirs, ours = (
        fitted_often(classifier(module, warm_start=True, max_iter=10, activation="tanh", **options))
        for module in (THEIRS, OURS)
    )
    np.testing.assert_allclose(parameters(theirs), parameters(ours), atol=1e-7)
    assert (theirs.n_iter_, theirs.t_) == (ours.n_iter_, ours.t_)


def test_a_repeated_fit_without_warm_start_equals_scikit_learns():
    theirs, ours = (fitted_often(classifier(module, batch_size=40)) for module in (THEIRS, OURS))
    assert are_equal(theirs, ours)
    assert have_same_bits(ours, classifier(OURS, batch_size=40).fit(X, y))


@since("scikit-learn", "1.7")
@pytest.mark.parametrize("make", [classifier, regressor])
def test_unfitted_estimators_have_scikit_learns_parameters_and_tags(make):
    theirs, ours = make(THEIRS), make(OURS)
    assert repr(theirs) == repr(ours) == repr(clone(ours))
    assert repr(theirs.__sklearn_tags__()) == repr(ours.__sklearn_tags__())
    assert theirs.loss == ours.loss
    assert theirs.get_params().items() <= ours.get_params().items()


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
    with_curves = solver == "adam"
    assert hasattr(theirs, "loss_curve_") == hasattr(ours, "loss_curve_") == with_curves


@pytest.mark.parametrize("as_text", [False, True])
def test_many_classes_cause_only_scikit_learns_warnings(as_text):
    targets = np.arange(30).astype(str if as_text else int)
    caught = []
    for module in (THEIRS, OURS):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            classifier(module).partial_fit(X[:30], targets, classes=targets).partial_fit(X[:30], targets)
            classifier(module, max_iter=2).fit(X[:30], targets)
        caught.append([(warning.category, str(warning.message)[:60]) for warning in found])
    assert caught[0] == caught[1]


# --- k epochs and then m epochs equal k + m epochs ---------------------------------------------------


def test_fits_in_parts_by_a_generator_object_equal_a_fit_at_once():
    """Assigning the weights between the parts changes nothing."""
    options = {"batch_size": 40, "n_iter_no_change": np.inf}
    at_once = classifier(OURS, max_iter=4, random_state=np.random.RandomState(1), **options).fit(X, y)
    parts = fitted_in_parts(classifier(OURS, random_state=np.random.RandomState(1), **options), 2)
    parts.coefs_ = parts.coefs_
    assert have_same_bits(at_once, fitted_in_parts(parts, 2))


def test_a_fit_loaded_as_a_memory_map_continues_with_its_generator(tmp_path):
    options = {"batch_size": 40, "warm_start": True, "n_iter_no_change": np.inf}
    at_once = classifier(OURS, **options | {"max_iter": 15}).fit(X, y)
    joblib.dump(classifier(OURS, **options).fit(X, y), tmp_path / "fitted")
    assert have_same_bits(at_once, fitted_often(joblib.load(tmp_path / "fitted", mmap_mode="r"), 2))


def test_a_fit_that_fails_leaves_the_generator_of_the_earlier_fit():
    model, expected = (classifier(OURS, batch_size=40).fit(X, y) for _ in range(2))
    model.set_params(random_state=8, early_stopping=True, validation_fraction=0.001, warm_start=True)
    with pytest.raises(ValueError, match="validation set is too small"):
        model.fit(X, y)
    model.set_params(random_state=3, early_stopping=False)
    assert have_same_bits(model.partial_fit(X, y), expected.partial_fit(X, y))
