"""The forward and the backward pass as separate calls, and their arguments."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from ..compiler.entry import FunctionPointer
from ..compiler.kinds import BOOL, INT64, UINT64, Array, Struct, get_kinds
from .formulas import Change, backward_table, forward_table, update_pointer
from .prediction import INDICES, PLAN, REALS

# What a backward pass computes beside the derivatives by the units: no gradient, the gradient, or the
# gradient of every sample.
NO_GRADIENT, SUM, EACH = range(3)
# What a step finds not finite, by its result.
NON_FINITE = ("", "a parameter", "the state of the optimizer")


class Passes(NamedTuple):
    """Arrays that a forward pass of N samples keeps for the backward passes, and workspaces, all flat.

    width: T, the number of samples of a tile; samples: X in tiles (I, T), or (N, I) by rows; units: of all
    tiles; dunits, dinputs and scratch: of one tile; weights: 1 for each sample, 0 in the padding; statistics,
    dropout: fields of a `PassContext`; seed: of the dropout masks; step (1,): number of the last forward
    pass, -1 before the first; checks: True to refuse NaN and infinity.
    """

    width: int
    n_units: int
    samples: np.ndarray
    units: np.ndarray
    dunits: np.ndarray
    dinputs: np.ndarray
    scratch: np.ndarray
    weights: np.ndarray
    statistics: np.ndarray
    dropout: np.ndarray
    seed: np.uint64
    step: np.ndarray
    checks: bool


def passes_kind(dtype: np.dtype) -> Struct:
    """Return the kind of `Passes`."""
    others = {"width": INT64, "n_units": INT64, "dropout": REALS, "seed": UINT64}
    others |= {"step": INDICES, "checks": BOOL}
    return Struct(Passes, dict.fromkeys(Passes._fields, get_kinds(dtype).flat) | others)


@functools.cache
def forward(by_rows: bool, dtype: np.dtype) -> FunctionPointer:
    """Return the pointer to the kernel `passes.forward`."""
    of = get_kinds(dtype)
    kinds = {
        "activations": forward_table(("tanh",), dtype).kind,
        "plan": PLAN,
        "parameters": Array(of.scalar, 1, readonly=True),
        "X": of.inputs,
        "passes": passes_kind(dtype),
        "S": of.matrix,
    }
    return FunctionPointer("passes.forward", (by_rows,), kinds, BOOL)


@functools.cache
def backward(by_rows: bool, wanted: int, dtype: np.dtype) -> FunctionPointer:
    """Return the pointer to the kernel `passes.backward`."""
    of = get_kinds(dtype)
    kinds = {
        "activations": backward_table(("tanh",), dtype).kind,
        "plan": PLAN,
        "parameters": Array(of.scalar, 1, readonly=True),
        "dS": of.inputs,
        "passes": passes_kind(dtype),
        "tiles": Struct(tuple, {"begin": INT64, "end": INT64}),
        "gradient": of.flat,
        "adds": BOOL,
        "dX": of.matrix,
    }
    return FunctionPointer("passes.backward", (by_rows, wanted), kinds, BOOL)


@functools.cache
def step(dtype: np.dtype) -> FunctionPointer:
    """Return the pointer to the kernel `passes.step`."""
    of = get_kinds(dtype)
    change = dict.fromkeys(Change._fields, of.scalar) | {"state": of.matrix, "coefficients": of.matrix}
    kinds = {
        "update": update_pointer("sgd", False, dtype).kind,
        "gradient": of.inputs,
        "parameters": of.flat,
        "n_weights": INT64,
        "change": Struct(Change, change),
        "counts": INDICES,
        "saved": of.matrix,
    }
    return FunctionPointer("passes.step", None, kinds, INT64)
