"""Packages of extras: the error for a missing package says how to install it."""

import re
import sys
from pathlib import Path

import pytest
from extras import EXTRAS

import fastnn


@pytest.mark.parametrize(
    ("package", "extra", "feature", "call"),
    [
        ("zarr", "render", "out: a .zarr file", lambda *call: fastnn.render_boundary(*call, 4, out="a.zarr")),
        ("dask.array", "dask", "boundary_array", fastnn.boundary_array),
    ],
)
def test_the_error_names_the_missing_package_and_the_extra(monkeypatch, package, extra, feature, call):
    monkeypatch.setitem(sys.modules, package, None)
    message = f'{feature} needs {package}: run pip install "fastnn-numba[{extra}]"'
    with pytest.raises(ImportError, match=f"^{re.escape(message)}$"):
        call(fastnn.Model([2, 2]), (0, 1), (0, 1))
    assert EXTRAS[package.partition(".")[0]] == extra
    assert not Path("a.zarr").exists()


def test_tests_are_skipped_for_extras_by_the_mark_alone():
    """A test that skips itself is not among those that `-m needs` selects once the packages are installed."""
    call = re.compile(rf'importorskip\(\s*"({"|".join(EXTRAS)})\b')
    tests = Path(__file__).parents[1]
    assert not [str(path) for path in tests.rglob("*.py") if call.search(path.read_text(encoding="utf-8"))]
