"""Pictures in Zarr arrays."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ...network.description import Array
from ...system.extras import import_extra
from ..view import Rect, Regions
from .base import FileSink, Sink

ZARR_CHUNK = 2048  # pixels to a side
ZARR_SHARD = 32  # chunks to a side of a shard, so that a trillion pixels are in 256 files
# Level of compression by Zstandard: the fastest level with short codes for runs.
ZSTD_LEVEL = 1
# Place and size of a chunk in a shard that does not hold it.
MISSING = np.iinfo(np.uint64).max


class ZarrSink(FileSink):
    """A Zarr array (format 3) of the pixels, with extent and labels as attributes; row 0 is the lowest.

    A rectangle is a chunk, and a part is a shard. Chunks of one class are not painted: class 0 is the fill
    value, of which Zarr stores nothing, and the bytes of any other class are encoded once, and stand once in
    a shard.
    """

    max_side = 2**63 - 1
    is_coloured = False
    square = ZARR_CHUNK

    def check_place(self) -> None:
        if self.path.exists() and not _is_array(self.path):
            raise ValueError(f"{self.argument}: {self.path} exists, and is not a Zarr array")

    def begin(self) -> None:
        self.folder, self.shards = self.draft.name(self.path), dict[tuple[int, int], Shard]()
        zarr = import_extra("zarr", "render", f"{self.argument}: a .zarr file")
        shape = self.picture.height, self.picture.width
        self.chunk = tuple(min(ZARR_CHUNK, side) for side in shape)
        self.n_chunks = tuple(min(ZARR_SHARD, -(-side // ZARR_CHUNK)) for side in shape)  # in a shard
        zarr.create_array(
            store=str(self.folder),
            shape=shape,
            dtype=self.picture.dtype,
            chunks=self.chunk,
            shards=tuple(side * count for side, count in zip(self.chunk, self.n_chunks, strict=True)),
            compressors=zarr.codecs.ZstdCodec(level=ZSTD_LEVEL),
            dimension_names=("y", "x"),
            attributes=self.picture.description | {"origin": "lower"},
            zarr_format=3,
            fill_value=0,
        )
        (self.folder / "c").mkdir()

    def parts(self, regions: Regions | None = None) -> Iterator[tuple[Rect, Shard]]:
        """Yield the shards with chunks to paint, from the lower left, and write the others."""
        height, width = self.picture.height, self.picture.width
        rows, columns = (count * ZARR_CHUNK for count in self.n_chunks)
        for bottom in range(0, height, rows):
            for left in range(0, width, columns):
                rect = Rect(bottom, min(bottom + rows, height), left, min(left + columns, width))
                winners = np.zeros(self.n_chunks, np.int32)  # beyond the picture there is nothing to paint
                within = winners[: -(-rect.shape[0] // ZARR_CHUNK), : -(-rect.shape[1] // ZARR_CHUNK)]
                within[...] = -1 if regions is None else regions.in_rect(rect)
                path = self.folder / "c" / str(bottom // rows) / str(left // columns)
                shard = Shard(path, rect, winners, self.chunk, self.picture.dtype)
                if shard.n_awaited:
                    yield rect, shard
                else:
                    shard.close()

    def rectangles(self, regions: Regions | None = None) -> Iterator[Rect]:
        """Yield the chunks that are not of a known class, shard by shard."""
        self.shards.clear()
        for rect, shard in self.parts(regions):
            self.shards[self._number(rect)] = shard
            yield from shard.rectangles()

    def encode(self, rect: Rect, pixels: Array) -> bytes:
        return self.shards[self._number(rect)].encode(rect, pixels)

    def put(self, rect: Rect, encoded: bytes) -> None:
        """Append a chunk to its shard, which ends with its last chunk."""
        shard = self.shards[self._number(rect)]
        shard.put(rect, encoded)
        if not shard.n_awaited:
            shard.close()
            del self.shards[self._number(rect)]

    def close(self) -> None:
        """Move the array to its final name; raise FileNotFoundError if it was removed meanwhile."""
        self.draft.publish()

    def discard(self) -> None:
        for shard in self.shards.values():
            shard.discard()
        super().discard()

    def _number(self, rect: Rect) -> tuple[int, int]:
        rows, columns = (count * ZARR_CHUNK for count in self.n_chunks)
        return rect.bottom // rows, rect.left // columns


class Shard(Sink):
    """A file of up to `ZARR_SHARD` x `ZARR_SHARD` chunks, which may be written by another process.

    Zarr itself writes a shard from its pixels, here 4 billion. Here threads encode chunks, and one thread
    appends them to the file, which ends with a table of their places and sizes, and its checksum. (Zarr's
    specification of the codec ``sharding_indexed``, version 1.0.) A shard of the fill value has no file.

    The folder may have to be created. `winners` (n_rows, n_columns) are the classes of the chunks, -1 for
    a chunk that must be painted, and `chunk` is their height and width.
    """

    def __init__(
        self, path: Path, rect: Rect, winners: NDArray[np.int32], chunk: tuple[int, ...], dtype: np.dtype
    ) -> None:
        self.path, self.rect, self.winners = path, rect, winners
        self.chunk, self.dtype = chunk, dtype.newbyteorder("<")
        self.n_awaited = int((winners < 0).sum())
        self.file: IO[bytes] | None = None
        self.pixels: Array | None = None

    def rectangles(self, regions: Regions | None = None) -> Iterator[Rect]:
        bottom, top, left, right, _ = self.rect
        for row, column in np.argwhere(self.winners < 0).tolist():
            i, j = bottom + row * ZARR_CHUNK, left + column * ZARR_CHUNK
            yield Rect(i, min(i + ZARR_CHUNK, top), j, min(j + ZARR_CHUNK, right))

    def target(self, rect: Rect) -> Array:
        """Return the same array for each chunk: memory that is fresh from the system takes longer to fill."""
        if self.pixels is None:
            self.pixels = np.empty(self.chunk, self.dtype)
        return self.pixels.reshape(-1)[: math.prod(rect.shape)].reshape(rect.shape)

    def encode(self, rect: Rect, pixels: Array) -> bytes:
        """Return the bytes of a chunk; none if all of its pixels are 0, the fill value."""
        if not pixels.any():
            return b""
        if pixels.shape != self.chunk:  # chunks at the edges of the array are stored whole, too
            whole = np.zeros(self.chunk, pixels.dtype)
            whole[: len(pixels), : pixels.shape[1]] = pixels
            pixels = whole
        return _compress(np.ascontiguousarray(pixels, self.dtype))

    def put(self, rect: Rect, encoded: bytes) -> None:
        self.n_awaited -= 1
        if encoded:
            row, column = rect.bottom - self.rect.bottom, rect.left - self.rect.left
            self._append((row // ZARR_CHUNK, column // ZARR_CHUNK), encoded)

    def _append(self, places: Any, encoded: bytes) -> None:
        """Write bytes that are the chunk, or all chunks, at these places of the table."""
        if self.file is None:
            # This raises if the picture was discarded, since the folder above is then missing.
            self.path.parent.mkdir(exist_ok=True)
            self.file = open(self.path, "wb")  # noqa: SIM115
            self.table = np.full((*self.winners.shape, 2), MISSING, "<u8")
        self.table[places] = self.file.tell(), len(encoded)
        self.file.write(encoded)

    def close(self) -> None:
        """Write the chunks of known classes and the table, and close the file."""
        for k in np.unique(self.winners[self.winners > 0]).tolist():
            self._append(self.winners == k, _compress_class(k, self.chunk, self.dtype))
        if self.file is not None:
            from numcodecs.checksum32 import CRC32C

            self.file.write(CRC32C(location="end").encode(self.table))
            self.file.close()

    def discard(self) -> None:
        if self.file is not None:
            with suppress(OSError):  # closing writes the buffer, which may fail
                self.file.close()


def _compress(pixels: Array) -> bytes:
    from numcodecs import Zstd

    return Zstd(ZSTD_LEVEL).encode(pixels)


@functools.lru_cache(256)
def _compress_class(number: int, shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    return _compress(np.full(shape, number, dtype))


def _is_array(path: Path) -> bool:
    """Return True if a path is a Zarr array; False for a group, which may hold other data."""
    if (path / ".zarray").exists():
        return True
    try:
        return json.loads((path / "zarr.json").read_text(encoding="utf-8"))["node_type"] == "array"
    except (OSError, ValueError, LookupError, TypeError):
        return False
