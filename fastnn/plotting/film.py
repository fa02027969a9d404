"""Frames of an animation: the decision regions of a snapshot, with the samples on top.

matplotlib lays out axes, samples and legend once. Each frame has another title and shows other regions, which
`render_boundary` paints at the frame's resolution.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.ma  # np.unique would import it while a thread trains: a child forked then would wait forever

from fastnn_kernels.compiler.interrupts import held_interrupts

from ..boundary.colours import chosen_colours, chosen_markers, class_colours, pale, response_colormap
from ..boundary.drawing import PALE_ALPHA, axes_pixels, draw_lines, draw_samples
from ..boundary.image import BoundaryImage
from ..boundary.painters import make_painter
from ..boundary.render import render_boundary
from .boundary import PlottedSamples

if TYPE_CHECKING:
    from matplotlib.legend import Legend

__all__ = ["USUAL_SIZE", "Film", "Scene"]

# Size in pixels of a frame with text of full size, and its resolution in pixels per inch.
USUAL_SIZE, USUAL_DPI = (640, 480), 100
# Smallest scale of the text, and smallest width and height of the axes in pixels.
MIN_SCALE, MIN_AXES = 0.6, 16


class Scene:
    """Samples, and the settings by which a model's regions or responses are drawn behind them."""

    def __init__(
        self, X: Any, y: Any, response: str, class_of_interest: Any, features: Any, fill: Any,
        colours: Any, cmap: Any, known_names: list[str] | None = None, markers: Any = None,
    ) -> None:  # fmt: skip
        self.X, self.samples = X, PlottedSamples.create(X, y, features, fill, known_names)
        self.response = response
        self.view = {
            "response": response, "class_of_interest": class_of_interest, "features": self.samples.features,
            "fill": self.samples.fill,
        }  # fmt: skip
        self.classes = np.unique(self.samples.labels)
        self._chosen_colours, self._chosen_markers = colours, markers
        # Models may have more classes, to which some chosen colours belong: `find_classes` adds them.
        self.colours, self.markers = class_colours(len(self.classes)), ["o"] * len(self.classes)
        self.colormap = response_colormap(cmap)

    def find_classes(self, models: Sequence[Any]) -> None:
        """Add the models' classes, choose colours and markers; raise ValueError if a model has no picture."""
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
        self.markers = chosen_markers(self.classes, self._chosen_markers)

    def accuracy(self, model: Any) -> str:
        """Return the accuracy of a model on the samples, as text."""
        predict = getattr(model, "predict", model)
        return f"{np.mean(np.reshape(predict(self.X), -1) == self.samples.labels):.1%} correct"

    def render(self, model: Any, size: tuple[int, int]) -> BoundaryImage:
        """Return the picture of a model's regions or responses."""
        # A plain function does not name its classes: pass the classes of the samples.
        classes = self.classes if make_painter(model, **self.view).finds_classes else None
        return render_boundary(
            model, self.samples.xlim, self.samples.ylim, size, classes=classes, **self.view
        )


