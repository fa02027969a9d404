"""How an estimator's fit runs: `Fit` drives a trainer, and tells everybody who looks on.

The kernels run passes for some 50 ms a call; between calls the fit extends the estimator's curves,
prints or shows what `verbose` asks for, calls scikit-learn's callbacks, and hears Ctrl-C. Whether the loss
has stopped falling is noted by the kernels themselves, pass by pass (`Job.patience`); where validation
data decide, a call runs one pass.
"""

from __future__ import annotations

import copy
import math
import numbers
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import scipy.special
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from ..engine.choice import get_backend
from ..engine.job import Job, Memory
from ..engine.protocol import Trainer
from ..losses import Poisson
from ..network.description import Network
from ..optimizers import LBFGS, Optimizer
from ..system.generators import generator_state, is_twister, put_generator_state, seeded
from ..system.messages import warn
from ..training.divergence import DivergenceError
from ..training.lbfgs import minimise

try:  # scikit-learn has them from 1.9 on
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Estimators have no callbacks with this scikit-learn."""

    def with_callbacks(method: Any) -> Any:
        return method


__all__ = [
    "CallbackSupportMixin",
    "Fit",
    "FitDivergenceError",
    "Shown",
    "State",
    "Validation",
    "with_callbacks",
]

Array = NDArray[Any]

# Passes that one trainer runs at the most: it keeps a record of each.
MOST_PASSES = 10_000
# Turns that a fit with scikit-learn's callbacks is cut into: a task each.
MOST_TASKS = 50
# "adaptive" divides the rate by this, until it is not above that.
ADAPTIVE_DIVISOR, LEAST_RATE = 5.0, 1e-6


class _Claims:
    """The generators that fits draw from, on whatever threads."""

    def __init__(self) -> None:
        self.lock, self.taken = threading.Lock(), set[int]()


_claims = _Claims()


def _begin_anew() -> None:
    """In a child process: the fits of other threads are not there."""
    global _claims
    _claims = _Claims()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


@contextmanager
def claimed(random: np.random.RandomState) -> Iterator[np.random.RandomState]:
    """The generator for one fit alone; one of its own, seeded from this, while another fit draws from it.

    The kernels draw from a copy for as long as a call takes: two fits would draw the same numbers.
    """
    claims = _claims
    with claims.lock:
        is_free = id(random) not in claims.taken
        if is_free:
            claims.taken.add(id(random))
        else:
            random = seeded(random.randint(0, 2**32, 4, np.uint32))
    try:
        yield random
    finally:
        if is_free:
            with claims.lock:
                claims.taken.discard(id(random))


class FitDivergenceError(DivergenceError):
    """A fit that diverged; the estimator holds the last finite parameters."""

    _rate, _penalty, _limit = "learning_rate_init", "alpha", "max_grad_norm"
    _decay_name = "learning_rate_init * alpha, by the samples of a batch,"
    # Which parameters the estimator is left with.
    held = "the last finite parameters"
    # What divides the penalty in a step: the sum of a batch's weights.
    batch_weight = 1.0

    @property
    def _decay(self) -> float:
        return super()._decay / self.batch_weight

    def __str__(self) -> str:
        message = (
            "Solver produced non-finite parameter weights. The input data may contain large values and need "
            "to be preprocessed."
        )
        if np.isnan(self.epsilon):  # L-BFGS has no rate that could be lowered
            when = f"in iteration {self.iteration}" if self.iteration else "at the start"
            return f"{message} {self.what.capitalize()} is not finite {when}. Remedy: standardise X, and y."
        return (
            f"{message} In detail: training diverged in pass {self.iteration}, {self.what} is no longer "
            f"finite with learning_rate_init={self.epsilon:g} and alpha={self.reg_lambda:g}. The estimator "
            f"holds {self.held}. Remedy: {self._remedy}."
        )


@dataclass
class State:
    """What a fitted estimator predicts with, and what its next fit goes on from.

    Parameters
    ----------
    network : Network
    parameters, statistics : array
        Flat, as the network lays them out.
    memory : Memory, optional
        Of the training; None before the first by a stochastic solver.
    optimizer : Optimizer, optional
        That the memory is of.
    n_steps : int
        Steps done in all fits.
    seed : int
        Of dropout.
    rate_factor : float
        How far the "adaptive" rate has fallen.
    n_no_improvement : int
        Passes in a row without an improvement.
    random : RandomState, optional
        The generator made from an integer `random_state`; None for a generator that the user passed.
    random_state : None, int or RandomState
        The estimator's parameter in the last fit.
    split : tuple, optional
        State of the generator that the validation data were drawn with.
    best : two arrays, optional
        Where validation data chose: the predicting parameters and the statistics of the best pass. The next
        fit goes on from the last pass all the same.
    """

    network: Network
    parameters: Array
    statistics: Array
    memory: Memory | None = None
    optimizer: Optimizer | None = None
    n_steps: int = 0
    seed: int = 0
    rate_factor: float = 1.0
    n_no_improvement: int = 0
    random: np.random.RandomState | None = None
    random_state: Any = None
    split: Any = None
    best: tuple[Array, Array] | None = None

    @property
    def _last(self) -> Array:
        """Those of the last pass that predict: their average, where one is kept."""
        if self.memory is not None and self.memory.average.size:
            return self.memory.average
        return self.parameters

    @property
    def predicting(self) -> Array:
        """The parameters that predict."""
        return self._last if self.best is None else self.best[0]

    @property
    def predicting_statistics(self) -> Array:
        """The statistics that go with them."""
        return self.statistics if self.best is None else self.best[1]

    @property
    def folded(self) -> Array:
        """The parameters that predict, with batch normalisation folded in."""
        return self.network.folded(self.predicting, self.predicting_statistics)

    def copy(self) -> State:
        """The same on arrays of its own, which can be written to."""
        other = copy.deepcopy(self)
        other.random_state = self.random_state  # compared by identity with the estimator's parameter
        return other

    def settle(self) -> None:
        """Let the best pass be the last."""
        if self.best is not None:
            (parameters, statistics), self.best = self.best, None
            self._last[...], self.statistics[...] = parameters, statistics

    def turn_to(self, optimizer: Optimizer) -> None:
        """Forget what belongs to another optimizer: this one begins, with the parameters that predict."""
        if self.optimizer is None or _kind(self.optimizer) == _kind(optimizer):
            return
        self.settle()
        self.parameters[...] = self._last
        if self.memory is not None:
            self.memory.average = self.memory.average[:0]
        self.optimizer, self.n_steps = None, 0

    def draw_from(self, random: np.random.RandomState, random_state: Any) -> None:
        """Keep the generator that was made from an integer; a new `random_state` begins a new order."""
        if self.memory is not None and self.random_state != random_state:
            self.memory.order = self.memory.order[:0]
        self.random = random if isinstance(random_state, numbers.Integral) else None
        self.random_state = random_state


def _kind(optimizer: Optimizer) -> tuple[str, bool]:
    """What two optimizers have in common that can go on with each other's state."""
    return optimizer.rule, getattr(optimizer, "rate_in_velocity", False)


