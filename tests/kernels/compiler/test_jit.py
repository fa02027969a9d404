"""The decorator `kernel` and its cache on disk: broken, missing or forbidden files break no program."""

import compileall
import ctypes
import os
import pickle
import shutil
import signal
import textwrap
import uuid
from pathlib import Path

import kernel_packages
import numba
import numpy as np
import pytest
from kernel_packages import KERNELS, PROGRAM, RESULT, copied, result, run, start, told_while_compiled
from processes import run_python

from fastnn_kernels.compiler.cache import _checksum
from fastnn_kernels.compiler.jit import Kernel, KernelCache, Kind, identity, kernel

pytestmark = pytest.mark.slow


def entries(package):
    return sorted((package / "__pycache__").glob("*.nbc"))


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """Return a copy of the kernels in which a first process has compiled the kernel of `PROGRAM`."""
    package = copied(KERNELS, tmp_path_factory.mktemp("first"))
    assert run(package) == f"compiled {RESULT}"
    assert len(entries(package)) == 1
    return package


@pytest.fixture
def compiled(first_run, tmp_path):
    """Return a copy of the kernels with the entry that another process compiled."""
    return shutil.copytree(first_run, tmp_path / "fastnn_kernels")


def test_second_process_loads_what_the_first_compiled(compiled):
    assert run(compiled) == f"loaded {RESULT}"


def test_an_edit_of_any_source_makes_new_entries(compiled):
    (entry,) = entries(compiled)
    old = shutil.copy2(entry, entry.with_name(f"old.{entry.name}"))
    os.utime(old, (0, 0))
    with (compiled / "update.py").open("a") as file:
        file.write("# edited\n")
    assert run(compiled).startswith("compiled")
    assert len(entries(compiled)) == 2
    assert entry in entries(compiled), "an entry of another version is kept for a while"
    assert old not in entries(compiled), "an old entry of another version is removed"


# Call a kernel with arguments of six types; print the numbers of entries that were loaded, and the results.
SIX_TYPES = """
    import numpy as np
    from fastnn_kernels.compiler.jit import kernel

    @kernel
    def double(x):
        return 2 * x

    results = [double(np.dtype(kind).type(3)) for kind in ("f4", "f8", "i1", "i2", "i4", "i8")]
    print(sum(double.stats.cache_hits.values()), *map(int, results))
"""


def test_broken_entries_are_compiled_again(package):
    assert run(package, SIX_TYPES) == "0 6 6 6 6 6 6"
    first, *others = entries(package)
    damages = (
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
        lambda content: b"hello" * 1000,
        lambda content: first.read_bytes(),
    )
    for entry, damaged in zip(others, damages, strict=True):
        entry.write_bytes(damaged(entry.read_bytes()))
    assert run(package, SIX_TYPES) == "1 6 6 6 6 6 6"
    assert run(package, SIX_TYPES) == "6 6 6 6 6 6 6"


