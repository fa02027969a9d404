"""The decorator `kernel`: kernels that other kernels inline, and what the next process loads."""

import compileall
import ctypes
import os
import shutil
import signal
import textwrap

import numba
import pytest
from kernel_packages import KERNELS, PROGRAM, RESULT, copy_kernels, finish, make_telling_kernel, run, start
from processes import run_python

from fastnn_kernels.compiler.jit import CodeForm, Kernel, identify, kernel

slow = pytest.mark.slow


def list_entries(package):
    return sorted((package / "__pycache__").glob("*.nbc"))


holds_gil = ctypes.CFUNCTYPE(ctypes.c_int)(
    ctypes.cast(ctypes.pythonapi.PyGILState_Check, ctypes.c_void_p).value
)


def test_kernels_release_the_gil_and_are_not_saved_if_they_contain_an_address(no_warning_yet):
    @kernel
    def in_kernel():
        return holds_gil()

    @numba.njit
    def in_njit():
        return holds_gil()

    assert in_njit() == 1
    with pytest.warns(RuntimeWarning, match=r"contains memory addresses.* Let the kernel close over"):
        assert in_kernel() == 0


def test_a_failed_compilation_and_an_interrupt_leave_the_compiler_usable():
    """The interrupt waits for the end of the compilation."""

    @kernel
    def inner(x):
        return x.nothing

    @kernel
    def outer(x):
        return inner(x)

    for _ in range(2):
        with pytest.raises(numba.TypingError):
            outer(1)
    telling = make_telling_kernel(lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        telling(1.5)
    assert telling.signatures == [(numba.float64,)]
    assert telling(1.5) == 2.5
    assert Kernel.wanted is CodeForm.CALLABLE


def test_the_identity_of_a_kernel_contains_its_closure_variables():
    def make(constant, inner):
        @kernel
        def outer(x):
            return inner(x) + constant

        return outer

    @kernel
    def double(x):
        return 2 * x

    @kernel
    def triple(x):
        return 3 * x

    made = [make(1, double), make(2, double), make(1, triple), make((1,), double), make(1, make(1, double))]
    assert len({identify(k.py_func) for k in made}) == len(made)
    # Each process numbers symbols from 0: only the names separate kernels that two processes compiled.
    assert len({k.py_func.__qualname__ for k in made}) == len(made)
    with pytest.raises(TypeError, match="may close over"):
        make([1], double)


def test_the_identity_of_a_kernel_of_another_package_contains_its_code():
    """The cache's digest of the sources leaves these out: an edited kernel must not be loaded as it was."""

    def identify_text(text):
        namespace = {"kernel": kernel, "__name__": "elsewhere"}
        exec(text, namespace)
        return identify(namespace["outer"].py_func)

    text = "C = 2\n@kernel\ndef inner(x): return x + 1\n@kernel\ndef outer(x): return C * 5 * inner(x)\n"
    changes = ("x + 1", "x - 1"), ("x + 1", "x + 3"), ("5 *", "4 *"), ("C = 2", "C = 3")
    assert len({identify_text(one) for one in (text, *(text.replace(*change) for change in changes))}) == 5
    assert identify_text(text) == identify_text(text)


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """Return a copy of the kernels in which a first process has compiled the kernel of `PROGRAM`."""
    package = copy_kernels(KERNELS, tmp_path_factory.mktemp("first"))
    assert run(package) == f"compiled {RESULT}"
    assert len(list_entries(package)) == 1
    return package


@pytest.fixture
def compiled(first_run, tmp_path):
    return shutil.copytree(first_run, tmp_path / "fastnn_kernels")


@slow
def test_settings_that_change_machine_code_have_entries_of_their_own(compiled):
    assert run(compiled) == f"loaded {RESULT}"
    for settings in ({"NUMBA_BOUNDSCHECK": "1"}, {"NUMBA_OPT": "0"}, {"NUMBA_OPT": "1"}):
        assert run(compiled, **settings) == f"compiled {RESULT}"
    assert run(compiled, NUMBA_BOUNDSCHECK="1") == f"loaded {RESULT}"
    assert run(compiled) == f"loaded {RESULT}"


def test_a_kernel_that_another_process_compiled_prints_and_raises(package):
    program = """
    from fastnn_kernels.compiler.jit import kernel

    @kernel
    def check(x):
        print(x)
        if x < 0:
            raise ValueError("negative")
        return x

    @kernel
    def call(x):
        return check(x) + 1

    for x in (1.5, -1.5):
        try:
            print(call(x))
        except ValueError as error:
            print(error)
    print("loaded" if call.stats.cache_hits else "compiled")
    """
    for word in ("compiled", "loaded"):
        assert run(package, program).split() == ["1.5", "2.5", "-1.5", "negative", word]


@slow
def test_an_edit_of_any_source_makes_new_entries(compiled):
    (entry,) = list_entries(compiled)
    old = shutil.copy2(entry, entry.with_name(f"old.{entry.name}"))
    os.utime(old, (0, 0))
    with (compiled / "update.py").open("a") as file:
        file.write("# edited\n")
    assert run(compiled).startswith("compiled")
    assert len(list_entries(compiled)) == 2
    assert entry in list_entries(compiled), "an entry of another version is kept for a while"
    assert old not in list_entries(compiled), "an old entry of another version is removed"


@slow
@pytest.mark.parametrize("has_home", [True, False])
def test_a_package_that_cannot_be_written_to_uses_the_users_folder(package, has_home):
    # Files in place of folders: nobody can write there, not even root.
    (package / "__pycache__").write_text("")
    home, warned = package.parent / "home", ""
    if not has_home:
        home.write_text("")
        warned = "compiled kernels cannot be kept .*/__pycache__: .*; .*/home/.*NUMBA_CACHE_DIR to a folder.*"
    for word in ("compiled", "loaded" if has_home else "compiled"):
        assert run(package, warned=warned, PYTHONDONTWRITEBYTECODE="1") == f"{word} {RESULT}"
    assert has_home == bool(list(home.rglob("*.nbc")))


@slow
def test_concurrent_first_runs_save_one_entry(package):
    running = [start(package) for _ in range(3)]
    words = sorted(finish(process).removesuffix(f" {RESULT}") for process in running)
    assert words == ["compiled", "loaded", "loaded"]
    assert len(list_entries(package)) == 1
    assert not list((package / "__pycache__").glob("*.tmp"))


@slow
def test_kernels_are_not_saved_if_a_source_has_changed_since_the_import_or_is_missing(package):
    edit = "__import__('pathlib').Path('fastnn_kernels/vectors/vmath.py').write_text('')"
    program = PROGRAM.replace("import add_to_average\n", f"import add_to_average\n    {edit}\n")
    warned = "compiled kernels cannot be kept .* the sources of the kernels have changed .* Restart Python"
    assert run(package, program, warned=warned) == f"compiled {RESULT}"
    shutil.copy(KERNELS / "vectors" / "vmath.py", package / "vectors")
    compileall.compile_dir(package, legacy=True, quiet=1)
    for source in package.rglob("*.py"):
        source.unlink()
    warned = "compiled kernels cannot be kept .* sources of the kernels, .* install the package .*"
    assert run(package, warned=warned) == f"compiled {RESULT}"
    assert not list(package.parent.rglob("*.nbc"))


@slow
def test_a_whole_training_is_loaded_by_the_next_process():
    program = """
        import numpy as np
        import fastnn
        from fastnn_kernels import train
        from fastnn_kernels.compiler.pointer import make_unpacking

        model = fastnn.Model([2, 3, 2], random_state=0)
        X, y = np.random.RandomState(0).randn(20, 2), np.arange(20) % 2
        history = model.train(X, y, num_passes=3, batch_size=6, optimizer="adam", random_state=0)
        loop = make_unpacking(train.train_steps(True, False, False))
    """
    here = {}
    exec(textwrap.dedent(program), here)
    losses = here["history"].loss.tolist()
    program += "    print(sum(loop.stats.cache_hits.values()), history.loss.tolist())"
    assert run_python(program, FASTNN_PREBUILT="0").strip() == f"1 {losses}"
