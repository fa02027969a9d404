"""Files of moving pictures: written by Pillow, or by ffmpeg where they are a video."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.spatial
from numpy.typing import NDArray

from ..system.files import check_folder, check_replaceable
from ..system.progress import progress_bar

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["LEAST_FPS", "LONGEST", "MOST_FPS", "VIDEO", "check_goal", "write_frames"]

# Formats of Pillow's moving pictures, with the options of `Image.save`.
FORMATS: dict[str, dict[str, Any]] = {
    ".gif": {"format": "GIF", "optimize": False, "disposal": 1},
    ".png": {"format": "PNG"},
    ".webp": {"format": "WEBP", "lossless": True},
}
# Suffix of what ffmpeg writes: H.264, which browsers play, with a colour for every 2 x 2 pixels.
VIDEO = ".mp4"
# Most pixels of a side in each format.
LONGEST = {".gif": 65535, ".png": 2**31 - 1, ".webp": 16383, VIDEO: 16384}
# Slowest speed that all formats can have; and the fastest, since Pillow stores whole milliseconds.
LEAST_FPS, MOST_FPS = 0.002, 1000.0
# Time that the last frame is seen longer, before all begins again.
HOLD_MILLISECONDS = 2500
# Colours of 256 that a frame has exactly; the others are the nearest of the rest.
EXACT_COLOURS = 128


def check_goal(path: Path) -> Path:
    """Return a path that a picture can be written to, or raise ValueError before the work is done."""
    from PIL import Image

    Image.init()
    known = [suffix for suffix, settings in FORMATS.items() if settings["format"] in Image.SAVE_ALL]
    known.append(VIDEO)
    if path.suffix.lower() not in known:
        raise ValueError(f"path must end in one of {', '.join(known)}, got {str(path)!r}")
    check_folder(path, "path")
    check_replaceable(path, "path")
    if path.suffix.lower() == VIDEO:
        from matplotlib.animation import FFMpegWriter

        if not FFMpegWriter.isAvailable():
            raise ValueError(
                f"path: {path.name} is written by ffmpeg, and there is no {FFMpegWriter.bin_path()} on the "
                "PATH: install ffmpeg, or choose .gif"
            )
    return path


def write_frames(
    snapshots: Sequence[Any], frame: Callable[[Any], Image], path: Path, fps: float, progress: bool
) -> None:
    """Write a moving picture.

    Parameters
    ----------
    snapshots : sequence
        What the frames show, in their order.
    frame : callable
        Returns the frame of a snapshot.
    path : Path
        Its suffix is one that `check_goal` admits.
    fps : float
        Frames a second.
    progress : bool
        True shows a progress bar.
    """
    with progress_bar(total=len(snapshots), unit="frame", shown=progress, dynamic_ncols=True) as bar:

        def drawn() -> Iterator[Image]:
            for snapshot in snapshots:
                yield frame(snapshot)
                bar.update()

        images = drawn()
        if path.suffix.lower() == VIDEO:
            _write_video(images, path, fps)
            return
        settings = FORMATS[path.suffix.lower()]
        durations = [round(1000 / fps)] * len(snapshots)
        durations[-1] += HOLD_MILLISECONDS
        if settings["format"] == "GIF":
            # One palette for all: an area that does not change keeps its numbers, and is not stored again.
            some = sorted({0, len(snapshots) // 2, len(snapshots) - 1})
            images = map(Palette([frame(snapshots[k]) for k in some]).apply, images)
        first, *others = images
        first.save(path, save_all=True, append_images=others, duration=durations, loop=0, **settings)


def _write_video(images: Iterable[Image], path: Path, fps: float) -> None:
    """Write frames by ffmpeg; the last one is repeated, and so seen longer."""
    from matplotlib.animation import FFMpegWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    images = iter(images)
    image = next(images)
    # Pixels divided by a power of two are inches without rounding.
    dpi = 64
    figure = Figure(figsize=(image.width / dpi, image.height / dpi), dpi=dpi)
    FigureCanvasAgg(figure)
    shown = figure.figimage(np.asarray(image), origin="upper")
    # Users' settings of matplotlib must not change the file: set all of these.
    writer = FFMpegWriter(fps, codec="h264", bitrate=-1, extra_args=["-f", "mp4"])  # type: ignore[arg-type]
    try:
        with writer.saving(figure, path, dpi):
            writer.grab_frame()
            for image in images:
                shown.set_data(np.asarray(image))
                writer.grab_frame()
            for _ in range(round(HOLD_MILLISECONDS / 1000 * fps)):
                writer.grab_frame()
    except subprocess.CalledProcessError as error:
        # Ctrl-C ends ffmpeg as well, and its error would hide the interrupt: raise the interrupt.
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        said = error.stderr.strip() or f"it ended with exit status {error.returncode}"
        raise RuntimeError(f"ffmpeg could not write {path.name}: {said}") from None


class Palette:
    """Palette of 256 colours that suits several images.

    Pillow's own search of the nearest colour compares 6 bits of 8, and would make white grey.
    """

    def __init__(self, images: list[Image]) -> None:
        from PIL import Image

        numbers, counts = np.unique([_numbers(image) for image in images], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        colours = _colours(numbers[order])
        # The most frequent colours, of areas, stay exact. Each of the others counts once, however rare it is.
        exact, rest = colours[:EXACT_COLOURS], colours[EXACT_COLOURS:]
        if len(rest) > 256 - EXACT_COLOURS:
            cut = Image.fromarray(rest[None]).quantize(256 - EXACT_COLOURS)
            rest = np.array(cut.getpalette(), np.uint8).reshape(-1, 3)
        self._colours = np.concatenate([exact, rest])
        # Number of the nearest colour for each of 24 bits; -1 for a colour that has not come up.
        self._nearest = np.full(1 << 24, -1, np.int16)

    def apply(self, image: Image) -> Image:
        """Return the image in these colours."""
        from PIL import Image

        numbers = _numbers(image)
        places = self._nearest[numbers]
        new = np.unique(numbers[places < 0])
        if new.size:
            tree = scipy.spatial.cKDTree(self._colours)
            self._nearest[new] = tree.query(_colours(new))[1]
            places = self._nearest[numbers]
        result = Image.fromarray(places.astype(np.uint8))
        result.putpalette(self._colours.tobytes())
        return result


def _numbers(image: Image) -> NDArray[np.int32]:
    """Return colours as numbers of 24 bits."""
    red, green, blue = (np.asarray(band, np.int32) for band in image.split())
    return red << 16 | green << 8 | blue


def _colours(numbers: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return the colours (n, 3) of numbers (n,)."""
    return (numbers[:, None] >> np.array([16, 8, 0]) & 255).astype(np.uint8)
