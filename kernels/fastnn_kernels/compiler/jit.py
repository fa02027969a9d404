"""The one decorator, with every compiler option; the kinds of code that a kernel is compiled to; the cache.

``@kernel`` compiles a function. A kernel that a factory specialises, as ``activation_forward("tanh")``,
closes over the kernels and constants it is made of. A kernel that another calls is built into it, and becomes
machine code there alone: numba would make each callable by itself, which takes a third longer. A kernel that
another calls through a pointer (``pointer.py``) becomes machine code without a wrapper for Python. Compiled
kernels are saved on disk; one that cannot be saved is compiled again by every process, of which a warning
tells once. Compilations take up to seconds: to hear of them, add a function to ``compilation_listeners``.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import inspect
import pickle
from collections.abc import Callable, Iterator
from typing import Any

from .cache import cache_folders, is_current, keep, kept, refusal
from .forks import wait_at_fork
from .interrupts import held_interrupts
from .numba_internals import (
    Compiler,
    CompileResult,
    HookedDispatcher,
    argument_types,
    code_address,
    code_settings,
    dispatcher_function,
    dumps,
    global_compiler_lock,
    has_addresses,
    intrinsic_function,
    is_disabled,
    part_library,
    rebuilt,
    reduced,
    set_cache,
    set_code_maker,
    set_environments,
    set_library,
    target_key,
)

__all__ = ["Kind", "compilation_listeners", "kernel", "machine_code"]

# Functions that are called with the types of a kernel's arguments before numba compiles it, with all the
# parts that are built into it. They run within numba's lock, while Ctrl-C waits. A compiler left half way
# fails later: what they raise is dropped.
compilation_listeners: list[Callable[[tuple], object]] = []

# nogil: Python threads run kernels side by side. error_model: a division by zero gives inf, as in
# NumPy, and costs no branch. contract: a * b + c may be one instruction. Never nnan or ninf: they
# let the compiler drop the checks that catch a diverging run. forceinline: passing a handful of
# arrays to a function costs as much as a small layer.
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"contract"},
    "forceinline": True,
    "no_cfunc_wrapper": True,
}


def kernel(function: Callable) -> Any:
    """Compile `function` into a kernel, cached on disk."""
    # Numba tells symbols of one name apart by a number that every process counts anew. Two kernels of one
    # factory that two processes compiled could have one symbol, and a third process would link the wrong one:
    # name them apart.
    tag = hashlib.sha256(repr(identity(function)).encode()).hexdigest()[:16]
    function.__qualname__ = f"{function.__qualname__}_{tag}"
    if is_disabled():
        return function
    dispatcher = Kernel(function, targetoptions={"nopython": True, **OPTIONS})
    set_cache(dispatcher, KernelCache(function))
    return dispatcher


def identity(function: Callable) -> tuple:
    """Return what tells a kernel from others of the same factory: module, name, and all it closes over.

    The cache's key is made of it: numba cannot hash a closure that holds other kernels.
    """
    cells = inspect.getclosurevars(function).nonlocals
    return (
        function.__module__,
        function.__qualname__,
        tuple((name, _identity_of(value)) for name, value in sorted(cells.items())),
    )


def _identity_of(value: object) -> object:
    """Return the identity of a value that a kernel closes over."""
    if (function := dispatcher_function(value)) is not None:
        return identity(function)
    if (function := intrinsic_function(value)) is not None:
        return function.__module__, function.__qualname__
    if isinstance(value, (int, float, str, tuple)):
        return value
    raise TypeError(f"a kernel may close over kernels, intrinsics and constants, not over {value!r}")


# A forked child has no other threads: were numba's lock held by one, the child would wait for ever.
wait_at_fork(global_compiler_lock)


# --- what a kernel is compiled to ----------------------------------------------------------------


class Kind(enum.Enum):
    """Form that a kernel is compiled to."""

    CALLABLE = "what Python calls"
    PART = "what is built into its callers: neither optimised nor machine code, which they become"
    CODE = "machine code alone"


class Code:
    """The entry point of a kernel that Python does not call: the address of its machine code."""

    def __init__(self, address: int = 0) -> None:
        self.address = address


def part_code(*_: Any) -> Code:
    """Return the entry point of a part, which has no machine code."""
    return Code()


def placed_code(library: Any, description: Any, environment: Any) -> Code:
    """Return the entry point of a kernel that is machine code alone."""
    return Code(code_address(library, description))


# What makes entry points, in place of numba's own maker of functions for Python.
CODE_OF = {Kind.PART: part_code, Kind.CODE: placed_code}


class KernelCompiler(Compiler):
    """Numba's compiler, for the kind of code that is wanted."""

    def __init__(self, typing_context: Any, target_context: Any, library: Any, *arguments: Any) -> None:
        super().__init__(typing_context, target_context, library, *arguments)
        if Kernel.wanted is Kind.PART:
            set_library(self, part_library(target_context, "part"))
        if Kernel.wanted is not Kind.CALLABLE:
            set_code_maker(self, CODE_OF[Kernel.wanted])


