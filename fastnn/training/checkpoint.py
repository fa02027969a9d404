"""Checkpoints: files from which a training can be resumed, written while it runs."""

from __future__ import annotations

import math
import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels.compiler.interrupts import defer_signals

from ..saving.container import Contents, write_container
from ..saving.files import check_path, encode_model
from ..system.validation import check_fields, check_flag, check_positive_count, make_field, short_repr
from .loop import Hook, Training

# Units of the time between two checkpoints, in seconds.
UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_TIME = rf"([0-9]*\.?[0-9]+) ?({'|'.join(UNITS)})"


def _parse_seconds(text: str) -> float:
    """Return the seconds of a time such as "30s", or 0 for any other text."""
    match = re.fullmatch(_TIME, text)
    return float(match[1]) * UNITS[match[2]] if match else 0.0


def _check_distance(every: Any, name: str) -> int | str:
    if not isinstance(every, str):
        return check_positive_count(every, name)
    if _parse_seconds(every) <= 0:
        raise ValueError(
            f"{name} must be a number of epochs, or a time such as '30s', '5min' or '1h', got "
            f"{short_repr(every)}"
        )
    return every


@dataclass(frozen=True)
class Checkpoint:
    """Callback that saves a training to a file from time to time, to resume the training after a crash.

    Pass the object to `Model.train` in `callbacks`, or to `set_callbacks` of an estimator with scikit-learn
    1.9 or newer. Every checkpoint is the whole model, as its `save` would write it if the training ended
    there. A second thread writes the file while the training continues, and replaces the file as a whole: a
    process that is killed leaves a checkpoint that can be loaded. The last checkpoint is written at the end
    of the training.

    Parameters
    ----------
    path : str or path
        Name of the file; by convention it ends in ``.fastnn``.
    every : int or str, default "30s"
        Distance from one checkpoint to the next: a number of epochs, or a time such as "30s", "5min" or "1h".
    keep_best : bool, default False
        Also save the model after the epoch with the lowest validation loss, without its training state, to a
        second file: "run.best.fastnn" beside "run.fastnn". Requires validation data.

    Raises
    ------
    ValueError
        If `every` is neither a positive number of epochs nor a positive time, or `path` cannot be a file.

    Examples
    --------
    >>> import os, tempfile
    >>> import fastnn
    >>> X, y = [[0.0, 1.0], [1.0, 0.0]], [0, 1]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoint = fastnn.Checkpoint(os.path.join(folder, "run.fastnn"), every=100)
    ...     model = fastnn.Model([2, 3, 2], random_state=0)
    ...     history = model.train(X, y, num_passes=250, callbacks=[checkpoint])
    ...     again = fastnn.Model([2, 3, 2])  # in another process, after a crash
    ...     history = again.train(X, y, num_passes=250, callbacks=[checkpoint], resume=checkpoint)
    >>> bool((again.W[0] == model.W[0]).all())
    True
    """

    path: str | os.PathLike[str]
    every: int | str = make_field(_check_distance, default="30s")
    keep_best: bool = make_field(check_flag, default=False)

    def __post_init__(self) -> None:
        check_fields(self)
        check_path(self.path)

    @property
    def best_path(self) -> Path:
        """File of the best epoch: `path` with ".best" before its extension."""
        path = Path(self.path)
        return path.with_name(f"{path.stem}.best{path.suffix}")

    def setup(self, estimator: object, context: object) -> None:
        """Do nothing: scikit-learn calls this method of every callback, and a hook of the training saves.

        Parameters
        ----------
        estimator, context
            Estimator that is fitted, and scikit-learn's context of the fit or of a task.
        """

    teardown = on_fit_task_begin = on_fit_task_end = setup


def check_best(checkpoint: Checkpoint, has_validation: bool) -> None:
    """Raise ValueError if the best epoch is to be kept, but there are no validation data."""
    if checkpoint.keep_best and not has_validation:
        raise ValueError(
            "Checkpoint(keep_best=True) compares validation losses: pass validation data, or leave it out"
        )


class ModelInTraining(Protocol):
    """Protocol of the object that a checkpoint saves: a model or an estimator in its training."""

    # True if a training can be resumed only from the end of an epoch.
    whole_epochs: bool

    def count_progress(self, training: Training) -> tuple[int, int]:
        """Return the numbers of epochs and of steps done."""

    def make_model(self, training: Training) -> Any:
        """Return the model that the training would leave if it ended now; arrays may be shared with it."""

    def get_validation(self, training: Training) -> NDArray[np.float64] | list[float]:
        """Return the validation losses so far, NaN for epochs without one."""

    def copy_model(self, training: Training) -> Any:
        """Return a model that predicts with copies of the present parameters."""


