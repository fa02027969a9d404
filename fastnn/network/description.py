"""Network: immutable description of a network, with the layouts of its parameter vector and workspaces.

Kernels and reference obtain from a `Network` the widths of the layers, their activations, the loss, and the
offsets of each layer in the flat parameter vector. A `Network` holds no parameters.
"""

from __future__ import annotations

import functools
import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastnn_kernels.compiler.kinds import get_address

from ..losses import LOSSES, Loss, SoftmaxCrossEntropy
from ..reference.layer import ACTIVATIONS
from ..reference.norm import EPS
from ..system.generators import Random
from ..system.memory import check_memory
from ..system.validation import Array as Array
from ..system.validation import (
    check_choice,
    check_dtype,
    check_flag,
    check_layout,
    check_number,
    resolve,
    short_repr,
)
from .initialization import INITIALIZERS

# Bytes of a cache line. A row of a tile fills whole cache lines, and so whole vectors on every processor.
ALIGNMENT = 64


def allocate_empty(size: int, dtype: DTypeLike) -> Array:
    """Return an uninitialised array (size,) that begins at a cache line, so that no vector straddles two."""
    return _allocate(np.empty, size, dtype)


def allocate_zeros(size: int, dtype: DTypeLike) -> Array:
    """Return an array (size,) of zeros that begins at a cache line."""
    return _allocate(np.zeros, size, dtype)


