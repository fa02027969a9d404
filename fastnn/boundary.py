"""Classes over a rectangle of the plane, at the pixels of a picture.

The whole grid of coordinates is never built. A `Model` is evaluated by a fused kernel, band by
band on all cores: Python threads, since kernels hold no lock. Anything else that predicts gets its
points in portions of bounded size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backends import get_backend
from .model import Model
from .threads import available_cores
from .validation import check_count

__all__ = ["predict_grid"]

# Of a band: points enough that a thread's turn is worth its start, and operations few enough that
# Ctrl-C, which waits for its end, is heard.
BAND_POINTS = 1 << 18
BAND_OPERATIONS = 2e9
# Points given to somebody else's predict at once.
PORTION_POINTS = 1 << 16


def predict_grid(
    model: Any,
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    size: int | tuple[int, int],
    n_threads: int | None = None,
) -> NDArray[Any]:
    """Predict at every pixel of a picture.

    Parameters
    ----------
    model : Model, estimator or callable
        A `Model` with two inputs, an object with a method `predict`, or a function, of an (n, 2)
        array.
    xlim, ylim : (float, float)
        The picture's edges.
    size : int or (int, int)
        Pixels: (width, height), or both as one number.
    n_threads : int, optional
        Threads that evaluate a `Model`; all available cores by default.

    Returns
    -------
    array (height, width)
        Predictions at the pixels' centres, rows from ``ylim[0]`` upward. For a `Model` the class
        in the smallest unsigned integer that holds it.

    Raises
    ------
    ValueError
        For a model with other than two inputs, empty or reversed limits, a size below 1.
    TypeError
        For a model that cannot predict.

    Examples
    --------
    >>> from fastnn.boundary import predict_grid
    >>> predict_grid(lambda points: points[:, 0] > points[:, 1], (0, 2), (0, 2), 2)
    array([[False,  True],
           [False, False]])
    """
    width, height = _check_size(size)
    x0, dx = _centres(xlim, width, "xlim")
    y0, dy = _centres(ylim, height, "ylim")
    if isinstance(model, Model):
        if model.layers_dim[0] != 2:
            raise ValueError(
                f"a picture needs a model with 2 inputs, but layers_dim[0] is {model.layers_dim[0]}"
            )
        return _model_grid(model, (x0, dx, y0, dy), width, height, n_threads)
    return _portions(_predictor(model), (x0, dx, y0, dy), width, height)


def _model_grid(
    model: Model, axes: tuple[float, float, float, float], width: int, height: int, n_threads: int | None
) -> NDArray[Any]:
    network, parameters = model._network, model._predicting
    backend = get_backend(model.backend)
    classes = np.empty((height, width), np.min_scalar_type(network.n_outputs - 1))
    n_threads = available_cores() if n_threads is None else check_count(n_threads, "n_threads", 1)
    points = min(BAND_POINTS, int(BAND_OPERATIONS / (2 * network.n_parameters)))
    rows = max(1, min(points // width, -(-height // n_threads)))

    def fill(begin: int) -> None:
        backend.grid_classes(network, parameters, axes, begin, min(begin + rows, height), classes)

    # The first band in this thread: what must be compiled is then compiled once.
    fill(0)
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            for _ in pool.map(fill, range(rows, height, rows)):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return classes


def _portions(
    predict: Callable[[NDArray[Any]], Any],
    axes: tuple[float, float, float, float],
    width: int,
    height: int,
) -> NDArray[Any]:
    result: NDArray[Any] | None = None
    for part, points in _points(axes, width, height):
        values = np.asarray(predict(points))
        if values.shape != (len(points),):
            raise ValueError(
                f"the model must predict one value a point: for {len(points)} points it gave "
                f"shape {values.shape}"
            )
        if result is None:
            result = np.empty(height * width, values.dtype)
        elif result.dtype != values.dtype:  # as strings of another length
            result = result.astype(np.result_type(result, values))
        result[part] = values
    assert result is not None
    return result.reshape(height, width)


def _points(
    axes: tuple[float, float, float, float], width: int, height: int
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    x0, dx, y0, dy = axes
    for first in range(0, width * height, PORTION_POINTS):
        index = np.arange(first, min(first + PORTION_POINTS, width * height))
        points = np.column_stack([x0 + (index % width) * dx, y0 + (index // width) * dy])
        yield slice(first, first + len(index)), points


def _predictor(model: Any) -> Callable[[NDArray[Any]], Any]:
    predict = getattr(model, "predict", model)
    if not callable(predict):
        raise TypeError(f"model must be a fastnn.Model, have predict or be callable, got {model!r}")
    return predict


def _check_size(size: Any) -> tuple[int, int]:
    try:
        width, height = (size, size) if isinstance(size, (int, np.integer)) else size
    except (TypeError, ValueError):
        raise ValueError(f"size must be pixels, (width, height) or one number, got {size!r}") from None
    return check_count(width, "width", 1), check_count(height, "height", 1)


def _centres(limits: tuple[float, float], count: int, name: str) -> tuple[float, float]:
    """Centre of the first pixel, and the step from one to the next."""
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        low = high = np.nan
    step = (high - low) / count
    if not (np.isfinite(step) and step > 0):
        raise ValueError(f"{name} must be two finite numbers, the lower first, got {limits!r}")
    return low + step / 2, step
