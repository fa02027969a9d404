"""Fit of an estimator: training runs with hooks that extend its curves, validate, and end the fit.

The kernels themselves count the epochs without an improvement of the loss (`Job.patience`). With validation
data a chunk is one epoch, so that a hook can evaluate these data after every epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import scipy.special
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from ..engine.choice import get_backend
from ..engine.job import Job, Memory
from ..engine.protocol import LBFGSTrainer
from ..losses import Poisson
from ..network.description import Network
from ..system.generators import generator_state, is_twister, put_generator_state, seeded
from ..system.messages import warn
from ..training.divergence import DivergenceError
from ..training.loop import Hook, Training, run_training
from ..training.patience import Patience
from .checkpoints import checkpoint_hooks
from .fitted import FittedNetwork
from .reporting import CallbackData, Lines, reporting
from .solvers import has_schedule

__all__ = ["Fit", "FitDivergenceError", "Validation", "record_epochs", "record_score"]

Array = NDArray[Any]

# Largest number of epochs in one training run, which keeps a record of each. A longer fit has several runs.
MAX_EPOCHS = 10_000
# The rate "adaptive" is divided by ADAPTIVE_DIVISOR whenever the fit stalls, until it is MIN_RATE or less.
ADAPTIVE_DIVISOR, MIN_RATE = 5.0, 1e-6


class FitDivergenceError(DivergenceError):
    """Error of a fit that diverged: `DivergenceError` with the names of the estimators' parameters."""

    _rate, _penalty, _limit = "learning_rate_init", "alpha", "max_grad_norm"
    _decay_name = "learning_rate_init * alpha, by the samples of a batch,"
    # Parameters that the estimator holds after the error, for the message.
    held = "the last finite parameters"
    # Mean sum of the sample weights in a batch, by which a step divides the penalty.
    batch_weight = 1.0

    @property
    def _decay(self) -> float:
        """Fraction of a weight by which the L2 penalty alone reduces the weight in a step."""
        return super()._decay / self.batch_weight

    def __str__(self) -> str:
        """Return the message, with a remedy."""
        message = (
            "Solver produced non-finite parameter weights. The input data may contain large values and need "
            "to be preprocessed."
        )
        if np.isnan(self.epsilon):  # L-BFGS has no learning rate: no advice to lower it
            when = f"in iteration {self.iteration}" if self.iteration else "at the start"
            return f"{message} {self.what.capitalize()} is not finite {when}. Remedy: standardise X, and y."
        return (
            f"{message} In detail: training diverged in epoch {self.iteration}, {self.what} is no longer "
            f"finite with learning_rate_init={self.epsilon:g} and alpha={self.reg_lambda:g}. The estimator "
            f"holds {self.held}. Remedy: {self._remedy}."
        )


class Validation(NamedTuple):
    """Functions that return the present loss and score of the validation data."""

    loss: Callable[[], float]
    score: Callable[[], float]


