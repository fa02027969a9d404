"""Files that a page saves: the model, the picture, an animation. They are kept in memory for a download."""

from __future__ import annotations

import functools
import io
import itertools
import re
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..boundary.colours import CLASS_MARKERS
from ..boundary.drawing import axes_pixels, draw_picture, printable
from ..boundary.render import render_boundary
from ..model import Model
from ..plotting.animation import animate_training, snapshot_epochs
from ..plotting.moving import write_frames
from ..system.messages import error_text
from ..system.validation import shown
from .fields import RequestError
from .frames import pixel_centres

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .problem import LearningProblem
    from .session import Run

__all__ = ["Saved", "Saves"]

# Style sheet of the page, whose colours pictures have, and the names of its colours of a regression.
STYLE_SHEET = Path(__file__).parent / "static" / "style.css"
RESPONSE_COLOURS = ("low", "middle-low", "middle", "middle-high", "high")
# Largest number of files that are kept for a download: the oldest is dropped.
MAX_SAVED = 20
# Size of a picture in inches; pixels per inch of a picture and of a frame of an animation.
FIGURE_SIZE, PICTURE_DPI, FRAME_DPI = (7.0, 6.0), 150, 80
# Number of frames of an animation, and of frames in a second.
N_FRAMES, FRAMES_PER_SECOND = 40, 10.0
# Points along the sides of a regression's picture.
N_PIXELS = 400
# Number of colours of a picture, and of a frame: with text, these fit into the 256 colours of a GIF.
PICTURE_COLOURS, FRAME_COLOURS = 256, 64


class Saved(NamedTuple):
    """Content of a file, its name and its media type."""

    content: bytes
    name: str
    media_type: str


class Saves:
    """Files that wait for a download."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._saved: OrderedDict[str, Saved] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, number: str) -> Saved | None:
        """Return a file by its number; None if it is no longer kept."""
        return self._saved.get(number)

    def save(self, run: Run, what: Any) -> tuple[str, str]:
        """Save the model, the picture or an animation of a run; return the number and name of the file.

        Raises
        ------
        RequestError
            If `what` is something else.
        """
        maker = _MAKERS.get(what) if isinstance(what, str) else None
        if maker is None:
            raise RequestError(None, f"what must be one of {', '.join(_MAKERS)}, got {shown(what)}")
        make, suffix, media_type = maker
        name = f"{run.problem.settings.dataset}-{'-'.join(map(str, run.problem.layers_dim))}{suffix}"
        saved = Saved(make(run), name, media_type)
        with self._lock:
            number = str(next(self._numbers))
            self._saved[number] = saved
            while len(self._saved) > MAX_SAVED:
                self._saved.popitem(last=False)
        return number, name


@functools.cache
def page_colour(name: str) -> str:
    """Return a colour of the page in its light theme, as ``#rrggbb``."""
    found = re.search(rf"--{name}: (#[0-9a-f]{{6}});", STYLE_SHEET.read_text(encoding="utf-8"))
    assert found is not None, name
    return found[1]


def _class_colours(problem: LearningProblem) -> dict[Any, str]:
    """Return the page's colours of the classes."""
    return {label: page_colour(f"class-{k}") for k, label in enumerate(problem.labels.tolist())}


def _class_markers(run: Run) -> dict[Any, str] | None:
    """Return the markers of the classes if the page shows them."""
    labels = run.problem.labels.tolist()
    return dict(zip(labels, CLASS_MARKERS, strict=False)) if run.view.shapes else None


class NamedPoints(np.ndarray):
    """Points (n, 2) in the units of the data with the names of their columns, as a dataframe has them."""

    columns: list[str]

    @classmethod
    def of(cls, problem: LearningProblem) -> NamedPoints:
        """Return the points of a problem; those of a table have its names."""
        points = problem.in_units(problem.X).view(cls)
        points.columns = [] if problem.table is None else problem.inputs
        return points


def _response_colours(run: Run) -> tuple[str, Any]:
    """Return the response of `render_boundary` that the page shows of classes, and its colormap."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    if run.view.mode == "classes":
        return "class", None
    if len(run.problem.labels) > 2:
        return "confidence", None
    plane = np.array(to_rgb(page_colour("plane")))
    low, high = (np.array(to_rgb(page_colour(f"class-{k}"))) for k in range(2))
    shades = [plane + strength * (end - plane) for end, strength in ((low, 0.74), (plane, 0), (high, 0.74))]
    return "probability", LinearSegmentedColormap.from_list("probability", shades)


def _picture(run: Run) -> bytes:
    """Return a PNG file of the decision boundary, or of a regression's values, with the samples."""
    file = io.BytesIO()
    _figure(run).savefig(file, format="png")
    return file.getvalue()


