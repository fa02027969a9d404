"""Pictures as Dask arrays, computed chunk by chunk."""

import numpy as np
import pytest
from extras import all_need, optional
from processes import run_python
from sklearn.tree import DecisionTreeClassifier
from views import XLIM, YLIM, X, y

import fastnn

pytestmark = all_need("dask")
dask = optional("dask")

VIEW = XLIM, YLIM, (301, 203)


@pytest.mark.parametrize("options", [{}, {"method": "certified"}, {"response": "margin"}])
def test_a_computed_array_is_the_picture(trained, options):
    array = fastnn.boundary_array(trained, *VIEW, chunks=64, **options)
    expected = fastnn.render_boundary(trained, *VIEW, **options)
    assert (array.numblocks, array.dtype) == ((4, 5), expected.data.dtype)
    with dask.config.set(scheduler="threads", num_workers=3):
        np.testing.assert_array_equal(array.compute(), expected.data)


def test_an_array_of_another_classifier_is_its_picture():
    tree = DecisionTreeClassifier(max_depth=4, random_state=0).fit(X, np.array(["a", "b"])[y])
    array = fastnn.boundary_array(tree, *VIEW, chunks=100)
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(array.compute(), fastnn.render_boundary(tree, *VIEW).data)


def test_wrong_arguments_are_refused_before_the_computation(trained):
    with pytest.raises(ValueError, match="chunks must be an integer of at least 1"):
        fastnn.boundary_array(trained, *VIEW, chunks=0)
    with pytest.raises(ValueError, match="name them with classes="):
        fastnn.boundary_array(lambda points: points[:, 0] > 0, *VIEW)
    array = fastnn.boundary_array(lambda points: points[:, 0] > 0, *VIEW, classes=[False, True])
    assert 0 < array.mean().compute() < 1


CLUSTER = """
    import sys

    import numpy as np, zarr, fastnn
    from dask.distributed import Client, LocalCluster

    def main():
        model = fastnn.Model([2, 4, 2], random_state=0)  # not an estimator: no process imports scikit-learn
        X = np.random.default_rng(0).normal(size=(60, 2))
        model.train(X, X.sum(axis=1) > 0, num_passes=50, epsilon=0.01)
        view = (-1.5, 2.5), (-1.0, 1.5), 300
        expected = fastnn.render_boundary(model, *view).data
        options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
        with LocalCluster(**options) as cluster, Client(cluster) as client:
            fastnn.boundary_array(model, *view, chunks=100, method="certified").to_zarr(sys.argv[1])
            out, executor = sys.argv[2], client.get_executor()
            fastnn.render_boundary(model, *view, method="certified", out=out, executor=executor)
        for path in sys.argv[1:]:
            assert np.array_equal(zarr.open(path)[:], expected)
        print("done")

    if __name__ == "__main__":
        main()
"""


@pytest.mark.slow
@pytest.mark.needs("zarr")
def test_a_dask_cluster_writes_the_picture_as_zarr(tmp_path):
    assert run_python(CLUSTER, tmp_path / "chunks.zarr", tmp_path / "shards.zarr").split() == ["done"]
