"""Many networks at once: each is, to the last bit, what it would be by itself.

What an ensemble does is done again here with single networks, by what its documentation says.
"""

import copy
import itertools
import pickle
import signal
import threading
import warnings
from unittest import SkipTest

import numpy as np
import pytest
import scipy.sparse
import sklearn
import sklearn.neural_network
from estimator_checks import parameters
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import fastnn
from fastnn import (
    CosineDecay,
    MLPClassifier,
    MLPEnsembleClassifier,
    MLPEnsembleRegressor,
    MLPRegressor,
    fit_many,
)
from fastnn.engine import limits
from fastnn.schedules import Schedule

# Fits here end at max_iter.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Stochastic Optimizer. Maximum iterations:sklearn.exceptions.ConvergenceWarning",
    "ignore:lbfgs failed to converge:sklearn.exceptions.ConvergenceWarning",
)

X, y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
NAMES = np.array(["setosa", "versicolor", "virginica"])
TARGETS = np.column_stack([X @ [1, -2, 0.5, 1], np.sin(2 * X[:, 0]), X[:, 1] * X[:, 2]])
LABELS = np.column_stack([y == 0, y > 0, X[:, 0] > 0]).astype(int)
WEIGHTS = np.random.RandomState(0).randint(0, 4, len(X))
METHODS = ("seeds", "bootstrap", "snapshots", "average")


def classifier(**parameters):
    return MLPClassifier(**{"hidden_layer_sizes": (6,), "random_state": 0, "max_iter": 4} | parameters)


def regressor(**parameters):
    return MLPRegressor(**{"hidden_layer_sizes": (6,), "random_state": 0, "max_iter": 4} | parameters)


# What there is to learn: the member, the ensemble, y.
PROBLEMS = {
    "binary": (classifier, MLPEnsembleClassifier, np.where(y == 1, "yes", "no")),
    "multiclass": (classifier, MLPEnsembleClassifier, NAMES[y]),
    "multilabel": (classifier, MLPEnsembleClassifier, LABELS),
    "regression": (regressor, MLPEnsembleRegressor, TARGETS[:, 0]),
    "three outputs": (regressor, MLPEnsembleRegressor, TARGETS),
}
problems = pytest.mark.parametrize(
    ("member", "kind", "targets"), PROBLEMS.values(), ids=PROBLEMS.keys()
)  # fmt: skip


def assert_same_fit(one, other):
    """To the last bit, in everything that a fit leaves."""
    np.testing.assert_array_equal(parameters(one), parameters(other))
    for name in (
        "loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_",
        "validation_loss_curve_", "n_iter_", "t_",
    ):  # fmt: skip
        assert getattr(one, name, None) == getattr(other, name, None), name
    if is_classifier(one):
        np.testing.assert_array_equal(one.classes_, other.classes_)
        assert one.classes_.dtype == other.classes_.dtype


def assert_same_members(ensemble, expected):
    assert len(ensemble.estimators_) == len(expected)
    for one, other in zip(ensemble.estimators_, expected, strict=True):
        assert_same_fit(one, other)


