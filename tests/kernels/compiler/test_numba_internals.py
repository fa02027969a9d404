"""Only the module ``numba_internals`` uses undocumented names of numba and llvmlite."""

import re
from pathlib import Path
from types import SimpleNamespace

import fastnn
import fastnn_kernels
from fastnn_kernels.compiler import numba_internals

INTERNALS = Path(numba_internals.__file__)
FOLDERS = [Path(package.__file__).parent for package in (fastnn_kernels, fastnn)]
SOURCES = {path: path.read_text() for folder in FOLDERS for path in folder.rglob("*.py") if path != INTERNALS}
PRIVATE = set(re.findall(r"[.](_[a-z]\w+)", INTERNALS.read_text())) - {"_replace", "_lock"}
# Imports and uses of undocumented modules, and undocumented attributes of what numba passes on.
UNDOCUMENTED = re.compile(
    r"numba\.(core|cpython|misc|np|config)\b|from numba import .*\b(core|cpython|misc|np|config)\b"
    r"|(numba\.extending|llvmlite[\w.]*) import .*\b(_[a-zA-Z]|ffi\b)|llvmlite[\w.]*\.(_[a-z]|ffi\b)"
    r"|\.(CACHE_DIR|CPU_FEATURES|DISABLE_JIT|add_ir_module|add_overload|call_conv|can_convert|create_ir_module"
    r"|data_model_manager|enable_boundscheck|enable_object_caching|env_name|get_asm_str|get_call_template"
    r"|get_executable|get_pointer_to_function|has_dynamic_globals|llvm_func_name|magic_tuple|no_cpython_wrapper"
    r"|resolve_function_type|serialize_using_\w+|set_env|targetctx|unserialize_library"
    rf"|{'|'.join(sorted(PRIVATE))})\b"
)


def test_no_other_module_uses_undocumented_names():
    assert UNDOCUMENTED.search(INTERNALS.read_text())
    found = {path.name: UNDOCUMENTED.findall(text) for path, text in SOURCES.items()}
    assert {name: names for name, names in found.items() if names} == {}


def test_passes_that_kernels_leave_out_are_passes_of_numba():
    """A pass that a release of numba renames would run again, unnoticed."""
    parallel = SimpleNamespace(enabled=False)
    flags = SimpleNamespace(auto_parallel=parallel, no_rewrites=False, enable_ssa=True)
    state = SimpleNamespace(func_ir=None, flags=flags)
    passes = numba_internals.DefaultPassBuilder.define_nopython_pipeline(state).passes
    names = {step.name() for step, _ in passes}
    assert names >= numba_internals.UNNEEDED_PASSES