class Validation(NamedTuple):
    """What is asked of validation data after a pass."""

    loss: Callable[[], float]
    score: Callable[[], float]


class Shown(NamedTuple):
    """The training data as scikit-learn's callbacks are shown them."""

    X: Callable[[], Any]
    y: Any
    metadata: dict[str, Any] | None


class Fit:
    """One fit of an estimator.

    Parameters
    ----------
    estimator : estimator
        Its curves are extended and its fitted attributes set.
    state : State
        Changed.
    job : Job
        All of its passes.
    random : RandomState
        What orders are drawn from.
    stopped : callable, optional
        Says whether somebody else wants the fit to end. Interrupts are theirs then, and go on to them.
    shown : Shown
    """

    def __init__(
        self, estimator: Any, state: State, job: Job, random: np.random.RandomState,
        stopped: Callable[[], bool] | None, shown: Shown,
    ) -> None:  # fmt: skip
        self.estimator, self.state, self.job = estimator, state, job
        self.random, self.stopped, self.shown = random, stopped, shown
        self.offset = _offset(job, state.network)
        # As they are now: callbacks may set them while the kernels go by what they were told.
        self.n_iter_no_change, self.tol = estimator.n_iter_no_change, estimator.tol

    # --- stochastic solvers ------------------------------------------------------------------------

    def run(self, validation: Validation | None, is_whole: bool) -> None:
        """All passes, or as many as it takes; `is_whole` if they are to bring the fit to its end."""
        estimator, state, job = self.estimator, self.state, self.job
        estimator.n_iter_ = 0
        self.generator = self._generator() if job.shuffled else None
        self._diverged_early = False
        memory = self._memory()
        best: list[Array] = list(state.best or ())
        if estimator.early_stopping and not best:
            estimator.best_validation_score_ = -np.inf
        ended = False
        with self._watched(is_whole) as watcher:
            try:
                state.best = None  # in the meantime the last pass is what there is
                while estimator.n_iter_ < job.num_passes and not ended:
                    ended = self._run_some(memory, validation, best, watcher)
            except KeyboardInterrupt:
                ended = True
                self._interrupted()
            finally:
                if not job.shuffled and estimator.shuffle and self.random is not state.random:
                    self._draw_orders(estimator.n_iter_)
                if best:
                    state.best = best[0], best[1]
        if not self._diverged_early and estimator.n_iter_ and not math.isfinite(estimator.loss_):
            self._diverged("the loss", estimator.n_iter_ - 1, bool(best))
        # A schedule of the user's own says when the rate has fallen far enough: with the last pass.
        if is_whole and not ended and not estimator._has_own_schedule():
            warn(
                f"Stochastic Optimizer: Maximum iterations ({job.num_passes}) reached and the optimization "
                "hasn't converged yet. Raise max_iter, or learning_rate_init if the loss still falls slowly; "
                "a larger tol ends earlier.",
                ConvergenceWarning,
            )

    def _draw_orders(self, n_passes: int) -> None:
        """Leave a generator that others share as scikit-learn does, which orders a whole batch too."""
        order = np.arange(self.job.X.shape[0])
        for _ in range(n_passes):
            self.random.shuffle(order)

    def _generator(self) -> np.random.RandomState:
        """Where the orders come from. Another kind of generator than the kernels know gives a seed."""
        if is_twister(self.random):
            return self.random
        return seeded(self.random.randint(0, 2**32, 4, np.uint32))

    def _memory(self) -> Memory:
        """The state's, where this job can go on with it."""
        state, job = self.state, self.job
        memory = Memory.fresh(state.network, state.parameters, job)
        old = state.memory
        if old is not None:
            if state.optimizer is not None:
                memory.optimizer = old.optimizer
            if memory.average.size and old.average.size:
                memory.average = old.average
            if memory.order.size == old.order.size:
                memory.order = old.order
            memory.plateau = old.plateau
        state.memory, state.optimizer = memory, job.optimizer
        return memory

    def _run_some(
        self, memory: Memory, validation: Validation | None, best: list[Array], watcher: _Watcher
    ) -> bool:  # fmt: skip
        """Passes for one trainer; returns whether the fit has ended."""
        estimator, state, job = self.estimator, self.state, self.job
        done = estimator.n_iter_
        n_passes = min(job.num_passes - done, MOST_PASSES)
        if n_passes < job.num_passes:  # one of several trainers
            job = replace(job, num_passes=n_passes, steps_before=state.n_steps)
        trainer = get_backend("numba").trainer(state.network, state.parameters, state.statistics, job, memory)
        seen = 0
        while trainer.n_passes < n_passes:
            stop = trainer.n_passes + 1 if validation else min(n_passes, watcher.next_stop() - done)
            if self.generator is not None:  # others may have drawn from it since
                memory.generator[...] = generator_state(self.generator)
            try:
                finite = trainer.run(stop)
            finally:  # an interrupt may come when passes are done
                if self.generator is not None:
                    put_generator_state(self.generator, memory.generator)
                self._extend(trainer, seen)
                state.n_steps = job.steps_before + trainer.n_passes * job.n_batches
            if finite and validation and trainer.n_passes == stop:
                estimator.validation_loss_curve_.append(validation.loss())
                if estimator.early_stopping:
                    self._note_score(validation.score(), best)
            seen = trainer.n_passes
            watcher.show(self, trainer)
            if not finite:
                self._diverged_early = True
                self._diverged(trainer.trouble, estimator.n_iter_, bool(best))
                estimator.validation_scores_.append(float("nan"))
                return True
            # Before the first pass is done, what is counted is what ended the fit before.
            if trainer.n_passes and self._has_stalled(memory, watcher):
                return True
            if watcher.wants_to_stop():
                return True
            if self.stopped is not None and self.stopped():
                raise KeyboardInterrupt
        return False

    def _extend(self, trainer: Trainer, seen: int) -> None:
        """Take what the trainer has recorded since `seen` passes into the curves."""
        estimator, state, job = self.estimator, self.state, self.job
        new = trainer.records.losses[seen : trainer.n_passes]
        if not new.size:
            return
        losses = (new / job.X.shape[0] + self.offset).tolist()
        estimator.loss_curve_ += losses
        estimator.loss_ = losses[-1]
        estimator.n_iter_ += new.size
        estimator.t_ += new.size * job.X.shape[0]
        if not estimator.early_stopping:
            assert state.memory is not None
            estimator.best_loss_ = float(state.memory.plateau[0]) + self.offset
            state.n_no_improvement = int(state.memory.plateau[1])

    def _note_score(self, score: float, best: list[Array]) -> None:
        estimator, state = self.estimator, self.state
        estimator.validation_scores_.append(score)
        if score < estimator.best_validation_score_ + self.tol:
            state.n_no_improvement += 1
        else:
            state.n_no_improvement = 0
        if score > estimator.best_validation_score_:
            estimator.best_validation_score_ = score
            best[:] = state.predicting.copy(), state.statistics.copy()

    def _has_stalled(self, memory: Memory, watcher: _Watcher) -> bool:
        """Whether the fit ends for want of improvement; "adaptive" lowers the rate first."""
        estimator, state = self.estimator, self.state
        if not state.n_no_improvement > self.n_iter_no_change:
            return False
        what = "Validation score" if estimator.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} "
            "consecutive epochs."
        )
        rate = self.job.epsilon * state.rate_factor
        if not (estimator.learning_rate == "adaptive" and estimator.solver == "sgd"):
            watcher.say(f"{message} Stopping.")
            return True
        if rate <= LEAST_RATE:
            watcher.say(f"{message} Learning rate too small. Stopping.")
            return True
        state.rate_factor /= ADAPTIVE_DIVISOR
        watcher.say(f"{message} Setting learning rate to {rate / ADAPTIVE_DIVISOR:f}")
        state.n_no_improvement = 0
        memory.plateau[1] = 0
        return False

    def _diverged(self, what: str, n_pass: int, has_best: bool) -> None:
        """Raise; where validation data chose better parameters before, they stay, and a warning will do."""
        job = self.job
        rates = job.rates(np.array([self.state.n_steps - job.steps_before]))
        error = FitDivergenceError(n_pass, float(rates[0]), job.reg_lambda, what)
        error.batch_weight = float(job.weights.mean() * job.batch_size)
        if not has_best:
            raise error
        error.held = "the parameters of the best pass"
        warn(str(error), ConvergenceWarning)

    # --- L-BFGS ------------------------------------------------------------------------------------

    def run_lbfgs(self, optimizer: LBFGS, validation: Validation | None) -> None:
        """The whole minimisation."""
        estimator, state, job = self.estimator, self.state, self.job
        estimator.n_iter_ = 0
        state.optimizer = optimizer
        share, total = job.loss_share, job.weights.sum()
        result = None

        def after_iteration(loss: float, gradient: Array) -> None:
            estimator.n_iter_ += 1
            W = state.parameters[: state.network.n_weights].astype(np.float64)
            penalty = 0.5 * job.reg_lambda * float(W @ W) / total
            estimator.loss_ = share * loss + penalty + self.offset
            if validation:
                estimator.validation_loss_curve_.append(validation.loss())
            watcher.show(self, None)
            if self.stopped is not None and self.stopped():
                raise KeyboardInterrupt
            if watcher.wants_to_stop():
                raise StopIteration

        with self._watched(True) as watcher:
            try:
                result = minimise(
                    get_backend("numba"), state.network, state.parameters, state.statistics, job, optimizer,
                    after_iteration,
                )  # fmt: skip
            except KeyboardInterrupt:
                self._interrupted()
            except DivergenceError as error:
                raise FitDivergenceError(error.iteration, np.nan, job.reg_lambda, error.what) from None
        if result is None:
            return
        estimator.n_iter_ = min(int(result.nit), job.num_passes)
        if not estimator.n_iter_:
            estimator.loss_ = float(result.fun) + self.offset
        if result.status not in (0, 99):  # 99: a callback ended it
            more = (
                f"\nIncrease the number of iterations to improve the convergence (max_iter={job.num_passes})."
                if estimator.n_iter_ == job.num_passes
                else ""
            )
            warn(
                f"lbfgs failed to converge after {estimator.n_iter_} iteration(s) (status={result.status}):\n"
                f"{result.message}\n{more}\nYou might also want to scale the data as shown in:\n"
                "    https://scikit-learn.org/stable/modules/preprocessing.html",
                ConvergenceWarning,
            )

    def _interrupted(self) -> None:
        """In an except clause: end the fit with a warning, or hand the interrupt on."""
        if self.stopped is not None:
            raise
        warn("Training interrupted by user.")

    # --- who looks on ------------------------------------------------------------------------------

    @contextmanager
    def _watched(self, is_whole: bool) -> Iterator[_Watcher]:
        watcher = _Watcher(self, is_whole)
        try:
            yield watcher
        finally:
            watcher.close()


