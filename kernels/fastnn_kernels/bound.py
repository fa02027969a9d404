"""Bounds of a network's scores over cells of the plane, for many cells at once.

A cell is a rectangle of inputs. Over a cell, every value that a layer computes is bounded by an affine
*form*: ``centre + dx slope_x + dy slope_y``, plus or minus `radius`, where dx and dy are coordinates from -1
to 1 across the cell. (Affine arithmetic, de Figueiredo & Stolfi, 2004, with one error term per value.) Gates
are affine and map forms exactly. An activation is replaced by a strip, a line with a half width, that
contains the activation's graph over the range of the form; the half width is added to the radius.

The bounds include rounding errors, so that they hold for the floating-point numbers that the kernels compute:
every product adds the error bound of its sums to the radius, and every activation the error bound of its
formula. If a value is infinite or NaN, or a partial sum might overflow, the radius becomes NaN: nothing is
proved for that cell.

Shape letters: I inputs and J outputs of a layer, K scores, T cells of a batch (a whole number of vectors).
A form of a layer is four arrays (J, T).
"""

from __future__ import annotations

import functools

import numpy as np
from numba import types
from numba.extending import intrinsic

from .calls.formulas import Form
from .calls.prediction import ACTIVATION, BIASES, INPUTS, OUTPUTS, UNITS, WEIGHTS
from .compiler.jit import Kernel, kernel
from .compiler.pointer import call
from .curvature import Curvature, Knot, curvature
from .layer import ACTIVATIONS, Activation
from .vectors import vmath
from .vectors.product import product_forward
from .vectors.value import Value, fill
from .vectors.vector import Vector, lanes, load, store, view

# Bounds of the errors of activations and slopes, in units of the dtype's eps; the real errors are several
# times smaller.
VALUE_ULPS, SLOPE_ULPS = 32.0, 64.0
# Magnitude from which on the slopes of activations are constant and exact.
FAR = 100.0
# Bound of the errors of subnormal numbers.
TINY = 1e-30


@kernel
def bound_rounding(n_inputs, dtype):
    """Return a bound of the rounding error of a sum of `n_inputs` products and a bias.

    The bound is relative to the sum of the terms' magnitudes. It is twice the bound in Higham, "Accuracy and
    stability", 2002, section 3.1: both the sum itself and its form have such an error.
    """
    return dtype(2 * (n_inputs + 4)) * dtype(np.finfo(dtype).eps)


@kernel
def layer_form(plan, layer, T, forms):
    """Return the form of a layer's outputs: four windows (J, T) of the workspace `forms`."""
    rows = forms.shape[0] // (4 * T)
    first, count = plan[layer, UNITS], plan[layer, OUTPUTS]
    return Form(
        view(forms, first * T, count, T),
        view(forms, (rows + first) * T, count, T),
        view(forms, (2 * rows + first) * T, count, T),
        view(forms, (3 * rows + first) * T, count, T),
    )


@functools.cache
def enclose_activation(name: str) -> Kernel:
    """Return the intrinsic ``(centre, radius)``, which computes a strip that contains an activation's graph.

    The arguments are vectors over the cells, with radius > 0. The intrinsic returns three vectors, slope,
    middle and width: ``|f(z) - slope z - middle| <= width`` for all z from centre - radius to
    centre + radius, where f is the activation `name` as the kernels compute it.
    """
    activation = ACTIVATIONS[name]

    def enclose_activation(typing_context, centre, radius):
        if not (isinstance(centre, Vector) and centre == radius):
            return None
        result = types.UniTuple(centre, 3)

        def generate(context, builder, signature, args):
            strip = _emit_strip(
                activation, curvature(name), *(Value(context, builder, centre, arg) for arg in args)
            )
            return context.make_tuple(builder, result, [value.ir for value in strip])

        return result(centre, radius), generate

    enclose_activation.__qualname__ = f"enclose_activation_{name}"  # the cache identifies intrinsics by name
    return intrinsic(enclose_activation)


def _emit_strip(activation: Activation, shape: Curvature, c: Value, r: Value) -> tuple[Value, Value, Value]:
    """Emit the instructions of `enclose_activation`; c is the centre and r the radius."""
    eps = float(np.finfo(str(c.dtype)).eps)
    low, high = c - r, c + r
    ends = low, c, high
    f_low, f_c, f_high = values = [activation.value.formula(z) for z in ends]
    s_low, s_c, s_high = (activation.slope.formula(z, f) for z, f in zip(ends, values, strict=True))

    # Over any interval the slopes of f have a range. By the mean value theorem, the distance of f from the
    # line through the centre with the middle slope is at most half of the range times the radius.
    least, most = s_low.at_most(s_high), s_low.at_least(s_high)
    for knot in shape.knots:
        least = _between(low, high, knot, least.at_most(knot.least), least)
        most = _between(low, high, knot, most.at_least(knot.most), most)
    slope = (least + most) * 0.5
    middle = f_c - slope * c
    spread = (most - least) * 0.5 * r
    bottom, top = middle - spread, middle + spread

    # Over an interval without a knot f is convex or concave: the tangent at the centre is one side of the
    # strip, and the other side is the parallel through that end of the graph which is farther away.
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
    # Slopes have rounding errors only near 0, where the graph is curved: beyond FAR they are constants.
    width = width + (farthest.at_most(FAR) + 1.0) * r * (SLOPE_ULPS * eps)
    # Comparisons with NaN are False, so that a NaN may have been dropped above: add it to the width.
    for value in (low, high, *values):
        width = width + (value - value)
    return slope, (bottom + top) * 0.5, width


