"""What a picture is painted of: networks with two inputs and a score for every class.

Whatever predicts classes by networks of fastnn comes down to that: a `Model`, an estimator, an ensemble whose
members vote; a network of more features with all but two of them held fixed; one with a single score, or one
label of several, which becomes two scores that are as far apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .network import Network, aligned_empty

__all__ = ["Committee", "joined", "restricted"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Committee:
    """Networks that choose a class together.

    Parameters
    ----------
    members : sequence of (Network, array)
        Each with two inputs, as many outputs as there are classes and no batch normalisation, and its
        parameters; all of one dtype.
    votes : bool
        Whether the class of the highest sum of probabilities is chosen, and not that of the highest score,
        which one network alone may do.
    """

    members: Sequence[tuple[Network, Array]]
    votes: bool

    @property
    def dtype(self) -> np.dtype:
        return self.members[0][0].dtype

    @property
    def n_classes(self) -> int:
        return self.members[0][0].n_outputs

    @property
    def activations(self) -> tuple[str, ...]:
        """The activations in use, sorted: the codes of plans are places among them."""
        return tuple(sorted({name for network, _ in self.members for name in network.activations}))

    @property
    def operations(self) -> int:
        """Of a pixel, about: an activation takes as long as some ten."""
        return sum(2 * network.n_parameters + 10 * sum(network.layers_dim) for network, _ in self.members)


def restricted(
    network: Network,
    parameters: Array,
    features: tuple[int, int],
    rest: NDArray[np.float64],
    label: int | None = None,
) -> tuple[Network, Array]:
    """A network of two of the features, the others held fixed.

    Parameters
    ----------
    network : Network
    parameters : array (P,)
        With batch normalisation folded in.
    features : (int, int)
        The two, which become inputs 0 and 1.
    rest : array (n_inputs,)
        Values of the others.
    label : int, optional
        Look at this output alone, and make two classes of it: 1 where its score is above 0, else 0.

    Returns
    -------
    Network
    array
        Its parameters.
    """
    dims, activations = (2, *network.layers_dim[1:]), network.activations
    if label is not None:
        dims, activations = (*dims[:-1], 1, 2), (*activations, "identity")
    result = Network(dims, activations, network.dtype)
    new = aligned_empty(result.n_parameters, network.dtype)
    new[...] = 0
    W, b = network.weights(parameters), network.biases(parameters)
    if network.n_inputs == 2 and features == (0, 1):
        first, fixed = W[0], b[0]  # the very same, so that a picture is what the network predicts
    else:
        first = W[0][list(features)]
        others = rest.copy()
        others[list(features)] = 0
        fixed = (b[0] + others @ W[0].astype(np.float64)).astype(network.dtype)
    sources = [first, *W[1:]], [fixed, *b[1:]]
    if label is not None:
        for part in sources:
            part[-1] = part[-1][:, [label]]
        # Their difference is the score, and infinity stays what it is: 0 times it would be NaN.
        sources[0].append(np.array([[-0.5, 0.5]], network.dtype))
        sources[1].append(np.zeros((1, 2), network.dtype))
    for views, values in zip((result.weights(new), result.biases(new)), sources, strict=True):
        for view, value in zip(views, values, strict=True):
            view[...] = value
    return result, new


def joined(members: Sequence[tuple[Network, Array]], votes: bool) -> Committee:
    """A committee of networks that may differ in their dtypes: the widest is taken for all."""
    dtype = np.result_type(*(network.dtype for network, _ in members))
    same = []
    for network, parameters in members:
        if network.dtype != dtype:
            other = Network(network.layers_dim, network.activations, dtype)
            network, parameters = other, other.adopted(network, parameters)
        same.append((network, parameters))
    return Committee(same, votes)
