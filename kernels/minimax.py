"""Print the coefficients of ``fastnn_kernels/vectors/vmath.py`` (needs mpmath).

    python kernels/minimax.py

Polynomials are Chebyshev fits, whose errors are within a few per cent of the smallest possible. The rational
function for tanh is computed by the Remez exchange algorithm for the relative error. All computations have
sixty digits.
"""

from __future__ import annotations

import mpmath as mp

mp.mp.dps = 60


def rational(g, end, top: int, bottom: int):
    """Fit ``(1 + p1 u + ...) / (1 + q1 u + ...)`` to a function g without zeros on [0, end], with g(0) = 1.

    `top` and `bottom` are the degrees of numerator and denominator. Return the coefficients of both, and the
    largest relative error: no function of these degrees has a smaller one. Raise ArithmeticError if the error
    has fewer alternating peaks than the best approximation's.
    """
    count = top + bottom + 1  # unknowns: p, q and the error, whose sign alternates from node to node
    nodes = [end * (1 - mp.cos(mp.pi * (k + 1) / count)) / 2 for k in range(count)]
    grid = [end * mp.mpf(k) / 3000 for k in range(1, 3001)]
    error = mp.mpf(0)
    for _ in range(12):
        # For a given error the equations are linear in p and q: solve them for a sequence of errors.
        for _ in range(30):
            matrix, right = mp.matrix(count, count), mp.matrix(count, 1)
            for row, u in enumerate(nodes):
                value, sign = g(u), (-1) ** row
                for power in range(1, top + 1):
                    matrix[row, power - 1] = u**power
                for power in range(1, bottom + 1):
                    matrix[row, top + power - 1] = -value * (1 + sign * error) * u**power
                matrix[row, count - 1] = -sign * value
                right[row] = value - 1
            solution = mp.lu_solve(matrix, right)
            previous, error = error, solution[count - 1]
            if abs(error - previous) < mp.mpf(10) ** -45:
                break
        p = [mp.mpf(1), *(solution[k] for k in range(top))]
        q = [mp.mpf(1), *(solution[top + k] for k in range(bottom))]
        errors = [mp.polyval(p[::-1], u) / mp.polyval(q[::-1], u) / g(u) - 1 for u in grid]
        peaks: list[int] = []  # the index of the largest error in each run of errors of one sign
        for k, e in enumerate(errors):
            if peaks and mp.sign(e) == mp.sign(errors[peaks[-1]]):
                if abs(e) > abs(errors[peaks[-1]]):
                    peaks[-1] = k
            elif e:
                peaks.append(k)
        if len(peaks) != count:
            raise ArithmeticError(f"the error has {len(peaks)} alternating peaks instead of {count}")
        nodes = [grid[k] for k in peaks]
    return p[1:], q[1:], max(abs(e) for e in errors)


def polynomial(g, begin, end, count: int):
    """Return `count` coefficients, low powers first, of a near-minimax polynomial of g, and its error."""
    coefficients, error = mp.chebyfit(g, [begin, end], count, error=True)
    return coefficients[::-1], error


def show(name: str, coefficients, error) -> None:
    """Print coefficients as Python numbers."""
    print(f"{name}: error {mp.nstr(error, 3)}")
    print("    " + ", ".join(mp.nstr(c, 20) for c in coefficients))


def main() -> None:
    """Print the coefficients of ``vmath.py``."""
    slack = mp.mpf("1.0001")  # rounding may move a reduced argument past the end of its interval
    log2 = mp.log(2)

    def tanh_over_r(u):
        return mp.tanh(mp.sqrt(u)) / mp.sqrt(u)

    def exp_tail(r):  # (exp(r) - 1 - r) / r^2
        return mp.nsum(lambda k: r**k / mp.factorial(k + 2), [0, 40]) if r else mp.mpf(1) / 2

    def log_tail(z):  # log(1 + f) = 2 s + s z R(z), s = f / (2 + f), z = s^2
        return 2 * mp.nsum(lambda k: z**k / (2 * k + 3), [0, 60]) if z else mp.mpf(2) / 3

    for bits, tanh_end, degrees, exp_count, log_count in (
        (32, log2 / 4 * slack, (1, 1), 5, 3),
        (64, mp.mpf("0.65"), (3, 3), 10, 7),
    ):
        p, q, error = rational(tanh_over_r, tanh_end**2, *degrees)
        show(f"float{bits} tanh P", p, error)
        show(f"float{bits} tanh Q", q, error)
        end = log2 / 2 * slack
        show(f"float{bits} exp", *polynomial(exp_tail, -end, end, exp_count))
        largest = (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1) * slack
        show(f"float{bits} log", *polynomial(log_tail, mp.mpf(0), largest**2, log_count))


if __name__ == "__main__":
    main()
