"""DecisionNetworks: the networks behind a model's decisions, as needed to draw its decision boundary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .description import Array, Network

__all__ = ["DecisionNetworks"]


class DecisionNetworks(NamedTuple):
    """Networks whose scores decide the class of a sample, and the meaning of these scores.

    Models, estimators and ensembles have a method ``_decision_networks()`` that returns this description, or
    None for a model that knows only one class.

    Parameters
    ----------
    members : sequence of (Network, array)
        Networks with the same inputs and outputs, each with its flat parameter vector, batch normalisation
        folded in.
    classes : array (n_classes,) or None
        Labels in the order of the scores. A network with one output has two classes: the second is predicted
        if the score is above 0. None for a regression.
    n_labels : int, default 0
        Number of independent labels, one score each; `classes` are then 0 and 1. The default, 0, is for
        models that predict one class per sample.
    votes : bool, default False
        True if the class with the highest sum of the members' probabilities is predicted, False if the class
        with the highest score of the only member is.
    backend : str, default "numba"
        Name of the backend that evaluates the networks.
    """

    members: Sequence[tuple[Network, Array]]
    classes: Array | None
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
