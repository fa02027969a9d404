"""Trainings as videos, written by ffmpeg where it is installed."""

import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from processes import PATIENCE
from sklearn.datasets import make_moons

import fastnn
from fastnn.plotting import film
from fastnn.plotting.moving import HOLD_MILLISECONDS

X, y = make_moons(120, noise=0.2, random_state=0)
SMALL = (200, 150)
FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(FFMPEG is None, reason="ffmpeg is not installed")


def tutorial():
    """Return the tutorial's model, not yet trained."""
    return fastnn.Model([2, 3, 2], random_state=0, backend="numpy")


def frames(path, size=SMALL):
    """Return all frames (n, height, width, 3) of a video."""
    command = [FFMPEG, "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE)
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, size[1], size[0], 3).astype(int)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.mp4", "-a %03d.MP4"])
def test_a_video_has_the_frames_of_a_moving_picture(tmp_path, name):
    options = {"num_passes": 300, "frames": 4, "fps": 8, "size": SMALL, "colours": ["gold", "purple"]}
    path = fastnn.animate_training(tutorial(), X, y, tmp_path / name, **options)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert path.read_bytes()[4:8] == b"ftyp"
    seen = frames(path)
    assert len(seen) == 4 + HOLD_MILLISECONDS * 8 // 1000
    exact = fastnn.animate_training(tutorial(), X, y, tmp_path / "b.png", **options)
    with Image.open(exact) as image:
        for k in range(4):
            image.seek(k)
            expected = np.asarray(image.convert("RGB")).astype(int)
            # In a video 2 x 2 pixels share a colour; a frame of another moment would differ far more.
            assert np.abs(seen[k] - expected).mean() < 6
            smooth = np.s_[10:-10:10, -12:]  # the white margin beside the axes
            assert np.abs(seen[k][smooth] - expected[smooth]).max() < 12
        assert np.abs(seen[-1] - expected).mean() < 6, "the last frame is held"


@needs_ffmpeg
def test_a_slow_video_of_one_model_has_a_single_frame(tmp_path):
    path = fastnn.animate_training([tutorial()], X, y, tmp_path / "a.mp4", fps=0.1, size=SMALL)
    assert len(frames(path)) == 1


def test_a_video_without_ffmpeg_is_refused_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    model = tutorial()
    before = model.W[0].copy()
    with pytest.raises(ValueError, match=r"there is no ffmpeg on the PATH: install ffmpeg, or choose \.gif"):
        fastnn.animate_training(model, X, y, tmp_path / "a.mp4", num_passes=10, size=SMALL)
    np.testing.assert_array_equal(model.W[0], before)
    assert not list(tmp_path.iterdir())


@needs_ffmpeg
@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((201, 150), r"size must be even numbers of pixels in a \.mp4 file, .*: give \(202, 150\)"),
        ((200, 16386), "size must be at most 16384 pixels a side"),
    ],
)
def test_odd_and_huge_sizes_of_a_video_are_refused(tmp_path, size, message):
    model = tutorial()
    before = model.W[0].copy()
    with pytest.raises(ValueError, match=message):
        fastnn.animate_training(model, X, y, tmp_path / "a.mp4", num_passes=10, size=size)
    np.testing.assert_array_equal(model.W[0], before)


def fake_ffmpeg(folder, monkeypatch, script):
    """Put a shell script named ffmpeg first on the PATH."""
    program = folder / "ffmpeg"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell to run a fake ffmpeg")
def test_an_error_of_ffmpeg_is_passed_on(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    fake_ffmpeg(tmp_path / "bin", monkeypatch, "echo no encoder >&2; exit 3")
    with pytest.raises(RuntimeError, match=r"ffmpeg could not write a\.mp4: no encoder"):
        fastnn.animate_training([tutorial()] * 3, X, y, tmp_path / "a.mp4", size=(400, 300))
    assert [entry.name for entry in tmp_path.iterdir()] == ["bin"]


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell to run a fake ffmpeg")
def test_an_interrupt_that_ends_ffmpeg_is_an_interrupt(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    fake_ffmpeg(tmp_path / "bin", monkeypatch, "cat > /dev/null; exit 255")  # as ffmpeg does at Ctrl-C

    def show(self, model, title):
        if title == "b":
            raise KeyboardInterrupt

    monkeypatch.setattr(film.Film, "show", show)
    with pytest.raises(KeyboardInterrupt):
        fastnn.animate_training([tutorial()] * 2, X, y, tmp_path / "a.mp4", titles=["a", "b"], size=SMALL)
    assert [entry.name for entry in tmp_path.iterdir()] == ["bin"]
