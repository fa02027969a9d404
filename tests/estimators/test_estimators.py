"""The estimators: equal to scikit-learn's where scikit-learn has the same, and what they have beyond it.

Most tests fit small networks for a few passes: what is compared are bits, or numbers to a tolerance that
rounding alone explains. Activations, losses and solvers are the same in many of them, since another
combination is another kernel to compile.
"""

import copy
import itertools
import os
import pickle
import re
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import scipy.sparse
import sklearn
import sklearn.neural_network
from estimator_checks import parameters
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import get_scorer, mean_pinball_loss
from sklearn.model_selection import GridSearchCV, cross_val_predict, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.validation import has_fit_parameter

import fastnn
from fastnn import MLPClassifier, MLPRegressor
from fastnn.engine import compiled_trainer
from fastnn.estimators import fitting, watching

# Most fits here end at max_iter.
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:Stochastic Optimizer. Maximum iterations:sklearn.exceptions.ConvergenceWarning"
    ),
    pytest.mark.filterwarnings("ignore:lbfgs failed to converge:sklearn.exceptions.ConvergenceWarning"),
]

X, y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
NAMES = np.array(["setosa", "versicolor", "virginica"])
random = np.random.RandomState(0)
TARGETS = np.column_stack([X @ [1, -2, 0.5, 1], np.sin(2 * X[:, 0]), X[:, 1] * X[:, 2]])
LABELS = np.column_stack([y == 0, y > 0, X[:, 0] > 0]).astype(int)
COUNTS = random.poisson(np.exp(X[:, 0])).astype(float)
WEIGHTS = random.randint(0, 4, len(X))
REGRESSION_LOSSES = ("squared_error", "absolute_error", "huber", "quantile", "poisson")

# From 1.7 on, as the loss of the regressor.
THEIRS_TAKE_WEIGHTS = has_fit_parameter(sklearn.neural_network.MLPRegressor, "sample_weight")

# What there is to learn, with the class that learns it.
PROBLEMS = {
    "binary": ("MLPClassifier", np.where(y == 1, "yes", "no"), {}),
    "multiclass": ("MLPClassifier", NAMES[y], {}),
    "multilabel": ("MLPClassifier", LABELS, {}),
    "regression": ("MLPRegressor", TARGETS[:, 0], {}),
    "three outputs": ("MLPRegressor", TARGETS, {}),
    "poisson": ("MLPRegressor", COUNTS, {"loss": "poisson"}),
}


def classifier(**parameters):
    return MLPClassifier(**{"hidden_layer_sizes": (7,), "random_state": 0, "max_iter": 5} | parameters)


def regressor(**parameters):
    return MLPRegressor(**{"hidden_layer_sizes": (7,), "random_state": 0, "max_iter": 5} | parameters)


def assert_same_fit(one, other):
    """To the last bit, in everything that a fit leaves."""
    np.testing.assert_array_equal(parameters(one), parameters(other))
    for name in (
        "loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_",
        "validation_loss_curve_", "t_",
    ):  # fmt: skip
        assert getattr(one, name, None) == getattr(other, name, None), name


# --- equal to scikit-learn's -------------------------------------------------------------------------


def both(name, X, y, sample_weight=None, **parameters):
    """scikit-learn's estimator and fastnn's, fitted."""
    if not THEIRS_TAKE_WEIGHTS and (sample_weight is not None or "loss" in parameters):
        pytest.skip("scikit-learn's networks take sample_weight and loss from 1.7 on")
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}
    fitted = []
    for module in (sklearn.neural_network, fastnn):
        estimator = getattr(module, name)(**{"random_state": 3, "hidden_layer_sizes": (7,)} | parameters)
        fitted.append(estimator.fit(X, y, **weights))
    return fitted


def assert_equal_to_theirs(theirs, ours, atol=1e-11, with_losses=True):
    for one, other in zip(
        theirs.coefs_ + theirs.intercepts_, ours.coefs_ + ours.intercepts_, strict=True
    ):  # fmt: skip
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_allclose(other, one, rtol=0, atol=atol)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(theirs, name) == getattr(ours, name), name
    if is_classifier(ours):
        np.testing.assert_array_equal(theirs.classes_, ours.classes_)
        assert theirs.classes_.dtype == ours.classes_.dtype
    losses = ("loss_", "best_loss_", "loss_curve_") if with_losses else ()
    for name in (*losses, "validation_scores_", "best_validation_score_"):
        assert hasattr(theirs, name) == hasattr(ours, name), name
        expected, value = getattr(theirs, name, None), getattr(ours, name, None)
        assert (expected is None) == (value is None), name
        if expected is not None:
            assert type(value) in (list, float, np.float64), name
            np.testing.assert_allclose(value, expected, rtol=1e-9, atol=atol)


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


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())
@pytest.mark.parametrize("problem", PROBLEMS)
def test_stochastic_solvers_as_scikit_learns(problem, solver, weighted):
    """The last batch of a pass is a short one: 22 of 32.

    What of a Poisson deviance depends on y alone is no part of what is trained. fastnn adds its mean over all
    samples, scikit-learn one of every batch: with weights these are not the same.
    """
    name, targets, options = PROBLEMS[problem]
    weights = WEIGHTS if weighted else None
    theirs, ours = both(name, X, targets, weights, max_iter=10, batch_size=32, **solver, **options)
    assert_equal_to_theirs(theirs, ours, with_losses=not (weighted and problem == "poisson"))
    assert_equal_predictions(theirs, ours, X, targets)


@pytest.mark.parametrize("batch_size", ["auto", 1, 7, 50, 149, 150])
@pytest.mark.parametrize("shuffle", [True, False])
def test_batch_sizes_as_scikit_learns(batch_size, shuffle):
    theirs, ours = both(
        "MLPClassifier", X, y, batch_size=batch_size, shuffle=shuffle, max_iter=4, alpha=0.1
    )  # fmt: skip
    assert_equal_to_theirs(theirs, ours)


def test_a_batch_larger_than_the_data_is_clipped():
    for estimator in (classifier(batch_size=151), sklearn.neural_network.MLPClassifier(batch_size=151)):
        with pytest.warns(UserWarning, match="Got `batch_size` less than 1 or larger than sample size"):
            estimator.fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # where there are no batches
        classifier(batch_size=151, solver="lbfgs", max_iter=500, tol=0.1).fit(X, y)


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("sizes", [(), 5, (6, 5), [5, 6, 7]])
def test_networks_as_scikit_learns(activation, sizes):
    theirs, ours = both("MLPRegressor", X, TARGETS[:, 0], hidden_layer_sizes=sizes, activation=activation,
                        max_iter=5)  # fmt: skip
    assert_equal_to_theirs(theirs, ours)


@pytest.mark.parametrize("learning_rate", ["constant", "adaptive"])
@pytest.mark.parametrize("problem", ["multiclass", "regression"])
def test_the_end_comes_when_scikit_learns_does(problem, learning_rate):
    """The loss falls too little: the same number of passes, by the same rates."""
    name, targets, _ = PROBLEMS[problem]
    theirs, ours = both(
        name, X, targets, solver="sgd", learning_rate=learning_rate, learning_rate_init=0.05, tol=0.01,
        n_iter_no_change=3, batch_size=40, max_iter=500,
    )  # fmt: skip
    assert 10 < theirs.n_iter_ < 500
    assert_equal_to_theirs(theirs, ours)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_early_stopping_as_scikit_learns(problem, weighted):
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


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_lbfgs_as_scikit_learns(problem, weighted):
    """Few iterations: what rounding makes of the line searches grows with their number."""
    name, targets, options = PROBLEMS[problem]
    theirs, ours = both(
        name, X, targets, WEIGHTS if weighted else None, solver="lbfgs", max_iter=10, activation="tanh",
        **options,
    )  # fmt: skip
    assert not hasattr(ours, "loss_curve_")
    assert_equal_to_theirs(theirs, ours, atol=1e-7)
    assert_equal_predictions(theirs, ours, X, targets, atol=1e-6)


def test_lbfgs_ends_as_scikit_learns():
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
    """So a program that seeds once draws the same ever after."""
    drawn = []
    for module in (sklearn.neural_network, fastnn):
        generator = GENERATORS[kind](5)
        module.MLPClassifier(random_state=generator, max_iter=4, hidden_layer_sizes=(7,), **options).fit(X, y)
        drawn.append((np.random if generator is None else generator).random_sample(5).tolist())
    assert drawn[0] == drawn[1]


