"""A library of kernels, which tests damage, edit or run, and a process that has not warned yet."""

import shutil

import pytest
from kernel_packages import BUILD_LIBRARY, KERNELS, copy_kernels, run

from fastnn_kernels.compiler.cache import refusal


@pytest.fixture
def no_warning_yet(monkeypatch):
    """Let a process warn, once, of a cache that cannot be used."""
    monkeypatch.setattr(refusal, "reason", "")
    monkeypatch.setattr(refusal, "has_warned", False)


@pytest.fixture(scope="session")
def built_package(tmp_path_factory):
    package = copy_kernels(KERNELS, tmp_path_factory.mktemp("built"))
    run(package, BUILD_LIBRARY, FASTNN_PREBUILT="1")
    return package


@pytest.fixture
def library_package(built_package, tmp_path):
    """Return a copy of the kernels with a library of some of them, without compiled files."""
    ignored = shutil.ignore_patterns("__pycache__")
    return shutil.copytree(built_package, tmp_path / "fastnn_kernels", ignore=ignored)
