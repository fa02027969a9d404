"""Container of a saved model: a safetensors file of arrays, whose metadata describe the model in JSON.

The metadata have the one entry "fastnn", a JSON object: "sha256", a checksum of the rest of the text and of
all arrays; "format", the version of the format; "fastnn", the version that wrote the file; and "model", the
description, which `fastnn.saving.values` encodes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..network.description import allocate_empty
from ..system.files import atomic_path
from ..system.validation import Array

# Version of the format. Readers refuse every other.
FORMAT = 1
# Largest header that readers of safetensors accept, in bytes.
MAX_HEADER = 100_000_000


class Contents(NamedTuple):
    """Contents of a file: the description of a model as JSON, and arrays by name, C-contiguous."""

    description: Any
    arrays: dict[str, Array]


def write_container(path: Path, contents: Contents, synced: bool = False) -> None:
    """Write a file atomically: a process that is killed at any moment leaves the older file or the new one.

    With `synced`, wait until the disk holds the file, for the case of a loss of power.
    """
    from safetensors.numpy import save

    from .. import __version__

    entries = {"sha256": "", "format": FORMAT, "fastnn": __version__, "model": contents.description}
    text = json.dumps(entries, separators=(",", ":"), allow_nan=False)
    signed = text.replace('""', f'"{_compute_checksum(text, contents.arrays)}"', 1)
    content = save(contents.arrays, {"fastnn": signed})
    n_header = int.from_bytes(content[:8], "little")
    if n_header > MAX_HEADER:
        raise ValueError(
            f"the description of the model takes {n_header:,} bytes, more than the {MAX_HEADER:,} that a "
            "file holds: reduce the numbers of members or of categories, or keep the model with joblib"
        )
    with atomic_path(path, synced) as draft:
        draft.write_bytes(content)


def read_container(path: Path) -> tuple[Contents, str]:
    """Return the contents of an intact file of this format, and the version of fastnn that wrote it."""
    import safetensors

    from .. import __version__

    try:
        with safetensors.safe_open(path, "np") as file:
            text = (file.metadata() or {}).get("fastnn")
            if text is None:
                raise ValueError("it is a safetensors file of another program")
            entries = parse_json(text)
            if entries["format"] != FORMAT:
                raise ValueError(
                    f"fastnn {entries['fastnn']} saved it in the format {entries['format']}, but fastnn "
                    f"{__version__} reads only the format {FORMAT}: install fastnn-numba {entries['fastnn']}"
                )
            arrays = {name: _copy_aligned(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 (no iterator)
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{str(error).removeprefix('Error while deserializing header: ')}. A file of pickle, joblib, "
            "NumPy, Keras or torch is loaded by that library"
        ) from None
    if _compute_checksum(text.replace(entries["sha256"], "", 1), arrays) != entries["sha256"]:
        raise ValueError("its content has been changed, as the checksum shows")
    return Contents(entries["model"], arrays), entries["fastnn"]


def _copy_aligned(array: Array) -> Array:
    """Return a copy of an array that begins at a cache line, as the kernels read it fastest."""
    copy = allocate_empty(array.size, array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _compute_checksum(text: str, arrays: Mapping[str, Array]) -> str:
    """Return the SHA-256 checksum of a text, and of the names, types, shapes and bytes of arrays."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        little = np.asarray(array, array.dtype.newbyteorder("<"))
        digest.update(f"{name} {little.dtype.str} {little.shape}".encode())
        digest.update(little.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def parse_json(text: bytes | str) -> Any:
    """Return the value of a JSON text; duplicate keys, NaN, infinity and deep nesting are a ValueError."""
    try:
        return json.loads(text, object_pairs_hook=_make_dict, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("the JSON text is nested too deeply") from None


def _make_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise ValueError(f"the key {name!r} occurs twice")
        result[name] = value
    return result


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON number")
