"""Animations of training runs, which show how the decision regions of a model change.

A hook of the training records snapshots, copies of the model, after certain epochs. When the training has
ended, the snapshots are drawn as frames (``film.py``), which are written to a file (``moving.py``).
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..boundary.colours import check_colouring
from ..boundary.drawing import printable
from ..boundary.render import check_size
from ..boundary.subjects import check_model
from ..model import Model
from ..system.messages import error_text
from ..system.validation import check_count, check_flag, shown
from ..training.loop import Hook, Training
from .film import USUAL_SIZE, Film, Scene
from .moving import check_target, write_frames

__all__ = ["animate_training"]

# Copy of a model during its training, and the title of its frame.
Snapshot = tuple[Any, str]


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
    markers: Any = None,
    **options: Any,
) -> Path:
    """Train a model, and write an animation of its decision boundary.

    Parameters
    ----------
    model : Model, MLPClassifier, or list of models
        A `Model` is trained by `Model.train` with `options`; the resulting parameters are the same, bit for
        bit, as without an animation. An `MLPClassifier` is trained as by `partial_fit` for `max_iter` epochs,
        or fewer if the loss stops improving; an estimator that was not fitted before ends as after `fit`.
        Both continue from their present parameters and are trained in place. Of a list of trained models,
        each is shown in one frame; a list may hold anything that `render_boundary` accepts.
    X : array-like (n, n_features)
        Samples.
    y : array-like (n,)
        Classes of the samples.
    path : str or path
        Name of the file. Its suffix chooses the format: ``.gif``, ``.png`` (animated), ``.webp``, or
        ``.mp4``, which needs the program ffmpeg on the PATH and even numbers of pixels.
    frames : int, default 40
        Number of frames, fewer for a training with too few epochs. The first frame shows the model before
        its first epoch, or a new `MLPClassifier` after it; the last frame shows the trained model. The
        distances in between grow, since most changes happen early. No effect for a list of models.
    fps : float, default 10
        Frames per second, from 0.002 to 100 in a ``.gif`` file and to 1000 in others. A frame lasts a whole
        number of milliseconds, in a ``.gif`` file of hundredths of a second, so that 30 frames become 33.3.
        Browsers show a frame that lasts 0.01 seconds or less for 0.1 seconds, except in videos: a warning
        says so. The last frame is shown for 2.5 seconds longer.
    size : int or (int, int), default (640, 480)
        Size of a frame in pixels: (width, height), or the width alone; the height is then in proportion to
        the default. Text and margins have the colours of matplotlib's settings.
    titles : sequence of str, optional
        Titles of the frames, only for a list of models. By default a title has the model's number and its
        accuracy. Titles of a training have the mean loss, the accuracy and the number of epochs.
    response, class_of_interest : optional
        Quantity to draw; see `render_boundary`. By default the regions of the classes and the lines between
        them.
    features : (int, int) or (str, str), optional
        Features along x and y, by number or by the name of X's column; by default the first two.
    fill : float, array-like (n_features,), or mapping of names, optional
        Values of the other features, which the legend names; their means in X by default. Samples whose
        predicted class is not that of the region they lie in are pale.
    progress : bool, default False
        Show progress bars for the training of a `Model` and for the frames.
    colours : sequence, mapping, str or Colormap, optional
        Colours of the classes; see `render_boundary`. A sequence follows the sorted order of all classes, of
        the models and of y. Samples have these colours, regions paler ones.
    cmap : str or Colormap, optional
        Colormap of a response other than "class"; by default matplotlib's "gray".
    markers : sequence, mapping or str, optional
        Markers of the samples; see `plot_decision_boundary`. By default dots.
    **options
        Arguments of `Model.train`, such as `num_passes`, `epsilon` or `optimizer`.

    Returns
    -------
    pathlib.Path
        Name of the file.

    Raises
    ------
    ValueError
        If the suffix is unknown, the folder does not exist, ffmpeg is missing for ``.mp4``, the list of
        models is empty, a number is out of range, the model is for regression, or the colours or markers are
        invalid or do not match the number of classes; also for the reasons of `Model.train`, `partial_fit`
        and `render_boundary`.
    TypeError
        If an option is unknown to `Model.train`, options are given without a `Model`, titles are no
        texts, or a model cannot predict, as when the arguments are in another order.
    RuntimeError
        If ffmpeg fails, with the message of ffmpeg.
    DivergenceError
        If the training diverges. The model then holds the last finite parameters, and no file is written.
    KeyboardInterrupt
        Soon after Ctrl-C. The model keeps the epochs done so far, and no file is written.

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
    models = model if is_list else [model]
    for one in models:
        check_model(one, "animate_training(model, X, y, path)")
    frames, size = check_count(frames, "frames", 1), check_size(size, *USUAL_SIZE)
    target, fps = check_target(path, fps, size)
    progress = check_flag(progress, "progress")
    check_colouring(response, colours, cmap, markers)
    named = [list(map(str, one.feature_names_in_)) for one in models if hasattr(one, "feature_names_in_")]
    names = named[0] if named else None
    scene = Scene(X, y, response, class_of_interest, features, fill, colours, cmap, names, markers)
    Film(scene, size, [])  # raises if the size leaves no room for the axes
    if titles is not None and not is_list:
        raise ValueError("titles work only with a list of models: leave them out for a training")
    if options and not isinstance(model, Model):
        raise TypeError(f"{next(iter(options))}= works only with a Model, but got {type(model).__name__}")
    if isinstance(model, Model):
        snapshots = _train_model(model, X, y, frames, progress, options, scene)
    elif is_list:
        snapshots = _list_snapshots(model, titles, scene)
    else:
        snapshots = _fit_classifier(model, X, y, frames, scene)
    film = Film(scene, size, [title for _, title in snapshots])
    write_frames(film.figure, film.show, snapshots, target, fps, progress)
    return target


