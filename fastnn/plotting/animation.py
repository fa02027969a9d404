"""Trainings as moving pictures: how the regions of a model change while it learns.

A training is watched at a few moments, each of which leaves a snapshot: a model of its own. Only then are
they drawn, one after the other: what stays the same (axes, samples, legend) is drawn by matplotlib once, the
regions are painted by `render_boundary` at the frame's own pixels, and Pillow lays the one over the other.
Pillow writes the frames, or ffmpeg where they are a video.
"""

from __future__ import annotations

import copy
import inspect
import math
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.spatial
from numpy.typing import ArrayLike, NDArray

from ..boundary.colours import check_colouring, chosen_colours, class_colours, pale, response_colormap
from ..boundary.drawing import class_name
from ..boundary.painters import NetworkPainter, make_painter
from ..boundary.render import check_size, render_boundary
from ..boundary.subjects import check_model
from ..model import Model
from ..system.files import check_file_name, check_folder, check_replaceable, written_whole
from ..system.validation import check_count, check_flag, check_number
from ..training.loop import Hook, Training
from .boundary import Samples

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["animate_training"]

Array = NDArray[Any]

# What Pillow writes moving pictures as, and how.
FORMATS: dict[str, dict[str, Any]] = {
    ".gif": {"format": "GIF", "optimize": False, "disposal": 1},
    ".png": {"format": "PNG"},
    ".webp": {"format": "WEBP", "lossless": True},
}
# What ffmpeg writes: H.264, which browsers play, with a colour for every 2 x 2 pixels.
VIDEO = ".mp4"
# Pixels of a side that they hold, and the slowest that all of them can be.
LONGEST = {".gif": 65535, ".png": 2**31 - 1, ".webp": 16383, VIDEO: 16384}
LEAST_FPS = 0.002
# The fastest as well: what Pillow writes tells a frame's time in whole milliseconds.
MOST_FPS = 1000.0
# How much longer the last frame is seen, before it all begins again.
HOLD_MILLISECONDS = 2500
# A frame whose text is as large as it was made to be, in pixels; and pixels of an inch in it.
USUAL_SIZE, USUAL_DPI = (640, 480), 100
# Text is not scaled down below this; and pixels that axes need at the least.
LEAST_SCALE, LEAST_AXES = 0.6, 16
# Points along a pixel's side that a network is asked for: their mean has smooth edges.
FINENESS = 2
LINE_COLOUR = (64, 64, 64)
# Colours of 256 that a frame has exactly; the others are the nearest of the rest.
EXACT_COLOURS = 128


class Snapshot(NamedTuple):
    """A model at a moment of its training, and what stands above its frame."""

    model: Any
    title: str


