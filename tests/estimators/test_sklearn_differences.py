"""docs/scikit-learn.md: fits give scikit-learn's numbers, and each row of the tables has a test."""

import itertools
import re
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
import scipy.optimize
import sklearn.neural_network
from estimator_checks import parameters
from estimator_problems import PROBLEMS, UNCONVERGED, WEIGHTS, assert_equal_to_theirs, assert_same_fit
from example_counts import with_examples
from extras import since
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer
from sklearn.utils import estimator_html_repr
from sklearn.utils.validation import has_fit_parameter
from sklearn_pairs import OURS, TARGETS, THEIRS, X, classifier, regressor, y

import fastnn
from fastnn.engine.compiled_lbfgs import NumbaLBFGSTrainer
from fastnn.estimators.holdout import split_validation

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
    """Return whether two estimators have the same weights up to rounding."""
    return np.allclose(parameters(one), parameters(other), rtol=0, atol=1e-10)


def have_same_bits(one, other):
    """Return whether two estimators have bitwise equal weights."""
    return np.array_equal(parameters(one), parameters(other))


def fitted_in_parts(estimator, n_calls=5, before=None):
    """Return an estimator after `n_calls` calls of `partial_fit`; `before` is called before each."""
    for _ in range(n_calls):
        if before is not None:
            before(estimator)
        estimator.partial_fit(X, y, classes=CLASSES)
    return estimator


def fitted_often(estimator, n_calls=3, before=None):
    """Return an estimator after `n_calls` calls of `fit`; `before` is called before each."""
    for _ in range(n_calls):
        if before is not None:
            before(estimator)
        estimator.fit(X, y)
    return estimator


def reseed(estimator):
    """Give an estimator a new generator with the seed it had."""
    estimator.set_params(random_state=np.random.RandomState(3))


# --- equal numbers -----------------------------------------------------------------------------------

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
    theirs, ours = both(name, X, targets, weights, max_iter=5, batch_size=32, **solver, **options)
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


# --- fits in several calls ---------------------------------------------------------------------------

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


# --- rows of the tables of differences ---------------------------------------------------------------

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
    assert len(set(names)) == len(names)
    assert set(names) == tested


# --- differences: continued fits ---------------------------------------------------------------------


@row("order of the samples")
def test_order_of_the_samples():
    for rule in RULES.values():
        options = {"batch_size": 40, "tol": 10.0} | rule
        theirs, ours = (fitted_in_parts(classifier(module, **options)) for module in (THEIRS, OURS))
        assert not are_equal(theirs, ours)
        assert have_same_bits(ours, classifier(OURS, max_iter=5, **options).fit(X, y))
        assert not are_equal(theirs, classifier(THEIRS, max_iter=5, **options).fit(X, y))
        assert are_equal(theirs, fitted_in_parts(classifier(OURS, **options), before=reseed))
    options = {"batch_size": 40, "warm_start": True, "solver": "sgd", "momentum": 0}
    theirs, ours = (fitted_often(classifier(module, **options)) for module in (THEIRS, OURS))
    assert not are_equal(theirs, ours)
    assert have_same_bits(ours, classifier(OURS, **options | {"max_iter": 15}).fit(X, y))
    assert are_equal(theirs, fitted_often(classifier(OURS, **options), before=reseed))


@row("optimizer of a warm start")
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_optimizer_of_a_warm_start(rule):
    options = {"warm_start": True, "shuffle": False, "batch_size": 40} | rule
    theirs, ours = (fitted_often(classifier(module, **options), 2) for module in (THEIRS, OURS))
    assert not are_equal(theirs, ours)
    assert have_same_bits(ours, classifier(OURS, **options | {"max_iter": 10}).fit(X, y))
    assert not are_equal(theirs, classifier(THEIRS, **options | {"max_iter": 10}).fit(X, y))


@row("validation data of a warm start")
@pytest.mark.parametrize("state", [3, np.random.RandomState(3)], ids=["int", "RandomState"])
def test_validation_data_of_a_warm_start(monkeypatch, state):
    for module, place in (
        (THEIRS, "sklearn.neural_network._multilayer_perceptron"),
        (OURS, "fastnn.estimators.holdout"),
    ):
        split = sklearn.model_selection.train_test_split
        held_out = []

        def splitting(*arrays, split=split, held_out=held_out, **options):
            parts = split(*arrays, **options)
            held_out.append(parts[1])
            return parts

        monkeypatch.setattr(f"{place}.train_test_split", splitting)
        fitted_often(classifier(module, early_stopping=True, warm_start=True, random_state=state), 2)
        assert len(held_out) == 2
        assert np.array_equal(*held_out) == (module is OURS)


