"""The command, as typed in a shell."""

import re
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
from processes import PATIENCE

import fastnn
from fastnn.cli import main as cli
from fastnn.cli import moons
from fastnn.system.printing import escaped

# matplotlib 3.9 uses names that pyparsing 3.3 deprecates.
USERS_OF_PYPARSING = ("matplotlib._fontconfig_pattern", "matplotlib._mathtext", "pyparsing.util")
WARNINGS = ["-Werror", *(f"-Wignore::DeprecationWarning:{module}" for module in USERS_OF_PYPARSING)]


def command(*arguments, **options):
    """Run the command in a new process, in which warnings are errors."""
    return subprocess.run(
        [sys.executable, *WARNINGS, "-m", "fastnn", *arguments],
        capture_output=True, text=True, timeout=PATIENCE, **options,
    )  # fmt: skip


def test_moons_is_the_tutorials_run(tmp_path):
    done = command("moons", cwd=tmp_path)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "Loss after iteration 0: 0.700172"
    assert re.fullmatch(r"Loss after iteration 19000: 0\.15999[345]", lines[19])
    assert lines[20] == "accuracy: 98.5 % (197 of 200)"
    assert re.fullmatch(
        r"training: \d+\.\d{3} s for 20000 epochs \(kernels ready after \d+\.\d\d s\)", lines[21]
    )
    assert lines[22:] == ["picture: moons.png"]
    picture = matplotlib.image.imread(tmp_path / "moons.png")
    assert picture.shape[:2] == (750, 1050)
    assert [path.name for path in tmp_path.iterdir()] == ["moons.png"]


def test_options_change_the_run(tmp_path, capsys):
    out = tmp_path / "picture.svg"
    arguments = ["--hidden", "8,8", "--passes", "20", "--noise", "0.1", "--samples", "500", "--seed", "3"]
    assert cli.main(["moons", *arguments, "--out", str(out), "--backend", "numpy"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Loss after iteration 0: ")
    assert "of 500)" in printed
    assert "for 20 epochs" in printed
    assert out.read_text().lstrip().startswith("<?xml")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "out of memory: use a smaller table or network, or free memory"),
        (MemoryError("the picture needs 8 bytes"), "the picture needs 8 bytes"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_errors_without_a_text_are_explained(error, message, monkeypatch, capsys):
    def fail(options):
        raise error

    monkeypatch.setattr(moons, "_run", fail)
    assert cli.main(["moons"]) == 1
    assert capsys.readouterr().err == f"fastnn: {message}\n"


def test_a_seed_determines_the_run(tmp_path, capsys):
    def losses(*arguments):
        cli.main(["moons", "--passes", "1", "--out", str(tmp_path / "p.png"), *arguments])
        return capsys.readouterr().out.splitlines()[0]

    assert losses("--seed", "5") == losses("--seed", "5") != losses("--seed", "6")


def test_the_network_may_have_no_hidden_layer(tmp_path, capsys):
    assert cli.main(["moons", "--hidden", "", "--passes", "10", "--out", str(tmp_path / "p.png")]) == 0
    assert (tmp_path / "p.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["moons", "--hidden", "0"],
            "--hidden: must be layer sizes of at least 1, separated by commas, such as 3 or 8,8, got '0'",
        ),
        (
            ["moons", "--hidden", "a"],
            "must be layer sizes of at least 1, separated by commas, such as 3 or 8,8, got 'a'",
        ),
        (["moons", "--passes", "-1"], "argument --passes: must be an integer of at least 0, got '-1'"),
        (["moons", "--samples", "1"], "argument --samples: must be an integer of at least 2, got '1'"),
        (["moons", "--noise", "-1"], "argument --noise: must be a finite number of at least 0, got '-1'"),
        (["moons", "--noise", "nan"], "argument --noise: must be a finite number of at least 0, got 'nan'"),
        (["moons", "--seed", "4294967296"], "must be an integer from 0 to 4294967295, got '4294967296'"),
        (["moons", "--hidden", "3,x"], "got '3,x'"),
        (["moons", "--passes", "9" * 5000], "argument --passes: must be an integer of at least 0, got '999"),
        (["moons", "--samples", "many"], "argument --samples: must be an integer of at least 2, got 'many'"),
        (
            ["moons", "--noise", "1e400"],
            "argument --noise: must be a finite number of at least 0, got '1e400'",
        ),
        (["moons", "--noise", "loud"], "argument --noise: must be a finite number of at least 0, got 'loud'"),
        (["moons", "--backend", "torch"], "invalid choice: 'torch'"),
        ([], "required"),
        (["suns"], "invalid choice: 'suns'"),
    ],
)
def test_wrong_arguments_are_refused_with_status_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("no/such/folder/moons.png", "there is no folder"),
        ("moons.xyz", "xyz"),
        ("..", "is a folder"),
        ("a\0b.png", "--out: a file cannot be called"),
        (f"{'a' * 300}.png", "File name too long"),
    ],
)
def test_a_picture_that_cannot_be_written_is_refused_before_the_training(
    out, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["moons", "--passes", "1", "--out", out]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--samples", "999999999999999"], "--samples: the features of 999999999999999 samples take 15,9"),
        (["--hidden", "4000000000,4000000000"], "a network with the layers [2, 4000000000, 4000000000, 2]"),
    ],
)
def test_problems_larger_than_memory_are_refused(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["moons", *arguments]) == 1
    assert f"fastnn: {message}" in capsys.readouterr().err


