"""Only the module ``numba_internals`` uses undocumented names of numba and llvmlite."""

import ast
import operator
import re
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from numba import TypingError, typeof, types
from numba.core.registry import cpu_target
from numba.core.typing.context import Context

import fastnn
import fastnn_kernels
from fastnn_kernels.compiler import numba_internals
from fastnn_kernels.compiler.jit import kernel

INTERNALS = Path(numba_internals.__file__)
KERNELS, PACKAGE = (Path(package.__file__).parent for package in (fastnn_kernels, fastnn))
# The source folder `kernels` also holds scripts beside the package; an installed package has no such folder.
ROOTS = (KERNELS.parent if KERNELS.parent.name == "kernels" else KERNELS, PACKAGE)
SOURCES = sorted({path for root in ROOTS for path in root.rglob("*.py")} - {INTERNALS})

DOCUMENTED_MODULES = {
    "numba", "numba.extending", "numba.types", "llvmlite", "llvmlite.ir", "llvmlite.binding"
}  # fmt: skip
UNDOCUMENTED_MEMBERS = {"config", "core", "cpython", "misc", "np"}  # of the module numba itself
# Undocumented names without a leading underscore.
UNDOCUMENTED = {
    "CACHE_DIR", "CPU_FEATURES", "DISABLE_JIT", "add_ir_module", "add_overload", "call_conv", "can_convert",
    "create_ir_module", "data_model_manager", "enable_boundscheck", "enable_object_caching", "env_name",
    "get_asm_str", "get_call_template", "get_executable", "get_pointer_to_function", "has_dynamic_globals",
    "llvm_func_name", "magic_tuple", "no_cpython_wrapper", "resolve_function_type",
    "serialize_using_bitcode", "serialize_using_object_code", "set_env", "targetctx", "unserialize_library",
}  # fmt: skip


def private_attributes(tree):
    """Return the names with one leading underscore that are used as attributes."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and re.match("_[^_]", node.attr)
    }


# `_replace` is a documented method of named tuples; objects of this project have locks named `_lock`, too.
PRIVATE = UNDOCUMENTED | private_attributes(ast.parse(INTERNALS.read_text())) - {"_replace", "_lock"}


def is_undocumented(module, member=None):
    if not re.fullmatch(r"(numba|llvmlite)(\.[\w.]+)?", module):
        return False
    if member is not None and f"{module}.{member}" in DOCUMENTED_MODULES:
        return False
    hidden = member is not None and (
        re.match("_[^_]", member) or (module == "numba" and member in UNDOCUMENTED_MEMBERS)
    )
    return module not in DOCUMENTED_MODULES or hidden


def uses(tree):
    """Yield the undocumented names of numba and llvmlite that a file uses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if is_undocumented(alias.name))
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                if is_undocumented(node.module, alias.name):
                    yield f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Attribute):
            owner = ast.unparse(node.value)
            if node.attr in PRIVATE or is_undocumented(owner, node.attr):
                yield f"{owner}.{node.attr}"
        elif isinstance(node, ast.ClassDef):
            methods = (part.name for part in node.body if isinstance(part, ast.FunctionDef))
            yield from (f"{node.name}.{name}" for name in methods if name in PRIVATE)


def test_no_other_module_uses_undocumented_names():
    assert {"vector.py", "compiled.py", "jit.py"} <= {path.name for path in SOURCES}
    found = {path.name: list(uses(ast.parse(path.read_text()))) for path in SOURCES}
    assert {name: names for name, names in found.items() if names} == {}


def test_kernels_use_private_attributes_of_their_own_only():
    trees = [ast.parse(path.read_text()) for path in SOURCES if KERNELS in path.parents]
    defined = {"_getframe", "_asdict", "_fields", "_replace"}  # of sys and of named tuples: documented
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            defined.add(node.attr)
        elif isinstance(node, ast.FunctionDef):
            defined.add(node.name)
    assert set().union(*map(private_attributes, trees)) - defined == set()


