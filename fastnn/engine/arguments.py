"""Arguments of the training kernels, computed from a network and a job."""

from __future__ import annotations

import math
import operator
from collections.abc import Hashable

import numpy as np

from fastnn_kernels.calls.formulas import backward_pointer, update_pointer
from fastnn_kernels.calls.training import (
    BLOCK,
    N_PARTS,
    PANEL_LINES,
    Data,
    GradientPointers,
    TrainingSettings,
    Workspace,
    gradient_pointers,
)
from fastnn_kernels.compiler.entry import FunctionPointer

from ..network.description import Array, Network, allocate_empty
from . import limits
from .arrays import average_row_values, make_csr_table
from .job import Job
from .own_losses import get_loss_pointer
from .tiles import count_tile_rows

# Settings of the kernels that are copied from a job.
_COPIED = [name for name in TrainingSettings._fields if hasattr(Job, name) or name in Job.__annotations__]
_copy_settings = operator.attrgetter(*_COPIED)


def get_job_pointers(
    network: Network, job: Job, *, by_units: bool, by_rows: bool = False
) -> GradientPointers:
    """Return the pointers to the kernels that compute a job's gradient.

    `by_units` lets threads share units; `by_rows` is the result of `is_by_rows`.
    """
    return gradient_pointers(
        network.kernel_activations,
        get_loss_pointer(backward_pointer, network.loss, network.dtype),
        network.batch_norm,
        bool(network.dropout),
        job.is_sparse,
        by_units,
        network.dtype,
        by_rows,
    )


def get_job_update(network: Network, job: Job, n_shards: int) -> FunctionPointer:
    """Return the pointer to the kernel that updates a job's parameters, given the gradients of the shards."""
    with_l1 = bool(job.l1 > 0)
    penalised = with_l1 or job.reg_lambda > 0 or job.weight_decay > 0 or job.clip_norm > 0
    plain = bool(n_shards == 1 and not penalised)
    return update_pointer(job.optimizer.rule, with_l1, network.dtype, plain)


