"""The immutable description of a network, its flat parameter vector and its workspaces.

`Network` is everything the kernels and the reference need to know: how wide the layers are, what
each applies to its sums, and where each finds its weights in the one vector of parameters. It holds
no parameters itself.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .reference.layer import ACTIVATIONS
from .validation import check_choice

__all__ = ["ALIGNMENT", "Network", "aligned_empty"]

# Bytes. Rows of a tile are whole cache lines, which are whole vectors on every processor.
ALIGNMENT = 64
# A tile with all its layers should stay in the first-level cache, but a row of it should not be so
# short that the loops along it do not pay.
TILE_BYTES = 32 * 1024
TILE_WIDTHS = (128, 512)
# A call into the kernels does a whole tile at least, and Ctrl-C waits for its end: of a network so
# large that a tile takes longer than this many operations, some 50 ms, tiles are narrower.
TILE_OPERATIONS = 3e9


def aligned_empty(size: int, dtype: np.dtype) -> NDArray[Any]:
    """Uninitialised flat array that begins at a cache line: vectors then never straddle two."""
    extra = ALIGNMENT // dtype.itemsize
    buffer = np.empty(size + extra, dtype)
    first = -buffer.ctypes.data % ALIGNMENT // dtype.itemsize
    return buffer[first : first + size]


@dataclass(frozen=True)
class Network:
    """Shape of a multilayer network.

    Parameters
    ----------
    layers_dim : tuple of int
        Number of inputs, of the units of every hidden layer, and of outputs.
    activations : tuple of str
        What each layer applies to its sums, one name a layer.
    dtype : numpy.dtype
        Of the parameters and of all computation, float32 or float64.
    """

    layers_dim: tuple[int, ...]
    activations: tuple[str, ...]
    dtype: np.dtype

    @classmethod
    def create(
        cls, layers_dim: Iterable[int], activation: str, output_activation: str, dtype: Any
    ) -> Network:
        """Check what a user asks for and describe it.

        Raises
        ------
        ValueError
            For fewer than two layers, a layer below 1, an activation or a dtype not known.
        TypeError
            For a layer size that is no integer.
        """
        try:
            dims = tuple(operator.index(size) for size in layers_dim)
        except TypeError:
            raise TypeError(
                f"layers_dim must be a sequence of integers such as [2, 3, 2], got {layers_dim!r}"
            ) from None
        if len(dims) < 2:
            raise ValueError(
                f"layers_dim must name at least the inputs and the outputs, as in [2, 2], got {list(dims)}"
            )
        for position, size in enumerate(dims):
            if size < 1:
                raise ValueError(
                    f"every layer needs at least one unit, but layers_dim[{position}] is {size} "
                    f"in {list(dims)}"
                )
        check_choice(activation, "activation", ACTIVATIONS)
        check_choice(output_activation, "output_activation", ACTIVATIONS)
        try:
            resolved = np.dtype(dtype)
        except TypeError:
            raise ValueError(f"dtype must be float32 or float64, got {dtype!r}") from None
        if resolved not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ValueError(f"dtype must be float32 or float64, got {resolved}")
        activations = (activation,) * (len(dims) - 2) + (output_activation,)
        return cls(dims, activations, resolved)

    @property
    def n_inputs(self) -> int:
        return self.layers_dim[0]

    @property
    def n_outputs(self) -> int:
        return self.layers_dim[-1]

    @functools.cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of every layer."""
        return tuple(zip(self.layers_dim[:-1], self.layers_dim[1:], strict=True))

    @functools.cached_property
    def n_weights(self) -> int:
        return sum(n_in * n_out for n_in, n_out in self.shapes)

    @functools.cached_property
    def n_parameters(self) -> int:
        return self.n_weights + sum(self.layers_dim[1:])

    def weights(self, parameters: NDArray[Any]) -> list[NDArray[Any]]:
        """Views (n_in, n_out) of the weights in the flat vector, which has them first."""
        views, offset = [], 0
        for shape in self.shapes:
            size = shape[0] * shape[1]
            views.append(parameters[offset : offset + size].reshape(shape))
            offset += size
        return views

    def biases(self, parameters: NDArray[Any]) -> list[NDArray[Any]]:
        """Views (1, n_out) of the biases in the flat vector, which has them last."""
        views, offset = [], self.n_weights
        for _, n_out in self.shapes:
            views.append(parameters[offset : offset + n_out].reshape(1, n_out))
            offset += n_out
        return views

    def draw_parameters(self, random: Any) -> NDArray[Any]:
        """The tutorial's initialisation: W = randn(n_in, n_out) / sqrt(n_in), then b = randn(n_out).

        Layer by layer in this order, from `random`, a ``RandomState`` or the module ``numpy.random``;
        so a published run is reproduced from its seed.
        """
        parameters = aligned_empty(self.n_parameters, self.dtype)
        for W, b in zip(self.weights(parameters), self.biases(parameters), strict=True):
            W[...] = random.randn(*W.shape) / np.sqrt(W.shape[0])
            b[...] = random.randn(b.shape[1])
        return parameters

    # --- what the kernels need on top -----------------------------------------------------------

    @functools.cached_property
    def kernel_activations(self) -> tuple[str, ...]:
        """The activations in use, sorted: what kernels are specialised on."""
        return tuple(sorted(set(self.activations)))

    @functools.cached_property
    def plan(self) -> NDArray[np.int64]:
        """The kernels' table, a row a layer; ``fastnn_kernels/network.py`` names the columns."""
        rows = []
        weights, biases, units = 0, self.n_weights, 0
        for layer, (n_in, n_out) in enumerate(self.shapes):
            # Two buffers are enough for the derivatives: a layer's and those of the one below.
            dunits = max(self.layers_dim[1:]) * (layer % 2)
            code = self.kernel_activations.index(self.activations[layer])
            rows.append((n_in, n_out, weights, biases, units, dunits, code))
            weights, biases, units = weights + n_in * n_out, biases + n_out, units + n_out
        return np.array(rows, np.int64)

    @functools.cached_property
    def n_units(self) -> int:
        """Rows of the workspace that holds all layers' outputs."""
        return sum(self.layers_dim[1:])

    @functools.cached_property
    def n_dunits(self) -> int:
        """Rows of the workspace that holds the derivatives by them."""
        return 2 * max(self.layers_dim[1:])

    @functools.cached_property
    def widest_tile(self) -> int:
        """Most samples that go through the layers together."""
        row_bytes = (self.n_inputs + self.n_units + self.n_dunits) * self.dtype.itemsize
        least, most = TILE_WIDTHS
        width = min(max(TILE_BYTES // row_bytes, least), most)
        return max(1, min(width, int(TILE_OPERATIONS / (6 * self.n_parameters))))

    def tile_width(self, n_samples: int) -> int:
        """Samples of a tile: whole cache lines, and all tiles about equally full."""
        n_tiles = -(-n_samples // self.widest_tile)
        lanes = ALIGNMENT // self.dtype.itemsize
        return -(-n_samples // (n_tiles * lanes)) * lanes
