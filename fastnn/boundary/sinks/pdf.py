"""The lines of a boundary, and the regions between them, as a PDF, by matplotlib."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tracing import Line, regions
from .svg import STROKE

__all__ = ["pdf_document"]

# Points (1/72 inch) of the page's longer side, whatever the number of pixels: PDF readers show at most 14400,
# and lines are as wide beside any picture.
PAGE_POINTS = 576
# Width of the lines in points, as on matplotlib's axes.
LINE_POINTS = 1.2


def pdf_document(
    lines: Sequence[Line],
    corner: int,
    size: tuple[int, int],
    colours: NDArray[np.uint8],
    description: dict[str, Any],
) -> bytes:
    """Return a PDF of one page that the picture fills, the same bytes for the same picture.

    Parameters
    ----------
    lines : sequence of Line
        In pixels, from the lower left corner.
    corner : int
        The class there.
    size : (int, int)
        Width and height in pixels.
    colours : array (n_classes, 3) of uint8
    description : dict
        Written into the document's subject as JSON.
    """
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.figure import Figure
    from matplotlib.patches import PathPatch
    from matplotlib.transforms import Affine2D

    scale = PAGE_POINTS / max(size)
    figure = Figure(figsize=(size[0] * scale / 72, size[1] * scale / 72), dpi=72)
    figure.set_layout_engine("none")  # which matplotlib's settings may ask for
    figure.patch.set_visible(False)
    in_points = Affine2D().scale(scale)
    for number, rings in sorted(regions(lines, corner, size).items()):
        shape = PathPatch(_path(rings), facecolor=colours[number] / 255, linewidth=0, transform=in_points)
        figure.add_artist(shape)
    if lines:
        drawn = PathPatch(
            _path([line.points for line in lines]), fill=False, edgecolor=STROKE, linewidth=LINE_POINTS,
            capstyle="round", joinstyle="round", transform=in_points,
        )  # fmt: skip
        figure.add_artist(drawn)
    document = io.BytesIO()
    metadata = {"Creator": "fastnn", "Subject": json.dumps(description), "CreationDate": None}
    FigureCanvasPdf(figure).print_pdf(document, metadata=metadata)
    return document.getvalue()


def _path(polylines: Sequence[NDArray[np.float64]]) -> Any:
    """Return a compound path of matplotlib's: a line that ends where it began is closed."""
    from matplotlib.path import Path

    codes = []
    for points in polylines:
        code = np.full(len(points), Path.LINETO, Path.code_type)
        code[0] = Path.MOVETO
        if (points[0] == points[-1]).all():
            code[-1] = Path.CLOSEPOLY
        codes.append(code)
    path = Path(np.concatenate(polylines), np.concatenate(codes))
    # Points that do not matter have been left out, and regions and lines must stay the same.
    path.should_simplify = False
    return path