def make_tile_data(network: Network, job: Job, width: int, by_rows: bool = False) -> Data:
    """Return the kernels' `Data` for training on whole batches.

    Samples, targets and weights are stored tile by tile; a tile has a row per feature and a column per
    sample. A CSR matrix is not rearranged, and with `by_rows` neither are the samples.
    """
    n_samples, n_inputs = job.X.shape
    n_targets = job.n_targets
    n_tiles = -(-n_samples // width)
    scale = job.weight_scale
    X, y, weights = (
        allocate_empty(n_tiles * rows * width, network.dtype)
        for rows in (0 if job.is_sparse else n_inputs, n_targets, 1)
    )
    # Padding columns have weight 0. They repeat the last sample, so that no sum overflows in the padding
    # unless it also overflows in a sample.
    np.multiply(job.weights, scale, out=weights[:n_samples], casting="same_kind")
    weights[n_samples:] = 0
    fill_tiles(job.y, width, y)
    if by_rows:
        X[: job.X.size] = job.X.ravel()
    elif not job.is_sparse:
        fill_tiles(job.X, width, X)
    samples = make_csr_table(job.X, np.arange(n_samples, dtype=np.int64)) if job.is_sparse else X
    return Data(samples, y, weights, np.empty(0, np.int64))


def fill_tiles(table: Array, width: int, flat: Array) -> None:
    """Copy a table (n, columns) to tiles (columns, width), one after another; repeat its last row."""
    n, columns = table.shape
    if columns == 1:  # the tiles of a single column are the column
        flat[:n] = table[:, 0]
        flat[n:] = table[-1, 0]
        return
    for k in range(-(-n // width)):
        rows = table[k * width : (k + 1) * width]
        tile = flat[k * columns * width :][: columns * width].reshape(columns, width)
        tile[:, : len(rows)] = rows.T
        if len(rows) < width:
            tile[:, len(rows) :] = rows[-1, :, None]


def make_kernel_settings(
    network: Network, job: Job, width: int, shard_size: int, by_rows: bool = False
) -> TrainingSettings:
    """Return the kernels' settings. Fields that are not computed here are copied from the job by name."""
    return TrainingSettings(
        shard_size=shard_size,
        tile_width=width,
        by_rows=by_rows,
        averaged=job.is_mean,
        loss_parameter=-job.max_loss or network.loss.parameter,
        dropout=np.array(network.dropout),
        n_weights=network.n_weights,
        **dict(zip(_COPIED, _copy_settings(job), strict=True)),
    )


def make_training_workspace(
    network: Network, job: Job, width: int, n_threads: int, by_units: bool = False
) -> Workspace:
    """Return the scratch arrays that `n_threads` threads overwrite in training."""
    layout, dtype, line = network.training_layout, network.dtype, network.whole_tile(1)
    # Rounding units up to whole vectors takes at most a vector for each window of `small_batch`, whose tile
    # is one line wide.
    padding = line * line * (2 * len(network.shapes) + 1)
    widest = max(network.whole_tile(n_out) for _, n_out in network.shapes)
    gathered = count_tile_rows(network, job.is_sparse) + job.n_targets + 1 if job.is_gathered else 0

    def rows(size: int, padding: int = 0) -> Array:
        return allocate_distant_rows(n_threads, size * width + padding, dtype)

    n_blocks = -(-network.n_parameters // BLOCK)
    size = 2 * widest * width if by_units else 0
    sums = allocate_empty(2 * size, dtype).reshape(2, size)
    sums[1] = 0
    return Workspace(
        tiles=rows(gathered),
        units=rows(layout.n_units, padding),
        dunits=rows(layout.n_dunits, padding),
        scratch=rows(widest + PANEL_LINES * line, widest * line),
        before=allocate_empty(network.n_parameters, dtype),
        partial=np.zeros(n_blocks),
        sums=sums,
        finite=np.ones(n_threads, np.int64),
    )


def allocate_distant_rows(n_rows: int, size: int, dtype: np.dtype) -> Array:
    """Return an uninitialised array of `n_rows` rows, each for another thread and of `size` elements or more.

    A processor prefetches the cache lines that follow those it works on. If these lines belonged to another
    thread of the step, both would take them from each other again and again: `limits.GAP_BYTES`, which no
    thread uses, lie between the rows.
    """
    gap = limits.GAP_BYTES // dtype.itemsize if n_rows > 1 else 0
    return allocate_empty(n_rows * (size + gap), dtype).reshape(n_rows, size + gap)


def count_useful_threads(network: Network, job: Job) -> int:
    """Return the largest number of threads that have work in a step.

    They share the parts of a step (`divide_step`). On a CSR matrix, whose samples use few of the features,
    the first layer takes most of the time: each thread multiplies a fraction of the samples and of the
    features by the weights, and updates a fraction of the parameters.
    """
    if job.is_sparse:
        n_values = average_row_values(job.X) * job.batch_size
        n_touched = network.n_parameters + 2 * n_values * network.layers_dim[1]
        return max(1, int(n_touched / limits.MIN_TOUCHED))
    n_parts, _ = divide_step(network, job.batch_size)
    return n_parts


def describe_steps(network: Network, job: Job) -> Hashable:
    """Return a value that is equal for training runs whose steps take about the same time."""
    order = math.frexp(average_row_values(job.X))[1] if job.is_sparse else None
    return network, job.batch_size, order


def is_by_rows(network: Network, batch_size: int, is_sparse: bool = False) -> bool:
    """Return True if a step has too few samples to fill vectors: they run along units (`small_batch`)."""
    if network.batch_norm or network.dropout or is_sparse:
        return False
    is_narrow = batch_size * network.dtype.itemsize <= limits.ROW_BYTES
    return is_narrow and divide_step(network, batch_size) == (1, False)


def divide_step(network: Network, batch_size: int, is_sparse: bool = False) -> tuple[int, bool]:
    """Return the number of parts that threads share in a step, and True if the parts are units of a layer.

    Otherwise the parts are shards of the batch. The parts depend on the problem alone and not on the number
    of threads, so that the result is the same, bit for bit, for any number of threads.
    """
    operations = network.training_operations * batch_size * network.dtype.itemsize / 4
    # On a CSR matrix every further shard would cost another gradient of the whole first layer, most of it 0.
    if is_sparse or operations < limits.SHARED_OPERATIONS:
        return 1, False
    # Threads that share units exchange the sums of all units and samples; threads that share samples
    # exchange the gradient. The smaller of the two is faster, also on one thread.
    traffic = limits.TEAM_TRAFFIC * batch_size * sum(network.layers_dim[1:])
    shares_units = network.n_parameters >= traffic
    # Batch normalisation needs all samples of a batch, so that threads can only share units.
    if network.batch_norm:
        return (N_PARTS, True) if shares_units else (1, False)
    if batch_size < limits.TEAM_SAMPLES:
        return N_PARTS, shares_units
    most = min(limits.MAX_SHARDS, limits.SHARED_BYTES // (network.n_parameters * network.dtype.itemsize))
    return max(1, min(most, batch_size // limits.MIN_SHARD)), False
