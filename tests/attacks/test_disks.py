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

COMMON = """
    import contextlib, io, os, resource, shutil, sys
    from pathlib import Path
    import numpy as np
    import fastnn
    from fastnn.cli import main as cli

    folder = Path(sys.argv[1])
    random = np.random.default_rng(0)
    X = random.normal(size=(60, 2))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    model = fastnn.Model([2, 8, 2], random_state=0)
    model.train(X, y, num_passes=50)
    view = (-2, 2), (-2, 2)
    image = fastnn.render_boundary(model, *view, 200)

    def contents():
        return {
            str(path.relative_to(folder)): path.is_file() and path.read_bytes() for path in folder.rglob("*")
        }

    def animate(path):
        one = fastnn.Model([2, 3, 2], random_state=0)
        fastnn.animate_training(one, X, y, path, frames=2, num_passes=4, size=(200, 160))

    def moons(path):
        \"\"\"Run the command `fastnn moons`; raise its error message as an OSError.\"\"\"
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            status = cli.main(["moons", "--passes", "1", "--out", str(path)])
        if status:
            assert status == 1
            assert errors.getvalue().startswith("fastnn: "), errors.getvalue()
            raise OSError(errors.getvalue())

    RENDERED = (".png", ".tif", ".zarr", ".dzi", ".svg", ".pdf")
    WRITERS = {
        f"render{suffix}": lambda suffix=suffix: fastnn.render_boundary(
            model, *view, 200, out=folder / f"a{suffix}"
        )
        for suffix in RENDERED
    }
    WRITERS |= {
        f"save{suffix}": lambda suffix=suffix: image.save(folder / f"a{suffix}") for suffix in RENDERED
    }
    WRITERS |= {
        f"animate{suffix}": lambda suffix=suffix: animate(folder / f"a{suffix}")
        for suffix in (".gif", ".png", ".webp")
    }
    WRITERS |= {
        f"moons{suffix}": lambda suffix=suffix: moons(folder / f"a{suffix}")
        for suffix in (".png", ".svg", ".pdf")
    }

    def refused(name, write):
        \"\"\"Return the message of the error that `write` raises; assert that no file has changed.\"\"\"
        before = contents()
        try:
            write()
        except (OSError, ValueError) as error:  # ValueError: a folder that cannot be written to
            assert contents() == before, name
            return str(error)
        raise AssertionError(f"{name}: no error")
"""


@pytest.fixture
def open_folder():
    """Yield a folder that other users can read, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def run(folder, attack):
    assert run_python(COMMON + attack, folder).split() == ["done"]


@pytest.mark.needs("tifffile", "zarr")
def test_a_full_disk_leaves_the_older_picture(tmp_path):
    """A limit of the size of files stands for a full disk: the system reports both in the same way."""
    attack = """
    for name, write in WRITERS.items():
        write()
        for limit in (0, 100):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            assert "File too large" in refused(name, write), name
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        write()
        shutil.rmtree(folder)
        folder.mkdir()
    print("done")
    """
    run(tmp_path, attack)


@pytest.mark.needs("tifffile", "zarr")
def test_a_folder_without_write_permission_stays_unchanged(open_folder):
    attack = """
    for write in WRITERS.values():
        write()  # import all modules now: the other user cannot read them
    folder.chmod(0o555)
    if os.getuid() == 0:
        os.seteuid(65534)  # root may write everywhere
    for name, write in WRITERS.items():
        assert "Permission denied" in refused(name, write), name
    print("done")
    """
    run(open_folder, attack)


@pytest.mark.needs("tifffile", "zarr")
def test_a_folder_that_vanishes_during_the_work_is_an_oserror(tmp_path):
    attack = """
    def vanishing(points):
        shutil.rmtree(folder, ignore_errors=True)
        return points[:, 0] > 0

    for suffix in RENDERED:
        folder.mkdir(exist_ok=True)
        try:
            fastnn.render_boundary(vanishing, *view, 300, classes=[False, True], out=folder / f"a{suffix}")
        except OSError as error:
            assert error.filename or error.errno, repr(error)
        else:
            raise AssertionError(suffix)
        assert not (folder / f"a{suffix}").exists()
        shutil.rmtree(folder, ignore_errors=True)
    print("done")
    """
    run(tmp_path / "folder", "\n    folder.mkdir()\n" + attack)


def test_a_link_to_a_device_is_replaced_by_the_picture_and_the_device_is_not(tmp_path):
    """Root may replace the device itself: only the link may give way to the picture."""
    attack = """
    path = folder / "a.png"
    for write in (WRITERS["render.png"], WRITERS["animate.png"], WRITERS["moons.png"]):
        path.unlink(missing_ok=True)
        path.symlink_to("/dev/full")
        write()
        assert path.is_file() and not path.is_symlink()
    print("done")
    """
    if not Path("/dev/full").exists():
        pytest.skip("there is no such device")
    run(tmp_path, attack)


def test_no_link_to_an_open_file_is_replaced(tmp_path, capsys):
    """Run by root with --out /dev/stdout, a command must not replace this link to its output."""
    link = tmp_path / "stdout.png"
    link.symlink_to("/proc/self/fd/1")
    assert cli.main(["moons", "--passes", "10", "--out", str(link)]) == 1
    message = f"--out: {link} is an open file of the process, not the name of a picture"
    assert message in capsys.readouterr().err
    assert link.is_symlink()


def test_no_device_or_pipe_is_replaced(tmp_path, capsys):
    for name in ("a.png", "a.dzi", "b.html"):
        os.mkfifo(tmp_path / name)
    before = sorted(tmp_path.iterdir())
    for name in ("a.png", "a.dzi", "b.dzi"):
        with pytest.raises(ValueError, match=r"out: .* is a device or a pipe, not the name of a picture"):
            fastnn.render_boundary(
                lambda P: P[:, 0] > 0, (0, 1), (0, 1), 8, classes=[False, True], out=tmp_path / name
            )
    with pytest.raises(ValueError, match=r"a\.png is a device or a pipe"):
        fastnn.animate_training(fastnn.Model([2, 2]), [[0, 1], [1, 0]], [0, 1], tmp_path / "a.png")
    assert cli.main(["moons", "--passes", "1", "--out", "/dev/null"]) == 1
    assert "--out: /dev/null is a device or a pipe" in capsys.readouterr().err
    assert not Path("/dev/null").is_file()
    assert sorted(tmp_path.iterdir()) == before
