"""The decorator ``@kernel`` with all compiler options, the kinds of code a kernel compiles to, and the cache.

A factory such as ``activation_forward("tanh")`` returns a specialised kernel, a closure over other kernels
and constants. A kernel compiles to one of three kinds of code (`Kind`). A kernel that Python calls becomes
machine code with a wrapper for Python. A kernel that another kernel calls by name is inlined, and becomes
machine code only within its caller: numba would also compile each kernel to separate machine code, which
takes a third longer. A kernel that is called through a pointer (``pointer.py``) becomes machine code without
a wrapper.

Kernels allocate no arrays, so theirs have no reference counts: counts would be updated at every use of an
array, and take a fifth of the compiler's time. Consequently only kernels can call a kernel that returns an
array, and the arguments of exceptions are constants.

Compiled kernels are saved on disk. A kernel that cannot be saved is compiled again by every process; a
warning says so once. A compilation may take seconds: functions in ``compilation_listeners`` are called before
each one.
"""

from __future__ import annotations

import contextlib
import enum
import gc
import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numba

from .cache import cache_folders, claimed, is_current, read_entries, refusal, write_entry
from .entries import packed, plain_type, type_of, unpacked
from .entry import compilation_listeners
from .forks import wait_at_fork
from .interrupts import held_interrupts
from .numba_internals import (
    Compiler,
    CompileResult,
    HookedDispatcher,
    KernelLibrary,
    KernelTypingContext,
    PartLibrary,
    argument_types,
    code_address,
    code_settings,
    declared_names,
    dispatcher_function,
    global_compiler_lock,
    has_addresses,
    intrinsic_function,
    is_disabled,
    library_code,
    llvm_lock,
    loaded_kernel,
    pipeline_without_counts,
    set_cache,
    set_code_maker,
    set_environments,
    set_library,
    symbol_names,
    target_key,
)
from .shared import make_available, shared_names

__all__ = ["Kind", "arrays_among", "compiling_to", "kernel", "machine_code", "translated"]

# nogil: Python threads run kernels in parallel. error_model: division by zero gives inf, as in NumPy, without
# a branch. No fastmath: contract would let each processor's code generator fuse other products with sums, so
# that results depend on the processor; nnan and ninf would let the compiler drop the checks that detect a
# diverging run. forceinline: passing several arrays to a function costs as much time as a small layer.
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "forceinline": True,
    "no_cfunc_wrapper": True,
}


def kernel(function: Callable) -> Any:
    """Return `function` as a kernel: compiled at the first call for each set of types, cached on disk."""
    # Numba distinguishes symbols of equal names by a counter that begins at 0 in every process. Two kernels
    # of one factory, compiled by two processes, could get the same symbol, and a third process that loads
    # both would link the wrong one: give every kernel a unique name.
    tag = hashlib.sha256(repr(identity(function)).encode()).hexdigest()[:16]
    function.__qualname__ = f"{function.__qualname__}_{tag}"
    if is_disabled():
        return function
    return Kernel(function, targetoptions={"nopython": True, **OPTIONS})


def identity(function: Callable) -> tuple:
    """Return the identity of a kernel among those of its factory: module, name and closure variables.

    The cache key contains this identity, because numba cannot hash a closure over other kernels. The identity
    of a kernel outside of this package contains its code, its global constants and the kernels that it calls
    as well: the digest of the sources, which is in the key too, covers this package alone.
    """
    variables = inspect.getclosurevars(function)
    found: tuple = (
        function.__module__,
        function.__qualname__,
        tuple((name, _identity_of(value)) for name, value in sorted(variables.nonlocals.items())),
    )
    if function.__module__.partition(".")[0] == __package__.partition(".")[0]:
        return found
    code = function.__code__
    used = [("", value) for value in code.co_consts] + sorted(variables.globals.items())
    constants = tuple(one for one in used if isinstance(one[1], (int, float, str, tuple)))
    called = ((name, dispatcher_function(value)) for name, value in used)
    kernels = tuple((name, identity(other)) for name, other in called if other not in (None, function))
    return *found, code.co_code, code.co_names, constants, kernels


def _identity_of(value: object) -> object:
    """Return the identity of a closure variable; raise TypeError for anything but kernels and constants."""
    if (function := dispatcher_function(value)) is not None:
        return identity(function)
    if (function := intrinsic_function(value)) is not None:
        return function.__module__, function.__qualname__
    if isinstance(value, (int, float, str, tuple)):
        return value
    raise TypeError(f"a kernel may close over kernels, intrinsics and constants, not over {value!r}")


def arrays_among(kinds: Iterable[Any]) -> Iterator[Any]:
    """Yield the array types among types, however deeply nested in tuples and structs of `arguments`."""
    for kind in kinds:
        kind = getattr(kind, "arguments", kind)
        if isinstance(kind, numba.types.BaseTuple):
            yield from arrays_among(kind)
        elif isinstance(kind, numba.types.Array):
            yield kind


