"""Bounds of a network's scores over cells of the plane, for many cells at once.

A cell is a rectangle of inputs. Over a cell, every value that a layer computes is bounded by a *form*:
``centre + dx slope_x + dy slope_y``, plus or minus `radius`, for dx and dy from -1 to 1 across the cell. The
gates are affine and lose nothing. An activation is replaced by a line and a strip around it that contains the
activation's graph over the values that the form allows; the strip's half width goes into the radius. (Affine
arithmetic, de Figueiredo & Stolfi, 2004, with one common error term for each value.)

Bounds hold for the values that the kernels compute, rounding included: every sum adds to the radius the
rounding error of a product of its length, every activation the error of its formula. So they hold for the
floating-point numbers that a picture is painted with. An infinity or a NaN anywhere, even one that a partial
sum might reach, makes the radius NaN, which proves nothing.

Shape letters: I inputs and J outputs of a layer, K scores, T cells of a batch (a whole number of vectors).
A form of a layer is four arrays (J, T).
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic

from .compiler.jit import kernel
from .compiler.pointer import FunctionPointer, PointerTable, array_types, call
from .curvature import Curvature, curvature
from .layer import ACTIVATIONS
from .network import ACTIVATION, BIASES, INPUTS, OUTPUTS, UNITS, WEIGHTS
from .vectors import vmath
from .vectors.product import product_forward
from .vectors.value import Value, fill
from .vectors.vector import Vector, lanes, load, store, view

__all__ = ["Form", "bound_pass", "bounds_table", "is_won", "slack"]

# Bounds on the errors of activations and slopes, in units of the dtype's eps: several times the real ones.
VALUE_ULPS, SLOPE_ULPS = 32.0, 64.0
# Beyond this the slopes of activations are constant, and exact.
FAR = 100.0
# What may be lost where numbers are subnormal.
TINY = 1e-30


class Form(NamedTuple):
    """Values over cells, arrays (J, T)."""

    centre: Any
    slope_x: Any
    slope_y: Any
    radius: Any


@kernel
def slack(n_inputs, dtype):
    """Return the rounding error of a sum of `n_inputs` products and a bias, relative to the magnitudes' sum.

    Twice the bound of Higham, "Accuracy and stability", 2002, section 3.1: for the sum and for its form.
    """
    return dtype(2 * (n_inputs + 4)) * dtype(np.finfo(dtype).eps)


@kernel
def layer_form(plan, layer, T, forms):
    """Return the form of a layer's outputs, a window of the workspace."""
    rows = forms.shape[0] // (4 * T)
    first, count = plan[layer, UNITS], plan[layer, OUTPUTS]
    return Form(
        view(forms, first * T, count, T),
        view(forms, (rows + first) * T, count, T),
        view(forms, (2 * rows + first) * T, count, T),
        view(forms, (3 * rows + first) * T, count, T),
    )


@functools.cache
def outline(name: str) -> Any:
    """Return the intrinsic ``(centre, radius)``: a line, and a strip around it that contains f's graph.

    The intrinsic takes vectors of cells, with radius > 0, and returns slope, middle and half width of the
    strip: ``|f(z) - slope z - middle| <= width`` for z from centre - radius to centre + radius, where f is
    the activation as the kernels compute it.
    """
    activation = ACTIVATIONS[name]

    def outline(typing_context, centre, radius):
        if not (isinstance(centre, Vector) and centre == radius):
            return None
        result = types.UniTuple(centre, 3)

        def generate(context, builder, signature, args):
            strip = _strip(
                activation, curvature(name), *(Value(context, builder, centre, arg) for arg in args)
            )
            return context.make_tuple(builder, result, [value.ir for value in strip])

        return result(centre, radius), generate

    outline.__qualname__ = f"outline_{name}"  # the cache tells intrinsics apart by it
    return intrinsic(outline)


def _strip(activation: Any, shape: Curvature, c: Value, r: Value) -> tuple[Value, Value, Value]:
    """Emit the instructions of `outline`."""
    eps = float(np.finfo(str(c.dtype)).eps)
    low, high = c - r, c + r
    ends = low, c, high
    f_low, f_c, f_high = values = [activation.value.formula(z) for z in ends]
    s_low, s_c, s_high = (activation.slope.formula(z, f) for z, f in zip(ends, values, strict=True))

    # Over any interval slopes have a range: by the mean value theorem, f leaves the line through the centre
    # by half of that range times the radius at the most.
    least, most = s_low.at_most(s_high), s_low.at_least(s_high)
    for knot in shape.knots:
        least = _between(low, high, knot, least.at_most(knot.least), least)
        most = _between(low, high, knot, most.at_least(knot.most), most)
    slope = (least + most) * 0.5
    middle = f_c - slope * c
    spread = (most - least) * 0.5 * r
    bottom, top = middle - spread, middle + spread

    # Over an interval without a knot f is convex or concave: then the tangent at the centre is one side of
    # the strip, and the other side goes through the farther of the ends.
    tangent = f_c - s_c * c
    at_low, at_high = f_low - s_c * low, f_high - s_c * high
    bent_up = s_c, tangent, at_low.at_least(at_high)
    bent_down = s_c, at_low.at_most(at_high), tangent
    is_convex = shape.begins_convex
    begins = [None, *(knot.end for knot in shape.knots)]
    ends_at = [*(knot.begin for knot in shape.knots), None]
    for begin, end in zip(begins, ends_at, strict=True):
        lines = slope, bottom, top
        chosen = bent_up if is_convex else bent_down
        if begin is not None:
            chosen = tuple(a.where(low > begin, b) for a, b in zip(chosen, lines, strict=True))
        if end is not None:
            chosen = tuple(a.where(high < end, b) for a, b in zip(chosen, lines, strict=True))
        slope, bottom, top = chosen
        is_convex = not is_convex

    farthest = low.magnitude().at_least(high.magnitude())
    largest = f_low.magnitude().at_least(f_high.magnitude()).at_least(f_c.magnitude())
    off = largest + slope.magnitude() * farthest + farthest.at_most(1.0)
    width = (top - bottom) * 0.5 + off * (VALUE_ULPS * eps) + TINY
    # Slopes are wrong by rounding only near where the graph bends: beyond FAR they are constants.
    width = width + (farthest.at_most(FAR) + 1.0) * r * (SLOPE_ULPS * eps)
    # The comparisons above may have dropped a NaN: it must reach the width.
    for value in (low, high, *values):
        width = width + (value - value)
    return slope, (bottom + top) * 0.5, width