class Unpickled:
    """An object whose pickle makes a folder when it is loaded."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_an_entry_that_numba_cannot_load_is_compiled_again(compiled, tmp_path):
    """A pickle with a valid checksum is not loaded, but reported and replaced."""
    (entry,) = entries(compiled)
    payload = pickle.dumps(Unpickled(tmp_path / "unpickled"))
    name = entry.name.partition(".")[2]
    entry.write_bytes(_checksum(name, payload) + payload)
    warned = (
        "compiled kernels cannot be kept .* numba cannot load update.add_to_average .* Remove the folder .*"
    )
    assert run(compiled, warned=warned) == f"compiled {RESULT}"
    assert run(compiled) == f"loaded {RESULT}"
    assert not (tmp_path / "unpickled").exists()


def test_a_package_that_cannot_be_written_to_uses_the_users_folder(package):
    # A file in place of the folder: nobody can write there, not even root.
    (package / "__pycache__").write_text("")
    environment = {"PYTHONDONTWRITEBYTECODE": "1"}
    assert run(package, **environment) == f"compiled {RESULT}"
    assert run(package, **environment) == f"loaded {RESULT}"
    assert list((package.parent / "home").rglob("*.nbc"))


def test_kernels_run_without_any_cache_folder(package):
    """One warning gives the reasons; where warnings are errors, as here, the message is logged instead."""
    (package / "__pycache__").write_text("")
    (package.parent / "home").write_text("")
    warned = "compiled kernels cannot be kept .*/__pycache__: .*; .*/home/.*NUMBA_CACHE_DIR to a folder.*"
    assert run(package, warned=warned, PYTHONDONTWRITEBYTECODE="1") == f"compiled {RESULT}"


def test_entries_are_saved_in_numba_cache_dir_if_set(package, tmp_path):
    folder = tmp_path / "elsewhere"
    assert run(package, NUMBA_CACHE_DIR=str(folder)) == f"compiled {RESULT}"
    assert run(package, NUMBA_CACHE_DIR=str(folder)) == f"loaded {RESULT}"
    assert list(folder.rglob("*.nbc"))
    assert not entries(package)


def test_bounds_checking_has_separate_entries(compiled):
    assert run(compiled, NUMBA_BOUNDSCHECK="1").startswith("compiled")
    assert run(compiled, NUMBA_BOUNDSCHECK="1").startswith("loaded")
    assert run(compiled).startswith("loaded")


def test_kernels_compile_at_every_level_of_optimisation(package):
    assert [run(package, NUMBA_OPT=level) for level in "012"] == [f"compiled {RESULT}"] * 3


def test_concurrent_first_runs_save_one_entry(package):
    running = [start(package) for _ in range(3)]
    words = sorted(result(process).removesuffix(f" {RESULT}") for process in running)
    assert words == ["compiled", "loaded", "loaded"]
    assert len(entries(package)) == 1
    assert not list((package / "__pycache__").glob("*.tmp"))


def test_whole_training_is_loaded_in_a_new_process():
    program = """
        import numpy as np
        import fastnn
        from fastnn_kernels import train
        from fastnn_kernels.compiler.pointer import unpacking

        model = fastnn.Model([2, 3, 2], random_state=0)
        X, y = np.random.RandomState(0).randn(20, 2), np.arange(20) % 2
        history = model.train(X, y, num_passes=3, batch_size=6, optimizer="adam", random_state=0)
        loop = unpacking(train.train_steps(True, False, False, False, False))
    """
    here = {}
    exec(textwrap.dedent(program), here)
    losses = here["history"].loss.tolist()
    told = "print(sum(loop.stats.cache_hits.values()), history.loss.tolist())"
    assert run_python(textwrap.dedent(program) + told, FASTNN_PREBUILT="0").strip() == f"1 {losses}"


@kernel
def comparisons(x):
    return x != x, x == np.inf, x + 1.0 == x, np.isnan(x), np.isinf(x)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.5, (False, False, False, False, False)),
        (np.inf, (False, True, True, False, True)),
        (-np.inf, (False, False, True, False, True)),
        (np.nan, (True, False, False, True, False)),
    ],
)
def test_kernels_distinguish_infinities_nan_and_numbers(value, expected):
    assert comparisons(value) == expected


holds_gil = ctypes.CFUNCTYPE(ctypes.c_int)(
    ctypes.cast(ctypes.pythonapi.PyGILState_Check, ctypes.c_void_p).value
)


def test_kernels_release_the_gil():
    @kernel
    def in_kernel():
        return holds_gil()

    @numba.njit
    def in_njit():
        return holds_gil()

    assert in_njit() == 1
    assert in_kernel() == 0


def test_the_cache_has_numbas_interface():
    from numba.core.caching import NullCache

    cache = KernelCache(test_the_cache_has_numbas_interface)
    for name in ("load_overload", "save_overload", "enable", "disable", "flush"):
        assert callable(getattr(NullCache(), name))
        assert callable(getattr(cache, name))
    assert Path(cache.cache_path).name in {"__pycache__", "fastnn_kernels"}
    cache.enable(), cache.disable(), cache.flush()


def test_kernels_are_not_saved_if_a_source_has_changed_since_the_import(package):
    edit = "__import__('pathlib').Path('fastnn_kernels/vectors/vmath.py').write_text('')"
    program = PROGRAM.replace("import add_to_average\n", f"import add_to_average\n    {edit}\n")
    warned = "compiled kernels cannot be kept .* the sources of the kernels have changed .* Restart Python"
    assert run(package, program, warned=warned) == f"compiled {RESULT}"
    assert not list(package.parent.rglob("*.nbc"))


def test_kernels_are_not_saved_without_sources(package):
    compileall.compile_dir(package, legacy=True, quiet=1)
    for source in package.rglob("*.py"):
        source.unlink()
    warned = "compiled kernels cannot be kept .* sources of the kernels, .* install the package .*"
    assert run(package, warned=warned) == f"compiled {RESULT}"
    assert not list(package.parent.rglob("*.nbc"))


def test_entries_are_as_readable_as_their_folder(first_run):
    (entry,) = entries(first_run)
    assert entry.stat().st_mode & 0o777 == (first_run / "__pycache__").stat().st_mode & 0o644


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
    assert len({identity(k.py_func) for k in made}) == len(made)
    assert identity(make(1, double).py_func) == identity(made[0].py_func)
    assert made[0].py_func(1) == 3
    with pytest.raises(TypeError, match="may close over"):
        make([1], double)


def test_the_identity_of_a_kernel_of_another_package_contains_its_code():
    """The cache's digest of the sources leaves these out: an edited kernel must not be loaded as it was."""

    def identity_of(text):
        namespace = {"kernel": kernel, "__name__": "elsewhere"}
        exec(text, namespace)
        return identity(namespace["outer"].py_func)

    text = "C = 2\n@kernel\ndef inner(x): return x + 1\n@kernel\ndef outer(x): return C * 5 * inner(x)\n"
    changes = ("x + 1", "x - 1"), ("x + 1", "x + 3"), ("5 *", "4 *"), ("C = 2", "C = 3")
    assert len({identity_of(one) for one in (text, *(text.replace(*change) for change in changes))}) == 5
    assert identity_of(text) == identity_of(text)