def test_other_generators_draw_what_a_seed_makes_reproducible():
    one, same, other = (
        classifier(random_state=GENERATORS["PCG64"](seed), batch_size=32).fit(X, y) for seed in (1, 1, 2)
    )
    assert_same_fit(one, same)
    assert not np.array_equal(parameters(one), parameters(other))


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
@settings(max_examples=40)
def test_any_small_fit_is_scikit_learns(
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


def test_signatures_are_scikit_learns_and_more():
    for name in ("MLPClassifier", "MLPRegressor"):
        theirs, ours = (getattr(module, name)() for module in (sklearn.neural_network, fastnn))
        assert theirs.get_params().items() <= ours.get_params().items()
        for kind in (theirs, ours):
            assert is_classifier(kind) == (name == "MLPClassifier")
            assert is_regressor(kind) == (name == "MLPRegressor")
        for method in dir(theirs):
            if not method.startswith("_") and callable(getattr(theirs, method)):
                assert hasattr(ours, method), method


# --- k passes and m more are k + m -------------------------------------------------------------------


def half_of_before(step):
    """A schedule that pickles."""
    return 0.5 ** (step // 10)


GOING_ON = {
    "sgd": {"solver": "sgd"},
    "sgd, no momentum": {"solver": "sgd", "momentum": 0},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "adaptive": {
        "solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1,
        "learning_rate_init": 0.01,
    },
    "adam": {},
    "adamw": {"weight_decay": 0.1},
    "rmsprop": {"solver": "rmsprop"},
    "adagrad": {"solver": "adagrad"},
    "an object": {"solver": fastnn.RMSprop(momentum=0.5)},
    "dropout": {"dropout": 0.4},
    "batch_norm": {"batch_norm": True},
    "cosine": {"learning_rate": fastnn.CosineDecay(17, restarts=True)},
    "function": {"learning_rate": half_of_before},
    "ema": {"ema_decay": 0.9},
    "clipped": {"max_grad_norm": 0.1},
    "in order": {"shuffle": False},
    "whole batch": {"batch_size": 150},
    "smoothed": {"label_smoothing": 0.2},
    "balanced": {"class_weight": "balanced"},
}  # fmt: skip
CHOOSING = {
    "early stopping": {"early_stopping": True},
    "early stopping, ema": {"early_stopping": True, "ema_decay": 0.9},
    "early stopping, batch_norm": {"early_stopping": True, "batch_norm": True},
    "early stopping, loss": {"early_stopping": True, "scoring": "loss"},
    "early stopping, too fast": {"early_stopping": True, "learning_rate_init": 1.0},
}


def going_on(**options):
    return classifier(**{"batch_size": 40, "n_iter_no_change": np.inf, "learning_rate_init": 0.01} | options)


@pytest.mark.parametrize("options", (GOING_ON | CHOOSING).values(), ids=(GOING_ON | CHOOSING).keys())
def test_a_warm_start_goes_on_to_the_bit(options):
    """With everything pickled in between."""
    at_once = going_on(max_iter=9, **options).fit(X, y)
    twice = going_on(max_iter=4, warm_start=True, **options).fit(X, y)
    halfway = parameters(twice)
    twice = pickle.loads(pickle.dumps(twice))
    np.testing.assert_array_equal(parameters(twice), halfway)
    twice.set_params(max_iter=5).fit(X, y)
    assert twice.n_iter_ == 5
    assert_same_fit(at_once, twice)
    np.testing.assert_array_equal(at_once.predict_proba(X), twice.predict_proba(X))


IN_PARTS = {name: options for name, options in GOING_ON.items() if name != "balanced"}


@pytest.mark.parametrize("options", IN_PARTS.values(), ids=IN_PARTS.keys())
def test_partial_fits_are_a_fit_to_the_bit(options):
    at_once = going_on(max_iter=6, **options).fit(X, y)
    bit_by_bit = going_on(max_iter=1, **options)
    if options.get("learning_rate") != "adaptive":  # of which a fit may end between
        bit_by_bit.set_params(max_iter=6)
    for n_pass in range(6):
        bit_by_bit.partial_fit(X, y, classes=[0, 1, 2] if n_pass == 0 else None)
        assert bit_by_bit.n_iter_ == 1
        if n_pass == 2:
            bit_by_bit = pickle.loads(pickle.dumps(bit_by_bit))
        if n_pass == 4:
            bit_by_bit = copy.deepcopy(bit_by_bit)
    assert_same_fit(at_once, bit_by_bit)


def test_a_fit_and_then_partial_fits():
    at_once = regressor(max_iter=7, batch_size=40).fit(X, TARGETS)
    parts = regressor(max_iter=5, batch_size=40).fit(X, TARGETS)
    parts.partial_fit(X, TARGETS).partial_fit(X, TARGETS)
    assert_same_fit(at_once, parts)


@given(
    passes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    batch_size=st.integers(1, 30),
    solver=st.sampled_from(["sgd", "adam"]),
    patience=st.sampled_from([1, 2, np.inf]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=30)
def test_any_division_of_a_fit_is_the_fit(passes, batch_size, solver, patience, seed):
    options = {
        "solver": solver, "batch_size": batch_size, "random_state": seed, "tol": 0.01,
        "n_iter_no_change": patience,
    }  # fmt: skip
    samples, targets = X[::5], TARGETS[::5, 0]
    at_once = regressor(max_iter=sum(passes), **options).fit(samples, targets)
    parts = regressor(warm_start=True, **options)
    for n_passes in passes:
        parts.set_params(max_iter=n_passes).fit(samples, targets)
        if parts.n_iter_ < n_passes or parts.t_ == at_once.t_:  # it has ended
            break
    assert_same_fit(at_once, parts)


def test_more_passes_than_a_trainer_keeps_records_of():
    options = {"hidden_layer_sizes": (2,), "n_iter_no_change": np.inf}
    few, few_y = X[::30], y[::30]
    n_passes = fitting.MOST_PASSES + 7
    at_once = classifier(max_iter=n_passes, **options).fit(few, few_y)
    assert at_once.n_iter_ == len(at_once.loss_curve_) == n_passes
    parts = classifier(max_iter=6000, warm_start=True, **options).fit(few, few_y)
    assert_same_fit(at_once, parts.set_params(max_iter=n_passes - 6000).fit(few, few_y))


def test_a_warm_start_restores_the_best_pass_of_all_fits():
    options = {"early_stopping": True, "warm_start": True, "n_iter_no_change": np.inf}
    model = classifier(learning_rate_init=0.02, max_iter=40, **options).fit(X, y)
    best, score = parameters(model), model.best_validation_score_
    model.set_params(learning_rate_init=50.0, max_iter=5).fit(X, y)
    assert max(model.validation_scores_[40:]) <= score
    assert model.best_validation_score_ == score
    np.testing.assert_array_equal(parameters(model), best)
    # Without early stopping it goes on from what it predicts with.
    model.set_params(early_stopping=False, learning_rate_init=1e-12).partial_fit(X, y)
    np.testing.assert_allclose(parameters(model), best, atol=1e-8)
    model.set_params(learning_rate_init=0.01).partial_fit(X, y)
    assert not np.allclose(parameters(model), best, atol=1e-4)


def test_another_solver_begins_anew_from_the_parameters():
    """The first step of Adam is the rate for every derivative that is not all but 0."""
    model = classifier(solver="sgd", max_iter=30, warm_start=True, activation="tanh").fit(X, y)
    before = parameters(model)
    model.set_params(solver="adam", max_iter=1).fit(X, y)
    np.testing.assert_allclose(np.abs(parameters(model) - before), 0.001, rtol=0.01)
    # The velocity of one is made of gradients, that of the other of steps.
    model.set_params(solver="momentum").fit(X, y)
    before = parameters(model)
    model.set_params(solver="sgd", nesterovs_momentum=False, learning_rate_init=1e-300).fit(X, y)
    np.testing.assert_array_equal(parameters(model), before)


@pytest.mark.parametrize("first", [{"ema_decay": 0.99}, {"early_stopping": True}, {}], ids=str)
def test_lbfgs_goes_on_from_what_is_predicted(first):
    model = classifier(warm_start=True, max_iter=20, **first).fit(X, y)
    start = parameters(model)
    model.set_params(solver="lbfgs", max_iter=1, ema_decay=None).fit(X, y)
    fresh = classifier(solver="lbfgs", warm_start=True, max_iter=1).fit(X, y)
    n_weights = sum(coef.size for coef in fresh.coefs_)
    shapes = [coef.shape for coef in fresh.coefs_]
    weights = np.split(start[:n_weights], np.cumsum([np.prod(shape) for shape in shapes])[:-1])
    fresh.coefs_ = [part.reshape(shape) for part, shape in zip(weights, shapes, strict=True)]
    fresh.intercepts_ = [start[n_weights : n_weights + 7], start[n_weights + 7 :]]
    fresh.fit(X, y)
    np.testing.assert_array_equal(parameters(model), parameters(fresh))
    model.set_params(solver="adam", max_iter=3).fit(X, y)
    assert model.n_iter_ == 3


def test_a_warm_start_with_other_parameters():
    model = classifier(warm_start=True, activation="relu").fit(X, y)
    for changed in ({"hidden_layer_sizes": (8,)}, {"batch_norm": True}):
        kept = {name: model.get_params()[name] for name in changed}
        with pytest.raises(ValueError, match="fit it with warm_start=False"):
            model.set_params(**changed).fit(X, y)
        model.set_params(**kept)
    with pytest.raises(ValueError, match="is expecting 4 features"):
        model.fit(X[:, :3], y)
    with pytest.raises(ValueError, match=re.escape("same classes as in the previous call to fit")):
        model.fit(X, y + 1)
    for changed in ({"batch_size": 20}, {"alpha": 1.0}, {"dropout": 0.2}):
        before = model.t_
        model.set_params(**changed).fit(X, y)
        assert model.t_ == before + 5 * 150
    model.fit(X[40:110], y[40:110])  # other data, of the same classes
    model = regressor(warm_start=True, batch_size=40).fit(X, COUNTS)
    model.set_params(loss="poisson").fit(X, COUNTS)
    assert model.out_activation_ == "exp"
    assert (model.predict(X) > 0).all()
    with pytest.raises(ValueError, match="y has 3 outputs, but the estimator was fitted with 1"):
        model.fit(X, TARGETS)


def test_partial_fits_of_other_sizes():
    model = classifier(batch_size=20)
    for n_pass, rows in enumerate((slice(0, 50), slice(0, 150), slice(100, 103), slice(60, 61))):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Got `batch_size`")
            model.partial_fit(X[rows], y[rows], classes=[0, 1, 2])
        assert len(model.loss_curve_) == n_pass + 1
    assert model.t_ == 50 + 150 + 3 + 1
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    assert np.isfinite(parameters(model)).all()


def test_a_fit_without_warm_start_begins_anew():
    model = classifier(early_stopping=True).fit(X, y).fit(X, y)
    assert_same_fit(model, classifier(early_stopping=True).fit(X, y))
    model.set_params(early_stopping=False, solver="lbfgs", activation="tanh").fit(X[:, :2], LABELS)
    for name in ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
        assert not hasattr(model, name)
    assert model.n_features_in_ == 2
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])


# --- weights -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
@pytest.mark.parametrize("loss", [*REGRESSION_LOSSES, "softmax", "sigmoid", "labels"])
def test_weighting_equals_repetition(loss, solver):
    """Of the whole batch; a weight of 0 is as good as no sample."""
    options = {
        "solver": solver, "max_iter": 12, "alpha": 0.5, "activation": "tanh", "batch_size": 150,
        "learning_rate_init": 0.1,
    }  # fmt: skip
    if loss in REGRESSION_LOSSES:
        model, targets = regressor(loss=loss, quantile=0.3, **options), COUNTS
    else:
        model = classifier(**options)
        targets = {"softmax": y, "sigmoid": y == 1, "labels": LABELS}[loss]
    repeated = clone(model).set_params(batch_size=WEIGHTS.sum())
    repeated.fit(X.repeat(WEIGHTS, axis=0), targets.repeat(WEIGHTS, axis=0))
    model.fit(X, targets, sample_weight=WEIGHTS)
    # The smooth losses alone keep a line search from taking another way for a rounding error.
    smooth = solver == "sgd" or loss not in ("absolute_error", "quantile")
    np.testing.assert_allclose(parameters(model), parameters(repeated), atol=1e-7 if smooth else 1e-3)
    np.testing.assert_allclose(model.loss_, repeated.loss_, rtol=1e-7 if smooth else 1e-3)


@pytest.mark.parametrize("targets", [y, np.where(y == 1, "b", "a")], ids=["three", "two"])
@pytest.mark.parametrize("class_weight", ["balanced", "dict"])
def test_class_weights_are_sample_weights(targets, class_weight):
    classes, indices, counts = np.unique(targets, return_inverse=True, return_counts=True)
    factors = len(targets) / (len(classes) * counts) if class_weight == "balanced" else [2.0, 0.5, 1.0]
    if class_weight == "dict":
        class_weight = {classes[0]: 2.0, classes[1]: 0.5}
    options = {"batch_size": 40}
    one = classifier(class_weight=class_weight, **options).fit(X, targets, WEIGHTS)
    other = classifier(**options).fit(X, targets, WEIGHTS * np.asarray(factors)[indices])
    np.testing.assert_allclose(parameters(one), parameters(other), rtol=1e-12)


def test_class_weights_of_a_part_of_the_classes():
    model = classifier(class_weight={0: 2.0, 1: 3.0})
    model.partial_fit(X[y == 2], y[y == 2], classes=[0, 1, 2]).partial_fit(X[y == 1], y[y == 1])
    other = classifier().partial_fit(X[y == 2], y[y == 2], classes=[0, 1, 2])
    other.partial_fit(X[y == 1], y[y == 1], sample_weight=3.0)
    np.testing.assert_allclose(parameters(model), parameters(other), rtol=1e-12)
    classifier(class_weight="balanced").fit(X, LABELS)
    with pytest.raises(ValueError, match="class_weight must hold finite numbers not below 0"):
        classifier(class_weight={0: -1.0}).fit(X, y)
    with pytest.raises(ValueError, match="not in class_weight"):
        classifier(class_weight={7: 1.0}).fit(X, y)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (WEIGHTS[:5], r"sample_weight.shape == \(5,\), expected \(150,\)!"),
        (WEIGHTS[:, None], "Sample weights must be 1D array or scalar"),
        (
            np.zeros(150),
            "Sample weights must contain at least one non-zero|sample_weight is zero for every sample",
        ),
        (np.full(150, np.nan), "Input sample_weight contains NaN"),
        (-WEIGHTS, "weights are finite and not below 0"),
        (np.full(150, 1e30), "divide the weights by their mean"),
        ("many", "could not convert string to float"),
    ],
    ids=["short", "table", "zeros", "nan", "negative", "huge", "text"],
)
def test_wrong_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        classifier().fit(X, y, sample_weight=weights)


