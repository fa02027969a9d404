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

from ..engine.backends import Job, Trainer
from ..system.validation import check_count, check_rate, shown, store_checked

__all__ = ["DivergenceError", "EarlyStopping", "History", "Run", "Watch", "run_training"]

Array = NDArray[Any]
Floats = NDArray[np.float64]

# Passes that are kept in a history at the most, but for the last: measuring a pass costs a few per cent of
# it, and nobody looks at more points.
MOST_RECORDS = 1000
# Passes from one printed loss to the next, unless the user says otherwise: the tutorial's.
PRINT_EVERY = 1000


class DivergenceError(ValueError):
    """Raised when something that the model keeps, or the last loss, becomes infinite or NaN.

    The model then holds the parameters of the last step in which all were finite.

    Attributes
    ----------
    iteration : int
        The pass that diverged, counted from 0 as in the printed losses.
    epsilon : float
        The learning rate of that pass.
    reg_lambda : float
    what : str
        What was no longer finite: "a parameter", "a running statistic of batch normalisation", "the state
        of the optimizer", "the average of the parameters" or "the loss".
    """

    def __init__(self, iteration: int, epsilon: float, reg_lambda: float, what: str = "a parameter") -> None:
        super().__init__(iteration, epsilon, reg_lambda, what)
        self.what = what
        self.iteration = iteration
        self.epsilon = epsilon
        self.reg_lambda = reg_lambda

    # What the arguments are called that the message is about.
    _rate, _penalty, _limit = "epsilon", "reg_lambda", "clip_norm"

    @property
    def _decay(self) -> float:
        """How much of a weight the penalty alone takes away in a step."""
        return self.epsilon * self.reg_lambda

    @property
    def _remedy(self) -> str:
        if self._decay > 2:
            return f"{self._decay_name} is {self._decay:g} and must stay below 2: lower either"
        if self.what in ("a parameter", "the average of the parameters"):
            return (
                f"lower {self._rate}, for instance to {self.epsilon / 10:g}, or set {self._limit}, and "
                "standardise X if its values are large"
            )
        return f"standardise X, and y if it holds large numbers, or else lower {self._rate}"

    @property
    def _decay_name(self) -> str:
        return f"{self._rate} * {self._penalty}"

    def __str__(self) -> str:
        return (
            f"training diverged in pass {self.iteration}: {self.what} is no longer finite with "
            f"{self._rate}={self.epsilon:g} and {self._penalty}={self.reg_lambda:g}. The model holds the "
            f"last finite parameters. Remedy: {self._remedy}."
        )


@dataclass(frozen=True)
class History:
    """What was measured in a training, an entry for each pass that was kept.

    Every pass is kept in a run of up to 1000, every second one in a run of up to 2000, and so on; and always
    the last.

    Attributes
    ----------
    passes : array (R,) of int64
        Their numbers, counted from 0.
    loss : array (R,)
        Mean loss of the samples, each as the network was when its batch was trained on, without
        regularisation terms, and with dropout where there is any.
    validation_loss : array (R,)
        Mean loss of the validation data after the pass; NaN without such data.
    learning_rate : array (R,)
        Of the pass's last step; NaN with "lbfgs", which chooses its own steps.
    gradient_norm : array (R,)
        Euclidean norm of the last step's gradient, before it is clipped and without regularisation terms;
        with "lbfgs", of the gradient of all that is minimised.
    update_ratio : array (R, layers)
        Norm of the last step's change of a layer's weights, by the norm of the weights. About 1e-3 is
        healthy; far more or less says that the learning rate is too high or too low (CS231n, "Neural
        Networks Part 3", section on the ratio of updates).
    stopped_early : bool
        Whether a callback ended the training before its last pass.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Model([2, 3, 2], random_state=0)
    >>> history = model.train([[0.0, 1.0], [1.0, 0.0]], [0, 1], num_passes=5)
    >>> len(history.loss), history.update_ratio.shape
    (5, (5, 2))
    """

    passes: NDArray[np.int64]
    loss: Floats
    validation_loss: Floats
    learning_rate: Floats
    gradient_norm: Floats
    update_ratio: Floats
    stopped_early: bool = False

    def __len__(self) -> int:
        return len(self.passes)

    def __repr__(self) -> str:
        if not len(self):
            return "History(no passes)"
        parts = [f"passes={self.passes[-1] + 1}", f"loss={self.loss[-1]:.6g}"]
        if np.isfinite(self.validation_loss[-1]):
            parts.append(f"validation_loss={self.validation_loss[-1]:.6g}")
        return f"History({', '.join(parts)})"


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when the validation data say that it gets no better, and go back to the best weights.

    Given to `Model.train` among the callbacks, with `validation_data`.

    Parameters
    ----------
    patience : int, default 10
        Passes without an improvement before the training ends. Only the passes that the history keeps are
        looked at: of a run of 20,000, every twentieth.
    min_delta : float, default 0.0
        What counts as an improvement, in units of the loss or score.
    scorer : callable, optional
        ``scorer(model, X, y)``, a number that is better the higher it is, as ``lambda model, X, y:
        accuracy_score(y, model.predict(X))``. By default the validation loss is watched, which is better
        the lower it is.

    Raises
    ------
    ValueError
        For a patience below 1, a min_delta below 0, a scorer that cannot be called.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(300, noise=0.3, random_state=0)
    >>> model = fastnn.Model([2, 50, 2], random_state=0)
    >>> history = model.train(X[:200], y[:200], num_passes=5000, epsilon=0.02, reg_lambda=0.0,
    ...                       validation_data=(X[200:], y[200:]),
    ...                       callbacks=[fastnn.EarlyStopping(patience=200)])
    >>> history.stopped_early
    True
    """

    patience: int = 10
    min_delta: float = 0.0
    scorer: Callable[[Any, Any, Any], float] | None = None

    def __post_init__(self) -> None:
        store_checked(
            self,
            patience=check_count(self.patience, "patience", 1),
            min_delta=check_rate(self.min_delta, "min_delta"),
        )
        if self.scorer is not None and not callable(self.scorer):
            raise ValueError(f"scorer must be a function of model, X and y, got {shown(self.scorer)}")


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


def record_every(num_passes: int) -> int:
    """Passes from one that is kept in the history to the next."""
    return max(1, -(-num_passes // MOST_RECORDS))


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
            raise _divergence(int(self.kept[n - 1]), self.job, "the loss")

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
                raise _divergence(trainer.n_passes, job, trainer.trouble)
            run.after_chunk(stop)
    finally:
        history = run.close()
    run.check_loss()
    return history


def _divergence(n_pass: int, job: Job, what: str) -> DivergenceError:
    """Return the error of a training in whose pass `n_pass` `what` was no longer finite."""
    rate = job.rates(np.array([n_pass * job.n_batches]))[0]
    return DivergenceError(n_pass, float(rate), job.reg_lambda, what)


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
