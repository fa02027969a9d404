"""Imports: heavy packages are loaded only on first use."""

import ast
import importlib
import inspect

import pytest
from processes import run_python

import fastnn

HEAVY = ("numba", "llvmlite", "sklearn", "scipy", "matplotlib", "pandas", "safetensors")
HEAVY += "http.client", "html.entities", "numpy.ma"  # which take a tenth of a page's start


LIGHT = """
import numpy as np
import fastnn
from fastnn.reference.tutorial import TutorialModel

assert "Adam" in dir(fastnn)
fastnn.Tanh, fastnn.Softmax, fastnn.MultiplyGate
fastnn.check_exercise("sigmoid", abs)
model = fastnn.Model([2, 3, 2], backend="numpy")
model.train([[1, 2]], [0], num_passes=2)
fastnn.render_boundary(model, (0, 1), (0, 1), 8)
TutorialModel([2, 3, 2]).train(np.ones((1, 2)), [0], num_passes=2)
"""


def find_loaded(program):
    """Return the heavy packages that a new interpreter has loaded after a program."""
    report = f"import sys\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    return set(run_python(f"{program}\n{report}").splitlines()[-1].split())


def test_units_and_the_numpy_backend_load_nothing_heavy():
    assert find_loaded(LIGHT) == set()


def test_training_loads_numba_but_no_matplotlib():
    train = "import fastnn\nfastnn.Model([2, 3, 2]).train([[1, 2]], [0], num_passes=2)"
    # numba loads numpy.ma where it compiles, without kernels in its cache.
    assert find_loaded(train) <= {"numba", "llvmlite", "scipy", "http.client", "html.entities", "numpy.ma"}


def test_imports_for_type_checkers_are_those_at_run_time():
    tree = ast.parse(inspect.getsource(fastnn))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    found = {}
    for node in block.body:
        module = importlib.import_module(f"fastnn.{node.module}")
        names = module.__all__ if node.names[0].name == "*" else [name.name for name in node.names]
        found |= {name: getattr(module, name) for name in names}
    assert found.keys() == set(fastnn.__all__) - {"__version__", "export"}
    assert all(getattr(fastnn, name) is thing for name, thing in found.items())


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Modle'"):
        fastnn.Modle  # noqa: B018


def test_disabled_compilation_is_an_error_that_names_the_numpy_backend():
    program = """
import fastnn
try:
    fastnn.Model([2, 2]).predict([[0, 0]])
except RuntimeError as error:
    print(error)
"""
    assert 'backend="numpy"' in run_python(program, NUMBA_DISABLE_JIT="1")