def test_weights_of_every_kind():
    expected = parameters(regressor().fit(X, COUNTS, WEIGHTS))
    pd = pytest.importorskip("pandas")
    for weights in (WEIGHTS.tolist(), WEIGHTS.astype(np.float32), pd.Series(WEIGHTS), WEIGHTS.astype("u1")):
        np.testing.assert_array_equal(parameters(regressor().fit(X, COUNTS, weights)), expected)
    plain = parameters(regressor(alpha=0).fit(X, COUNTS))
    np.testing.assert_allclose(parameters(regressor(alpha=0).fit(X, COUNTS, 2.0)), plain, rtol=1e-9)
    assert np.isfinite(parameters(regressor(batch_size=1).fit(X, COUNTS, np.eye(150)[3]))).all()


# --- data --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [bool, np.int8, np.uint64, float, str, "S1", object, "M8[D]"], ids=str)
@pytest.mark.filterwarnings("ignore:Support for labels represented as bytes:FutureWarning")  # until 1.7
def test_labels_of_every_kind(kind):
    """scikit-learn's class is the judge of which there are."""
    labels = NAMES[y].astype(object) if kind is object else (y % 2).astype("i8").astype(kind)
    fitted = []
    for estimator in (sklearn.neural_network.MLPClassifier(max_iter=5, random_state=0), classifier()):
        try:
            fitted.append(estimator.set_params(hidden_layer_sizes=(7,)).fit(X, labels))
        except (TypeError, ValueError) as error:
            fitted.append(type(error))
    theirs, ours = fitted
    if isinstance(theirs, type):
        assert ours is theirs
        return
    assert_equal_to_theirs(theirs, ours)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.predict(X).dtype == theirs.predict(X).dtype


