"""Values in files: they are encoded as JSON and decoded to equal Python values."""

import copy
import datetime
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastnn
from fastnn.losses import LOSSES
from fastnn.optimizers import OPTIMIZERS
from fastnn.saving.values import decode, encode
from fastnn.schedules import SCHEDULES

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(
        st.text() | st.integers() | st.booleans(), inner
    ),
    max_leaves=10,
)  # fmt: skip


def through_json(value):
    """Encode a value as JSON text, decode the text, and return the result."""
    return decode(json.loads(json.dumps(encode(value, "value"), allow_nan=False)))


def alike(a, b):
    """Return True for equal values of the same types, also inside of lists, tuples and dicts."""
    if isinstance(a, dict):
        return list(map(repr, a)) == list(map(repr, b)) and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(alike, a, b))
    return type(a) is type(b) and a == b


@given(VALUES)
def test_values_are_kept(value):
    assert alike(value, through_json(value))


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 2**64 - 1, -(2**70), -0.0, 5e-324, 1.7e308, "$new"]
)
def test_unusual_values_are_kept(value):
    assert repr(through_json(value)) == repr(value)


@pytest.mark.parametrize("registry", [LOSSES, OPTIMIZERS, SCHEDULES])
def test_losses_optimizers_and_schedules_are_kept(registry):
    for kind in registry.values():
        assert through_json(kind()) == kind()
    chosen = fastnn.WarmUp(fastnn.CosineDecay(cycle=3, restarts=True), length=7)
    assert through_json([chosen, fastnn.Adam(betas=(0.5, 0.6))]) == [chosen, fastnn.Adam(betas=(0.5, 0.6))]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(3),
        np.arange(3, dtype=np.uint8),
        np.array([2**64 - 1], np.uint64),
        np.array([-(2**63)]),
        np.array([[0.1, np.inf], [np.nan, -0.0]]),
        np.array([0.1, 3], np.float32),
        np.array([True, False]),
        np.array(["a", "longer", ""]),
        np.array(["a", 1, True, 2.5], object),
        np.empty(0),
        np.array(5),
        np.arange(6, dtype=">i4").reshape(2, 3),
    ],
    ids=repr,
)
def test_arrays_are_kept(array):
    found = through_json(array)
    assert found.dtype == array.dtype.newbyteorder("=")
    assert found.shape == array.shape
    assert found.tolist() == array.tolist() or np.isnan(array).any()


@pytest.mark.parametrize(
    "array",
    [np.array(["2020-01-01"], "M8[D]"), np.array([b"a"]), np.array([1j]), np.array([None, "a"], object)],
    ids=repr,
)
def test_arrays_of_other_types_are_refused(array):
    with pytest.raises(ValueError, match="classes is an array of the dtype .*convert it"):
        encode(array, "classes")


def test_arrays_with_one_long_text_are_kept_or_refused_when_they_are_written():
    array = np.array([*map(str, range(400)), "long " * 2000])
    assert through_json(array).tolist() == array.tolist()
    with pytest.raises(ValueError, match=r"classes holds a text of 60,000 characters .*: shorten the text"):
        encode(np.array([*map(str, range(400)), "long " * 12000]), "classes")


