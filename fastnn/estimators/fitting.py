"""The fit of an estimator: trainings with hooks that keep its curves, validate and decide on the end.

Whether the loss has stopped falling is noted by the kernels themselves, pass by pass (`Job.patience`); where
validation data decide, a chunk is one pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import scipy.special
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from ..engine.choice import get_backend
from ..engine.job import Job, Memory
from ..losses import Poisson
from ..network.description import Network
from ..system.generators import generator_state, is_twister, put_generator_state, seeded
from ..system.messages import warn
from ..training.divergence import DivergenceError
from ..training.lbfgs import LBFGSTrainer
from ..training.loop import Hook, Training, run_training
from .fitted import FittedNetwork
from .reporting import CallbackData, Lines, ReportingHook, reporting_hooks

__all__ = ["Fit", "FitDivergenceError", "Validation"]

Array = NDArray[Any]

# Most passes of one training, which keeps a record of each: a longer fit is a chain of trainings.
MOST_PASSES = 10_000
# "adaptive" divides the rate by this, until it is not above that.
ADAPTIVE_DIVISOR, LEAST_RATE = 5.0, 1e-6


class FitDivergenceError(DivergenceError):
    """Error of a fit that diverged; the estimator holds the last finite parameters."""

    _rate, _penalty, _limit = "learning_rate_init", "alpha", "max_grad_norm"
    _decay_name = "learning_rate_init * alpha, by the samples of a batch,"
    # Parameters that the estimator is left with.
    held = "the last finite parameters"
    # Sum of a batch's weights, by which a step divides the penalty.
    batch_weight = 1.0

    @property
    def _decay(self) -> float:
        return super()._decay / self.batch_weight

    def __str__(self) -> str:
        """Return the message, with a remedy."""
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


class Validation(NamedTuple):
    """Functions that return loss and score of the validation data."""

    loss: Callable[[], float]
    score: Callable[[], float]


class Fit:
    """One fit of an estimator.

    Parameters
    ----------
    estimator : estimator
        Its curves are extended and its fitted attributes set.
    state : FittedNetwork
        Changed in place.
    job : Job
        Job of the whole fit.
    random : RandomState
        Generator that orders are drawn from.
    stopped : callable, optional
        Returns True if somebody else wants the fit to end. Interrupts then go on to the caller.
    callback_data : CallbackData
    """

    def __init__(
        self, estimator: Any, state: FittedNetwork, job: Job, random: np.random.RandomState,
        stopped: Callable[[], bool] | None, callback_data: CallbackData,
    ) -> None:  # fmt: skip
        self.estimator, self.state, self.job = estimator, state, job
        self.random, self.stopped, self.callback_data = random, stopped, callback_data
        self.offset = _offset(job, state.network)
        # Callbacks may set the parameters, but the kernels keep the values of the beginning: keep these, too.
        self.n_iter_no_change, self.tol = estimator.n_iter_no_change, estimator.tol
        self.best: tuple[Array, Array] | None = None

    # --- stochastic solvers --------------------------------------------------------------------------

    def run(self, validation: Validation | None, is_whole: bool) -> None:
        """Run all passes, or as many as it takes; `is_whole` if they are to bring the fit to its end."""
        estimator, state, job = self.estimator, self.state, self.job
        estimator.n_iter_ = 0
        generator = self._generator() if job.shuffled else None
        memory = state.resumed_memory(Memory.fresh(state.network, state.parameters, job), job.optimizer)
        self.best = state.best
        if estimator.early_stopping and self.best is None:
            estimator.best_validation_score_ = -np.inf
        hooks: list[Hook] = [Curves(self)]
        if generator is not None:
            hooks.insert(0, Orders(generator, memory))
        if validation:
            hooks.append(Validate(self, validation))
        ended = diverged = False
        with self._reporting(is_whole) as reporters:
            hooks += [*reporters, Plateau(self, memory, reporters)]
            if self.stopped is not None:
                hooks.append(StopOnRequest(self.stopped))
            try:
                state.best = None  # in the meantime the last pass is what there is
                while estimator.n_iter_ < job.num_passes and not ended:
                    ended = self._train(memory, hooks).stopped
            except KeyboardInterrupt:
                ended = True
                self._interrupted()
            except DivergenceError as error:
                ended = diverged = True
                self._diverged(error.what, estimator.n_iter_)
                estimator.validation_scores_.append(float("nan"))
            finally:
                if not job.shuffled and estimator.shuffle and self.random is not state.random:
                    self._draw_orders(estimator.n_iter_)
                if self.best is not None:
                    state.best = self.best
        if not diverged and estimator.n_iter_ and not math.isfinite(estimator.loss_):
            self._diverged("the loss", estimator.n_iter_ - 1)
        # A schedule of the user's own says when the rate has fallen far enough: with the last pass.
        if is_whole and not ended and not estimator._has_own_schedule():
            warn(
                f"Stochastic Optimizer: Maximum iterations ({job.num_passes}) reached and the optimization "
                "hasn't converged yet. Raise max_iter, or learning_rate_init if the loss still falls slowly; "
                "a larger tol ends earlier.",
                ConvergenceWarning,
            )

    def _train(self, memory: Memory, hooks: list[Hook]) -> Training:
        """Run one training of the chain that the fit may be."""
        state, job = self.state, self.job
        n_passes = min(job.num_passes - self.estimator.n_iter_, MOST_PASSES)
        if n_passes < job.num_passes:
            job = replace(job, num_passes=n_passes, steps_before=state.n_steps)
        trainer = get_backend("numba").trainer(state.network, state.parameters, state.statistics, job, memory)
        return run_training(trainer, job, hooks)

    def _draw_orders(self, n_passes: int) -> None:
        """Leave a generator that others share as scikit-learn does, which orders a whole batch too."""
        order = np.arange(self.job.X.shape[0])
        for _ in range(n_passes):
            self.random.shuffle(order)

    def _generator(self) -> np.random.RandomState:
        """Return the generator of the orders: a kind that the kernels do not know gives a seed."""
        if is_twister(self.random):
            return self.random
        return seeded(self.random.randint(0, 2**32, 4, np.uint32))

    def _diverged(self, what: str, n_pass: int) -> None:
        """Raise FitDivergenceError; only warn where validation data chose better parameters before."""
        job = self.job
        rates = job.rates(np.array([self.state.n_steps - job.steps_before]))
        error = FitDivergenceError(n_pass, float(rates[0]), job.reg_lambda, what)
        error.batch_weight = float(job.weights.mean() * job.batch_size)
        if self.best is None:
            raise error from None
        error.held = "the parameters of the best pass"
        warn(str(error), ConvergenceWarning)

    # --- L-BFGS --------------------------------------------------------------------------------------

    def run_lbfgs(self, validation: Validation | None) -> None:
        """Run the whole minimisation."""
        estimator, state, job = self.estimator, self.state, self.job
        estimator.n_iter_ = 0
        state.optimizer = job.optimizer
        trainer = LBFGSTrainer(get_backend("numba"), state.network, state.parameters, state.statistics, job)
        hooks: list[Hook] = [Iterations(self, trainer, validation)]
        with self._reporting(True) as reporters:
            hooks += reporters
            if self.stopped is not None:
                hooks.append(StopOnRequest(self.stopped))
            try:
                run_training(trainer, job, hooks)
            except KeyboardInterrupt:
                self._interrupted()
            except DivergenceError as error:
                raise FitDivergenceError(error.iteration, np.nan, job.reg_lambda, error.what) from None
        result = trainer.result
        if result is None:  # it was interrupted
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
        """End the fit with a warning, or let the interrupt go on; called in an except clause."""
        if self.stopped is not None:
            raise
        warn("Training interrupted by user.")

    @contextmanager
    def _reporting(self, is_whole: bool) -> Iterator[list[ReportingHook]]:
        """Give the hooks that show the fit, and close them at its end."""
        state = self.state
        hooks = reporting_hooks(self.estimator, self.job, is_whole, self.callback_data, lambda: state.n_steps)
        try:
            yield hooks
        finally:
            for hook in hooks:
                hook.close()


# --- hooks -------------------------------------------------------------------------------------------


class Orders(Hook):
    """Hook that lets the kernels draw the orders of the samples from a generator that others share."""

    def __init__(self, generator: np.random.RandomState, memory: Memory) -> None:
        self._generator, self._memory = generator, memory

    def before_chunk(self, training: Training) -> None:
        """Take over the generator's state."""
        self._memory.generator[...] = generator_state(self._generator)

    def chunk_ended(self, training: Training) -> None:
        """Give the generator's state back."""
        put_generator_state(self._generator, self._memory.generator)


