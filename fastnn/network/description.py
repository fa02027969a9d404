"""The immutable description of a network, its flat parameter vector and its workspaces.

A `Network` tells the kernels and the reference the widths of the layers, their activations, the loss, and
the offsets of each layer in the one vector of parameters. It holds no parameters itself.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..losses import Loss, SoftmaxCrossEntropy, resolve_loss
from ..reference.layer import ACTIVATIONS
from ..reference.norm import EPS
from ..system.validation import check_choice, check_memory, check_number, shown
from .initialization import INITIALIZERS, draw_layer

__all__ = ["ALIGNMENT", "LayerOffsets", "Layout", "Network", "aligned_empty"]

Array = NDArray[Any]

# Bytes of a cache line. Rows of a tile are whole lines, which are whole vectors on every processor.
ALIGNMENT = 64
# A tile with all its layers should stay in the first-level cache, but short rows make the loops along them
# slow. Training has more work at the ends of a tile, so that its rows are longer.
TILE_BYTES = 32 * 1024
LEAST_WIDTH, LEAST_TRAINING_WIDTH, MOST_WIDTH = 128, 256, 512
# A call into the kernels computes a whole tile at least, and Ctrl-C waits for its end: tiles of large
# networks are narrower, and take at most this many FLOPs, some 50 ms.
TILE_OPERATIONS = 3e9
# Bytes of an array from which on the free memory is checked beforehand, which takes a moment.
LARGE_BYTES = 1 << 28


def aligned_empty(size: int, dtype: np.dtype) -> Array:
    """Return an uninitialised flat array that begins at a cache line: no vector straddles two lines."""
    extra = ALIGNMENT // dtype.itemsize
    buffer = np.empty(size + extra, dtype)
    first = -buffer.ctypes.data % ALIGNMENT // dtype.itemsize
    return buffer[first : first + size]


class LayerOffsets(NamedTuple):
    """Sizes of a layer, and offsets in the flat vectors, in elements; -1 for what it does not have."""

    n_in: int
    n_out: int
    weights: int
    biases: int
    scales: int  # of batch normalisation, as the next two
    shifts: int
    statistics: int


class Layout(NamedTuple):
    """Layout of a network in the kernels' workspaces."""

    plan: NDArray[np.int64]  # a row a layer; ``fastnn_kernels/network.py`` names the columns
    n_units: int  # rows of the workspace of all layers' outputs
    n_dunits: int  # rows of the workspace of the derivatives


