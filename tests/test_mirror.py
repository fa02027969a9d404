"""The two sides, kernels and reference, have the same operations with the same arguments."""

import importlib
import inspect

import numba
import pytest

# What only one side needs. Kernels: how a tile is cut out and addressed. Reference: the units.
KERNELS_ONLY = {"layer": {"by_code"}, "network": {"last_outputs"}, "predict": {"take_tile"}}
REFERENCE_ONLY = {
    "gate": {"AddGate", "MultiplyGate"},
    "layer": {"Identity", "Sigmoid", "Tanh"},
    "network": {"scores"},
    "output": {"Softmax"},
}
# Operations on arrays: the kernel takes what the reference takes, then sizes and outputs.
ELEMENTARY = ("gate", "layer", "output", "update")
# Loops over a network, which each side describes in its own way.
LOOPS = ("network", "train", "predict", "grid")
FILES = ELEMENTARY + LOOPS


def sides(file):
    return importlib.import_module(f"fastnn_kernels.{file}"), importlib.import_module(
        f"fastnn.reference.{file}"
    )


def arguments(operation):
    """Names of an operation's arguments; of a factory's, then of the kernel it makes."""
    if isinstance(operation, numba.core.dispatcher.Dispatcher):
        return list(inspect.signature(operation.py_func).parameters)
    own = inspect.signature(operation).parameters
    made = {"name": "tanh", "activations": ("tanh",)}
    if own.keys() <= made.keys() and hasattr(operation, "cache_info"):
        return [*own, *arguments(operation(*(made[name] for name in own)))]
    return list(own)


@pytest.mark.parametrize("file", FILES)
def test_names_are_the_same(file):
    kernels, reference = (set(side.__all__) for side in sides(file))
    assert kernels - KERNELS_ONLY.get(file, set()) == reference - REFERENCE_ONLY.get(file, set())
    assert KERNELS_ONLY.get(file, set()) <= kernels
    assert REFERENCE_ONLY.get(file, set()) <= reference


def operations(file):
    kernels, reference = sides(file)
    for name in sorted(set(kernels.__all__) & set(reference.__all__)):
        if callable(getattr(kernels, name)):
            yield name, arguments(getattr(kernels, name)), arguments(getattr(reference, name))


@pytest.mark.parametrize("file", ELEMENTARY)
def test_kernels_take_what_the_reference_takes_first(file):
    for name, kernel, reference in operations(file):
        assert kernel[: len(reference)] == reference, name


@pytest.mark.parametrize("file", LOOPS)
def test_shared_arguments_stand_in_the_same_order(file):
    seen = 0
    for name, kernel, reference in operations(file):
        shared = [argument for argument in reference if argument in kernel]
        assert sorted(shared, key=kernel.index) == shared, name
        seen += len(shared)
    assert seen


def test_every_file_of_the_reference_is_mirrored():
    import pkgutil

    import fastnn.reference

    assert {module.name for module in pkgutil.iter_modules(fastnn.reference.__path__)} == set(FILES)


@pytest.mark.parametrize("file", FILES)
def test_the_reference_knows_nothing_of_the_kernels(file):
    _, reference = sides(file)
    source = inspect.getsource(reference)
    assert "fastnn_kernels" not in source.replace("``fastnn_kernels/layer.py``", "")
    assert "numba" not in source