def animate_training(
    model: Any,
    X: ArrayLike,
    y: ArrayLike,
    path: str | PathLike[str],
    *,
    frames: int = 40,
    fps: float = 10.0,
    size: int | tuple[int, int] = (640, 480),
    titles: Sequence[str] | None = None,
    response: str = "class",
    class_of_interest: Any = None,
    features: tuple[Any, Any] | None = None,
    fill: ArrayLike | None = None,
    progress: bool = False,
    colours: Any = None,
    cmap: Any = None,
    **options: Any,
) -> Path:
    """Train a model, and make a moving picture of how its decision boundary changes.

    Parameters
    ----------
    model : Model, MLPClassifier, or list of models
        A `Model` is trained by its `train`, with `options`, and ends with the parameters that this gives by
        itself, bit for bit. An `MLPClassifier` goes through `max_iter` passes as by `partial_fit`, or fewer
        where `tol` ends a fit, and is, if it was not fitted before, what `fit` makes of it. Both go on from
        the parameters they have, and are trained in the end. A list of models is shown as it is,
        one a frame; each may be anything that `render_boundary` takes.
    X : array-like (n, n_features)
        Samples.
    y : array-like (n,)
        Their classes.
    path : str or path
        Where the picture goes: ``.gif``, ``.png`` (an animated one), ``.webp``, or ``.mp4`` where the
        program ffmpeg is on the PATH, with an even number of pixels a side.
    frames : int, default 40
        Number of frames, if the training has as many passes: before the first pass, after the last, and
        between them ever farther apart, since most happens early. Of a list, all are shown.
    fps : float, default 10
        Frames a second; the last one is seen for 2.5 seconds more.
    size : int or (int, int), default (640, 480)
        Pixels of a frame: (width, height), or the width as one number, the height in proportion to the
        default.
    titles : sequence of str, optional
        What stands above the frames of a list. By default the number and the share of the samples that are
        right; above those of a training, the pass and the mean loss as well.
    response, class_of_interest : optional
        What is drawn, as `render_boundary` has it. By default the regions of the classes and the line
        between them.
    features : (int, int) or (str, str), optional
        The features along x and y, by number or by the name of X's column; the first two by default.
    fill : float or array-like (n_features,), optional
        Values of the other features; their means in X by default.
    progress : bool, default False
        Show bars: of the training of a `Model`, and of the frames.
    colours : sequence, mapping, str or Colormap, optional
        Colours of the classes, as `render_boundary` takes them; a sequence is in the sorted order of the
        classes of the models and of y together. Samples have them, and regions are pale versions.
    cmap : str or Colormap, optional
        Colormap of a response; matplotlib's "gray" by default.
    **options
        Of `Model.train`, such as `num_passes`, `epsilon` or `optimizer`.

    Returns
    -------
    pathlib.Path
        That of the picture.

    Raises
    ------
    ValueError
        For another suffix, ``.mp4`` without ffmpeg, a folder that is not there, no frames, numbers out of
        range, a model of regression, colours that are none or not as many as the classes, and as
        `Model.train`, `partial_fit` and `render_boundary` do.
    TypeError
        For options that `Model.train` does not know, or that come with something else than a `Model`; for a
        model that cannot predict, as where the arguments have another order.
    RuntimeError
        Where ffmpeg fails, with what it says.
    DivergenceError
        Where the training diverges. The model holds the last finite parameters; there is no picture.
    KeyboardInterrupt
        Soon after Ctrl-C. The model is left as far trained as it is, and no half-written file.

    Examples
    --------
    >>> import os, tempfile
    >>> import fastnn
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(200, noise=0.20, random_state=0)
    >>> model = fastnn.Model([2, 3, 2], random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = fastnn.animate_training(model, X, y, folder + "/training.gif", num_passes=2000, frames=5)
    ...     path.name, os.path.getsize(path) > 10_000
    ('training.gif', True)
    """
    is_list = isinstance(model, Iterable) and not hasattr(model, "predict")
    if is_list:
        model = list(model)
    for one in model if is_list else [model]:
        check_model(one, "animate_training(model, X, y, path)")
    goal = _check_goal(check_file_name(path, "path"))
    frames, size = check_count(frames, "frames", 1), check_size(size, *USUAL_SIZE)
    fps = min(check_number(fps, "fps", LEAST_FPS), MOST_FPS)
    longest = LONGEST[goal.suffix.lower()]
    if max(size) > longest:
        raise ValueError(f"size must be at most {longest} pixels a side in a {goal.suffix} file, got {size}")
    if goal.suffix.lower() == VIDEO and (size[0] % 2 or size[1] % 2):
        raise ValueError(
            f"size must be even numbers of pixels in a {goal.suffix} file, got {size}: give "
            f"{(size[0] + size[0] % 2, size[1] + size[1] % 2)}"
        )
    progress = check_flag(progress, "progress")
    check_colouring(response, colours, cmap)
    scene = _Scene(X, y, response, class_of_interest, features, fill, colours, cmap)
    _Film(scene, size, [])  # whether there is room for it
    if titles is not None and not is_list:
        raise ValueError("titles are for a list of models: a training has its own")
    if options and not isinstance(model, Model):
        raise TypeError(f"{next(iter(options))}= is for Model.train, but model is a {type(model).__name__}")
    if isinstance(model, Model):
        snapshots = _of_training(model, X, y, frames, progress, options, scene)
    elif is_list:
        snapshots = _of_list(model, titles, scene)
    else:
        snapshots = _of_partial_fits(model, X, y, frames, scene)
    film = _Film(scene, size, [snapshot.title for snapshot in snapshots])
    with written_whole(goal) as draft:
        _write(film, snapshots, draft, fps, progress)
    return goal


