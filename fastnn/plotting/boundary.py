"""Pictures: the decision boundary with the data on it, and how a training went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..boundary.colours import check_colouring, chosen_colours, pale, response_colormap
from ..boundary.painters import check_model, known_features, resolve_features
from ..boundary.render import BoundaryImage, check_size, render_boundary
from ..boundary.tracing import placed, trace_pixels
from ..system.validation import check_samples, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..training.history import History

__all__ = ["plot_decision_boundary", "plot_history"]

# Of the data's range, added around it.
MARGIN = 0.1
# Of samples, so many that a legend is not fitted in among them.
MANY_POINTS = 2000
# Pixels along the longer side from which the line of the boundary is drawn: more cannot be seen.
LINE_PIXELS = 2048


def plot_decision_boundary(
    model: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    ax: Axes | None = None,
    resolution: int | tuple[int, int] | None = None,
    response: str = "class",
    features: tuple[Any, Any] | None = None,
    fill: ArrayLike | None = None,
    method: str = "auto",
    class_of_interest: Any = None,
    classes: ArrayLike | None = None,
    n_threads: int | None = None,
    progress: bool = False,
    colours: Any = None,
    cmap: Any = None,
) -> Axes:
    """Draw the regions a model decides for, the boundary between them, and the data.

    Parameters
    ----------
    model : Model, estimator, ensemble or callable
        As `render_boundary` takes it.
    X : array-like (n, n_features)
        Samples.
    y : array-like (n,)
        Their classes, as the model predicts them.
    ax : matplotlib Axes, optional
        Where to draw; the current axes by default.
    resolution : int or (int, int), optional
        Pixels of the picture: (width, height), or those of the longer side as one number, the other in
        proportion to the axes. By default those of the axes.
    response : {"class", "probability", "confidence", "margin"}, default "class"
        What is drawn, as `render_boundary` has it.
    features : (int, int) or (str, str), optional
        The features along x and y, by number or by the name of X's column; the first two by default.
    fill : float, array-like (n_features,), or mapping of names, optional
        Values of the other features, which the whole picture has; their means in X by default. Samples lie
        elsewhere in them, so that points may lie in another class's region and be classified correctly.
    method, class_of_interest, classes : optional
        As `render_boundary` has them.
    n_threads : int, optional
        Threads that evaluate a network; all available cores by default.
    progress : bool, default False
        Show a bar of the pixels that are painted.
    colours : sequence, mapping, str or Colormap, optional
        Colours of the classes, as `render_boundary` takes them; a sequence is in the sorted order of the
        classes of the model and of y together. Samples have them, and regions are pale versions.
    cmap : str or Colormap, optional
        Colormap of a response; matplotlib's "gray" by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        For X that is no finite table or does not have the model's features, y of another length or with
        labels that cannot be the model's, a model that does not predict classes, or colours that are none or
        not as many as the classes. Nothing is drawn then.
    TypeError
        For a model that cannot predict, as where the arguments have another order.

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
    check_model(model, "plot_decision_boundary(model, X, y)")
    samples = Samples.taken(X, y, features, fill)
    samples.check_model(model)
    check_colouring(response, colours, cmap)
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.gca()
    pixels = _axes_pixels(ax)
    size = pixels if resolution is None else check_size(resolution, *pixels)
    image = render_boundary(
        model, samples.xlim, samples.ylim, size,
        response=response, features=samples.features, fill=samples.fill, method=method,
        class_of_interest=class_of_interest, classes=classes, n_threads=n_threads, progress=progress,
    )  # fmt: skip
    draw_image(image, ax, samples.points, samples.labels, colours, cmap)
    ax.set(xlabel=samples.names[0], ylabel=samples.names[1])
    return ax


class Samples(NamedTuple):
    """Data to be drawn: what of them is seen, and from where."""

    points: NDArray[np.float64]  # (n, 2), the two features along x and y
    labels: NDArray[Any]  # (n,)
    names: tuple[str, str]  # of the two
    columns: list[str]  # of X, if they have names
    features: tuple[int, int]  # which they are
    fill: Any  # values of the others
    n_features: int
    xlim: tuple[float, float]
    ylim: tuple[float, float]

    @classmethod
    def taken(cls, X: Any, y: Any, features: Any, fill: Any) -> Samples:
        """From what users give."""
        columns = [str(name) for name in getattr(X, "columns", ())]
        table = check_samples(X, None, np.dtype(np.float64))
        n_features = table.shape[1]
        pair = resolve_features(features, n_features, columns)
        points = table[:, list(pair)]
        (left, bottom), (right, top) = _window(points)
        first, second = (columns[k] if columns else f"$x_{k + 1}$" for k in pair)
        if fill is None and n_features > 2:
            fill = table.mean(axis=0)
        return cls(
            points, check_classes(y, len(points)), (first, second), columns, pair, fill, n_features,
            (left, right), (bottom, top),
        )  # fmt: skip

    def check_model(self, model: Any) -> None:
        """Whether a model is one of such data."""
        expected, names = known_features(model, self.fill)
        if names and self.columns and names != self.columns:
            raise ValueError(f"X must have the model's features as its columns, {names}, got {self.columns}")
        if expected != self.n_features:
            raise ValueError(f"X has {self.n_features} features, but the model takes {expected}")


def check_classes(y: Any, n_samples: int) -> NDArray[Any]:
    """Classes of so many samples, text or whole numbers, in an array (n_samples,)."""
    try:
        labels = np.asarray(y)
    except ValueError as error:
        raise ValueError(f"y is no list of labels: {error}") from None
    if labels.shape != (n_samples,):
        raise ValueError(f"X has {n_samples} samples, but y has shape {labels.shape}: one label a sample")
    if labels.dtype.kind == "f":
        wrong = labels[~np.isfinite(labels) | (labels != np.floor(labels))]
        if wrong.size:
            raise ValueError(f"y holds numbers that are no classes, such as {wrong[0]}")
    return labels


