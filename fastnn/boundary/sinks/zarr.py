"""Pictures in Zarr arrays."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...network.description import Array
from ...system.extras import import_extra
from ..regions import Regions
from ..view import Rect
from .base import FileSink

__all__ = ["ZarrSink"]

ZARR_CHUNK = 2048  # pixels to a side
ZARR_SHARD = 32  # chunks to a side of a shard: a trillion pixels are in 256 files
# Level of compression by Zstandard: the fastest of those with short codes for runs.
ZSTD_LEVEL = 1
# Place and size of a chunk in a shard that does not hold it.
MISSING = np.iinfo(np.uint64).max


class ZarrSink(FileSink):
    """A Zarr array (format 3) of the pixels, with extent and labels as attributes; row 0 is the lowest.

    A rectangle is a chunk. Chunks of one class are not painted: class 0 is the fill value, of which Zarr
    stores nothing, and the bytes of any other class are encoded once, and stand once in a shard.

    Zarr itself writes a shard from its pixels, here 4 billion. Here threads encode chunks, and one thread
    appends them to the shard's file, which ends with the places of its chunks. (Zarr's specification of the
    codec ``sharding_indexed``, version 1.0.)
    """

    max_side = 2**63 - 1
    is_coloured = False
    open_shard: _Shard | None = None

    def check_place(self) -> None:
        """Raise ValueError if anything but a Zarr array exists under the name."""
        if self.path.exists() and not _is_array(self.path):
            raise ValueError(
                f"{self.argument}: there is already something at {self.path} that is not a Zarr array"
            )

    def begin(self) -> None:
        """Create the array."""
        zarr = import_extra("zarr", "render", f"{self.argument}: a .zarr file")
        from numcodecs import Zstd

        shape = self.picture.height, self.picture.width
        self.square, self.codec = ZARR_CHUNK, Zstd(ZSTD_LEVEL)
        self.dtype = self.picture.dtype.newbyteorder("<")
        self.chunk = tuple(min(ZARR_CHUNK, side) for side in shape)
        n_chunks = [-(-side // ZARR_CHUNK) for side in shape]
        self.shard = tuple(min(ZARR_SHARD, count) for count in n_chunks)
        self.n_shards = tuple(-(-count // within) for count, within in zip(n_chunks, self.shard, strict=True))
        zarr.create_array(
            store=str(self.draft.name(self.path)),
            shape=shape,
            dtype=self.picture.dtype,
            chunks=self.chunk,
            shards=tuple(side * count for side, count in zip(self.chunk, self.shard, strict=True)),
            compressors=zarr.codecs.ZstdCodec(level=ZSTD_LEVEL),
            dimension_names=("y", "x"),
            attributes=self.picture.description | {"origin": "lower"},
            zarr_format=3,
            fill_value=0,
        )
        self.regions: Regions | None = None
        self.one_class: dict[int, bytes] = {}  # encoded chunks

    def rectangles(self, regions: Regions | None = None) -> Iterator[Rect]:
        """Yield the chunks that are not of a known class, shard by shard from the lower left."""
        self.regions = regions
        height, width = self.picture.height, self.picture.width
        for shard in np.ndindex(self.n_shards):
            bottom, left = (k * count * ZARR_CHUNK for k, count in zip(shard, self.shard, strict=True))
            for i in range(bottom, min(bottom + self.shard[0] * ZARR_CHUNK, height), ZARR_CHUNK):
                for j in range(left, min(left + self.shard[1] * ZARR_CHUNK, width), ZARR_CHUNK):
                    if regions is None or regions.winners[i // ZARR_CHUNK, j // ZARR_CHUNK] < 0:
                        yield Rect(i, min(i + ZARR_CHUNK, height), j, min(j + ZARR_CHUNK, width))

    def encode(self, rect: Rect, pixels: Array) -> bytes:
        """Return the bytes of a chunk; none if all of its pixels are 0, the fill value."""
        if not pixels.any():
            return b""
        if pixels.shape != self.chunk:  # chunks at the edges of the array are stored whole, too
            whole = np.zeros(self.chunk, pixels.dtype)
            whole[: len(pixels), : pixels.shape[1]] = pixels
            pixels = whole
        return self.codec.encode(np.ascontiguousarray(pixels, self.dtype))

    def put(self, rect: Rect, encoded: bytes) -> None:
        """Append a chunk to its shard."""
        if encoded:
            place = rect.bottom // ZARR_CHUNK, rect.left // ZARR_CHUNK
            number, within = zip(*map(divmod, place, self.shard), strict=True)
            path = self._shard_path(number)
            if self.open_shard is None or self.open_shard.path != path:
                self._close_shard()
                self.open_shard = self._begin_shard(number)
            self.open_shard.append(within, encoded)

    def close(self) -> None:
        """Write the shards without a painted chunk, and move the array to its final name.

        Raise FileNotFoundError if it was removed meanwhile.
        """
        self._close_shard()
        for number in np.ndindex(self.n_shards) if self.regions is not None else ():
            if (self._winners(number) > 0).any() and not self._shard_path(number).exists():
                self._begin_shard(number).close()
        # If somebody removes the folder, the next shard creates it again, without the metadata.
        draft = self.draft.name(self.path)
        if not _is_array(draft):
            raise FileNotFoundError(errno.ENOENT, "removed while the picture was written", str(draft))
        self.draft.publish()

    def discard(self) -> None:
        """Close the open file, and remove the array."""
        if self.open_shard is not None:
            with suppress(OSError):  # closing writes the buffer, which may fail
                self.open_shard.file.close()
        super().discard()

    def _shard_path(self, number: tuple[int, ...]) -> Path:
        return self.draft.name(self.path).joinpath("c", *map(str, number))

    def _winners(self, number: tuple[int, ...]) -> NDArray[np.signedinteger]:
        """Return the classes of the chunks in a shard: -1 where chunks are painted, 0 beyond the picture."""
        winners = np.zeros(self.shard, int)
        if self.regions is not None:
            place = (slice(k * count, (k + 1) * count) for k, count in zip(number, self.shard, strict=True))
            known = self.regions.winners[tuple(place)]
            winners[: len(known), : known.shape[1]] = known
        return winners

    def _begin_shard(self, number: tuple[int, ...]) -> _Shard:
        """Return a new shard that holds the chunks of known classes."""
        shard, winners = _Shard(self._shard_path(number), self.shard), self._winners(number)
        for k in np.unique(winners[winners > 0]).tolist():
            if k not in self.one_class:
                self.one_class[k] = self.codec.encode(np.full(self.chunk, k, self.dtype))
            shard.append(winners == k, self.one_class[k])
        return shard

    def _close_shard(self) -> None:
        if self.open_shard is not None:
            self.open_shard.close()
            self.open_shard = None


class _Shard:
    """The file of a shard: its chunks, then the place and size of each in a table, and a checksum of that."""

    def __init__(self, path: Path, n_chunks: tuple[int, ...]) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(path, "wb")  # noqa: SIM115
        self.index = np.full((*n_chunks, 2), MISSING, "<u8")

    def append(self, places: Any, encoded: bytes) -> None:
        """Write bytes that are the chunk, or all chunks, at these places of the index."""
        self.index[places] = self.file.tell(), len(encoded)
        self.file.write(encoded)

    def close(self) -> None:
        """Write the index and close the file."""
        from numcodecs.checksum32 import CRC32C

        self.file.write(CRC32C(location="end").encode(self.index))
        self.file.close()


def _is_array(path: Path) -> bool:
    """Return True if a path is a Zarr array; False for a group, which may hold other data."""
    if (path / ".zarray").exists():
        return True
    try:
        return json.loads((path / "zarr.json").read_text(encoding="utf-8"))["node_type"] == "array"
    except (OSError, ValueError, LookupError, TypeError):
        return False
