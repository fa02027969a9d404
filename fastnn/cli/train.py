"""The subcommand ``fastnn train``: fit networks to a table, and write the model, its scores and a report."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import Any

from .arguments import (
    PRESETS,
    TASKS,
    add_columns_argument,
    add_reading_arguments,
    add_table_argument,
    count,
    numbers,
    path_or_url,
    seconds,
)

__all__ = ["add_command"]


def add_command(commands: Any, summary: str) -> None:
    """Add the subcommand, with a summary in one line, to the subparsers of ``fastnn``."""
    parser = commands.add_parser(
        "train",
        help=summary,
        description="Fit several networks side by side to a table in a CSV or Parquet file: numbers, "
        "categories, dates and text, with missing values. Parquet files and folders larger than memory are "
        "streamed. Writes model.fastnn, which 'fastnn predict' and fastnn.load read; metrics.json; and "
        "report.html, one page with scores, curves and columns.",
        epilog="example: fastnn train customers.csv --target churn --drop id --out run",
    )
    add_table_argument(parser)
    parser.add_argument("--target", required=True, metavar="COLUMN", help="column to predict")
    parser.add_argument("--task", choices=TASKS, help="kind of the target (default: as its values suggest)")
    add_columns_argument(parser, "--drop", "columns to leave out")
    parser.add_argument("--weights", metavar="COLUMN", help="column with the weights of the rows")
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=path_or_url,
        default=Path("run"),
        help="folder of the results (default: run)",
    )
    validation = parser.add_mutually_exclusive_group()
    validation.add_argument(
        "--valid", metavar="TABLE", type=path_or_url, help="validation rows (default: some of TABLE)"
    )
    validation.add_argument(
        "--cv",
        metavar="N",
        type=functools.partial(count, least=2),
        help="evaluate by cross-validation with N folds, by N further fits",
    )
    parser.add_argument(
        "--preset", choices=PRESETS, default="good", help="size and number of the networks (default: good)"
    )
    parser.add_argument(
        "--networks", metavar="N", type=count, help="number of networks (default: by the preset)"
    )
    parser.add_argument("--balanced", action="store_true", help="give all classes the same weight")
    parser.add_argument(
        "--quantiles", metavar="Q,Q", type=numbers, help="quantiles to predict too, such as 0.05,0.5,0.95"
    )
    parser.add_argument(
        "--passes",
        metavar="N",
        type=count,
        help="number of epochs, passes over the rows (default: by preset and number of rows)",
    )
    parser.add_argument(
        "--time-limit", metavar="SECONDS", type=seconds, help="longest time of the fits (default: none)"
    )
    parser.add_argument(
        "--seed",
        type=functools.partial(count, least=0),
        default=0,
        help="seed of all random numbers (default: 0)",
    )
    parser.add_argument(
        "--keep-training",
        action="store_true",
        help="keep targets and predictions of the training rows, and the curves, in model.fastnn",
    )
    parser.add_argument("--jobs", metavar="N", type=count, help="number of threads (default: all cores)")
    large = parser.add_argument_group(
        "larger than memory",
        "Parquet files that would take more memory than the limit are streamed: read once per epoch, while a "
        "checkpoint in the folder of the results keeps what has been done.",
    )
    large.add_argument(
        "--memory-limit", metavar="SIZE", default="1GiB", help="memory for rows, such as 4GiB (default: 1GiB)"
    )
    large.add_argument(
        "--resume", action="store_true", help="resume from the checkpoint of an interrupted training"
    )
    add_reading_arguments(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Run the command, whose modules are imported now; return the exit status."""
    from ..tables.commands.train import run

    return run(options)