@pytest.mark.parametrize("label", [3, True, "only", 2.0])
def test_a_single_class(label):
    labels = np.full(20, label)
    model = classifier(early_stopping=True).fit(X[:20], labels)
    np.testing.assert_array_equal(model.predict(X), np.full(150, label))
    assert model.predict(X).dtype == labels.dtype
    np.testing.assert_array_equal(model.predict_proba(X), np.ones((150, 1)))
    np.testing.assert_array_equal(model.predict_log_proba(X), np.zeros((150, 1)))
    assert model.decision_function(X).shape == (150,)
    assert model.score(X[:20], labels) == 1


def test_labels_that_do_not_fit():
    for labels, message in (
        (y + 0.5, "Unknown label type"),
        (np.column_stack([y, y]), "Multioutput target data is not supported with label binarization"),
        (np.where(y == 0, np.nan, y), "Input y contains NaN"),
        (y[:7], "inconsistent numbers of samples"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier().fit(X, labels)
    with pytest.warns(sklearn.exceptions.DataConversionWarning, match="A column-vector y was passed"):
        classifier().fit(X, y[:, None])


def test_labels_of_another_kind_than_before():
    """The kernels take so many targets a sample, and look at no more."""
    labels = classifier().fit(X, LABELS)
    for wrong in (LABELS[:, :2], np.column_stack([LABELS, LABELS]), y):
        with pytest.raises(ValueError, match=r"mismatch|not in `self.classes_`|multilabel input"):
            labels.partial_fit(X, wrong)
        with pytest.raises(ValueError, match=r"mismatch|not in `self.classes_`|multilabel input"):
            classifier().fit(X, LABELS, X_val=X, y_val=wrong)
    with pytest.raises(ValueError, match="mismatch with the labels"):
        classifier().partial_fit(X, LABELS, classes=range(8))
    with pytest.raises(ValueError, match="not fitted with multilabel input"):
        classifier().fit(X, y).partial_fit(X, LABELS)
    with pytest.raises(ValueError, match="not fitted with multilabel input"):
        classifier().fit(X, y, X_val=X, y_val=LABELS)
    with pytest.raises(ValueError, match="`y` has classes not in `self.classes_`"):
        classifier().fit(X, y, X_val=X, y_val=y + 1)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        classifier().partial_fit(X, y)
    with pytest.raises(ValueError, match="is not the same as on last call"):
        classifier().partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X, y, classes=[0, 1])


def test_classes_that_come_later():
    model = classifier(learning_rate_init=0.02)
    model.partial_fit(X[:50], NAMES[y[:50]], classes=NAMES[[2, 0, 1]])
    np.testing.assert_array_equal(model.classes_, NAMES)
    assert model.predict_proba(X).shape == (150, 3)
    for _ in range(200):
        model.partial_fit(X, NAMES[y])
    assert model.score(X, NAMES[y]) > 0.9


SPARSE = [
    scipy.sparse.csr_matrix, scipy.sparse.csc_matrix, scipy.sparse.coo_matrix, scipy.sparse.csr_array,
    scipy.sparse.csc_array,
]  # fmt: skip


@pytest.mark.parametrize("container", SPARSE)
def test_sparse_tables(container):
    dense = classifier(early_stopping=True).fit(X, LABELS)
    model = classifier(early_stopping=True).fit(container(X), container(LABELS))
    assert_same_fit(dense, model)
    theirs = sklearn.neural_network.MLPClassifier(max_iter=1).fit(container(X), container(LABELS))
    predicted = model.predict(container(X))
    assert type(predicted) is type(theirs.predict(container(X)))
    np.testing.assert_array_equal(predicted.toarray(), dense.predict(X))
    np.testing.assert_array_equal(model.predict_proba(container(X)), dense.predict_proba(X))
    assert model.score(container(X), container(LABELS)) == dense.score(X, LABELS)
    assert_same_fit(
        regressor().fit(container(X), COUNTS, X_val=container(X), y_val=COUNTS),
        regressor().fit(X, COUNTS, X_val=X, y_val=COUNTS),
    )


@pytest.mark.parametrize(
    "view",
    [
        np.asfortranarray,
        lambda X: np.repeat(X, 2, axis=0)[::2],
        lambda X: np.repeat(X, 3, axis=1)[:, ::3],
        lambda X: X[::-1][::-1],
        lambda X: X.astype(">f8"),
        lambda X: X.astype(np.longdouble),
        lambda X: X.astype(object),
        lambda X: X.tolist(),
        lambda X: np.frombuffer(b"." + X.tobytes(), np.uint8)[1:].view(X.dtype).reshape(X.shape),
    ],
    ids=["F", "rows", "columns", "reversed", "big", "long", "object", "list", "unaligned"],
)
def test_tables_of_every_kind(view):
    table = view(X)
    expected = classifier(batch_size=40).fit(X, y)
    model = classifier(batch_size=40).fit(table, y)
    assert_same_fit(expected, model)
    np.testing.assert_array_equal(model.predict_proba(table), expected.predict_proba(X))
    np.testing.assert_array_equal(model.predict(table), expected.predict(X))


@pytest.mark.parametrize("dtype", ["f2", "i1", "u8", "?"])
def test_numbers_of_every_kind(dtype):
    table = (np.abs(X) * 10).astype(dtype)
    assert_same_fit(regressor().fit(table, COUNTS), regressor().fit(table.astype(float), COUNTS))
    assert regressor().fit(table, COUNTS).coefs_[0].dtype == np.float64


def test_tables_that_do_not_fit():
    for table, message in (
        (X[:, 0], "Expected 2D array, got 1D array"),
        (X[:, :, None], "Found array with dim 3"),
        (X[:0], "Found array with 0 sample"),
        (X[:, :0], "Found array with 0 feature"),
        (np.where(X > 2, np.nan, X), "Input X contains NaN"),
        (np.where(X > 2, np.inf, X), "Input X contains infinity"),
        (X + 1j, "Complex data not supported"),
        (np.full(X.shape, "text"), "could not convert string to float"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier().fit(table, y[: len(table)])
    model = classifier().fit(X, y)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        for table, message in (
            (X[:, :3], "X has 3 features, but MLPClassifier is expecting 4 features as input"),
            (X[0], "Expected 2D array, got 1D array"),
            (X[:0], "Found array with 0 sample"),
            (np.where(X > 2, np.nan, X), "Input X contains NaN"),
        ):
            with pytest.raises(ValueError, match=message):
                getattr(model, method)(table)
        with pytest.raises(NotFittedError, match="This MLPClassifier instance is not fitted yet"):
            getattr(classifier(), method)(X)
    with pytest.raises(NotFittedError):
        regressor().score(X, y)
    for targets, message in (
        (NAMES[y], "must hold numbers"),
        (np.where(y == 0, np.inf, y), "Input y contains infinity"),
        (y + 1j, "Complex data not supported"),
        (np.zeros((150, 2, 2)), "dim 3"),
        (None, "requires y to be passed"),
    ):
        with pytest.raises(ValueError, match=message):
            regressor().fit(X, targets)
    with pytest.raises(ValueError, match="this loss takes targets not below 0"):
        regressor(loss="poisson").fit(X, -COUNTS)


def test_float32_networks_refuse_what_is_too_large_for_them():
    model = classifier().fit(X.astype(np.float32), y)
    for use in (
        lambda table: model.predict(table),
        lambda table: model.partial_fit(table, y),
        lambda table: classifier().fit(X.astype(np.float32), y, X_val=table, y_val=y),
    ):
        with pytest.raises(ValueError, match="X holds values too large for float32"):
            use(X * 1e200)
    assert model.partial_fit(X, y).coefs_[0].dtype == np.float32
    with pytest.raises(ValueError, match="as float32"):
        regressor().fit(X.astype(np.float32), COUNTS * 1e200)


def test_a_single_sample():
    assert classifier().fit(X[:1], y[:1]).predict(X[:1]).tolist() == [0]
    assert regressor().fit(X[:1], TARGETS[:1]).predict(X[:1]).shape == (1, 3)
    model = classifier(batch_norm=True).partial_fit(X[:1], y[:1], classes=[0, 1, 2])
    assert np.isfinite(model.predict_proba(X)).all()
    with pytest.raises(ValueError, match="The validation set is too small"):
        classifier(early_stopping=True).fit(X[:2], [0, 0])


def test_what_is_set_aside():
    """A share of both classes, whatever the targets are smoothed to; and no samples of no weight alone."""
    for smoothing in (0.0, 0.3):
        model = classifier(early_stopping=True, label_smoothing=smoothing)
        with pytest.raises(ValueError, match=r"The least populated class(es)? in y ha(s|ve) only 1 member"):
            model.fit(X[:40], np.arange(40) == 7)
    with pytest.raises(ValueError, match="have the weight 0"):
        classifier(early_stopping=True).fit(X, y, sample_weight=np.arange(150) == 0)


def test_memory_maps(tmp_path):
    """Tables that are read-only, and an estimator that is."""
    for name, array in (("X", X), ("y", y)):
        np.save(tmp_path / f"{name}.npy", array)
    mapped, mapped_y = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "Xy")
    options = {"batch_size": 40, "early_stopping": True, "ema_decay": 0.9, "batch_norm": True}
    model = classifier(**options).fit(X, y)
    assert_same_fit(model, classifier(**options).fit(mapped, mapped_y))
    joblib.dump(model, tmp_path / "model.joblib")
    for mmap_mode in ("r", "c", None):
        loaded = joblib.load(tmp_path / "model.joblib", mmap_mode=mmap_mode)
        assert_same_fit(model, loaded)
        np.testing.assert_array_equal(loaded.predict(mapped), model.predict(X))
        np.testing.assert_array_equal(loaded.predict_proba(mapped), model.predict_proba(X))
        going_on = copy.deepcopy(model).set_params(warm_start=True).fit(X, y)
        assert_same_fit(going_on, loaded.set_params(warm_start=True).fit(mapped, mapped_y))
        loaded.set_params(early_stopping=False).partial_fit(mapped, mapped_y)


def test_frames():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcd"))
    for options in ({}, {"early_stopping": True}, {"early_stopping": True, "scoring": "accuracy"}):
        model = classifier(**options).fit(frame, pd.Series(NAMES[y]), X_val=frame, y_val=NAMES[y])
        assert_same_fit(model, classifier(**options).fit(X, NAMES[y], X_val=X, y_val=NAMES[y]))
        np.testing.assert_array_equal(model.feature_names_in_, list("abcd"))
        np.testing.assert_array_equal(model.predict(frame), model.model_.predict(X).astype(int).choose(NAMES))
        model.set_params(early_stopping=False).partial_fit(frame, NAMES[y])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(X)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[list("dcba")])
    model = classifier().fit(X, y)
    assert not hasattr(model, "feature_names_in_")
    with pytest.warns(UserWarning, match="X has feature names, but MLPClassifier was fitted without"):
        model.predict(frame)
    assert classifier().fit(frame.astype(np.float32), y).coefs_[0].dtype == np.float32
    assert not hasattr(model.fit(frame, y).fit(X, y), "feature_names_in_")
    assert regressor().fit(frame, pd.DataFrame(TARGETS)).predict(frame).shape == (150, 3)
    for labels in (pd.Series(y, dtype="category"), pd.Series(y, dtype="Int64"), pd.Series(y == 0)):
        assert set(classifier().fit(frame, labels).predict(frame)) <= set(labels)


# --- what an estimator is ----------------------------------------------------------------------------


def test_parameters_of_an_estimator():
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
    for made in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(made.predict_proba(X), predicted)
        for array in made.coefs_ + made.intercepts_:
            array[...] = 7
        made.set_params(early_stopping=False).partial_fit(X, y)
    copied = copy.copy(model)
    copied.coefs_ = [0 * coef for coef in copied.coefs_]
    copied.intercepts_ = [np.arange(len(intercept)) for intercept in copied.intercepts_]
    assert copied.predict(X).tolist() == [2] * 150
    np.testing.assert_array_equal(parameters(model), before)
    np.testing.assert_array_equal(model.predict_proba(X), predicted)


@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.5}, {"early_stopping": True}, {"batch_norm": True}])
def test_coefs_are_the_parameters_themselves(options):
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
    # What is assigned is what a later fit goes on from.
    model.coefs_ = [0 * W for W in model.coefs_]
    model.intercepts_ = [0 * b for b in model.intercepts_]
    np.testing.assert_allclose(model.predict_proba(X), 1 / 3, rtol=1e-6)
    if "early_stopping" not in options:
        model.set_params(learning_rate_init=1e-12).partial_fit(X, y)
        np.testing.assert_allclose(model.predict_proba(X), 1 / 3, rtol=1e-3)


