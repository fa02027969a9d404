"""Files of animations, written by Pillow, or a video by ffmpeg through matplotlib's writer."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.colors import to_rgba

from fastnn_kernels.compiler.interrupts import held_interrupts

from ..boundary.colours import pale
from ..system.files import check_output, written_whole
from ..system.messages import warn
from ..system.progress import progress_bar
from ..system.validation import check_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_target", "write_frames"]


class Format(NamedTuple):
    """Pillow's name of a format, the longest side in pixels, and the step of a frame's duration in ms."""

    name: str
    longest: int
    step: int


# Animated formats by suffix. ffmpeg writes H.264 for browsers: blocks of 2 x 2 pixels share colour values, so
# that width and height must be even, and a frame rate stands in place of durations.
VIDEO = ".mp4"
FORMATS = {
    ".gif": Format("GIF", 65535, 10), ".png": Format("PNG", 2**31 - 1, 1), ".webp": Format("WEBP", 16383, 1),
    VIDEO: Format("", 16384, 0),
}  # fmt: skip
# Lowest frame rate that all formats support, and the highest of videos.
MIN_FPS, MAX_VIDEO_FPS = 0.002, 1000.0
# Browsers show frames of a GIF, PNG or WebP that last RUSHED_MILLISECONDS or less for SLOWED_MILLISECONDS.
RUSHED_MILLISECONDS, SLOWED_MILLISECONDS = 10, 100
# Additional duration of the last frame, before the animation starts again.
HOLD_MILLISECONDS = 2500


def check_target(path: Any, fps: Any, size: tuple[int, int]) -> tuple[Path, float]:
    """Return the path and the frame rate of an animation; warn if browsers would slow it down.

    Raises
    ------
    ValueError
        If the file cannot be written, or its format cannot hold the frame rate or the size in pixels.
    """
    from matplotlib.animation import FFMpegWriter
    from PIL import Image

    path = check_output(path, "path")
    suffix = path.suffix.lower()
    Image.init()
    known = [each for each, form in FORMATS.items() if each == VIDEO or form.name in Image.SAVE_ALL]
    if suffix not in known:
        raise ValueError(f"path must end in one of {', '.join(known)}, got {str(path)!r}")
    if suffix == VIDEO and not FFMpegWriter.isAvailable():
        raise ValueError(
            f"path: {path.name} is written by ffmpeg, but there is no {FFMpegWriter.bin_path()} on the "
            "PATH: install ffmpeg, or choose .gif"
        )
    _, longest, step = FORMATS[suffix]
    if max(size) > longest:
        raise ValueError(f"size must be at most {longest} pixels a side in a {suffix} file, got {size}")
    even = tuple(side + side % 2 for side in size)
    if suffix == VIDEO and size != even:
        raise ValueError(f"size must be even numbers of pixels in a {suffix} file, got {size}: give {even}")
    fps, most = check_number(fps, "fps", MIN_FPS), 1000 / step if step else MAX_VIDEO_FPS
    if fps > most:
        lasting = f", where a frame lasts {step} ms or more" if step else ""
        remedy = "lower fps, or choose .mp4" if suffix == ".gif" else "lower fps"
        raise ValueError(f"fps must be at most {most:g} in a {suffix} file{lasting}, got {fps:g}: {remedy}")
    if step and (duration := _duration(fps, step)) <= RUSHED_MILLISECONDS:
        warn(
            f"browsers show every frame that lasts {RUSHED_MILLISECONDS} ms or less for "
            f"{SLOWED_MILLISECONDS} ms, and at fps={fps:g} a frame of a {suffix} file lasts "
            f"{duration} ms: lower fps, or choose .mp4"
        )
    return path, fps


def _duration(fps: float, step: int) -> int:
    """Return the duration of a frame in milliseconds, a multiple of `step`."""
    return step * round(1000 / (step * fps))


def write_frames(
    figure: Figure, show: Callable[[Any, str], object], snapshots: Sequence[tuple[Any, str]], path: Path,
    fps: float, progress: bool,
) -> None:  # fmt: skip
    """Write an animation: what a figure on an Agg canvas shows after ``show(model, title)`` of each snapshot.

    `path` and `fps` are those that `check_target` returned; `progress` shows a progress bar.
    """
    # The formats have no transparency: a transparent background is white.
    *colour, opacity = to_rgba(figure.get_facecolor())
    figure.set_facecolor(tuple(pale(np.array(colour), opacity)))
    opened = _video if path.suffix.lower() == VIDEO else _images
    with (
        progress_bar(total=len(snapshots), unit="frame", shown=progress, dynamic_ncols=True) as bar,
        written_whole(path) as draft,
        opened(figure, draft, path, fps) as grab,
    ):
        for snapshot in snapshots:
            with held_interrupts():  # matplotlib's C++ code would turn a KeyboardInterrupt into a ValueError
                show(*snapshot)
                grab()
                figure.set_layout_engine("none")  # all frames have the places of the first
            bar.update()


@contextmanager
def _images(figure: Any, draft: Path, path: Path, fps: float) -> Iterator[Callable[[], object]]:
    """Yield a function that grabs a frame; at the end, Pillow writes all frames, in a GIF in one palette."""
    from PIL import Image

    name, _, step = FORMATS[path.suffix.lower()]
    images: list[Any] = []

    def grab() -> None:
        figure.canvas.draw()
        images.append(Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB"))

    yield grab
    if name == "GIF":  # what does not change has the same colours in all frames
        width, height = images[0].size
        strip = Image.fromarray(np.concatenate(images)).quantize(256)
        images = [strip.crop((0, top, width, top + height)) for top in range(0, strip.height, height)]
    durations = [_duration(fps, step)] * len(images)
    durations[-1] += HOLD_MILLISECONDS
    first, *others = images
    first.save(draft, name, save_all=True, append_images=others, duration=durations, loop=0, lossless=True)


@contextmanager
def _video(figure: Figure, draft: Path, path: Path, fps: float) -> Iterator[Callable[[], object]]:
    """Yield a function that grabs a frame for ffmpeg, which repeats the last, so that it is shown longer."""
    from matplotlib.animation import FFMpegWriter

    # Users' settings of matplotlib must not change the file: set every argument.
    hold = f"tpad=stop_mode=clone:stop={round(HOLD_MILLISECONDS / 1000 * fps)}"
    writer = FFMpegWriter(fps, "h264", -1, ["-vf", hold, "-f", "mp4"])  # type: ignore[arg-type]
    try:
        with writer.saving(figure, draft, figure.dpi):
            yield partial(writer.grab_frame, facecolor=figure.get_facecolor(), transparent=False)
    except subprocess.CalledProcessError as error:
        # Ctrl-C ends ffmpeg as well, and its error would hide the interrupt: raise the interrupt.
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        reason = error.stderr.strip() or f"exit status {error.returncode}"
        raise RuntimeError(f"ffmpeg could not write {path.name}: {reason}") from None
