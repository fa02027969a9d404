"""The command, as typed in a shell."""

import re
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
from processes import PATIENCE

import fastnn
from fastnn.boundary.colours import REGION_STRENGTH, class_colours
from fastnn.cli import main as cli
from fastnn.system.printing import escape_lines

# matplotlib 3.9 uses names that pyparsing 3.3 deprecates.
USERS_OF_PYPARSING = ("matplotlib._fontconfig_pattern", "matplotlib._mathtext", "pyparsing.util")
WARNINGS = ["-Werror", *(f"-Wignore::DeprecationWarning:{module}" for module in USERS_OF_PYPARSING)]


def run_python(*arguments, **options):
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, **options)


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """Return a function that runs the command in an empty folder, and returns status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = cli.main(arguments)
        return status, *capsys.readouterr()

    return run


def test_moons_is_the_tutorials_run(tmp_path):
    done = run_python(*WARNINGS, "-m", "fastnn", "moons", cwd=tmp_path)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "Loss after iteration 0: 0.700172"
    assert re.fullmatch(r"Loss after iteration 19000: 0\.15999[345]", lines[19])
    assert lines[20] == "accuracy: 98.5 % (197 of 200)"
    times = r"training: \d+\.\d{3} s for 20000 epochs \(kernels ready after \d+\.\d\d s\)"
    assert re.fullmatch(times, lines[21])
    assert lines[22:] == ["picture: moons.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["moons.png"]
    picture = matplotlib.image.imread(tmp_path / "moons.png")[..., :3]
    assert picture.shape == (750, 1050, 3)
    pixels, grey = picture.reshape(-1, 3), 0.25  # of the boundary lines
    for colour in class_colours(2):
        assert (np.abs(pixels - (1 - REGION_STRENGTH * (1 - colour))).max(axis=1) < 0.01).mean() > 0.1
    assert (np.abs(pixels - grey).max(axis=1) < 0.01).sum() > 100


def test_options_change_the_run(run, tmp_path):
    assert run("moons", "--hidden", "", "--passes", "1", "--out", "picture.svg")[0] == 0
    arguments = ["--hidden", "8,8", "--passes", "20", "--noise", "0.1", "--samples", "500", "--seed", "3"]
    status, printed, _ = run("moons", *arguments, "--out", "picture.svg", "--backend", "numpy")
    assert status == 0
    for words in ("Loss after iteration 0: ", "of 500)", "for 20 epochs"):
        assert words in printed
    assert (tmp_path / "picture.svg").read_text().lstrip().startswith("<?xml")
    losses = [run("moons", "--passes", "1", "--seed", seed)[1].splitlines()[0] for seed in ("5", "5", "6")]
    assert losses[0] == losses[1] != losses[2]


TRAIN = "fastnn.Model.train"
HIDDEN = "argument --hidden: must be layer sizes of at least 1, separated by commas, such as 3 or 8,8, got "
WRONG = [
    "--cv 1",
    "--preset huge",
    "--time-limit 0",
    "--quantiles a",
    "--quantiles ,",
    "--cv 3 --valid v",
    "--seed -1",
]
NOISE = "argument --noise: must be a finite number of at least 0, got "


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *((("moons", "--hidden", value), HIDDEN) for value in ("0", "a", "3,x")),
        *((("moons", "--noise", value), NOISE) for value in ("-1", "nan", "1e400", "loud")),
        (("moons", "--passes", "-1"), "argument --passes: must be an integer of at least 0, got '-1'"),
        (("moons", "--passes", "9" * 5000), "argument --passes: must be an integer of at least 0, got '9"),
        (("moons", "--samples", "1"), "argument --samples: must be an integer of at least 2, got '1'"),
        (("moons", "--samples", "many"), "argument --samples: must be an integer of at least 2, got 'many'"),
        (("moons", "--seed", "4294967296"), "argument --seed: must be an integer from 0 to 4294967295, got "),
        (("moons", "--backend", "torch"), "argument --backend: invalid choice: 'torch'"),
        ((), "required"),
        (("train",), "usage: fastnn train"),
        (("train", "", "--target", "y"), "argument TABLE: the name is empty"),
        *((("train", "t.csv", "--target", "y", *more.split()), "usage: fastnn train") for more in WRONG),
        (("suns",), "invalid choice: 'suns'"),
    ],
)
def test_wrong_arguments_are_refused_with_status_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "no/such/folder/moons.png"], "there is no folder"),
        (["--out", "moons.xyz"], "xyz"),
        (["--out", ".."], "is a folder"),
        (["--out", "a\0b.png"], "--out: a file cannot be called"),
        (["--out", f"{'a' * 300}.png"], "File name too long"),
        (["--samples", "999999999999999"], "--samples: the features of 999999999999999 samples take 15,9"),
        (["--hidden", "4000000000,4000000000"], "a network with the layers [2, 4000000000, 4000000000, 2]"),
    ],
)
def test_what_cannot_work_is_refused_before_the_training(arguments, message, run, tmp_path):
    status, printed, errors = run("moons", "--passes", "1", *arguments)
    assert (status, printed) == (1, "")
    assert errors.startswith("fastnn: ")
    assert message in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("where", "error", "status", "message"),
    [
        (TRAIN, MemoryError(), 1, "fastnn: out of memory: use a smaller table or network, or free memory"),
        (TRAIN, MemoryError("the picture needs 8 bytes"), 1, "fastnn: the picture needs 8 bytes"),
        (TRAIN, RuntimeError(), 1, "fastnn: RuntimeError"),
        ("matplotlib.figure.Figure.savefig", OSError("disk full"), 1, "fastnn: disk full"),
        (TRAIN, KeyboardInterrupt(), 130, "interrupted"),
        ("fastnn.cli.main.importlib.import_module", KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_an_error_leaves_the_older_picture(where, error, status, message, run, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(where, fail)
    (tmp_path / "moons.png").write_text("an older picture")
    assert run("moons", "--passes", "1")[::2] == (status, message + "\n")
    assert [path.name for path in tmp_path.iterdir()] == ["moons.png"]
    assert (tmp_path / "moons.png").read_text() == "an older picture"


def test_help_and_version_are_printed_without_a_heavy_package():
    program = """
import sys
from fastnn.cli.main import COMMANDS, main
for command in (["--version"], *([*name.split(), "--help"] for name in ("", *COMMANDS))):
    try:
        main(command)
    except SystemExit as stopped:
        assert stopped.code == 0
heavy = {"numpy", "pandas", "numba", "llvmlite", "sklearn", "safetensors"} & set(sys.modules)
assert not heavy, heavy
"""
    done = run_python(*WARNINGS, "-c", program)
    assert (done.returncode, done.stderr) == (0, "")
    for words in (fastnn.__version__, "moons", "--hidden", "--groups", "usage: fastnn evaluate"):
        assert words in done.stdout


def test_lines_end_where_they_did_and_warnings_are_escaped():
    assert escape_lines("a\tb\n\x1b\r") == "a\tb\n\\x1b\\r"
    code = (
        "import sys, warnings\nfrom fastnn.cli import main\n"
        "main.main = lambda: warnings.warn('\\x1b[31m') or 0\nmain.run_process()"
    )
    done = run_python("-c", code)
    assert done.returncode == 0
    assert "\\x1b[31m" in done.stderr
    assert "\x1b" not in done.stderr
