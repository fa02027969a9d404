"""Pointers to the formulas that users choose by name: activations, outputs, losses and update rules."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from ..compiler.entry import FunctionPointer, PointerTable
from ..compiler.kinds import BOOL, FLOAT64, INT64, NONE, Struct, get_kinds


class Form(NamedTuple):
    """An affine form for each value and cell: four arrays (J, T).

    Over a cell, a value is ``centre + dx slope_x + dy slope_y``, plus or minus `radius`, for dx and dy from
    -1 to 1.
    """

    centre: np.ndarray
    slope_x: np.ndarray
    slope_y: np.ndarray
    radius: np.ndarray


def form_kind(dtype: np.dtype) -> Struct:
    """Return the kind of a `Form`."""
    return Struct(Form, dict.fromkeys(Form._fields, get_kinds(dtype).matrix))


@functools.cache
def forward_table(names: tuple[str, ...], dtype: np.dtype) -> PointerTable:
    """Return the table of pointers to the kernel `layer.activation_forward` of each name, in order."""
    of = get_kinds(dtype)
    kinds = {"Z": of.inputs, "A": of.matrix}
    return PointerTable([FunctionPointer("layer.activation_forward", (name,), kinds, NONE) for name in names])


@functools.cache
def backward_table(names: tuple[str, ...], dtype: np.dtype) -> PointerTable:
    """Return the table of pointers to the kernel `layer.activation_backward` of each name, in order."""
    of = get_kinds(dtype)
    kinds = {"Z": of.inputs, "A": of.inputs, "dA": of.inputs, "dZ": of.matrix}
    return PointerTable(
        [FunctionPointer("layer.activation_backward", (name,), kinds, NONE) for name in names]
    )


@functools.cache
def bounds_table(names: tuple[str, ...], dtype: np.dtype) -> PointerTable:
    """Return the table of pointers to the kernel `bound.activation_bounds` of each name, in order."""
    of = get_kinds(dtype)
    roundings = {"layer_rounding": of.scalar, "next_rounding": of.scalar}
    kinds = {"form": form_kind(dtype), "b": of.inputs, **roundings}
    return PointerTable([FunctionPointer("bound.activation_bounds", (name,), kinds, NONE) for name in names])


@functools.cache
def forward_pointer(name: str, dtype: np.dtype) -> FunctionPointer:
    """Return a pointer to the kernel `output.output_forward` of this name."""
    of = get_kinds(dtype)
    return FunctionPointer("output.output_forward", (name,), {"S": of.inputs, "P": of.matrix}, NONE)


# The operations (`vectors/recorded.py`) of a loss whose values and slopes are given as scores and targets.
GIVEN_LOSS = (("positive", 0),), (("positive", 1),)


@functools.cache
def value_pointer(name: str | tuple, dtype: np.dtype) -> FunctionPointer:
    """Return a pointer to the kernel `loss.loss_value` of an argument of `loss.find_loss`."""
    of = get_kinds(dtype)
    kinds = {"S": of.inputs, "y": of.inputs, "weights": of.inputs, "parameter": FLOAT64}
    return FunctionPointer("loss.loss_value", (name,), kinds, FLOAT64)


@functools.cache
def backward_pointer(name: str | tuple, dtype: np.dtype) -> FunctionPointer:
    """Return a pointer to the kernel `loss.loss_backward` of an argument of `loss.find_loss`."""
    kinds = value_pointer(name, dtype).kinds | {"wanted": BOOL, "dS": get_kinds(dtype).matrix}
    return FunctionPointer("loss.loss_backward", (name,), kinds, FLOAT64)


class Change(NamedTuple):
    """Arguments of an `update` kernel: state (S, P), coefficients (C,), and scalars of the parameters' dtype.

    l2 and l1 belong to the weights; l2_others is the L2 factor of the other parameters.
    """

    state: np.ndarray
    coefficients: np.ndarray
    l2: float
    l2_others: float
    l1: float
    shrink: float


@functools.cache
def update_pointer(name: str, with_l1: bool, dtype: np.dtype, plain: bool = False) -> FunctionPointer:
    """Return a pointer to the kernel `update.update` of the optimizer `name`."""
    of = get_kinds(dtype)
    kinds = {
        "gradients": of.inputs,
        "parameters": of.flat,
        "state": of.matrix,
        "coefficients": of.flat,
        **dict.fromkeys(("l2", "l1", "shrink"), of.scalar),
        **dict.fromkeys(("begin", "end"), INT64),
    }
    return FunctionPointer("update.update", (name, with_l1, plain), kinds, BOOL)