class Film:
    """Figure that shows one frame after the other.

    Parameters
    ----------
    scene : Scene
        Samples and settings.
    size : (int, int)
        Width and height of a frame in pixels.
    titles : list of str
        Titles of all frames: room is left for them.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
        Figure on an Agg canvas.
    """

    @held_interrupts()  # matplotlib's C++ code would turn a KeyboardInterrupt into a ValueError
    def __init__(self, scene: Scene, size: tuple[int, int], titles: list[str]) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.colors import ListedColormap
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        self._scene, samples = scene, scene.samples
        # Smaller frames have smaller text, which stays legible.
        dpi = USUAL_DPI * max(MIN_SCALE, min(np.divide(size, USUAL_SIZE)))
        # The hundredth of a pixel is cut off: without it, rounding would cut off a pixel.
        figsize = ((size[0] + 0.01) / dpi, (size[1] + 0.01) / dpi)
        self._layout = ConstrainedLayoutEngine()
        self.figure = Figure(figsize=figsize, dpi=dpi, layout=self._layout)
        FigureCanvasAgg(self.figure)
        self._ax = ax = self.figure.add_subplot()
        ax.set(xlim=samples.xlim, ylim=samples.ylim, xlabel=samples.names[0], ylabel=samples.names[1])
        # A response from 0 to 1, or numbers of classes.
        is_response, regions = scene.response != "class", ListedColormap(pale(scene.colours).tolist())
        limits = (0, 1) if is_response else (-0.5, len(scene.classes) - 0.5)
        self._regions = ax.imshow(
            np.zeros((1, 1)), scene.colormap if is_response else regions, vmin=limits[0], vmax=limits[1],
            extent=(*samples.xlim, *samples.ylim), origin="lower", aspect="auto", interpolation="nearest",
        )  # fmt: skip
        self._lines: Any = None
        look: dict[str, Any] = {"size": 24, "on_response": is_response}
        self._drawn = draw_samples(
            ax, samples.points, samples.labels, scene.classes, scene.colours, scene.markers, **look
        )
        if samples.plane:  # an entry of the legend: each frame has other pale samples
            none = np.empty((0, 2))
            draw_samples(ax, none, none, scene.classes[:0], scene.colours[:0], [], **look, is_pale=True)
        if is_response:
            self.figure.colorbar(self._regions, label=scene.response)
        self._title = ax.set_title(" ", loc="left", fontsize=11)
        widths = [1.0]
        for title in [*dict.fromkeys(titles), " "]:  # a blank last: the layout would make room for a long one
            self._title.set_text(title)
            widths.append(self._title.get_window_extent().width)
        self._make_room(1.0)
        legend, (width, height) = self._legend(len(self._drawn) + 1), self.figure.bbox.size
        extent = legend.get_window_extent()
        if extent.y0 < ax.bbox.y1 or extent.x0 < ax.bbox.x0 + max(widths):
            # It does not fit above the axes: place it beside them.
            legend.remove()
            legend = self._legend(1)
            self._make_room(legend.get_window_extent().x0 / width)
            legend.set_bbox_to_anchor((1, ax.bbox.y1 / height))
        self.figure.set_layout_engine("none")
        room = (width - ax.bbox.x0) / max(widths)
        self._title.set_fontsize(self._title.get_fontsize() * min(1.0, 0.98 * room))

    def _make_room(self, right: float) -> None:
        """Lay out the axes, of the figure's width up to the fraction `right`."""
        self._layout.set(rect=(0, 0, right, 1))
        with warnings.catch_warnings(record=True) as caught:
            warnings.filterwarnings("always", "constrained_layout not applied")
            self.figure.draw_without_rendering()
        if min(self._ax.bbox.size) < MIN_AXES or any("not applied" in str(one.message) for one in caught):
            width, height = self.figure.canvas.get_width_height()
            raise ValueError(f"size {width} x {height} leaves no room for the axes: choose a larger size")

    def _legend(self, n_columns: int) -> Legend:
        return self.figure.legend(
            loc="upper right", ncols=n_columns, frameon=False, borderpad=0.2, borderaxespad=0.2,
            handletextpad=0.1, columnspacing=0.8, alignment="left", title=self._scene.samples.plane or None,
        )  # fmt: skip

    def show(self, model: Any, title: str) -> None:
        """Show the regions and the title of a snapshot."""
        scene, samples = self._scene, self._scene.samples
        image = scene.render(model, axes_pixels(self._ax))
        assert image.data is not None
        if image.classes is None:
            self._regions.set_data(image.data)
        else:
            self._regions.set_data(np.searchsorted(scene.classes, image.classes)[image.data])
            if self._lines is not None:
                self._lines.remove()
            self._lines = draw_lines(self._ax, image.data, image.extent)
        is_pale = samples.differs_off_plane(model, scene.view["class_of_interest"])
        if is_pale is not None:
            for label, layers in zip(scene.classes, self._drawn, strict=True):
                alpha = np.where(is_pale[samples.labels == label], PALE_ALPHA, 1.0)
                if alpha.size:  # matplotlib refuses an empty array
                    for dots in layers:
                        dots.set_alpha(alpha.tolist())
        self._title.set_text(title)
