"""How an estimator is fitted, from top to bottom: samples, network, start, job, hooks, training runs, end.

`fit_network` checks the parameters as scikit-learn does, converts X and y to `Samples`, starts from the
`FittedNetwork` of the last fit or a new one, derives a `Job` from all of them, and runs the job as a `_Fit`.
k epochs in one fit and m epochs in a second fit that continues the first, by warm start, partial fit or after
pickling, equal k + m epochs in one fit.

`Model.train` has the hooks that validate, keep the best epoch, show a bar and save checkpoints, too. The
kernels themselves count the epochs without an improvement of the loss (`Job.patience`). With validation data
a chunk is one epoch, so that a hook can evaluate these data after every epoch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.special
from sklearn.exceptions import ConvergenceWarning

from ..engine import get_backend
from ..engine.checks import check_batches, check_optimizer
from ..engine.job import Job, Memory
from ..engine.minimisation import Ending
from ..engine.protocol import MinimisingTrainer
from ..losses import Poisson, SigmoidBinaryCrossEntropy, SoftmaxCrossEntropy, SquaredError
from ..network.description import Network
from ..optimizers import LBFGS, Minimiser, Optimizer
from ..schedules import resolve_schedule
from ..system.generators import TwisterState, claim_random, is_twister, make_random
from ..system.messages import warn
from ..system.sklearn_internals import get_callbacks
from ..system.validation import Array
from ..training.callbacks import KeepBest, ValidateLoss
from ..training.checkpoint import Checkpoint, SaveCheckpoint, check_best
from ..training.divergence import DivergenceError
from ..training.hints import find_rise_hint
from ..training.loop import Hook, Training, run_training
from ..training.options import read_parameters
from ..training.patience import Patience
from .fitted import (
    FittedNetwork,
    begin_curves,
    begin_state,
    continue_state,
    draw_parameters,
    draw_seed,
    find_generator,
    record_epochs,
)
from .holdout import Validation, check_validation, split_validation
from .online import make_online_steps
from .parameters import parse_activations, parse_hidden_sizes
from .reporting import Lines, make_callback_data, report_fit, restore_attributes
from .samples import Samples, check_samples
from .solvers import has_schedule, make_optimizer, make_schedule
from .targets import Weights

if TYPE_CHECKING:
    from .base import BaseMLP

# Largest number of epochs in one training run, which keeps a record of each. A longer fit has several runs.
MAX_EPOCHS = 10_000
# The rate "adaptive" is divided by ADAPTIVE_DIVISOR whenever the fit stalls, until it is MIN_RATE or less.
ADAPTIVE_DIVISOR, MIN_RATE = 5.0, 1e-6
# Losses that scikit-learn computes of probabilities of at least the rounding error of 1: it clips the loss.
CROSS_ENTROPIES, MAX_LOSS = (SigmoidBinaryCrossEntropy, SoftmaxCrossEntropy), -math.log(np.finfo(float).eps)


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Options of a fit besides the data and the estimator's parameters."""

    n_passes: int | None = None  # epochs of a partial fit; None for a whole fit, of `max_iter` epochs
    knows_classes: bool = False  # True if what `Targets._check_targets` derives from y is already set
    # Returns True if the fit must end with a KeyboardInterrupt; Ctrl-C then raises it too, without a warning.
    stopped: Callable[[], bool] | None = None
    hooks: Sequence[Hook] = ()  # further hooks of a stochastic training, called last

    @property
    def is_whole(self) -> bool:
        """False for a partial fit."""
        return self.n_passes is None

    def get_use(self, begins: bool) -> str:
        """Return the use of the samples, as `Targets._check_targets` names it."""
        known, continued = ("first", "partial") if self.knows_classes or self.n_passes else ("new", "warm")
        return known if begins else continued


