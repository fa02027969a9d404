"""Files that a page saves: the model, the picture, an animation."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..boundary.colours import OUTLINE, choose_colours, choose_markers
from ..boundary.render import render_boundary
from ..model import Model
from ..system.messages import collect_warnings, format_error
from ..system.validation import short_repr
from .fields import RequestError
from .frames import Snapshot, make_pixel_centres

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox
    from matplotlib.typing import ColorType
    from numpy.typing import NDArray

    from .learning_problem import LearningProblem
    from .run import Run

    Array = NDArray[Any]

# Style sheet of the page, whose colours pictures have, and the names of its colours of a regression.
STYLE_SHEET = Path(__file__).parent / "static" / "style.css"
RESPONSE_COLOURS = ("low", "middle-low", "middle", "middle-high", "high")
# Size of a picture in inches; pixels per inch of a picture and of a frame of an animation.
FIGURE_SIZE, PICTURE_DPI, FRAME_DPI = (7.0, 6.0), 150, 80
# Milliseconds of a frame of an animation, and of the last one.
FRAME_MS, LAST_FRAME_MS = 100, 2600
# Points along the sides of a regression's picture.
N_PIXELS = 400
# Area and width of the rings that show test data.
RING_SIZE, RING_WIDTH = 26, 1.6
SUFFIXES = {"model": ".fastnn", "picture": ".png", "gif": ".gif"}


def make_file(run: Run, what: object) -> Generator[None, None, tuple[str, bytes]]:
    """Return name and content of a model, picture or animation; yield between the parts of the work."""
    if not (isinstance(what, str) and what in SUFFIXES):
        raise RequestError(None, f"what must be one of {', '.join(SUFFIXES)}, got {short_repr(what)}")
    if what == "model":
        content = run.save_model()
    elif what == "picture":
        file = io.BytesIO()
        draw(run, run.latest, PICTURE_DPI).savefig(file, format="png")
        content = file.getvalue()
    else:
        content = yield from _animate(run)
    layers = "-".join(map(str, run.problem.layers_dim))
    return f"{run.problem.settings.dataset}-{layers}{SUFFIXES[what]}", content


def _animate(run: Run) -> Generator[None, None, bytes]:
    """Return a GIF file of the run so far, yielding after every frame."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    images, layout = [], None
    for snapshot in run.film:
        figure = draw(run, snapshot, FRAME_DPI, layout)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        layout = layout or [ax.get_position() for ax in figure.axes]
        images.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
        yield
    durations = [FRAME_MS] * (len(images) - 1) + [LAST_FRAME_MS]
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    return file.getvalue()


@collect_warnings([])  # a training that diverges overflows in pictures too
@np.errstate(all="ignore")
def draw(run: Run, snapshot: Snapshot, dpi: int, layout: Sequence[Bbox] | None = None) -> Figure:
    """Return a figure of a network and the samples; `layout` are the places of axes in an earlier figure."""
    from matplotlib.figure import Figure

    from ..boundary.drawing import escape_dollars

    figure = Figure(figsize=FIGURE_SIZE, dpi=dpi, layout=None if layout else "constrained")
    problem, model, ax = run.problem, run.model_of(snapshot), figure.add_subplot()
    if layout:
        ax.set_position(layout[0])
    names = ["$x_1$", "$x_2$"] if problem.table is None else map(escape_dollars, problem.inputs)
    ax.set(**dict(zip(("xlabel", "ylabel"), names, strict=True)))
    X, y = problem.features(problem.X), problem.y
    if problem.kind == "classes":
        result = f"{np.mean(model.predict(X).reshape(-1) == y):.1%} correct"
        _draw_boundary(ax, run, model)
    else:
        result = f"loss {format_error(model.calculate_loss(X, y))}"
        _draw_values(ax, problem, model)
    ax.set_title(f"{problem.layers_dim}: {result} after {snapshot.epoch:,} epochs")
    for each, place in zip(figure.axes, layout or (), strict=False):
        each.set_position(place)
    return figure


