"""Predict every row of a table with a model that 'fastnn train', or a tabular estimator's save, has written.

Tables are CSV or Parquet files. Columns are found by their names, in any order. Parquet files, which may be
larger than memory, are read and predicted in pieces. A file of predictions is written whole or not at all.
Remarks go to standard error.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_columns_argument, add_reading_arguments, add_table_argument, parse_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example: fastnn predict run/model.fastnn new.csv --proba --keep id -o predictions.csv"
    parser.add_argument("model", metavar="MODEL", type=Path, help="file of the saved model")
    add_table_argument(parser)
    parser.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        type=parse_file,
        default="-",
        help="CSV file, also .gz, .bz2 or .xz, or Parquet file of the predictions (default: CSV to standard "
        "output)",
    )
    parser.add_argument("--proba", action="store_true", help="add the probability of every class")
    parser.add_argument("--quantiles", action="store_true", help="add the quantiles that the model has")
    add_columns_argument(parser, "--keep", "columns of the table to copy")
    add_reading_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..tables.commands.options import PredictOptions
    from ..tables.commands.predict_table import predict_table

    return predict_table(PredictOptions.from_arguments(arguments))
