"""Courses of fits: any parts equal the whole; convergence, interrupts, divergence, generators, scorers."""

import copy
import pickle
import warnings

import joblib
import numpy as np
import pytest
from estimator_checks import parameters
from fit_checks import assert_same_fit
from problems import COUNTS, TARGETS, UNCONVERGED, X, classifier, going_on, regressor, y
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, get_scorer, r2_score
from sklearn.utils import compute_sample_weight

import fastnn
from fastnn.estimators.scores import make_accuracy, make_r2
from fastnn.optimizers import STEPPING

pytestmark = UNCONVERGED


def halve_every_ten_steps(step):
    """Return the factor of a schedule; as a function of the module, it can be pickled."""
    return 0.5 ** (step // 10)


STALLS = {"tol": 0.1, "n_iter_no_change": 1}
# Options of a fit that later fits continue.
CONTINUED = {
    **{name: {"solver": name} for name in STEPPING},
    "sgd, no momentum": {"solver": "sgd", "momentum": 0},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", **STALLS},
    "weight_decay": {"weight_decay": 0.1},
    "an object": {"solver": fastnn.RMSprop(momentum=0.5)},
    "dropout": {"dropout": 0.4},
    "batch_norm": {"batch_norm": True},
    "cosine": {"learning_rate": fastnn.CosineDecay(17, restarts=True)},
    "function": {"learning_rate": halve_every_ten_steps},
    "ema": {"ema_decay": 0.9},
    "clipped": {"max_grad_norm": 0.1},
    "in order": {"shuffle": False},
    "whole batch": {"batch_size": 150},
    "smoothed": {"label_smoothing": 0.2},
}

# Options with which a warm start continues a fit, but a partial fit refuses to.
WARM_STARTED = CONTINUED | {
    "balanced": {"class_weight": "balanced"},
    "early stopping": {"early_stopping": True},
    "early stopping, ema": {"early_stopping": True, "ema_decay": 0.9},
    "early stopping, batch_norm": {"early_stopping": True, "batch_norm": True},
    "early stopping, loss": {"early_stopping": True, "scoring": "loss"},
    "early stopping, too fast": {"early_stopping": True, "learning_rate_init": 1.0},
}


@pytest.mark.parametrize("options", WARM_STARTED.values(), ids=WARM_STARTED.keys())
def test_a_fit_and_a_warm_start_equal_one_longer_fit(options):
    """A warm start continues a fit bit for bit, even if the estimator was pickled in between."""
    at_once = going_on(max_iter=9, **options).fit(X, y)
    twice = going_on(max_iter=4, warm_start=True, **options).fit(X, y)
    halfway = parameters(twice)
    twice = pickle.loads(pickle.dumps(twice))
    np.testing.assert_array_equal(parameters(twice), halfway)
    twice.set_params(max_iter=5).fit(X, y)
    assert twice.n_iter_ == 5
    assert_same_fit(at_once, twice)
    np.testing.assert_array_equal(at_once.predict_proba(X), twice.predict_proba(X))


@pytest.mark.parametrize("options", CONTINUED.values(), ids=CONTINUED.keys())
def test_k_partial_fits_equal_a_fit_of_k_epochs_bit_for_bit(options):
    at_once = going_on(max_iter=6, **options).fit(X, y)
    in_parts = going_on(max_iter=1, **options)
    if options.get("learning_rate") != "adaptive":  # a fit by an adaptive rate may end early
        in_parts.set_params(max_iter=6)
    for n_pass in range(6):
        in_parts.partial_fit(X, y, classes=[0, 1, 2] if n_pass == 0 else None)
        assert in_parts.n_iter_ == 1
        if n_pass == 2:
            in_parts = pickle.loads(pickle.dumps(in_parts))
        if n_pass == 4:
            in_parts = copy.deepcopy(in_parts)
    assert_same_fit(at_once, in_parts)


def test_a_fit_may_have_more_epochs_than_one_trainer_records():
    options = {"hidden_layer_sizes": (2,), "n_iter_no_change": np.inf}
    few, few_y, n_passes = X[::30], y[::30], 10_007  # a trainer records 10,000
    at_once = classifier(max_iter=n_passes, **options).fit(few, few_y)
    assert at_once.n_iter_ == len(at_once.loss_curve_) == n_passes
    parts = classifier(max_iter=6000, warm_start=True, **options).fit(few, few_y)
    assert_same_fit(at_once, parts.set_params(max_iter=n_passes - 6000).fit(few, few_y))


def test_another_solver_keeps_the_parameters_but_no_optimizer_state():
    """Adam's first step is the learning rate for every derivative that is not close to 0."""
    model = classifier(solver="sgd", max_iter=30, warm_start=True, activation="tanh").fit(X, y)
    before = parameters(model)
    model.set_params(solver="adam", max_iter=1).fit(X, y)
    np.testing.assert_allclose(np.abs(parameters(model) - before), 0.001, rtol=0.01)
    # The velocity of "momentum" sums gradients, "sgd" sums steps: neither solver adopts the other's velocity.
    model.set_params(solver="momentum").fit(X, y)
    before = parameters(model)
    model.set_params(solver="sgd", nesterovs_momentum=False, learning_rate_init=1e-300).fit(X, y)
    np.testing.assert_array_equal(parameters(model), before)


@pytest.mark.parametrize("first", [{"ema_decay": 0.99}, {"early_stopping": True}, {}], ids=str)
def test_lbfgs_starts_from_the_parameters_that_predict(first):
    model = classifier(warm_start=True, max_iter=20, **first).fit(X, y)
    fresh = classifier(solver="lbfgs", warm_start=True, max_iter=1).fit(X, y)
    fresh.coefs_, fresh.intercepts_ = model.coefs_, model.intercepts_
    model.set_params(solver="lbfgs", max_iter=1, ema_decay=None).fit(X, y)
    np.testing.assert_array_equal(parameters(model), parameters(fresh.fit(X, y)))
    assert model.set_params(solver="adam", max_iter=3).fit(X, y).n_iter_ == 3


def test_a_warm_start_accepts_other_settings_but_no_other_network():
    model = classifier(warm_start=True, activation="relu").fit(X, y)
    for samples, targets, changed, message in (
        (X, y, {"batch_norm": True}, "fit it with warm_start=False"),
        (X, y, {"hidden_layer_sizes": (9,)}, "layers_dim"),
        (X[:, :3], y, {}, "is expecting 4 features"),
        (X, y + 1, {}, "same classes as in the previous call to fit"),
    ):
        with pytest.raises(ValueError, match=message):
            model.set_params(**{"batch_norm": False, "hidden_layer_sizes": 7} | changed).fit(samples, targets)
    model.set_params(hidden_layer_sizes=7)
    for changed in ({"batch_size": 20}, {"alpha": 1.0}, {"dropout": 0.2}):
        before = model.t_
        model.set_params(**changed).fit(X, y)
        assert model.t_ == before + 5 * 150
    model.fit(X[40:110], y[40:110])  # other data, of the same classes
    model = regressor(warm_start=True, batch_size=40).fit(X, COUNTS)
    model.set_params(loss="poisson").fit(X, COUNTS)
    assert model.out_activation_ == "exp"
    assert (model.predict(X) > 0).all()


def test_a_fit_that_has_not_converged_says_what_to_do():
    """The warning comes from the line of the call."""
    for options, message in (
        ({}, r"Stochastic Optimizer: Maximum iterations \(5\) reached .* Raise max_iter"),
        ({"solver": "lbfgs"}, r"(?s)after 5 iteration\(s\).*Increase the number of .* \(max_iter=5\)"),
    ):
        with pytest.warns(ConvergenceWarning, match=message) as caught:
            classifier(**options).fit(X, y)
        assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(UserWarning, match="It is going to be clipped") as caught:
        classifier(batch_size=500).partial_fit(X, y, classes=[0, 1, 2])
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():  # a converged fit and a partial fit do not warn
        warnings.simplefilter("error")
        classifier(tol=10.0, n_iter_no_change=1).fit(X, y)
        classifier().partial_fit(X, y, classes=[0, 1, 2])


@pytest.mark.parametrize("max_iter", [2**40, 2**63, 10**400])
def test_a_fit_by_lbfgs_may_have_any_number_of_iterations(max_iter):
    """It takes memory for as many as `max_fun` allows."""
    model = classifier(solver="lbfgs", max_iter=max_iter, max_fun=20).fit(X, y)
    other = classifier(solver="lbfgs", max_iter=10_000, max_fun=20).fit(X, y)
    assert model.n_iter_ == other.n_iter_ <= 20
    np.testing.assert_array_equal(parameters(model), parameters(other))


# Options, and validation data, with which every call of the trainer is a single epoch.
SINGLE_EPOCHS = {
    "validation data": ({}, {"X_val": X, "y_val": y}),
    "early stopping": ({"early_stopping": True}, {}),
    "average": ({"ema_decay": 0.9}, {"X_val": X, "y_val": y}),
}


@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize(("options", "validation"), SINGLE_EPOCHS.values(), ids=SINGLE_EPOCHS.keys())
def test_an_interrupt_leaves_a_fitted_estimator(options, validation, after):
    """An interrupted fit keeps its parameters and all records of the completed epochs."""

    def interrupt(step):
        if step == after:  # an epoch is a step
            raise KeyboardInterrupt
        return 1.0

    expected = classifier(max_iter=after, **options).fit(X, y, **validation)
    model = classifier(max_iter=50, learning_rate=interrupt, **options)
    with pytest.warns(UserWarning, match=r"Training interrupted by user\.") as caught:
        model.fit(X, y, **validation)
    assert ([warning.filename for warning in caught], model.n_iter_) == ([__file__], after)
    assert_same_fit(model, expected)
    for one in (model, expected):
        one.set_params(early_stopping=False, warm_start=True, max_iter=2, learning_rate="constant").fit(X, y)
    assert_same_fit(model, expected)


def test_divergence_says_what_to_do():
    decayed = {"alpha": 1e4, "momentum": 0, "learning_rate_init": 10.0, "max_iter": 3000, "batch_size": 10}
    for model, data, message in (
        (
            regressor(solver="sgd", learning_rate_init=1e3, max_iter=300),
            (100 * X, TARGETS),
            "The input data may .*learning_rate_init=1000.*: lower learning_rate_init, for instance to 100",
        ),
        (classifier(solver="sgd", **decayed), (X, y), r"learning_rate_init \* alpha, .* is 10000 and must"),
        (
            regressor(solver="sgd", learning_rate_init=1e-300),
            (X, COUNTS * 1e200),
            "diverged in epoch 4, the loss is no longer finite",
        ),
        (regressor(solver="lbfgs"), (X * 1e300, COUNTS), r"The loss is not finite at the start\. Remedy: st"),
    ):
        with pytest.raises(fastnn.DivergenceError, match=message) as raised:
            model.fit(*data)
        assert isinstance(raised.value, ValueError)
        assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_fits_on_threads_that_share_a_generator_are_all_different():
    for random_state in (None, np.random.RandomState(0)):
        models = joblib.Parallel(4, backend="threading")(
            joblib.delayed(classifier(random_state=random_state, batch_size=20, max_iter=30).fit)(X, y)
            for _ in range(24)
        )
        assert len({model.coefs_[0].tobytes() for model in models}) == 24


def test_a_fit_that_fails_leaves_its_generator_to_the_next_fit():
    random = np.random.RandomState(0)
    with pytest.raises(ValueError, match="X_val, y_val") as kept:  # the traceback keeps the fit's frames
        classifier(random_state=random).fit(X, y, X_val=X[:, :2], y_val=y)
    random.seed(0)
    expected = classifier(random_state=np.random.RandomState(0)).fit(X, y)
    assert_same_fit(classifier(random_state=random).fit(X, y), expected)
    del kept


def test_a_fit_never_draws_again_what_a_scorer_drew():
    drawn = []

    def scorer(model, X, y):
        drawn.append(np.random.randint(2**31))
        return len(drawn)

    np.random.seed(0)
    classifier(random_state=None, early_stopping=True, scoring=scorer, batch_size=20, max_iter=20).fit(X, y)
    drawn += np.random.randint(2**31, size=100).tolist()
    assert len(set(drawn)) == 120


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 5.0, 2: 0.5}], ids=str)
@pytest.mark.parametrize("weights", [None, np.linspace(0.1, 3, 120)], ids=["plain", "weighted"])
def test_scorers_are_weighted_as_the_default_score(weights, class_weight):
    """A scorer whose metric takes no weights gets none."""
    seen = []

    def weighted(model, X, y, sample_weight=None):
        seen.append(sample_weight)
        return accuracy_score(y, model.predict(X), sample_weight=sample_weight)

    def plain(model, X, y):
        return accuracy_score(y, model.predict(X))

    scores, options = {}, {"early_stopping": True, "max_iter": 8, "learning_rate_init": 0.05}
    for scoring in (None, "accuracy", get_scorer("accuracy"), weighted, plain):
        model = classifier(scoring=scoring, class_weight=class_weight, **options)
        scores[scoring] = model.fit(X[:120], y[:120], sample_weight=weights).validation_scores_
    unweighted = scores.pop(plain)
    assert len(set(map(tuple, scores.values()))) == 1
    if weights is None and class_weight is None:
        assert seen[0] is None
        assert scores[None] == unweighted
    else:
        assert scores[None] != unweighted
        products = compute_sample_weight(class_weight, y[:120]) * (1 if weights is None else weights)
        assert set(seen[0].round(9)) <= set(products.round(9))


