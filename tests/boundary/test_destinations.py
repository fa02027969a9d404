"""Pictures rendered into arrays and files: what is refused, progress, and what interrupts them."""

import itertools
import re
import signal
import threading

import numpy as np
import pytest
import tqdm.auto
from interrupts import interrupt_after
from PIL import Image
from sink_pictures import formats, render_stripes
from views import XLIM, YLIM, X, picture, y

import fastnn
from fastnn import render_boundary


@pytest.mark.parametrize("method", ["dense", "certified"])
def test_out_may_be_an_array_of_any_layout(trained, tmp_path, method):
    expected = picture(trained, (301, 203))
    arrays = [
        np.empty((203, 301), np.int64),
        np.empty((203, 301), np.float32),
        np.empty((301, 203), np.uint8).T,
        np.empty((406, 903), np.uint16)[::-2, 1::3],
        np.memmap(tmp_path / "picture", np.uint16, "w+", offset=101, shape=(203, 301)),  # not aligned
        np.ma.masked_all((203, 301), np.uint8),
        np.ma.masked_all((203, 301), np.int64),
    ]
    for out in arrays:
        out[...] = np.ma.masked if isinstance(out, np.ma.MaskedArray) else 99
        assert render_boundary(trained, XLIM, YLIM, (301, 203), out=out, method=method).data is out
        assert not np.ma.is_masked(out)
        np.testing.assert_array_equal(out, expected)


READ_ONLY = np.zeros((3, 4), np.uint8)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros((4, 3), np.uint8), ValueError, "out must be an array of shape (3, 4) (height, width), got"),
        (np.zeros((3, 4), bool), ValueError, "out must have a dtype that holds 300 classes, as uint16 does,"),
        (np.zeros((3, 4), np.uint8), ValueError, "got uint8"),
        (np.zeros((3, 4), np.float16), ValueError, "got float16"),
        (np.zeros((3, 4), complex), ValueError, "got complex128"),
        (READ_ONLY, ValueError, "out must be an array that can be written to, got a read-only one"),
        ([[0]], TypeError, "out must be an array, a path or None, got list"),
        ("a.jpg", ValueError, "a.jpg must end in one of .png, .zarr, .dzi; matplotlib saves"),
        ("nowhere/a.png", ValueError, "out: there is no folder "),
        (".", ValueError, "must end in one of"),
        ("a.dzi", ValueError, "at most 256 classes, but there are 300; .png and .zarr hold more"),
    ],
)
def test_unsuitable_destinations_are_refused(out, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=re.escape(message)):
        render_stripes(4, 3, 300, out=out)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "size", "classes", "message"),
    [
        ("a.png", (2**31, 3), 2, "a side of a .png picture has at most 2147483647 pixels, but it is"),
        ("a.dzi", (3, 2**32), 2, "a side of a .dzi picture has at most 4294967295 pixels"),
        ("a.png", 3, 65537, "a .png picture has at most 65536 classes"),
    ],
)
def test_pictures_that_a_format_cannot_hold_are_refused(tmp_path, name, size, classes, message):
    def predict(points):
        pytest.fail("predicted")

    with pytest.raises(ValueError, match=re.escape(message)):
        render_boundary(predict, (0, 1), (0, 1), size, classes=range(classes), out=tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_signed_integers_hold_half_as_many_classes():
    render_stripes(4, 3, 128, out=np.zeros((3, 4), np.int8))
    with pytest.raises(ValueError, match="holds 129 classes, as uint8 does, got int8"):
        render_stripes(4, 3, 129, out=np.zeros((3, 4), np.int8))


def test_a_response_needs_an_array_of_floats(trained):
    with pytest.raises(ValueError, match="out must have a dtype that holds a response, as float64 does"):
        picture(trained, (4, 3), response="margin", out=np.zeros((3, 4), np.int64))
    out = np.zeros((3, 4), np.float32)  # a response is rounded to float32
    picture(trained, (4, 3), response="margin", out=out)
    np.testing.assert_allclose(out, picture(trained, (4, 3), response="margin"), rtol=1e-6)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("method", ["dense", "certified"])
def test_out_may_be_a_file(trained, tmp_path, method, n_threads):
    path, size = tmp_path / "boundary.png", (2101, 4103)
    image = render_boundary(trained, XLIM, YLIM, size, out=path, method=method, n_threads=n_threads)
    assert (image.data, image.path, image.stats.n_threads) == (None, path, n_threads)
    assert [file.name for file in tmp_path.iterdir()] == ["boundary.png"]
    with Image.open(path) as file:
        np.testing.assert_array_equal(np.asarray(file)[::-1], picture(trained, size))
    assert image.stats.seconds["writing"] > 0
    assert str(path) in repr(image)
    assert repr(render_boundary(trained, XLIM, YLIM, (80, 50))).startswith("BoundaryImage(80 x 50, dense, ")
    message = "the picture is in .*boundary.png: render it without out= to"
    with pytest.raises(ValueError, match=f"{message} save it"):
        image.save(tmp_path / "other.png")
    with pytest.raises(ValueError, match=f"{message} draw it"):
        image.plot()


@pytest.fixture
def bars(monkeypatch):
    made = []

    class Bar(tqdm.auto.tqdm):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            made.append(self)

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    return made


@pytest.mark.parametrize("size", [(700, 500), (300_000, 2), (7, 300)])
@pytest.mark.parametrize("suffix", formats(None, ".png", ".zarr", ".dzi"))
def test_a_bar_moves_with_every_portion_of_a_slow_model(bars, capsys, tmp_path, size, suffix):
    calls = []

    def predict(points):
        calls.append((bars[0].n, len(points)))
        return (points[:, 0] > 0.5).astype(int)

    out = suffix and tmp_path / f"a{suffix}"
    image = render_boundary(predict, (0, 1), (0, 1), size, classes=[0, 1], progress=True, out=out)
    shown, counts = np.transpose(calls)
    assert max(counts) <= 1 << 16
    if suffix != ".dzi":  # the lower levels of a pyramid are painted again, some per cent of its pixels
        np.testing.assert_array_equal(shown, np.cumsum(counts) - counts, "the bar shows all earlier points")
    assert bars[0].n == bars[0].total == image.stats.points_evaluated == size[0] * size[1]
    assert "100%" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["dense", "certified"])
