"""The sources of the kernels, whose digest tells versions of compiled kernels apart.

A kernel is built from functions in several files, and an edit of any file makes a new kernel. The modules in
`CALL_SIDE` are left out, because no code of theirs is compiled, and whatever they agree on with kernels also
stands in a module that is digested, or in the name of each kernel (`entry.FunctionPointer.symbol`). This
module does not import numba.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

# Folder of the package `fastnn_kernels`: it holds the sources, and the cache if it is writable.
PACKAGE = Path(__file__).parents[1]

CALL_SIDE = frozenset(
    PACKAGE / "compiler" / f"{name}.py" for name in ("entry", "interrupts", "prebuilt", "sources")
)


def list_source_files() -> list[Path]:
    """Return the paths of the kernels' sources; raise OSError if a folder cannot be read."""

    def fail(error: OSError) -> None:
        raise error

    found: list[Path] = []
    for folder, folders, names in os.walk(PACKAGE, onerror=fail):
        # Python's bytecode and the cache's entries: thousands of files may be there, and no source.
        folders[:] = [name for name in folders if name != "__pycache__"]
        found += (Path(folder, name) for name in names if name.endswith(".py"))
    # An editor's lock file beside a source may be a broken link: skip it.
    return [path for path in sorted(found) if path not in CALL_SIDE and path.is_file()]


def digest_sources() -> str:
    """Return the digest of the sources; "" if there are none, or one cannot be read."""
    digest = hashlib.sha256()
    try:
        sources = list_source_files()
        for path in sources:
            digest.update(path.relative_to(PACKAGE).as_posix().encode())
            digest.update(path.read_bytes())
    except OSError:  # no permission, too many open files, or a file removed meanwhile
        return ""
    return digest.hexdigest() if sources else ""
