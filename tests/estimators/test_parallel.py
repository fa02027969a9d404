"""Fits on the workers of a joblib backend are those of this process, bit for bit, whatever happens there."""

import concurrent.futures.process
import sys
import threading
import time
import warnings

import joblib
import numpy as np
import pytest
import scipy.sparse
from ensemble_problems import METHODS, problems
from estimator_checks import parameters
from estimator_problems import UNCONVERGED, X, assert_same_fit, classifier, y
from hypothesis import given
from hypothesis import strategies as st
from joblib_backends import LosingBackend, PicklingBackend
from processes import PATIENCE, run_python
from sklearn import config_context, get_config
from sklearn.exceptions import ConvergenceWarning

import fastnn
from fastnn.estimators import parallel

pytestmark = UNCONVERGED


@pytest.fixture
def workers():
    """Choose a backend, whose workers get and return pickles."""
    backend = PicklingBackend()
    with joblib.parallel_config(backend):
        yield backend


def many(n=7, **options):
    """Return estimators of several kinds, which differ in their seeds."""
    kinds = (
        {"hidden_layer_sizes": (5,)}, {"solver": "lbfgs"}, {"early_stopping": True},
        {"ema_decay": 0.5, "batch_size": 20}, {"solver": "sgd", "class_weight": "balanced"},
    )  # fmt: skip
    return [classifier(**{"random_state": k} | kinds[k % len(kinds)] | options) for k in range(n)]


def assert_same_fits(some, others):
    for one, other in zip(some, others, strict=True):
        assert one.get_params() == other.get_params()
        assert_same_fit(one, other)


@pytest.mark.parametrize("options", [{}, {"warm_start": True}], ids=["anew", "warm"])
def test_fits_on_workers_are_the_same(workers, options):
    with joblib.parallel_config("threading"):
        expected = fastnn.fit_many(many(**options), X, y)
    found = fastnn.fit_many(many(**options), X, y)
    assert workers.n_batches > 1
    assert_same_fits(found, expected)
    fastnn.fit_many(found, X, y)
    for one in expected:
        one.fit(X, y)
    assert_same_fits(found, expected)
    for one in (*found, *expected):
        if one.solver != "lbfgs":
            one.set_params(early_stopping=False, class_weight=None).partial_fit(X, y)
    assert_same_fits(found, expected)


def test_weights_and_validation_data_and_sparse_samples_go_to_workers(workers):
    weights = np.arange(len(X)) % 3 + 1.0
    for samples in (X, scipy.sparse.csr_matrix(X), X.tolist()):
        data = {"sample_weight": weights, "X_val": X[::3], "y_val": y[::3]}
        found = fastnn.fit_many([classifier(random_state=k) for k in range(3)], samples, y, **data)
        for k, one in enumerate(found):
            assert_same_fit(one, classifier(random_state=k).fit(samples, y, **data))


def test_fits_that_share_a_generator_stay_in_this_process(workers):
    def prepared():
        shared = np.random.RandomState(3)
        return shared, [classifier(random_state=seed) for seed in (0, shared, 1, shared)]

    generator, alone = prepared()
    for one in alone:
        one.fit(X, y)
    shared, together = prepared()
    fastnn.fit_many(together, X, y)
    for one, other in zip(together, alone, strict=True):
        assert_same_fit(one, other)
    assert shared.random_sample() == generator.random_sample()
    assert together[1].random_state is shared


@pytest.mark.parametrize("method", METHODS)
@problems
def test_ensembles_on_workers_are_the_same(workers, member, kind, targets, method):
    ensemble = kind(member(batch_size=30), 3, method=method, random_state=0)
    found = parameters(ensemble.fit(X, targets))
    with joblib.parallel_config("threading"):
        np.testing.assert_array_equal(found, parameters(ensemble.fit(X, targets)))


@pytest.mark.parametrize(
    ("kind", "scoring"),
    [(fastnn.TabularClassifier, "accuracy"), (fastnn.TabularRegressor, None)],
)
def test_tabular_estimators_on_workers_are_the_same(workers, kind, scoring):
    estimator = kind(random_state=0, scoring=scoring)
    found = parameters(estimator.fit(X, y))
    assert workers.n_batches > 1
    with joblib.parallel_config("threading"):
        np.testing.assert_array_equal(found, parameters(estimator.fit(X, y)))


