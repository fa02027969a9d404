"""The state of a fitted estimator: what predicts, and what the next fit goes on from."""

from __future__ import annotations

import copy
import numbers
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.job import Memory
from ..network.description import Network
from ..optimizers import Optimizer

__all__ = ["FittedNetwork"]

Array = NDArray[Any]


@dataclass
class FittedNetwork:
    """Network that a fitted estimator predicts with, and what its next fit goes on from.

    Parameters
    ----------
    network : Network
    parameters, statistics : array
        Flat, as the network lays them out.
    memory : Memory, optional
        Memory of the training; None before the first by a stochastic solver.
    optimizer : Optimizer, optional
        Optimizer that the memory belongs to.
    n_steps : int
        Number of steps in all fits.
    seed : int
        Seed of dropout.
    rate_factor : float
        Factor by which the "adaptive" rate has fallen.
    n_no_improvement : int
        Number of passes in a row without an improvement.
    random : RandomState, optional
        Generator made from an integer `random_state`; None for a generator that the user passed.
    random_state : None, int or RandomState
        Parameter of the estimator in the last fit.
    split : tuple, optional
        State of the generator that the validation data were drawn with.
    best : two arrays, optional
        Predicting parameters and statistics of the best pass, where validation data chose one. The next fit
        goes on from the last pass all the same.
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
        """Predicting parameters of the last pass: their average, where one is kept."""
        if self.memory is not None and self.memory.average.size:
            return self.memory.average
        return self.parameters

    @property
    def predicting(self) -> Array:
        """Parameters that predict."""
        return self._last if self.best is None else self.best[0]

    @property
    def predicting_statistics(self) -> Array:
        """Running statistics that belong to the predicting parameters."""
        return self.statistics if self.best is None else self.best[1]

    @property
    def folded(self) -> Array:
        """Parameters that predict, with batch normalisation folded in."""
        return self.network.folded(self.predicting, self.predicting_statistics)

    def copy(self) -> FittedNetwork:
        """Return a copy with writeable arrays of its own."""
        other = copy.deepcopy(self)
        other.random_state = self.random_state  # compared by identity with the estimator's parameter
        return other

    def adopt_best(self) -> None:
        """Let the best pass be the last."""
        if self.best is not None:
            (parameters, statistics), self.best = self.best, None
            self._last[...], self.statistics[...] = parameters, statistics

    def switch_optimizer(self, optimizer: Optimizer) -> None:
        """Forget the memory of another kind of optimizer; the new one begins with what predicts."""
        if self.optimizer is None or _state_kind(self.optimizer) == _state_kind(optimizer):
            return
        self.adopt_best()
        self.parameters[...] = self._last
        if self.memory is not None:
            self.memory.average = self.memory.average[:0]
        self.optimizer, self.n_steps = None, 0

    def keep_generator(self, random: np.random.RandomState, random_state: Any) -> None:
        """Keep the generator that was made from an integer; a new `random_state` begins a new order."""
        if self.memory is not None and self.random_state != random_state:
            self.memory.order = self.memory.order[:0]
        self.random = random if isinstance(random_state, numbers.Integral) else None
        self.random_state = random_state

    def resumed_memory(self, fresh: Memory, optimizer: Optimizer) -> Memory:
        """Return the memory for the next training: a fresh one, with what can be gone on with of the old."""
        old = self.memory
        if old is not None:
            if self.optimizer is not None:
                fresh.optimizer = old.optimizer
            if fresh.average.size and old.average.size:
                fresh.average = old.average
            if fresh.order.size == old.order.size:
                fresh.order = old.order
            fresh.plateau = old.plateau
        self.memory, self.optimizer = fresh, optimizer
        return fresh


def _state_kind(optimizer: Optimizer) -> tuple[str, bool]:
    """Return what two optimizers share that can go on with each other's state."""
    return optimizer.rule, getattr(optimizer, "rate_in_velocity", False)
