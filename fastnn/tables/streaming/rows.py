"""Rows of files for a streamed fit: rows that stay in memory, and shuffling buffers of all rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.random import sample_without_replacement

from fastnn_kernels.compiler.interrupts import held_interrupts

from ...system.generators import seeded
from ...system.threads import Flag
from ...system.validation import LARGEST_WEIGHTS, LEAST_WEIGHTS
from ..moments import MomentsOfParts
from .parquet import Block, GroupReader, ParquetRows, piece_bytes
from .row_groups import Piece, shuffled_pieces

__all__ = ["Feed", "Portion", "Scan", "Sizes"]

Array = NDArray[Any]
Rows = NDArray[np.int64]

# Largest numbers of rows to which the encoder is fitted, and of validation rows of a network.
MOST_SAMPLED, MOST_VALIDATION = 100_000, 65_536
# Largest number of row groups that are open at the same time.
MOST_OPEN = 8
# Bytes of a value of the sample, and of the target, the weight and the order of a row of a buffer.
SAMPLE_BYTES, ROW_BYTES = 64, 32
# Largest number of classes.
MOST_CLASSES = 10_000


@dataclass(frozen=True)
class Sizes:
    """Numbers of rows that a streamed fit keeps in memory.

    Parameters
    ----------
    n_sampled : int
        Rows to which the encoder is fitted.
    n_validation : int
        Validation rows of a network.
    n_open : int
        Row groups that are read at the same time.
    capacity : int
        Rows of a buffer, of which there are two.
    """

    n_sampled: int
    n_validation: int
    n_open: int
    capacity: int

    @classmethod
    def within(
        cls, limit: int, files: ParquetRows, n_features: int, n_networks: int, n_folds: int, batch_size: int
    ) -> Sizes:
        """Return sizes with which the rows in memory take about `limit` bytes.

        A quarter is for open row groups, an eighth for each buffer, for the validation rows and for the
        sample; the rest remains for networks, blocks that are being encoded, and what allocators hold back.
        """
        part, n_rows = limit // 8, files.n_rows
        row_bytes = 4 * n_features + ROW_BYTES
        n_validation = min(n_rows // n_folds, MOST_VALIDATION, part // (n_networks * row_bytes))
        n_sampled = min(n_rows, MOST_SAMPLED, part // (SAMPLE_BYTES * (len(files.columns) + 1)))
        n_buffers = -(-n_rows // max(batch_size, part // (row_bytes + ROW_BYTES * n_networks)))
        capacity = -(-n_rows // (n_buffers * batch_size)) * batch_size
        n_open = int(np.clip(2 * part // piece_bytes(files), 1, MOST_OPEN))
        return cls(max(2, n_sampled), max(1, n_validation), n_open, capacity)


@dataclass
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

    Attributes
    ----------
    n_rows : int
        Number of rows that have a target.
    weight : float
        Sum of the weights of these rows.
    gaps : dict of str to int
        Number of gaps of every column.
    counts : dict
        Number of rows of every class.
    moments : MomentsOfParts
        Moments of numbers.
    sample, validation : Block or None
        Rows that are kept. The sample holds a gap of every column that has gaps.
    """

    files: ParquetRows
    has_classes: bool
    sample_rows: Rows
    validation_rows: Rows
    n_rows: int = 0
    weight: float = 0.0
    gaps: dict[str, int] = field(default_factory=dict)
    counts: dict[Any, int] = field(default_factory=dict)
    moments: MomentsOfParts = field(default_factory=MomentsOfParts)
    sample: Any = None
    validation: Any = None

    def run(self, bar: Any) -> Scan:
        """Read all rows, and return this object; the bar counts rows.

        Raises
        ------
        ValueError
            If a number is infinite, a target or weight is unusable, or all weights are 0.
        """
        self.gaps = dict.fromkeys(self.files.columns, 0)
        sampled: list[Block] = []
        validation: list[Block] = []
        for block in self.files.blocks():
            self.files.check_finite(block)
            places = block.places(self.sample_rows)
            for name in self.files.columns:
                gaps = self.files.gaps(block, name)
                if gaps.any():
                    if not self.gaps[name]:
                        places = np.union1d(places, gaps.argmax())
                    self.gaps[name] += int(gaps.sum())
            self._add_targets(block)
            for kept, chosen in (
                (sampled, places), (validation, block.places(self.validation_rows))
            ):  # fmt: skip
                if chosen.size:
                    kept.append(self.files.chosen(block, chosen))
            self.n_rows += len(block)
            self.weight += block.weights.sum()
            bar.update(len(block))
        if not self.weight and self.n_rows:
            raise ValueError(f"{self.files.name}: the weights {self.files.weights!r} are all 0")
        if self.n_rows and not LEAST_WEIGHTS <= self.weight <= LARGEST_WEIGHTS:
            raise ValueError(
                f"{self.files.name}: the weights {self.files.weights!r} have the sum {self.weight:g}, but it "
                f"must be from {LEAST_WEIGHTS:g} to {LARGEST_WEIGHTS:g}: divide the weights by their mean"
            )
        self.sample = self.files.joined(sampled)
        self.validation = self.files.joined(validation) if validation else None
        return self

    def _add_targets(self, block: Block) -> None:
        """Count the classes of a block, or add its numbers to the moments."""
        if not self.has_classes:
            self.moments.add(self.files.numbers(block), block.weights)
            return
        values, places = self.files.classes(block)
        for value, count in zip(values.tolist(), np.bincount(places).tolist(), strict=True):
            self.counts[value] = self.counts.get(value, 0) + count
        if len(self.counts) > MOST_CLASSES:
            raise ValueError(
                f"{block.place}: the target {self.files.target!r} holds more than {MOST_CLASSES:,} different "
                "values, too many for classes: use TabularRegressor for numbers"
            )


