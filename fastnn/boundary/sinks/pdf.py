"""Pictures in PDF files (Portable Document Format), written by matplotlib."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .vector import STROKE, Shapes, VectorSink

__all__ = ["PdfSink"]

# Length of the page's longer side in points (1/72 inch). It does not depend on the number of pixels: PDF
# readers show at most 14400 points, and lines keep their width relative to the page.
PAGE_POINTS = 576
# Width of the lines in points, as on matplotlib's axes.
LINE_POINTS = 1.2


class PdfSink(VectorSink):
    """A PDF of one page, which the picture fills; equal pictures give equal bytes."""

    def document(self, shapes: Shapes) -> bytes:
        """Return the bytes of the PDF."""
        from matplotlib.backends.backend_pdf import FigureCanvasPdf
        from matplotlib.figure import Figure
        from matplotlib.patches import PathPatch
        from matplotlib.transforms import Affine2D

        width, height = shapes.size
        scale = PAGE_POINTS / max(width, height)
        figure = Figure(figsize=(width * scale / 72, height * scale / 72), dpi=72)
        figure.set_layout_engine("none")  # matplotlib's rcParams may choose one
        figure.patch.set_visible(False)
        in_points = Affine2D().scale(scale)
        for number, rings in shapes.regions:
            shape = PathPatch(
                _path(rings), facecolor=shapes.colours[number] / 255, linewidth=0, transform=in_points
            )
            figure.add_artist(shape)
        if shapes.lines:
            drawn = PathPatch(
                _path([line.points for line in shapes.lines]), fill=False, edgecolor=STROKE,
                linewidth=LINE_POINTS, capstyle="round", joinstyle="round", transform=in_points,
            )  # fmt: skip
            figure.add_artist(drawn)
        document = io.BytesIO()
        metadata = {"Creator": "fastnn", "Subject": json.dumps(shapes.description), "CreationDate": None}
        FigureCanvasPdf(figure).print_pdf(document, metadata=metadata)
        return document.getvalue()


def _path(polylines: Sequence[NDArray[np.float64]]) -> Any:
    """Return a compound path of matplotlib; a line whose last point is its first one is closed."""
    from matplotlib.path import Path

    codes = []
    for points in polylines:
        code = np.full(len(points), Path.LINETO, Path.code_type)
        code[0] = Path.MOVETO
        if (points[0] == points[-1]).all():
            code[-1] = Path.CLOSEPOLY
        codes.append(code)
    path = Path(np.concatenate(polylines), np.concatenate(codes))
    # The lines are simplified already. If matplotlib simplified them again, they would deviate from the edges
    # of the regions.
    path.should_simplify = False
    return path
