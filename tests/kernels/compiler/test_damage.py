"""Damage of compiled kernels on disk: whatever happens to the cache or the library, results stay the same."""

import contextlib
import errno
import logging
import os
import random
import re
import shutil
import stat
import warnings
from types import SimpleNamespace

import numba
import pytest
from kernel_packages import HAS_LIBRARY, run
from numba import types

from fastnn_kernels.compiler import cache, sources
from fastnn_kernels.compiler.cache import pack_entry, read_entries, unpack_entry, write_entry
from fastnn_kernels.compiler.jit import CodeForm, compile_to, kernel
from fastnn_kernels.compiler.numba_internals import get_cpu_context

fcntl, resource = pytest.importorskip("fcntl"), pytest.importorskip("resource")  # POSIX's
REMEDY = r".*NUMBA_CACHE_DIR to a folder that you, and nobody else, can write to"


@pytest.fixture
def folder(tmp_path, monkeypatch, no_warning_yet):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    return tmp_path / "fastnn_kernels"


def make(factor=3):
    @kernel
    def multiple(x):
        return factor * x

    return multiple


def call(factor=3):
    """Call a new kernel; return "loaded" or "compiled"."""
    multiple = make(factor)
    assert multiple(2.5) == factor * 2.5
    return "loaded" if multiple.stats.cache_hits else "compiled"


def name_entry():
    return make().cache.file_name((types.float64,), get_cpu_context().codegen())


HEALED, KEPT, LASTING = ("compiled", "loaded", "loaded"), ("loaded",) * 3, ("compiled",) * 3


def replace(content):
    """Return the damage of an entry whose content becomes `content(old)`."""
    return lambda folder, entry: entry.write_bytes(content(entry.read_bytes()))


def flip_bit(content):
    draw = random.Random(len(content))
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def copy_other_entry(folder, entry):
    call(5)
    (other,) = set(folder.glob("*.nbc")) - {entry}
    shutil.copy(other, entry)


def link_to_nothing(folder, entry):
    entry.unlink()
    entry.symlink_to("nothing")


def move(path):
    """Move a file or folder elsewhere, and leave a link; return its new name."""
    goal = path.with_name("goal")
    path.rename(goal)
    path.symlink_to(goal)
    return goal


def put_folder_in_place(folder, entry):
    entry.unlink()
    (entry / "inside").mkdir(parents=True)


def put_file_in_place(folder, entry):
    shutil.rmtree(folder)
    folder.write_text("a file")


