"""All private and undocumented names of numba that the kernels use.

Other files import documented names alone: ``numba.types``, ``numba.extending``, ``llvmlite.ir`` and functions
of ``llvmlite.binding``. If a release of numba moves or renames anything else, this file alone changes.
"""

from __future__ import annotations

import functools
import inspect
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils, config, sigutils
from numba.core.base import BaseContext as TargetContext
from numba.core.caching import NullCache
from numba.core.codegen import Codegen, JITCodeLibrary
from numba.core.compiler import Compiler, CompileResult, DefaultPassBuilder, StateDict, compile_result
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.dispatcher import Dispatcher
from numba.core.environment import Environment, lookup_environment
from numba.core.extending import _Intrinsic
from numba.core.funcdesc import FunctionDescriptor
from numba.core.registry import CPUDispatcher, cpu_target
from numba.core.typeconv import Conversion
from numba.core.typed_passes import NopythonTypeInference
from numba.core.types import Dispatcher as DispatcherType
from numba.core.types import Type
from numba.core.typing.context import Context
from numba.core.typing.templates import Signature
from numba.misc.appdirs import user_cache_dir
from numba.np.unsafe.ndarray import to_fixed_tuple

# Every name, with the property of numba that it relies on.
__all__ = [
    "ArrayFields",  # data models of arrays have fields of these names
    "Codegen",  # code generators make libraries, and have `magic_tuple`
    "CompileResult",  # has `signature`, `entry_point`, `library`, `codegen`; a named tuple
    "Compiler",  # the pipeline class of dispatchers; begins with typing context, target context, library
    "Context",  # typing contexts share their state
    "EntryMaker",  # a function of a library, a description and an environment
    "Environment",  # holds the globals of a kernel, by the name of a variable of its code
    "FunctionDescriptor",  # has `llvm_func_name`
    "HookedDispatcher",  # dispatchers call these methods of themselves, and have a dict `overloads` by types
    "JITCodeLibrary",  # libraries of code whose methods can be overridden
    "KernelLibrary",  # a method of code libraries optimises functions; code generators make pass builders
    "KernelTypingContext",  # compilers type calls by a method of a typing context, whose state can be shared
    "NullCache",  # the methods of a cache that dispatchers call
    "PartLibrary",  # code libraries optimise and add to the engine in methods that can be overridden
    "Signature",  # has `args` and `return_type`
    "TargetContext",  # of the CPU: `call_conv`, `enable_boundscheck`, types as LLVM types, casts
    "call_address",  # the calling convention takes an address in place of a function
    "cgutils",  # emits loops, allocations on the stack, tuples and checks of bounds
    "checks_bounds",  # target contexts have `enable_boundscheck`
    "compile_function",  # code libraries take modules of llvmlite.ir
    "emit_function",  # code generators make empty modules by `_create_empty_module`
    "get_argument_types",  # sigutils.normalize_signature takes signatures and tuples of types
    "get_cache_setting",  # config.CACHE_DIR, the environment variable NUMBA_CACHE_DIR
    "get_code_address",  # code libraries find functions by `llvm_func_name` of a function description
    "get_code_settings",  # flags of config that change machine code
    "get_cpu_context",  # `cpu_target` has the CPU's contexts
    "get_cpu_features",  # config.CPU_FEATURES, the environment variable NUMBA_CPU_FEATURES
    "get_dispatcher_function",  # compiled functions are a Dispatcher, with the Python function as `py_func`
    "get_intrinsic_function",  # intrinsics keep the Python function as `_defn`
    "get_library_address",  # code libraries find functions by name
    "get_library_assembly",  # code libraries have `get_asm_str`
    "get_library_code",  # code libraries keep the object code that LLVM made, for numba's own cache
    "get_target_key",  # `magic_tuple` of a code generator identifies the target machine
    "get_user_cache_folder",  # `user_cache_dir` knows the folders of all systems
    "global_compiler_lock",  # a reentrant lock that numba holds while it compiles
    "has_addresses",  # code libraries have `has_dynamic_globals`
    "is_conversion_safe",  # typing contexts rank conversions
    "is_disabled",  # config.DISABLE_JIT, the environment variable NUMBA_DISABLE_JIT
    "list_declared_names",  # code libraries have their LLVM module as `_final_module`
    "list_symbols",  # a kernel's function and environment have names; environments hold constants
    "load_kernel",  # compile_result takes fields by name; a FunctionDescriptor is made of names and types
    "load_library_code",  # code libraries pass on given object code; engines find its symbols
    "make_array",  # the fields of an array's data model; no owner is a null pointer
    "make_pipeline",  # passes may change the target context: `enable_nrt`, `get_abi_sizeof`
    "return_error",  # the calling convention returns user exceptions
    "set_cache",  # dispatchers keep their cache as `_cache`
    "set_code_maker",  # a compilation has its own target context, whose `get_executable` makes entry points
    "set_data_layout",  # LLVM's types have `get_abi_size`, given the layout
    "set_environments",  # environments are found by names of global variables and set by `set_env`
    "set_library",  # `state.library` of a compiler receives the code
    "to_fixed_tuple",  # converts an array to a tuple of constant length, in kernels
]


