"""The training loop: whole passes, and parts of them, in one call.

Shape letters: L layers, I inputs, T samples of a tile (a whole number of vectors), P parameters.
"""

from __future__ import annotations

import functools
from typing import Any

from .jit import kernel
from .network import DUNITS, INPUTS, OUTPUTS, backward_pass, forward_pass, last_outputs
from .output import softmax_backward
from .simd import view
from .update import gradient_descent

__all__ = ["train_passes"]


@functools.cache
def train_passes(activations: tuple[str, ...]) -> Any:
    """The kernel that trains networks with these activations by gradient descent.

    Its arguments, after the plan (L, 7), are

    - parameters (P,), gradient (P,): updated in place;
    - X, y: flat, a tile after the other, each (I, T) and (1, T); T; n_samples, of which the last
      tile may hold fewer than T, zeros behind them;
    - units, dunits: flat workspaces;
    - progress (2,): passes done, and tiles done of the next pass; updated;
    - last_pass, n_tiles: return after so many passes in all, or so many tiles in this call;
    - n_weights, epsilon, reg_lambda: as in `gradient_descent`.

    The parameters change at the end of a pass only, so a call may stop in the middle of one and
    the next take it up: a call stays short however large the data are. Returns whether all
    parameters are finite still; the call ends where they no longer are.
    """
    forward = forward_pass(activations)
    backward = backward_pass(activations)

    @kernel
    def train_passes(
        plan, parameters, gradient, X, y, T, n_samples, units, dunits, progress,
        last_pass, n_tiles, n_weights, epsilon, reg_lambda,
    ):  # fmt: skip
        n_inputs = plan[0, INPUTS]
        last = plan.shape[0] - 1
        epsilon = parameters.dtype.type(epsilon)
        reg_lambda = parameters.dtype.type(reg_lambda)
        while n_tiles > 0 and progress[0] < last_pass:
            tile = progress[1]
            if tile == 0:
                for k in range(gradient.shape[0]):
                    gradient[k] = 0
            X_tile = view(X, tile * n_inputs * T, n_inputs, T)
            y_tile = view(y, tile * T, 1, T)
            forward(plan, parameters, X_tile, units)
            dS = view(dunits, plan[last, DUNITS] * T, plan[last, OUTPUTS], T)
            n_real = min(n_samples - tile * T, T)
            softmax_backward(last_outputs(plan, T, units), y_tile, n_real, dS)
            backward(plan, parameters, X_tile, units, dunits, gradient)
            n_tiles -= 1
            progress[1] = tile + 1
            if (tile + 1) * T >= n_samples:
                progress[0] += 1
                progress[1] = 0
                if not gradient_descent(gradient, n_weights, epsilon, reg_lambda, parameters):
                    return False
        return True

    return train_passes
