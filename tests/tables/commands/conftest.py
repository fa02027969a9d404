"""Fixtures of the tests of the commands on tables."""

import shutil

import pytest
from tables_of_customers import customers, written

from fastnn.cli import main as cli
from fastnn.tables.presets import PRESETS, Preset, Recipe
from fastnn.tables.report import page


@pytest.fixture
def with_margins():
    """Let a test estimate the margins of scores by as many draws as users do."""


@pytest.fixture
def small_presets(monkeypatch, request):
    """Fit small networks for a few epochs, and draw few samples for margins, which take most of the time."""
    if "with_margins" not in request.fixturenames:
        monkeypatch.setattr("fastnn.tables.commands.scores.N_DRAWS", 3)
    recipes = Recipe("selu", "lecun_normal", 0.02), Recipe("mish", "he_normal", 0.02)
    monkeypatch.setitem(PRESETS, "good", Preset(5, (8, 8), 24, *recipes))
    monkeypatch.setitem(PRESETS, "fast", Preset(1, (8,), 12))


@pytest.fixture
def with_pictures(tmp_path):
    """Let a test draw the pictures of its reports, and assert that all could be drawn."""
    yield
    reports = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")]
    assert reports
    assert not any("cannot be drawn" in report for report in reports)


@pytest.fixture
def folder(tmp_path, monkeypatch, small_presets, request):
    """Return an empty current folder.

    Most tests draw no pictures, which would take most of their time; reports leave out a picture that fails.
    """
    if "with_pictures" not in request.fixturenames:
        monkeypatch.setattr(page, "draw_svg", lambda *arguments: "<svg/>")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder, capsys):
    """Return a function that runs the command and returns exit status, output and errors."""

    def run(*arguments):
        status = cli.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture
def train(folder, run):
    """Return a function that trains on a dataframe, and returns what was printed."""

    def train(frame, *arguments, valid=None, name="t.csv"):
        tables = {name: frame} if valid is None else {name: frame, "valid.csv": valid}
        for path, table in tables.items():
            table.to_parquet(path) if path.endswith("parquet") else written(table, folder / path)
        more = () if valid is None else ("--valid", "valid.csv")
        status, out, errors = run("train", name, *arguments, *more)
        assert (status, errors) == (0, "")
        return out

    return train


@pytest.fixture
def refused(run):
    """Return a function that runs a command that fails, and returns its one line of error."""

    def refused(*arguments):
        status, _, errors = run(*arguments)
        assert status == 1
        assert len(errors.splitlines()) == 1, errors
        assert errors.startswith("fastnn: ")
        return errors.removeprefix("fastnn: ").rstrip("\n")

    return refused


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Return the folder in which a module keeps what its first training wrote."""
    return tmp_path_factory.mktemp("kept") / "folder"


@pytest.fixture
def trained(folder, run, kept):
    """Return the file of a model of classes, trained on "customers.csv" once per module."""
    if kept.exists():
        shutil.copytree(kept, folder, dirs_exist_ok=True)
    else:
        written(customers(), folder / "customers.csv")
        status, _, errors = run(
            "train", "customers.csv", "--target", "churn", "--drop", "id,spent", "--preset", "fast"
        )
        assert (status, errors) == (0, "")
        shutil.copytree(folder, kept)
    return folder / "run" / "model.fastnn"
