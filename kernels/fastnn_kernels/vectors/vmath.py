"""exp, log, tanh, sigmoid, quotients, roots and selections on whole vectors.

Each function is a formula on `Value` for float32 and float64. Errors are at most 2 ulp in float64 and 4 ulp
in float32 for all arguments, including signed zeros, infinities and NaN. The polynomial and rational
coefficients are minimax fits, printed by ``kernels/minimax.py``.

exp and tanh begin with a range reduction by powers of two: ``x = n log(2) + r`` with an integer n and a small
r. Adding a large constant to ``x / log(2)`` rounds it to n, which is then in the low bits of the sum; a shift
of those bits into the exponent makes 2^n.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from numba import types

from .value import Value, emitter


class Format(NamedTuple):
    """Constants of a floating-point format."""

    mantissa: int  # explicit bits of the significand
    bias: int  # bias of the exponent
    log2_high: float  # log(2) with its low bits zero, so that n * log2_high is exact
    log2_low: float  # log(2) - log2_high
    exp_lowest: float  # exp is 0 for smaller arguments
    exp_highest: float  # exp is infinite for larger arguments
    tanh_one: float  # tanh is 1 from this argument on
    # Minimax coefficients, low powers first.
    tanh_p: tuple[float, ...]  # tanh(r) / r = (1 + u P(u)) / (1 + u Q(u)), u = r^2
    tanh_q: tuple[float, ...]
    exp_tail: tuple[float, ...]  # (exp(r) - 1 - r) / r^2, |r| <= log(2)/2
    log_tail: tuple[float, ...]  # (log(1 + f) - 2 s) / s^3 in s^2, s = f / (2 + f)

    @property
    def round(self) -> float:
        """Constant that, added to a number, leaves the nearest integer in the low bits of the sum."""
        return 1.5 * 2.0**self.mantissa


# Up to this argument, n of a float64 tanh is 0.
TANH_MIDDLE = 0.65

FORMATS = {
    types.float32: Format(
        mantissa=23,
        bias=127,
        log2_high=0.693359375,
        log2_low=-2.1219444005469058277e-4,
        exp_lowest=-104.0,
        exp_highest=89.0,
        tanh_one=10.0,
        tanh_p=(0.066587172912531151,),
        tanh_q=(0.39992026074103510,),
        exp_tail=(
            0.5,
            0.16666576989698776,
            0.041666554617204574,
            0.0083631790527225774,
            0.0013926183587713495,
        ),
        log_tail=(0.66666685050737905, 0.39988775997834654, 0.29580156705343631),
    ),
    types.float64: Format(
        mantissa=52,
        bias=1023,
        log2_high=0.69314718036912381649,
        log2_low=1.9082149292705877e-10,
        exp_lowest=-746.0,
        exp_highest=710.0,
        tanh_one=20.0,
        tanh_p=(0.12815312404454882125, 0.002791429292352970082, 7.345289722010210731e-6),
        tanh_q=(0.46148645737788199907, 0.023286915084987706312, 2.063766358030554451e-4),
        exp_tail=(
            0.5,
            0.16666666666666667453,
            0.041666666666624127873,
            0.0083333333333300618325,
            0.0013888888917213716901,
            0.00019841269863053616878,
            2.4801521295954375131e-5,
            2.7557268459997064772e-6,
            2.7620088445409748161e-7,
            2.5100385495510319078e-8,
        ),
        log_tail=(
            0.66666666666666696905,
            0.39999999999899381939,
            0.28571428626031066765,
            0.22222211125722808938,
            0.18182889786191042483,
            0.15331699633543858719,
            0.14616721179861815749,
        ),
    ),
}


def _polynomial(x: Value, coefficients: tuple[float, ...]) -> Value:
    """Return a polynomial in x by Horner's scheme; coefficients of low powers come first."""
    result = x.constant(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = result.fma(x, coefficient)
    return result


def compute_exp(x: Value) -> Value:
    """Return e to the power x."""
    format = FORMATS[x.dtype]
    x = x.at_least(format.exp_lowest).at_most(format.exp_highest)
    # 2^n is not representable where the result is infinite or subnormal: multiply by two factors instead. The
    # low bits are n plus twice the bias, so that half of them is the biased exponent of one factor.
    shifted, r = _reduce(x, 2 * format.bias)
    half = shifted >> 1
    scale = _power_of_two(half, format)
    return _exp_less_one(r, format).fma(scale, scale) * _power_of_two(shifted - half, format)


def compute_exp_to_zero(x: Value) -> Value:
    """Return exp(x) for x <= 0, with 0 where it is subnormal, in a third less time than `compute_exp`."""
    format = FORMATS[x.dtype]
    lowest = (1 - format.bias) * math.log(2)
    shifted, r = _reduce(x.at_least(lowest), format.bias)
    scale = _power_of_two(shifted, format)
    return x.constant(0.0).where(x < lowest, _exp_less_one(r, format).fma(scale, scale))


def expm1_below(x: Value) -> Value:
    """Return exp(x) - 1 for x <= 0."""
    format = FORMATS[x.dtype]
    # For smaller x, exp(x) is below half an ulp of 1, and the result is -1: clamp x there.
    shifted, r = _reduce(x.at_least(-(format.mantissa + 3) * math.log(2)), format.bias)
    scale = _power_of_two(shifted, format)
    return scale.fma(_exp_less_one(r, format), scale - 1.0)


def log1p_unit(x: Value) -> Value:
    """Return log(1 + x) for 0 <= x <= 1."""
    format = FORMATS[x.dtype]
    # Write 1 + x as 1 + f or 2 (1 + f), with 1 + f in [sqrt(1/2), sqrt(2)).
    is_high = x > math.sqrt(2) - 1
    f = (x * 0.5 - 0.5).where(is_high, x)
    low = x.constant(format.log2_low).where(is_high, 0.0)
    high = x.constant(format.log2_high).where(is_high, 0.0)
    return high - (_log_tail(f, low, format) - f)


def _log_tail(f: Value, low: Value, format: Format) -> Value:
    """Return ``f - log(1 + f) - low`` for 1 + f in [sqrt(1/2), sqrt(2))."""
    s = f / (f + 2.0)
    z = s * s
    half_square = f * f * 0.5
    return half_square - s.fma(z.fma(_polynomial(z, format.log_tail), half_square), low)


def compute_softplus(x: Value) -> Value:
    """Return log(1 + exp(x)), computed from exp(-|x|), which cannot overflow."""
    return x.at_least(0.0) + log1p_unit(compute_exp_to_zero(-x.magnitude()))


def _reduce(x: Value, bias: int) -> tuple[Value, Value]:
    """Return integers whose low bits are n + bias, and r, where ``x = n log(2) + r`` and n is an integer."""
    format = FORMATS[x.dtype]
    offset = format.round + bias
    shifted = x.fma(1 / math.log(2), offset)
    n = shifted - offset
    return shifted.bits(), n.fma(-format.log2_low, n.fma(-format.log2_high, x))


def _exp_less_one(r: Value, format: Format) -> Value:
    """Return exp(r) - 1 for |r| <= log(2) / 2."""
    return (r * r).fma(_polynomial(r, format.exp_tail), r)


def _power_of_two(biased: Value, format: Format) -> Value:
    """Return 2^n, given integers whose low bits are n + bias."""
    return (biased << format.mantissa).from_bits()


@emitter
def exp(x: Value) -> Value:
    return compute_exp(x)


@emitter
def exp_to_zero(x: Value) -> Value:
    """Return e to the power x for x <= 0, with 0 where the result would be subnormal."""
    return compute_exp_to_zero(x)


@emitter
def tanh(x: Value) -> Value:
    """Return the hyperbolic tangent of x.

    With ``2 |x| = n log(2) + 2 r``, ``s = 2^n`` and a rational ``tanh(r) = p / q``,
    ``tanh|x| = ((s - 1) q + (s + 1) p) / ((s + 1) q + (s - 1) p)``: one division in all.
    """
    a = x.magnitude().at_most(FORMATS[x.dtype].tanh_one)
    return (_tanh_single if x.dtype == types.float32 else _tanh_double)(a).copy_sign(x)


def _tanh_single(a: Value) -> Value:
    format = FORMATS[a.dtype]
    offset = format.round + format.bias  # with the bias, the low bits are the exponent of s
    shifted = a.fma(2 / math.log(2), offset)
    r = (shifted - offset).fma(-math.log(2) / 2, a)
    s = _power_of_two(shifted.bits(), format)
    u = r * r
    p = (r * u).fma(_polynomial(u, format.tanh_p), r)
    q = u.fma(_polynomial(u, format.tanh_q), 1.0)
    top = (s + 1.0).fma(p, (s - 1.0) * q)
    return top / (q - p).fma(2.0, top)


def _tanh_double(a: Value) -> Value:
    # For 2 ulp, the quotient is only a correction: of a, where n is 0, and of 1 for larger arguments.
    # tanh(a) = a + a (p/a - q) / q, or 1 + (p - q) / ((s + 1) q / 2 + (s - 1) p / 2).
    format = FORMATS[a.dtype]
    is_large = a > TANH_MIDDLE
    offset = format.round + format.bias - 1  # with the bias, the low bits are the exponent of s / 2
    shifted = a.fma(2 / math.log(2), offset)
    n = (shifted - offset).where(is_large, 0.0)
    half = _power_of_two(shifted.bits(), format).where(is_large, 0.5)
    r = n.fma(-format.log2_low / 2, n.fma(-format.log2_high / 2, a))
    u = r * r
    p_less = u * _polynomial(u, format.tanh_p)  # p / r - 1
    q_less = u * _polynomial(u, format.tanh_q)  # q - 1
    p = r.fma(p_less, r)
    more = half + 0.5
    divisor = (half - 0.5).fma(p, more.fma(q_less, more))
    top = p.where(is_large, p_less) - q_less
    start = a.constant(1.0).where(is_large, a)
    return start.fma((top - 1.0).where(is_large, top) / divisor, start)


def _sigmoid(x: Value, compute_exp: Callable[[Value], Value]) -> Value:
    # With e = exp(-|x|): e - e q for x < 0, where the sigmoid is small, else 1 - q.
    e = compute_exp(-x.magnitude())
    q = e / (e + 1.0)
    start = e.where(x < 0.0, 1.0)
    return (-start).fma(q, start)


def sigmoid_to_zero(x: Value) -> Value:
    """Return the sigmoid of x, with 0 where the result would be subnormal."""
    return _sigmoid(x, compute_exp_to_zero)


@emitter
def sigmoid(x: Value) -> Value:
    return _sigmoid(x, compute_exp)


@emitter
def log(x: Value) -> Value:
    """Return the natural logarithm of x: -inf at zero, NaN below zero."""
    format = FORMATS[x.dtype]
    lift = format.mantissa + 2
    tiny = x < 2.0 ** (1 - format.bias)  # subnormal
    i = (x * 2.0**lift).where(tiny, x).bits()
    # Write x as 2^k m with m in [sqrt(1/2), sqrt(2)); f is m - 1.
    k = (i - x.constant(math.sqrt(0.5)).bits()) >> format.mantissa
    f = (i - (k << format.mantissa)).from_bits() - 1.0
    n = k.to(x.dtype)
    n = (n - float(lift)).where(tiny, n)
    y = n * format.log2_high - (_log_tail(f, n * format.log2_low, format) - f)
    y = y.where(x > 0.0, x)
    y = x.where(x.equals(math.inf), y)
    y = x.constant(-math.inf).where(x.equals(0.0), y)
    return x.constant(math.nan).where(x < 0.0, y)


@emitter
def sign(x: Value) -> Value:
    return x.constant(1.0).where(x > 0.0, x.constant(-1.0).where(x < 0.0, 0.0))


@emitter
def quotient(numerator: Value, denominator: Value) -> Value:
    """Return ``numerator / max(denominator, tiny)``, for a denominator >= 0: 0 / 0 is 0.

    tiny is the smallest normal number.
    """
    format = FORMATS[denominator.dtype]
    return numerator / denominator.at_least(2.0 ** (1 - format.bias))


@emitter
def over_root(numerator: Value, square: Value, offset: Value) -> Value:
    """Return ``numerator / (sqrt(max(square, tiny)) + offset)``: 0 / 0 is 0.

    square >= 0; offset is finite and >= 0; tiny is the smallest normal number.
    """
    square = square.at_least(2.0 ** (1 - FORMATS[square.dtype].bias))
    return numerator / (square.sqrt() + offset)


@emitter
def magnitude(x: Value) -> Value:
    return x.magnitude()


@emitter
def maximum(x: Value, y: Value) -> Value:
    return x.at_least(y)


@emitter
def minimum(x: Value, y: Value) -> Value:
    return x.at_most(y)


@emitter
def where_equal(x: Value, y: Value, yes: Value, no: Value) -> Value:
    return yes.where(x.equals(y), no)


@emitter
def where_greater(x: Value, y: Value, yes: Value, no: Value) -> Value:
    return yes.where(x > y, no)


@emitter
def where_outranks(x: Value, y: Value, yes: Value, no: Value) -> Value:
    """Return `yes` in the lanes where x is greater than y, or where x alone is NaN, else `no`."""
    return yes.where(x.outranks(y), no)
