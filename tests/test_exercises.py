"""`check_exercise`: right functions are recognised, and each kind of mistake is named."""

import re

import numpy as np
import pytest

import fastnn
from fastnn.exercises import EXERCISES


def read_verdict(name, function, capsys):
    fastnn.check_exercise(name, function)
    return capsys.readouterr().out.rstrip("\n")


def softmax(S):
    e = np.exp(S - S.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def cross_entropy_gradient(S, y):
    return (softmax(S) - np.eye(S.shape[1])[y]) / len(S)


def network_gradient(X, y, W1, b1, W2, b2):
    A = np.tanh(X @ W1 + b1)
    dS = cross_entropy_gradient(A @ W2 + b2, y)
    dZ = (1 - A**2) * (dS @ W2.T)
    return X.T @ dZ, dZ.sum(axis=0, keepdims=True), A.T @ dS, dS.sum(axis=0, keepdims=True)


def batch_norm_backward(Z, scale, dY):
    std = np.sqrt(Z.var(axis=0) + 1e-5)
    N = (Z - Z.mean(axis=0)) / std
    dZ = scale / std * (dY - dY.mean(axis=0) - N * (N * dY).mean(axis=0))
    return dZ, (N * dY).sum(axis=0, keepdims=True), dY.sum(axis=0, keepdims=True)


def numerical_gradient(f, x):
    x, gradient, h = x.copy(), np.zeros(x.shape), 1e-5
    for index in np.ndindex(x.shape):
        kept = x[index]
        x[index] = kept + h
        above = f(x)
        x[index] = kept - h
        gradient[index] = (above - f(x)) / (2 * h)
        x[index] = kept
    return gradient


# Correct functions, written as a reader would and without the reference.
RIGHT = {
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "neuron_gradient": lambda w, b, X, y: (
        X.T @ (1 / (1 + np.exp(-X @ w - b)) - y) / len(y),
        np.mean(1 / (1 + np.exp(-X @ w - b)) - y),
    ),
    "multiply_backward": lambda W, X, dZ: [X.T @ dZ, dZ @ W.T],
    "add_backward": lambda X, b, dZ: (dZ.sum(axis=0, keepdims=True), dZ),
    "tanh_backward": lambda Z, dA: dA / np.cosh(Z) ** 2,
    "relu_backward": lambda Z, dA: np.where(Z > 0, dA, 0),
    "softmax": softmax,
    "cross_entropy": lambda S, y: -np.log(softmax(S)[np.arange(len(y)), y]).mean(),
    "cross_entropy_gradient": cross_entropy_gradient,
    "squared_error_gradient": lambda S, Y: (S - Y) / len(Y),
    "network_gradient": network_gradient,
    "batch_norm_backward": batch_norm_backward,
    "numerical_gradient": numerical_gradient,
}


@pytest.mark.parametrize("name", EXERCISES)
def test_right_functions_are_recognised_and_a_wrong_sign_or_result_is_a_mistake(name, capsys):
    assert read_verdict(name, RIGHT[name], capsys) == f"{name}: right."

    def negated(*arguments):
        results = RIGHT[name](*arguments)
        return tuple(-r for r in results) if isinstance(results, tuple | list) else -results

    first = EXERCISES[name].results[0]
    assert read_verdict(name, negated, capsys) == f"{name}: not right yet. {first} has the wrong sign."
    assert "returned None: is `return" in read_verdict(name, lambda *arguments: None, capsys)
    assert "not right yet" in read_verdict(name, lambda *arguments: 0.0, capsys)


def restore_too_late(f, x):
    x += 1e-5
    return (f(x) - f(x - 2e-5)) / 2e-5


def restore_by_addition(f, x):
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        x[index] += 1e-5
        above = f(x)
        x[index] -= 2e-5
        gradient[index] = (above - f(x)) / 2e-5
        x[index] += 1e-5
    return gradient


def take_one_side(f, x):
    steps = 1e-5 * np.eye(x.size).reshape(-1, *x.shape)
    return np.array([(f(x + step) - f(x)) / 1e-5 for step in steps]).reshape(x.shape)


# Wrong functions of an exercise, and what is said about each.
WRONG = [
    ("sigmoid", lambda z: 1 / z.missing, "raised AttributeError: 'numpy.ndarray' object"),
    ("sigmoid", lambda z: np.zeros(7, int), "p has the dtype int64 instead of float64."),
    ("sigmoid", lambda z: [[0.0], [0.0, 1.0]], "p is not an array."),
    ("relu_backward", lambda Z, dA: Z > 0, "dtype bool instead of float64. Return dZ = dA"),
    ("tanh_backward", lambda Z, dA: 0 * Z, "dZ is 0."),
    ("multiply_backward", lambda W, X, dZ: (X.T @ dZ, dZ @ W), "W (3, 4), X (7, 3)"),
    ("multiply_backward", lambda W, X, dZ: (dZ.T @ X, dZ @ W.T), "dW is transposed: "),
    ("multiply_backward", lambda W, X, dZ: (dZ @ W.T, X.T @ dZ), "in another order: return dW, dX."),
    ("softmax", lambda S: (S, S), "returned 2 results instead of 1: P."),
    ("softmax", lambda S: np.exp(S) / np.exp(S).sum(1, keepdims=True), "near 1000. P has infinite values"),
    ("add_backward", lambda X, b, dZ: (dZ, dZ), "take the sum or the mean over the samples."),
    ("add_backward", lambda X, b, dZ: (dZ.sum(axis=1, keepdims=True), dZ), "add up the samples, axis 0,"),
    ("add_backward", lambda X, b, dZ: (dZ.mean(0, keepdims=True), dZ), "db is averaged over the samples"),
    ("add_backward", lambda X, b, dZ: (dZ.sum(axis=0), dZ), "(4,) instead of (1, 4): keep the"),
    ("cross_entropy_gradient", lambda *a: 7 * cross_entropy_gradient(*a), "dS is summed over the samples"),
    ("squared_error_gradient", lambda S, Y: Y - S, "dS has the wrong sign, and is summed over the samples"),
    ("squared_error_gradient", lambda S, Y: 2 * (S - Y) / len(S), "2 times the correct result."),
    ("neuron_gradient", lambda *a: [g[None] for g in RIGHT["neuron_gradient"](*a)], "remove the axes of"),
    ("numerical_gradient", restore_by_addition, "rounding errors in its argument x:"),
    ("numerical_gradient", restore_too_late, "It changed its argument x:"),
    ("numerical_gradient", lambda f, x: np.cos(x) * (1 - 2e-5), " and should be "),
    ("numerical_gradient", lambda f, x: np.cos(x).ravel(), "(12,) instead of (3, 4): reshape it."),
    ("numerical_gradient", take_one_side, " and should be "),
]


@pytest.mark.parametrize(("name", "function", "message"), WRONG)
def test_each_kind_of_mistake_is_named(name, function, message, capsys):
    printed = read_verdict(name, function, capsys)
    assert printed.startswith(f"{name}: not right yet")
    assert message in printed


def test_a_wrong_number_is_shown_with_the_right_one_and_the_formula(capsys):
    printed = read_verdict("tanh_backward", lambda Z, dA: (1 - Z**2) * dA, capsys)
    found = re.search(r"dZ\[(\d), (\d)\] is (\S+) and should be (\S+)\. ", printed)
    row, column, wrong, right = found.groups()
    arguments = next(EXERCISES["tanh_backward"].cases())[1]
    Z, dA = (arguments[name][int(row), int(column)] for name in ("Z", "dA"))
    np.testing.assert_allclose([float(wrong), float(right)], [(1 - Z**2) * dA, dA / np.cosh(Z) ** 2])
    assert printed.endswith(". Return dZ = (1 - tanh(Z)^2) dA.")


def test_other_arguments_are_errors():
    with pytest.raises(ValueError, match="name must be one of"):
        fastnn.check_exercise("tahn_backward", np.tanh)
    with pytest.raises(TypeError, match="function must be callable, got int"):
        fastnn.check_exercise("sigmoid", 3)
