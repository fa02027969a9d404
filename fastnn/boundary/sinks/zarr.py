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

ZARR_CHUNK = 2048  # pixels to a side


class ZarrSink(FileSink):
    """A Zarr array (format 3) of unchanged pixels, row 0 the lowest, with the extent and the labels.

    A rectangle is a chunk, so that threads can write at the same time.
    """

    longest = 2**63 - 1
    most_coloured = 0
    package = "zarr"

    def check_place(self) -> None:
        """Raise ValueError if anything but an older array is in the way."""
        if self.path.exists() and not _is_array(self.path):
            raise ValueError(
                f"{self.argument}: there is already something at {self.path} that is not a Zarr array"
            )

    def begin(self) -> None:
        """Create the array."""
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
            # Zarr's own search for empty chunks takes ten times as long as writing them.
            config={"write_empty_chunks": True},
        )

    def rectangles(self) -> Iterator[Rect]:
        """Return the chunks, from the lower left."""
        height, width = self.picture.height, self.picture.width
        for bottom in range(0, height, ZARR_CHUNK):
            for left in range(0, width, ZARR_CHUNK):
                yield Rect(
                    bottom, min(bottom + ZARR_CHUNK, height), left, min(left + ZARR_CHUNK, width)
                )  # fmt: skip

    def encode(self, rect: Rect, pixels: NDArray[Any]) -> None:
        """Write a chunk."""
        if pixels.any():  # a missing chunk has the fill value 0
            self.array[rect.bottom : rect.top, rect.left : rect.right] = pixels

    def close(self) -> None:
        """Publish the array, if nobody has removed it meanwhile."""
        draft = self.draft.name(self.path)
        # If somebody removes the folder, Zarr makes it again for the next chunk, without the metadata.
        if not _is_array(draft):
            raise FileNotFoundError(errno.ENOENT, "removed while the picture was written", str(draft))
        self.draft.publish()


def _is_array(path: Path) -> bool:
    """Return whether a path is a Zarr array, and not a group, which may hold other data."""
    if (path / ".zarray").exists():
        return True
    try:
        return json.loads((path / "zarr.json").read_text(encoding="utf-8"))["node_type"] == "array"
    except (OSError, ValueError, LookupError, TypeError):
        return False
