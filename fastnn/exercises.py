"""Exercises of the course: functions that a reader writes, compared with the reference.

To add an exercise, write its reference solution below the others, with the decorator ``@exercise``, and a row
in the table of ``docs/learn/exercises.md``. Its docstring is shown after a wrong number.

Shapes: n = 7 samples, 3 inputs, 4 units or classes. All lengths differ, so that no transposed array fits.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .reference import norm
from .reference.gate import AddGate, MultiplyGate, affine_backward, affine_forward
from .reference.layer import Relu, Sigmoid, Tanh
from .reference.output import Softmax
from .system.messages import pluralize
from .system.validation import check_choice

N_SAMPLES = 7
# Largest errors of a correct result. Difference quotients are exact to some nine digits.
RELATIVE, ABSOLUTE = 1e-6, 1e-8
# A constant that is added to the scores of stable functions.
LARGE = 1000.0


def check_exercise(name: str, function: Callable[..., Any]) -> None:
    """Compare a function of yours with the reference, and print what is wrong with its results.

    The function is called with random arguments. The first mistake is named: an error, missing results, an
    argument that was changed in place, a transposed array, a wrong shape, dtype or sign, a sum in place of a
    mean, or the first wrong number.

    Parameters
    ----------
    name : str
        Name of the exercise: "sigmoid", "neuron_gradient", "multiply_backward", "add_backward",
        "tanh_backward", "relu_backward", "softmax", "cross_entropy", "cross_entropy_gradient",
        "squared_error_gradient", "network_gradient", "batch_norm_backward" or "numerical_gradient". The
        chapter "Further exercises" of the documentation describes their arguments and results.
    function : callable
        Your solution. Arguments are positional, in the order of the exercise.

    Raises
    ------
    ValueError
        If there is no exercise of this name.
    TypeError
        If `function` cannot be called.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> fastnn.check_exercise("tanh_backward", lambda Z, dA: (np.tanh(Z) ** 2 - 1) * dA)
    tanh_backward: not right yet. dZ has the wrong sign.
    >>> fastnn.check_exercise("tanh_backward", lambda Z, dA: (1 - np.tanh(Z) ** 2) * dA)
    tanh_backward: right.
    """
    chosen = EXERCISES[check_choice(name, "name", EXERCISES)]
    if not callable(function):
        raise TypeError(f"function must be callable, got {type(function).__name__}")
    for where, arguments in chosen.cases():
        mistake = _describe_mistake(chosen, function, arguments)
        if mistake:
            print(f"{name}: not right yet{where}. {mistake}")
            return
    print(f"{name}: right.")


@dataclass(frozen=True)
class Exercise:
    """A reference solution, the names of its results, and the shapes of its arguments."""

    solution: Callable[..., Any]
    results: tuple[str, ...]
    shapes: dict[str, Any]
    is_stable: bool

    def cases(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield a description and the arguments of every call; the same in every process."""
        random = np.random.default_rng(0)
        arguments = {name: _draw(random, shape) for name, shape in self.shapes.items()}
        yield "", arguments
        if self.is_stable:
            yield f" for scores near {LARGE:g}", arguments | {"S": arguments["S"] + LARGE}


# Registry of all exercises by name.
EXERCISES: dict[str, Exercise] = {}