class Fit:
    """One fit of an estimator.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Estimator whose curves and fitted attributes are updated.
    state : FittedNetwork
        State of the estimator, updated in place.
    job : Job
        Job of the whole fit.
    random : RandomState
        Generator from which the orders of the samples are drawn.
    stopped : callable, optional
        Function that returns True if the fit must end with a KeyboardInterrupt. If it is given, the fit
        raises KeyboardInterrupt on Ctrl-C instead of a warning.
    callback_data : CallbackData
        Training data for scikit-learn's callbacks.
    """

    def __init__(
        self, estimator: Any, state: FittedNetwork, job: Job, random: np.random.RandomState,
        stopped: Callable[[], bool] | None, callback_data: CallbackData,
    ) -> None:  # fmt: skip
        self.estimator, self.state, self.job = estimator, state, job
        self.random, self.stopped, self.callback_data = random, stopped, callback_data
        self.offset = _offset(job, state.network)
        # Callbacks may change the estimator's parameters, but the kernels use their values at the beginning
        # of the fit: store these values.
        self.n_iter_no_change, self.tol, self.ties = estimator.n_iter_no_change, estimator.tol, estimator.ties
        self.best: tuple[Array, Array] | None = None

    def patience(self) -> Patience:
        """Return the rule of early stopping with the number of passes without improvement so far."""
        # `Job.is_halted` is true above the limit, `Patience.is_over` at it: hence the limit plus 1.
        limit, count = self.n_iter_no_change + 1, self.state.n_no_improvement
        return Patience(limit, self.tol, self.ties, keeps_small=True, count=count)

    def is_kept(self, error: BaseException) -> bool:
        """Return True if the estimator keeps what the fit has done before an error or interrupt ended it.

        An error before the end of the first epoch, as of a user's schedule, leaves nothing worth keeping.
        """
        return bool(self.estimator.n_iter_) or isinstance(error, DivergenceError | KeyboardInterrupt)

    # --- stochastic solvers --------------------------------------------------------------------------

    def run(self, validation: Validation | None, is_whole: bool, further: Sequence[Hook] = ()) -> None:
        """Run the epochs of the job until the fit ends.

        `is_whole` is False for a partial fit, which issues no ConvergenceWarning after its last epoch. The
        hooks `further` are called last.
        """
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
        with reporting(estimator, job, is_whole, self.callback_data, lambda: state.n_steps) as reporters:
            hooks += [*reporters, StopOrLowerRate(self, memory, reporters)]
            if is_whole:
                hooks += checkpoint_hooks(self, validation is not None)
            if self.stopped is not None:
                hooks.append(StopOnRequest(self.stopped))
            hooks += further
            try:
                state.best = None  # during the fit, the last epoch predicts
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
        # With a fastnn schedule or a user's, the last epoch is the planned end of the fit: no warning.
        if is_whole and not ended and not has_schedule(estimator):
            warn(
                f"Stochastic Optimizer: Maximum iterations ({job.num_passes}) reached and the optimization "
                "hasn't converged yet. Raise max_iter, or learning_rate_init if the loss still falls slowly; "
                "a larger tol stops the fit earlier.",
                ConvergenceWarning,
            )

    def _train(self, memory: Memory, hooks: list[Hook]) -> Training:
        """Run one training of the fit, which has several if it has more than `MAX_EPOCHS` epochs."""
        state, job = self.state, self.job
        n_passes = min(job.num_passes - self.estimator.n_iter_, MAX_EPOCHS)
        if n_passes < job.num_passes:
            job = replace(job, num_passes=n_passes, steps_before=state.n_steps)
        trainer = get_backend("numba").trainer(state.network, state.parameters, state.statistics, job, memory)
        return run_training(trainer, job, hooks)

    def _draw_orders(self, n_passes: int) -> None:
        """Advance a user's generator as scikit-learn does, which shuffles even if a batch is all samples."""
        order = np.arange(self.job.X.shape[0])
        for _ in range(n_passes):
            self.random.shuffle(order)

    def _generator(self) -> np.random.RandomState:
        """Return the generator of orders, a Mersenne Twister; other bit generators seed a new one."""
        if is_twister(self.random):
            return self.random
        return seeded(self.random.randint(0, 2**32, 4, np.uint32))

    def _diverged(self, what: str, n_pass: int) -> None:
        """Raise FitDivergenceError, or only warn if validation data have chosen a best epoch."""
        job = self.job
        rates = job.rates(np.array([self.state.n_steps - job.steps_before]))
        error = FitDivergenceError(n_pass, float(rates[0]), job.reg_lambda, what)
        error.batch_weight = float(job.weights.mean() * job.batch_size)
        if self.best is None:
            raise error from None
        error.held = "the parameters of the best epoch"
        warn(str(error), ConvergenceWarning)

    # --- L-BFGS --------------------------------------------------------------------------------------

    def run_lbfgs(self, validation: Validation | None) -> None:
        """Run the minimisation by L-BFGS."""
        estimator, state, job = self.estimator, self.state, self.job
        estimator.n_iter_ = 0
        state.optimizer = job.optimizer
        trainer = get_backend("numba").lbfgs_trainer(state.network, state.parameters, state.statistics, job)
        hooks: list[Hook] = [Iterations(self, trainer, validation)]
        with reporting(estimator, job, True, self.callback_data, lambda: state.n_steps) as reporters:
            hooks += [*reporters, *checkpoint_hooks(self, validation is not None)]
            if self.stopped is not None:
                hooks.append(StopOnRequest(self.stopped))
            try:
                run_training(trainer, job, hooks)
            except KeyboardInterrupt:
                self._interrupted()
                return
            except DivergenceError as error:
                raise FitDivergenceError(error.iteration, np.nan, job.reg_lambda, error.what) from None
        ending = trainer.ending
        if ending is None:  # a callback has ended the fit
            return
        if not estimator.n_iter_:
            estimator.loss_ = trainer.value + self.offset
        if ending.status:
            more = (
                f"\nIncrease the number of iterations to improve the convergence (max_iter={job.num_passes})."
                if estimator.n_iter_ == job.num_passes
                else ""
            )
            warn(
                f"lbfgs failed to converge after {estimator.n_iter_} iteration(s) (status={ending.status}):\n"
                f"{ending.message}\n{more}\nYou might also want to scale the data as shown in:\n"
                "    https://scikit-learn.org/stable/modules/preprocessing.html",
                ConvergenceWarning,
            )

    def _interrupted(self) -> None:
        """Warn of an interrupt, or raise it again if the fit has a `stopped`; for use in an except clause."""
        if self.stopped is not None:
            raise
        warn("Training interrupted by user.")


