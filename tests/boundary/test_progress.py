"""Progress bars of pictures: they move while a slow model predicts."""

import numpy as np
import pytest
import tqdm.auto
from sink_pictures import formats
from sklearn.datasets import make_moons

import fastnn
from fastnn.boundary import render as boundary

X, y = make_moons(60, noise=0.2, random_state=0)
UNIT = (0.0, 1.0)


@pytest.fixture
def bars(monkeypatch):
    """Return the list of bars that are made; models predict for 1000 points at a time."""
    made = []

    class Bar(tqdm.auto.tqdm):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            made.append(self)

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    monkeypatch.setattr(boundary, "PORTION_POINTS", 1000)
    return made


@pytest.mark.parametrize("size", [(200, 100), (3000, 2), (7, 300)])
@pytest.mark.parametrize("suffix", formats(None, ".png", ".zarr"))
def test_a_bar_moves_with_every_portion_of_a_slow_model(bars, capsys, tmp_path, size, suffix):
    calls = []

    def predict(points):
        calls.append((bars[0].n, len(points)))
        return (points[:, 0] > 0.5).astype(int)

    image = fastnn.render_boundary(
        predict, UNIT, UNIT, size, classes=[0, 1], progress=True, out=suffix and tmp_path / f"a{suffix}"
    )
    shown, counts = np.transpose(calls)
    np.testing.assert_array_equal(shown, np.cumsum(counts) - counts, "the bar shows all earlier points")
    assert max(counts) <= max(1000, size[0])
    assert bars[0].n == bars[0].total == image.stats.points_evaluated == size[0] * size[1]
    if suffix is None:
        right = (np.arange(size[0]) + 0.5) / size[0] > 0.5
        np.testing.assert_array_equal(image.data, np.tile(right, (size[1], 1)))
    assert "100%" in capsys.readouterr().err


def test_the_bar_of_a_network_reaches_its_total(bars):
    model = fastnn.Model([2, 3, 2], random_state=0, backend="numpy")
    fastnn.render_boundary(model, UNIT, UNIT, 300, n_threads=2, progress=True)
    assert bars[0].n == bars[0].total == 90_000


@pytest.mark.parametrize(
    "model", [fastnn.Model([2, 3, 2], random_state=0, backend="numpy"), lambda points: points[:, 0] > 0]
)
def test_a_plot_shows_a_bar_with_progress(capsys, model):
    fastnn.plot_decision_boundary(model, X, y, resolution=20)
    assert capsys.readouterr() == ("", "")
    fastnn.plot_decision_boundary(model, X, y, resolution=20, progress=True)
    assert "pixel" in capsys.readouterr().err
    with pytest.raises(ValueError, match="progress must be True or False, got 2"):
        fastnn.plot_decision_boundary(model, X, y, resolution=20, progress=2)


def test_a_picture_without_a_bar_never_takes_the_lock_of_tqdm(monkeypatch):
    """Forked processes share the lock: one that is killed while it holds the lock would block all others."""
    from tqdm.std import TqdmDefaultWriteLock

    def acquire(self, *args, **kwargs):
        raise AssertionError("the lock was taken")

    monkeypatch.setattr(TqdmDefaultWriteLock, "acquire", acquire)
    image = fastnn.render_boundary(lambda P: P[:, 0] > 0.5, UNIT, UNIT, 8, classes=[False, True])
    assert image.data.shape == (8, 8)