@pytest.mark.parametrize(
    "value", [len, lambda x: x, datetime.date(2020, 1, 1), fastnn.Adam, object(), {1, 2}]
)
def test_other_values_are_refused_by_name(value):
    with pytest.raises(ValueError, match="my parameter is .*cloudpickle"):
        encode(value, "my parameter")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"$new": "len", "with": {}}, "no loss, optimizer or schedule called 'len'"),
        ({"$new": ["Adam"], "with": {}}, "no loss, optimizer or schedule"),
        ({"$new": "Adam", "with": {"eps": -1}}, "eps"),
        ({"$new": "Adam", "with": {}, "more": 1}, "needs its arguments"),
        ({"$float": "abc"}, "could not convert"),
        ({"$float": 3}, "must be of type str"),
        ({"$int": "9" * 5000}, "digit"),
        ({"$tuple": 3}, "must be of type list"),
        ({"$dict": [[1]]}, "pairs of a key and a value"),
        ({"$dict": [[[1], 2]]}, "cannot be the key"),
        ({"$array": {"dtype": "float64", "shape": [2], "values": [1]}}, "do not fit the shape"),
        ({"$array": {"dtype": "float64", "shape": [10**9, 0], "values": []}}, "do not fit the shape"),
        ({"$array": {"dtype": "O", "shape": [1], "values": [1]}}, "unknown dtype"),
        ({"$array": {"dtype": "int8", "shape": [1], "values": [300]}}, "int8"),
        ({"$array": {"dtype": "int8", "shape": [1], "values": ["1"]}}, "other than numbers"),
        ({"$array": {"dtype": "text", "shape": [1], "values": [1]}}, "other than text"),
        ({"$array": {"dtype": "text", "shape": [3000], "values": ["a" * 10**6] + [""] * 2999}}, "far longer"),
        ({"$random": {"bit_generator": "os"}}, "unknown bit generator"),
        ({"$random": {"bit_generator": "MT19937", "state": 3}}, "not a state of MT19937"),
        ({"$random": {"bit_generator": "PCG64", "state": {"state": "x", "inc": 1}}}, "not a state of PCG64"),
        ({"$import": "os"}, r"there is no value \$import"),
        ({"$int": "1", "$float": "2"}, r"\$int must be the only key"),
    ],
)
def test_json_that_no_version_writes_is_a_value_error(value, message):
    with pytest.raises(ValueError, match=message):
        decode(value)


GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


def entries(state):
    """Yield every dict in the JSON of a generator's state, with each of its keys."""
    for key, value in state.items():
        yield state, key
        if isinstance(value, dict) and not any(name.startswith("$") for name in value):
            yield from entries(value)


@pytest.mark.parametrize("name", GENERATORS)
def test_every_entry_of_a_generators_state_is_checked(name):
    random = np.random.RandomState(getattr(np.random, name)(3))
    random.normal(size=3)
    state = encode(random, "random")
    assert decode(copy.deepcopy(state)).normal(size=9).tolist() == random.normal(size=9).tolist()
    wrong = {"$float": "nan"}, None, "1", -1, {"$int": str(-(10**9))}, {"$int": str(2**130)}, 0.5, True, []
    for part, key in list(entries(state["$random"])):
        kept = part[key]
        for value in wrong:
            if (key, value) == ("gauss", 0.5):
                continue
            part[key] = value
            with pytest.raises(ValueError, match=f"is not a state of {name}: |unknown bit generator"):
                decode(state)
        del part[key]
        with pytest.raises(ValueError, match="not a state|unknown bit generator"):
            decode(state)
        if isinstance(kept, dict) and "$array" in kept:
            array = decode(kept)
            for other in (array[:-1], array[None], (array >> 9).astype(np.int64)):
                part[key] = encode(other, key)
                with pytest.raises(ValueError, match=f"{key} must be an array of {array.size} numbers of"):
                    decode(state)
        part[key] = kept


@pytest.mark.parametrize(
    ("name", "entry", "value", "message"),
    [
        ("Philox", "buffer_pos", -(10**9), "buffer_pos must be an integer from 0 to 4, got -1000000000"),
        ("Philox", "buffer_pos", 5, "buffer_pos must be an integer from 0 to 4, got 5"),
        ("SFC64", "uinteger", 2**32, "uinteger must be an integer from 0 to 4294967295"),
        ("PCG64", "has_uint32", 2, "has_uint32 must be an integer from 0 to 1, got 2"),
        ("PCG64DXSM", "inc", 2, "inc must be odd, got 2"),
        ("MT19937", "pos", 100_000, "pos must be an integer from 0 to 624, got 100000"),
        ("MT19937", "key", np.zeros(624, np.uint32), "key of the Mersenne Twister is all zeros"),
    ],
)
def test_values_out_of_range_in_a_generators_state_are_refused(name, entry, value, message):
    state = encode(np.random.RandomState(getattr(np.random, name)(0)), "random")
    inner = state["$random"] if entry in state["$random"] else state["$random"]["state"]
    assert entry in inner
    inner[entry] = encode(value, entry)
    with pytest.raises(ValueError, match=message):
        decode(state)