# --- hooks -------------------------------------------------------------------------------------------


class Orders(Hook):
    """Hook by which the kernels draw the orders of the samples from the fit's generator."""

    def __init__(self, generator: np.random.RandomState, memory: Memory) -> None:
        self._generator, self._memory = generator, memory

    def before_chunk(self, training: Training) -> None:
        """Copy the generator's state into the memory of the training."""
        self._memory.generator[...] = generator_state(self._generator)

    def chunk_ended(self, training: Training) -> None:
        """Copy the state back into the generator."""
        put_generator_state(self._generator, self._memory.generator)


class Curves(Hook):
    """Hook that extends the curves of an estimator by the trainer's records."""

    def __init__(self, fit: Fit) -> None:
        self._fit = fit

    def begin(self, training: Training) -> None:
        self._n_read = 0

    def chunk_ended(self, training: Training) -> None:
        """Extend the curves, and update the numbers of epochs, steps and samples."""
        fit, job, trainer = self._fit, training.job, training.trainer
        estimator, state = fit.estimator, fit.state
        n_passes = trainer.n_passes
        state.n_steps = job.steps_before + n_passes * job.n_batches
        new = trainer.records.losses[self._n_read : n_passes]
        self._n_read = n_passes
        if not new.size:
            return
        losses = (new / job.X.shape[0] + fit.offset).tolist()
        record_epochs(estimator, state, losses, job.X.shape[0], fit.offset)


def record_epochs(
    estimator: Any, state: FittedNetwork, losses: list[float], n_samples: int, offset: float = 0.0
) -> None:
    """Extend the curves of an estimator by epochs over `n_samples` samples each, with these objectives."""
    estimator.loss_curve_ += losses
    estimator.loss_ = losses[-1]
    estimator.n_iter_ += len(losses)
    estimator.t_ += len(losses) * n_samples
    if not estimator.early_stopping:
        assert state.memory is not None
        best, n_no_improvement = state.memory.plateau.tolist()
        estimator.best_loss_ = best + offset
        state.n_no_improvement = int(n_no_improvement)


