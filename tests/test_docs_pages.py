"""Pages of the documentation with cells of code: a reader who copies what the pages show can run it."""

import ast
import difflib
import importlib.util
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from site_extensions import extension

# Pages whose cells are run one after the other, in one namespace, when the site is built.
DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOKS = {
    path.relative_to(DOCS).as_posix(): text
    for path in sorted(DOCS.rglob("*.md"))
    if "file_format: mystnb" in (text := path.read_text(encoding="utf-8"))
}
CHAPTERS = [name for name in NOTEBOOKS if name.startswith("learn/")]
# Chapters that show a wrong function, and the verdict about it.
SHOW_A_MISTAKE = {"learn/exercises.md", "learn/six-lines.md", "learn/when-it-goes-wrong.md"}


notebooks = extension("notebooks")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_visible_cells_of_a_page_run_alone(name, tmp_path, monkeypatch, capsys):
    """Hidden cells, whose assertions check numbers in the text, leave nothing behind for visible ones.

    They see the names of all cells before them. Visible cells see neither what they assign nor the random
    numbers that they draw.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    namespace, hidden = {"__name__": "__main__"}, {}
    cells_without = {}
    for line, tags, code in (page := notebooks.cells(NOTEBOOKS[name])):
        packages = [tag.removeprefix("needs-") for tag in tags if tag.startswith("needs-")]
        missing = [package for package in packages if importlib.util.find_spec(package) is None]
        for package in missing:
            cells_without.setdefault(package, []).append(line)
        if missing:
            continue
        program = compile("\n" * (line - 1) + code, str(DOCS / name), "exec")
        if notebooks.Cell(line, tags, code).is_visible:
            exec(program, namespace)
        else:
            state = np.random.get_state()
            exec(program, names := {**hidden, **namespace})
            np.random.set_state(state)
            hidden = {key: value for key, value in names.items() if key not in namespace}
        plt.close("all")  # as a notebook does after every cell
    assert page
    assert capsys.readouterr().out.count(": not right yet") == (name in SHOW_A_MISTAKE)
    if cells_without:
        texts = [
            f"{package}, which the cells at lines {lines} need" for package, lines in cells_without.items()
        ]
        pytest.skip(f"all other cells have run; not installed: {'; '.join(texts)}")


def test_every_cell_of_a_page_is_found():
    for name, text in NOTEBOOKS.items():
        assert len(notebooks.cells(text)) == text.count("{code-cell}"), name


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_shows_its_code_and_begins_with_its_imports(name):
    """All code that makes a figure can be copied, and the first cell imports what any later one needs."""
    cells = notebooks.cells(NOTEBOOKS[name])
    assert not [cell for cell in cells if "remove-input" in cell.tags]
    importing = [
        cell.line
        for cell in cells
        if cell.is_visible
        and any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(ast.parse(cell.code)))
    ]
    assert importing == [cells[0].line]


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_notebook_has_what_a_chapter_shows(name):
    written = notebooks.notebook(NOTEBOOKS[name])["cells"]
    code = [cell["source"] for cell in written if cell["cell_type"] == "code"]
    shown = [cell.code.rstrip() for cell in notebooks.cells(NOTEBOOKS[name]) if cell.is_visible]
    assert code == shown
    assert len({cell["id"] for cell in written}) == len(written)
    text = "\n".join(cell["source"] for cell in written if cell["cell_type"] == "markdown")
    assert text.startswith("# ")
    assert NOTEBOOKS[name].count("$$") == text.count("$$")
    assert NOTEBOOKS[name].count("<details") == len(re.findall(r"^##### Solution$", text, re.MULTILINE)) > 0
    # No HTML, nothing of MyST, and no link to a page that a downloaded file lacks.
    assert not re.search(r"</?(details|summary)", text)
    assert not re.search(r"\{[\w:-]+\}`|^```\{|^file_format|\]\((?!https?:)", text, re.MULTILINE)


PAGE = """---
file_format: mystnb
---

# T

A [b](c.md).

**1. Why.** Because.

<details class="solution"><summary>Solution</summary>

```{code-cell} python
1
```

End.

</details>

```{code-cell} python
:tags: [remove-cell]

assert True
```

**2.** How?
"""


def test_solutions_are_folded_in_a_notebook():
    written = notebooks.notebook(PAGE)["cells"]
    assert [(cell["source"], bool(cell["metadata"])) for cell in written] == [
        ("# T\n\nA b.", False),
        ("#### Exercise 1: Why\n\nBecause.", False),
        ("##### Solution", True),
        ("1", False),
        ("End.", False),
        ("#### Exercise 2\n\nHow?", False),
    ]


def codes(name):
    """Return the code of all cells of a chapter."""
    return [cell.code for cell in notebooks.cells(NOTEBOOKS[f"learn/{name}.md"])]


def test_the_shown_diff_is_that_of_the_two_programs():
    line, network = (
        code for code in codes("six-lines") if code.startswith("random = np.random.RandomState(1)\nW")
    )
    (shown,) = re.findall(r"^```diff\n(.*?)^```$", NOTEBOOKS["learn/six-lines.md"], re.DOTALL | re.MULTILINE)
    difference = list(difflib.unified_diff(line.split("\n"), network.split("\n"), n=99, lineterm=""))[3:]
    assert [row.rstrip() for row in shown.split("\n")] == [row.rstrip() for row in difference]
    assert sum(row.startswith("+") for row in difference) == 6


def test_the_eighty_lines_are_no_more():
    (engine,) = (code[code.index("class Value") :] for code in codes("autograd") if "class Value" in code)
    (network,) = (code for code in codes("autograd") if "class Network" in code)
    assert 75 <= len((engine + network).splitlines()) <= 80