# Makes the entry point of a kernel from its library, description and environment.
EntryMaker = Callable[[JITCodeLibrary, FunctionDescriptor, Environment], object]


# --- settings and types --------------------------------------------------------------------------


def is_disabled() -> bool:
    """Return True if the user has disabled compilation (NUMBA_DISABLE_JIT=1)."""
    return bool(config.DISABLE_JIT)


def get_cache_setting() -> str:
    """Return the folder that the user chose for compiled code, or an empty string."""
    return config.CACHE_DIR


def get_user_cache_folder() -> Path:
    """Return the folder of this user's caches for fastnn, beside numba's own."""
    return Path(user_cache_dir("fastnn", appauthor=False))


def get_cpu_features() -> str | None:
    """Return the processor features that the user chose, comma-separated; None for this machine's."""
    return config.CPU_FEATURES


def get_code_settings() -> tuple:
    """Return the settings that change machine code; numba's own cache key lacks most of them."""
    vectorizers = config.LOOP_VECTORIZE, config.SLP_VECTORIZE
    return config.BOUNDSCHECK, int(config.OPT), config.DEBUGINFO_DEFAULT, *vectorizers


def get_argument_types(signature: Signature | tuple) -> tuple:
    """Return the argument types of a signature, which may be a numba signature or a tuple of types."""
    return tuple(sigutils.normalize_signature(signature)[0])


def is_conversion_safe(typing_context: Context, given: Type, wanted: Type) -> bool:
    """Return True if numba converts the type `given` to `wanted` without loss."""
    safe = (Conversion.exact, Conversion.promote, Conversion.safe)
    return typing_context.can_convert(given, wanted) in safe


# --- functions and dispatchers -------------------------------------------------------------------


def get_dispatcher_function(value: object) -> Callable | None:
    """Return the Python function that `value` was compiled from; None if numba did not compile it."""
    return value.py_func if isinstance(value, Dispatcher) else None


def get_intrinsic_function(value: object) -> Callable | None:
    """Return the Python function that `value`, an intrinsic, was made from; None for anything else."""
    return value._defn if isinstance(value, _Intrinsic) else None


def set_cache(dispatcher: CPUDispatcher, cache: NullCache) -> None:
    dispatcher._cache = cache


