"""Pictures: the decision boundary with the data on it, and how a training went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .boundary import predict_grid
from .validation import check_samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .training import History

__all__ = ["plot_decision_boundary", "plot_history"]

# Of the data's range, added around it.
MARGIN = 0.1
# How much of a class's colour its region has; the rest is white.
REGION_STRENGTH = 0.35
# Pixels along the longer side from which the line of the boundary is drawn: more cannot be seen.
LINE_PIXELS = 1024


def plot_decision_boundary(
    model: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    ax: Axes | None = None,
    resolution: int | tuple[int, int] | None = None,
    n_threads: int | None = None,
) -> Axes:
    """Draw the regions a model decides for, the boundary between them, and the data.

    Parameters
    ----------
    model : Model, estimator or callable
        A `Model` with two inputs, any object with a method `predict`, or a function, that takes an
        (n, 2) array and gives a class for every row.
    X : array-like (n, 2)
        Samples.
    y : array-like (n,)
        Their classes, as the model predicts them.
    ax : matplotlib Axes, optional
        Where to draw; the current axes by default.
    resolution : int or (int, int), optional
        Pixels of the picture: (width, height), or both as one number. By default those of the axes.
    n_threads : int, optional
        Threads that evaluate a `Model`; all available cores by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        For X that is no finite (n, 2) table, y of another length, or a model that does not predict
        classes.

    Examples
    --------
    >>> import fastnn
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(200, noise=0.20, random_state=0)
    >>> model = fastnn.Model([2, 3, 2], random_state=0)
    >>> history = model.train(X, y)
    >>> fastnn.plot_decision_boundary(model, X, y)
    <Axes: xlabel='$x_1$', ylabel='$x_2$'>
    >>> plt.close()
    """
    names = [str(name) for name in getattr(X, "columns", ("$x_1$", "$x_2$"))]
    points = check_samples(X, 2, np.dtype(np.float64))
    labels = np.asarray(y)
    if labels.shape != (len(points),):
        raise ValueError(f"X has {len(points)} samples, but y has shape {labels.shape}: one label a sample")
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.gca()

    (left, bottom), (right, top) = _window(points)
    if resolution is None:
        extent = ax.get_window_extent()
        resolution = max(1, round(extent.width)), max(1, round(extent.height))
    predictions = predict_grid(model, (left, right), (bottom, top), resolution, n_threads)
    classes, regions = _numbered(predictions, labels)

    colours = class_colours(len(classes))
    pale = 1 - REGION_STRENGTH * (1 - colours)
    ax.imshow(
        (pale * 255).round().astype(np.uint8)[regions],
        extent=(left, right, bottom, top),
        origin="lower",
        interpolation="nearest",
        aspect="auto",
    )
    _draw_lines(ax, regions, len(classes), (left, right), (bottom, top))
    for label, colour in zip(classes, colours, strict=True):
        members = points[labels == label]
        # A class without data has its region, and so its line in the legend.
        ax.scatter(
            members[:, 0],
            members[:, 1],
            s=32,
            color=colour,
            edgecolors="white",
            linewidths=0.7,
            label=f"class {label}",
        )
    ax.set(xlim=(left, right), ylim=(bottom, top), xlabel=names[0], ylabel=names[1])
    ax.legend(loc="upper right", framealpha=0.9)
    return ax


def class_colours(count: int) -> NDArray[np.float64]:
    """`count` colours (count, 3) that tell classes apart."""
    from matplotlib import colormaps

    if count <= 10:
        return colormaps["tab10"](np.arange(count))[:, :3]
    return colormaps["turbo"](np.linspace(0.05, 0.95, count))[:, :3]


def _window(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower left and upper right corner of a picture of the points."""
    low, high = points.min(axis=0), points.max(axis=0)
    # Where all points share a coordinate, as a single point does, its own size is the scale.
    span = np.where(high > low, high - low, np.maximum(np.abs(low), 1.0))
    return low - MARGIN * span, high + MARGIN * span


