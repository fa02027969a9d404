"""The decorator ``@kernel`` with all compiler options, the forms of code a kernel compiles to, and the cache.

A factory such as ``activation_forward("tanh")`` returns a specialised kernel, a closure over other kernels
and constants. A kernel compiles to one of three forms (`CodeForm`). A kernel that Python calls becomes
machine code with a wrapper for Python. A kernel that another kernel calls by name is inlined, and becomes
machine code only within its caller, because numba would also compile each kernel to separate machine code,
which takes a third longer. A kernel that is called through a pointer (``pointer.py``) becomes machine code
without a wrapper.

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
from typing import Any, cast

from numba import types

from .cache import (
    claim_entry,
    describe_type,
    is_current,
    list_cache_folders,
    pack_entry,
    parse_type,
    read_entries,
    refusal,
    unpack_entry,
    write_entry,
)
from .entry import compilation_listeners
from .interrupts import defer_signals
from .numba_internals import (
    Codegen,
    Compiler,
    CompileResult,
    Context,
    EntryMaker,
    HookedDispatcher,
    JITCodeLibrary,
    KernelLibrary,
    KernelTypingContext,
    NullCache,
    PartLibrary,
    Signature,
    TargetContext,
    get_argument_types,
    get_code_address,
    get_code_settings,
    get_dispatcher_function,
    get_intrinsic_function,
    get_library_code,
    get_target_key,
    global_compiler_lock,
    has_addresses,
    is_disabled,
    list_declared_names,
    list_symbols,
    load_kernel,
    make_pipeline,
    set_cache,
    set_code_maker,
    set_environments,
    set_library,
)
from .shared import FUNCTIONS, make_available

# nogil: Python threads run kernels in parallel. error_model: division by zero gives inf, as in NumPy, without
# a branch. No fastmath: contract would let each processor's code generator fuse other products with sums, so
# that results depend on the processor; nnan and ninf would let the compiler drop the checks that detect a
# diverging run. forceinline: passing several arrays to a function costs as much time as a small layer.
OPTIONS = {"nogil": True, "error_model": "numpy", "forceinline": True, "no_cfunc_wrapper": True}


def kernel(function: Callable) -> Kernel:
    """Return `function` as a kernel: compiled at the first call for each set of types, cached on disk."""
    # Numba distinguishes symbols of equal names by a counter that begins at 0 in every process. Two kernels
    # of one factory, compiled by two processes, could get the same symbol, and a third process that loads
    # both would link the wrong one: give every kernel a unique name.
    tag = hashlib.sha256(repr(identify(function)).encode()).hexdigest()[:16]
    function.__qualname__ = f"{function.__qualname__}_{tag}"
    if is_disabled():
        return cast("Kernel", function)
    return Kernel(function)


def identify(function: Callable) -> tuple:
    """Return the identity of a kernel among its factory's kernels: module, name and closure variables.

    The cache key contains this identity, because numba cannot hash a closure over other kernels. The identity
    of a kernel outside of this package contains its code, its global constants and the kernels that it calls
    as well: the digest of the sources, which is in the key too, covers this package alone.
    """
    variables = inspect.getclosurevars(function)
    found: tuple = (
        function.__module__,
        function.__qualname__,
        tuple((name, _identify_value(value)) for name, value in sorted(variables.nonlocals.items())),
    )
    if function.__module__.partition(".")[0] == __package__.partition(".")[0]:
        return found
    code = function.__code__
    used = [("", value) for value in code.co_consts] + sorted(variables.globals.items())
    constants = tuple(one for one in used if isinstance(one[1], (int, float, str, tuple)))
    called = ((name, get_dispatcher_function(value)) for name, value in used)
    kernels = tuple((name, identify(other)) for name, other in called if other not in (None, function))
    return *found, code.co_code, code.co_names, constants, kernels


def _identify_value(value: object) -> object:
    """Return the identity of a closure variable; raise TypeError for anything but kernels and constants."""
    if (function := get_dispatcher_function(value)) is not None:
        return identify(function)
    if (function := get_intrinsic_function(value)) is not None:
        return function.__module__, function.__qualname__
    if isinstance(value, (int, float, str, tuple)):
        return value
    raise TypeError(f"a kernel may close over kernels, intrinsics and constants, not over {value!r}")


def find_arrays(kinds: Iterable[types.Type]) -> Iterator[types.Array]:
    """Yield the array types among types, however deeply nested in tuples and structs of `arguments`."""
    for kind in kinds:
        kind = getattr(kind, "arguments", kind)
        if isinstance(kind, types.BaseTuple):
            yield from find_arrays(kind)
        elif isinstance(kind, types.Array):
            yield kind


# --- the forms of code ---------------------------------------------------------------------------


class CodeForm(enum.Enum):
    """The form of code that a kernel is compiled to."""

    CALLABLE = "machine code with a wrapper that Python calls"
    PART = "unoptimised LLVM IR, inlined in other kernels"
    CODE = "machine code without a wrapper, called through a pointer"


class Code:
    """Entry point of a kernel that Python does not call: the address of its machine code, 0 for a part.

    Numba finds kernels by their entry points: no two are equal.
    """

    def __init__(self, address: int = 0) -> None:
        self.address = address


# Functions that return entry points, instead of numba's function that builds the wrapper for Python.
CODE_MAKERS: dict[CodeForm, EntryMaker] = {
    CodeForm.PART: lambda *_: Code(),
    CodeForm.CODE: lambda library, description, _: Code(get_code_address(library, description)),
}


class KernelCompiler(Compiler):
    """Numba's compiler, for the form of code in `Kernel.wanted`."""

    def __init__(
        self, typing_context: Context, target_context: TargetContext, library: JITCodeLibrary, *arguments: Any
    ) -> None:
        super().__init__(KernelTypingContext(typing_context), target_context, library, *arguments)
        library_class = PartLibrary if Kernel.wanted is CodeForm.PART else KernelLibrary
        set_library(self, library_class(target_context, Kernel.wanted.name))
        if Kernel.wanted is not CodeForm.CALLABLE:
            set_code_maker(self, CODE_MAKERS[Kernel.wanted])

    def define_pipelines(self) -> list:
        """Return the passes of numba, without reference counts: kernels own no array."""
        return make_pipeline(self)


