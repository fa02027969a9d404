"""What is written works: examples of the docstrings and of the README."""

import doctest
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import fastnn
from fastnn.losses import LOSSES, REGRESSION_LOSSES
from fastnn.optimizers import OPTIMIZERS
from fastnn.reference.layer import ACTIVATIONS
from fastnn.schedules import SCHEDULES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MODULES = [m.name for m in pkgutil.walk_packages(fastnn.__path__, "fastnn.") if m.name != "fastnn.__main__"]


@pytest.fixture(autouse=True)
def no_figure():
    """An example that draws into the current axes does not find another's."""
    yield
    plt.close("all")


def blocks(language, text=README):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def line_of(block):
    return README[: README.index(block)].count("\n")


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


def row_of_the_readme(beginning):
    """The second cell of the row of a table that begins so."""
    return re.search(rf"^\| {beginning}[^|]*\|([^|]*)\|", README, re.MULTILINE)[1]


def described(thing, argument):
    """What a docstring says about an argument."""
    return re.search(rf"^{argument} : .*\n((?: .*\n|\n)+)", inspect.getdoc(thing), re.MULTILINE)[0]


# Lists that are written by hand, and what there is.
LISTS = {
    "README.md, activations": (row_of_the_readme("activations"), ACTIVATIONS),
    "README.md, losses": (row_of_the_readme("losses"), LOSSES),
    "README.md, optimizers": (row_of_the_readme("optimizers"), OPTIMIZERS),
    "README.md, schedules": (row_of_the_readme("schedules"), SCHEDULES),
    "README.md, more losses of the regressor": (row_of_the_readme("more losses"), REGRESSION_LOSSES),
    "Model, activation": (described(fastnn.Model, "activation"), ACTIVATIONS),
    "Model, loss": (described(fastnn.Model, "loss"), LOSSES),
    "Model.train, optimizer": (described(fastnn.Model.train, "optimizer"), OPTIMIZERS),
    "Model.train, schedule": (described(fastnn.Model.train, "schedule"), SCHEDULES),
    "MLPClassifier, activation": (described(fastnn.MLPClassifier, "activation"), {*ACTIVATIONS, "logistic"}),
    "MLPClassifier, solver": (described(fastnn.MLPClassifier, "solver"), OPTIMIZERS),
    "MLPRegressor, loss": (described(fastnn.MLPRegressor, "loss"), REGRESSION_LOSSES),
}


@pytest.mark.parametrize("place", LISTS)
def test_lists_name_all_there_is(place):
    text, names = LISTS[place]
    named = set(re.findall(r"`(\w+)`" if place.startswith("README") else r'"(\w+)"', text))
    assert not set(names) - named, f"add these to {place}"
    assert not named - set(names), f"remove these from {place}"


def is_error(thing):
    return inspect.isclass(thing) and issubclass(thing, Exception)


# Public functions, classes and their methods; errors are made by the library, not by users.
PUBLIC = [
    thing for name in fastnn.__all__ if callable(thing := getattr(fastnn, name)) and not is_error(thing)
]
METHODS = [
    method
    for thing in PUBLIC
    if inspect.isclass(thing)
    for name, method in inspect.getmembers(thing, inspect.isfunction)
    if not name.startswith("_") and method.__module__.startswith("fastnn")  # not scikit-learn's
]


@pytest.mark.parametrize("thing", PUBLIC)
def test_public_names_have_an_example(thing):
    assert ">>> " in inspect.getdoc(thing)


def docstrings(thing):
    """The docstring of a function or a class; of a method that overrides another, of both."""
    method = thing.__qualname__.split(".")
    if len(method) == 1:
        return inspect.getdoc(thing)
    kind, name = getattr(inspect.getmodule(thing), method[0]), method[1]
    return "\n".join(inspect.getdoc(vars(base)[name]) or "" for base in kind.__mro__ if name in vars(base))


@pytest.mark.parametrize("thing", [*PUBLIC, *METHODS])
def test_every_argument_is_described(thing):
    for argument in inspect.signature(thing).parameters:
        if argument != "self":
            assert re.search(rf"^(\w+, )*(\*\*)?{argument}\b", docstrings(thing), re.MULTILINE), argument


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: f"line {line_of(code)}")
def test_each_block_of_the_readme_runs_alone_and_prints_what_it_says(code, tmp_path, monkeypatch, capsys):
    """Comments behind a call of print say what it prints; files are written where the block runs."""
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    expected = [line.split("  # ")[1].strip() for line in code.splitlines() if line.startswith("print(")]
    assert printed[len(printed) - len(expected) :] == expected
    for name in re.findall(r'"(\w+\.(?:png|svg|gif))"', code):
        assert (tmp_path / name).exists(), name


def test_the_block_of_contributing_shows_assembly(tmp_path):
    """Kernels from the cache have none to show: the cache folder is empty."""
    (code,) = (block for block in blocks("python", CONTRIBUTING) if "inspect_asm" in block)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=300, check=True, cwd=tmp_path,
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")},
    )  # fmt: skip
    assert "\n" in done.stdout.strip()


def test_first_shell_block_is_two_lines():
    lines = blocks("(?:bash|sh|shell|console)")[0].strip().splitlines()
    assert len(lines) == 2
    assert "fastnn moons" in lines[0]
    assert "pytest" in lines[1]


def test_files_named_in_the_readme_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_changelog_has_this_version():
    assert f"[{fastnn.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
