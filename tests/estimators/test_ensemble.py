"""Ensembles: the members of each method equal estimators that are fitted one by one."""

import itertools

import numpy as np
import pytest
import scipy.sparse
from estimator_checks import parameters
from fit_checks import assert_same_fits
from problems import LABELS, NAMES, TARGETS, UNCONVERGED, WEIGHTS, X, classifier, ensembles, regressor, y
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

from fastnn import CosineDecay, DivergenceError, MLPEnsembleClassifier, MLPEnsembleRegressor

pytestmark = UNCONVERGED
METHODS = ("seeds", "bootstrap", "snapshots", "average")


def assert_predicts_as(ensemble, members, X):
    """Assert that an ensemble predicts the mean of its members, and the class or labels of that mean."""
    if is_regressor(ensemble):
        each = np.array([member.predict(X).astype(float) for member in members])
        mean, std = ensemble.predict(X, return_std=True)
        tolerance = 100 * np.finfo(mean.dtype).eps
        np.testing.assert_allclose(mean, each.mean(axis=0), rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(std, each.std(axis=0), rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(ensemble.predict(X), mean)
        return
    P = sum(member.predict_proba(X) for member in members) / len(members)
    np.testing.assert_allclose(ensemble.predict_proba(X), P, rtol=100 * np.finfo(P.dtype).eps)
    has_labels = P.shape[1] == 3 and ensemble.classes_.dtype.kind == "i"
    expected = P > 0.5 if has_labels else ensemble.classes_[P.argmax(axis=1)]
    np.testing.assert_array_equal(ensemble.predict(X), expected)


def draw_seeds(random, count):
    """Return the seeds of `count` members, drawn as an ensemble draws them."""
    return [int(random.randint(2**31 - 1)) for _ in range(count)]


DATA = {"dense": (X, None), "weighted": (X, WEIGHTS), "float32": (X.astype(np.float32), None)}
DATA |= {"csr": (scipy.sparse.csr_matrix(X), WEIGHTS), "csc": (scipy.sparse.csc_array(X), None)}


@pytest.mark.parametrize(
    ("method", "data"), [("seeds", "float32"), ("seeds", "csr"), *(("bootstrap", name) for name in DATA)]
)
@ensembles
def test_members_are_fitted_to_the_samples_or_to_rows_drawn(member, kind, targets, method, data):
    """A bootstrap draws rows with replacement, and none of weight 0."""
    samples, weights = DATA[data]
    ensemble = kind(member(batch_size=40), 3, method, random_state=7).fit(samples, targets, weights)
    random = np.random.RandomState(7)
    expected = [member(batch_size=40, random_state=seed) for seed in draw_seeds(random, 3)]
    rows = np.arange(len(X))
    allowed = rows if weights is None else np.flatnonzero(weights)
    for one in expected:
        if method == "bootstrap":
            rows = allowed[random.randint(0, allowed.size, allowed.size)]
        one.fit(samples[rows], targets[rows], None if weights is None else weights[rows])
    assert_same_fits(ensemble.estimators_, expected)
    assert_predicts_as(ensemble, expected, samples)
    assert ensemble.predict(samples).dtype == expected[0].predict(samples).dtype
    if is_classifier(ensemble):
        assert ensemble.predict_proba(samples).dtype == samples.dtype


@ensembles
def test_no_row_of_a_bootstrap_is_trained_on_and_validated_on(member, kind, targets):
    """A row that is drawn k times is one row of weight k, which the split leaves on one side."""
    settings = {"batch_size": 40, "early_stopping": True}
    ensemble = kind(member(**settings), 2, "bootstrap", random_state=7).fit(X, targets)
    random = np.random.RandomState(7)
    expected = [member(**settings, random_state=seed) for seed in draw_seeds(random, 2)]
    for one in expected:
        rows, counts = np.unique(random.randint(0, len(X), len(X)), return_counts=True)
        one.fit(X[rows], targets[rows], sample_weight=counts)
    assert_same_fits(ensemble.estimators_, expected)


@pytest.mark.parametrize("options", [{}, {"batch_size": 40}, {"solver": "sgd", "batch_size": 40}], ids=str)
@ensembles
def test_snapshots_are_copies_of_one_training_at_the_ends_of_its_cycles(member, kind, targets, options):
    stopping = {"early_stopping": True, "n_iter_no_change": 1, "tol": 1e9}
    ensemble = kind(member(max_iter=14, **stopping, **options), 4, "snapshots", random_state=7)
    ensemble.fit(X, targets, WEIGHTS)
    (seed,) = draw_seeds(np.random.RandomState(7), 1)
    cycle = 3 * (4 if "batch_size" in options else 1)  # a quarter of 14 epochs, rounded down, in batches
    settings = {"learning_rate": CosineDecay(cycle=cycle, restarts=True), "n_iter_no_change": np.inf}
    expected = [member(random_state=seed, max_iter=3 * n, **settings, **options) for n in range(1, 5)]
    for one, other in zip(ensemble.estimators_, expected, strict=True):
        other.fit(X, targets, WEIGHTS)
        np.testing.assert_array_equal(parameters(one), parameters(other))
        assert (one.loss_curve_, one.t_) == (other.loss_curve_, other.t_)
    ensemble.estimators_[0].coefs_[0][...] = 0  # no other member's
    assert_predicts_as(ensemble, [ensemble.estimators_[0], *expected[1:]], X)
    short = kind(member(max_iter=1), 2, "snapshots").fit(X, targets)  # a cycle has at least one epoch
    assert [one.t_ for one in short.estimators_] == [150, 300]


@pytest.mark.parametrize("weights", [None, WEIGHTS[:75].tolist() * 2], ids=["unweighted", "weighted"])
@ensembles
def test_members_by_average_are_the_mean_of_the_parameters_over_steps(member, kind, targets, weights):
    """An epoch is two batches, the halves of the samples in order: a partial fit of a half equals a step."""
    options = {"batch_size": 75, "shuffle": False, "learning_rate_init": 0.01}
    ensemble = kind(member(**options), 3, "average", random_state=7).fit(X, targets, weights)
    (averaged,) = ensemble.estimators_
    assert averaged.n_iter_ == 5

    (seed,) = draw_seeds(np.random.RandomState(7), 1)
    stepped = member(**options | {"batch_size": "auto"}, random_state=seed)
    # A half may lack a class: the first call names all of them.
    known = {} if kind is MLPEnsembleRegressor else {"classes": np.unique(targets)}
    if targets is LABELS:
        known = {"classes": np.arange(3)}
    # A step so small that it changes no bit shows the initial parameters of the training.
    at_first = clone(stepped).set_params(learning_rate_init=1e-300, solver="sgd")
    average, share = parameters(at_first.partial_fit(X, targets, **known)), 1 / (3 * 2)
    given = np.ones(150) if weights is None else np.array(weights)
    for _, half in itertools.product(range(5), (slice(0, 75), slice(75, 150))):
        stepped.partial_fit(X[half], targets[half], given[half], **known)
        average = (1 - share) * average + share * parameters(stepped)
    np.testing.assert_allclose(parameters(averaged), average, rtol=0, atol=1e-13)
    assert not np.allclose(average, parameters(stepped), atol=1e-4)
    assert_predicts_as(ensemble, [averaged], X)


def test_members_depend_on_the_random_state_of_the_ensemble_alone():
    def fit(random_state, member_state=0):
        member = classifier(random_state=member_state)
        return MLPEnsembleClassifier(member, 2, random_state=random_state).fit(X, y).estimators_

    first, shared = fit(3), np.random.RandomState(3)
    np.random.seed(3)
    for members in (fit(shared), fit(3, 99), fit(None)):
        assert_same_fits(members, first)
    for other in (fit(4)[0], fit(shared)[0], first[1]):
        assert not np.array_equal(parameters(other), parameters(first[0]))


@pytest.mark.parametrize("container", [list, tuple])
def test_members_of_a_list_take_turns(container):
    weighted = {"class_weight": {"setosa": 5.0, "virginica": 0.5}, "solver": "lbfgs"}
    given = container([classifier(alpha=1.0), classifier(hidden_layer_sizes=(3, 3)), classifier(**weighted)])
    ensemble = MLPEnsembleClassifier(given, 5, random_state=7).fit(X, NAMES[y], WEIGHTS)
    expected = [
        clone(given[k % 3]).set_params(random_state=seed).fit(X, NAMES[y], WEIGHTS)
        for k, seed in enumerate(draw_seeds(np.random.RandomState(7), 5))
    ]
    assert_same_fits(ensemble.estimators_, expected)
    assert not any(hasattr(member, "coefs_") for member in given)
    for one, other in zip(ensemble.estimators_, expected, strict=True):
        assert one.get_params() == other.get_params()


def test_members_know_classes_that_their_bootstrap_sample_lacks():
    """The training of a member equals partial fits that are given the classes of the whole table."""
    samples, targets, n_classes = X[47:53], np.array(["a"] * 4 + ["b", "c"]), set()
    for random_state in range(8):
        ensemble = MLPEnsembleClassifier(classifier(tol=0), 4, "bootstrap", random_state=random_state)
        ensemble.fit(samples, targets)
        random = np.random.RandomState(random_state)
        for one, seed in zip(ensemble.estimators_, draw_seeds(random, 4), strict=True):
            drawn = random.randint(0, 6, 6)
            n_classes.add(len(set(targets[drawn])))
            expected = classifier(random_state=seed)
            for _ in range(5):
                expected.partial_fit(samples[drawn], targets[drawn], classes=["a", "b", "c"])
            np.testing.assert_array_equal(parameters(one), parameters(expected))
            assert list(one.classes_) == list(ensemble.classes_) == ["a", "b", "c"]
    assert n_classes == {1, 2, 3}


@pytest.mark.parametrize("method", METHODS)
def test_multilabel_predictions_are_dense_or_sparse_as_the_labels_were(method):
    member = classifier(max_iter=40, learning_rate_init=0.05)
    ensemble = MLPEnsembleClassifier(member, 3, method, random_state=0)
    dense = clone(ensemble).fit(X, LABELS)
    assert dense.predict(X).dtype == np.int64
    assert dense.score(X, LABELS) > 0.7
    for container in (scipy.sparse.csr_matrix, scipy.sparse.csr_array):
        predicted = ensemble.fit(X, container(LABELS)).predict(X)
        assert scipy.sparse.issparse(predicted)
        np.testing.assert_array_equal(predicted.toarray(), dense.predict(X))
    assert not scipy.sparse.issparse(ensemble.fit(X, LABELS).predict(X))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.needs("pandas")
def test_data_frames_are_fitted_as_their_arrays_by_any_number_of_threads(method):
    import pandas as pd

    frame = pd.DataFrame(X, columns=list("abcd"), index=np.arange(150)[::-1])
    column, weights = pd.Series(NAMES[y], index=frame.index), pd.Series(WEIGHTS, index=frame.index)
    ensemble = MLPEnsembleClassifier(classifier(batch_size=40), 3, method, random_state=0)
    n_validation = 30 * (method != "snapshots")
    given, own = ((each[:n_validation], NAMES[y[:n_validation]])[: n_validation // 15] for each in (X, frame))
    plain = clone(ensemble).fit(X, NAMES[y], WEIGHTS, *given)
    for n_jobs in (None, 1, 2, -1, -100):
        ensemble.set_params(n_jobs=n_jobs).fit(frame, column, weights, *own)
        assert_same_fits(ensemble.estimators_, plain.estimators_)
    with pytest.raises(ValueError, match="feature names should match"):
        ensemble.predict(frame[list("dcba")])


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_that_diverges_discards_the_earlier_fit(method):
    ensemble = MLPEnsembleClassifier(classifier(), 2, method).fit(X, y)
    ensemble.set_params(estimator=classifier(solver="sgd", learning_rate_init=1e300))
    with pytest.raises(DivergenceError):
        ensemble.fit(X[:, :3], NAMES[y])
    with pytest.raises(NotFittedError):
        ensemble.predict(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning")
@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite:UserWarning")
def test_from_search_takes_the_best_candidates_as_members():
    grid = {"alpha": [1e-4, 1.0, 100.0], "dropout": [0.0, 0.1], "solver": ["adam", "lbfgs"]}
    search = GridSearchCV(classifier(max_iter=40, learning_rate_init=0.05), grid, cv=3).fit(X, y)
    scores = search.cv_results_["mean_test_score"]  # NaN for L-BFGS with dropout, whose fits fail
    best = [k for k in np.argsort(-scores, kind="stable") if np.isfinite(scores[k])]
    for count in (1, 3, 50):
        ensemble = MLPEnsembleClassifier.from_search(search, count, random_state=7, n_jobs=2)
        assert (ensemble.random_state, ensemble.n_jobs, ensemble.method) == (7, 2, "seeds")
        assert ensemble.n_estimators == len(ensemble.estimator) == min(count, 9)
        for member, k in zip(ensemble.estimator, best, strict=False):
            assert member.get_params() == (search.estimator.get_params() | search.cv_results_["params"][k])
            assert member is not search.estimator
        assert not hasattr(ensemble, "estimators_")
    scoring = {"scoring": ["r2", "neg_mean_absolute_error"], "refit": "neg_mean_absolute_error"}
    search = RandomizedSearchCV(regressor(), {"alpha": [0.1, 50]}, n_iter=2, cv=2, random_state=0, **scoring)
    ensemble = MLPEnsembleRegressor.from_search(search.fit(X, TARGETS))
    assert (ensemble.n_estimators, ensemble.estimator[0].alpha) == (2, search.best_params_["alpha"])
