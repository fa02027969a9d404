"""Validation of users' sparse matrices, and their conversion to canonical CSR.

SciPy trusts the index arrays of a sparse matrix: its constructors check only their lengths, and
`check_format` skips the index arrays if the last value of `indptr` is 0. SciPy's compiled conversions and the
kernels would then read and write out of bounds. Therefore NumPy checks every index array here, once.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from ..system.validation import refuse_masked

# The kernels count columns with an int32.
MAX_COLUMNS = 2**31 - 1


class MalformedError(Exception):
    """Error for a sparse matrix with inconsistent arrays, which the message names."""


def check_sparse(table: Any, name: str = "X") -> Any:
    """Convert a sparse matrix to CSR with sorted columns and no duplicates; return anything else unchanged.

    Masked values are refused, because scikit-learn would use what is behind the mask.

    A sparse matrix or array, in any of SciPy's formats, is not modified, and returned itself if possible.
    Values at the same position are added up, as by `toarray`. Inconsistent lengths, dtypes or values of the
    arrays, more than two dimensions and more than 2**31 - 1 columns are ValueErrors, which call it `name`.

    Examples
    --------
    >>> import numpy as np
    >>> import scipy.sparse
    >>> from fastnn.estimators.sparse import check_sparse
    >>> table = scipy.sparse.csc_array(np.eye(3))
    >>> check_sparse(table).format
    'csr'
    >>> check_sparse([[1.0, 0.0]])
    [[1.0, 0.0]]
    """
    if not scipy.sparse.issparse(table):
        refuse_masked(table, name)
        return table
    if table.ndim > 2:
        raise ValueError(f"{name} must have two dimensions (samples, features), got shape {table.shape}")
    if table.shape[-1] > MAX_COLUMNS:
        raise ValueError(
            f"{name} has {table.shape[-1]} columns, but a sparse table may have {MAX_COLUMNS} at the most: "
            "leave out columns that are empty"
        )
    try:
        rows = _convert_to_csr(table)
        return rows if _is_canonical(rows) else _sum_duplicates(rows)
    except MalformedError as error:
        kind = table.format.upper()
        raise ValueError(f"{name} is not a valid {kind} table, check how it was made: {error}") from None


def _convert_to_csr(table: Any) -> Any:
    n_rows, n_columns = table.shape if table.ndim == 2 else (1, table.shape[0])
    if table.format == "csr":
        _check_compressed(table, n_rows, n_columns, "columns")
        return table
    if table.format == "csc":
        _check_compressed(table, n_columns, n_rows, "rows")
    elif table.format == "bsr":
        _check_blocks(table, n_rows, n_columns)
    elif table.format == "dia":
        table = _check_diagonals(table, n_rows, n_columns)
    elif table.format == "lil":
        _check_lists(table, n_rows, n_columns)
    else:
        _check_coordinates(table := _convert_to_coo(table))
    return table.tocsr()


def _check_compressed(table: Any, n_rows: int, n_columns: int, minor: str) -> None:
    """Check the arrays of a CSR matrix; for CSC, the caller swaps rows and columns."""
    _check_values(table.data, 1)
    _check_pointers(table.indptr, table.indices, len(table.data), n_rows, n_columns, minor)


def _check_blocks(table: Any, n_rows: int, n_columns: int) -> None:
    _check_values(table.data, 3)
    _, height, width = table.data.shape
    if not (height and width) or n_rows % height or n_columns % width:
        raise MalformedError(f"blocks of {height} x {width} do not fill a table of {n_rows} x {n_columns}")
    _check_pointers(
        table.indptr, table.indices, len(table.data), n_rows // height, n_columns // width, "blocks in a row"
    )


def _check_pointers(
    indptr: Any, indices: Any, n_values: int, n_rows: int, n_columns: int, minor: str
) -> None:
    _check_integers(indptr, "indptr")
    _check_integers(indices, "indices")
    if len(indptr) != n_rows + 1:
        raise MalformedError(f"indptr has {len(indptr)} values, but must have {n_rows + 1}")
    if len(indices) != n_values:
        raise MalformedError(f"indices has {len(indices)} values, but data has {n_values}")
    if indptr[0] != 0:
        raise MalformedError(f"indptr must start with 0, got {indptr[0]}")
    falls = np.flatnonzero(indptr[1:] < indptr[:-1])
    if falls.size:
        k = falls[0]
        raise MalformedError(f"indptr falls from {indptr[k]} at place {k} to {indptr[k + 1]}")
    if indptr[-1] > n_values:
        raise MalformedError(f"indptr ends with {indptr[-1]}, but there are {n_values} values")
    _check_range(indices[: indptr[-1]], "indices", n_columns, minor)


def _convert_to_coo(table: Any) -> Any:
    """Return a COO or DOK matrix as COO; this conversion runs no compiled code of SciPy."""
    try:
        return table.tocoo(copy=False)
    except (OverflowError, TypeError, ValueError) as error:  # DOK keys that are not positions
        raise MalformedError(str(error)) from None


def _check_coordinates(table: Any) -> None:
    _check_values(table.data, 1)
    if len(table.coords) != table.ndim:
        raise MalformedError(
            f"coords holds {len(table.coords)} arrays, but there are {table.ndim} dimensions"
        )
    for axis, (places, size) in enumerate(zip(table.coords, table.shape, strict=True)):
        _check_integers(places, f"coords[{axis}]")
        if len(places) != len(table.data):
            raise MalformedError(f"coords[{axis}] has {len(places)} values, but data has {len(table.data)}")
        is_column = axis == table.ndim - 1
        _check_range(places, f"coords[{axis}]", size, "columns" if is_column else "rows")


def _check_lists(table: Any, n_rows: int, n_columns: int) -> None:
    for label in ("rows", "data"):
        lists = getattr(table, label)
        if not (isinstance(lists, np.ndarray) and lists.shape == (n_rows,)):
            raise MalformedError(f"{label} must be an array of {n_rows} lists")
        if not all(type(one) is list for one in lists):
            raise MalformedError(f"{label} holds something that is not a list")
    lengths = [np.fromiter(map(len, lists), np.int64, n_rows) for lists in (table.rows, table.data)]
    wrong = np.flatnonzero(lengths[0] != lengths[1])
    if wrong.size:
        k = wrong[0]
        raise MalformedError(f"row {k} has {lengths[0][k]} columns, but {lengths[1][k]} values")
    try:
        columns = np.fromiter(itertools.chain.from_iterable(table.rows), np.int64, lengths[0].sum())
    except (OverflowError, TypeError, ValueError) as error:
        raise MalformedError(f"rows must hold integers: {error}") from None
    _check_range(columns, "rows", n_columns, "columns")


def _check_diagonals(table: Any, n_rows: int, n_columns: int) -> Any:
    """Check a DIA matrix, and drop diagonals that lie outside of it, which SciPy allows."""
    _check_values(table.data, 2)
    offsets = table.offsets
    _check_integers(offsets, "offsets")
    if len(offsets) != len(table.data):
        raise MalformedError(f"offsets has {len(offsets)} values, but data has {len(table.data)} rows")
    if len(np.unique(offsets)) < len(offsets):
        raise MalformedError("offsets holds a value twice")
    within = (offsets > -n_rows) & (offsets < n_columns)
    return table if within.all() else type(table)((table.data[within], offsets[within]), shape=table.shape)


def _check_values(values: object, n_dimensions: int) -> None:
    if not (isinstance(values, np.ndarray) and values.ndim == n_dimensions):
        raise MalformedError(f"data must be an array of {n_dimensions} dimensions, got {_describe(values)}")
    if values.dtype.kind not in "biufc":
        raise MalformedError(f"data must hold numbers, got dtype {values.dtype}")


def _check_integers(places: Any, label: str) -> None:
    if not (isinstance(places, np.ndarray) and places.ndim == 1 and places.dtype.kind == "i"):
        raise MalformedError(
            f"{label} must be a one-dimensional array of signed integers, got {_describe(places)}"
        )


def _describe(values: object) -> str:
    if isinstance(values, np.ndarray):
        return f"dtype {values.dtype} and shape {values.shape}"
    return f"a {type(values).__name__}"


def _check_range(places: NDArray[np.integer], label: str, size: int, what: str) -> None:
    if places.size and not (places.min() >= 0 and places.max() < size):
        k = np.flatnonzero((places < 0) | (places >= size))[0]
        raise MalformedError(f"{label} holds {places[k]} at place {k}, but there are {size} {what}")


def _is_canonical(rows: Any) -> bool:
    """Return True if the columns of every row are strictly increasing, with no values beyond the last row.

    SciPy's cached flag is not reliable, because the arrays may have changed since it was computed.
    """
    columns, begins = rows.indices, rows.indptr[1:-1]
    if columns.size > rows.indptr[-1]:
        return False
    rises = columns[1:] > columns[:-1]
    rises[begins[(begins > 0) & (begins < columns.size)] - 1] = True
    return bool(rises.all())


def _sum_duplicates(rows: Any) -> Any:
    n = rows.indptr[-1]
    result = type(rows)((rows.data[:n], rows.indices[:n], rows.indptr), shape=rows.shape, copy=True)
    result.sum_duplicates()
    return result
