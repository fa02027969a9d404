"""A cache that cannot be used: each process warns once and runs all the same."""

import errno
import logging
import os
import warnings
from pathlib import Path

import pytest
from kernel_packages import told_while_compiled

from fastnn_kernels.compiler import cache, jit
from fastnn_kernels.compiler.jit import Kernel, Kind

NO_SPACE = r"compiled kernels cannot be kept .*: No space left on device\. Set .* NUMBA_CACHE_DIR to a folder"


@pytest.fixture(autouse=True)
def no_warning_yet(monkeypatch):
    """Begin every test like a process that has not warned yet."""
    refusal = cache._Refusal()
    for module in (cache, jit):
        monkeypatch.setattr(module, "refusal", refusal)


@pytest.fixture
def full_disk(monkeypatch):
    """Refuse temporary files, as a full disk does."""

    def refuse(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache.tempfile, "mkstemp", refuse)
    monkeypatch.setattr(cache.tempfile, "TemporaryFile", refuse)


@pytest.mark.usefixtures("full_disk")
def test_a_process_warns_once_with_the_reason_and_the_remedy():
    kernels = [told_while_compiled(lambda: None) for _ in range(2)]
    with pytest.warns(RuntimeWarning, match=NO_SPACE) as caught:
        results = [kernel(1.5) for kernel in kernels]
    assert results == [2.5, 2.5]
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.usefixtures("full_disk")
def test_the_warning_waits_for_the_end_of_the_compilation(monkeypatch):
    """A function that shows warnings may compile, or need a lock of a thread that waits to compile."""
    is_locked = []

    def warn(*arguments, **options):
        is_locked.append(jit.global_compiler_lock.is_locked())
        assert told_while_compiled(lambda: None)(2.5) == 3.5

    monkeypatch.setattr(warnings, "warn", warn)
    assert told_while_compiled(lambda: None)(1.5) == 2.5
    assert is_locked == [False]


@pytest.mark.usefixtures("full_disk")
@pytest.mark.filterwarnings("error")
def test_a_warning_that_is_an_error_is_logged(caplog):
    outer = told_while_compiled(lambda: None)
    assert outer(1.5) == 2.5
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "NUMBA_CACHE_DIR" in record.getMessage()
    assert Kernel.wanted is Kind.CALLABLE
    assert outer(2) == 3


def test_an_entry_that_cannot_be_serialised_causes_a_warning(monkeypatch):
    def packed(header, code):
        raise TypeError("no way")

    monkeypatch.setattr(jit, "packed", packed)
    with pytest.warns(RuntimeWarning, match=r"outer cannot be saved: no way"):
        assert told_while_compiled(lambda: None)(1.5) == 2.5


def test_an_entry_that_cannot_be_loaded_causes_a_warning(monkeypatch):
    kernel = told_while_compiled(lambda: None)
    assert kernel(1.5) == 2.5

    def load(*arguments, **options):
        raise TypeError("no way")

    monkeypatch.setattr(jit, "loaded_kernel", load)
    monkeypatch.setattr(
        jit, "read_entries", lambda name: [b'{"names": [], "result": "none", "shared": []}\n']
    )
    with pytest.warns(RuntimeWarning, match=r"numba cannot load .*no way.* Remove the folder"):
        assert told_while_compiled(lambda: None)(1.5) == 2.5


def test_a_kernel_that_contains_an_address_causes_a_warning(monkeypatch):
    monkeypatch.setattr(jit, "has_addresses", lambda compiled: True)
    with pytest.warns(RuntimeWarning, match=r"contains memory addresses.* Let the kernel close over"):
        assert told_while_compiled(lambda: None)(1.5) == 2.5


def test_changed_sources_cause_a_warning(monkeypatch):
    monkeypatch.setattr(jit, "is_current", lambda: False)
    with pytest.warns(RuntimeWarning, match="sources .* have changed .* Restart Python"):
        assert told_while_compiled(lambda: None)(1.5) == 2.5


@pytest.mark.usefixtures("full_disk")
def test_usable_folder_raises_if_no_file_can_be_written():
    with pytest.raises(OSError, match="No space left on device"):
        cache.usable_folder()


def test_without_a_home_the_cache_is_not_in_the_current_folder(monkeypatch):
    monkeypatch.setattr(cache, "cache_setting", lambda: "")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert list(cache.cache_folders()) == [Path(cache.__file__).parents[1] / "__pycache__"]


def test_a_cache_folder_that_cannot_be_searched_has_no_entries(monkeypatch, tmp_path):
    """A name that is too long fails for every user; a folder without permission does not fail for root."""
    monkeypatch.setattr(cache, "cache_setting", lambda: str(tmp_path / ("x" * 300)))
    assert not list(cache.read_entries("kernel.nbc"))
    assert cache.entry_files() == {}
    assert list(cache.read_entries("kernel.nbc")) == []
    with cache.claimed("kernel.nbc"):
        pass
    with pytest.raises(OSError, match=r"name too long.* Set .* NUMBA_CACHE_DIR"):
        cache.usable_folder()
