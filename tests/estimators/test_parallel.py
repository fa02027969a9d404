"""Fits on the workers of a joblib backend are those of this process, bit for bit, whatever happens there."""

import concurrent.futures
import signal
import threading
import time
import warnings

import joblib
import numpy as np
import pytest
import scipy.sparse
from estimator_checks import parameters
from estimator_problems import METHODS, UNCONVERGED, X, assert_same_fits, classifier, ensembles, y
from joblib_backends import PicklingBackend
from processes import PATIENCE
from sklearn.exceptions import ConvergenceWarning

import fastnn
from fastnn.schedules import Schedule

pytestmark = UNCONVERGED


@pytest.fixture
def workers():
    """Choose a backend, whose workers get and return pickles."""
    backend = PicklingBackend()
    with joblib.parallel_config(backend):
        yield backend


KINDS = (
    {"hidden_layer_sizes": (5,)},
    {"solver": "lbfgs"},
    {"early_stopping": True},
    {"ema_decay": 0.5, "batch_size": 20},
    {"solver": "sgd", "class_weight": "balanced"},
)


def many(n=7, **options):
    """Return estimators of several kinds, which differ in their seeds."""
    return [classifier(**{"random_state": k} | KINDS[k % len(KINDS)] | options) for k in range(n)]


@pytest.mark.parametrize("streams", [True, False], ids=["streaming", "all at once"])
@pytest.mark.parametrize("options", [{}, {"warm_start": True}], ids=["anew", "warm"])
def test_fits_on_workers_are_the_same(workers, options, streams, monkeypatch):
    """Backends that return all results at once are called twice: the first call measures the fits."""
    monkeypatch.setattr(PicklingBackend, "supports_return_generator", streams)
    with joblib.parallel_config("threading"):
        expected = fastnn.fit_many(many(40, **options), X, y)
    found = fastnn.fit_many(many(40, **options), X, y)
    assert 3 <= workers.n_batches < 40
    assert_same_fits(found, expected)
    fastnn.fit_many(found, X, y)
    for one in expected:
        one.fit(X, y)
    assert_same_fits(found, expected)
    for one in (*found, *expected):
        if one.solver != "lbfgs":
            one.set_params(early_stopping=False, class_weight=None).partial_fit(X, y)
    assert_same_fits(found, expected)
    for one, other in zip(found, many(40, **options), strict=True):
        assert one.random_state == other.random_state


def test_weights_and_validation_data_and_sparse_samples_go_to_workers(workers):
    data = {"sample_weight": np.arange(len(X)) % 3 + 1.0, "X_val": X[::3], "y_val": y[::3]}
    for samples in (X, scipy.sparse.csr_matrix(X), X.tolist()):
        alone = [one.fit(samples, y, **data) for one in many(3)]
        assert_same_fits(fastnn.fit_many(many(3), samples, y, **data), alone)


def test_fits_that_share_a_generator_stay_in_this_process(workers):
    def prepare():
        shared = np.random.RandomState(3)
        return shared, [classifier(random_state=seed) for seed in (0, shared, 1, shared)]

    generator, alone = prepare()
    shared, together = prepare()
    assert_same_fits(fastnn.fit_many(together, X, y), [one.fit(X, y) for one in alone])
    assert shared.random_sample() == generator.random_sample()
    assert together[1].random_state is shared


@pytest.mark.parametrize("method", METHODS)
@ensembles
def test_ensembles_on_workers_are_the_same(workers, member, kind, targets, method):
    ensemble = kind(member(batch_size=30), 3, method=method, random_state=0)
    found = parameters(ensemble.fit(X, targets))
    with joblib.parallel_config("threading"):
        np.testing.assert_array_equal(found, parameters(ensemble.fit(X, targets)))


@pytest.mark.parametrize(
    ("kind", "scoring"), [(fastnn.TabularClassifier, "accuracy"), (fastnn.TabularRegressor, None)]
)
def test_tabular_estimators_on_workers_are_the_same(workers, kind, scoring, capsys):
    estimator = kind(3, "fast", random_state=0, scoring=scoring)
    found = parameters(estimator.fit(X, y, progress=True))
    assert workers.n_batches > 1
    assert "100%" in capsys.readouterr().err  # the bar counts the epochs of workers
    with joblib.parallel_config("threading"):
        np.testing.assert_array_equal(found, parameters(estimator.fit(X, y)))


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


