"""Pictures of decision boundaries drawn on matplotlib axes: regions, the lines between them, and samples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.ma  # np.unique would import it while a thread trains: a child forked then would wait forever
from numpy.typing import ArrayLike, NDArray

from ..system.validation import check_classes, check_samples, shown
from .colours import OUTLINE, chosen_colours, chosen_markers, pale, response_colormap
from .tracing import to_coordinates, trace_pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection, PathCollection

__all__ = [
    "PALE_ALPHA",
    "axes_pixels",
    "check_axes",
    "class_name",
    "draw_lines",
    "draw_picture",
    "draw_samples",
    "drawing_axes",
    "printable",
]

Array = NDArray[Any]

# With at least this many samples, the legend has a fixed position: matplotlib's search for the best one takes
# time.
MANY_POINTS = 2000
# Lines are traced from this many pixels along the longer side, or up to twice as many: a screen shows no
# finer lines.
LINE_PIXELS = 2048
# Widths of the outline of a sample, and of the outline and the white rim around it, in points.
OUTLINE_WIDTH, RIM_WIDTH = 0.6, 2.0
# Opacity of samples that the regions of their picture say nothing about, and their entry in the legend.
PALE_ALPHA, PALE_LABEL = 0.2, "pale: another prediction\noff this plane"
# A formula in a text: dollars that touch it, of which the second comes before no digit, unlike two prices.
FORMULA = re.compile(r"\$(?=\S)[^$\n]*(?<=\S)\$(?!\d)")


def draw_picture(
    data: Array,
    extent: tuple[float, float, float, float],
    classes: Array | None,
    *,
    response: str,
    is_bounded: bool,
    ax: Axes | None = None,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    colours: Any = None,
    cmap: Any = None,
    markers: Any = None,
    is_pale: Array | None = None,
    plane: str = "",
) -> Axes:
    """Draw a picture of a boundary, the lines between its regions, and samples.

    Parameters
    ----------
    data, extent, classes, response, is_bounded
        Attributes of a `BoundaryImage`.
    ax, X, y
        Arguments of `BoundaryImage.plot`.
    colours, cmap : optional
        Colours of the classes and colormap of a response; arguments of `render_boundary`.
    markers : optional
        Markers of the samples; an argument of `plot_decision_boundary`.
    is_pale : array of bool (n,), optional
        True for samples that are drawn pale; None for none.
    plane : str, default ""
        Title of the legend.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        For X without y or y without X, labels of another kind than the classes, and a wrong number of
        colours or markers.
    TypeError
        If `ax` is anything but axes.
    """
    check_axes(ax)
    if (X is None) != (y is None):
        raise ValueError("X and y are drawn together: give both or neither")
    points = None if X is None else check_samples(X, 2, np.dtype(np.float64))
    labels = None if points is None else check_classes(y, len(points))
    drawn_classes = _all_classes(classes, labels)
    shades, shapes = chosen_colours(drawn_classes, colours), chosen_markers(drawn_classes, markers)
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.gca()
    # A picture with far more pixels than the axes looks the same and takes longer to draw.
    stride = max(
        1, min(size // (2 * side) for size, side in zip(data.shape[::-1], axes_pixels(ax), strict=True))
    )
    thinned = data[::stride, ::stride]
    style: dict[str, Any] = {"extent": extent, "origin": "lower", "aspect": "auto"}
    if classes is None:
        lowest = float(thinned.min()) if response == "confidence" else 0.0
        highest = 1.0 if is_bounded else None  # None: the highest value in the picture
        drawn = ax.imshow(thinned, cmap=response_colormap(cmap), vmin=lowest, vmax=highest, **style)
        ax.figure.colorbar(drawn, ax=ax, label=response)
    else:
        from matplotlib.colors import ListedColormap

        order = np.argsort(drawn_classes)
        regions = pale(shades[order[np.searchsorted(drawn_classes, classes, sorter=order)]])
        ax.imshow(
            thinned,
            cmap=ListedColormap(regions.tolist()),
            vmin=-0.5,
            vmax=len(classes) - 0.5,
            interpolation="nearest",
            **style,
        )
        draw_lines(ax, data, extent)
    if points is not None:
        assert labels is not None
        is_full = np.ones(len(points), bool) if is_pale is None else ~is_pale
        look: dict[str, Any] = {"size": 32, "on_response": classes is None}
        draw_samples(ax, points[is_full], labels[is_full], drawn_classes, shades, shapes, **look)
        if not is_full.all():
            members = points[~is_full], labels[~is_full]
            draw_samples(ax, *members, drawn_classes, shades, shapes, **look, is_pale=True)
        place: Any = "best" if len(points) < MANY_POINTS else "upper right"
        ax.legend(loc=place, framealpha=0.9, title=plane or None, title_fontsize="small", alignment="left")
    ax.set(xlim=extent[:2], ylim=extent[2:])
    return ax


def draw_samples(
    ax: Axes, points: Array, labels: Array, classes: Array, shades: Array, shapes: list[Any], *,
    size: float, on_response: bool, is_pale: bool = False,
) -> list[list[PathCollection]]:  # fmt: skip
    """Draw samples (n, 2) in the colours and markers of their classes, and return what shows each class.

    Each class has an entry in the legend, and pale samples have a single one. The outlines of samples on a
    response, whose colours may be as dark as an outline, have a white rim.
    """
    style: dict[str, Any] = {"s": size, "edgecolors": OUTLINE, "linewidths": OUTLINE_WIDTH}
    if is_pale:
        style |= {"alpha": PALE_ALPHA, "zorder": 0.9}  # under the others
        ax.scatter([], [], color="black", label=PALE_LABEL, **style)
    drawn = []
    for label, colour, shape in zip(classes, shades, shapes, strict=True):
        x, y = points[labels == label].T
        # Path effects would draw rims too, but marker by marker: ten thousand take seconds.
        rim = style | {"color": "white", "edgecolors": "white", "linewidths": RIM_WIDTH}
        rims = [ax.scatter(x, y, marker=shape, **rim)] if on_response else []
        # A class without samples has a region, too: draw it for its entry in the legend.
        name = None if is_pale else class_name(label)
        drawn.append([*rims, ax.scatter(x, y, color=colour, marker=shape, label=name, **style)])
    return drawn


def class_name(label: Any) -> str:
    """Return the text for a class in a legend."""
    if not isinstance(label, str):
        return f"class {label}"
    if label.startswith("_"):  # matplotlib leaves out of legends what begins with an underscore
        return r"$\_$" + label[1:].replace("$", r"\$")
    return printable(label)


def printable(text: str) -> str:
    """Return a text that matplotlib can draw: dollar signs that enclose no valid formula are escaped."""
    from matplotlib.mathtext import MathTextParser

    if "$" not in text:
        return text
    if "$" not in FORMULA.sub("", text):
        try:
            MathTextParser("path").parse(text)
        except ValueError:
            pass
        else:
            return text
    return text.replace("$", r"\$")


def check_axes(ax: Any) -> None:
    """Raise TypeError unless the argument `ax` is None or axes of matplotlib."""
    from matplotlib.axes import Axes

    if not (ax is None or isinstance(ax, Axes)):
        raise TypeError(
            f"ax must be axes of matplotlib, got {shown(ax)}: pass one of those that plt.subplots() returns, "
            "or leave ax out to draw on the current axes"
        )


@contextmanager
def drawing_axes(ax: Axes | None) -> Iterator[Axes]:
    """Yield the given axes, or the current ones; remove axes that are new if the block ends in an error."""
    check_axes(ax)
    if ax is not None:
        yield ax
        return
    import matplotlib.pyplot as plt

    is_new = not plt.get_fignums()
    figure = plt.gcf()
    before = list(figure.axes)
    ax = figure.gca()
    try:
        yield ax
    except BaseException:
        if is_new:
            plt.close(figure)
        elif ax not in before:
            ax.remove()
        raise


def axes_pixels(ax: Axes) -> tuple[int, int]:
    """Return the width and height of axes in pixels, at least 1."""
    extent = ax.get_window_extent()
    return max(1, round(extent.width)), max(1, round(extent.height))


def _all_classes(classes: Array | None, labels: Array | None) -> Array:
    """Return the classes of a model and of samples: sorted, or in the model's order if it has all of them."""
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
    return classes if both.size == classes.size else both


def draw_lines(ax: Axes, regions: Array, extent: tuple[float, float, float, float]) -> LineCollection:
    """Draw and return the lines between regions (height, width), given as the class numbers of the pixels."""
    from matplotlib.collections import LineCollection

    height, width = regions.shape
    stride = max(1, max(height, width) // LINE_PIXELS)
    left, right, bottom, top = extent
    xs = left + (right - left) * np.concatenate([[0], (np.arange(0, width, stride) + 0.5) / width, [1]])
    ys = bottom + (top - bottom) * np.concatenate([[0], (np.arange(0, height, stride) + 0.5) / height, [1]])
    lines = to_coordinates(trace_pixels(regions[::stride, ::stride]), xs, ys)
    drawn = LineCollection([line.points for line in lines], colors="0.25", linewidths=1.2)
    ax.add_collection(drawn, autolim=False)
    return drawn
