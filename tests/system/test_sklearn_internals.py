"""Only the module ``sklearn_internals`` uses private names of scikit-learn."""

import ast
import inspect
import re
from pathlib import Path

import pytest
from sklearn.neural_network import MLPClassifier

import fastnn
from fastnn.system import sklearn_internals

PACKAGE = Path(fastnn.__file__).parent
INTERNALS = Path(sklearn_internals.__file__)
SOURCES = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py")) if path != INTERNALS}
# Attributes of named tuples, `sys`, `os` and NumPy's RandomState.
OF_OTHERS = {"_asdict", "_bit_generator", "_exit", "_fields", "_getframe", "_make", "_replace"}


def is_private(name):
    return re.fullmatch("_[^_].*", name) is not None


def private_names(tree):
    """Return the private names in attributes, the bodies of classes, and texts such as those of `getattr`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.ClassDef):
            found |= defined_names(node.body)
    return {name for name in found if is_private(name)}


def defined_names(statements):
    """Return the names that statements define: functions, classes, variables and what an import binds."""
    found = set()
    for node in statements:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {part.id for each in targets for part in ast.walk(each) if isinstance(part, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


OF_SKLEARN = private_names(ast.parse(INTERNALS.read_text())) - set(sklearn_internals.LOOKED_UP)


def uses(tree):
    """Yield the private names of scikit-learn that a file uses."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value]
        for name in names:
            if re.match(r"sklearn\.", name) and any(map(is_private, name.split("."))):
                yield name
    yield from private_names(tree) & OF_SKLEARN


def test_no_other_module_uses_private_names():
    assert {"base.py", "encoder.py", "affine.py"} <= {path.name for path in SOURCES}
    found = {str(path.relative_to(PACKAGE)): sorted(uses(tree)) for path, tree in SOURCES.items()}
    assert {path: names for path, names in found.items() if names} == {}


def test_other_modules_use_private_attributes_of_this_project_only():
    used, defined = set(), set(OF_OTHERS)
    for path, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and is_private(node.attr):
                (defined if isinstance(node.ctx, ast.Store) else used).add(node.attr)
            defined |= defined_names([node])
        defined.add(path.stem)
    assert used - defined == set()


@pytest.mark.parametrize(
    "source",
    [
        "from sklearn.base import _fit_context",
        "import sklearn.utils._param_validation as validation",
        "def f():\n    from sklearn.neural_network._base import ACTIVATIONS",
        "import sklearn\nsklearn.utils._safe_indexing(X, rows)",
        "importlib.import_module('sklearn.callback._callback_support')",
        "estimator._init_callback_context()",
        "getattr(estimator, '_skl_callbacks', [])",
        "class C:\n    def _transformer_to_input_indices(self): pass",
        "class C:\n    _sklearn_output_config = {}",
    ],
)
def test_private_names_are_found(source):
    assert list(uses(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "import sklearn\nfrom sklearn.utils.validation import check_is_fitted, validate_data",
        "from ..system.sklearn_internals import Interval, fit_context",
        "class C:\n    _parameter_constraints = {}\n    def _fit(self): self._validate_params()",
        "tags.__sklearn_tags__()",
    ],
)
def test_public_names_and_those_that_are_looked_up_are_allowed(source):
    assert not list(uses(ast.parse(source)))


@pytest.mark.parametrize(("start", "names"), [("__all__ = [", "__all__"), ("LOOKED_UP = (", "LOOKED_UP")])
def test_each_name_has_a_comment(start, names):
    lines = INTERNALS.read_text().partition(f"\n{start}\n")[2].splitlines()
    block = lines[: next(k for k, line in enumerate(lines) if not line.startswith("    "))]
    listed = [re.fullmatch(r'    "(\w+)",  # \S.*\S', line)[1] for line in block]
    assert listed == list(getattr(sklearn_internals, names))


def test_exactly_the_exported_names_are_used():
    nodes = [node for tree in SOURCES.values() for node in ast.walk(tree)]
    imported = {
        alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("sklearn_internals")
        for alias in node.names
    }
    assert imported == set(sklearn_internals.__all__) - {"LOOKED_UP"}
    assert all(hasattr(sklearn_internals, name) for name in sklearn_internals.__all__)


def test_names_that_are_looked_up_are_defined_here_and_exist_in_scikit_learn():
    """A name that a release of scikit-learn renames would be looked up no more, unnoticed."""
    source = inspect.getsource(inspect.getmodule(MLPClassifier))
    for name in sklearn_internals.LOOKED_UP:
        assert hasattr(fastnn.MLPClassifier, name)
        assert hasattr(MLPClassifier, name) or f"self.{name} =" in source


def test_warnings_skip_the_wrappers_of_scikit_learn():
    from fastnn.system.messages import WRAPPERS

    wrapped = inspect.unwrap(fastnn.MLPClassifier.fit), fastnn.MLPClassifier.fit
    assert wrapped[0] is not wrapped[1]
    assert wrapped[1].__globals__["__name__"] in WRAPPERS
