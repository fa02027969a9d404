"""Zarr arrays."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .base import FileSink, Rect

__all__ = ["ZarrSink"]

ZARR_CHUNK = 2048


class ZarrSink(FileSink):
    """A Zarr array (format 3) of the pixels as they are, row 0 the lowest, with the extent and the labels.

    A rectangle is a chunk, so that threads can write theirs at the same time.
    """

    longest = 2**63 - 1
    most_coloured = 0
    package = "zarr"

    def check_place(self) -> None:
        if self.path.exists() and not _is_array(self.path):
            raise ValueError(
                f"{self.argument}: there is already something at {self.path} that is no Zarr array"
            )

    def begin(self) -> None:
        shape = (self.picture.height, self.picture.width)
        self.array = self.module.create_array(
            store=str(self.draft.name(self.path)),
            shape=shape,
            dtype=self.picture.dtype,
            chunks=tuple(min(ZARR_CHUNK, side) for side in shape),
            dimension_names=("y", "x"),
            attributes=self.picture.description | {"origin": "lower"},
            zarr_format=3,
            fill_value=0,
            # It would find out for itself, in ten times the time of writing.
            config={"write_empty_chunks": True},
        )

    def rectangles(self) -> Iterator[Rect]:
        height, width = self.picture.height, self.picture.width
        for bottom in range(0, height, ZARR_CHUNK):
            for left in range(0, width, ZARR_CHUNK):
                yield Rect(
                    bottom, min(bottom + ZARR_CHUNK, height), left, min(left + ZARR_CHUNK, width)
                )  # fmt: skip

    def encode(self, rect: Rect, pixels: NDArray[Any]) -> None:
        if pixels.any():  # else it is the fill value
            self.array[rect.bottom : rect.top, rect.left : rect.right] = pixels

    def close(self) -> None:
        draft = self.draft.name(self.path)
        # Zarr makes the folders of chunks anew where somebody has removed them, and its metadata are gone.
        if not _is_array(draft):
            raise FileNotFoundError(errno.ENOENT, "removed while the picture was written", str(draft))
        self.draft.publish()


def _is_array(path: Path) -> bool:
    """Whether there is a Zarr array, and not a group, which may hold other things."""
    if (path / ".zarray").exists():
        return True
    try:
        return json.loads((path / "zarr.json").read_text(encoding="utf-8"))["node_type"] == "array"
    except (OSError, ValueError, LookupError, TypeError):
        return False
