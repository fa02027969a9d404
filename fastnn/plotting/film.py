"""Frames of an animation: the decision regions of a snapshot, with the samples on top.

matplotlib draws once what all frames share: axes, samples and legend. `render_boundary` paints the regions at
the frame's resolution, and Pillow composes the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels.compiler.interrupts import held_interrupts

from ..boundary.colours import chosen_colours, class_colours, pale, response_colormap
from ..boundary.drawing import PALE_ALPHA, draw_samples
from ..boundary.painters import NetworkPainter, make_painter
from ..boundary.render import render_boundary
from .boundary import PlottedSamples

if TYPE_CHECKING:
    from matplotlib.collections import PathCollection
    from PIL.Image import Image

__all__ = ["USUAL_SIZE", "Film", "Scene", "Snapshot"]

Array = NDArray[Any]

# Size in pixels of a frame with text of full size, and its resolution in pixels per inch.
USUAL_SIZE, USUAL_DPI = (640, 480), 100
# Smallest scale of the text, and smallest width and height of the axes in pixels.
LEAST_SCALE, LEAST_AXES = 0.6, 16
# Number of points along the side of a pixel that are evaluated; their mean colour smooths the edges.
FINENESS = 2
LINE_COLOUR = (64, 64, 64)


class Snapshot(NamedTuple):
    """Copy of a model during its training, and the title of its frame."""

    model: Any
    title: str


class Scene:
    """Samples, and the settings by which a model's regions or responses are drawn behind them."""

    def __init__(
        self, X: Any, y: Any, response: str, class_of_interest: Any, features: Any, fill: Any,
        colours: Any, cmap: Any, known_names: list[str] | None = None,
    ) -> None:  # fmt: skip
        self.X, self.samples = X, PlottedSamples.create(X, y, features, fill, known_names)
        self.response = response
        self.view = {
            "response": response, "class_of_interest": class_of_interest, "features": self.samples.features,
            "fill": self.samples.fill,
        }  # fmt: skip
        self.classes = np.unique(self.samples.labels)
        self._chosen_colours = colours
        # Models may have more classes, to which some chosen colours belong: `find_classes` adds them.
        self.colours = class_colours(len(self.classes))
        self.colormap = response_colormap(cmap)

    def find_classes(self, models: Sequence[Any]) -> None:
        """Add the classes of models and assign the colours; raise ValueError if a model cannot be drawn."""
        for model in models:
            painter = make_painter(model, **self.view)
            if not painter.is_bounded:
                raise ValueError(
                    "response 'margin' of a model without predict_proba has no highest value that frames "
                    "could share: draw single pictures with plot_decision_boundary, or another response"
                )
            if self.response == "class" and painter.classes is not None and len(painter.classes):
                self.classes = np.union1d(self.classes, painter.classes)
        self.colours = chosen_colours(self.classes, self._chosen_colours)

    def accuracy(self, model: Any) -> str:
        """Return the accuracy of a model on the samples, as text."""
        predict = getattr(model, "predict", model)
        return f"{np.mean(np.reshape(predict(self.X), -1) == self.samples.labels):.1%} correct"

    def paint(self, model: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the colours (height, width, 3) of the regions or responses, from the top row down."""
        from PIL import Image

        painter = make_painter(model, **self.view)
        # A response has no edges to smooth, and a model of another library may be slow: evaluate several
        # points per pixel only for the regions of networks.
        is_fine = self.response == "class" and isinstance(painter, NetworkPainter)
        fineness = FINENESS if is_fine else 1
        # A plain function does not name its classes: pass the classes of the samples.
        names_classes = self.response != "class" or (painter.classes is not None and len(painter.classes) > 0)
        image = render_boundary(
            model, self.samples.xlim, self.samples.ylim, (fineness * size[0], fineness * size[1]),
            classes=None if names_classes else self.classes, **self.view,
        )  # fmt: skip
        assert image.data is not None
        data = np.repeat(np.repeat(image.data, FINENESS // fineness, 0), FINENESS // fineness, 1)[::-1]
        if image.classes is None:
            fine = self.colormap(data, bytes=True)[..., :3]
        else:
            regions = pale(self.colours)[np.searchsorted(self.classes, image.classes)]
            table = (255 * regions).round().astype(np.uint8)
            fine = table.take(data, axis=0)
            fine[_edges(data)] = LINE_COLOUR
        return np.asarray(Image.fromarray(fine).reduce(FINENESS))


def _edges(data: Array) -> NDArray[np.bool_]:
    """Return a mask of the points with another class within two points in their row or column."""
    edges = np.zeros(data.shape, bool)
    for axis in (0, 1):
        a, b = np.swapaxes(data, 0, axis), np.swapaxes(edges, 0, axis)
        differs = a[1:] != a[:-1]
        b[1:] |= differs
        b[:-1] |= differs
        b[2:] |= differs[:-1]
        b[:-2] |= differs[1:]
    return edges


class Film:
    """Drawing shared by all frames, which is made once, and the composition of each frame.

    Interrupts wait for the end of a drawing: matplotlib's C++ code would turn a KeyboardInterrupt into a
    ValueError.

    Parameters
    ----------
    scene : Scene
        Samples and settings.
    size : (int, int)
        Width and height of a frame in pixels.
    titles : list of str
        Titles of all frames, for which room is left.
    """

    @held_interrupts()
    def __init__(self, scene: Scene, size: tuple[int, int], titles: list[str]) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.colors import to_rgba
        from matplotlib.figure import Figure

        self._scene, (self._width, self._height) = scene, size
        # Smaller frames have smaller text, which stays legible.
        scale = max(LEAST_SCALE, min(np.divide(size, USUAL_SIZE)))
        self._dpi = USUAL_DPI * scale
        figsize = (size[0] / self._dpi, size[1] / self._dpi)
        # `_lay_out` places the axes: a layout engine, for which a user's rcParams may ask, would warn.
        self._figure = Figure(figsize=figsize, dpi=self._dpi)
        self._figure.set_layout_engine("none")
        self._canvas = FigureCanvasAgg(self._figure)
        # Text and ticks have the colours of the user's style, which may be legible on its background alone.
        colour = np.array(to_rgba(self._figure.get_facecolor()))
        shade = 1 + colour[3] * (colour[:3] - 1)  # on white, if the background is transparent
        self._background = (255 * np.append(shade, 1)).round().astype(np.uint8)
        self._figure.patch.set_visible(False)
        self._dots = self._draw_data()
        self._title = self._figure.text(0, 0, "", fontsize=11, va="top", animated=True)
        self._lay_out(titles)
        self._canvas.draw()
        self._static = self._canvas.copy_from_bbox(self._figure.bbox)

    def _draw_data(self) -> list[PathCollection]:
        """Draw axes, samples and, for a response, the colour bar; return the dots of each class."""
        scene = self._scene
        self._ax = ax = self._figure.add_axes((0.1, 0.1, 0.8, 0.8))
        ax.patch.set_visible(False)
        samples = scene.samples
        ax.set(xlim=samples.xlim, ylim=samples.ylim, xlabel=samples.names[0], ylabel=samples.names[1])
        dots = draw_samples(ax, samples.points, samples.labels, scene.classes, scene.colours, 24)
        if samples.plane:  # each frame has other pale samples
            draw_samples(
                ax,
                samples.points[:0],
                samples.labels[:0],
                scene.classes[:0],
                scene.colours[:0],
                24,
                is_pale=True,
            )
            for group in dots:
                group.set_animated(True)
        self._bar = None
        if scene.response != "class":
            from matplotlib.cm import ScalarMappable

            self._bar = self._figure.add_axes((0.95, 0.1, 0.02, 0.8))
            self._figure.colorbar(ScalarMappable(cmap=scene.colormap), cax=self._bar, label=scene.response)
        return dots

    def _lay_out(self, titles: list[str]) -> None:
        """Place title, legend, axes and colour bar side by side, at whole pixels."""
        from matplotlib.transforms import IdentityTransform

        pad = round(self._dpi * 0.08)
        renderer = self._canvas.get_renderer()
        widths = [1.0]
        for title in dict.fromkeys(titles):
            self._title.set_text(title)
            widths.append(self._title.get_window_extent(renderer).width)
        header = self._title.get_window_extent(renderer).height
        column = 0
        legend = self._legend(len(self._scene.classes) + bool(self._scene.samples.plane))
        extent = legend.get_window_extent(renderer)
        # The title begins at the left edge of the axes, to the right of the labels of the y axis.
        margin = math.ceil(self._margins(self._ax)[0]) + pad
        if margin + max(widths) + 2 * pad + extent.width + pad <= self._width:
            header = max(header, extent.height)
        else:  # the legend does not fit above the axes: place it beside them
            legend.remove()
            legend = self._legend(1)
            column = math.ceil(legend.get_window_extent(renderer).width) + pad
        top = self._height - math.ceil(header) - 2 * pad
        bar = 0 if self._bar is None else round(0.15 * self._dpi)
        # The width of the tick labels depends on the size of the axes: lay out twice.
        for _ in range(2):
            left, bottom, beyond = (math.ceil(margin) for margin in self._margins(self._ax))
            left, bottom, right = left + pad, bottom + pad, self._width - column - max(beyond, pad)
            if self._bar is not None:
                right -= pad + bar + math.ceil(self._margins(self._bar)[2])
            if right - left < LEAST_AXES or top - bottom < LEAST_AXES:
                raise ValueError(
                    f"size {self._width} x {self._height} leaves no room for the axes: choose a larger size"
                )
            self._place(self._ax, left, bottom, right, top)
            if self._bar is not None:
                self._place(self._bar, right + pad, bottom, right + pad + bar, top)
        corner = self._width - pad, top if column else self._height - pad
        legend.set_bbox_to_anchor(corner, transform=IdentityTransform())
        self._title.set_transform(IdentityTransform())
        self._title.set_position((left, self._height - pad))
        room = (self._width - left - pad) / max(widths)
        self._title.set_fontsize(self._title.get_fontsize() * min(1.0, room))
        self._box = left, bottom, right, top

    def _legend(self, n_columns: int) -> Any:
        """Return a new legend with `n_columns` columns."""
        return self._figure.legend(
            frameon=False, loc="upper right", ncols=n_columns, borderaxespad=0, borderpad=0,
            handletextpad=0.1, columnspacing=0.8, title=self._scene.samples.plane or None, alignment="left",
        )  # fmt: skip

    def _margins(self, ax: Any) -> tuple[float, float, float]:
        """Return the extents in pixels of the labels to the left of, below and to the right of axes."""
        renderer = self._canvas.get_renderer()
        box, whole = ax.get_window_extent(renderer), ax.get_tightbbox(renderer)
        return box.x0 - whole.x0, box.y0 - whole.y0, whole.x1 - box.x1

    def _place(self, ax: Any, left: int, bottom: int, right: int, top: int) -> None:
        """Set the edges of axes, in pixels."""
        ax.set_position(
            (left / self._width, bottom / self._height, (right - left) / self._width,
             (top - bottom) / self._height)
        )  # fmt: skip

    @held_interrupts()
    def frame(self, snapshot: Snapshot) -> Image:
        """Return the frame of a snapshot."""
        from PIL import Image

        left, bottom, right, top = self._box
        background = np.tile(self._background, (self._height, self._width, 1))
        rows = slice(self._height - top, self._height - bottom)
        background[rows, left:right, :3] = self._scene.paint(snapshot.model, (right - left, top - bottom))
        self._canvas.restore_region(self._static)
        self._draw_dots(snapshot.model)
        self._title.set_text(snapshot.title)
        self._figure.draw_artist(self._title)
        foreground = Image.fromarray(np.asarray(self._canvas.buffer_rgba()))
        return Image.alpha_composite(Image.fromarray(background), foreground).convert("RGB")

    def _draw_dots(self, model: Any) -> None:
        """Draw the samples if each frame has other pale ones."""
        samples = self._scene.samples
        is_pale = samples.differs_off_plane(model, self._scene.view["class_of_interest"])
        if is_pale is None:
            return
        for label, dots in zip(self._scene.classes, self._dots, strict=True):
            alpha = np.where(is_pale[samples.labels == label], PALE_ALPHA, 1.0)
            if alpha.size:  # matplotlib refuses an empty array
                dots.set_alpha(alpha.tolist())
                self._figure.draw_artist(dots)
