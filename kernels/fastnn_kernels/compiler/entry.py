"""Entries: the kernels that Python calls, or passes to other kernels by address; and these calls.

A `FunctionPointer` names a kernel and the kinds of its arguments. Its code comes from the library of kernels
that were compiled ahead of time (``prebuilt.py``). If the library lacks the kernel, numba compiles it: only
then are numba and the module with the kernel imported.

Calls from Python write the words of all arguments (``kinds.py``) to memory and pass its address. In a
`PreparedCall` the arguments stay in memory from one call to the next, and only those that change are written
anew, because the training loop has a hundred words or more, which would take as long as some steps of a small
network.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import math
import pickle
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .interrupts import defer_signals
from .kinds import Append, Array, Kind, Pointer, Pointers, Struct, get_address
from .prebuilt import find_prebuilt

# Functions that are called before numba compiles a kernel and the parts inlined in it; the argument is the
# tuple of the kernel's argument types. They run while numba's lock is held and Ctrl-C is postponed. An
# exception would leave numba's compiler in an unusable state, so exceptions of listeners are dropped.
compilation_listeners: list[Callable[[tuple], object]] = []

# Held while a pointer's kernel is compiled: another thread that needs the same kernel then finds it.
_compiling = threading.RLock()

# Types of results in ctypes, by the key of the kind. A kernel without a result writes a null pointer.
RESULTS: dict[str, type] = {
    "none": ctypes.c_void_p,
    "boolean": ctypes.c_bool,
    "int64": ctypes.c_int64,
    "float64": ctypes.c_double,
}


class FunctionPointer:
    """A pointer to a kernel, for calls from Python and for kernels that call it by `pointer.call`.

    An object can be called: ``pointer(*arguments)`` calls the kernel, from any number of threads, and returns
    its result. The call releases the GIL, and raises the exception that the kernel raises.

    `function` is a kernel, which is then not in the library, or the name of one or of its factory,
    ``"module.name"`` in this package. `factory_arguments` are None if it is not a factory. `kinds` are the
    kinds of the arguments, by name, in order. A `result` that is not a number, a boolean or none is a
    TypeError, and so is, when the kernel is compiled, a kernel whose result is of another kind.
    """

    def __init__(
        self,
        function: str | Callable,
        factory_arguments: tuple | None,
        kinds: Mapping[str, Kind],
        result: Kind,
    ) -> None:
        if isinstance(result, Array | Struct):
            raise TypeError(f"{function} returns {result}: let it fill an argument")
        self.function, self.factory_arguments = function, factory_arguments
        self.kinds, self.result = dict(kinds), result
        self.kind = Pointer(tuple(kinds.values()), result)

    def __repr__(self) -> str:
        arguments = "" if self.factory_arguments is None else repr(self.factory_arguments)
        return f"<pointer to {self.function}{arguments}>"

    @functools.cached_property
    def symbol(self) -> str:
        """Name of the kernel in the library: a digest of its name, factory arguments and kinds."""
        text = repr((self.function, self.factory_arguments, self.kind.key))
        return f"fk_{str(self.function).replace('.', '_')}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    @functools.cached_property
    def address(self) -> int:
        """Address of the machine code. The first access looks for the code, or compiles it.

        RuntimeError if the kernel must be compiled, and numba is switched off or not installed.
        """
        if isinstance(self.function, str) and (address := find_prebuilt(self.symbol)):
            return address
        # An interrupt during the import of numba could leave it half loaded: hold interrupts until the end.
        with defer_signals(), _compiling:
            return _compiler().compile_pointer(self)

    @functools.cached_property
    def _call(self) -> tuple[Callable[..., int], type, Callable[..., bytes], list[Append]]:
        """Machine code as a function, type of the result, and the functions that write the arguments."""
        if self.result.key not in RESULTS:
            raise TypeError(f"Python cannot receive a result of type {self.result}")
        formats = "".join(code for kind in self.kinds.values() for code in kind.formats)
        appenders = [kind.make_appender(name) for name, kind in self.kinds.items()]
        return ENTRY(self.address), RESULTS[self.result.key], struct.Struct(formats).pack, appenders

    def __call__(self, *arguments: Any) -> Any:
        """Call the kernel with these arguments and return its result."""
        function, result_type, pack, appenders = self._call
        if len(arguments) != len(appenders):
            raise TypeError(f"{self} takes {len(appenders)} arguments, got {len(arguments)}")
        words: list[float] = []
        for append, value in zip(appenders, arguments, strict=True):
            append(value, words)
        result, error = result_type(), ctypes.c_void_p()
        try:
            memory = pack(*words)
        except (struct.error, OverflowError) as failure:
            raise TypeError(f"{self} got {arguments}: {failure}") from failure
        if status := function(ctypes.addressof(result), ctypes.addressof(error), memory):
            raise make_error(status, error.value)
        return result.value


def _compiler() -> ModuleType:
    """Return the module ``pointer``, which imports numba; raise RuntimeError if numba is not installed."""
    try:
        return importlib.import_module(f"{__package__}.pointer")
    except ModuleNotFoundError as error:
        if error.name not in ("numba", "llvmlite"):
            raise
        raise RuntimeError(
            "this combination of settings needs a kernel that was not compiled ahead of time, and numba, "
            'which compiles it, is not installed: run pip install "fastnn-numba[jit]"'
        ) from error


class PythonPointer:
    """A pointer to a function in Python, for kernels that call it in place of the kernel of `pointer`.

    The function takes the words of the arguments (``kinds.py``) and returns a float64. If it raises an
    exception, the kernel gets NaN and goes on: call `raise_error` after the kernel.
    """

    def __init__(self, pointer: FunctionPointer, function: Callable[..., float]) -> None:
        self.kind = pointer.kind
        self._error: BaseException | None = None
        words = struct.Struct("".join(code for kind in pointer.kinds.values() for code in kind.formats))

        def run(result: int, _: int, address: int) -> int:
            try:
                value = function(*words.unpack(ctypes.string_at(address, words.size)))
            except BaseException as error:  # ctypes would print it, and drop it
                value, self._error = math.nan, self._error or error
            ctypes.c_double.from_address(result).value = value
            return 0

        self._run = ENTRY(run)
        self.address = ctypes.cast(self._run, ctypes.c_void_p).value

    def raise_error(self) -> None:
        """Raise the first exception of the function since the last call of this method, if there is one."""
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # a name for it in this frame would be a cycle


class UnusedPointer:
    """A pointer of the kind of `pointer` without a kernel, for a caller that does not call it.

    Nothing is compiled. A call raises ValueError.
    """

    address = 0

    def __init__(self, pointer: FunctionPointer) -> None:
        self.kind = pointer.kind


class PointerTable:
    """A table of at least one pointer, all of one kind, of which a kernel chooses one: ``table[k]``."""

    def __init__(self, pointers: Sequence[FunctionPointer]) -> None:
        self.pointers = tuple(pointers)
        (item,) = {pointer.kind for pointer in pointers}
        self.kind = Pointers(item)

    @functools.cached_property
    def address(self) -> int:
        """Address of the table. The first access finds, loads or compiles the kernels."""
        # Addresses of the kernels, after their number, which bounds checks read.
        entries = np.array([len(self.pointers), *(pointer.address for pointer in self.pointers)], np.uintp)
        # If two threads come here at once, the table keeps one array, whose address both return.
        return self.__dict__.setdefault("_entries", entries).ctypes.data


class PreparedCall:
    """A call of a kernel from Python with arguments that stay in memory.

    The call releases the GIL. Arrays are passed by address, so that later calls see their new contents; they
    live as long as this object. One thread at a time may use an object: `copy` returns one for another
    thread. The arguments are given by name. An argument that is not of exactly the pointer's kind, or is
    missing or unknown, is a TypeError. The attribute `arguments` holds the present ones.
    """

    def __init__(self, pointer: FunctionPointer, **arguments: Any) -> None:
        self._pointer, self._layout = pointer, _layout(pointer)
        if pointer.result.key not in RESULTS:
            raise TypeError(f"Python cannot receive a result of type {pointer.result}")
        if missing := self._layout.keys() - arguments.keys():
            raise TypeError(f"missing arguments: {', '.join(sorted(missing))}")
        size = [*self._layout.values()][-1].part.stop if self._layout else 0
        self.arguments: dict[str, Any] = {}
        self._bind(np.zeros(max(1, -(-size // 8)), np.uint64))
        self.set(**arguments)

    def _bind(self, memory: NDArray[np.uint64]) -> None:
        """Bind the machine code to the memory of the arguments, of the result and of an error's address."""
        self._memory, self._bytes = memory, memory.data.cast("B")
        self._result = RESULTS[self._pointer.result.key]()
        self._error = ctypes.c_void_p()
        addresses = ctypes.addressof(self._result), ctypes.addressof(self._error), get_address(memory)
        # With the types of `ENTRY`, each call would convert the addresses, which takes 0.1 microseconds.
        entry = ctypes.CFUNCTYPE(ctypes.c_int32)(self._pointer.address)
        self._run = functools.partial(entry, *map(ctypes.c_void_p.from_param, addresses))

    def set(self, **arguments: Any) -> None:
        """Replace arguments, given by name."""
        for name, value in arguments.items():
            if name not in self._layout:
                raise TypeError(f"the kernel has no argument {name}")
            part, form, append = self._layout[name]
            words: list[float] = []
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
            raise make_error(status, self._error.value)
        return self._result.value


