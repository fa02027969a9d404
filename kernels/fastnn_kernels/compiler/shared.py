"""Functions of LLVM IR that are compiled once, and that kernels call by their symbols.

The matrix product is a function with blocks for many widths and heights. If each kernel that computes a
product had a copy, LLVM would optimise all copies one by one, and every training, prediction and picture
would take some tenths of a second longer to compile. Instead a `SharedFunction` becomes machine code of its
own, and its address is the address of its symbol in every kernel.

The machine code of a shared function is an entry of the cache, like a kernel's. The entry of a kernel
names the shared functions that the kernel calls, which are made available before the kernel is loaded.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Sequence

import llvmlite.binding
from llvmlite import ir

from . import prebuilt
from .cache import claim_entry, is_current, read_entries, refusal, write_entry
from .numba_internals import (
    JITCodeLibrary,
    compile_function,
    emit_function,
    get_code_settings,
    get_cpu_context,
    get_library_address,
    get_library_assembly,
    get_library_code,
    get_target_key,
    global_compiler_lock,
    load_library_code,
)

# All shared functions, by name.
FUNCTIONS: dict[str, SharedFunction] = {}


class SharedFunction:
    """A function of LLVM IR without a result, which all kernels of this process share.

    `name` is its symbol, and `kinds` are the IR types of the arguments. The function
    ``emit(context, builder, *arguments)`` emits the body; context is numba's target context.
    """

    def __init__(self, name: str, kinds: Sequence[ir.Type], emit: Callable[..., None]) -> None:
        self.name, self._type, self._emit = name, ir.FunctionType(ir.VoidType(), kinds), emit
        self._library: JITCodeLibrary | None = None
        FUNCTIONS[name] = self

    def declare(self, module: ir.Module) -> ir.Function:
        """Return the function's declaration in an LLVM module, for calls; make the function available."""
        if prebuilt.building is None:
            self.make_available()
        if self.name in module.globals:
            return module.globals[self.name]
        function = ir.Function(module, self._type, self.name)
        function.attributes.add("nounwind")
        return function

    def make_available(self) -> None:
        """Load or compile the function, and define its symbol."""
        if self._library is not None:
            return
        with global_compiler_lock:
            if self._library is None:  # no other thread has made the function available meanwhile
                library = self._load_or_compile()
                llvmlite.binding.add_symbol(self.name, get_library_address(library, self.name))
                self._library = library  # which owns the machine code

    def _load_or_compile(self) -> JITCodeLibrary:
        """Return the library with the machine code, from the cache if there is an entry."""
        entry = self._make_entry_name()
        library = self._load(entry)
        if library is None:
            with claim_entry(entry):  # another process may be compiling the function
                library = self._load(entry) or self._compile(entry)
        return library

    def _compile(self, entry: str) -> JITCodeLibrary:
        """Compile the function, and save its machine code."""
        library = compile_function(self.name, self._type, self._emit)
        # A kernel whose sources have changed gives the reason in `KernelCache.save_overload`.
        if is_current():
            try:
                write_entry(entry, get_library_code(library))
            except OSError as error:
                refusal.note(str(error))
        return library

    def _load(self, entry: str) -> JITCodeLibrary | None:
        """Return the library with the saved machine code; None if there is no valid entry."""
        for payload in read_entries(entry):
            with contextlib.suppress(Exception):  # numba cannot load the entry: compile again
                return load_library_code(self.name, payload)
        return None

    def _make_entry_name(self) -> str:
        """Return the file name of the cache's entry, without the digest of the sources."""
        key = get_target_key(get_cpu_context().codegen()), get_code_settings()
        return f"shared.{self.name}.{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}.nbc"

    def emit(self) -> str:
        """Return the function as LLVM IR."""
        return str(emit_function(self.name, self._type, self._emit))

    @property
    def assembly(self) -> str:
        """Assembly of the function, if it was not loaded from the cache."""
        return get_library_assembly(self._library)


def make_available(names: Iterable[str]) -> None:
    """Make all shared functions with these names available to machine code of this process."""
    for name in names if prebuilt.building is None else ():
        FUNCTIONS[name].make_available()
