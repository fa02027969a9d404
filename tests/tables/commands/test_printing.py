"""Names from files on a terminal: control characters are printed as escapes, and obeyed nowhere."""

import re

import numpy as np
import pytest
from extras import all_need, optional
from tables_of_customers import written

import fastnn
from fastnn.system.messages import CONTROLS
from fastnn.system.printing import escaped

pytestmark = all_need("pandas")
pd = optional("pandas")

COLUMN, TARGET = "\x1b[31mred\nwrote x\x07", "\x1b]0;title\x07kind"
CLASSES = np.array(["\x9b1mno\nwrote x", "yes\x1b[2J\u202e"])


@pytest.fixture
def table(folder):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({COLUMN: random.choice(CLASSES, 60), "b": random.normal(size=60)})
    frame[TARGET] = np.where(frame["b"] > 0, CLASSES[1], CLASSES[0])
    return written(frame, folder / "t.csv")


def test_control_characters_of_names_are_printed_as_escapes(table, run, with_pictures):
    commands = [
        ("train", table, "--target", TARGET, "--preset", "fast", "--out", "run"),
        ("evaluate", "run/model.fastnn", table),
        ("info", "run/model.fastnn"),
        ("predict", "run/model.fastnn", table, "-o", "p.csv"),
        ("train", table, "--target", TARGET + "s"),
        ("predict", "run/model.fastnn", written(pd.DataFrame({TARGET: [1]}), table.parent / "u.csv")),
    ]
    seen = ""
    for command in commands:
        status, printed, errors = run(*command)
        assert status == (0 if command in commands[:4] else 1), errors
        assert not [line for line in (printed + errors).split("\n") if re.search(CONTROLS, line)]
        assert "\nwrote x" not in printed + errors
        seen += printed
    assert "\\x1b]0;title\\x07kind" in seen
    assert "\\x9b1mno" in seen
    assert not re.search(CONTROLS, (table.parent / "run" / "report.html").read_text().replace("\n", ""))
    assert TARGET in fastnn.info("run/model.fastnn").target, "data are as they were"


def test_predictions_on_a_terminal_have_no_control_characters(table, run, monkeypatch):
    run("train", table, "--target", TARGET, "--preset", "fast", "--passes", 1)
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    _, data, _ = run("predict", "run/model.fastnn", table)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    _, shown, _ = run("predict", "run/model.fastnn", table)
    assert CLASSES[0] in data, "a pipe gets the data as they are"
    assert shown == escaped(data) != data
