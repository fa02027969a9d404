"""`fit_many` on threads and on workers: the same fits as by `fit`; errors, warnings and interrupts."""

import concurrent.futures
import signal
import threading
import warnings

import joblib
import numpy as np
import pytest
import scipy.sparse
import sklearn
from estimator_checks import parameters
from example_counts import with_examples
from fit_checks import assert_same_fit, assert_same_fits
from hypothesis import given
from hypothesis import strategies as st
from joblib_backends import PicklingBackend
from problems import UNCONVERGED, WEIGHTS, X, classifier, regressor, y
from processes import wait_for
from sklearn import config_context, get_config
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import InvalidParameterError

import fastnn
from fastnn import fit_many
from fastnn.schedules import Schedule

pytestmark = UNCONVERGED

# Values of `random_state`: a RandomState that estimators share, and NumPy's global generator by its object.
SHARED, GLOBAL = "shared", "global"
configurations = st.fixed_dictionaries(
    {
        "hidden_layer_sizes": st.lists(st.integers(1, 7), max_size=2),
        "solver": st.sampled_from(["adam", "adam", "sgd", "lbfgs"]),
        "alpha": st.sampled_from([0, 1e-3, 1.0]),
        "batch_size": st.sampled_from(["auto", 1, 33]),
        "max_iter": st.integers(1, 4),
        "learning_rate": st.sampled_from(["constant", "invscaling", "cosine_decay"]),
        "learning_rate_init": st.sampled_from([1e-3, 0.02]),
        "early_stopping": st.booleans(),
        "n_iter_no_change": st.sampled_from([1, 10]),
        "tol": st.sampled_from([1e-4, 0.1]),
        "warm_start": st.booleans(),
        "shuffle": st.booleans(),
        "random_state": st.sampled_from([None, GLOBAL, SHARED, 0, 1, 2]),
    }
)
kinds = st.sampled_from([(regressor, {}), (classifier, {}), (classifier, {"class_weight": "balanced"})])


@given(
    many=st.lists(st.tuples(kinds, configurations), min_size=1, max_size=6),
    n_jobs=st.sampled_from([None, 1, 2, 3, 20, -1, -3]),
    seed=st.integers(0, 2**32 - 1),
    weighted=st.booleans(),
    n_fits=st.integers(1, 2),
    workers=st.sampled_from([None, "in turn", "all at once"]),
)
@with_examples(60)
def test_every_estimator_is_fitted_as_by_its_own_fit(many, n_jobs, seed, weighted, n_fits, workers):
    """On workers or not; for repeated fits, too, and shared generators end in the same state."""
    weights = WEIGHTS + 1 if weighted else None

    def prepare():
        np.random.seed(seed)
        states = {SHARED: np.random.RandomState(seed), GLOBAL: np.random.mtrand._rand}
        return states[SHARED], [
            make(**own | options | {"random_state": states.get(state := options["random_state"], state)})
            for (make, own), options in many
        ]

    shared, alone = prepare()
    for estimator in alone * n_fits:
        estimator.fit(X, y, sample_weight=weights)
    drawn = shared.random_sample(), np.random.random_sample()

    shared, together = prepare()
    backend = PicklingBackend() if workers else "threading"
    with joblib.parallel_config(backend), pytest.MonkeyPatch.context() as patch:
        patch.setattr(PicklingBackend, "supports_return_generator", workers == "in turn")
        for _ in range(n_fits):
            fitted = fit_many(together, X, y, sample_weight=weights, n_jobs=n_jobs)
            assert all(one is other for one, other in zip(fitted, together, strict=True))
    assert (shared.random_sample(), np.random.random_sample()) == drawn
    assert_same_fits(together, alone)


@pytest.mark.parametrize("n_jobs", [1, 2, 8])
def test_the_others_are_fitted_although_one_fit_fails(n_jobs):
    diverging = regressor(solver="sgd", learning_rate_init=1e300)
    many = [classifier(), classifier(alpha=-1), classifier(max_iter=2), diverging, regressor()]
    with pytest.raises(InvalidParameterError, match="'alpha'") as raised:
        fit_many(many, X, y, n_jobs=n_jobs)
    assert raised.value.__notes__ == ["This was the fit of estimator 1 of 5, counted from 0."]
    for k, expected in ((0, classifier()), (2, classifier(max_iter=2)), (4, regressor())):
        assert_same_fit(many[k], expected.fit(X, y))
    assert np.isfinite(parameters(diverging)).all()  # the last finite parameters are kept
    with pytest.raises(fastnn.DivergenceError) as raised:
        fit_many([regressor(), diverging], X, y, n_jobs=n_jobs)
    assert raised.value.__notes__ == ["This was the fit of estimator 1 of 2, counted from 0."]
    with pytest.raises(InvalidParameterError) as raised:
        fit_many([classifier(alpha=-1)], X, y, n_jobs=n_jobs)
    assert not hasattr(raised.value, "__notes__")  # a single estimator needs no note of its place