def assert_predicts_as(ensemble, members, X):
    """The mean of what the members say, and what follows from it."""
    if is_regressor(ensemble):
        each = [member.predict(X).astype(float) for member in members]
        mean, std = ensemble.predict(X, return_std=True)
        expected = sum(each) / len(each)
        tolerance = 100 * np.finfo(mean.dtype).eps
        np.testing.assert_allclose(mean, expected, rtol=tolerance, atol=tolerance)
        spread = np.sqrt(sum((one - expected) ** 2 for one in each) / len(each))
        np.testing.assert_allclose(std, spread, rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(ensemble.predict(X), mean)
        assert mean.shape == std.shape == each[0].shape
        return
    P = sum(member.predict_proba(X) for member in members) / len(members)
    np.testing.assert_allclose(ensemble.predict_proba(X), P, rtol=100 * np.finfo(P.dtype).eps)
    if P.shape[1] == 3 and ensemble.classes_.dtype.kind == "i":
        np.testing.assert_array_equal(ensemble.predict(X), P > 0.5)
    else:
        np.testing.assert_array_equal(ensemble.predict(X), ensemble.classes_[P.argmax(axis=1)])


def seeds_of(random, count):
    return [int(random.randint(2**31 - 1)) for _ in range(count)]


# --- the checks of any estimator ---------------------------------------------------------------------

CHECKED = [
    kind(member(hidden_layer_sizes=(6,), max_iter=60, learning_rate_init=0.05), n_estimators=2, method=method)
    for kind, member in ((MLPEnsembleClassifier, MLPClassifier), (MLPEnsembleRegressor, MLPRegressor))
    for method in METHODS
]
# So many there are of each at the least; 63 and 56 in scikit-learn 1.9.
CHECKS = 50
MAY_BE_SKIPPED = {
    "check_array_api_input": "asks for SCIPY_ARRAY_API=1 in the environment",
    "check_classifiers_multilabel_output_format_decision_function": "there is no decision_function",
}
SAMPLES_DRAWN = "which samples are drawn depends on how many there are"
EQUIVALENCES = (
    "check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"
)  # fmt: skip


def expected_failures(ensemble):
    return dict.fromkeys(EQUIVALENCES, SAMPLES_DRAWN) if ensemble.method == "bootstrap" else {}


def name_of(check):
    return getattr(check, "func", check).__name__


@parametrize_with_checks(CHECKED, expected_failed_checks=expected_failures)
def test_check(estimator, check):
    skipped = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            check(estimator)
        except SkipTest as reason:
            skipped = reason
    if skipped:
        assert name_of(check) in MAY_BE_SKIPPED, f"{name_of(check)} was skipped: {skipped}"
        pytest.skip(str(skipped))


@pytest.mark.parametrize("ensemble", CHECKED)
def test_all_checks_are_made(ensemble):
    """And none but those two is expected to fail, which do."""
    checks = [check for _, check in estimator_checks_generator(ensemble)]
    assert len(checks) >= CHECKS
    failures = [check for check in checks if name_of(check) in expected_failures(ensemble)]
    assert len(failures) == (2 if ensemble.method == "bootstrap" else 0)
    for check in failures:
        with pytest.raises(AssertionError, match="is not equivalent to fitting with"):
            check(ensemble)


# --- each method, done by hand -----------------------------------------------------------------------

DATA = {
    "dense": (X, None),
    "weighted": (X, WEIGHTS),
    "float32": (X.astype(np.float32), None),
    "csr": (scipy.sparse.csr_matrix(X), WEIGHTS),
    "csc": (scipy.sparse.csc_array(X), None),
}
data = pytest.mark.parametrize(("samples", "weights"), DATA.values(), ids=DATA.keys())


@problems
@data
def test_seeds(member, kind, targets, samples, weights):
    ensemble = kind(member(batch_size=50), n_estimators=3, random_state=7).fit(samples, targets, weights)
    expected = [
        member(batch_size=50, random_state=seed).fit(samples, targets, sample_weight=weights)
        for seed in seeds_of(np.random.RandomState(7), 3)
    ]
    assert_same_members(ensemble, expected)
    assert_predicts_as(ensemble, expected, samples)
    assert ensemble.predict(samples).dtype == expected[0].predict(samples).dtype
    if is_classifier(ensemble):
        assert ensemble.predict_proba(samples).dtype == samples.dtype


@problems
@data
def test_bootstrap(member, kind, targets, samples, weights):
    """To the rows drawn; those of the weight 0 are as if they were not there."""
    ensemble = kind(member(batch_size=40), 3, "bootstrap", random_state=7).fit(samples, targets, weights)
    random = np.random.RandomState(7)
    seeds = seeds_of(random, 3)
    rows = np.arange(len(X)) if weights is None else np.flatnonzero(weights)
    expected = []
    for seed in seeds:
        drawn = rows[random.randint(0, len(rows), len(rows))]
        given = {} if weights is None else {"sample_weight": weights[drawn]}
        expected.append(member(batch_size=40, random_state=seed).fit(samples[drawn], targets[drawn], **given))
    assert_same_members(ensemble, expected)
    assert_predicts_as(ensemble, expected, samples)


@pytest.mark.parametrize("kind", [MLPEnsembleClassifier, MLPEnsembleRegressor])
def test_rows_of_weight_0_are_not_there(kind):
    member = classifier() if kind is MLPEnsembleClassifier else regressor()
    kept = WEIGHTS > 0
    for method in METHODS:
        ensemble = kind(member, 2, method, random_state=3)
        fitted = clone(ensemble).fit(X, y, WEIGHTS)
        without = clone(ensemble).fit(X[kept], y[kept], WEIGHTS[kept])
        # All in one batch: the same sums, but of the padding of another tile.
        for one, other in zip(fitted.estimators_, without.estimators_, strict=True):
            np.testing.assert_allclose(parameters(one), parameters(other), rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"batch_size": 40}, {"solver": "sgd", "batch_size": 40}], ids=str)
@problems
def test_snapshots(member, kind, targets, options):
    """One training, ended at the end of each of its cycles."""
    ensemble = kind(
        member(max_iter=14, early_stopping=True, n_iter_no_change=1, tol=1e9, **options), 4, "snapshots",
        random_state=7,
    ).fit(X, targets, WEIGHTS)  # fmt: skip
    seed, *_ = seeds_of(np.random.RandomState(7), 1)
    n_batches = 4 if "batch_size" in options else 1
    cycle = 3 * n_batches  # three passes: a fourth of 14
    expected = [
        member(
            random_state=seed, learning_rate=CosineDecay(cycle=cycle, restarts=True), max_iter=3 * n_cycles,
            n_iter_no_change=np.inf, **options,
        ).fit(X, targets, sample_weight=WEIGHTS)
        for n_cycles in range(1, 5)
    ]  # fmt: skip
    for one, other in zip(ensemble.estimators_, expected, strict=True):
        np.testing.assert_array_equal(parameters(one), parameters(other))
        assert one.loss_curve_ == other.loss_curve_
        assert one.t_ == other.t_
    assert len({parameters(one).tobytes() for one in ensemble.estimators_}) == 4
    assert_predicts_as(ensemble, expected, X)


def test_the_rate_of_snapshots_is_back_at_the_top_after_each(monkeypatch):
    """The rates that the training asked for, step by step, and the cosines by their formula."""
    asked = {}
    factors = CosineDecay.factors

    def told(self, steps, total):
        values = factors(self, steps, total)
        asked.update(zip(steps.tolist(), values.tolist(), strict=True))
        return values

    monkeypatch.setattr(CosineDecay, "factors", told)
    MLPEnsembleClassifier(classifier(max_iter=8, batch_size=40), 4, "snapshots").fit(X, y)
    assert sorted(asked) == list(range(32))
    rates = np.array([asked[step] for step in range(32)]).reshape(4, 8)
    cosine = (1 + np.cos(np.pi * np.arange(8) / 8)) / 2
    np.testing.assert_allclose(rates, np.tile(cosine, (4, 1)), rtol=1e-12)
    assert (rates[:, 0] == 1).all()


