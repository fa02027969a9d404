"""Regions of one class are filled without being painted: the picture is the dense one, in every format."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from extras import optional
from PIL import Image
from sklearn.datasets import make_moons

import fastnn

zarr = optional("zarr")

XLIM, YLIM = (-2.0, 3.0), (-1.5, 2.0)


@pytest.fixture(scope="module", params=[2, 3])
def model(request):
    """Return a network of two classes, or of three where the third class surrounds the moons."""
    X, y = make_moons(200, noise=0.2, random_state=0)
    model = fastnn.Model([2, 16, request.param], activation="relu", random_state=0)
    model.train(X, np.where(X[:, 0] > 1.3, request.param - 1, y), num_passes=300)
    return model


def render(model, size, **options):
    return fastnn.render_boundary(model, XLIM, YLIM, size, **options)


# Widths and heights: a single square; many, cut off at the edges; thin ones.
SIZES = [(300, 203), (2300, 4300), (2048, 4096), (70_000, 30)]


@pytest.fixture(scope="module", params=SIZES, ids=str)
def pictures(request, model):
    """Return a model, the size of a picture, and its pixels, all evaluated."""
    return model, request.param, render(model, request.param, method="dense").data


def check_stats(image):
    """Assert that each pixel was either evaluated or filled, most of them the latter."""
    stats = image.stats
    assert (stats.method, stats.points_evaluated + stats.points_filled) == ("certified", stats.points)
    assert stats.points_evaluated < stats.points / 2


class PicklingExecutor(ThreadPoolExecutor):
    """Threads that get their tasks as other processes do."""

    def submit(self, *task):
        work, *arguments = pickle.loads(pickle.dumps(task))
        return super().submit(work, *arguments)


@pytest.mark.needs("zarr")
@pytest.mark.parametrize("response", ["class", "margin"])
def test_an_executor_paints_any_picture_of_a_zarr_array(model, tmp_path, response):
    picture = {"size": (70_000, 9), "method": "dense", "response": response}
    stats = render(model, **picture, out=tmp_path / "a.zarr", executor=PicklingExecutor()).stats
    assert stats.points_evaluated == stats.points == 630_000
    assert stats.n_threads == 0
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr")[:], render(model, **picture).data)


@pytest.mark.needs("zarr")
def test_an_error_of_an_executor_leaves_nothing(tmp_path):
    def fail(points):
        raise ZeroDivisionError

    with ThreadPoolExecutor() as executor, pytest.raises(ZeroDivisionError):
        render(fail, (70_000, 9), classes=[0, 1], out=tmp_path / "a.zarr", executor=executor)
    assert not list(tmp_path.iterdir())


def test_an_executor_that_would_have_no_effect_is_refused(model, tmp_path):
    with ThreadPoolExecutor() as executor:
        for out in (None, tmp_path / "a.png"):
            with pytest.raises(ValueError, match="other processes can write only a .zarr"):
                render(model, 9, out=out, executor=executor)
        with pytest.raises(ValueError, match="n_threads counts threads of this process"):
            render(model, 9, out=tmp_path / "a.zarr", executor=executor, n_threads=1)
    with pytest.raises(TypeError, match="executor must be an Executor of concurrent.futures, got 'dask'"):
        render(model, 9, out=tmp_path / "a.zarr", executor="dask")


def test_arrays_and_files_are_the_dense_picture(pictures, tmp_path):
    model, size, expected = pictures
    for out in (np.full(size[::-1], 99, np.int32), tmp_path / "a.png"):
        check_stats(render(model, size, method="certified", out=out))
        if not isinstance(out, np.ndarray):
            with Image.open(out) as image:
                out = np.asarray(image)[::-1]
        np.testing.assert_array_equal(out, expected)
    render(model, size, out=tmp_path / "dense.dzi", method="dense")
    check_stats(render(model, size, method="certified", out=tmp_path / "a.dzi"))
    dense, certified = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}
        for folder in (tmp_path / "dense_files", tmp_path / "a_files")
    )
    assert certified == dense


@pytest.mark.needs("zarr", "dask")
def test_chunks_of_zarr_and_dask_arrays_are_the_dense_picture(pictures, tmp_path):
    model, size, expected = pictures
    check_stats(render(model, size, method="certified", out=tmp_path / "a.zarr"))
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr", mode="r")[:], expected)
    array = fastnn.boundary_array(model, XLIM, YLIM, size, chunks=1000, method="certified")
    np.testing.assert_array_equal(array.compute(scheduler="synchronous"), expected)


@pytest.mark.needs("zarr")
def test_a_picture_of_one_class_is_neither_painted_nor_stored(tmp_path):
    model = fastnn.Model([2, 3, 3], random_state=0)
    model.W[1][...] = 0
    for winner in range(3):
        model.b[1][...] = np.eye(3)[[winner]] * 1e3
        image = render(model, 10**6, method="certified", out=tmp_path / "a.zarr")
        assert image.stats.points_evaluated == 0
        assert image.stats.cells_bounded < 10
        array = zarr.open_array(tmp_path / "a.zarr", mode="r")
        assert array.shape == (700_000, 10**6)
        assert (array[::350_000, ::250_000] == winner).all()
        files = [path for path in (tmp_path / "a.zarr").rglob("*") if path.is_file()]
        assert len(files) == 1 if winner == 0 else len(files) < 300
        assert sum(path.stat().st_size for path in files) < 5e6


@pytest.mark.needs("dask")
def test_the_graph_of_a_dask_array_takes_kilobytes(model):
    array = fastnn.boundary_array(model, XLIM, YLIM, 262_144)
    assert array.npartitions > 10_000
    assert len(pytest.importorskip("cloudpickle").dumps(array)) < 40_000


@pytest.mark.large
def test_an_array_of_more_than_2_31_pixels_is_the_dense_picture(model):
    side = 46_400
    if psutil.virtual_memory().available < 2.2 * side**2:
        pytest.skip("needs 5 GB of memory")
    certified, dense = (render(model, (side, side), method=name) for name in ("certified", "dense"))
    check_stats(certified)
    assert all(np.array_equal(a, b) for a, b in zip(certified.data, dense.data, strict=True))
