"""Pictures in PNG files (Portable Network Graphics)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ...network.description import Array
from ..colours import PALETTE
from ..view import Rect, Regions
from .base import FileSink, Picture, is_constant

# Number of pixels in a rectangle: enough to outweigh the overhead of a thread's task.
PNG_POINTS = 1 << 23
# Number of pixels that are converted together, so that intermediate results stay in the cache.
BLOCK_POINTS = 1 << 18
# Level of compression: the fastest.
DEFLATE_LEVEL = 1


class PngSink(FileSink):
    """A PNG file with a palette and 1, 2, 4 or 8 bits per pixel, or in grey.

    Up to 256 classes have a palette; the numbers of more classes are 16 bits of grey. A response has a
    palette of the chosen colours, or is 16 bits of grey, from 0 (black) to 1 (white); values outside of this
    range are clipped, and NaN becomes 0.

    Nearly all time goes into the compression, for which Pillow, OpenCV and pypng use one thread. Here threads
    compress strips independently, as pigz does. The compressed strips end at whole bytes, so that they form a
    stream when they are concatenated, and their checksums are combined into the stream's. Strips of one
    class are compressed once.
    """

    square = 512
    file: IO[bytes]

    def begin(self) -> None:
        self.coding = PngCoding(self.picture, grey_bits=16)
        self.checksum = zlib.adler32(b"")
        self.one_class: dict[tuple[int, int], tuple[bytes, int, int]] = {}  # results of `encode`
        self.file = open(self.draft.name(self.path), "wb")  # noqa: SIM115
        self.file.write(self.coding.head(self.picture.width, self.picture.height))
        # The header of the compressed stream, of which `_deflate` leaves out the header in segments.
        self.file.write(_png_chunk(b"IDAT", zlib.compress(b"", DEFLATE_LEVEL)[:2]))

    def rectangles(self, regions: Regions | None = None) -> Iterator[Rect]:
        self.regions = regions
        width, rows = self.picture.width, max(1, PNG_POINTS // self.picture.width)
        for top in range(self.picture.height, 0, -rows):
            yield Rect(max(top - rows, 0), top, 0, width)

    def encode(self, rect: Rect, pixels: Array) -> tuple[bytes, int, int]:
        """Return the chunk of a strip, and the checksum and size of its uncompressed bytes."""
        if not is_constant(pixels):
            return self._compress(self._lines(rect, pixels))
        key = len(pixels), int(pixels[0, 0])
        if key not in self.one_class:
            self.one_class[key] = self._compress(self.coding.lines(pixels))
        return self.one_class[key]

    def _lines(self, rect: Rect, pixels: Array) -> NDArray[np.uint8]:
        """Return the rows before compression, in which squares of known classes are not packed by pixels."""
        coding, regions = self.coding, self.regions
        if regions is None or not coding.has_palette:
            return coding.lines(pixels[::-1])
        height, width = pixels.shape
        lines = np.empty((height, 1 + -(-width * coding.bits // 8)), np.uint8)
        lines[:, 0] = coding.PLAIN
        n_bytes = regions.side * coding.bits // 8  # of a row of a square
        for k, winners in enumerate(regions.in_rect(rect), start=rect.bottom // regions.side):
            bottom, top = (min(max(j * regions.side - rect.bottom, 0), height) for j in (k, k + 1))
            rows, packed = pixels[bottom:top][::-1], lines[height - top : height - bottom, 1:]
            # All pixels of a byte are of the same class.
            of_class = np.arange(coding.n_colours, dtype=np.uint8) * np.uint8(255 // ((1 << coding.bits) - 1))
            packed[:] = np.repeat(of_class[winners], n_bytes)[: packed.shape[1]]
            for j in np.flatnonzero(winners < 0).tolist():
                square = rows[:, j * regions.side : (j + 1) * regions.side]
                _pack(square, coding.bits, packed[:, j * n_bytes : (j + 1) * n_bytes])
        return lines

    def _compress(self, lines: NDArray[np.uint8]) -> tuple[bytes, int, int]:
        packed = _deflate(lines, self.coding.has_palette, segment=True)
        return _png_chunk(b"IDAT", packed), zlib.adler32(lines.data), lines.size

    def put(self, rect: Rect, encoded: tuple[bytes, int, int]) -> None:
        chunk, checksum, size = encoded
        self.file.write(chunk)
        self.checksum = _join_checksums(self.checksum, checksum, size)

    def close(self) -> None:
        # An empty last block, and the checksum of all uncompressed bytes.
        self.file.write(_png_chunk(b"IDAT", b"\x03\x00" + struct.pack(">I", self.checksum)))
        self.file.write(_png_chunk(b"IEND", b""))
        self.file.close()
        self.draft.publish()

    def discard(self) -> None:
        if hasattr(self, "file"):
            with suppress(OSError):  # closing writes the buffer, which may fail
                self.file.close()
        super().discard()


def _join_checksums(first: int, second: int, size: int) -> int:
    """Return the Adler-32 checksum of two strings of bytes, concatenated, given the checksum of each.

    `size` is the length of the second string. Adler-32 consists of two sums modulo 65521: 1 plus the sum of
    the bytes, and the sum of this sum after every byte.
    """
    base = 65521
    bytes_before = (first & 0xFFFF) - 1
    low = (bytes_before + (second & 0xFFFF)) % base
    high = ((first >> 16) + (second >> 16) + size * bytes_before) % base
    return high << 16 | low


class PngCoding:
    """The conversion of a picture's pixels, highest row first, to the bytes of PNG files."""

    SIGNATURE = b"\x89PNG\r\n\x1a\n"
    GREY, INDEXED = 0, 3  # colour types
    PLAIN, UP = 0, 2  # filter types of rows: the bytes themselves, or their differences from the row above

    def __init__(self, picture: Picture, grey_bits: int) -> None:
        self.is_response, colours = picture.classes is None, picture.palette
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

    def file(self, pixels: Array) -> bytes:
        height, width = pixels.shape
        data = _png_chunk(b"IDAT", _deflate(self.lines(pixels), self.has_palette))
        return self.head(width, height) + data + _png_chunk(b"IEND", b"")

    def lines(self, pixels: Array) -> NDArray[np.uint8]:
        """Return the rows before compression, each preceded by its filter type."""
        height, width = pixels.shape
        lines = np.empty((height, 1 + -(-width * self.bits // 8)), np.uint8)
        rows = max(1, BLOCK_POINTS // width)
        if self.has_palette:
            lines[:, 0] = self.PLAIN
            for i in range(0, height, rows):
                _pack(self._numbers(pixels[i : i + rows]), self.bits, lines[i : i + rows, 1:])
            return lines
        # The row above the first one belongs to another strip, so the first row has no filter.
        lines[:, 0], lines[0, 0] = self.UP, self.PLAIN
        above: NDArray[np.uint8] = np.zeros(lines.shape[1] - 1, np.uint8)
        for i in range(0, height, rows):
            values = self._grey(pixels[i : i + rows])
            np.subtract(values[0], above, out=lines[i, 1:])
            np.subtract(values[1:], values[:-1], out=lines[i + 1 : i + rows, 1:])
            above = values[-1]
        return lines

    def _numbers(self, pixels: Array) -> Array:
        """Return indices into the palette; responses are divided into intervals as matplotlib does."""
        if not self.is_response:
            return pixels
        return np.minimum(_clip(pixels) * self.n_colours, self.n_colours - 1).astype(np.uint8)

    def _grey(self, pixels: Array) -> NDArray[np.uint8]:
        """Return rows of grey pixels as bytes, the higher byte of a pixel first."""
        if self.is_response:
            pixels = _clip(pixels).astype(np.float32) * ((1 << self.bits) - 1) + 0.5
        return pixels.astype(">u2" if self.bits == 16 else np.uint8).view(np.uint8)


def _clip(pixels: Array) -> Array:
    """Return a response clipped to the range from 0 to 1, with 0 for NaN."""
    return np.where(pixels > 0, np.minimum(pixels, 1), 0)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


# Packing by a multiplication, for each number of bits per pixel: the dtype of an integer with the pixels of
# one packed byte, a pixel per byte, the first pixel lowest; and the factor that makes the highest byte of the
# product the packed byte. The terms of the product do not overlap in that byte, and higher terms overflow.
_GATHERERS: dict[int, tuple[str, int]] = {
    2: ("<u4", 1 << 30 | 1 << 20 | 1 << 10 | 1),
    4: ("<u2", 1 << 12 | 1),
}


def _pack(pixels: Array, bits: int, packed: NDArray[np.uint8]) -> None:
    """Pack rows of numbers below ``2**bits`` into bytes, the first number highest, padded with zeros."""
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


def _deflate(data: Array, is_flat: bool, segment: bool = False) -> bytes:
    """Return the bytes of a C-contiguous array compressed with Deflate.

    If most neighbours are equal (`is_flat`), run-length encoding gives a third of the bytes of the default
    strategy, in the same time. A segment leaves out the header and the end of the stream, so that
    concatenated segments form one stream; `PngSink.close` ends it by an empty last block.
    """
    strategy = zlib.Z_RLE if is_flat else zlib.Z_DEFAULT_STRATEGY
    window = -zlib.MAX_WBITS if segment else zlib.MAX_WBITS
    stream = zlib.compressobj(DEFLATE_LEVEL, zlib.DEFLATED, window, zlib.DEF_MEM_LEVEL, strategy)
    return stream.compress(data.data) + stream.flush(zlib.Z_SYNC_FLUSH if segment else zlib.Z_FINISH)
