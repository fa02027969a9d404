"""The kernels of decision boundaries: classes and responses at pixels, and certified painting."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..compiler.entry import FunctionPointer, PointerTable
from ..compiler.kinds import INT64, NONE, Array, Kind, Struct, get_kinds, get_scalar
from .formulas import bounds_table, form_kind, forward_table
from .prediction import ACTIVATION, BIASES, INDICES, PLAN, WEIGHTS

# Indices into `counts` of the kernel `quadtree.subdivide`: numbers of squares that wait to be bounded, are
# won by a class, are undecided, and have been bounded.
WAITING, WON, UNDECIDED, BOUNDED = range(4)


class PackedCommittee(NamedTuple):
    """Networks with two inputs, in the form that the kernels take.

    activations: a table of pointers, a `formulas.forward_table` for scores and a `formulas.bounds_table` for
    bounds; plan (L, `N_COLUMNS`); first (M + 1,): the first layer of each network, and L; parameters (P,);
    packed, flat: the packed weights of the plan; magnitudes (P,): absolute values of the weights, and 0 for
    all other parameters.
    """

    activations: PointerTable
    plan: np.ndarray
    first: np.ndarray
    parameters: np.ndarray
    packed: np.ndarray
    magnitudes: np.ndarray


class Squares(NamedTuple):
    """The lists of squares of the kernel `quadtree.subdivide`, which updates them.

    waiting (N, 3): squares still to be bounded, as row, column and size; batch (T, 3): a workspace; won
    (N, 4): squares that a class wins, and the class; undecided (N, 3); counts (4,): numbers of squares, see
    `WAITING`. All are int64.
    """

    waiting: np.ndarray
    batch: np.ndarray
    won: np.ndarray
    undecided: np.ndarray
    counts: np.ndarray


def relocate_plan(plan: np.ndarray, offset: int, codes: Sequence[int]) -> np.ndarray:
    """Return a copy of a network's plan for parameters that begin at `offset`, with new activation codes."""
    plan = plan.copy()
    plan[:, [WEIGHTS, BIASES]] += offset
    plan[:, ACTIVATION] = codes
    return plan


def _grid(dtype: np.dtype, make_table: Callable[..., PointerTable] = forward_table) -> dict[str, Kind]:
    """Return the kinds of a committee, whose activations are such a table, and of the pixels' coordinates."""
    flat = get_kinds(dtype).flat
    kinds = (make_table(("tanh",), dtype).kind, PLAN, INDICES, flat, flat, flat)
    networks = Struct(PackedCommittee, dict(zip(PackedCommittee._fields, kinds, strict=True)))
    return {"networks": networks, "xs": flat, "ys": flat}


def _workspace(dtype: np.dtype) -> dict[str, Kind]:
    of = get_kinds(dtype)
    return {"tile": of.flat, "units": of.flat, "total": of.matrix}


def _pixels(target: np.dtype) -> Array:
    return Array(get_scalar(target), 2)


@functools.cache
def grid_classes(votes: bool, dtype: np.dtype, target: np.dtype) -> FunctionPointer:
    """Return the pointer to the kernel `grid.grid_classes`; target: an integer dtype of classes."""
    kinds = {**_grid(dtype), **_workspace(dtype), "classes": _pixels(target)}
    return FunctionPointer("grid.grid_classes", (votes,), kinds, NONE)


@functools.cache
def grid_values(response: str, dtype: np.dtype) -> FunctionPointer:
    kinds = {**_grid(dtype), "class_index": INT64, **_workspace(dtype), "values": _pixels(dtype)}
    return FunctionPointer("grid.grid_values", (response,), kinds, NONE)


@functools.cache
def subdivide(votes: bool, dtype: np.dtype) -> FunctionPointer:
    flat = get_kinds(dtype).flat
    kinds = {
        **_grid(dtype, bounds_table),
        "leaf_size": INT64,
        "max_batches": INT64,
        "squares": Struct(Squares, dict.fromkeys(Squares._fields, PLAN) | {"counts": INDICES}),
        "cells": flat,
        "forms": flat,
        "total": form_kind(dtype),
    }
    return FunctionPointer("quadtree.subdivide", (votes,), kinds, NONE)


@functools.cache
def evaluate(votes: bool, dtype: np.dtype, target: np.dtype) -> FunctionPointer:
    """Return the pointer to the kernel `quadtree.evaluate`; target: an integer dtype of classes."""
    kinds = {
        **_grid(dtype),
        "squares": PLAN,
        "places": PLAN,
        "row": _pixels(target),
        **_workspace(dtype),
        "classes": _pixels(target),
    }
    return FunctionPointer("quadtree.evaluate", (votes,), kinds, INT64)


@functools.cache
def fill_squares(target: np.dtype) -> FunctionPointer:
    """Return the pointer to the kernel `quadtree.fill_squares`; target: an integer dtype of classes."""
    kinds = {"squares": PLAN, "classes": _pixels(target)}
    return FunctionPointer("quadtree.fill_squares", None, kinds, INT64)