@pytest.mark.parametrize("max_iter", [1, 2, 3])
def test_fewer_passes_than_snapshots(max_iter):
    """A cycle has a pass at the least."""
    ensemble = MLPEnsembleClassifier(classifier(max_iter=max_iter), 4, "snapshots").fit(X, y)
    assert [member.t_ for member in ensemble.estimators_] == [150, 300, 450, 600]


def test_snapshots_are_apart():
    ensemble = MLPEnsembleClassifier(classifier(), 3, "snapshots").fit(X, y)
    before = [parameters(member) for member in ensemble.estimators_]
    ensemble.estimators_[0].coefs_[0][...] = 0
    ensemble.estimators_[1].partial_fit(X, y)
    np.testing.assert_array_equal(parameters(ensemble.estimators_[2]), before[2])
    assert len({id(member._state.random) for member in ensemble.estimators_}) == 3


@pytest.mark.parametrize("weights", [None, WEIGHTS[:75].tolist() * 2], ids=["", "weighted"])
@problems
def test_average(member, kind, targets, weights):
    """Two batches a pass, the halves in their order: a partial fit of a half is a step."""
    options = {"batch_size": 75, "shuffle": False, "max_iter": 5, "learning_rate_init": 0.01}
    ensemble = kind(member(**options), 3, "average", random_state=7).fit(X, targets, weights)
    (averaged,) = ensemble.estimators_
    assert averaged.n_iter_ == 5

    seed, *_ = seeds_of(np.random.RandomState(7), 1)
    stepped = member(**options | {"batch_size": "auto"}, random_state=seed)
    known = {"classes": np.unique(targets)} if kind is MLPEnsembleClassifier else {}
    if targets is LABELS:
        known = {"classes": np.arange(3)}
    # A step so small that it changes no bit shows where the training begins.
    at_first = (
        clone(stepped).set_params(learning_rate_init=1e-300, solver="sgd").partial_fit(X, targets, **known)
    )
    average, share = parameters(at_first), 1 / (3 * 2)
    given = np.ones(150) if weights is None else np.array(weights)
    for _, half in itertools.product(range(5), (slice(0, 75), slice(75, 150))):
        # A part need not hold every class, but the first must say which there are.
        stepped.partial_fit(X[half], targets[half], given[half], **known)
        average = (1 - share) * average + share * parameters(stepped)
    np.testing.assert_allclose(parameters(averaged), average, rtol=0, atol=1e-13)
    assert not np.allclose(average, parameters(stepped), atol=1e-4)
    assert_predicts_as(ensemble, [averaged], X)


def test_an_average_over_one_step_is_the_last():
    """One pass of one batch: nothing is averaged."""
    ensemble = MLPEnsembleClassifier(classifier(), 1, "average", random_state=7).fit(X, y)
    seed, *_ = seeds_of(np.random.RandomState(7), 1)
    expected = classifier(random_state=seed).fit(X, y)
    np.testing.assert_array_equal(parameters(ensemble.estimators_[0]), parameters(expected))


@pytest.mark.parametrize("method", ["snapshots", "average"])
def test_lbfgs_has_no_steps_to_follow(method):
    for solver in ("lbfgs", fastnn.LBFGS()):
        ensemble = MLPEnsembleClassifier(classifier(solver=solver), 2, method)
        with pytest.raises(ValueError, match=f"method='{method}' follows a training .* 'lbfgs'"):
            ensemble.fit(X, y)
    for method in ("seeds", "bootstrap"):
        ensemble = MLPEnsembleClassifier(classifier(solver="lbfgs", max_iter=20), 2, method, random_state=0)
        assert ensemble.fit(X, y).score(X, y) > 0.8


@pytest.mark.parametrize("method", METHODS)
def test_any_number_of_threads_fits_the_same(method):
    ensembles = [
        MLPEnsembleClassifier(classifier(batch_size=40), 3, method, n_jobs=n_jobs, random_state=1).fit(X, y)
        for n_jobs in (None, 1, 2, 3, -1, -100)
    ]
    for ensemble in ensembles[1:]:
        assert_same_members(ensemble, ensembles[0].estimators_)


def test_random_states():
    def fitted(random_state, of_member=0):
        member = classifier(random_state=of_member)
        return MLPEnsembleClassifier(member, 2, random_state=random_state).fit(X, y)

    first = fitted(3)
    assert_same_members(fitted(np.random.RandomState(3)), first.estimators_)
    assert_same_members(fitted(3, 99), first.estimators_)
    np.random.seed(3)
    assert_same_members(fitted(None), first.estimators_)
    assert not np.array_equal(parameters(fitted(4).estimators_[0]), parameters(first.estimators_[0]))
    assert not np.array_equal(*map(parameters, first.estimators_))
    shared = np.random.RandomState(3)
    fitted(shared)
    again = fitted(shared)
    assert not np.array_equal(parameters(again.estimators_[0]), parameters(first.estimators_[0]))


def test_members_of_a_list_take_turns():
    given = [classifier(alpha=1.0), classifier(hidden_layer_sizes=(3, 3)), classifier(activation="tanh")]
    for listed in (given, tuple(given)):
        ensemble = MLPEnsembleClassifier(listed, 5, random_state=7).fit(X, y)
        expected = [
            clone(given[k % 3]).set_params(random_state=seed).fit(X, y)
            for k, seed in enumerate(seeds_of(np.random.RandomState(7), 5))
        ]
        assert_same_members(ensemble, expected)
    assert not any(hasattr(member, "coefs_") for member in given)


@pytest.mark.parametrize("method", ["snapshots", "average"])
def test_methods_of_one_network_take_no_list(method):
    for listed in ([classifier()], (classifier(), classifier())):
        with pytest.raises(ValueError, match=f"method='{method}' is of one network"):
            MLPEnsembleClassifier(listed, 2, method).fit(X, y)


