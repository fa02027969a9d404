"""Names from files on a terminal: control characters are printed as escapes."""

import re

import numpy as np
from extras import all_need, optional
from tables_of_customers import written

import fastnn
from fastnn.system.messages import CONTROLS
from fastnn.system.printing import escape_lines

pytestmark = all_need("pandas")
pd = optional("pandas")

COLUMN, TARGET = "\x1b[31mred\nwrote x\x07", "\x1b]0;title\x07kind"
CLASSES = np.array(["\x9b1mno\nwrote x", "yes\x1b[2J\u202e"])


def test_control_characters_of_names_are_printed_as_escapes(folder, run, with_pictures, monkeypatch):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({COLUMN: random.choice(CLASSES, 60), "b": random.normal(size=60)})
    frame[TARGET] = np.where(frame["b"] > 0, CLASSES[1], CLASSES[0])
    table, other = written(frame, folder / "t.csv"), written(pd.DataFrame({TARGET: [1]}), folder / "u.csv")
    seen = ""
    for expected, *command in [
        (0, "train", table, "--target", TARGET, "--preset", "fast"),
        (0, "evaluate", "run/model.fastnn", table),
        (0, "info", "run/model.fastnn"),
        (0, "predict", "run/model.fastnn", table, "-o", "p.csv"),
        (1, "train", table, "--target", TARGET + "s"),
        (1, "predict", "run/model.fastnn", other),
    ]:
        status, printed, errors = run(*command)
        assert status == expected, errors
        assert not [line for line in (printed + errors).split("\n") if re.search(CONTROLS, line)]
        assert "\nwrote x" not in printed + errors
        seen += printed
    assert "\\x1b]0;title\\x07kind" in seen
    assert "\\x9b1mno" in seen
    assert not re.search(CONTROLS, (folder / "run" / "report.html").read_text().replace("\n", ""))
    assert TARGET in fastnn.info("run/model.fastnn").target, "data are as they were"
    shown = []
    for is_terminal in (False, True):
        monkeypatch.setattr("sys.stdout.isatty", lambda value=is_terminal: value, raising=False)
        shown.append(run("predict", "run/model.fastnn", table)[1])
    assert CLASSES[0] in shown[0], "a pipe gets the data as they are"
    assert shown[1] == escape_lines(shown[0]) != shown[0]
