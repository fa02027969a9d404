"""Views of a network's parameters for users: lists with one live view of the flat vector per layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from ..system.validation import check_parameters, short_repr
from .description import Array, Network


class BatchNorm(NamedTuple):
    """Views of the batch normalisation of one layer."""

    scale: Array  # (1, n_out), trained
    shift: Array
    running_mean: Array  # (n_out,), used by predictions
    running_variance: Array


def make_batch_norm_views(network: Network, parameters: Array, statistics: Array) -> list[BatchNorm]:
    """Return the views of every normalised layer in the flat vectors of parameters and running statistics."""
    return [
        BatchNorm(scale, shift, running[0], running[1])
        for scale, shift, running in zip(
            network.scales(parameters), network.shifts(parameters), network.running(statistics), strict=True
        )
        if scale is not None and shift is not None and running is not None
    ]


class LiveViews(list[Array]):
    """List of one view of the parameters per layer; assigning to an item writes into the model.

    `name` names the list in error messages. With `is_folded`, the list holds copies, into which batch
    normalisation is folded: writing to them would not change the network, and is a ValueError.
    """

    def __init__(self, views: Iterable[Array], name: str, is_folded: bool = False) -> None:
        super().__init__(views)
        self._name, self._is_folded = name, is_folded

    def __setitem__(self, index: Any, value: Any) -> None:
        """Write arrays into the views of the layers `index`; if one array is refused, write none."""
        if self._is_folded:
            raise ValueError(
                f"{self._name} of a network with batch normalisation cannot be set: its arrays are copies "
                "with the normalisation folded in. Write to model_.W, model_.b and model_.batch_norm"
            )
        places = range(len(self))[index]
        if isinstance(places, int):
            places, values = range(places, places + 1), [value]
        else:
            try:
                values = list(value)
            except TypeError:
                raise ValueError(
                    f"{self._name} must be a list of {len(places)} arrays, one per layer, got "
                    f"{short_repr(value)}"
                ) from None
        if len(values) != len(places):
            raise ValueError(
                f"{self._name}: {len(places)} layers take {len(places)} arrays, got {len(values)}"
            )
        # The arrays may be views of the model itself: copy and check all of them before writing the first.
        checked = [
            check_parameters(new, self[k].shape, self[k].dtype, f"{self._name}[{k}]")
            for k, new in zip(places, values, strict=True)
        ]
        for k, new in zip(places, checked, strict=True):
            self[k][...] = new