@pytest.mark.parametrize(
    "source",
    [
        "import numba.core.types",
        "from numba.core import cgutils",
        "from numba import config",
        "from numba.np.arrayobj import populate_array",
        "from numba.extending import _Intrinsic",
        "import llvmlite.binding.ffi",
        "from llvmlite.binding import ffi, executionengine as engine\nfrom llvmlite.ir._utils import x",
        "def f():\n    from numba.misc.appdirs import AppDirs",
        "llvmlite.binding.ffi.lib._lock",
        "numba.core.config",
        "numba.config.CACHE_DIR",
        "context.call_conv",
        "library._final_module",
        "class D:\n    def _compile_for_args(self): pass",
    ],
)
def test_undocumented_names_are_found(source):
    assert list(uses(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "from numba import types, njit, typeof\nimport numba\nnumba.types.int64",
        "from numba.extending import intrinsic, models",
        "from llvmlite import ir\nimport llvmlite.binding\nllvmlite.binding.get_process_triple()",
        "from .numba_internals import cgutils\nself._pointer",
    ],
)
def test_documented_names_are_allowed(source):
    assert not list(uses(ast.parse(source)))


def test_each_exported_name_has_a_comment():
    source = INTERNALS.read_text()
    block = re.search(r"^__all__ = \[\n(.*?)^\]", source, flags=re.DOTALL | re.MULTILINE)[1]
    names = [re.fullmatch(r'    "(\w+)",  # \S.*\S', line)[1] for line in block.splitlines()]
    assert names == numba_internals.__all__
    for name in names:
        assert hasattr(numba_internals, name)


def test_exactly_the_exported_names_are_used():
    used = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("numba_internals"):
                used |= {alias.name for alias in node.names}
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "numba_internals":
                used.add(node.attr)
    assert used == set(numba_internals.__all__)


def test_environments_are_set_by_the_library_if_possible_else_by_its_codegen():
    calls = []
    codegen = SimpleNamespace(set_env=lambda *arguments: calls.append(("codegen", *arguments)))
    shared = SimpleNamespace(codegen=codegen)
    alone = SimpleNamespace(codegen=codegen, set_env=lambda *arguments: calls.append(("library", *arguments)))
    environment = SimpleNamespace(env_name="name")
    for library in (shared, alone):
        numba_internals.set_environments(
            SimpleNamespace(library=library, _find_referenced_environments=lambda: [environment])
        )
    assert calls == [("codegen", "name", environment), ("library", "name", environment)]


@kernel
def doubled(x):
    return 2 * x


def test_the_signatures_of_calls_are_remembered_but_for_those_of_kernels(monkeypatch):
    original = cpu_target.typing_context
    context, resolved = numba_internals.KernelTypingContext(original), []
    assert vars(context) is vars(original)
    context.refresh()  # registers operators
    number, text, function = types.float64, types.unicode_type, typeof(doubled)
    context.resolve_function_type(function, (number,), {})  # compiles the kernel

    def resolve(self, func, args, kws, resolve=Context.resolve_function_type):
        resolved.append(func)
        return resolve(self, func, args, kws)

    monkeypatch.setattr(Context, "resolve_function_type", resolve)
    monkeypatch.setattr(numba_internals.KernelTypingContext, "signatures", {})
    add = context.resolve_value_type(operator.add)
    first, again = (context.resolve_function_type(add, (number, number), {}) for _ in range(2))
    assert first is again
    assert first.return_type == number
    assert resolved == [add]
    assert context.resolve_function_type(add, (types.int64, types.int64), {}).return_type == types.int64
    for _ in range(2):  # a call that fails is tried again
        with pytest.raises(TypingError):
            context.resolve_function_type(add, (number, text), {})
    assert resolved == [add] * 4
    assert {context.resolve_function_type(function, (number,), {}).return_type for _ in range(2)} == {number}
    assert resolved[4:] == [function] * 2


def test_passes_that_kernels_leave_out_are_passes_of_numba():
    """A pass that a release of numba renames would run again, unnoticed."""
    state = SimpleNamespace(
        func_ir=None,
        flags=SimpleNamespace(
            auto_parallel=SimpleNamespace(enabled=False), no_rewrites=False, enable_ssa=True
        ),
    )
    passes = numba_internals.DefaultPassBuilder.define_nopython_pipeline(state).passes
    names = {step.name() for step, _ in passes}
    assert names >= numba_internals.UNNEEDED_PASSES | numba_internals.CLOSURE_PASSES


def test_kernels_may_have_inner_functions():
    @kernel
    def outer(x, n):
        def inner(y):
            return y + n

        return inner(x) * 2

    assert (outer(3, 1), outer(0.5, 1)) == (8, 3.0)


def test_kernels_cannot_compute_with_whole_arrays():
    @kernel
    def fill(x, y):
        y[:] = x + x

    with pytest.raises(numba.core.errors.NumbaError):
        fill(np.ones(3), np.ones(3))