def _between(low: Value, high: Value, knot: Knot, yes: Value, no: Value) -> Value:
    """Return `yes` where the intervals of the knot and from `low` to `high` overlap, else `no`."""
    return no.where(low > knot.end, no.where(high < knot.begin, yes))


@functools.cache
def activation_bounds(name: str) -> Kernel:
    """Return the kernel ``(form, b, layer_rounding, next_rounding)``, which applies an activation to a form.

    The kernel overwrites form (J, T), the form of a layer's sums, with the outputs' form. At the call the
    radius contains the errors of the inputs and of the products; the kernel adds the bias's, b (1, J).
    layer_rounding and next_rounding are the `bound_rounding` of this layer and of the next one.
    """
    strip = enclose_activation(name)

    @kernel
    def activation_bounds(form, b, layer_rounding, next_rounding):
        C, X, Y, R = form.centre, form.slope_x, form.slope_y, form.radius
        dtype = C.dtype.type
        widen, widen_next = fill(C, dtype(1) + layer_rounding), fill(C, next_rounding)
        per_rounding = fill(C, dtype(4) / layer_rounding)
        rounding = fill(C, dtype(8 * np.finfo(dtype).eps))
        for j in range(C.shape[0]):
            bias = fill(C, abs(b[0, j]) * layer_rounding)
            for t in range(0, C.shape[1], lanes(C)):
                c, x, y = load(C, j, t), load(X, j, t), load(Y, j, t)
                error = (load(R, j, t) + bias) * widen
                # The error is at least `layer_rounding` times the sum of the terms' magnitudes. If that sum
                # overflows, a partial sum may be infinite although the sum is finite: the difference of two
                # infinities makes the radius NaN.
                magnitudes = error * per_rounding
                error = error + (magnitudes - magnitudes)
                reach = vmath.magnitude(x) + vmath.magnitude(y) + error
                reach = reach + rounding * (reach + vmath.magnitude(c))
                slope, middle, width = strip(c, reach)
                c, x, y = slope * c + middle, slope * x, slope * y
                error = vmath.magnitude(slope) * error + width
                largest = vmath.magnitude(c) + vmath.magnitude(x) + vmath.magnitude(y) + error
                store(C, j, t, c)
                store(X, j, t, x)
                store(Y, j, t, y)
                store(R, j, t, error + (widen_next + rounding) * largest)

    return activation_bounds


@kernel
def bound_pass(activations, plan, parameters, magnitudes, cells, forms):
    """Fill `forms` with the forms of every layer's outputs; `layer_form` returns the form of one layer.

    activations: a table of pointers (`bounds_table`); plan (L, `N_COLUMNS`); parameters (P,); magnitudes
    (P,): absolute values of the weights, and 0 for all other parameters; cells: the `Form` (2, T) of the
    inputs, whose radius includes `bound_rounding` of the first layer; forms, flat: a workspace, four times as
    large as the units'.
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
        product_forward(W, b, source.centre, None, form.centre)
        product_forward(W, zero, source.slope_x, None, form.slope_x)
        product_forward(W, zero, source.slope_y, None, form.slope_y)
        product_forward(sizes, zero, source.radius, None, form.radius)
        following = dtype(0)
        if layer + 1 < plan.shape[0]:
            following = bound_rounding(n_outputs, dtype)
        call(activations[plan[layer, ACTIVATION]], (form, b, bound_rounding(n_inputs, dtype), following))
        source = form


@kernel
def is_won(form, t, winner):
    """Return True if the form (K, T) of the scores proves that class `winner` wins everywhere in cell t.

    The class wins if its score is higher than every other score.
    """
    C, X, Y, R = form.centre, form.slope_x, form.slope_y, form.radius
    rounding = C.dtype.type(8 * np.finfo(C.dtype.type).eps)
    c, x, y, r = C[winner, t], X[winner, t], Y[winner, t], R[winner, t]
    extent = abs(c) + abs(x) + abs(y) + r
    for k in range(C.shape[0]):
        if k != winner:
            size = extent + abs(C[k, t]) + abs(X[k, t]) + abs(Y[k, t]) + R[k, t]
            reach = abs(X[k, t] - x) + abs(Y[k, t] - y) + r + R[k, t] + rounding * size
            # A comparison with NaN is False: the negated form makes NaN return False.
            if not (c - C[k, t] > reach):
                return False
    return True