def _figure(run: Run) -> Figure:
    """Return the figure of a picture."""
    from matplotlib.figure import Figure

    problem, model = run.problem, run.current_model()
    title = f"{problem.layers_dim} after {run.steering.latest.epoch:,} epochs"
    if problem.kind == "regression":
        picture = ValuesPicture(run, PICTURE_DPI, PICTURE_COLOURS)
        picture.show(model, title)
        return picture.figure
    figure = Figure(figsize=FIGURE_SIZE, dpi=PICTURE_DPI, layout="constrained")
    ax = figure.add_subplot()
    response, cmap = _response_colours(run)
    left, right, bottom, top = _extent(problem)
    image = render_boundary(
        problem.over_units(model), (left, right), (bottom, top), axes_pixels(ax), response=response
    )
    assert image.data is not None
    draw_picture(
        image.data, image.extent, image.classes, response=response, is_bounded=image.is_bounded, ax=ax,
        X=problem.in_units(problem.X), y=problem.labels[problem.y], colours=_class_colours(problem),
        cmap=cmap, markers=_class_markers(run),
    )  # fmt: skip
    _name_axes(ax, problem)
    ax.set_title(title)
    return figure


def _extent(problem: LearningProblem) -> tuple[float, float, float, float]:
    """Return the edges of the picture in the units of the data: left, right, bottom, top."""
    left, right, bottom, top = problem.limits
    (left, bottom), (right, top) = problem.in_units(np.array([[left, bottom], [right, top]])).tolist()
    return left, right, bottom, top


def _name_axes(ax: Any, problem: LearningProblem) -> None:
    """Name the axes by the columns of the table, or as formulas by the coordinates."""
    names = ["$x_1$", "$x_2$"] if problem.table is None else map(printable, problem.inputs)
    ax.set(**dict(zip(("xlabel", "ylabel"), names, strict=True)))


class ValuesPicture:
    """Picture of a regression's values over the plane, with the samples in the colours of their targets.

    Parameters
    ----------
    run : Run
        Run whose networks are shown.
    dpi : int
        Pixels per inch.
    n_colours : int
        Number of colours of the values.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
        Figure of the picture.
    """

    def __init__(self, run: Run, dpi: int, n_colours: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.colors import LinearSegmentedColormap
        from matplotlib.figure import Figure

        problem, table = run.problem, run.problem.table
        left, right, bottom, top = problem.limits
        self._plane = problem.features(pixel_centres((left, right), (bottom, top), N_PIXELS))
        self._units = None if table is None else table.target_units
        self.figure = Figure(figsize=FIGURE_SIZE, dpi=dpi, layout="constrained")
        FigureCanvasAgg(self.figure)
        ax = self.figure.add_subplot()
        targets = problem.y if table is None else table.y
        shades = [page_colour(f"response-{name}") for name in RESPONSE_COLOURS]
        look: dict[str, Any] = {
            "cmap": LinearSegmentedColormap.from_list("response", shades, n_colours),
            "vmin": targets.min(),
            "vmax": targets.max(),
        }
        self._image = ax.imshow(
            np.zeros((N_PIXELS, N_PIXELS)), origin="lower", extent=_extent(problem), aspect="auto",
            interpolation="nearest", **look,
        )  # fmt: skip
        x, y = problem.in_units(problem.X).T
        ax.scatter(x, y, c=targets, edgecolors="white", linewidths=0.7, s=24, **look)
        ax.set(xlim=self._image.get_extent()[:2], ylim=self._image.get_extent()[2:])
        _name_axes(ax, problem)
        self._title = ax.set_title(" ")
        self.figure.colorbar(self._image, label="y" if table is None else printable(table.target))

    def show(self, model: Model, title: str) -> None:
        values = model.predict(self._plane).reshape(N_PIXELS, N_PIXELS)
        self._image.set_data(values if self._units is None else self._units.restored(values))
        self._title.set_text(title)


def _animation(run: Run) -> bytes:
    """Return a GIF file of the run so far."""
    problem = run.problem
    film = [*run.steering.film]
    latest = run.steering.latest
    if latest.step > film[-1].step:
        film.append(latest)
    chosen = [film[k] for k in snapshot_epochs(0, len(film) - 1, min(N_FRAMES, len(film)))]
    models = [run.model_of(snapshot) for snapshot in chosen]
    X, y = problem.features(problem.X), problem.y
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.gif"
        if problem.kind == "classes":
            correct = [np.mean(model.predict(X).reshape(-1) == y) for model in models]
            titles = [
                f"epoch {snapshot.epoch:,}: {share:.1%} correct"
                for snapshot, share in zip(chosen, correct, strict=True)
            ]
            animate_training(
                [problem.over_units(model) for model in models], NamedPoints.of(problem),
                problem.labels[y], path, titles=titles, colours=_class_colours(problem),
                markers=_class_markers(run),
            )  # fmt: skip
        else:
            titles = [
                f"epoch {snapshot.epoch:,}: loss {error_text(model.calculate_loss(X, y))}"
                for snapshot, model in zip(chosen, models, strict=True)
            ]
            frames = list(zip(models, titles, strict=True))
            picture = ValuesPicture(run, FRAME_DPI, FRAME_COLOURS)
            write_frames(picture.figure, picture.show, frames, path, FRAMES_PER_SECOND, progress=False)
        return path.read_bytes()


_MAKERS = {
    "model": (lambda run: run.saved_model(), ".fastnn", "application/octet-stream"),
    "picture": (_picture, ".png", "image/png"),
    "gif": (_animation, ".gif", "image/gif"),
}