class SaveCheckpoint(Hook):
    """Hook that saves checkpoints of a subject."""

    measures = True

    def __init__(self, checkpoint: Checkpoint, subject: ModelInTraining) -> None:
        self._checkpoint, self._subject = checkpoint, subject
        self._path = check_path(checkpoint.path)
        every = checkpoint.every
        self._epochs = 0 if isinstance(every, str) else every
        self._time = _parse_seconds(every) if isinstance(every, str) else math.inf
        self._is_begun = self._saves_end = False
        self._best: Any = None  # model of a best epoch that has not been saved yet
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def begin(self, training: Training) -> None:
        """Check that the model can be saved, and start the clock, before the first training of a fit."""
        if not self._is_begun:
            self._is_begun = True
            # Raises if a file cannot hold the model.
            encode_model(self._subject.make_model(training), training=True)
            self._saved_steps = -1
            self._saved_epochs = self._subject.count_progress(training)[0]
            losses = self._read_losses(training)
            self._n_seen = losses.size
            self._best_loss = float(np.min(losses, initial=np.inf, where=np.isfinite(losses)))
            self._last = time.perf_counter()
        self._saves_end = True

    def _read_losses(self, training: Training) -> NDArray[np.float64]:
        return np.asarray(self._subject.get_validation(training), np.float64)

    def next_stop(self, training: Training) -> int:
        """Return the number of epochs done at the next checkpoint."""
        if self._epochs:
            done = self._subject.count_progress(training)[0]
            return min(training.n_passes + self._epochs - done % self._epochs, training.job.num_passes)
        if self._subject.whole_epochs and self._is_time():
            return training.n_passes + 1
        return training.job.num_passes

    def _is_time(self) -> bool:
        return time.perf_counter() - self._last >= self._time

    def at_stop(self, training: Training) -> None:
        """Copy the model if the last validation loss is the lowest so far, and is to be kept."""
        if not self._checkpoint.keep_best:
            return
        losses = self._read_losses(training)
        if losses.size > self._n_seen and losses[-1] < self._best_loss:
            self._best_loss, self._best = float(losses[-1]), self._subject.copy_model(training)
        self._n_seen = losses.size

    def after_chunk(self, training: Training) -> bool:
        passes, is_whole = self._subject.count_progress(training)[0], self._is_whole(training)
        if self._epochs:
            is_due = is_whole and passes % self._epochs == 0 and passes > self._saved_epochs
        else:
            is_due = is_whole and self._is_time()
        if is_due:
            self._save(training)
        return False

    def _is_whole(self, training: Training) -> bool:
        return not self._subject.whole_epochs or training.trainer.n_steps % training.job.n_batches == 0

    def diverged(self, training: Training) -> None:
        """Keep the last checkpoint: the parameters before a divergence are of no use."""
        self._saves_end = False

    def end(self, training: Training) -> None:
        """Save the end of the training, and wait until the file is complete."""
        try:
            if (
                self._saves_end
                and self._is_whole(training)
                and self._subject.count_progress(training)[1] != self._saved_steps
            ):
                self._save(training)
            elif self._best is not None:  # a best epoch is of use even where the end of the training is not
                self._write()
        finally:
            self._wait()

    def _save(self, training: Training) -> None:
        self._last = time.perf_counter()
        self._wait()
        description, arrays = encode_model(self._subject.make_model(training), training=True)
        copies = {name: array.copy() for name, array in arrays.items()}
        self._write((self._path, Contents(description, copies)))
        self._saved_epochs, self._saved_steps = self._subject.count_progress(training)

    def _write(self, *files: tuple[Path, Contents]) -> None:
        """Start a thread that writes files, and a best epoch that has not been saved yet, if there is one.

        The arrays must not change until `_wait` returns.
        """
        if self._best is not None:
            files = (self._checkpoint.best_path, encode_model(self._best, training=False)), *files

        def write() -> None:
            try:
                for path, contents in files:
                    write_container(path, contents, synced=True)
            except BaseException as error:
                self._error = error

        self._wait()
        thread = threading.Thread(target=write, name="fastnn checkpoint")
        with defer_signals():  # `_wait` can join no thread that Ctrl-C kept from starting
            try:
                thread.start()
                self._thread = thread
            except RuntimeError:  # no more threads are available, or the interpreter is exiting
                write()
            self._best = None

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error
