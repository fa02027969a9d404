"""plot_decision_boundary: the boundary or the surface of a model and the samples, drawn by matplotlib."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn.base
from numpy.typing import ArrayLike

from ..boundary.colours import OUTLINE, check_colouring, response_colormap
from ..boundary.drawing import (
    OUTLINE_WIDTH,
    RIM_WIDTH,
    SAMPLE_SIZE,
    axes_pixels,
    draw_picture,
    escape_dollars,
    open_axes,
    place_legend,
)
from ..boundary.image import BoundaryImage
from ..boundary.painters import make_painter
from ..boundary.render import paint_picture
from ..boundary.subjects import (
    NUMBERS_ALONE,
    Features,
    Fill,
    Overlay,
    Section,
    Subject,
    check_model,
    make_subject,
)
from ..boundary.view import check_size, make_view
from ..model import Model
from ..system.validation import Array, check_classes, check_real_array, check_samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

    from ..boundary.colours import Colours, Markers

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
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    resolution: int | tuple[int, int] | None = None,
    response: str = "class",
    features: Features | None = None,
    fill: Fill | None = None,
    method: str = "auto",
    class_of_interest: Any = None,
    classes: ArrayLike | None = None,
    n_threads: int | None = None,
    progress: bool = False,
    colours: Colours | None = None,
    cmap: str | Colormap | None = None,
    markers: Markers | None = None,
) -> Axes:
    """Draw the decision regions of a model, the boundary between them, and the samples.

    The predictions of a regressor are drawn as a surface: the colours of the plane are predicted numbers, the
    colours of the samples are targets, both on one scale.

    Parameters
    ----------
    model : Model, estimator, ensemble or callable
        Anything that `render_boundary` accepts, or a regressor.
    X : array-like (n, n_features)
        Samples.
    y : array-like (n,)
        Classes of the samples, in the form in which the model predicts classes; targets of a regressor. For
        a model of several labels, the values of one label, or a column for each.
    ax : matplotlib Axes, optional
        Axes to draw on; by default a new figure's.
    xlim, ylim : (float, float), optional
        Edges of the picture; by default the range of the samples, with a margin of a tenth on each side.
    resolution : int or (int, int), optional
        Size of the picture in pixels: (width, height), or the longer side alone; the other side is then in
        proportion to the axes. By default the size of the axes in pixels.
    response : {"class", "probability", "confidence", "margin"}, default "class"
        Quantity to draw; see `render_boundary`.
    features : (int, int) or (str, str), optional
        Features along x and y, by number or by the name of X's column; by default the first two.
    fill : float, array-like (n_features,), or mapping of names, optional
        Values of the other features, which the legend names; by default their means in X. The samples have
        other values: a sample is pale if its predicted class differs from the class of its region.
    method, class_of_interest, classes, n_threads, progress : optional
        See `render_boundary`.
    colours : sequence, mapping, str or Colormap, optional
        Colours of the classes; see `render_boundary`. A sequence follows the sorted order of all classes, of
        the model and of y. Samples have these colours, regions paler ones.
    cmap : str or Colormap, optional
        Colormap of a response other than "class", or of a regressor. By default a probability has the colour
        of its class, on the other's if there are two; a regressor has "viridis", and another response
        "gray".
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
        If X is not a table of finite numbers with the model's features; if y has another length or another
        kind of labels than the model; if the model predicts neither classes nor one number; or if an argument
        is invalid or does not suit the model. Nothing is then drawn.
    TypeError
        If the model cannot predict, as when the arguments are in another order, or `ax` is anything but
        rectilinear axes.

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
    call = "plot_decision_boundary(model, X, y)"
    check_model(model, call)
    columns = _read_names(X)
    samples = Overlay(check_samples(X, None, np.dtype(np.float64)), columns)
    regresses = is_regressor(model)
    choices = features, fill, class_of_interest, classes
    subject = make_subject(model, call, *choices, samples=samples, may_regress=regresses)
    points = samples.table[:, list(subject.section.features)]
    how = "at their means" if fill is None else "at fixed values"
    names, plane = _name_axes(subject.section, columns, how)
    if regresses:
        _refuse_choices_of_classes(
            method=method != "auto",
            response=response != "class",
            class_of_interest=class_of_interest is not None,
            classes=classes is not None,
            colours=colours is not None,
            markers=markers is not None,
        )
        _predict_numbers(subject, samples.table[:1])  # refuses a model of several targets
        targets = _check_targets(y, len(points))
        # The margin of a single score is the score: the number that is predicted.
        subject = replace(subject, scores=partial(_predict_numbers, subject), is_bounded=False)
        response = "margin"
        draw: Callable[[BoundaryImage, Axes], Any] = partial(
            _draw_surface, X=points, y=targets, cmap=cmap, plane=plane
        )
    else:
        labels = check_classes(y, len(points), subject.n_labels, class_of_interest)
        check_colouring(response, colours, cmap, markers)
        is_pale = _differs_off_plane(subject, samples.table, points) if plane else None
        look: dict[str, Any] = {"colours": colours, "cmap": cmap, "markers": markers}
        draw = partial(draw_picture, X=points, y=labels, **look, is_pale=is_pale, plane=plane)
    low, high = points.min(axis=0), points.max(axis=0)
    # If all points share a coordinate, their range is 0: take the coordinate's magnitude, or at least 1.
    margins = MARGIN * np.where(high > low, high - low, np.maximum(np.abs(low), 1.0))
    limits = np.stack([low - margins, high + margins], axis=1)
    with open_axes(ax) as axes:
        pixels = axes_pixels(axes)
        size = pixels if resolution is None else check_size(resolution, *pixels, name="resolution")
        view = make_view(limits[0] if xlim is None else xlim, limits[1] if ylim is None else ylim, size)
        painter = make_painter(subject, response, method, class_of_interest, view.n_pixels)
        draw(paint_picture(painter, view, n_threads=n_threads, progress=progress), axes)
        axes.set(xlabel=names[0], ylabel=names[1])
    return axes


