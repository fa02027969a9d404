"""Attacks on disks: a file that cannot be written raises OSError and leaves the older one unchanged."""

import os
import shutil
from pathlib import Path

import pytest

import fastnn
from fastnn.cli import main as cli

resource = pytest.importorskip("resource")  # POSIX's
pytestmark = [pytest.mark.slow, pytest.mark.needs("zarr")]

MODEL = fastnn.Model([2, 8, 2], random_state=0)
VIEW = (-2, 2), (-2, 2), 200


def render(out, model=MODEL):
    fastnn.render_boundary(model, *VIEW, classes=[0, 1], out=out)


def save(out):
    fastnn.render_boundary(MODEL, *VIEW).save(out)


def draw_moons(out):
    assert cli.main(["moons", "--passes", "1", "--out", str(out)]) == 0


WRITERS = [*((write, suffix) for write in (render, save) for suffix in (".png", ".zarr", ".dzi"))]
WRITERS += [(draw_moons, suffix) for suffix in (".png", ".svg", ".pdf")]
WRITERS += [(MODEL.to_c, ".h"), (MODEL.save, ".fastnn")]


@pytest.mark.parametrize(("write", "suffix"), WRITERS)
def test_a_full_disk_leaves_the_older_file(write, suffix, tmp_path, capsys):
    """A limit of the size of files stands for a full disk: the system reports both in the same way."""

    def contents():
        return {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}

    write(out := tmp_path / f"a{suffix}")
    before, old = contents(), resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 100):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old[1]))
        try:
            with pytest.raises((OSError, AssertionError, ValueError)) as error:
                write(out)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
        named = "" if write is draw_moons else f": '{out}'"
        assert f"File too large{named}" in str(error.value) + capsys.readouterr().err
        assert contents() == before
    write(out)


@pytest.mark.parametrize("suffix", [".png", ".zarr", ".dzi"])
def test_a_folder_that_vanishes_is_an_error(suffix, tmp_path):
    def vanish(points):
        shutil.rmtree(tmp_path, ignore_errors=True)
        return (points[:, 0] > 0).astype(int)

    with pytest.raises(OSError, match="No such file or directory"):
        render(tmp_path / f"a{suffix}", vanish)
    assert not (tmp_path / f"a{suffix}").exists()


@pytest.mark.parametrize("write", [render, draw_moons])
def test_a_picture_replaces_a_link_to_a_device(write, tmp_path):
    """Root may replace the device itself: only the link may give way to the picture."""
    path = tmp_path / "a.png"
    path.symlink_to("/dev/full")
    write(path)
    assert path.is_file()
    assert not path.is_symlink()
    (tmp_path / "new").touch()
    assert path.stat().st_mode == (tmp_path / "new").stat().st_mode  # not the mode of the device


def test_no_device_pipe_or_link_to_an_open_file_is_replaced(tmp_path, capsys):
    """Run by root with --out /dev/stdout, a command must not replace this link to its output."""
    link = tmp_path / "stdout.png"
    link.symlink_to("/proc/self/fd/1")
    for name in ("a.png", "a.dzi"):
        os.mkfifo(tmp_path / name)
    before = sorted(tmp_path.iterdir())
    for name in ("a.png", "a.dzi"):
        with pytest.raises(ValueError, match=r"out: .* is a device or a pipe, not the name of a picture"):
            fastnn.render_boundary(fastnn.Model([2, 2]), (0, 1), (0, 1), 8, out=tmp_path / name)
    for path, words in ((link, "an open file of the process"), ("/dev/null", "a device or a pipe")):
        assert cli.main(["moons", "--passes", "1", "--out", str(path)]) == 1
        assert f"--out: {path} is {words}, not the name of a picture" in capsys.readouterr().err
    assert link.is_symlink()
    assert not Path("/dev/null").is_file()
    assert sorted(tmp_path.iterdir()) == before
