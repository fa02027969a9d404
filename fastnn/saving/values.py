"""Values as JSON with named arrays, and back: plain data, and objects of a fixed table of fastnn's classes.

An object of JSON with one key that begins with "$" stands for what JSON lacks:

| key | value |
| --- | --- |
| ``$float`` | text: infinity or NaN |
| ``$tuple`` | list: a tuple |
| ``$dict`` | pairs of key and value: a dict with keys other than text, or text that begins with "$" |
| ``$array`` | name of an array of numbers or booleans |
| ``$text`` | name of an array of text: the code points of every text in its last dimension |
| ``$objects`` | list: an array (n,) of objects |
| ``$random`` | state of a ``RandomState``, or for one that occurs again, its number |
| ``$loss`` | name of the class of a user's loss, beside its attributes; the code is not in the file |
| ``$class`` | name of a class of fastnn, beside the object's attributes by name |

A name is looked up in a table, never imported. Every array is named once: few bytes cannot make much, and no
two arrays share memory.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any, get_type_hints

import numpy as np

from ..losses import LOSSES, Loss, SquaredError
from ..optimizers import OPTIMIZERS
from ..schedules import SCHEDULES, FunctionSchedule
from ..system.generators import WORDS, make_random
from ..system.validation import Array, short_repr
from .types import check_type

# Modules of the classes whose objects a file holds, besides losses, optimizers and schedules. Such a class is
# a dataclass, whose fields have the types that it declares, or has two methods: `_get_saved_state(training)`
# returns a dict from which `_from_state(state)`, a class method, makes an object and checks it. `training` is
# False where only predictions count.
HOMES = {
    "BestEpoch": "training.patience",
    "CategoryEncoding": "tables.encoding.categories",
    "DateEncoder": "tables.encoding.dates",
    "DateEncoding": "tables.encoding.columns",
    "Dropped": "tables.encoding.columns",
    "FittedNetwork": "estimators.fitted",
    "FlagEncoding": "tables.encoding.columns",
    "History": "training.history",
    "MinimiserMemory": "engine.minimisation",
    "MLPClassifier": "estimators.classifier",
    "MLPEnsembleClassifier": "estimators.ensemble",
    "MLPEnsembleRegressor": "estimators.ensemble",
    "MLPRegressor": "estimators.regressor",
    "Memory": "engine.job",
    "Model": "model",
    "Network": "network.description",
    "NumberEncoding": "tables.encoding.columns",
    "PiecewiseLinearEncoder": "tables.encoding.transformers",
    "SmoothRobustScaler": "tables.encoding.transformers",
    "TableEncoder": "tables.encoding.encoder",
    "TabularClassifier": "tables.estimators",
    "TabularRegressor": "tables.estimators",
    "TrainingState": "training.state",
    "WordsEncoding": "tables.encoding.categories",
}
# Integer keys of dicts are below this number: Python's dicts are slow with many keys of one hash, of which
# there are few among these integers and floats.
MAX_KEY = 2**64


class Encoder:
    """Encoder of values, and of training states if `training`, as JSON and C-contiguous `arrays` by name."""

    def __init__(self, training: bool) -> None:
        self._training = training
        self.arrays: dict[str, Array] = {}
        self.left_out: set[str] = set()  # names of the losses whose code the file lacks
        self._generators: list[np.random.RandomState] = []

    def encode(self, value: Any, name: str = "") -> Any:
        """Return a value as JSON; `name` names the value in messages, and its arrays."""
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"$float": str(value)}
        if isinstance(value, list):
            return [self.encode(item, f"{name}[{k}]") for k, item in enumerate(value)]
        if isinstance(value, tuple):
            return {"$tuple": self.encode(list(value), name)}
        if isinstance(value, dict):
            if all(isinstance(key, str) and not key.startswith("$") for key in value):
                return self._encode_items(value, name)
            pairs = [(_check_key(key), self.encode(item, f"{name}[{key!r}]")) for key, item in value.items()]
            return {"$dict": [[self.encode(key), item] for key, item in pairs]}
        if isinstance(value, np.ndarray):
            return self._encode_array(value, name)
        if isinstance(value, np.random.RandomState):
            return {"$random": self._encode_generator(value, name)}
        kind = type(value)
        if isinstance(value, Loss) and value.is_own:
            self.left_out.add(kind.__name__)
            return {"$loss": kind.__name__, **self._encode_items(vars(value), name)}
        if _find_class(kind.__name__) is not kind:
            raise ValueError(_make_refusal(value, name))
        if hasattr(kind, "_get_saved_state"):
            state = value._get_saved_state(self._training)
        else:
            state = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"$class": kind.__name__, **self._encode_items(state, name)}

    def _encode_items(self, items: dict[str, Any], name: str) -> dict[str, Any]:
        return {key: self.encode(item, f"{name}.{key}" if name else key) for key, item in items.items()}

    def _encode_array(self, array: Array, name: str) -> dict[str, Any]:
        kind = array.dtype.kind
        if kind in "OT" and array.ndim == 1:
            return {"$objects": self.encode(array.tolist(), name)}
        if kind == "U":
            flat = np.ascontiguousarray(array.reshape(-1), array.dtype.newbyteorder("="))
            form, array = "$text", flat.view(np.uint32).reshape(*array.shape, flat.itemsize // 4)
        elif kind in "biuf" and array.itemsize <= 8:
            form, array = "$array", np.asarray(array, array.dtype.newbyteorder("="), order="C")
        else:
            raise ValueError(
                f"{name} is an array of the dtype {array.dtype}, but a file holds only numbers, booleans and "
                "text: convert such values before the fit, as y.astype(str) does"
            )
        while name in self.arrays:
            name += "'"
        self.arrays[name] = array
        return {form: name}

    def _encode_generator(self, random: np.random.RandomState, name: str) -> Any:
        """Return the state of a generator as JSON, or its number if it has been encoded before."""
        for number, known in enumerate(self._generators):
            if known is random:
                return number
        self._generators.append(random)
        state: Any = random.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            raise ValueError(
                f"{name} uses the bit generator {state['bit_generator']}, but a file holds only the usual "
                "one of numpy.random.RandomState(seed): pass such a generator, or keep the object with joblib"
            )
        return self.encode(state, name)


def _make_refusal(value: Any, name: str) -> str:
    if isinstance(value, FunctionSchedule):
        value = value.function
    if callable(value) and not isinstance(value, type) and not is_dataclass(value):
        what = f"the function {getattr(value, '__qualname__', short_repr(value))}"
    else:
        kind = type(value)
        what = f"{short_repr(value)} of the class {kind.__module__}.{kind.__qualname__}"
    remedy = (
        "choose a value of fastnn's own, save with training=False if the value only concerns the training of "
        "a Model, or keep the object"
        if name
        else "save an object of fastnn's own class, or keep this one"
    )
    return (
        f"{name.rpartition('.')[2] or 'the model'} is {what}, but a file holds no code and names classes of "
        f"fastnn alone, since nothing in a file is ever executed: {remedy} with cloudpickle"
    )


class MissingLossError(ValueError):
    """A file names the class of a user's loss, which the caller has not passed."""