def test_nothing_is_sent_for_a_wrong_number_of_jobs_or_to_one_slot(workers, monkeypatch):
    with pytest.raises(ValueError, match="n_jobs must be None or an integer other than 0"):
        fastnn.fit_many(many(), X, y, n_jobs=0)
    monkeypatch.setattr(PicklingBackend, "effective_n_jobs", lambda backend, n_jobs: 1)
    assert_same_fits(fastnn.fit_many(many(), X, y), [one.fit(X, y) for one in many()])
    assert workers.n_batches == 0


# --- errors and warnings -----------------------------------------------------------------------------


def test_errors_name_the_estimator_and_the_other_fits_end(workers):
    estimators = many()
    estimators[2].set_params(learning_rate_init=1e300, early_stopping=False)
    estimators[4].set_params(hidden_layer_sizes=(-3,))
    with pytest.raises(fastnn.DivergenceError, match="learning_rate_init=1e\\+300") as raised:
        fastnn.fit_many(estimators, X, y)
    assert raised.value.__notes__ == ["This was the fit of estimator 2 of 7, counted from 0."]
    assert [hasattr(one, "coefs_") for one in estimators] == [True] * 4 + [False] + [True] * 2
    assert np.isfinite(parameters(estimators[2])).all()


def test_a_refused_fit_keeps_the_earlier_one(workers):
    estimators = fastnn.fit_many(many(), X, y)
    with pytest.raises(ValueError, match="NaN"):
        fastnn.fit_many(estimators, np.full_like(X, np.nan), y)
    assert_same_fits(estimators, [one.fit(X, y) for one in many()])


class UnreadableError(Exception):
    """An error that pickles can write, but not read."""

    def __reduce__(self):
        return int, ("not a number",)


class Failing(Schedule):
    """A schedule that raises an `UnreadableError`."""

    def factors(self, steps, total):
        raise UnreadableError("one")


def test_an_error_that_pickles_cannot_read_comes_as_text(workers):
    with pytest.raises(RuntimeError, match="UnreadableError: one"):
        fastnn.fit_many([classifier(learning_rate=Failing()), classifier()], X, y)


def test_warnings_come_from_the_line_of_the_call(workers):
    estimators = [classifier(random_state=k) for k in range(4)]
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        fastnn.fit_many(estimators, X, y)
    assert [(one.category, one.filename) for one in found] == [(ConvergenceWarning, __file__)] * 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning, match="Maximum iterations"):
            fastnn.fit_many(estimators, X, y)


def find_unfitted(estimators):
    return [one for one in estimators if not hasattr(one, "coefs_")]


@pytest.mark.parametrize("error", [concurrent.futures.BrokenExecutor, KeyboardInterrupt])
def test_what_has_arrived_before_a_worker_is_lost_or_ctrl_c_is_kept(error):
    def lose(number):
        if number == 3:
            end = time.monotonic() + PATIENCE
            while len(find_unfitted(estimators)) == 40:
                assert time.monotonic() < end
                time.sleep(1e-3)
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


def test_a_task_that_the_engine_could_not_run_is_an_error():
    """joblib's backend for Dask does not report that: the fit must not wait for ever."""

    class Refusing(PicklingBackend):
        """An engine that cannot run tasks, and does not call back."""

        def submit(self, function, callback=None):
            task = concurrent.futures.Future()
            threading.Timer(0.1, task.set_exception, [ModuleNotFoundError("No module named 'mine'")]).start()
            return task

    ensemble = fastnn.MLPEnsembleClassifier(classifier(), 3)
    with joblib.parallel_config(Refusing()), pytest.raises(ModuleNotFoundError, match="mine") as raised:
        ensemble.fit(X, y)
    assert raised.value.__notes__ == ["0 of 3 fits had ended: fit again."]
