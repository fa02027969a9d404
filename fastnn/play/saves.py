"""Files that a page saves: the model, the picture, an animation. They are kept in memory for a download."""

from __future__ import annotations

import io
import itertools
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..plotting.animation import animate_training, snapshot_passes
from ..plotting.boundary import plot_decision_boundary
from ..system.validation import shown
from .frames import pixel_centres
from .settings import Problem

if TYPE_CHECKING:
    from .session import Run

__all__ = ["Saved", "Saves"]

# Largest number of files that are kept for a download: the oldest is dropped.
MOST_SAVED = 20
# Frames of an animation, and pixels along the sides of a regression's picture.
N_FRAMES, N_PIXELS = 40, 400


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
        Problem
            If `what` is something else, or there is no animation of it.
        """
        maker = _MAKERS.get(what) if isinstance(what, str) else None
        if maker is None:
            raise Problem(None, f"what must be one of {', '.join(_MAKERS)}, got {shown(what)}")
        make, suffix, media_type = maker
        name = f"{run.problem.settings.dataset}-{'-'.join(map(str, run.problem.layers_dim))}{suffix}"
        saved = Saved(make(run), name, media_type)
        with self._lock:
            number = str(next(self._numbers))
            self._saved[number] = saved
            while len(self._saved) > MOST_SAVED:
                self._saved.popitem(last=False)
        return number, name


def _model(run: Run) -> bytes:
    """Return the file of the model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.fastnn"
        run.current_model().save(path)
        return path.read_bytes()


def _picture(run: Run) -> bytes:
    """Return a PNG file of the decision boundary, or of a regression's values, with the samples."""
    from matplotlib.figure import Figure

    problem, snapshot, model = run.problem, run.steering.latest, run.current_model()
    figure = Figure(figsize=(7, 6), dpi=150, layout="constrained")
    ax = figure.add_subplot()
    left, right, bottom, top = problem.limits
    if problem.kind == "classes":
        plot_decision_boundary(model, problem.X, problem.y, ax=ax, response=run.view.response)
    else:
        low, high = run.target_limits
        values = model.predict(pixel_centres((left, right), (bottom, top), N_PIXELS))
        values = values.reshape(N_PIXELS, N_PIXELS)
        look: dict[str, Any] = {"cmap": "coolwarm", "vmin": low, "vmax": high}
        image = ax.imshow(values, origin="lower", extent=problem.limits, aspect="auto", **look)
        x, y = problem.X.T
        ax.scatter(x, y, c=problem.y, edgecolors="white", linewidths=0.7, s=24, **look)
        figure.colorbar(image)
    ax.set(xlim=(left, right), ylim=(bottom, top), xlabel=problem.inputs[0], ylabel=problem.inputs[1])
    ax.set_title(f"{problem.layers_dim} after {snapshot.epoch:,} passes")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _animation(run: Run) -> bytes:
    """Return a GIF file of the run so far."""
    problem = run.problem
    if problem.kind == "regression":
        raise Problem(
            None, "an animation shows regions of classes, and this data set has numbers: save the picture"
        )
    film = [*run.steering.film]
    latest = run.steering.latest
    if latest.step > film[-1].step:
        film.append(latest)
    chosen = [film[k] for k in snapshot_passes(0, len(film) - 1, min(N_FRAMES, len(film)))]
    models, titles = [], []
    for snapshot in chosen:
        model = run.model_of(snapshot)
        models.append(model)
        correct = np.mean(model.predict(problem.X).reshape(-1) == problem.y)
        titles.append(f"pass {snapshot.epoch:,}: {correct:.1%} correct")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.gif"
        animate_training(models, problem.X, problem.y, path, titles=titles)
        return path.read_bytes()


_MAKERS = {
    "model": (_model, ".fastnn", "application/octet-stream"),
    "picture": (_picture, ".png", "image/png"),
    "gif": (_animation, ".gif", "image/gif"),
}