class Decoder:
    """Decoder of what an `Encoder` returned; `losses` are users' classes, or None for any, by name alone."""

    def __init__(self, arrays: dict[str, Array], losses: Iterable[type[Loss]] | None = ()) -> None:
        self._arrays = arrays.copy()
        self._losses = None if losses is None else {kind.__name__: kind for kind in losses}
        self._generators: list[np.random.RandomState] = []

    def decode(self, value: Any) -> Any:
        """Return the value of JSON that `Encoder.encode` returned; other JSON raises any exception."""
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        form = next(iter(value), "")
        if not form.startswith("$"):
            return {key: self.decode(item) for key, item in value.items()}
        if form == "$loss":
            return self._make_loss(**{key: self.decode(item) for key, item in value.items()})
        if form == "$class":
            kind = _find_class(value[form])
            if kind is None:
                raise ValueError(f"fastnn has no class called {short_repr(value[form])}")
            state = {key: self.decode(item) for key, item in value.items() if key != form}
            if hasattr(kind, "_from_state"):
                return kind._from_state(state)
            made = kind(**state)
            for key, hint in get_type_hints(kind).items():
                if key in state:
                    check_type(getattr(made, key), hint, f"{kind.__name__}.{key}")
            return made
        (content,) = value.values()
        if form == "$float":
            return float(content)
        if form == "$tuple":
            return tuple(self.decode(content))
        if form == "$dict":
            return {_check_key(self.decode(key)): self.decode(item) for key, item in content}
        if form == "$array":
            return self._take(content)
        if form == "$text":
            points = self._take(content)
            if points.dtype != np.uint32 or not points.shape[-1] or points.max(initial=0) > sys.maxunicode:
                raise ValueError(f"the array {content!r} does not hold the code points of texts")
            return points.view(f"U{points.shape[-1]}")[..., 0]
        if form == "$objects":
            items = self.decode(content)
            array = np.empty(len(items), object)
            for k, item in enumerate(items):
                array[k] = item
            return array
        if form == "$random":
            if isinstance(content, dict):
                self._generators.append(_make_generator(self.decode(content)))
                return self._generators[-1]
            return self._generators[content]
        raise ValueError(f"there is no value {form}")

    def _make_loss(self, **state: Any) -> Loss:
        """Return a user's loss, whose attributes are the arguments of its class."""
        name = state.pop("$loss")
        if self._losses is None:
            return type(name, (SquaredError,), {})()
        if name not in self._losses:
            raise MissingLossError(
                f"the model has the loss {short_repr(name)}, whose code no file holds: pass its class, as in "
                f"fastnn.load(path, losses=[{name}])"
            )
        return self._losses[name](**state)

    def _take(self, name: str) -> Array:
        """Return an array, which cannot be taken a second time."""
        if name not in self._arrays:
            raise ValueError(f"the array {name!r} is missing, or named twice")
        return self._arrays.pop(name)