def snapshot_epochs(first: int, last: int, count: int) -> list[int]:
    """Return `count` increasing numbers of epochs from `first` to `last`, with a nearly constant ratio.

    If there are fewer integers in the range, return all of them; if `count` is 1, return the last.
    """
    count = min(count, last - first + 1)
    chosen = [last] if count == 1 else [first]
    for left in range(count - 1, 0, -1):
        before = chosen[-1]
        factor = (last / max(before, 1)) ** (1 / left)
        # Where the ratio would add less than 1, add 1.
        chosen.append(last if left == 1 else max(before + 1, round(before * factor)))
    return chosen


def _list_snapshots(models: list[Any], titles: Sequence[str] | None, scene: Scene) -> list[Snapshot]:
    """Return one snapshot for each model of a list."""
    if not models:
        raise ValueError("there are no frames: the list of models is empty")
    if titles is not None:
        if not isinstance(titles, Iterable):
            raise TypeError(f"titles must be texts, one per model, got {shown(titles)}")
        titles = list(titles)
        if len(titles) != len(models):
            raise ValueError(f"there are {len(models)} models, but {len(titles)} titles: give one per model")
    scene.find_classes(models)
    if titles is None:
        titles = [f"{k} of {len(models)}: {scene.accuracy(model)}" for k, model in enumerate(models, 1)]
    return [(model, printable(str(title))) for model, title in zip(models, titles, strict=True)]


# --- snapshots of a training -------------------------------------------------------------------------


class _Recorder(Hook):
    """Hook that records snapshots after certain numbers of epochs, in one training or in several.

    `copied` returns a copy of the model and its loss, during the given training or after it (None).
    """

    def __init__(
        self, times: list[int], copied: Callable[[Training | None], tuple[Any, float | None]], scene: Scene
    ) -> None:
        self._times, self._copied, self._scene = times, copied, scene
        self._snapshots: dict[int, Snapshot] = {}
        self.n_passes = 0

    def begin(self, training: Training) -> None:
        self._before = self.n_passes
        self.after_chunk(training)

    def next_stop(self, training: Training) -> int:
        due = (time - self._before for time in self._times if time > self.n_passes)
        return min(training.job.num_passes, *due)

    def after_chunk(self, training: Training) -> bool:
        self.record(self._before + training.n_passes, training)
        return False

    def record(self, n_passes: int, training: Training | None = None, is_last: bool = False) -> None:
        """Record a snapshot if one is due after `n_passes`."""
        self.n_passes = n_passes
        if is_last or (n_passes in self._times and n_passes not in self._snapshots):
            model, loss = self._copied(training)
            self._snapshots[n_passes] = model, _title(model, loss, n_passes, self._scene)

    def close(self) -> list[Snapshot]:
        """Record the model at the end of the training, which may have ended early; return all snapshots."""
        self.record(self.n_passes, is_last=True)
        return list(self._snapshots.values())


