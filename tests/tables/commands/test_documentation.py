"""The example in docs/tables.md: its commands run and print what the page shows."""

import re
import shlex
from pathlib import Path

import pytest

from fastnn.cli import main as cli

PAGE = (Path(__file__).parents[3] / "docs" / "tables.md").read_text(encoding="utf-8")


def examples():
    """Return the commands of the page with the lines that they print."""
    (block,) = re.findall(r"^```console\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(shlex.split(command), output) for command, _, output in (part.partition("\n") for part in parts)]


def comparable(text):
    """Replace in printed lines what differs between machines: scores, seconds, and the order of columns."""
    text = re.sub(r"most important columns: .*", "most important columns", text)
    text = re.sub(r"in \d+\.\d s", "in some seconds", text)
    return re.sub(r"(?<=  )\d\.\d{4}", "#.####", text)


@pytest.mark.needs("pandas")
def test_the_example_runs_and_prints_what_the_page_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (python, _), *commands = examples()
    assert python[:2] == ["python", "-c"]
    exec(python[2], {})
    assert [command[1] for command, _ in commands] == ["train", "predict", "evaluate"]
    for (program, *arguments), expected in commands:
        assert program == "fastnn"
        assert cli.main(arguments) == 0
        printed = capsys.readouterr()
        assert comparable(printed.out + printed.err) == comparable(expected)
    assert (tmp_path / "predictions.csv").read_text().startswith("prediction,probability_0,")
