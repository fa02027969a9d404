"""Forward and backward pass of samples through all layers of a network.

A network is a chain of units. A layer is the units `Affine`, which computes the sums, and `Activation`. In a
training, a layer may also have a unit `Dropout` before the sums and a unit `Normalisation` after them. A
unit's `forward` takes the output of the previous unit and stores what `backward` needs. `backward` takes the
derivative of the loss by the unit's output and returns the derivative by the unit's input.

Shapes: X, Z, A (n, units), W (n_in, n_out), b (1, n_out); ``dA`` is the derivative of the loss by A and has
A's shape.
"""

from __future__ import annotations

from .gate import affine_backward, affine_forward
from .layer import activation_backward, activation_forward
from .norm import batch_norm_backward, batch_norm_forward
from .random import draw, dropout, dropout_backward

# --- backpropagation -----------------------------------------------------------------------------


def forward_pass(chain, X):
    """Return the output of the last unit, the scores (n, k), for the samples X."""
    for unit in chain:
        X = unit.forward(X)
    return X


def backward_pass(chain, dS):
    """Return the derivative by the samples, given the derivative dS by the scores.

    Units store the derivatives by their parameters.
    """
    for unit in reversed(chain):
        dS = unit.backward(dS)
    return dS


class Affine:
    """The unit ``Z = X W + b``; after `backward`, `dW` and `db` are the derivatives by W and b."""

    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, X):
        self.X = X
        return affine_forward(self.W, self.b, X)

    def backward(self, dZ):
        self.dW, self.db, dX = affine_backward(self.W, self.X, dZ)
        return dX


class Activation:
    """The unit ``A = f(Z)``, where f is the activation `name`."""

    def __init__(self, name):
        self.name = name

    def forward(self, Z):
        self.Z, self.A = Z, activation_forward(self.name, Z)
        return self.A

    def backward(self, dA):
        return activation_backward(self.name, self.Z, self.A, dA)


# --- units of a training -------------------------------------------------------------------------


class Normalisation:
    """Batch normalisation of the sums; after `backward`, `dscale` and `dshift` are the derivatives."""

    def __init__(self, weights, scale, shift, running):
        self.weights, self.scale, self.shift, self.running = weights, scale, shift, running

    def forward(self, Z):
        """Return the normalised sums, scaled and shifted."""
        normalised, self.N, self.inverse = batch_norm_forward(
            Z, self.weights, self.scale, self.shift, self.running[:1], self.running[1:]
        )
        return normalised

    def backward(self, dZ):
        """Return the derivative by the input, the sums before normalisation."""
        dZ, self.dscale, self.dshift = batch_norm_backward(self.N, self.weights, self.scale, self.inverse, dZ)
        return dZ


class Dropout:
    """Dropout of values with probability `rate`, by the random numbers of `key`."""

    def __init__(self, rate, key):
        self.rate, self.key = rate, key

    def forward(self, X):
        self.D = dropout(X, self.key, 0, self.rate)
        return self.D

    def backward(self, dD):
        return dropout_backward(self.D, dD, self.rate)


def make_chain(activations, W, b):
    """Return the units of a network that predicts, given lists with an entry for each layer."""
    layers = zip(activations, W, b, strict=True)
    return [unit for name, W, b in layers for unit in (Affine(W, b), Activation(name))]


def make_training_chain(network, parameters, statistics, weights, key):
    """Return the units of a network in a training, for a batch with sample weights (n,) and a random key."""
    arrays = zip(
        network.activations,
        network.weights(parameters),
        network.biases(parameters),
        network.scales(parameters),
        network.shifts(parameters),
        network.running(statistics),
        network.dropout or (0.0,) * len(network.activations),
        strict=True,
    )
    chain: list[Affine | Normalisation | Activation | Dropout] = []
    for layer, (name, W, b, scale, shift, running, rate) in enumerate(arrays):
        if rate > 0:
            chain.append(Dropout(rate, draw(key, layer)))
        chain.append(Affine(W, b))
        if scale is not None:
            chain.append(Normalisation(weights, scale, shift, running))
        chain.append(Activation(name))
    return chain


def scores(activations, W, b, X):
    """Return the scores (n, k) of the samples X; see `make_chain`."""
    return forward_pass(make_chain(activations, W, b), X)
