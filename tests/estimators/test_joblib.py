"""Searches and cross-validations in parallel: on joblib's threads, on its processes, on a Dask cluster.

Results are compared bit for bit. Programs that start processes run in a new interpreter: when it ends, so do
the processes that it started.
"""

import contextlib
import os
import textwrap
import threading

import joblib
import numpy as np
import pytest
from estimator_checks import parameters
from estimator_problems import UNCONVERGED, X, y
from processes import PATIENCE, run_python
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastnn
from fastnn import MLPClassifier, MLPEnsembleClassifier, MLPEnsembleRegressor, MLPRegressor, fit_many
from fastnn.engine import limits
from fastnn.system import threads
from fastnn_kernels.compiler.entry import PreparedCall

pytestmark = [pytest.mark.slow, UNCONVERGED]

NAMES = np.array(["setosa", "versicolor", "virginica"])[y]
TARGETS = np.column_stack([X @ [1, -2, 0.5, 1], np.sin(2 * X[:, 0])])


def classifier(**parameters):
    """Return a small classifier that is fitted for eight epochs."""
    return MLPClassifier(**{"hidden_layer_sizes": (6,), "random_state": 0, "max_iter": 8} | parameters)


def regressor(**parameters):
    """Return a small regressor that is fitted for eight epochs."""
    return MLPRegressor(**{"hidden_layer_sizes": (6,), "random_state": 0, "max_iter": 8} | parameters)


def assert_same_search(one, other):
    """Assert that two searches have bitwise equal scores and best estimators."""
    for name, values in one.cv_results_.items():
        if "time" not in name:
            np.testing.assert_array_equal(values, other.cv_results_[name], err_msg=name)
    np.testing.assert_array_equal(parameters(one.best_estimator_), parameters(other.best_estimator_))


# --- joblib's threads --------------------------------------------------------------------------------

SEARCHES = {
    "classifier": (
        classifier(batch_size=20), {"alpha": [1e-4, 1.0], "hidden_layer_sizes": [(3,), (6, 3)]}, NAMES,
    ),
    "solvers": (classifier(batch_size=30), {"solver": ["adam", "sgd", "lbfgs"]}, NAMES),
    "regressor": (regressor(), {"early_stopping": [True, False], "alpha": [0, 0.1]}, TARGETS),
    "pipeline": (
        make_pipeline(StandardScaler(), classifier()), {"mlpclassifier__learning_rate_init": [0.1, 0.01]}, y,
    ),
    "ensemble": (
        MLPEnsembleClassifier(classifier(), 2, random_state=0),
        {"method": ["seeds", "bootstrap", "snapshots", "average"], "estimator__alpha": [0, 1.0]}, NAMES,
    ),
    "ensemble of numbers": (
        MLPEnsembleRegressor(regressor(), random_state=0), {"n_estimators": [1, 3]}, TARGETS,
    ),
}  # fmt: skip
searches = pytest.mark.parametrize(
    ("estimator", "grid", "targets"), SEARCHES.values(), ids=SEARCHES.keys()
)  # fmt: skip


@pytest.mark.parametrize("n_jobs", [2, 5, -1])
@searches
def test_a_search_on_threads_is_the_same(estimator, grid, targets, n_jobs):
    alone = GridSearchCV(estimator, grid, cv=3).fit(X, targets)
    with joblib.parallel_config(backend="threading", n_jobs=n_jobs):
        assert_same_search(GridSearchCV(estimator, grid, cv=3).fit(X, targets), alone)
        assert_same_search(
            RandomizedSearchCV(estimator, grid, n_iter=2, cv=2, random_state=0).fit(X, targets),
            RandomizedSearchCV(estimator, grid, n_iter=2, cv=2, random_state=0, n_jobs=1).fit(X, targets),
        )


@searches
def test_a_search_does_not_depend_on_where_kernel_calls_end(estimator, grid, targets):
    """A kernel call ends within an epoch if the epoch is long, or if the process has just begun."""
    alone = GridSearchCV(estimator, grid, cv=3).fit(X, targets)
    with pytest.MonkeyPatch.context() as patch:
        # With these limits, a call makes one or two steps.
        patch.setattr(limits, "FIRST_CALL_OPERATIONS", 1)
        patch.setattr(limits, "CALL_SECONDS", 0)
        assert_same_search(GridSearchCV(estimator, grid, cv=3).fit(X, targets), alone)


@searches
def test_cross_validations_on_threads_are_the_same(estimator, grid, targets):
    alone = cross_val_score(estimator, X, targets, cv=4)
    predicted = cross_val_predict(estimator, X, targets, cv=4)
    with joblib.parallel_config(backend="threading", n_jobs=4):
        np.testing.assert_array_equal(cross_val_score(estimator, X, targets, cv=4), alone)
        np.testing.assert_array_equal(cross_val_predict(estimator, X, targets, cv=4), predicted)
        found = cross_validate(estimator, X, targets, cv=4, return_estimator=True)
    np.testing.assert_array_equal(found["test_score"], alone)
    assert len(found["estimator"]) == 4


