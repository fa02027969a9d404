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

# Pixels of a rectangle: enough to outweigh the start of a thread's turn.
PNG_POINTS = 1 << 23
# Pixels that go through several steps at once: intermediate results stay in the cache.
BLOCK_POINTS = 1 << 18


class PngSink(FileSink):
    """A PNG with a palette and 1, 2, 4 or 8 bits a pixel; more than 256 classes are numbers in grey.

    A response is 16 bits of grey: 0 is black, 1 is white, values outside are clipped, and NaN counts as 0; or
    it has a palette of the chosen colours.

    Nearly all time goes into the compression, for which Pillow, OpenCV and pypng use one thread. Here threads
    compress strips independently, as pigz does: strips that end at a whole byte are a stream one after
    another, and their checksums give the checksum of the stream.
    """

    colours_responses = True
    is_grey = True
    file: IO[bytes]

    def begin(self) -> None:
        """Open the file and write its head."""
        self.coding = PngCoding(self.picture, grey_bits=16)
        self.checksum = zlib.adler32(b"")
        self.file = open(self.draft.name(self.path), "wb")  # noqa: SIM115
        self.file.write(self.coding.head(self.picture.width, self.picture.height))
        # Deflate with a window of 32 KB, at the fastest level.
        self.file.write(_png_chunk(b"IDAT", b"\x78\x01"))

    def rectangles(self) -> Iterator[Rect]:
        """Return strips of whole rows, from the top."""
        return from_the_top(self.picture, max(1, PNG_POINTS // self.picture.width), self.picture.width)

    def encode(self, rect: Rect, pixels: NDArray[Any]) -> tuple[bytes, int, int]:
        """Return the chunk of a strip, and the checksum and size of its uncompressed bytes."""
        lines = self.coding.lines(pixels[::-1])
        packed = deflated(lines, self.coding.has_palette, part=True)
        return _png_chunk(b"IDAT", packed), zlib.adler32(lines.data), lines.size

    def put(self, rect: Rect, encoded: tuple[bytes, int, int]) -> None:
        """Write a chunk."""
        chunk, checksum, size = encoded
        self.file.write(chunk)
        self.checksum = _joint_checksum(self.checksum, checksum, size)

    def close(self) -> None:
        """End the compressed stream and the file, and publish it."""
        # An empty last block, and the checksum of what came before.
        self.file.write(_png_chunk(b"IDAT", b"\x03\x00" + struct.pack(">I", self.checksum)))
        self.file.write(_png_chunk(b"IEND", b""))
        self.file.close()
        self.draft.publish()

    def discard(self) -> None:
        """Close and remove the file."""
        if hasattr(self, "file"):
            with suppress(OSError):  # closing writes what is buffered
                self.file.close()
        super().discard()


def _joint_checksum(first: int, second: int, size: int) -> int:
    """Return the Adler-32 checksum of two portions of bytes from their checksums.

    `size` is the number of bytes in the second portion. Adler-32 is two sums modulo 65521: 1 plus the sum of
    the bytes, and the sum of all these partial sums.
    """
    base = 65521
    bytes_before = (first & 0xFFFF) - 1
    low = (bytes_before + (second & 0xFFFF)) % base
    high = ((first >> 16) + (second >> 16) + size * bytes_before) % base
    return high << 16 | low


class PngCoding:
    """The conversion of a picture's pixels, highest row first, to the bytes of PNG files."""

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
        """Return the signature, the header and the palette of a file."""
        kind = self.INDEXED if self.has_palette else self.GREY
        header = struct.pack(">IIBBBBB", width, height, self.bits, kind, 0, 0, 0)
        return self.SIGNATURE + _png_chunk(b"IHDR", header) + self.palette

    def file(self, pixels: NDArray[Any]) -> bytes:
        """Return the bytes of a whole file."""
        height, width = pixels.shape
        data = _png_chunk(b"IDAT", deflated(self.lines(pixels), self.has_palette))
        return self.head(width, height) + data + _png_chunk(b"IEND", b"")

    def lines(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the rows before compression, each with the type of its filter in front."""
        height, width = pixels.shape
        lines = np.empty((height, 1 + -(-width * self.bits // 8)), np.uint8)
        rows = max(1, BLOCK_POINTS // width)
        if self.has_palette:
            lines[:, 0] = self.PLAIN
            for i in range(0, height, rows):
                _pack(self._numbers(pixels[i : i + rows]), self.bits, lines[i : i + rows, 1:])
            return lines
        # The row above the first one is in another strip: the first row is stored as it is.
        lines[:, 0], lines[0, 0] = self.UP, self.PLAIN
        above: NDArray[np.uint8] = np.zeros(lines.shape[1] - 1, np.uint8)
        for i in range(0, height, rows):
            values = self._grey(pixels[i : i + rows])
            np.subtract(values[0], above, out=lines[i, 1:])
            np.subtract(values[1:], values[:-1], out=lines[i + 1 : i + rows, 1:])
            above = values[-1]
        return lines

    def _numbers(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return indices into the palette, for a response by the intervals that matplotlib uses."""
        if not self.is_response:
            return pixels
        return np.minimum(_clipped(pixels) * self.n_colours, self.n_colours - 1).astype(np.uint8)

    def _grey(self, pixels: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the bytes of rows of grey, the higher byte of a pixel first."""
        if self.is_response:
            pixels = _clipped(pixels).astype(np.float32) * ((1 << self.bits) - 1) + 0.5
        return pixels.astype(">u2" if self.bits == 16 else np.uint8).view(np.uint8)


def _clipped(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return a response within 0 and 1, and NaN, which is neither above 0, as 0."""
    return np.where(pixels > 0, np.minimum(pixels, 1), 0)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file: length, kind, data and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


# By bits of a pixel: the type of an integer that holds the pixels of one byte, the first in its lowest byte;
# and a factor that shifts all of them into the highest byte of the product. No two terms of the product
# overlap, and terms above the highest bit are cut off.
_GATHERERS: dict[int, tuple[str, int]] = {
    2: ("<u4", 1 << 30 | 1 << 20 | 1 << 10 | 1),
    4: ("<u2", 1 << 12 | 1),
}


def _pack(pixels: NDArray[Any], bits: int, packed: NDArray[np.uint8]) -> None:
    """Pack rows of numbers below ``2**bits`` into bytes, the first number highest, filled up with zeros."""
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
