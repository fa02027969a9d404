"""Entries of the cache: a header, one line of JSON, and the code of a kernel.

A process that loads a kernel knows its function and the types of its arguments. The header holds the rest:
the names of symbols in the code, and the type of the result. It is JSON, and names no Python object.
"""

from __future__ import annotations

import json
from typing import Any

from numba import types

__all__ = ["packed", "plain_type", "type_of", "unpacked"]

SCALARS: dict[str, Any] = {
    str(kind): kind
    for kind in (types.none, types.boolean, *types.integer_domain, *types.real_domain, *types.complex_domain)
}


def packed(header: dict[str, Any], code: bytes) -> bytes:
    """Return the payload of an entry; `unpacked` is the inverse."""
    return json.dumps(header).encode() + b"\n" + code  # JSON escapes line breaks


def unpacked(payload: bytes) -> tuple[dict[str, Any], bytes]:
    """Return header and code of an entry.

    Raises
    ------
    ValueError
        If there is no header.
    """
    line, _, code = payload.partition(b"\n")
    header = json.loads(line)
    if not isinstance(header, dict):
        raise ValueError("the entry has no header")
    return header, code


def plain_type(kind: Any) -> Any:
    """Return a type of numba in values that JSON can express; `type_of` is the inverse.

    Raises
    ------
    ValueError
        For other types than scalars, constants, arrays, and tuples of these.
    """
    plain: Any = str(kind)
    if isinstance(kind, types.Literal):
        plain = ["constant", kind.literal_value]
    elif isinstance(kind, types.Array):
        plain = ["array", plain_type(kind.dtype), kind.ndim, kind.layout, kind.mutable, kind.aligned]
    elif isinstance(kind, types.BaseTuple):
        plain = ["tuple", *map(plain_type, kind)]
    if type_of(plain) != kind:
        raise ValueError(f"no result can be of type {kind}")
    return plain


def type_of(plain: Any) -> Any:
    """Return the type of numba that `plain_type` described; raise ValueError for anything else."""
    match plain:
        case str() if plain in SCALARS:
            return SCALARS[plain]
        case ["constant", int(value) | str(value)]:
            return types.literal(value)
        case ["array", str(dtype), int(ndim), "C" | "F" | "A" as layout, bool(mutable), bool(aligned)]:
            return types.Array(type_of(dtype), ndim, layout, readonly=not mutable, aligned=aligned)
        case ["tuple", *items]:
            return types.Tuple([type_of(item) for item in items])
    raise ValueError(f"no result can be of type {plain!r:.80}")
