"""The gates: the product with the weights, and the bias added to it.

Shape letters: I inputs, J outputs of the layer, T samples of a tile (a whole number of vectors).
A sample is a column.
"""

from __future__ import annotations

from .jit import kernel
from .product import add_outer_sums, add_row_sum, backward_rows, forward_rows

__all__ = ["affine_backward", "affine_forward"]


@kernel
def affine_forward(W, b, X, Z):
    """Multiply gate and add gate in one: ``Z = W^T X + b``.

    Parameters
    ----------
    W : array (I, J)
    b : array (1, J)
    X : array (I, T)
    Z : array (J, T)
        Overwritten.
    """
    n_outputs = W.shape[1]
    whole = n_outputs - n_outputs % 4
    for j in range(0, whole, 4):
        forward_rows(4, W, b, X, Z, j)
    if n_outputs - whole == 3:
        forward_rows(3, W, b, X, Z, whole)
    elif n_outputs - whole == 2:
        forward_rows(2, W, b, X, Z, whole)
    elif n_outputs - whole == 1:
        forward_rows(1, W, b, X, Z, whole)


@kernel
def affine_backward(W, X, dZ, dW, db, dX):
    """Gradients of both gates: ``dW += X dZ^T``, ``db += dZ's row sums``, ``dX = W dZ``.

    Parameters
    ----------
    W : array (I, J)
    X : array (I, T)
    dZ : array (J, T)
    dW : array (I, J)
        Added to, so that a batch may come in several tiles.
    db : array (1, J)
        Added to.
    dX : array (I, T) or (0, T)
        Overwritten; of no rows where nobody asks for it, as in the first layer.
    """
    n_inputs, n_outputs = W.shape
    for j in range(n_outputs):
        add_row_sum(dZ, db, j)

    whole_inputs = n_inputs - n_inputs % 4
    whole_outputs = n_outputs - n_outputs % 4
    for i in range(0, whole_inputs, 4):
        for j in range(0, whole_outputs, 4):
            add_outer_sums(4, 4, X, dZ, dW, i, j)
        for j in range(whole_outputs, n_outputs):
            add_outer_sums(4, 1, X, dZ, dW, i, j)
    for i in range(whole_inputs, n_inputs - 1, 2):
        for j in range(0, n_outputs - 1, 2):
            add_outer_sums(2, 2, X, dZ, dW, i, j)
        if n_outputs % 2:
            add_outer_sums(2, 1, X, dZ, dW, i, n_outputs - 1)
    if n_inputs % 2:
        for j in range(0, n_outputs - 1, 2):
            add_outer_sums(1, 2, X, dZ, dW, n_inputs - 1, j)
        if n_outputs % 2:
            add_outer_sums(1, 1, X, dZ, dW, n_inputs - 1, n_outputs - 1)

    if dX.shape[0] == n_inputs:
        for i in range(0, whole_inputs, 4):
            backward_rows(4, W, dZ, dX, i)
        if n_inputs - whole_inputs == 3:
            backward_rows(3, W, dZ, dX, whole_inputs)
        elif n_inputs - whole_inputs == 2:
            backward_rows(2, W, dZ, dX, whole_inputs)
        elif n_inputs - whole_inputs == 1:
            backward_rows(1, W, dZ, dX, whole_inputs)
