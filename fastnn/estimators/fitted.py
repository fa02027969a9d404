"""FittedNetwork: the parameters of a fitted estimator, and the state from which its next fit continues."""

from __future__ import annotations

import copy
import numbers
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_random_state

from ..engine.job import Memory
from ..network.description import Network
from ..optimizers import LBFGS, Optimizer
from ..system import generators
from ..system.generators import make_random
from ..system.validation import Array, check_count, check_layout

if TYPE_CHECKING:
    from .base import BaseMLP

# Fitted attributes that only stochastic solvers set.
STOCHASTIC = ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_")
# Attributes in which an estimator without a fit keeps what was assigned to it.
ASSIGNED = ("coefs_", "intercepts_", "_assigned_output")


@dataclass
class FittedNetwork:
    """Network of a fitted estimator, and the state from which its next fit continues."""

    network: Network
    parameters: Array  # flat vectors of parameters and running statistics, after the last epoch
    statistics: Array
    memory: Memory | None = None  # None before the first training by a stochastic solver
    optimizer: Optimizer | None = None  # of the last fit, to which the optimizer state in `memory` belongs
    n_steps: int = 0  # in all fits
    seed: int = 0  # of the dropout masks
    rate_factor: float = 1.0  # present factor of the learning rate "adaptive"
    n_no_improvement: int = 0  # number of epochs in a row without an improvement
    # Generator that was created from an integer `random_state`; None for a user's generator.
    random: np.random.RandomState | None = None
    random_state: object = None  # parameter of the estimator in the last fit
    split: np.random.RandomState | None = None  # copy of the generator before the validation split
    # Parameters and running statistics of the best epoch by the validation data, which predict. The next fit
    # nevertheless continues from the last epoch.
    best: tuple[Array, Array] | None = None

    @property
    def last(self) -> Array:
        """Parameters after the last epoch: the running average if one is kept."""
        if self.memory is not None and self.memory.average.size:
            return self.memory.average
        return self.parameters

    @property
    def predicting(self) -> Array:
        """Parameters that predict: of the best epoch if there is one, else of the last."""
        return self.last if self.best is None else self.best[0]

    @property
    def predicting_statistics(self) -> Array:
        """Running statistics that belong to the parameters that predict."""
        return self.statistics if self.best is None else self.best[1]

    @property
    def trained_memory(self) -> Memory:
        """Memory of a training by a stochastic solver that has begun."""
        assert self.memory is not None
        return self.memory

    @property
    def folded(self) -> Array:
        """Parameters that predict, with batch normalisation folded in."""
        return self.network.fold_batch_norm(self.predicting, self.predicting_statistics)

    @property
    def is_writeable(self) -> bool:
        """False if an array is a read-only memory map: of a file, or of what joblib has sent to a process."""
        arrays = [self.parameters, self.statistics, *(vars(self.memory).values() if self.memory else ())]
        return all(array.flags.writeable for array in arrays)

    def check(self) -> None:
        """Give the arrays that predictions read the layout of kernels; raise ValueError for other sizes."""
        self.parameters, self.statistics = self.network.check_vectors(self.parameters, self.statistics)
        check_count(self.n_steps, "n_steps")
        check_count(self.n_no_improvement, "n_no_improvement")
        if self.best is not None:
            self.best = self.network.check_vectors(*self.best)
        memory = self.memory
        if memory is not None:
            check_layout(memory.plateau, (2,), np.dtype(np.float64), "plateau")
            check_layout(memory.order, (memory.order.size,), np.dtype(np.int64), "order of the samples")
            if memory.average.size:
                memory.average, _ = self.network.check_vectors(memory.average, self.statistics)

    def drop_training(self) -> FittedNetwork:
        """Return the network with the parameters that predict, and no state of a training."""
        return FittedNetwork(self.network, self.predicting, self.predicting_statistics)

    def copy(self) -> FittedNetwork:
        """Return a deep copy, whose arrays are writeable."""
        other = copy.deepcopy(self)
        other.random_state = self.random_state  # compared with the estimator's parameter, which is not copied
        return other

    def check_layers(self, network: Network) -> None:
        """Raise ValueError if this network has other layers than the network of the next fit."""
        for name in ("layers_dim", "batch_norm"):
            old, new = getattr(self.network, name), getattr(network, name)
            if old != new:
                raise ValueError(
                    f"the fitted network has {name}={old}, but now it is to have {new}: clone the estimator, "
                    "or fit it with warm_start=False, to begin anew"
                )

    def adopt_best(self) -> None:
        """Copy the parameters of the best epoch to the last, from which the next fit continues."""
        if self.best is not None:
            (parameters, statistics), self.best = self.best, None
            self.last[...], self.statistics[...] = parameters, statistics

    def count_no_improvement(self, count: int) -> None:
        """Set the number of epochs in a row without an improvement."""
        self.n_no_improvement = count
        if self.memory is not None:
            self.memory.plateau[1] = count

    def switch_optimizer(self, optimizer: Optimizer) -> None:
        """Discard the optimizer state if the kind of optimizer changes.

        The new optimizer begins with the parameters that predict, and counts its steps from 0.
        """
        if self.optimizer is None or _find_state_kind(self.optimizer) == _find_state_kind(optimizer):
            return
        self.adopt_best()
        self.parameters[...] = self.last
        if self.memory is not None:
            self.memory.average = self.memory.average[:0]
        self.optimizer, self.n_steps = None, 0

    def keep_generator(self, random: np.random.RandomState, random_state: Any) -> None:
        """Store the generator of a fit; a changed `random_state` discards the order of the samples."""
        if self.memory is not None and self.random_state != random_state:
            self.memory.order = self.memory.order[:0]
        self.random = random if isinstance(random_state, numbers.Integral) else None
        self.random_state = random_state

    def resume_memory(self, fresh: Memory, optimizer: Optimizer) -> Memory:
        """Return the memory of the next training: `fresh`, with all compatible arrays of the old memory."""
        old = self.memory
        if old is not None:
            names = ["plateau"]
            if self.optimizer is not None:
                names.append("optimizer")
            if fresh.average.size and old.average.size:
                names.append("average")
            if fresh.order.size == old.order.size:
                names.append("order")
            fresh.take(old, *names)
        self.memory, self.optimizer = fresh, optimizer
        return fresh