def test_subclasses_may_have_other_parameters():
    class Mine(MLPClassifier):
        def __init__(self, depth=2, alpha=1e-4):
            super().__init__(hidden_layer_sizes=(5,) * depth, alpha=alpha, random_state=0, max_iter=5)
            self.depth = depth

    assert Mine(depth=3).fit(X, y).n_layers_ == 5
    assert clone(Mine(depth=1)).fit(X, y).n_layers_ == 3
    with pytest.raises(InvalidParameterError, match="'alpha'"):
        Mine(alpha=-1).fit(X, y)


# --- beyond scikit-learn -----------------------------------------------------------------------------


def test_decision_function():
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
def test_logarithms_of_probabilities_too_small_for_a_float(targets):
    model = classifier().fit(X, targets)
    model.coefs_ = [coef * 500 for coef in model.coefs_]
    logarithms = model.predict_log_proba(X)
    assert np.isfinite(logarithms).all()
    assert logarithms.min() < np.log(np.finfo(float).tiny)


def test_activations_one_for_all_or_one_a_layer():
    names = ["leaky_relu", "gelu", "softplus"]
    model = classifier(activation=names, hidden_layer_sizes=(5, 5, 5)).fit(X, y)
    assert model.model_._network.activations == (*names, "identity")
    one, other = (classifier(activation=name).fit(X, y) for name in ("silu", ("silu",)))
    assert_same_fit(one, other)
    one, other = (regressor(activation=name).fit(X, COUNTS) for name in ("sigmoid", "logistic"))
    assert_same_fit(one, other)
    with pytest.raises(ValueError, match="one for each of the 1 hidden layers"):
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
def test_solvers_by_name_and_by_object(name, optimizer):
    one = classifier(solver=name, batch_size=40, max_iter=60, learning_rate_init=0.01).fit(X, y)
    other = classifier(solver=optimizer, batch_size=40, max_iter=60, learning_rate_init=0.01).fit(X, y)
    assert_same_fit(one, other)
    assert one.score(X, y) > 0.8
    assert hasattr(one, "partial_fit")


def test_weight_decay():
    options = {"batch_size": 40, "alpha": 0}
    decayed = classifier(weight_decay=0.1, **options).fit(X, y)
    torchs = classifier(solver=fastnn.AdamW(weight_decay=0.1, eps_hat=True), **options).fit(X, y)
    assert_same_fit(decayed, torchs)
    assert not np.array_equal(parameters(decayed), parameters(classifier(**options).fit(X, y)))
    assert_same_fit(
        classifier(solver="sgd", momentum=0, weight_decay=0.1, **options).fit(X, y),
        classifier(solver=fastnn.SGD(weight_decay=0.1), **options).fit(X, y),
    )
    with pytest.raises(ValueError, match=r"set it in RMSprop\("):
        classifier(weight_decay=0.1, solver=fastnn.RMSprop()).fit(X, y)


def test_schedules():
    names = {
        "cosine_decay": fastnn.CosineDecay(),
        "step_decay": fastnn.StepDecay(),
        "one_cycle": fastnn.OneCycle(),
        "warm_up": fastnn.WarmUp(),
        "exponential_decay": fastnn.ExponentialDecay(),
        "inverse_time_decay": fastnn.InverseTimeDecay(),
        "constant": fastnn.Constant(),
    }
    options = {"batch_size": 40, "max_iter": 15}
    fits = [classifier(learning_rate=name, **options).fit(X, y) for name in names]
    for name, fitted in zip(names, fits, strict=True):
        assert_same_fit(fitted, classifier(learning_rate=names[name], **options).fit(X, y))
    assert len({parameters(fitted).tobytes() for fitted in fits}) == len(names)
    # A run is max_iter passes, with steps of all fits counted.
    seen = []
    classifier(learning_rate=lambda step: seen.append(step) or 1.0, batch_size=40).fit(X, y)
    assert sorted(set(seen)) == list(range(20))
    # "invscaling" and "adaptive" concern "sgd" alone, as in scikit-learn.
    assert_same_fit(fits[-1], classifier(learning_rate="invscaling", **options).fit(X, y))