def test_default_members():
    for kind, member in ((MLPEnsembleClassifier, MLPClassifier()), (MLPEnsembleRegressor, MLPRegressor())):
        ensemble = kind(n_estimators=1, random_state=7).fit(X[::10], y[::10])
        assert ensemble.estimator is None
        (fitted,) = ensemble.estimators_
        changed = fitted.get_params()
        changed.pop("random_state")
        assert changed == {k: v for k, v in member.get_params().items() if k != "random_state"}


# --- classes ------------------------------------------------------------------------------------------


def test_classes_missing_from_a_bootstrap_sample():
    """Every member knows of all: its training is that of partial fits that are told of them."""
    samples, targets = X[47:53], np.array(["a"] * 4 + ["b", "c"])
    n_classes = set()
    for seed in range(8):
        ensemble = MLPEnsembleClassifier(
            classifier(n_iter_no_change=np.inf), 4, "bootstrap", random_state=seed
        ).fit(samples, targets)  # fmt: skip
        random = np.random.RandomState(seed)
        seeds = seeds_of(random, 4)
        for member, own in zip(ensemble.estimators_, seeds, strict=True):
            drawn = random.randint(0, 6, 6)
            n_classes.add(len(set(targets[drawn])))
            expected = classifier(random_state=own)
            for _ in range(4):
                expected.partial_fit(samples[drawn], targets[drawn], classes=["a", "b", "c"])
            np.testing.assert_array_equal(parameters(member), parameters(expected))
            assert list(member.classes_) == ["a", "b", "c"]
            assert member.predict_proba(samples).shape == (6, 3)
        assert list(ensemble.classes_) == ["a", "b", "c"]
        np.testing.assert_allclose(ensemble.predict_proba(samples).sum(axis=1), 1)
        assert set(ensemble.predict(samples)) <= {"a", "b", "c"}
    assert n_classes == {1, 2, 3}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "targets",
    [
        y + 5, y.astype(float), NAMES[y], NAMES[y].astype(object), y > 0, np.where(y, -1, 1),
        np.zeros(150, int), y[:, None] * 2,
    ],
    ids=["ints", "floats", "text", "objects", "bools", "signs", "one class", "a column"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:A column-vector y:sklearn.exceptions.DataConversionWarning")
def test_classes_are_kept(method, targets):
    member = classifier(max_iter=30, learning_rate_init=0.05)
    ensemble = MLPEnsembleClassifier(member, 2, method, random_state=0).fit(X, targets)
    alone = classifier().fit(X, targets)
    np.testing.assert_array_equal(ensemble.classes_, alone.classes_)
    assert ensemble.classes_.dtype == alone.classes_.dtype
    predicted = ensemble.predict(X)
    assert predicted.dtype == alone.predict(X).dtype
    assert predicted.shape == (150,)
    assert ensemble.score(X, targets) > 0.7
    assert ensemble.predict_proba(X).shape == (150, len(np.unique(targets)))


@pytest.mark.parametrize("method", METHODS)
def test_labels(method):
    member = classifier(max_iter=40, learning_rate_init=0.05)
    ensemble = MLPEnsembleClassifier(member, 3, method, random_state=0)
    dense = clone(ensemble).fit(X, LABELS)
    np.testing.assert_array_equal(dense.classes_, [0, 1, 2])
    assert dense.predict(X).dtype == np.int64
    assert dense.score(X, LABELS) > 0.7
    # As a member does: where they came sparse they are predicted so.
    for container in (scipy.sparse.csr_matrix, scipy.sparse.csr_array):
        fitted = clone(ensemble).fit(X, container(LABELS))
        predicted = fitted.predict(X)
        assert scipy.sparse.issparse(predicted)
        np.testing.assert_array_equal(predicted.toarray(), dense.predict(X))
        np.testing.assert_array_equal(fitted.predict_proba(X), dense.predict_proba(X))
    assert not scipy.sparse.issparse(fitted.fit(X, LABELS).predict(X))


def test_labels_that_a_bootstrap_sample_has_none_of():
    rare = np.zeros((20, 3), int)
    rare[0] = 1
    ensemble = MLPEnsembleClassifier(classifier(), 8, "bootstrap", random_state=0).fit(X[:20], rare)
    random = np.random.RandomState(0)
    seeds_of(random, 8)
    assert not all(0 in random.randint(0, 20, 20) for _ in range(8))
    assert ensemble.predict(X).shape == (150, 3)


def test_a_tie_goes_to_the_first_class():
    ensemble = MLPEnsembleClassifier(classifier(), 2).fit(X, NAMES[y])
    for member in ensemble.estimators_:
        member.coefs_[1][...] = 0
        member.intercepts_[1][...] = 0
    assert set(ensemble.predict(X)) == {"setosa"}


def test_weights_of_classes():
    weighted = {"setosa": 5.0, "versicolor": 1.0, "virginica": 0.5}
    for class_weight in (weighted, "balanced"):
        member = classifier(class_weight=class_weight)
        ensemble = MLPEnsembleClassifier(member, 2, random_state=7).fit(X, NAMES[y], WEIGHTS)
        expected = [
            classifier(class_weight=class_weight, random_state=seed).fit(X, NAMES[y], WEIGHTS)
            for seed in seeds_of(np.random.RandomState(7), 2)
        ]
        assert_same_members(ensemble, expected)


# --- numbers ------------------------------------------------------------------------------------------


def test_the_spread_of_one_is_0():
    ensemble = MLPEnsembleRegressor(regressor(), 1).fit(X, TARGETS)
    mean, std = ensemble.predict(X, return_std=True)
    np.testing.assert_array_equal(mean, ensemble.estimators_[0].predict(X))
    assert (std == 0).all()


def test_the_spread_is_float32_too():
    narrow = X.astype(np.float32)
    for targets in (TARGETS, TARGETS[:, 0]):
        ensemble = MLPEnsembleRegressor(regressor(), 3).fit(narrow, targets)
        for result in ensemble.predict(narrow, return_std=True):
            assert result.dtype == np.float32
            assert result.shape == targets.shape
        # What comes wider is made narrow, as a member does.
        np.testing.assert_array_equal(ensemble.predict(narrow.astype(float)), ensemble.predict(narrow))


@pytest.mark.parametrize("method", METHODS)
def test_losses_of_regressors(method):
    counts = np.random.RandomState(0).poisson(np.exp(X[:, 0])).astype(float)
    ensemble = MLPEnsembleRegressor(regressor(loss="poisson", max_iter=8), 2, method).fit(X, counts)
    assert (ensemble.predict(X) > 0).all()
    assert_predicts_as(ensemble, ensemble.estimators_, X)
    with pytest.raises(ValueError, match="takes targets not below 0"):
        ensemble.fit(X, -counts)


# --- frames -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_frames(method):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcd"), index=np.arange(150)[::-1])
    column, weights = pd.Series(NAMES[y], index=frame.index), pd.Series(WEIGHTS, index=frame.index)
    ensemble = MLPEnsembleClassifier(classifier(), 2, method, random_state=0)
    plain = clone(ensemble).fit(X, NAMES[y], WEIGHTS)
    ensemble.fit(frame, column, weights)
    assert_same_members(ensemble, plain.estimators_)
    np.testing.assert_array_equal(ensemble.predict_proba(frame), plain.predict_proba(X))
    assert list(ensemble.feature_names_in_) == list("abcd")
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        ensemble.predict(X)
    with pytest.raises(ValueError, match="feature names should match"):
        ensemble.predict(frame[list("dcba")])
    MLPEnsembleRegressor(regressor(), 2, method).fit(frame, pd.DataFrame(TARGETS)).predict(frame)


# --- the best of a search -----------------------------------------------------------------------------


def test_from_search():
    grid = {"alpha": [1e-4, 1.0, 100.0], "hidden_layer_sizes": [(3,), (6,)]}
    search = GridSearchCV(classifier(max_iter=40, learning_rate_init=0.05), grid, cv=3).fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    for count in (1, 3, 6, 50):
        ensemble = MLPEnsembleClassifier.from_search(search, count, random_state=7, n_jobs=2)
        assert (ensemble.random_state, ensemble.n_jobs, ensemble.method) == (7, 2, "seeds")
        assert ensemble.n_estimators == len(ensemble.estimator) == min(count, 6)
        best = np.argsort(-scores, kind="stable")[:count]
        for member, k in zip(ensemble.estimator, best, strict=True):
            assert member.get_params() == (search.estimator.get_params() | search.cv_results_["params"][k])
            assert member is not search.estimator
        assert not hasattr(ensemble, "estimators_")
    fitted = MLPEnsembleClassifier.from_search(search, 3, random_state=7).fit(X, y)
    assert len(fitted.estimators_) == 3
    assert fitted.score(X, y) > 0.9
    assert_same_members(clone(fitted).fit(X, y), fitted.estimators_)

    search = RandomizedSearchCV(regressor(), {"alpha": [0.1, 0.2, 0.3]}, n_iter=2, cv=2, random_state=0)
    ensemble = MLPEnsembleRegressor.from_search(search.fit(X, TARGETS))
    assert ensemble.n_estimators == 2


def test_from_a_search_with_several_metrics():
    search = GridSearchCV(
        classifier(), {"alpha": [0, 1.0, 50.0]}, cv=2, scoring=["accuracy", "neg_log_loss"],
        refit="neg_log_loss",
    ).fit(X, y)  # fmt: skip
    first, *_ = MLPEnsembleClassifier.from_search(search, 1).estimator
    assert first.alpha == search.best_params_["alpha"]
    search.set_params(refit=False).fit(X, y)
    with pytest.raises(ValueError, match="name the one that counts as its refit"):
        MLPEnsembleClassifier.from_search(search)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite:UserWarning")
def test_candidates_whose_fits_failed_are_left_out():
    grid = {"solver": ["lbfgs", "adam"], "dropout": [0.0, 0.1]}
    search = GridSearchCV(classifier(), grid, cv=2).fit(X, y)
    ensemble = MLPEnsembleClassifier.from_search(search)
    assert ensemble.n_estimators == 3
    ensemble.fit(X, y)
    search = GridSearchCV(classifier(solver="lbfgs"), {"dropout": [0.1]}, cv=2, refit=False)
    search.cv_results_ = {"rank_test_score": [1], "mean_test_score": [np.nan], "params": [{}]}
    with pytest.raises(ValueError, match="no candidate of the search has a score"):
        MLPEnsembleClassifier.from_search(search)


def test_from_search_wrongly():
    with pytest.raises(NotFittedError):
        MLPEnsembleClassifier.from_search(GridSearchCV(classifier(), {}))
    search = GridSearchCV(classifier(), {"alpha": [1, 2]}, cv=2).fit(X, y)
    for count in (0, -1, 1.5, "two"):
        with pytest.raises(ValueError, match="n_estimators must be an integer not below 1"):
            MLPEnsembleClassifier.from_search(search, count)
    with pytest.raises(ValueError, match=r"estimator\[0\] must be a fastnn.MLPRegressor"):
        MLPEnsembleRegressor.from_search(search).fit(X, y)


# --- an estimator like any other ----------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@problems
def test_copies(member, kind, targets, method):
    ensemble = kind(member(), 2, method, random_state=0).fit(X, targets)
    for other in (pickle.loads(pickle.dumps(ensemble)), copy.deepcopy(ensemble)):
        assert_same_members(other, ensemble.estimators_)
        np.testing.assert_array_equal(other.predict(X), ensemble.predict(X))
        other.estimators_[0].partial_fit(X, targets)
    assert_same_members(clone(ensemble).fit(X, targets), ensemble.estimators_)
    assert not hasattr(clone(ensemble), "estimators_")


def test_parameters():
    member = classifier()
    ensemble = MLPEnsembleClassifier(member)
    own = {"estimator": member, "n_estimators": 10, "method": "seeds", "n_jobs": None, "random_state": None}
    assert ensemble.get_params(deep=False) == own
    assert ensemble.get_params() == own | {f"estimator__{k}": v for k, v in member.get_params().items()}
    ensemble.set_params(estimator__alpha=0.5, n_estimators=2, estimator__solver="sgd")
    assert (member.alpha, ensemble.n_estimators) == (0.5, 2)
    assert [fitted.alpha for fitted in ensemble.fit(X, y).estimators_] == [0.5, 0.5]
    with pytest.raises(ValueError, match="Invalid parameter 'beta'"):
        ensemble.set_params(estimator__beta=1)
    grid = GridSearchCV(ensemble, {"estimator__alpha": [0, 1.0], "method": METHODS}, cv=2).fit(X, y)
    assert set(grid.best_params_) == {"estimator__alpha", "method"}
    assert cross_val_predict(ensemble, X, y, cv=2, method="predict_proba").shape == (150, 3)
    assert make_pipeline(StandardScaler(), ensemble).fit(X, y).predict(X).shape == (150,)


def test_it_shows_itself():
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
def test_wrong_parameters(name, value, message):
    ensemble = MLPEnsembleClassifier(**{"estimator": classifier(), "n_estimators": 2} | {name: value})
    with pytest.raises(ValueError, match=message):
        ensemble.fit(X, y)
    assert not hasattr(ensemble, "estimators_")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("name", "value"), [("alpha", -1), ("max_iter", "many"), ("batch_size", "all"), ("solver", "newton")]
)
def test_wrong_parameters_of_members(method, name, value):
    ensemble = MLPEnsembleClassifier(classifier(**{name: value}), 2, method)
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of MLPClassifier must be"):
        ensemble.fit(X, y)


