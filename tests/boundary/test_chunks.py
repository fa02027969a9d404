"""Boundaries as Dask arrays."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from extras import all_need, optional
from sklearn.datasets import make_moons
from sklearn.tree import DecisionTreeClassifier

import fastnn

pytestmark = all_need("dask")
dask = optional("dask")

X, y = make_moons(200, noise=0.20, random_state=0)
VIEW = (-1.5, 2.5), (-1.0, 1.5), (301, 203)


@pytest.fixture(scope="module")
def model():
    model = fastnn.Model([2, 3, 2], random_state=0)
    model.train(X, y, num_passes=500)
    return model


@pytest.mark.parametrize("options", [{}, {"method": "certified"}, {"response": "margin"}])
def test_an_array_is_the_picture(model, options):
    array = fastnn.boundary_array(model, *VIEW, chunks=64, **options)
    expected = fastnn.render_boundary(model, *VIEW, **options)
    assert array.numblocks == (4, 5)
    assert array.dtype == expected.data.dtype
    with dask.config.set(scheduler="threads", num_workers=3):
        np.testing.assert_array_equal(array.compute(), expected.data)


def test_somebody_elses_model():
    tree = DecisionTreeClassifier(max_depth=4, random_state=0).fit(X, np.array(["a", "b"])[y])
    array = fastnn.boundary_array(tree, *VIEW, chunks=100)
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(array.compute(), fastnn.render_boundary(tree, *VIEW).data)


def test_errors_are_told_at_once(model):
    with pytest.raises(ValueError, match="xlim must be two finite numbers"):
        fastnn.boundary_array(model, (1, 1), (0, 1))
    with pytest.raises(ValueError, match="chunks must be an integer not below 1"):
        fastnn.boundary_array(model, *VIEW, chunks=0)
    with pytest.raises(ValueError, match="name them with classes="):
        fastnn.boundary_array(lambda points: points[:, 0] > 0, *VIEW)
    array = fastnn.boundary_array(lambda points: points[:, 0] > 0, *VIEW, classes=[False, True])
    assert 0 < array.mean().compute() < 1


CLUSTER = """
    import numpy as np, zarr, fastnn
    from dask.distributed import Client, LocalCluster

    def main():
        model = fastnn.MLPClassifier((4,), max_iter=3, n_iter_no_change=9, random_state=0)
        random = np.random.default_rng(0)
        X = random.normal(size=(60, 2))
        model.fit(X, X[:, 0] > 0)
        view = (-1.5, 2.5), (-1.0, 1.5), 300
        expected = fastnn.render_boundary(model, *view).data
        options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
        with LocalCluster(**options) as cluster, Client(cluster):
            fastnn.boundary_array(model, *view, chunks=100).to_zarr("boundary.zarr")
        written = zarr.open("boundary.zarr")
        assert written.chunks == (100, 100)
        assert np.array_equal(written[:], expected)
        print("done")

    if __name__ == "__main__":
        main()
"""


@pytest.mark.slow
@pytest.mark.needs("zarr")
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_writes_zarr(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(CLUSTER), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True
    )
    assert ran.stdout.splitlines()[-1:] == ["done"], ran.stderr