def _check_goal(path: Path) -> Path:
    """A path that a picture can be written to; found out before the work rather than after it."""
    from PIL import Image

    Image.init()
    known = [suffix for suffix, settings in FORMATS.items() if settings["format"] in Image.SAVE_ALL]
    known.append(VIDEO)
    if path.suffix.lower() not in known:
        raise ValueError(f"path must end in one of {', '.join(known)}, got {str(path)!r}")
    check_folder(path, "path")
    check_replaceable(path, "path")
    if path.suffix.lower() == VIDEO:
        from matplotlib.animation import FFMpegWriter

        if not FFMpegWriter.isAvailable():
            raise ValueError(
                f"path: {path.name} is written by ffmpeg, and there is no {FFMpegWriter.bin_path()} on the "
                "PATH: install ffmpeg, or choose .gif"
            )
    return path


def moments(first: int, last: int, count: int) -> list[int]:
    """`count` whole numbers from `first` to `last`, each about as many times the one before.

    Or all of them, if there are not so many; of one, the last.
    """
    count = min(count, last - first + 1)
    chosen = [last] if count == 1 else [first]
    for left in range(count - 1, 0, -1):
        before = chosen[-1]
        factor = (last / max(before, 1)) ** (1 / left)
        # Where one more is more than that, it is one more.
        chosen.append(last if left == 1 else max(before + 1, round(before * factor)))
    return chosen


# --- what there is to be seen ----------------------------------------------------------------------


