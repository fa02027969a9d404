"""The one decorator, with every compiler option; what a kernel is compiled to, and kept as on disk.

``@kernel`` compiles a function. One that a factory specialises, as ``activation_forward("tanh")``, closes
over the kernels and constants it is made of. A kernel that another calls is built into it, and becomes
machine code there alone: numba's own way, to make all of it ready to be called by itself, takes a third
longer. One that another calls through a pointer (``pointer.py``) becomes machine code without what Python
needs. Compiled kernels are kept on disk; what cannot be kept is compiled again in every process. Whoever
wants to know of compilations, which take up to seconds, adds a function to ``compilation_listeners``.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import inspect
import pickle
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import llvmlite.binding
from numba.core import config, sigutils
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, CompileResult
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic
from numba.core.registry import CPUDispatcher
from numba.core.serialize import dumps

from .cache import cache_folders, is_current, keep, kept, refusal
from .forks import wait_at_fork
from .interrupts import held_interrupts

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
    # Numba tells symbols of one name apart by a number that every process counts anew: of two kernels out of
    # one factory, compiled by two processes, a third would link one in place of the other.
    tag = hashlib.sha256(repr(identity(function)).encode()).hexdigest()[:16]
    function.__qualname__ = f"{function.__qualname__}_{tag}"
    if config.DISABLE_JIT:
        return function
    dispatcher = Kernel(function, targetoptions={"nopython": True, **OPTIONS})
    dispatcher._cache = KernelCache(function)
    return dispatcher


def identity(function: Callable) -> tuple:
    """What sets a kernel apart from its siblings out of the same factory: all it closes over.

    Numba cannot hash a closure that holds other kernels, so this is what the cache's key is of.
    """
    cells = inspect.getclosurevars(function).nonlocals
    return (
        function.__module__,
        function.__qualname__,
        tuple((name, _identity_of(value)) for name, value in sorted(cells.items())),
    )


def _identity_of(value: object) -> object:
    if isinstance(value, Dispatcher):
        return identity(value.py_func)
    if isinstance(value, _Intrinsic):
        return value._defn.__module__, value._defn.__qualname__
    if isinstance(value, (int, float, str, tuple)):
        return value
    raise TypeError(f"a kernel may close over kernels, intrinsics and constants, not over {value!r}")


# A child would wait for ever for a compilation in a thread that it does not have.
wait_at_fork(global_compiler_lock)


# --- what a kernel is compiled to ----------------------------------------------------------------


class Kind(enum.Enum):
    """What a kernel is compiled to."""

    CALLABLE = "what Python calls"
    PART = "what is built into its callers: neither optimised nor machine code, which they become"
    CODE = "machine code alone"


class Part(JITCodeLibrary):
    """The code of a `Kind.PART`."""

    def _optimize_final_module(self) -> None:
        """Nothing."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def serialize_using_object_code(self) -> tuple[str, str, bytes]:
        """As there is none, what there is."""
        return self.serialize_using_bitcode()


class Code:
    """Where the machine code of a kernel begins; numba knows it by this, where Python does not call it."""

    def __init__(self, address: int = 0) -> None:
        self.address = address


def part_code(*_: Any) -> Code:
    """That of a part, of which there is none."""
    return Code()


def placed_code(library: Any, description: Any, environment: Any) -> Code:
    """That of a kernel which is machine code alone."""
    return Code(library.get_pointer_to_function(description.llvm_func_name))


# In place of numba's own, by which it makes something that Python can call.
CODE_OF = {Kind.PART: part_code, Kind.CODE: placed_code}


class KernelCompiler(Compiler):
    """Numba's, which compiles to the kind of code that is wanted."""

    def __init__(self, typing_context: Any, target_context: Any, library: Any, *arguments: Any) -> None:
        super().__init__(typing_context, target_context, library, *arguments)
        if Kernel.wanted is Kind.PART:
            self.state.library = Part(target_context.codegen(), "part")
        if Kernel.wanted is not Kind.CALLABLE:
            self.state.flags.no_cpython_wrapper = True
            # Of a copy that is made for this compilation.
            self.state.targetctx.get_executable = CODE_OF[Kernel.wanted]


