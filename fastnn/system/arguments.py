"""Types of the command line's arguments, without imports that slow the help."""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def parse_names(text: str) -> tuple[str, ...]:
    """Parse names of columns as in a CSV file, each once; spaces at the ends of names stay."""
    try:
        found = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error as error:
        raise argparse.ArgumentTypeError(f"must be names as in a line of a CSV file: {error}") from None
    return tuple(dict.fromkeys(name for name in found if name.strip()))


def parse_texts(text: str) -> tuple[str, ...]:
    """Parse texts, separated and quoted as in a CSV file; one that is repeated counts once."""
    return tuple(dict.fromkeys(one.strip() for one in parse_names(text)))


def parse_numbers(text: str) -> tuple[float, ...]:
    """Parse numbers separated by commas."""
    numbers: tuple[float, ...] = ()
    with suppress(ValueError):
        numbers = tuple(float(number) for number in text.split(",") if number.strip())
    if not numbers:
        message = f"must be numbers separated by commas, such as 0.05,0.5,0.95, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return numbers


def parse_number(text: str, what: str, is_right: Callable[[float], bool]) -> float:
    """Parse a finite number that a function accepts; the error says `what` it must be."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value) and is_right(value):
        return value
    raise argparse.ArgumentTypeError(f"must be {what}, got {text!r}")


def parse_count(text: str, least: int = 1, below: int = 2**31) -> int:
    """Parse an integer from `least` to ``below - 1``."""
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if least <= value < below:
        return value
    limits = f"of at least {least}" if value < least else f"from {least} to {below - 1}"
    raise argparse.ArgumentTypeError(f"must be an integer {limits}, got {text!r}")


def parse_path(text: str) -> str | Path:
    """Return the path of a file or folder, or its URL as it is."""
    from .files import is_url

    if not text:  # Path("") is the current folder
        raise argparse.ArgumentTypeError("the name is empty")
    return text if is_url(text) else Path(text)


def parse_file(text: str) -> str | Path:
    """Return the path or URL of a file, or "-" for standard input or output."""
    return text if text == "-" else parse_path(text)