def _allocate(create: Callable[..., Array], size: int, dtype: DTypeLike) -> Array:
    itemsize = np.dtype(dtype).itemsize
    buffer = create(size + ALIGNMENT // itemsize, dtype)
    first = -get_address(buffer) % ALIGNMENT // itemsize
    return buffer[first : first + size]


class LayerOffsets(NamedTuple):
    """Sizes of a layer, and offsets of its arrays in the flat vectors; -1 for an absent array."""

    n_in: int
    n_out: int
    weights: int
    biases: int
    scales: int  # batch normalisation: scales, shifts and running statistics
    shifts: int
    statistics: int


class Layout(NamedTuple):
    """Layout of a network in the kernels' workspaces."""

    plan: NDArray[np.int64]  # a row per layer; ``fastnn_kernels/network.py`` names the columns
    n_units: int  # rows of the workspace for the layers' outputs
    n_dunits: int  # rows of the workspace for the derivatives


@dataclass(frozen=True)
class Network:
    """Description of a multilayer network: sizes, activations, loss, batch normalisation and dropout."""

    layers_dim: tuple[int, ...]  # number of inputs, of the units of every hidden layer, and of outputs
    activations: tuple[str, ...]  # names, one per layer
    dtype: np.dtype  # of the parameters and of all computation, float32 or float64
    loss: Loss = SoftmaxCrossEntropy()  # which also chooses the output function
    batch_norm: bool = False  # True normalises the sums of the hidden layers over the batch
    dropout: tuple[float, ...] = ()  # rates of the inputs of every layer; empty without dropout

    @classmethod
    def create(
        cls,
        layers_dim: Iterable[int],
        activation: str | Sequence[str] = "tanh",
        output_activation: str = "tanh",
        dtype: DTypeLike = np.float64,
        loss: str | Loss = "softmax_cross_entropy",
        batch_norm: bool = False,
        dropout: float | Sequence[float] = 0.0,
    ) -> Network:
        """Check the arguments of `Model`, whose docstring has them and the errors; return the network."""
        try:
            sizes = tuple(layers_dim)
            if any(isinstance(size, bool) for size in sizes):
                raise TypeError
            dims = tuple(operator.index(size) for size in sizes)
        except TypeError:
            raise TypeError(
                f"layers_dim must be a sequence of integers such as [2, 3, 2], got {short_repr(layers_dim)}"
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
        if not isinstance(hidden, Sequence) or len(hidden) != n_hidden:  # type: ignore[redundant-expr]
            raise ValueError(
                "activation must be a name such as 'tanh', or a list with one name for each hidden layer "
                f"({n_hidden}), got {short_repr(activation)}"
            )
        for name in (activation,) if isinstance(activation, str) else hidden:
            check_choice(name, "activation", ACTIVATIONS)
        check_choice(output_activation, "output_activation", ACTIVATIONS)
        loss = resolve(loss, "loss", Loss, LOSSES)
        loss.check_formulas()
        return _share_network(
            dims,
            (*hidden, output_activation),
            check_dtype(dtype),
            loss,
            check_flag(batch_norm, "batch_norm"),
            _check_dropout(dropout, n_hidden),
        )

    def _get_saved_state(self, training: bool = True) -> dict[str, Any]:
        """Return the arguments of `create`, for files and pickles: layouts are computed anew."""
        *hidden, output = self.activations
        return {
            "layers_dim": list(self.layers_dim),
            "activation": hidden,
            "output_activation": output,
            "dtype": self.dtype.name,
            "loss": self.loss,
            "batch_norm": self.batch_norm,
            "dropout": list(self.dropout) or 0.0,
        }

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Network:
        return cls.create(**state)

    def __reduce__(self) -> tuple[Any, ...]:
        return Network._from_state, (self._get_saved_state(),)

    def check_vectors(self, parameters: object, statistics: object) -> tuple[Array, Array]:
        """Return the flat vectors of a saved state, checked, in a layout that kernels can read."""
        return (
            check_layout(parameters, (self.n_parameters,), self.dtype, "parameters"),
            check_layout(statistics, (self.n_statistics,), self.dtype, "running statistics"),
        )

    @property
    def n_inputs(self) -> int:
        """Number of inputs."""
        return self.layers_dim[0]

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return self.layers_dim[-1]

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Shapes (inputs, outputs) of the layers."""
        return tuple(zip(self.layers_dim[:-1], self.layers_dim[1:], strict=True))

    # --- the flat vectors: weights first, padded to whole vectors, then all other parameters ----------

    def whole_tile(self, size: int) -> int:
        """Return `size` rounded up to the next width of a tile whose rows fill whole cache lines."""
        lanes = ALIGNMENT // self.dtype.itemsize
        return -(-size // lanes) * lanes

    @cached_property
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

    @cached_property
    def n_weights(self) -> int:
        """Length of the first part of the flat vector, the weights, which alone are regularised."""
        return self.whole_tile(sum(n_in * n_out for n_in, n_out in self.shapes))

    @cached_property
    def n_parameters(self) -> int:
        """Length P of the flat vector. Elements that belong to no layer are padding: they are and stay 0."""
        n_others = sum(layer.n_out * (3 if layer.scales >= 0 else 1) for layer in self.layers)
        return self.n_weights + self.whole_tile(n_others)

    @property
    def n_used_parameters(self) -> int:
        """Number of weights, biases, scales and shifts: the length of the flat vector without padding."""
        return sum(one.n_in * one.n_out + one.n_out * (3 if one.scales >= 0 else 1) for one in self.layers)

    @cached_property
    def operations(self) -> int:
        """FLOPs of a forward pass of one sample: 2 per weight."""
        return 2 * self.n_parameters

    @property
    def training_operations(self) -> int:
        """FLOPs of a training step on one sample: a backward pass takes twice as many as a forward pass."""
        return 3 * self.operations

    @cached_property
    def n_statistics(self) -> int:
        """Length of the flat vector of running statistics."""
        return sum(3 * layer.n_out for layer in self.layers if layer.statistics >= 0)

    def weights(self, parameters: Array) -> list[Array]:
        """Return views (n_in, n_out) of the weights in the flat vector."""
        return [_view(parameters, layer.weights, layer.n_in, layer.n_out) for layer in self.layers]

    def biases(self, parameters: Array) -> list[Array]:
        """Return views (1, n_out) of the biases in the flat vector."""
        return [_view(parameters, layer.biases, 1, layer.n_out) for layer in self.layers]

    def scales(self, parameters: Array) -> list[Array | None]:
        """Return views (1, n_out) of the scales of the normalised layers, None for the others."""
        return [_view(parameters, layer.scales, 1, layer.n_out) for layer in self.layers]

    def shifts(self, parameters: Array) -> list[Array | None]:
        """Return views (1, n_out) of the shifts of the normalised layers, None for the others."""
        return [_view(parameters, layer.shifts, 1, layer.n_out) for layer in self.layers]

    def running(self, statistics: Array) -> list[Array | None]:
        """Return views (2, n_out) of the running means and variances; None for layers without them."""
        return [_view(statistics, layer.statistics, 2, layer.n_out) for layer in self.layers]

    def compute_penalty(
        self, parameters: Array, reg_lambda: float, reduction: str, total_weight: float
    ) -> float:
        """Return the L2 penalty beside the mean loss of samples: in a summed loss all samples share it."""
        weights = parameters[: self.n_weights].astype(np.float64)
        penalty = 0.5 * reg_lambda * float(np.vdot(weights, weights))
        return penalty / total_weight if reduction == "sum" else penalty

    def draw_parameters(self, random: Random, init: str = "tutorial") -> Array:
        """Return initial parameters (P,) drawn layer by layer by the method `init`, a key of `INITIALIZERS`.

        `random` is a ``RandomState`` or the module ``numpy.random``. Scales are 1 and shifts 0.
        """
        draw_weights = INITIALIZERS[check_choice(init, "init", INITIALIZERS)]
        parameters = self.make_neutral_parameters()
        for W, b in zip(self.weights(parameters), self.biases(parameters), strict=True):
            W[...] = draw_weights(random, *W.shape)
            if init == "tutorial":  # all others leave the biases 0
                b[...] = random.randn(b.size)
        return parameters

    def make_neutral_parameters(self) -> Array:
        """Return parameters (P,) in which weights, biases and shifts are 0 and scales are 1.

        Raise MemoryError if they, and the arrays of float64 that they are drawn in, exceed the free memory.
        """
        # A layer is drawn in float64, and divided into a second array of float64.
        largest = max(n_in * n_out for n_in, n_out in self.shapes)
        n_bytes = self.n_parameters * self.dtype.itemsize + 16 * largest
        layers = short_repr(list(self.layers_dim))
        check_memory(n_bytes, f"a network with the layers {layers} takes", "give it fewer or narrower layers")
        parameters = allocate_zeros(self.n_parameters, self.dtype)
        for scale in self.scales(parameters):
            if scale is not None:
                scale[...] = 1
        return parameters

    def convert_parameters(self, other: Network, parameters: Array) -> Array:
        """Return parameters of `other`, the same network with another dtype, converted to this layout."""
        result = allocate_zeros(self.n_parameters, self.dtype)
        for arrays_of in (Network.weights, Network.biases, Network.scales, Network.shifts):
            for target, source in zip(arrays_of(self, result), arrays_of(other, parameters), strict=True):
                if target is not None:
                    target[...] = source
        return result

    def make_statistics(self) -> Array:
        """Return running statistics in which means are 0 and variances 1."""
        statistics = allocate_zeros(self.n_statistics, self.dtype)
        for running in self.running(statistics):
            if running is not None:
                running[1] = 1
        return statistics

    def fold_batch_norm(self, parameters: Array, statistics: Array) -> Array:
        """Return parameters with batch normalisation folded in: they predict the same without normalising.

        Normalisation by running statistics, scales and shifts is affine: weights and biases absorb it.
        Without batch normalisation, the result is `parameters` itself.
        """
        if not self.batch_norm:
            return parameters
        result = parameters.copy()
        for W, b, scale, shift, running in zip(
            self.weights(result),
            self.biases(result),
            self.scales(parameters),
            self.shifts(parameters),
            self.running(statistics),
            strict=True,
        ):
            if scale is not None and shift is not None and running is not None:
                factor = scale / np.sqrt(running[1] + self.dtype.type(EPS))
                with np.errstate(over="ignore", invalid="ignore"):  # predictions say so if scores overflow
                    W *= factor
                    b[...] = (b - running[0]) * factor + shift
        return result

    # --- layouts of the kernels' workspaces -----------------------------------------------------

    @cached_property
    def kernel_activations(self) -> tuple[str, ...]:
        """Names of the activations in use, sorted; the plan refers to them by index."""
        return tuple(sorted(set(self.activations)))

    @cached_property
    def prepared_calls(self) -> defaultdict[Any, list[Any]]:
        """Calls for predictions of few rows, which the compiled backend keeps from one to the next."""
        return defaultdict(list)

    @cached_property
    def layout(self) -> Layout:
        """Layout for predictions."""
        return self._lay_out(training=False)

    @cached_property
    def training_layout(self) -> Layout:
        """Layout for training, with the rows that the backward pass needs."""
        return self._lay_out(training=True)

    @cached_property
    def frozen_layout(self) -> Layout:
        """Layout for backward passes of the network that predicts, without dropout and normalisation."""
        return self._lay_out(training=False, backward=True)

    def _lay_out(self, training: bool, backward: bool = False) -> Layout:
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
            sums = take(n_out, (training or backward) and ACTIVATIONS[name].needs_sums, units)
            kept = take(n_out, normalised)
            # Backpropagation needs the derivatives of two adjacent layers at a time: two buffers are enough.
            dunits = widest * (position % 2)
            rows.append(
                (
                    *layer[:-1],
                    layer.statistics if training else -1,
                    source,
                    sums,
                    kept,
                    units,
                    dunits,
                    self.kernel_activations.index(name),
                    -1,
                )
            )
            dropped = position + 1 < len(self.layers) and rates[position + 1] > 0
            source = take(n_out, dropped, units)
        return Layout(np.array(rows, np.int64), n_rows, 2 * widest)


# Equal networks are one object, which computes layouts once.
_share_network = functools.lru_cache(maxsize=128)(Network)


def _view(vector: Array, offset: int, n_rows: int, size: int) -> Any:
    """Return a view (n_rows, size) of a flat vector, or None if the offset is -1."""
    return None if offset < 0 else vector[offset : offset + n_rows * size].reshape(n_rows, size)


def _check_dropout(dropout: Any, n_hidden: int) -> tuple[float, ...]:
    """Return the dropout rates of every layer's inputs; a single rate excludes the network's inputs."""
    if isinstance(dropout, np.ndarray) and not dropout.ndim:
        dropout = dropout[()]
    if isinstance(dropout, Sequence | np.ndarray) and not isinstance(dropout, str):
        if len(dropout) != n_hidden + 1:
            raise ValueError(
                f"dropout must be one rate, for the hidden layers, or a list of {n_hidden + 1}: one for the "
                f"inputs and one for every hidden layer, {n_hidden} here, got {short_repr(dropout)}"
            )
        rates = [
            check_number(rate, f"dropout[{k}]", 0.0, 1.0, exclusive_end=True)
            for k, rate in enumerate(dropout)
        ]
    else:
        rates = [0.0] + [check_number(dropout, "dropout", 0.0, 1.0, exclusive_end=True)] * n_hidden
    return tuple(rates) if any(rates) else ()
