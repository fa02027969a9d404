"""Destinations of pictures: arrays, and files that are written while the picture is painted.

Row 0 of a picture is the lowest, as in matplotlib with ``origin="lower"``; image files begin with the highest
row and therefore get the rows in reverse order. A sink returns the rectangles of the picture in the order in
which it writes them. Several threads paint and encode rectangles, and one thread writes them in that order.
The memory of a file sink does not grow with the height of the picture.
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

import numpy as np

from fastnn_kernels.compiler.interrupts import defer_signals, deliver_interrupts

from ...network.description import Array
from ...system.files import check_file_name, check_folder
from ...system.threads import Flag, count_cores, map_in_order
from ..view import Rect
from .array import ArraySink
from .base import FileSink, Picture, Sink
from .deepzoom import DeepZoomSink
from .png import PngSink
from .zarr import ZarrSink

# An array, the path of a file, or None for a new array.
Destination = Array | str | os.PathLike[str] | None

# Classes of file sinks by suffix. To add a format, write a class and add its suffix here.
FORMATS: dict[str, type[FileSink]] = {".png": PngSink, ".zarr": ZarrSink, ".dzi": DeepZoomSink}


def open_sink(out: Destination, picture: Picture, argument: str = "out") -> Sink:
    """Return the sink of a destination, an array or a file; error messages call it `argument`."""
    if out is None or isinstance(out, np.ndarray):
        return ArraySink(out, picture)
    if not isinstance(out, (str, os.PathLike)):
        raise TypeError(f"{argument} must be an array, a path or None, got {type(out).__name__}")
    path = check_file_name(out, argument)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(
            f"{argument}: {path} must end in one of {', '.join(FORMATS)}; matplotlib saves the figure of a "
            "plot in more formats"
        )
    path = path.absolute()
    check_folder(path, argument)
    return FORMATS[path.suffix.lower()](path, picture, argument)


def save_pixels(pixels: Array, path: str | os.PathLike[str], picture: Picture) -> None:
    """Write pixels (height, width) in memory to a file; raise the errors of `open_sink`."""
    path = check_file_name(path, "path")

    def encode(rect: Rect) -> Any:
        return sink.encode(rect, np.ascontiguousarray(rect.cut(pixels), picture.dtype))

    interrupted = Flag()
    with (
        defer_signals(interrupted.set),
        open_sink(path, picture, "path") as sink,
        closing(map_in_order(encode, sink.rectangles(), count_cores())) as encoded,
    ):
        for rect, data in encoded:
            deliver_interrupts()
            if interrupted():
                raise KeyboardInterrupt
            sink.put(rect, data)
