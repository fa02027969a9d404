"""Ensembles: the members of each method equal estimators that are fitted one by one."""

import itertools

import numpy as np
import pytest
import scipy.sparse
from ensemble_problems import METHODS, WEIGHTS, assert_same_members, classifier, problems, regressor
from estimator_checks import parameters
from estimator_problems import LABELS, NAMES, TARGETS, UNCONVERGED, X, y
from extras import optional
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

import fastnn
from fastnn import (
    CosineDecay,
    MLPClassifier,
    MLPEnsembleClassifier,
    MLPEnsembleRegressor,
    MLPRegressor,
)

pd = optional("pandas")

pytestmark = UNCONVERGED


def assert_predicts_as(ensemble, members, X):
    """Assert that an ensemble predicts the mean of its members, and the class or labels of that mean."""
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
    """Return the seeds of `count` members, drawn as an ensemble draws them."""
    return [int(random.randint(2**31 - 1)) for _ in range(count)]


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
def test_members_by_seeds_differ_in_their_seed_alone(member, kind, targets, samples, weights):
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
def test_members_by_bootstrap_are_fitted_to_rows_drawn_with_replacement(
    member, kind, targets, samples, weights
):
    """Rows of weight 0 are never drawn."""
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


@problems
def test_no_row_of_a_bootstrap_is_trained_on_and_validated_on(member, kind, targets):
    """A row that is drawn k times is one row of weight k, which the split leaves on one side."""
    settings = {"batch_size": 40, "early_stopping": True}
    ensemble = kind(member(**settings), 2, "bootstrap", random_state=7).fit(X, targets)
    random = np.random.RandomState(7)
    expected = [member(**settings, random_state=seed) for seed in seeds_of(random, 2)]
    for one in expected:
        counts = np.bincount(random.randint(0, len(X), len(X)), minlength=len(X))
        rows = np.flatnonzero(counts)
        one.fit(X[rows], targets[rows], sample_weight=counts[rows])
    assert_same_members(ensemble, expected)


@pytest.mark.parametrize("kind", [MLPEnsembleClassifier, MLPEnsembleRegressor])
def test_rows_of_weight_0_change_nothing(kind):
    member = classifier() if kind is MLPEnsembleClassifier else regressor()
    kept = WEIGHTS > 0
    for method in METHODS:
        ensemble = kind(member, 2, method, random_state=3)
        fitted = clone(ensemble).fit(X, y, WEIGHTS)
        without = clone(ensemble).fit(X[kept], y[kept], WEIGHTS[kept])
        # One batch holds all rows: sums differ by rounding alone, because tiles are padded differently.
        for one, other in zip(fitted.estimators_, without.estimators_, strict=True):
            np.testing.assert_allclose(parameters(one), parameters(other), rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"batch_size": 40}, {"solver": "sgd", "batch_size": 40}], ids=str)
@problems
def test_snapshots_are_copies_of_one_training_at_the_ends_of_its_cycles(member, kind, targets, options):
    ensemble = kind(
        member(max_iter=14, early_stopping=True, n_iter_no_change=1, tol=1e9, **options), 4, "snapshots",
        random_state=7,
    ).fit(X, targets, WEIGHTS)  # fmt: skip
    seed, *_ = seeds_of(np.random.RandomState(7), 1)
    n_batches = 4 if "batch_size" in options else 1
    cycle = 3 * n_batches  # a quarter of 14 epochs, rounded down
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


def test_the_learning_rate_begins_anew_after_each_snapshot(monkeypatch):
    """The factors of the learning rate, step by step, are one half cosine for each snapshot."""
    used = {}
    factors = CosineDecay.factors

    def recorded(self, steps, total):
        values = factors(self, steps, total)
        used.update(zip(steps.tolist(), values.tolist(), strict=True))
        return values

    monkeypatch.setattr(CosineDecay, "factors", recorded)
    MLPEnsembleClassifier(classifier(max_iter=8, batch_size=40), 4, "snapshots").fit(X, y)
    assert sorted(used) == list(range(32))
    rates = np.array([used[step] for step in range(32)]).reshape(4, 8)
    cosine = (1 + np.cos(np.pi * np.arange(8) / 8)) / 2
    np.testing.assert_allclose(rates, np.tile(cosine, (4, 1)), rtol=1e-12)
    assert (rates[:, 0] == 1).all()


