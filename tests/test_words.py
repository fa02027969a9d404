"""Docstrings name their subject."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("fastnn", "kernels", "bench", "examples", "tests")
POINTING_WORDS = re.compile(r"(Of|That|Those|What|As|The same)\b")


def documented(path):
    """Yield the name, line and docstring of a file's module, classes and functions that have one."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield getattr(node, "name", "the module"), node.body[0].lineno, docstring


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_name_their_subject(folder):
    """The assertion lists file, line, name and first line of the docstrings to be rewritten."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths
    offenders = [
        f"{path.relative_to(ROOT)}:{line}: {name}: {docstring.splitlines()[0]}"
        for path in paths
        for name, line, docstring in documented(path)
        if POINTING_WORDS.match(docstring)
    ]
    assert not offenders, "\n".join(["docstrings that do not name their subject:", *offenders])
