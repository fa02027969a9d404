"""Attacks on the files of compiled kernels: whatever happens to them, a kernel gives the same result.

Every attack creates its small kernel again and again, since only a new kernel is looked up in the cache.
`test_jit.py` tests the effect of a single broken file on a second process.
"""

import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numba
import pytest
from processes import run_python

from fastnn_kernels.compiler import cache, sources

pytestmark = pytest.mark.slow

posix = pytest.mark.skipif(os.name != "posix", reason="limits, permissions and free links are POSIX's")

TINY = """
    import os, shutil
    from pathlib import Path
    from fastnn_kernels.compiler.jit import kernel

    folder = Path(os.environ["NUMBA_CACHE_DIR"]) / "fastnn_kernels"

    def make(factor):
        @kernel
        def multiple(x):
            return factor * x

        return multiple

    def outcome(factor=3):
        multiple = make(factor)
        assert multiple(2.5) == factor * 2.5
        return "loaded" if multiple.stats.cache_hits else "compiled"

    def files():
        return sorted(folder.iterdir())

    assert (outcome(), outcome()) == ("compiled", "loaded")
    (entry,) = files()
    content = entry.read_bytes()
"""


@pytest.fixture
def open_folder():
    """Yield a folder that other users can read; pytest's own folders are private."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def run(folder, attack):
    """Run an attack in a new process, with the cache in `folder`."""
    return run_python(TINY + attack, NUMBA_CACHE_DIR=str(folder)).split()


@posix
def test_a_kernel_survives_anything_in_the_place_of_its_file(tmp_path):
    attack = """
    import random
    draw = random.Random(0)
    outcome(5)
    (other,) = set(files()) - {entry}
    broken = [content[:n] for n in (0, 1, 31, 32, 33, *draw.sample(range(len(content)), 10))]
    for _ in range(10):
        place = draw.randrange(len(content))
        changed = bytes([content[place] ^ 1 << draw.randrange(8)])
        broken.append(content[:place] + changed + content[place + 1 :])
    broken += [draw.randbytes(n) for n in (1, 32, 5000)]
    broken += [other.read_bytes(), content + b"more", content * 2]
    for data in broken:
        entry.write_bytes(data)
        assert outcome() == "compiled", data[:50]
        assert outcome() == "loaded"
        assert entry.read_bytes()[:32] != data[:32] or entry.read_bytes() == content
    for goal in ("nothing", entry.name):  # a link to a missing file, and one to itself
        entry.unlink()
        entry.symlink_to(goal)
        assert (outcome(), outcome()) == ("compiled", "loaded")
    # A file cannot replace a folder: the kernel is compiled every time.
    entry.unlink()
    (entry / "inside").mkdir(parents=True)
    assert (outcome(), outcome()) == ("compiled", "compiled")
    assert files() == sorted([entry, other])
    print("done")
    """
    assert run(tmp_path, attack) == ["done"]


@posix
def test_a_kernel_survives_the_loss_or_replacement_of_its_folder(tmp_path):
    attack = """
    for _ in range(3):
        shutil.rmtree(folder.parent)
        assert (outcome(), outcome()) == ("compiled", "loaded")
    shutil.rmtree(folder)
    folder.write_text("a file")
    assert (outcome(), outcome()) == ("compiled", "compiled")
    folder.unlink()
    folder.symlink_to(folder)
    assert (outcome(), outcome()) == ("compiled", "compiled")
    folder.unlink()
    # The folder vanishes while a file is written to it.
    import tempfile
    make_file = tempfile.mkstemp

    def vanishing(**options):
        made = make_file(**options)
        shutil.rmtree(folder)
        return made

    tempfile.mkstemp = vanishing
    assert outcome() == "compiled"
    tempfile.mkstemp = make_file
    assert (outcome(), outcome()) == ("compiled", "loaded")
    print("done")
    """
    assert run(tmp_path, attack) == ["done"]


@posix
def test_a_kernel_survives_a_full_disk_and_a_lack_of_file_descriptors(tmp_path):
    attack = """
    import resource

    def limited(kind, limit):
        old = resource.getrlimit(kind)
        resource.setrlimit(kind, (limit, old[1]))
        try:
            return outcome()
        finally:
            resource.setrlimit(kind, old)

    entry.unlink()
    for limit in (0, 1, len(content) - 1):
        assert limited(resource.RLIMIT_FSIZE, limit) == "compiled"
        assert files() == []
    assert limited(resource.RLIMIT_NOFILE, 0) == "compiled"
    assert files() == []
    assert (outcome(), outcome()) == ("compiled", "loaded")
    print("done")
    """
    assert run(tmp_path, attack) == ["done"]


@posix
def test_a_kernel_survives_a_file_that_may_be_neither_read_nor_written(open_folder):
    attack = """
    entry.chmod(0)
    folder.chmod(0o555)
    if os.getuid() == 0:
        os.seteuid(65534)  # no permission stops root: become another user
    assert (outcome(), outcome()) == ("compiled", "compiled")
    assert files() == [entry]
    print("done")
    """
    assert run(open_folder, attack) == ["done"]


def test_a_kernel_survives_processes_that_write_its_file_at_once(tmp_path):
    attack = """
    if hasattr(os, "fork"):
        children = []
        for k in range(6):
            child = os.fork()
            if child == 0:
                for factor in range(10, 18):
                    outcome(factor)
                    (folder / f"{entry.name}").write_bytes(content[: factor * k])  # a broken file
                    outcome()
                os._exit(0)
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 6
        outcome()
        assert outcome() == "loaded"
        assert [outcome(factor) for factor in range(10, 18)] == ["loaded"] * 8
        assert not list(folder.glob("*.tmp"))
    print("done")
    """
    assert run(tmp_path, attack) == ["done"]


@posix
def test_sources_that_cannot_be_read_have_no_digest(tmp_path, monkeypatch):
    """A dangling link, which editors use as a lock, and a folder do not change the digest of the sources."""
    (tmp_path / "a.py").write_text("a = 1")
    monkeypatch.setattr(cache, "PACKAGE", tmp_path)
    digest = cache.source_digest()
    assert digest
    (tmp_path / ".#a.py").symlink_to("user@host.1234")
    (tmp_path / "folder.py").mkdir()
    assert cache.source_digest() == digest

    def refused(path):
        raise PermissionError(path)

    monkeypatch.setattr(Path, "read_bytes", refused)
    assert cache.source_digest() == ""
    monkeypatch.setattr(cache, "STATES", [])  # the files may have changed
    assert not cache.is_current()


def test_sources_are_current_until_their_content_changes(tmp_path, monkeypatch):
    source = tmp_path / "a.py"
    source.write_text("a = 1")
    monkeypatch.setattr(sources, "PACKAGE", tmp_path)
    monkeypatch.setattr(cache, "STATES", cache.source_states())
    monkeypatch.setattr(cache, "DIGEST", cache.source_digest())
    assert cache.is_current()
    os.utime(source, (0, 0))
    assert cache.source_states() != cache.STATES
    assert cache.is_current()
    source.write_text("a = 2")
    assert not cache.is_current()


def test_the_version_of_numba_is_that_of_the_loaded_one(tmp_path, monkeypatch):
    """An update while numba is loaded leaves the folder of another version beside the package."""
    (tmp_path / "numba-99.0.dist-info").mkdir()
    updated = SimpleNamespace(has_location=True, origin=str(tmp_path / "numba" / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: updated)
    version = cache.numba_version.__wrapped__
    assert version() == numba.__version__
    monkeypatch.delitem(sys.modules, "numba")
    assert version() == "99.0"


def test_a_user_without_a_home_has_only_the_packages_cache_folder(monkeypatch):
    monkeypatch.setattr(cache.platformdirs, "user_cache_dir", lambda name, **_: f"~/.cache/{name}")
    monkeypatch.setattr(cache, "cache_setting", lambda: "")
    assert list(cache.cache_folders()) == [cache.PACKAGE / "__pycache__"]
