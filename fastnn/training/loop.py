"""The one loop of every training, and the protocol of the hooks that look on and steer it.

A trainer runs epochs for some 50 ms a call, a *chunk*. Between chunks Python sees interrupts, and the loop
calls its hooks: what is printed and shown, callbacks, validation data, early stopping, frames of a film. A
hook announces the epoch at which it wants control next, and no chunk goes beyond the first of these stops.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.job import Job
from ..engine.protocol import Trainer
from ..optimizers import LBFGS
from .divergence import DivergenceError
from .history import History

__all__ = ["Driver", "Hook", "Training", "run_training"]


class Hook:
    """Base class of hooks: every method is called at its moment, and does nothing unless overridden."""

    def begin(self, training: Training) -> None:
        """Prepare for a training whose first chunk comes next."""

    def next_stop(self, training: Training) -> int:
        """Return the number of passes done at which `at_stop` is wanted next; not below ``n_passes + 1``."""
        return training.job.num_passes

    def before_chunk(self, training: Training) -> None:
        """Prepare for a chunk."""

    def chunk_ended(self, training: Training) -> None:
        """Note what a chunk has done, whether it ended by itself, diverged or was interrupted."""

    def diverged(self, training: Training) -> None:
        """Look at a training that has just diverged, before the loop raises `DivergenceError`."""

    def at_stop(self, training: Training) -> None:
        """Act after a chunk that ended at a stop, whichever hook announced it."""

    def after_chunk(self, training: Training) -> bool:
        """Act after a chunk, also one that ended in the middle of a pass; return True to end the training."""
        return False

    def end(self, training: Training) -> None:
        """Tidy up, however the training ended: by itself, by an error or by an interrupt."""


class Training:
    """A training under way: its trainer, its job, its hooks, and what has been measured.

    Parameters
    ----------
    trainer : Trainer
    job : Job
    hooks : iterable of Hook
        Called in their order.

    Attributes
    ----------
    stopped : bool
        True once a hook has asked for the end.
    has_best : bool
        True if a hook has kept parameters that the training can fall back on.
    """

    def __init__(self, trainer: Trainer, job: Job, hooks: Iterable[Hook] = ()) -> None:
        self.trainer, self.job, self.hooks = trainer, job, tuple(hooks)
        self.stopped = self.has_best = False

    @property
    def n_passes(self) -> int:
        """Number of passes done."""
        return self.trainer.n_passes

    @property
    def is_running(self) -> bool:
        """True while passes are left and neither a hook nor the trainer has ended the training."""
        trainer = self.trainer
        return trainer.n_passes < self.job.num_passes and not (self.stopped or trainer.halted)

    def advance(self) -> None:
        """Run one chunk, and let the hooks act.

        Raises
        ------
        DivergenceError
            If the next step would leave something that is not finite.
        """
        trainer, hooks = self.trainer, self.hooks
        stop = min((hook.next_stop(self) for hook in hooks), default=self.job.num_passes)
        for hook in hooks:
            hook.before_chunk(self)
        try:
            is_finite = trainer.run(stop)
        finally:
            for hook in hooks:
                hook.chunk_ended(self)
        if not is_finite:
            for hook in hooks:
                hook.diverged(self)
            raise self.divergence(trainer.non_finite)
        is_at_stop = trainer.n_passes == stop
        for hook in hooks:
            if is_at_stop:
                hook.at_stop(self)
            if hook.after_chunk(self):
                self.stopped = True

    # --- what has been measured ----------------------------------------------------------------------

    @functools.cached_property
    def kept(self) -> NDArray[np.int64]:
        """Numbers of the passes that the history keeps."""
        return self.job.kept

    @functools.cached_property
    def validation(self) -> NDArray[np.float64]:
        """Validation losses (R,) of the kept passes, NaN where none has been computed."""
        return np.full(len(self.kept), np.nan)

    @property
    def n_records(self) -> int:
        """Number of kept passes that are done."""
        return int(np.searchsorted(self.kept, self.n_passes))

    def rates(self, passes: Any) -> NDArray[np.float64]:
        """Return the learning rates of the last steps of passes; NaN for L-BFGS, which chooses its steps."""
        if isinstance(self.job.optimizer, LBFGS):
            return np.full(len(passes), np.nan)
        return self.job.rates((np.asarray(passes, np.int64) + 1) * self.job.n_batches - 1)

    def history(self) -> History:
        """Return what has been measured so far."""
        job, n = self.job, self.n_records
        passes = self.kept[:n]
        losses, norms, ratios = (array[:n].copy() for array in self.trainer.records)
        rates = self.rates(passes) if n else np.empty(0)
        stopped_early = self.stopped and self.n_passes < job.num_passes
        losses /= job.weights.sum()
        return History(passes, losses, self.validation[:n].copy(), rates, norms, ratios, stopped_early)

    def check_loss(self) -> None:
        """Raise DivergenceError if the last loss is not finite, and no hook has kept better parameters."""
        n = self.n_records
        if n and not self.has_best and not np.isfinite(self.trainer.records.losses[n - 1]):
            raise self.divergence("the loss", int(self.kept[n - 1]))

    def divergence(self, what: str, n_pass: int | None = None) -> DivergenceError:
        """Return the error of a training in whose pass `n_pass`, the next by default, `what` diverged."""
        job = self.job
        if n_pass is None:
            n_pass = self.n_passes
        lbfgs = isinstance(job.optimizer, LBFGS)
        rate = job.epsilon if lbfgs else float(job.rates(np.array([n_pass * job.n_batches]))[0])
        return DivergenceError(n_pass, rate, job.reg_lambda, what)


class Driver:
    """Base class of a trainer that is itself called back after every pass, as by a minimiser of SciPy's."""

    def drive(self, training: Training) -> None:
        """Call ``training.advance()`` after every pass, until the training ends."""
        raise NotImplementedError


def run_training(trainer: Trainer, job: Job, hooks: Iterable[Hook] = ()) -> Training:
    """Run a training to its end, which the job, the trainer or a hook decides.

    Parameters
    ----------
    trainer : Trainer
    job : Job
    hooks : iterable of Hook

    Returns
    -------
    Training
        The training that has ended.

    Raises
    ------
    DivergenceError
        If the next step would leave something that is not finite.
    """
    training = Training(trainer, job, hooks)
    try:
        for hook in training.hooks:
            hook.begin(training)
        if isinstance(trainer, Driver):
            trainer.drive(training)
        else:
            while training.is_running:
                training.advance()
    finally:
        for hook in training.hooks:
            hook.end(training)
    return training
