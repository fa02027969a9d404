"""Pictures rendered into arrays and files, and renderings that interrupts and errors end."""

import os
import threading

import numpy as np
import pytest
from interrupts import interrupt_after
from PIL import Image
from processes import run_python
from sink_pictures import formats
from sklearn.linear_model import LogisticRegression
from views import XLIM, YLIM, X, picture, y

import fastnn
from fastnn.boundary import painters
from fastnn.boundary.render import render_boundary
from fastnn.boundary.sinks import png


@pytest.mark.parametrize("method", ["dense", "certified"])
def test_out_may_be_an_array_of_any_layout(trained, tmp_path, method):
    expected = picture(trained, (301, 203))
    arrays = [
        np.empty((203, 301), np.uint8),
        np.empty((203, 301), np.int64),
        np.empty((203, 301), np.float32),
        np.empty((301, 203), np.uint8).T,
        np.empty((406, 903), np.uint16)[::-2, 1::3],
        np.memmap(tmp_path / "picture", np.uint8, "w+", shape=(203, 301)),
    ]
    for out in arrays:
        out[...] = 99
        image = render_boundary(trained, XLIM, YLIM, (301, 203), out=out, method=method)
        assert image.data is out
        np.testing.assert_array_equal(out, expected)


def test_an_array_holds_the_numbers_of_named_classes(tmp_path):
    out = np.empty((50, 80), np.int16)
    image = render_boundary(
        LogisticRegression().fit(X, np.array(["b", "a"])[y]), XLIM, YLIM, (80, 50), out=out
    )
    assert image.classes.tolist() == ["a", "b"]
    assert image.data is out
    named = render_boundary(lambda points: points[:, 0] > 0, XLIM, YLIM, (80, 50), out=out, classes=[0, 1])
    np.testing.assert_array_equal(named.data, picture(lambda points: points[:, 0] > 0))


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("method", ["dense", "certified"])
def test_out_may_be_a_file(trained, tmp_path, method, n_threads, monkeypatch):
    monkeypatch.setattr(png, "PNG_POINTS", 5000)
    path = tmp_path / "boundary.png"
    image = render_boundary(trained, XLIM, YLIM, (301, 203), out=path, method=method, n_threads=n_threads)
    assert (image.data, image.path) == (None, path)
    assert [file.name for file in tmp_path.iterdir()] == ["boundary.png"]
    with Image.open(path) as file:
        np.testing.assert_array_equal(np.asarray(file)[::-1], picture(trained, (301, 203)))
    assert image.stats.seconds["writing"] > 0
    assert str(path) in repr(image)
    with pytest.raises(
        ValueError, match="the picture is in .*boundary.png: render it without out= to save it"
    ):
        image.save(tmp_path / "other.png")
    with pytest.raises(ValueError, match="render it without out= to draw it"):
        image.plot()


def test_a_file_of_a_response_holds_grey_levels(trained, tmp_path):
    render_boundary(trained, XLIM, YLIM, (80, 50), response="probability", out=str(tmp_path / "p.png"))
    with Image.open(tmp_path / "p.png") as file:
        grey = np.asarray(file).astype(float)[::-1] / 65535
    np.testing.assert_allclose(grey, picture(trained, response="probability"), atol=1e-5)


def test_a_picture_can_be_saved_afterwards(trained, tmp_path):
    image = render_boundary(trained, XLIM, YLIM, (80, 50))
    image.save(tmp_path / "boundary.png")
    with Image.open(tmp_path / "boundary.png") as file:
        np.testing.assert_array_equal(np.asarray(file)[::-1], image.data)
    assert repr(image).startswith("BoundaryImage(80 x 50, dense, ")


def test_progress_shows_a_bar_of_pixels(trained, capsys):
    picture(trained)
    assert capsys.readouterr() == ("", "")
    picture(trained, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "100%" in err
    assert "pixel" in err


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("method", ["dense", "certified"])
@pytest.mark.parametrize("suffix", formats(".png", ".tif"))
def test_an_interrupt_leaves_nothing_behind(tmp_path, method, n_threads, suffix):
    # A picture that would take hours is interrupted after 0.3 s.
    model = fastnn.Model([2, 100, 100, 2], random_state=0)
    path = tmp_path / f"boundary{suffix}"
    picture(model, (10, 10), method=method, out=path)  # import and compile everything
    path.unlink()
    earlier = set(threading.enumerate())  # other tests' pools, Dask's for instance, keep their threads
    with pytest.raises(KeyboardInterrupt), interrupt_after(0.3):
        render_boundary(model, (-1e3, 1e3), (-1e3, 1e3), 10**6, method=method, out=path, n_threads=n_threads)
    assert list(tmp_path.iterdir()) == []
    assert picture(model, (10, 10)).shape == (10, 10)
    assert not [thread for thread in set(threading.enumerate()) - earlier if "ThreadPool" in thread.name]


@pytest.mark.parametrize("method", ["dense", "certified"])
def test_an_interrupt_of_the_numpy_backend_leaves_nothing_behind(tmp_path, method):
    model = fastnn.Model([2, 30, 2], random_state=0, backend="numpy")
    with pytest.raises(KeyboardInterrupt), interrupt_after(0.3):
        render_boundary(model, XLIM, YLIM, 10**5, method=method, out=tmp_path / "boundary.png", n_threads=1)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_of_another_classifier_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyboardInterrupt), interrupt_after(0.3):
        render_boundary(LogisticRegression().fit(X, y), XLIM, YLIM, 10**5, out=tmp_path / "boundary.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", formats(".png", ".tif", ".zarr", ".dzi"))
def test_an_error_of_a_model_leaves_no_file(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(painters, "PORTION_POINTS", 1000)
    calls = []

    def predict(points):
        calls.append(len(points))
        if len(calls) == 3:
            raise RuntimeError("no more")
        return np.zeros(len(points), int)

    with pytest.raises(RuntimeError, match="no more"):
        render_boundary(predict, XLIM, YLIM, 200, classes=[0, 1], out=tmp_path / f"boundary{suffix}")
    assert len(calls) == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs("zarr")
def test_a_wide_picture_is_predicted_in_small_portions(tmp_path):
    portions = []

    def predict(points):
        portions.append(len(points))
        if len(portions) == 4:
            raise MemoryError("enough")
        return np.zeros(len(points), int)

    with pytest.raises(MemoryError, match="enough"):
        render_boundary(predict, XLIM, YLIM, (10**12, 1), classes=[0], out=tmp_path / "b.zarr")
    assert portions == [2048] * 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_processes_paint_the_same():
    program = """
        import multiprocessing
        import warnings

        import numpy as np
        import fastnn

        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        model = fastnn.Model([2, 3, 2], random_state=0)

        def painted(method):
            image = fastnn.render_boundary(model, (-1, 1), (-1, 1), (300, 500), method=method, n_threads=2)
            return image.data.tobytes()

        expected = painted("dense")
        assert painted("certified") == expected
        with multiprocessing.get_context("fork").Pool(2) as pool:
            found = pool.map(painted, ["dense", "certified"] * 2)
        assert found == [expected] * 4
        print("the same")
    """
    assert run_python(program).split() == ["the", "same"]
