"""Trainings as moving pictures: how the regions of a model change while it learns.

A hook of the training takes a snapshot, a copy of the model, at a few moments. The frames are drawn from
the snapshots when the training has ended (`film.py`), and written one after the other (`moving.py`).
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..boundary.colours import check_colouring
from ..boundary.render import check_size
from ..boundary.subjects import check_model
from ..model import Model
from ..system.files import check_file_name, written_whole
from ..system.validation import check_count, check_flag, check_number
from ..training.loop import Hook, Training
from .film import USUAL_SIZE, Film, Scene, Snapshot
from .moving import LEAST_FPS, LONGEST, MOST_FPS, VIDEO, check_goal, write_frames

__all__ = ["animate_training"]

Array = NDArray[Any]


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
    goal = check_goal(check_file_name(path, "path"))
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
    scene = Scene(X, y, response, class_of_interest, features, fill, colours, cmap)
    Film(scene, size, [])  # whether there is room for it
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
    film = Film(scene, size, [snapshot.title for snapshot in snapshots])
    with written_whole(goal) as draft:
        write_frames(snapshots, film.frame, draft, fps, progress)
    return goal


def moments(first: int, last: int, count: int) -> list[int]:
    """Return `count` whole numbers from `first` to `last` with a nearly constant ratio.

    If there are fewer numbers, return all; if `count` is 1, the last.
    """
    count = min(count, last - first + 1)
    chosen = [last] if count == 1 else [first]
    for left in range(count - 1, 0, -1):
        before = chosen[-1]
        factor = (last / max(before, 1)) ** (1 / left)
        # The numbers rise by 1 at least, also where the ratio would give less.
        chosen.append(last if left == 1 else max(before + 1, round(before * factor)))
    return chosen


def _of_list(models: list[Any], titles: Sequence[str] | None, scene: Scene) -> list[Snapshot]:
    """Return the snapshots of a list of models."""
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
    """Collection of snapshots, one for each moment that a training gets to.

    Parameters
    ----------
    times : list of int
        Moments, in passes done.
    title : callable
        Returns the title of a frame, given the model and the number of passes.
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
        """Return all snapshots, the last one of the model at the end of the training, early or not."""
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
        """Take the snapshot before the first pass."""
        self._look(training)

    def next_stop(self, training: Training) -> int:
        """Return the next moment of the shutter."""
        return self._shutter.next_stop(training.n_passes, training.job.num_passes)

    def after_chunk(self, training: Training) -> bool:
        """Take a snapshot if it is time for one."""
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
    model: Model, X: Any, y: Any, frames: int, progress: bool, options: dict[str, Any], scene: Scene
) -> list[Snapshot]:
    """Train a model, and return the snapshots."""
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


def _of_partial_fits(estimator: Any, X: Any, y: Any, frames: int, scene: Scene) -> list[Snapshot]:
    """Fit an estimator as by `partial_fit`, in pieces from moment to moment, and return the snapshots."""
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
    # The same condition ends a fit.
    while n_passes < max_iter and not estimator._no_improvement_count > estimator.n_iter_no_change:
        stop = shutter.next_stop(n_passes, max_iter)
        # `partial_fit` of several passes; `stopped` lets an interrupt through instead of only ending the fit.
        estimator._fit(X, y, n_passes=stop - n_passes, knows_classes=True, stopped=lambda: False)
        n_passes += estimator.n_iter_
        shutter.look(n_passes, copied)
    estimator.n_iter_ = n_passes
    return shutter.close(n_passes, copied())


def _title(model: Any, loss: float | None, n_passes: int, scene: Scene) -> str:
    """Return the title of a frame."""
    # The loss is as wide in all frames: it comes first, so that what follows stays in place.
    passes = "1 pass" if n_passes == 1 else f"{n_passes:,} passes"
    return ("" if loss is None else f"loss {loss:.4f}, ") + f"{scene.right(model)} after {passes}"