def drawn_rows(n_rows: int, count: int, random: np.random.RandomState) -> Rows:
    """Return `count` different numbers below `n_rows` in a random order."""
    return np.asarray(sample_without_replacement(n_rows, count, random_state=random), np.int64)


@dataclass(frozen=True)
class Portion:
    """Encoded rows of a buffer.

    Parameters
    ----------
    Z : array (n, n_features) of float32
        Features, which are overwritten after the next portion has been fetched.
    targets : array (n,)
        Encoded targets.
    weights : array (n,) of float64
        Weights.
    rows : array (n,) of int64
        Numbers of the rows.
    ends_pass : bool
        True for the last buffer of a pass.
    """

    Z: Array
    targets: Array
    weights: Array
    rows: Rows
    ends_pass: bool


class Feed:
    """Source of the portions of all passes, each of which a second thread prepares while the last is used.

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
        Number of passes.
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
        self._to_skip: dict[int, int] = {}
        self._closed = Flag()
        self._plan = self._planned(seed, n_passes, n_done)
        self._thread: threading.Thread | None = None

    @staticmethod
    def buffers_a_pass(files: ParquetRows, sizes: Sizes) -> int:
        """Return the number of buffers of a pass."""
        return -(-files.n_rows // sizes.capacity)

    def __enter__(self) -> Feed:
        """Start the thread, which prepares the first portion."""
        self._wanted: SimpleQueue[Any] = SimpleQueue()
        self._ready: SimpleQueue[Any] = SimpleQueue()
        thread = threading.Thread(target=self._work, name="fastnn rows", daemon=True)
        with ExitStack() as failure:
            failure.callback(self._close)  # an interrupt here skips `__exit__`
            with held_interrupts(), suppress(RuntimeError):  # no more threads, or the interpreter is exiting
                thread.start()
                self._thread = thread
            self._request(0)
            failure.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """End the thread, and close the files."""
        try:
            self._close()
        finally:  # an interrupt may come before the first call holds it
            self._close()

    def _close(self) -> None:
        """End the thread, and close the files; a second call does nothing."""
        with held_interrupts():
            self._closed.set()
            self._wanted.put(None)
            if self._thread is not None:
                self._thread.join()
            for reader in self._readers.values():
                reader.close()

    def portions(self) -> Iterator[Portion]:
        """Yield the portions of all passes."""
        number = 0
        while True:
            if self._thread is None:
                self._answer(number % 2)
            portion = self._ready.get()  # an interrupt may end this wait without leaving a lock locked
            if isinstance(portion, BaseException):
                raise portion
            if portion is None:
                return
            number += 1
            self._request(number % 2)
            yield portion

    def _request(self, which: int) -> None:
        """Let the thread fill a buffer."""
        if self._thread is not None:
            self._wanted.put(which)

    def _work(self) -> None:
        """Fill the buffers that are requested."""
        while (which := self._wanted.get()) is not None:
            self._answer(which)

    def _answer(self, which: int) -> None:
        """Add the next portion to those that are ready, or None after the last, or an error."""
        try:
            self._ready.put(self._filled(self._buffers[which]))
        except BaseException as error:
            self._ready.put(error)

    def _planned(self, seed: int, n_passes: int, n_done: int) -> Iterator[tuple[Sequence[Piece], bool]]:
        """Yield the pieces of every buffer after the first `n_done`, and True for the last of a pass."""
        n_buffers = self.buffers_a_pass(self._files, self._sizes)
        for n_pass in range(n_done // n_buffers, n_passes):
            random = seeded([seed, n_pass])
            sizes = self._sizes
            self._to_skip = {}
            plan = shuffled_pieces(self._files.groups, sizes.capacity, sizes.n_open, random)
            for number, pieces in enumerate(plan, n_pass * n_buffers):
                if number < n_done:
                    for piece in pieces:
                        self._to_skip[piece.group.first] = piece.first + piece.n_rows
                else:
                    yield pieces, number % n_buffers == n_buffers - 1

    def _filled(self, buffer: Array) -> Portion | None:
        """Return the next portion, whose features are in the buffer; None after the last."""
        pieces, ends_pass = next(self._plan, (None, False))
        if pieces is None:
            return None
        end, parts = 0, []
        for piece in pieces:
            for block in self._blocks(piece):
                begin, end = end, end + len(block)
                targets, weights = self._encode(block, buffer[begin:end])
                parts.append((targets, weights, block.rows))
                if self._closed():
                    return None
        if not parts:  # no row of the buffer has a target
            parts.append((np.empty(0), np.empty(0), np.empty(0, np.int64)))
        targets, weights, rows = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return Portion(buffer[:end], targets, weights, rows, ends_pass)

    def _blocks(self, piece: Piece) -> Iterator[Block]:
        """Yield the rows of a piece; the reader of its row group stays open up to the group's end."""
        key = piece.group.first
        reader = self._readers.get(key)
        if reader is None:
            reader = self._readers[key] = self._files.reader(piece.group)
            reader.skip(self._to_skip.pop(key, 0))
        yield from reader.take(piece.n_rows)
        if piece.first + piece.n_rows == piece.group.n_rows:
            self._readers.pop(key).close()