class Kernel(HookedDispatcher):
    """A numba dispatcher that compiles to another kind of code for compiled code than for Python."""

    # The kind that is being compiled. Class-level state, guarded by numba's compiler lock.
    wanted = Kind.CALLABLE

    def __init__(
        self, py_func: Callable, locals: Any = None, targetoptions: Any = None, pipeline_class: Any = None
    ) -> None:
        super().__init__(py_func, locals, targetoptions, pipeline_class or KernelCompiler)
        # All code by kind and types. `overloads` holds the kind that was wanted last.
        self.compiled: dict[Kind, dict[tuple, CompileResult]] = {kind: {} for kind in Kind}

    def compiling_for_kernels(self) -> contextlib.AbstractContextManager:
        """Return the context in which a part is compiled."""
        return wanting(Kind.PART)

    def compile_for_python(self, *args: Any, **kws: Any) -> Any:
        """Compile what Python calls for these arguments, and return it."""
        with wanting(Kind.CALLABLE):
            code = super().compile_for_python(*args, **kws)
        refusal.tell(stacklevel=4)  # the warning names the line that called the kernel
        return code

    def known(self, types: tuple) -> CompileResult | None:
        """Return the code of the wanted kind, whatever else has been compiled."""
        return self.compiled[Kernel.wanted].get(types)

    def remember(self, types: tuple, compiled: CompileResult) -> bool:
        """Store code of the wanted kind, and return whether Python may call it."""
        self.compiled[Kernel.wanted][types] = compiled
        if Kernel.wanted is not Kind.PART:
            set_environments(compiled)
        return Kernel.wanted is Kind.CALLABLE


@contextlib.contextmanager
def wanting(kind: Kind) -> Iterator[None]:
    """Compile kernels to this kind of code within the context; what is built into them is parts.

    Ctrl-C waits until the end: an interrupted compiler is left in an unusable state.
    """
    with global_compiler_lock, held_interrupts():
        before = Kernel.wanted
        try:
            Kernel.wanted = kind
            yield
        finally:
            Kernel.wanted = before


def machine_code(kernel: Kernel, types: tuple) -> CompileResult:
    """Return a kernel as machine code alone, for arguments of these types; its `entry_point` is a `Code`."""
    with wanting(Kind.CODE):
        kernel.compile(types)
        compiled = kernel.compiled[Kind.CODE][types]
    refusal.tell()
    return compiled


# --- the cache -----------------------------------------------------------------------------------


class KernelCache:
    """On-disk cache of one kernel's compiled signatures, in the shape a numba dispatcher expects.

    Parameters
    ----------
    function : callable
        The Python function that is compiled.
    """

    def __init__(self, function: Callable) -> None:
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        self._identity = identity(function)

    def load_overload(self, signature: Any, target_context: Any) -> CompileResult | None:
        """Return the compiled code for `signature`, or None where no folder holds such an entry."""
        target_context.refresh()
        for payload in kept(self._file_name(signature, target_context.codegen())):
            try:
                return rebuilt(
                    target_context,
                    pickle.loads(payload),
                    CODE_OF.get(Kernel.wanted),
                    is_part=Kernel.wanted is Kind.PART,
                )
            except Exception as error:  # whole, yet numba cannot load what it saved: compile again
                refusal.note(
                    f"numba cannot load {self._name} as it was saved ({error!r}). Remove the folder "
                    f"{self.cache_path}, and report it if that does not help"
                )
        if Kernel.wanted is not Kind.PART:
            for listener in compilation_listeners:
                with contextlib.suppress(Exception):
                    listener(argument_types(signature))
        return None

    def save_overload(self, signature: Any, compiled: CompileResult) -> None:
        """Save `compiled`, or note why that cannot be."""
        if has_addresses(compiled):
            refusal.note(
                f"{self._name} holds addresses in memory, which mean something in this process alone. Let it "
                "close over constants and kernels, not over arrays or C functions"
            )
            return
        if not is_current():
            refusal.note("the sources of the kernels have changed since they were imported. Restart Python")
            return
        try:
            payload = dumps(reduced(compiled))
        except Exception as error:  # numba's own business, and no reason to break a run
            refusal.note(f"numba cannot serialise {self._name}: {error!r}")
            return
        try:
            keep(self._file_name(signature, compiled.codegen), payload)
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
        """The first folder that entries are looked for in."""
        return str(next(cache_folders(), ""))

    def _file_name(self, signature: Any, codegen: Any) -> str:
        """Return the name of the entry for a signature, without the digest of the sources."""
        key = (self._identity, str(signature), target_key(codegen), (*code_settings(), Kernel.wanted.name))
        return f"{self._name}.{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.nbc"
