"""Shared functions: compiled once, called by kernels of any process, from the cache or not."""

import pytest
from kernel_packages import run

pytestmark = pytest.mark.slow

# Print whether the product was compiled or loaded by a kernel that calls it, and the kernel's result.
PRODUCT = """
    import numba
    import numpy as np
    from fastnn_kernels.compiler import shared
    from fastnn_kernels.gate import affine_forward
    from fastnn_kernels.vectors.product import product_forward

    compiled, compile = [], shared.compile_function
    shared.compile_function = lambda *arguments: (compiled.append(1), compile(*arguments))[1]
    W, b, X, Z = np.ones((2, 3)), np.ones((1, 3)), np.ones((2, 16)), np.zeros((3, 16))
    affine_forward(W, b, X, None, Z)
    print("compiled" if compiled else "loaded", (Z == 3).all())
"""


def test_a_kernel_loads_the_shared_functions_that_it_calls_or_compiles_them_again(package):
    assert run(package, PRODUCT) == "compiled True"
    assert run(package, PRODUCT) == "loaded True"
    (shared,) = (package / "__pycache__").glob("*.shared.fastnn_product_float64.*.nbc")
    (affine,) = (package / "__pycache__").glob("*.gate.affine_forward.*.nbc")
    for entry, left, word in ((shared, None, "compiled"), (shared, 0.5, "compiled"), (affine, 0.5, "loaded")):
        content = entry.read_bytes()
        entry.unlink()
        if left:
            entry.write_bytes(content[: int(left * len(content))])
        assert run(package, PRODUCT) == f"{word} True"
    # A function of plain numba may call the product, too.
    foreign = """
    foreign = numba.njit(lambda W, b, X, Z: product_forward(W, b, X, None, Z))
    Z[...] = 0
    foreign(W, b, X, Z)
    print((Z == 3).all())
    """
    assert run(package, PRODUCT + foreign).splitlines() == ["loaded True", "True"]
