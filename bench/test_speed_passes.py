"""Benchmarks of single passes: a step with a loss in NumPy, the gradient by the inputs, the Jacobian."""

import importlib.util
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

import fastnn

LAYERS = [4, 64, 64, 2]
Calls = dict[str, Callable[[], object]]


def make_data(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return samples and labels."""
    random = np.random.default_rng(0)
    return random.standard_normal((n, LAYERS[0])).astype(np.float32), random.integers(0, LAYERS[-1], n)


def by_fastnn(n: int) -> Calls:
    """Return the calls of fastnn, whose cross-entropy is NumPy's."""
    X, y = make_data(n)
    rows, last = np.arange(n), np.zeros((n, LAYERS[-1]), np.float32)
    last[:, -1] = 1
    model = fastnn.Model(LAYERS, output_activation="identity", dtype=np.float32, random_state=0)
    net, frozen = fastnn.Backprop(model, "adam"), fastnn.Backprop(model, frozen=True)

    def step() -> None:
        S = net.forward(X)
        dS = np.exp(S - S.max(axis=1, keepdims=True))
        dS /= dS.sum(axis=1, keepdims=True)
        dS[rows, y] -= 1
        dS /= n
        net.backward(dS, inputs=False)
        net.step(0.001)

    def input_gradient() -> object:
        frozen.forward(X)
        return frozen.backward(last, parameters=False)

    return {"step": step, "input gradient": input_gradient, "jacobian": lambda: model.jacobian(X)}


def by_torch(n: int) -> Calls:
    """Return the calls of PyTorch, eager, with its fused Adam, on one thread."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    X, y = (torch.from_numpy(array) for array in make_data(n))
    layers = [(nn.Linear(*shape), nn.Tanh()) for shape in pairwise(LAYERS)]
    network = nn.Sequential(*[part for layer in layers for part in layer][:-1])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(X), y).backward()
        optimizer.step()

    def input_gradient() -> object:
        moved = X.clone().requires_grad_()
        return torch.autograd.grad(network(moved)[:, -1].sum(), moved)

    jacobian = torch.func.vmap(torch.func.jacrev(network))
    return {"step": step, "input gradient": input_gradient, "jacobian": lambda: jacobian(X)}


def by_jax(n: int) -> Calls:
    """Return the calls of JAX, each of which is jitted as a whole."""
    import jax
    import jax.numpy as jnp

    X, y = map(jnp.asarray, make_data(n))
    keys = jax.random.split(jax.random.key(0), len(LAYERS) - 1)
    shapes = zip(keys, LAYERS, LAYERS[1:], strict=False)
    weights = [
        (jax.random.normal(key, shape) / shape[0] ** 0.5, jnp.zeros(shape[1])) for key, *shape in shapes
    ]

    def compute_scores(weights, X):
        for W, b in weights[:-1]:
            X = jnp.tanh(X @ W + b)
        return X @ weights[-1][0] + weights[-1][1]

    def compute_loss(weights):
        return -jnp.take_along_axis(jax.nn.log_softmax(compute_scores(weights, X)), y[:, None], 1).mean()

    @jax.jit
    def adam(weights, m, v, k):
        gradient = jax.grad(compute_loss)(weights)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradient)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradient)
        rate, root = 0.001 / (1 - 0.9**k), 1 - 0.999**k
        weights = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v / root) + 1e-8), weights, m, v)
        return weights, m, v, k + 1

    zeros = jax.tree.map(jnp.zeros_like, weights)
    state = [(weights, zeros, zeros, 1.0)]

    def step() -> None:
        state[0] = jax.block_until_ready(adam(*state[0]))

    gradient = jax.jit(jax.grad(lambda X: compute_scores(weights, X)[:, -1].sum()))
    jacobian = jax.jit(jax.vmap(jax.jacrev(lambda x: compute_scores(weights, x))))
    return {
        "step": step,
        "input gradient": lambda: jax.block_until_ready(gradient(X)),
        "jacobian": lambda: jax.block_until_ready(jacobian(X)),
    }


SIDES = {"fastnn": by_fastnn}
if importlib.util.find_spec("torch"):
    SIDES["torch"] = by_torch
if importlib.util.find_spec("jax"):
    SIDES["jax"] = by_jax


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("n", [1, 64, 256])
@pytest.mark.parametrize("call", ["step", "input gradient", "jacobian"])
def test_passes(benchmark, call, n, side):
    """Benchmark one call on n samples."""
    benchmark.group = f"{call}, {LAYERS}, {n} samples, float32"
    benchmark(SIDES[side](n)[call])
