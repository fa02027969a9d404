"""Benchmarks: the tables of docs/speed.md name the commands that measure them."""

import re
from pathlib import Path

import report

SPEED = (Path(__file__).parents[1] / "docs/speed.md").read_text(encoding="utf-8")


def test_every_table_names_the_sections_that_measure_it():
    sections = {section.__name__ for section in report.SECTIONS}
    parts = [part for part in re.split(r"^##+ ", SPEED, flags=re.MULTILINE) if "\n| ---" in part]
    assert len(parts) > 6
    for part in parts:
        commands = re.findall(r"`bench/report\.py([a-z ]*)", part)
        assert commands, part
        assert {name for command in commands for name in command.split()} <= sections, part
