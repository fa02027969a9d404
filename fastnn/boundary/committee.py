"""What a picture is painted of: networks with two inputs and a score for every class.

Whatever predicts classes by networks of fastnn comes down to that: a `Model`, an estimator, an ensemble whose
members vote; a network of more features with all but two of them held fixed; one with a single score, or one
label of several, which becomes two scores that are as far apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..network.description import Network, aligned_empty
from .affine import AffineMap

__all__ = ["Committee", "Plane", "joined", "plane_of", "restricted"]

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


class Plane(NamedTuple):
    """A network's inputs over a picture: ``base + u * directions[0] + v * directions[1]``.

    The coordinates of the pixel at (x, y) are ``u = (x - origin[0]) * scale[0]`` and
    ``v = (y - origin[1]) * scale[1]``. They are computed in float64: narrowed to float32, ``x - origin``
    keeps digits that x alone would lose.

    Parameters
    ----------
    directions : array (2, n_inputs)
    base : array (n_inputs,)
    origin, scale : array (2,)
    """

    directions: NDArray[np.float64]
    base: NDArray[np.float64]
    origin: NDArray[np.float64]
    scale: NDArray[np.float64]

    def coordinates(self, xs: Array, ys: Array, dtype: np.dtype) -> tuple[Array, Array]:
        """Return u at xs and v at ys."""
        with np.errstate(over="ignore"):  # beyond all float32 lies infinity
            u, v = (
                ((values - self.origin[k]) * self.scale[k]).astype(dtype) for k, values in enumerate((xs, ys))
            )
        return u, v

    @property
    def is_mixed(self) -> bool:
        """True if one input depends on both coordinates, or several on the same one."""
        used = self.directions != 0
        return bool(used.sum(axis=0).max() > 1 or used.sum(axis=1).max() > 1)


def plane_of(features: tuple[int, int], rest: NDArray[np.float64], mapping: AffineMap | None = None) -> Plane:
    """Return the plane of two features, the others held fixed.

    Parameters
    ----------
    features : (int, int)
        The features along x and y.
    rest : array (n_features,)
        Values of the others.
    mapping : AffineMap, optional
        Gives the network's inputs from the features. By default they are the features, and (u, v) is (x, y).

    Returns
    -------
    Plane
        With `mapping`, its origin is where the network's inputs come nearest to 0, the data's mean for a
        scaler, and directions have 1 as their largest component, so that u and v are as large as the inputs.
    """
    pair = list(features)
    directions = np.zeros((2, rest.size))
    directions[[0, 1], pair] = 1
    base = rest.copy()
    base[pair] = 0
    if mapping is None:
        return Plane(directions, base, np.zeros(2), np.ones(2))
    directions, base = directions @ mapping.weights, mapping(base)
    scale = np.abs(directions).max(axis=1)
    inverse = np.divide(1, scale, where=scale > 0, out=np.zeros(2))  # 0 for a feature that is left out
    directions *= inverse[:, None]
    nearest = np.linalg.lstsq(directions.T, -base)[0]
    return Plane(directions, base + nearest @ directions, nearest * inverse, scale)


def restricted(
    network: Network, parameters: Array, plane: Plane, label: int | None = None
) -> tuple[Network, Array]:
    """Return the network of a plane's coordinates, and its parameters.

    Parameters
    ----------
    network : Network
    parameters : array (P,)
        With batch normalisation folded in.
    plane : Plane
        Its coordinates become inputs 0 and 1.
    label : int, optional
        Look at this output alone, and make two classes of it: 1 where its score is above 0, else 0.

    Returns
    -------
    Network
        In float64 if the plane is mixed: its coordinates may cancel in sums, where float32 loses digits that
        transformers keep, which compute in float64.
    array
        Its parameters.
    """
    dims, activations = (2, *network.layers_dim[1:]), network.activations
    if label is not None:
        dims, activations = (*dims[:-1], 1, 2), (*activations, "identity")
    result = Network(dims, activations, np.dtype(np.float64) if plane.is_mixed else network.dtype)
    new = aligned_empty(result.n_parameters, result.dtype)
    new[...] = 0
    W, b = network.weights(parameters), network.biases(parameters)
    if np.array_equal(plane.directions, np.eye(2)) and not plane.base.any():
        first, fixed = W[0], b[0]  # the very same, so that a picture is what the network predicts
    else:
        wide = W[0].astype(np.float64)
        first, fixed = plane.directions @ wide, b[0] + plane.base @ wide
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
