"""The kernels that a library has: every registered formula, and the loops with all their variants.

A kernel that is not listed here is compiled by numba when it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from .calls import encoding, formulas, lbfgs, passes, pictures, prediction, training
from .compiler.entry import FunctionPointer
from .grid import RESPONSES
from .layer import ACTIVATIONS
from .loss import LOSSES
from .output import OUTPUTS
from .update import OPTIMIZERS

FLAGS = (False, True)
# Dtypes of the pixels of pictures with up to 256, and with up to 65,536 classes.
PIXELS = [np.dtype(np.uint8), np.dtype(np.uint16)]


def all_pointers() -> Iterator[FunctionPointer]:
    """Yield the pointers to all kernels of a library, in both dtypes."""
    yield from (prediction.plan_packing(), lbfgs.advance_pointer())
    yield from (encoding.smooth_scaled(), encoding.piecewise_linear())
    yield from map(pictures.fill_squares, PIXELS)
    for dtype in (np.dtype(np.float64), np.dtype(np.float32)):
        for table in (formulas.forward_table, formulas.backward_table, formulas.bounds_table):
            yield from table(tuple(ACTIVATIONS), dtype).pointers
        for name in OUTPUTS:
            yield formulas.forward_pointer(name, dtype)
        for name in LOSSES:
            yield from (formulas.value_pointer(name, dtype), formulas.backward_pointer(name, dtype))
        yield formulas.backward_pointer(formulas.GIVEN_LOSS, dtype)
        for name, (with_l1, plain) in product(OPTIMIZERS, [(False, False), (True, False), (False, True)]):
            yield formulas.update_pointer(name, with_l1, dtype, plain)
        yield from _training_pointers(dtype)
        for sparse in FLAGS:
            yield from (prediction.outputs(sparse, dtype), prediction.predict(sparse, dtype))
            yield from (prediction.loss(sparse, dtype), lbfgs.lbfgs_iterations(sparse, dtype))
        for by_rows in FLAGS:
            yield passes.forward(by_rows, dtype)
            for wanted in (passes.NO_GRADIENT, passes.SUM, passes.EACH):
                yield passes.backward(by_rows, wanted, dtype)
        yield from (passes.step(dtype), prediction.pack_weights(dtype))
        for votes in FLAGS:
            yield pictures.subdivide(votes, dtype)
            for target in PIXELS:
                yield pictures.grid_classes(votes, dtype, target)
                yield pictures.evaluate(votes, dtype, target)
        for response in RESPONSES:
            yield pictures.grid_values(response, dtype)


def _training_pointers(dtype: np.dtype) -> Iterator[FunctionPointer]:
    """Yield the pointers to gradients, options and training loops."""
    given = ("tanh",), formulas.backward_pointer("squared_error", dtype)
    for batch_norm, dropped, sparse in product(FLAGS, FLAGS, FLAGS):
        gradient = training.gradient_pointers(*given, batch_norm, dropped, sparse, False, dtype)
        yield from filter(None, [gradient.of])
    by_rows = training.gradient_pointers(*given, False, False, False, False, dtype, by_rows=True)
    yield from filter(None, [by_rows.of])
    options = training.option_pointers(training.Options._fields, False, dtype)
    by_team = training.option_pointers(training.Options._fields, True, dtype)
    yield from (
        option for option in (*options, by_team.weight_squares) if isinstance(option, FunctionPointer)
    )
    update = formulas.update_pointer("sgd", False, dtype)
    for gathered, by_units, sparse in [*product(FLAGS, FLAGS, [False]), (True, False, True)]:
        gradients = training.gradient_pointers(*given, False, False, sparse, by_units, dtype)
        pointers = training.StepPointers(gradients, update, training.option_pointers((), by_units, dtype))
        yield training.training_loop(gathered, by_units, sparse, dtype, pointers)
