"""Where a picture goes: an array, or a file that is written while the picture is painted.

A picture is a table of pixels whose row 0 is the lowest, as matplotlib has it with
``origin="lower"``. Image files begin with the highest row, so they get it upside down. A sink says
which rectangles it wants; they are painted and encoded on many threads, and put in its order on one.
What a file sink holds at a time does not grow with the height of the picture.
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
from ...system.threads import Flag, available_cores, in_turn
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

# Files by their suffix; another format is a class of its own and a line here.
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
    """Where a picture is to go.

    Parameters
    ----------
    out : array (height, width), path or None
        An array or memmap whose dtype can hold the pixels, a name that ends in one of `FORMATS`, or None
        for a new array.
    picture : Picture
        What will be painted.
    argument : str
        What the messages call `out`.

    Returns
    -------
    Sink
        That of an array has it as `pixels`.

    Raises
    ------
    ValueError
        For an array that cannot hold the picture, and for a path with an unknown suffix, without a
        folder, where something else is already, or whose format cannot hold the picture.
    TypeError
        For anything else.
    ImportError
        Without the library that the format needs.
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
    """Raise where a file is to have chosen colours that its format does not show.

    Parameters
    ----------
    out : array, path or None
        Arrays hold numbers to be coloured later, and pass.
    picture : Picture
    colours, cmap : optional
        As they were given for this file; None passes.

    Raises
    ------
    ValueError
    """
    path = Path(out) if isinstance(out, (str, os.PathLike)) else Path()
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        return
    if picture.colours is None:
        if colours is not None:
            raise ValueError("colours are those of classes, and the picture holds a response: use cmap=")
        if cmap is not None and not FORMATS[suffix].colours_responses:
            able = [name for name, kind in FORMATS.items() if kind.colours_responses]
            raise ValueError(
                f"cmap: a {suffix} file has no colours for a response: choose {' or '.join(able)}, or leave "
                "cmap out"
            )
    elif colours is not None and len(picture.colours) > FORMATS[suffix].most_coloured:
        able = [name for name, kind in FORMATS.items() if kind.most_coloured >= len(picture.colours)]
        raise ValueError(
            f"colours: a {suffix} file of {len(picture.colours)} classes holds their numbers, without "
            f"colours: choose {' or '.join(able)}, or leave colours out"
        )


def save_pixels(pixels: NDArray[Any], path: str | os.PathLike[str], picture: Picture) -> None:
    """Write a picture that is in memory, or mapped into it; arguments and errors as of `open_sink`."""
    path = check_file_name(path, "path")
    shape, n_threads = (picture.height, picture.width), available_cores()
    if np.shape(pixels) != shape:
        raise ValueError(f"pixels must have shape {shape} (height, width), got {np.shape(pixels)}")

    def encode(rect: Rect) -> Any:
        part = pixels[rect.bottom : rect.top, rect.left : rect.right]
        return sink.encode(rect, np.ascontiguousarray(part, picture.dtype))

    interrupted = Flag()
    with (
        held_interrupts(interrupted.hoist),
        open_sink(path, picture, "path") as sink,
        closing(in_turn(encode, sink.rectangles(), n_threads)) as encoded,
    ):
        for rect, part in encoded:
            deliver_interrupts()
            if interrupted():
                raise KeyboardInterrupt
            sink.put(rect, part)