def fit_network(
    estimator: BaseMLP,
    X: object,
    y: object,
    sample_weight: Weights = None,
    X_val: object = None,
    y_val: object = None,
    options: FitOptions = FitOptions(),
    weights_val: Weights = None,
) -> None:
    """Fit the network of an estimator, or continue its last fit; a fit that is refused changes nothing.

    The data are the arguments of `fit`, and `weights_val` the weights of the validation data.
    """
    sizes = parse_hidden_sizes(estimator.hidden_layer_sizes)
    if (X_val is None) != (y_val is None):
        raise ValueError("X_val and y_val go together: pass both, or neither")
    if not options.is_whole:
        estimator._validate_params()  # scikit-learn skips this in partial fits of a fitted estimator
        if estimator.early_stopping or X_val is not None:
            raise ValueError("partial_fit does not support early_stopping=True")
    told = read_parameters(estimator)  # refuses values before anything is drawn
    begins = (options.is_whole and not estimator.warm_start) or not hasattr(estimator, "_state")
    online = estimator.__dict__.pop("_online", None)
    before = estimator.__dict__.copy()
    fit: _Fit | None = None
    with ExitStack() as claims:
        try:
            # What is trained.
            data = check_samples(estimator, X, y, sample_weight, options.get_use(begins))
            network = Network.create(
                [data.X.shape[1], *sizes, estimator.n_outputs_],
                parse_activations(estimator.activation),
                "identity",
                data.X.dtype,
                estimator._make_loss(),
                estimator.batch_norm,
                estimator.dropout,
            )
            optimizer = make_optimizer(estimator)
            check_optimizer(network, optimizer)
            if has_schedule(estimator):
                resolve_schedule(estimator.learning_rate, "learning_rate")
            # Where the training starts. Whatever is drawn is drawn in scikit-learn's order.
            if begins:
                state = begin_state(estimator, network)
            else:
                state = estimator._state
                state.check_layers(network)
            source = find_generator(estimator, state, begins)
            random = claims.enter_context(claim_random(source))
            if begins:
                draw_parameters(estimator, state, random)
            # What validates it.
            held_out = None
            if X_val is not None:
                held_out = check_validation(estimator, X_val, y_val, weights_val)
            elif estimator.early_stopping and not isinstance(optimizer, LBFGS):
                data, held_out = split_validation(estimator, data, state, random)
            # All data have been accepted: from here on, the state of the last fit changes.
            if not begins:
                state = continue_state(estimator, network, optimizer)
            state.keep_generator(source, estimator.random_state)
            begin_curves(estimator, optimizer)
            draw_seed(state, random)
            job = make_job(estimator, data, state, optimizer, options, told)
            validation = None if held_out is None else Validation(estimator, held_out)
            fit = _Fit(estimator, job, random, validation, options)
            fit.run(make_callback_data(estimator, X, data))
            if options.n_passes == 1 and not options.hooks:
                estimator._online = make_online_steps(estimator, job, online)
        except BaseException as error:
            if fit is None or not fit.is_kept(error):  # so that an earlier fit is not lost
                restore_attributes(estimator, before)
            raise


