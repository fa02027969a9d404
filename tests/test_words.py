"""Docstrings name their subject, and the docstring of a long module says why the module is long."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("fastnn", "kernels", "bench", "examples", "tests")
# Most lines of a module by folder; a longer module needs a reason.
LINES = {"fastnn": 500, "kernels": 500, "bench": 500, "tests": 600}
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


@pytest.mark.parametrize(("folder", "limit"), LINES.items())
def test_a_long_module_says_why_it_is_long(folder, limit):
    """A docstring has the words "exceeds N lines because" if and only if the module has more than N lines."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert paths
    silent, short = [], []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        words = " ".join((ast.get_docstring(ast.parse(text, str(path))) or "").split())
        is_long, has_reason = text.count("\n") > limit, f"exceeds {limit} lines because " in words
        if is_long != has_reason:
            (silent if is_long else short).append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
    assert not silent, "\n".join([f"to be split, or to say why it exceeds {limit} lines:", *silent])
    assert not short, "\n".join([f"says why it exceeds {limit} lines, but does not:", *short])