@pytest.mark.parametrize("max_iter", [1, 2, 3])
def test_every_snapshot_trains_for_at_least_one_epoch(max_iter):
    """With fewer epochs than snapshots, the training is longer than `max_iter`."""
    ensemble = MLPEnsembleClassifier(classifier(max_iter=max_iter), 4, "snapshots").fit(X, y)
    assert [member.t_ for member in ensemble.estimators_] == [150, 300, 450, 600]


def test_snapshots_share_no_memory():
    ensemble = MLPEnsembleClassifier(classifier(), 3, "snapshots").fit(X, y)
    before = [parameters(member) for member in ensemble.estimators_]
    ensemble.estimators_[0].coefs_[0][...] = 0
    ensemble.estimators_[1].partial_fit(X, y)
    np.testing.assert_array_equal(parameters(ensemble.estimators_[2]), before[2])
    assert len({id(member._state.random) for member in ensemble.estimators_}) == 3


@pytest.mark.parametrize("weights", [None, WEIGHTS[:75].tolist() * 2], ids=["unweighted", "weighted"])
@problems
def test_members_by_average_are_the_mean_of_the_parameters_over_steps(member, kind, targets, weights):
    """An epoch is two batches, the halves of the samples in order: a partial fit of a half equals a step."""
    options = {"batch_size": 75, "shuffle": False, "max_iter": 5, "learning_rate_init": 0.01}
    ensemble = kind(member(**options), 3, "average", random_state=7).fit(X, targets, weights)
    (averaged,) = ensemble.estimators_
    assert averaged.n_iter_ == 5

    seed, *_ = seeds_of(np.random.RandomState(7), 1)
    stepped = member(**options | {"batch_size": "auto"}, random_state=seed)
    known = {"classes": np.unique(targets)} if kind is MLPEnsembleClassifier else {}
    if targets is LABELS:
        known = {"classes": np.arange(3)}
    # A step so small that it changes no bit shows the initial parameters of the training.
    at_first = (
        clone(stepped).set_params(learning_rate_init=1e-300, solver="sgd").partial_fit(X, targets, **known)
    )
    average, share = parameters(at_first), 1 / (3 * 2)
    given = np.ones(150) if weights is None else np.array(weights)
    for _, half in itertools.product(range(5), (slice(0, 75), slice(75, 150))):
        # A half may lack a class: the first call names all of them.
        stepped.partial_fit(X[half], targets[half], given[half], **known)
        average = (1 - share) * average + share * parameters(stepped)
    np.testing.assert_allclose(parameters(averaged), average, rtol=0, atol=1e-13)
    assert not np.allclose(average, parameters(stepped), atol=1e-4)
    assert_predicts_as(ensemble, [averaged], X)


def test_an_average_over_one_step_is_the_last_step():
    """An average goes over `n_estimators` epochs: here over one, which is a single batch."""
    ensemble = MLPEnsembleClassifier(classifier(), 1, "average", random_state=7).fit(X, y)
    seed, *_ = seeds_of(np.random.RandomState(7), 1)
    expected = classifier(random_state=seed).fit(X, y)
    np.testing.assert_array_equal(parameters(ensemble.estimators_[0]), parameters(expected))


@pytest.mark.parametrize("method", ["snapshots", "average"])
def test_snapshots_and_averages_need_a_stochastic_solver(method):
    for solver in ("lbfgs", fastnn.LBFGS()):
        ensemble = MLPEnsembleClassifier(classifier(solver=solver), 2, method)
        with pytest.raises(ValueError, match=f"method='{method}' needs a stochastic solver, .* 'lbfgs'"):
            ensemble.fit(X, y)
    for other in ("seeds", "bootstrap"):
        ensemble = MLPEnsembleClassifier(classifier(solver="lbfgs", max_iter=20), 2, other, random_state=0)
        assert ensemble.fit(X, y).score(X, y) > 0.8


