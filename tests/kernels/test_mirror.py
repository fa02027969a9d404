"""Kernels and reference have the same operations with the same arguments."""

import importlib
import inspect
import pkgutil
import re
import sys

import numba
import pytest
from kernel_packages import KERNELS

import fastnn.reference

# Names that only the kernels have, by file: registered formulas, addresses of tiles, weights packed for
# products, products of sparse samples, sums over shards or over a range of parameters, training loops.
KERNELS_ONLY = {
    "gate": {"pack", "packed_size"},
    "layer": {"Activation"},
    "lbfgs": {"advance", "lbfgs_iterations"},
    "line_search": {"begin_search", "search_ends"},
    "loss": {"RegisteredLoss"},
    "network": {
        "input_rate",
        "last_outputs",
        "pack_weights",
        "plan_packing",
        "sparse_backward",
        "sparse_forward",
        "sparse_width",
    },
    "train": {"train_steps"},
    "update": {"gradient_square_sum", "parameter_square_sum"},
}
# Names that only the reference has, by file: units, constants of formulas, a forward pass, a single step.
REFERENCE_ONLY = {
    "gate": {"AddGate", "MultiplyGate"},
    "lbfgs": {"Iterate", "minimise", "with_limits"},
    "line_search": {"LineSearch", "Trial"},
    "network": {"Activation", "Affine", "Batch", "Dropout", "Normalisation", "chain_of", "scores"},
    "norm": {"EPS", "MOMENTUM"},
    "output": {"Softmax"},
    "train": {"train_step"},
}
# Files with operations on arrays: a kernel takes the reference's arguments, then sizes and outputs.
ELEMENTARY = (
    "encoding",
    "gate",
    "layer",
    "line_search",
    "curvature",
    "output",
    "loss",
    "norm",
    "random",
    "update",
)
# Files with loops over a network, which kernels and reference describe differently.
LOOPS = ("network", "train", "lbfgs", "predict", "bound", "committee", "grid", "quadtree")
FILES = ELEMENTARY + LOOPS
# The file without kernels: the tutorial's training loop, built from the units.
REFERENCE_FILES = ("tutorial",)
# Arguments with another name in a kernel: the update adds the gradients of several shards.
RENAMED = {("update", "gradient"): "gradients"}
# Kernels that take the range of parameters before the array that they change.
RANGE_FIRST = {"add_to_average"}

# Arguments of kernel factories that the reference finds in a batch, a network or a number.
FOUND = {"batch_norm", "dropped", "plain", "sparse", "with_l1"}

# Arguments with which the test calls the factories of kernels; a file may need one of `NAMES` as well.
FACTORY_ARGUMENTS = {
    "batch_norm": True,
    "dropped": True,
    "sparse": False,
    "plain": False,
    "with_l1": True,
    "votes": True,
    "response": "margin",
}
NAMES = {
    "layer": "tanh",
    "curvature": "tanh",
    "output": "sigmoid",
    "outputs": "sigmoid",
    "loss": "huber",
    "update": "adam",
}


def sides(file):
    return importlib.import_module(f"fastnn_kernels.{file}"), importlib.import_module(
        f"fastnn.reference.{file}"
    )


def arguments(file, name, operation):
    """Return the names of a factory's arguments, [] without a factory, and of the kernel's or function's."""
    if isinstance(operation, numba.core.dispatcher.Dispatcher):
        return [], list(inspect.signature(operation.py_func).parameters)
    names = list(inspect.signature(operation).parameters)
    if hasattr(operation, "cache_info"):
        values = {**FACTORY_ARGUMENTS, "name": NAMES.get(file) or NAMES.get(name)}
        kernel = operation(*(values[argument] for argument in names))
        if callable(kernel):
            return names, arguments(file, name, kernel)[1]
    return [], names


def operations(file):
    """Yield name and arguments (of the factory, the kernel and the reference) of each common operation."""
    kernels, reference = sides(file)
    for name in sorted(set(kernels.__all__) & set(reference.__all__)):
        if callable(getattr(kernels, name)):
            factory, kernel = arguments(file, name, getattr(kernels, name))
            _, names = arguments(file, name, getattr(reference, name))
            yield name, factory, kernel, [RENAMED.get((name, argument), argument) for argument in names]


@pytest.mark.parametrize("file", FILES)
def test_kernels_and_reference_have_the_same_names(file):
    kernels, reference = (set(side.__all__) for side in sides(file))
    assert kernels - KERNELS_ONLY.get(file, set()) == reference - REFERENCE_ONLY.get(file, set())
    assert KERNELS_ONLY.get(file, set()) <= kernels
    assert REFERENCE_ONLY.get(file, set()) <= reference


@pytest.mark.parametrize("file", ELEMENTARY)
def test_kernels_take_the_arguments_of_the_reference_first(file):
    n_operations = 0
    for name, factory, kernel, reference in operations(file):
        if name not in RANGE_FIRST:
            specialised = [argument for argument in factory if argument not in FOUND]
            assert [*specialised, *kernel][: len(reference)] == reference, name
        n_operations += 1
    assert n_operations


@pytest.mark.parametrize("file", FILES)
def test_common_arguments_are_in_the_same_order(file):
    # Arguments of the factories, on which kernels are specialised, are left out.
    n_arguments = 0
    for name, _, kernel, reference in operations(file):
        common = [argument for argument in reference if argument in kernel]
        assert sorted(common, key=kernel.index) == common, name
        n_arguments += len(common)
    assert n_arguments


@pytest.mark.parametrize("file", FILES)
def test_arguments_of_factories_are_arguments_of_the_reference(file):
    for name, factory, _, reference in operations(file):
        # The reference finds the activations in the networks of a committee.
        found = FOUND | {"activations"} if "networks" in reference else FOUND
        assert set(factory) - found <= set(reference), name


def test_every_file_of_the_reference_is_compared():
    files = {module.name for module in pkgutil.iter_modules(fastnn.reference.__path__)}
    assert files == {*FILES, *REFERENCE_FILES}


@pytest.mark.parametrize("file", [*FILES, *REFERENCE_FILES])
def test_the_reference_imports_only_numpy_the_standard_library_and_itself(file):
    reference = importlib.import_module(f"fastnn.reference.{file}")
    source = re.sub(r"``fastnn_kernels/\w+\.py``", "", inspect.getsource(reference))
    assert "fastnn_kernels" not in source
    assert "numba" not in source
    imported = re.findall(r"^(?:import|from) (\S+)", source, re.MULTILINE)
    files = {name for name in imported if re.fullmatch(r"\.\w+", name)}
    assert set(imported) - files - {"numpy"} - sys.stdlib_module_names <= {"collections.abc", "__future__"}


KERNEL_FILES = sorted(str(path.relative_to(KERNELS)) for path in KERNELS.rglob("*.py"))


@pytest.mark.parametrize("file", KERNEL_FILES)
def test_the_kernels_do_not_import_fastnn(file):
    source = (KERNELS / file).read_text(encoding="utf-8")
    assert not re.search(r"^\s*(import|from) fastnn\b", source, re.MULTILINE)