def test_the_bar_of_a_tabular_fit_counts_the_epochs_of_workers(workers, capsys):
    fastnn.TabularClassifier(random_state=0).fit(X, y, progress=True)
    assert workers.n_batches > 1
    assert "100%" in capsys.readouterr().err


def test_errors_name_the_estimator_and_the_other_fits_end(workers):
    estimators = many()
    estimators[2].set_params(learning_rate_init=1e300, early_stopping=False)
    estimators[4].set_params(hidden_layer_sizes=(-3,))
    with pytest.raises(fastnn.DivergenceError, match="learning_rate_init=1e\\+300") as raised:
        fastnn.fit_many(estimators, X, y)
    assert raised.value.__notes__ == ["This was the fit of estimator 2 of 7, counted from 0."]
    assert [hasattr(one, "coefs_") for one in estimators] == [True] * 4 + [False] + [True] * 2
    assert np.isfinite(parameters(estimators[2])).all()


class Widths(fastnn.MLPClassifier):
    """An estimator that cannot be created without an argument."""

    def __init__(self, width, random_state=None):
        super().__init__((width,), max_iter=5, random_state=random_state)
        self.width = width


def test_estimators_of_the_users_own_classes_go_to_workers(workers):
    found = fastnn.fit_many([Widths(k, random_state=k) for k in range(1, 4)], X, y)
    assert workers.n_batches > 1
    for k, one in enumerate(found, 1):
        assert (one.width, one.hidden_layer_sizes) == (k, (k,))
        assert_same_fit(one, Widths(k, random_state=k).fit(X, y))


def test_a_refused_fit_keeps_the_earlier_one(workers):
    estimators = fastnn.fit_many(many(), X, y)
    before = [parameters(one) for one in estimators]
    with pytest.raises(ValueError, match="NaN"):
        fastnn.fit_many(estimators, np.full_like(X, np.nan), y)
    for one, expected in zip(estimators, before, strict=True):
        np.testing.assert_array_equal(parameters(one), expected)


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


# --- workers that fail -------------------------------------------------------------------------------


def test_what_a_lost_worker_computed_is_sent_again(monkeypatch):
    expected = [one.fit(X, y) for one in many(9)]
    for lost in ((1,), (3, 4), (1, 7)):
        monkeypatch.setattr(LosingBackend, "lost", lost)
        with joblib.parallel_config(LosingBackend()):
            assert_same_fits(fastnn.fit_many(many(9), X, y), expected)


def test_workers_that_are_lost_again_and_again_are_an_error(monkeypatch):
    monkeypatch.setattr(LosingBackend, "lost", range(1, 100))
    with (
        joblib.parallel_config(LosingBackend()),
        pytest.raises(Exception, match="worker has ended") as raised,
    ):
        fastnn.fit_many(many(), X, y)
    assert raised.value.__notes__ == ["fastnn has sent the fits to LosingBackend 3 times without a result."]


def test_workers_may_be_lost_often_if_fits_end_in_between(monkeypatch):
    estimators, ended = many(20), [0]

    class Dying(PicklingBackend):
        """Workers that end when a fit has come back, which the second call waits for."""

        def start_call(self):
            super().start_call()
            self.n_called = 0

        def _called(self, number, content):
            self.n_called += 1
            for _ in range(1000 if self.n_called > 1 else 1):
                n_fitted = sum(hasattr(one, "coefs_") for one in estimators)
                if n_fitted > ended[-1] or self.n_called > 2:
                    ended.append(n_fitted)
                    raise concurrent.futures.process.BrokenProcessPool("a worker has ended")
                time.sleep(1e-3)
            return super()._called(number, content)

    for name in ("MIN_CHUNK_SECONDS", "MAX_CHUNK_SECONDS"):  # a chunk is one fit
        monkeypatch.setattr(parallel, name, 1e-9)
    with joblib.parallel_config(Dying()):
        assert_same_fits(fastnn.fit_many(estimators, X, y), [one.fit(X, y) for one in many(20)])
    assert len(set(ended)) > parallel.MAX_TRIES + 1


