"""Thumbnails of the gallery: the leading panels of a wide figure, so that they are large enough to be read.

sphinx-gallery shrinks a whole figure and pads it to the thumbnail's shape. This extension draws each
thumbnail anew, without white margins, and cuts a figure with panels side by side in the gap between two. An
example can also name the panels that show its point.
"""

import ast
import re
from pathlib import Path

import numpy as np
from PIL import Image

# Smallest width in pixels of a white gap between two parts of a figure.
MIN_GAP = 6
# Smallest width of a panel divided by its height: narrower parts are labels and colour bars.
MIN_PANEL = 0.2
# Width in pixels of the gap between panels that an example names.
GAP = 24
# A figure is cut if it is wider than the thumbnail's shape by more than this factor.
WIDE = 1.25


def find_leading_panels(picture, shape):
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


def runs(drawn, minimum):
    """Return the parts of a mask, as slices, that are parted by gaps and at least `minimum` long."""
    places = np.flatnonzero(drawn)
    steps = np.flatnonzero(np.diff(places) > MIN_GAP)
    starts, ends = np.append(places[:1], places[steps + 1]), np.append(places[steps] + 1, places[-1:] + 1)
    return [slice(start, end) for start, end in zip(starts, ends, strict=True) if end - start >= minimum]


def choose_panels(pixels, numbers):
    """Return the panels of a figure that an example names, side by side.

    Parameters
    ----------
    pixels : array (height, width, 3) of uint8
        The figure.
    numbers : list of int
        Numbers of panels in reading order, from 1.

    Returns
    -------
    array (height, width, 3) of uint8
        The panels without what stands above and below them.
    """
    drawn = (pixels < 250).any(axis=2)
    found = [
        pixels[rows, columns]
        for rows in runs(drawn.any(axis=1), MIN_PANEL * drawn.any(axis=1).sum())
        for columns in runs(drawn[rows].any(axis=0), 2 * MIN_PANEL * (rows.stop - rows.start))
    ]
    parts = [found[number - 1] for number in numbers]
    height = max(len(part) for part in parts)
    parts = [np.pad(part, ((0, height - len(part)), (0, GAP), (0, 0)), constant_values=255) for part in parts]
    return np.concatenate(parts, axis=1)[:, :-GAP]


def thumbnail(program, pictures, size):
    """Return the thumbnail of an example.

    Comments in the program choose: ``# sphinx_gallery_thumbnail_number = 2`` another figure than the first,
    ``# sphinx_gallery_thumbnail_panels = [1, 3]`` panels of the figure.
    """
    options = dict(re.findall(r"^# sphinx_gallery_thumbnail_(\w+) = (.*)$", program, re.MULTILINE))
    with Image.open(pictures.format(int(options.get("number", 1)))) as figure:
        pixels = np.asarray(figure.convert("RGB"))
    if "panels" in options:
        part = choose_panels(pixels, ast.literal_eval(options["panels"]))
    else:
        part = pixels[find_leading_panels((pixels < 250).any(axis=2), size[0] / size[1])]
    picture = Image.fromarray(part)
    picture.thumbnail(size, Image.Resampling.LANCZOS)
    return picture


def on_builder_inited(app):
    """Draw all thumbnails anew, after sphinx-gallery has run the programs."""
    size = app.config.sphinx_gallery_conf["thumbnail_size"]
    for program in Path(app.srcdir, "gallery").glob("*/plot_*.py"):
        figures = program.parent / "images" / f"sphx_glr_{program.stem}_{{:03d}}.png"
        picture = thumbnail(program.read_text(encoding="utf-8"), str(figures), size)
        picture.save(program.parent / "images" / "thumb" / f"sphx_glr_{program.stem}_thumb.png")


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("builder-inited", on_builder_inited, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
