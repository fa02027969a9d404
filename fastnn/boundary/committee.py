"""Committees, which pictures evaluate: one network, or the networks of an ensemble, which choose together.

Every network is converted to one with two inputs and a score for every class: a network of more features is
restricted to a plane, in which all features but two are fixed, and a network with a single score, or one
label of several, gets two scores whose difference is that score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..engine import get_backend
from ..network.decision import DecisionNetworks
from ..network.description import Array, Network, allocate_zeros
from ..system.affine import AffineMap


@dataclass(frozen=True)
class Committee:
    """Networks that choose a class together."""

    # Networks and their parameters, all of one dtype. A network has two inputs, as many outputs as there are
    # classes and no batch normalisation.
    members: Sequence[tuple[Network, Array]]
    votes: bool  # True if the highest sum of probabilities wins; False for the highest score of one network
    plane: Plane | None = None  # in which the networks' inputs lie; None if they are the coordinates

    @property
    def dtype(self) -> np.dtype:
        return self.members[0][0].dtype

    @property
    def n_classes(self) -> int:
        return self.members[0][0].n_outputs

    @property
    def activations(self) -> tuple[str, ...]:
        """Sorted names of the activations in use; activation codes of the kernels are indices into them."""
        return tuple(sorted({name for network, _ in self.members for name in network.activations}))

    @property
    def operations(self) -> int:
        """Approximate number of operations per pixel; an activation counts as ten."""
        return sum(2 * network.n_parameters + 10 * sum(network.layers_dim) for network, _ in self.members)

    def scores(self, X: Array, n_threads: int) -> Array:
        """Return the values (n, n_classes) whose highest is the class, at inputs (n, 2) of the networks."""
        outputs, name = get_backend("numba").outputs, "softmax" if self.votes else "identity"
        first, *others = (
            outputs(network, parameters, X, name, n_threads, warns=False)
            for network, parameters in self.members
        )
        return sum(others, first)

    def inputs(self, xs: Array, ys: Array) -> tuple[Array, Array]:
        """Return the networks' inputs at the coordinates of columns and rows."""
        if self.plane is None:
            return xs.astype(self.dtype), ys.astype(self.dtype)
        return self.plane.coordinates(xs, ys, self.dtype)


class Plane(NamedTuple):
    """The inputs of a network over a picture: ``base + u * directions[0] + v * directions[1]``.

    The coordinates of the pixel at (x, y) are ``u = (x - origin[0]) * scale[0]`` and ``v = (y - origin[1]) *
    scale[1]``. They are computed in float64 and then converted to the network's dtype: in float32, u and v
    keep digits that x and y would lose.
    """

    directions: NDArray[np.float64]  # (2, n_inputs)
    base: NDArray[np.float64]  # (n_inputs,)
    origin: NDArray[np.float64]  # (2,)
    scale: NDArray[np.float64]  # (2,)

    def coordinates(self, xs: Array, ys: Array, dtype: np.dtype) -> tuple[Array, Array]:
        with np.errstate(over="ignore"):  # coordinates too large for float32 become infinite
            u, v = (
                ((values - self.origin[k]) * self.scale[k]).astype(dtype) for k, values in enumerate((xs, ys))
            )
        return u, v

    @property
    def is_mixed(self) -> bool:
        """True if an input depends on both coordinates, or a coordinate changes several inputs."""
        used = self.directions != 0
        return bool(used.sum(axis=0).max() > 1 or used.sum(axis=1).max() > 1)


def make_plane(
    features: tuple[int, int], fixed: NDArray[np.float64], mapping: AffineMap | None = None
) -> Plane:
    """Return the plane in which two features, along x and y, vary and the others are `fixed` (n_features,).

    By default the inputs are the features, and u and v are x and y. `mapping` leads from the features to the
    network's inputs: the origin is then the point at which these are nearest to 0 (the mean of the data, for
    a scaler), and the largest component of each direction is 1, so that u and v have the magnitude of the
    inputs.
    """
    pair = list(features)
    directions = np.zeros((2, fixed.size))
    directions[[0, 1], pair] = 1
    base = fixed.copy()
    base[pair] = 0
    if mapping is None:
        return Plane(directions, base, np.zeros(2), np.ones(2))
    directions, base = directions @ mapping.weights, mapping(base)
    scale = np.abs(directions).max(axis=1)
    inverse = np.divide(1, scale, where=scale > 0, out=np.zeros(2))  # 0 for a feature that transformers drop
    directions *= inverse[:, None]
    nearest = np.linalg.lstsq(directions.T, -base)[0]
    return Plane(directions, base + nearest @ directions, nearest * inverse, scale)


def restrict_network(
    network: Network, parameters: Array, plane: Plane, output: int | None = None
) -> tuple[Network, Array]:
    """Return a network of two inputs, the coordinates of a plane, and its parameters.

    The network's parameters (P,) have batch normalisation folded in. `output` is the number of the single
    output to keep, which decides between two classes: class 1 where it is above 0, else class 0. By default
    all outputs are kept. The dtype is float64 if the plane is mixed: sums of coordinates may cancel, and
    float32 would lose digits that the transformers, which compute in float64, keep.
    """
    dims, activations = (2, *network.layers_dim[1:]), network.activations
    if output is not None:
        dims, activations = (*dims[:-1], 1, 2), (*activations, "identity")
    result = Network(dims, activations, np.dtype(np.float64) if plane.is_mixed else network.dtype)
    new = allocate_zeros(result.n_parameters, result.dtype)
    W, b = network.weights(parameters), network.biases(parameters)
    if np.array_equal(plane.directions, np.eye(2)) and not plane.base.any():
        first, fixed = W[0], b[0]  # unchanged, so that a picture has the bits of the network's prediction
    else:
        wide = W[0].astype(np.float64)
        first, fixed = plane.directions @ wide, b[0] + plane.base @ wide
    sources = [first, *W[1:]], [fixed, *b[1:]]
    if output is not None:
        for arrays in sources:
            arrays[-1] = arrays[-1][:, [output]]
        # The difference of the two scores is the output. Weights 0 and 1 would make an infinite output NaN.
        sources[0].append(np.array([[-0.5, 0.5]], network.dtype))
        sources[1].append(np.zeros((1, 2), network.dtype))
    for views, values in zip((result.weights(new), result.biases(new)), sources, strict=True):
        for view, value in zip(views, values, strict=True):
            view[...] = value
    return result, new


def make_committee(
    networks: DecisionNetworks,
    features: tuple[int, int],
    fixed: NDArray[np.float64],
    mapping: AffineMap | None,
    output: int | None,
) -> Committee:
    plane = make_plane(features, fixed, mapping)
    members = [restrict_network(*member, plane, output) for member in networks.members]
    dtype = np.result_type(*(network.dtype for network, _ in members))
    converted = []
    for network, parameters in members:
        wide = Network(network.layers_dim, network.activations, dtype)
        converted.append((wide, wide.convert_parameters(network, parameters)))
    return Committee(converted, networks.votes, plane)