class HookedDispatcher(CPUDispatcher):
    """Numba dispatcher whose subclass chooses the kind of code and stores it, in four methods.

    The methods are `compile_for_kernels`, `compile_for_python`, `find_code` and `store_code`; the others
    override numba's.
    """

    @abstractmethod
    def compile_for_kernels(self) -> AbstractContextManager:
        """Return the context in which numba compiles this function for a caller that is compiled."""

    def compile_for_python(self, *args: Any, **kws: Any) -> Any:
        """Compile for a call from Python with these arguments, and return the code."""
        return super()._compile_for_args(*args, **kws)

    @abstractmethod
    def find_code(self, types: tuple) -> CompileResult | None:
        """Return stored code of the current kind for arguments of these types; None if there is none."""

    @abstractmethod
    def store_code(self, types: tuple, compiled: CompileResult) -> bool:
        """Store code of the current kind, for `find_code`; return True if Python may call it."""

    def get_call_template(self, args: tuple, kws: dict) -> tuple:
        """Handle a call from compiled code; called by numba."""
        with self.compile_for_kernels():
            return super().get_call_template(args, kws)

    def _compile_for_args(self, *args: Any, **kws: Any) -> Any:
        """Handle a call from Python with arguments of new types; called by numba."""
        return self.compile_for_python(*args, **kws)

    def compile(self, signature: Signature | tuple) -> object:
        """Return the entry point of the code for arguments of these types; called by numba."""
        with global_compiler_lock:
            types = get_argument_types(signature)
            # Numba would return the code in `overloads`, which may be of another kind than the current one:
            # replace that entry first.
            self.overloads.pop(types, None)
            known = self.find_code(types)
            if known is not None:
                self.overloads[types] = known
            return super().compile(signature)

    def add_overload(self, compiled: CompileResult) -> None:
        """Store code that has been compiled or loaded; called by numba."""
        types = tuple(compiled.signature.args)
        if self.store_code(types, compiled):
            super().add_overload(compiled)
        else:
            self.overloads[types] = compiled


# --- compilation ---------------------------------------------------------------------------------


class KernelTypingContext(Context):
    """Numba's typing context, with all of its state, that remembers the signatures of calls.

    Kernels call few functions many times with the same types, and numba tries every overload at each call.
    """

    signatures: ClassVar[dict[tuple[int, ...], tuple]] = {}

    def __init__(self, original: Context) -> None:
        self.__dict__ = original.__dict__

    def resolve_function_type(self, func: Type, args: tuple, kws: dict) -> Signature | None:
        """Return the signature of a call; called by numba."""
        key = (id(func), *map(id, args)) if not kws else ()  # equal types are one object
        if key in self.signatures:
            return self.signatures[key][0]
        signature = super().resolve_function_type(func, args, kws)
        # The call of a kernel compiles it, to the kind of code that is wanted at present.
        if key and signature and not isinstance(func, DispatcherType):
            self.signatures[key] = signature, func, args  # types that are kept stay the same objects
        return signature


class KernelLibrary(JITCodeLibrary):
    """Library of code that becomes machine code: LLVM IR, linked with the parts that it calls."""

    layout: ClassVar[str] = ""  # of data, if it is not this processor's

    def __init__(self, target_context: TargetContext, name: str) -> None:
        super().__init__(target_context.codegen(), name)
        self.enable_object_caching()

    def _optimize_functions(self, module: llvmlite.binding.ModuleRef) -> None:
        """Run a few cheap passes on each function before it is linked.

        Numba runs all passes of its optimisation level here, and again on the linked module. The cheap passes
        remove most of what lowering emits: copies on the stack, branches of constants, redundant casts.
        """
        make_builder = getattr(self._codegen, "_pass_builder", None)
        if make_builder is None or not int(config.OPT):
            return super()._optimize_functions(module)
        module.data_layout = self.layout or self._codegen._data_layout
        passes = llvmlite.binding.create_new_function_pass_manager()
        passes.add_sroa_pass()
        passes.add_simplify_cfg_pass()
        passes.add_instruction_combine_pass()
        builder = make_builder()
        for function in module.functions:
            if not function.is_declaration:
                passes.run(function, builder)


