"""The playground as a folder of files: what the command writes and refuses; CSV files that its page opens."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from site_extensions import extension

import fastnn
from fastnn.cli import main as cli
from fastnn.play.learning_problem import make_problem
from fastnn.play.settings import Settings
from fastnn.play.table import read_csv

NAME = f"fastnn_numba-{fastnn.__version__}-py3-none-pyemscripten_2026_0_wasm32.whl"
OTHER = NAME.replace(fastnn.__version__, "99.1")


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / NAME
    path.write_bytes(b"a wheel")
    return path


def export(folder, wheel, *more):
    return cli.main(["playground", "--export", str(folder), "--wheel", str(wheel), *more])


def test_an_exported_folder_has_all_that_the_page_needs(wheel, tmp_path, capsys):
    folder = tmp_path / "site" / "playground"
    assert export(folder, wheel) == 0
    assert f"--directory {folder}" in capsys.readouterr().out
    page = (folder / "index.html").read_text()
    data = dict(re.findall(r'data-(version|wheel|pyodide)="([^"]*)"', page.split(">")[1]))
    assert (data["version"], data["wheel"]) == (fastnn.__version__, NAME)
    assert re.fullmatch(r"https://[\w./]+/", data["pyodide"])
    assert (folder / NAME).read_bytes() == b"a wheel"
    # Every file that a file names is there, by an address that is relative to it.
    for text in re.findall(r'(?:src|href)="(?!#)([^"]+)"', page):
        assert (folder / text).is_file(), text
    for path in (folder / "static").glob("*.js"):
        for text in re.findall(r'(?:from |new URL\()"([^"]+)"', path.read_text()):
            assert (path.parent / text).is_file(), text
    kept = re.search(r"^const FILES = (.*);$", (folder / "service-worker.js").read_text(), re.MULTILINE)[1]
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert set(re.findall('"([^"]+)"', kept)) == written - {"index.html", "service-worker.js"} | {"./"}


def test_another_export_has_another_cache_only_if_a_file_differs(wheel, tmp_path):
    workers = []
    for content in (b"one", b"one", b"two"):
        wheel.write_bytes(content)
        assert export(tmp_path / "site", wheel, "--pyodide-url", 'here/"&') == 0
        workers.append((tmp_path / "site" / "service-worker.js").read_text())
    assert workers[0] == workers[1] != workers[2]
    assert 'data-pyodide="here/&quot;&amp;/"' in (tmp_path / "site" / "index.html").read_text()


def test_an_exported_folder_may_hold_python_and_its_packages(wheel, tmp_path, capsys):
    source, folder = tmp_path / "distribution", tmp_path / "site"
    source.mkdir()
    needs = dict.fromkeys(("numpy", "safetensors", "matplotlib", "kiwi", "pillow", "scipy"), ())
    needs["matplotlib"] = ("numpy", "kiwi")
    packages = {name: {"depends": needs[name], "file_name": f"{name}-1.whl"} for name in needs}
    arguments = "--with-python", str(source)
    assert export(folder, wheel, *arguments) != 0
    assert "has no pyodide-lock.json: unpack Pyodide's full distribution" in capsys.readouterr().err
    (source / "pyodide-lock.json").write_text(json.dumps({"packages": packages}))
    python = {"pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip"}
    for name in (*python, *(package["file_name"] for package in packages.values())):
        (source / name).write_text(name)
    assert export(folder, wheel, *arguments) == 0
    assert 'data-pyodide="pyodide/"' in (folder / "index.html").read_text()
    written = {path.name for path in (folder / "pyodide").iterdir()}
    assert written == python | {"pyodide-lock.json"} | {f"{name}-1.whl" for name in needs if name != "scipy"}
    (source / "kiwi-1.whl").unlink()
    assert export(folder, wheel, *arguments) != 0
    assert "lacks kiwi-1.whl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--wheel", NAME, "--with-python", ".", "--pyodide-url", "x"], "exclude each other"),
        ([], "--wheel is missing"),
        (["--wheel", NAME, "table.csv"], "--export takes no table"),
        (["--wheel", NAME, "--settings", "dataset=xor"], "--export takes no --settings or --port"),
        (["--wheel", NAME, "--export", "."], "holds other files: name a new or empty folder"),
        (["--wheel", NAME, "--export", "any.whl"], "any.whl is a file, not a folder"),
        (["--wheel", "any.whl"], "not a wheel"),
        (["--wheel", OTHER], f"fastnn {fastnn.__version__}, but the wheel of fastnn 99.1"),
        (["--wheel", "dist/none.whl"], f"there is no file {Path('dist/none.whl')}"),
    ],
)
def test_what_cannot_be_exported_is_refused(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("any.whl", NAME, OTHER):
        Path(name).touch()
    assert cli.main(["playground", "--export", "site", *arguments]) != 0
    assert message in capsys.readouterr().err


def test_chapters_link_to_the_playground_of_the_site_with_their_settings():
    playground, docs = extension("playground"), Path(__file__).parents[2] / "docs"
    chapters = [path.read_text(encoding="utf-8") for path in (docs / "learn").glob("*.md")]
    commands = sum(text.count("fastnn playground --settings") for text in chapters)
    linked = [playground.add_links(text, "learn/chapter") for text in chapters]
    links, figures = (
        re.findall(rf'{tag}="\.\./playground/#([^"]*)"', "".join(linked)) for tag in ("a href", "src")
    )
    assert len(links) == commands > 5
    assert figures == links  # whose settings `test_settings.py` checks
    for name in ("line", "valley"):
        assert f'src="../playground/{name}.html"' in "".join(linked)
    assert "".join(linked).count("<summary>The same on your computer</summary>\n\n```bash\n") == commands
    for name, address in (("index", "playground/"), ("use/playground", "../playground/")):
        text = (docs / f"{name}.md").read_text(encoding="utf-8")
        assert f'href="{address}index.html"' in playground.add_links(text, name)


FILE = """\
width; height;name ;kind
1;2,5;a;yes
"2";;b;no

