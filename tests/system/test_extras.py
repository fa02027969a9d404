"""Packages of extras: the error for a missing package says how to install it."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
from extras import EXTRAS

import fastnn

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))


def render(path):
    fastnn.render_boundary(fastnn.Model([2, 2]), (0, 1), (0, 1), size=4, out=path)


def chunk(path):
    fastnn.boundary_array(fastnn.Model([2, 2]), (0, 1), (0, 1))


@pytest.mark.parametrize(
    ("name", "package", "extra", "feature", "call"),
    [
        ("a.tiff", "tifffile", "render", "out: a .tiff file", render),
        ("a.zarr", "zarr", "render", "out: a .zarr file", render),
        ("a", "dask.array", "dask", "boundary_array", chunk),
    ],
)
def test_the_error_names_the_missing_package_and_the_extra(
    tmp_path, monkeypatch, name, package, extra, feature, call
):
    monkeypatch.setitem(sys.modules, package, None)
    message = f'{feature} needs {package}: run pip install "fastnn-numba[{extra}]"'
    with pytest.raises(ImportError, match=f"^{re.escape(message)}$"):
        call(tmp_path / name)
    assert not list(tmp_path.iterdir())
    requirements = PYPROJECT["project"]["optional-dependencies"][extra]
    assert any(re.match(rf"{package.split('.')[0]}\b", requirement) for requirement in requirements)


def test_tests_are_skipped_for_extras_by_the_mark_alone():
    """A test that skips itself is not among those that `-m needs` selects once the packages are installed."""
    call = re.compile(rf'importorskip\(\s*"({"|".join(EXTRAS)})\b')
    tests = Path(__file__).parents[1]
    assert not [str(path) for path in tests.rglob("*.py") if call.search(path.read_text(encoding="utf-8"))]
