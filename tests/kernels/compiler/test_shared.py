"""Shared functions: compiled once, called by kernels of any process, from the cache or not."""

import shutil

import pytest
from kernel_packages import KERNELS, copied, run

from fastnn_kernels.vectors.product import PRODUCTS

pytestmark = pytest.mark.slow

# Print whether the product was compiled or loaded by a kernel that calls it, and the kernel's result.
PRODUCT = """
    import numpy as np
    from fastnn_kernels.compiler import shared
    from fastnn_kernels.gate import affine_forward

    compiled = []
    compile = shared.SharedFunction._compile
    shared.SharedFunction._compile = lambda *arguments: (compiled.append(1), compile(*arguments))[1]
    Z = np.zeros((3, 16))
    affine_forward(np.ones((2, 3)), np.ones((1, 3)), np.ones((2, 16)), None, Z)
    print("compiled" if compiled else "loaded", (Z == 3).all())
"""


def entries(package, pattern):
    return sorted((package / "__pycache__").glob(pattern))


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """Return a copy of the kernels in which a first process has compiled a kernel with a product."""
    package = copied(KERNELS, tmp_path_factory.mktemp("first"))
    assert run(package, PRODUCT) == "compiled True"
    assert len(entries(package, "*.shared.fastnn_product_float64.*.nbc")) == 1
    return package


@pytest.fixture
def compiled(first_run, tmp_path):
    """Return a copy of the kernels with the entries that another process compiled."""
    return shutil.copytree(first_run, tmp_path / "fastnn_kernels")


def test_a_saved_kernel_loads_the_shared_functions_that_it_calls(compiled):
    assert run(compiled, PRODUCT) == "loaded True"


@pytest.mark.parametrize("pattern", ["*.shared.*.nbc", "*.gate.*.nbc"])
def test_a_missing_or_broken_entry_is_compiled_again(compiled, pattern):
    for damage in ("missing", "truncated"):
        damaged = entries(compiled, pattern)
        assert damaged
        for entry in damaged:
            content = entry.read_bytes()
            entry.unlink()
            if damage == "truncated":
                entry.write_bytes(content[: len(content) // 2])
        assert run(compiled, PRODUCT) == ("compiled True" if "shared" in pattern else "loaded True")
    assert run(compiled, PRODUCT) == "loaded True"


def test_threads_that_need_a_shared_function_at_the_same_time_load_it_once(compiled):
    program = """
        import threading, time
        from fastnn_kernels.compiler import shared
        from fastnn_kernels.compiler.numba_internals import global_compiler_lock
        from fastnn_kernels.vectors.product import PRODUCTS

        product = next(iter(PRODUCTS.values()))
        loads, load = [], shared.SharedFunction._load
        shared.SharedFunction._load = lambda *arguments: (loads.append(1), load(*arguments))[1]
        product.make_available()
        n_loads, product._library = len(loads), None
        threads = [threading.Thread(target=product.make_available) for _ in range(4)]
        with global_compiler_lock:  # the first may go on when all have seen that the function is missing
            for thread in threads:
                thread.start()
            time.sleep(0.2)
        for thread in threads:
            thread.join()
        print(len(loads) - n_loads)
    """
    assert run(compiled, program) == "1"


def test_functions_of_plain_numba_may_call_a_shared_function(compiled):
    program = """
        import numba
        import numpy as np
        from fastnn_kernels.vectors.product import product_forward

        @numba.njit
        def foreign(W, b, X, Z):
            product_forward(W, b, X, None, Z)

        Z = np.zeros((3, 16))
        foreign(np.ones((2, 3)), np.ones((1, 3)), np.ones((2, 16)), Z)
        print((Z == 3).all())
    """
    assert run(compiled, program) == "True"


def test_shared_functions_keep_no_entry_without_a_cache_folder(package):
    (package / "__pycache__").write_text("")
    (package.parent / "home").write_text("")
    warned = "compiled kernels cannot be kept .*NUMBA_CACHE_DIR to a folder.*"
    assert run(package, PRODUCT, warned=warned, PYTHONDONTWRITEBYTECODE="1") == "compiled True"


def test_the_assembly_of_a_product_is_that_of_its_dtype(package):
    program = """
        from fastnn_kernels.vectors.product import PRODUCTS
        from numba import types
        for dtype in (types.float32, types.float64):
            product = PRODUCTS[dtype, False]
            product.make_available()
            print(product.name in product.assembly)
    """
    assert run(package, program).split() == ["True", "True"]
    assert len({product.name for product in PRODUCTS.values()}) == len(PRODUCTS) == 4
