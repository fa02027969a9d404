"""Score a model that 'fastnn train' has written on a table with the target, beside a constant prediction.

Tables are CSV or Parquet files. Parquet files, which may be larger than memory, are read and evaluated in
pieces.
"""

from __future__ import annotations

import argparse

from ..tables.options import EvaluateOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example: fastnn evaluate run/model.fastnn test.csv"
    EvaluateOptions.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..tables.commands.evaluate_table import evaluate_table

    return evaluate_table(EvaluateOptions.from_arguments(arguments))
