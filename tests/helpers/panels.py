"""Panels, the order in which products of the derivatives by the weights read their source."""

import numpy as np

from fastnn_kernels.vectors.processor import VECTOR_BYTES
from fastnn_kernels.vectors.product import WIDEST


def panel_columns(count, dtype):
    """Return `count` columns rounded up to whole vectors, or to whole panels if they are more than one."""
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    vectors = -(-count // lanes)
    return lanes * (vectors if vectors <= WIDEST else -(-vectors // WIDEST) * WIDEST)


def panels_of(matrix):
    """Return the columns of a matrix (T, C) in panels, NaN where they have none."""
    size = panel_columns(matrix.shape[1], matrix.dtype)
    width = min(size, panel_columns(WIDEST * VECTOR_BYTES // matrix.itemsize, matrix.dtype))
    result = np.full((len(matrix), size), np.nan, matrix.dtype)
    result[:, : matrix.shape[1]] = matrix
    return result.reshape(len(matrix), -1, width).swapaxes(0, 1).reshape(-1, width).copy()
