"""The protocols of a backend and of the trainers it makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from numpy.typing import NDArray

from ..network.description import Network
from .job import Job, Memory, Records

__all__ = ["Backend", "Trainer"]

Array = NDArray[Any]


class Trainer(Protocol):
    """One training, which changes the parameters, statistics and memory it was given in place."""

    records: Records
    statistics: Array

    @property
    def current(self) -> Array:
        """Parameters that the training would leave if it ended now: their average, where one is kept."""

    @property
    def trouble(self) -> str:
        """What the next step would leave that is not finite, as `DivergenceError.what`; "" for nothing."""

    @property
    def n_passes(self) -> int:
        """Whole passes done."""

    @property
    def halted(self) -> bool:
        """Whether the objective fell too little for too long (`Job.patience`), the last pass included.

        A memory that comes from a halted training is no reason to: at least one pass is done.
        """

    def run(self, last_pass: int) -> bool:
        """Train on for some 50 ms, not beyond `last_pass` passes in all, nor where it has halted.

        Returns False where the next step would leave something that is not finite, which `trouble` names:
        a parameter, a running statistic, the optimizer's state or the average. All are then as the last step
        left them that did not.
        """


class Backend(Protocol):
    """What a side offers. All that is passed in is checked; parameters is the flat vector.

    X (n, inputs), a CSR matrix or array of SciPy's, too, where it is not to be bound; y (n, targets) of the
    network's dtype; weights (n,). n_threads: the most that compute, 0 for as many as pay. Predictions take
    the parameters of a network without batch normalisation (`Network.folded`), and warn of samples for which
    they are not finite, unless they are told not to.
    """

    def outputs(
        self, network: Network, parameters: Array, X: Any, name: str, n_threads: int = 0, warns: bool = True
    ) -> Array:
        """The output `name` of the scores, (n, outputs)."""

    def predict(
        self, network: Network, parameters: Array, X: Any, n_threads: int = 0, warns: bool = True
    ) -> Array:
        """Classes (n,)."""

    def bound(
        self, network: Network, parameters: Array, X: Array, name: str | None
    ) -> tuple[Callable[[], Any], Array]:
        """Return a function that predicts for what X holds when it is called, and the array that it fills.

        It computes the output `name`, or for None the classes, and returns whether all scores are finite.
        """

    def loss(
        self, network: Network, parameters: Array, X: Any, y: Array, weights: Array, n_threads: int = 0
    ) -> float:
        """The weighted loss."""

    def trainer(
        self, network: Network, parameters: Array, statistics: Array, job: Job, memory: Memory
    ) -> Trainer:
        """A training."""

    def objective(
        self, network: Network, statistics: Array, X: Array, y: Array, weights: Array, key: int
    ) -> Callable[[Array], tuple[float, Array]]:
        """A function of the parameters: the weighted loss of a training pass, and its gradient.

        `key` is that of the random numbers of dropout; running statistics are moved.
        """
