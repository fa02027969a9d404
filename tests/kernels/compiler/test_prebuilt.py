"""Kernels that were compiled ahead of time: they run without numba, and numba compiles what is missing."""

import shutil
import subprocess

import pytest
from kernel_packages import KERNELS, run

from fastnn_kernels.compiler.target import TARGETS

pytestmark = pytest.mark.needs("ziglang")

# Build a library of a few kernels, one of which calls shared functions; print its path.
BUILD = """
    import sys
    import numpy as np
    from fastnn_kernels.calls import encoding, formulas, training
    from fastnn_kernels.compiler import library

    real = np.dtype(float)
    pointers = [*formulas.forward_table(("tanh",), real).pointers, encoding.smooth_scaled()]
    gradient = training.gradient_pointers(("tanh",), "squared_error", False, False, False, False, real)
    print(library.build(library.this_target(), pointers=[*pointers, gradient[0]]))
"""
# Call kernels; print their results, and True if numba was loaded.
CALL = """
    import sys
    import numpy as np
    from fastnn_kernels.calls import encoding, formulas

    def called(name):
        (pointer,) = formulas.forward_table((name,), np.dtype(float)).pointers
        Z = np.linspace(-2, 2, 64).reshape(4, 16)
        A = np.full_like(Z, np.nan)
        pointer(Z, A)
        return A.tobytes().hex()[:64], "numba" in sys.modules

    column = np.zeros((5, 1), np.float32)
    encoding.smooth_scaled()(np.arange(5.0), 1.0, 2.0, 3.0, column, 0)
    print(*called("tanh"), column.tobytes().hex())
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return a copy of the kernels with a library of some of them."""
    package = tmp_path_factory.mktemp("built") / "fastnn_kernels"
    shutil.copytree(KERNELS, package, ignore=shutil.ignore_patterns("__pycache__", "prebuilt"))
    run(package, BUILD, FASTNN_PREBUILT="1")
    return package


@pytest.fixture
def package(built, tmp_path):
    """Return a copy of the kernels and the library, without compiled files."""
    return shutil.copytree(built, tmp_path / "fastnn_kernels", ignore=shutil.ignore_patterns("__pycache__"))


def library_of(package):
    (path,) = (package / "prebuilt").iterdir()
    return path


def call(package, program=CALL, **environment):
    return run(package, program, **{"FASTNN_PREBUILT": "1", **environment}).split()


def test_prebuilt_kernels_run_without_numba_and_give_the_bits_of_compiled_ones(package):
    *bits, loads_numba, column = call(package)
    assert loads_numba == "False"
    *compiled_bits, loads_numba, compiled_column = call(package, FASTNN_PREBUILT="0")
    assert loads_numba == "True"
    assert (bits, column) == (compiled_bits, compiled_column)


@pytest.mark.parametrize(
    "settings",
    [
        {"NUMBA_BOUNDSCHECK": "1"}, {"NUMBA_OPT": "1"}, {"FASTNN_VECTOR_BYTES": "16"},
        {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
    ],
    ids=lambda settings: " ".join(settings),
)  # fmt: skip
def test_settings_that_change_machine_code_make_numba_compile(package, settings):
    assert call(package, **settings)[1] == "True"


@pytest.mark.parametrize("settings", [{"NUMBA_BOUNDSCHECK": "0"}, {"NUMBA_DISABLE_JIT": "1"}])
def test_other_settings_leave_the_library_in_use(package, settings):
    assert call(package, **settings)[1] == "False"


def test_the_width_of_the_library_may_be_chosen(package):
    width = TARGETS[library_of(package).stem].vector_bytes
    assert call(package, FASTNN_VECTOR_BYTES=str(width))[1] == "False"


def test_numba_compiles_what_the_library_lacks_for_the_same_target(package):
    program = (
        CALL
        + """
    from fastnn_kernels.compiler.prebuilt import library
    print(*called("relu"))
    from fastnn_kernels.vectors.processor import TARGET
    print(TARGET is library().target)
"""
    )
    *_, relu, loads_numba, is_same = call(package, program)
    assert (loads_numba, is_same) == ("True", "True")
    assert relu


def test_an_edited_kernel_is_compiled_and_an_edited_call_side_is_not(package):
    with (package / "compiler" / "cache.py").open("a") as file:
        file.write("# edited\n")
    assert call(package)[1] == "False"
    with (package / "layer.py").open("a") as file:
        file.write("# edited\n")
    # Warnings are errors here: the message is logged instead, and nothing breaks.
    warned = "numba compiles the kernels, because .* was built from other sources: rebuild it .*"
    assert run(package, CALL, warned=warned, FASTNN_PREBUILT="1").split()[1] == "True"


@pytest.mark.parametrize("damage", ["shorter", "text", "empty"])
def test_a_damaged_library_is_left_out(package, damage):
    path = library_of(package)
    content = path.read_bytes()
    path.write_bytes({"shorter": content[: len(content) // 2], "text": b"text", "empty": b""}[damage])
    warned = "numba compiles the kernels, because .* cannot be loaded .*: reinstall .*"
    assert run(package, CALL, warned=warned, FASTNN_PREBUILT="1").split()[1] == "True"


def test_a_library_says_whether_this_processor_can_run_it(package):
    """A library of any level runs here if LLVM finds its features in this processor."""
    program = """
        import ctypes, sys
        import llvmlite.binding as llvm
        from fastnn_kernels.compiler import library, prebuilt

        name = sys.argv[1]
        path = library.build(name, pointers=[])
        has = llvm.get_host_cpu_features()
        target = prebuilt.TARGETS[name]
        expected = not target.is_x86 or all(has.get(one[1:]) for one in target.features.split(","))
        print(bool(ctypes.CDLL(str(path))[prebuilt.RUNS_HERE]()) == expected)
    """
    system = library_of(package).stem.rsplit("-v", 1)[0]
    for name in TARGETS:
        if name.startswith(system):
            assert run(package, program.replace("sys.argv[1]", repr(name))) == "True"


def test_two_builds_give_the_same_bytes(package):
    before = library_of(package).read_bytes()
    run(package, BUILD, FASTNN_PREBUILT="1")
    assert library_of(package).read_bytes() == before


def test_a_process_that_has_imported_kernels_builds_no_library(package):
    program = """
        import fastnn_kernels.layer
        from fastnn_kernels.compiler import library
        try:
            library.build(library.this_target())
        except RuntimeError as error:
            print(error)
    """
    assert "in a new process" in run(package, program)


@pytest.mark.skipif(not shutil.which("readelf"), reason="there is no readelf")
def test_a_library_needs_four_functions_and_has_no_memory_to_write_and_run(package):
    def read(option):
        command = ["readelf", "--wide", option, library_of(package)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    undefined = {line.split()[-1].split("@")[0] for line in read("--dyn-syms") if " UND " in line}
    assert undefined - {"UND"} <= {"malloc", "free", "memset", "sched_yield"}
    flags = ["".join(line.split()[6:-1]) for line in read("--segments") if line.startswith("  LOAD")]
    assert flags
    assert not any("W" in flag and "E" in flag for flag in flags)
    assert not any("NEEDED" in line for line in read("--dynamic"))


def test_a_missing_numba_is_named_where_a_kernel_must_be_compiled(package):
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
    first, second = run(package, program, FASTNN_PREBUILT="1").splitlines()
    assert first == "True"
    assert 'run pip install "fastnn-numba[jit]"' in second
