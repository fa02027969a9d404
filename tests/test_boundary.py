"""Predictions at the pixels of a picture."""

import signal
import threading

import numpy as np
import pytest
from sklearn.datasets import make_moons
from sklearn.linear_model import LogisticRegression

import fastnn
from fastnn import boundary
from fastnn.boundary import predict_grid

X, y = make_moons(200, noise=0.20, random_state=0)
XLIM, YLIM = (-1.5, 2.5), (-1.0, 1.5)


def centres(width, height, xlim=XLIM, ylim=YLIM):
    x = xlim[0] + (np.arange(width) + 0.5) * (xlim[1] - xlim[0]) / width
    y = ylim[0] + (np.arange(height) + 0.5) * (ylim[1] - ylim[0]) / height
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


@pytest.fixture(scope="module", params=["numba", "numpy"])
def model(request):
    model = fastnn.Model([2, 3, 2], random_state=0, backend=request.param)
    model.train(X, y, num_passes=500)
    return model


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (500, 301), (1, 400), (700, 1)])
def test_a_models_grid_is_its_prediction(model, size):
    grid = predict_grid(model, XLIM, YLIM, size)
    expected = model.predict(centres(*size)).reshape(size[1], size[0])
    # A pixel's centre may round differently in its last place, which matters on the boundary alone.
    assert (grid != expected).sum() <= 1
    assert grid.dtype == np.uint8


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_threads_give_the_same_picture(model, n_threads, monkeypatch):
    monkeypatch.setattr(boundary, "BAND_POINTS", 3000)
    expected = predict_grid(model, XLIM, YLIM, (301, 203), n_threads=1)
    np.testing.assert_array_equal(predict_grid(model, XLIM, YLIM, (301, 203), n_threads), expected)


def test_many_classes_need_wider_integers():
    model = fastnn.Model([2, 300], random_state=0, output_activation="identity")
    grid = predict_grid(model, XLIM, YLIM, 64)
    assert grid.dtype == np.uint16
    np.testing.assert_array_equal(grid.ravel(), model.predict(centres(64, 64)))
    assert grid.max() > 255


def test_an_estimator_and_a_function(monkeypatch):
    monkeypatch.setattr(boundary, "PORTION_POINTS", 1000)
    estimator = LogisticRegression().fit(X, y)
    expected = estimator.predict(centres(80, 50)).reshape(50, 80)
    np.testing.assert_array_equal(predict_grid(estimator, XLIM, YLIM, (80, 50)), expected)
    np.testing.assert_array_equal(predict_grid(estimator.predict, XLIM, YLIM, (80, 50)), expected)


def test_string_classes_of_different_lengths(monkeypatch):
    monkeypatch.setattr(boundary, "PORTION_POINTS", 10)

    def predict(points):
        return np.array(["no"] * len(points) if points[0, 1] < 0 else ["certainly"] * len(points))

    assert set(predict_grid(predict, XLIM, (-1, 1), (10, 10)).ravel()) == {"no", "certainly"}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((XLIM, YLIM, 0), ValueError, "width must be an integer not below 1"),
        ((XLIM, YLIM, (10, -1)), ValueError, "height must be an integer not below 1"),
        ((XLIM, YLIM, 0.02), ValueError, "size must be pixels"),
        ((XLIM, YLIM, (1, 2, 3)), ValueError, "size must be pixels"),
        (((1, 1), YLIM, 5), ValueError, "xlim must be two finite numbers, the lower first"),
        ((XLIM, (2, 1), 5), ValueError, "ylim must be two finite numbers, the lower first"),
        (((0, np.inf), YLIM, 5), ValueError, "xlim must be two finite numbers"),
        (("ab", YLIM, 5), ValueError, "xlim must be two finite numbers"),
        ((3, YLIM, 5), ValueError, "xlim must be two finite numbers"),
        ((XLIM, YLIM, 5, 0), ValueError, "n_threads must be an integer not below 1"),
    ],
)
def test_bad_arguments(model, arguments, error, message):
    with pytest.raises(error, match=message):
        predict_grid(model, *arguments)


def test_models_that_do_not_fit():
    with pytest.raises(ValueError, match=r"2 inputs, but layers_dim\[0\] is 3"):
        predict_grid(fastnn.Model([3, 2]), XLIM, YLIM, 5)
    with pytest.raises(TypeError, match="have predict or be callable"):
        predict_grid(7, XLIM, YLIM, 5)
    with pytest.raises(ValueError, match=r"for 25 points it gave shape \(25, 2\)"):
        predict_grid(lambda points: points, XLIM, YLIM, 5)


def test_an_interrupt_comes_through(model):
    predict_grid(model, XLIM, YLIM, 10)
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    timer.start()

    def work():
        while True:
            predict_grid(model, XLIM, YLIM, 1000)

    with pytest.raises(KeyboardInterrupt):
        work()
    timer.join()
    assert predict_grid(model, XLIM, YLIM, 10).shape == (10, 10)