def test_kernels_of_one_factory_have_different_symbols():
    """Each process numbers symbols from 0: only the names separate kernels that two processes compiled."""
    from fastnn_kernels.layer import activation_forward

    names = {activation_forward(name).py_func.__qualname__ for name in ("relu", "gelu", "tanh")}
    assert len(names) == 3
    assert activation_forward("relu").py_func.__qualname__ in names


# Print whether a caller and its inlined kernel were compiled or loaded; then call the inlined one directly.
PARTS = """
    import numpy as np
    from fastnn_kernels.compiler.jit import Kind, kernel
    from fastnn_kernels.layer import activation_forward

    def origin(kernel):
        ((types, compiled),) = kernel.overloads.items()
        word = "loaded" if kernel.stats.cache_hits else "compiled"
        return word + (" as a part" if compiled is kernel.compiled[Kind.PART].get(types) else "")

    def calling(inner, times):
        @kernel
        def caller(Z, A):
            for _ in range(times):
                inner(Z, A)

        return caller

    A, D, E = np.ones((1, 16)), np.zeros((1, 16)), np.zeros((1, 16))
    relu = activation_forward("relu")
    caller = calling(relu, 1)
    caller(A, D)
    words = [origin(caller), origin(relu)]
    relu(A, E)
    print(", ".join([*words, origin(relu)]), (D == E).all() and (D == A).all())
"""


def test_an_inlined_kernel_is_saved_and_can_be_called_by_python(package):
    first = "compiled, compiled as a part, compiled True"
    assert run(package, PARTS) == first
    # A loaded caller contains the inlined kernel, whose part is not loaded.
    loaded = PARTS.replace("words = [origin(caller), origin(relu)]", "words = [origin(caller)]")
    assert run(package, loaded) == "loaded, loaded True"
    # Another caller loads the part.
    other = PARTS.replace("calling(relu, 1)", "calling(relu, 2)")
    assert run(package, other).startswith("compiled, loaded as a part, ")


def test_kernels_and_functions_of_plain_numba_inline_the_same_part():

    @kernel
    def inner(x):
        return 2 * x

    @kernel
    def outer(x):
        return inner(x) + 1

    @numba.njit
    def foreign(x):
        return inner(x) + 2

    assert (outer(3), foreign(3), inner(3)) == (7, 8, 6)
    assert (inner(0.5), outer(0.5), foreign(0.5)) == (1.0, 2.0, 3.0)
    # Callers inline the part, whether Python has called the kernel before or not.
    wanted = [Kind.CALLABLE, Kind.PART]
    for kind, (types, compiled) in zip(wanted, inner.overloads.items(), strict=True):
        assert compiled is inner.compiled[kind][types]
    assert (inner(3), inner(0.5)) == (6, 1.0)


def test_exceptions_of_inlined_kernels_are_raised():
    unique = str(uuid.uuid4())  # so that no entry exists

    @kernel
    def inner(x):
        if x < 0:
            raise ValueError("negative")
        return x if unique else -x

    @kernel
    def outer(x):
        return inner(x)

    for function in (outer, inner, outer):
        with pytest.raises(ValueError, match="^negative$"):
            function(-2)


def test_a_failed_compilation_resets_the_kind_to_compile():
    @kernel
    def inner(x):
        return x.nothing

    @kernel
    def outer(x):
        return inner(x)

    for _ in range(2):
        with pytest.raises(numba.TypingError):
            outer(1)
    assert Kernel.wanted is Kind.CALLABLE


def test_an_interrupt_waits_for_the_end_of_a_compilation():
    outer = told_while_compiled(lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        outer(1.5)
    assert outer.signatures == [(numba.float64,)]
    assert outer(1.5) == 2.5
    assert Kernel.wanted is Kind.CALLABLE


FORK = """
    import os
    import threading
    import warnings
    import numpy as np
    from kernel_packages import told_while_compiled

    warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
    begun, released = threading.Event(), threading.Event()
    first = told_while_compiled(lambda: (begun.set(), released.wait()))
    second = told_while_compiled(lambda: None)
    thread = threading.Thread(target=first, args=(1.5,))
    thread.start()
    begun.wait()
    threading.Timer(0.1, released.set).start()
    child = os.fork()
    results = first(1.5), second(2.5)
    if child == 0:
        os._exit(0 if results == (2.5, 3.5) else 1)
    thread.join()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), results)
    child = os.fork()  # after the compilation
    results = first(1.5), second(2.5)
    if child == 0:
        os._exit(0 if results == (2.5, 3.5) else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), results)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_waits_for_the_end_of_a_compilation_and_calls_what_was_compiled(package):
    path = os.pathsep.join([str(package.parent), str(Path(kernel_packages.__file__).parent)])
    assert run(package, FORK, PYTHONPATH=path).splitlines() == ["0 (2.5, 3.5)"] * 2
