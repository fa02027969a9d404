"""Benchmarks: results hold what they depend on, and tables of docs/speed.md name their commands."""

import json
import re
from pathlib import Path

import machine
import numba
import numpy as np
import report

from fastnn_kernels.vectors.processor import VECTOR_BYTES

SECTIONS = {section.__name__ for section in report.SECTIONS}
SPEED = (Path(__file__).parents[1] / "docs/speed.md").read_text(encoding="utf-8")
# Pairs of each table of docs/speed.md and the text between it and the heading above.
TABLES = [
    (part[table.start() : part.index("\n", table.start())], part)
    for part in re.split(r"^##+ ", SPEED, flags=re.MULTILINE)
    for table in re.finditer(r"^\|.*\n\| ---", part, re.MULTILINE)
]


def test_every_table_names_the_sections_that_measure_it():
    assert len(TABLES) > 8
    for table, part in TABLES:
        commands = re.findall(r"`bench/report\.py([a-z ]*)", part)
        assert commands, table
        assert {name for command in commands for name in command.split()} <= SECTIONS, table


def test_results_hold_what_they_depend_on():
    held = json.loads(json.dumps(machine.machine()))
    assert held["vector_bytes"] == VECTOR_BYTES
    assert held["versions"]["numpy"] == np.__version__
    assert held["versions"]["numba"] == numba.__version__
    assert all(blas["num_threads"] >= 1 for blas in held["blas"])
    assert held["microarchitecture"]
    assert re.fullmatch("([0-9a-f]{7,}(-dirty)?)?", machine.commit())


def test_a_row_ends_with_the_fraction_of_the_limit_if_it_is_known(capsys):
    report.row("a", "b", "c", 1.5, 0.904)
    report.row("a", "b", "c", float("nan"))
    assert capsys.readouterr().out == "| a | b | c | 1.5 | 90% |\n| a | b | c |  |  |\n"


def test_a_trial_takes_few_turns(monkeypatch):
    monkeypatch.setattr(report, "MAX_TURNS", 1)
    calls = []
    assert report.best(20, one=lambda: calls.append(1))["one"] < float("inf")
    assert len(calls) == 2  # a turn of warm-up
