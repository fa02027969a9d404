"""docs/scikit-learn.md: fits give scikit-learn's numbers, and fits in parts those of a fit at once."""

import itertools

import joblib
import numpy as np
import pytest
from estimator_problems import PROBLEMS, UNCONVERGED, WEIGHTS, assert_equal_to_theirs, assert_same_fit
from example_counts import with_examples
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import has_fit_parameter
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

from fastnn.estimators.holdout import split_validation

pytestmark = UNCONVERGED


# scikit-learn's networks take sample_weight, and the regressor's loss, from 1.7 on.
THEIRS_TAKE_WEIGHTS = has_fit_parameter(THEIRS.MLPRegressor, "sample_weight")


def both(name, X, y, sample_weight=None, **parameters):
    """Return scikit-learn's estimator and fastnn's, fitted to the same data with the same parameters."""
    if not THEIRS_TAKE_WEIGHTS and (sample_weight is not None or "loss" in parameters):
        pytest.skip("scikit-learn's networks take sample_weight and loss from 1.7 on")
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}
    fitted = []
    for module in (THEIRS, OURS):
        estimator = getattr(module, name)(**{"random_state": 3, "hidden_layer_sizes": (7,)} | parameters)
        fitted.append(estimator.fit(X, y, **weights))
    return fitted


def assert_equal_predictions(theirs, ours, X, y, atol=1e-10):
    predicted = ours.predict(X)
    assert predicted.dtype == theirs.predict(X).dtype
    if is_classifier(ours):
        np.testing.assert_array_equal(predicted, theirs.predict(X))
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=atol)
        np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), atol=atol)
    else:
        np.testing.assert_allclose(predicted, theirs.predict(X), rtol=0, atol=atol)
    np.testing.assert_allclose(ours.score(X, y), theirs.score(X, y))
    np.testing.assert_allclose(
        ours.score(X, y, sample_weight=WEIGHTS), theirs.score(X, y, sample_weight=WEIGHTS)
    )


