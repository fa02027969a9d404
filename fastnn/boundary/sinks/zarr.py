"""Pictures in Zarr arrays."""

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
    """A Zarr array (format 3) of the pixels, with extent and labels as attributes; row 0 is the lowest.

    Each rectangle is a chunk, so that several threads can write at the same time.
    """

    max_side = 2**63 - 1
    max_coloured_classes = 0
    package = "zarr"

    def check_place(self) -> None:
        """Raise ValueError if anything but a Zarr array exists under the name."""
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
            # Zarr's search for empty chunks takes ten times as long as writing them: `encode` finds them.
            config={"write_empty_chunks": True},
        )

    def rectangles(self) -> Iterator[Rect]:
        """Yield the chunks, from the lower left."""
        height, width = self.picture.height, self.picture.width
        for bottom in range(0, height, ZARR_CHUNK):
            for left in range(0, width, ZARR_CHUNK):
                yield Rect(
                    bottom, min(bottom + ZARR_CHUNK, height), left, min(left + ZARR_CHUNK, width)
                )  # fmt: skip

    def encode(self, rect: Rect, pixels: NDArray[Any]) -> None:
        """Write a chunk, unless all of its pixels are 0."""
        if pixels.any():  # a missing chunk has the fill value 0
            self.array[rect.bottom : rect.top, rect.left : rect.right] = pixels

    def close(self) -> None:
        """Move the array to its final name; raise FileNotFoundError if it was removed meanwhile."""
        draft = self.draft.name(self.path)
        # If somebody removes the folder, Zarr creates it again for the next chunk, without the metadata.
        if not _is_array(draft):
            raise FileNotFoundError(errno.ENOENT, "removed while the picture was written", str(draft))
        self.draft.publish()


def _is_array(path: Path) -> bool:
    """Return True if a path is a Zarr array; False for a group, which may hold other data."""
    if (path / ".zarray").exists():
        return True
    try:
        return json.loads((path / "zarr.json").read_text(encoding="utf-8"))["node_type"] == "array"
    except (OSError, ValueError, LookupError, TypeError):
        return False