def test_dropout():
    fits = {
        rate: classifier(dropout=rate, batch_size=40, max_iter=2).fit(X, y)
        for rate in (0.0, 0.3, (0.0, 0.3), (0.3, 0.0))
    }
    assert_same_fit(fits[0.3], fits[0.0, 0.3])
    assert len({parameters(fitted).tobytes() for fitted in fits.values()}) == 3
    other = classifier(dropout=0.3, batch_size=40, max_iter=2, random_state=1).fit(X, y)
    assert not np.array_equal(parameters(other), parameters(fits[0.3]))
    # Predictions know nothing of it.
    expected = fits[0.3].predict_proba(X)
    np.testing.assert_array_equal(fits[0.3].set_params(dropout=0.0).predict_proba(X), expected)
    without = classifier(max_iter=1).fit(X, y)
    without.coefs_, without.intercepts_ = fits[0.3].coefs_, fits[0.3].intercepts_
    np.testing.assert_array_equal(without.predict_proba(X), expected)


def test_batch_norm_predicts_with_the_running_statistics():
    model = classifier(batch_norm=True, batch_size=40, max_iter=30, learning_rate_init=0.01).fit(X, y)
    assert model.score(X, y) > 0.8
    np.testing.assert_array_equal(model.predict_proba(X[:1]), model.predict_proba(X)[:1])
    # As many statistics are kept as are restored, those of the best pass.
    chosen = classifier(batch_norm=True, early_stopping=True, learning_rate_init=1.0, max_iter=15)
    scores = chosen.fit(X, y, X_val=X, y_val=y).validation_scores_
    assert chosen.score(X, y) == max(scores) > scores[-1]


def test_the_norm_of_gradients_is_limited():
    options = {
        "solver": "sgd", "nesterovs_momentum": False, "activation": "tanh", "learning_rate_init": 1.0,
        "max_iter": 1, "alpha": 0,
    }  # fmt: skip
    start = parameters(regressor(**options | {"learning_rate_init": 1e-300}).fit(X, TARGETS))
    step = parameters(regressor(**options).fit(X, TARGETS)) - start
    assert np.linalg.norm(step) > 0.1
    limited = parameters(regressor(max_grad_norm=0.1, **options).fit(X, TARGETS)) - start
    np.testing.assert_allclose(limited, 0.1 * step / np.linalg.norm(step), atol=1e-12)


def test_a_running_average_of_the_parameters():
    options = {"solver": "sgd", "batch_size": 150, "warm_start": True, "max_iter": 1}
    plain, averaged = regressor(**options), regressor(ema_decay=0.75, **options)
    average = parameters(regressor(**options | {"learning_rate_init": 1e-300}).fit(X, COUNTS))
    for _ in range(4):
        average = 0.75 * average + 0.25 * parameters(plain.fit(X, COUNTS))
        np.testing.assert_allclose(parameters(averaged.fit(X, COUNTS)), average, rtol=1e-9)
    # A factor of 0 forgets all.
    assert_same_fit(regressor(ema_decay=0.0).fit(X, COUNTS), regressor().fit(X, COUNTS))


def test_label_smoothing():
    for targets, n_classes in ((y, 3), (y == 1, 2)):
        model = classifier(label_smoothing=0.3, alpha=0, solver="lbfgs", max_iter=300, tol=1e-9)
        model.fit(X[[0, 60, 120]].repeat(2, axis=0), targets[[0, 60, 120]].repeat(2))
        assert model.predict_proba(X[[0, 60, 120]]).max(axis=1) == pytest.approx(
            1 - 0.3 + 0.3 / n_classes, rel=1e-4
        )


def test_regression_losses_lead_where_they_should():
    """The best constant prediction is the loss's own statistic of the targets."""
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
        if loss == "huber":  # where what pulls it up is what pulls it down
            assert np.clip(targets - found, -1, 1).sum() == pytest.approx(0, abs=1e-3)
        else:
            assert found == pytest.approx(value, rel=0.02 if loss in ("absolute_error", "quantile") else 1e-4)
    by_name, by_object = {"loss": "quantile", "quantile": 0.2}, {"loss": fastnn.Quantile(0.2)}
    options = {"solver": "sgd", "activation": "tanh"}
    assert_same_fit(
        regressor(**by_name, **options).fit(X, COUNTS), regressor(**by_object, **options).fit(X, COUNTS)
    )
    assert not np.array_equal(
        parameters(regressor(loss=fastnn.Huber(0.1), **options).fit(X, COUNTS)),
        parameters(regressor(loss="huber", **options).fit(X, COUNTS)),
    )


def test_quantiles_are_as_good_as_they_are_asked_for():
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
    for model, q in ((low, 0.1), (high, 0.9)):
        other = high if model is low else low
        losses = [mean_pinball_loss(TARGETS[:, 1], one.predict(X), alpha=q) for one in (model, other)]
        assert losses[0] < losses[1]


def test_the_loss_of_a_fit_is_the_loss_that_is_minimised():
    """A pass of a whole batch records the objective of its start."""
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
def test_validation_data(problem):
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


def test_the_loss_of_validation_data():
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


def test_scoring():
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
    regressor(scoring="neg_mean_absolute_error", **options).fit(X, TARGETS)


def test_validation_data_that_do_not_fit():
    for given_, message in (
        ({"X_val": X}, "X_val and y_val go together"),
        ({"y_val": y}, "X_val and y_val go together"),
        ({"X_val": X[:, :2], "y_val": y}, "X has 2 features, but MLPClassifier is expecting 4"),
        ({"X_val": X, "y_val": y[:3]}, "inconsistent numbers of samples"),
        ({"X_val": X * np.nan, "y_val": y}, "contains NaN"),
        ({"X_val": X[:0], "y_val": y[:0]}, "Found array with 0 sample"),
    ):
        with pytest.raises(ValueError, match=message):
            classifier().fit(X, y, **given_)
    with pytest.raises(ValueError, match="y has 1 outputs, but the estimator was fitted with 3"):
        regressor().fit(X, TARGETS, X_val=X, y_val=COUNTS)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        classifier(early_stopping=True).partial_fit(X, y, classes=[0, 1, 2])


def test_what_lbfgs_is_not_made_for():
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


def test_fits_on_threads_of_the_callers():
    expected = classifier(batch_size=40).fit(X, y)
    with ThreadPoolExecutor(4) as pool:
        fits = list(pool.map(lambda _: classifier(batch_size=40).fit(X, y), range(8)))
        predictions = list(pool.map(lambda _: expected.predict_proba(X), range(8)))
    for fitted, predicted in zip(fits, predictions, strict=True):
        assert_same_fit(expected, fitted)
        np.testing.assert_array_equal(predicted, expected.predict_proba(X))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process.* is multi-threaded:DeprecationWarning")
def test_fits_in_a_forked_process():
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


# --- in scikit-learn's company -----------------------------------------------------------------------


def test_pipelines_and_searches():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcd")).assign(kind=np.array(["p", "q", "r"])[y])
    columns = make_column_transformer((StandardScaler(), list("ab")), (OneHotEncoder(), ["kind"]))
    pipeline = make_pipeline(columns, classifier(max_iter=60, learning_rate_init=0.05)).fit(frame, NAMES[y])
    assert pipeline.score(frame, NAMES[y]) > 0.95
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


def test_calibration_and_cross_validation():
    model = classifier(max_iter=60, learning_rate_init=0.02)
    calibrated = CalibratedClassifierCV(model, cv=3).fit(X, NAMES[y], sample_weight=WEIGHTS + 1.0)
    assert calibrated.score(X, NAMES[y]) > 0.9
    for method in ("predict_proba", "decision_function", "predict_log_proba"):
        assert cross_val_predict(model, X, NAMES[y], cv=3, method=method).shape == (150, 3)
    assert cross_val_predict(regressor(), X, TARGETS, cv=3).shape == (150, 3)


@pytest.fixture
def _routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("_routing")
def test_validation_data_go_through_a_pipeline():
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