@pytest.mark.parametrize("dtypes", [(float, np.float32), (np.float32, np.float32), (int, float)], ids=str)
@pytest.mark.parametrize("weights", [None, np.linspace(0.1, 3, 120)], ids=["plain", "weighted"])
def test_default_scores_are_scikit_learns_to_the_last_bit(weights, dtypes):
    """Ties, constant targets, exact predictions, several outputs, and labels are among the cases."""
    random, ones = np.random.default_rng(0), np.ones(120) if weights is None else weights
    for shape in [(120,), (120, 1), (120, 3)]:
        given, found = random.normal(scale=3, size=(2, *shape))
        for truth, guess in [(given, found), (given * 0 + 2, found), (given, given), (given * 0, given * 0)]:
            truth, guess = truth.astype(dtypes[0]), guess.astype(dtypes[1])
            score = make_r2(truth, weights, guess.dtype)(guess)
            assert score == r2_score(truth, guess, sample_weight=weights)
        truth, guess = (given > 0).astype(int), (found > 0).astype(int)
        truth[::2] = guess[::2]
        score = accuracy_score(truth, guess, sample_weight=weights)
        assert make_accuracy(truth, ones)(guess) == score
    options = {"early_stopping": True, "max_iter": 8, "learning_rate_init": 0.05}
    for targets in (TARGETS, np.c_[TARGETS, np.ones_like(TARGETS)]):
        kinds = [regressor(scoring=scoring, **options) for scoring in (None, "r2")]
        ours, theirs = (model.fit(X, targets).validation_scores_ for model in kinds)
        assert ours == theirs
    labels = np.where(y == y[0], "yes", "no")
    model = classifier(max_iter=1).fit(X, labels)
    assert model.score(X, labels) == accuracy_score(labels, model.predict(X))


def test_a_loss_that_has_risen_warns():
    """Such a fit ends as "converged": its loss no longer improves."""
    model = regressor(solver="sgd", learning_rate_init=100.0, momentum=0, max_iter=30, max_grad_norm=1.0)
    with pytest.warns(ConvergenceWarning, match="risen from .* lower learning_rate_init=100") as caught:
        model.fit(X, TARGETS)
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        regressor(n_iter_no_change=1, tol=1e9).fit(X, TARGETS)