@pytest.mark.parametrize("n_jobs", [1, 3])
@pytest.mark.parametrize("backend", [PicklingBackend(), "threading"], ids=["workers", "threads"])
def test_warnings_of_every_fit_come_from_the_line_of_the_call(backend, n_jobs):
    many = [classifier(), classifier(tol=10.0, n_iter_no_change=1), classifier(batch_size=151)]
    with joblib.parallel_config(backend), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit_many(many, X, y, n_jobs=n_jobs)
    assert {one.filename for one in caught} == {__file__}
    messages = sorted(str(one.message)[:29] for one in caught)
    assert messages == ["Got `batch_size` less than 1 ", *["Stochastic Optimizer: Maximum"] * 2]
    with joblib.parallel_config(backend), warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning, match="Maximum iterations"):
            fit_many(many, X, y, n_jobs=n_jobs)


class CallingSchedule(Schedule):
    """A constant rate that calls `called` whenever a training computes rates, about every 50 ms."""

    def __init__(self, called):
        self.called = called

    def factors(self, steps, total):
        self.called()
        return np.ones(steps.shape)

    def __deepcopy__(self, memo):
        return self


def endless(called=lambda: None, **parameters):
    """Return a classifier whose fit only an interrupt ends; it has one unit, so that its epochs are short."""
    settings = {"hidden_layer_sizes": (1,), "max_iter": 2**40, "n_iter_no_change": np.inf}
    return classifier(learning_rate=CallingSchedule(called), **settings, **parameters)


class Interrupt:
    """Ctrl-C as soon as `count` trainings run; each training calls `running` again and again.

    Python loses an interrupt that it raises while it finalises an object: interrupt again every 100 calls, as
    a user would press the keys again.
    """

    def __init__(self, count):
        self.lock, self.threads, self.count = threading.Lock(), set(), count
        self.calls = 0

    def running(self):
        with self.lock:
            self.threads.add(threading.get_ident())
            if len(self.threads) == self.count:
                self.calls += 1
                if self.calls % 100 == 1:
                    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


