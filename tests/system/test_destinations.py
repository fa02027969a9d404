"""A folder that cannot be written to is an error before any work, for every kind of output."""

import errno
import os

import numpy as np
import pytest

import fastnn
from fastnn.cli import main as cli
from fastnn.system import files

MESSAGE = r"cannot be written to \(Read-only file system\): choose another"


@pytest.fixture(autouse=True)
def read_only(monkeypatch):
    """Refuse every draft as a read-only disk does, also to root, and fail if any work begins."""

    def refuse(*arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def work(*arguments, **options):
        raise AssertionError("the work must not begin")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    monkeypatch.setattr(fastnn.Model, "train", work)
    monkeypatch.setattr(fastnn.Model, "predict", work)


def test_the_command_names_the_folder_of_its_picture(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["moons"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"fastnn: --out: the folder {tmp_path} cannot be written to (Read-only file system): choose another\n"
    )


@pytest.mark.parametrize("name", ["a.png", "a.svg", "a.dzi"])
def test_pictures_for_a_read_only_folder_are_refused(name, tmp_path):
    model = fastnn.Model([2, 3, 2], random_state=0)
    with pytest.raises(ValueError, match=f"out: the folder .*{MESSAGE}"):
        fastnn.render_boundary(model, (0, 1), (0, 1), 8, out=tmp_path / name)


def test_animations_for_a_read_only_folder_are_refused(tmp_path):
    model = fastnn.Model([2, 3, 2], random_state=0)
    with pytest.raises(ValueError, match=f"path: the folder .*{MESSAGE}"):
        fastnn.animate_training(model, np.zeros((4, 2)), [0, 1, 0, 1], tmp_path / "a.gif", num_passes=1)


def test_the_check_of_a_folder_leaves_no_files(tmp_path, monkeypatch):
    monkeypatch.undo()
    files.check_folder(tmp_path / "a.png", "out")
    assert not list(tmp_path.iterdir())
