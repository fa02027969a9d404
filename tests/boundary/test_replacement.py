"""Files of pictures appear as a whole or not at all; until then, an older picture stays."""

import itertools
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest
from extras import optional
from sink_pictures import formats, render_stripes

zarr = optional("zarr")

FORMATS = formats(".png", ".zarr", ".dzi")


def contents(folder):
    return {str(one.relative_to(folder)): one.is_file() and one.read_bytes() for one in folder.rglob("*")}


@pytest.mark.parametrize(
    ("name", "other", "message"),
    [
        ("a.png", "a.png/", "a.png is a folder, not the name of a picture"),
        ("a.dzi", "a.dzi/", "a.dzi is a folder"),
        ("a.dzi", "a.html/", "a.html is a folder"),
        ("a.dzi", "a_files/", "a_files exists, and does not belong to a.dzi"),
        ("a.dzi", "a.html", "a.html exists, and does not belong to a.dzi"),
        ("a.dzi", "a_files", "a_files exists, and does not belong to a.dzi"),
        pytest.param("a.zarr", "a.zarr/", "exists, and is not a Zarr array", marks=pytest.mark.needs("zarr")),
        pytest.param("a.zarr", "a.zarr", "exists, and is not a Zarr array", marks=pytest.mark.needs("zarr")),
        pytest.param("a.zarr", "group", "exists, and is not a Zarr array", marks=pytest.mark.needs("zarr")),
    ],
)
def test_folders_and_foreign_files_are_not_replaced(tmp_path, name, other, message):
    if other == "group":
        group = zarr.open_group(tmp_path / name, mode="w")
        group.create_array("precious", shape=10, dtype="int64")[:] = range(10)
    elif other.endswith("/"):
        (tmp_path / other).mkdir()
    else:
        (tmp_path / other).write_text("mine")
    before = contents(tmp_path)
    image = render_stripes(9, 9, 2)[1]
    with pytest.raises(ValueError, match=f"out: .*{message}"):
        render_stripes(9, 9, 2, out=tmp_path / name)
    with pytest.raises(ValueError, match=f"path: .*{message}"):
        image.save(tmp_path / name)
    assert contents(tmp_path) == before


def test_an_older_picture_that_cannot_be_moved_back_is_kept_in_the_draft(tmp_path, monkeypatch):
    image = render_stripes(33, 65, 3)[1]
    image.save(tmp_path / "a.dzi")
    before = contents(tmp_path)
    replace, moves = os.replace, []

    def fail_after_three(source, goal):
        moves.append(goal)
        if len(moves) > 3:
            raise OSError("the disk is gone")
        replace(source, goal)

    monkeypatch.setattr(os, "replace", fail_after_three)
    with pytest.raises(OSError, match="the disk is gone"):
        image.save(tmp_path / "a.dzi")
    monkeypatch.undo()
    (draft,) = tmp_path.iterdir()
    assert contents(next(folder for folder in draft.iterdir() if (folder / "a.dzi").exists())) == before


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_older_picture_is_replaced_as_a_whole(tmp_path, suffix):
    for size in ((600, 1100), (1100, 9)):
        image = render_stripes(*size, 3)[1]
        image.save(tmp_path / f"a{suffix}")
        mode = stat.S_IMODE((tmp_path / f"a{suffix}").stat().st_mode)
    new = contents(tmp_path)
    assert not any(name.startswith(".") for name in new)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    image.save(tmp_path / f"a{suffix}")
    assert contents(tmp_path) == new
    umask = os.umask(0)
    os.umask(umask)
    if os.name == "posix" and sys.platform != "emscripten":  # Windows and browsers have no such modes
        assert mode == (0o777 if suffix == ".zarr" else 0o666) & ~umask


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("suffix", FORMATS)
def test_an_error_before_or_after_any_move_leaves_a_whole_picture(tmp_path, suffix, is_done, monkeypatch):
    def move(source, goal):
        is_published = tmp_path in (Path(source).parent, Path(goal).parent)
        is_last = is_published and next(moves) == last
        if is_done or not is_last:
            replace(source, goal)
        if is_last:
            raise KeyboardInterrupt

    path, replace, last = tmp_path / f"a{suffix}", os.replace, 0
    render_stripes(9, 9, 3, out=path)
    new = contents(tmp_path)
    render_stripes(33, 65, 3, out=path)
    before = contents(tmp_path)
    monkeypatch.setattr(os, "replace", move)
    while last < {".png": 1, ".zarr": 2, ".dzi": 6}[suffix]:
        moves = itertools.count()
        with pytest.raises(KeyboardInterrupt):
            render_stripes(9, 9, 3, out=path)
        assert contents(tmp_path) == (new if is_done and suffix == ".png" else before)
        last += 1


@pytest.mark.skipif(os.name != "posix", reason="Windows restricts links")
@pytest.mark.parametrize("suffix", formats(".zarr", ".dzi"))
def test_links_to_nothing_are_replaced(tmp_path, suffix):
    """No folder can be moved to the name of a link: the whole picture was lost at its end."""
    image = render_stripes(3, 3, 2)[1]
    image.save(tmp_path / f"a{suffix}")
    names = [path.name for path in tmp_path.iterdir()]
    expected = contents(tmp_path)
    for one in names:
        for path in tmp_path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (tmp_path / one).symlink_to("nothing")
        image.save(tmp_path / f"a{suffix}")
        assert contents(tmp_path) == expected