@pytest.mark.parametrize("suffix", formats(None, ".png", ".zarr", ".dzi"))
def test_the_bar_of_a_network_reaches_its_total(bars, trained, tmp_path, method, suffix):
    out = suffix and tmp_path / f"a{suffix}"
    picture(trained, (3000, 2500), n_threads=2, progress=True, method=method, out=out)
    assert bars[0].n == bars[0].total == 7_500_000


@pytest.mark.parametrize("model", [fastnn.Model([2, 3, 2], backend="numpy"), lambda points: points[:, 0] > 0])
def test_a_plot_shows_a_bar_with_progress(capsys, model):
    fastnn.plot_decision_boundary(model, X, y, resolution=20)
    assert capsys.readouterr() == ("", "")
    fastnn.plot_decision_boundary(model, X, y, resolution=20, progress=True)
    assert "pixel" in capsys.readouterr().err
    with pytest.raises(ValueError, match="progress must be True or False, got 2"):
        fastnn.plot_decision_boundary(model, X, y, resolution=20, progress=2)


NUMPY = fastnn.Model([2, 100, 100, 2], random_state=0, backend="numpy")
KERNELS = fastnn.Model([2, 100, 100, 2], random_state=0)
for array in KERNELS.W:
    array *= 30  # boundaries everywhere


@pytest.mark.parametrize("method", ["dense", "certified", "numpy"])
@pytest.mark.parametrize("suffix", formats(".png", ".zarr", ".dzi"))
def test_an_interrupt_leaves_nothing_behind(tmp_path, method, suffix):
    # A picture that would take hours is interrupted after 0.1 s.
    model, options = KERNELS, {"method": method, "n_threads": 1 if suffix == ".dzi" else 2}
    if method == "numpy":
        model, options = NUMPY, {}
    render_boundary(model, (-1, 1), (-1, 1), 10, **options)  # compile everything
    earlier = set(threading.enumerate())  # other tests' pools, Dask's for instance, keep their threads
    with pytest.raises(KeyboardInterrupt), interrupt_after(0.1):
        render_boundary(model, (-1e3, 1e3), (-1e3, 1e3), 10**6, out=tmp_path / f"boundary{suffix}", **options)
    assert list(tmp_path.iterdir()) == []
    assert picture(model, (10, 10)).shape == (10, 10)
    assert not [thread for thread in set(threading.enumerate()) - earlier if "ThreadPool" in thread.name]


@pytest.mark.parametrize("suffix", formats(".png", ".zarr", ".dzi"))
def test_an_interrupt_after_the_first_part_has_been_written_leaves_nothing_behind(tmp_path, suffix):
    calls = itertools.count()

    def predict(points):
        if next(calls) == 140:  # after a strip of .png, and after two chunks or squares of the others
            signal.raise_signal(signal.SIGINT)
        return points[:, 0] > 1e-3

    with pytest.raises(KeyboardInterrupt):
        render_boundary(predict, (0, 1), (0, 1), 10**6, classes=[False, True], out=tmp_path / f"a{suffix}")
    assert next(calls) < 150
    assert list(tmp_path.iterdir()) == []