# What becomes of a folder and its entry, what three calls then do, and of what the process warns.
DAMAGES = {
    "none": (lambda folder, entry: None, KEPT, ""),
    "empty": (replace(lambda content: b""), HEALED, ""),
    "cut off": (replace(lambda content: content[:-1]), HEALED, ""),
    "a flipped bit": (replace(flip_bit), HEALED, ""),
    "longer": (replace(lambda content: content + b"more"), HEALED, ""),
    "another entry": (copy_other_entry, HEALED, ""),
    "a link to nothing": (link_to_nothing, HEALED, ""),
    "a folder in its place": (put_folder_in_place, LASTING, "cannot be kept"),
    "no folder": (lambda folder, entry: shutil.rmtree(folder), HEALED, ""),
    "a file in place of the folder": (put_file_in_place, LASTING, "File exists"),
    "a folder elsewhere": (lambda folder, entry: move(folder), KEPT, ""),
    "a folder open to all": (lambda folder, entry: folder.chmod(0o777), LASTING, "every user .*mode 777"),
    "such a folder elsewhere": (lambda folder, entry: move(folder).chmod(0o777), LASTING, "every user"),
    "a file open to all": (lambda folder, entry: entry.chmod(0o666), HEALED, "every user .* Remove the file"),
    "another user's folder": (lambda folder, _: os.chown(folder, 12345, -1), LASTING, "user 12345 .* user 0"),
    "another user's file": (lambda folder, entry: os.chown(move(entry), 12345, -1), HEALED, "user 12345"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_kernel_survives_damage_of_its_file_and_folder(folder, name):
    apply, calls, words = DAMAGES[name]
    if "another user" in name and os.geteuid():
        pytest.skip("only root gives files away")
    assert (call(), call()) == ("compiled", "loaded")
    (entry,) = folder.glob("*.nbc")
    apply(folder, entry)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert tuple(call() for _ in range(3)) == calls
    if words:
        (warning,) = caught  # once, and at the line of the call
        assert warning.filename == __file__
        assert re.search(words + REMEDY, str(warning.message))
    else:
        assert caught == []
    if calls == HEALED:
        assert stat.S_IMODE(entry.stat().st_mode) == stat.S_IMODE(folder.stat().st_mode) & 0o644
        assert not list(folder.glob("*.tmp"))


@contextlib.contextmanager
def limit(kind, number):
    """Limit a resource of this process: a limit of the size of files stands for a full disk."""
    old = resource.getrlimit(kind)
    resource.setrlimit(kind, (number, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, old)


@pytest.mark.parametrize(
    ("kind", "number"),
    [(resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_FSIZE, 100), (resource.RLIMIT_NOFILE, 0)],
)
def test_a_kernel_survives_a_full_disk_and_a_lack_of_file_descriptors(folder, kind, number, caplog):
    call()
    shutil.rmtree(folder)
    folder.mkdir()
    with limit(kind, number):
        assert call() == "compiled"
    assert not [path for path in folder.iterdir() if path.suffix != ".claim"]
    (record,) = caplog.records  # warnings are errors here: the message is logged
    assert record.levelno == logging.WARNING
    assert "cannot be kept or loaded" in record.getMessage()
    assert (call(), call()) == ("compiled", "loaded")


@pytest.mark.parametrize("umask", [0, 0o002, 0o077])
def test_what_is_written_is_read_whatever_the_umask(folder, umask):
    before = os.umask(umask)
    try:
        assert (call(), call()) == ("compiled", "loaded")
    finally:
        os.umask(before)


def test_an_entry_that_numba_cannot_load_is_compiled_again(folder):
    """Its checksum is valid. Nothing of it is unpickled or run."""
    call()
    name = name_entry()
    (payload,) = read_entries(name)
    header, code = unpack_entry(payload)
    broken = [b"", payload[:40], b"null\n" + code, pack_entry(header, b"")]
    broken += [b"[" * 100_000, b"\x80\x04cos\nsystem\n."]
    wrong = [None, 1, "x", [1], ["x", "y"], {"x": 1}]
    wrong += [["constant", [1]], ["array", "float64", 1, "X", True, True]]
    for key in header:
        broken.append(pack_entry({other: header[other] for other in header if other != key}, code))
        broken += [pack_entry(header | {key: value}, code) for value in wrong]
    for content in broken:
        write_entry(name, content)
        with compile_to(CodeForm.CALLABLE):
            found = make().cache.load_overload((types.float64,), get_cpu_context())
        assert found is None, content[:200]
    with pytest.warns(RuntimeWarning, match=r"numba cannot load .*multiple .* Remove the folder"):
        assert call() == "compiled"
    assert call() == "loaded"


def own(uid, gid, mode):
    return SimpleNamespace(st_uid=uid, st_gid=gid, st_mode=stat.S_IFDIR | mode)


# User 1000 with the private group 1000 runs a package of root; 50 is another group, 0 is root's.
@pytest.mark.parametrize(
    ("state", "others"),
    [
        (own(1000, 50, 0o755), None),
        (own(0, 0, 0o755), None),
        (own(0, 0, 0o775), None),  # containers that run as any user
        (own(1000, 1000, 0o775), None),  # the umask 002 of a user with a private group
        (own(1000, 50, 0o775), "group 50"),
        (own(0, 0, 0o1777), "every user"),
        (own(12345, 50, 0o700), "user 12345"),
        (own(12345, 50, 0o777), "every user and group 50 and user 12345"),
    ],
)
def test_others_are_all_but_root_and_this_user(monkeypatch, state, others):
    package = SimpleNamespace(stat=lambda: own(0, 0, 0o755))
    monkeypatch.setattr(cache, "PACKAGE", package)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(cache.pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name="ann", pw_gid=uid))
    groups = {1000: ("ann", ["ann"]), 50: ("staff", []), 0: ("root", [])}
    monkeypatch.setattr(
        cache.grp, "getgrgid", lambda g: SimpleNamespace(gr_name=groups[g][0], gr_mem=groups[g][1])
    )
    monkeypatch.setattr(cache, "_is_private", cache._is_private.__wrapped__)  # without its cache
    if others is None:
        cache._check_writers(state)
    else:
        with pytest.raises(cache.DistrustError, match=f"^{others} can change it .* run as user 1000"):
            cache._check_writers(state)
    package.stat = lambda: state  # who can change the sources may change the entries
    cache._check_writers(state)


def test_the_next_folder_is_used(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "list_cache_folders", lambda: iter([folder, tmp_path / "other"]))
    folder.mkdir()
    folder.chmod(0o777)
    assert (call(), call()) == ("compiled", "loaded")
    assert not list(folder.iterdir())


def test_without_a_home_the_cache_is_not_in_the_current_folder(monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert list(cache.list_cache_folders()) == [sources.PACKAGE / "__pycache__"]


@pytest.mark.parametrize("number", [0, errno.ENOLCK, errno.EROFS])
def test_a_kernel_is_compiled_without_a_claim_that_is_held_or_refused(folder, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, "no locks")

    monkeypatch.setattr(cache, "WAIT_SECONDS", 0.01)
    if number:
        monkeypatch.setattr(fcntl, "flock", refuse)
    with cache.claim_entry("kernel.nbc"), cache.claim_entry("kernel.nbc"):
        assert call() == "compiled"


@pytest.mark.needs("ziglang")
@pytest.mark.parametrize("damage", ["shorter", "text", "empty"])
def test_a_damaged_library_is_left_out(library_package, damage):
    (path,) = (library_package / "prebuilt").iterdir()
    content = path.read_bytes()
    path.write_bytes({"shorter": content[: len(content) // 2], "text": b"text", "empty": b""}[damage])
    warned = "numba compiles the kernels, because .* cannot be loaded .*: reinstall .*"
    assert run(library_package, HAS_LIBRARY, warned=warned, FASTNN_PREBUILT="1") == "False"
