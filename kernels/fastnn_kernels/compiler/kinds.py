"""Kinds of arguments of kernels: what numba calls types, for code that runs without numba.

A kind knows the layout of its values in memory: the *words* that a call writes. The words of an array are its
address and shape, a tuple has the words of its items; any other value is one word. The words of all
arguments follow one another as the elements of a C struct. `compiler.pointer.get_numba_type` returns the
numba type of a kind.

Two kinds are equal if their keys are: a key describes the kind in full, and is part of the names of compiled
kernels.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

# Format of an address on this system.
ADDRESS = "Q" if struct.calcsize("P") == 8 else "I"

# Function that appends the words of a value to a list; raises TypeError for a value of another kind.
Append = Callable[[Any, list[float]], None]


# Array of no elements at the address of a buffer, which may be empty too.
_point_to: Callable[[Any], Any] = (ctypes.c_char * 0).from_buffer


def get_address(array: np.ndarray) -> int:
    """Return the address of the first element of a C-contiguous, writeable array.

    The attribute ``array.ctypes.data`` is the same number, but takes three times as long: 0.5 us, some forty
    times in a short training.
    """
    return ctypes.addressof(_point_to(array))


class Kind(ABC):
    """A kind of argument. Parameters: its key, and the formats of its words, codes of the module `struct`."""

    def __init__(self, key: str, formats: tuple[str, ...]) -> None:
        self.key, self.formats = key, formats

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kind) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return self.key

    @abstractmethod
    def make_appender(self, name: str) -> Append:
        """Return the function that appends the words of an argument called `name`.

        Whatever depends on the kind alone is computed once, before the calls, because short fits spend much
        of their time in calls.
        """

    def make_error(self, name: str, value: object) -> TypeError:
        given = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)
        return TypeError(f"{name} is {given}, where the kernel takes {self}")


class Scalar(Kind):
    """A number, a boolean, or None; the key is numba's name of the type."""

    def make_appender(self, name: str) -> Append:
        # Types that only this kind takes; a number may have any other type that `struct` packs.
        types = (type(None),) if self.key == "none" else (bool, np.bool_)
        is_none, is_special = self.key == "none", self.key in ("none", "boolean")

        def append(value: Any, words: list[float]) -> None:
            if (type(value) in types) is not is_special:
                raise self.make_error(name, value)
            words.append(0 if is_none else value)

        return append


SCALARS = {
    name: Scalar(name, (code,))
    for name, code in {
        "none": ADDRESS,
        "boolean": "?",
        "int8": "b",
        "int16": "h",
        "int32": "i",
        "int64": "q",
        "uint8": "B",
        "uint16": "H",
        "uint32": "I",
        "uint64": "Q",
        "float32": "f",
        "float64": "d",
    }.items()
}
NONE, BOOL, INT32, INT64 = (SCALARS[name] for name in ("none", "boolean", "int32", "int64"))
UINT32, UINT64, FLOAT64 = (SCALARS[name] for name in ("uint32", "uint64", "float64"))


def get_scalar(dtype: np.dtype) -> Scalar:
    return SCALARS[dtype.name]


class Array(Kind):
    """A C-contiguous, aligned array; a kernel that does not write to it takes it as `readonly`."""

    def __init__(self, item: Scalar, ndim: int, readonly: bool = False) -> None:
        self.item, self.ndim, self.readonly = item, ndim, readonly
        super().__init__(f"{'readonly ' if readonly else ''}{item}[{ndim}]", (ADDRESS, *"q" * ndim))

    def make_appender(self, name: str) -> Append:
        dtype, ndim, readonly, array_type = np.dtype(self.item.key), self.ndim, self.readonly, np.ndarray

        def append(value: Any, words: list[float]) -> None:
            if not (isinstance(value, array_type) and value.dtype == dtype and value.ndim == ndim):
                raise self.make_error(name, value)
            flags = value.flags
            if flags.carray:
                address = get_address(value)
            elif readonly and flags.c_contiguous and flags.aligned:
                address = value.ctypes.data
            else:
                raise self.make_error(name, value)
            words += (address, *value.shape)

        return append


class Struct(Kind):
    """A tuple of the class `of`, a named tuple or `tuple`, with a kind for each field."""

    def __init__(self, of: type[tuple], fields: Mapping[str, Kind]) -> None:
        self.of, self.fields = of, dict(fields)
        text = ", ".join(f"{name}: {kind}" for name, kind in fields.items())
        super().__init__(
            f"{of.__module__}.{of.__name__}({text})", sum((kind.formats for kind in fields.values()), ())
        )

    def make_appender(self, name: str) -> Append:
        of, n = self.of, len(self.fields)
        items = [kind.make_appender(f"{name}.{label}") for label, kind in self.fields.items()]

        def append(value: Any, words: list[float]) -> None:
            if not (isinstance(value, of) and len(value) == n):
                raise self.make_error(name, value)
            for item, part in zip(items, value, strict=True):
                item(part, words)

        return append


class Pointer(Kind):
    """A pointer to a kernel with arguments of these kinds."""

    def __init__(self, arguments: tuple[Kind, ...], result: Kind) -> None:
        self.arguments, self.result = arguments, result
        super().__init__(f"&({', '.join(map(str, arguments))}) -> {result}", (ADDRESS,))

    def make_appender(self, name: str) -> Append:
        def append(value: Any, words: list[float]) -> None:
            kind = getattr(value, "kind", None)
            if kind is not self and kind != self:
                raise self.make_error(name, value)
            words.append(value.address)

        return append


class Pointers(Kind):
    """A table of pointers of the kind `item`."""

    def __init__(self, item: Pointer) -> None:
        self.item = item
        super().__init__(f"table of {item}", (ADDRESS,))

    make_appender = Pointer.make_appender


class Kinds(NamedTuple):
    """Kinds of the arguments of kernels, all of one dtype."""

    scalar: Scalar
    flat: Array  # one-dimensional array
    matrix: Array  # two-dimensional array
    inputs: Array  # read-only two-dimensional array


@functools.cache
def get_kinds(dtype: np.dtype) -> Kinds:
    item = get_scalar(dtype)
    return Kinds(item, Array(item, 1), Array(item, 2), Array(item, 2, readonly=True))
