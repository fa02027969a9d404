"""Networks in files: the description as JSON, and flat vectors as arrays layer by layer.

A file holds ``layer.0.weight`` (n_in, n_out), ``layer.0.bias`` (n_out,), with batch normalisation also
``layer.0.scale``, ``.shift``, ``.running_mean`` and ``.running_variance`` (n_out,), and the same for further
vectors under names that begin otherwise. It never holds a flat vector, whose layout may change.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..losses import Loss
from ..network.description import Network, aligned_empty
from .records import Reader, Writer

__all__ = [
    "describe_network",
    "read_parameters",
    "read_rows",
    "read_statistics",
    "restore_network",
    "write_parameters",
    "write_rows",
    "write_statistics",
]

Array = NDArray[Any]


def describe_network(network: Network, writer: Writer) -> dict[str, Any]:
    """Return the description of a network as JSON."""
    return {
        "layers_dim": list(network.layers_dim),
        "activations": list(network.activations),
        "dtype": network.dtype.name,
        "loss": writer.value(network.loss, "loss"),
        "batch_norm": network.batch_norm,
        "dropout": list(network.dropout),
    }


def restore_network(description: Any, reader: Reader) -> Network:
    """Return the network of a description, whose weights the file must hold.

    Raises
    ------
    ValueError
        If an entry is missing or out of range, or an array has another shape than the description says.
    """
    if not isinstance(description, dict):
        raise ValueError("the description of the network is not a JSON object")
    sizes, activations = description.get("layers_dim"), description.get("activations")
    dtype, dropout = description.get("dtype"), description.get("dropout")
    if not (isinstance(sizes, list) and all(type(size) is int and size > 0 for size in sizes)):
        raise ValueError("layers_dim is not a list of layer sizes")
    if not (isinstance(activations, list) and 0 < len(activations) == len(sizes) - 1):
        raise ValueError("activations is not a list with a name for every layer")
    if dtype not in ("float32", "float64") or not isinstance(dropout, list):
        raise ValueError("dtype or dropout of the network is missing or unknown")
    loss = reader.value(description.get("loss"))
    if not isinstance(loss, Loss):
        raise ValueError("the network has no loss")
    # Compare with the arrays before anything is allocated by the layer sizes.
    for k, shape in enumerate(itertools.pairwise(sizes)):
        if reader.shape(f"layer.{k}.weight") != shape:
            raise ValueError(f"the weights of layer {k} have another shape than layers_dim says")
    *hidden, output = activations
    return Network.create(
        sizes, hidden, output, dtype, loss, description.get("batch_norm", False), dropout or 0.0
    )


def _named_arrays(network: Network, vector: Array, prefix: str) -> Iterator[tuple[str, Array]]:
    """Yield the names and views of the arrays in a flat parameter vector."""
    arrays: dict[str, Any] = {
        "weight": network.weights(vector),
        "bias": network.biases(vector),
        "scale": network.scales(vector),
        "shift": network.shifts(vector),
    }
    for k in range(len(network.shapes)):
        for kind, views in arrays.items():
            view = views[k]
            if view is not None:
                yield f"{prefix}.{k}.{kind}", view if kind == "weight" else view[0]


def _running(network: Network, statistics: Array, prefix: str) -> Iterator[tuple[str, Array]]:
    """Yield the names and views of the arrays in the flat vector of running statistics."""
    for k, running in enumerate(network.running(statistics)):
        if running is not None:
            yield f"{prefix}.{k}.running_mean", running[0]
            yield f"{prefix}.{k}.running_variance", running[1]


def write_parameters(network: Network, parameters: Array, prefix: str, writer: Writer) -> None:
    """Add the arrays of a flat parameter vector (P,)."""
    for name, view in _named_arrays(network, parameters, prefix):
        writer.tensor(name, view)


def write_statistics(network: Network, statistics: Array, prefix: str, writer: Writer) -> None:
    """Add the arrays of the flat vector of running statistics."""
    for name, view in _running(network, statistics, prefix):
        writer.tensor(name, view)


def write_rows(network: Network, rows: Iterable[Array], prefix: str, writer: Writer) -> None:
    """Add the arrays of several vectors (P,) in the layout of the parameters, as ``prefix.0`` and so on."""
    for k, row in enumerate(rows):
        write_parameters(network, row, f"{prefix}.{k}", writer)


def read_parameters(network: Network, prefix: str, reader: Reader) -> Array:
    """Read the arrays named ``prefix....`` into a new flat parameter vector (P,).

    Raises
    ------
    ValueError
        If the file lacks an array, or its shape or dtype differs.
    """
    parameters = aligned_empty(network.n_parameters, network.dtype)
    _fill_parameters(network, parameters, prefix, reader, 0.0)
    return parameters


def _fill_parameters(network: Network, vector: Array, prefix: str, reader: Reader, initial: float) -> None:
    """Fill a flat parameter vector from the arrays of a file; padding becomes `initial`."""
    for name, view in _named_arrays(network, vector, prefix):
        reader.read_into(name, view)
    for padding in network.padding:
        vector[padding] = initial


def read_statistics(network: Network, prefix: str, reader: Reader) -> Array:
    """Return the flat vector of running statistics; raise ValueError for missing or unfit arrays."""
    statistics = network.initial_statistics()
    for name, view in _running(network, statistics, prefix):
        reader.read_into(name, view)
    return statistics


def read_rows(
    network: Network,
    initial: tuple[float, ...],
    prefix: str,
    reader: Reader,
    dtype: np.dtype | None = None,
) -> Array:
    """Return several vectors (S, P) in the layout of the parameters.

    Parameters
    ----------
    network : Network
        Description of the network.
    initial : tuple of S floats
        Value of each vector where the layout has padding.
    prefix : str
        Prefix of the names of the arrays.
    reader : Reader
        Source of the arrays.
    dtype : numpy.dtype, optional
        Data type of the vectors; by default that of the network.

    Raises
    ------
    ValueError
        If the file lacks an array, or its shape or dtype differs.
    """
    size = network.n_parameters
    for k in range(len(initial)):
        for layer, shape in enumerate(network.shapes):  # compare before the allocation
            if reader.shape(f"{prefix}.{k}.{layer}.weight") != shape:
                raise ValueError(f"the array '{prefix}.{k}.{layer}.weight' does not have the shape {shape}")
    rows = aligned_empty(len(initial) * size, dtype or network.dtype).reshape(len(initial), size)
    for k, (row, value) in enumerate(zip(rows, initial, strict=True)):
        _fill_parameters(network, row, f"{prefix}.{k}", reader, value)
    return rows
