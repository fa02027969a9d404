"""Imports: heavy packages are loaded only on first use."""

import ast
import inspect

import pytest
from processes import run_python

import fastnn
from fastnn import losses, optimizers

HEAVY = ("numba", "llvmlite", "sklearn", "scipy", "matplotlib", "pandas")


def loaded_after(statement):
    """Return the heavy packages that a new interpreter has loaded after a statement."""
    program = f"import sys\n{statement}\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    return set(run_python(program).splitlines()[-1].split())


def test_import_loads_nothing_heavy():
    assert loaded_after("import fastnn") == set()


def test_help_and_version_load_nothing_heavy():
    statement = "from fastnn.cli.main import main\ntry: main([{!r}])\nexcept SystemExit: pass"
    assert loaded_after(statement.format("--help")) == set()
    assert loaded_after(statement.format("--version")) == set()


def test_units_and_the_numpy_backend_load_nothing_heavy():
    assert loaded_after("import fastnn; fastnn.Tanh, fastnn.Softmax, fastnn.MultiplyGate") == set()
    assert loaded_after("import fastnn; fastnn.check_exercise('sigmoid', abs)") == set()
    train = "fastnn.Model([2, 3, 2], backend='numpy').train([[1, 2]], [0], num_passes=2)"
    assert loaded_after(f"import fastnn; {train}") == set()
    train = "TutorialModel([2, 3, 2]).train(np.ones((1, 2)), [0], num_passes=2)"
    imports = "import numpy as np; from fastnn.reference.tutorial import TutorialModel"
    assert loaded_after(f"{imports}; {train}") == set()


def test_training_loads_numba_but_no_matplotlib():
    train = "fastnn.Model([2, 3, 2]).train([[1, 2]], [0], num_passes=2)"
    assert loaded_after(f"import fastnn; {train}") <= {"numba", "llvmlite", "scipy"}


def test_imports_for_type_checkers_are_those_at_run_time():
    (block,) = (
        node
        for node in ast.parse(inspect.getsource(fastnn)).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    modules = {name.name: node.module for node in block.body for name in node.names}
    assert {name: home for name, home in modules.items() if name != "*"} == fastnn._HOMES
    catalogues = [node.module for node in block.body if node.names[0].name == "*"]
    assert catalogues == list(fastnn._CATALOGUES)


@pytest.mark.parametrize(
    ("module", "registry"), [(losses, losses.LOSSES), (optimizers, optimizers.OPTIMIZERS)]
)
def test_every_registered_loss_and_optimizer_is_public(module, registry):
    assert set(module.__all__) == {kind.__name__ for kind in registry.values()}


def test_every_public_name_resolves():
    for name in fastnn.__all__:
        assert getattr(fastnn, name) is not None
    assert set(fastnn.__all__) <= set(dir(fastnn))


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
