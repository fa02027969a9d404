"""Pictures in Deep Zoom pyramids of tiles, with an HTML page that shows them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from string import Template

from ...network.description import Array
from ...system.files import check_replaceable
from ..colours import PALETTE
from ..view import Rect, Regions
from .base import FileSink, Picture, is_constant
from .png import PngCoding

DZI_TILE = 512  # pixels to a side
DZI_LEVELS = 3  # number of levels on which a rectangle consists of whole tiles


class DeepZoomSink(FileSink):
    """A Deep Zoom pyramid of PNG tiles, and an HTML page that shows it without a server.

    Level 0 is one pixel. Each level has twice as many pixels to a side as the level below, which has every
    second pixel of it. A rectangle consists of whole tiles on `DZI_LEVELS` levels, of which the lower ones
    have its pixels thinned. The levels below are painted again, from every eighth pixel of every eighth
    row, and so on: a few per cent of all points, far fewer where the squares of the picture are known.

    Tiles of one class are links to one file, which is written once.
    """

    max_side = 2**32 - 1
    max_classes = PALETTE

    def final_names(self) -> tuple[Path, ...]:
        stem = self.path.stem
        return (self.path.with_name(f"{stem}_files"), self.path, self.path.with_name(f"{stem}.html"))

    def check_place(self) -> None:
        tiles, index, page = self.final_names()
        for name in (index, page):
            check_replaceable(name, self.argument)
        for name in (tiles, page):
            if name.exists() and (not index.exists() or (name is tiles and not name.is_dir())):
                raise ValueError(f"{self.argument}: {name} exists, and does not belong to {index.name}")

    def begin(self) -> None:
        width, height = self.picture.width, self.picture.height
        self.coding = PngCoding(self.picture, grey_bits=8)
        self.square = DZI_TILE << (DZI_LEVELS - 1)
        self.one_class: dict[tuple[int, ...], str] = {}  # tiles by their shape and class
        self.top = (max(width, height) - 1).bit_length()
        self.folder = str(self.draft.name(self.final_names()[0]))
        for level in range(self.top + 1):
            os.makedirs(f"{self.folder}/{level}")

    def rectangles(self, regions: Regions | None = None) -> Iterator[Rect]:
        """Yield squares that consist of whole tiles, from the top, on every third level."""
        for level in range(self.top, -1, -DZI_LEVELS):
            step = 1 << (self.top - level)
            height, width = -(-self.picture.height // step), -(-self.picture.width // step)
            for row in range(0, height, self.square):
                for left in range(0, width, self.square):
                    last, right = min(row + self.square, height) - 1, min(left + self.square, width) - 1
                    top = self.picture.height - row * step
                    bottom = self.picture.height - 1 - last * step
                    yield Rect(bottom, top, left * step, right * step + 1, step)

    def encode(self, rect: Rect, pixels: Array) -> None:
        pixels = pixels[::-1]
        level = self.top - rect.step.bit_length() + 1
        row = (self.picture.height - rect.top) // rect.step // DZI_TILE
        column = rect.left // rect.step // DZI_TILE
        for k in range(level, max(level - DZI_LEVELS, -1), -1):
            for i in range(0, pixels.shape[0], DZI_TILE):
                for j in range(0, pixels.shape[1], DZI_TILE):
                    name = f"{self.folder}/{k}/{column + j // DZI_TILE}_{row + i // DZI_TILE}.png"
                    self._write_tile(name, pixels[i : i + DZI_TILE, j : j + DZI_TILE])
            pixels, row, column = pixels[::2, ::2], row // 2, column // 2

    def _write_tile(self, name: str, pixels: Array) -> None:
        """Write the file of a tile, or link it to one of the same pixels."""
        key: tuple[int, ...] | None = None
        first = pixels[0, 0]
        # Most tiles with two classes have both in their first row, so compare that row first.
        if is_constant(pixels) or not (
            first.dtype.kind == "f" or (pixels[0] != first).any() or (pixels != first).any()
        ):
            key = (*pixels.shape, int(first))
            # The system or the file system has no links, or no more of this file.
            with suppress(KeyError, OSError, AttributeError):
                os.link(self.one_class[key], name)
                return
        with open(name, "wb") as file:
            file.write(self.coding.file(pixels))
        if key is not None:
            self.one_class[key] = name

    def close(self) -> None:
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
    import html
    from urllib.parse import quote

    static = Path(__file__).parent / "static"
    labels = [] if picture.classes is None else picture.classes.tolist()
    shades = [] if picture.classes is None or picture.palette is None else picture.palette.tolist()
    data = {
        "width": picture.width,
        "height": picture.height,
        "extent": picture.description["extent"],
        "tileSize": DZI_TILE,
        "tiles": quote(os.fsencode(f"{title}_files/")),
        "legend": [[str(label), f"#{bytes(rgb).hex()}"] for label, rgb in zip(labels, shades, strict=True)],
    }
    return Template((static / "deepzoom.html").read_text(encoding="utf-8")).substitute(
        # The name of a file need not be UTF-8, but the page is.
        title=html.escape(title.encode("utf-8", "replace").decode("utf-8")),
        # A "</script>" in the data would end the script, so escape "<".
        data=json.dumps(data).replace("<", "\\u003c"),
        license=(static / "openseadragon.LICENSE.txt").read_text(encoding="utf-8"),
        viewer=(static / "openseadragon.min.js").read_text(encoding="utf-8"),
    )
