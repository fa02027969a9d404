"""Draw a stored picture at four scales, from all of its pixels to single ones, into docs/scales.png.

python docs/scales.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import zarr
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle
from PIL import Image
from sklearn.datasets import make_moons

import fastnn

# Pixels to a side of the picture, magnification from one panel to the next, and largest number of pixels
# that a panel shows.
SIDE, ZOOM, SHOWN = 65_536, 16, 512


def main() -> None:
    """Store the picture, and draw it."""
    X, y = make_moons(200, noise=0.20, random_state=0)
    model = fastnn.Model([2, 32, 32, 2], activation="relu", random_state=0)
    model.train(X, y, num_passes=2000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "boundary.zarr"
        fastnn.render_boundary(model, (-2, 3), (-1.5, 2), (SIDE, SIDE), out=path)
        draw(zarr.open_array(path, mode="r"), Path(__file__).with_name("scales.png"))


def draw(picture: zarr.Array, path: Path) -> None:
    """Draw windows of a picture, each around a point of the boundary in the window before."""
    figure = Figure(figsize=(12.6, 3.5), dpi=150, layout="constrained")
    panels = figure.subplots(1, 4)
    left = bottom = 0
    width = SIDE
    for ax, following in zip(panels, [*panels[1:], None], strict=True):
        step = max(1, width // SHOWN)
        pixels = picture[bottom : bottom + width : step, left : left + width : step]
        colours = ListedColormap(["#62a0c9", "#ffa556"])
        ax.imshow(pixels, cmap=colours, vmin=0, vmax=1, origin="lower", extent=(0, 1, 0, 1))
        ax.set(title=f"{width:,} x {width:,} pixels", xticks=[], yticks=[])
        if following is None:
            break
        # The boundary's point that is nearest to the middle is the middle of the next window.
        rows, columns = np.nonzero(pixels[:, 1:] != pixels[:, :-1])
        nearest = np.hypot(rows - len(pixels) / 2, columns - len(pixels) / 2).argmin()
        next_width = width // ZOOM
        place = np.array([columns[nearest], rows[nearest]]) * step - next_width // 2
        corner = place.clip(0, width - next_width) / width
        ax.add_patch(Rectangle(corner, 1 / ZOOM, 1 / ZOOM, fill=False, linewidth=1.5))
        for up in (0, 1):
            ends = {"xyA": corner + (1 / ZOOM, up / ZOOM), "xyB": (0, up), "axesA": ax, "axesB": following}
            figure.add_artist(ConnectionPatch(coordsA="data", coordsB="axes fraction", linewidth=0.8, **ends))
        left, bottom = (place.clip(0, width - next_width) + (left, bottom)).tolist()
        width = next_width
    figure.savefig(path)
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(32, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


if __name__ == "__main__":
    main()
