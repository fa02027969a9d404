"""Pages of the documentation with cells of code: a reader who copies what the pages show can run it."""

import importlib.util
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
# Chapters that show a wrong function, and the verdict about it.
SHOW_A_MISTAKE = {
    f"learn/{name}.md" for name in ("backpropagation", "exercises", "six-lines", "when-it-goes-wrong")
}


notebooks = extension("notebooks")
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_visible_cells_of_a_page_run_alone(name, tmp_path, monkeypatch, capsys):
    """Checks of numbers in the text, which the build does not run, leave nothing behind for visible cells.

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
    text = NOTEBOOKS[name]
    assert len(page) == text.count("{code-cell}") + text.count("<!-- check") > 0
    assert capsys.readouterr().out.count(": not right yet") == (name in SHOW_A_MISTAKE)
    if cells_without:
        texts = [f"{name}, which the cells at lines {lines} need" for name, lines in cells_without.items()]
        pytest.skip(f"all other cells have run; not installed: {'; '.join(texts)}")