class Curves(Hook):
    """Hook that extends the curves of an estimator by what the trainer has recorded."""

    def __init__(self, fit: Fit) -> None:
        self._fit = fit

    def begin(self, training: Training) -> None:
        """Begin with no pass seen."""
        self._n_seen = 0

    def chunk_ended(self, training: Training) -> None:
        """Extend the curves, and count passes, steps and samples."""
        fit, job, trainer = self._fit, training.job, training.trainer
        estimator, state = fit.estimator, fit.state
        n_passes = trainer.n_passes
        state.n_steps = job.steps_before + n_passes * job.n_batches
        new = trainer.records.losses[self._n_seen : n_passes]
        self._n_seen = n_passes
        if not new.size:
            return
        losses = (new / job.X.shape[0] + fit.offset).tolist()
        estimator.loss_curve_ += losses
        estimator.loss_ = losses[-1]
        estimator.n_iter_ += new.size
        estimator.t_ += new.size * job.X.shape[0]
        if not estimator.early_stopping:
            assert state.memory is not None
            estimator.best_loss_ = float(state.memory.plateau[0]) + fit.offset
            state.n_no_improvement = int(state.memory.plateau[1])


class Validate(Hook):
    """Hook that computes loss and, for `early_stopping`, score of the validation data after every pass."""

    def __init__(self, fit: Fit, validation: Validation) -> None:
        self._fit, self._validation = fit, validation

    def next_stop(self, training: Training) -> int:
        """Return the end of the next pass."""
        return training.n_passes + 1

    def at_stop(self, training: Training) -> None:
        """Compute loss and score."""
        estimator = self._fit.estimator
        estimator.validation_loss_curve_.append(self._validation.loss())
        if estimator.early_stopping:
            self._note(self._validation.score())

    def _note(self, score: float) -> None:
        """Count a pass without improvement, and keep the parameters of the best one."""
        fit, estimator, state = self._fit, self._fit.estimator, self._fit.state
        estimator.validation_scores_.append(score)
        if score < estimator.best_validation_score_ + fit.tol:
            state.n_no_improvement += 1
        else:
            state.n_no_improvement = 0
        if score > estimator.best_validation_score_:
            estimator.best_validation_score_ = score
            fit.best = state.predicting.copy(), state.statistics.copy()


