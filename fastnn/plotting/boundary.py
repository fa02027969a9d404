"""The decision boundary of a model with data on it, drawn with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..boundary.colours import check_colouring
from ..boundary.drawing import axes_pixels
from ..boundary.render import check_size, render_boundary
from ..boundary.subjects import check_model, known_features, resolve_features
from ..system.validation import check_classes, check_samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Samples", "plot_decision_boundary"]

# Width of the margin around the data, as a share of their range.
MARGIN = 0.1


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
        Anything that `render_boundary` takes.
    X : array-like (n, n_features)
        Samples.
    y : array-like (n,)
        Classes of the samples, as the model predicts them.
    ax : matplotlib Axes, optional
        Axes to draw on; the current ones by default.
    resolution : int or (int, int), optional
        Pixels of the picture: (width, height), or the longer side alone, the other side then in proportion
        to the axes. By default as many pixels as the axes have.
    response : {"class", "probability", "confidence", "margin"}, default "class"
        Quantity to draw; see `render_boundary`.
    features : (int, int) or (str, str), optional
        The features along x and y, by number or by the name of X's column; the first two by default.
    fill : float, array-like (n_features,), or mapping of names, optional
        Values of the other features all over the picture; their means in X by default. Samples have other
        values there, so that a sample may be drawn in another class's region and be classified correctly.
    method, class_of_interest, classes : optional
        See `render_boundary`.
    n_threads : int, optional
        Threads that evaluate a network; all available cores by default.
    progress : bool, default False
        Show a progress bar that counts painted pixels.
    colours : sequence, mapping, str or Colormap, optional
        Colours of the classes, as `render_boundary` takes them; a sequence follows the sorted order of the
        classes of the model and of y together. Samples have these colours, regions paler ones.
    cmap : str or Colormap, optional
        Colormap of a response; matplotlib's "gray" by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        For X that is no finite table or does not have the model's features, y of another length or with
        labels of another kind than the model's, a model that does not predict classes, invalid colours or a
        wrong number of colours. Nothing is drawn then.
    TypeError
        For a model that cannot predict, as when the arguments are in another order.

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
    pixels = axes_pixels(ax)
    size = pixels if resolution is None else check_size(resolution, *pixels)
    image = render_boundary(
        model, samples.xlim, samples.ylim, size,
        response=response, features=samples.features, fill=samples.fill, method=method,
        class_of_interest=class_of_interest, classes=classes, n_threads=n_threads, progress=progress,
    )  # fmt: skip
    image.plot(ax, samples.points, samples.labels, colours=colours, cmap=cmap)
    ax.set(xlabel=samples.names[0], ylabel=samples.names[1])
    return ax


class Samples(NamedTuple):
    """Samples as a picture shows them: two of their features, and the rectangle around them.

    Parameters
    ----------
    points : array (n, 2)
        Values of the two features along x and y.
    labels : array (n,)
        Classes.
    names : (str, str)
        Names of the two features.
    columns : list of str
        Names of all features; empty if they have none.
    features : (int, int)
        Numbers of the two features.
    fill : float, array or mapping, optional
        Values of the other features, as users give them or the means.
    n_features : int
        Number of all features.
    xlim, ylim : (float, float)
        Edges of the picture.
    """

    points: NDArray[np.float64]
    labels: NDArray[Any]
    names: tuple[str, str]
    columns: list[str]
    features: tuple[int, int]
    fill: Any
    n_features: int
    xlim: tuple[float, float]
    ylim: tuple[float, float]

    @classmethod
    def taken(cls, X: Any, y: Any, features: Any, fill: Any) -> Samples:
        """Return checked samples from the arguments of `plot_decision_boundary`."""
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
        """Raise ValueError if a model takes other features than these."""
        expected, names = known_features(model, self.fill)
        if names and self.columns and names != self.columns:
            raise ValueError(f"X must have the model's features as its columns, {names}, got {self.columns}")
        if expected != self.n_features:
            raise ValueError(f"X has {self.n_features} features, but the model takes {expected}")


def _window(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lower left and the upper right corner of a picture of points."""
    low, high = points.min(axis=0), points.max(axis=0)
    # All points may share a coordinate, as a single point does: its magnitude is the scale then.
    span = np.where(high > low, high - low, np.maximum(np.abs(low), 1.0))
    return low - MARGIN * span, high + MARGIN * span
