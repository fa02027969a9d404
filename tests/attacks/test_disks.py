"""Attacks on disks: a picture that cannot be written raises OSError and leaves the older one unchanged."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from processes import run_python

import fastnn
from fastnn.cli import main as cli

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="limits, devices and permissions are POSIX's"),
]

# Writers of pictures in every format, by name; `refuse` asserts that one fails and changes nothing.
COMMON = """
    import contextlib, io, os, resource, shutil, sys
    from pathlib import Path
    import numpy as np
    import fastnn
    from fastnn.cli import main as cli

    folder = Path(sys.argv[1])
    model = fastnn.Model([2, 8, 2], random_state=0)
    view = (-2, 2), (-2, 2)
    image = fastnn.render_boundary(model, *view, 200)

    def contents():
        return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}

    def render(out, model=model):
        fastnn.render_boundary(model, *view, 200, classes=[0, 1], out=out)

    def draw_moons(out):
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            status = cli.main(["moons", "--passes", "1", "--out", str(out)])
        if status:
            assert status == 1 and errors.getvalue().startswith("fastnn: ")
            raise OSError(errors.getvalue())

    SUFFIXES = {render: (".png", ".zarr", ".dzi"), image.save: (".png", ".zarr", ".dzi")}
    SUFFIXES[draw_moons] = (".png", ".svg", ".pdf")
    WRITERS = [(write, folder / f"a{suffix}") for write in SUFFIXES for suffix in SUFFIXES[write]]

    def refuse(write, out, words):
        before = contents()
        try:
            write(out)
        except (OSError, ValueError) as error:  # ValueError: a folder that cannot be written to
            assert contents() == before and words in str(error), (write, out, error)
        else:
            raise AssertionError(out)
"""
ATTACKS = {
    # A limit of the size of files stands for a full disk: the system reports both in the same way.
    "a full disk": """
    for write, out in WRITERS:
        write(out)
        for limit in (0, 100):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            refuse(write, out, "File too large")
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        write(out)
        shutil.rmtree(folder)
        folder.mkdir()
    """,
    "a folder without permission": """
    for write, out in WRITERS:
        write(out)  # import all modules now: the other user cannot read them
    folder.chmod(0o555)
    if os.getuid() == 0:
        os.seteuid(65534)  # root may write everywhere
    for write, out in WRITERS:
        refuse(write, out, "Permission denied")
    """,
    "a folder that vanishes": """
    def vanish(points):
        shutil.rmtree(folder, ignore_errors=True)
        return (points[:, 0] > 0).astype(int)

    for suffix in SUFFIXES[render]:
        folder.mkdir(exist_ok=True)
        try:
            render(folder / f"a{suffix}", vanish)
        except OSError as error:
            assert error.filename or error.errno, repr(error)
        else:
            raise AssertionError(suffix)
        assert not (folder / f"a{suffix}").exists()
        shutil.rmtree(folder, ignore_errors=True)
    """,
    # Root may replace the device itself: only the link may give way to the picture.
    "a link to a device": """
    path = folder / "a.png"
    for write in (render, draw_moons):
        path.unlink(missing_ok=True)
        path.symlink_to("/dev/full")
        write(path)
        assert path.is_file() and not path.is_symlink()
    """,
}


@pytest.mark.needs("zarr")
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_picture_is_written_whole_or_not_at_all(attack):
    folder = Path(tempfile.mkdtemp())  # which other users can read, unlike those of pytest
    folder.chmod(0o755)
    try:
        assert run_python(COMMON + ATTACKS[attack] + "\n    print('done')", folder).split() == ["done"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