class LoadedLibrary(KernelLibrary):
    """Library of machine code from the cache; raises ValueError if the code lacks the function `symbol`."""

    def __init__(self, target_context: TargetContext, symbol: str, code: bytes) -> None:
        super().__init__(target_context, symbol)
        if not code:  # LLVM would compile the module, which is empty
            raise ValueError("there is no machine code")
        self._set_compiled_object(code)
        self._finalize_final_module()
        self.get_pointer_to_function(symbol)

    def get_pointer_to_function(self, name: str) -> int:
        """Return the address of a symbol; raise ValueError if there is none."""
        # Numba's own method looks into its list of the symbols in LLVM modules, and the module is empty.
        address = self._codegen._engine.get_global_value_address(name)
        if not address:
            raise ValueError(f"the machine code lacks {name!r:.200}")
        return address


class PartLibrary(KernelLibrary):
    """Library of a part: LLVM IR after the cheap passes, which is linked into the callers' libraries."""

    def _optimize_final_module(self) -> None:
        """Skip optimisation: a part is optimised inside its caller."""

    def _finalize_final_module(self) -> None:
        """Skip machine code: the engine never sees the module."""
        self._finalize_dynamic_globals()
        self._finalized = True


class LoadedPart(PartLibrary):
    """Library of a part's bitcode from the cache; raises ValueError if it lacks the function `symbol`."""

    def __init__(self, target_context: TargetContext, symbol: str, code: bytes) -> None:
        super().__init__(target_context, symbol)
        self._final_module = llvmlite.binding.parse_bitcode(code)
        self._final_module.get_function(symbol)  # raises NameError
        self._finalize_final_module()


def list_declared_names(library: JITCodeLibrary) -> list[str]:
    """Return the names of the functions that a library calls but does not define."""
    return [function.name for function in library._final_module.functions if function.is_declaration]


def get_cpu_context() -> TargetContext:
    return cpu_target.target_context


def set_data_layout(layout: str) -> None:
    """Let numba lay out the data of kernels as another processor does, whose addresses have another size."""
    KernelLibrary.layout = layout


def compile_function(name: str, kind: ir.FunctionType, emit: Callable[..., None]) -> JITCodeLibrary:
    """Return the library of a function of LLVM IR; ``emit(context, builder, *arguments)`` emits its body.

    Numba optimises the function by itself and again in its module: the outer loops get fewer instructions.
    """
    library = get_cpu_context().codegen().create_library(name)
    library.enable_object_caching()
    library.add_ir_module(emit_function(name, kind, emit))
    library.finalize()
    return library


def emit_function(name: str, kind: ir.FunctionType, emit: Callable[..., None]) -> ir.Module:
    """Return the LLVM IR of a function; see `compile_function` for the arguments."""
    context = get_cpu_context()
    context.refresh()  # registers conversions; loaded kernels do without
    module = context.codegen()._create_empty_module(name)
    function = ir.Function(module, kind, name)
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    emit(context, builder, *function.args)
    builder.ret_void()
    return module


def get_library_assembly(library: JITCodeLibrary) -> str:
    return library.get_asm_str()


def get_library_code(library: JITCodeLibrary) -> bytes:
    """Return a library's machine code, or the bitcode of a part."""
    if isinstance(library, PartLibrary):
        return library._final_module.as_bitcode()
    return library._get_compiled_object()


def load_library_code(symbol: str, code: bytes) -> LoadedLibrary:
    """Return the library of a function's machine code, which `get_library_code` returned."""
    return LoadedLibrary(get_cpu_context(), symbol, code)


def get_library_address(library: JITCodeLibrary, name: str) -> int:
    return library.get_pointer_to_function(name)


def set_library(compiler: Compiler, library: JITCodeLibrary) -> None:
    compiler.state.library = library


def set_code_maker(compiler: Compiler, make: EntryMaker) -> None:
    """Make ``make(library, description, environment)`` return the entry point, without a Python wrapper."""
    compiler.state.flags.no_cpython_wrapper = True
    # Numba copies the target context for each compilation: this assignment affects no other one.
    compiler.state.targetctx.get_executable = make


@register_pass(mutates_CFG=False, analysis_only=False)
class OmitReferenceCounts(FunctionPass):
    """Compiler pass that makes lowering emit no reference counts.

    The pass follows type inference, which would refuse functions that return windows of arrays.
    """

    _name = "omit_reference_counts"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: StateDict) -> bool:
        """Switch reference counts off; return False: the function is not changed."""
        state.targetctx.enable_nrt = False
        return False