@pytest.mark.parametrize("method", METHODS)
def test_members_do_not_depend_on_the_number_of_threads(method):
    ensembles = [
        MLPEnsembleClassifier(classifier(batch_size=40), 3, method, n_jobs=n_jobs, random_state=1).fit(X, y)
        for n_jobs in (None, 1, 2, 3, -1, -100)
    ]
    for ensemble in ensembles[1:]:
        assert_same_members(ensemble, ensembles[0].estimators_)


def test_members_depend_on_the_random_state_of_the_ensemble_alone():
    def fitted(random_state, member_state=0):
        member = classifier(random_state=member_state)
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
def test_snapshots_and_averages_take_no_list_of_members(method):
    for listed in ([classifier()], (classifier(), classifier())):
        with pytest.raises(ValueError, match=f"method='{method}' needs a single network"):
            MLPEnsembleClassifier(listed, 2, method).fit(X, y)


def test_members_have_default_parameters_by_default():
    for kind, member in ((MLPEnsembleClassifier, MLPClassifier()), (MLPEnsembleRegressor, MLPRegressor())):
        ensemble = kind(n_estimators=1, random_state=7).fit(X[::10], y[::10])
        assert ensemble.estimator is None
        (fitted,) = ensemble.estimators_
        assert fitted.get_params() == member.get_params() | {"random_state": fitted.random_state}


def test_members_know_classes_that_their_bootstrap_sample_lacks():
    """The training of a member equals partial fits that are given the classes of the whole table."""
    samples, targets = X[47:53], np.array(["a"] * 4 + ["b", "c"])
    n_classes = set()
    for seed in range(8):
        ensemble = MLPEnsembleClassifier(
            classifier(n_iter_no_change=np.inf), 4, "bootstrap", random_state=seed
        ).fit(samples, targets)  # fmt: skip
        random = np.random.RandomState(seed)
        seeds = seeds_of(random, 4)
        for member, member_seed in zip(ensemble.estimators_, seeds, strict=True):
            drawn = random.randint(0, 6, 6)
            n_classes.add(len(set(targets[drawn])))
            expected = classifier(random_state=member_seed)
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
def test_classes_keep_their_values_and_dtype(method, targets):
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
def test_multilabel_predictions_are_dense_or_sparse_as_the_labels_were(method):
    member = classifier(max_iter=40, learning_rate_init=0.05)
    ensemble = MLPEnsembleClassifier(member, 3, method, random_state=0)
    dense = clone(ensemble).fit(X, LABELS)
    np.testing.assert_array_equal(dense.classes_, [0, 1, 2])
    assert dense.predict(X).dtype == np.int64
    assert dense.score(X, LABELS) > 0.7
    # An ensemble fitted to sparse labels predicts sparse labels, as its members do.
    for container in (scipy.sparse.csr_matrix, scipy.sparse.csr_array):
        fitted = clone(ensemble).fit(X, container(LABELS))
        predicted = fitted.predict(X)
        assert scipy.sparse.issparse(predicted)
        np.testing.assert_array_equal(predicted.toarray(), dense.predict(X))
        np.testing.assert_array_equal(fitted.predict_proba(X), dense.predict_proba(X))
    assert not scipy.sparse.issparse(fitted.fit(X, LABELS).predict(X))


def test_a_bootstrap_sample_may_lack_all_labels():
    rare = np.zeros((20, 3), int)
    rare[0] = 1
    ensemble = MLPEnsembleClassifier(classifier(), 8, "bootstrap", random_state=0).fit(X[:20], rare)
    random = np.random.RandomState(0)
    seeds_of(random, 8)  # an ensemble draws all seeds before the rows
    assert not all(0 in random.randint(0, 20, 20) for _ in range(8))
    assert ensemble.predict(X).shape == (150, 3)


def test_a_tie_goes_to_the_first_class():
    ensemble = MLPEnsembleClassifier(classifier(), 2).fit(X, NAMES[y])
    for member in ensemble.estimators_:
        member.coefs_[1][...] = 0
        member.intercepts_[1][...] = 0
    assert set(ensemble.predict(X)) == {"setosa"}


