"""`fit_many`: every estimator is fitted as by its own `fit`, and interrupts end all fits."""

import signal
import threading
import warnings

import numpy as np
import pytest
import scipy.sparse
import sklearn
import sklearn.neural_network
from ensemble_problems import METHODS, WEIGHTS, classifier, regressor
from estimator_checks import parameters
from estimator_problems import NAMES, UNCONVERGED, X, assert_same_fit, y
from example_counts import with_examples
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import InvalidParameterError

import fastnn
from fastnn import (
    CosineDecay,
    MLPClassifier,
    MLPEnsembleClassifier,
    fit_many,
)
from fastnn.engine import limits
from fastnn.schedules import Schedule

pytestmark = UNCONVERGED


SHARED = "shared"  # stands for one RandomState that several estimators share


@st.composite
def configurations(draw):
    """Draw parameters of a classifier."""
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
@with_examples(40)
def test_every_estimator_is_fitted_as_by_its_own_fit(many, n_jobs, seed, weighted, n_fits):
    """This holds for repeated fits, too, and shared generators end in the same state."""
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


def test_fits_do_not_depend_on_where_kernel_calls_end():
    """A warm start after a converged fit completes its first epoch, even in several kernel calls."""

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
        # With these limits, a call makes one or two steps, as the first calls of a process do.
        patch.setattr(limits, "FIRST_CALL_OPERATIONS", 1)
        patch.setattr(limits, "CALL_SECONDS", 0)
        for one, other in zip(fitted(), expected, strict=True):
            assert_same_fit(one, other)


def test_classifiers_and_regressors_are_fitted_together():
    """Estimators that draw from the global generator, by default or by name, draw in their order."""
    global_generator = np.random.mtrand._rand

    def prepared():
        np.random.seed(5)
        return [
            classifier(random_state=None), regressor(random_state=global_generator),
            classifier(random_state=global_generator),
            regressor(random_state=None), classifier(random_state=np.int64(3)), regressor(random_state=3),
        ]  # fmt: skip

    alone = prepared()
    for estimator in alone:
        estimator.fit(X, y)
    for n_jobs in (1, 4):
        for one, other in zip(fit_many(prepared(), X, y, n_jobs=n_jobs), alone, strict=True):
            assert_same_fit(one, other)


@pytest.mark.needs("pandas")
def test_samples_may_be_arrays_or_sparse_or_frames_or_lists():
    import pandas as pd

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


def test_only_different_estimators_of_fastnn_are_fitted():
    model = classifier()
    assert fit_many([], X, y) == []
    assert fit_many((model for _ in range(1)), X, y) == [model]
    with pytest.raises(ValueError, match="estimators holds the same object more than once: clone it"):
        fit_many([model, classifier(), model], X, y)
    theirs = sklearn.neural_network.MLPClassifier()
    for foreign, shown in (
        (theirs, r"MLPClassifier\(\) of sklearn.neural_network"),
        (MLPEnsembleClassifier(classifier()), "MLPEnsembleClassifier"),
        (MLPClassifier, "<class 'fastnn.estimators.classifier.MLPClassifier'>"),
        (None, "None"),
    ):
        fresh = classifier()
        with pytest.raises(ValueError, match=rf"estimators\[1\] must be .*, got {shown}"):
            fit_many([fresh, foreign], X, y)
        assert not hasattr(fresh, "coefs_")
    for n_jobs in (0, 1.5, "two", True):
        with pytest.raises(ValueError, match="n_jobs must be None or an integer other than 0"):
            fit_many([classifier(), classifier()], X, y, n_jobs=n_jobs)