def _refuse_choices_of_classes(**arguments: bool) -> None:
    given = [name for name, is_given in arguments.items() if is_given]
    if given:
        raise ValueError(f"{given[0]} is for classes, but the model is a regressor: leave it out")


def is_regressor(model: Any) -> bool:
    """Return True if a model predicts numbers."""
    if isinstance(model, Model):
        return not (model.loss.of_labels or model.loss.output == "sigmoid")
    return hasattr(model, "__sklearn_tags__") and sklearn.base.is_regressor(model)


def _check_targets(y: ArrayLike, n_samples: int) -> Array:
    targets = check_real_array(y, "y")
    if targets.shape not in ((n_samples,), (n_samples, 1)):
        raise ValueError(f"X has {n_samples} samples, but y has shape {targets.shape}")
    if not np.isfinite(targets).all():
        raise ValueError("y must hold finite numbers")
    return targets.ravel()


def _predict_numbers(subject: Subject, samples: Array) -> Array:
    assert subject.predict is not None
    numbers = np.asarray(subject.predict(samples), np.float64).reshape(len(samples), -1)
    if numbers.shape[1] != 1:
        raise ValueError(f"a surface shows one number, but the model predicts {numbers.shape[1]}")
    return numbers


def _draw_surface(
    image: BoundaryImage, ax: Axes, *, X: Array, y: Array, cmap: str | Colormap | None, plane: str
) -> None:
    """Draw the numbers that a regressor predicts, and samples in the colours of their targets."""
    shades = response_colormap("viridis" if cmap is None else cmap)
    look: dict[str, Any] = {"cmap": shades, "vmin": y.min(), "vmax": y.max()}
    assert image.data is not None
    drawn = ax.imshow(image.data, extent=image.extent, origin="lower", aspect="auto", **look)
    ax.figure.colorbar(drawn, ax=ax, label="prediction, and target of a sample", extend="both")
    ax.scatter(X[:, 0], X[:, 1], s=SAMPLE_SIZE, color="white", linewidths=RIM_WIDTH)
    ax.scatter(X[:, 0], X[:, 1], s=SAMPLE_SIZE, c=y, edgecolors=OUTLINE, linewidths=OUTLINE_WIDTH, **look)
    ax.set(xlim=image.extent[:2], ylim=image.extent[2:])
    if plane:
        place_legend(ax, X, plane)


def _name_axes(section: Section, columns: list[str], how: str) -> tuple[list[str], str]:
    """Return the names of the axes, and lines with the values of the other features."""
    names = [escape_dollars(name) for name in columns] or [f"$x_{k + 1}$" for k in range(section.fixed.size)]
    others = [k for k in range(section.fixed.size) if k not in section.features]
    values = [f"at {names[k]} = {section.fixed[k]:.4g}" for k in others]
    plane = "\n".join(values) if len(others) <= MAX_NAMED else f"{len(others)} other features\n{how}"
    return [names[k] for k in section.features], plane


def _differs_off_plane(subject: Subject, table: Array, points: Array) -> Array:
    """Return a mask of the samples whose predicted class is not their region's."""
    predict: Any = subject.predict or subject.scores
    own, shown = (np.asarray(predict(X)) for X in (table, subject.section.samples(*points.T)))
    if own.ndim > 1:  # probabilities
        own, shown = own.argmax(axis=1), shown.argmax(axis=1)
    return own != shown


def _read_names(X: Any) -> list[str]:
    """Return the names of the columns of a table, none of an array; text and dates are a ValueError."""
    names = list(getattr(X, "columns", ()))
    if not all(isinstance(name, Hashable) for name in names):  # PyArrow's `columns` are arrays
        names = list(X.column_names)
    others = []
    for name in names:
        values = np.asarray(X[name])
        kind = values.dtype.kind
        holds_others = kind == "O" and any(isinstance(one, str | datetime.date) for one in values.ravel())
        if holds_others or kind not in "fiubcO":
            others.append(str(name))
    if others:
        raise ValueError(f"X must hold only numbers, but has the columns {others}: {NUMBERS_ALONE}")
    return [str(name) for name in names]