class Kernel(HookedDispatcher):
    """A numba dispatcher that keeps compiled code of all three forms."""

    # The form of code to compile, and the claims of entries that end with this compilation. Guarded by
    # numba's compiler lock.
    wanted = CodeForm.CALLABLE
    claims = contextlib.ExitStack()

    # numba makes a pickled dispatcher anew with these arguments.
    def __init__(
        self, py_func: Callable, locals: dict | None = None, targetoptions: dict | None = None
    ) -> None:
        options = {"nopython": True, **OPTIONS}
        super().__init__(py_func, locals, targetoptions or options, KernelCompiler)
        self.cache = KernelCache(py_func)
        set_cache(self, self.cache)
        # Compiled code by kind and argument types. Numba's `overloads` has, for each tuple of types, the kind
        # that was compiled or looked up last.
        self.compiled: dict[CodeForm, dict[tuple, CompileResult]] = {kind: {} for kind in CodeForm}

    def compile_for_kernels(self) -> contextlib.AbstractContextManager:
        return compile_to(CodeForm.PART)

    def compile_for_python(self, *args: Any, **kws: Any) -> Any:
        with compile_to(CodeForm.CALLABLE):
            code = super().compile_for_python(*args, **kws)
        refusal.warn(stacklevel=3)  # the warning names the line that called the kernel
        return code

    def find_code(self, types: tuple) -> CompileResult | None:
        return self.compiled[Kernel.wanted].get(types)

    def store_code(self, types: tuple, compiled: CompileResult) -> bool:
        """Store code of the kind `wanted`, and return True if Python may call it.

        If Python would call a kernel that returns an array, this is a TypeError: kernels own no memory.
        """
        result = compiled.signature.return_type
        if Kernel.wanted is CodeForm.CALLABLE and list(find_arrays([result])):
            raise TypeError(f"{self} returns {result}: let it fill an argument, or call it from a kernel")
        self.compiled[Kernel.wanted][types] = compiled
        if Kernel.wanted is not CodeForm.PART:
            set_environments(compiled)
        return Kernel.wanted is CodeForm.CALLABLE


@contextlib.contextmanager
def compile_to(kind: CodeForm) -> Iterator[None]:
    """Compile kernels to this form of code within the context; the kernels they call become parts.

    Ctrl-C is postponed to the end of the context, because an interrupted compiler is in an unusable state.
    Garbage collection pauses, because a compilation creates millions of objects that live to its end, which
    the collector would visit again and again, a sixth of the time.
    """
    with global_compiler_lock, defer_signals(), contextlib.ExitStack() as claims:
        before, collects = (Kernel.wanted, Kernel.claims), gc.isenabled()
        try:
            gc.disable()
            Kernel.wanted, Kernel.claims = kind, claims
            yield
        finally:
            Kernel.wanted, Kernel.claims = before
            if collects:
                gc.enable()