def draw_image(
    image: BoundaryImage,
    ax: Axes | None = None,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    colours: Any = None,
    cmap: Any = None,
) -> Axes:
    """Draw a picture of a boundary, the lines around its regions, and samples; see `BoundaryImage.plot`."""
    check_colouring(image.response, colours, cmap)
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.gca()
    if (X is None) != (y is None):
        raise ValueError("X and y are drawn together: give both or neither")
    data, classes = image.data, image.classes
    assert data is not None
    points = None if X is None else check_samples(X, 2, np.dtype(np.float64))
    labels = None if points is None else check_classes(y, len(points))
    shown = _all_classes(classes, labels)
    shades = chosen_colours(shown, image.colours if colours is None else colours)
    # More than the axes have pixels cannot be seen, but takes its time to draw.
    stride = max(
        1, min(size // (2 * seen) for size, seen in zip(data.shape[::-1], _axes_pixels(ax), strict=True))
    )
    seen = data[::stride, ::stride]
    style: dict[str, Any] = {"extent": image.extent, "origin": "lower", "aspect": "auto"}
    if classes is None:
        lowest = float(seen.min()) if image.response == "confidence" else 0.0
        highest = 1.0 if image.is_bounded else None  # the highest there is
        colormap = response_colormap(image.cmap if cmap is None else cmap)
        drawn = ax.imshow(seen, cmap=colormap, vmin=lowest, vmax=highest, **style)
        ax.figure.colorbar(drawn, ax=ax, label=image.response)
    else:
        from matplotlib.colors import ListedColormap

        order = np.argsort(shown)
        regions = pale(shades[order[np.searchsorted(shown, classes, sorter=order)]])
        ax.imshow(
            seen,
            cmap=ListedColormap(regions.tolist()),
            vmin=-0.5,
            vmax=len(classes) - 0.5,
            interpolation="nearest",
            **style,
        )
        _draw_lines(ax, data, image.extent)
    if points is not None:
        for label, colour in zip(shown, shades, strict=True):
            members = points[labels == label]
            # A class without data has its region, and so its line in the legend.
            ax.scatter(
                members[:, 0], members[:, 1], s=32, color=colour, edgecolors="white", linewidths=0.7,
                label=class_name(label),
            )  # fmt: skip
        # To look for the best place takes time with many points.
        ax.legend(loc="best" if len(points) < MANY_POINTS else "upper right", framealpha=0.9)
    ax.set(xlim=image.extent[:2], ylim=image.extent[2:])
    return ax


def _all_classes(classes: NDArray[Any] | None, labels: NDArray[Any] | None) -> NDArray[Any]:
    """Return the classes of a model and those of data, together: sorted, unless the model has all of them."""
    if labels is None:
        return np.empty(0) if classes is None else classes
    if classes is None:
        return np.unique(labels)
    if (classes.dtype.kind in "US") != (labels.dtype.kind in "US"):
        raise ValueError(
            f"y holds labels such as {labels[:1].tolist()}, but the model's classes are {classes.tolist()}: "
            "give the labels as the model predicts them"
        )
    both = np.union1d(classes, labels)
    # A model may have an order of its own.
    return classes if both.size == classes.size and (both != classes).any() else both


def class_name(label: Any) -> str:
    """What a class is called in a legend."""
    return label if isinstance(label, str) else f"class {label}"


def _axes_pixels(ax: Axes) -> tuple[int, int]:
    extent = ax.get_window_extent()
    return max(1, round(extent.width)), max(1, round(extent.height))


def _window(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower left and upper right corner of a picture of the points."""
    low, high = points.min(axis=0), points.max(axis=0)
    # Where all points share a coordinate, as a single point does, its own size is the scale.
    span = np.where(high > low, high - low, np.maximum(np.abs(low), 1.0))
    return low - MARGIN * span, high + MARGIN * span


def _draw_lines(ax: Axes, regions: NDArray[Any], extent: tuple[float, float, float, float]) -> None:
    """The lines between the regions."""
    from matplotlib.collections import LineCollection

    height, width = regions.shape
    stride = max(1, max(height, width) // LINE_PIXELS)
    left, right, bottom, top = extent
    xs = left + (right - left) * np.concatenate([[0], (np.arange(0, width, stride) + 0.5) / width, [1]])
    ys = bottom + (top - bottom) * np.concatenate([[0], (np.arange(0, height, stride) + 0.5) / height, [1]])
    lines = placed(trace_pixels(regions[::stride, ::stride]), xs, ys)
    drawn = LineCollection([line.points for line in lines], colors="0.25", linewidths=1.2)
    ax.add_collection(drawn, autolim=False)


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
    TypeError
        For what is no history, and what are no axes.

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
    from ..training.history import History as Kind

    if not isinstance(history, Kind):
        raise TypeError(f"history must be what Model.train returned, got {shown(history)}")
    if not len(history):
        raise ValueError("history has no passes: train for at least one")
    if axes is None:
        import matplotlib.pyplot as plt

        _, grid = plt.subplots(2, 2, figsize=(9, 6), layout="constrained", sharex=True)
        axes = grid.ravel()
    axes = np.ravel(axes)
    if axes.size != 4:
        raise ValueError(f"axes must be four, got {axes.size}")
    if not all(hasattr(ax, "plot") for ax in axes):
        raise TypeError(f"axes must be four axes of matplotlib, got {shown(axes.tolist())}")
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
