"""Pages of the documentation with cells of code: all cells run, and hidden cells check the text's numbers."""

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


def cells(text):
    """Yield the first line of every cell of a page, the packages that its tags name, and its code."""
    for match in re.finditer(r"^`{3,}\{code-cell\} python\n(.*?)^`{3,}$", text, re.DOTALL | re.MULTILINE):
        options, code = re.match(r"((?::[^\n]*\n)*)(.*)", match[1], re.DOTALL).groups()
        line = text[: match.start(1)].count("\n") + 1 + options.count("\n")
        yield line, re.findall(r"\bneeds-(\w+)", options), code


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_all_cells_of_a_page_run(name, tmp_path, monkeypatch):
    """Assertions in hidden cells check the numbers that the text states."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)
    namespace = {"__name__": "__main__"}
    page = list(cells(NOTEBOOKS[name]))
    assert page
    cells_without = {}
    for line, packages, code in page:
        missing = [package for package in packages if importlib.util.find_spec(package) is None]
        for package in missing:
            cells_without.setdefault(package, []).append(line)
        if not missing:
            exec(compile("\n" * (line - 1) + code, str(DOCS / name), "exec"), namespace)
            plt.close("all")  # as a notebook does after every cell
    if cells_without:
        texts = [
            f"{package}, which the cells at lines {lines} need" for package, lines in cells_without.items()
        ]
        pytest.skip(f"all other cells have run; not installed: {'; '.join(texts)}")


def test_every_cell_of_a_page_is_found():
    for name, text in NOTEBOOKS.items():
        assert len(list(cells(text))) == text.count("{code-cell}"), name
