"""Files of earlier versions: they load, predict as before, and go on."""

import importlib.util
import json
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
    X, targets = make.samples(path.stem, expected["X"]), expected.get("targets")
    # Within one process and on the processor that wrote the file the bits are the same.
    assert_close(make.outputs(thing, X), expected["before"], 64)
    make.one_more_pass(thing, X, targets)
    assert_close(make.outputs(thing, X), expected["after"], 1e5)


def parts(path):
    """Return the description in a file, and the bytes of its arrays."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return json.loads(header["__metadata__"]["fastnn"]), content[8 + length :]


def without_later_parameters(description, earlier):
    """Return a description without the parameters of estimators that an earlier one does not have."""
    if isinstance(description, list):
        return [without_later_parameters(*pair) for pair in zip(description, earlier, strict=True)]
    if not isinstance(description, dict):
        return description
    return {
        key: without_later_parameters(
            {name: value[name] for name in earlier[key]} if key == "parameters" else value, earlier[key]
        )
        for key, value in description.items()
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_this_version_is_written_again_with_the_same_content(path, tmp_path):
    if not path.stem.startswith(fastnn.__version__):
        pytest.skip("another version wrote it")
    thing = fastnn.load(path)
    thing.save(tmp_path / "again.fastnn")
    again = fastnn.load(tmp_path / "again.fastnn")
    X = make.samples(path.stem, np.load(path.with_suffix(".npz"))["X"])
    assert np.array_equal(make.outputs(again, X), make.outputs(thing, X))
    (description, arrays), (earlier, expected) = parts(tmp_path / "again.fastnn"), parts(path)
    assert without_later_parameters(description, earlier) == earlier
    assert arrays == expected
