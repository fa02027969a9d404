"""The gates of a layer: multiplication by the weights, and addition of the bias.

Shape letters: I inputs, J outputs of the layer, T samples of a tile (a whole number of vectors).
A sample is a column.
"""

from .compiler.jit import kernel
from .vectors.product import CHUNK, HIGHEST, outer_product, panel_width, product_backward, product_forward
from .vectors.sample_sums import add_outer_sums, add_row_sum, column_sums
from .vectors.tile import transpose_panels
from .vectors.vector import lanes, row, rows, view

# Blocks of columns that are packed side by side, so that a row of W is read a few cache lines at a time.
BLOCKS_TOGETHER = 16


@kernel
def affine_forward(W, b, X, packed, Z):
    """Compute the multiply gate and the add gate together: ``Z = W^T X + b``.

    W (I, J); b (1, J); X (I, T); Z (J, T). packed (1, C): the weights in the order in which products read
    them, filled by `pack`; None, or without columns, if they are not packed. The results have the same bits.
    """
    product_forward(W, b, X, packed, Z)


@kernel
def count_packed_weights(n_inputs, n_outputs):
    """Return the number of a layer's weights that `pack` copies."""
    return n_inputs * (n_outputs // HIGHEST * HIGHEST)


@kernel
def pack(W, packed):
    """Copy blocks of a few columns of the weights one after another, each block row by row.

    Products read the weights in this order, some rows (`product.CHUNK`) after the other. The columns after
    the last whole block are not copied.

    W (I, J); packed (1, C), where C is `count_packed_weights`.
    """
    n_inputs, n_blocks = W.shape[0], W.shape[1] // HIGHEST
    for begin in range(0, n_inputs, CHUNK):
        end = min(begin + CHUNK, n_inputs)
        start, size = begin * n_blocks * HIGHEST, (end - begin) * HIGHEST
        for first in range(0, n_blocks, BLOCKS_TOGETHER):
            for i in range(begin, end):
                for block in range(first, min(first + BLOCKS_TOGETHER, n_blocks)):
                    for k in range(HIGHEST):
                        at = start + block * size + (i - begin) * HIGHEST + k
                        packed[0, at] = W[i, block * HIGHEST + k]


@kernel
def affine_backward(W, X, dZ, dW, db, dX, scratch, adds):
    """Compute the derivatives of both gates: ``dW = X dZ^T``, ``db = row sums of dZ``, ``dX = W dZ``.

    W and dW (I, J); X (I, T); dZ (J, T); db (1, J). dW and db are overwritten, or added to if `adds`. dX (I,
    T) is overwritten; without rows if it is not needed, as in the first layer. scratch, flat: a workspace of
    at least T times J elements, J rounded up to whole vectors, or to whole panels if it is more than one
    (`product.panel_width`).
    """
    n_inputs = X.shape[0]
    n_outputs, T = dZ.shape
    if sample_sums_are_faster(n_inputs, n_outputs, T, lanes(dZ)):
        if not adds:
            for j in range(n_outputs):
                db[0, j] = 0
            for i in range(n_inputs):
                for j in range(n_outputs):
                    dW[i, j] = 0
        add_sums_of_samples(X, dZ, dW, db)
    else:
        panels = transpose_to_panels(dZ, scratch)
        outer_product(X, panels, dW, adds)
        sum_panels(panels, db, adds)
    if dX.shape[0] > 0:
        product_backward(W, dZ, dX)


@kernel
def transpose_to_panels(dZ, scratch):
    """Return the panels of the transposed dZ (J, T) (`tile.transpose_panels`), in the workspace `scratch`."""
    width = min(panel_width(dZ), -(-dZ.shape[0] // lanes(dZ)) * lanes(dZ))
    panels = view(scratch, 0, -(-dZ.shape[0] // width) * dZ.shape[1], width)
    transpose_panels(dZ, panels)
    return panels


@kernel
def sum_panels(panels, db, adds):
    """Write the sums of the columns of a matrix in panels to db (1, J), or add them if `adds`."""
    n_outputs, width = db.shape[1], panels.shape[1]
    T = panels.shape[0] // -(-n_outputs // width)
    for first in range(0, n_outputs, width):
        begin = first // width * T
        some = view(row(db, 0), first, 1, min(width, n_outputs - first))
        column_sums(rows(panels, begin, begin + T), some, adds)


@kernel
def sample_sums_are_faster(n_inputs, n_outputs, T, n_lanes):
    """Return True if dW is computed faster with vectors of samples than with vectors of outputs.

    With vectors of samples, every element of dW is a sum over vectors and then over lanes
    (`add_sums_of_samples`); with vectors of outputs, dW is the product with the transposed dZ.
    """
    n_vectors = -(-n_outputs // n_lanes)
    # Estimated times of the two ways, in sixths of a nanosecond, fitted to measurements. A single vector of
    # outputs takes twice its share of a wider block; vectors of outputs also take the transposition of dZ.
    sums = n_inputs * n_outputs * (11 + T // n_lanes)
    whole = n_outputs // n_lanes
    shares = whole if whole > 1 else 2 * whole
    if n_outputs % n_lanes:
        shares += 2
    return sums < T * (n_inputs * shares + 17 * n_vectors)


@kernel
def add_sums_of_samples(X, dZ, dW, db):
    """Add ``X dZ^T`` to dW and the row sums of dZ to db, with vectors of samples."""
    n_inputs, n_outputs = dW.shape
    fours, twos = n_outputs // 4 * 4, n_outputs // 2 * 2
    # Four rows of dZ stay in the first-level cache for their sums and for the products with all inputs.
    for j in range(n_outputs):
        add_row_sum(dZ, db, j)
        if j % 4 == 3:
            for i in range(0, n_inputs - 1, 2):
                add_outer_sums(2, 4, X, dZ, dW, i, j - 3)
    for i in range(0, n_inputs - 1, 2):
        if fours < twos:
            add_outer_sums(2, 2, X, dZ, dW, i, fours)
        if twos < n_outputs:
            add_outer_sums(2, 1, X, dZ, dW, i, twos)
    if n_inputs % 2:
        for j in range(0, twos, 2):
            add_outer_sums(1, 2, X, dZ, dW, n_inputs - 1, j)
        if twos < n_outputs:
            add_outer_sums(1, 1, X, dZ, dW, n_inputs - 1, twos)