def test_backends_that_return_all_results_at_once_measure_first(monkeypatch):
    """The first call has a fit for each slot, the second chunks of the others."""
    monkeypatch.setattr(PicklingBackend, "supports_return_generator", False)
    backend = PicklingBackend()
    with joblib.parallel_config(backend):
        assert_same_fits(fastnn.fit_many(many(40), X, y), [one.fit(X, y) for one in many(40)])
    assert 3 <= backend.n_batches < 40


def test_a_task_that_the_engine_could_not_run_is_an_error(monkeypatch):
    """joblib's backend for Dask does not report that: the fit must not wait for ever."""

    class Refusing(PicklingBackend):
        """An engine that cannot run tasks, and does not call back."""

        def submit(self, function, callback=None):
            task = concurrent.futures.Future()
            task.set_exception(ModuleNotFoundError("No module named 'mine'"))
            return task

    monkeypatch.setattr(parallel, "WATCH_SECONDS", 0.01)
    with joblib.parallel_config(Refusing()), pytest.raises(ModuleNotFoundError, match="mine") as raised:
        fastnn.fit_many(many(), X, y)
    assert raised.value.__notes__ == ["fastnn has sent the fits to Refusing 3 times without a result."]


class UnreadableError(Exception):
    """An error that pickles can write, but not read."""

    def __reduce__(self):
        return int, ("not a number",)


def raising(estimator, *, stopped):
    """Stand for a fit whose callback fails."""
    raise UnreadableError("one")


def test_an_error_that_pickles_cannot_read_comes_as_text(workers):
    with pytest.raises(RuntimeError, match="UnreadableError: one"):
        parallel.fit_all(raising, many(), [()] * 7, (), None)


def test_an_error_of_the_users_function_for_warnings_ends_the_fits(workers):
    def show(*arguments):
        raise RuntimeError("shown")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        with pytest.raises(RuntimeError, match="shown"):
            fastnn.fit_many(many(max_iter=2, solver="adam", early_stopping=False), X, y)


def test_threads_have_the_settings_of_the_thread_that_fits():
    def settings(stopped):
        found.append((get_config()["transform_output"], np.geterr()["divide"]))

    found = []
    with config_context(transform_output="pandas"), np.errstate(divide="raise"):
        parallel.run_side_by_side([settings] * 5, n_jobs=2)
    assert found == [("pandas", "raise")] * 5


def test_an_exit_ends_the_other_fits():
    def leave(stopped):
        sys.exit(3)

    def wait(stopped):
        end = time.monotonic() + PATIENCE
        while not stopped():
            assert time.monotonic() < end
            time.sleep(0.01)

    with pytest.raises(SystemExit):
        parallel.run_side_by_side([wait, leave, wait], n_jobs=2)


def test_no_workers_are_an_error(monkeypatch):
    """An engine without workers waits for some: joblib's time-out ends that."""
    gone = threading.Event()

    class Leaving(PicklingBackend):
        """Two workers that leave after the first batches."""

        def effective_n_jobs(self, n_jobs):
            if gone.is_set():
                raise TimeoutError("no worker after 10 seconds")
            return 2

        def _called(self, number, content):
            if number > 2:
                gone.set()
                forever.wait()
            return super()._called(number, content)

    forever = threading.Event()
    monkeypatch.setattr(parallel, "WATCH_SECONDS", 0.01)
    estimators = many()
    try:
        with (
            joblib.parallel_config(Leaving()),
            pytest.raises(TimeoutError, match="no worker is left: [12] of 7"),
        ):
            fastnn.fit_many(estimators, X, y)
    finally:
        forever.set()
    assert 1 <= sum(hasattr(one, "coefs_") for one in estimators) <= 2