def test_meta_estimators_on_threads_predict_the_same():
    """Bagging, voting, stacking and one model for each output hand their estimators to joblib."""
    for estimator, targets in (
        (BaggingClassifier(classifier(), 4, random_state=0), NAMES),
        (VotingClassifier([("a", classifier()), ("b", classifier(alpha=1.0))], voting="soft"), NAMES),
        (StackingClassifier([("a", classifier()), ("b", classifier(alpha=1.0))], classifier(), cv=2), NAMES),
        (MultiOutputRegressor(regressor()), TARGETS),
    ):
        alone = clone(estimator).fit(X, targets).predict(X)
        with joblib.parallel_config(backend="threading", n_jobs=3):
            np.testing.assert_array_equal(
                clone(estimator).set_params(n_jobs=3).fit(X, targets).predict(X), alone
            )


def test_calls_of_joblib_on_threads_fit_the_same():
    def fitted(seed):
        return parameters(classifier(random_state=seed, batch_size=30).fit(X, y))

    alone = [fitted(seed) for seed in range(12)]
    for options in ({"backend": "threading"}, {"prefer": "threads"}, {"require": "sharedmem"}):
        together = joblib.Parallel(n_jobs=4, **options)(joblib.delayed(fitted)(seed) for seed in range(12))
        np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("backend", ["threading", "sequential"])
def test_fit_many_starts_its_threads_whatever_number_joblib_is_set_to(backend):
    """`fit_many` does so in the main thread, and in a thread that joblib started."""
    used = set()

    class MeetingSchedule(fastnn.schedules.Schedule):
        """A constant rate; a fit that computes it waits until all fits have come that far."""

        def factors(self, steps, total):
            used.add(threading.get_ident())
            meeting.wait()
            return np.ones(steps.shape)

    def fit(n_jobs):
        used.clear()
        fit_many(
            [classifier(learning_rate=MeetingSchedule(), max_iter=1) for _ in range(4)], X, y, n_jobs=n_jobs
        )
        return len(used)

    meeting = threading.Barrier(4, timeout=PATIENCE)
    with joblib.parallel_config(backend=backend, n_jobs=1):
        assert [fit(n_jobs) for n_jobs in (None, -1, 4, -5)] == [4, 4, 4, 4]
        assert joblib.Parallel(n_jobs=2, backend="threading")([joblib.delayed(fit)(None)]) == [4]
    meeting = threading.Barrier(1)  # with one thread, the fits run one after another
    assert [fit(n_jobs) for n_jobs in (1, -8, -100)] == [1, 1, 1]


# --- no more threads compute than there are cores ----------------------------------------------------

random = np.random.default_rng(0)
LARGE_X, LARGE_Y = random.normal(size=(1100, 20)), random.integers(0, 3, 1100)


def large(**parameters):
    """Return a classifier whose steps are large enough for two threads."""
    return MLPClassifier(
        **{
            "hidden_layer_sizes": (64, 64), "batch_size": 512, "max_iter": 2, "n_threads": 2,
            "random_state": 0,
        } | parameters
    )  # fmt: skip


class Gauge:
    """Counter of kernel calls: threads inside training kernels `now` and at `most`, and all `calls`."""

    def __init__(self):
        self.lock, self.now, self.most, self.calls = threading.Lock(), 0, 0, 0

    @contextlib.contextmanager
    def counted(self):
        """Count a call of a kernel while it runs."""
        with self.lock:
            self.now += 1
            self.calls += 1
            self.most = max(self.most, self.now)
        try:
            yield
        finally:
            with self.lock:
                self.now -= 1


@pytest.fixture
def gauge(monkeypatch):
    """Return a gauge that counts the calls of all training kernels."""
    gauge = Gauge()

    call = PreparedCall.__call__

    def counted(prepared):
        with gauge.counted():
            return call(prepared)

    monkeypatch.setattr(PreparedCall, "__call__", counted)
    yield gauge
    assert gauge.now == 0
    assert threads._budget.in_use == 0


def set_cores(monkeypatch, count):
    """Let fastnn find `count` cores."""
    monkeypatch.setattr(threads, "available_cores", lambda: count)


