"""Kernels and reference have the same operations with the same arguments, and the same formulas."""

import importlib
import inspect
import pkgutil

import pytest
from numba.core.dispatcher import Dispatcher

import fastnn.reference
from fastnn_kernels.catalogue import all_pointers
from fastnn_kernels.compiler.jit import Kernel
from fastnn_kernels.update import OPTIMIZERS

# Functions without a twin, by the reason: kernels that Python calls, and functions of the reference.
KERNELS_ONLY = {
    "the bounds of each activation are a kernel": "activation_bounds",
    "weights are packed for products": "pack_weights plan_packing",
    "a search stops wherever it needs another loss": "advance lbfgs_iterations",
    "steps run in one call": "train_steps",
}
REFERENCE_ONLY = {
    "a loss is two formulas, an activation too": "convert_to_floats find_formulas limit make_registrar",
    "a network is a chain of units": "gather_gradient make_chain make_training_chain scores",
    "a search calls a function": "apply_limits minimise subtract_tilt",
    "a step is a call": "clip_float train_step update_plateau",
    "coefficients are hyperparameters": "nesterov root",
}
FILES = {module.name for module in pkgutil.iter_modules(fastnn.reference.__path__)} - {"tutorial"}
PACKAGES = "fastnn_kernels", "fastnn.reference"


def find_operations(package, file):
    """Return what a file defines without an underscore, by name: kernels, their factories and classes."""
    module = importlib.import_module(f"{package}.{file}")
    own = {
        name: one for name, one in vars(module).items() if getattr(one, "__module__", "") == module.__name__
    }
    return {name: one for name, one in own.items() if callable(one) and not name.startswith("_")}


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


def test_kernels_and_reference_have_the_same_functions():
    kernels, reference = ({file: find_operations(package, file) for file in FILES} for package in PACKAGES)
    called = {tuple(pointer.function.split(".")) for pointer in all_pointers()}
    alone = {name for file, name in called if file in FILES and name not in reference[file]}
    assert alone == {*" ".join(KERNELS_ONLY.values()).split()}
    functions = {
        (file, name) for file in FILES for name, one in reference[file].items() if not isinstance(one, type)
    }
    alone = {name for file, name in functions if name not in kernels[file]}
    assert alone == {*" ".join(REFERENCE_ONLY.values()).split()}


@pytest.mark.parametrize("file", sorted(FILES))
def test_kernels_take_the_arguments_of_the_reference_in_its_order(file):
    kernels, reference = (find_operations(package, file) for package in PACKAGES)
    n_compared = 0
    for name in kernels.keys() & reference.keys() - OPTIMIZERS:  # rules take coefficients of their own
        chosen, arguments = list_arguments(file, kernels[name])
        expected = [*inspect.signature(reference[name]).parameters]
        assert {*chosen} <= {*expected}, name
        common = [argument for argument in expected if argument in arguments]
        assert sorted(common, key=arguments.index) == common, name
        n_compared += len(chosen) + len(common)
    assert n_compared