def test_weights_of_samples_are_checked():
    ensemble = MLPEnsembleClassifier(classifier(), 2, random_state=0)
    for weights in (np.zeros(150), -np.ones(150), np.ones(149), np.full(150, np.nan), ["a"] * 150):
        with pytest.raises(ValueError):  # noqa: PT011, whose words these are is another's business
            ensemble.fit(X, y, weights)
    same = clone(ensemble).fit(X, y, 1.0)  # as a member takes it: one for all
    assert_same_members(same, ensemble.fit(X, y).estimators_)


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_that_fails_leaves_none_of_an_earlier_one(method):
    ensemble = MLPEnsembleClassifier(classifier(), 2, method).fit(X, y)
    ensemble.set_params(estimator=classifier(solver="sgd", learning_rate_init=1e300))
    with pytest.raises(fastnn.DivergenceError):
        ensemble.fit(X[:, :3], NAMES[y])
    with pytest.raises(NotFittedError):
        ensemble.predict(X)
    ensemble.set_params(estimator=classifier()).fit(X, y).predict(X)


# --- fit_many -----------------------------------------------------------------------------------------

SHARED = "shared"  # one RandomState for all that have it


@st.composite
def configurations(draw):
    """Constructor's arguments."""
    parameters = {
        "hidden_layer_sizes": draw(st.lists(st.integers(1, 7), max_size=2)),
        "solver": draw(st.sampled_from(["adam", "adam", "sgd", "lbfgs"])),
        "alpha": draw(st.sampled_from([0, 1e-3, 1.0])),
        "batch_size": draw(st.sampled_from(["auto", 1, 33])),
        "max_iter": draw(st.integers(1, 4)),
        "learning_rate": draw(st.sampled_from(["constant", "invscaling", "cosine_decay"])),
        "learning_rate_init": draw(st.sampled_from([1e-3, 0.02])),
        "early_stopping": draw(st.booleans()),
        "n_iter_no_change": draw(st.sampled_from([1, 10])),
        "tol": draw(st.sampled_from([1e-4, 0.1])),
        "warm_start": draw(st.booleans()),
        "shuffle": draw(st.booleans()),
        "class_weight": draw(st.sampled_from([None, "balanced"])),
        "random_state": draw(st.sampled_from([None, SHARED, 0, 1, 2])),
    }
    if parameters["solver"] != "lbfgs":
        parameters["ema_decay"] = draw(st.sampled_from([None, 0.5]))
    return parameters