def test_class_weights_of_the_member_apply_to_every_member():
    weighted = {"setosa": 5.0, "versicolor": 1.0, "virginica": 0.5}
    for class_weight in (weighted, "balanced"):
        member = classifier(class_weight=class_weight)
        ensemble = MLPEnsembleClassifier(member, 2, random_state=7).fit(X, NAMES[y], WEIGHTS)
        expected = [
            classifier(class_weight=class_weight, random_state=seed).fit(X, NAMES[y], WEIGHTS)
            for seed in seeds_of(np.random.RandomState(7), 2)
        ]
        assert_same_members(ensemble, expected)


def test_the_standard_deviation_of_one_member_is_0():
    ensemble = MLPEnsembleRegressor(regressor(), 1).fit(X, TARGETS)
    mean, std = ensemble.predict(X, return_std=True)
    np.testing.assert_array_equal(mean, ensemble.estimators_[0].predict(X))
    assert (std == 0).all()


def test_float32_samples_have_float32_means_and_deviations():
    narrow = X.astype(np.float32)
    for targets in (TARGETS, TARGETS[:, 0]):
        ensemble = MLPEnsembleRegressor(regressor(), 3).fit(narrow, targets)
        for result in ensemble.predict(narrow, return_std=True):
            assert result.dtype == np.float32
            assert result.shape == targets.shape
        # Members of float32 cast float64 samples to float32, and so does the ensemble.
        np.testing.assert_array_equal(ensemble.predict(narrow.astype(float)), ensemble.predict(narrow))


@pytest.mark.parametrize("method", METHODS)
def test_members_of_a_regressor_may_have_any_loss(method):
    counts = np.random.RandomState(0).poisson(np.exp(X[:, 0])).astype(float)
    ensemble = MLPEnsembleRegressor(regressor(loss="poisson", max_iter=8), 2, method).fit(X, counts)
    assert (ensemble.predict(X) > 0).all()
    assert_predicts_as(ensemble, ensemble.estimators_, X)
    with pytest.raises(ValueError, match="takes targets of at least 0"):
        ensemble.fit(X, -counts)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.needs("pandas")
def test_data_frames_are_fitted_as_their_arrays(method):
    import pandas as pd

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


def test_from_search_takes_the_best_candidates_as_members():
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


def test_from_search_ranks_by_the_metric_of_refit():
    search = GridSearchCV(
        classifier(), {"alpha": [0, 1.0, 50.0]}, cv=2, scoring=["accuracy", "neg_log_loss"],
        refit="neg_log_loss",
    ).fit(X, y)  # fmt: skip
    first, *_ = MLPEnsembleClassifier.from_search(search, 1).estimator
    assert first.alpha == search.best_params_["alpha"]
    search.set_params(refit=False).fit(X, y)
    with pytest.raises(ValueError, match="set its refit to the name of one of them"):
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


def test_from_search_refuses_unfitted_searches_and_wrong_members():
    with pytest.raises(NotFittedError):
        MLPEnsembleClassifier.from_search(GridSearchCV(classifier(), {}))
    search = GridSearchCV(classifier(), {"alpha": [1, 2]}, cv=2).fit(X, y)
    for count in (0, -1, 1.5, "two"):
        with pytest.raises(ValueError, match="n_estimators must be an integer of at least 1"):
            MLPEnsembleClassifier.from_search(search, count)
    with pytest.raises(ValueError, match=r"estimator\[0\] must be a fastnn.MLPRegressor"):
        MLPEnsembleRegressor.from_search(search).fit(X, y)


@pytest.mark.parametrize("method", ["seeds", "bootstrap", "average"])
@pytest.mark.needs("pandas")
def test_validation_data_reach_the_members(method):
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    ensemble = MLPEnsembleClassifier(classifier(), 2, method=method, random_state=0)
    ensemble.fit(frame, y, X_val=frame[:30], y_val=y[:30])
    for member in ensemble.estimators_:
        assert len(member.validation_loss_curve_) == member.n_iter_


def test_snapshots_take_no_validation_data():
    with pytest.raises(ValueError, match="X_val, y_val: X has 1 features"):
        MLPEnsembleClassifier(classifier(), 2).fit(X, y, X_val=X[:, :1], y_val=y)
    with pytest.raises(ValueError, match="leave out X_val and y_val"):
        MLPEnsembleClassifier(classifier(), 2, method="snapshots").fit(X, y, X_val=X, y_val=y)