def compile_code(kernel: Kernel, types: tuple) -> CompileResult:
    """Compile a kernel to `CodeForm.CODE` for these types; the result's `entry_point` is a `Code`."""
    with compile_to(CodeForm.CODE):
        kernel.compile(types)
        compiled = kernel.compiled[CodeForm.CODE][types]
    refusal.warn()
    return compiled


def translate(kernel: Kernel, types: tuple) -> tuple[CompileResult, list[str], bytes]:
    """Translate a kernel to LLVM IR, with all that it calls by name; machine code is left to others.

    Return the result, its symbols (`list_symbols`), and bitcode before any optimisation that depends on this
    machine. Code that contains addresses, or needs Python objects, is a ValueError.
    """
    with compile_to(CodeForm.PART):
        kernel.compile(types)
        compiled = kernel.compiled[CodeForm.PART][types]
        if has_addresses(compiled):
            raise ValueError(f"{kernel} contains memory addresses, valid in this process alone")
        return compiled, list_symbols(compiled), get_library_code(compiled.library)


# --- the cache -----------------------------------------------------------------------------------


class KernelCache(NullCache):
    """On-disk cache of one kernel's compiled signatures.

    A numba dispatcher calls `load_overload` before it compiles, and `save_overload` after it has compiled.
    """

    def __init__(self, function: Callable) -> None:
        self._function = function
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        self._identity = identify(function)

    def load_overload(
        self, signature: Signature | tuple, target_context: TargetContext
    ) -> CompileResult | None:
        """Return the saved code for `signature`; None if there is no entry, and numba must compile.

        Unlike numba's own cache, this method does not refresh the target context. Loaded code needs none of
        the functions that a refresh registers, and their import, scipy.linalg among them, would take most of
        the time.
        """
        name = self.file_name(signature, target_context.codegen())
        loaded = self._load(name, signature, target_context)
        if loaded is None and Kernel.wanted is not CodeForm.PART:
            # Another process may be compiling this kernel: wait for its entry.
            Kernel.claims.enter_context(claim_entry(name))
            loaded = self._load(name, signature, target_context)
        if loaded is None and Kernel.wanted is not CodeForm.PART:
            for listener in compilation_listeners:
                with contextlib.suppress(Exception):
                    listener(get_argument_types(signature))
        return loaded

    def _load(
        self, name: str, signature: Signature | tuple, target_context: TargetContext
    ) -> CompileResult | None:
        """Return the code in the entry `name`; None if there is no valid entry."""
        is_part = Kernel.wanted is CodeForm.PART
        for payload in read_entries(name):
            try:
                header, code = unpack_entry(payload)
                result = parse_type(header["result"])
                if list(find_arrays([result])) and not is_part:
                    raise ValueError("its result has arrays")
                make_available(header["shared"])
                return load_kernel(
                    target_context,
                    self._function,
                    result(*get_argument_types(signature)),
                    header["names"],
                    code,
                    CODE_MAKERS.get(Kernel.wanted),
                    is_part=is_part,
                )
            # The checksum is valid, but the entry is not: compile again.
            except Exception as error:
                refusal.note(
                    f"numba cannot load {self._name} as it was saved ({type(error).__name__}: {error}). "
                    f"Remove the folder {self.cache_path}, and report it if that does not help"
                )
        return None

    def save_overload(self, signature: Signature | tuple, compiled: CompileResult) -> None:
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
                "names": list_symbols(compiled),
                "result": describe_type(compiled.signature.return_type),
                "shared": [name for name in list_declared_names(compiled.library) if name in FUNCTIONS],
            }
            payload = pack_entry(header, get_library_code(compiled.library))
        except Exception as error:  # must not break a run
            if Kernel.wanted is not CodeForm.PART:  # the callers of a part contain it, and are saved
                refusal.note(f"{self._name} cannot be saved: {error}")
            return
        try:
            write_entry(self.file_name(signature, compiled.codegen), payload)
        except OSError as error:
            refusal.note(str(error))

    @property
    def cache_path(self) -> str:
        """The first of the cache folders; "" if there is none."""
        return str(next(list_cache_folders(), ""))

    def file_name(self, signature: Signature | tuple, codegen: Codegen) -> str:
        """Return the file name of the entry for a signature, without the digest of the sources."""
        settings = (*get_code_settings(), Kernel.wanted.name)
        key = (self._identity, str(signature), get_target_key(codegen), settings)
        return f"{self._name}.{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.nbc"