def _find_state_kind(optimizer: Optimizer) -> tuple[str, bool]:
    """Return a key that is equal for optimizers that can continue with each other's state."""
    return optimizer.rule, vars(optimizer).get("rate_in_velocity", False)


def begin_state(estimator: BaseMLP, network: Network) -> FittedNetwork:
    """Create the state of a new network, and reset the attributes that accumulate over several fits."""
    estimator.t_ = 0
    estimator.n_layers_ = len(network.layers_dim)
    estimator.validation_loss_curve_ = []
    for name in (*STOCHASTIC, *ASSIGNED):
        estimator.__dict__.pop(name, None)
    estimator._state = FittedNetwork(network, network.make_neutral_parameters(), network.make_statistics())
    return estimator._state


def find_generator(estimator: BaseMLP, state: FittedNetwork, begins: bool) -> np.random.RandomState:
    """Return the generator of a fit; a generator seeded by an integer continues from the last fit."""
    if not isinstance(estimator.random_state, numbers.Integral):
        return check_random_state(estimator.random_state)
    if begins or state.random is None or state.random_state != estimator.random_state:
        return make_random(estimator.random_state)
    return state.random


def draw_parameters(estimator: BaseMLP, state: FittedNetwork, random: np.random.RandomState) -> None:
    """Draw initial parameters by `init`, or else as scikit-learn does, by Glorot & Bengio (2010)."""
    network = state.network
    if estimator.init is not None:
        state.parameters[...] = network.draw_parameters(random, estimator.init)
        return
    names = {estimator.activation} if isinstance(estimator.activation, str) else set(estimator.activation)
    factor = 2.0 if names and names <= {"logistic", "sigmoid"} else 6.0
    for W, b in zip(network.weights(state.parameters), network.biases(state.parameters), strict=True):
        bound = np.sqrt(factor / sum(W.shape))
        W[...] = random.uniform(-bound, bound, W.shape)
        b[...] = random.uniform(-bound, bound, b.shape[1])


def continue_state(estimator: BaseMLP, network: Network, optimizer: Optimizer) -> FittedNetwork:
    """Prepare the last fit's state for the network and optimizer of the next fit; return the state."""
    if not estimator._state.is_writeable:
        estimator._state = estimator._state.copy()
    state: FittedNetwork = estimator._state
    state.network = network
    state.switch_optimizer(optimizer)
    if not estimator.early_stopping:
        state.adopt_best()
    return state


def begin_curves(estimator: BaseMLP, optimizer: Optimizer) -> None:
    """Create missing curves, which the fit extends; as in scikit-learn, "lbfgs" has no curves."""
    if isinstance(optimizer, LBFGS):
        return
    if "loss_curve_" not in estimator.__dict__:
        estimator.loss_curve_ = []
        estimator.best_loss_ = estimator.validation_scores_ = estimator.best_validation_score_ = None
    if estimator.early_stopping and estimator.validation_scores_ is None:
        estimator.validation_scores_, estimator.best_validation_score_ = [], -np.inf
    if not estimator.early_stopping and estimator.best_loss_ is None:
        estimator.best_loss_ = np.inf


def draw_seed(state: FittedNetwork, random: np.random.RandomState) -> None:
    """Draw the seed of the dropout masks, unless an earlier fit that is continued has drawn it."""
    if state.network.dropout and not state.seed:
        state.seed = generators.draw_seed(random) | 1


def record_epochs(
    estimator: BaseMLP, state: FittedNetwork, losses: list[float], n_samples: int, offset: float = 0.0
) -> None:
    """Extend the curves of an estimator by epochs over `n_samples` samples each, with these objectives."""
    estimator.loss_curve_ += losses
    estimator.loss_ = losses[-1]
    estimator.n_iter_ += len(losses)
    estimator.t_ += len(losses) * n_samples
    if not estimator.early_stopping:
        best, n_no_improvement = state.trained_memory.plateau.tolist()
        estimator.best_loss_ = best + offset
        state.n_no_improvement = int(n_no_improvement)
