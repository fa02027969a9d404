"""The playground without a server of its own: the page, its Worker and the wheel for browsers."""

from __future__ import annotations

import hashlib
import html
import json
import re
import shutil
from pathlib import Path

from .. import __version__

STATIC = Path(__file__).parent / "static"
# Distribution of Pyodide that pages load Python and packages from: the first whose wheels ours are. It holds
# bytecode in place of source, which would be compiled, for two seconds, whenever a page is opened.
PYODIDE_URL = "https://cdn.jsdelivr.net/pyodide/v314.0.7/pyc/"
# Files of a distribution that start Python, and packages of it that the page may load, with what they need.
_PYTHON = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
_PACKAGES = ("numpy", "safetensors", "matplotlib", "pillow")
_WHEEL = re.compile(r"fastnn_numba-(.+?)-py3-none-pyemscripten_\w+_wasm32\.whl")


def export_playground(folder: Path, wheel: Path, pyodide_url: str = PYODIDE_URL) -> None:
    """Write the page, its Worker and the wheel to a folder, over what an earlier export has written.

    A relative `pyodide_url` counts from the page's address. A wheel that is not this version's wheel for
    browsers, and a folder that holds other files, are a ValueError.
    """
    if not wheel.is_file():
        raise FileNotFoundError(f"there is no file {wheel}")
    found = _WHEEL.fullmatch(wheel.name)
    if found is None:
        raise ValueError(f"{wheel.name} is not a wheel of fastnn for browsers: build one by .ci/wheels")
    if found[1] != __version__:
        raise ValueError(f"the page is of fastnn {__version__}, but the wheel of fastnn {found[1]}")
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file, not a folder")
    if folder.exists() and any(folder.iterdir()) and not (folder / "service-worker.js").is_file():
        raise ValueError(f"{folder} holds other files: name a new or empty folder, or an earlier export")
    names = sorted({path.name for path in STATIC.iterdir()} - {"index.html", "service-worker.js"})
    (folder / "static").mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(STATIC / name, folder / "static" / name)
    if wheel.resolve() != (folder / wheel.name).resolve():
        shutil.copyfile(wheel, folder / wheel.name)
    settings = {"version": __version__, "wheel": wheel.name, "pyodide": f"{pyodide_url.rstrip('/')}/"}
    attributes = "".join(f' data-{name}="{html.escape(value)}"' for name, value in settings.items())
    page = (STATIC / "index.html").read_text(encoding="utf-8").replace("<html", f"<html{attributes}", 1)
    (folder / "index.html").write_text(page, encoding="utf-8")
    files = ["index.html", wheel.name, *(f"static/{name}" for name in names)]
    content = b"".join((folder / name).read_bytes() for name in files)
    values = {"DIGEST": hashlib.blake2b(content, digest_size=8).hexdigest(), "FILES": ["./", *files[1:]]}
    worker = (STATIC / "service-worker.js").read_text(encoding="utf-8")
    for name, value in values.items():
        worker = re.sub(f"const {name} = .*;", f"const {name} = {json.dumps(value)};", worker)
    (folder / "service-worker.js").write_text(worker, encoding="utf-8")


def copy_python(source: Path, folder: Path) -> None:
    """Copy what the page needs of an unpacked distribution of Pyodide to a folder."""
    lock = source / "pyodide-lock.json"
    if not lock.is_file():
        raise FileNotFoundError(f"{source} has no pyodide-lock.json: unpack Pyodide's full distribution")
    packages = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    needed, waiting = [], [*_PACKAGES]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.append(name)
            waiting += packages[name]["depends"]
    names = [*_PYTHON, *(packages[name]["file_name"] for name in needed)]
    missing = [name for name in names if not (source / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{source} lacks {missing[0]}: unpack Pyodide's full distribution there")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(source / name, folder / name)
