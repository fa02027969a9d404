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
    """Protocol of a training's steps, which change parameters, statistics and memory in place."""

    records: Records
    statistics: Array

    @property
    def current(self) -> Array:
        """Parameters that the training would leave if it ended now: their average, where one is kept."""

    @property
    def non_finite(self) -> str:
        """Name of what the next step would leave that is not finite, as `DivergenceError.what`, or ""."""

    @property
    def n_passes(self) -> int:
        """Number of whole passes done."""

    @property
    def halted(self) -> bool:
        """True if the objective has not improved for too many passes (`Job.patience`).

        At least one pass is done first, also with the memory of a halted training.
        """

    def run(self, last_pass: int) -> bool:
        """Run one chunk, some 50 ms, up to `last_pass` passes in all at the most; none if it has halted.

        Returns False if the next step would leave a parameter, a running statistic, the optimizer's state or
        the average not finite, which `non_finite` names. All are then as the last finite step left them.
        """


class Backend(Protocol):
    """Protocol of the operations on a network, whose arguments have been checked.

    parameters is the flat vector; X (n, inputs) an array or a CSR matrix of SciPy's, for `bound` an array; y
    (n, targets) of the network's dtype; weights (n,). n_threads is the most that compute, 0 for as many as
    pay. Predictions take the parameters of a network without batch normalisation (`Network.folded`), and
    warn of samples for which they are not finite, unless warns is False.
    """

    def outputs(
        self, network: Network, parameters: Array, X: Any, name: str, n_threads: int = 0, warns: bool = True
    ) -> Array:
        """Return the output `name` of the scores, (n, outputs)."""

    def predict(
        self, network: Network, parameters: Array, X: Any, n_threads: int = 0, warns: bool = True
    ) -> Array:
        """Return the classes (n,)."""

    def bound(
        self, network: Network, parameters: Array, X: Array, name: str | None
    ) -> tuple[Callable[[], Any], Array]:
        """Return a function that predicts for the present contents of X, and the array that it fills.

        The function computes the output `name`, or for None the classes, and returns whether all scores are
        finite.
        """

    def loss(
        self, network: Network, parameters: Array, X: Any, y: Array, weights: Array, n_threads: int = 0
    ) -> float:
        """Return the weighted loss."""

    def trainer(
        self, network: Network, parameters: Array, statistics: Array, job: Job, memory: Memory
    ) -> Trainer:
        """Return the trainer of a job."""

    def objective(
        self, network: Network, statistics: Array, X: Array, y: Array, weights: Array, key: int
    ) -> Callable[[Array], tuple[float, Array]]:
        """Return a function of the parameters: the weighted loss of a training pass, and its gradient.

        `key` seeds the masks of dropout; every call moves the running statistics.
        """
