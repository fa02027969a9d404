"""The loop around the kernels: what Python does between their calls.

A backend's trainer runs passes for some 50 ms a call, a *chunk*. Between chunks this loop lets an
interrupt through, prints and shows what it was asked to, calls the callbacks, looks at the validation
data, and turns a diverging run into an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.job import Job
from ..engine.protocol import Trainer
from .callbacks import EarlyStopping
from .divergence import divergence
from .history import History

__all__ = ["PRINT_EVERY", "Run", "Watch", "run_training"]

Array = NDArray[Any]
Floats = NDArray[np.float64]

# Passes from one printed loss to the next, unless the user says otherwise: the tutorial's.
PRINT_EVERY = 1000


@dataclass(frozen=True)
class Watch:
    """Who looks on.

    Parameters
    ----------
    print_loss : callable, optional
        Returns the loss that is printed after pass 0 and every `print_every` passes from there.
    print_every : int
    validate : callable, optional
        Returns the validation loss.
    callbacks : iterable of callable
        Called with the history once a chunk; one that returns True ends the training.
    stopping : EarlyStopping, optional
    score : callable, optional
        Returns what `stopping` watches, better the lower.
    keep : callable, optional
        Keeps the network as the best one so far.
    progress : bool
        Whether a bar is shown.
    ended : callable, optional
        Called with the history when the training has ended, also where it ends by an error or an interrupt.
    """

    print_loss: Callable[[], float] | None = None
    print_every: int = PRINT_EVERY
    validate: Callable[[], float] | None = None
    callbacks: Iterable[Callable[[History], Any]] = ()
    stopping: EarlyStopping | None = None
    score: Callable[[], float] | None = None
    keep: Callable[[], None] | None = None
    progress: bool = False
    ended: Callable[[History], None] | None = None


class Run:
    """A training under way, and everybody who looks on.

    Parameters
    ----------
    trainer : Trainer
    job : Job
    watch : Watch
    """

    def __init__(self, trainer: Trainer, job: Job, watch: Watch) -> None:
        self.trainer, self.job, self.watch = trainer, job, watch
        self._bar = _Bar(job) if watch.progress else None
        self.kept = job.kept
        self.validation = np.full(len(self.kept), np.nan)
        self.best, self.best_pass = np.inf, -1
        self.stopped = False

    @property
    def n_records(self) -> int:
        """Passes kept so far."""
        return int(np.searchsorted(self.kept, self.trainer.n_passes))

    def history(self) -> History:
        job, n = self.job, self.n_records
        passes = self.kept[:n]
        losses, norms, ratios = (array[:n].copy() for array in self.trainer.records)
        rates = job.rates((passes + 1) * job.n_batches - 1) if n else np.empty(0)
        stopped_early = self.stopped and self.trainer.n_passes < job.num_passes
        losses /= job.weights.sum()
        return History(passes, losses, self.validation[:n].copy(), rates, norms, ratios, stopped_early)

    def check_loss(self) -> None:
        """Raise `DivergenceError` if the last loss is not finite and no better parameters were kept."""
        n = self.n_records
        if n and self.best_pass < 0 and not np.isfinite(self.trainer.records.losses[n - 1]):
            raise divergence(int(self.kept[n - 1]), self.job, "the loss")

    def next_stop(self) -> int:
        """The pass before which there is something to do."""
        done, stops = self.trainer.n_passes, [self.job.num_passes]
        if self.watch.print_loss:
            every = self.watch.print_every
            stops.append(-(-done // every) * every + 1)
        if self.watch.validate or self.watch.score:
            stops.append(int(self.kept[self.n_records]) + 1)
        return min(stops)

    def after_chunk(self, stop: int) -> None:
        """What is due after a chunk that was to end before pass `stop`."""
        if self.trainer.n_passes == stop:
            self._look()
        if self._bar:
            self._bar.show(self)
        callbacks = list(self.watch.callbacks)
        if not (callbacks and self.n_records):  # nobody looks, or there is nothing to see yet
            return
        history = self.history()
        for callback in callbacks:
            answer = callback(history)
            if isinstance(answer, bool | np.bool_) and answer:
                self.stopped = True

    def close(self) -> History:
        """End the watching, however the training ended, and return what was measured."""
        if self._bar:
            self._bar.close()
        history = self.history()
        if self.watch.ended:
            self.watch.ended(history)
        return history

    def _look(self) -> None:
        last = self.trainer.n_passes - 1
        if self.watch.print_loss and last % self.watch.print_every == 0:
            print(f"Loss after iteration {last}: {self.watch.print_loss():f}")
        record = self.job.record(last)
        if record is None:
            return
        if self.watch.validate:
            self.validation[record] = self.watch.validate()
        if self.watch.stopping and self.watch.score and self.watch.keep:
            value = self.watch.score()
            if value < self.best - self.watch.stopping.min_delta:
                self.best, self.best_pass = value, last
                self.watch.keep()
            elif last - self.best_pass >= self.watch.stopping.patience:
                self.stopped = True


def run_training(trainer: Trainer, job: Job, watch: Watch = Watch()) -> History:
    """Run `trainer` through all passes of `job`, or until a callback ends it.

    Parameters
    ----------
    trainer : Trainer
    job : Job
    watch : Watch

    Returns
    -------
    History

    Raises
    ------
    DivergenceError
    """
    run = Run(trainer, job, watch)
    try:
        while trainer.n_passes < job.num_passes and not (run.stopped or trainer.halted):
            stop = run.next_stop()
            if not trainer.run(stop):
                raise divergence(trainer.n_passes, job, trainer.trouble)
            run.after_chunk(stop)
    finally:
        history = run.close()
    run.check_loss()
    return history


class _Bar:
    """A line that shows how far a training is."""

    def __init__(self, job: Job) -> None:
        from tqdm.auto import tqdm

        self._bar = tqdm(total=job.num_passes, unit="pass", dynamic_ncols=True)
        self._job, self._started = job, time.perf_counter()

    def show(self, run: Run) -> None:
        n_passes, n_records = run.trainer.n_passes, run.n_records
        seconds = time.perf_counter() - self._started
        shown: dict[str, str] = {"samples/s": f"{n_passes * self._job.X.shape[0] / seconds:.3g}"}
        if n_passes:
            shown["loss"] = f"{run.trainer.records.losses[n_records - 1] / self._job.weights.sum():.4g}"
            shown["rate"] = f"{self._job.rates(np.array([n_passes * self._job.n_batches - 1]))[0]:.3g}"
            validation = run.validation[:n_records][np.isfinite(run.validation[:n_records])]
            if validation.size:
                shown["validation"] = f"{validation[-1]:.4g}"
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(n_passes - self._bar.n)

    def close(self) -> None:
        self._bar.close()