def exercise(
    *results: str, is_stable: bool = False, **shapes: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the decorator that adds a reference solution to `EXERCISES`.

    A shape is a tuple, a number of classes, for the labels of all samples, or a function that is passed on.
    """

    def register(solution: Callable[..., Any]) -> Callable[..., Any]:
        EXERCISES[solution.__name__] = Exercise(solution, results, shapes, is_stable)
        return solution

    return register


def _draw(random: np.random.Generator, shape: Any) -> Any:
    """Return a random argument: a number or array, labels, or a function as it is."""
    if callable(shape):
        return shape
    if isinstance(shape, int):
        return random.integers(shape, size=N_SAMPLES)
    return random.normal(size=shape) if shape else float(random.normal())


def _describe_mistake(chosen: Exercise, function: Callable[..., Any], arguments: dict[str, Any]) -> str:
    """Return the first mistake of a function as sentences, or "" if its results are right."""
    names = chosen.results
    listed = ", ".join(names)
    arrays = {name: value for name, value in arguments.items() if isinstance(value, np.ndarray)}
    given = arguments | {name: array.copy() for name, array in arrays.items()}
    try:
        with np.errstate(all="ignore"):
            returned = function(*given.values())
    except Exception as error:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        return f"It raised {type(error).__name__}: {error}. Its arguments had the shapes {shapes}."
    for name, array in arrays.items():
        if not np.array_equal(array, given[name]):
            if np.allclose(array, given[name], RELATIVE, ABSOLUTE):
                return f"It left rounding errors in its argument {name}: keep each number and put it back."
            return f"It changed its argument {name}: compute the result in a new array."
    if returned is None:
        return f"It returned None: is `return {listed}` missing?"
    # One result may be a list of numbers.
    is_several = isinstance(returned, tuple) or (len(names) > 1 and isinstance(returned, list))
    results = returned if is_several else (returned,)
    if len(results) != len(names):
        return f"It returned {pluralize(len(results), 'result')} instead of {len(names)}: {listed}."
    solution = chosen.solution(**arguments)
    expected = solution if len(names) > 1 else (solution,)
    wrong = [_describe_difference(*each) for each in zip(names, results, expected, strict=True)]
    if any(wrong) and any(
        not any(map(_describe_difference, names, results, order))
        for order in itertools.permutations(expected)
    ):
        return f"Its results are in another order: return {listed}."
    formula = " ".join((inspect.getdoc(chosen.solution) or "").split())
    return next((why.replace("{formula}", formula) for why in wrong if why), "")


def _describe_difference(name: str, result: Any, expected: Any) -> str:
    """Return what is wrong with a result, a sentence that may end in ``{formula}``, or "" if it is right."""
    try:
        result, expected = np.asarray(result), np.asarray(expected)
    except ValueError:
        return f"{name} is not an array."
    if result.dtype.kind != "f":
        return f"{name} has the dtype {result.dtype} instead of {expected.dtype}. {{formula}}"
    if result.shape != expected.shape:
        return _describe_shape(name, result, expected)
    if not np.isfinite(result).all():
        return f"{name} has infinite values or NaN: an exponential overflowed, or a number was divided by 0."
    if _is_close(result, expected):
        return ""
    if not result.any():
        return f"{name} is 0."
    factors = {
        -1.0: "has the wrong sign",
        N_SAMPLES: "is summed over the samples instead of averaged: divide it by their number",
        1 / N_SAMPLES: "is averaged over the samples instead of summed: do not divide it by their number",
    }
    for factor, what in factors.items():
        if _is_close(result, factor * expected):
            return f"{name} {what}."
        if _is_close(result, -factor * expected):
            return f"{name} has the wrong sign, and {what}."
    factor = np.vdot(expected, result) / np.vdot(expected, expected)
    if result.size > 1 and f"{factor:.4g}" != "1" and _is_close(result, factor * expected):
        return f"{name} is {factor:.4g} times the correct result."
    index = np.unravel_index(np.argmax(np.abs(result - expected)), result.shape)
    place = f"[{', '.join(map(str, index))}]" if index else ""
    return f"{name}{place} is {result[index]:.8g} and should be {expected[index]:.8g}. {{formula}}"


def _describe_shape(name: str, result: NDArray[Any], expected: NDArray[Any]) -> str:
    if result.shape == expected.shape[::-1]:
        return f"{name} is transposed: its shape is {result.shape} instead of {expected.shape}."
    shapes = f"{name} has the shape {result.shape} instead of {expected.shape}"
    if result.size == expected.size:
        if result.squeeze().shape != expected.squeeze().shape:
            return f"{shapes}: reshape it."
        if result.ndim < expected.ndim:
            return f"{shapes}: keep the axis, by keepdims=True."
        return f"{shapes}: remove the axes of length 1."
    if result.shape[:1] == (N_SAMPLES,) and expected.shape[:1] != (N_SAMPLES,):
        if result.size == N_SAMPLES and expected.size > 1:
            return f"{shapes}: add up the samples, axis 0, and not what each of them has."
        return f"{shapes}: take the sum or the mean over the samples."
    return f"{shapes}."


def _is_close(result: NDArray[Any], expected: NDArray[Any]) -> bool:
    return np.allclose(result, expected, RELATIVE, ABSOLUTE)


@exercise("p", z=(N_SAMPLES,))
def sigmoid(z):
    """Return p = 1 / (1 + exp(-z))."""
    return Sigmoid.value(z)


@exercise("dw", "db", w=(3,), b=(), X=(N_SAMPLES, 3), y=2)
def neuron_gradient(w, b, X, y):
    """Return dw = X^T (p - y) / n and db, the mean of p - y, with p = sigmoid(X w + b)."""
    error = Sigmoid.value(X @ w + b) - y
    return X.T @ error / len(X), error.mean()


@exercise("dW", "dX", W=(3, 4), X=(N_SAMPLES, 3), dZ=(N_SAMPLES, 4))
def multiply_backward(W, X, dZ):
    """Return dW = X^T dZ and dX = dZ W^T, since Z = X W."""
    return MultiplyGate().backward(W, X, dZ)


@exercise("db", "dX", X=(N_SAMPLES, 4), b=(1, 4), dZ=(N_SAMPLES, 4))
def add_backward(X, b, dZ):
    """Return db, the sum of dZ over the samples, and dX = dZ."""
    return AddGate().backward(X, b, dZ)


@exercise("dZ", Z=(N_SAMPLES, 4), dA=(N_SAMPLES, 4))
def tanh_backward(Z, dA):
    """Return dZ = (1 - tanh(Z)^2) dA."""
    return Tanh().backward(Z, dA)


@exercise("dZ", Z=(N_SAMPLES, 4), dA=(N_SAMPLES, 4))
def relu_backward(Z, dA):
    """Return dZ = dA where Z > 0, else 0."""
    return Relu().backward(Z, dA)


@exercise("P", is_stable=True, S=(N_SAMPLES, 4))
def softmax(S):
    """Return P = exp(S), divided by the sum of exp(S) over the classes."""
    return Softmax().predict(S)


@exercise("L", is_stable=True, S=(N_SAMPLES, 4), y=4)
def cross_entropy(S, y):
    """Return L, the mean of -log P[i, y[i]] over the samples, with P = softmax(S)."""
    return Softmax().loss(S, y)


@exercise("dS", is_stable=True, S=(N_SAMPLES, 4), y=4)
def cross_entropy_gradient(S, y):
    """Return dS = (P - Y) / n, with P = softmax(S), and Y 1 at the labels, else 0."""
    return Softmax().diff(S, y) / len(S)


@exercise("dS", S=(N_SAMPLES, 1), Y=(N_SAMPLES, 1))
def squared_error_gradient(S, Y):
    """Return dS = (S - Y) / n: the loss is the mean of (S - Y)^2 / 2 over the samples."""
    return (S - Y) / len(S)


@exercise("dW1", "db1", "dW2", "db2", X=(N_SAMPLES, 3), y=4, W1=(3, 5), b1=(1, 5), W2=(5, 4), b2=(1, 4))
def network_gradient(X, y, W1, b1, W2, b2):
    """Return the gradient of the mean cross-entropy of S = A W2 + b2, with A = tanh(X W1 + b1)."""
    Z = affine_forward(W1, b1, X)
    A = np.tanh(Z)
    dW2, db2, dA = affine_backward(W2, A, cross_entropy_gradient(affine_forward(W2, b2, A), y))
    dW1, db1, _ = affine_backward(W1, X, tanh_backward(Z, dA))
    return dW1, db1, dW2, db2


@exercise("dZ", "dscale", "dshift", Z=(N_SAMPLES, 4), scale=(1, 4), dY=(N_SAMPLES, 4))
def batch_norm_backward(Z, scale, dY):
    """Return dZ = scale / std (dY - mean of dY - N mean of N dY), and the sums of N dY and of dY.

    N is (Z - mean) / std, and std the root of variance + 0.00001.
    """
    weights, running = np.ones(len(Z)), np.zeros(Z.shape[1])
    _, N, inverse = norm.batch_norm_forward(Z, weights, scale, 0, running, running.copy())
    return norm.batch_norm_backward(N, weights, scale, inverse, dY)


def _sum_of_sines(x):
    return float(np.sum(np.sin(x)))


@exercise("gradient", f=_sum_of_sines, x=(3, 4))
def numerical_gradient(f, x):
    """Return (f(x + h) - f(x - h)) / 2h for each element of x, where only this element moves."""
    return np.cos(x)
