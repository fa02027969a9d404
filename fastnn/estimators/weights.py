"""Weights without a fit: an estimator to which `coefs_` and `intercepts_` are assigned predicts with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from ..export.sklearn import OUT_ACTIVATIONS
from ..network.description import Network
from ..network.views import LiveViews
from ..system.validation import short_repr
from .fitted import FittedNetwork, begin_state
from .parameters import parse_activations
from .reporting import restore_attributes

if TYPE_CHECKING:
    from .base import BaseMLP

Estimator = TypeVar("Estimator", bound="BaseMLP")


def make_from_weights(
    kind: type[Estimator],
    coefs: Iterable[ArrayLike],
    intercepts: Iterable[ArrayLike],
    parameters: dict[str, Any],
    attributes: dict[str, Any],
) -> Estimator:
    """Return a fitted estimator: what the methods `from_weights` have in common.

    By default the parameter `hidden_layer_sizes` has the sizes of the arrays. `attributes` are what a fit
    derives from y.
    """
    coefs = list(coefs)
    estimator = kind(**{"hidden_layer_sizes": tuple(_read_sizes(coefs)[1:-1])} | parameters)
    estimator.__dict__.update(attributes)
    estimator.coefs_, estimator.intercepts_ = coefs, intercepts
    estimator._validate_params()
    adopt_weights(estimator)
    return estimator


def adopt_weights(estimator: BaseMLP) -> FittedNetwork:
    """Make an estimator with assigned weights a fitted one; return its state. An error changes nothing."""
    before = estimator.__dict__.copy()
    try:
        coefs, intercepts, output = before["coefs_"], before["intercepts_"], before.get("_assigned_output")
        dims = _read_sizes(coefs)
        own = {"n_features_in_": dims[0], "n_outputs_": dims[-1], "n_layers_": len(dims)}
        for name, value in own.items():
            if before.get(name, value) != value:
                raise ValueError(
                    f"{name} is {value} by the arrays of coefs_, but {before[name]} was assigned"
                )
            setattr(estimator, name, value)
        estimator._adopt_targets()
        if estimator.batch_norm:
            raise ValueError(
                "weights cannot be assigned to an estimator with batch_norm=True: use a fastnn.Model"
            )
        is_narrow = all(getattr(array, "dtype", None) == np.float32 for array in (*coefs, *intercepts))
        network = Network.create(
            dims,
            parse_activations(estimator.activation),
            "identity",
            np.float32 if is_narrow else np.float64,
            estimator._make_loss(),
            dropout=estimator.dropout,
        )
        check_out_activation(network, output)
        state = begin_state(estimator, network)
        LiveViews(network.weights(state.parameters), "coefs_")[:] = coefs
        LiveViews([b[0] for b in network.biases(state.parameters)], "intercepts_")[:] = intercepts
        estimator.n_iter_ = before.get("n_iter_", 0)
        estimator._check_state()
        return state
    except BaseException:
        restore_attributes(estimator, before)
        raise


def _read_sizes(coefs: Iterable[ArrayLike]) -> list[int]:
    shapes = [np.shape(W) for W in coefs]
    if not shapes or any(len(shape) != 2 for shape in shapes):
        raise ValueError(
            f"coefs_ must be a list of arrays (n_in, n_out), one per layer, got shapes {short_repr(shapes)}"
        )
    return [shapes[0][0], *(n_out for _, n_out in shapes)]


def check_out_activation(network: Network, name: str | None) -> None:
    """Raise ValueError if the output activation does not fit the network's loss; None always does."""
    own = OUT_ACTIVATIONS[network.loss.output]
    if name not in (None, own):
        raise ValueError(
            f"out_activation_ is {own!r} by the loss, got {name!r}: a Model takes any output_activation"
        )