def _find_class(name: str) -> Any:
    """Return the class of a name in the tables, or None."""
    for kind in (*LOSSES.values(), *OPTIMIZERS.values(), *SCHEDULES.values()):
        if kind.__name__ == name:
            return kind
    return getattr(import_module(f"fastnn.{HOMES[name]}"), name) if name in HOMES else None


def _check_key(key: Any) -> Any:
    """Return a key of a dict; raise ValueError unless it is None, a boolean, a number or text."""
    key = key.item() if isinstance(key, np.generic) else key
    if not (key is None or isinstance(key, bool | float | str) or (type(key) is int and abs(key) < MAX_KEY)):
        raise ValueError(f"a file holds no dict with the key {short_repr(key)}: use text or numbers")
    return key


def _make_generator(state: dict[str, Any]) -> np.random.RandomState:
    """Return the ``RandomState`` of a state of the Mersenne Twister; raise ValueError if it is invalid."""
    key, pos = state["state"]["key"], state["state"]["pos"]
    # NumPy reads the words at the position without a check. A state of zeros is a fixed point: rejection
    # sampling of normal numbers would never end.
    fits = key.dtype == np.uint32 and key.shape == (WORDS,) and type(pos) is int and 0 <= pos <= WORDS
    if not (fits and (key[0] >> 31 or key[1:].any()) and state["has_gauss"] in (0, 1)):
        raise ValueError("the state of a generator is not one of the Mersenne Twister")
    if not math.isfinite(state["gauss"]):
        raise ValueError("the normal number that a generator keeps is not finite")
    random = make_random(0)
    random.set_state(state)
    return random
