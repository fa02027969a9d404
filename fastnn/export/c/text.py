"""Text of C programs: names, strings, numbers, arrays and comments."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...system.files import check_file_name
from ...system.validation import shown

__all__ = ["array", "comment", "filled", "indented", "literal", "prefix", "safe_in_comment", "string"]

# Largest number of characters of a line.
WIDTH = 110


def prefix(name: Any, path: Any) -> str:
    """Return the prefix of all names in a header: `name`, or an identifier made from the file's name.

    Raises
    ------
    ValueError
        If `name` is not an identifier of C.
    """
    if name is None:
        stem = "net" if path is None else check_file_name(path, "path").stem
        stem = re.sub(r"\W+", "_", stem, flags=re.ASCII).strip("_")
        return stem if re.match("[A-Za-z]", stem) else f"net_{stem}".rstrip("_")
    if not isinstance(name, str) or not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(
            f"name must be an identifier of C, letters, digits and _ after a letter, got {shown(name)}"
        )
    return name


def filled(template: str, **texts: str) -> str:
    """Return a template of C code with every placeholder replaced by its text.

    All placeholders are replaced in one pass: a text, such as the name of a network, may hold the name of a
    placeholder.

    Examples
    --------
    >>> filled("int NAME_size = NAMES_SIZE;", NAME="filename", NAMES="FILENAME")
    'int filename_size = FILENAME_SIZE;'
    """
    pattern = "|".join(sorted(texts, key=len, reverse=True))
    return re.sub(pattern, lambda found: texts[found[0]], template)


def literal(value: Any) -> str:
    """Return a number as a literal of its type, with the fewest decimals that give the same number.

    Examples
    --------
    >>> literal(np.float32(0.1)), literal(np.float64(1)), literal(np.int8(-3))
    ('0.1f', '1.0', '-3')
    """
    if isinstance(value, np.integer):
        return str(value)
    return str(value) + ("f" if isinstance(value, np.float32) else "")


def string(text: str) -> str:
    r"""Return text as a string literal in UTF-8, with octal escapes for everything but plain characters.

    Examples
    --------
    >>> print(string('caf\u00e9 "?"'))
    "caf\303\251 \042\077\042"
    """
    plain = set(
        b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-+.,:;()[]{}<>=/*%&#!|~^'@$"
    )
    encoded = text.encode("utf-8", "replace")
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in encoded) + '"'


def safe_in_comment(text: str) -> str:
    """Return text on one line, with nothing that ends or begins a comment and no trigraphs.

    Examples
    --------
    >>> safe_in_comment("width (mm) */")
    'width (mm) * /'
    """
    text = re.sub(r"\s+", " ", "".join(one if one.isprintable() else " " for one in text))
    return text.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?").replace("\\", "/").strip()


def comment(lines: Iterable[str]) -> str:
    """Return lines as a block comment."""
    return "\n".join(["/*", *(f" * {line}".rstrip() for line in lines), " */"])


def indented(text: str) -> str:
    """Return lines indented by one level, except the first; the last has no line end."""
    return text.strip().replace("\n", "\n    ")


def array(kind: str, name: str, values: NDArray[Any]) -> str:
    """Return the definition of a constant array; each row of a matrix begins a line."""
    sizes = f"[{values.size}]"
    rows = values if values.ndim == 2 else values[None]
    lines = [
        textwrap.fill(
            ", ".join(map(literal, row)), WIDTH, initial_indent="    ", subsequent_indent="    ",
            break_long_words=False, break_on_hyphens=False,
        )
        for row in rows
    ]  # fmt: skip
    return f"static const {kind} {name}{sizes} = {{\n" + ",\n".join(lines) + "\n};\n"
