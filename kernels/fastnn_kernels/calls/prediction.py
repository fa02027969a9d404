"""Networks as the kernels see them, and the kernels of predictions and losses."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from ..compiler.entry import FunctionPointer, PointerTable
from ..compiler.kinds import BOOL, FLOAT64, INT32, INT64, NONE, Array, Kind, Struct, get_kinds
from .formulas import forward_pointer, forward_table, value_pointer

# Columns of the plan, a table with a row for each layer. INPUTS and OUTPUTS are the sizes of a layer;
# ACTIVATION is an index into the table of pointers. WEIGHTS, BIASES, SCALES and SHIFTS are offsets into the
# parameters, and STATISTICS into the statistics, in elements. The others are offsets into the workspaces, in
# rows of T elements: SOURCE of the layer's inputs (-1 for the tile of samples), SUMS of the activation's
# inputs, NORMALISED of the normalised sums, UNITS of the activation's outputs, DUNITS of the derivatives by
# the outputs. PACKED is an offset into a vector of packed weights (`network.pack_weights`), or -1 if the
# layer's weights are not packed.
N_COLUMNS = 14
(
    INPUTS,
    OUTPUTS,
    WEIGHTS,
    BIASES,
    SCALES,
    SHIFTS,
    STATISTICS,
    SOURCE,
    SUMS,
    NORMALISED,
    UNITS,
    DUNITS,
    ACTIVATION,
    PACKED,
) = range(N_COLUMNS)

# Kinds of plans, of lists of indices, and of float64 vectors.
PLAN, INDICES, REALS = Array(INT64, 2), Array(INT64, 1), Array(FLOAT64, 1)


class PackedNetwork(NamedTuple):
    """A network as predictions take it.

    activations: a `formulas.forward_table`; plan (L, `N_COLUMNS`); parameters (P,); packed, flat: the packed
    weights of the plan, or any array if it has none.
    """

    activations: PointerTable
    plan: np.ndarray
    parameters: np.ndarray
    packed: np.ndarray


class SparseTable(NamedTuple):
    """A CSR matrix, and the rows of it that are samples.

    values (Q,): the stored values, row by row; columns (Q,) int32: their features; starts, int64: the index
    in `values` at which each row begins, and Q; rows (N,) int64: the row of each sample.
    """

    values: np.ndarray
    columns: np.ndarray
    starts: np.ndarray
    rows: np.ndarray


def table_kind(dtype: np.dtype) -> Struct:
    items = get_kinds(dtype).scalar, INT32, INT64
    read = (Array(item, 1, readonly=True) for item in items)
    return Struct(SparseTable, dict(zip(SparseTable._fields, (*read, INDICES), strict=True)))


def _network_kinds(sparse: bool, dtype: np.dtype) -> dict[str, Kind]:
    """Return the kinds of a `PackedNetwork` and of samples, by the names of the arguments."""
    of = get_kinds(dtype)
    flat = Array(of.scalar, 1, readonly=True)
    kinds = forward_table(("tanh",), dtype).kind, PLAN, flat, flat
    network = Struct(PackedNetwork, dict(zip(PackedNetwork._fields, kinds, strict=True)))
    return {"network": network, "X": table_kind(dtype) if sparse else of.inputs}


@functools.cache
def outputs(sparse: bool, dtype: np.dtype) -> FunctionPointer:
    of = get_kinds(dtype)
    kinds = {
        **_network_kinds(sparse, dtype),
        "transform": forward_pointer("identity", dtype).kind,
        "tile": of.flat,
        "units": of.flat,
        "P": of.matrix,
    }
    return FunctionPointer("predict.outputs", (sparse,), kinds, BOOL)


@functools.cache
def predict(sparse: bool, dtype: np.dtype) -> FunctionPointer:
    of = get_kinds(dtype)
    kinds = {**_network_kinds(sparse, dtype), "tile": of.flat, "units": of.flat, "classes": INDICES}
    return FunctionPointer("predict.predict", (sparse,), kinds, BOOL)


@functools.cache
def loss(sparse: bool, dtype: np.dtype) -> FunctionPointer:
    of = get_kinds(dtype)
    kinds = {
        **_network_kinds(sparse, dtype),
        "value": value_pointer("squared_error", dtype).kind,
        "y": of.inputs,
        "weights": of.flat,
        "parameter": FLOAT64,
        **dict.fromkeys(("tile", "targets", "units"), of.flat),
    }
    return FunctionPointer("predict.loss", (sparse,), kinds, FLOAT64)


@functools.cache
def plan_packing() -> FunctionPointer:
    return FunctionPointer(
        "network.plan_packing", None, {"plan": PLAN, "itemsize": INT64, "sparse": BOOL}, INT64
    )


@functools.cache
def pack_weights(dtype: np.dtype) -> FunctionPointer:
    of = get_kinds(dtype)
    kinds = {"plan": PLAN, "parameters": Array(of.scalar, 1, readonly=True), "packed": of.flat}
    return FunctionPointer("network.pack_weights", None, kinds, NONE)
