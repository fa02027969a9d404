"""A formula applied to every value of a matrix.

Shape letters: R rows, T columns (a whole number of vectors).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from ..compiler.jit import Kernel, kernel
from .vector import N_INTERLEAVED, flat, lanes, load, load_several, store


@functools.cache
def elementwise(function: Callable) -> Kernel:
    """Return the kernel ``(Z, A)``, which computes A = function(Z) for every value.

    `function` is an emitter of one argument (`value.emitter`). Z and A are (R, T); A may be Z itself.
    """

    @kernel
    def elementwise(Z, A):
        Z, A = flat(Z), flat(A)
        block = N_INTERLEAVED * lanes(Z)
        whole = Z.shape[1] - Z.shape[1] % block
        for k in range(0, whole, block):
            store(A, 0, k, function(load_several(Z, 0, k, N_INTERLEAVED)))
        for k in range(whole, Z.shape[1], lanes(Z)):
            store(A, 0, k, function(load(Z, 0, k)))

    return elementwise
