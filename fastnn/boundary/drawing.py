"""Pictures of decision boundaries drawn on matplotlib axes: regions, the lines between them, and samples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import ListedColormap
from numpy.typing import ArrayLike

from ..network.description import Array
from ..system.validation import check_classes, check_samples, short_repr
from .colours import OUTLINE, choose_colours, choose_markers, lighten, probability_colormap, response_colormap
from .contours import trace_pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

    from .colours import Colours, Markers
    from .image import BoundaryImage

# Lines are traced from this many pixels along the longer side, up to twice as many; screens show no finer.
LINE_PIXELS = 1024
# Area of a sample in square points, and widths of its outline and of the outline and the white rim around it.
SAMPLE_SIZE, OUTLINE_WIDTH, RIM_WIDTH = 32, 0.6, 2.0
# Opacity of samples that the regions of their picture say nothing about, and their entry in the legend.
PALE_ALPHA, PALE_LABEL = 0.2, "pale: another prediction\noff this plane"
# Places of a legend within axes, and the corners of the axes where they are.
PLACES: dict[Any, Any] = {"upper right": "NE", "upper left": "NW", "lower left": "SW", "lower right": "SE"}
# A formula in a text: dollars that touch it, of which the second comes before no digit, unlike two prices.
FORMULA = re.compile(r"\$(?=\S)[^$\n]*(?<=\S)\$(?!\d)")

# Label, colour and marker of each class.
Looks = list[tuple[Any, Array, Any]]


def draw_picture(
    image: BoundaryImage,
    ax: Axes | None = None,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    colours: Colours | None = None,
    cmap: str | Colormap | None = None,
    markers: Markers | None = None,
    is_pale: Array | None = None,
    plane: str = "",
) -> Axes:
    """Draw a picture that has `data`, the lines between its regions, and samples.

    See `BoundaryImage.plot` for the other arguments and the errors; `is_pale` (n,) tells the samples
    that are drawn pale, None for none, and `plane` is the title of the legend.
    """
    assert image.data is not None
    if (X is None) != (y is None):
        raise ValueError("X and y are drawn together: give both or neither")
    points = None if X is None else check_samples(X, 2, np.dtype(np.float64))
    labels = None if points is None else check_classes(y, len(points))
    classes = _merge_classes(image.known_classes if image.classes is None else image.classes, labels)
    shades, shapes = choose_colours(classes, colours), choose_markers(classes, markers)
    with open_axes(ax) as axes:
        _draw_pixels(image, axes, classes, shades, cmap)
        axes.set(xlim=image.extent[:2], ylim=image.extent[2:])
        if points is not None:
            assert labels is not None
            looks = list(zip(classes, shades, shapes, strict=True))
            on_response = image.classes is None
            is_full = np.ones(len(points), bool) if is_pale is None else ~is_pale
            _draw_samples(axes, points[is_full], labels[is_full], looks, on_response)
            if is_pale is not None:
                _draw_samples(axes, points[is_pale], labels[is_pale], looks, on_response, is_pale=True)
            place_legend(axes, points, plane)
    return axes


def _draw_pixels(
    image: BoundaryImage, ax: Axes, classes: Array, shades: Array, cmap: str | Colormap | None
) -> None:
    """Draw regions of classes, whose colours are `shades`, and lines; or a response with its colour bar."""
    assert image.data is not None
    # A picture with far more pixels than the axes looks the same and takes longer to draw.
    sides = zip(image.data.shape[::-1], axes_pixels(ax), strict=True)
    stride = max(1, min(size // (2 * side) for size, side in sides))
    pixels = image.data[::stride, ::stride]
    style: dict[str, Any] = {"extent": image.extent, "origin": "lower", "aspect": "auto"}
    order = np.argsort(classes)
    if image.classes is not None:
        regions = lighten(shades[order[np.searchsorted(classes, image.classes, sorter=order)]])
        style |= {"cmap": ListedColormap(regions.tolist()), "interpolation": "nearest"}
        ax.imshow(pixels, vmin=-0.5, vmax=len(regions) - 0.5, **style)
        draw_lines(ax, image.data, image.extent)
        return
    label = image.response
    if image.response == "probability" and image.known_classes is not None:
        of_class = image.known_classes[image.class_index]
        label = f"probability of {format_class(of_class)}"
        if cmap is None:
            place = order[np.searchsorted(classes, of_class, sorter=order)]
            cmap = probability_colormap(shades, place)
    lowest = float(pixels.min()) if image.response == "confidence" else 0.0
    highest = 1.0 if image.is_bounded else None  # None: the highest value in the picture
    drawn = ax.imshow(pixels, cmap=response_colormap(cmap), vmin=lowest, vmax=highest, **style)
    ax.figure.colorbar(drawn, ax=ax, label=label)


def place_legend(ax: Axes, points: Array, title: str) -> None:
    """Add the legend where it covers no sample: within the axes, or else beside them."""
    handles, _ = ax.get_legend_handles_labels()
    legend = ax.legend(
        handles=handles, framealpha=0.9, title=title or None, title_fontsize="small", alignment="left"
    )
    pixels_per_point = ax.figure.dpi / 72
    frame = ax.bbox.padded(-pixels_per_point * legend.prop.get_size_in_points() * legend.borderaxespad)
    box, pixels = legend.get_window_extent(), ax.transData.transform(points)
    radius = pixels_per_point * (SAMPLE_SIZE**0.5 + RIM_WIDTH) / 2
    for place, corner in PLACES.items():
        low, high = box.anchored(corner, frame).padded(radius).get_points()
        if not ((low <= pixels) & (pixels <= high)).all(axis=1).any():
            legend.set_loc(place)
            return
    legend.set_loc("upper left")
    legend.set_bbox_to_anchor((1.0, 1.0), ax.transAxes)
    if ax.figure.get_layout_engine() is None:  # nothing else makes room
        position = ax.get_position()
        width = (box.width + ax.bbox.width - frame.width) / ax.figure.bbox.width
        position.x1 = max(position.x1 - width, position.x0 + position.width / 3)
        ax.set_position(position)


def _draw_samples(
    ax: Axes, points: Array, labels: Array, looks: Looks, on_response: bool, is_pale: bool = False
) -> None:
    """Draw samples (n, 2) in the colours and markers of their classes.

    Each class has an entry in the legend, and pale samples have a single one. The outlines of samples on a
    response, whose colours may be as dark as an outline, have a white rim.
    """
    style: dict[str, Any] = {"s": SAMPLE_SIZE, "edgecolors": OUTLINE, "linewidths": OUTLINE_WIDTH}
    if is_pale:
        style |= {"alpha": PALE_ALPHA, "zorder": 0.9}  # under the others
        ax.scatter([], [], color="black", label=PALE_LABEL, **style)
    for label, colour, shape in looks:
        x, y = points[labels == label].T
        # Path effects would draw rims too, but marker by marker, which takes seconds for ten thousand.
        rim = style | {"color": "white", "edgecolors": "white", "linewidths": RIM_WIDTH}
        if on_response:
            ax.scatter(x, y, marker=shape, **rim)
        # A class without samples has a region, too, and needs its entry in the legend.
        name = None if is_pale else format_class(label)
        ax.scatter(x, y, color=colour, marker=shape, label=name, **style)


def format_class(label: Any) -> str:
    if not isinstance(label, str):
        return f"class {label}"
    if label.startswith("_"):  # matplotlib leaves out of legends what begins with an underscore
        return r"$\_$" + label[1:].replace("$", r"\$")
    return escape_dollars(label)


def escape_dollars(text: str) -> str:
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
    """Raise TypeError unless the argument `ax` is None or axes of matplotlib with two straight axes."""
    from matplotlib.axes import Axes

    if not (ax is None or isinstance(ax, Axes)):
        raise TypeError(
            f"ax must be axes of matplotlib, got {short_repr(ax)}: pass axes that plt.subplots() returns, "
            "or leave ax out to draw on a new figure"
        )
    if ax is not None and ax.name != "rectilinear":
        raise TypeError(f"ax must be rectilinear axes, got the projection {ax.name!r}: leave projection out")


@contextmanager
def open_axes(ax: Axes | None) -> Iterator[Axes]:
    """Yield the given axes, or axes of a new figure, which is closed if the block ends in an error."""
    check_axes(ax)
    if ax is not None:
        yield ax
        return
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    try:
        yield ax
    except BaseException:
        plt.close(figure)
        raise


def axes_pixels(ax: Axes) -> tuple[int, int]:
    extent = ax.get_window_extent()
    return max(1, round(extent.width)), max(1, round(extent.height))


def _merge_classes(classes: Array | None, labels: Array | None) -> Array:
    """Return the classes of a model and of samples: sorted, or in the model's order if it has all of them."""
    if labels is None:
        return np.empty(0) if classes is None else classes
    if classes is None:
        return np.unique(labels)
    if isinstance(classes.tolist()[0], str) != isinstance(labels.tolist()[0], str):
        raise ValueError(
            f"y holds labels such as {labels[:1].tolist()}, but the model's classes are {classes.tolist()}: "
            "give the labels as the model predicts them"
        )
    both = np.union1d(classes, labels.astype(classes.dtype) if classes.dtype.kind == "O" else labels)
    return classes if both.size == classes.size else both


def draw_lines(ax: Axes, regions: Array, extent: tuple[float, float, float, float]) -> None:
    """Draw the lines between regions (height, width), given as the class numbers of the pixels."""
    from matplotlib.collections import LineCollection

    left, right, bottom, top = extent
    stride = max(1, max(regions.shape) // LINE_PIXELS)
    traced = regions[stride // 2 :: stride, stride // 2 :: stride]
    scale = (right - left) / traced.shape[1], (top - bottom) / traced.shape[0]
    lines = [line * scale + (left, bottom) for line in trace_pixels(traced)]
    ax.add_collection(LineCollection(lines, colors="0.25", linewidths=1.2), autolim=False)
