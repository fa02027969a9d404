"""Kernels that were compiled ahead of time: they run without numba, and numba compiles what is missing."""

import shutil
import subprocess

import pytest
from kernel_packages import BUILD_LIBRARY, HAS_LIBRARY, run

from fastnn_kernels.compiler.target import TARGETS

pytestmark = pytest.mark.needs("ziglang")

# Call kernels; print their results, and True if numba was loaded.
CALL = """
    import sys
    import numpy as np
    from fastnn_kernels.calls import encoding, formulas

    def call(name):
        (pointer,) = formulas.forward_table((name,), np.dtype(float)).pointers
        Z = np.linspace(-2, 2, 64).reshape(4, 16)
        A = np.full_like(Z, np.nan)
        pointer(Z, A)
        return A.tobytes().hex()[:64], "numba" in sys.modules

    column = np.zeros((5, 1), np.float32)
    encoding.smooth_scaled()(np.arange(5.0), 1.0, 2.0, 3.0, column, 0)
    print(*call("tanh"), column.tobytes().hex())
"""


def find_library(package):
    (path,) = (package / "prebuilt").iterdir()
    return path


def call(package, program=CALL, **environment):
    return run(package, program, **{"FASTNN_PREBUILT": "1", **environment}).split()


def test_prebuilt_kernels_run_without_numba_and_give_the_bits_of_compiled_ones(library_package):
    *bits, loads_numba, column = call(library_package)
    assert loads_numba == "False"
    *compiled_bits, loads_numba, compiled_column = call(library_package, FASTNN_PREBUILT="0")
    assert loads_numba == "True"
    assert (bits, column) == (compiled_bits, compiled_column)


CHANGING = [{"NUMBA_BOUNDSCHECK": "1"}, {"NUMBA_OPT": "1"}, {"FASTNN_VECTOR_BYTES": "16"}]
CHANGING += [{"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}]
OTHERS = [{"NUMBA_BOUNDSCHECK": "0"}, {"NUMBA_DISABLE_JIT": "1"}, {"FASTNN_VECTOR_BYTES": "its own"}]


@pytest.mark.parametrize("settings", [*CHANGING, *OTHERS], ids=str)
def test_settings_that_change_machine_code_make_numba_compile(library_package, settings):
    expected = str(settings in OTHERS)
    width = TARGETS[find_library(library_package).stem].vector_bytes
    settings = {name: value.replace("its own", str(width)) for name, value in settings.items()}
    assert call(library_package, HAS_LIBRARY, **settings) == [expected]


def test_numba_compiles_what_the_library_lacks_for_the_same_target(library_package):
    program = """
    from fastnn_kernels.compiler.prebuilt import load_library
    print(*call("relu"))
    from fastnn_kernels.vectors.processor import TARGET
    print(TARGET is load_library().target)
    """
    *_, relu, loads_numba, is_same = call(library_package, CALL + program)
    assert (loads_numba, is_same) == ("True", "True")
    assert relu


def test_an_edited_kernel_is_compiled_and_an_edited_call_side_is_not(library_package):
    for name, warned in (("compiler/entry", ""), ("layer", "numba compiles .* other sources: rebuild it .*")):
        with (library_package / f"{name}.py").open("a") as file:
            file.write("# edited\n")
        printed = run(library_package, CALL, warned=warned, FASTNN_PREBUILT="1")
        assert printed.split()[1] == str(bool(warned))


def test_a_library_says_whether_this_processor_can_run_it(library_package):
    """A library of any level runs here if LLVM finds its features in this processor."""
    program = """
        import ctypes
        import llvmlite.binding as llvm
        from fastnn_kernels.compiler import library, prebuilt

        has = llvm.get_host_cpu_features()
        for name in prebuilt.list_targets():
            path, target = library.build(name, pointers=[]), prebuilt.TARGETS[name]
            expected = not target.is_x86 or all(has.get(one[1:]) for one in target.features.split(","))
            print(bool(ctypes.CDLL(str(path))[prebuilt.RUNS_HERE]()) == expected)
    """
    assert {*run(library_package, program).split()} == {"True"}


@pytest.mark.slow
def test_two_builds_give_the_same_bytes(library_package):
    before = find_library(library_package).read_bytes()
    run(library_package, BUILD_LIBRARY, FASTNN_PREBUILT="1")
    assert find_library(library_package).read_bytes() == before


@pytest.mark.skipif(not shutil.which("readelf"), reason="there is no readelf")
def test_a_library_needs_four_functions_and_has_no_memory_to_write_and_run(library_package):
    def read(option):
        command = ["readelf", "--wide", option, find_library(library_package)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    undefined = {line.split()[-1].split("@")[0] for line in read("--dyn-syms") if " UND " in line}
    assert undefined - {"UND"} <= {"malloc", "free", "memset", "sched_yield"}
    flags = ["".join(line.split()[6:-1]) for line in read("--segments") if line.startswith("  LOAD")]
    assert flags
    assert not any("W" in flag and "E" in flag for flag in flags)
    assert not any("NEEDED" in line for line in read("--dynamic"))


def test_a_missing_numba_is_named_where_a_kernel_must_be_compiled(library_package):
    program = """
        import sys
        sys.modules["numba"] = None
        import numpy as np
        from fastnn_kernels.calls import formulas
        for name in ("tanh", "relu"):
            try:
                print(formulas.forward_table((name,), np.dtype(float)).pointers[0].address > 0)
            except RuntimeError as error:
                print(error)
    """
    first, second = run(library_package, program, FASTNN_PREBUILT="1").splitlines()
    assert first == "True"
    assert 'run pip install "fastnn-numba[jit]"' in second
