"""Fit several networks to a table, and write model.fastnn, metrics.json and report.html.

The table is a CSV or Parquet file of numbers, categories, dates and text, with missing values. 'fastnn
predict' and fastnn.load read the model. The report is one page with scores, curves and columns.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

from .arguments import (
    PRESETS,
    TASKS,
    add_columns_argument,
    add_reading_arguments,
    add_table_argument,
    parse_count,
    parse_number,
    parse_numbers,
    parse_path,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example: fastnn train customers.csv --target churn --drop id --out run"
    add_table_argument(parser)
    parser.add_argument("--target", required=True, metavar="COLUMN", help="column to predict")
    parser.add_argument("--task", choices=TASKS, help="kind of the target (default: as its values suggest)")
    add_columns_argument(parser, "--drop", "columns to leave out")
    add_columns_argument(parser, "--categories", "columns of numbers that are codes, and so categories")
    add_columns_argument(parser, "--numbers", "columns of text that stands for numbers")
    parser.add_argument("--weights", metavar="COLUMN", help="column with the weights of the rows")
    parser.add_argument(
        "--groups",
        metavar="COLUMN",
        help="column with groups of rows that belong together, such as patients: networks are evaluated on "
        "other groups than they are trained on",
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=parse_path,
        default=Path("run"),
        help="folder of the results (default: run)",
    )
    validation = parser.add_mutually_exclusive_group()
    validation.add_argument(
        "--valid", metavar="TABLE", type=parse_path, help="validation rows (default: some of TABLE)"
    )
    validation.add_argument(
        "--cv",
        metavar="N",
        type=functools.partial(parse_count, least=2),
        help="evaluate by cross-validation with N folds, by N further fits",
    )
    parser.add_argument(
        "--preset", choices=PRESETS, default="good", help="size and number of the networks (default: good)"
    )
    parser.add_argument(
        "--networks", metavar="N", type=parse_count, help="number of networks (default: by the preset)"
    )
    parser.add_argument("--balanced", action="store_true", help="give all classes the same weight")
    parser.add_argument(
        "--quantiles",
        metavar="Q,Q",
        type=parse_numbers,
        help="quantiles to predict too, such as 0.05,0.5,0.95",
    )
    parser.add_argument(
        "--passes",
        metavar="N",
        type=parse_count,
        help="number of epochs, passes over the rows (default: by preset and number of rows)",
    )
    seconds = functools.partial(parse_number, what="seconds above 0", is_right=lambda value: value > 0)
    parser.add_argument(
        "--time-limit", metavar="SECONDS", type=seconds, help="longest time of the fits (default: none)"
    )
    parser.add_argument(
        "--seed",
        type=functools.partial(parse_count, least=0),
        default=0,
        help="seed of all random numbers (default: 0)",
    )
    parser.add_argument(
        "--keep-training",
        action="store_true",
        help="keep targets and predictions of the training rows, and the curves, in model.fastnn",
    )
    parser.add_argument(
        "--jobs", metavar="N", type=parse_count, help="number of threads (default: all cores)"
    )
    parser.add_argument(
        "--rows", metavar="N", type=parse_count, help="number of random rows to read (default: all)"
    )
    parser.add_argument(
        "--memory-limit",
        metavar="SIZE",
        help="memory for a training on Parquet files, such as 4GiB (default: what is free)",
    )
    add_reading_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..tables.commands.options import TrainTableOptions
    from ..tables.commands.train_table import train_table

    return train_table(TrainTableOptions.from_arguments(arguments))