@dataclass(frozen=True)
class Network:
    """Description of a multilayer network: shapes, activations, loss and regularisation by noise.

    Parameters
    ----------
    layers_dim : tuple of int
        Number of inputs, of the units of every hidden layer, and of outputs.
    activations : tuple of str
        Names of the activations, one a layer.
    dtype : numpy.dtype
        Data type of the parameters and of all computation, float32 or float64.
    loss : Loss
    batch_norm : bool
        True normalises the sums of the hidden layers over the batch.
    dropout : tuple of float
        Share of every layer's inputs that a training drops; empty for none.
    """

    layers_dim: tuple[int, ...]
    activations: tuple[str, ...]
    dtype: np.dtype
    loss: Loss = SoftmaxCrossEntropy()
    batch_norm: bool = False
    dropout: tuple[float, ...] = ()

    @classmethod
    def create(
        cls,
        layers_dim: Iterable[int],
        activation: str | Sequence[str] = "tanh",
        output_activation: str = "tanh",
        dtype: Any = np.float64,
        loss: Any = "softmax_cross_entropy",
        batch_norm: bool = False,
        dropout: float | Sequence[float] = 0.0,
    ) -> Network:
        """Check what a user asks for, and return its description.

        Raises
        ------
        ValueError
            If there are fewer than two layers, a layer is below 1, an activation, a loss or a dtype is not
            known, a list has another length, or a rate of dropout is not from 0 up to 1.
        TypeError
            If a layer size is no integer.
        MemoryError
            If the memory does not hold the parameters.
        """
        try:
            dims = tuple(operator.index(size) for size in layers_dim)
        except TypeError:
            raise TypeError(
                f"layers_dim must be a sequence of integers such as [2, 3, 2], got {shown(layers_dim)}"
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
        n_hidden = len(dims) - 2
        hidden = [activation] * n_hidden if isinstance(activation, str) else activation
        if not isinstance(hidden, Sequence) or len(hidden) != n_hidden:
            raise ValueError(
                f"activation must be one name or a list of one for each of the {n_hidden} hidden layers, "
                f"got {shown(activation)}"
            )
        for name in (activation,) if isinstance(activation, str) else hidden:
            check_choice(name, "activation", ACTIVATIONS)
        check_choice(output_activation, "output_activation", ACTIVATIONS)
        try:
            resolved = np.dtype(dtype)
        except (TypeError, ValueError):
            raise ValueError(f"dtype must be float32 or float64, got {shown(dtype)}") from None
        if resolved not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ValueError(f"dtype must be float32 or float64, got {resolved}")
        if not isinstance(batch_norm, bool | np.bool_):
            raise ValueError(f"batch_norm must be True or False, got {shown(batch_norm)}")
        network = cls(
            dims, (*hidden, output_activation), resolved, resolve_loss(loss), bool(batch_norm),
            _dropout_rates(dropout, n_hidden),
        )  # fmt: skip
        n_bytes = network.n_parameters * resolved.itemsize
        if n_bytes > LARGE_BYTES:
            check_memory(
                n_bytes, f"a network with the layers {shown(list(dims))} has parameters of",
                "give it fewer or narrower layers",
            )  # fmt: skip
        return network

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields alone: the version that loads them makes layouts of its own."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def n_inputs(self) -> int:
        """Number of inputs."""
        return self.layers_dim[0]

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return self.layers_dim[-1]

    @functools.cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of every layer."""
        return tuple(zip(self.layers_dim[:-1], self.layers_dim[1:], strict=True))

    # --- the flat vectors: weights first, filled up to whole vectors, then all else ------------------

    def _whole(self, size: int) -> int:
        """Return `size` rounded up to whole vectors."""
        lanes = ALIGNMENT // self.dtype.itemsize
        return -(-size // lanes) * lanes

    @functools.cached_property
    def layers(self) -> tuple[LayerOffsets, ...]:
        """Sizes and offsets of every layer."""
        layers = []
        weights, others, statistics = 0, self.n_weights, 0
        for position, (n_in, n_out) in enumerate(self.shapes):
            normalised = self.batch_norm and position < len(self.shapes) - 1
            biases, scales, shifts = (others + k * n_out for k in range(3))
            if normalised:
                layers.append(LayerOffsets(n_in, n_out, weights, biases, scales, shifts, statistics))
                statistics += 3 * n_out  # running mean and variance, and the last inverse deviation
                others += 3 * n_out
            else:
                layers.append(LayerOffsets(n_in, n_out, weights, biases, -1, -1, -1))
                others += n_out
            weights += n_in * n_out
        return tuple(layers)

    @functools.cached_property
    def n_weights(self) -> int:
        """Length of the prefix of the flat vector that holds weights and is regularised."""
        return self._whole(sum(n_in * n_out for n_in, n_out in self.shapes))

    @functools.cached_property
    def n_parameters(self) -> int:
        """Length of the flat vector; what belongs to no layer is 0 in it and stays 0."""
        n_others = sum(
            n_out * (3 if layer.scales >= 0 else 1) for layer in self.layers for n_out in [layer.n_out]
        )
        return self.n_weights + self._whole(n_others)

    @functools.cached_property
    def n_statistics(self) -> int:
        """Length of the flat vector of running statistics."""
        return sum(3 * layer.n_out for layer in self.layers if layer.statistics >= 0)

    def weights(self, parameters: Array) -> list[Array]:
        """Return views (n_in, n_out) of the weights in the flat vector."""
        return [
            parameters[layer.weights : layer.weights + layer.n_in * layer.n_out].reshape(
                layer.n_in, layer.n_out
            )
            for layer in self.layers
        ]

    def biases(self, parameters: Array) -> list[Array]:
        """Return views (1, n_out) of the biases in the flat vector."""
        return [_row(parameters, layer.biases, layer.n_out) for layer in self.layers]

    def scales(self, parameters: Array) -> list[Array | None]:
        """Return views (1, n_out) of the scales of the normalised layers, None for the others."""
        return [_row(parameters, layer.scales, layer.n_out) for layer in self.layers]

    def shifts(self, parameters: Array) -> list[Array | None]:
        """Return views (1, n_out) of the shifts of the normalised layers, None for the others."""
        return [_row(parameters, layer.shifts, layer.n_out) for layer in self.layers]

    def running(self, statistics: Array) -> list[Array | None]:
        """Return views (2, n_out) of the running means and variances, None for the other layers."""
        return [
            None if layer.statistics < 0 else statistics[layer.statistics :][: 2 * layer.n_out].reshape(2, -1)
            for layer in self.layers
        ]

    def draw_parameters(self, random: Any, init: str = "tutorial") -> Array:
        """Return parameters that `init`, one of `INITIALIZERS`, draws layer by layer.

        `random` is a ``RandomState`` or the module ``numpy.random``, whose seed reproduces published runs.
        Scales are 1 and shifts 0.
        """
        check_choice(init, "init", INITIALIZERS)
        parameters = self.neutral_parameters()
        for W, b in zip(self.weights(parameters), self.biases(parameters), strict=True):
            W[...], b[...] = draw_layer(init, random, *W.shape)
        return parameters

    def neutral_parameters(self) -> Array:
        """Return parameters with weights, biases and shifts 0, and scales 1."""
        parameters = aligned_empty(self.n_parameters, self.dtype)
        parameters[...] = 0
        for scale in self.scales(parameters):
            if scale is not None:
                scale[...] = 1
        return parameters

    def converted(self, other: Network, parameters: Array) -> Array:
        """Return the parameters of `other`, a network of another dtype, converted to this network's."""
        result = aligned_empty(self.n_parameters, self.dtype)
        result[...] = 0
        for part in (Network.weights, Network.biases, Network.scales, Network.shifts):
            for target, source in zip(part(self, result), part(other, parameters), strict=True):
                if target is not None:
                    target[...] = source
        return result

    def initial_statistics(self) -> Array:
        """Return statistics with running means 0 and variances 1."""
        statistics = aligned_empty(self.n_statistics, self.dtype)
        statistics[...] = 0
        for running in self.running(statistics):
            if running is not None:
                running[1] = 1
        return statistics

    def folded(self, parameters: Array, statistics: Array) -> Array:
        """Return the parameters of the network without batch normalisation that predicts the same.

        Normalisation by running statistics, scales and shifts is affine: weights and biases take it in.
        """
        if not self.batch_norm:
            return parameters
        result = parameters.copy()
        for W, b, scale, shift, running in zip(
            self.weights(result), self.biases(result), self.scales(parameters), self.shifts(parameters),
            self.running(statistics), strict=True,
        ):  # fmt: skip
            if scale is not None and shift is not None and running is not None:
                factor = scale / np.sqrt(running[1] + self.dtype.type(EPS))
                with np.errstate(over="ignore", invalid="ignore"):  # predictions say so if scores overflow
                    W *= factor
                    b[...] = (b - running[0]) * factor + shift
        return result

    # --- what the kernels need on top -----------------------------------------------------------

    @functools.cached_property
    def kernel_activations(self) -> tuple[str, ...]:
        """Activations in use, sorted: the codes in the plan are indices among them."""
        return tuple(sorted(set(self.activations)))

    @functools.cached_property
    def layout(self) -> Layout:
        """Layout for predictions."""
        return self._lay_out(training=False)

    @functools.cached_property
    def training_layout(self) -> Layout:
        """Layout for training, with what the backward pass needs."""
        return self._lay_out(training=True)

    def _lay_out(self, training: bool) -> Layout:
        rows: list[tuple[int, ...]] = []
        rates = self.dropout if training and self.dropout else (0.0,) * len(self.layers)
        n_rows = 0

        def take(count: int, needed: bool, instead: int = -1) -> int:
            """Return the first of `count` new rows of the workspace if they are needed, else `instead`."""
            nonlocal n_rows
            if not needed:
                return instead
            n_rows += count
            return n_rows - count

        source = take(self.n_inputs, rates[0] > 0)
        widest = max(self.layers_dim[1:])
        for position, layer in enumerate(self.layers):
            n_out, name = layer.n_out, self.activations[position]
            normalised = training and layer.statistics >= 0
            units = take(n_out, True)
            sums = take(n_out, training and ACTIVATIONS[name].needs_sums, units)
            kept = take(n_out, normalised)
            # Only the derivatives of a layer and of the one below exist at a time: two buffers are enough.
            dunits = widest * (position % 2)
            rows.append(
                (
                    layer.n_in, n_out, layer.weights, layer.biases, layer.scales, layer.shifts,
                    layer.statistics if training else -1, source, sums, kept, units, dunits,
                    self.kernel_activations.index(name),
                )
            )  # fmt: skip
            dropped = position + 1 < len(self.layers) and rates[position + 1] > 0
            source = take(n_out, dropped, units)
        return Layout(np.array(rows, np.int64), n_rows, 2 * widest)

    @functools.cached_property
    def widest_tile(self) -> int:
        """Largest width of a tile in predictions, in samples."""
        return self._widest(LEAST_WIDTH)

    @functools.cached_property
    def widest_training_tile(self) -> int:
        """Largest width of a tile in training, in samples."""
        return self._widest(LEAST_TRAINING_WIDTH)

    def _widest(self, least: int) -> int:
        layout = self.training_layout
        row_bytes = (self.n_inputs + layout.n_units + layout.n_dunits) * self.dtype.itemsize
        width = min(max(TILE_BYTES // row_bytes, least), MOST_WIDTH)
        return max(1, min(width, int(TILE_OPERATIONS / (6 * self.n_parameters))))

    def tile_width(self, n_samples: int, training: bool = False) -> int:
        """Return the width of a tile: whole cache lines, with all tiles about equally full."""
        n_tiles = -(-n_samples // (self.widest_training_tile if training else self.widest_tile))
        return self._whole(-(-n_samples // n_tiles))

    def whole_tile(self, n_samples: int) -> int:
        """Return the width of one tile that holds all samples."""
        return self._whole(n_samples)


def _row(parameters: Array, offset: int, size: int) -> Any:
    return None if offset < 0 else parameters[offset : offset + size].reshape(1, size)


def _dropout_rates(dropout: Any, n_hidden: int) -> tuple[float, ...]:
    """Return rates for the inputs of every layer; a number is for the hidden layers, a list for all."""
    if isinstance(dropout, np.ndarray) and not dropout.ndim:
        dropout = dropout[()]
    if isinstance(dropout, Sequence | np.ndarray) and not isinstance(dropout, str):
        if len(dropout) != n_hidden + 1:
            raise ValueError(
                f"dropout must be one rate, for the hidden layers, or a list of {n_hidden + 1}: one for the "
                f"inputs and one for each of the {n_hidden} hidden layers, got {shown(dropout)}"
            )
        rates = [
            check_number(rate, f"dropout[{k}]", 0.0, 1.0, exclusive_end=True)
            for k, rate in enumerate(dropout)
        ]
    else:
        rates = [0.0] + [check_number(dropout, "dropout", 0.0, 1.0, exclusive_end=True)] * n_hidden
    return tuple(rates) if any(rates) else ()
