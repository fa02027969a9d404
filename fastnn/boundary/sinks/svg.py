"""Pictures in SVG files (Scalable Vector Graphics)."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .vector import STROKE, Shapes, VectorSink

__all__ = ["SvgSink"]

# Width of the lines in screen pixels, which is the same at any magnification.
STROKE_WIDTH = 1.5
# Characters that XML does not allow, not even as character references.
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class SvgSink(VectorSink):
    """An SVG file; its units are the picture's pixels."""

    def document(self, shapes: Shapes) -> bytes:
        """Return the bytes of the SVG."""
        (width, height), labels = shapes.size, shapes.labels
        by_pair: dict[tuple[int, int], list[NDArray[np.float64]]] = {}
        for line in shapes.lines:
            by_pair.setdefault((line.left, line.right), []).append(line.points)
        tags = [
            '<?xml version="1.0" encoding="UTF-8"?>',
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
            f"<metadata>{_escaped(json.dumps(shapes.description))}</metadata>",
            '<g id="regions" fill-rule="evenodd" stroke="none">',
        ]
        for number, rings in shapes.regions:
            tags.append(
                f'<path fill="#{bytes(shapes.colours[number]).hex()}" d="{_path(rings, height)}">'
                f"<title>{_escaped(labels[number])}</title></path>"
            )
        tags += [
            "</g>",
            f'<g id="lines" fill="none" stroke="{STROKE}" stroke-width="{STROKE_WIDTH}" '
            'stroke-linejoin="round" stroke-linecap="round">',
        ]
        for (left, right), polylines in sorted(by_pair.items()):
            tags.append(
                f'<path vector-effect="non-scaling-stroke" d="{_path(polylines, height)}">'
                f"<title>{_escaped(labels[left])} | {_escaped(labels[right])}</title></path>"
            )
        tags += ["</g>", "</svg>", ""]
        return "\n".join(tags).encode("utf-8")


def _path(polylines: Sequence[NDArray[np.float64]], height: int) -> str:
    """Return the data of a path, with y downward; a line whose last point is its first one is closed."""
    commands = []
    for points in polylines:
        is_closed = (points[0] == points[-1]).all()
        drawn = points[:-1] if is_closed else points
        commands.append(
            "M"
            + " ".join(f"{x:.2f},{height - y:.2f}" for x, y in drawn.tolist())
            + ("Z" if is_closed else "")
        )
    return "".join(commands)


def _escaped(text: Any) -> str:
    return html.escape(NO_XML.sub("\ufffd", str(text)), quote=False)