def test_a_picture_that_cannot_be_written_leaves_the_older_one(tmp_path, capsys, monkeypatch):
    def broken(*arguments, **options):
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", broken)
    (tmp_path / "p.png").write_text("an older picture")
    assert cli.main(["moons", "--passes", "1", "--out", str(tmp_path / "p.png")]) == 1
    assert "disk full" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]
    assert (tmp_path / "p.png").read_text() == "an older picture"


@pytest.mark.parametrize("what", ["fastnn.Model.train", "fastnn.cli.main.importlib.import_module"])
def test_an_interrupt_ends_without_a_traceback(capsys, monkeypatch, what):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(what, interrupted)
    assert cli.main(["moons"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_help_and_version_are_printed():
    for arguments, text in (
        (["--help"], "moons"),
        (["--version"], fastnn.__version__),
        (["moons", "--help"], "--hidden"),
    ):
        done = command(*arguments)
        assert done.returncode == 0
        assert text in done.stdout


@pytest.mark.parametrize("command", ["", "train", "predict", "evaluate", "info", "export", "moons"])
def test_help_loads_no_heavy_package(command):
    program = f"""
import sys
from fastnn.cli.main import main
try:
    main({[*command.split(), "--help"]})
except SystemExit as stopped:
    assert stopped.code == 0
assert not {{"numpy", "pandas", "numba", "sklearn"}} & set(sys.modules), sorted(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert "usage: fastnn" in done.stdout


def test_the_picture_shows_both_classes_and_the_boundary(tmp_path, capsys):
    cli.main(["moons", "--passes", "3000", "--out", str(tmp_path / "p.png")])
    picture = matplotlib.image.imread(tmp_path / "p.png")[..., :3].reshape(-1, 3)
    from fastnn.boundary.colours import REGION_STRENGTH, class_colours

    grey = 0.25  # of the boundary lines
    for colour in class_colours(2):
        pale = 1 - REGION_STRENGTH * (1 - colour)
        assert (np.abs(picture - pale).max(axis=1) < 0.01).mean() > 0.1
    assert (np.abs(picture - grey).max(axis=1) < 0.01).sum() > 100


def test_lines_end_where_they_did_and_warnings_are_escaped(tmp_path):
    assert escaped("a\tb\n\x1b\r") == "a\tb\n\\x1b\\r"
    code = (
        "import sys, warnings\nfrom fastnn.cli import main\n"
        "main.main = lambda: warnings.warn('\\x1b[31m') or 0\nmain.run_process()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0
    assert "\\x1b[31m" in done.stderr
    assert "\x1b" not in done.stderr