@given(
    many=st.lists(configurations(), min_size=1, max_size=6),
    n_jobs=st.sampled_from([None, 1, 2, 3, 20, -1, -3]),
    seed=st.integers(0, 2**32 - 1),
    weighted=st.booleans(),
    n_fits=st.integers(1, 2),
)
@settings(max_examples=40)
def test_each_is_fitted_as_alone(many, n_jobs, seed, weighted, n_fits):
    """Twice, too, and so that generators which several draw from end where they would."""
    weights = WEIGHTS + 1 if weighted else None

    def prepared():
        np.random.seed(seed)
        shared = np.random.RandomState(seed)
        states = [shared if p["random_state"] == SHARED else p["random_state"] for p in many]
        return shared, [
            MLPClassifier(**p | {"random_state": state}) for p, state in zip(many, states, strict=True)
        ]

    shared, alone = prepared()
    for estimator in alone * n_fits:
        estimator.fit(X, y, sample_weight=weights)
    drawn = shared.random_sample(), np.random.random_sample()

    shared, together = prepared()
    for _ in range(n_fits):
        fitted = fit_many(together, X, y, sample_weight=weights, n_jobs=n_jobs)
        assert fitted is not together
        assert all(one is other for one, other in zip(fitted, together, strict=True))
    assert (shared.random_sample(), np.random.random_sample()) == drawn
    for one, other in zip(together, alone, strict=True):
        assert_same_fit(one, other)


