"""DecisionNetworks: the networks behind a model's decisions, as needed to draw its decision boundary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .description import Array, Network


class DecisionNetworks(NamedTuple):
    """Networks whose scores decide the class of a sample, and the meaning of these scores.

    Models, estimators and ensembles have a method ``_decision_networks()`` that returns this description, or
    None for a model that knows only one class.
    """

    # Networks with the same inputs and outputs, each with its flat parameters, batch normalisation folded in.
    members: Sequence[tuple[Network, Array]]
    # (n_classes,): labels in the order of the scores. A network with one output has two classes: the second
    # is predicted if the score is above 0. None for a regression.
    classes: Array | None
    n_labels: int = 0  # number of labels, one score each; `classes` are then 0 and 1. 0: one class per sample
    # True if the class with the highest sum of the members' probabilities is predicted, False if the class
    # with the highest score of the only member is.
    votes: bool = False
    backend: str = "numba"  # name of the backend that evaluates the networks
    override: str = ""  # method by which a subclass predicts otherwise than the networks do

    @property
    def n_inputs(self) -> int:
        """Number of features of a sample."""
        return self.members[0][0].n_inputs

    @property
    def n_outputs(self) -> int:
        """Number of scores of a sample."""
        return self.members[0][0].n_outputs


def read_networks(model: Any) -> DecisionNetworks | None:
    """Return the networks of a model of fastnn, None for others; raise ValueError for a regression."""
    # An instance may have a `__getattr__` that answers any name: look the method up in the class.
    read = getattr(type(model), "_decision_networks", None)
    networks: DecisionNetworks | None = None if read is None else read(model)
    if networks is not None:
        if networks.classes is None:
            raise ValueError(f"a boundary lies between classes, but the model is a regression: {model!r}")
        return networks._replace(override=_find_override(model))
    if hasattr(model, "__sklearn_tags__"):
        from sklearn.base import is_regressor

        if is_regressor(model):
            raise ValueError(f"a boundary lies between classes, but the model is a regressor: {model!r}")
    return None


def _find_override(model: Any) -> str:
    """Return the name of a method by which a subclass of fastnn's own predicts otherwise; "" for none."""
    for name in ("predict", "predict_proba"):
        if not getattr(getattr(type(model), name, None), "__module__", "fastnn.").startswith("fastnn."):
            return name
    return ""


def refuse_override(model: Any) -> None:
    """Raise TypeError for an object of a subclass that predicts otherwise than its networks do."""
    if name := _find_override(model):
        raise TypeError(
            f"{type(model).__name__} overrides {name}, but exports and predictors hold the networks alone: "
            "use an object of fastnn's own class"
        )