SOLVERS = {
    **{
        f"sgd, {learning_rate}, {'Nesterov' if nesterov else 'momentum'} {momentum}": {
            "solver": "sgd", "learning_rate": learning_rate, "nesterovs_momentum": nesterov,
            "momentum": momentum, "learning_rate_init": 0.01,
        }
        for learning_rate, (nesterov, momentum) in itertools.product(
            ("constant", "invscaling", "adaptive"), ((True, 0.9), (False, 0.7), (True, 0))
        )
    },
    "adam": {"solver": "adam"},
    "adam, other betas": {"solver": "adam", "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
}  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
@pytest.mark.parametrize("problem", PROBLEMS)
def test_stochastic_solvers_equal_scikit_learns(problem, solver, weighted):
    """The last batch of an epoch is a short one, with 22 samples instead of 32.

    A Poisson deviance has a term that depends on y alone and is not trained. fastnn adds its mean over all
    samples, scikit-learn its mean over each batch: with weights the recorded losses differ.
    """
    name, targets, options = PROBLEMS[problem]
    weights = WEIGHTS if weighted else None
    theirs, ours = both(name, X, targets, weights, max_iter=10, batch_size=32, **solver, **options)
    assert_equal_to_theirs(theirs, ours, with_losses=not (weighted and problem == "poisson"))
    assert_equal_predictions(theirs, ours, X, targets)


@pytest.mark.parametrize("batch_size", ["auto", 1, 7, 50, 149, 150])
@pytest.mark.parametrize("shuffle", [True, False])
def test_fits_by_any_batch_size_equal_scikit_learns(batch_size, shuffle):
    theirs, ours = both(
        "MLPClassifier", X, y, batch_size=batch_size, shuffle=shuffle, max_iter=4, alpha=0.1
    )  # fmt: skip
    assert_equal_to_theirs(theirs, ours)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("sizes", [(), 5, (6, 5), [5, 6, 7]])
def test_networks_of_any_shape_equal_scikit_learns(activation, sizes):
    theirs, ours = both("MLPRegressor", X, TARGETS[:, 0], hidden_layer_sizes=sizes, activation=activation,
                        max_iter=5)  # fmt: skip
    assert_equal_to_theirs(theirs, ours)


@pytest.mark.parametrize("learning_rate", ["constant", "adaptive"])
@pytest.mark.parametrize("problem", ["multiclass", "regression"])
def test_fits_converge_in_the_same_epoch_as_scikit_learns(problem, learning_rate):
    """A fit converges when its loss falls too slowly; an adaptive rate is lowered in the same epochs, too."""
    name, targets, _ = PROBLEMS[problem]
    theirs, ours = both(
        name, X, targets, solver="sgd", learning_rate=learning_rate, learning_rate_init=0.05, tol=0.01,
        n_iter_no_change=3, batch_size=40, max_iter=500,
    )  # fmt: skip
    assert 10 < theirs.n_iter_ < 500
    assert_equal_to_theirs(theirs, ours)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_early_stopping_equals_scikit_learns(problem, weighted):
    name, targets, options = PROBLEMS[problem]
    if not THEIRS_TAKE_WEIGHTS and targets.dtype.kind == "U":
        pytest.skip("scikit-learn 1.6 cannot score labels that are strings")
    theirs, ours = both(
        name, X, targets, WEIGHTS + 1 if weighted else None, early_stopping=True, n_iter_no_change=4,
        validation_fraction=0.3, learning_rate_init=0.02, batch_size=32, tol=1e-3, max_iter=300, **options,
    )  # fmt: skip
    assert theirs.n_iter_ < 300
    assert ours.best_loss_ is theirs.best_loss_ is None
    assert_equal_to_theirs(theirs, ours, with_losses=not (weighted and problem == "poisson"))
    assert_equal_predictions(theirs, ours, X, targets)
    assert len(ours.validation_loss_curve_) == ours.n_iter_


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_lbfgs_equals_scikit_learns(problem, weighted):
    """Each line search amplifies rounding errors: compare few iterations."""
    name, targets, options = PROBLEMS[problem]
    theirs, ours = both(
        name, X, targets, WEIGHTS if weighted else None, solver="lbfgs", max_iter=10, activation="tanh",
        **options,
    )  # fmt: skip
    assert not hasattr(ours, "loss_curve_")
    assert_equal_to_theirs(theirs, ours, atol=1e-7)
    assert_equal_predictions(theirs, ours, X, targets, atol=1e-6)


def test_lbfgs_ends_in_the_same_iteration_as_scikit_learns():
    for limits in ({"max_iter": 3}, {"max_fun": 5}, {"tol": 0.5}, {}):
        theirs, ours = both("MLPRegressor", X, TARGETS[:, 0], solver="lbfgs", alpha=1.0, **limits)
        assert abs(ours.n_iter_ - theirs.n_iter_) <= (2 if theirs.n_iter_ > 50 else 0)
        np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float32_stays_float32(dtype):
    theirs, ours = both("MLPClassifier", X.astype(dtype), y, max_iter=5, batch_size=50)
    assert_equal_to_theirs(theirs, ours, atol=1e-5 if dtype == np.float32 else 1e-11)
    assert ours.predict_proba(X.astype(dtype)).dtype == dtype
    assert ours.decision_function(X.astype(dtype)).dtype == dtype
    _, ours = both("MLPRegressor", X.astype(dtype), TARGETS, max_iter=5)
    assert ours.predict(X.astype(dtype)).dtype == dtype


def global_generator(seed):
    """Seed NumPy's global generator; return None, the `random_state` that stands for it."""
    np.random.seed(seed)


GENERATORS = {
    "RandomState": np.random.RandomState,
    "global": global_generator,
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
        module.MLPClassifier(random_state=generator, max_iter=4, hidden_layer_sizes=(7,), **options).fit(X, y)
        drawn.append((np.random if generator is None else generator).random_sample(5).tolist())
    assert drawn[0] == drawn[1]


def test_fits_by_other_generators_are_reproducible():
    one, same, other = (
        classifier(OURS, random_state=GENERATORS["PCG64"](seed), batch_size=32).fit(X, y)
        for seed in (1, 1, 2)
    )
    assert_same_fit(one, same)
    assert not np.array_equal(parameters(one), parameters(other))


@pytest.mark.parametrize("kind", ["RandomState", "PCG64"])
def test_a_continued_fit_repeats_the_split_by_any_generator(kind, recwarn):
    model = classifier(
        OURS, random_state=GENERATORS[kind](1), early_stopping=True, warm_start=True, max_iter=3
    )
    held_out = []
    for _ in range(2):
        model.fit(X, y)
        state = model._state
        held_out.append(
            split_validation(model, model._checked(X, y, None, "warm"), state, state.random)[1].rows
        )
    assert held_out[0].tolist() == held_out[1].tolist()
    assert {warning.category for warning in recwarn} <= {ConvergenceWarning}


@given(
    n=st.integers(2, 60),
    n_features=st.integers(1, 6),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=2),
    batch_size=st.integers(1, 60),
    problem=st.sampled_from(["binary", "multiclass", "regression", "three outputs"]),
    solver=st.sampled_from(["sgd", "adam"]),
    alpha=st.sampled_from([0, 1e-3, 1.0]),
    weighted=st.booleans() if THEIRS_TAKE_WEIGHTS else st.just(False),
    seed=st.integers(0, 2**32 - 1),
)
@with_examples(40)
def test_small_fits_of_any_kind_equal_scikit_learns(
    n, n_features, sizes, batch_size, problem, solver, alpha, weighted, seed
):
    random = np.random.RandomState(seed)
    name, _, _ = PROBLEMS[problem]
    samples = random.standard_normal((n, n_features))
    targets = {
        "binary": np.arange(n) % 2,
        "multiclass": np.arange(n) % 3,
        "regression": random.standard_normal(n),
        "three outputs": random.standard_normal((n, 3)),
    }[problem]
    theirs, ours = both(
        name, samples, targets, random.uniform(0.1, 2, n) if weighted else None, hidden_layer_sizes=sizes,
        batch_size=min(batch_size, n), solver=solver, alpha=alpha, random_state=seed, max_iter=3,
    )  # fmt: skip
    assert_equal_to_theirs(theirs, ours)


# --- fits in several calls -----------------------------------------------------------------------------

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
