"""Destinations of pictures: arrays, and files that are written while the picture is painted.

Row 0 of a picture is the lowest, as in matplotlib with ``origin="lower"``; image files begin with the highest
row and therefore get the rows in reverse order. A sink returns the rectangles of the picture in the order in
which it writes them. Several threads paint and encode rectangles, and one thread writes them in that order.
The memory of a file sink does not grow with the height of the picture.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels.compiler.interrupts import deliver_interrupts, held_interrupts

from ...system.files import check_file_name, check_folder
from ...system.threads import Flag, available_cores, map_in_order
from .array import ArraySink, strips
from .base import FileSink, Picture, Rect, Sink
from .deepzoom import DeepZoomSink
from .pdf import PdfSink
from .png import PngCoding, PngSink
from .svg import SvgSink
from .tiff import TiffSink
from .zarr import ZarrSink

__all__ = [
    "FORMATS",
    "ArraySink",
    "FileSink",
    "Picture",
    "PngCoding",
    "Rect",
    "Sink",
    "check_coloured",
    "open_sink",
    "save_pixels",
    "strips",
]

# Classes of file sinks by suffix. To add a format, write a class and add its suffix here.
FORMATS: dict[str, type[FileSink]] = {
    ".png": PngSink,
    ".tif": TiffSink,
    ".tiff": TiffSink,
    ".zarr": ZarrSink,
    ".dzi": DeepZoomSink,
    ".svg": SvgSink,
    ".pdf": PdfSink,
}


def open_sink(out: Any, picture: Picture, argument: str = "out") -> Sink:
    """Return the sink of a destination.

    Parameters
    ----------
    out : array (height, width), path or None
        Array or memmap whose dtype can hold the pixels, a name that ends in one of `FORMATS`, or None for a
        new array.
    picture : Picture
        Description of the picture.
    argument : str
        Name of `out` in error messages.

    Returns
    -------
    Sink
        For an array, an `ArraySink`, whose attribute `pixels` is the array.

    Raises
    ------
    ValueError
        For an array that cannot hold the picture; for a path with an unknown suffix, in a folder that does
        not exist, or of something that must not be replaced; and for a format that cannot hold the picture.
    TypeError
        If `out` is neither an array nor a path nor None.
    ImportError
        If the package that the format requires is not installed.
    """
    if out is None or isinstance(out, np.ndarray):
        return ArraySink(out, picture)
    if not isinstance(out, (str, os.PathLike)):
        raise TypeError(f"{argument} must be an array, a path or None, got {type(out).__name__}")
    path = check_file_name(out, argument)
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{argument}: {path} must end in one of {', '.join(FORMATS)}")
    path = path.absolute()
    check_folder(path, argument)
    return FORMATS[path.suffix.lower()](path, picture, argument)


def check_coloured(out: Any, picture: Picture, colours: Any, cmap: Any) -> None:
    """Raise ValueError if a user chose colours that the file format cannot store.

    Parameters
    ----------
    out : array, path or None
        Destination. Arrays hold numbers, which may be coloured later: any colours are accepted for them.
    picture : Picture
        Description of the picture.
    colours, cmap : optional
        Arguments of `render_boundary`.

    Raises
    ------
    ValueError
        If the format has no colours for such a picture, or has too few.
    """
    path = Path(out) if isinstance(out, (str, os.PathLike)) else Path()
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        return
    if picture.colours is None:
        if colours is not None:
            raise ValueError("colours work only with classes, but the picture holds a response: use cmap=")
        if cmap is not None and not FORMATS[suffix].colours_responses:
            able = [name for name, kind in FORMATS.items() if kind.colours_responses]
            raise ValueError(
                f"cmap: a {suffix} file has no colours for a response: choose {' or '.join(able)}, or leave "
                "cmap out"
            )
    elif colours is not None and len(picture.colours) > FORMATS[suffix].max_coloured_classes:
        able = [name for name, kind in FORMATS.items() if kind.max_coloured_classes >= len(picture.colours)]
        raise ValueError(
            f"colours: a {suffix} file of {len(picture.colours)} classes holds their numbers, without "
            f"colours: choose {' or '.join(able)}, or leave colours out"
        )


def save_pixels(pixels: NDArray[Any], path: str | os.PathLike[str], picture: Picture) -> None:
    """Write pixels in memory to a file.

    Parameters
    ----------
    pixels : array (height, width)
        Array or memmap.
    path, picture
        Arguments of `open_sink`, which raises the same errors.
    """
    path = check_file_name(path, "path")
    shape, n_threads = (picture.height, picture.width), available_cores()
    if np.shape(pixels) != shape:
        raise ValueError(f"pixels must have shape {shape} (height, width), got {np.shape(pixels)}")

    def encode(rect: Rect) -> Any:
        inside = pixels[rect.bottom : rect.top, rect.left : rect.right]
        return sink.encode(rect, np.ascontiguousarray(inside, picture.dtype))

    interrupted = Flag()
    with (
        held_interrupts(interrupted.set),
        open_sink(path, picture, "path") as sink,
        closing(map_in_order(encode, sink.rectangles(), n_threads)) as encoded,
    ):
        for rect, data in encoded:
            deliver_interrupts()
            if interrupted():
                raise KeyboardInterrupt
            sink.put(rect, data)