def make_job(
    estimator: BaseMLP,
    data: Samples,
    state: FittedNetwork,
    optimizer: Optimizer,
    options: FitOptions,
    told: dict[str, Any],
) -> Job:
    """Return the engine's job of the whole fit; `told` is what `read_parameters` returned."""
    n_samples, n_passes = data.X.shape[0], options.n_passes or int(estimator.max_iter)
    batch_size = estimator._compute_batch_size(n_samples)
    if isinstance(optimizer, Minimiser):
        batch_size = n_samples
        if isinstance(optimizer, LBFGS):  # whose iterations evaluate the loss once or more
            n_passes = min(n_passes, (optimizer.maxfun or n_passes) + 1)
    else:
        estimator._warn_of_batch_size(n_samples)
    check_batches(state.network, batch_size, n_samples)
    loss, loss_share, max_loss = state.network.loss, 1.0, 0.0
    if not isinstance(estimator.solver, LBFGS):  # such an object minimises the loss itself
        # For squared errors scikit-learn reports the mean over the outputs, but follows the gradient of their
        # sum. The line searches of its "lbfgs" see what it reports: this mean, and clipped cross-entropies.
        if isinstance(loss, SquaredError):
            loss_share = 1 / estimator.n_outputs_
        if isinstance(optimizer, LBFGS) and isinstance(loss, CROSS_ENTROPIES) and not loss.parameter:
            max_loss = MAX_LOSS
    n_batches = -(-n_samples // batch_size)
    return Job(
        data.X,
        data.y,
        data.weights,
        n_passes,
        batch_size,
        reduction="mean",
        seed=state.seed,
        optimizer=optimizer,
        schedule=make_schedule(estimator, state, n_samples, n_batches),
        **told,
        n_threads=estimator._threads,
        of_objective=True,
        loss_share=loss_share,
        max_loss=max_loss,
        tol=float(estimator.tol),
        patience=0 if estimator.early_stopping else int(min(estimator.n_iter_no_change, 2**62)),
        steps_before=state.n_steps,
        total_steps=max(int(estimator.max_iter) * n_batches, state.n_steps + n_passes * n_batches),
    )


class _Fit(Hook):
    """One fit of an estimator: its trainings, their records, and what checkpoints save (`ModelInTraining`).

    It updates the curves and fitted attributes of the estimator, and its state in place. As a hook, it lends
    the generator of the orders to the kernels, and updates the estimator's curves.
    """

    measures = True
    whole_epochs = True  # a fit is resumed from whole epochs only

    def __init__(
        self,
        estimator: BaseMLP,
        job: Job,
        random: np.random.RandomState,
        validation: Validation | None,
        options: FitOptions,
    ) -> None:
        self.estimator, self.state, self.job = estimator, estimator._state, job
        self._random, self._validation, self._options = random, validation, options
        self._is_minimisation = isinstance(job.optimizer, Minimiser)
        # As in scikit-learn, "lbfgs" has no curves and no early stopping.
        self._is_lbfgs = isinstance(job.optimizer, LBFGS)
        self._offset = _compute_offset(job, self.state.network)
        # Callbacks may change the estimator's parameters, but the kernels use their values at the beginning
        # of the fit: store these values.
        self.n_iter_no_change, self.tol = estimator.n_iter_no_change, estimator.tol
        self._ties: str = estimator.ties
        self._earlier_best = None if self._is_lbfgs else self.state.best
        self._keeper: KeepBest | None = None
        self._ending: Ending | None = None

    def run(self, callback_data: dict[str, Any]) -> None:
        estimator, state, job = self.estimator, self.state, self.job
        estimator.n_iter_ = 0
        self._generator = TwisterState(self._make_generator()) if job.shuffled else None
        if self._is_lbfgs:
            state.optimizer = job.optimizer
        else:
            state.resume_memory(Memory.fresh(state.network, state.parameters, job), job.optimizer)
        is_whole, diverged = self._options.is_whole, False
        with report_fit(estimator, job, is_whole, callback_data) as reporters:
            hooks = self._make_hooks(reporters)
            try:
                state.best = None  # during the fit, the last epoch predicts
                ended = self._minimize(hooks) if self._is_minimisation else self._train(hooks)
            except KeyboardInterrupt:
                ended = True
                if self._options.stopped is not None:
                    raise
                warn("Training interrupted by user.")
            except DivergenceError as error:
                ended = diverged = True
                self._report_divergence(error.what, estimator.n_iter_)
                estimator.validation_scores_.append(float("nan"))
            finally:
                state.best = self.best
        if not diverged and estimator.n_iter_ and not math.isfinite(estimator.loss_):
            self._report_divergence("the loss", estimator.n_iter_ - 1)
        if self._keeper is not None and not diverged:
            self._keeper.warn_of_no_score()
        if not ended:
            self._warn_unconverged()
        if not self._is_minimisation and is_whole and self.best is None:
            self._warn_risen()

    def _make_hooks(self, reporters: list[Hook]) -> list[Hook]:
        estimator, options = self.estimator, self._options
        hooks: list[Hook] = []
        validation = self._validation
        if validation is not None:
            hooks.append(ValidateLoss(validation.compute_loss))
        if validation is not None and estimator.early_stopping and not self._is_lbfgs:
            if self._earlier_best is None:
                estimator.best_validation_score_ = -np.inf
            patience = Patience(
                np.inf,  # `after_chunk` ends the fit
                self.tol,
                self._ties,
                keeps_small=True,
                best=-estimator.best_validation_score_,
                count=self.state.n_no_improvement,
            )
            self._keeper = KeepBest(patience, validation.compute_score)
            hooks.append(self._keeper)
        hooks += [*reporters, self]
        self._prints = any(isinstance(hook, Lines) for hook in reporters)
        if options.is_whole:
            for each in get_callbacks(estimator):
                if isinstance(each, Checkpoint):
                    check_best(each, validation is not None)
                    hooks.append(SaveCheckpoint(each, self))
        return hooks if self._is_minimisation else [*hooks, *options.hooks]

    def _train(self, hooks: list[Hook]) -> bool:
        """Train by a stochastic solver, `MAX_EPOCHS` at a time; return True if a hook has ended the fit."""
        estimator, state, job = self.estimator, self.state, self.job
        ended = False
        try:
            while estimator.n_iter_ < job.num_passes and not ended:
                n_passes = min(job.num_passes - estimator.n_iter_, MAX_EPOCHS)
                part = job
                if n_passes < job.num_passes:
                    part = replace(job, num_passes=n_passes, steps_before=state.n_steps)
                trainer = get_backend("numba").trainer(
                    state.network, state.parameters, state.statistics, part, state.trained_memory
                )
                ended = run_training(trainer, part, hooks).stopped
        finally:
            if not job.shuffled and estimator.shuffle and self._random is not state.random:
                self._draw_orders(estimator.n_iter_)
        return ended

    def _minimize(self, hooks: list[Hook]) -> bool:
        """Minimise the objective; return True if a hook has ended the fit."""
        state, job = self.state, self.job
        make = get_backend("numba").minimisers[job.optimizer.name]
        trainer = make(state.network, state.parameters, state.statistics, job, None)
        run_training(trainer, job, hooks)
        self._ending = trainer.ending
        if self._ending is not None and not self.estimator.n_iter_:
            self.estimator.loss_ = trainer.objective + self._offset
        return self._ending is None

    # --- the generator of the orders -----------------------------------------------------------------

    def _make_generator(self) -> np.random.RandomState:
        """Return the generator of orders, a Mersenne Twister; other bit generators seed a new one."""
        if is_twister(self._random):
            return self._random
        return make_random(self._random.randint(0, 2**32, 4, np.uint32))

    def _draw_orders(self, n_passes: int) -> None:
        """Advance a user's generator as scikit-learn does, which shuffles even if a batch is all samples."""
        order = np.arange(self.job.n_samples)
        for _ in range(n_passes):
            self._random.shuffle(order)

    # --- what a training records, as a hook ----------------------------------------------------------

    def begin(self, training: Training) -> None:
        self._n_read = 0

    def before_chunk(self, training: Training) -> None:
        """Lend the generator to the kernels, which draw the orders."""
        if self._generator is not None:
            self.state.trained_memory.generator[...] = self._generator.read()

    def record_chunk(self, training: Training) -> None:
        """Take the generator back, and update the curves and the numbers of epochs, steps and samples."""
        estimator, state, n_passes = self.estimator, self.state, training.n_passes
        if self._is_lbfgs:
            assert isinstance(training.trainer, MinimisingTrainer)
            if n_passes:
                estimator.n_iter_, estimator.loss_ = n_passes, training.trainer.objective + self._offset
            return
        if self._generator is not None:
            self._generator.write(state.trained_memory.generator)
        state.n_steps = training.job.steps_before + n_passes * training.job.n_batches
        new = training.trainer.records.losses[self._n_read : n_passes].tolist()
        self._n_read = n_passes
        if new:
            n_samples, plateau = training.job.n_samples, state.trained_memory.plateau
            if self._is_minimisation:  # other trainers keep the best objective themselves
                plateau[0] = min(plateau[0], min(new) / n_samples)
            losses = [loss / n_samples + self._offset for loss in new]
            record_epochs(estimator, state, losses, n_samples, self._offset)

    def at_stop(self, training: Training) -> None:
        if self._keeper is not None:
            patience = self._keeper.patience
            self.estimator.best_validation_score_ = -patience.best
            self.state.n_no_improvement = patience.count

    def after_chunk(self, training: Training) -> bool:
        """End the fit after too many epochs without improvement, or lower the rate "adaptive"."""
        estimator, state, stopped = self.estimator, self.state, self._options.stopped
        if stopped is not None and stopped():
            raise KeyboardInterrupt
        if self._is_minimisation and self._keeper is None:
            return False
        # A continued fit starts with the count that ended the last fit: run at least one epoch.
        if not training.n_passes or state.n_no_improvement <= self.n_iter_no_change:
            return False
        what = "Validation score" if estimator.early_stopping else "Training loss"
        outcome, rate = "Stopping.", self.job.epsilon * state.rate_factor
        is_adaptive = estimator.learning_rate == "adaptive" and estimator.solver == "sgd"
        goes_on = is_adaptive and rate > MIN_RATE
        if goes_on:
            outcome = f"Setting learning rate to {rate / ADAPTIVE_DIVISOR:f}"
            state.rate_factor /= ADAPTIVE_DIVISOR
            state.count_no_improvement(0)
            if self._keeper is not None:
                self._keeper.patience.count = 0
        elif is_adaptive:
            outcome = "Learning rate too small. Stopping."
        if self._prints:
            limit = f"tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs"
            print(f"{what} did not improve more than {limit}. {outcome}")
        return not goes_on

    @property
    def best(self) -> tuple[Array, Array] | None:
        best = None if self._keeper is None else self._keeper.best
        return self._earlier_best if best is None else (best.parameters, best.statistics)

    # --- what checkpoints save -----------------------------------------------------------------------

    def count_progress(self, training: Training) -> tuple[int, int]:
        return self.estimator.n_iter_, training.job.steps_before + training.trainer.n_steps

    def make_model(self, training: Training) -> BaseMLP:
        estimator = copy.copy(self.estimator)
        if self.best is not None:  # during the fit, the state's last epoch predicts
            estimator._state = replace(self.state, best=self.best)
        return estimator

    def get_validation(self, training: Training) -> list[float]:
        return self.estimator.validation_loss_curve_

    def copy_model(self, training: Training) -> BaseMLP:
        estimator, state = copy.copy(self.estimator), self.state
        estimator._state = FittedNetwork(state.network, state.last.copy(), state.statistics.copy())
        return estimator

    # --- the end of the fit --------------------------------------------------------------------------

    def is_kept(self, error: BaseException) -> bool:
        """Return True if the estimator keeps what the fit has done before an error or interrupt ended it.

        An error before the end of the first epoch, as of a user's schedule, leaves nothing worth keeping.
        """
        return bool(self.estimator.n_iter_) or isinstance(error, DivergenceError | KeyboardInterrupt)

    def _report_divergence(self, what: str, n_pass: int) -> None:
        """Raise FitDivergenceError, or only warn if validation data have chosen a best epoch."""
        job = self.job
        rate = np.nan  # in a minimisation
        if not self._is_minimisation:
            rate = float(job.rates(np.array([self.state.n_steps - job.steps_before]))[0])
        error = FitDivergenceError(n_pass, rate, job.reg_lambda, what)
        error.batch_weight = float(job.weights.mean() * job.batch_size)
        if self.best is None:
            raise error from None
        error.held = "the parameters of the best epoch"
        warn(str(error), ConvergenceWarning)

    def _warn_unconverged(self) -> None:
        n_passes = self.job.num_passes
        if self._ending is not None:
            if not self._ending.status:
                return
            n_iter, more = self.estimator.n_iter_, ""
            if n_iter == n_passes:
                more = (
                    f"\nIncrease the number of iterations to improve the convergence (max_iter={n_passes})."
                )
            warn(
                f"{self.job.optimizer.name} failed to converge after {n_iter} iteration(s) "
                f"(status={self._ending.status}):\n"
                f"{self._ending.message}\n{more}\nYou might also want to scale the data as shown in:\n"
                "    https://scikit-learn.org/stable/modules/preprocessing.html",
                ConvergenceWarning,
            )
        # With a fastnn schedule or a user's, the last epoch is the planned end of the fit: no warning.
        elif self._options.is_whole and not has_schedule(self.estimator):
            warn(
                f"Stochastic Optimizer: Maximum iterations ({n_passes}) reached and the optimization "
                "hasn't converged yet. Raise max_iter, or learning_rate_init if the loss still falls slowly; "
                "a larger tol stops the fit earlier.",
                ConvergenceWarning,
            )

    def _warn_risen(self) -> None:
        """Warn of a loss that has risen, which also ends a fit: such a loss no longer improves."""
        estimator = self.estimator
        losses = estimator.loss_curve_[-estimator.n_iter_ :] if estimator.n_iter_ else []
        if hint := find_rise_hint(losses, f"learning_rate_init={self.job.epsilon:g}"):
            warn(hint, ConvergenceWarning)


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
        return super()._decay / self.batch_weight

    def __str__(self) -> str:
        message = (
            "Solver produced non-finite parameter weights. The input data may contain large values and need "
            "to be preprocessed."
        )
        if np.isnan(self.epsilon):  # a minimisation, without a learning rate: no advice to lower it
            when = f"in iteration {self.iteration}" if self.iteration else "at the start"
            return f"{message} {self.what.capitalize()} is not finite {when}. Remedy: standardise X, and y."
        return (
            f"{message} In detail: training diverged in epoch {self.iteration}, {self.what} is no longer "
            f"finite with learning_rate_init={self.epsilon:g} and alpha={self.reg_lambda:g}. The estimator "
            f"holds {self.held}. Remedy: {self._remedy}."
        )


def _compute_offset(job: Job, network: Network) -> float:
    """Return the constant by which scikit-learn's half Poisson deviance exceeds the loss; 0 for others."""
    if not isinstance(network.loss, Poisson):
        return 0.0
    y = job.y.astype(np.float64)
    per_sample = (scipy.special.xlogy(y, y) - y).sum(axis=1)
    return float(np.average(per_sample, weights=job.weights))