@pytest.mark.parametrize("n_jobs", [1, 2, 8])
def test_the_others_are_fitted_although_one_fit_fails(n_jobs):
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
    assert np.isfinite(parameters(many[3])).all()  # the last finite parameters are kept
    del many[1]
    with pytest.raises(fastnn.DivergenceError) as raised:
        fit_many(many, X, y, n_jobs=n_jobs)
    assert raised.value.__notes__ == ["This was the fit of estimator 2 of 5, counted from 0."]
    with pytest.raises(InvalidParameterError) as raised:
        fit_many([classifier(alpha=-1)], X, y, n_jobs=n_jobs)
    assert not hasattr(raised.value, "__notes__")  # a single estimator needs no note of its place


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0), 0], ids=["None", "shared", "int"])
def test_fits_that_share_a_generator_with_a_failed_fit_are_completed(random_state):
    many = [classifier(random_state=random_state), classifier(alpha=-1, random_state=random_state),
            classifier(random_state=random_state)]  # fmt: skip
    with pytest.raises(InvalidParameterError):
        fit_many(many, X, y, n_jobs=2)
    assert [hasattr(one, "coefs_") for one in many] == [True, False, True]


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_warnings_of_every_fit_reach_the_caller(n_jobs):
    many = [classifier(), classifier(tol=10.0, n_iter_no_change=1), classifier(batch_size=151)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit_many(many, X, y, n_jobs=n_jobs)
    messages = sorted(str(warning.message)[:29] for warning in caught)
    assert messages == ["Got `batch_size` less than 1 ", *["Stochastic Optimizer: Maximum"] * 2]


class Callback:
    """A callback with scikit-learn's interface that records the names of its calls."""

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
    # Members are clones, and a clone keeps the callbacks of its original.
    one = Callback()
    ensemble = MLPEnsembleClassifier(classifier().set_callbacks(one), 2, n_jobs=1).fit(X, y)
    assert one.events == alone.events * 2
    for estimator in many + ensemble.estimators_:
        assert not hasattr(estimator, "_callback_fit_ctx")


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
    return classifier(
        hidden_layer_sizes=(1,), learning_rate=CallingSchedule(called), max_iter=2**40,
        n_iter_no_change=np.inf, **parameters,
    )  # fmt: skip


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
@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_an_interrupt_ends_all_fits(n_jobs):
    before = threading.enumerate()
    interrupt = Interrupt(n_jobs)
    many = [endless(interrupt.running, random_state=k) for k in range(6)]
    with pytest.raises(KeyboardInterrupt):
        fit_many(many, X, y, n_jobs=n_jobs)
    assert interrupt.calls > 0
    assert set(threading.enumerate()) <= set(before)
    have_begun = [hasattr(one, "coefs_") for one in many]
    assert have_begun == [True] * n_jobs + [False] * (6 - n_jobs)
    for one in many[:n_jobs]:
        assert one.predict(X).shape == (150,)
        # A warm start continues the interrupted fit.
        n_samples = one.t_
        one.set_params(learning_rate="constant", warm_start=True, max_iter=2).fit(X, y)
        assert one.t_ == n_samples + 2 * 150


@pytest.mark.usefixtures("in_main_thread")
def test_an_interrupt_takes_precedence_over_an_error():
    for n_jobs in (1, 2):
        interrupt = Interrupt(1)
        many = [classifier(alpha=-1), endless(interrupt.running), classifier()]
        with pytest.raises(KeyboardInterrupt):
            fit_many(many, X, y, n_jobs=n_jobs)
        assert hasattr(many[1], "coefs_")


@pytest.mark.usefixtures("in_main_thread")
@pytest.mark.parametrize(
    "options", [{"early_stopping": True}, {"solver": "sgd"}, {"ema_decay": 0.9}], ids=str
)
def test_an_interrupted_fit_of_any_kind_predicts(options):
    interrupt = Interrupt(2)
    many = [endless(interrupt.running, **options), endless(interrupt.running, random_state=1)]
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
    ensemble.set_params(estimator=endless(interrupt.running, early_stopping=True))
    if method == "snapshots":  # CosineDecay replaces the member's schedule: let it call `running`
        ensemble.estimator.set_params(scoring=lambda *_: interrupt.running())
        with pytest.MonkeyPatch.context() as patch:
            factors = CosineDecay.factors
            patch.setattr(
                CosineDecay, "factors", lambda self, *steps: (interrupt.running(), factors(self, *steps))[1]
            )
            with pytest.raises(KeyboardInterrupt):
                ensemble.fit(X, NAMES[y])
    else:
        with pytest.raises(KeyboardInterrupt):
            ensemble.fit(X, NAMES[y])
    with pytest.raises(NotFittedError):
        ensemble.predict(X)


def test_validation_data_reach_every_fit():
    settings = {"early_stopping": True, "max_iter": 8, "n_iter_no_change": 2}
    many = fit_many(
        [classifier(random_state=k, **settings) for k in range(2)],
        X[::2],
        y[::2],
        X_val=X[1::2],
        y_val=y[1::2],
    )
    for k, fitted in enumerate(many):
        alone = classifier(random_state=k, **settings).fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
        assert_same_fit(fitted, alone)


def test_rng_gives_a_seed_to_every_estimator_without_one():
    def fitted(rng):
        states = (None, 3, None, np.random.RandomState(0))
        many = fit_many([classifier(random_state=state) for state in states], X, y, rng=rng)
        assert many[1].random_state == 3
        assert isinstance(many[3].random_state, np.random.RandomState)
        for one in many[:3]:
            assert_same_fit(one, sklearn.clone(one).fit(X, y))
        return [one.random_state for one in many[:3]]

    assert fitted(0) == fitted(0) != fitted(1)
    rng = np.random.default_rng(0)
    first, second = fitted(rng), fitted(rng)
    assert first == fitted(np.random.default_rng(0))
    assert len({*first, *second}) == 5

    untouched = classifier(random_state=None)
    with pytest.raises(ValueError, match="rng must be None, an integer of at least 0 or a numpy.random.Gen"):
        fit_many([untouched], X, y, rng=-1)
    assert untouched.random_state is None