def test_calls_that_end_within_a_pass_change_nothing():
    """In fits that go on, too: what has ended the one before ends none before its first pass."""

    def fitted():
        many = [
            classifier(batch_size=20, warm_start=True, n_iter_no_change=1, max_iter=9, **options)
            for options in (
                {"tol": 1e9},
                {"tol": 1e9, "early_stopping": True},
                {"tol": 1e-9},
                {"ema_decay": 0.5},
            )
        ]
        for _ in range(3):
            fit_many(many, X, y)
        for one in many:
            one.set_params(early_stopping=False).partial_fit(X, y)
        return many

    expected = fitted()
    with pytest.MonkeyPatch.context() as patch:
        # A step or two each, as the first ones of a process do.
        patch.setattr(limits, "FIRST_CALL_OPERATIONS", 1)
        patch.setattr(limits, "CALL_SECONDS", 0)
        for one, other in zip(fitted(), expected, strict=True):
            assert_same_fit(one, other)


def test_all_kinds_at_once():
    """Classifiers and regressors, which draw from the global generator given in two ways."""
    itself = np.random.mtrand._rand

    def prepared():
        np.random.seed(5)
        return [
            classifier(random_state=None), regressor(random_state=itself), classifier(random_state=itself),
            regressor(random_state=None), classifier(random_state=np.int64(3)), regressor(random_state=3),
        ]  # fmt: skip

    alone = prepared()
    for estimator in alone:
        estimator.fit(X, y)
    for n_jobs in (1, 4):
        for one, other in zip(fit_many(prepared(), X, y, n_jobs=n_jobs), alone, strict=True):
            assert_same_fit(one, other)


def test_data_of_any_kind():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcd"))
    for samples in (
        X,
        X.astype(np.float32),
        scipy.sparse.csr_matrix(X),
        frame,
        X.tolist(),
        np.asfortranarray(X),
    ):
        one, other = fit_many([classifier(), classifier(max_iter=2)], samples, NAMES[y])
        assert_same_fit(one, classifier().fit(samples, NAMES[y]))
        assert_same_fit(other, classifier(max_iter=2).fit(samples, NAMES[y]))
        assert hasattr(one, "feature_names_in_") == (samples is frame)


def test_what_is_no_list_of_estimators():
    model = classifier()
    assert fit_many([], X, y) == []
    assert fit_many((model for _ in range(1)), X, y) == [model]
    with pytest.raises(ValueError, match="estimators holds the same object more than once: clone it"):
        fit_many([model, classifier(), model], X, y)
    theirs = sklearn.neural_network.MLPClassifier()
    for foreign, told in (
        (theirs, r"MLPClassifier\(\) of sklearn.neural_network"),
        (MLPEnsembleClassifier(classifier()), "MLPEnsembleClassifier"),
        (MLPClassifier, "<class 'fastnn.estimators.base.MLPClassifier'>"),
        (None, "None"),
    ):
        fresh = classifier()
        with pytest.raises(ValueError, match=rf"estimators\[1\] must be .*, got {told}"):
            fit_many([fresh, foreign], X, y)
        assert not hasattr(fresh, "coefs_")
    for n_jobs in (0, 1.5, "two", True):
        with pytest.raises(ValueError, match="n_jobs must be None or an integer other than 0"):
            fit_many([classifier(), classifier()], X, y, n_jobs=n_jobs)


@pytest.mark.parametrize("n_jobs", [1, 2, 8])
def test_one_that_fails_keeps_no_other_from_being_fitted(n_jobs):
    many = [
        classifier(), classifier(alpha=-1), classifier(max_iter=2),
        regressor(solver="sgd", learning_rate_init=1e300), classifier(hidden_layer_sizes=(2.5,)),
        regressor(),
    ]  # fmt: skip
    with pytest.raises(InvalidParameterError, match="'alpha'") as raised:
        fit_many(many, X, y, n_jobs=n_jobs)
    assert raised.value.__notes__ == ["This was the fit of estimator 1 of 6, counted from 0."]
    for k, expected in ((0, classifier()), (2, classifier(max_iter=2)), (5, regressor())):
        assert_same_fit(many[k], expected.fit(X, y))
    assert np.isfinite(parameters(many[3])).all()  # the last that were
    del many[1]
    with pytest.raises(fastnn.DivergenceError) as raised:
        fit_many(many, X, y, n_jobs=n_jobs)
    assert raised.value.__notes__ == ["This was the fit of estimator 2 of 5, counted from 0."]
    with pytest.raises(InvalidParameterError) as raised:
        fit_many([classifier(alpha=-1)], X, y, n_jobs=n_jobs)
    assert not hasattr(raised.value, "__notes__")  # there is only one


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0), 0], ids=["None", "shared", "own"])
def test_one_that_fails_in_a_chain(random_state):
    many = [classifier(random_state=random_state), classifier(alpha=-1, random_state=random_state),
            classifier(random_state=random_state)]  # fmt: skip
    with pytest.raises(InvalidParameterError):
        fit_many(many, X, y, n_jobs=2)
    assert [hasattr(one, "coefs_") for one in many] == [True, False, True]


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_warnings_come_through(n_jobs):
    many = [classifier(), classifier(tol=10.0, n_iter_no_change=1), classifier(batch_size=151)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit_many(many, X, y, n_jobs=n_jobs)
    messages = sorted(str(warning.message)[:29] for warning in caught)
    assert messages == ["Got `batch_size` less than 1 ", *["Stochastic Optimizer: Maximum"] * 2]


class Callback:
    """One of scikit-learn's."""

    def __init__(self):
        self.events = []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None):
        self.events.append("begin")

    def on_fit_task_end(self, estimator, context, *, metadata=None, fitted_estimator=None):
        self.events.append("end")


