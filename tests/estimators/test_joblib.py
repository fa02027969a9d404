"""Searches and validations side by side: on joblib's threads, on its processes, on a Dask cluster.

Results are compared bit for bit. Programs that start processes run in a new interpreter, whose end ends
them all.
"""

import contextlib
import os
import textwrap
import threading

import joblib
import numpy as np
import pytest
from estimator_checks import parameters
from processes import run_python
from sklearn.base import clone
from sklearn.datasets import load_iris
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
from fastnn.engine import choice, limits
from fastnn.system import threads
from fastnn_kernels.compiler.prepared import PreparedCall

# Fits here end at max_iter.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore:Stochastic Optimizer. Maximum iterations:sklearn.exceptions.ConvergenceWarning",
        "ignore:lbfgs failed to converge:sklearn.exceptions.ConvergenceWarning",
    ),
]

X, y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
NAMES = np.array(["setosa", "versicolor", "virginica"])[y]
TARGETS = np.column_stack([X @ [1, -2, 0.5, 1], np.sin(2 * X[:, 0])])


def classifier(**parameters):
    return MLPClassifier(**{"hidden_layer_sizes": (6,), "random_state": 0, "max_iter": 8} | parameters)


def regressor(**parameters):
    return MLPRegressor(**{"hidden_layer_sizes": (6,), "random_state": 0, "max_iter": 8} | parameters)


def assert_same_search(one, other):
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
def test_calls_into_the_kernels_may_end_within_a_pass(estimator, grid, targets):
    """Calls end within a pass in long passes, and at the beginning of a process."""
    alone = GridSearchCV(estimator, grid, cv=3).fit(X, targets)
    with pytest.MonkeyPatch.context() as patch:
        # A call makes a step or two.
        patch.setattr(limits, "FIRST_CALL_OPERATIONS", 1)
        patch.setattr(limits, "CALL_SECONDS", 0)
        assert_same_search(GridSearchCV(estimator, grid, cv=3).fit(X, targets), alone)


@searches
def test_validations_on_threads_are_the_same(estimator, grid, targets):
    alone = cross_val_score(estimator, X, targets, cv=4)
    predicted = cross_val_predict(estimator, X, targets, cv=4)
    with joblib.parallel_config(backend="threading", n_jobs=4):
        np.testing.assert_array_equal(cross_val_score(estimator, X, targets, cv=4), alone)
        np.testing.assert_array_equal(cross_val_predict(estimator, X, targets, cv=4), predicted)
        found = cross_validate(estimator, X, targets, cv=4, return_estimator=True)
    np.testing.assert_array_equal(found["test_score"], alone)
    assert len(found["estimator"]) == 4


def test_estimators_of_estimators_on_threads():
    """Meta-estimators hand their estimators to joblib."""
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


def test_any_user_of_joblib():
    def fitted(seed):
        return parameters(classifier(random_state=seed, batch_size=30).fit(X, y))

    alone = [fitted(seed) for seed in range(12)]
    for options in ({"backend": "threading"}, {"prefer": "threads"}, {"require": "sharedmem"}):
        together = joblib.Parallel(n_jobs=4, **options)(joblib.delayed(fitted)(seed) for seed in range(12))
        np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("backend", ["threading", "loky", "sequential"])
def test_threads_of_fit_many_are_its_own(backend):
    """`fit_many` starts its threads whatever joblib's settings are and whichever thread calls it."""
    used = set()

    class Asked(fastnn.schedules.Schedule):
        def factors(self, steps, total):
            used.add(threading.get_ident())
            meeting.wait()  # passes only if all fits run at once
            return np.ones(steps.shape)

    def fit(n_jobs):
        used.clear()
        fit_many([classifier(learning_rate=Asked(), max_iter=1) for _ in range(4)], X, y, n_jobs=n_jobs)
        return len(used)

    meeting = threading.Barrier(4, timeout=60)
    with joblib.parallel_config(backend=backend, n_jobs=1):
        assert [fit(n_jobs) for n_jobs in (None, -1, 4, -5)] == [4, 4, 4, 4]
        assert joblib.Parallel(n_jobs=2, backend="threading")([joblib.delayed(fit)(None)]) == [4]
    meeting = threading.Barrier(1)
    assert [fit(n_jobs) for n_jobs in (1, -8, -100)] == [1, 1, 1]


# --- never more than there are cores -----------------------------------------------------------------

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
    """Number of threads inside training kernels, now and at most, and the calls so far."""

    def __init__(self):
        self.lock, self.now, self.most, self.calls = threading.Lock(), 0, 0, 0

    @contextlib.contextmanager
    def counted(self):
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
    gauge = Gauge()

    class Counted:
        """A kernel whose calls the gauge counts."""

        def __init__(self, kernel):
            self.kernel, self.compile_for_python = kernel, kernel.compile_for_python

        def __call__(self, *arguments):
            with gauge.counted():
                return self.kernel(*arguments)

    backend = choice.get_backend("numba")
    make, call = backend._lbfgs.lbfgs_iterations, PreparedCall.__call__
    monkeypatch.setattr(backend._lbfgs, "lbfgs_iterations", lambda *switches: Counted(make(*switches)))

    def counted(prepared):
        with gauge.counted():
            return call(prepared)

    monkeypatch.setattr(PreparedCall, "__call__", counted)
    yield gauge
    assert gauge.now == 0
    assert threads._budget.in_use == 0


