"""Warnings at the line of the user's call, however deep in the library; errors, counts and lists as text."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

# Characters that a terminal interprets: controls other than tabs, ends of lines, marks of direction.
CONTROLS = r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"

# Largest number of names or values in a message.
MAX_NAMES = 5

# Modules between the user's line and the package: `abc` makes classes, and `sklearn_internals` adds modules
# in which scikit-learn wraps the methods of an estimator.
WRAPPERS = {"abc"}

# List that collects the warnings of a thread in place of issuing them.
_collected: ContextVar[list[tuple[str, type[Warning]]] | None] = ContextVar("collected", default=None)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning at the innermost line outside of this package."""
    if (collected := _collected.get()) is not None:
        collected.append((message, category))
        return
    package = __name__.partition(".")[0]
    level, frame = 1, sys._getframe()
    while frame.f_back is not None:
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] != package and module not in WRAPPERS:
            break
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


@contextmanager
def collect_warnings(collected: list[tuple[str, type[Warning]]]) -> Iterator[None]:
    """Append the warnings of this thread to a list in place of issuing them, as text and class."""
    token = _collected.set(collected)
    try:
        yield
    finally:
        _collected.reset(token)


def format_error(error: float) -> str:
    """Return an error or loss as text: four decimals, or four significant digits if it is below 0.001."""
    return f"{error:.4g}" if 0 < abs(error) < 1e-3 else f"{error + 0.0:.4f}"


def escape_controls(text: str) -> str:
    r"""Return a text from a file with its control characters as escapes, such as ``\x1b`` or ``\n``."""
    return re.sub(CONTROLS, lambda found: found[0].encode("unicode_escape").decode(), text)


def format_range(numbers: Sequence[int]) -> str:
    """Return the range of some numbers as text: "10", "10 to 24"."""
    least, largest = min(numbers), max(numbers)
    return f"{least}" if least == largest else f"{least} to {largest}"


def join_names(names: Iterable[object], quoted: bool = True) -> str:
    """Return the first names of a list for a message."""
    texts = [repr(str(name)) if quoted else escape_controls(str(name)) for name in names]
    more = f" and {len(texts) - MAX_NAMES} more" if len(texts) > MAX_NAMES else ""
    return ", ".join(texts[:MAX_NAMES]) + more


def note_renamed_columns(header: Sequence[str], names: Iterable[str]) -> list[str]:
    """Return a note for every name that a header repeats: numbers are added to it, as pandas does."""
    renamed: dict[str, list[str]] = {}
    given = [name.lstrip(" ") for name in header]
    for old, new in zip(given, names, strict=False):
        if old and new.startswith(f"{old}.") and given.count(old) > 1:
            renamed.setdefault(old, []).append(repr(new))
    return [
        f"the header has more than one column named {name!r}: the others become {', '.join(others)}"
        for name, others in renamed.items()
    ]


def pluralize(number: int, noun: str) -> str:
    """Return a number with its noun: "1 row", "2,000 rows", "2 categories"."""
    plural = f"{noun.removesuffix('y')}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def find_similar(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that resemble a name, the best first."""
    import difflib

    by_lower = {other.lower(): other for other in reversed([*known])}
    found = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    return [by_lower[other] for other in found]


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return the question whether a similar known name is meant; "" without one."""
    close = find_similar(name, known) if isinstance(name, str) else []
    return f"did you mean {' or '.join(map(repr, close))}?" if close else ""