# Estimators that fit networks on threads within threads.
NESTED = {
    "a search": lambda: GridSearchCV(large(), {"alpha": [0, 0.1, 1.0]}, cv=2),
    "a search of fits of 64 threads": lambda: GridSearchCV(
        large(n_threads=64), {"alpha": [0, 0.1, 1.0]}, cv=2
    ),
    "a search of ensembles": lambda: GridSearchCV(
        MLPEnsembleClassifier(large(max_iter=1), 3, n_jobs=4), {"estimator__alpha": [0, 0.1]}, cv=2
    ),
    "a search of ensembles of small networks": lambda: GridSearchCV(
        MLPEnsembleClassifier(large(hidden_layer_sizes=(3,)), 4, n_jobs=8), {"estimator__alpha": [0, 0.1]},
        cv=2,
    ),
    "a search of L-BFGS": lambda: GridSearchCV(
        large(solver="lbfgs", batch_size="auto", max_iter=3), {"alpha": [0, 0.1, 1.0]}, cv=2
    ),
    "a vote of ensembles": lambda: VotingClassifier(
        [(name, MLPEnsembleClassifier(large(), 2, n_jobs=2)) for name in "abc"], n_jobs=3
    ),
}  # fmt: skip


@pytest.mark.parametrize("n_cores", [1, 2, 3])
@pytest.mark.parametrize("nested", NESTED.values(), ids=NESTED.keys())
def test_no_more_threads_compute_than_there_are_cores(gauge, monkeypatch, nested, n_cores):
    set_cores(monkeypatch, n_cores)
    with joblib.parallel_config(backend="threading", n_jobs=8):
        nested().fit(LARGE_X, LARGE_Y)
    assert 1 <= gauge.most <= n_cores
    assert gauge.calls >= 6  # at least one call for each of at least six fits