def _between(low: Value, high: Value, knot: Any, yes: Value, no: Value) -> Value:
    """Return `yes` where the knot may lie between `low` and `high`, else `no`."""
    return no.where(low > knot.end, no.where(high < knot.begin, yes))


@functools.cache
def activation_bounds(name: str) -> Any:
    """Return the kernel ``(form, b, own_slack, next_slack)``: from the form of the sums to that of f.

    The radius of form (J, T) holds the errors of the inputs and of the products; b (1, J) are the biases,
    whose rounding the kernel adds; `own_slack` and `next_slack` are the `slack` of this layer and of the
    next.
    """
    lines = outline(name)

    @kernel
    def activation_bounds(form, b, own_slack, next_slack):
        C, X, Y, R = form.centre, form.slope_x, form.slope_y, form.radius
        dtype = C.dtype.type
        widen, widen_next = fill(C, dtype(1) + own_slack), fill(C, next_slack)
        per_slack = fill(C, dtype(4) / own_slack)
        rounding = fill(C, dtype(8 * np.finfo(dtype).eps))
        for j in range(C.shape[0]):
            bias = fill(C, abs(b[0, j]) * own_slack)
            for t in range(0, C.shape[1], lanes(C)):
                c, x, y = load(C, j, t), load(X, j, t), load(Y, j, t)
                error = (load(R, j, t) + bias) * widen
                # The error is `own_slack` times all magnitudes that are added up. Where those might overflow,
                # a partial sum may be infinite though the sum is not: make the radius NaN there.
                all_parts = error * per_slack
                error = error + (all_parts - all_parts)
                reach = vmath.magnitude(x) + vmath.magnitude(y) + error
                reach = reach + rounding * (reach + vmath.magnitude(c))
                slope, middle, width = lines(c, reach)
                c, x, y = slope * c + middle, slope * x, slope * y
                error = vmath.magnitude(slope) * error + width
                largest = vmath.magnitude(c) + vmath.magnitude(x) + vmath.magnitude(y) + error
                store(C, j, t, c)
                store(X, j, t, x)
                store(Y, j, t, y)
                store(R, j, t, error + (widen_next + rounding) * largest)

    return activation_bounds


@functools.cache
def bounds_table(names: tuple[str, ...], dtype: np.dtype) -> PointerTable:
    """Return pointers to `activation_bounds` of each of the names."""
    of = array_types(dtype)
    arguments = types.NamedUniTuple(of.matrix, 4, Form), of.inputs, of.scalar, of.scalar
    return PointerTable([FunctionPointer(activation_bounds(name), arguments) for name in names])


@kernel
def bound_pass(activations, plan, parameters, magnitudes, cells, forms):
    """Fill `forms` with the forms of every layer's outputs.

    activations: a table of pointers (`bounds_table`); plan (L, `N_COLUMNS`); parameters (P,); magnitudes
    (P,): absolute values of the weights, and 0 for all else; cells, the `Form` (2, T) of the inputs, with
    `slack` of the first layer in its radius; forms, flat of four times the workspace of the units:
    overwritten (`layer_form`).
    """
    T = cells.centre.shape[1]
    dtype = parameters.dtype.type
    source = cells
    for layer in range(plan.shape[0]):
        n_inputs, n_outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
        W = view(parameters, plan[layer, WEIGHTS], n_inputs, n_outputs)
        b = view(parameters, plan[layer, BIASES], 1, n_outputs)
        sizes = view(magnitudes, plan[layer, WEIGHTS], n_inputs, n_outputs)
        zero = view(magnitudes, plan[layer, BIASES], 1, n_outputs)
        form = layer_form(plan, layer, T, forms)
        product_forward(W, b, source.centre, form.centre)
        product_forward(W, zero, source.slope_x, form.slope_x)
        product_forward(W, zero, source.slope_y, form.slope_y)
        product_forward(sizes, zero, source.radius, form.radius)
        following = dtype(0)
        if layer + 1 < plan.shape[0]:
            following = slack(n_outputs, dtype)
        call(activations[plan[layer, ACTIVATION]], (form, b, slack(n_inputs, dtype), following))
        source = form


@kernel
def is_won(form, t, winner):
    """Return True if the class `winner` alone has the highest score all over cell t, by its form (K, T)."""
    C, X, Y, R = form.centre, form.slope_x, form.slope_y, form.radius
    rounding = C.dtype.type(8 * np.finfo(C.dtype.type).eps)
    c, x, y, r = C[winner, t], X[winner, t], Y[winner, t], R[winner, t]
    extent = abs(c) + abs(x) + abs(y) + r
    for k in range(C.shape[0]):
        if k != winner:
            size = extent + abs(C[k, t]) + abs(X[k, t]) + abs(Y[k, t]) + R[k, t]
            reach = abs(X[k, t] - x) + abs(Y[k, t] - y) + r + R[k, t] + rounding * size
            # A comparison with NaN is false: write it so that NaN does not win.
            if not (c - C[k, t] > reach):
                return False
    return True