# Passes that change no kernel, by name. A name that a release of numba does not have has no effect.
UNNEEDED_PASSES = frozenset(
    {
        "with_lifting",  # `with` statements: objmode, parallel_chunksize
        "inline_inlinables",  # calls of functions that ask numba's front end to inline them
        "inline_overloads",  # calls of overloads that ask for it
        "literal_unroll",  # loops over tuples of several types
        "nopython_rewrites",  # expressions of whole arrays, which allocate
        "Rewrite dynamic raises",  # exceptions whose arguments are variables
        "find_literally",  # arguments that are asked to be constants
        "LiteralPropagation",  # branches on `isinstance` and `hasattr`
        "dump_parfor_diagnostics",  # a report on parallel loops
    }
)


def make_pipeline(compiler: Compiler) -> list:
    """Return the passes that compile a function whose arrays have no reference counts.

    numba refuses to compile such a function if it allocates.
    """
    passes = DefaultPassBuilder.define_nopython_pipeline(compiler.state)
    passes.passes = [(step, text) for step, text in passes.passes if step.name() not in UNNEEDED_PASSES]
    passes.add_pass_after(OmitReferenceCounts, NopythonTypeInference)
    passes.finalize()
    # Numba asks for the size of every variable, and LLVM parses a module for each answer.
    context = compiler.state.targetctx
    layout = KernelLibrary.layout
    data = llvmlite.binding.create_target_data(layout) if layout else context.target_data
    context.get_abi_sizeof = functools.cache(lambda kind: kind.get_abi_size(data))
    return [passes]


def get_code_address(library: JITCodeLibrary, description: FunctionDescriptor) -> int:
    return library.get_pointer_to_function(description.llvm_func_name)


def set_environments(compiled: CompileResult) -> None:
    """Set the environments of a kernel and its parts: machine code needs them to raise and to print."""
    # The engine sets the variables. Some releases of numba have one engine per code generator, others one per
    # library.
    owner = compiled.library if hasattr(compiled.library, "set_env") else compiled.library.codegen
    for environment in compiled._find_referenced_environments():
        owner.set_env(environment.env_name, environment)


def has_addresses(compiled: CompileResult) -> bool:
    """Return True if the code contains memory addresses, which are valid in this process alone."""
    return compiled.library.has_dynamic_globals


def get_target_key(codegen: Codegen) -> tuple:
    """Return the identity of the machine for which `codegen` generates code."""
    return codegen.magic_tuple()


def list_symbols(compiled: CompileResult) -> list[str]:
    """Return the symbols of a kernel's function and environment, and of the environments of its parts.

    Code that needs Python objects, or initialisers that run before it is loaded, is a ValueError.
    """
    environments = compiled._find_referenced_environments()
    if compiled.reload_init or any(environment.consts for environment in environments):
        raise ValueError("its code needs Python objects")
    names = compiled.fndesc.mangled_name, compiled.fndesc.env_name
    return list(dict.fromkeys([*names, *(environment.env_name for environment in environments)]))