class Plateau(Hook):
    """Hook that ends a fit for want of improvement; the "adaptive" rate is lowered first."""

    def __init__(self, fit: Fit, memory: Memory, reporters: list[ReportingHook]) -> None:
        self._fit, self._memory = fit, memory
        self._lines = [hook for hook in reporters if isinstance(hook, Lines)]

    def after_chunk(self, training: Training) -> bool:
        """Return True if the fit has stalled."""
        # Before its first pass, the count that a training goes on from is the one that ended the last.
        return training.n_passes > 0 and self._has_stalled()

    def _has_stalled(self) -> bool:
        fit, estimator, state = self._fit, self._fit.estimator, self._fit.state
        if not state.n_no_improvement > fit.n_iter_no_change:
            return False
        what = "Validation score" if estimator.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={fit.tol:f} for {fit.n_iter_no_change} consecutive epochs."
        )
        rate = fit.job.epsilon * state.rate_factor
        if not (estimator.learning_rate == "adaptive" and estimator.solver == "sgd"):
            self._print(f"{message} Stopping.")
            return True
        if rate <= LEAST_RATE:
            self._print(f"{message} Learning rate too small. Stopping.")
            return True
        state.rate_factor /= ADAPTIVE_DIVISOR
        self._print(f"{message} Setting learning rate to {rate / ADAPTIVE_DIVISOR:f}")
        state.n_no_improvement = 0
        self._memory.plateau[1] = 0
        return False

    def _print(self, message: str) -> None:
        for lines in self._lines:
            lines.write(message)


class StopOnRequest(Hook):
    """Hook that interrupts a fit when somebody else wants its end."""

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped

    def after_chunk(self, training: Training) -> bool:
        """Raise KeyboardInterrupt if the fit is to end."""
        if self._stopped():
            raise KeyboardInterrupt
        return False


class Iterations(Hook):
    """Hook that notes the iterations of L-BFGS in an estimator."""

    def __init__(self, fit: Fit, trainer: LBFGSTrainer, validation: Validation | None) -> None:
        self._fit, self._trainer, self._validation = fit, trainer, validation

    def after_chunk(self, training: Training) -> bool:
        """Note an iteration."""
        estimator = self._fit.estimator
        estimator.n_iter_ += 1
        estimator.loss_ = self._trainer.objective + self._fit.offset
        if self._validation:
            estimator.validation_loss_curve_.append(self._validation.loss())
        return False


def _offset(job: Job, network: Network) -> float:
    """Return what turns the recorded objective into scikit-learn's, whose Poisson deviance is 0 at best."""
    if not isinstance(network.loss, Poisson):
        return 0.0
    y = job.y.astype(np.float64)
    per_sample = (scipy.special.xlogy(y, y) - y).sum(axis=1)
    return float(np.average(per_sample, weights=job.weights))
