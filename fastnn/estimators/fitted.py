"""FittedNetwork: the parameters of a fitted estimator, and the state from which its next fit continues."""

from __future__ import annotations

import copy
import numbers
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.job import Memory
from ..network.description import Network
from ..optimizers import Optimizer
from ..system.generators import generator_state, twister_with

__all__ = ["FittedNetwork"]

Array = NDArray[Any]


@dataclass
class FittedNetwork:
    """Network of a fitted estimator, and the state from which its next fit continues.

    Parameters
    ----------
    network : Network
        Description of the network.
    parameters, statistics : array
        Flat vectors of the parameters and running statistics after the last epoch.
    memory : Memory, optional
        State of the training; None before the first training by a stochastic solver.
    optimizer : Optimizer, optional
        Optimizer of the last fit, to which the optimizer state in `memory` belongs.
    n_steps : int
        Number of steps in all fits.
    seed : int
        Seed of the dropout masks.
    rate_factor : float
        Present factor of the learning rate "adaptive".
    n_no_improvement : int
        Number of epochs in a row without an improvement.
    random : RandomState, optional
        Generator that was created from an integer `random_state`; None for a user's generator.
    random_state : None, int or RandomState
        Parameter `random_state` of the estimator in the last fit.
    split : dict, optional
        State of the generator before the split of the validation data.
    best : two arrays, optional
        Parameters and running statistics of the best epoch by the validation data, which predict. The next
        fit nevertheless continues from the last epoch.
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
    split: dict[str, Any] | None = None
    best: tuple[Array, Array] | None = None

    @property
    def _last(self) -> Array:
        """Parameters after the last epoch: the running average if one is kept."""
        if self.memory is not None and self.memory.average.size:
            return self.memory.average
        return self.parameters

    @property
    def predicting(self) -> Array:
        """Parameters that predict: of the best epoch if there is one, else of the last."""
        return self._last if self.best is None else self.best[0]

    @property
    def predicting_statistics(self) -> Array:
        """Running statistics that belong to the parameters that predict."""
        return self.statistics if self.best is None else self.best[1]

    @property
    def folded(self) -> Array:
        """Parameters that predict, with batch normalisation folded in."""
        return self.network.folded(self.predicting, self.predicting_statistics)

    @property
    def is_writeable(self) -> bool:
        """False if an array is a read-only memory map: of a file, or of what joblib has sent to a process."""
        arrays = [self.parameters, self.statistics, *(vars(self.memory).values() if self.memory else ())]
        return all(array.flags.writeable for array in arrays)

    def plain(self) -> dict[str, Any]:
        """Return the fields as a dict of plain values and arrays, for pickles.

        The order of the samples has the smallest integers. The state of the generator stands once.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["network"] = self.network.plain()
        if self.random is not None:
            values["random"] = self.random.get_state(legacy=False)
        if self.memory is not None:
            memory = values["memory"] = dict(vars(self.memory))
            order = self.memory.order
            memory["order"] = order.astype(np.min_scalar_type(max(0, order.size - 1)))
            if self.random is not None and np.array_equal(
                self.memory.generator, generator_state(self.random)
            ):
                del memory["generator"]
        return values

    @classmethod
    def of_plain(cls, values: dict[str, Any]) -> FittedNetwork:
        """Return the state of a dict that `plain` returned."""
        memory, random = values["memory"], values["random"]
        if random is not None:
            random = twister_with(random)
        if memory is not None:
            if "generator" not in memory:
                memory = memory | {"generator": generator_state(random)}
            memory = Memory(**memory | {"order": memory["order"].astype(np.int64)})
        network = Network.of_plain(values["network"])
        return cls(**values | {"network": network, "memory": memory, "random": random})

    def copy(self) -> FittedNetwork:
        """Return a deep copy, whose arrays are writeable."""
        other = copy.deepcopy(self)
        other.random_state = self.random_state  # compared with the estimator's parameter, which is not copied
        return other

    def adopt_best(self) -> None:
        """Copy the parameters of the best epoch to the last, from which the next fit continues."""
        if self.best is not None:
            (parameters, statistics), self.best = self.best, None
            self._last[...], self.statistics[...] = parameters, statistics

    def switch_optimizer(self, optimizer: Optimizer) -> None:
        """Discard the optimizer state if the kind of optimizer changes.

        The new optimizer begins with the parameters that predict, and counts its steps from 0.
        """
        if self.optimizer is None or _state_kind(self.optimizer) == _state_kind(optimizer):
            return
        self.adopt_best()
        self.parameters[...] = self._last
        if self.memory is not None:
            self.memory.average = self.memory.average[:0]
        self.optimizer, self.n_steps = None, 0

    def keep_generator(self, random: np.random.RandomState, random_state: Any) -> None:
        """Store the generator of a fit; a changed `random_state` discards the order of the samples."""
        if self.memory is not None and self.random_state != random_state:
            self.memory.order = self.memory.order[:0]
        self.random = random if isinstance(random_state, numbers.Integral) else None
        self.random_state = random_state

    def resumed_memory(self, fresh: Memory, optimizer: Optimizer) -> Memory:
        """Return the memory of the next training: `fresh`, with all compatible arrays of the old memory."""
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
    """Return a key that is equal for optimizers that can continue with each other's state."""
    return optimizer.rule, getattr(optimizer, "rate_in_velocity", False)
