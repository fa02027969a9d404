"""Pictures in BigTIFF files, written by tifffile."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..colours import PALETTE
from .base import FileSink, OneColourTiles, Rect, deflated, rectangles_from_top

__all__ = ["TiffSink"]

TIFF_TILE = 512  # pixels to a side
TIFF_TILES = 16  # number of tiles in a rectangle


class TiffSink(FileSink):
    """A BigTIFF file of compressed tiles with numbers of classes or a response.

    Up to 256 classes have a palette. The image description is JSON with the extent and the labels of the
    classes.
    """

    max_side = 2**32 - 1
    package = "tifffile"
    writer: threading.Thread | None = None

    def begin(self) -> None:
        """Start the thread that writes the file."""
        colours, dtype = self.picture.colours, self.picture.dtype
        self.has_palette = colours is not None and len(colours) <= PALETTE
        # A palette of uint16 would need 65536 colours.
        self.dtype = np.dtype(np.uint8) if self.has_palette else dtype.newbyteorder("=")
        self.tiles = OneColourTiles(self._compressed)
        # tifffile takes all tiles from one iterator: run it on a thread of its own, which waits for tiles.
        self.queued: queue.Queue[list[bytes] | None] = queue.Queue(4)
        self.error: BaseException | None = None
        self.writer = threading.Thread(target=self._write, name="fastnn-tiff", daemon=True)
        self.writer.start()

    def rectangles(self) -> Iterator[Rect]:
        """Return rows of tiles, from the top left."""
        return rectangles_from_top(self.picture, TIFF_TILE, TIFF_TILE * TIFF_TILES)

    def encode(self, rect: Rect, pixels: NDArray[Any]) -> list[bytes]:
        """Return the compressed tiles of a rectangle."""
        tiles = [pixels[::-1, left : left + TIFF_TILE] for left in range(0, pixels.shape[1], TIFF_TILE)]
        return [self.tiles.encode(tile) for tile in tiles]

    def _compressed(self, pixels: NDArray[Any]) -> bytes:
        """Return the compressed bytes of a tile, which is padded with zeros to its full size."""
        tile = np.zeros((TIFF_TILE, TIFF_TILE), self.dtype)
        tile[: pixels.shape[0], : pixels.shape[1]] = pixels
        return deflated(tile, self.has_palette)

    def put(self, rect: Rect, encoded: list[bytes]) -> None:
        """Pass tiles to the thread that writes the file; raise its error, if there is one."""
        self.queued.put(encoded)
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Wait for the thread that writes the file; raise its error, or move the file to its final name."""
        self._end()
        if self.error is not None:
            raise self.error
        self.draft.publish()

    def discard(self) -> None:
        """End the thread that writes the file, and remove the file."""
        self._end()
        super().discard()

    def _end(self) -> None:
        """End the tiles and wait for the thread; if tiles are missing, tifffile's error is in `error`."""
        if self.writer is not None and self.writer.is_alive():
            self.queued.put(None)
            self.writer.join()

    def _queued_tiles(self) -> Iterator[bytes]:
        while (tiles := self.queued.get()) is not None:
            yield from tiles

    def _write(self) -> None:
        """Write the file; runs on the separate thread."""
        tiles = self._queued_tiles()
        options: dict[str, Any] = {"photometric": "minisblack"}
        if self.picture.colours is not None and self.has_palette:
            colours = np.zeros((PALETTE, 3), np.uint16)
            colours[: len(self.picture.colours)] = self.picture.colours
            options = {"photometric": "palette", "colormap": colours.T * 257}
        try:
            with self.module.TiffWriter(self.draft.name(self.path), bigtiff=True) as file:
                file.write(
                    tiles,
                    shape=(self.picture.height, self.picture.width),
                    dtype=self.dtype,
                    tile=(TIFF_TILE, TIFF_TILE),
                    compression="zlib",
                    description=json.dumps(self.picture.description),
                    metadata=None,
                    **options,
                )
        except BaseException as error:
            self.error = error
        for _ in tiles:  # after an error, empty the queue, so that `put` does not wait for ever
            pass