class Kernel(CPUDispatcher):
    """A numba dispatcher that compiles to another kind of code for compiled code than for Python."""

    wanted = Kind.CALLABLE  # of what is compiled just now; under numba's lock

    def __init__(
        self, py_func: Callable, locals: Any = None, targetoptions: Any = None, pipeline_class: Any = None
    ) -> None:
        super().__init__(py_func, locals, targetoptions, pipeline_class or KernelCompiler)
        # Of what is in `overloads`, too: there are those of the kind that was wanted last.
        self.compiled: dict[Kind, dict[tuple, CompileResult]] = {kind: {} for kind in Kind}

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Numba's hook: how compiled code calls it."""
        with wanting(Kind.PART):
            return super().get_call_template(args, kws)

    def _compile_for_args(self, *args: Any, **kws: Any) -> Any:
        """Numba's hook: what Python calls for these arguments."""
        with wanting(Kind.CALLABLE):
            code = super()._compile_for_args(*args, **kws)
        refusal.tell()
        return code

    def compile(self, signature: Any) -> Any:
        """Numba's hook: the code for arguments of these types, of the kind that is wanted."""
        with global_compiler_lock:
            types = tuple(sigutils.normalize_signature(signature)[0])
            # Callers are always built from parts, so that it does not matter what Python called before.
            self.overloads.pop(types, None)
            if types in self.compiled[Kernel.wanted]:
                self.overloads[types] = self.compiled[Kernel.wanted][types]
            return super().compile(signature)

    def add_overload(self, compiled: CompileResult) -> None:
        """Numba's hook: Python sees what it can call alone."""
        types = tuple(compiled.signature.args)
        self.compiled[Kernel.wanted][types] = compiled
        if Kernel.wanted is Kind.CALLABLE:
            super().add_overload(compiled)
        else:
            self.overloads[types] = compiled
        if Kernel.wanted is not Kind.PART:
            # What it and parts built into it need to tell of an exception, or to print.
            for environment in compiled._find_referenced_environments():
                compiled.codegen.set_env(environment.env_name, environment)


@contextlib.contextmanager
def wanting(kind: Kind) -> Iterator[None]:
    """While kernels are compiled to this kind of code, but for what is built into them.

    Ctrl-C waits for the end: the compiler does not bear to be left anywhere.
    """
    with global_compiler_lock, held_interrupts():
        before = Kernel.wanted
        try:
            Kernel.wanted = kind
            yield
        finally:
            Kernel.wanted = before


def machine_code(kernel: Kernel, types: tuple) -> CompileResult:
    """A kernel as machine code alone, for arguments of these types; its `entry_point` is a `Code`."""
    with wanting(Kind.CODE):
        kernel.compile(types)
        compiled = kernel.compiled[Kind.CODE][types]
    refusal.tell()
    return compiled


def rebuilt(target_context: Any, state: tuple) -> CompileResult:
    """The reverse of ``CompileResult._reduce``, for every kind."""
    if Kernel.wanted is Kind.CALLABLE:
        return CompileResult._rebuild(target_context, *state)
    (name, _, code), *_, environments = state
    codegen = target_context.codegen
    if Kernel.wanted is Kind.PART:
        library = Part(codegen(), name)
        library._final_module = llvmlite.binding.parse_bitcode(code)
        library._finalize_final_module()
        state = (*state[:-1], ())  # environments are set where there is machine code
        codegen = lambda: SimpleNamespace(unserialize_library=lambda _: library)  # noqa: E731
    context = SimpleNamespace(
        codegen=codegen, get_executable=CODE_OF[Kernel.wanted], typing_context=target_context.typing_context
    )
    compiled = CompileResult._rebuild(context, *state)
    return compiled._replace(target_context=target_context, referenced_envs=environments)


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
        """The compiled code for `signature`, or None where no folder holds it whole."""
        target_context.refresh()
        for payload in kept(self._file_name(signature, target_context.codegen())):
            try:
                return rebuilt(target_context, pickle.loads(payload))
            except Exception:  # whole, but of a numba that differs in whatever way: compile again
                continue
        if Kernel.wanted is not Kind.PART:
            for listener in compilation_listeners:
                with contextlib.suppress(Exception):
                    listener(tuple(sigutils.normalize_signature(signature)[0]))
        return None

    def save_overload(self, signature: Any, compiled: CompileResult) -> None:
        """Keep `compiled`, if it can be."""
        if compiled.library.has_dynamic_globals or not is_current():
            return
        try:
            payload = dumps(compiled._reduce())
        except Exception as error:  # numba's own business, and no reason to break a run
            refusal.note(f"numba cannot serialise {self._name}: {error!r}")
            return
        try:
            keep(self._file_name(signature, compiled.codegen), payload)
        except OSError as error:
            refusal.note(str(error))

    def enable(self) -> None:
        """Numba's hook; the cache is always on."""

    def disable(self) -> None:
        """Numba's hook; the cache is always on."""

    def flush(self) -> None:
        """Numba's hook for ``recompile``: entries are keyed by their sources, so none is stale."""

    @property
    def cache_path(self) -> str:
        """The first folder looked into."""
        return str(next(cache_folders(), ""))

    def _file_name(self, signature: Any, codegen: Any) -> str:
        # What changes the machine code and is not in the sources; numba leaves most of it out of its
        # own key.
        settings = (
            config.BOUNDSCHECK,
            int(config.OPT),
            config.DEBUGINFO_DEFAULT,
            config.LOOP_VECTORIZE,
            config.SLP_VECTORIZE,
            Kernel.wanted.name,
        )
        key = (self._identity, str(signature), codegen.magic_tuple(), settings)
        return f"{self._name}.{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.nbc"