@row("best epoch of a warm start")
def test_best_epoch_of_a_warm_start():
    for module in (THEIRS, OURS):
        model = classifier(
            module, early_stopping=True, warm_start=True, n_iter_no_change=100, learning_rate_init=0.02,
            max_iter=40,
        ).fit(X, y)  # fmt: skip
        best, score = parameters(model), model.best_validation_score_
        model.set_params(learning_rate_init=50.0, max_iter=5).fit(X, y)
        assert max(model.validation_scores_[40:]) <= score == model.best_validation_score_
        assert np.array_equal(parameters(model), best) == (module is OURS)


@row("parameters changed between calls of `partial_fit`")
@pytest.mark.parametrize(
    "changed", [{"learning_rate_init": 0.1}, {"beta_1": 0.1}, {"solver": "sgd"}], ids=str
)
def test_parameters_changed_between_calls_of_partial_fit(changed):
    for module in (THEIRS, OURS):
        kept, other = (fitted_in_parts(classifier(module), 2) for _ in range(2))
        other.set_params(**changed)
        assert are_equal(fitted_in_parts(kept, 2), fitted_in_parts(other, 2)) == (module is THEIRS)


@row("solver or `early_stopping` changed before a warm start")
@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"solver": "lbfgs"}, {"solver": "adam"}),
        ({"early_stopping": True}, {"early_stopping": False}),
        ({"early_stopping": False}, {"early_stopping": True}),
    ],
)
def test_solver_or_early_stopping_changed_before_a_warm_start(first, then):
    theirs, ours = (classifier(module, warm_start=True, **first).fit(X, y) for module in (THEIRS, OURS))
    with pytest.raises((AttributeError, TypeError)):
        theirs.set_params(**then).fit(X, y)
    assert ours.set_params(**then).fit(X, y).n_iter_ == 5


@row("sizes changed before a warm start")
def test_sizes_changed_before_a_warm_start():
    theirs, ours = (classifier(module, warm_start=True).fit(X, y) for module in (THEIRS, OURS))
    assert theirs.set_params(hidden_layer_sizes=(9,)).fit(X, y).coefs_[0].shape == (4, 7)
    with pytest.raises(ValueError, match="layers_dim"):
        ours.set_params(hidden_layer_sizes=(9,)).fit(X, y)
    theirs, ours = (regressor(module, warm_start=True).fit(X, TARGETS) for module in (THEIRS, OURS))
    assert theirs.fit(X, TARGETS[:, 0]).predict(X).shape == (150, 3)
    with pytest.raises(ValueError, match="y has 1 outputs, but the estimator was fitted with 3"):
        ours.fit(X, TARGETS[:, 0])


@row("`partial_fit` with `warm_start=True`")
def test_partial_fit_with_warm_start():
    theirs, ours, plain = (
        classifier(module, warm_start=warm_start).partial_fit(X, y, classes=CLASSES)
        for module, warm_start in ((THEIRS, True), (OURS, True), (OURS, False))
    )
    with pytest.raises(ValueError, match="same classes"):
        theirs.partial_fit(X[:60], y[:60])
    assert have_same_bits(ours.partial_fit(X[:60], y[:60]), plain.partial_fit(X[:60], y[:60]))


@row('`partial_fit` of a regressor with "lbfgs"')
def test_partial_fit_of_a_regressor_with_lbfgs():
    theirs, ours = (regressor(module, solver="lbfgs") for module in (THEIRS, OURS))
    assert are_equal(theirs.partial_fit(X, TARGETS), ours.fit(X, TARGETS))
    assert not hasattr(ours, "partial_fit")
    assert not any(hasattr(classifier(m, solver="lbfgs"), "partial_fit") for m in (THEIRS, OURS))


@since("scikit-learn", "1.7")
@row("fit that fails")
def test_fit_that_fails():
    theirs, ours = (classifier(module).fit(X, y) for module in (THEIRS, OURS))
    before = ours.predict_proba(X)
    for model in (theirs, ours):
        with pytest.raises(ValueError, match=r"sample_weight\.shape"):
            model.fit(X[:, :2], y, sample_weight=[1.0])
    with pytest.raises(ValueError, match="expecting 2 features"):
        theirs.predict(X)
    np.testing.assert_array_equal(ours.predict_proba(X), before)


# --- differences: predictions ------------------------------------------------------------------------


class WithoutScores(fastnn.MLPClassifier):
    """The subclass without `decision_function` that the table names."""

    decision_function = property()


