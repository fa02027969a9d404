"""Files of earlier versions: they load, predict as before, and can be trained further."""

import functools
import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn.tables import calibration
from fastnn.tables.presets import PRESETS

FOLDER = Path(__file__).parent / "golden"
FILES = sorted(FOLDER.glob("*.fastnn"))
MARKED = [
    pytest.param(path, marks=pytest.mark.needs("pandas") if "-table-" in path.stem else ()) for path in FILES
]
_spec = importlib.util.spec_from_file_location("make_golden", FOLDER / "make.py")
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)

# Fields of the recipe by which the regressors of a version were fitted to tables, where recipes differ today.
EARLIER_RECIPES = {"0.1.0": {"short_pilots": False}}
# Numbers of `calibration` by which a version fitted temperatures, where they differ today.
EARLIER_CALIBRATION = {"0.1.0": {"MISTAKES": 0.0, "PRIOR": 0.0}}
# Versions whose tabular regressors limited the mean of the networks, not each network.
EARLIER_LIMITS = {"0.1.0": (-np.inf, np.inf)}


def test_there_are_files_of_every_kind():
    from fastnn.saving.registry import KINDS

    assert {fastnn.info(path).kind for path in FILES} >= set(KINDS)


@functools.cache
def has_fused_products():
    """Return True if the kernels round a product and a sum once, as on the processor that wrote the files."""
    from fastnn_kernels.gate import affine_forward

    x, b, Z = np.array([[1 + 2.0**-30]]), np.array([[-1 - 2.0**-29]]), np.empty((1, 1))
    affine_forward(x, b, x, None, Z)
    return Z[0, 0] != 0


def assert_close(found, expected, n_ulp):
    """Assert that arrays differ by `n_ulp` units in the last place of the largest number at most."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= n_ulp * np.spacing(np.abs(expected).max())


@pytest.fixture
def _earlier_rules(path, monkeypatch):
    """Fit and combine networks for tables by the rules of the version that wrote a file.

    The recipes and the calibration concern a fit to a table, which begins anew. The limits concern rows for
    which a network leaves the range of the targets, by little or far: today it is limited.
    """
    version = path.stem.split("-")[0]
    for name, preset in PRESETS.items():
        earlier = replace(preset.numbers, **EARLIER_RECIPES.get(version, {}))
        monkeypatch.setitem(PRESETS, name, replace(preset, numbers=earlier))
    for name, number in EARLIER_CALIBRATION.get(version, {}).items():
        monkeypatch.setattr(calibration, name, number)
    if version in EARLIER_LIMITS:
        monkeypatch.setattr(fastnn.TabularRegressor, "_limits", EARLIER_LIMITS[version])


@pytest.mark.usefixtures("_earlier_rules")
@pytest.mark.parametrize("path", MARKED, ids=lambda path: path.stem)
def test_a_file_loads_predicts_as_before_and_can_be_trained_further(path):
    expected = np.load(path.with_suffix(".npz"))
    thing = fastnn.load(path)
    X, targets = make.samples(path.stem, expected["X"]), expected.get("targets")
    before = make.outputs(thing, X)
    make.one_more_pass(thing, X, targets)
    after = make.outputs(thing, X)
    # Tabular models are networks in float32, whose scores NumPy transforms, some in float64.
    is_table = "table" in path.stem
    in_float32 = 16 * np.spacing(np.float32(1)) / np.spacing(after.dtype.type(1))
    if has_fused_products():
        np.testing.assert_array_max_ulp(before, expected["before"], 1)
        assert_close(after, expected["after"], in_float32 if is_table else 1)
    else:
        assert_close(before, expected["before"], in_float32 if is_table else 4)
        # Adam divides tiny gradients by their size, which magnifies rounding errors in float32 within an
        # epoch.
        least = 4 if after.dtype == np.float64 else 1e4
        assert_close(after, expected["after"], max(least, in_float32) if is_table else least)


def parts(path):
    """Return the description in a file, and the bytes of its arrays."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return json.loads(header["__metadata__"]["fastnn"]), content[8 + length :]


def without_later_parameters(description, earlier):
    """Return a description without the parameters of estimators that an earlier description lacks."""
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


@pytest.mark.parametrize("path", MARKED, ids=lambda path: path.stem)
def test_a_file_of_this_version_is_saved_again_with_the_same_content(path, tmp_path):
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
