"""Python values as JSON: parameters, choices such as optimizers, classes, and states of random generators.

JSON holds None, booleans, text, lists and ordinary numbers as they are. Every other value is an object with
one key that begins with "$": ``{"$float": "inf"}``, ``{"$int": "18446744073709551616"}``, ``{"$tuple":
[...]}``, ``{"$dict": [[key, value], ...]}``, ``{"$array": ...}``, ``{"$random": ...}``, and ``{"$new":
"RMSprop", "with": {...}}`` for losses, optimizers and schedules, whose names are looked up in the registries.
No name is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..losses import LOSSES
from ..optimizers import OPTIMIZERS
from ..schedules import SCHEDULES, FunctionSchedule
from ..system.validation import shown

__all__ = ["check_integer", "decode", "encode", "plain_state", "random_with"]

# Integers that other readers of JSON, which have float64 alone, read exactly.
MAX_INTEGER = 2**53
# Kinds and sizes of the arrays whose elements are JSON numbers.
NUMBERS = {f"{kind}{size}" for kind in ("int", "uint") for size in (8, 16, 32, 64)} | {
    "bool", "float16", "float32", "float64"
}  # fmt: skip
# Arrays of text may have FREE_CHARACTERS, with those by which NumPy pads every element to the longest, and
# CHARACTERS_EACH more for each character of the texts: a short file must not become a huge array.
FREE_CHARACTERS, CHARACTERS_EACH = 4_000_000, 100
# Bit generators of NumPy whose states can be saved.
GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
# Ends of the ranges of the integers in these states. NumPy reads the words at the positions without a check.
STATE_ENDS = {
    "pos": 625, "buffer_pos": 5, "has_gauss": 2, "has_uint32": 2, "uinteger": 2**32, "state": 2**128,
    "inc": 2**128,
}  # fmt: skip


def _choices() -> dict[str, type]:
    return {kind.__name__: kind for registry in (LOSSES, OPTIMIZERS, SCHEDULES) for kind in registry.values()}


def encode(value: Any, name: str, others: Callable[[Any, str], Any] | None = None) -> Any:
    """Return a value as JSON.

    Parameters
    ----------
    value : object
        Value to encode.
    name : str
        Name of the value in error messages.
    others : callable, optional
        Function ``others(value, name)`` that returns JSON for a value of another kind, or None.

    Returns
    -------
    None, bool, int, float, str, list or dict
        JSON value.

    Raises
    ------
    ValueError
        If a file cannot hold the value, such as a user's function.
    """
    if value is None or isinstance(value, bool | np.bool_):
        return None if value is None else bool(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int | np.integer):
        number = int(value)
        return number if abs(number) < MAX_INTEGER else {"$int": str(number)}
    if isinstance(value, float | np.floating):
        real = float(value)
        return real if math.isfinite(real) else {"$float": str(real)}
    if isinstance(value, list | tuple):
        items = [encode(item, f"{name}[{k}]", others) for k, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if isinstance(value, dict):
        return _encode_dict(value, name, others)
    if isinstance(value, np.ndarray):
        return {"$array": _encode_array(value, name)}
    if isinstance(value, np.random.RandomState):
        return {"$random": _encode_random(value, name)}
    kind = type(value)
    if _choices().get(kind.__name__) is kind:
        return {
            "$new": kind.__name__,
            "with": {
                field.name: encode(getattr(value, field.name), f"{name}.{field.name}", others)
                for field in fields(value)
            },
        }
    found = None if others is None else others(value, name)
    if found is None:
        raise ValueError(_refusal(value, name))
    return found


def _refusal(value: Any, name: str) -> str:
    """Return the message for a value that a file cannot hold."""
    if isinstance(value, FunctionSchedule):
        value = value.function
    if callable(value) and not isinstance(value, type) and not is_dataclass(value):
        what = f"the function {getattr(value, '__qualname__', shown(value))}"
    else:
        what = f"{shown(value)} of the class {type(value).__module__}.{type(value).__qualname__}"
    return (
        f"{name} is {what}, but a file holds no code, since nothing in a file is ever executed: choose a "
        "value of fastnn's own, save with training=False if the value only concerns the training of a Model, "
        "or keep the object with cloudpickle"
    )


def _encode_dict(value: dict[Any, Any], name: str, others: Any) -> Any:
    """Return a dict as a JSON object, or as pairs if a key is not plain text."""
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: encode(item, f"{name}[{key!r}]", others) for key, item in value.items()}
    return {
        "$dict": [
            [encode(key, f"a key of {name}", others), encode(item, f"{name}[{key!r}]", others)]
            for key, item in value.items()
        ]
    }


def _encode_array(array: NDArray[Any], name: str) -> dict[str, Any]:
    """Return an array of numbers, booleans or text as dtype, shape and list of elements."""
    items: list[Any] = array.ravel().tolist()
    kind = array.dtype.kind
    if kind in "biuf" and array.dtype.name in NUMBERS:
        dtype = array.dtype.name
    elif kind == "U":
        dtype = "text"
        if _is_padded(items):
            raise ValueError(
                f"{name} holds a text of {max(map(len, items)):,} characters among {len(items):,} texts, to "
                "which NumPy pads the others, but a file holds no such array: shorten the text, as that of a "
                "class for instance before the fit"
            )
    elif kind in "OT" and all(isinstance(item, str | bool | int | float) for item in items):
        dtype = "object"
    else:
        raise ValueError(
            f"{name} is an array of the dtype {array.dtype}, but a file holds numbers, booleans and text: "
            "convert it to one of these, as classes for instance before the fit"
        )
    values = [encode(item, f"{name}[{k}]") for k, item in enumerate(items)]
    return {"dtype": dtype, "shape": list(array.shape), "values": values}


def _is_padded(texts: list[str]) -> bool:
    """Return True if an array of texts would consist of more padding than files allow."""
    lengths = list(map(len, texts))
    return len(texts) * max(lengths, default=0) > FREE_CHARACTERS + CHARACTERS_EACH * sum(lengths)


def plain_state(random: np.random.RandomState) -> dict[str, Any]:
    """Return the state of a ``RandomState`` as a dict of numbers, text and arrays."""
    return dict(random.get_state(legacy=False))


def _encode_random(random: np.random.RandomState, name: str) -> Any:
    """Return the state of a ``RandomState``."""
    state = plain_state(random)
    if state["bit_generator"] not in GENERATORS:
        raise ValueError(
            f"{name} uses the bit generator {state['bit_generator']}, which cannot be saved: use one of "
            f"{', '.join(GENERATORS)}"
        )
    return encode(state, name)


# --- decoding ------------------------------------------------------------------------------------------


def decode(value: Any, others: Callable[[str, Any], Any] | None = None) -> Any:
    """Return the Python value of JSON that `encode` returned.

    Parameters
    ----------
    value : object
        JSON value.
    others : callable, optional
        Function ``others(key, content)`` that returns the value for another key that begins with "$".

    Raises
    ------
    ValueError
        If the JSON was not returned by `encode`, or an argument in it is out of range.
    """
    if isinstance(value, list):
        return [decode(item, others) for item in value]
    if not isinstance(value, dict):
        return value
    key = next((key for key in value if key.startswith("$")), None)
    if key is None:
        return {name: decode(item, others) for name, item in value.items()}
    if key == "$new":
        return _new(value, others)
    if len(value) != 1:
        raise ValueError(f"{key} must be the only key of its object, got {sorted(value)}")
    content = value[key]
    if key == "$int":
        return int(_of_type(content, str, key))
    if key == "$float":
        return float(_of_type(content, str, key))
    if key == "$tuple":
        return tuple(decode(item, others) for item in _of_type(content, list, key))
    if key == "$dict":
        return _decode_dict(_of_type(content, list, key), others)
    if key == "$array":
        return _decode_array(_of_type(content, dict, key))
    if key == "$random":
        return random_with(decode(_of_type(content, dict, key)))
    if others is None:
        raise ValueError(f"there is no value {key}")
    return others(key, content)


def _of_type(value: Any, kind: type, key: str) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{key} must be of type {kind.__name__}, got {shown(value)}")
    return value


def _new(value: dict[str, Any], others: Any) -> Any:
    """Return the loss, optimizer or schedule that ``{"$new": name, "with": arguments}`` describes."""
    name, arguments = value["$new"], value.get("with")
    kind: Any = _choices().get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"fastnn has no loss, optimizer or schedule called {shown(name)}")
    if not isinstance(arguments, dict) or set(value) != {"$new", "with"}:
        raise ValueError(f"{name} needs its arguments")
    unknown = set(arguments) - {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f"{name} has no argument {min(unknown)!r}")
    # Arguments that a later version has added get their defaults.
    return kind(**{key: decode(argument, others) for key, argument in arguments.items()})


def _decode_dict(pairs: list[Any], others: Any) -> dict[Any, Any]:
    """Return a dict from pairs of keys and values."""
    result = {}
    for pair in pairs:
        if not (isinstance(pair, list) and len(pair) == 2):
            raise ValueError(f"a dict in the file must hold pairs of a key and a value, got {shown(pair)}")
        key = decode(pair[0], others)
        try:
            result[key] = decode(pair[1], others)
        except TypeError:
            raise ValueError(f"{shown(key)} cannot be the key of a dict") from None
    return result


def _decode_array(content: dict[str, Any]) -> NDArray[Any]:
    """Return an array from dtype, shape and elements."""
    dtype, shape, values = (content.get(key) for key in ("dtype", "shape", "values"))
    if not (isinstance(shape, list) and isinstance(values, list) and len(content) == 3):
        raise ValueError("an array in the file must have dtype, shape and values, and nothing else")
    fits = all(type(size) is int and 0 <= size <= len(values) for size in shape)
    if not fits or math.prod(shape) != len(values):
        raise ValueError(
            f"an array in the file has {len(values)} values, which do not fit the shape {shown(shape)}"
        )
    items = decode(values)
    if isinstance(dtype, str) and dtype in NUMBERS:
        if not all(isinstance(item, int | float) for item in items):
            raise ValueError(f"an array of {dtype} in the file holds something other than numbers")
        array = _numbers(items, np.dtype(dtype))
    elif dtype == "text":
        if not all(isinstance(item, str) for item in items):
            raise ValueError("an array of text in the file holds something other than text")
        if _is_padded(items):
            raise ValueError(
                "an array of text in the file has one element that is far longer than the others"
            )
        array = np.array(items, str)
    elif dtype == "object":
        if not all(isinstance(item, str | bool | int | float) for item in items):
            raise ValueError(
                "an array of objects in the file holds something other than numbers, booleans and text"
            )
        array = np.empty(len(items), object)
        array[:] = items
    else:
        raise ValueError(f"an array in the file has the unknown dtype {shown(dtype)}")
    return array.reshape(shape)


def _numbers(items: list[Any], dtype: np.dtype) -> NDArray[Any]:
    """Return numbers as an array of a dtype that holds them exactly."""
    try:
        with np.errstate(all="ignore"):
            array = np.array(items, dtype)
    except (OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"an array of {dtype} in the file is invalid: {error}") from None
    if dtype.kind != "f" and array.tolist() != items:
        raise ValueError(f"an array of {dtype} in the file holds a number that does not fit the dtype")
    return array


def random_with(state: Any) -> np.random.RandomState:
    """Return a ``RandomState`` with a state that `plain_state` returned.

    Raises
    ------
    ValueError
        If the state is not one of NumPy's bit generators.
    """
    name = state.get("bit_generator") if isinstance(state, dict) else None
    if name not in GENERATORS:
        raise ValueError(f"a random state in the file has the unknown bit generator {shown(name)}")
    random = np.random.RandomState(getattr(np.random, name)(0))
    try:
        random.set_state(_checked_state(state, plain_state(random)))
    except ValueError as error:
        raise ValueError(f"a random state in the file is not a state of {name}: {error}") from None
    return random


def _checked_state(state: Any, like: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of a generator's state, which must have the types and ranges of those of `like`."""
    if not isinstance(state, dict):
        raise ValueError(f"it must be a dict, got {shown(state)}")
    checked: dict[str, Any] = {}
    for name, own in like.items():
        value: Any = state.get(name)
        checked[name] = value
        if isinstance(own, dict):
            checked[name] = _checked_state(value, own)
        elif isinstance(own, np.ndarray):
            if not (isinstance(value, np.ndarray) and (value.dtype, value.shape) == (own.dtype, own.shape)):
                raise ValueError(f"{name} must be an array of {own.size} numbers of {own.dtype}")
        elif isinstance(own, int):
            check_integer(value, name, STATE_ENDS[name])
        elif type(value) is not type(own) or (isinstance(own, float) and not math.isfinite(value)):
            raise ValueError(f"{name} is {shown(value)}")
    # These two states are their own successors, and normal numbers, drawn by rejection, would take for ever.
    if "pos" in checked and not (checked["key"][0] >> 31 or checked["key"][1:].any()):
        raise ValueError("the key of the Mersenne Twister is all zeros")
    if "inc" in checked and not checked["inc"] % 2:
        raise ValueError(f"inc must be odd, got {checked['inc']}")
    return checked


def check_integer(value: Any, name: str, end: int) -> int:
    """Return an integer from 0 to ``end - 1``; raise ValueError for anything else."""
    if type(value) is not int or not 0 <= value < end:
        raise ValueError(f"{name} must be an integer from 0 to {end - 1}, got {shown(value)}")
    return value