# --- ends --------------------------------------------------------------------------------------------


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
    with warnings.catch_warnings():  # one that has, and one that is not meant to
        warnings.simplefilter("error")
        classifier(tol=10.0, n_iter_no_change=1).fit(X, y)
        classifier().partial_fit(X, y, classes=[0, 1, 2])


@pytest.mark.parametrize("limit", [1, 2, np.inf])
def test_patience(limit):
    """Any loss is below infinity: the first pass is an improvement."""
    model = classifier(tol=1e9, n_iter_no_change=limit, max_iter=30).fit(X, y)
    assert model.n_iter_ == min(30, limit + 2)
    assert classifier(tol=0, n_iter_no_change=1, max_iter=30).fit(X, y).n_iter_ == 30
    assert classifier(max_iter=1).fit(X, y).n_iter_ == 1


def interrupted_trainer(monkeypatch, after):
    """Let the call of number `after` be interrupted when its passes are done, as Ctrl-C would have it."""
    calls = itertools.count(1)
    run = compiled_trainer.NumbaTrainer.run

    def interrupted(self, last_pass):
        finite = run(self, last_pass)
        if next(calls) == after:
            raise KeyboardInterrupt
        return finite

    monkeypatch.setattr(compiled_trainer.NumbaTrainer, "run", interrupted)


# A call of the trainer is one pass with each of these.
ONE_BY_ONE = {
    "validation data": ({}, {"X_val": X, "y_val": y}),
    "early stopping": ({"early_stopping": True}, {}),
    "average": ({"ema_decay": 0.9}, {"X_val": X, "y_val": y}),
}


@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize(("options", "validation"), ONE_BY_ONE.values(), ids=ONE_BY_ONE.keys())
def test_an_interrupt_leaves_a_fitted_estimator(monkeypatch, options, validation, after):
    """As far as it came, with all that is known of the passes that were done."""
    expected = classifier(max_iter=after, **options).fit(X, y, **validation)
    model = classifier(max_iter=50, **options)
    interrupted_trainer(monkeypatch, after)
    with pytest.warns(UserWarning, match=r"Training interrupted by user\.") as caught:
        model.fit(X, y, **validation)
    assert [warning.filename for warning in caught] == [__file__]
    assert model.n_iter_ == after
    assert model.t_ == expected.t_
    assert model.loss_ == expected.loss_
    assert model.loss_curve_ == expected.loss_curve_
    if not options.get("early_stopping"):  # where the interrupted pass was not judged any more
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
    # It is usable, with the last finite parameters, and can go on when the cause is removed.
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


def test_divergence_where_validation_data_chose_before():
    model = regressor(
        solver="sgd", learning_rate_init=1e3, max_iter=300, early_stopping=True, n_iter_no_change=np.inf
    )
    with pytest.warns(
        ConvergenceWarning, match="The estimator holds the parameters of the best pass"
    ) as caught:
        model.fit(100 * X, COUNTS)
    assert [warning.filename for warning in caught] == [__file__]
    assert np.isnan(model.validation_scores_[-1])
    assert np.isfinite(model.best_validation_score_)
    assert np.isfinite(model.predict(X)).all()


# --- who looks on ------------------------------------------------------------------------------------


LOUD = {
    "sgd": {"solver": "sgd", "max_iter": 3},
    "adam": {"max_iter": 3},
    "early stopping": {"early_stopping": True, "max_iter": 3},
    "it ends": {"tol": 10.0, "n_iter_no_change": 2},
    "it ends, early stopping": {"tol": 10.0, "n_iter_no_change": 2, "early_stopping": True},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 2},
}


@pytest.mark.parametrize("options", LOUD.values(), ids=LOUD.keys())
def test_lines_are_scikit_learns(capsys, options):
    printed = []
    for module in (sklearn.neural_network, fastnn):
        for verbose in (True, 2):
            model = module.MLPClassifier(**{"max_iter": 60, "random_state": 0, "verbose": verbose} | options)
            model.fit(X, y)
            printed.append(capsys.readouterr().out)
    assert printed[0].count("\n") > 2
    assert len(set(printed)) == 1


def test_verbosity(capsys):
    for verbose in (False, 0):
        classifier(verbose=verbose).fit(X, y)
        captured = capsys.readouterr()
        assert captured.out == captured.err == ""
    for options in ({}, {"early_stopping": True}, {"solver": "lbfgs"}):
        classifier(verbose=1, **options).fit(X, y)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "5/5" in captured.err
        assert "loss=" in captured.err
        assert ("rate=" in captured.err) == (options != {"solver": "lbfgs"})
        assert ("score=" in captured.err) == (options == {"early_stopping": True})
    model = classifier(verbose=True).fit(X, y)
    assert re.findall(r"Iteration (\d), loss = ", capsys.readouterr().out) == list("12345")
    model.partial_fit(X, y)
    assert capsys.readouterr().out == f"Iteration 1, loss = {model.loss_:.8f}\n"
    model.set_params(warm_start=True, max_iter=2).fit(X, y)
    assert re.findall(r"Iteration (\d), loss = ", capsys.readouterr().out) == list("12")
    classifier(verbose=True, solver="lbfgs").fit(X, y)
    assert re.findall(r"Iteration (\d), loss = ", capsys.readouterr().out) == list("12345")


@pytest.fixture
def callback_module():
    """scikit-learn's callbacks, which it has from 1.9 on."""
    return pytest.importorskip("sklearn.callback")


class Callback:
    """Keeps what it is told. `answer` is called at the end of a task with the estimator."""

    def __init__(self, answer=lambda estimator: None):
        self.answer = answer
        self.events, self.fitted, self.data = [], [], []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None):
        self.events.append(("begin", context.task_name, context.task_id))
        self.data.append((X, y))

    def on_fit_task_end(self, estimator, context, *, metadata=None, fitted_estimator=None):
        self.events.append(("end", context.task_name, context.task_id))
        self.fitted.append((estimator.n_iter_, fitted_estimator, metadata))
        return self.answer(estimator) if context.task_name == "passes" else None

    def check_pairs(self):
        """Every task that began has ended, the inner ones within the outer one."""
        assert (self.events[0], self.events[-1]) == ("setup", "teardown")
        open_tasks = []
        for event in self.events[1:-1]:
            if event[0] == "begin":
                open_tasks.append(event[1:])
            else:
                assert open_tasks.pop() == event[1:]
        assert not open_tasks


@pytest.mark.usefixtures("callback_module")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_iter": 130},
        {"early_stopping": True},
        {"solver": "lbfgs"},
        {"tol": 10.0, "n_iter_no_change": 1},
    ],
    ids=str,
)
def test_callbacks_are_called_in_pairs(options):
    callback = Callback()
    model = classifier(**options).set_callbacks(callback).fit(X, NAMES[y])
    callback.check_pairs()
    plain = classifier(**options).fit(X, NAMES[y])
    assert_same_fit(model, plain)
    assert model.n_iter_ == plain.n_iter_
    passes = [n_iter for n_iter, _, _ in callback.fitted]
    assert passes[-1] == model.n_iter_
    assert passes == sorted(passes)
    assert 2 < len(passes) <= watching.MOST_TASKS + 1
    for table, targets in callback.data:
        assert table.shape == ((135 if model.early_stopping and model.solver == "adam" else 150), 4)
        assert set(targets) == set(NAMES)