@row("`decision_function`")
def test_decision_function():
    options = {"hidden_layer_sizes": (7,), "random_state": 3, "max_iter": 100, "learning_rate_init": 0.02}
    theirs, ours, without = (
        kind(**options) for kind in (THEIRS.MLPClassifier, OURS.MLPClassifier, WithoutScores)
    )
    assert [hasattr(model, "decision_function") for model in (theirs, ours, without)] == [False, True, False]
    calibrated = [
        CalibratedClassifierCV(model, cv=3, ensemble=False).fit(X, y).predict_proba(X)
        for model in (theirs, ours, without)
    ]
    np.testing.assert_allclose(calibrated[0], calibrated[2], atol=1e-6)
    assert np.abs(calibrated[0] - calibrated[1]).max() > 0.01
    # The scores 40 and 50 differ, but both probabilities round to 1.
    samples, labels = np.repeat([[40.0], [50.0]], 10, axis=0), np.repeat([0, 1], 10)
    values = []
    for model in (theirs, ours, without):
        model.set_params(hidden_layer_sizes=(), max_iter=1).fit(samples, labels)
        model.coefs_, model.intercepts_ = [np.ones((1, 1))], [np.zeros(1)]
        values.append(get_scorer("roc_auc")(model, samples, labels))
    assert values == [0.5, 1.0, 0.5]


def with_last_bias(module, bias, targets):
    """Return a classifier whose parameters are all 0 except the last bias."""
    model = classifier(module, max_iter=1).fit(X, targets)
    model.coefs_ = [np.zeros_like(W) for W in model.coefs_]
    biases = [np.zeros_like(b) for b in model.intercepts_]
    biases[-1][-1] = bias
    model.intercepts_ = biases
    return model


@row("classes of nearly equal probability")
@pytest.mark.parametrize(("targets", "last"), [(y, 2), (y == 1, 1), (np.eye(3, dtype=int)[y], [0, 0, 1])])
def test_classes_of_nearly_equal_probability(targets, last):
    theirs, ours = (with_last_bias(module, 1e-17, targets) for module in (THEIRS, OURS))
    np.testing.assert_array_equal(theirs.predict_proba(X), ours.predict_proba(X))
    assert not theirs.predict(X).any()
    assert (ours.predict(X) == last).all()
    theirs, ours = (with_last_bias(module, 0.0, targets) for module in (THEIRS, OURS))
    np.testing.assert_array_equal(theirs.predict(X), ours.predict(X))


@row("`predict_log_proba`")
def test_predict_log_proba():
    theirs, ours = (classifier(module).fit(X, y) for module in (THEIRS, OURS))
    np.testing.assert_allclose(theirs.predict_log_proba(X), ours.predict_log_proba(X))
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert np.isneginf(theirs.predict_log_proba(1e5 * X)).any()
    assert np.isfinite(ours.predict_log_proba(1e5 * X)).all()


@row("`predict_proba` of one class")
def test_predict_proba_of_one_class():
    theirs, ours = (classifier(module).fit(X, np.full(150, 4)) for module in (THEIRS, OURS))
    assert are_equal(theirs, ours)
    assert theirs.predict_proba(X).shape == (150, 2)
    np.testing.assert_array_equal(ours.predict_proba(X), np.ones((150, 1)))
    np.testing.assert_array_equal(theirs.predict(X), ours.predict(X))


@row("`activation` changed after a fit")
def test_activation_changed_after_a_fit():
    for module in (THEIRS, OURS):
        model = classifier(module).fit(X, y)
        before = model.predict_proba(X)
        after = model.set_params(activation="tanh").predict_proba(X)
        assert np.array_equal(before, after) == (module is OURS)


@row("float32")
def test_float32():
    narrow = X.astype(np.float32)
    for solver, dtype in (("adam", np.float32), ("lbfgs", np.float64)):
        theirs, ours = (classifier(module, solver=solver).fit(narrow, y) for module in (THEIRS, OURS))
        assert theirs.coefs_[0].dtype == dtype
        assert ours.coefs_[0].dtype == np.float32
        np.testing.assert_allclose(parameters(theirs), parameters(ours), atol=1e-4)
        assert theirs.predict_proba(X).dtype == np.float64
        assert ours.predict_proba(X).dtype == np.float32
    theirs, ours = (regressor(module).fit(narrow, TARGETS.astype(np.float32)) for module in (THEIRS, OURS))
    assert type(theirs.loss_) is np.float32
    assert type(ours.loss_) is float


