"""Samples through all layers, forward and back.

A network is its lists W and b and the names of its layers' activations.
"""

from __future__ import annotations

from .gate import affine_backward, affine_forward
from .layer import activation_backward, activation_forward

__all__ = ["backward_pass", "forward_pass", "scores"]


def forward_pass(activations, W, b, X):
    """Outputs of every layer, X itself first."""
    outputs = [X]
    for name, weights, bias in zip(activations, W, b, strict=True):
        outputs.append(activation_forward(name, affine_forward(weights, bias, outputs[-1])))
    return outputs


def scores(activations, W, b, X):
    """The last layer's outputs (n, k)."""
    return forward_pass(activations, W, b, X)[-1]


def backward_pass(activations, W, outputs, dS):
    """Derivatives (dW, db), lists as W and b are, from the one by the last layer's outputs."""
    dW: list = []
    db: list = []
    dA = dS
    for layer in reversed(range(len(W))):
        dZ = activation_backward(activations[layer], outputs[layer + 1], dA)
        dweights, dbias, dA = affine_backward(W[layer], outputs[layer], dZ)
        dW.insert(0, dweights)
        db.insert(0, dbias)
    return dW, db
