"""Files of the exports: checked names, written whole."""

from __future__ import annotations

from typing import Any

from ..system.files import check_output, written_whole

__all__ = ["write_file"]


def write_file(path: Any, contents: bytes) -> None:
    """Write a file whole, or leave the old file.

    Parameters
    ----------
    path : str or path
        Name of the file.
    contents : bytes
        New contents.

    Raises
    ------
    TypeError
        If `path` is neither text nor a path.
    ValueError
        If the file system refuses the name, the folder does not exist, or no file may replace `path`, as a
        folder or a device.
    OSError
        If the file cannot be written.
    """
    path = check_output(path, "path", "an exported model")
    with written_whole(path) as temporary:
        temporary.write_bytes(contents)
