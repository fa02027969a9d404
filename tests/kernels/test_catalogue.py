"""The kernels of a library are declared as they are, and have names of their own."""

import inspect

import pytest

from fastnn_kernels import catalogue
from fastnn_kernels.compiler.numba_internals import get_dispatcher_function
from fastnn_kernels.compiler.pointer import make_entry_kernel
from fastnn_kernels.compiler.target import TARGETS, Target

POINTERS = list(catalogue.all_pointers())
# Kernels whose arguments have names of their own, by formula: they are called by position alone.
FORMULAS = {"layer", "loss", "output", "update", "bound"}


def test_declared_arguments_are_those_of_the_kernels():
    by_kernel = {(pointer.function, pointer.factory_arguments): pointer for pointer in POINTERS}
    for pointer in by_kernel.values():
        make_unpacking, _ = make_entry_kernel(pointer)
        (kernel,) = inspect.getclosurevars(make_unpacking.py_func).nonlocals.values()
        names = list(inspect.signature(kernel.py_func).parameters)
        assert len(names) == len(pointer.kinds), pointer
        if pointer.function.partition(".")[0] not in FORMULAS:
            assert names == list(pointer.kinds), pointer


def find_kernels(function, found):
    """Add to `found` a kernel and all kernels that it calls, by name and number of arguments."""
    found[function.__qualname__] = len(inspect.signature(function).parameters)
    variables = inspect.getclosurevars(function)
    for called in (*variables.nonlocals.values(), *variables.globals.values()):
        other = get_dispatcher_function(called)
        if other is not None and other.__qualname__ not in found:
            find_kernels(other, found)


def test_no_kernel_takes_more_than_ten_arguments():
    found = {}
    for pointer in POINTERS:
        find_kernels(make_entry_kernel(pointer)[0].py_func, found)
    assert len(found) > len(POINTERS) / 2
    assert {name: count for name, count in found.items() if count > 10} == {}


def test_every_kernel_has_a_symbol_of_its_own():
    assert len({pointer.symbol for pointer in POINTERS}) == len(POINTERS)


@pytest.mark.parametrize("name", TARGETS)
def test_targets_describe_their_registers(name):
    target: Target = TARGETS[name]
    assert target.vector_bytes == max(32, target.register_bytes)
    assert target.is_x86 + target.is_aarch64 + target.is_wasm == 1
    assert target.has_fma == ("+fma" in target.features or target.is_aarch64)
    assert (target.register_bytes == 64) == ("+avx512f" in target.features)
    assert name.endswith(target.cpu.removeprefix("x86-64")) or not target.is_x86
    assert (target.yield_function == "SwitchToThread") == name.startswith("windows")


def test_targets_of_a_system_begin_with_the_fastest():
    levels = [name for name in TARGETS if name.startswith("linux-x86-64")]
    assert levels == sorted(levels, reverse=True)