# --- differences: numbers, limits and messages -------------------------------------------------------


@row("loss of a saturated output")
def test_loss_of_a_saturated_output():
    theirs, ours = (
        classifier(module, learning_rate_init=1e-12, max_iter=1, alpha=0).fit(1e4 * X, y)
        for module in (THEIRS, OURS)
    )
    assert are_equal(theirs, ours)
    exact = -ours.predict_log_proba(1e4 * X)[np.arange(150), y].mean()
    np.testing.assert_allclose(ours.loss_, exact, rtol=1e-6)
    assert theirs.loss_ < -np.log(np.finfo(float).eps) < exact


@since("scikit-learn", "1.7")
@row("loss of a weighted Poisson fit")
def test_loss_of_a_weighted_poisson_fit():
    for weights in (None, 1.0 + np.arange(150) % 3):
        theirs, ours = (
            regressor(module, loss="poisson", batch_size=40).fit(X, y, sample_weight=weights)
            for module in (THEIRS, OURS)
        )
        assert are_equal(theirs, ours)
        assert np.allclose(theirs.loss_curve_, ours.loss_curve_) == (weights is None)


@row("divergence")
@pytest.mark.parametrize("early_stopping", [False, True])
def test_divergence(early_stopping):
    for module in (THEIRS, OURS):
        model = regressor(
            module, solver="sgd", learning_rate_init=1e3, max_iter=30, n_iter_no_change=50,
            early_stopping=early_stopping,
        )  # fmt: skip
        message = None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                model.fit(X, TARGETS)
            except ValueError as error:
                message = str(error)
        categories = {warning.category for warning in caught}
        if not early_stopping:
            assert message.startswith("Solver produced non-finite parameter weights.")
        assert np.isfinite(parameters(model)).all() == (early_stopping or module is OURS)
        if module is THEIRS:
            assert model.n_iter_ == 30
            assert RuntimeWarning in categories
        else:
            assert model.n_iter_ < 30
            assert categories == ({ConvergenceWarning} if early_stopping else set())


@since("scikit-learn", "1.7")
@row("negative `sample_weight`")
def test_negative_sample_weight():
    weights = np.r_[-1.0, np.ones(149)]
    classifier(THEIRS).fit(X, y, sample_weight=weights)
    with pytest.raises(ValueError, match="at least 0"):
        classifier(OURS).fit(X, y, sample_weight=weights)


@since("scikit-learn", "1.7")
@row("batch whose weights are all 0")
def test_batch_whose_weights_are_all_0():
    weights = np.r_[np.zeros(50), np.ones(100)]
    options = {"batch_size": 50, "shuffle": False, "solver": "sgd", "momentum": 0, "alpha": 0}
    with pytest.raises(ZeroDivisionError):
        classifier(THEIRS, **options).fit(X, y, sample_weight=weights)
    ours = classifier(OURS, **options).fit(X, y, sample_weight=weights)
    left_out = classifier(OURS, **options).partial_fit(X[50:], y[50:], classes=CLASSES)
    for _ in range(4):
        left_out.partial_fit(X[50:], y[50:])
    assert are_equal(ours, left_out)


@since("scikit-learn", "1.7")
@row('negative `y` with `loss="poisson"`')
def test_negative_y_with_poisson():
    regressor(THEIRS, loss="poisson").fit(X, TARGETS[:, 0])
    with pytest.raises(ValueError, match="at least 0"):
        regressor(OURS, loss="poisson").fit(X, TARGETS[:, 0])


@row('Ctrl-C in "lbfgs"')
def test_interrupt_in_lbfgs(monkeypatch):
    minimize, run = scipy.optimize.minimize, NumbaLBFGSTrainer.run

    def interrupted(objective, start, **options):
        n_calls = 0

        def counted(*arguments):
            nonlocal n_calls
            n_calls += 1
            if n_calls > 6:
                raise KeyboardInterrupt
            return objective(*arguments)

        return minimize(counted, start, **options)

    def interrupted_run(trainer, last_pass, last_step=None):
        run(trainer, min(trainer.n_passes + 1, last_pass))
        if trainer.n_passes == 5:
            raise KeyboardInterrupt
        return True

    options = {"solver": "lbfgs", "max_iter": 100}
    ours = classifier(OURS, **options)
    with monkeypatch.context() as patch:
        patch.setattr(scipy.optimize, "minimize", interrupted)
        patch.setattr(NumbaLBFGSTrainer, "run", interrupted_run)
        with pytest.raises(KeyboardInterrupt):
            classifier(THEIRS, **options).fit(X, y)
        with pytest.warns(UserWarning, match=r"Training interrupted by user\."):
            ours.fit(X, y)
    assert ours.n_iter_ == 5
    assert are_equal(ours, classifier(OURS, solver="lbfgs", max_iter=ours.n_iter_).fit(X, y))


