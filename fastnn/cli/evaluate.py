"""Score a model that 'fastnn train' has written on a table with the target, beside a constant prediction.

Tables are CSV or Parquet files. Parquet files, which may be larger than memory, are read and evaluated in
pieces.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_reading_arguments, add_table_argument, parse_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example: fastnn evaluate run/model.fastnn test.csv"
    parser.add_argument("model", metavar="MODEL", type=Path, help="file of the saved model")
    add_table_argument(parser)
    parser.add_argument(
        "--target", metavar="COLUMN", help="column with the true values (default: the target of the training)"
    )
    parser.add_argument("--weights", metavar="COLUMN", help="column with the weights of the rows")
    parser.add_argument(
        "--groups",
        metavar="COLUMN",
        help="column with groups of rows that belong together, by which the margins of the scores are "
        "estimated (default: the column used in training)",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        type=parse_file,
        help="JSON file of the scores; - for standard output, and the printed tables for standard error",
    )
    add_reading_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..tables.commands.evaluate_table import evaluate_table
    from ..tables.commands.options import EvaluateOptions

    return evaluate_table(EvaluateOptions.from_arguments(arguments))
