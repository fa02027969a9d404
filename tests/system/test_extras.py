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
