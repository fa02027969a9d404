"""The training loop, the base class of the hooks that observe and steer it, and what an interrupt leaves.

A trainer runs a *chunk* of epochs, about 50 ms, in one call. Between chunks the loop calls its hooks: printed
losses, progress bars, callbacks, validation data, early stopping, snapshots for animations. Each hook names
its next stop, a number of epochs; no chunk runs past the earliest stop.

Ctrl-C waits until the call has ended and the hooks that measure its last epoch have done so, since a resumed
training would not do it. The loop then calls the `end` of every hook.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels.compiler.interrupts import defer_signals

from ..engine.job import Job
from ..engine.protocol import Trainer
from ..optimizers import Minimiser
from .divergence import DivergenceError
from .history import History

Result = TypeVar("Result")


class Hook:
    """Base class of the hooks of a training. The defaults of all methods change nothing."""

    # True if `at_stop` measures the epoch that has ended, such as its validation loss: these hooks come
    # first, and Ctrl-C waits for them.
    measures = False

    def begin(self, training: Training) -> None:
        """Prepare for a training, before its first chunk."""

    def next_stop(self, training: Training) -> int:
        """Return the number of epochs done at the next stop, at least ``training.n_passes + 1``."""
        return training.job.num_passes

    def next_step(self, training: Training) -> int | None:
        """Return the number of steps done at which the next chunk must end; None if any number will do.

        Unlike `next_stop`, the number may lie in the middle of an epoch.
        """
        return None

    def before_chunk(self, training: Training) -> None:
        """Prepare for a chunk."""

    def record_chunk(self, training: Training) -> None:
        """Record the work of a chunk, even if the chunk diverged or was interrupted."""

    def diverged(self, training: Training) -> None:
        """Act on a training that has just diverged, before the loop raises `DivergenceError`."""

    def at_stop(self, training: Training) -> None:
        """Act after a chunk that ended at the earliest stop of all hooks."""

    def after_chunk(self, training: Training) -> bool:
        """Act after any chunk, which may end in the middle of an epoch; return True to end the training."""
        return False

    def end(self, training: Training) -> None:
        """Clean up after the training, whether it succeeded, failed or was interrupted.

        The loop also calls this method if the `begin` of this hook or of an earlier one has failed.
        """


class Training:
    """A running training: trainer, job, hooks in the order of their calls, and the measurements so far."""

    def __init__(self, trainer: Trainer, job: Job, hooks: Iterable[Hook] = ()) -> None:
        self.trainer, self.job, self.hooks = trainer, job, tuple(hooks)
        self.n_passes = trainer.n_passes  # number of whole epochs done
        self.stopped = False  # True after a hook has ended the training
        self.has_begun = False  # True after the `begin` of every hook
        # True if the optimizer is a `Minimiser`, whose epochs are iterations without a learning rate.
        self.is_minimisation = isinstance(job.optimizer, Minimiser)
        self._next_stop, self._next_step = self._list_methods("next_stop"), self._list_methods("next_step")
        self._before, self._record = self._list_methods("before_chunk"), self._list_methods("record_chunk")
        self._measure, self._act = self._list_methods("at_stop", True), self._list_methods("at_stop", False)
        self._after = self._list_methods("after_chunk")

    def _list_methods(self, name: str, measures: bool | None = None) -> list[Callable[[Training], Any]]:
        """Return the methods of the hooks that define one: a chunk of a small network takes microseconds."""
        return [
            getattr(hook, name)
            for hook in self.hooks
            if getattr(type(hook), name) is not getattr(Hook, name) and measures in (None, hook.measures)
        ]

    def advance(self) -> None:
        """Run one chunk, and call the hooks; raise DivergenceError before a step that is not finite."""
        trainer = self.trainer
        stop = min((find(self) for find in self._next_stop), default=self.job.num_passes)
        steps = [step for find in self._next_step if (step := find(self)) is not None]
        for prepare in self._before:
            prepare(self)
        with defer_signals():
            try:
                is_finite = trainer.run(stop, min(steps, default=None))
            finally:
                self.n_passes = trainer.n_passes
                for record in self._record:
                    record(self)
            is_at_stop = is_finite and self.n_passes == stop
            if is_at_stop:
                for measure in self._measure:
                    measure(self)
        if not is_finite:
            for hook in self.hooks:
                hook.diverged(self)
            raise self.divergence(trainer.non_finite)
        if is_at_stop:
            for act in self._act:
                act(self)
        for act in self._after:
            if act(self):
                self.stopped = True

    def find_next(self, every: int) -> int:
        """Return the number of epochs done after the next of epoch 0, every `every`-th and the last one."""
        return min(-(-self.n_passes // every) * every + 1, self.job.num_passes)

    # --- measurements --------------------------------------------------------------------------------

    @cached_property
    def validation(self) -> NDArray[np.float64]:
        """Validation losses (R,) of the kept epochs, which hooks compute; NaN where none has."""
        return np.full(len(self.job.kept), np.nan)

    @property
    def n_records(self) -> int:
        """Number of epochs done that the history keeps."""
        job, n_passes = self.job, self.n_passes
        return len(job.kept) if n_passes == job.num_passes else -(-n_passes // job.record_every)

    def rates(self, passes: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the learning rate of each epoch's last step; NaN in a minimisation."""
        if self.is_minimisation:
            return np.full(len(passes), np.nan)
        return self.job.rates((np.asarray(passes, np.int64) + 1) * self.job.n_batches - 1)

    def history(self) -> History:
        """Return the history of the epochs so far."""
        job, n = self.job, self.n_records
        passes = job.kept[:n]
        losses, norms, ratios = (array[:n].copy() for array in self.trainer.records)
        rates = self.rates(passes) if n else np.empty(0)
        stopped_early = self.stopped and self.n_passes < job.num_passes
        losses /= job.total_weight
        validation = self.validation[:n].copy()
        return History(passes, losses, validation, rates, norms, ratios, stopped_early, self.n_passes)

    def divergence(self, what: str, n_pass: int | None = None) -> DivergenceError:
        """Return the error for a training in which `what` diverged in epoch `n_pass`, by default the next."""
        job = self.job
        if n_pass is None:
            n_pass = self.n_passes
        rate = np.nan if self.is_minimisation else float(job.rates(np.array([n_pass * job.n_batches]))[0])
        return DivergenceError(n_pass, rate, job.reg_lambda, what)