class Validate(Hook):
    """Hook that computes the validation loss and, for `early_stopping`, the score after every epoch."""

    measures = True

    def __init__(self, fit: Fit, validation: Validation) -> None:
        self._fit, self._validation = fit, validation

    def next_stop(self, training: Training) -> int:
        return training.n_passes + 1

    def at_stop(self, training: Training) -> None:
        estimator = self._fit.estimator
        estimator.validation_loss_curve_.append(self._validation.loss())
        if estimator.early_stopping:
            self._record_score(self._validation.score())

    def _record_score(self, score: float) -> None:
        """Record a score: count epochs without improvement, and copy the parameters of the best epoch."""
        fit, state = self._fit, self._fit.state
        patience = fit.patience()
        patience.best = -fit.estimator.best_validation_score_
        if record_score(fit.estimator, patience, score, 1):  # one pass after the last score
            fit.best = state.predicting.copy(), state.statistics.copy()
        state.n_no_improvement = patience.count


def record_score(estimator: Any, patience: Patience, score: float, n_done: int) -> bool:
    """Extend an estimator's validation scores; return True if the present parameters are the best so far."""
    estimator.validation_scores_.append(score)
    is_best = patience.observe(-score, n_done)
    estimator.best_validation_score_ = -patience.best
    return is_best


class StopOrLowerRate(Hook):
    """Early stopping: ends a fit after too many epochs without improvement, or lowers the rate "adaptive"."""

    def __init__(self, fit: Fit, memory: Memory, reporters: list[Hook]) -> None:
        self._fit, self._memory = fit, memory
        self._lines = [hook for hook in reporters if isinstance(hook, Lines)]

    def after_chunk(self, training: Training) -> bool:
        """Return True if the fit has stalled and its rate cannot be lowered."""
        # A continued fit starts with the count that ended the last fit: run at least one epoch.
        return training.n_passes > 0 and self._has_stalled()

    def _has_stalled(self) -> bool:
        """Return True if the fit must end; lower the rate "adaptive" instead while that is possible."""
        fit, estimator, state = self._fit, self._fit.estimator, self._fit.state
        if not fit.patience().is_over:
            return False
        what = "Validation score" if estimator.early_stopping else "Training loss"
        message = (
            f"{what} did not improve more than tol={fit.tol:f} for {fit.n_iter_no_change} consecutive epochs."
        )
        rate = fit.job.epsilon * state.rate_factor
        if not (estimator.learning_rate == "adaptive" and estimator.solver == "sgd"):
            self._print(f"{message} Stopping.")
            return True
        if rate <= MIN_RATE:
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
    """Hook that interrupts a fit when the function `stopped` returns True."""

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped

    def after_chunk(self, training: Training) -> bool:
        if self._stopped():
            raise KeyboardInterrupt
        return False


class Iterations(Hook):
    """Hook that updates an estimator by the iterations of L-BFGS."""

    measures = True

    def __init__(self, fit: Fit, trainer: LBFGSTrainer, validation: Validation | None) -> None:
        self._fit, self._trainer, self._validation = fit, trainer, validation

    def next_stop(self, training: Training) -> int:
        """Return the number of epochs done after the next iteration, if there are validation data."""
        return training.n_passes + 1 if self._validation else super().next_stop(training)

    def chunk_ended(self, training: Training) -> None:
        """Update the number of iterations and the objective."""
        estimator, n_passes = self._fit.estimator, training.n_passes
        if n_passes:
            estimator.n_iter_, estimator.loss_ = n_passes, self._trainer.objective + self._fit.offset

    def at_stop(self, training: Training) -> None:
        if self._validation:
            self._fit.estimator.validation_loss_curve_.append(self._validation.loss())


def _offset(job: Job, network: Network) -> float:
    """Return the constant by which scikit-learn's objective exceeds the recorded objective.

    It is 0 except for the Poisson loss: scikit-learn uses half the deviance, which is 0 for perfect
    predictions.
    """
    if not isinstance(network.loss, Poisson):
        return 0.0
    y = job.y.astype(np.float64)
    per_sample = (scipy.special.xlogy(y, y) - y).sum(axis=1)
    return float(np.average(per_sample, weights=job.weights))