class _Scene:
    """The data, and what of a model is drawn beneath them."""

    def __init__(
        self, X: Any, y: Any, response: str, class_of_interest: Any, features: Any, fill: Any,
        colours: Any, cmap: Any,
    ) -> None:  # fmt: skip
        self.X, self.samples = X, Samples.taken(X, y, features, fill)
        self.response = response
        self.view = {
            "response": response, "class_of_interest": class_of_interest, "features": self.samples.features,
            "fill": self.samples.fill,
        }  # fmt: skip
        self.classes = np.unique(self.samples.labels)
        self._chosen = colours
        # Those that are chosen may be of more classes, which models know: see `look`.
        self.colours = class_colours(len(self.classes))
        self.colormap = response_colormap(cmap)

    def look(self, models: Sequence[Any]) -> None:
        """Find out whether models can be drawn, which classes they know, and the colours of all."""
        for model in models:
            painter = make_painter(model, **self.view)
            if not painter.is_bounded:
                raise ValueError(
                    "response 'margin' of a model without predict_proba has no highest value that frames "
                    "could share: draw single pictures with plot_decision_boundary, or another response"
                )
            if self.response == "class" and painter.classes is not None and len(painter.classes):
                self.classes = np.union1d(self.classes, painter.classes)
        self.colours = chosen_colours(self.classes, self._chosen)

    def right(self, model: Any) -> str:
        """The share of the samples that a model is right about."""
        predict = getattr(model, "predict", model)
        return f"{np.mean(np.reshape(predict(self.X), -1) == self.samples.labels):.1%} correct"

    def paint(self, model: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
        """The colours (height, width, 3) beneath the samples, from the top row down."""
        from PIL import Image

        painter = make_painter(model, **self.view)
        # A response has no edges, and somebody else's model may take its time for a point.
        is_fine = self.response == "class" and isinstance(painter, NetworkPainter)
        fineness = FINENESS if is_fine else 1
        # A function does not say which classes there are.
        says = self.response != "class" or (painter.classes is not None and len(painter.classes) > 0)
        image = render_boundary(
            model, self.samples.xlim, self.samples.ylim, (fineness * size[0], fineness * size[1]),
            classes=None if says else self.classes, **self.view,
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
    """The points that have another class beside them, or one further on, in their column or row."""
    edges = np.zeros(data.shape, bool)
    for axis in (0, 1):
        a, b = np.swapaxes(data, 0, axis), np.swapaxes(edges, 0, axis)
        differs = a[1:] != a[:-1]
        b[1:] |= differs
        b[:-1] |= differs
        b[2:] |= differs[:-1]
        b[:-2] |= differs[1:]
    return edges


def _of_list(models: list[Any], titles: Sequence[str] | None, scene: _Scene) -> list[Snapshot]:
    if not models:
        raise ValueError("there are no frames: the list of models is empty")
    if titles is not None and len(titles) != len(models):
        raise ValueError(f"there are {len(models)} models, but {len(titles)} titles: one a model")
    scene.look(models)
    if titles is None:
        titles = [f"{k} of {len(models)}: {scene.right(model)}" for k, model in enumerate(models, 1)]
    return [Snapshot(model, str(title)) for model, title in zip(models, titles, strict=True)]


# --- trainings that are looked at -------------------------------------------------------------------


class _Shutter:
    """Takes a snapshot when a training gets to a moment.

    Parameters
    ----------
    times : list of int
        The moments, in passes done.
    title : callable
        Returns what stands above the frame, given the model and the number of passes.
    """

    def __init__(self, times: list[int], title: Callable[[Any, int], str]) -> None:
        self._times, self._title = times, title
        self.taken: dict[int, Snapshot] = {}

    def next_stop(self, n_passes: int, last: int) -> int:
        """Return the next moment after so many passes, if it comes before `last`, else `last`."""
        return next((time for time in self._times if n_passes < time < last), last)

    def look(self, n_passes: int, copied: Callable[[], Any]) -> None:
        """Take a snapshot if it is time for one; `copied` returns the model as it is now."""
        if n_passes in self._times and n_passes not in self.taken:
            self._take(n_passes, copied())

    def close(self, n_passes: int, model: Any) -> list[Snapshot]:
        """Return all snapshots, the last one of what the training has come to; it may have ended early."""
        self._take(n_passes, model)
        return list(self.taken.values())

    def _take(self, n_passes: int, model: Any) -> None:
        self.taken[n_passes] = Snapshot(model, self._title(model, n_passes))


class _Filming(Hook):
    """Hook that takes a snapshot of a model when its training gets to a moment of the shutter."""

    def __init__(self, model: Model, shutter: _Shutter) -> None:
        self._model, self._shutter = model, shutter
        self.n_passes = 0

    def begin(self, training: Training) -> None:
        self._look(training)

    def next_stop(self, training: Training) -> int:
        return self._shutter.next_stop(training.n_passes, training.job.num_passes)

    def after_chunk(self, training: Training) -> bool:
        self._look(training)
        return False

    def _look(self, training: Training) -> None:
        self.n_passes = training.n_passes
        trainer = training.trainer
        self._shutter.look(self.n_passes, lambda: _copied(self._model, trainer.current, trainer.statistics))


def _copied(model: Model, parameters: Array, statistics: Array) -> Model:
    """Return a model like another one, with copies of these arrays."""
    copied = Model._sharing(model._network, parameters.copy(), statistics.copy())
    copied.backend = model.backend
    return copied


def _of_training(
    model: Model, X: Any, y: Any, frames: int, progress: bool, options: dict[str, Any], scene: _Scene
) -> list[Snapshot]:
    scene.look([model])
    default = inspect.signature(Model.train).parameters["num_passes"].default
    num_passes = check_count(options.pop("num_passes", default), "num_passes")
    callbacks = options.pop("callbacks", ())

    def title(seen: Any, n_passes: int) -> str:
        return _title(seen, seen.calculate_loss(X, y), n_passes, scene)

    shutter = _Shutter(moments(0, num_passes, frames), title)
    filming = _Filming(model, shutter)
    if isinstance(callbacks, Iterable):  # all else `train` refuses
        callbacks = [filming, *callbacks]
    model.train(X, y, num_passes, progress=progress, callbacks=callbacks, **options)
    return shutter.close(filming.n_passes, _copied(model, model._parameters, model._statistics))


def _of_partial_fits(estimator: Any, X: Any, y: Any, frames: int, scene: _Scene) -> list[Snapshot]:
    from ..estimators.classifier import MLPClassifier

    if not isinstance(estimator, MLPClassifier):
        raise TypeError(
            f"model must be a Model, an MLPClassifier or a list of trained models, got {estimator!r}"
        )
    if not hasattr(estimator, "partial_fit"):
        raise ValueError(
            f"solver {estimator.solver!r} has no partial_fit: choose another one, or give a list of "
            "estimators, fitted with more and more max_iter"
        )
    max_iter = check_count(estimator.max_iter, "max_iter", 1)

    def copied() -> Any:
        seen = copy.copy(estimator)
        seen._state = estimator._state.copy()
        scene.look([seen])
        return seen

    def title(seen: Any, n_passes: int) -> str:
        return _title(seen, seen.loss_ if n_passes else None, n_passes, scene)

    # There is nothing to be seen of an estimator before its first pass.
    is_new = not estimator.__sklearn_is_fitted__()
    scene.look([] if is_new else [estimator])
    shutter = _Shutter(moments(int(is_new), max_iter, frames), title)
    if not is_new:
        shutter.look(0, copied)
    estimator.partial_fit(X, y, classes=np.unique(scene.samples.labels) if is_new else None)
    n_passes = 1
    shutter.look(n_passes, copied)
    # What ends a fit.
    while n_passes < max_iter and not estimator._no_improvement_count > estimator.n_iter_no_change:
        stop = shutter.next_stop(n_passes, max_iter)
        # As `partial_fit`, but for several passes; and interrupts come here instead of ending it.
        estimator._fit(X, y, n_passes=stop - n_passes, knows_classes=True, stopped=lambda: False)
        n_passes += estimator.n_iter_
        shutter.look(n_passes, copied)
    estimator.n_iter_ = n_passes
    return shutter.close(n_passes, copied())


def _title(model: Any, loss: float | None, n_passes: int, scene: _Scene) -> str:
    # What is as wide in all frames comes first, and stays where it is.
    passes = "1 pass" if n_passes == 1 else f"{n_passes:,} passes"
    return ("" if loss is None else f"loss {loss:.4f}, ") + f"{scene.right(model)} after {passes}"


# --- frames ------------------------------------------------------------------------------------------


class _Film:
    """What all frames have in common, drawn once, and room for what changes."""

    def __init__(self, scene: _Scene, size: tuple[int, int], titles: list[str]) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._scene, (self._width, self._height) = scene, size
        # Smaller frames have smaller text, down to what can be read.
        scale = max(LEAST_SCALE, min(np.divide(size, USUAL_SIZE)))
        self._dpi = USUAL_DPI * scale
        self._figure = Figure(figsize=(size[0] / self._dpi, size[1] / self._dpi), dpi=self._dpi)
        self._canvas = FigureCanvasAgg(self._figure)
        self._figure.patch.set_visible(False)
        self._draw_data()
        self._title = self._figure.text(0, 0, "", fontsize=11, va="top", animated=True)
        self._lay_out(titles)
        self._canvas.draw()
        self._still = self._canvas.copy_from_bbox(self._figure.bbox)

    def _draw_data(self) -> None:
        scene = self._scene
        self._ax = ax = self._figure.add_axes((0.1, 0.1, 0.8, 0.8))
        ax.patch.set_visible(False)
        samples = scene.samples
        ax.set(xlim=samples.xlim, ylim=samples.ylim, xlabel=samples.names[0], ylabel=samples.names[1])
        for label, colour in zip(scene.classes, scene.colours, strict=True):
            members = samples.points[samples.labels == label]
            ax.scatter(
                members[:, 0], members[:, 1], s=24, color=colour, edgecolors="white", linewidths=0.7,
                label=class_name(label),
            )  # fmt: skip
        self._bar = None
        if scene.response != "class":
            from matplotlib.cm import ScalarMappable

            self._bar = self._figure.add_axes((0.95, 0.1, 0.02, 0.8))
            self._figure.colorbar(ScalarMappable(cmap=scene.colormap), cax=self._bar, label=scene.response)

    def _lay_out(self, titles: list[str]) -> None:
        """Place everything at whole pixels, beside one another."""
        from matplotlib.transforms import IdentityTransform

        pad = round(self._dpi * 0.08)
        renderer = self._canvas.get_renderer()
        widths = [1.0]
        for title in dict.fromkeys(titles):
            self._title.set_text(title)
            widths.append(self._title.get_window_extent(renderer).width)
        header = self._title.get_window_extent(renderer).height
        column = 0
        legend = self._legend(len(self._scene.classes))
        extent = legend.get_window_extent(renderer)
        if extent.width + max(widths) + 4 * pad <= self._width:
            header = max(header, extent.height)
        else:  # beside the axes instead of above them
            legend.remove()
            legend = self._legend(1)
            column = math.ceil(legend.get_window_extent(renderer).width) + pad
        top = self._height - math.ceil(header) - 2 * pad
        bar = 0 if self._bar is None else round(0.15 * self._dpi)
        # The numbers at the axes depend a little on how large these are.
        for _ in range(2):
            left, bottom, beyond = (math.ceil(margin) for margin in self._margins(self._ax))
            left, bottom, right = left + pad, bottom + pad, self._width - column - max(beyond, pad)
            if self._bar is not None:
                right -= pad + bar + math.ceil(self._margins(self._bar)[2])
            if right - left < LEAST_AXES or top - bottom < LEAST_AXES:
                raise ValueError(
                    f"size {self._width} x {self._height} leaves no room for the axes: give more pixels"
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
        return self._figure.legend(
            frameon=False, loc="upper right", ncols=n_columns, borderaxespad=0, borderpad=0,
            handletextpad=0.1, columnspacing=0.8,
        )  # fmt: skip

    def _margins(self, ax: Any) -> tuple[float, float, float]:
        """Pixels that numbers and labels take to the left, below, and to the right of axes."""
        renderer = self._canvas.get_renderer()
        box, whole = ax.get_window_extent(renderer), ax.get_tightbbox(renderer)
        return box.x0 - whole.x0, box.y0 - whole.y0, whole.x1 - box.x1

    def _place(self, ax: Any, left: int, bottom: int, right: int, top: int) -> None:
        ax.set_position(
            (left / self._width, bottom / self._height, (right - left) / self._width,
             (top - bottom) / self._height)
        )  # fmt: skip

    def frame(self, snapshot: Snapshot) -> Image:
        """The frame of a snapshot."""
        from PIL import Image

        left, bottom, right, top = self._box
        beneath = np.full((self._height, self._width, 4), 255, np.uint8)
        rows = slice(self._height - top, self._height - bottom)
        beneath[rows, left:right, :3] = self._scene.paint(snapshot.model, (right - left, top - bottom))
        self._canvas.restore_region(self._still)
        self._title.set_text(snapshot.title)
        self._figure.draw_artist(self._title)
        above = Image.fromarray(np.asarray(self._canvas.buffer_rgba()))
        return Image.alpha_composite(Image.fromarray(beneath), above).convert("RGB")


def _write(film: _Film, snapshots: list[Snapshot], path: Path, fps: float, progress: bool) -> None:
    shown: Iterable[Snapshot] = snapshots
    if progress:
        from tqdm.auto import tqdm

        shown = tqdm(snapshots, unit="frame", dynamic_ncols=True)
    images: Iterator[Image] = map(film.frame, shown)
    if path.suffix.lower() == VIDEO:
        _write_video(images, path, fps)
        return
    settings = FORMATS[path.suffix.lower()]
    durations = [round(1000 / fps)] * len(snapshots)
    durations[-1] += HOLD_MILLISECONDS
    if settings["format"] == "GIF":
        # One palette for all: what does not change has one number in all frames, and is not stored again.
        some = sorted({0, len(snapshots) // 2, len(snapshots) - 1})
        images = map(_Palette([film.frame(snapshots[k]) for k in some]).apply, images)
    first, *others = images
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0, **settings)


def _write_video(images: Iterable[Image], path: Path, fps: float) -> None:
    """Write frames by ffmpeg, the last one as often as it takes to be seen longer."""
    from matplotlib.animation import FFMpegWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    images = iter(images)
    image = next(images)
    # A power of two: pixels by it are inches without rounding.
    dpi = 64
    figure = Figure(figsize=(image.width / dpi, image.height / dpi), dpi=dpi)
    FigureCanvasAgg(figure)
    shown = figure.figimage(np.asarray(image), origin="upper")
    # None of these is left to matplotlib's settings.
    writer = FFMpegWriter(fps, codec="h264", bitrate=-1, extra_args=["-f", "mp4"])  # type: ignore[arg-type]
    try:
        with writer.saving(figure, path, dpi):
            writer.grab_frame()
            for image in images:
                shown.set_data(np.asarray(image))
                writer.grab_frame()
            for _ in range(round(HOLD_MILLISECONDS / 1000 * fps)):
                writer.grab_frame()
    except subprocess.CalledProcessError as error:
        # Ctrl-C reaches ffmpeg as well, whose end must not hide it.
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        said = error.stderr.strip() or f"it ended with exit status {error.returncode}"
        raise RuntimeError(f"ffmpeg could not write {path.name}: {said}") from None


class _Palette:
    """256 colours that suit all of some images.

    Pillow's own search of the nearest colour looks at 6 bits of 8, and would make white grey.
    """

    def __init__(self, images: list[Image]) -> None:
        from PIL import Image

        numbers, counts = np.unique([_numbers(image) for image in images], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        colours = _colours(numbers[order])
        # Those of the areas stay what they are. Of the others each counts once, however rare it is.
        exact, rest = colours[:EXACT_COLOURS], colours[EXACT_COLOURS:]
        if len(rest) > 256 - EXACT_COLOURS:
            cut = Image.fromarray(rest[None]).quantize(256 - EXACT_COLOURS)
            rest = np.array(cut.getpalette(), np.uint8).reshape(-1, 3)
        self._colours = np.concatenate([exact, rest])
        # Which of them is nearest to a colour; -1 for one that has not come up.
        self._nearest = np.full(1 << 24, -1, np.int16)

    def apply(self, image: Image) -> Image:
        """The image in these colours."""
        from PIL import Image

        numbers = _numbers(image)
        places = self._nearest[numbers]
        new = np.unique(numbers[places < 0])
        if new.size:
            tree = scipy.spatial.cKDTree(self._colours)
            self._nearest[new] = tree.query(_colours(new))[1]
            places = self._nearest[numbers]
        result = Image.fromarray(places.astype(np.uint8))
        result.putpalette(self._colours.tobytes())
        return result


def _numbers(image: Image) -> NDArray[np.int32]:
    """Colours as numbers of 24 bits."""
    red, green, blue = (np.asarray(band, np.int32) for band in image.split())
    return red << 16 | green << 8 | blue


def _colours(numbers: NDArray[np.int32]) -> NDArray[np.uint8]:
    """The colours (n, 3) of numbers (n,)."""
    return (numbers[:, None] >> np.array([16, 8, 0]) & 255).astype(np.uint8)
