"""The networks behind a model's classes: the one view of a model that pictures need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from .description import Network

__all__ = ["DecisionNetworks"]


class DecisionNetworks(NamedTuple):
    """Networks whose scores decide the class of a sample, and the meaning of their scores.

    Every model of networks has a method ``_decision_networks()`` that returns one, or None if the model has
    only one class and no score decides.

    Parameters
    ----------
    members : sequence of (Network, array)
        Networks with the same inputs and outputs, each with its flat parameter vector, batch normalisation
        folded in.
    classes : array (n_classes,) or None
        Labels in the order of the scores. A network with one output has two classes, of which the second
        wins where the score is above 0. None for a regression.
    n_labels : int, default 0
        Number of labels that are decided independently, a score each; `classes` are then 0 and 1. 0 for a
        model whose samples have one class.
    votes : bool, default False
        True if the highest sum of the members' probabilities decides, False if the highest score of a single
        network does.
    backend : str, default "numba"
        Name of the backend that evaluates the networks.
    """

    members: Sequence[tuple[Network, NDArray[Any]]]
    classes: NDArray[Any] | None
    n_labels: int = 0
    votes: bool = False
    backend: str = "numba"

    @property
    def n_inputs(self) -> int:
        """Number of features of a sample."""
        return self.members[0][0].n_inputs

    @property
    def n_outputs(self) -> int:
        """Number of scores of a sample."""
        return self.members[0][0].n_outputs