class _Watcher:
    """Lines, a bar, and scikit-learn's callbacks: whatever the estimator was asked for."""

    def __init__(self, fit: Fit, is_whole: bool) -> None:
        estimator, job = fit.estimator, fit.job
        self._estimator, self._job, self._shown = estimator, job, fit.shown._asdict()
        # "lbfgs" has no curve, and scores there are with `early_stopping` alone.
        self._curve = getattr(estimator, "loss_curve_", [])
        scores = getattr(estimator, "validation_scores_", None)
        self._scores = [] if scores is None else scores
        verbose = estimator.verbose
        shows_bar = verbose == 1 and not isinstance(verbose, bool | np.bool_)
        self._prints = bool(verbose) and not shows_bar
        self._printed = self._scored = 0
        self._bar: Any = None
        if shows_bar and is_whole:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=job.num_passes, unit="pass", dynamic_ncols=True)
        self._curve_before = len(self._curve)
        self._scored = len(self._scores)
        self._context: Any = None
        self._task: Any = None
        self._asked_to_stop = False
        self._task_length = -(-job.num_passes // MOST_TASKS)
        self._told = 0
        callbacks = getattr(estimator, "_skl_callbacks", [])
        # In a search this fit is a task, even where nobody asks what it consists of.
        if is_whole and (callbacks or hasattr(estimator, "_parent_callback_ctx")):
            n_tasks = -(-job.num_passes // self._task_length) if callbacks else 0
            self._context = estimator._init_callback_context(max_subtasks=n_tasks)
            self._context.call_on_fit_task_begin(estimator=estimator, **self._shown)
            if callbacks:
                self._begin_task()

    def next_stop(self) -> int:
        """The pass of the fit before which somebody is to be told of what was done."""
        if self._task is None:
            return self._job.num_passes
        return (self._estimator.n_iter_ // self._task_length + 1) * self._task_length

    def say(self, message: str) -> None:
        if self._prints:
            print(message)

    def show(self, fit: Fit, trainer: Trainer | None) -> None:
        """Tell of the passes done since the last call."""
        estimator = self._estimator
        done = estimator.n_iter_
        if self._prints:
            for k in range(self._printed, done):
                loss = self._curve[self._curve_before + k] if trainer else estimator.loss_
                print(f"Iteration {k + 1}, loss = {loss:.8f}")
                if self._scored < len(self._scores):
                    print(f"Validation score: {self._scores[self._scored]:f}")
                    self._scored += 1
            self._printed = done
        if self._bar is not None:
            shown = {"loss": f"{estimator.loss_:.4g}"} if done else {}
            if trainer and done:
                rate = fit.job.rates(np.array([fit.state.n_steps - fit.job.steps_before]))[0]
                shown["rate"] = f"{rate:.3g}"
            if self._scores:
                shown["score"] = f"{self._scores[-1]:.4g}"
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update(done - self._bar.n)
        # A call of the kernels may end in the middle of a pass, with nothing new to be told.
        ends = done > self._told and (done % self._task_length == 0 or done == self._job.num_passes)
        self._told = done
        if self._task is not None and ends:
            self._end_task()
            if done < self._job.num_passes and not self._asked_to_stop:
                self._begin_task()

    def wants_to_stop(self) -> bool:
        """Whether a callback does."""
        return self._asked_to_stop

    def _begin_task(self) -> None:
        self._task = self._context.subcontext(task_name="passes")
        self._task.call_on_fit_task_begin(estimator=self._estimator, **self._shown)

    def _end_task(self) -> None:
        task, self._task = self._task, None
        self._asked_to_stop |= self._tell_end(task)

    def _tell_end(self, context: Any) -> bool:
        estimator = self._estimator
        return context.call_on_fit_task_end(
            estimator=estimator,
            reconstruction_attributes=lambda: {"_state": estimator._state.copy()},
            **self._shown,
        )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._context is not None:
            if self._task is not None:
                self._end_task()
            self._tell_end(self._context)


def _offset(job: Job, network: Network) -> float:
    """What makes the recorded objective scikit-learn's: its Poisson deviance is 0 at best."""
    if not isinstance(network.loss, Poisson):
        return 0.0
    y = job.y.astype(np.float64)
    per_sample = (scipy.special.xlogy(y, y) - y).sum(axis=1)
    return float(np.average(per_sample, weights=job.weights))
