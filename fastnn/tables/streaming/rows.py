"""Rows of files for a streamed fit: rows that stay in memory, and shuffling buffers of all rows."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.random import sample_without_replacement

from fastnn_kernels.compiler.interrupts import held_interrupts

from ...system.generators import seeded
from ...system.threads import Flag
from ...system.validation import MAX_WEIGHTS, MIN_WEIGHTS
from ..moments import RunningMoments
from .parquet import Block, Group, GroupReader, ParquetRows

__all__ = ["BufferPiece", "Feed", "Portion", "Scan", "Sizes", "drawn_rows", "shuffled_pieces"]

Array = NDArray[Any]
Rows = NDArray[np.int64]

# Largest numbers of rows to which the encoder is fitted, and of validation rows of a network.
MAX_SAMPLED, MAX_VALIDATION = 100_000, 65_536
# Largest number of row groups that are open at the same time.
MAX_OPEN = 8
# Bytes of a value of the sample, and of the target, the weight and the order of a row of a buffer.
SAMPLE_BYTES, ROW_BYTES = 64, 32
# Largest number of classes.
MAX_CLASSES = 10_000


@dataclass(frozen=True)
class Sizes:
    """Numbers of rows that a streamed fit keeps in memory."""

    n_sampled: int  # rows to which the encoder is fitted
    n_validation: int  # validation rows of a network
    n_open: int  # row groups that are read at the same time
    capacity: int  # rows of each of the two buffers

    @classmethod
    def within(
        cls, limit: int, files: ParquetRows, n_features: int, n_networks: int, n_folds: int, batch_size: int
    ) -> Sizes:
        """Return sizes with which the rows in memory take about `limit` bytes.

        A quarter is for open row groups, and an eighth each for either buffer, the validation rows and the
        sample; the rest remains for networks, blocks that are being encoded, and what allocators hold back.
        """
        eighth, n_rows = limit // 8, files.n_rows
        row_bytes = 4 * n_features + ROW_BYTES
        n_validation = min(n_rows // n_folds, MAX_VALIDATION, eighth // (n_networks * row_bytes))
        n_sampled = min(n_rows, MAX_SAMPLED, eighth // (SAMPLE_BYTES * (len(files.columns) + 1)))
        n_buffers = -(-n_rows // max(batch_size, eighth // (row_bytes + ROW_BYTES * n_networks)))
        capacity = -(-n_rows // (n_buffers * batch_size)) * batch_size
        n_open = int(np.clip(2 * eighth // files.group_bytes, 1, MAX_OPEN))
        return cls(max(2, n_sampled), max(1, n_validation), n_open, capacity)

    def buffers_per_epoch(self, files: ParquetRows) -> int:
        """Return the number of buffers of an epoch."""
        return -(-files.n_rows // self.capacity)


class Scan:
    """Findings of one pass over all rows.

    Parameters
    ----------
    files : ParquetRows
        Rows.
    has_classes : bool
        True if the targets are classes.
    sample_rows, validation_rows : array of int
        Increasing numbers of the rows to keep for the encoder, and for validation.
    bar : progress bar
        Bar that counts rows.

    Raises
    ------
    ValueError
        If a number is infinite, a target or weight is unusable, or all weights are 0.
    """

    def __init__(
        self, files: ParquetRows, has_classes: bool, sample_rows: Rows, validation_rows: Rows, bar: Any
    ) -> None:
        self.n_rows, weight = 0, 0.0  # of the rows that have a target
        self.missing = dict.fromkeys(files.columns, 0)  # numbers of missing values
        self.counts: dict[Any, int] = {}  # numbers of rows of all classes,
        self.moments = RunningMoments()  # or moments of numbers
        sampled: list[Block] = []
        validation: list[Block] = []
        for block in files.blocks():
            files.check_finite(block)
            places = block.places(sample_rows)
            for name in files.columns:
                missing = block.missing(name)
                if missing.any() and not self.missing[name]:
                    places = np.union1d(places, missing.argmax())
                self.missing[name] += int(missing.sum())
            for kept, chosen in ((sampled, places), (validation, block.places(validation_rows))):
                if chosen.size:
                    kept.append(block.chosen(chosen))
            if has_classes:
                self._count(block)
            else:
                self.moments.add(files.numbers(block), block.weights)
            self.n_rows += len(block)
            weight += block.weights.sum()
            bar.update(len(block))
        if not weight and self.n_rows:
            raise ValueError(f"{files.name}: the weights {files.weights!r} are all 0")
        if self.n_rows and not MIN_WEIGHTS <= weight <= MAX_WEIGHTS:
            raise ValueError(
                f"{files.name}: the weights {files.weights!r} sum to {weight:g}, but the sum must lie "
                f"between {MIN_WEIGHTS:g} and {MAX_WEIGHTS:g}: divide the weights by their mean"
            )
        self.sample = files.joined(sampled)  # with a missing value of every column that has missing values
        self.validation = files.joined(validation) if validation else None

    def _count(self, block: Block) -> None:
        """Count the classes of a block."""
        values, places = block.files.classes(block)
        for value, count in zip(values.tolist(), np.bincount(places).tolist(), strict=True):
            self.counts[value] = self.counts.get(value, 0) + count
        if len(self.counts) > MAX_CLASSES:
            raise ValueError(
                f"{block.place}: the target {block.files.target!r} holds more than {MAX_CLASSES:,} "
                "different values, too many for classes: use TabularRegressor for numbers"
            )


def drawn_rows(n_rows: int, count: int, random: np.random.RandomState) -> Rows:
    """Return `count` different numbers below `n_rows` in a random order."""
    return np.asarray(sample_without_replacement(n_rows, count, random_state=random), np.int64)


class BufferPiece(NamedTuple):
    """Consecutive rows of a row group: the group, the first row in the group, and their number."""

    group: Group
    first: int
    n_rows: int


def shuffled_pieces(
    groups: Sequence[Group], capacity: int, n_open: int, random: np.random.RandomState
) -> Iterator[list[BufferPiece]]:
    """Yield the pieces of every buffer of an epoch, in which all rows occur once.

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
            pieces.append(BufferPiece(group, first, n_rows))
            left -= n_rows
            if first + n_rows < group.n_rows:
                opened.append((group, first + n_rows))
        yield pieces


