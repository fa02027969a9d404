"""Attacks on memory: a call whose objects do not fit into memory raises MemoryError and changes nothing.

The calls use one thread: if the system has no memory for a new thread, Python itself may deadlock.
"""

import sys

import pytest
from processes import run_python

IS_LINUX = sys.platform.startswith("linux")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not IS_LINUX, reason="the limit of memory is Linux's")]

PROGRAM = """
    import resource, sys, warnings
    from pathlib import Path
    import numpy as np
    import psutil
    import fastnn
    from fastnn.system import threads

    threads.count_cores = lambda: 1
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    random = np.random.default_rng(0)
    X, y = random.normal(size=(60000, 100)), random.integers(0, 3, 60000)
    X2, y2 = X[:100, :2].copy(), y[:100] % 2
    long = np.zeros((8 * 10**6, 2), np.float32)
    model = fastnn.Model([100, 8, 3], random_state=0)
    plane = fastnn.Model([2, 8, 2], dtype=np.float32, random_state=0)
    plane.train(X2, y2, num_passes=5)
    estimator = fastnn.MLPClassifier((8,), max_iter=1, batch_size=60000, random_state=0)
    view = (-1, 1), (-1, 1)
    image = fastnn.render_boundary(plane, *view, 7000)

    CALLS = {
        "train": lambda: model.train(X, y, num_passes=2, epsilon=1e-6),
        "train on strided samples": lambda: model.train(X[::-1], y, 2, 1e-6, batch_size=64),
        "lbfgs": lambda: model.train(X, y, num_passes=1, optimizer="lbfgs"),
        "predict": lambda: plane.predict(long),
        "predict_proba": lambda: plane.predict_proba(long),
        "fit": lambda: estimator.fit(X[::-1], y),
        "render": lambda: fastnn.render_boundary(plane, *view, 7000),
        "render a response": lambda: fastnn.render_boundary(plane, *view, 5000, response="margin"),
        "save": lambda: image.save(folder / "a.png"),
        "dzi": lambda: fastnn.render_boundary(plane, *view, 7000, method="dense", out=folder / "a.dzi"),
    }

    def state():
        return (
            [bytes(array) for one in (model, plane) for array in (*one.W, *one.b)],
            dict(estimator.__dict__).keys(),
            {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()},
        )

    failed = set()
    for name, call in CALLS.items():
        call()  # load all modules and kernels before memory is limited
        for spare in (0, 1 << 20, 16 << 20):
            before = state()
            limit = psutil.Process().memory_info().vms + spare
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
            try:
                call()
                failed_now = False
            except MemoryError:
                failed_now = True
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
            if failed_now:
                failed.add(name)
                assert state() == before, name
            threads.count_cores = lambda: 2
            with threads.acquire_cores(2, waits=False) as count:
                assert count == 2, name
            threads.count_cores = lambda: 1
        call()
    assert {"train", "predict_proba", "render"} <= failed, failed
    print("done")
"""


def test_a_call_that_runs_out_of_memory_changes_nothing(tmp_path):
    assert run_python(PROGRAM, tmp_path).split() == ["done"]
