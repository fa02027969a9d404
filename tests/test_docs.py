"""Documents: examples run and print the output they show, and files they name exist."""

import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
import sklearn.neural_network
from processes import run_python

import fastnn
from fastnn.estimators.solvers import SOLVERS
from fastnn.losses import LOSSES, REGRESSION_LOSSES
from fastnn.optimizers import OPTIMIZERS
from fastnn.reference.layer import ACTIVATIONS
from fastnn.schedules import SCHEDULES
from fastnn.training.options import SETTINGS

ROOT = Path(__file__).parents[1]
MADE = {"_build", "gallery", "api"}  # folders of the site's build
PAGES = [path for path in sorted((ROOT / "docs").rglob("*.md")) if not MADE & set(path.parts)]
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *PAGES]
}
README, CONTRIBUTING = DOCUMENTS["README.md"], DOCUMENTS["CONTRIBUTING.md"]
MODULES = [module.name for module in pkgutil.walk_packages(fastnn.__path__, "fastnn.")]


def find_blocks(language, text=README):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


# Packages of extras, and what shows in a block of code that the block needs them.
USES = {
    "pandas": r"import pandas|as_frame=True",
    "pyarrow": r"\.to_parquet\(",
    "lightgbm": r"import lightgbm",
    "dask": r"boundary_array\(|import dask|from dask",
}


def mark_needs(code):
    """Return a mark of the packages that a block of code needs, if any."""
    packages = [package for package, pattern in USES.items() if re.search(pattern, code)]
    return [pytest.mark.needs(*packages)] if packages else []


def read_prompts(name):
    """Return the lines of a module's docstrings that are typed at a prompt."""
    source = Path(importlib.util.find_spec(name).origin).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^ *(?:>>>|\.\.\.) .*", source, re.MULTILINE))