def _numbered(predictions: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The classes in the picture or the data, and the picture in numbers of them."""
    for name, values in (("model predicts", predictions), ("y holds", labels)):
        if values.dtype.kind == "f":
            wrong = values[~np.isfinite(values) | (values != np.floor(values))]
            if wrong.size:
                raise ValueError(f"{name} numbers that are no classes, such as {wrong[0]}")
    found = np.unique(predictions)
    classes = np.union1d(found, np.unique(labels))
    return classes, np.searchsorted(classes, found)[np.searchsorted(found, predictions)]


def _draw_lines(
    ax: Axes, regions: NDArray[np.intp], n_classes: int, xlim: tuple[float, float], ylim: tuple[float, float]
) -> None:
    """The line around every class's region."""
    height, width = regions.shape
    stride = max(1, max(height, width) // LINE_PIXELS)
    coarse = regions[::stride, ::stride]
    if min(coarse.shape) < 2:
        return
    x = xlim[0] + (np.arange(0, width, stride) + 0.5) * (xlim[1] - xlim[0]) / width
    y = ylim[0] + (np.arange(0, height, stride) + 0.5) * (ylim[1] - ylim[0]) / height
    present = np.unique(coarse)
    # The last region is bounded by the lines of the others.
    for number in present[:-1]:
        ax.contour(x, y, coarse == number, levels=[0.5], colors="0.25", linewidths=1.2)


def plot_history(history: History, axes: Any = None) -> Any:
    """Draw a training: losses, learning rate, norm of the gradients and ratios of updates by the pass.

    Parameters
    ----------
    history : History
        What `Model.train` returned.
    axes : sequence of four matplotlib axes, optional
        Where to draw; by default a new figure of two rows and two columns.

    Returns
    -------
    array of four matplotlib axes

    Raises
    ------
    ValueError
        For a history without passes, or another number of axes.

    Examples
    --------
    >>> import fastnn
    >>> import matplotlib.pyplot as plt
    >>> model = fastnn.Model([2, 3, 2], random_state=0)
    >>> history = model.train([[0.0, 1.0], [1.0, 0.0]], [0, 1], num_passes=50)
    >>> [ax.get_ylabel() for ax in fastnn.plot_history(history)]
    ['loss', 'learning rate', 'gradient norm', 'update / weights']
    >>> plt.close()
    """
    if not len(history):
        raise ValueError("history has no passes: train for at least one")
    if axes is None:
        import matplotlib.pyplot as plt

        _, grid = plt.subplots(2, 2, figsize=(9, 6), layout="constrained", sharex=True)
        axes = grid.ravel()
    axes = np.ravel(axes)
    if axes.size != 4:
        raise ValueError(f"axes must be four, got {axes.size}")
    passes = history.passes + 1
    losses, rates, norms, ratios = axes
    curves = (
        (losses, "loss", history.loss), (rates, "learning rate", None),
        (norms, "gradient norm", history.gradient_norm), (ratios, "update / weights", history.update_ratio),
    )  # fmt: skip
    for ax, label, positive in curves:
        ax.set_ylabel(label)
        ax.grid(alpha=0.3)
        if positive is not None and (positive > 0).all():
            ax.set_yscale("log")
    losses.plot(passes, history.loss, label="training")
    if np.isfinite(history.validation_loss).any():
        losses.plot(passes, history.validation_loss, label="validation")
        losses.legend()
    rates.plot(passes, history.learning_rate)
    norms.plot(passes, history.gradient_norm)
    for layer, ratio in enumerate(history.update_ratio.T):
        ratios.plot(passes, ratio, label=f"layer {layer}")
    # The order of magnitude that CS231n names as healthy.
    ratios.axhline(1e-3, color="0.7", linestyle="--", linewidth=1)
    ratios.legend()
    for ax in (norms, ratios):
        ax.set_xlabel("passes")
    return axes