# A forked child has no other threads. If one of the parent's threads held one of these locks, the child would
# wait for ever: a fork waits for them, in the order in which a compilation acquires them.
wait_at_fork(global_compiler_lock)
wait_at_fork(llvm_lock)


# --- the kinds of code ---------------------------------------------------------------------------


class Kind(enum.Enum):
    """The kind of code that a kernel is compiled to."""

    CALLABLE = "machine code with a wrapper that Python calls"
    PART = "unoptimised LLVM IR, inlined in other kernels"
    CODE = "machine code without a wrapper, called through a pointer"


class Code:
    """Entry point of a kernel that Python does not call: the address of its machine code, 0 for a part."""

    def __init__(self, address: int = 0) -> None:
        self.address = address


def part_code(*_: Any) -> Code:
    """Return an entry point without an address: a part has no machine code of its own."""
    return Code()


def addressed_code(library: Any, description: Any, environment: Any) -> Code:
    """Return the entry point with the address of a kernel's machine code."""
    return Code(code_address(library, description))


# Functions that return entry points, instead of numba's function that builds the wrapper for Python.
CODE_MAKERS = {Kind.PART: part_code, Kind.CODE: addressed_code}


class KernelCompiler(Compiler):
    """Numba's compiler, for the kind of code in `Kernel.wanted`."""

    def __init__(self, typing_context: Any, target_context: Any, library: Any, *arguments: Any) -> None:
        super().__init__(KernelTypingContext(typing_context), target_context, library, *arguments)
        library_class = PartLibrary if Kernel.wanted is Kind.PART else KernelLibrary
        set_library(self, library_class(target_context, Kernel.wanted.name))
        if Kernel.wanted is not Kind.CALLABLE:
            set_code_maker(self, CODE_MAKERS[Kernel.wanted])

    def define_pipelines(self) -> list:
        """Return the passes of numba, without reference counts: kernels own no array."""
        return pipeline_without_counts(self)


class Kernel(HookedDispatcher):
    """A numba dispatcher that keeps compiled code of all three kinds."""

    # The kind of code to compile, and the claims of entries that end with this compilation. Guarded by
    # numba's compiler lock.
    wanted = Kind.CALLABLE
    claims = contextlib.ExitStack()

    def __init__(
        self, py_func: Callable, locals: Any = None, targetoptions: Any = None, pipeline_class: Any = None
    ) -> None:
        super().__init__(py_func, locals, targetoptions, pipeline_class or KernelCompiler)
        self.cache = KernelCache(py_func)
        set_cache(self, self.cache)
        # Compiled code by kind and argument types. Numba's `overloads` has, for each tuple of types, the kind
        # that was compiled or looked up last.
        self.compiled: dict[Kind, dict[tuple, CompileResult]] = {kind: {} for kind in Kind}

    def compiling_for_kernels(self) -> contextlib.AbstractContextManager:
        """Return the context in which kernels compile to parts."""
        return compiling_to(Kind.PART)

    def compile_for_python(self, *args: Any, **kws: Any) -> Any:
        """Compile callable code for these arguments, and return it."""
        with compiling_to(Kind.CALLABLE):
            code = super().compile_for_python(*args, **kws)
        refusal.warn(stacklevel=4)  # the warning names the line that called the kernel
        return code

    def known(self, types: tuple) -> CompileResult | None:
        """Return the compiled code of the kind `wanted`; None if there is none for these types."""
        return self.compiled[Kernel.wanted].get(types)

    def remember(self, types: tuple, compiled: CompileResult) -> bool:
        """Store code of the kind `wanted`, and return True if Python may call it.

        Raises
        ------
        TypeError
            If Python would call a kernel that returns an array: kernels own no memory.
        """
        result = compiled.signature.return_type
        if Kernel.wanted is Kind.CALLABLE and list(arrays_among([result])):
            raise TypeError(f"{self} returns {result}: let it fill an argument, or call it from a kernel")
        self.compiled[Kernel.wanted][types] = compiled
        if Kernel.wanted is not Kind.PART:
            set_environments(compiled)
        return Kernel.wanted is Kind.CALLABLE


@contextlib.contextmanager
def compiling_to(kind: Kind) -> Iterator[None]:
    """Compile kernels to this kind of code within the context; the kernels they call become parts.

    Ctrl-C is postponed to the end of the context: an interrupted compiler is in an unusable state. Garbage
    collection pauses: a compilation creates millions of objects that live to its end, which the collector
    would visit again and again, a sixth of the time.
    """
    with global_compiler_lock, held_interrupts(), contextlib.ExitStack() as claims:
        before, collects = (Kernel.wanted, Kernel.claims), gc.isenabled()
        try:
            gc.disable()
            Kernel.wanted, Kernel.claims = kind, claims
            yield
        finally:
            Kernel.wanted, Kernel.claims = before
            if collects:
                gc.enable()