def _train_model(
    model: Model, X: Any, y: Any, frames: int, progress: bool, options: dict[str, Any], scene: Scene
) -> list[Snapshot]:
    """Train a `Model`, and return the snapshots."""
    scene.find_classes([model])
    default = inspect.signature(Model.train).parameters["num_passes"].default
    num_passes = check_count(options.pop("num_passes", default), "num_passes")
    callbacks = options.pop("callbacks", ())

    def copied(training: Training | None) -> tuple[Model, float]:
        if training is None:
            parameters, statistics = model._parameters, model._statistics
        else:
            parameters, statistics = training.trainer.current, training.trainer.statistics
        result = Model._sharing(model._network, parameters.copy(), statistics.copy())
        result.backend = model.backend
        return result, result.calculate_loss(X, y)

    recorder = _Recorder(snapshot_epochs(0, num_passes, frames), copied, scene)
    if isinstance(callbacks, Iterable):  # `train` refuses anything else
        callbacks = [recorder, *callbacks]
    model.train(X, y, num_passes, progress=progress, callbacks=callbacks, **options)
    return recorder.close()


def _fit_classifier(estimator: Any, X: Any, y: Any, frames: int, scene: Scene) -> list[Snapshot]:
    """Fit an `MLPClassifier` as by partial fits, and return the snapshots."""
    from ..estimators.classifier import MLPClassifier

    if not isinstance(estimator, MLPClassifier):
        raise TypeError(
            f"model must be a Model, an MLPClassifier or a list of trained models, got {estimator!r}"
        )
    if not hasattr(estimator, "partial_fit"):
        raise ValueError(
            f"solver {estimator.solver!r} has no partial_fit: choose another one, or give a list of "
            "estimators, fitted with increasing max_iter"
        )
    max_iter = check_count(estimator.max_iter, "max_iter", 1)

    def copied(training: Training | None) -> tuple[Any, float | None]:
        model = copy.copy(estimator)
        model._state = estimator._state.copy()
        scene.find_classes([model])
        return model, model.loss_ if recorder.n_passes else None

    # An estimator that is not fitted has no network: its first snapshot follows the first epoch.
    is_new = not estimator.__sklearn_is_fitted__()
    scene.find_classes([] if is_new else [estimator])
    recorder = _Recorder(snapshot_epochs(int(is_new), max_iter, frames), copied, scene)
    if not is_new:
        recorder.record(0)
    estimator.partial_fit(X, y, classes=np.unique(scene.samples.labels) if is_new else None)
    recorder.record(1)
    # The condition is that by which `fit` ends.
    if max_iter > 1 and not estimator._no_improvement_count > estimator.n_iter_no_change:
        # A `partial_fit` of several epochs. With `stopped`, an interrupt is raised and not only a warning.
        estimator._fit(
            X, y, n_passes=max_iter - 1, knows_classes=True, stopped=lambda: False, hooks=[recorder]
        )
    estimator.n_iter_ = recorder.n_passes
    return recorder.close()


def _title(model: Any, loss: float | None, n_passes: int, scene: Scene) -> str:
    # The loss has the same width in most frames: it comes first, so that the text after it does not move.
    epochs = "1 epoch" if n_passes == 1 else f"{n_passes:,} epochs"
    return ("" if loss is None else f"loss {error_text(loss)}, ") + f"{scene.accuracy(model)} after {epochs}"