@pytest.fixture
def in_main_thread():
    """Skip tests outside the main thread, which alone receives interrupts."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("the tests do not run in the main thread")


@pytest.mark.usefixtures("in_main_thread")
@pytest.mark.parametrize("n_jobs", [1, 3])
def test_an_interrupt_ends_all_fits(n_jobs):
    """It takes precedence over an error of a fit."""
    before, interrupt = threading.enumerate(), Interrupt(n_jobs)
    kinds = {}, {"early_stopping": True}, {"solver": "sgd"}, {"ema_decay": 0.9}
    many = [endless(interrupt.running, random_state=k, **kind) for k, kind in enumerate(kinds)]
    with pytest.raises(KeyboardInterrupt):
        fit_many([classifier(alpha=-1), *many], X, y, n_jobs=n_jobs)
    assert interrupt.calls > 0
    assert set(threading.enumerate()) <= set(before)
    have_begun = [hasattr(one, "coefs_") for one in many]
    assert have_begun == [True] * n_jobs + [False] * (4 - n_jobs)
    for one in many[:n_jobs]:
        assert np.isfinite(one.predict_proba(X)).all()
    # A warm start continues the interrupted fit.
    n_samples = many[0].t_
    many[0].set_params(learning_rate="constant", warm_start=True, max_iter=2).fit(X, y)
    assert many[0].t_ == n_samples + 2 * 150


def test_threads_have_the_settings_of_the_thread_that_fits():
    def record():
        found.append((get_config()["transform_output"], np.geterr()["divide"]))

    found = []
    with config_context(transform_output="pandas"), np.errstate(divide="raise"):
        fit_many([classifier(learning_rate=CallingSchedule(record)) for _ in range(5)], X, y, n_jobs=2)
    assert len(found) >= 5
    assert set(found) == {("pandas", "raise")}


def test_rng_gives_a_seed_to_every_estimator_without_one():
    def fit(rng):
        states = (None, 3, None, np.random.RandomState(0))
        many = fit_many([classifier(random_state=state) for state in states], X, y, rng=rng)
        assert many[1].random_state == 3
        assert isinstance(many[3].random_state, np.random.RandomState)
        for one in many[:3]:
            assert_same_fit(one, sklearn.clone(one).fit(X, y))
        return [one.random_state for one in many[:3]]

    assert fit(0) == fit(0) != fit(1)
    rng = np.random.default_rng(0)
    first, second = fit(rng), fit(rng)
    assert first == fit(np.random.default_rng(0))
    assert len({*first, *second}) == 5


@pytest.fixture
def workers():
    """Choose a backend, whose workers get and return pickles."""
    backend = PicklingBackend()
    with joblib.parallel_config(backend):
        yield backend


KINDS = [{"hidden_layer_sizes": (5,)}, {"solver": "lbfgs"}, {"early_stopping": True}]
KINDS += [{"ema_decay": 0.5, "batch_size": 20}, {"solver": "sgd", "class_weight": "balanced"}]


def many(n):
    """Return estimators of several kinds, which differ in their seeds."""
    return [classifier(**{"random_state": k} | KINDS[k % len(KINDS)]) for k in range(n)]


def test_weights_and_validation_data_and_sparse_samples_go_to_workers(workers):
    data = {"sample_weight": np.arange(len(X)) % 3 + 1.0, "X_val": X[::3], "y_val": y[::3]}
    for samples in (X, scipy.sparse.csr_matrix(X), X.tolist()):
        alone = [one.fit(samples, y, **data) for one in many(5)]
        assert_same_fits(fastnn.fit_many(many(5), samples, y, **data), alone)


@pytest.mark.parametrize(
    ("kind", "scoring"), [(fastnn.TabularClassifier, "accuracy"), (fastnn.TabularRegressor, None)]
)
def test_tabular_estimators_on_workers_are_the_same(workers, kind, scoring, capsys):
    estimator, options = kind(3, "fast", random_state=0, scoring=scoring), {"passes": 10, "progress": True}
    found = parameters(estimator.fit(X, y, **options))
    assert workers.n_batches > 1
    assert "100%" in capsys.readouterr().err  # the bar counts the epochs of workers
    with joblib.parallel_config("threading"):
        np.testing.assert_array_equal(found, parameters(estimator.fit(X, y, **options)))


class Widths(fastnn.MLPClassifier):
    """An estimator that cannot be created without an argument."""

    def __init__(self, width, random_state=None):
        super().__init__((width,), max_iter=5, random_state=random_state)
        self.width = width


def test_estimators_of_the_users_own_classes_go_to_workers(workers):
    found = fastnn.fit_many([Widths(k, random_state=k) for k in range(1, 4)], X, y)
    assert workers.n_batches > 1
    assert [(one.width, one.hidden_layer_sizes) for one in found] == [(k, (k,)) for k in range(1, 4)]
    assert_same_fits(found, [Widths(k, random_state=k).fit(X, y) for k in range(1, 4)])


class UnreadableError(Exception):
    """An error that pickles can write, but not read."""

    def __reduce__(self):
        return int, ("not a number",)


def fail():
    raise UnreadableError("one")


def test_an_error_that_pickles_cannot_read_comes_as_text(workers):
    with pytest.raises(RuntimeError, match="UnreadableError: one"):
        fastnn.fit_many([endless(fail), classifier()], X, y)


def find_unfitted(estimators):
    return [one for one in estimators if not hasattr(one, "coefs_")]


# Filters belong to the process: fits on threads of the backend may undo the library's filter.
@pytest.mark.filterwarnings("ignore:.*tasks which were still being processed")
@pytest.mark.parametrize("error", [concurrent.futures.BrokenExecutor, KeyboardInterrupt])
def test_what_has_arrived_before_a_worker_is_lost_or_ctrl_c_is_kept(error):
    def lose(number):
        if number == 3:
            wait_for(lambda: len(find_unfitted(estimators)) < 40)
            if error is KeyboardInterrupt:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            else:
                raise error("a worker has ended")

    if threading.current_thread() is not threading.main_thread():
        pytest.skip("the main thread alone receives interrupts")
    estimators = many(40)
    with joblib.parallel_config(PicklingBackend(lose)), pytest.raises(error) as raised:
        fastnn.fit_many(estimators, X, y)
    left = find_unfitted(estimators)
    assert len(left) < 40
    note = f"{40 - len(left)} of 40 fits had ended: these networks are fitted, pass the others to fit_many"
    assert raised.value.__notes__ == [f"{note} again."]
    fastnn.fit_many(left, X, y)
    assert_same_fits(estimators, [one.fit(X, y) for one in many(40)])
