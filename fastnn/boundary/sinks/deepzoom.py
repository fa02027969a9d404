"""Pictures in Deep Zoom pyramids of tiles, with an HTML page that shows them."""

from __future__ import annotations

import html
import json
import os
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...system.files import check_replaceable
from ..colours import PALETTE
from .base import FileSink, OneColourTiles, Picture, Rect, rectangles_from_top
from .png import PngCoding

__all__ = ["DeepZoomSink"]

DZI_TILE = 512  # pixels to a side
DZI_LEVELS = 3  # number of upper levels on which a rectangle consists of whole tiles


class DeepZoomSink(FileSink):
    """A Deep Zoom pyramid of PNG tiles, and an HTML page that shows it without a server.

    Level 0 is one pixel. Each level has twice as many pixels to a side as the level below, which has every
    second pixel of it. On the upper levels rectangles consist of whole tiles, which the encoding threads
    write. The tiles of the lower levels, a few per cent of all, are written by the thread that calls `put`.
    """

    max_side = 2**32 - 1
    max_classes = PALETTE
    colours_responses = True
    is_grey = True

    def final_names(self) -> tuple[Path, ...]:
        """Return the final names of the folder of tiles, the index and the page."""
        stem = self.path.stem
        return (self.path.with_name(f"{stem}_files"), self.path, self.path.with_name(f"{stem}.html"))

    def check_place(self) -> None:
        """Raise ValueError if anything but a pyramid exists under the names."""
        tiles, index, page = self.final_names()
        for name in (index, page):
            check_replaceable(name, self.argument)
        for name in (tiles, page):
            if name.exists() and (not index.exists() or (name is tiles and not name.is_dir())):
                raise ValueError(
                    f"{self.argument}: there is already something at {name} that does not belong to "
                    f"{index.name}"
                )

    def begin(self) -> None:
        """Create the folders of all levels."""
        width, height = self.picture.width, self.picture.height
        self.coding = PngCoding(self.picture, grey_bits=8)
        self.tiles = OneColourTiles(self.coding.file) if self.coding.has_palette else None
        self.top = (max(width, height) - 1).bit_length()
        self.folder = self.draft.name(self.final_names()[0])
        for level in range(self.top + 1):
            (self.folder / str(level)).mkdir(parents=True)
        # For each lower level: the pixels of the row of tiles that is being filled, how many of its rows of
        # pixels are filled, and its number.
        self.strips = {
            level: np.empty((DZI_TILE, -(-width >> (self.top - level))), self.picture.dtype)
            for level in range(self.top - DZI_LEVELS, -1, -1)
        }
        self.filled = dict.fromkeys(self.strips, 0)
        self.row = dict.fromkeys(self.strips, 0)

    def rectangles(self) -> Iterator[Rect]:
        """Return squares that consist of whole tiles on the upper levels, from the top."""
        side = DZI_TILE << (DZI_LEVELS - 1)
        return rectangles_from_top(self.picture, side, side)

    def encode(self, rect: Rect, pixels: NDArray[Any]) -> NDArray[Any]:
        """Write the tiles of the upper levels, and return the pixels of the highest of the lower levels."""
        pixels = pixels[::-1]
        row, column = (self.picture.height - rect.top) // DZI_TILE, rect.left // DZI_TILE
        for level in range(self.top, max(self.top - DZI_LEVELS, -1), -1):
            self._write(level, row, column, pixels)
            pixels, row, column = pixels[::2, ::2], row // 2, column // 2
        return pixels.copy()

    def put(self, rect: Rect, encoded: NDArray[Any]) -> None:
        """Add pixels to the lower levels."""
        level = self.top - DZI_LEVELS
        if level < 0:
            return
        rows, columns = encoded.shape
        left, begin = rect.left >> DZI_LEVELS, self.filled[level]
        self.strips[level][begin : begin + rows, left : left + columns] = encoded
        if rect.right == self.picture.width:
            self._add(level, rows, is_last=rect.bottom == 0)

    def _add(self, level: int, rows: int, is_last: bool) -> None:
        """Count new rows of pixels on a level; write a row of tiles that is full, or the last.

        Every second of its pixels is added to the level below.
        """
        self.filled[level] += rows
        if self.filled[level] < DZI_TILE and not is_last:
            return
        pixels = self.strips[level][: self.filled[level]]
        self._write(level, self.row[level], 0, pixels)
        self.row[level] += 1
        self.filled[level] = 0
        if level > 0:
            half, begin = pixels[::2, ::2], self.filled[level - 1]
            self.strips[level - 1][begin : begin + len(half)] = half
            self._add(level - 1, len(half), is_last)

    def _write(self, level: int, row: int, column: int, pixels: NDArray[Any]) -> None:
        """Write the tiles of `pixels`; `row` and `column` are those of the first tile on the level."""
        encode = self.coding.file if self.tiles is None else self.tiles.encode
        for i in range(0, pixels.shape[0], DZI_TILE):
            for j in range(0, pixels.shape[1], DZI_TILE):
                name = f"{level}/{column + j // DZI_TILE}_{row + i // DZI_TILE}.png"
                (self.folder / name).write_bytes(encode(pixels[i : i + DZI_TILE, j : j + DZI_TILE]))

    def close(self) -> None:
        """Write the index and the page, and move the pyramid to its final name."""
        _, index, page = self.final_names()
        width, height = self.picture.width, self.picture.height
        self.draft.name(index).write_text(
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" '
            f'Format="png" Overlap="0" TileSize="{DZI_TILE}">'
            f'<Size Width="{width}" Height="{height}"/></Image>\n'
        )
        self.draft.name(page).write_text(_page(self.path.stem, self.picture), encoding="utf-8")
        self.draft.publish()


def _page(title: str, picture: Picture) -> str:
    """Return the HTML page of a pyramid, which contains the viewer and all data except the tiles."""
    static = Path(__file__).parent / "static"
    colours = [] if picture.colours is None else [f"#{bytes(rgb).hex()}" for rgb in picture.colours]
    labels = range(len(colours)) if picture.classes is None else picture.classes
    data = {
        "width": picture.width,
        "height": picture.height,
        "extent": picture.description["extent"],
        "tileSize": DZI_TILE,
        "tiles": urllib.parse.quote(os.fsencode(f"{title}_files/")),
        "legend": [[str(label), colour] for label, colour in zip(labels, colours, strict=True)],
    }
    return Template((static / "deepzoom.html").read_text(encoding="utf-8")).substitute(
        # The name of a file need not be UTF-8, but the page is.
        title=html.escape(title.encode("utf-8", "replace").decode("utf-8")),
        # A "</script>" in the data would end the script: escape "<".
        data=json.dumps(data).replace("<", "\\u003c"),
        license=(static / "openseadragon.LICENSE.txt").read_text(encoding="utf-8"),
        viewer=(static / "openseadragon.min.js").read_text(encoding="utf-8"),
    )
