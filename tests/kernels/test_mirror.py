"""Kernels and reference have the same operations with the same arguments, and the same formulas."""

import importlib
import inspect
import pkgutil

import pytest
from numba.core.dispatcher import Dispatcher

import fastnn.reference
from fastnn_kernels.compiler.jit import Kernel

# The functions without a twin, by the reason. Each side has its own constants and classes.
KERNELS_ONLY = {
    "weights are packed for products": "count_packed_weights pack pack_weights plan_packing",
    "samples may be sparse": "sparse_backward sparse_forward sparse_width",
    "layers are rows of one table": "input_rate last_outputs",
    "a loss may be the user's own": "find_loss",
    "a search stops wherever it needs another loss": "advance begin_search lbfgs_iterations search_ends",
    "threads add what they sum over shards": "sum_gradient_squares sum_parameter_squares",
    "steps run in one call": "train_steps",
}
REFERENCE_ONLY = {
    "a loss is two formulas": "find_formulas",
    "a network is a chain of units": "make_chain make_training_chain scores",
    "a search calls a function": "apply_limits minimise",
    "a step is a call": "train_step",
}
FILES = {module.name for module in pkgutil.iter_modules(fastnn.reference.__path__)} - {"tutorial"}
PACKAGES = "fastnn_kernels", "fastnn.reference"


def find_operations(package, file):
    """Return what a file makes public and can be called, by its names: kernels and their factories too."""
    module = importlib.import_module(f"{package}.{file}")
    return {name: getattr(module, name) for name in module.__all__ if callable(getattr(module, name))}


def choose_name(file):
    """Return the last name in the registry of a file, or an activation's."""
    values = vars(importlib.import_module(f"fastnn.reference.{file}")).items()
    return next(([*one][-1] for name, one in values if name.isupper() and hasattr(one, "__iter__")), "tanh")


def list_arguments(file, operation):
    """Return the names of the arguments that choose a kernel, none unless it is made, and of its arguments.

    Switches, and arguments with a default, are left out: the reference finds in its data what they choose.
    """
    if isinstance(operation, Dispatcher):
        return [], [*inspect.signature(operation.py_func).parameters]
    signature = inspect.signature(operation, eval_str=True)
    if signature.return_annotation is not Kernel:
        return [], [*signature.parameters]
    required = [one for one in signature.parameters.values() if one.default is one.empty]
    chosen = {one.name: choose_name(file) for one in required if one.annotation is not bool}
    switches = {one.name: False for one in required if one.annotation is bool}
    return [*chosen], list_arguments(file, operation(**chosen, **switches))[1]


def find_functions_without_twin(package, other):
    return {
        name
        for file in FILES
        for name, value in find_operations(package, file).items()
        if not (isinstance(value, type) or name in find_operations(other, file))
    }


def test_kernels_and_reference_have_the_same_functions():
    kernels, reference = PACKAGES
    assert find_functions_without_twin(kernels, reference) == {*" ".join(KERNELS_ONLY.values()).split()}
    assert find_functions_without_twin(reference, kernels) == {*" ".join(REFERENCE_ONLY.values()).split()}


@pytest.mark.parametrize("file", sorted(FILES))
def test_kernels_take_the_arguments_of_the_reference_in_its_order(file):
    kernels, reference = (find_operations(package, file) for package in PACKAGES)
    n_compared = 0
    for name in kernels.keys() & reference.keys():
        chosen, arguments = list_arguments(file, kernels[name])
        expected = [*inspect.signature(reference[name]).parameters]
        assert {*chosen} <= {*expected}, name
        common = [argument for argument in expected if argument in arguments]
        assert sorted(common, key=arguments.index) == common, name
        n_compared += len(chosen) + len(common)
    assert n_compared