class Scattering(PicklingBackend):
    """A backend that keeps data on its workers, as joblib's backend for Dask does."""

    wait_for_workers_timeout = 10

    def __init__(self):
        super().__init__()
        self.data_futures, self.calls = {}, []
        self.client = self

    def scatter(self, data, **options):
        self.calls.append(([id(each) for each in data], options["broadcast"]))
        return [object() for _ in data]

    def _called(self, number, content):
        assert len(self.data_futures) == 2
        return super()._called(number, content)


def test_dask_sends_the_data_to_all_workers_before_the_first_fits():
    """joblib alone sends them to one worker, which then gets all tasks."""
    backend = Scattering()
    with joblib.parallel_config(backend):
        fastnn.fit_many(many(), X, y)
        assert backend.calls == [([id(X), id(y)], True)]
        assert not backend.data_futures


def test_one_slot_is_this_process(workers, monkeypatch):
    monkeypatch.setattr(PicklingBackend, "effective_n_jobs", lambda backend, n_jobs: 1)
    assert_same_fits(fastnn.fit_many(many(), X, y), [one.fit(X, y) for one in many()])
    assert workers.n_batches == 0


@pytest.mark.parametrize("n_jobs", [0, 1.5, True, "2"])
def test_the_number_of_jobs_is_checked_before_anything_is_sent(workers, n_jobs):
    with pytest.raises(ValueError, match="n_jobs must be None or an integer other than 0"):
        fastnn.fit_many(many(), X, y, n_jobs=n_jobs)
    assert workers.n_batches == 0


# --- chunks ------------------------------------------------------------------------------------------


@given(
    n_fits=st.integers(1, 3000), n_slots=st.integers(2, 40),
    seconds=st.lists(st.floats(1e-6, 100), min_size=1, max_size=20), known=st.integers(0, 5),
)  # fmt: skip
def test_chunks_hold_every_fit_once_and_take_their_time(n_fits, n_slots, seconds, known):
    """While the time of a fit is unknown, a chunk is one fit; then it takes a second, or less at the end."""
    pace, places = parallel.Pace(), list(range(n_fits))
    for k, chunk in enumerate(pace.chunks(list(places), n_slots)):
        assert chunk == places[: len(chunk)]
        del places[: len(chunk)]
        if k < known:
            assert len(chunk) == 1
        if k >= known:
            pace.add(len(chunk), seconds[k % len(seconds)] * len(chunk))
        each = pace.seconds / max(pace.n_fits, 1)
        if pace.n_fits > len(chunk) and seconds == seconds[:1]:
            assert len(chunk) == 1 or (len(chunk) - 1) * each <= parallel.MAX_CHUNK_SECONDS * 1.001
    assert not places


# --- engines -----------------------------------------------------------------------------------------

COMMON = """
import contextlib
import multiprocessing.connection
import os
import signal
import threading
import time
import warnings

import joblib
import numpy as np
from sklearn.datasets import load_iris

import fastnn
import fastnn.schedules
from fastnn.system.threads import available_cores

warnings.simplefilter("ignore")
X, y = load_iris(return_X_y=True)

def many(n=60, epochs=100):
    return [fastnn.MLPClassifier((16, 16), max_iter=epochs, tol=0, random_state=k) for k in range(n)]

def weights(fitted):
    return np.concatenate([W.ravel() for one in fitted for W in one.coefs_])

def cores():
    found = [available_cores()]  # of a task, then of a thread of the same process
    thread = threading.Thread(target=lambda: found.append(available_cores()))
    thread.start()
    thread.join()
    return os.getpid(), found

def killed_meanwhile(processes):
    \"\"\"Fit while processes are killed as soon as the first fits have ended; return the weights.\"\"\"
    estimators = many(100)
    def kill():
        while not any(hasattr(one, "coefs_") for one in estimators):
            time.sleep(0.01)
        for process in processes:
            os.kill(process, signal.SIGKILL)
    thread = threading.Thread(target=kill)
    thread.start()
    fastnn.fit_many(estimators, X, y)
    thread.join()
    return weights(estimators)
"""