def run_training(trainer: Trainer, job: Job, hooks: Iterable[Hook] = ()) -> Training:
    """Run a training until its epochs are done, or the trainer, a hook or a DivergenceError ends it."""
    return finish(run_chunks(trainer, job, hooks))


def finish(work: Generator[None, None, Result]) -> Result:
    """Run a training that yields before its chunks, as `run_chunks` does; return its result."""
    try:
        while True:
            next(work)
    except StopIteration as end:
        result: Result = end.value
        return result
    except RuntimeError as error:
        # The user does not know that the loop is a generator.
        if error.args == ("generator raised StopIteration",):
            raise RuntimeError("a callback, a scorer or a schedule raised StopIteration") from error.__cause__
        raise
    finally:
        work.close()  # an interrupt may come between two chunks


def run_chunks(trainer: Trainer, job: Job, hooks: Iterable[Hook]) -> Generator[None, None, Training]:
    """Do what `run_training` does, and yield before every chunk, so that its caller can do other work.

    Closing the generator ends the training as Ctrl-C does.
    """
    training = Training(trainer, job, hooks)
    try:
        for hook in training.hooks:
            hook.begin(training)
        training.has_begun = True
        while training.n_passes < job.num_passes and not (training.stopped or trainer.halted):
            yield
            training.advance()
    finally:
        with defer_signals():
            _end(training.hooks, training)
    return training


def _end(hooks: Sequence[Hook], training: Training) -> None:
    """Call the `end` of every hook in order, whatever errors they raise, and close the trainer."""
    # An ExitStack would do the same, but its frame refers to an error that refers to the frame: the trainer
    # and its arrays would live until the next garbage collection.
    if hooks:
        try:
            hooks[0].end(training)
        finally:
            _end(hooks[1:], training)
    else:
        training.trainer.close()
