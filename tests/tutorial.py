"""The tutorial's training as it wrote it: the same NumPy calls in the same order.

What the library must reproduce, and the baseline of its speed.
"""

import itertools
from collections.abc import Iterator

import numpy as np
from sklearn.datasets import make_moons


def moons():
    """The tutorial's data, with NumPy's global generator seeded as it does."""
    np.random.seed(0)
    return make_moons(200, noise=0.20)


def tutorial_run(X, y, layers_dim, num_passes, epsilon, reg_lambda) -> Iterator[tuple[list, list]]:
    """W and b after every pass, the same lists each time; drawn from NumPy's global generator."""
    W = []
    b = []
    for n_in, n_out in itertools.pairwise(layers_dim):
        W.append(np.random.randn(n_in, n_out) / np.sqrt(n_in))
        b.append(np.random.randn(n_out).reshape(1, n_out))
    for _ in range(num_passes):
        inputs = X
        forward = []
        for weights, bias in zip(W, b, strict=True):
            mul = np.dot(inputs, weights)
            add = mul + bias
            forward.append((inputs, mul, add))
            inputs = np.tanh(add)

        exp_scores = np.exp(inputs)
        dtanh = exp_scores / np.sum(exp_scores, axis=1, keepdims=True)
        dtanh[range(X.shape[0]), y] -= 1
        for k in reversed(range(len(W))):
            inputs, mul, add = forward[k]
            dadd = (1.0 - np.square(np.tanh(add))) * dtanh
            db = np.dot(np.ones((1, dadd.shape[0])), dadd)
            dmul = dadd * np.ones_like(mul)
            dW = np.dot(np.transpose(inputs), dmul)
            dtanh = np.dot(dmul, np.transpose(W[k]))
            dW += reg_lambda * W[k]
            b[k] += -epsilon * db
            W[k] += -epsilon * dW
        yield W, b


def tutorial_scores(W, b, X):
    """The last layer's outputs (n, k), of which the highest names the class."""
    for weights, bias in zip(W, b, strict=True):
        X = np.tanh(np.dot(X, weights) + bias)
    return X
