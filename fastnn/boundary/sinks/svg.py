"""The lines of a boundary, and the regions between them, as an SVG."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tracing import Line, regions

__all__ = ["svg_document"]

# Of the lines, in pixels of the screen at any magnification.
STROKE, STROKE_WIDTH = "#404040", 1.5
# What XML cannot hold, not even as a character reference.
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def svg_document(
    lines: Sequence[Line],
    corner: int,
    size: tuple[int, int],
    colours: NDArray[np.uint8],
    labels: Sequence[Any],
    description: dict[str, Any],
) -> str:
    """An SVG whose units are the pixels of a picture.

    Parameters
    ----------
    lines : sequence of Line
        In pixels, from the lower left corner.
    corner : int
        The class there.
    size : (int, int)
        Width and height.
    colours : array (n_classes, 3) of uint8
    labels : sequence
        Of the classes.
    description : dict
        What is told as JSON.
    """
    width, height = size
    by_pair: dict[tuple[int, int], list[NDArray[np.float64]]] = {}
    for line in lines:
        by_pair.setdefault((line.left, line.right), []).append(line.points)
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        f"<metadata>{_escaped(json.dumps(description))}</metadata>",
        '<g id="regions" fill-rule="evenodd" stroke="none">',
    ]
    for number, rings in sorted(regions(lines, corner, size).items()):
        parts.append(
            f'<path fill="#{bytes(colours[number]).hex()}" d="{_path(rings, height)}">'
            f"<title>{_escaped(labels[number])}</title></path>"
        )
    parts += [
        "</g>",
        f'<g id="lines" fill="none" stroke="{STROKE}" stroke-width="{STROKE_WIDTH}" stroke-linejoin="round" '
        'stroke-linecap="round">',
    ]
    for (left, right), polylines in sorted(by_pair.items()):
        parts.append(
            f'<path vector-effect="non-scaling-stroke" d="{_path(polylines, height)}">'
            f"<title>{_escaped(labels[left])} | {_escaped(labels[right])}</title></path>"
        )
    parts += ["</g>", "</svg>", ""]
    return "\n".join(parts)


def _path(polylines: Sequence[NDArray[np.float64]], height: int) -> str:
    """A path's data: y goes downward, and a line that ends where it began is closed."""
    parts = []
    for points in polylines:
        is_closed = (points[0] == points[-1]).all()
        drawn = points[:-1] if is_closed else points
        parts.append(
            "M"
            + " ".join(f"{x:.2f},{height - y:.2f}" for x, y in drawn.tolist())
            + ("Z" if is_closed else "")
        )
    return "".join(parts)


def _escaped(text: Any) -> str:
    return html.escape(NO_XML.sub("\ufffd", str(text)), quote=False)
