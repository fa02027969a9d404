"""Fit several networks to a table, and write model.fastnn, metrics.json and report.html.

The table is a CSV or Parquet file of numbers, categories, dates and text, with missing values. 'fastnn
predict' and fastnn.load read the model. The report is one page with scores, curves and columns.
"""

from __future__ import annotations

import argparse

from ..tables.options import TrainTableOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example: fastnn train customers.csv --target churn --drop id --out run"
    TrainTableOptions.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..tables.commands.train_table import train_table

    return train_table(TrainTableOptions.from_arguments(arguments))