def load_kernel(
    target_context: TargetContext,
    function: Callable,
    signature: Signature,
    names: Sequence[str],
    code: bytes,
    make: EntryMaker | None,
    *,
    is_part: bool,
) -> CompileResult:
    """Return the compiled code of the kernel of a Python function, in this process or another.

    `names` and `code` are what `list_symbols` and `get_library_code` returned, and `make` is the function of
    `set_code_maker`, or None where numba builds the wrapper for Python; `is_part` is True for code that was
    compiled to a `PartLibrary`. Code that lacks a name is a ValueError or a NameError.
    """
    symbol, *_ = names
    library = (LoadedPart if is_part else LoadedLibrary)(target_context, symbol, code)
    environments = [_environment(name, function) for name in names[1:]]
    description = FunctionDescriptor(
        native=True,
        modname=function.__module__,
        qualname=function.__qualname__,
        unique_name=symbol,
        doc="",
        typemap=None,
        calltypes=None,
        restype=signature.return_type,
        argtypes=signature.args,
        args=tuple(inspect.signature(function).parameters),
        kws=(),
        inline=True,
        mangler=lambda *_, **__: symbol,
        env_name=names[1],
    )
    if not is_part:  # which has no machine code whose environments could be set
        for environment in environments:
            library.get_pointer_to_function(environment.env_name)  # raises ValueError
            library.codegen.set_env(environment.env_name, environment)
    return compile_result(
        target_context=target_context,
        typing_context=target_context.typing_context,
        type_annotation="",
        library=library,
        environment=environments[0],
        entry_point=(make or target_context.get_executable)(library, description, environments[0]),
        fndesc=description,
        signature=signature,
        objectmode=False,
        lifted=(),
        reload_init=[],
        referenced_envs=environments,
    )


def _environment(name: str, function: Callable) -> Environment:
    """Return the environment of this name; without constants, if there is none yet."""
    environment = lookup_environment(name)
    if environment is None:
        environment = Environment(function.__globals__)
        environment.env_name = name
        Environment._memo[name] = environment
    return environment


# --- code that intrinsics emit -------------------------------------------------------------------


def checks_bounds(context: TargetContext) -> bool:
    """Return True if code is compiled with bounds checks (NUMBA_BOUNDSCHECK=1)."""
    return context.enable_boundscheck


class ArrayFields:
    """The fields of an array in IR: `data`, `shape`, `strides` and `itemsize`, the latter two in bytes.

    Unlike numba's `make_array`, this class does not copy the array to the stack.
    """

    def __init__(self, context: TargetContext, builder: ir.IRBuilder, kind: Type, value: ir.Value) -> None:
        self.model, self.builder, self.value = context.data_model_manager[kind], builder, value

    def __getattr__(self, name: str) -> ir.Value:
        return self.model.get(self.builder, self.value, name)


def make_array(
    context: TargetContext, builder: ir.IRBuilder, kind: Any, data: ir.Value, shape: Sequence[ir.Value]
) -> ir.Value:
    """Return the IR value of a C-contiguous array without a reference count: it does not own its memory.

    `data` is an IR pointer, and `shape` are IR integers.
    """
    model, itemsize = context.data_model_manager[kind], ir.IntType(64)(kind.dtype.bitwidth // 8)
    strides = [itemsize]
    for size in shape[:0:-1]:
        strides.insert(0, builder.mul(size, strides[0]))
    array = ir.Constant(model.get_value_type(), None)  # no owner, and a count that is a null pointer
    fields = {
        "nitems": functools.reduce(lambda n, size: builder.mul(n, size, flags=("nsw",)), shape),
        "itemsize": itemsize,
        "data": data,
        "shape": cgutils.pack_array(builder, shape),
        "strides": cgutils.pack_array(builder, strides),
    }
    for name, value in fields.items():
        array = model.set(builder, array, value, name)
    return array


def call_address(
    context: TargetContext,
    builder: ir.IRBuilder,
    address: ir.Value,
    return_type: Type,
    types: Sequence[Type],
    values: Sequence[ir.Value],
) -> ir.Value:
    """Emit a call of the kernel at `address`, and return the IR value of its result.

    `types` are the types of the arguments. The caller raises any exception that the kernel raises.
    """
    convention = context.call_conv
    kind = convention.get_function_type(return_type, types)
    function = builder.bitcast(address, kind.as_pointer())
    status, result = convention.call_function(builder, function, return_type, types, values)
    with cgutils.if_unlikely(builder, status.is_error):
        convention.return_status_propagate(builder, status)
    return result


def return_error(context: TargetContext, builder: ir.IRBuilder, error: type[Exception], message: str) -> None:
    """Emit instructions that leave the kernel with an exception."""
    context.call_conv.return_user_exc(builder, error, (message,))
