"""Dask's workers with the plugin of the page on clusters, and dask-ml, which that page shows."""

import re
from pathlib import Path

import pytest
from processes import run_python
from site_extensions import extension

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "use" / "cluster.md").read_text(encoding="utf-8")


def find_code(word):
    """Return the code of the page, not run by the site, that contains a word."""
    codes = re.findall(r"^```py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (code,) = (code for code in codes if word in code)
    return code


PLUGIN = """
if __name__ == "__main__":
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        exec(code)
        print(sum(client.run(lambda: "fastnn" in __import__("sys").modules).values()))
"""


@pytest.mark.needs("dask")
def test_the_plugin_of_the_page_fits_on_every_worker():
    cells = extension("notebooks").cells(PAGE)
    (setting,) = (cell.code for cell in cells if "def networks" in cell.code)
    data = setting.split("\nhere = ")[0]
    program = f"{data}\ncode = {find_code('WorkerPlugin')!r}\n{PLUGIN}"
    assert run_python(program).split() == ["2"]


DASK_ML = """
import dask.array as da
import numpy as np
from dask.distributed import Client, LocalCluster
from dask_ml.wrappers import Incremental, ParallelPostFit

import fastnn

X = np.random.RandomState(0).normal(size=(150, 4))
y, numbers = (X[:, 0] > 0) + (X[:, 1] > 0).astype(int), X @ [1.0, -2.0, 0.5, 1.0]
small = {"hidden_layer_sizes": (8,), "batch_size": 10, "random_state": 0}

def compare(kind, targets, methods, **options):
    many, given = (da.from_array(each, chunks=(50, *each.shape[1:])) for each in (X, targets))
    found = Incremental(kind(**small), shuffle_blocks=False).fit(many, given, **options).estimator_
    expected = kind(**small)
    for k in (0, 50, 100):
        expected.partial_fit(X[k : k + 50], targets[k : k + 50], **options)
    for one, other in zip(found.coefs_, expected.coefs_, strict=True):
        np.testing.assert_array_equal(one, other)
    fitted = ParallelPostFit(found)
    for method in methods:
        lazy = getattr(fitted, method)(many)
        assert isinstance(lazy, da.Array)
        np.testing.assert_array_equal(lazy.compute(), getattr(expected, method)(X))

if __name__ == "__main__":
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster):
        compare(fastnn.MLPClassifier, y, ("predict", "predict_proba"), classes=[0, 1, 2])
        compare(fastnn.MLPRegressor, numbers, ("predict",))
    print("done")
"""


@pytest.mark.needs("dask_ml")
def test_incremental_fits_and_predictions_of_dask_ml_are_the_same():
    assert run_python(DASK_ML).split() == ["done"]