LOKY = """
ONCE = __file__ + ".once"

class Halved(fastnn.schedules.Schedule):
    def factors(self, steps, total):
        return np.full(steps.shape, 0.5)

def kill_me_halfway(connection, data):
    os.write(connection.fileno(), data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

class Killed(Halved):
    \"""Schedule whose first process is killed while it sends its result.\"""
    def factors(self, steps, total):
        with contextlib.suppress(FileNotFoundError):
            os.remove(ONCE)
            multiprocessing.connection.Connection._send = kill_me_halfway
        return super().factors(steps, total)

if __name__ == "__main__":
    expected = weights(fastnn.fit_many(many(100), X, y))
    with joblib.parallel_config("loky", n_jobs=2):
        assert np.array_equal(weights(fastnn.fit_many(many(100), X, y)), expected)
        halved = [one.set_params(learning_rate=Halved()) for one in many(3)]
        found = weights(fastnn.fit_many(halved, X, y))
        assert np.array_equal(found, weights([one.fit(X, y) for one in halved]))
        processes = joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(20))
        assert np.array_equal(killed_meanwhile(processes[:1]), expected)
        print("killed")
        open(ONCE, "w").close()
        killed = [one.set_params(learning_rate=Killed()) for one in many(3)]
        assert np.array_equal(weights(fastnn.fit_many(killed, X, y)), found)
        print("halfway", os.path.exists(ONCE))
        endless = [one.set_params(n_iter_no_change=np.inf) for one in many(4, 2**40)]
        def interrupt():
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=interrupt).start()
        try:
            fastnn.fit_many(endless, X, y)
        except KeyboardInterrupt:
            print("interrupted")
        assert np.array_equal(weights(fastnn.fit_many(many(100), X, y)), expected)
        print("again")
"""


@pytest.mark.slow
def test_processes_of_joblib_may_be_killed_or_interrupted(tmp_path):
    program = tmp_path / "program.py"  # loky's processes import the main program by its name
    program.write_text(COMMON + LOKY)
    printed = run_python(f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')")
    assert printed.split() == ["killed", "halfway", "False", "interrupted", "again"]


DASK = """
from dask.distributed import Client, LocalCluster

if __name__ == "__main__":
    expected = weights(fastnn.fit_many(many(100), X, y))
    before = available_cores()
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        assert available_cores() == before
        found = dict(client.gather([client.submit(cores, pure=False) for _ in range(20)]))
        assert len(found) == 2, found
        assert set(map(tuple, found.values())) == {(1, 1)}, found
        with joblib.parallel_config("dask"):
            assert np.array_equal(weights(fastnn.fit_many(many(100), X, y)), expected)
            for kind in (fastnn.TabularClassifier, fastnn.MLPEnsembleClassifier):
                one = kind(n_estimators=3, random_state=0).fit(X, y)
                with joblib.parallel_config("threading"):
                    other = kind(n_estimators=3, random_state=0).fit(X, y)
                assert np.array_equal(one.predict_proba(X), other.predict_proba(X))
            assert np.array_equal(killed_meanwhile(list(found)[:1]), expected)
            print("killed")
    # A cluster that is scaled down to none may meanwhile start the killed worker again.
    with LocalCluster(**options | {"n_workers": 0}) as cluster, Client(cluster):
        try:
            with joblib.parallel_config("dask", wait_for_workers_timeout=1):
                fastnn.fit_many(many(), X, y)
        except TimeoutError:
            print("none")
"""


@pytest.mark.slow
@pytest.mark.needs("dask")
def test_workers_of_dask_may_be_killed():
    assert run_python(COMMON + DASK).split() == ["killed", "none"]


RAY = """
import ray
from ray.util.joblib import register_ray

if __name__ == "__main__":
    expected = weights(fastnn.fit_many(many(), X, y))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    register_ray()
    with joblib.parallel_config("ray"):
        assert np.array_equal(weights(fastnn.fit_many(many(), X, y)), expected)
        assert joblib.Parallel(2)(joblib.delayed(available_cores)() for _ in range(4)) == [1] * 4
    ray.shutdown()
    print("done")
"""


@pytest.mark.slow
@pytest.mark.needs("ray")
def test_fits_on_ray_are_the_same():
    assert run_python(COMMON + RAY).split() == ["done"]
