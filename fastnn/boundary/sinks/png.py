"""Portable Network Graphics."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .base import PALETTE, FileSink, Picture, Rect, deflated, from_the_top

__all__ = ["PngCoding", "PngSink"]

# Pixels of a rectangle: enough that a thread's turn is worth its start.
PNG_POINTS = 1 << 23
# Pixels at once where a result is made in steps: what lies between the steps stays in the cache.
BLOCK_POINTS = 1 << 18


class PngSink(FileSink):
    """A PNG with a palette, of 1, 2, 4 or 8 bits a pixel; of more than 256 classes, their numbers as grey.

    A response is 16 bits of grey: 0 is black, 1 is white, what lies outside is the nearer of the two, and
    NaN is as 0; or it has a palette, of the colours that were chosen.

    Pillow, OpenCV and pypng write one row after the other on one thread, and nearly all the time goes into
    the compression. Here each strip is compressed by itself, as pigz does: ended at a whole byte, strips
    one after the other are one stream, and its checksum comes from theirs.
    """

    colours_responses = True
    is_grey = True
    file: IO[bytes]

    def begin(self) -> None:
        self.coding = PngCoding(self.picture, grey_bits=16)
        self.checksum = zlib.adler32(b"")
        self.file = open(self.draft.name(self.path), "wb")  # noqa: SIM115
        self.file.write(self.coding.head(self.picture.width, self.picture.height))
        # Deflate with a window of 32 KB, at the fastest level.
        self.file.write(_png_chunk(b"IDAT", b"\x78\x01"))

    def rectangles(self) -> Iterator[Rect]:
        return from_the_top(self.picture, max(1, PNG_POINTS // self.picture.width), self.picture.width)

    def encode(self, rect: Rect, pixels: NDArray[Any]) -> tuple[bytes, int, int]:
        lines = self.coding.lines(pixels[::-1])
        packed = deflated(lines, self.coding.has_palette, part=True)
        return _png_chunk(b"IDAT", packed), zlib.adler32(lines.data), lines.size

    def put(self, rect: Rect, encoded: tuple[bytes, int, int]) -> None:
        chunk, checksum, size = encoded
        self.file.write(chunk)
        self.checksum = _joint_checksum(self.checksum, checksum, size)

    def close(self) -> None:
        # An empty last block, and the checksum of what came before.
        self.file.write(_png_chunk(b"IDAT", b"\x03\x00" + struct.pack(">I", self.checksum)))
        self.file.write(_png_chunk(b"IEND", b""))
        self.file.close()
        self.draft.publish()

    def discard(self) -> None:
        if hasattr(self, "file"):
            with suppress(OSError):  # of what it still had to write
                self.file.close()
        super().discard()


def _joint_checksum(first: int, second: int, size: int) -> int:
    """Adler-32 of two portions of bytes, of which the second has `size`, from their checksums.

    It is two sums modulo 65521: of the bytes, from 1 on, and of the sums so far.
    """
    base = 65521
    bytes_before = (first & 0xFFFF) - 1
    low = (bytes_before + (second & 0xFFFF)) % base
    high = ((first >> 16) + (second >> 16) + size * bytes_before) % base
    return high << 16 | low


class PngCoding:
    """How the pixels of a picture, highest row first, become those of PNG files."""

    SIGNATURE = b"\x89PNG\r\n\x1a\n"
    GREY, INDEXED = 0, 3  # types of colours
    PLAIN, UP = 0, 2  # types of rows: the bytes, and their differences from the row above

    def __init__(self, picture: Picture, grey_bits: int) -> None:
        self.is_response = picture.colours is None
        colours = picture.response_colours if self.is_response else picture.colours
        self.has_palette = colours is not None and len(colours) <= PALETTE
        self.palette = b""
        self.n_colours = 0 if colours is None else len(colours)
        self.bits = grey_bits if self.is_response else 16
        if colours is not None and self.has_palette:
            self.palette = _png_chunk(b"PLTE", np.ascontiguousarray(colours, np.uint8).tobytes())
            self.bits = next(bits for bits in (1, 2, 4, 8) if len(colours) <= 1 << bits)

    def head(self, width: int, height: int) -> bytes:
        kind = self.INDEXED if self.has_palette else self.GREY
        header = struct.pack(">IIBBBBB", width, height, self.bits, kind, 0, 0, 0)
        return self.SIGNATURE + _png_chunk(b"IHDR", header) + self.palette

    def file(self, pixels: NDArray[Any]) -> bytes:
        """A whole one."""
        height, width = pixels.shape
        data = _png_chunk(b"IDAT", deflated(self.lines(pixels), self.has_palette))
        return self.head(width, height) + data + _png_chunk(b"IEND", b"")

    def lines(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """The rows before compression, each with its type in front."""
        height, width = pixels.shape
        lines = np.empty((height, 1 + -(-width * self.bits // 8)), np.uint8)
        rows = max(1, BLOCK_POINTS // width)
        if self.has_palette:
            lines[:, 0] = self.PLAIN
            for i in range(0, height, rows):
                _pack(self._numbers(pixels[i : i + rows]), self.bits, lines[i : i + rows, 1:])
            return lines
        # What is above the first row is in another strip.
        lines[:, 0], lines[0, 0] = self.UP, self.PLAIN
        above: NDArray[np.uint8] = np.zeros(lines.shape[1] - 1, np.uint8)
        for i in range(0, height, rows):
            values = self._grey(pixels[i : i + rows])
            np.subtract(values[0], above, out=lines[i, 1:])
            np.subtract(values[1:], values[:-1], out=lines[i + 1 : i + rows, 1:])
            above = values[-1]
        return lines

    def _numbers(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return the numbers of colours in the palette: classes, or a response as matplotlib counts it."""
        if not self.is_response:
            return pixels
        return np.minimum(_clipped(pixels) * self.n_colours, self.n_colours - 1).astype(np.uint8)

    def _grey(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """The bytes of rows of grey, the higher one of a pixel first."""
        if self.is_response:
            pixels = _clipped(pixels).astype(np.float32) * ((1 << self.bits) - 1) + 0.5
        return pixels.astype(">u2" if self.bits == 16 else np.uint8).view(np.uint8)


def _clipped(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return a response within 0 and 1, and NaN, which is neither above 0, as 0."""
    return np.where(pixels > 0, np.minimum(pixels, 1), 0)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


# By bits of a pixel: an integer of the pixels that share a byte, the first its lowest byte, and a factor
# that adds up in its highest byte what belongs there. No two terms of the product meet elsewhere, and
# what would be above the highest bit is cut off.
_GATHERERS: dict[int, tuple[str, int]] = {
    2: ("<u4", 1 << 30 | 1 << 20 | 1 << 10 | 1),
    4: ("<u2", 1 << 12 | 1),
}


def _pack(pixels: NDArray[Any], bits: int, packed: NDArray[np.uint8]) -> None:
    """Write rows of numbers below ``2**bits`` as so many bits each, the first highest, filled up with 0."""
    if bits == 8:
        packed[:] = pixels
        return
    if bits == 1:
        packed[:] = np.packbits(pixels, axis=1)
        return
    height, width = pixels.shape
    dtype, factor = _GATHERERS[bits]
    together = 8 // bits
    if width % together or pixels.dtype != np.uint8 or pixels.strides[1] != 1:
        filled = np.zeros((height, packed.shape[1] * together), np.uint8)
        filled[:, :width] = pixels
        pixels = filled
    groups = pixels.view(dtype)
    product = groups * groups.dtype.type(factor)
    np.right_shift(product, 8 * (together - 1), out=product)
    packed[:] = product
