"""Files of animations, written by Pillow, or by ffmpeg for a video."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..system.files import check_folder, check_replaceable
from ..system.messages import warn
from ..system.progress import progress_bar
from ..system.validation import check_number

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["LONGEST", "VIDEO", "check_rate", "check_target", "write_frames"]

# Animated formats that Pillow writes, by suffix.
FORMATS = {".gif": "GIF", ".png": "PNG", ".webp": "WEBP"}
# Suffix of videos, which ffmpeg writes as H.264 for browsers. Blocks of 2 x 2 pixels share colour values, so
# that width and height must be even.
VIDEO = ".mp4"
# Largest width and height in pixels, by format.
LONGEST = {".gif": 65535, ".png": 2**31 - 1, ".webp": 16383, VIDEO: 16384}
# Smallest step of a frame's duration in milliseconds, by format. A video has a frame rate instead.
STEPS = {".gif": 10, ".png": 1, ".webp": 1}
# Lowest frame rate that all formats support, and the highest of videos.
MIN_FPS, MAX_VIDEO_FPS = 0.002, 1000.0
# Browsers show frames of a GIF, PNG or WebP that last RUSHED_MILLISECONDS or less for SLOWED_MILLISECONDS.
RUSHED_MILLISECONDS, SLOWED_MILLISECONDS = 10, 100
# Additional duration of the last frame, before the animation starts again.
HOLD_MILLISECONDS = 2500


def check_target(path: Path) -> Path:
    """Return the path of an animation if its file can be written; otherwise raise ValueError."""
    from PIL import Image

    Image.init()
    known = [suffix for suffix, name in FORMATS.items() if name in Image.SAVE_ALL]
    known.append(VIDEO)
    if path.suffix.lower() not in known:
        raise ValueError(f"path must end in one of {', '.join(known)}, got {str(path)!r}")
    check_folder(path, "path")
    check_replaceable(path, "path")
    if path.suffix.lower() == VIDEO:
        from matplotlib.animation import FFMpegWriter

        if not FFMpegWriter.isAvailable():
            raise ValueError(
                f"path: {path.name} is written by ffmpeg, but there is no {FFMpegWriter.bin_path()} on the "
                "PATH: install ffmpeg, or choose .gif"
            )
    return path


def check_rate(fps: Any, path: Path) -> float:
    """Return a frame rate that a format can hold; warn if browsers would slow it down.

    Parameters
    ----------
    fps : float
        Frames per second.
    path : Path
        Name of the file, with a suffix that `check_target` accepts.

    Raises
    ------
    ValueError
        If the rate is not a number, too low, or too high for the format.
    """
    suffix = path.suffix.lower()
    fps, most = check_number(fps, "fps", MIN_FPS), MAX_VIDEO_FPS
    if suffix in STEPS:
        most = 1000 / STEPS[suffix]
    if fps > most:
        step = f", where a frame lasts {STEPS[suffix]} ms or more" if suffix in STEPS else ""
        remedy = "lower fps, or choose .mp4" if suffix == ".gif" else "lower fps"
        raise ValueError(f"fps must be at most {most:g} in a {suffix} file{step}, got {fps:g}: {remedy}")
    if suffix in STEPS and _duration(fps, suffix) <= RUSHED_MILLISECONDS:
        warn(
            f"browsers show every frame that lasts {RUSHED_MILLISECONDS} ms or less for "
            f"{SLOWED_MILLISECONDS} ms, and at fps={fps:g} a frame of a {suffix} file lasts "
            f"{_duration(fps, suffix)} ms: lower fps, or choose .mp4"
        )
    return fps


def _duration(fps: float, suffix: str) -> int:
    """Return the duration of a frame in milliseconds, the nearest that the format can hold."""
    step = STEPS[suffix]
    return step * round(1000 / (step * fps))


def write_frames(
    snapshots: Sequence[Any], frame: Callable[[Any], Image], path: Path, name: str, fps: float,
    progress: bool,
) -> None:  # fmt: skip
    """Write the frames of an animation to a file.

    Parameters
    ----------
    snapshots : sequence
        Snapshots in the order of their frames.
    frame : callable
        Function that returns the frame of a snapshot.
    path : Path
        Temporary name of the file, with a suffix that `check_target` accepts.
    name : str
        Final name of the file, for messages.
    fps : float
        Frames per second.
    progress : bool
        True shows a progress bar.
    """
    with progress_bar(total=len(snapshots), unit="frame", shown=progress, dynamic_ncols=True) as bar:

        def draw_frames() -> Iterator[Image]:
            for snapshot in snapshots:
                yield frame(snapshot)
                bar.update()

        images = draw_frames()
        if path.suffix.lower() == VIDEO:
            _write_video(images, path, name, fps)
            return
        durations = [_duration(fps, path.suffix.lower())] * len(snapshots)
        durations[-1] += HOLD_MILLISECONDS
        first, *others = _with_one_palette(list(images)) if path.suffix.lower() == ".gif" else images
        first.save(
            path, FORMATS[path.suffix.lower()], save_all=True, append_images=others, duration=durations,
            loop=0, lossless=True,
        )  # fmt: skip


def _with_one_palette(images: list[Image]) -> list[Image]:
    """Return images with the same palette: what does not change has the same colours in all of them."""
    from PIL import Image

    width, height = images[0].size
    strip = Image.new("RGB", (width, height * len(images)))
    for k, image in enumerate(images):
        strip.paste(image, (0, k * height))
    strip = strip.quantize(256)
    return [strip.crop((0, k * height, width, (k + 1) * height)) for k in range(len(images))]


def _write_video(images: Iterable[Image], path: Path, name: str, fps: float) -> None:
    """Write frames as a video by ffmpeg; the last frame is repeated, so that it is shown longer."""
    from matplotlib.animation import FFMpegWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    images = iter(images)
    image = next(images)
    # A power of two divides numbers of pixels without rounding: the figure has exactly the right size.
    dpi = 64
    figure = Figure(figsize=(image.width / dpi, image.height / dpi), dpi=dpi)
    figure.set_layout_engine("none")
    FigureCanvasAgg(figure)
    shown = figure.figimage(np.asarray(image), origin="upper")
    # Users' settings of matplotlib must not change the file: set every argument.
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
        reason = error.stderr.strip() or f"exit status {error.returncode}"
        raise RuntimeError(f"ffmpeg could not write {name}: {reason}") from None