def test_all_ways_to_train_share_the_cores(gauge, monkeypatch):
    """`fit_many`, joblib and `Model`, called from several threads, together use no more than all cores."""
    set_cores(monkeypatch, 3)

    def many():
        fit_many([large(random_state=k) for k in range(4)], LARGE_X, LARGE_Y, n_jobs=4)

    def search():
        cross_val_score(large(), LARGE_X, LARGE_Y, cv=4, n_jobs=4)

    def model():
        fastnn.Model([20, 64, 64, 3], random_state=0).train(
            LARGE_X, LARGE_Y, num_passes=4, epsilon=1e-4, batch_size=512, n_threads=3
        )

    with joblib.parallel_config(backend="threading"):
        started = [threading.Thread(target=task) for task in (many, search, model, many)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
    assert 1 <= gauge.most <= 3


def test_a_fit_that_runs_alone_has_as_many_threads_as_it_asks_for(gauge, monkeypatch):
    """The two threads of a fit wait for each other in every step: the gauge finds both at once."""
    set_cores(monkeypatch, 3)
    large().fit(LARGE_X, LARGE_Y)
    assert gauge.most == 2


# --- processes ---------------------------------------------------------------------------------------


# First part of the programs below.
COMMON = """
    import os
    import warnings

    import joblib
    import numpy as np
    from sklearn.datasets import load_iris
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.experimental import enable_halving_search_cv
    from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_val_score

    import fastnn
    from fastnn.system.threads import available_cores

    warnings.simplefilter("ignore", ConvergenceWarning)
    X, y = load_iris(return_X_y=True)
    mlp = fastnn.MLPClassifier((6,), max_iter=8, random_state=0)
    ensemble = fastnn.MLPEnsembleClassifier(mlp, 2, random_state=0)
    grid = {"alpha": [1e-4, 1.0], "batch_size": [30, "auto"]}

    def weights(*fitted):
        return np.concatenate([W.ravel() for one in fitted for W in one.coefs_])

    def results():
        search = GridSearchCV(mlp, grid, cv=2, n_jobs=2).fit(X, y)
        halving = HalvingGridSearchCV(mlp, grid, cv=2, random_state=0, n_jobs=2).fit(X, y)
        assert len(halving.n_resources_) > 1
        nested = GridSearchCV(ensemble, {"method": ["seeds", "snapshots"]}, cv=2, n_jobs=2).fit(X, y)
        return {
            "search": search.cv_results_["mean_test_score"],
            "best": weights(search.best_estimator_),
            "halving": halving.cv_results_["mean_test_score"],
            "last": weights(halving.best_estimator_),
            "nested": nested.cv_results_["mean_test_score"],
            "members": weights(*nested.best_estimator_.estimators_),
            "scores": cross_val_score(mlp, X, y, cv=4, n_jobs=2),
        }

    def check(found, expected):
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)

    def worker_settings():
        \"\"\"Return the process, the number of its cores, and the limit that joblib set.\"\"\"
        return os.getpid(), available_cores(), os.environ.get("OMP_NUM_THREADS")
"""

LOKY = """
    def main():
        with joblib.parallel_config(backend="sequential"):
            expected = results()
        for limit in (None, 1, 3):
            options = {} if limit is None else {"inner_max_num_threads": limit}
            with joblib.parallel_config(backend="loky", n_jobs=2, **options):
                check(results(), expected)
                workers = joblib.Parallel()(joblib.delayed(worker_settings)() for _ in range(8))
            for process, cores, value in workers:
                assert process != os.getpid()
                assert limit is None or int(value) == limit, value
                assert cores == min(len(os.sched_getaffinity(0)), int(value)), (cores, value)
            print("limit", limit)

    main()
"""


def program_of(*parts):
    """Return a program of several parts, each without its indentation."""
    return "\n".join(map(textwrap.dedent, parts))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system hides the cores of a process")
def test_fits_in_processes_of_joblib_keep_to_its_number_of_threads():
    printed = run_python(program_of(COMMON, LOKY))
    assert printed.split("\n")[:3] == ["limit None", "limit 1", "limit 3"]


DASK = """
    from dask.distributed import Client, LocalCluster

    def main():
        # Inherited limits would replace those that the cluster sets.
        for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
            os.environ.pop(name, None)
        with joblib.parallel_config(backend="sequential"):
            expected = results()
        options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
        with LocalCluster(**options) as cluster, Client(cluster) as client:
            with joblib.parallel_config(backend="dask"):
                check(results(), expected)
                many = [fastnn.MLPClassifier((6,), max_iter=8, random_state=k) for k in range(3)]
                fastnn.fit_many(many, X, y)
            for k, one in enumerate(many):
                alone = fastnn.MLPClassifier((6,), max_iter=8, random_state=k).fit(X, y)
                assert np.array_equal(weights(one), weights(alone))
            # Fitted estimators are sent to the workers and back.
            futures = [client.submit(one.predict, X) for one in many]
            for one, future in zip(many, futures, strict=True):
                assert np.array_equal(future.result(), one.predict(X))
            fitted = client.submit(ensemble.fit, X, y).result()
            again = ensemble.fit(X, y)
            assert np.array_equal(fitted.predict_proba(X), again.predict_proba(X))
        print("done")

    if __name__ == "__main__":
        main()
"""


@pytest.mark.needs("dask")
def test_fits_on_a_dask_cluster_are_the_same():
    assert run_python(program_of(COMMON, DASK)).split() == ["done"]


FORK = """
    import threading

    from fastnn.system import threads

    # Python warns of forks where there are threads: ignore it, since this test shows that such forks work.
    warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)

    class EndableSchedule(fastnn.schedules.Schedule):
        \"\"\"A constant rate that counts its calls in `calls` and ends a fit after `ended` is set.\"\"\"

        def factors(self, steps, total):
            calls.release()
            if ended.is_set():
                raise InterruptedError("enough")
            return np.ones(steps.shape)

    def train():
        endless = fastnn.MLPClassifier(
            (64, 64), learning_rate=EndableSchedule(), max_iter=2**40, n_iter_no_change=np.inf,
            batch_size=512, n_threads=2,
        )
        try:
            endless.fit(large_X, large_y)
        except InterruptedError:
            stopped.append(threading.get_ident())

    def fits():
        many = [fastnn.MLPClassifier((6,), max_iter=8, random_state=k) for k in range(3)]
        fastnn.fit_many(many, X, y, n_jobs=3)
        ensemble.fit(X, y)
        with joblib.parallel_config(backend="threading", n_jobs=2):
            scores = cross_val_score(mlp, X, y, cv=4)
        shared = fastnn.MLPClassifier((64, 64), max_iter=2, random_state=0, batch_size=512, n_threads=2)
        shared.fit(large_X, large_y)
        fitted = [*many, *ensemble.estimators_, shared]
        return weights(*fitted).tobytes() + scores.tobytes()

    def run_child():
        \"\"\"Fit, then fork again and fit there.

        A fork copies only the thread that forks. The other threads of the parent hold its cores: the child
        must not wait for them.
        \"\"\"
        assert threads._budget.in_use == 0
        if fits() != expected:
            return 1
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0 if fits() == expected else 1)
        return os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1])

    random = np.random.default_rng(0)
    large_X, large_y = random.normal(size=(1100, 20)), random.integers(0, 3, 1100)
    calls, ended, stopped = threading.Semaphore(0), threading.Event(), []
    expected = fits()
    trainings = [threading.Thread(target=train) for _ in range(4)]
    for thread in trainings:
        thread.start()
    for _ in range(20):  # wait for 20 calls into the kernels
        calls.acquire()
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                code = run_child()
            except BaseException:
                import traceback
                traceback.print_exc()
                code = 2
            os._exit(code)
        children.append(child)
        calls.acquire()
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 0, 0], codes
    ended.set()
    for thread in trainings:
        thread.join()
    assert len(stopped) == 4
    assert threads._budget.in_use == 0
    assert fits() == expected
    print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_process_forked_during_trainings_can_fit():
    assert run_python(program_of(COMMON, FORK)).split() == ["done"]
