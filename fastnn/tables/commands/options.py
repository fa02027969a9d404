"""Options of the commands for tables: a frozen dataclass for each, made from its command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Self

# Options that a model remembers of its training's file: texts, and lists of texts.
_TEXTS, _LISTS = ("sep", "decimal", "thousands"), ("units", "na", "date_format")


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How files are read: what is None or empty is found in the first lines of a CSV file."""

    sep: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    units: Sequence[str] = ()
    encoding: str | None = None
    na: Sequence[str] = ()  # texts that stand for missing values; column=text does so in one column
    default_na: bool = True
    date_format: Sequence[str] = ()
    trained: ReadOptions | None = None  # how the file of a model's training was read

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> Self:
        """Return the options that a parsed command line holds."""
        names = [field.name for field in fields(cls) if field.name != "trained"]
        return cls(**{name: getattr(arguments, name) for name in names})

    def to_record(self) -> dict[str, Any]:
        """Return what a model remembers, as plain data for its file."""
        texts = {name: getattr(self, name) for name in _TEXTS}
        return texts | {name: list(getattr(self, name)) for name in _LISTS} | {"default_na": self.default_na}

    def follow(self, record: object) -> Self:
        """Return these options behind the options of a record by `to_record` that a model holds, if any."""
        if record is None:
            return self
        names = {*_TEXTS, *_LISTS, "default_na"}
        if not (
            isinstance(record, dict)
            and record.keys() == names
            and all(record[name] is None or isinstance(record[name], str) for name in _TEXTS)
            and all(isinstance(record[name], list) for name in _LISTS)
            and all(isinstance(text, str) for name in _LISTS for text in record[name])
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

    table: str | Path
    target: str
    task: Literal["classification", "regression"] | None
    drop: Sequence[str]
    categories: Sequence[str]
    numbers: Sequence[str]
    weights: str | None
    groups: str | None
    out: Path
    valid: str | Path | None
    cv: int | None
    preset: str
    networks: int | None
    balanced: bool
    quantiles: Sequence[float] | None
    passes: int | None
    time_limit: float | None
    seed: int
    keep_training: bool
    jobs: int | None
    rows: int | None
    memory_limit: str | None


@dataclass(frozen=True, kw_only=True)
class PredictOptions(ReadOptions):
    """Options of ``fastnn predict``; the output "-" is standard output."""

    model: Path
    table: str | Path
    out: str | Path
    proba: bool
    quantiles: bool
    keep: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(ReadOptions):
    """Options of ``fastnn evaluate``; the output "-" is standard output."""

    model: Path
    table: str | Path
    target: str | None
    weights: str | None
    groups: str | None
    out: str | Path | None