@pytest.mark.usefixtures("callback_module")
@pytest.mark.parametrize("options", [{}, {"solver": "lbfgs"}, {"early_stopping": True}], ids=str)
def test_callbacks_stop_a_fit(options):
    callback = Callback(lambda estimator: estimator.n_iter_ >= 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # who stops a fit knows that it has not converged
        model = classifier(max_iter=20, tol=0, **options).set_callbacks(callback).fit(X, y)
    callback.check_pairs()
    assert model.n_iter_ == 3
    assert len(callback.fitted) == 4
    if not options.get("early_stopping"):
        np.testing.assert_array_equal(parameters(model), parameters(callback.fitted[-1][1]))


@pytest.mark.usefixtures("callback_module")
@pytest.mark.parametrize("options", [{}, {"solver": "lbfgs"}], ids=str)
def test_callbacks_get_estimators_of_their_own(options):
    callback = Callback()
    model = classifier(tol=0, **options).set_callbacks(callback)
    model.fit(X, y, sample_weight=WEIGHTS)
    for k, (n_iter, fitted, metadata) in enumerate(callback.fitted[:-1]):
        assert n_iter == k + 1
        assert fitted is not model
        expected = classifier(tol=0, max_iter=n_iter, **options).fit(X, y, sample_weight=WEIGHTS)
        np.testing.assert_allclose(parameters(fitted), parameters(expected), rtol=1e-12)
        np.testing.assert_array_equal(fitted.predict(X), expected.predict(X))
        np.testing.assert_array_equal(metadata["sample_weight"], WEIGHTS)
    for _, fitted, _ in callback.fitted:
        fitted.coefs_[0][...] = 0
    assert (parameters(model) != 0).all()


@pytest.mark.usefixtures("callback_module")
@pytest.mark.parametrize("options", [{}, {"solver": "lbfgs"}, {"early_stopping": True}], ids=str)
def test_callbacks_interrupt_a_fit(options):
    def interrupt(estimator):
        if estimator.n_iter_ == 3:
            raise KeyboardInterrupt

    callback = Callback(interrupt)
    model = classifier(max_iter=20, tol=0, **options).set_callbacks(callback)
    with pytest.warns(UserWarning, match=r"Training interrupted by user\."):
        model.fit(X, y)
    callback.check_pairs()
    assert model.n_iter_ == 3
    assert model.predict(X).shape == (150,)


@pytest.mark.usefixtures("callback_module")
def test_errors_of_callbacks_come_through():
    def fail(estimator):
        raise RuntimeError("mine")

    callback = Callback(fail)
    with pytest.raises(RuntimeError, match="mine"):
        classifier().set_callbacks(callback).fit(X, y)
    callback.check_pairs()
    with pytest.raises(TypeError, match="callbacks must be instances following the FitCallback protocol"):
        classifier().set_callbacks(Callback)


@pytest.mark.parametrize("options", [{}, {"solver": "lbfgs"}, {"early_stopping": True}], ids=str)
def test_scoring_monitor(callback_module, options):
    """Of labels of any kind, and of frames."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcd"))
    monitor = callback_module.ScoringMonitor(scoring="accuracy")
    model = classifier(tol=0, **options).set_callbacks(monitor).fit(frame, NAMES[y])
    rows = monitor.get_logs().data
    assert [row["task_name"] for row in rows].count("passes") == 5
    if not options:
        scores = [row["accuracy"] for row in rows if row["task_name"] == "passes"]
        expected = [classifier(tol=0, max_iter=k).fit(X, y).score(X, y) for k in range(1, 6)]
        assert scores == expected
        assert model.score(frame, NAMES[y]) == scores[-1]
    monitor = callback_module.ScoringMonitor(scoring="r2")
    regressor(**options).set_callbacks(monitor).fit(X, TARGETS, sample_weight=WEIGHTS + 1.0)
    assert len(monitor.get_logs().data) == 6


def test_progress_bars(callback_module, capsys):
    pytest.importorskip("rich")
    classifier().set_callbacks(callback_module.ProgressBar()).fit(X, y)
    assert "100%" in capsys.readouterr().out
    pipeline = make_pipeline(StandardScaler(), classifier()).set_callbacks(callback_module.ProgressBar())
    pipeline.fit(X, y)
    assert "MLPClassifier" in capsys.readouterr().out


# --- wrong parameters --------------------------------------------------------------------------------


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
def test_wrong_parameters_of_classifiers(name, value):
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of MLPClassifier must be"):
        classifier(**{name: value}).fit(X, y)
    if name not in ("label_smoothing", "class_weight"):
        with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of MLPRegressor must be"):
            regressor(**{name: value}).partial_fit(X, COUNTS)


@pytest.mark.parametrize(
    ("name", "value"),
    [("loss", "hinge"), ("loss", None), ("quantile", 0), ("quantile", 1), ("quantile", None)],
)
def test_wrong_parameters_of_regressors(name, value):
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of MLPRegressor must be"):
        regressor(**{name: value}).fit(X, COUNTS)


def test_parameters_that_do_not_go_together():
    for options, error, message in (
        ({"hidden_layer_sizes": (3, 0)}, ValueError, "hidden_layer_sizes must be > 0, got"),
        ({"hidden_layer_sizes": (2.5,)}, ValueError, "hidden_layer_sizes must be an integer or a list"),
        ({"dropout": [0.1]}, ValueError, "a list of 2"),
        ({"dropout": [1.0, 0.0]}, ValueError, r"dropout\[0\] must be"),
        ({"learning_rate": fastnn.CosineDecay}, ValueError, "call it, as in"),
        ({"learning_rate": lambda step: -1.0}, ValueError, "must be a finite number not below 0"),
        ({"solver": fastnn.optimizers.Optimizer()}, ValueError, "optimizer must be one of"),
    ):
        with pytest.raises(error, match=message):
            classifier(**options).fit(X, y)
    with pytest.raises(ValueError, match="is of classes: MLPClassifier is made for them"):
        regressor(loss=fastnn.SoftmaxCrossEntropy()).fit(X, COUNTS)


def test_a_multilabel_problem_of_scikit_learns():
    table, labels = make_multilabel_classification(n_samples=100, random_state=0)
    model = classifier(max_iter=300, learning_rate_init=0.01, hidden_layer_sizes=(30,)).fit(table, labels)
    assert model.score(table, labels) > 0.9
    assert model.predict(table).dtype == np.int64


# --- what fails, and who else draws -------------------------------------------------------------------


# Parameters, and what the message says.
WRONG = {
    "activation": ({"activation": ["relu", "tanh", "relu"]}, "activation"),
    "an item of activation": ({"activation": ["relu", ["tanh"]]}, r"activation\[1\] must be one of"),
    "X_val": ({}, "^X_val, y_val: X has 2 features"),
    "dropout with lbfgs": ({"solver": "lbfgs", "dropout": 0.5}, "which dropout is not made for"),
    "validation_fraction": (
        {"early_stopping": True, "validation_fraction": 1e-3},
        "validation set|test_size",
    ),
}


@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_fit_that_fails_leaves_what_was_fitted(wrong, warm_start):
    digits, labels = X[:, :3].copy(), np.array(list("ab"))[y % 2]
    model = classifier(hidden_layer_sizes=(5, 4)).fit(X, y)
    before = model.predict_proba(X)
    options, message = WRONG[wrong]
    model.set_params(warm_start=warm_start, **options)
    data = (X, y) if warm_start else (digits, labels)
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


def test_fits_on_threads_that_share_a_generator_are_not_alike():
    shared = np.random.RandomState(0)
    for random_state in (None, shared):
        models = joblib.Parallel(4, backend="threading")(
            joblib.delayed(classifier(random_state=random_state, batch_size=20, max_iter=30).fit)(X, y)
            for _ in range(24)
        )
        assert len({model.coefs_[0].tobytes() for model in models}) == 24


def test_what_a_scorer_draws_is_not_drawn_again():
    drawn = []

    def scorer(model, X, y):
        drawn.append(np.random.randint(2**31))
        return len(drawn)

    np.random.seed(0)
    classifier(random_state=None, early_stopping=True, scoring=scorer, batch_size=20, max_iter=20).fit(X, y)
    drawn += np.random.randint(2**31, size=100).tolist()
    assert len(set(drawn)) == 120


def test_callbacks_that_change_the_patience_change_it_for_the_next_fit():
    class More:
        def setup(self, estimator, context):
            pass

        teardown = on_fit_task_begin = setup

        def on_fit_task_end(self, estimator, context):
            estimator.n_iter_no_change = 10**6

    pytest.importorskip("sklearn.callback")
    model = classifier(max_iter=300, n_iter_no_change=15, tol=1e3).set_callbacks(More()).fit(X, y)
    assert model.n_iter_ == 17


def test_balanced_classes_of_parts_are_refused():
    with pytest.raises(ValueError, match="class_weight='balanced' would balance the samples of each call"):
        classifier(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])


def test_scorers_get_the_weights_that_their_metrics_know_of():
    weights = np.linspace(0.1, 3, 150)
    options = {"early_stopping": True, "max_iter": 3, "random_state": 0}
    named = classifier(scoring="accuracy", **options).fit(X, y, sample_weight=weights)
    scorer = classifier(scoring=get_scorer("accuracy"), **options).fit(X, y, sample_weight=weights)
    own = classifier(**options).fit(X, y, sample_weight=weights)
    assert named.validation_scores_ == scorer.validation_scores_ == own.validation_scores_
    regressor(scoring="neg_max_error", **options).fit(X, COUNTS, sample_weight=weights)
