"""Predict every row of a table with a model that 'fastnn train', or a tabular estimator's save, has written.

Tables are CSV or Parquet files. Columns are found by their names, in any order. Parquet files, which may be
larger than memory, are read and predicted in pieces. A file of predictions is written whole or not at all.
Remarks go to standard error.
"""

from __future__ import annotations

import argparse

from ..tables.options import PredictOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example: fastnn predict run/model.fastnn new.csv --proba --keep id -o predictions.csv"
    PredictOptions.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..tables.commands.predict_table import predict_table

    return predict_table(PredictOptions.from_arguments(arguments))
