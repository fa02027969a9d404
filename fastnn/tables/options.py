"""Options of the commands for tables: a frozen dataclass for each, which declares its command line."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Self

from ..system.arguments import (
    parse_count,
    parse_file,
    parse_names,
    parse_number,
    parse_numbers,
    parse_path,
    parse_texts,
)
from .presets import PRESETS

# Options that a model remembers of its training's file, and their types.
_REMEMBERED: dict[str, Any] = {
    **dict.fromkeys(("sep", "decimal", "thousands"), str | None),
    **dict.fromkeys(("units", "na", "date_format"), list[str]),
    "default_na": bool,
}
# Argument of the table that a command reads.
_TABLE = (
    "TABLE",
    "CSV or Parquet file, folder of Parquet files, the URL of either, - for standard input",
    "table",
)


def _declare(
    metavar: str | None, text: str, *flags: str, default: Any = None, excludes: bool = False, **settings: Any
) -> Any:
    """Return a field that an argument of the command line sets; see `add_argument` of argparse.

    By default its flag is the field's name. All arguments with `excludes` exclude each other.
    """
    if metavar is not None:
        settings["metavar"] = metavar
    settings |= {"help": text, "default": list(default) if default == () else default}
    return field(default=default, metadata={"flags": flags, "settings": settings, "excludes": excludes})


def _declare_texts(text: str) -> Any:
    return _declare("TEXT,TEXT", text, default=(), action="extend", type=parse_texts)


def _declare_columns(text: str) -> Any:
    return _declare("COLUMN,COLUMN", text, default=(), action="extend", type=parse_names)


def _declare_flag(text: str) -> Any:
    return _declare(None, text, default=False, action="store_true")


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How files are read: what is None or empty is found in the first lines of a CSV file."""

    sep: str | None = _declare("TEXT", "separator of CSV fields, such as ';' or '\\t'")
    decimal: str | None = _declare("TEXT", "decimal point of CSV numbers, such as ','")
    thousands: str | None = _declare("TEXT", "separator of thousands in CSV numbers, such as ',' or '.'")
    units: Sequence[str] = _declare_texts("texts to leave out of CSV numbers, such as '$,%%'")
    encoding: str | None = _declare("NAME", "encoding of CSV files, such as utf-8 or cp1252")
    na: Sequence[str] = _declare_texts(
        "further texts that stand for a missing value, in all columns or, as COLUMN=TEXT, in one"
    )
    default_na: bool = _declare(
        None,
        "read NA, None, null and the like as text: only empty fields, and the texts of --na, stand for a "
        "missing value",
        "--no-default-na",
        default=True,
        dest="default_na",
        action="store_false",
    )
    date_format: Sequence[str] = _declare(
        "FORMAT",
        "form of dates that are not ISO 8601, such as %%d/%%m/%%Y; once for each form",
        default=(),
        action="append",
    )
    trained: ReadOptions | None = None  # how the file of a model's training was read

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the arguments that the class declares; those about reading are a group of their own."""
        reading = parser.add_argument_group(
            "reading",
            "CSV files are read as their first lines suggest, and as the file of a model's training was; "
            "these options overrule that.",
        )
        places: dict[str, Any] = {each.name: reading for each in fields(ReadOptions)}
        exclusive = None
        declared = [each for each in fields(cls) if each.metadata]
        for each in sorted(declared, key=lambda each: each.name in places):
            place = places.get(each.name, parser)
            if each.metadata["excludes"]:
                place = exclusive = exclusive or parser.add_mutually_exclusive_group()
            flags = each.metadata["flags"] or [f"--{each.name.replace('_', '-')}"]
            place.add_argument(*flags, **each.metadata["settings"])

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> Self:
        """Return the options that a parsed command line holds."""
        return cls(**{each.name: getattr(arguments, each.name) for each in fields(cls) if each.metadata})

    def to_record(self) -> dict[str, Any]:
        """Return what a model remembers, as plain data for its file."""
        values = {name: getattr(self, name) for name in _REMEMBERED}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def follow(self, record: object) -> Self:
        """Return these options behind the options of a record by `to_record` that a model holds, if any."""
        from ..saving.types import has_type  # which imports NumPy

        if record is None:
            return self
        if not (
            isinstance(record, dict)
            and record.keys() == _REMEMBERED.keys()
            and all(has_type(record[name], form) for name, form in _REMEMBERED.items())
        ):
            raise ValueError("the model's record of how its table was read is damaged")
        trained = ReadOptions(**record)
        return replace(
            self,
            trained=trained,
            default_na=self.default_na and trained.default_na,
            units=(*trained.units, *self.units),
            na=(*trained.na, *self.na),
            date_format=(*trained.date_format, *self.date_format),
        )


@dataclass(frozen=True, kw_only=True)
class TrainTableOptions(ReadOptions):
    """Options of ``fastnn train``."""

    table: str | Path = _declare(*_TABLE, type=parse_file)
    target: str = _declare("COLUMN", "column to predict", required=True)
    task: Literal["classification", "regression"] | None = _declare(
        None, "kind of the target (default: as its values suggest)", choices=("classification", "regression")
    )
    drop: Sequence[str] = _declare_columns("columns to leave out")
    categories: Sequence[str] = _declare_columns("columns of numbers that are codes, and so categories")
    numbers: Sequence[str] = _declare_columns("columns of text that stands for numbers")
    weights: str | None = _declare("COLUMN", "column with the weights of the rows")
    groups: str | None = _declare(
        "COLUMN",
        "column with groups of rows that belong together, such as patients: networks are evaluated on other "
        "groups than they are trained on",
    )
    out: Path = _declare(
        "FOLDER", "folder of the results (default: run)", default=Path("run"), type=parse_path
    )
    valid: str | Path | None = _declare(
        "TABLE", "validation rows (default: some of TABLE)", excludes=True, type=parse_path
    )
    cv: int | None = _declare(
        "N",
        "evaluate by cross-validation with N folds, by N further fits",
        excludes=True,
        type=functools.partial(parse_count, least=2),
    )
    preset: str = _declare(
        None, "size and number of the networks (default: good)", default="good", choices=tuple(PRESETS)
    )
    networks: int | None = _declare("N", "number of networks (default: by the preset)", type=parse_count)
    balanced: bool = _declare_flag("give all classes the same weight")
    quantiles: Sequence[float] | None = _declare(
        "Q,Q", "quantiles to predict too, such as 0.05,0.5,0.95", type=parse_numbers
    )
    passes: int | None = _declare(
        "N",
        "number of epochs, passes over the rows (default: by preset and number of rows)",
        type=parse_count,
    )
    time_limit: float | None = _declare(
        "SECONDS",
        "longest time of the fits (default: none)",
        type=functools.partial(parse_number, what="seconds above 0", is_right=lambda value: value > 0),
    )
    seed: int = _declare(
        None,
        "seed of all random numbers (default: 0)",
        default=0,
        type=functools.partial(parse_count, least=0),
    )
    keep_training: bool = _declare_flag(
        "keep targets and predictions of the training rows, and the curves, in model.fastnn"
    )
    jobs: int | None = _declare("N", "number of threads (default: all cores)", type=parse_count)
    rows: int | None = _declare("N", "number of random rows to read (default: all)", type=parse_count)
    memory_limit: str | None = _declare(
        "SIZE", "memory for a training on Parquet files, such as 4GiB (default: what is free)"
    )


@dataclass(frozen=True, kw_only=True)
class PredictOptions(ReadOptions):
    """Options of ``fastnn predict``."""

    model: Path = _declare("MODEL", "file of the saved model", "model", type=Path)
    table: str | Path = _declare(*_TABLE, type=parse_file)
    out: str | Path = _declare(
        "FILE",
        "CSV file, also .gz, .bz2 or .xz, or Parquet file of the predictions (default: CSV to standard "
        "output)",
        "-o",
        "--out",
        default="-",
        type=parse_file,
    )
    proba: bool = _declare_flag("add the probability of every class")
    quantiles: bool = _declare_flag("add the quantiles that the model has")
    keep: Sequence[str] = _declare_columns("columns of the table to copy")


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(ReadOptions):
    """Options of ``fastnn evaluate``."""

    model: Path = _declare("MODEL", "file of the saved model", "model", type=Path)
    table: str | Path = _declare(*_TABLE, type=parse_file)
    target: str | None = _declare(
        "COLUMN", "column with the true values (default: the target of the training)"
    )
    weights: str | None = _declare("COLUMN", "column with the weights of the rows")
    groups: str | None = _declare(
        "COLUMN",
        "column with groups of rows that belong together, by which the margins of the scores are estimated "
        "(default: the column used in training)",
    )
    out: str | Path | None = _declare(
        "FILE",
        "JSON file of the scores; - for standard output, and the printed tables for standard error",
        "-o",
        "--out",
        type=parse_file,
    )