def _draw_boundary(ax: Axes, run: Run, model: Model) -> None:
    from ..boundary.drawing import axes_pixels

    problem, (response, cmap) = run.problem, _choose_response(run)
    left, right, bottom, top = problem.limits
    shapes = "auto" if run.view.shapes else None
    looks = choose_colours(problem.labels), choose_markers(problem.labels, shapes)
    image = render_boundary(
        problem.over_plane(model), (left, right), (bottom, top), axes_pixels(ax), response=response
    )
    known = problem.labels[image.known_classes]
    classes = None if image.classes is None else known
    image = replace(image, extent=_scale_limits(problem), classes=classes, known_classes=known)
    points, names, test = problem.in_units(problem.X), problem.labels[problem.y], problem.test
    if len(test):
        _draw_rings(ax, points[:0], [OUTLINE], label="test")
    for label, colour, marker in zip(problem.labels, *looks, strict=True):
        _draw_rings(ax, points[test][names[test] == label], [colour], marker)
    train = points[problem.train], names[problem.train]
    image.plot(ax, *train, cmap=cmap, markers=shapes)
    if response == "confidence":
        ax.images[0].set_clim(0, 1)  # in all frames of an animation


def _draw_rings(
    ax: Axes, points: Array, colours: Sequence[ColorType], marker: str = "o", label: str | None = None
) -> None:
    """Draw test data as the page does, as rings with a dark rim, in one colour or a colour for each."""
    x, y = points.T
    for width, edges in ((RING_WIDTH + 1.2, [OUTLINE]), (RING_WIDTH, colours)):
        look: dict[str, Any] = {"facecolors": "none", "edgecolors": edges, "linewidths": width}
        name = label if edges is colours else None
        ax.scatter(x, y, s=RING_SIZE, marker=marker, zorder=1.5, label=name, **look)


def _draw_values(ax: Axes, problem: LearningProblem, model: Model) -> None:
    """Draw the values of a regression, and the samples in the colours of their targets."""
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    from ..boundary.drawing import escape_dollars

    table, (left, right, bottom, top) = problem.table, problem.limits
    plane = problem.features(make_pixel_centres((left, right), (bottom, top), N_PIXELS))
    values, targets, label = model.predict(plane).reshape(N_PIXELS, N_PIXELS), problem.y, "y"
    if table is not None:
        assert table.target_units is not None
        values, targets, label = table.target_units.restore(values), table.y, escape_dollars(table.target)
    shades = [page_colour(f"response-{name}") for name in RESPONSE_COLOURS]
    cmap = LinearSegmentedColormap.from_list("response", shades)
    norm = Normalize(targets.min(), targets.max())
    edges, colours = _scale_limits(problem), cmap(norm(targets))
    image = ax.imshow(values, origin="lower", extent=edges, aspect="auto", cmap=cmap, norm=norm)
    points, train, test = problem.in_units(problem.X), problem.train, problem.test
    x, y = points[train].T
    ax.scatter(x, y, 24, colours[train], edgecolors="white", linewidths=0.7)
    if len(test):
        _draw_rings(ax, points[test], colours[test].tolist())
        _draw_rings(ax, points[:0], [OUTLINE], label="test")
        ax.legend(framealpha=0.9)
    ax.set(xlim=edges[:2], ylim=edges[2:])
    ax.figure.colorbar(image, label=label)


@functools.cache
def page_colour(name: str) -> str:
    """Return a colour of the page in its light theme, as ``#rrggbb``."""
    found = re.search(rf"--{name}: (#[0-9a-f]{{6}});", STYLE_SHEET.read_text(encoding="utf-8"))
    assert found is not None, name
    return found[1]


def _choose_response(run: Run) -> tuple[str, LinearSegmentedColormap | None]:
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


def _scale_limits(problem: LearningProblem) -> tuple[float, float, float, float]:
    """Return the edges of the picture in the units of the data: left, right, bottom, top."""
    left, right, bottom, top = problem.limits
    (left, bottom), (right, top) = problem.in_units(np.array([[left, bottom], [right, top]])).tolist()
    return left, right, bottom, top
