"""The two sides, kernels and reference, have the same operations with the same arguments."""

import importlib
import inspect
import pkgutil
import re
import sys

import numba
import pytest

import fastnn.reference
import fastnn_kernels

# What only one side needs. Kernels: what the compiler is told of a formula, pointers to them, how a tile is
# addressed, how several networks lie behind each other, sums over gradients that come in several and over a
# part of the parameters, and the parts a training is handed over in, many steps at a time.
KERNELS_ONLY = {
    "bound": {"bounds_table"},
    "committee": {"PackedCommittee", "relocated_plan"},
    "encoding": {"FAR"},
    "layer": {"Activation", "backward_table", "forward_table"},
    "lbfgs": {
        "ENDED",
        "GRADIENT",
        "ITERATED",
        "Minimiser",
        "MinimiserState",
        "N_EVALUATIONS",
        "N_ITERATIONS",
        "PHASE",
        "SEARCH",
        "STATUS",
        "VALUE",
        "X",
        "advance",
        "advance_pointer",
        "compile_advance",
        "lbfgs_iterations",
        "new_minimiser",
    },
    "line_search": {"N_SEARCH", "SLOPE_BEFORE", "STEP", "VALUE_BEFORE", "begin_search", "search_ends"},
    "loss": {"RegisteredLoss", "backward_pointer", "value_pointer"},
    "network": {"last_outputs", "transposed_width"},
    "output": {"forward_pointer"},
    "train": {
        "BLOCK",
        "Data",
        "GradientPointers",
        "PreparedCall",
        "Settings",
        "State",
        "Workspace",
        "compile_gradient",
        "gradient_pointers",
        "train_steps",
        "training_loop",
        "update_pointer",
    },
    "update": {"gradient_square_sum", "parameter_square_sum", "update_pointer"},
}
# Reference: the units, the constants of a formula, a pass that keeps nothing, a single step.
REFERENCE_ONLY = {
    "gate": {"AddGate", "MultiplyGate"},
    "lbfgs": {"Iterate", "minimise", "with_limits"},
    "line_search": {"LineSearch", "Trial"},
    "network": {"Activation", "Affine", "Dropout", "Normalisation", "chain_of", "scores"},
    "norm": {"EPS", "MOMENTUM"},
    "output": {"Softmax"},
    "train": {"train_step"},
}
# Operations on arrays: the kernel takes what the reference takes, then sizes and outputs.
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
# Loops over a network, which each side describes in its own way.
LOOPS = ("network", "train", "lbfgs", "predict", "bound", "committee", "grid", "quadtree")
FILES = ELEMENTARY + LOOPS
# What only the reference has: the tutorial's training loop, built of the units.
ALONE = ("tutorial",)
# Called otherwise by a kernel: the gradients of several shards are added on the way.
CALLED = {("update", "gradient"): "gradients"}
# Kernels that know which part of its arguments they work on before the one that is changed.
PART_FIRST = {"add_to_average"}

# What kernels are specialised on and the reference sees for itself, from a batch, a network or a number.
SEEN = {"batch_norm", "dropped", "sparse", "with_l1"}

# What the factories of kernels are given to make one.
MADE = {
    "batch_norm": True,
    "dropped": True,
    "sparse": False,
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
    """Names of the arguments of the factory, if it is one, and of the kernel or function itself."""
    if isinstance(operation, numba.core.dispatcher.Dispatcher):
        return [], list(inspect.signature(operation.py_func).parameters)
    own = list(inspect.signature(operation).parameters)
    if hasattr(operation, "cache_info"):
        made = {**MADE, "name": NAMES.get(file) or NAMES.get(name)}
        kernel = operation(*(made[argument] for argument in own))
        if callable(kernel):
            return own, arguments(file, name, kernel)[1]
    return [], own


def operations(file):
    """(name, arguments of the kernel's factory, of the kernel, of the reference) of all that both have."""
    kernels, reference = sides(file)
    for name in sorted(set(kernels.__all__) & set(reference.__all__)):
        if callable(getattr(kernels, name)):
            factory, kernel = arguments(file, name, getattr(kernels, name))
            _, own = arguments(file, name, getattr(reference, name))
            yield name, factory, kernel, [CALLED.get((name, argument), argument) for argument in own]


@pytest.mark.parametrize("file", FILES)
def test_names_are_the_same(file):
    kernels, reference = (set(side.__all__) for side in sides(file))
    assert kernels - KERNELS_ONLY.get(file, set()) == reference - REFERENCE_ONLY.get(file, set())
    assert KERNELS_ONLY.get(file, set()) <= kernels
    assert REFERENCE_ONLY.get(file, set()) <= reference


@pytest.mark.parametrize("file", ELEMENTARY)
def test_kernels_take_what_the_reference_takes_first(file):
    seen = 0
    for name, factory, kernel, reference in operations(file):
        if name not in PART_FIRST:
            told = [argument for argument in factory if argument not in SEEN]
            assert [*told, *kernel][: len(reference)] == reference, name
        seen += 1
    assert seen


@pytest.mark.parametrize("file", FILES)
def test_shared_arguments_stand_in_the_same_order(file):
    # Apart from what kernels are specialised on, which their factories take.
    seen = 0
    for name, _, kernel, reference in operations(file):
        shared = [argument for argument in reference if argument in kernel]
        assert sorted(shared, key=kernel.index) == shared, name
        seen += len(shared)
    assert seen


@pytest.mark.parametrize("file", FILES)
def test_kernels_are_specialised_on_what_the_reference_is_told(file):
    for name, factory, _, reference in operations(file):
        # The networks of a committee tell their activations.
        seen = SEEN | {"activations"} if "networks" in reference else SEEN
        assert set(factory) - seen <= set(reference), name


def test_every_file_of_the_reference_is_mirrored():
    assert {module.name for module in pkgutil.iter_modules(fastnn.reference.__path__)} == {*FILES, *ALONE}


@pytest.mark.parametrize("file", [*FILES, *ALONE])
def test_the_reference_knows_nothing_of_the_kernels(file):
    reference = importlib.import_module(f"fastnn.reference.{file}")
    source = re.sub(r"``fastnn_kernels/\w+\.py``", "", inspect.getsource(reference))
    assert "fastnn_kernels" not in source
    assert "numba" not in source
    imported = re.findall(r"^(?:import|from) (\S+)", source, re.MULTILINE)
    own = {name for name in imported if re.fullmatch(r"\.\w+", name)}
    assert set(imported) - own - {"numpy"} - sys.stdlib_module_names <= {"collections.abc", "__future__"}


@pytest.mark.parametrize("file", [module.name for module in pkgutil.iter_modules(fastnn_kernels.__path__)])
def test_kernels_know_nothing_of_fastnn(file):
    source = inspect.getsource(importlib.import_module(f"fastnn_kernels.{file}"))
    assert not re.search(r"^\s*(import|from) fastnn\b", source, re.MULTILINE)
