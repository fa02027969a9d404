"""Files of pictures appear as a whole or not at all; until then, an older picture stays."""

import os
import re
import shutil
import signal
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
from extras import optional
from sink_pictures import EXTENT, class_picture, colours_of, formats

from fastnn.boundary.sinks import FORMATS, Picture, open_sink, save_pixels
from fastnn.system.files import Draft, written_whole

zarr = optional("zarr")


def contents(folder):
    """Return the bytes of all files in a folder by their paths, and None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.needs("zarr")
def test_files_that_are_no_pictures_are_not_replaced(tmp_path, small):
    pixels, picture = class_picture(33, 65, 3)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("precious", shape=10, dtype="int64")[:] = np.arange(10)
    (tmp_path / "b.html").write_text("mine")
    (tmp_path / "c_files").write_text("mine")
    (tmp_path / "c.dzi").write_text("mine")
    before = contents(tmp_path)
    for name in ("a.zarr", "b.dzi", "c.dzi"):
        with pytest.raises(ValueError, match="path: there is already something at"):
            save_pixels(pixels, tmp_path / name, picture)
    assert contents(tmp_path) == before
    np.testing.assert_array_equal(zarr.open_group(tmp_path / "a.zarr")["precious"][:], np.arange(10))


def test_an_older_picture_that_cannot_be_moved_back_is_kept_in_the_draft(tmp_path, small, monkeypatch):
    pixels, picture = class_picture(33, 65, 3)
    save_pixels(pixels, tmp_path / "a.dzi", picture)
    before = contents(tmp_path)
    replace, moves = os.replace, []

    def fail_after_three(source, goal):
        moves.append(goal)
        if len(moves) > 3:
            raise OSError("the disk is gone")
        replace(source, goal)

    monkeypatch.setattr(os, "replace", fail_after_three)
    with pytest.raises(OSError, match="the disk is gone"):
        save_pixels(pixels, tmp_path / "a.dzi", picture)
    monkeypatch.undo()
    (draft,) = tmp_path.iterdir()
    older = next(folder for folder in draft.iterdir() if (folder / "a.dzi").exists())
    assert contents(older) == before


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers")
@pytest.mark.parametrize("suffix", formats(*FORMATS))
def test_an_interrupt_at_any_moment_leaves_a_whole_picture(tmp_path, small, suffix):
    pixels, picture = class_picture(17, 33, 3)
    save_pixels(pixels, tmp_path / f"a{suffix}", picture)
    before, n_interrupts = contents(tmp_path), 0
    old_handler = signal.signal(signal.SIGALRM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        for delay in np.linspace(1e-4, 0.03, 60):
            try:
                signal.setitimer(signal.ITIMER_REAL, delay)
                save_pixels(pixels, tmp_path / f"a{suffix}", picture)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                n_interrupts += 1
            assert contents(tmp_path) == before  # both pictures have the same bytes
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old_handler)
    assert n_interrupts


@pytest.mark.parametrize("suffix", formats(*FORMATS))
def test_an_older_picture_is_replaced_as_a_whole(tmp_path, small, suffix):
    for size in ((33, 65), (65, 9)):
        pixels, picture = class_picture(*size, 3)
        save_pixels(pixels, tmp_path / f"a{suffix}", picture)
        mode = stat.S_IMODE((tmp_path / f"a{suffix}").stat().st_mode)
    new = contents(tmp_path)
    assert not any(name.startswith(".") for name in new)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    save_pixels(pixels, tmp_path / f"a{suffix}", picture)
    assert contents(tmp_path) == new
    umask = os.umask(0)
    os.umask(umask)
    if os.name == "posix":  # Windows has no such modes
        assert mode == (0o777 if suffix == ".zarr" else 0o666) & ~umask


@pytest.mark.parametrize("puts_some", [False, True])
@pytest.mark.parametrize("suffix", formats(*FORMATS))
def test_a_discarded_picture_leaves_the_folder_as_it_was(tmp_path, small, suffix, puts_some):
    before_threads = threading.active_count()
    for has_older in (False, True):
        if has_older:
            pixels, picture = class_picture(33, 65, 3)
            save_pixels(pixels, tmp_path / f"a{suffix}", picture)
        before = contents(tmp_path)
        pixels, picture = class_picture(65, 64, 4)

        def write_some(sink):
            for k, rect in enumerate(sink.rectangles()):
                if k == 5 or not puts_some:
                    raise KeyboardInterrupt
                sink.put(
                    rect, sink.encode(rect, pixels[rect.bottom : rect.top, rect.left : rect.right].copy())
                )

        with pytest.raises(KeyboardInterrupt), open_sink(tmp_path / f"a{suffix}", picture) as sink:
            write_some(sink)
        assert contents(tmp_path) == before
    assert threading.active_count() <= before_threads + (suffix == ".zarr") * 10  # zarr keeps threads


@pytest.mark.parametrize("suffix", formats(*FORMATS))
def test_a_failure_of_the_last_move_changes_nothing(tmp_path, small, suffix, monkeypatch):
    pixels, picture = class_picture(33, 65, 3)
    save_pixels(pixels, tmp_path / f"a{suffix}", picture)
    before = contents(tmp_path)
    replace, goals = os.replace, []

    def fail_at_the_last(source, goal):
        goals.append(Path(goal))
        if Path(goal).name == last and Path(goal).parent == tmp_path and goals.count(Path(goal)) == 1:
            raise OSError("no")
        replace(source, goal)

    last = "a.html" if suffix == ".dzi" else f"a{suffix}"
    monkeypatch.setattr(os, "replace", fail_at_the_last)
    with pytest.raises(OSError, match="no"):
        save_pixels(0 * pixels, tmp_path / f"a{suffix}", picture)
    assert contents(tmp_path) == before


def test_tiles_appear_before_their_index_and_vanish_after_it(tmp_path, small, monkeypatch):
    pixels, picture = class_picture(9, 9, 3)
    save_pixels(pixels, tmp_path / "a.dzi", picture)
    replace, states = os.replace, []

    def recorded(source, goal):
        replace(source, goal)
        states.append({path.name for path in tmp_path.iterdir() if not path.name.startswith(".")})

    monkeypatch.setattr(os, "replace", recorded)
    save_pixels(pixels, tmp_path / "a.dzi", picture)
    assert states == [
        {"a.dzi", "a_files"}, {"a_files"}, set(), {"a_files"}, {"a.dzi", "a_files"},
        {"a.dzi", "a.html", "a_files"},
    ]  # fmt: skip


@pytest.mark.needs("tifffile", "zarr")
def test_folders_and_foreign_files_are_not_replaced(tmp_path):
    picture = class_picture(9, 9, 2)[1]
    for name in ("a.png", "a.tif", "a.dzi", "b.html", "c_files", "d.zarr"):
        (tmp_path / name).mkdir()
    (tmp_path / "e.zarr").write_text("mine")
    before = contents(tmp_path)
    for name, message in [
        ("a.png", "a.png is a folder, not the name of a picture"),
        ("a.tif", "a.tif is a folder"),
        ("a.dzi", "a.dzi is a folder"),
        ("b.dzi", "b.html is a folder"),
        ("c.dzi", "c_files that does not belong to c.dzi"),
        ("d.zarr", "d.zarr that is not a Zarr array"),
        ("e.zarr", "e.zarr that is not a Zarr array"),
    ]:
        with pytest.raises(ValueError, match=f"out: .*{message}"):
            open_sink(tmp_path / name, picture)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "a.png",
            {"width": 2**31},
            "a side of a .png picture has at most 2147483647 pixels, but it is 2147483648",
        ),
        pytest.param(
            "a.tif",
            {"height": 2**32},
            "a side of a .tif picture has at most 4294967295 pixels",
            marks=pytest.mark.needs("tifffile"),
        ),
        (
            "a.png",
            {"dtype": np.dtype(np.int64)},
            "must be of a dtype for classes: uint8 or uint16, not int64",
        ),
        pytest.param(
            "a.zarr",
            {"colours": None},
            "must be of a dtype for a response: floating, not uint8",
            marks=pytest.mark.needs("zarr"),
        ),
        (
            "a.dzi",
            {"colours": colours_of(257)},
            "at most 256 classes, but there are 257; .tif and .zarr hold more",
        ),
        ("a.png", {"colours": colours_of(65537)}, "a .png picture has at most 65536 classes"),
    ],
)
def test_pictures_that_a_format_cannot_hold_are_refused(tmp_path, name, changes, message):
    options = {
        "width": 3,
        "height": 3,
        "dtype": np.dtype(np.uint8),
        "extent": EXTENT,
        "colours": colours_of(2),
    }
    with pytest.raises(ValueError, match=re.escape(message)):
        open_sink(tmp_path / name, Picture(**options | changes))
    assert not list(tmp_path.iterdir())


def test_colours_and_pixels_must_match_the_picture(tmp_path):
    with pytest.raises(ValueError, match="3 classes must have a colour each, got 2 colours"):
        class_picture(3, 3, 2, classes=("a", "b", "c"))
    pixels, picture = class_picture(3, 4, 2)
    with pytest.raises(
        ValueError, match=re.escape("pixels must have shape (4, 3) (height, width), got (3, 4)")
    ):
        save_pixels(pixels.T, tmp_path / "a.png", picture)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="Windows restricts links")
@pytest.mark.parametrize("name", [pytest.param("a.zarr", marks=pytest.mark.needs("zarr")), "a.dzi"])
def test_links_to_nothing_are_replaced(tmp_path, name):
    """No folder can be moved to the name of a link: the whole picture was lost at its end."""
    pixels, picture = class_picture(3, 3, 2)
    save_pixels(pixels, tmp_path / name, picture)
    names = [path.name for path in tmp_path.iterdir()]
    expected = contents(tmp_path)
    for one in names:
        for path in tmp_path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (tmp_path / one).symlink_to("nothing")
        save_pixels(pixels, tmp_path / name, picture)
        assert contents(tmp_path) == expected


def test_written_whole_replaces_a_file_only_at_the_end(tmp_path):
    path = tmp_path / "a.txt"
    with written_whole(path) as temporary:
        temporary.write_text("old")
        assert temporary.suffix == ".txt"
        assert not path.exists()

    def interrupted():
        with written_whole(path) as temporary:
            temporary.write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert contents(tmp_path) == {"a.txt": b"old"}
    Draft(path).discard()
    assert contents(tmp_path) == {"a.txt": b"old"}
