"""Only the module ``sklearn_internals`` uses private names of scikit-learn."""

import inspect
import re
from pathlib import Path

from sklearn.neural_network import MLPClassifier

import fastnn
from fastnn.system import sklearn_internals
from fastnn.system.messages import WRAPPERS

# Imports of private names and modules, and attributes that scikit-learn sets or reads on estimators.
PRIVATE = re.compile(
    r"from sklearn[\w.]*\._\w|from sklearn[\w.]* import (.*\W)?_\w|import sklearn[\w.]*\._|sklearn[\w.]*\._\w"
    r"|\b_(sklearn_output_config|skl_callbacks|callback_fit_ctx|init_callback_context|score_func"
    r"|transformer_to_input_indices|parent_callback_ctx|best_coefs)\b"
)


def test_no_other_module_uses_private_names():
    internals, used = Path(sklearn_internals.__file__), {}
    for path in Path(fastnn.__file__).parent.rglob("*.py"):
        found = [line for line in path.read_text(encoding="utf-8").splitlines() if PRIVATE.search(line)]
        used |= {path: found} if found else {}
    assert used.pop(internals)
    assert used == {}


def test_names_that_are_looked_up_are_defined_here_and_exist_in_scikit_learn():
    """A name that a release of scikit-learn renames would be looked up no more, unnoticed."""
    source = inspect.getsource(inspect.getmodule(MLPClassifier))
    for name in sklearn_internals.LOOKED_UP:
        assert hasattr(fastnn.MLPClassifier, name)
        assert hasattr(MLPClassifier, name) or f"self.{name} =" in source


def test_warnings_skip_the_wrappers_of_scikit_learn():
    wrapped = inspect.unwrap(fastnn.MLPClassifier.fit), fastnn.MLPClassifier.fit
    assert wrapped[0] is not wrapped[1]
    assert wrapped[1].__globals__["__name__"] in WRAPPERS
