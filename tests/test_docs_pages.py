"""Pages of the documentation with cells of code: all cells run, and hidden cells check the text's numbers."""

import difflib
import importlib.util
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

# Pages whose cells are run one after the other, in one namespace, when the site is built.
DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOKS = {
    path.relative_to(DOCS).as_posix(): text
    for path in sorted(DOCS.rglob("*.md"))
    if "file_format: mystnb" in (text := path.read_text(encoding="utf-8"))
}
# Chapters whose visible cells need names of hidden ones, so that they do not run as copied from the page.
NEED_HIDDEN_CELLS = {"learn/boundary.md", "learn/layers.md", "learn/training.md"}

# Chapters that show a wrong function, and the verdict about it.
SHOW_A_MISTAKE = {"learn/exercises.md", "learn/six-lines.md", "learn/when-it-goes-wrong.md"}


def cells(text):
    """Yield of every cell: first line, packages that its tags name, whether it is hidden, and code."""
    for match in re.finditer(r"^`{3,}\{code-cell\} python\n(.*?)^`{3,}$", text, re.DOTALL | re.MULTILINE):
        options, code = re.match(r"((?::[^\n]*\n)*)(.*)", match[1], re.DOTALL).groups()
        line = text[: match.start(1)].count("\n") + 1 + options.count("\n")
        yield line, re.findall(r"\bneeds-(\w+)", options), "remove-cell" in options, code


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_all_cells_of_a_page_run(name, tmp_path, monkeypatch, capsys):
    """Assertions in hidden cells check the numbers that the text states.

    A reader copies the visible cells alone: what a hidden cell defines does not exist for the cells below it.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    namespace = {"__name__": "__main__"}
    page = list(cells(NOTEBOOKS[name]))
    assert page
    cells_without = {}
    for line, packages, is_hidden, code in page:
        missing = [package for package in packages if importlib.util.find_spec(package) is None]
        for package in missing:
            cells_without.setdefault(package, []).append(line)
        if not missing:
            is_separate = is_hidden and name not in NEED_HIDDEN_CELLS
            program = compile("\n" * (line - 1) + code, str(DOCS / name), "exec")
            exec(program, namespace.copy() if is_separate else namespace)
            plt.close("all")  # as a notebook does after every cell
    assert capsys.readouterr().out.count(": not right yet") == (name in SHOW_A_MISTAKE)
    if cells_without:
        texts = [
            f"{package}, which the cells at lines {lines} need" for package, lines in cells_without.items()
        ]
        pytest.skip(f"all other cells have run; not installed: {'; '.join(texts)}")


def test_every_cell_of_a_page_is_found():
    for name, text in NOTEBOOKS.items():
        assert len(list(cells(text))) == text.count("{code-cell}"), name


def test_the_shown_diff_is_that_of_the_two_programs():
    text = NOTEBOOKS["learn/six-lines.md"]
    line, network = (
        code for *_, code in cells(text) if code.startswith("random = np.random.RandomState(1)\nW")
    )
    (shown,) = re.findall(r"^```diff\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    difference = list(difflib.unified_diff(line.split("\n"), network.split("\n"), n=99, lineterm=""))[3:]
    assert [row.rstrip() for row in shown.split("\n")] == [row.rstrip() for row in difference]
    assert sum(row.startswith("+") for row in difference) == 6


def test_the_eighty_lines_are_no_more():
    codes = [code for *_, code in cells(NOTEBOOKS["learn/autograd.md"])]
    (engine,) = (code[code.index("class Value") :] for code in codes if "class Value" in code)
    (network,) = (code for code in codes if "class Network" in code)
    assert 75 <= len((engine + network).splitlines()) <= 80


@pytest.mark.parametrize("name", ["autograd", "exercises", "regression", "six-lines", "when-it-goes-wrong"])
def test_chapters_import_at_the_top(name):
    _, *others = (code for *_, code in cells(NOTEBOOKS[f"learn/{name}.md"]))
    assert not [code for code in others if re.search(r"^ *(import|from) ", code, re.MULTILINE)]