def machine_code(kernel: Kernel, types: tuple) -> CompileResult:
    """Compile a kernel to `Kind.CODE` for these argument types; the result's `entry_point` is a `Code`."""
    with compiling_to(Kind.CODE):
        kernel.compile(types)
        compiled = kernel.compiled[Kind.CODE][types]
    refusal.warn()
    return compiled


def translated(kernel: Kernel, types: tuple) -> tuple[CompileResult, list[str], bytes]:
    """Translate a kernel to LLVM IR, with all that it calls by name; machine code is left to others.

    Returns
    -------
    CompileResult
    list of str
        Names of the kernel's function and environment, and of the environments of its parts.
    bytes
        Bitcode, before any optimisation that depends on this machine.

    Raises
    ------
    ValueError
        If the code contains addresses, or needs Python objects.
    """
    with compiling_to(Kind.PART):
        kernel.compile(types)
        compiled = kernel.compiled[Kind.PART][types]
        if has_addresses(compiled):
            raise ValueError(f"{kernel} contains memory addresses, valid in this process alone")
        return compiled, symbol_names(compiled), library_code(compiled.library)


# --- the cache -----------------------------------------------------------------------------------


class KernelCache:
    """On-disk cache of one kernel's compiled signatures.

    A numba dispatcher calls `load_overload` before it compiles, and `save_overload` after it has compiled.

    Parameters
    ----------
    function : callable
        The Python function that is compiled.
    """

    def __init__(self, function: Callable) -> None:
        self._function = function
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        self._identity = identity(function)

    def load_overload(self, signature: Any, target_context: Any) -> CompileResult | None:
        """Return the saved code for `signature`; None if there is no entry, and numba must compile.

        Unlike numba's own cache, this method does not refresh the target context: loaded code needs none of
        the functions that a refresh registers, and their import, scipy.linalg among them, would take most of
        the time.
        """
        name = self.file_name(signature, target_context.codegen(), Kernel.wanted)
        loaded = self._load(name, signature, target_context)
        if loaded is None and Kernel.wanted is not Kind.PART:
            # Another process may be compiling this kernel: wait for its entry.
            Kernel.claims.enter_context(claimed(name))
            loaded = self._load(name, signature, target_context)
        if loaded is None and Kernel.wanted is not Kind.PART:
            for listener in compilation_listeners:
                with contextlib.suppress(Exception):
                    listener(argument_types(signature))
        return loaded

    def _load(self, name: str, signature: Any, target_context: Any) -> CompileResult | None:
        """Return the code in the entry `name`; None if there is no valid entry."""
        is_part = Kernel.wanted is Kind.PART
        for payload in read_entries(name):
            try:
                header, code = unpacked(payload)
                result = type_of(header["result"])
                if list(arrays_among([result])) and not is_part:
                    raise ValueError("its result has arrays")
                make_available(header["shared"])
                return loaded_kernel(
                    target_context, self._function, result(*argument_types(signature)), header["names"], code,
                    CODE_MAKERS.get(Kernel.wanted), is_part=is_part,
                )  # fmt: skip
            # The checksum is valid, but the entry is not: compile again.
            except Exception as error:
                refusal.note(
                    f"numba cannot load {self._name} as it was saved ({type(error).__name__}: {error}). "
                    f"Remove the folder {self.cache_path}, and report it if that does not help"
                )
        return None

    def save_overload(self, signature: Any, compiled: CompileResult) -> None:
        """Save `compiled`, or store the reason why it cannot be saved in `refusal`."""
        if has_addresses(compiled):
            refusal.note(
                f"{self._name} contains memory addresses, valid in this process alone. Let the kernel "
                "close over constants and kernels, not over arrays or C functions"
            )
            return
        if not is_current():
            refusal.note("the sources of the kernels have changed since they were imported. Restart Python")
            return
        try:
            header = {
                "names": symbol_names(compiled),
                "result": plain_type(compiled.signature.return_type),
                "shared": list(shared_names(declared_names(compiled.library))),
            }
            payload = packed(header, library_code(compiled.library))
        except Exception as error:  # must not break a run
            if Kernel.wanted is not Kind.PART:  # the callers of a part contain it, and are saved
                refusal.note(f"{self._name} cannot be saved: {error}")
            return
        try:
            write_entry(self.file_name(signature, compiled.codegen, Kernel.wanted), payload)
        except OSError as error:
            refusal.note(str(error))

    def enable(self) -> None:
        """Do nothing: the cache is always on. Called by numba."""

    def disable(self) -> None:
        """Do nothing: the cache is always on. Called by numba."""

    def flush(self) -> None:
        """Do nothing: entries are keyed by their sources, so none is stale.

        Called by numba's ``recompile``.
        """

    @property
    def cache_path(self) -> str:
        """The first of the cache folders; "" if there is none."""
        return str(next(cache_folders(), ""))

    def file_name(self, signature: Any, codegen: Any, kind: Kind) -> str:
        """Return the file name of the entry for a signature, without the digest of the sources."""
        key = (self._identity, str(signature), target_key(codegen), (*code_settings(), kind.name))
        return f"{self._name}.{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.nbc"
