"""Values in files: a parameter of any kind is read as it was, and what a file cannot hold is refused."""

import datetime
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saved_models import classifier, rewrite

import fastnn
from fastnn.losses import LOSSES
from fastnn.optimizers import OPTIMIZERS
from fastnn.schedules import SCHEDULES

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
KEYS = st.text() | st.integers(-(2**64) + 1, 2**64 - 1) | st.booleans()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner),
    max_leaves=10,
)


def through_file(value):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.fastnn")
        classifier(class_weight=value).save(path)
        return fastnn.load(path).class_weight


def are_alike(a, b):
    """Return True for equal values of the same types, also inside of lists, tuples and dicts."""
    if isinstance(a, dict):
        return list(map(repr, a)) == list(map(repr, b)) and all(are_alike(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(are_alike, a, b))
    return type(a) is type(b) and a == b


@given(VALUES)
def test_values_are_kept(value):
    assert are_alike(value, through_file(value))


def test_unusual_values_and_objects_are_kept():
    values = [np.nan, np.inf, -np.inf, 2**64 - 1, -(2**70), -0.0, 5e-324, 1.7e308, "$new", {"$array": "a"}]
    assert repr(through_file(values)) == repr(values)
    values = {"a": {"b": np.arange(2)}, "a.b": np.arange(3)}  # arrays of equal names
    assert repr(through_file(values)) == repr(values)
    objects = [kind() for registry in (LOSSES, OPTIMIZERS, SCHEDULES) for kind in registry.values()]
    objects += [fastnn.WarmUp(fastnn.CosineDecay(cycle=3, restarts=True), length=7)]
    assert through_file(objects) == objects


ARRAYS = [np.arange(3, dtype=np.uint8), np.array([2**64 - 1], np.uint64), np.array([-(2**63)]), np.array(5)]
ARRAYS += [np.array([[0.1, np.inf], [np.nan, -0.0]]), np.array([True, False]), np.empty((0, 3))]
ARRAYS += [np.array(["a", "longer", ""]), np.array(["a", 1, True, 2.5], object), np.array([], "U3")]
ARRAYS += [np.array("text"), np.array([["a", "longer"], ["", "\U0001f600"]]).T]
ARRAYS += [np.arange(6, dtype=">i4").reshape(2, 3), np.arange(20, dtype=np.float32)[::3]]
ARRAYS += [np.asfortranarray(np.arange(12.0).reshape(3, 4))]


def test_arrays_of_any_type_memory_order_and_byte_order_are_kept():
    for found, array in zip(through_file(ARRAYS), ARRAYS, strict=True):
        assert found.dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found, array)


UNSUITED = [np.array([0], dtype) for dtype in ("M8[D]", "S1", "c16", "g")]
FOREIGN = [len, datetime.date(2020, 1, 1), object(), {1}]
REFUSED = [(array, "an array of the dtype .*convert such") for array in UNSUITED]
REFUSED += [(value, "class_weight is .*cloudpickle") for value in FOREIGN]
REFUSED += [({key: 1}, "with the key") for key in ((1, 2), 2**64, frozenset())]
REFUSED += [(fastnn.Adam, "class.*fastnn alone")]


@pytest.mark.parametrize(("value", "message"), REFUSED)
def test_other_values_are_refused_by_name(value, message):
    with pytest.raises(ValueError, match=message):
        through_file(value)


def assert_refused(saved, change, message, folder):
    """Assert that a file is refused whose description and arrays are changed by a function."""
    classifier(class_weight=saved).save(folder / "model.fastnn")
    rewrite(folder / "model.fastnn", folder / "other.fastnn", change)
    with pytest.raises(ValueError, match="is not a model saved by fastnn, or is damaged") as caught:
        fastnn.load(folder / "other.fastnn")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("value", "arrays", "message"),
    [
        ({"$class": "len"}, {}, "no class called 'len'"),
        ({"$class": "Adam", "eps": -1}, {}, "eps"),
        ({"$class": "Adam", "novelty": 1}, {}, "novelty"),
        ({"$float": "abc"}, {}, "could not convert"),
        ({"$dict": [[1]]}, {}, "values to unpack"),
        # Many integers have one hash: a dict of large ones would take quadratic time.
        *(({"$dict": [[key, 2]]}, {}, "no dict with the key") for key in ([1], 2**64)),
        ({"$array": "a"}, {}, "the array 'a' is missing"),
        ([{"$array": "a"}] * 2, {"a": np.zeros(1)}, "the array 'a' is missing, or named twice"),
        *(
            ({"$text": "a"}, {"a": points}, "does not hold the code points")
            for points in (np.zeros((1, 1)), np.zeros((1, 0), np.uint32), np.full((1, 1), 2**31, np.uint32))
        ),
        ({"$random": 0}, {}, "index out of range"),
        ({"$import": "os"}, {}, "there is no value $import"),
        ({"$float": "1", "$tuple": []}, {}, "too many values"),
    ],
)
def test_json_that_no_version_writes_is_refused(value, arrays, message, tmp_path):
    def change(description, named):
        description["class_weight"] = value
        named.update(arrays)

    assert_refused(None, change, message, tmp_path)


WRONG = [("has_gauss", 2), ("gauss", {"$float": "nan"}), *(("pos", pos) for pos in (625, -1, 1.5))]
WRONG += [("key", words) for words in (np.zeros(624, np.uint32), np.ones(623, np.uint32), np.ones(624))]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_every_entry_of_a_generators_state_is_checked(key, value, tmp_path):
    def change(description, arrays):
        state = description["class_weight"]["$random"]
        if key == "key":
            arrays[state["state"]["key"]["$array"]] = value
        else:
            (state["state"] if key == "pos" else state)[key] = value

    message = "is not finite" if key == "gauss" else "not one of the Mersenne Twister"
    assert_refused(np.random.RandomState(3), change, message, tmp_path)
