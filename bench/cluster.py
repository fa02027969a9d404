"""Many fits on a Dask cluster on this machine: seconds, CPU seconds and bytes, beside threads of one process.

``python bench/cluster.py`` prints a table: 2,000 fits (``--fits``) of a network [2, 16, 16, 3] to 300 samples
on threads of this process and on workers of Dask; then on simulated workers, whose fits sleep, and return a
fitted network: their number may exceed the cores, which client, scheduler and workers share. The simulated
fits keep every worker busy for six seconds; the figure in docs/use/cluster.md
shows their fits per second. Bytes are counted at the loopback device.
"""

import argparse
import pickle
import time
import warnings

import dask
import joblib
import numpy as np
import psutil
from dask.distributed import Client, LocalCluster

import fastnn
from fastnn.estimators.parallel import fit_all

random = np.random.default_rng(0)
X = random.normal(size=(300, 2))
y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


def networks(n):
    """Return classifiers that differ in their seeds."""
    return [fastnn.MLPClassifier((16, 16), random_state=k) for k in range(n)]


# Seconds of a simulated fit, and of all that a simulated worker does.
SIMULATED_SECONDS, SIMULATED_WORK = (0.01, 0.06), 6.0


def sleep(estimator, X, y, fitted, seconds, *, stopped):
    """Stand for a fit, whose result is the network in the pickle `fitted`."""
    time.sleep(seconds)
    vars(estimator).update(vars(pickle.loads(fitted)))


def cpu_seconds():
    """Return the CPU time of this process and of those that it has started."""
    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def measure(call, repeats=3):
    """Return seconds, CPU seconds and bytes on the loopback device of the fastest of several calls."""
    figures = []
    for _ in range(repeats):
        sent, cpu, began = (
            psutil.net_io_counters(pernic=True)["lo"].bytes_sent,
            cpu_seconds(),
            time.perf_counter(),
        )
        call()
        figures.append(
            (
                time.perf_counter() - began,
                cpu_seconds() - cpu,
                psutil.net_io_counters(pernic=True)["lo"].bytes_sent - sent,
            )
        )
    return min(figures)


def row(name, figures, n, seconds_of_one=None, n_workers=1):
    """Print a row of the table."""
    seconds, cpu, sent = figures
    efficiency = "" if seconds_of_one is None else f"{seconds_of_one / seconds / n_workers:10.2f}"
    print(f"{name:34}{seconds:8.2f}{cpu:9.2f}{n / seconds:10.0f}{sent / n:12.0f}{efficiency}")


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fits", type=int, default=2000)
    options = parser.parse_args()
    n = options.fits
    warnings.simplefilter("ignore")
    dask.config.set({"distributed.worker.memory.terminate": False})
    fitted = fastnn.fit_many(networks(n), X, y)
    expected = np.concatenate([one.coefs_[0].ravel() for one in fitted])
    print(f"{'':34}{'seconds':>8}{'CPU s':>9}{'fits/s':>10}{'bytes/fit':>12}{'efficiency':>10}")
    for n_jobs in (1, 2):
        figures = measure(lambda n_jobs=n_jobs: fastnn.fit_many(networks(n), X, y, n_jobs=n_jobs))
        row(f"threads of this process: {n_jobs}", figures, n)
    for n_workers, n_threads in ((1, 2), (2, 1)):
        with (
            LocalCluster(
                n_workers=n_workers, threads_per_worker=n_threads, dashboard_address=None
            ) as cluster,
            Client(cluster),
        ):
            with joblib.parallel_config("dask"):
                fastnn.fit_many(networks(100), X, y)  # workers import fastnn
                many = networks(n)
                figures = measure(lambda many=many: fastnn.fit_many(many, X, y), 1)
                assert np.array_equal(np.concatenate([each.coefs_[0].ravel() for each in many]), expected)
                figures = min(figures, measure(lambda: fastnn.fit_many(networks(n), X, y), 2))
            row(f"Dask: {n_workers} x {n_threads} threads", figures, n)
    one = pickle.dumps(fitted[0])
    for n_workers in (2, 4, 8, 16):
        with (
            LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster),
            joblib.parallel_config("dask"),
        ):
            for each in SIMULATED_SECONDS:
                n_simulated = round(n_workers * SIMULATED_WORK / each)

                def simulate(n, each=each):
                    fit_all(sleep, [(own,) for own in networks(n)], (X, y, one, each), None)

                simulate(10 * n_workers)  # workers import fastnn
                figures = measure(lambda n=n_simulated, simulate=simulate: simulate(n))
                name = f"Dask: {n_workers} workers, {1000 * each:.0f} ms"
                row(name, figures, n_simulated, n_simulated * each, n_workers)


if __name__ == "__main__":
    main()