def set_cores(monkeypatch, count):
    monkeypatch.setattr(threads, "available_cores", lambda: count)


NESTED = {
    "a search": lambda: GridSearchCV(large(), {"alpha": [0, 0.1, 1.0]}, cv=2),
    "a search of many threads": lambda: GridSearchCV(large(n_threads=64), {"alpha": [0, 0.1, 1.0]}, cv=2),
    "a search of ensembles": lambda: GridSearchCV(
        MLPEnsembleClassifier(large(max_iter=1), 3, n_jobs=4), {"estimator__alpha": [0, 0.1]}, cv=2
    ),
    "a search of ensembles of small ones": lambda: GridSearchCV(
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
def test_never_more_compute_than_there_are_cores(gauge, monkeypatch, nested, n_cores):
    set_cores(monkeypatch, n_cores)
    with joblib.parallel_config(backend="threading", n_jobs=8):
        nested().fit(LARGE_X, LARGE_Y)
    assert 1 <= gauge.most <= n_cores
    assert gauge.calls >= 6  # a fit makes one call at least


def test_fit_many_and_others_share_the_cores(gauge, monkeypatch):
    """Trainings on the caller's threads, by `fit_many`, by joblib and by `Model` share the cores."""
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


def test_one_alone_has_as_many_as_it_asks_for(gauge, monkeypatch):
    """The two threads of a fit wait for each other in every step: both are counted at once."""
    set_cores(monkeypatch, 3)
    large().fit(LARGE_X, LARGE_Y)
    assert gauge.most == 2


# --- processes ---------------------------------------------------------------------------------------


COMMON = """
    import os
    import warnings

    import joblib
    import numpy as np
    from sklearn.datasets import load_iris
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV, cross_val_score

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
        nested = GridSearchCV(ensemble, {"method": ["seeds", "snapshots"]}, cv=2, n_jobs=2).fit(X, y)
        return {
            "search": search.cv_results_["mean_test_score"],
            "best": weights(search.best_estimator_),
            "nested": nested.cv_results_["mean_test_score"],
            "members": weights(*nested.best_estimator_.estimators_),
            "scores": cross_val_score(mlp, X, y, cv=4, n_jobs=2),
        }

    def check(found, expected):
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)

    def seen():
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
                workers = joblib.Parallel()(joblib.delayed(seen)() for _ in range(8))
            for process, cores, value in workers:
                assert process != os.getpid()
                assert limit is None or int(value) == limit, value
                assert cores == min(len(os.sched_getaffinity(0)), int(value)), (cores, value)
            print("limit", limit)

    main()
"""


def program_of(*parts):
    return "\n".join(map(textwrap.dedent, parts))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system hides the cores of a process")
def test_processes_of_joblib():
    """A process keeps to the number of threads that joblib gives it."""
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
            workers = client.run(seen)
            assert len({process for process, _, _ in workers.values()} | {os.getpid()}) == 3, workers
            assert [cores for _, cores, _ in workers.values()] == [1, 1], workers
            with joblib.parallel_config(backend="dask"):
                check(results(), expected)
                # `fit_many` runs on threads of this process and gives the usual results.
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
def test_a_dask_cluster_of_two_processes():
    assert run_python(program_of(COMMON, DASK)).split() == ["done"]


FORK = """
    import threading

    from fastnn.system import threads

    # Python warns of forks where there are threads: ignore it, since this test shows that such forks work.
    warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)

    class Asked(fastnn.schedules.Schedule):
        def factors(self, steps, total):
            begun.release()
            if ended.is_set():
                raise InterruptedError("enough")
            return np.ones(steps.shape)

    def train():
        endless = fastnn.MLPClassifier(
            (64, 64), learning_rate=Asked(), max_iter=2**40, n_iter_no_change=np.inf, batch_size=512,
            n_threads=2,
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

    def child_does():
        \"\"\"It fits, while threads that are not there any more hold all cores, and forks once more.\"\"\"
        assert threads._budget.in_use == 0
        if fits() != expected:
            return 1
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0 if fits() == expected else 1)
        return os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1])

    random = np.random.default_rng(0)
    large_X, large_y = random.normal(size=(1100, 20)), random.integers(0, 3, 1100)
    begun, ended, stopped = threading.Semaphore(0), threading.Event(), []
    expected = fits()
    trainings = [threading.Thread(target=train) for _ in range(4)]
    for thread in trainings:
        thread.start()
    for _ in range(20):  # wait for 20 calls into the kernels
        begun.acquire()
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                code = child_does()
            except BaseException:
                import traceback
                traceback.print_exc()
                code = 2
            os._exit(code)
        children.append(child)
        begun.acquire()
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forks_while_trainings_run():
    assert run_python(program_of(COMMON, FORK)).split() == ["done"]