class Portion(NamedTuple):
    """Encoded rows of a buffer."""

    Z: Array  # features (n, n_features) of float32, overwritten after the next portion has been fetched
    targets: Array
    weights: Array
    rows: Rows  # numbers of the rows
    ends_epoch: bool  # True for the last buffer of an epoch


class Feed:
    """Source of the portions of all epochs, each of which a second thread prepares while the last is used.

    The order of the rows depends on the seed alone. A feed may begin at any buffer: the buffers before are
    neither encoded nor, as far as their row groups have ended, read.

    Parameters
    ----------
    files : ParquetRows
        Rows.
    sizes : Sizes
        Rows of a buffer, and row groups that are read at the same time.
    n_features : int
        Number of features.
    encode : callable
        Function that writes the features of a block into an array, and returns its encoded targets and
        weights.
    seed : int
        Seed of the order of the row groups.
    n_passes : int
        Number of epochs.
    n_done : int
        Number of buffers before the first portion.
    """

    def __init__(
        self, files: ParquetRows, sizes: Sizes, n_features: int,
        encode: Callable[[Block, Array], tuple[Array, Array]], seed: int, n_passes: int, n_done: int,
    ) -> None:  # fmt: skip
        self._files, self._sizes, self._encode = files, sizes, encode
        self._buffers = [np.empty((sizes.capacity, n_features), np.float32) for _ in range(2)]
        self._readers: dict[int, GroupReader] = {}
        self._closed = Flag()
        self._plan = self._planned(seed, n_passes, n_done)
        self._ready: SimpleQueue[Any] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """End the thread, and close the files."""
        self._closed.set()
        with held_interrupts():
            if self._thread is not None:
                self._thread.join()
            for reader in self._readers.values():
                reader.close()

    def portions(self) -> Iterator[Portion]:
        """Yield the portions of all epochs."""
        self._prepare(self._buffers[0])
        for number in itertools.count(1):
            portion = self._ready.get()  # an interrupt may end this wait without leaving a lock locked
            if isinstance(portion, BaseException):
                raise portion
            if portion is None:
                return
            self._prepare(self._buffers[number % 2])
            yield portion

    def _prepare(self, buffer: Array) -> None:
        """Let a thread fill a buffer."""
        thread = threading.Thread(target=self._fill, args=(buffer,), name="fastnn rows", daemon=True)
        with held_interrupts():
            if self._thread is not None:
                self._thread.join()
                self._thread = None
            with suppress(RuntimeError):  # no more threads, or the interpreter is exiting
                thread.start()
                self._thread = thread
        if self._thread is None:
            self._fill(buffer)

    def _fill(self, buffer: Array) -> None:
        """Add the next portion to those that are ready, or None after the last, or an error."""
        try:
            self._ready.put(self._filled(buffer))
        except BaseException as error:
            self._ready.put(error)

    def _planned(self, seed: int, n_passes: int, n_done: int) -> Iterator[tuple[Sequence[BufferPiece], bool]]:
        """Yield the pieces of every buffer after the first `n_done`, and True for the last of an epoch."""
        sizes = self._sizes
        n_epochs_done, n_done = divmod(n_done, sizes.buffers_per_epoch(self._files))
        for n_pass in range(n_epochs_done, n_passes):
            random = seeded([seed, n_pass])
            *others, last = shuffled_pieces(self._files.groups, sizes.capacity, sizes.n_open, random)
            yield from [*((pieces, False) for pieces in others), (last, True)][n_done:]
            n_done = 0

    def _filled(self, buffer: Array) -> Portion | None:
        """Return the next portion, whose features are in the buffer; None after the last."""
        pieces, ends_epoch = next(self._plan, ([], False))
        end, filled = 0, []
        for piece in pieces:
            for block in self._blocks(piece):
                begin, end = end, end + len(block)
                targets, weights = self._encode(block, buffer[begin:end])
                filled.append((targets, weights, block.rows))
                if self._closed():
                    return None
        if not pieces:
            return None
        if not filled:  # no row of the buffer has a target
            filled.append((np.empty(0), np.empty(0), np.empty(0, np.int64)))
        targets, weights, rows = (np.concatenate(arrays) for arrays in zip(*filled, strict=True))
        return Portion(buffer[:end], targets, weights, rows, ends_epoch)

    def _blocks(self, piece: BufferPiece) -> Iterator[Block]:
        """Yield the rows of a piece; the reader of its row group stays open up to the group's end."""
        group, first, n_rows = piece
        if group.first not in self._readers:
            self._readers[group.first] = GroupReader(self._files, group, first)
        yield from self._readers[group.first].take(n_rows)
        if first + n_rows == group.n_rows:
            self._readers.pop(group.first).close()
