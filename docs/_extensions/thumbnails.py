"""Thumbnails of the gallery: the leading panels of a wide figure, so that they are large enough to be read.

sphinx-gallery shrinks a whole figure and pads it to the thumbnail's shape. This extension draws each
thumbnail anew, without white margins, and cuts a figure with panels side by side in the gap between two.
"""

from pathlib import Path

import numpy as np
from PIL import Image

# Smallest width in pixels of a white gap between two parts of a figure.
MIN_GAP = 6
# Smallest width of a panel divided by its height: narrower parts are labels and colour bars.
MIN_PANEL = 0.2
# A figure is cut if it is wider than the thumbnail's shape by more than this factor.
WIDE = 1.25


def leading_panels(picture, shape):
    """Return the part (height, width) of a picture that a thumbnail shows.

    Parameters
    ----------
    picture : array (height, width) of bool
        True where something is drawn.
    shape : float
        Width of a thumbnail divided by its height.

    Returns
    -------
    tuple of slice
        Rows and columns: all that is drawn, or as many panels from the left as come closest to `shape`.
    """
    rows, columns = (np.flatnonzero(picture.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return slice(None), slice(None)
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    height = bottom - top
    if right - left > WIDE * shape * height:
        steps = np.flatnonzero(np.diff(columns) > MIN_GAP)
        starts = np.append(left, columns[steps + 1])
        ends = np.append(columns[steps] + 1, right)
        ends = ends[ends - starts >= MIN_PANEL * height]
        right = ends[np.argmin(np.abs(np.log((ends - left) / (shape * height))))]
    return slice(top, bottom), slice(left, right)


def on_builder_inited(app):
    """Draw all thumbnails anew, after sphinx-gallery has run the programs."""
    size = app.config.sphinx_gallery_conf["thumbnail_size"]
    for thumbnail in Path(app.srcdir, "gallery").rglob("images/thumb/sphx_glr_*_thumb.png"):
        name = thumbnail.name.replace("_thumb.png", "_001.png")
        with Image.open(thumbnail.parents[1] / name) as figure:
            pixels = np.asarray(figure.convert("RGB"))
        part = Image.fromarray(pixels[leading_panels((pixels < 250).any(axis=2), size[0] / size[1])])
        part.thumbnail(size, Image.Resampling.LANCZOS)
        part.save(thumbnail)


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("builder-inited", on_builder_inited, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
