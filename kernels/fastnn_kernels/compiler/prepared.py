"""Calls of kernels from Python whose arguments stay in memory from one call to the next.

Numba's wrapper for Python converts every argument at every call: 10 us for the arrays and numbers of the
training loop, as long as some steps of a small network. The wrapper is also nearly half of the loop's machine
code. A `PreparedCall` calls a kernel that was compiled without a wrapper, as ``pointer.py`` does between
kernels: it writes the arguments to memory once, later only those that change, and passes their address.
"""

from __future__ import annotations

import ctypes
import functools
import pickle
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from .addresses import address_of
from .pointer import FunctionPointer, FunctionPointerType, PointerTableType

__all__ = ["PreparedCall"]

# Format of a number in the module `struct`, and type of a result in ctypes.
FORMATS = {
    types.boolean: "?", types.int8: "b", types.int32: "i", types.int64: "q", types.uint64: "Q",
    types.float64: "d",
}  # fmt: skip
RESULTS: dict[Any, Any] = {
    types.boolean: ctypes.c_bool,
    types.int64: ctypes.c_int64,
    types.float64: ctypes.c_double,
}
ADDRESS, SIZE = "Q", "q"


class PreparedCall:
    """A call of a kernel from Python with arguments that stay in memory.

    The call releases the GIL. Arrays are passed by address, so that later calls see their new contents; they
    live as long as this object. One thread at a time may use an object: `copy` returns one for another
    thread.

    Parameters
    ----------
    pointer : FunctionPointer
        The kernel, which is compiled or loaded. It returns a bool, an int64 or a float64.
    **arguments
        All arguments of the kernel, by name, of exactly the pointer's types.

    Attributes
    ----------
    arguments : dict
        The present arguments, by name.

    Raises
    ------
    TypeError
        For an argument that the kernel cannot take as it is, and for missing and unknown arguments.
    """

    def __init__(self, pointer: FunctionPointer, **arguments: Any) -> None:
        self._pointer, self._layout = pointer, _layout(pointer)
        if pointer.result not in RESULTS:
            raise TypeError(f"Python cannot take a result of type {pointer.result}")
        if missing := self._layout.keys() - arguments.keys():
            raise TypeError(f"missing arguments: {', '.join(sorted(missing))}")
        size = max((field.part.stop for field in self._layout.values()), default=0)
        self.arguments: dict[str, Any] = {}
        self._bind(np.zeros(-(-size // 8), np.uint64))
        self.set(**arguments)

    def _bind(self, memory: NDArray[np.uint64]) -> None:
        """Bind the machine code to the memory of the arguments, of the result and of an error's address."""
        self._memory, self._bytes = memory, memory.data.cast("B")
        self._result = RESULTS[self._pointer.result]()
        self._error = ctypes.c_void_p()
        self._run = functools.partial(
            entry_at(self._pointer.address),
            ctypes.addressof(self._result),
            ctypes.addressof(self._error),
            address_of(memory),
        )

    def set(self, **arguments: Any) -> None:
        """Replace arguments, given by name."""
        for name, value in arguments.items():
            if name not in self._layout:
                raise TypeError(f"the kernel has no argument {name}")
            part, form, append = self._layout[name]
            words: list[Any] = []
            append(value, words)
            try:
                self._bytes[part] = form.pack(*words)
            except (struct.error, OverflowError) as error:
                raise TypeError(f"{name} is {value!r}: {error}") from error
            self.arguments[name] = value

    def copy(self) -> PreparedCall:
        """Return a call of the same kernel with the same arguments, which can be replaced separately."""
        other = object.__new__(PreparedCall)
        other._pointer, other._layout = self._pointer, self._layout
        other.arguments = self.arguments.copy()
        other._bind(self._memory.copy())
        return other

    def __call__(self) -> Any:
        """Call the kernel and return its result; raise the exception that the kernel raises."""
        if status := self._run():
            raise raised_error(status, self._error.value)
        return self._result.value


class Field(NamedTuple):
    """The part of the memory that holds an argument, and the function that lists the argument's words."""

    part: slice
    form: struct.Struct
    append: Callable[[Any, list[Any]], None]


@functools.cache
def _layout(pointer: FunctionPointer) -> dict[str, Field]:
    """Return the field of each argument, by the argument's name.

    The words of all arguments follow one another as the elements of a C struct, aligned: `pointer.call`
    writes the same struct.
    """
    fields, formats = {}, ""
    for name, kind in pointer.kinds.items():
        form, begin = "=", struct.calcsize(formats)
        for word in _formats(kind):
            formats += word
            offset = struct.calcsize(formats) - struct.calcsize(word)
            form += f"{offset - begin - struct.calcsize(form)}x{word}"
        packed = struct.Struct(form)
        fields[name] = Field(slice(begin, begin + packed.size), packed, _words(kind, name))
    return fields


def _formats(kind: Any) -> Iterator[str]:
    """Yield the formats of the words of an argument, in the order of `_words`."""
    if isinstance(kind, types.BaseTuple):
        for item in kind:
            yield from _formats(item)
    elif isinstance(kind, types.Array):
        yield from (ADDRESS, *[SIZE] * kind.ndim)
    elif kind in FORMATS:
        yield FORMATS[kind]
    elif kind is types.none or isinstance(kind, FunctionPointerType | PointerTableType):
        yield ADDRESS
    else:
        raise TypeError(f"Python cannot pass {kind}")


def _words(kind: Any, name: str) -> Callable[[Any, list[Any]], None]:
    """Return the function that appends the words of a value of the type `kind` to a list.

    The words of an array are its address and shape, those of a tuple the words of its items; any other value
    is one word. The function raises TypeError, with the name, for a value of another type. Whatever depends
    on the type alone is computed once, before the calls: short fits spend much of their time in calls.
    """

    def refused(value: Any) -> TypeError:
        given = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)
        return TypeError(f"{name} is {given}, where the kernel takes {kind}")

    if isinstance(kind, types.BaseTuple):
        class_: type[tuple] = getattr(kind, "instance_class", tuple)
        labels = getattr(kind, "fields", range(len(kind)))
        items = [_words(item, f"{name}.{label}") for label, item in zip(labels, kind, strict=True)]

        def append(value: Any, words: list[Any]) -> None:
            if not (isinstance(value, class_) and len(value) == len(items)):
                raise refused(value)
            for item, part in zip(items, value, strict=True):
                item(part, words)

    elif isinstance(kind, types.Array):
        dtype, ndim, is_written = np.dtype(kind.dtype.name), kind.ndim, kind.mutable

        def append(value: Any, words: list[Any]) -> None:
            if not (isinstance(value, np.ndarray) and value.dtype == dtype and value.ndim == ndim):
                raise refused(value)
            flags = value.flags
            if not (flags.carray or (not is_written and flags.c_contiguous and flags.aligned)):
                raise refused(value)
            words.append(address_of(value))
            words += value.shape

    elif kind in FORMATS:
        is_truth = kind is types.boolean

        def append(value: Any, words: list[Any]) -> None:
            if isinstance(value, (bool, np.bool_)) != is_truth:
                raise refused(value)
            words.append(value)

    else:
        is_none = kind is types.none

        def append(value: Any, words: list[Any]) -> None:
            if value is not None if is_none else getattr(value, "_numba_type_", None) != kind:
                raise refused(value)
            words.append(0 if is_none else value.address)

    return append


# --- the machine code of kernels, as numba lays out calls and errors -------------------------------


def entry_at(address: int) -> Callable[[int, int, int], int]:
    """Return the machine code of a kernel with one argument, an address, as a function that Python calls.

    The function takes the addresses of the result and of a pointer to an error, and the argument. It
    releases the GIL, and returns 0, or a status other than 0 if the kernel raises an exception.
    """
    pointer = ctypes.c_void_p
    return ctypes.CFUNCTYPE(ctypes.c_int32, pointer, pointer, pointer)(address)


class ErrorInfo(ctypes.Structure):
    """The first fields of the struct that describes an exception."""

    _fields_ = (("pickled", ctypes.c_void_p), ("size", ctypes.c_int32))


def raised_error(status: int, error: int | None) -> BaseException:
    """Return the exception of a kernel, given what a function of `entry_at` returned and the error."""
    if status < 1 or not error:  # no exception of the kernel's own
        return SystemError(f"a kernel failed with status {status}")
    info = ErrorInfo.from_address(error)
    # The arguments of a kernel's exceptions are constants: the pickle, in the machine code, holds them.
    exception, arguments, _ = pickle.loads(ctypes.string_at(info.pickled, info.size))
    return exception(*arguments or ())