class ArgumentPlace(NamedTuple):
    """The part of the memory that holds an argument, and the function that lists the argument's words."""

    part: slice
    form: struct.Struct
    append: Append


@functools.cache
def _layout(pointer: FunctionPointer) -> dict[str, ArgumentPlace]:
    """Return the field of each argument, by the argument's name.

    The words of all arguments follow one another as the elements of a C struct, aligned: `pointer.call`
    writes the same struct.
    """
    fields, formats = {}, ""
    for name, kind in pointer.kinds.items():
        form, begin = "=", struct.calcsize(formats)
        for word in kind.formats:
            formats += word
            offset = struct.calcsize(formats) - struct.calcsize(word)
            form += f"{offset - begin - struct.calcsize(form)}x{word}"
        packed = struct.Struct(form)
        fields[name] = ArgumentPlace(slice(begin, begin + packed.size), packed, kind.make_appender(name))
    return fields


# --- the machine code of kernels, as numba lays out calls and errors -------------------------------

# A kernel with one argument, an address, as a function that Python calls. It takes the addresses of the
# result and of a pointer to an error, and the argument. It releases the GIL, and returns 0, or a status other
# than 0 if the kernel raises an exception.
ENTRY = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class ErrorInfo(ctypes.Structure):
    """The first fields of the struct that describes an exception."""

    _fields_ = (("pickled", ctypes.c_void_p), ("size", ctypes.c_int32))


def make_error(status: int, error: int | None) -> BaseException:
    """Return the exception of a kernel, given what an `ENTRY` returned and the error."""
    if status < 1 or not error:  # no exception of the kernel's own
        return SystemError(f"a kernel failed with status {status}")
    info = ErrorInfo.from_address(error)
    # The arguments of a kernel's exceptions are constants: the pickle, in the machine code, holds them.
    exception, arguments, _ = pickle.loads(ctypes.string_at(info.pickled, info.size))
    return exception(*arguments or ())
