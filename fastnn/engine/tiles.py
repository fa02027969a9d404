"""Widths of tiles: the samples that pass through all layers together, so that the caches hold them.

A width fills whole cache lines, because kernels read and write whole vectors without checks.
"""

from __future__ import annotations

from ..network.description import Network
from . import limits


def choose_tile_width(network: Network, n_samples: int) -> int:
    """Return the width of a tile in predictions: whole cache lines, and all tiles about equally full."""
    narrowest = network.whole_tile(1)
    if n_samples <= narrowest:
        return narrowest
    return _even_out_width(network, n_samples, find_widest_tile(network))


def choose_training_width(network: Network, n_samples: int) -> int:
    """Return the width of a training tile for `n_samples` samples.

    Batch normalisation needs all samples of a batch at once: one tile then holds them all.
    """
    if network.batch_norm:
        return network.whole_tile(n_samples)
    widest = _find_widest(network, limits.MIN_TRAINING_WIDTH, network.training_operations)
    return _even_out_width(network, n_samples, widest)


def find_widest_tile(network: Network) -> int:
    """Return the largest width of a tile in predictions, in samples."""
    return _find_widest(network, limits.MIN_ROW_BYTES // network.dtype.itemsize, network.operations)


def _find_widest(network: Network, least: int, operations: int) -> int:
    """Return the largest width of a tile: at least `least`, unless a sample takes very many `operations`."""
    layout = network.training_layout
    row_bytes = (network.n_inputs + layout.n_units + layout.n_dunits) * network.dtype.itemsize
    width = min(max(limits.TILE_BYTES // row_bytes, least), limits.MAX_WIDTH)
    return max(1, min(width, int(limits.TILE_OPERATIONS / operations)))


def _even_out_width(network: Network, n_samples: int, widest: int) -> int:
    n_tiles = -(-n_samples // widest)
    return network.whole_tile(-(-n_samples // n_tiles))


def count_tile_rows(network: Network, is_sparse: bool) -> int:
    """Return the number of rows of a tile of samples.

    With a CSR matrix the tile holds sums of the first layer instead: return its columns, the units of the
    layer rounded up to whole vectors.
    """
    return network.whole_tile(network.shapes[0][1]) if is_sparse else network.n_inputs
