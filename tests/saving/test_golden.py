"""Files of earlier versions: they load, predict as before, and go on."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import fastnn

FOLDER = Path(__file__).parent / "golden"
FILES = sorted(FOLDER.glob("*.fastnn"))
_spec = importlib.util.spec_from_file_location("make_golden", FOLDER / "make.py")
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)


def test_there_are_files_of_every_kind():
    from fastnn.saving.registry import KINDS

    assert {fastnn.info(path).kind for path in FILES} >= set(KINDS)


def assert_close(found, expected, n_ulp):
    """Compare up to some units in the last place; other processors fuse other products with sums."""
    assert found.dtype == expected.dtype
    scale = np.maximum(np.abs(expected), 1e-3)
    np.testing.assert_array_less(np.abs(found - expected), n_ulp * np.finfo(found.dtype).eps * scale + 1e-300)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_loads_predicts_and_goes_on(path):
    expected = np.load(path.with_suffix(".npz"))
    thing = fastnn.load(path)
    X, targets = make.samples(path.stem, expected["X"]), expected["targets"]
    # Within one process and on the processor that wrote the file the bits are the same.
    assert_close(make.outputs(thing, X), expected["before"], 64)
    make.one_more_pass(thing, X, targets)
    assert_close(make.outputs(thing, X), expected["after"], 1e5)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_this_version_is_written_again_with_the_same_bytes(path, tmp_path):
    if not path.stem.startswith(fastnn.__version__):
        pytest.skip("another version wrote it")
    thing = fastnn.load(path)
    thing.save(tmp_path / "again.fastnn")
    again = fastnn.load(tmp_path / "again.fastnn")
    X = make.samples(path.stem, np.load(path.with_suffix(".npz"))["X"])
    assert np.array_equal(make.outputs(again, X), make.outputs(thing, X))
    assert (tmp_path / "again.fastnn").read_bytes() == path.read_bytes()
