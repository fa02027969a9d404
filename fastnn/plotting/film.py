"""Frames of an animation: the decision regions of a snapshot, with the samples on top.

matplotlib lays out axes, samples and legend once. Each frame has another title and shows other regions, which
`render_boundary` paints at the frame's resolution.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.ma  # np.unique would import it while a thread trains: a child forked then would wait forever
from numpy.typing import NDArray

from fastnn_kernels.compiler.interrupts import held_interrupts

from ..boundary.colours import chosen_colours, chosen_markers, class_colours, pale, response_colormap
from ..boundary.drawing import PALE_ALPHA, axes_pixels, draw_lines, draw_samples
from ..boundary.image import BoundaryImage
from ..boundary.painters import make_painter
from ..boundary.render import render_boundary
from .boundary import PlottedSamples

if TYPE_CHECKING:
    from matplotlib.legend import Legend
    from PIL.Image import Image

__all__ = ["USUAL_SIZE", "Film", "FilmSnapshot", "Scene"]

# Size in pixels of a frame with text of full size, and its resolution in pixels per inch.
USUAL_SIZE, USUAL_DPI = (640, 480), 100
# Smallest scale of the text, and smallest width and height of the axes in pixels.
MIN_SCALE, MIN_AXES = 0.6, 16


class FilmSnapshot(NamedTuple):
    """Copy of a model during its training, and the title of its frame."""

    model: Any
    title: str


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
        painter = make_painter(model, **self.view)
        # A plain function does not name its classes: pass the classes of the samples.
        names_classes = self.response != "class" or (painter.classes is not None and len(painter.classes) > 0)
        classes = None if names_classes else self.classes
        return render_boundary(
            model, self.samples.xlim, self.samples.ylim, size, classes=classes, **self.view
        )

    def coloured(self, image: BoundaryImage) -> NDArray[np.uint8]:
        """Return the colours (height, width, 3) of a picture."""
        assert image.data is not None
        if image.classes is None:
            return self.colormap(image.data, bytes=True)[..., :3]
        regions = pale(self.colours)[np.searchsorted(self.classes, image.classes)]
        return (255 * regions).round().astype(np.uint8).take(image.data, axis=0)


class Film:
    """Figure that shows one frame after the other.

    Interrupts wait for the end of a drawing: matplotlib's C++ code would turn a KeyboardInterrupt into a
    ValueError.

    Parameters
    ----------
    scene : Scene
        Samples and settings.
    size : (int, int)
        Width and height of a frame in pixels.
    titles : list of str
        Titles of all frames: room is left for them.
    """

    @held_interrupts()
    def __init__(self, scene: Scene, size: tuple[int, int], titles: list[str]) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        self._scene, samples = scene, scene.samples
        # Smaller frames have smaller text, which stays legible.
        dpi = USUAL_DPI * max(MIN_SCALE, min(np.divide(size, USUAL_SIZE)))
        # The hundredth of a pixel is cut off: without it, rounding would cut off a pixel.
        figsize = ((size[0] + 0.01) / dpi, (size[1] + 0.01) / dpi)
        self._layout = ConstrainedLayoutEngine()
        self._figure = Figure(figsize=figsize, dpi=dpi, layout=self._layout)
        self._canvas = FigureCanvasAgg(self._figure)
        self._ax = ax = self._figure.add_subplot()
        ax.set(xlim=samples.xlim, ylim=samples.ylim, xlabel=samples.names[0], ylabel=samples.names[1])
        self._regions = ax.imshow(
            np.zeros((1, 1, 3), np.uint8), extent=(*samples.xlim, *samples.ylim), origin="lower",
            aspect="auto", interpolation="nearest",
        )  # fmt: skip
        self._lines: Any = None
        look: dict[str, Any] = {"size": 24, "on_response": scene.response != "class"}
        self._drawn = draw_samples(
            ax, samples.points, samples.labels, scene.classes, scene.colours, scene.markers, **look
        )
        if samples.plane:  # an entry of the legend: each frame has other pale samples
            none = np.empty((0, 2))
            draw_samples(ax, none, none, scene.classes[:0], scene.colours[:0], [], **look, is_pale=True)
        if scene.response != "class":
            from matplotlib.cm import ScalarMappable

            self._figure.colorbar(ScalarMappable(cmap=scene.colormap), ax=ax, label=scene.response)
        self._title = ax.set_title(" ", loc="left", fontsize=11)
        self._lay_out(titles)

    def _lay_out(self, titles: list[str]) -> None:
        """Place title, legend, axes and colour bar."""
        ax, title, figure = self._ax, self._title, self._figure
        self._make_room(1.0)
        width, height = figure.bbox.size
        text, widths = title.get_text(), [1.0]
        for one in dict.fromkeys(titles):
            title.set_text(one)
            widths.append(title.get_window_extent().width)
        title.set_text(text)
        legend = self._legend(len(self._drawn) + 1)
        extent = legend.get_window_extent()
        if extent.y0 < ax.bbox.y1 or extent.x0 < ax.bbox.x0 + max(widths):
            # It does not fit above the axes: place it beside them.
            legend.remove()
            legend = self._legend(1)
            self._make_room(legend.get_window_extent().x0 / width)
            legend.set_bbox_to_anchor((1, ax.bbox.y1 / height))
        figure.set_layout_engine("none")
        room = (width - ax.bbox.x0) / max(widths)
        title.set_fontsize(title.get_fontsize() * min(1.0, 0.98 * room))

    def _make_room(self, right: float) -> None:
        """Lay out the axes, of the figure's width up to the fraction `right`."""
        self._layout.set(rect=(0, 0, right, 1))
        with warnings.catch_warnings(record=True) as caught:
            warnings.filterwarnings("always", "constrained_layout not applied")
            self._figure.draw_without_rendering()
        collapsed = any("constrained_layout not applied" in str(one.message) for one in caught)
        if collapsed or min(self._ax.bbox.size) < MIN_AXES:
            width, height = self._canvas.get_width_height()
            raise ValueError(f"size {width} x {height} leaves no room for the axes: choose a larger size")

    def _legend(self, n_columns: int) -> Legend:
        legend = self._figure.legend(
            loc="upper right", ncols=n_columns, bbox_to_anchor=(1, 1), frameon=False, borderpad=0.2,
            borderaxespad=0.2, handletextpad=0.1, columnspacing=0.8, alignment="left",
            title=self._scene.samples.plane or None,
        )  # fmt: skip
        legend.set_in_layout(False)
        return legend

    @held_interrupts()
    def frame(self, snapshot: FilmSnapshot) -> Image:
        """Return the frame of a snapshot."""
        from PIL import Image

        scene, samples = self._scene, self._scene.samples
        image = scene.render(snapshot.model, axes_pixels(self._ax))
        self._regions.set_data(scene.coloured(image))
        if scene.response == "class":
            assert image.data is not None
            if self._lines is not None:
                self._lines.remove()
            self._lines = draw_lines(self._ax, image.data, image.extent)
        is_pale = samples.differs_off_plane(snapshot.model, scene.view["class_of_interest"])
        if is_pale is not None:
            for label, layers in zip(scene.classes, self._drawn, strict=True):
                alpha = np.where(is_pale[samples.labels == label], PALE_ALPHA, 1.0)
                if alpha.size:  # matplotlib refuses an empty array
                    for dots in layers:
                        dots.set_alpha(alpha.tolist())
        self._title.set_text(snapshot.title)
        self._canvas.draw()
        drawn = Image.fromarray(np.asarray(self._canvas.buffer_rgba()))
        white = Image.new("RGBA", drawn.size, "white")  # behind a style's transparent background
        return Image.alpha_composite(white, drawn).convert("RGB")
