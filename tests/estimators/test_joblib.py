"""Searches and cross-validations in parallel: on joblib's threads, on its processes, on a Dask cluster.

Results are compared bit for bit. Programs that start processes run in a new interpreter: when it ends, so do
the processes that it started.
"""

import os
import textwrap
import threading

import joblib
import numpy as np
import pytest
from problems import UNCONVERGED, X, classifier, y
from processes import PATIENCE, run_python
from sklearn.ensemble import VotingClassifier
from sklearn.model_selection import GridSearchCV

import fastnn
from fastnn import MLPEnsembleClassifier, fit_many
from fastnn.system import threads
from fastnn_kernels.compiler.entry import PreparedCall

pytestmark = [pytest.mark.slow, UNCONVERGED]


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

    def count_used(n_jobs):
        used.clear()
        many = [classifier(learning_rate=MeetingSchedule(), max_iter=1) for _ in range(4)]
        fit_many(many, X, y, n_jobs=n_jobs)
        return len(used)

    meeting = threading.Barrier(4, timeout=PATIENCE)
    with joblib.parallel_config(backend=backend, n_jobs=1):
        assert [count_used(n_jobs) for n_jobs in (None, -1, 4, -5)] == [4, 4, 4, 4]
        assert joblib.Parallel(n_jobs=2, backend="threading")([joblib.delayed(count_used)(None)]) == [4]
    meeting = threading.Barrier(1)  # with one thread, the fits run one after another
    assert [count_used(n_jobs) for n_jobs in (1, -8, -100)] == [1, 1, 1]


random = np.random.default_rng(0)
LARGE_X, LARGE_Y = random.normal(size=(1100, 20)), random.integers(0, 3, 1100)


def large(**options):
    """Return a classifier whose steps are large enough for two threads."""
    settings = {"hidden_layer_sizes": (64, 64), "batch_size": 512, "max_iter": 2, "n_threads": 2}
    return classifier(**settings | options)


@pytest.fixture
def computing(monkeypatch):
    """Return a list of the number of threads inside training kernels, at each call of one."""
    inside, counts, call = [], [], PreparedCall.__call__

    def count(prepared):
        inside.append(prepared)
        counts.append(len(inside))
        try:
            return call(prepared)
        finally:
            inside.pop()

    monkeypatch.setattr(PreparedCall, "__call__", count)
    return counts


# Estimators that fit networks on threads within threads.
NESTED = {
    "a search of fits of 64 threads": lambda: GridSearchCV(large(n_threads=64), {"alpha": [0, 0.1, 1]}, cv=2),
    "a search of L-BFGS": lambda: GridSearchCV(
        large(solver="lbfgs", batch_size="auto", max_iter=3), {"alpha": [0, 0.1, 1.0]}, cv=2
    ),
    "a vote of ensembles": lambda: VotingClassifier(
        [(name, MLPEnsembleClassifier(large(), 2, n_jobs=2)) for name in "abc"], n_jobs=3
    ),
}


@pytest.mark.parametrize("n_cores", [1, 3])
@pytest.mark.parametrize("nested", NESTED.values(), ids=NESTED.keys())
def test_no_more_threads_compute_than_there_are_cores(computing, monkeypatch, nested, n_cores):
    monkeypatch.setattr(threads, "count_cores", lambda: n_cores)
    with joblib.parallel_config(backend="threading", n_jobs=8):
        nested().fit(LARGE_X, LARGE_Y)
    assert 1 <= max(computing) <= n_cores
    assert len(computing) >= 6  # at least one call for each of at least six fits


def test_a_fit_that_runs_alone_has_as_many_threads_as_it_asks_for(computing, monkeypatch):
    """The two threads of a fit wait for each other in every step: both are found at once."""
    monkeypatch.setattr(threads, "count_cores", lambda: 3)
    large().fit(LARGE_X, LARGE_Y)
    assert max(computing) == 2


