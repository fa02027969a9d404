"""Tools that run fits on processes of their own, dask-ml and Optuna, as the page on clusters shows them."""

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.version import Version
from processes import PATIENCE, run_python
from site_extensions import extension

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "use" / "cluster.md").read_text(encoding="utf-8")


def shown(word):
    """Return the code of the page, not run by the site, that contains a word."""
    codes = re.findall(r"^```py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (code,) = (code for code in codes if word in code)
    return code


def at_once(program, folder, *arguments, **environment):
    """Run a program in two processes at once; return what they print, standard error included."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, *each], cwd=folder, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=os.environ | environment,
        )
        for each in arguments
    ]  # fmt: skip
    outputs = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    return outputs


# --- kernels -----------------------------------------------------------------------------------------

PREDICTION = """
import sys
import time
from pathlib import Path

import numpy as np

import fastnn
from fastnn_kernels.compiler.entry import compilation_listeners

compiled = []
compilation_listeners.append(compiled.append)
model, samples = fastnn.Model([2, 3, 2], random_state=0), np.zeros((4, 2))
mine, *others = map(Path, sys.argv[1:])
mine.touch()
while not all(other.exists() for other in others):
    time.sleep(0.01)
model.predict(samples)
print(len(compiled))
"""


def test_two_processes_compile_each_kernel_once(tmp_path):
    """There are as many compilations as entries of whole kernels, and a later process loads all of them."""
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "FASTNN_PREBUILT": "0"}
    ready = str(tmp_path / "one"), str(tmp_path / "other")
    found = at_once(PREDICTION, Path(__file__).parents[2], ready, ready[::-1], **environment)
    entries = list(tmp_path.rglob("*.pointer.unpacking.*.nbc"))
    assert sum(map(int, found)) == len(entries) > 0
    assert run_python(PREDICTION, tmp_path / "third", **environment).split() == ["0"]


PLUGIN = """
if __name__ == "__main__":
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        exec(code)
        print(sum(client.run(lambda: "fastnn" in __import__("sys").modules).values()))
"""


@pytest.mark.needs("dask")
def test_the_plugin_of_the_page_fits_on_every_worker():
    cells = extension("notebooks").cells(PAGE)
    (setting,) = (cell.code for cell in cells if "def networks" in cell.code)
    data = setting.split("\nhere = ")[0]
    program = f"{data}\ncode = {shown('WorkerPlugin')!r}\n{PLUGIN}"
    assert run_python(program).split() == ["2"]


# --- dask-ml -----------------------------------------------------------------------------------------

DASK_ML = """
import warnings

import dask.array as da
import numpy as np
from dask.distributed import Client, LocalCluster
from sklearn.datasets import load_iris

import fastnn

warnings.simplefilter("ignore")
X, y = load_iris(return_X_y=True)
order = np.random.RandomState(0).permutation(150)
X, y, targets = X[order], y[order], X[order] @ [1.0, -2.0, 0.5, 1.0]
blocks = [slice(k, k + 50) for k in (0, 50, 100)]
arrays = [da.from_array(each, chunks=(50, *each.shape[1:])) for each in (X, y, targets)]

def classifier():
    return fastnn.MLPClassifier((8,), batch_size=10, random_state=0)

def regressor():
    return fastnn.MLPRegressor(hidden_layer_sizes=(8,), batch_size=10, random_state=0)

def run(main):
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        main(*arrays)
    print("done")
"""

BLOCKS = """
from dask_ml.wrappers import Incremental, ParallelPostFit

def main(many, labels, numbers):
    for kind, given, own, options in (
        (classifier, labels, y, {"classes": [0, 1, 2]}), (regressor, numbers, targets, {})
    ):
        found = Incremental(kind(), shuffle_blocks=False).fit(many, given, **options).estimator_
        expected = kind()
        for block in blocks:
            expected.partial_fit(X[block], own[block], **options)
        for one, other in zip(found.coefs_, expected.coefs_, strict=True):
            np.testing.assert_array_equal(one, other)

        expected.fit(X, own)
        fitted = ParallelPostFit(kind()).fit(X, own)
        methods = ("predict", "predict_proba") if kind is classifier else ("predict",)
        for method in methods:
            lazy = getattr(fitted, method)(many)
            assert isinstance(lazy, da.Array)
            np.testing.assert_array_equal(lazy.compute(), getattr(expected, method)(X))

if __name__ == "__main__":
    run(main)
"""

HYPERBAND = """
from dask_ml.model_selection import HyperbandSearchCV

def main(many, labels, numbers):
    for kind, given, options in (
        (classifier, labels, {"classes": [0, 1, 2]}), (regressor, numbers, {})
    ):
        rates = {"learning_rate_init": np.logspace(-4, -1, 30)}
        one, other = (
            HyperbandSearchCV(kind(), rates, max_iter=9, random_state=0).fit(many, given, **options)
            for _ in range(2)
        )
        assert one.best_params_ == other.best_params_
        assert one.best_score_ == other.best_score_
        for first, second in zip(one.best_estimator_.coefs_, other.best_estimator_.coefs_, strict=True):
            np.testing.assert_array_equal(first, second)
        calls = [each["partial_fit_calls"] for each in one.history_]
        assert min(calls) < max(calls) == 9  # candidates end early

if __name__ == "__main__":
    run(main)
"""


@pytest.mark.needs("dask_ml")
def test_incremental_fits_and_predictions_of_dask_ml_are_the_same():
    assert run_python(DASK_ML + BLOCKS).split() == ["done"]


@pytest.mark.needs("dask_ml")
def test_searches_of_dask_ml_repeat_themselves():
    if Version(importlib.metadata.version("dask")) >= Version("2025.3"):
        pytest.skip("HyperbandSearchCV needs dask 2025.2 or older, whatever the estimator")
    assert run_python(DASK_ML + HYPERBAND).split() == ["done"]


# --- Optuna ------------------------------------------------------------------------------------------

TRIALS = """
code = {code!r}
program, optimize = code.split("study.optimize")
exec(program)
complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
assert [trial.number for trial in study.trials] == list(range(len(complete)))
for trial in complete:
    assert objective(optuna.trial.FixedTrial(trial.params)) == trial.value
print(len(complete), study.best_value > 0.9)
"""


@pytest.mark.needs("optuna")
def test_two_processes_work_on_the_study_of_the_page(tmp_path):
    code = shown("JournalStorage")
    outputs = at_once(code, tmp_path, (), (), PYTHONWARNINGS="ignore")
    assert [len(re.findall(r"Trial \d+ finished", output)) for output in outputs] == [20, 20]
    program = f"import os\nos.chdir({str(tmp_path)!r})\n" + TRIALS.format(code=code)
    assert run_python(program, PYTHONWARNINGS="ignore").split()[-2:] == ["40", "True"]
