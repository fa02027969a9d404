"""plot_decision_boundary: the decision boundary of a model and the samples, drawn by matplotlib."""

from __future__ import annotations

import datetime
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..boundary.colours import check_colouring
from ..boundary.drawing import axes_pixels, draw_picture, drawing_axes, printable
from ..boundary.render import check_size, render_boundary
from ..boundary.subjects import (
    NUMBERS_ALONE,
    Section,
    by_names,
    check_model,
    fixed_values,
    known_features,
    resolve_features,
)
from ..system.validation import check_classes, check_samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PlottedSamples", "plot_decision_boundary"]

# Width of the margin around the samples, as a fraction of their range.
MARGIN = 0.1
# Largest number of features whose values in the plane of a picture are named.
MAX_NAMED = 4


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
    markers: Any = None,
) -> Axes:
    """Draw the decision regions of a model, the boundary between them, and the samples.

    Parameters
    ----------
    model : Model, estimator, ensemble or callable
        Model, or anything else that `render_boundary` accepts.
    X : array-like (n, n_features)
        Samples.
    y : array-like (n,)
        Classes of the samples, in the form in which the model predicts classes.
    ax : matplotlib Axes, optional
        Axes to draw on; by default the current axes.
    resolution : int or (int, int), optional
        Size of the picture in pixels: (width, height), or the longer side alone; the other side is then in
        proportion to the axes. By default the size of the axes in pixels.
    response : {"class", "probability", "confidence", "margin"}, default "class"
        Quantity to draw; see `render_boundary`.
    features : (int, int) or (str, str), optional
        Features along x and y, by number or by the name of X's column; by default the first two.
    fill : float, array-like (n_features,), or mapping of names, optional
        Values of the other features, constant over the picture, which the legend names; by default their
        means in X. The samples have other values of these features: those whose predicted class is not that
        of the region they lie in are pale.
    method, class_of_interest, classes : optional
        See `render_boundary`.
    n_threads : int, optional
        Number of threads that evaluate a network; by default the number of available cores.
    progress : bool, default False
        Show a progress bar of the painted pixels.
    colours : sequence, mapping, str or Colormap, optional
        Colours of the classes; see `render_boundary`. A sequence follows the sorted order of all classes, of
        the model and of y. Samples have these colours, regions paler ones.
    cmap : str or Colormap, optional
        Colormap of a response other than "class"; by default matplotlib's "gray".
    markers : sequence, mapping or str, optional
        Markers of the samples: one per class, in the order of `colours`, or a mapping of labels to markers,
        each one of matplotlib's filled markers, such as "s" or "^"; or "auto", a different marker for every
        class (up to ten). By default all samples are dots.

    Returns
    -------
    matplotlib Axes
        Axes with the drawing.

    Raises
    ------
    ValueError
        If X is not a table of finite numbers or does not have the model's features; if y has another length
        or another kind of labels than the model; if the model does not predict classes; or if the colours
        or markers are invalid or their number is wrong. Nothing is then drawn.
    TypeError
        If the model cannot predict, as when the arguments are in another order, or `ax` is anything but axes.

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
    _check_numbers(X)
    samples = PlottedSamples.create(X, y, features, fill, known_features(model, None)[1])
    samples.check_model(model)
    check_colouring(response, colours, cmap, markers)
    with drawing_axes(ax) as axes:
        pixels = axes_pixels(axes)
        size = pixels if resolution is None else check_size(resolution, *pixels, name="resolution")
        image = render_boundary(
            model, samples.xlim, samples.ylim, size,
            response=response, features=samples.features, fill=samples.fill, method=method,
            class_of_interest=class_of_interest, classes=classes, n_threads=n_threads, progress=progress,
        )  # fmt: skip
        assert image.data is not None
        draw_picture(
            image.data, image.extent, image.classes, response=response, is_bounded=image.is_bounded, ax=axes,
            X=samples.points, y=samples.labels, colours=colours, cmap=cmap, markers=markers,
            is_pale=samples.differs_off_plane(model, class_of_interest), plane=samples.plane,
        )  # fmt: skip
        axes.set(xlabel=samples.names[0], ylabel=samples.names[1])
    return axes


class PlottedSamples(NamedTuple):
    """Samples of a picture: two of their features, their classes, and the edges of the picture.

    Parameters
    ----------
    table : array (n, n_features)
        Values of all features.
    labels : array (n,)
        Classes of the samples.
    names : (str, str)
        Names of the two features.
    columns : list of str
        Names of all features; empty if X has no names.
    features : (int, int)
        Numbers of the two features.
    fill : optional
        Values (n_features,) of all features, with 0 for the two; the user's argument if there are no others.
    plane : str
        Lines with the values of the other features; empty if there are none.
    xlim, ylim : (float, float)
        Limits of the picture along x and y.
    """

    table: NDArray[np.float64]
    labels: NDArray[Any]
    names: tuple[str, str]
    columns: list[str]
    features: tuple[int, int]
    fill: Any
    plane: str
    xlim: tuple[float, float]
    ylim: tuple[float, float]

    @property
    def points(self) -> NDArray[np.float64]:
        """Values (n, 2) of the two features along x and y."""
        return self.table[:, list(self.features)]

    @classmethod
    def create(
        cls, X: Any, y: Any, features: Any, fill: Any, known_names: list[str] | None
    ) -> PlottedSamples:
        """Check the arguments of `plot_decision_boundary`, and return the samples.

        The names of the features that the model knows are those of the values in `fill` if X has no names.
        """
        columns = [str(name) for name in _column_names(X)]
        table = check_samples(X, None, np.dtype(np.float64))
        n_features = table.shape[1]
        pair = resolve_features(features, n_features, columns)
        (left, bottom), (right, top) = _window(table[:, list(pair)])
        names = [printable(name) for name in columns] or [f"$x_{k + 1}$" for k in range(n_features)]
        labels, plane = check_classes(y, len(table)), ""
        others = [k for k in range(n_features) if k not in pair]
        if others:
            how = "at their means" if fill is None else "at fixed values"
            given = table.mean(axis=0) if fill is None else fill
            fill = fixed_values(given, n_features, pair, columns or known_names)
            values = [f"at {names[k]} = {fill[k]:.4g}" for k in others]
            plane = "\n".join(values) if len(others) <= MAX_NAMED else f"{len(others)} other features\n{how}"
        return cls(
            table, labels, (names[pair[0]], names[pair[1]]), columns, pair, fill, plane, (left, right),
            (bottom, top),
        )  # fmt: skip

    def check_model(self, model: Any) -> None:
        """Raise ValueError if a model has other features than the samples."""
        expected, names = known_features(model, self.fill)
        if names and self.columns and names != self.columns:
            raise ValueError(f"X must have the model's features as its columns, {names}, got {self.columns}")
        n_features = self.table.shape[1]
        if expected != n_features:
            raise ValueError(f"X has {n_features} features, but the model takes {expected}")

    def differs_off_plane(self, model: Any, class_of_interest: Any) -> NDArray[np.bool_] | None:
        """Return which samples a model gives another class than their region; None if none may have one."""
        if not self.plane:
            return None
        section = Section(self.features, self.fill, known_features(model, self.fill)[1])
        methods = ("predict", "predict_proba", "decision_function")
        predict = next((getattr(model, name) for name in methods if hasattr(model, name)), model)
        if section.names is not None:
            predict = by_names(predict, section.names)
        own, shown = (np.asarray(predict(X)) for X in (self.table, section.samples(*self.points.T)))
        if own.ndim > 1 and own.shape[1] > 1:  # probabilities, or a column for each label
            if hasattr(model, "predict"):
                return own[:, class_of_interest] != shown[:, class_of_interest]
            own, shown = own.argmax(axis=1), shown.argmax(axis=1)
        return (own != shown).reshape(-1)


def _column_names(X: Any) -> list[Hashable]:
    """Return the names of the columns of a dataframe or a PyArrow table; none of an array."""
    names = list(getattr(X, "columns", ()))
    are_names = all(isinstance(name, Hashable) for name in names)  # those of a PyArrow table are its arrays
    return names if are_names else list(X.column_names)


def _check_numbers(X: Any) -> None:
    """Raise ValueError if columns of a dataframe hold text or dates."""
    columns = [(str(name), np.asarray(X[name])) for name in _column_names(X)]
    others = [
        name
        for name, values in columns
        if values.dtype.kind not in "fiubcO"
        or (values.dtype.kind == "O" and any(isinstance(v, str | datetime.date) for v in values.ravel()))
    ]
    if others:
        raise ValueError(f"X must hold only numbers, but has the columns {others}: {NUMBERS_ALONE}")


def _window(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lower left and upper right corners of the picture: those of the points, with a margin."""
    low, high = points.min(axis=0), points.max(axis=0)
    # If all points share a coordinate, their range is 0: take the coordinate's magnitude, or at least 1.
    span = np.where(high > low, high - low, np.maximum(np.abs(low), 1.0))
    return low - MARGIN * span, high + MARGIN * span