# First part of the programs below.
COMMON = """
    import os
    import signal
    import threading
    import time
    import warnings

    import joblib
    import numpy as np
    from sklearn.datasets import load_iris
    from sklearn.model_selection import GridSearchCV

    import fastnn
    from fastnn.system.threads import count_cores

    warnings.simplefilter("ignore")
    X, y = load_iris(return_X_y=True)
    mlp = fastnn.MLPClassifier((6,), max_iter=8, random_state=0)
    ensemble = fastnn.MLPEnsembleClassifier(mlp, 2, random_state=0)
    grid = {"estimator__alpha": [1e-4, 1.0], "method": ["seeds", "snapshots"]}

    def many():
        return [fastnn.MLPClassifier((16, 16), max_iter=100, tol=0, random_state=k) for k in range(100)]

    def weights(fitted):
        return np.concatenate([W.ravel() for one in fitted for W in one.coefs_])

    def results():
        search = GridSearchCV(ensemble, grid, cv=2, n_jobs=2).fit(X, y)
        found = [weights(search.best_estimator_.estimators_), search.cv_results_["mean_test_score"]]
        found.append(weights(fastnn.fit_many(many(), X, y)))
        for kind in (fastnn.TabularClassifier, fastnn.MLPEnsembleClassifier):
            found.append(kind(n_estimators=3, random_state=0).fit(X, y).predict_proba(X).ravel())
        return np.concatenate(found).tobytes()

    def cores():
        \"\"\"Return this process, and the cores of this thread and of another thread of the process.\"\"\"
        found = [count_cores()]
        thread = threading.Thread(target=lambda: found.append(count_cores()))
        thread.start()
        thread.join()
        return os.getpid(), *found
"""


def list_printed(program):
    return run_python(textwrap.dedent(COMMON) + textwrap.dedent(program)).split()


LOKY = """
    with joblib.parallel_config(backend="sequential"):
        expected = results()
    for limit in (None, 1, 3):
        options = {} if limit is None else {"inner_max_num_threads": limit}
        with joblib.parallel_config(backend="loky", n_jobs=2, **options):
            assert results() == expected
            workers = joblib.Parallel()(
                joblib.delayed(lambda: (*cores(), os.environ["OMP_NUM_THREADS"]))() for _ in range(8)
            )
        for process, *found, value in workers:
            assert process != os.getpid()
            assert limit is None or int(value) == limit, value
            assert found == 2 * [min(len(os.sched_getaffinity(0)), int(value))], (found, value)
    print("same")
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system hides the cores of a process")
def test_processes_of_joblib_fit_the_same():
    assert list_printed(LOKY) == ["same"]


DASK = """
    from dask.distributed import Client, LocalCluster
    from distributed.client import FutureCancelledError

    def main():
        # Inherited limits would replace those that the cluster sets.
        for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
            os.environ.pop(name, None)
        with joblib.parallel_config(backend="sequential"):
            expected, expected_weights = results(), weights(fastnn.fit_many(many(), X, y))
        before = count_cores()
        options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
        with LocalCluster(**options) as cluster, Client(cluster) as client, joblib.parallel_config("dask"):
            assert count_cores() == before
            found = client.gather([client.submit(cores, pure=False) for _ in range(20)])
            assert len(set(found)) == 2, found
            assert {each[1:] for each in found} == {(1, 1)}, found
            assert results() == expected
            # Fitted estimators are sent to the workers and back.
            fitted = client.submit(ensemble.fit, X, y).result()
            assert np.array_equal(client.submit(fitted.predict, X).result(), ensemble.fit(X, y).predict(X))
            print("same")
            estimators = many()

            def kill():
                while not any(hasattr(one, "coefs_") for one in estimators):
                    time.sleep(0.01)
                os.kill(found[0][0], signal.SIGKILL)

            thread = threading.Thread(target=kill)
            thread.start()
            try:
                fastnn.fit_many(estimators, X, y)
            except FutureCancelledError:  # that worker alone had the arrays
                fastnn.fit_many([one for one in estimators if not hasattr(one, "coefs_")], X, y)
            thread.join()
            assert np.array_equal(weights(estimators), expected_weights)
            print("completed")

    if __name__ == "__main__":
        main()
"""


@pytest.mark.needs("dask")
def test_fits_on_a_dask_cluster_are_the_same_and_workers_may_be_killed():
    assert list_printed(DASK) == ["same", "completed"]


RAY = """
    import ray
    from ray.util.joblib import register_ray

    if __name__ == "__main__":
        with joblib.parallel_config(backend="sequential"):
            expected = results()
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        register_ray()
        with joblib.parallel_config("ray"):
            assert results() == expected
            assert joblib.Parallel(2)(joblib.delayed(count_cores)() for _ in range(4)) == [1] * 4
        ray.shutdown()
        print("same")
"""


@pytest.mark.needs("ray")
def test_fits_on_ray_are_the_same():
    assert list_printed(RAY)[-1] == "same"  # Ray prints messages of its own