# Code blocks for a Python prompt. CONTRIBUTING.md's needs an empty cache, and has a separate test.
EXAMPLES = [
    pytest.param(
        code,
        id=f"{name} line {text[: text.index(code)].count(chr(10))}",
        marks=[*mark_needs(code), *([pytest.mark.slow] if name != "README.md" else [])],
    )
    for name, text in DOCUMENTS.items()
    if name != "CONTRIBUTING.md"
    for code in find_blocks("python", text)
]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=mark_needs(code)) for name in MODULES if (code := read_prompts(name))]
)
def test_examples_in_docstrings_print_what_they_state(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


# Lists written by hand, in rows of a page's table and in docstrings, and the registries that they must equal.
LISTS = [
    ("docs/training.md", "activations", ACTIVATIONS),
    ("docs/training.md", "losses", LOSSES),
    ("docs/training.md", "optimizers", OPTIMIZERS),
    ("docs/training.md", "schedules", SCHEDULES),
    ("docs/estimators.md", "losses of the regressor", REGRESSION_LOSSES),
    (fastnn.Model, "activation", ACTIVATIONS),
    (fastnn.Model, "loss", LOSSES),
    (fastnn.Model.train, "optimizer", OPTIMIZERS),
    (fastnn.Model.train, "schedule", SCHEDULES),
    (fastnn.MLPClassifier, "activation", {*ACTIVATIONS, "logistic"}),
    (fastnn.MLPClassifier, "solver", SOLVERS),
    (fastnn.MLPRegressor, "loss", REGRESSION_LOSSES),
]


@pytest.mark.parametrize(("place", "name", "registry"), LISTS)
def test_lists_name_exactly_what_is_registered(place, name, registry):
    if is_page := isinstance(place, str):  # the second cell of the table's row, else an argument's paragraph
        text = re.search(rf"^\| {name}[^|]*\|([^|]*)\|", DOCUMENTS[place], re.MULTILINE)[1]
    else:
        text = re.search(rf"^{name} : .*\n((?: .*\n|\n)+)", inspect.getdoc(place), re.MULTILINE)[0]
    named = set(re.findall(r"`(\w+)`" if is_page else r'"(\w+)"', text))
    assert not set(registry) - named, f"add these to {place}"
    assert not named - set(registry), f"remove these from {place}"


ADDED = {*fastnn.MLPClassifier().get_params()} - {*sklearn.neural_network.MLPClassifier().get_params()}


@pytest.mark.parametrize(("page", "names"), [("docs/training.md", SETTINGS), ("docs/estimators.md", ADDED)])
def test_pages_name_the_options_of_a_training(page, names):
    assert not {*names} - {*re.findall(r"`(\w+)\b", DOCUMENTS[page])}, f"add these to the table of {page}"


# Public functions, classes and their methods. Exceptions are left out: users do not create them.
CALLED = [thing for name in fastnn.__all__ if callable(thing := getattr(fastnn, name))]
PUBLIC = [thing for thing in CALLED if not (inspect.isclass(thing) and issubclass(thing, Exception))]
METHODS = [
    method
    for thing in PUBLIC
    if inspect.isclass(thing)
    for name, method in inspect.getmembers(thing, inspect.isfunction)
    if not name.startswith("_") and method.__module__.startswith("fastnn")  # scikit-learn documents its own
]


def read_docstrings(thing):
    """Return the docstring of a function or class, and for a method also of the methods that it overrides."""
    method = thing.__qualname__.split(".")
    if len(method) == 1:
        return inspect.getdoc(thing)
    kind, name = getattr(inspect.getmodule(thing), method[0]), method[1]
    return "\n".join(inspect.getdoc(vars(base)[name]) or "" for base in kind.__mro__ if name in vars(base))


@pytest.mark.parametrize("thing", [*PUBLIC, *METHODS])
def test_every_argument_is_described_and_public_names_have_an_example(thing):
    assert ">>> " in inspect.getdoc(thing) or thing in METHODS
    for argument in inspect.signature(thing).parameters:
        if argument != "self":
            assert re.search(rf"^(\w+, )*(\*\*)?{argument}\b", read_docstrings(thing), re.MULTILINE), argument


@pytest.mark.parametrize("code", EXAMPLES)
def test_every_example_runs_by_itself_and_prints_what_it_states(code, tmp_path, monkeypatch, capsys):
    """A comment after a call of print states its output, and files are written to the current folder."""
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "example", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    expected = [line.split("  # ")[1].strip() for line in code.splitlines() if line.startswith("print(")]
    assert printed[len(printed) - len(expected) :] == expected
    for name in re.findall(r'"(\w+\.(?:png|svg|gif))"', code):
        assert (tmp_path / name).exists(), name


@pytest.mark.slow
def test_the_block_in_contributing_prints_assembly(tmp_path):
    """A kernel that was loaded from the cache has no assembly: the program starts with an empty cache."""
    (code,) = (block for block in find_blocks("python", CONTRIBUTING) if "inspect_asm" in block)
    assert "\n" in run_python(code, NUMBA_CACHE_DIR=str(tmp_path / "cache")).strip()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_named_in_documents_exist(name):
    for target in re.findall(r"\]\(([^)#]+)\)", DOCUMENTS[name]):
        if not target.startswith("http"):
            assert ((ROOT / name).parent / target).exists(), target


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_line_of_a_paragraph_begins_a_list(name):
    prose = re.sub(r"^```.*?^```", "", DOCUMENTS[name], flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"^(?!\d+\.|[-#] )\S.*\n(?:1\.|[-+*]) .*", prose, re.MULTILINE) == []


def test_changelog_and_citation_have_this_version():
    assert f"[{fastnn.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {fastnn.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_reference_lists_every_public_name_once():
    listed = []
    for name, text in DOCUMENTS.items():
        for block in re.findall(r"autosummary::\n(?: +:.*\n)*\n((?: +\w+\n)+)", text):
            listed += block.split() if name.startswith("docs/refer/") else []
    assert sorted(listed) == sorted({*fastnn.__all__, *fastnn.export.__all__} - {"__version__", "export"})


SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for folder in ("fastnn", "kernels")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".js")
}


def test_messages_of_the_page_on_troubleshooting_are_in_the_sources():
    messages = re.findall(r"^\| `(.*?)` \| \[", DOCUMENTS["docs/use/troubleshooting.md"], re.MULTILINE)
    assert len(messages) >= 10
    sources = re.sub(r'"\n *f?"', "", "".join(SOURCES.values()))  # texts that are divided between lines
    assert [message for message in messages if message not in sources] == []


def is_in_sources(name):
    """Return True if a file, a folder or a module has this name, or one file defines all its dotted parts."""
    path = name if re.search(r"/|\.(py|js)$", name) else name.replace(".", "/")
    parts = [rf"\b(def|class|function) {part}\b|^ *(self\.)?{part}( =|: |,)" for part in name.split(".")]
    return (
        (ROOT / name).exists()
        or any(re.search(rf"(^|/){path.rstrip('/')}(\.py|/|$)", file) for file in SOURCES)
        or any(all(re.search(part, text, re.MULTILINE) for part in parts) for text in SOURCES.values())
    )


@pytest.mark.parametrize("name", ["docs/architecture.md", "docs/understand/engine.md"])
def test_code_named_in_documents_is_in_the_sources(name):
    named = re.findall(r"`([\w./]+)`", re.sub(r"^```.*?^```", "", DOCUMENTS[name], flags=re.S | re.M))
    assert [code for code in named if not is_in_sources(code)] == []
