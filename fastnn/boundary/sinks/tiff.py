"""BigTIFF, by tifffile."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import PALETTE, FileSink, OneColourTiles, Rect, deflated, from_the_top

__all__ = ["TiffSink"]

TIFF_TILE = 512  # pixels to a side
TIFF_TILES = 16  # tiles of a rectangle


class TiffSink(FileSink):
    """A BigTIFF of compressed tiles: numbers of classes, up to 256 of them with a palette, or a response.

    The image description is JSON with the extent and the labels of the classes.
    """

    longest = 2**32 - 1
    package = "tifffile"
    writer: threading.Thread | None = None

    def begin(self) -> None:
        """Start the thread that writes."""
        colours, dtype = self.picture.colours, self.picture.dtype
        self.has_palette = colours is not None and len(colours) <= PALETTE
        # A palette of uint16 would need 65536 colours.
        self.dtype = np.dtype(np.uint8) if self.has_palette else dtype.newbyteorder("=")
        self.tiles = OneColourTiles(self._compressed)
        # tifffile draws tiles from an iterator: it runs on a thread of its own, which waits for tiles.
        self.waiting: queue.Queue[list[bytes] | None] = queue.Queue(4)
        self.error: BaseException | None = None
        self.writer = threading.Thread(target=self._write, name="fastnn-tiff", daemon=True)
        self.writer.start()

    def rectangles(self) -> Iterator[Rect]:
        """Return rows of tiles, from the top left."""
        return from_the_top(self.picture, TIFF_TILE, TIFF_TILE * TIFF_TILES)

    def encode(self, rect: Rect, pixels: NDArray[Any]) -> list[bytes]:
        """Return the compressed tiles of a rectangle."""
        tiles = [pixels[::-1, left : left + TIFF_TILE] for left in range(0, pixels.shape[1], TIFF_TILE)]
        return [self.tiles.encode(tile) for tile in tiles]

    def _compressed(self, pixels: NDArray[Any]) -> bytes:
        """Return the compressed bytes of a tile, filled up with zeros."""
        tile = np.zeros((TIFF_TILE, TIFF_TILE), self.dtype)
        tile[: pixels.shape[0], : pixels.shape[1]] = pixels
        return deflated(tile, self.has_palette)

    def put(self, rect: Rect, encoded: list[bytes]) -> None:
        """Hand tiles to the thread that writes; raise its error."""
        self.waiting.put(encoded)
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Wait for the thread that writes, and publish the file; raise its error."""
        self._end()
        if self.error is not None:
            raise self.error
        self.draft.publish()

    def discard(self) -> None:
        """End the thread that writes, and remove the file."""
        self._end()
        super().discard()

    def _end(self) -> None:
        """Let the thread end; if tiles are missing, tifffile raises an error."""
        if self.writer is not None and self.writer.is_alive():
            self.waiting.put(None)
            self.writer.join()

    def _arriving(self) -> Iterator[bytes]:
        """Yield tiles as they arrive, until None."""
        while (tiles := self.waiting.get()) is not None:
            yield from tiles

    def _write(self) -> None:
        """Write the file, on a thread of its own."""
        tiles = self._arriving()
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
        for _ in tiles:  # after an error, the queue is emptied, so that `put` does not wait for ever
            pass
