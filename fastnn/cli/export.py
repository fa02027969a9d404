"""Write a model, read from a file of its method save, for another system.

The result is a graph in ONNX, a C header, a fitted scikit-learn estimator (a joblib pickle), or a PyTorch
module (torch.save). Models of tables, as 'fastnn train' makes them, are exported to ONNX, with their
preprocessing.
"""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path

from ..system.arguments import parse_names
from ..system.printing import print

SYSTEMS = ("onnx", "c", "sklearn", "torch")
# Systems by the suffixes of their files.
_SUFFIXES = {
    ".onnx": "onnx",
    ".h": "c",
    ".joblib": "sklearn",
    ".pkl": "sklearn",
    ".pt": "torch",
    ".pth": "torch",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="file of the saved model")
    parser.add_argument(
        "--to", choices=SYSTEMS, help="system (default: by the file's name, .onnx, .h, .joblib or .pt)"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="name of the file that is written")
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        help="data type, not for scikit-learn (default: the model's; for C float32)",
    )
    parser.add_argument("--name", help="for C: prefix of all names (default: from the file's name)")
    parser.add_argument(
        "--drop",
        action="extend",
        metavar="COLUMN,COLUMN",
        type=parse_names,
        help="for models of tables to ONNX: columns without an input, whose values count as missing",
    )


def run(options: argparse.Namespace) -> int:
    import fastnn

    from ..system.files import check_output

    system = options.to or _SUFFIXES.get(options.out.suffix.lower())
    if system is None:
        raise ValueError(
            f"--out: the name {options.out} does not tell the format: end it in {', '.join(_SUFFIXES)}, or "
            f"pass --to with one of {', '.join(SYSTEMS)}"
        )
    # Check the file before the work, so that a problem costs no time.
    path = check_output(options.out, "--out", "an exported model", [options.model])
    model = fastnn.load(options.model)
    kind, export = type(model).__name__, getattr(model, f"to_{system}", None)
    if export is None:
        systems = [name for name in SYSTEMS if hasattr(model, f"to_{name}")]
        raise ValueError(
            f"the {kind} in {options.model} cannot be exported to {system}"
            + (f": choose {' or '.join(systems)}" if systems else "")
        )
    given = {name: value for name in ("dtype", "name", "drop") if (value := getattr(options, name))}
    for name in given:
        if name not in inspect.signature(export).parameters:
            raise ValueError(f"--{name} does not work with --to {system} for {kind}: omit it")
    if system in ("onnx", "c"):
        export(path, **given)
    else:
        _write(path, system, export(**given))
    print(f"{system}: {path} ({path.stat().st_size} bytes)")
    return 0


def _write(path: Path, system: str, exported: object) -> None:
    """Write an estimator of scikit-learn or a module of PyTorch; an error leaves the older file."""
    from ..system.files import atomic_path

    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        if system == "sklearn":
            import joblib

            joblib.dump(exported, file)
        else:
            import torch

            torch.save(exported, file)