def test_callbacks_are_called_as_in_a_fit():
    pytest.importorskip("sklearn.callback")
    alone = Callback()
    classifier().set_callbacks(alone).fit(X, y)
    assert (alone.events[0], alone.events[-1]) == ("setup", "teardown")
    callbacks = [Callback() for _ in range(3)]
    many = [classifier().set_callbacks(callback) for callback in callbacks]
    fit_many(many, X, y)
    assert all(callback.events == alone.events for callback in callbacks)
    # Members are clones, which have their callbacks from what they are clones of.
    one = Callback()
    ensemble = MLPEnsembleClassifier(classifier().set_callbacks(one), 2, n_jobs=1).fit(X, y)
    assert one.events == alone.events * 2
    for estimator in many + ensemble.estimators_:
        assert not hasattr(estimator, "_callback_fit_ctx")


# --- interrupts ---------------------------------------------------------------------------------------


class Asked(Schedule):
    """A constant rate. `done` is called whenever a training asks for it: once in every 50 ms of it."""

    def __init__(self, done):
        self.done = done

    def factors(self, steps, total):
        self.done()
        return np.ones(steps.shape)

    def __deepcopy__(self, memo):
        return self


def endless(done=lambda: None, **parameters):
    """It ends by an interrupt alone. One unit, so that many passes are many."""
    return classifier(
        hidden_layer_sizes=(1,), learning_rate=Asked(done), max_iter=2**40, n_iter_no_change=np.inf,
        **parameters,
    )  # fmt: skip


class Interrupt:
    """Ctrl-C as soon as `count` trainings run: each says so with `begun`, again and again.

    Python loses an interrupt that it raises while it tidies up an object, so that some time later there is
    another, as a user would press the keys again.
    """

    def __init__(self, count):
        self.lock, self.threads, self.count = threading.Lock(), set(), count
        self.calls = 0

    def begun(self):
        with self.lock:
            self.threads.add(threading.get_ident())
            if len(self.threads) == self.count:
                self.calls += 1
                if self.calls % 100 == 1:
                    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


@pytest.fixture
def in_main_thread():
    """Where interrupts come to."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("the tests do not run in the main thread")


@pytest.mark.usefixtures("in_main_thread")
@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_an_interrupt_ends_them_all(n_jobs):
    before = threading.enumerate()
    interrupt = Interrupt(n_jobs)
    many = [endless(interrupt.begun, random_state=k) for k in range(6)]
    with pytest.raises(KeyboardInterrupt):
        fit_many(many, X, y, n_jobs=n_jobs)
    assert interrupt.calls > 0
    assert set(threading.enumerate()) <= set(before)
    begun = [hasattr(one, "coefs_") for one in many]
    assert begun == [True] * n_jobs + [False] * (6 - n_jobs)
    for one in many[:n_jobs]:
        assert one.predict(X).shape == (150,)
        # It goes on from there.
        t = one.t_
        one.set_params(learning_rate="constant", warm_start=True, max_iter=2).fit(X, y)
        assert one.t_ == t + 300


@pytest.mark.usefixtures("in_main_thread")
def test_an_interrupt_goes_before_errors():
    for n_jobs in (1, 2):
        interrupt = Interrupt(1)
        many = [classifier(alpha=-1), endless(interrupt.begun), classifier()]
        with pytest.raises(KeyboardInterrupt):
            fit_many(many, X, y, n_jobs=n_jobs)
        assert hasattr(many[1], "coefs_")


@pytest.mark.usefixtures("in_main_thread")
@pytest.mark.parametrize("early", [{"early_stopping": True}, {"solver": "sgd"}, {"ema_decay": 0.9}], ids=str)
def test_interrupted_members_of_any_kind(early):
    interrupt = Interrupt(2)
    many = [endless(interrupt.begun, **early), endless(interrupt.begun, random_state=1)]
    with pytest.raises(KeyboardInterrupt):
        fit_many(many, X, y, n_jobs=2)
    for one in many:
        assert np.isfinite(one.predict_proba(X)).all()


@pytest.mark.usefixtures("in_main_thread")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_interrupted_ensemble_is_not_fitted(method, n_jobs):
    ensemble = MLPEnsembleClassifier(classifier(), 2, method, n_jobs=n_jobs).fit(X, y)
    interrupt = Interrupt(n_jobs if method in ("seeds", "bootstrap") else 1)
    ensemble.set_params(estimator=endless(interrupt.begun, early_stopping=True))
    if method == "snapshots":  # whose schedule is another: it is asked in place of ours
        ensemble.estimator.set_params(scoring=lambda *_: interrupt.begun())
        with pytest.MonkeyPatch.context() as patch:
            factors = CosineDecay.factors
            patch.setattr(
                CosineDecay, "factors", lambda self, *steps: (interrupt.begun(), factors(self, *steps))[1]
            )
            with pytest.raises(KeyboardInterrupt):
                ensemble.fit(X, NAMES[y])
    else:
        with pytest.raises(KeyboardInterrupt):
            ensemble.fit(X, NAMES[y])
    with pytest.raises(NotFittedError):
        ensemble.predict(X)
