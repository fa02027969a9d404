"""Products of one sample and the weights of a layer with very few outputs.

A row of these weights fills a small part of a vector. Therefore as many rows as a vector has lanes are loaded
together, which are J whole vectors in memory, and shuffled to a vector for each output.

Shape letters: I inputs, J outputs of a layer, N samples, V outputs or inputs rounded up to whole vectors.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compiler.jit import kernel
from ..compiler.numba_internals import cgutils
from .matrix import Matrix, Rows
from .product import are_plain, matrices
from .row_product import first_lanes
from .value import Value
from .vector import get_vector, lanes

# Largest number of outputs of a narrow layer, if they fit in a vector. Each number has code of its own.
MAX_OUTPUTS = 4


@kernel
def is_narrow(W):
    """Return True if the products of this module serve the weights W (I, J)."""
    return W.shape[1] <= min(MAX_OUTPUTS, lanes(W))


def _choose_lanes(sources: list[Value], places: list[int]) -> Value:
    """Return the vector whose lane k is lane ``places[k]`` of all sources side by side."""
    first = sources[0]
    lanes, index = first.type.lanes, ir.VectorType(ir.IntType(32), first.type.lanes)

    def shuffle(left: Value, right: Value, picks: list[int]) -> Value:
        return first.like(first.builder.shuffle_vector(left.ir, right.ir, ir.Constant(index, picks)))

    result = first
    for k in range(0, len(sources), 2):
        # A shuffle takes two sources: lanes of other sources keep their values in the result.
        pair = sources[k], sources[min(k + 1, len(sources) - 1)]
        local = [place - k * lanes for place in places]
        picked = shuffle(*pair, [place if 0 <= place < 2 * lanes else 0 for place in local])
        keep = [lane + (lanes if 0 <= place < 2 * lanes else 0) for lane, place in enumerate(local)]
        result = shuffle(result, picked, keep) if k else picked
    return result


def _columns(rows: list[Value]) -> list[Value]:
    """Return the columns of a matrix (lanes, J) that fills J vectors row by row."""
    n, lanes = len(rows), rows[0].type.lanes
    return [_choose_lanes(rows, [k * n + j for k in range(lanes)]) for j in range(n)] if n > 1 else rows


def _rows(columns: list[Value]) -> list[Value]:
    """Return the matrix (lanes, J) with these columns, row by row: the inverse of `_columns`."""
    n, lanes = len(columns), columns[0].type.lanes
    if n == 1:
        return columns
    places = [(k % n) * lanes + k // n for k in range(n * lanes)]
    return [_choose_lanes(columns, places[v * lanes :][:lanes]) for v in range(n)]


class _Blocks:
    """The weights (I, J) of a layer, or their gradient, in blocks of as many rows as a vector has lanes."""

    def __init__(self, matrix: Matrix) -> None:
        self._builder = builder = matrix.builder
        self._zero = matrix.zero()
        self._lanes = matrix.vector.lanes
        self.n_rows, self._n_columns = matrix.shape
        self._elements = Rows(matrix.context, builder, matrix.vector, matrix.array.data, self.n_rows)
        self._pointer = matrix.vector.llvm.as_pointer()

    def switch_on_outputs(self, body: Callable[[int], None]) -> None:
        """Emit ``body(J)`` for every J of a narrow layer, and a switch to the code for the matrix's J."""
        builder, kind = self._builder, self.n_rows.type
        end = builder.append_basic_block("narrow.end")
        switch = builder.switch(self._n_columns, end)
        for n in range(1, min(MAX_OUTPUTS, self._lanes) + 1):
            block = builder.append_basic_block(f"narrow.{n}")
            switch.add_case(kind(n), block)
            builder.position_at_end(block)
            body(n)
            builder.branch(end)
        builder.position_at_end(end)

    def for_each_block(self, body: Callable[[ir.Value, ir.Value], None]) -> None:
        """Emit ``body(i, count)`` for the first row i of each block; count is None if the block is full."""
        builder, kind = self._builder, self.n_rows.type
        whole = builder.and_(self.n_rows, kind(-self._lanes))
        with cgutils.for_range_slice(builder, kind(0), whole, kind(self._lanes), inc=True) as (i, _):
            body(i, None)
        with builder.if_then(builder.icmp_signed("<", whole, self.n_rows)):
            body(whole, builder.sub(self.n_rows, whole))

    def _vectors(self, i: ir.Value, count: ir.Value, n: int) -> list[tuple[ir.Value, Value | None]]:
        """Return pointers to the n vectors of a block, each with the mask of its lanes in the matrix."""
        builder, kind = self._builder, i.type
        result = []
        for v in range(n):
            at = builder.add(builder.mul(i, kind(n)), kind(v * self._lanes))
            mask = None
            if count is not None:
                left = builder.sub(builder.mul(count, kind(n)), kind(v * self._lanes))
                mask = first_lanes(self._zero, left)
            pointer = builder.bitcast(self._elements.element(kind(0), at), self._pointer)
            result.append((pointer, mask))
        return result

    def load(self, i: ir.Value, count: ir.Value, n: int) -> list[Value]:
        """Return the n columns of a block, with 0 in rows that the matrix does not have."""
        return _columns([self.load_at(*where) for where in self._vectors(i, count, n)])

    def load_at(self, pointer: ir.Value, mask: Value | None) -> Value:
        """Return the vector at a pointer, with 0 in the lanes that a mask excludes."""
        if mask is not None:
            return self._zero.masked_load(pointer, mask)
        return self._zero.like(self._builder.load(pointer, align=self._zero.dtype.bitwidth // 8))

    def store(self, i: ir.Value, count: ir.Value, columns: list[Value]) -> None:
        """Write the columns of a block."""
        self.store_rows(i, count, _rows(columns))

    def store_rows(self, i: ir.Value, count: ir.Value, values: list[Value]) -> None:
        """Write the n vectors of a block in the order of memory, row by row."""
        for value, (pointer, mask) in zip(values, self._vectors(i, count, len(values)), strict=True):
            if mask is None:
                self._builder.store(value.ir, pointer, align=value.dtype.bitwidth // 8)
            else:
                value.masked_store(pointer, mask)

    def load_inputs(self, inputs: Matrix, t: ir.Value, i: ir.Value, count: ir.Value) -> Value:
        """Return the inputs of a block, of the sample t, with 0 after the last input."""
        pointer = self._builder.bitcast(inputs.pointer(t, i), self._pointer)
        return self.load_at(pointer, None if count is None else first_lanes(self._zero, count))


@intrinsic
def narrow_product_forward(typing_context, X, W, b, t, Z):
    """Compute ``Z[t] = X[t] W + b``; X (N, I or more), W (I, J), b (1, J), Z (N, V).

    W is narrow, V the number of lanes. The columns of Z from J on become 0.
    """
    if not are_plain((X, W, b), (Z,)):
        return None
    vector = get_vector(W)

    def generate(context, builder, signature, args):
        inputs, weights, biases, result = matrices(context, builder, signature, args)
        t, blocks, zero = args[3], _Blocks(weights), weights.zero()

        def body(n: int) -> None:
            sums = [cgutils.alloca_once(builder, vector.llvm) for _ in range(n)]
            for cell in sums:
                builder.store(zero.ir, cell)

            def add(i: ir.Value, count: ir.Value) -> None:
                x = blocks.load_inputs(inputs, t, i, count)
                for column, cell in zip(blocks.load(i, count, n), sums, strict=True):
                    builder.store(x.fma(column, zero.like(builder.load(cell))).ir, cell)

            blocks.for_each_block(add)
            row = zero.ir
            for j, cell in enumerate(sums):
                bias = builder.load(biases.pointer(t.type(0), t.type(j)))
                total = builder.fadd(bias, zero.like(builder.load(cell)).sum())
                row = builder.insert_element(row, total, ir.IntType(32)(j))
            result.store(t, t.type(0), zero.like(row))

        blocks.switch_on_outputs(body)
        return context.get_dummy_value()

    return types.void(X, W, b, types.intp, Z), generate


@intrinsic
def narrow_outer_product(typing_context, X, dZ, dW, adds):
    """Compute ``dW = X^T dZ``, or add the product to dW if `adds`.

    X (N, I or more), dZ (N, V), dW (I, J), which is narrow; adds is a bool. The product of a single
    sample has no sums: each input is copied to the lanes of its row of dW, and multiplied by the derivatives.
    """
    if not are_plain((X, dZ), (dW,)):
        return None

    def generate(context, builder, signature, args):
        inputs, source, gradient = matrices(context, builder, signature, args)
        blocks, zero = _Blocks(gradient), gradient.zero()
        kind = blocks.n_rows.type
        is_single = builder.and_(builder.icmp_signed("==", inputs.shape[0], kind(1)), builder.not_(args[3]))

        def body(n: int) -> None:
            with builder.if_else(is_single) as (single, several):
                with single:
                    single_body(n)
                with several:
                    several_body(n)

        def single_body(n: int) -> None:
            factors = _rows([source.broadcast(kind(0), kind(j)) for j in range(n)])

            def write(i: ir.Value, count: ir.Value) -> None:
                x = blocks.load_inputs(inputs, kind(0), i, count)
                blocks.store_rows(i, count, [v * d for v, d in zip(_rows([x] * n), factors, strict=True)])

            blocks.for_each_block(write)

        def several_body(n: int) -> None:
            sums = [cgutils.alloca_once(builder, zero.type.llvm) for _ in range(n)]

            def write(i: ir.Value, count: ir.Value) -> None:
                for cell in sums:
                    builder.store(zero.ir, cell)
                with builder.if_then(args[3]):
                    for column, cell in zip(blocks.load(i, count, n), sums, strict=True):
                        builder.store(column.ir, cell)
                samples = inputs.shape[0]
                with cgutils.for_range_slice(builder, kind(0), samples, kind(1), inc=True) as (t, _):
                    x = blocks.load_inputs(inputs, t, i, count)
                    for j, cell in enumerate(sums):
                        d = source.broadcast(t, kind(j))
                        builder.store(x.fma(d, zero.like(builder.load(cell))).ir, cell)
                blocks.store(i, count, [zero.like(builder.load(cell)) for cell in sums])

            blocks.for_each_block(write)

        blocks.switch_on_outputs(body)
        return context.get_dummy_value()

    return types.void(X, dZ, dW, types.boolean), generate


@intrinsic
def narrow_product_backward(typing_context, W, dZ, t, dX):
    """Compute ``dX[t] = W dZ[t]``; W (I, J), dZ (N, V), dX (N, V); W is narrow.

    The columns of dX from I on become 0.
    """
    if not are_plain((W, dZ), (dX,)):
        return None

    def generate(context, builder, signature, args):
        weights, source, result = matrices(context, builder, signature, args)
        t, blocks = args[2], _Blocks(weights)

        def body(n: int) -> None:
            factors = [source.broadcast(t, t.type(j)) for j in range(n)]

            def write(i: ir.Value, count: ir.Value) -> None:
                columns = blocks.load(i, count, n)
                total = columns[0] * factors[0]
                for column, factor in zip(columns[1:], factors[1:], strict=True):
                    total = column.fma(factor, total)
                # Rows that W does not have are loaded as 0, and 0 times infinity would be NaN.
                if count is not None:
                    total = total.where(first_lanes(total, count), 0.0)
                result.store(t, i, total)

            blocks.for_each_block(write)

        blocks.switch_on_outputs(body)
        return context.get_dummy_value()

    return types.void(W, dZ, types.intp, dX), generate
