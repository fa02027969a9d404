"""Kernels and reference have the same operations with the same arguments, and the same formulas."""

import importlib
import inspect
import pkgutil

import numba
import pytest

import fastnn.reference

# Names that only the kernels have, by file: registered formulas, addresses of tiles, weights packed for
# products, products of sparse samples, sums over shards or over a range of parameters, training loops.
KERNELS_ONLY = {
    "gate": "pack count_packed_weights",
    "layer": "Activation",
    "lbfgs": "advance lbfgs_iterations",
    "line_search": "begin_search search_ends",
    "loss": "RegisteredLoss find_loss",
    "network": "input_rate last_outputs pack_weights plan_packing"
    " sparse_backward sparse_forward sparse_width",
    "train": "train_steps",
    "update": "sum_gradient_squares sum_parameter_squares",
}
# Names that only the reference has, by file: units, constants of formulas, a forward pass, a single step.
REFERENCE_ONLY = {
    "gate": "AddGate MultiplyGate",
    "lbfgs": "Iterate minimise apply_limits",
    "line_search": "LineSearch Trial",
    "loss": "find_formulas",
    "network": "Activation Affine Dropout Normalisation make_chain make_training_chain scores",
    "norm": "EPS MOMENTUM",
    "output": "Softmax",
    "train": "train_step",
}
FILES = {module.name for module in pkgutil.iter_modules(fastnn.reference.__path__)} - {"tutorial"}
every_file = pytest.mark.parametrize("file", sorted(FILES))
# Arguments of kernel factories that the reference finds in a batch, a network or a number.
FOUND = {"batch_norm", "dropped", "plain", "sparse", "wanted", "with_l1"}
# Arguments with which the test calls the factories of kernels; a file may need one of `NAMES` as well.
FACTORY_ARGUMENTS = dict.fromkeys(("batch_norm", "dropped", "with_l1", "votes"), True)
FACTORY_ARGUMENTS |= {"sparse": False, "plain": False, "response": "margin", "wanted": 1}
NAMES = {"layer": "tanh", "curvature": "tanh", "output": "sigmoid", "outputs": "sigmoid"}
NAMES |= {"loss": "huber", "update": "adam"}


def sides(file):
    return [
        importlib.import_module(f"{package}.{file}") for package in ("fastnn_kernels", "fastnn.reference")
    ]


def list_arguments(file, name, operation):
    """Return the names of a factory's arguments, [] without a factory, and of the kernel's or function's."""
    if isinstance(operation, numba.core.dispatcher.Dispatcher):
        return [], list(inspect.signature(operation.py_func).parameters)
    names = list(inspect.signature(operation).parameters)
    if hasattr(operation, "cache_info"):
        values = {**FACTORY_ARGUMENTS, "name": NAMES.get(file) or NAMES.get(name)}
        kernel = operation(*(values[argument] for argument in names))
        if callable(kernel):
            return names, list_arguments(file, name, kernel)[1]
    return [], names


@every_file
def test_kernels_and_reference_have_the_same_names(file):
    both = []
    for side, others in zip(sides(file), (KERNELS_ONLY, REFERENCE_ONLY), strict=True):
        only = {*others.get(file, "").split()}
        assert only <= {*side.__all__}
        both.append({*side.__all__} - only)
    assert both[0] == both[1]


@every_file
def test_kernels_take_the_arguments_of_the_reference_in_its_order(file):
    kernels, reference = sides(file)
    n_arguments = 0
    for name in sorted({*kernels.__all__} & {*reference.__all__}):
        if not callable(getattr(kernels, name)):
            continue
        factory, kernel = list_arguments(file, name, getattr(kernels, name))
        _, names = list_arguments(file, name, getattr(reference, name))
        # Arguments of the factories, on which kernels are specialised, are left out.
        common = [argument for argument in names if argument in kernel]
        assert sorted(common, key=kernel.index) == common, name
        # The reference finds the activations in the networks of a committee.
        found = FOUND | {"activations"} if "networks" in names else FOUND
        assert {*factory} - found <= {*names}, name
        n_arguments += len(common)
    assert n_arguments