3e0;NA;"c;d";yes
4;-1.0;e;no
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "table.csv"


def test_csv_files_are_read_as_people_write_them(path):
    path.write_text(FILE, encoding="utf-8-sig")
    table, names, notes = read_csv(path)
    assert not notes
    assert names == ["width", "height", "name", "kind"]
    assert (table.target, table.kind, table.classes) == ("kind", "classes", ["no", "yes"])
    width, height = table.columns.values()
    np.testing.assert_array_equal(width, [1, 2, 3, 4])
    np.testing.assert_array_equal(height, [2.5, np.nan, np.nan, -1])


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_another_column_may_be_the_target(path, separator):
    rows = np.random.RandomState(0).randn(30, 3).tolist()
    path.write_text("\n".join([separator.join("abc"), *(separator.join(map(str, row)) for row in rows)]))
    for target, others in (("b", ["a", "c"]), (None, ["a", "b"])):
        table, names, _ = read_csv(path, target)
        assert (table.kind, list(table.columns), names) == ("regression", others, ["a", "b", "c"])
        np.testing.assert_array_equal(table.y, [row["abc".index(target or "c")] for row in rows])
    problem, _ = make_problem(Settings.of_state(table.state), table)
    assert (problem.kind, problem.inputs) == ("regression", ["a", "b"])


def test_columns_of_one_name_are_renamed_as_train_does(path):
    path.write_text("a,a,a.1,b,a\n1,2,3,4,x\n5,6,7,8,y\n")
    table, names, notes = read_csv(path)
    assert names == ["a", "a.2", "a.1", "b", "a.3"]
    assert [*table.columns] == names[:4]
    np.testing.assert_array_equal([*table.columns.values()], [[1, 5], [2, 6], [3, 7], [4, 8]])
    assert notes == ["the header has more than one column named 'a': the others become 'a.2', 'a.3'"]


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("", None, "no rows below a header"),
        ("a\n1\n2", None, "needs two columns of numbers, but the table has none"),
        ("a,b,c\n1,2,3\n4,5", None, "row 2 has 2 fields, but the header 3"),
        (FILE, "width", "columns of numbers, but the table has ['height']; no numbers in: 'name', 'kind'"),
        (FILE, "breadth", "no column 'breadth': the columns are 'width', 'height', 'name', 'kind'"),
        ("a,b,c\n1,2,x\n2,3,x", None, "only one value, 'x'"),
        ("a,b,c\n1,2,x\ninf,3,y", None, "column 'a' holds numbers beyond"),
        ("\0\1\2\n\3", None, "two columns of numbers"),
    ],
)
def test_files_that_are_no_tables_are_refused(path, text, target, message):
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_csv(path, target)