@row("generators other than MT19937")
def test_generators_other_than_mt19937():
    def fitted(module, **options):
        state = np.random.RandomState(np.random.PCG64(3))
        return classifier(module, batch_size=40, **options | {"random_state": state}).fit(X, y)

    assert are_equal(fitted(THEIRS, shuffle=False), fitted(OURS, shuffle=False))
    assert not are_equal(fitted(THEIRS), fitted(OURS))
    assert have_same_bits(fitted(OURS), fitted(OURS))


@row("`verbose=1`")
def test_verbose_1(capsys):
    printed = {}
    for module in (THEIRS, OURS):
        for verbose in (True, 1, 2):
            classifier(module, verbose=verbose).fit(X, y)
            printed[module, verbose is not True and verbose] = capsys.readouterr()
    lines = printed[THEIRS, 1].out
    assert lines.count("\n") == 5
    assert lines == printed[THEIRS, False].out == printed[OURS, False].out == printed[OURS, 2].out
    assert printed[OURS, 1].out == ""
    assert "5/5" in printed[OURS, 1].err


@row('`verbose` with "lbfgs"')
def test_verbose_with_lbfgs(capsys):
    for module in (THEIRS, OURS):
        classifier(module, solver="lbfgs", verbose=True).fit(X, y)
        lines = re.findall(r"^Iteration \d+, loss = ", capsys.readouterr().out, re.MULTILINE)
        assert len(lines) == (5 if module is OURS else 0)


@row("ConvergenceWarning")
def test_convergence_warning():
    messages = []
    for module in (THEIRS, OURS):
        with pytest.warns(ConvergenceWarning) as caught:
            classifier(module).fit(X, y)
        messages.append(str(caught[0].message))
    assert messages[1].startswith(messages[0])
    assert "Raise max_iter" in messages[1][len(messages[0]) :]


@row("`coefs_`, `intercepts_`")
def test_coefs_and_intercepts():
    theirs, ours = (classifier(module).fit(X, y) for module in (THEIRS, OURS))
    W = np.ones((4, 7))
    for model in (theirs, ours):
        model.coefs_[0] = W
        np.testing.assert_array_equal(model.coefs_[0], W)
    assert theirs.coefs_[0] is W
    assert not np.shares_memory(ours.coefs_[0], W)
    theirs.coefs_[0] = np.ones((3, 2))
    with pytest.raises(ValueError, match="shape"):
        ours.coefs_[0] = np.ones((3, 2))
    theirs, ours = classifier(THEIRS), classifier(OURS)
    theirs.coefs_ = [W]
    with pytest.raises(AttributeError, match="before it is fitted"):
        ours.coefs_ = [W]


@row("`coefs_`, `intercepts_` with `batch_norm=True`")
def test_coefs_and_intercepts_with_batch_normalisation():
    ours = classifier(OURS, batch_norm=True).fit(X, y)
    units = np.maximum(X @ ours.coefs_[0] + ours.intercepts_[0], 0)
    scores = units @ ours.coefs_[1] + ours.intercepts_[1]
    np.testing.assert_allclose(scores, ours.decision_function(X), rtol=1e-10, atol=1e-12)
    assert not ours.coefs_[0].flags.writeable
    assert not np.allclose(ours.model_.W[0], ours.coefs_[0])
    with pytest.raises(ValueError, match="model_.W, model_.b and model_.batch_norm"):
        ours.coefs_ = [W.copy() for W in ours.coefs_]


@row("private attributes")
def test_private_attributes():
    theirs, ours = (classifier(module).fit(X, y) for module in (THEIRS, OURS))
    for name in ("_optimizer", "_random_state"):
        assert hasattr(theirs, name)
        assert not hasattr(ours, name)
    assert vars(ours._label_binarizer).keys() == vars(theirs._label_binarizer).keys()
    assert not hasattr(classifier(OURS), "_label_binarizer")


@row("HTML representation")
def test_html_representation():
    """The link with an address is tested in tests/estimators/test_documentation.py."""
    address = "https://scikit-learn.org"
    assert f'href="{address}' in estimator_html_repr(classifier(THEIRS))
    assert address not in re.sub(r"<style>.*?</style>", "", estimator_html_repr(classifier(OURS)), flags=re.S)
