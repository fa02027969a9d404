"""Parquet files, their row groups, and the random order in which their rows fill buffers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["File", "Group", "Piece", "shuffled_pieces"]


class File(NamedTuple):
    """File of a dataset.

    Parameters
    ----------
    filesystem : pyarrow FileSystem
        File system that opens the file.
    path : str
        Name of the file.
    constants : dict of str to value
        Columns that the names of the file's folders hold.
    names : list of str
        Columns of the file itself.
    stamp : tuple
        Size and time of the last change, by which a change of the file is noticed.
    """

    filesystem: Any
    path: str
    constants: dict[str, Any]
    names: list[str]
    stamp: tuple[Any, ...]


class Group(NamedTuple):
    """Row group of a file.

    Parameters
    ----------
    file : int
        Number of the file.
    number : int
        Number of the row group in the file.
    first, in_file : int
        Number of the first row among the rows of all files, and among those of the file.
    n_rows : int
        Number of rows.
    """

    file: int
    number: int
    first: int
    in_file: int
    n_rows: int


class Piece(NamedTuple):
    """Consecutive rows of a row group: the group, the first row in the group, and their number."""

    group: Group
    first: int
    n_rows: int


def shuffled_pieces(
    groups: Sequence[Group], capacity: int, n_open: int, random: np.random.RandomState
) -> Iterator[list[Piece]]:
    """Yield the pieces of every buffer of a pass, in which all rows occur once.

    Row groups are opened in a random order, `n_open` at a time; a buffer takes about as many rows of each.

    Parameters
    ----------
    groups : sequence of Group
        All row groups.
    capacity : int
        Number of rows of a buffer; the last may have fewer.
    n_open : int
        Number of row groups that are open at the same time.
    random : RandomState
        Generator of the order.
    """
    waiting = deque(groups[k] for k in random.permutation(len(groups)))
    opened: deque[tuple[Group, int]] = deque()
    share = -(-capacity // n_open)
    while waiting or opened:
        pieces, left = [], capacity
        while left and (waiting or opened):
            while waiting and len(opened) < n_open:
                opened.append((waiting.popleft(), 0))
            group, first = opened.popleft()
            n_rows = min(share, left, group.n_rows - first)
            pieces.append(Piece(group, first, n_rows))
            left -= n_rows
            if first + n_rows < group.n_rows:
                opened.append((group, first + n_rows))
        yield pieces
