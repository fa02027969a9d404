"""Imports: heavy packages are loaded on first use only."""

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


@pytest.mark.parametrize("arguments", [["--help"], ["export", "--help"], ["info", "--help"]])
def test_help_on_files_of_models_does_without_numpy(arguments):
    statement = f"from fastnn.cli.main import main\ntry: main({arguments})\nexcept SystemExit: pass"
    assert run_python(f"import sys\n{statement}\nprint('numpy' in sys.modules)").split()[-1] == "False"


def test_units_and_the_numpy_backend_load_numpy_alone():
    assert loaded_after("import fastnn; fastnn.Tanh, fastnn.Softmax, fastnn.MultiplyGate") == set()
    train = "fastnn.Model([2, 3, 2], backend='numpy').train([[1, 2]], [0], num_passes=2)"
    assert loaded_after(f"import fastnn; {train}") == set()
    train = "TutorialModel([2, 3, 2]).train(np.ones((1, 2)), [0], num_passes=2)"
    imports = "import numpy as np; from fastnn.reference.tutorial import TutorialModel"
    assert loaded_after(f"{imports}; {train}") == set()


def test_training_loads_numba_but_no_matplotlib():
    train = "fastnn.Model([2, 3, 2]).train([[1, 2]], [0], num_passes=2)"
    assert loaded_after(f"import fastnn; {train}") <= {"numba", "llvmlite", "scipy"}


def test_type_checkers_see_the_names_that_there_are():
    (block,) = (
        node
        for node in ast.parse(inspect.getsource(fastnn)).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    homes = {name.name: node.module for node in block.body for name in node.names}
    assert {name: home for name, home in homes.items() if name != "*"} == fastnn._HOMES
    catalogues = [node.module for node in block.body if node.names[0].name == "*"]
    assert catalogues == list(fastnn._CATALOGUES)


@pytest.mark.parametrize(
    ("module", "registry"), [(losses, losses.LOSSES), (optimizers, optimizers.OPTIMIZERS)]
)
def test_all_there_is_of_a_kind_is_public(module, registry):
    assert set(module.__all__) == {kind.__name__ for kind in registry.values()}


def test_all_names_resolve():
    for name in fastnn.__all__:
        assert getattr(fastnn, name) is not None
    assert set(fastnn.__all__) <= set(dir(fastnn))


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'Modle'"):
        fastnn.Modle  # noqa: B018


def test_disabled_compilation_is_told():
    program = "import fastnn\ntry: fastnn.Model([2, 2])\nexcept RuntimeError as error: print(error)"
    assert 'backend="numpy"' in run_python(program, NUMBA_DISABLE_JIT="1")
