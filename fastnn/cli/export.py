"""The subcommand ``fastnn export``: translate a saved model to another system."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add_command"]

SYSTEMS = ("onnx", "c", "sklearn", "torch")
# Systems by the suffixes of their files.
_SUFFIXES = {
    ".onnx": "onnx", ".h": "c", ".joblib": "sklearn", ".pkl": "sklearn", ".pt": "torch", ".pth": "torch"
}  # fmt: skip


def add_command(commands: Any, summary: str) -> None:
    """Add the subcommand, with a summary in one line, to the subparsers of ``fastnn``."""
    parser = commands.add_parser(
        "export",
        help=summary,
        description="Read a model that was saved by its method save, and write it for another system: a "
        "graph in ONNX, a C header, a fitted scikit-learn estimator (a joblib pickle), or a PyTorch module "
        "(torch.save). Models of tables, such as those of fastnn train, are exported to ONNX, with their "
        "preprocessing.",
    )
    parser.add_argument("model", type=Path, help="file of the saved model")
    parser.add_argument(
        "--to", choices=SYSTEMS, help="system (default: by the file's name, .onnx, .h, .joblib or .pt)"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="name of the file that is written")
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64", "int8"),
        help="data type, int8 for C only (default: the model's; for C float32)",
    )
    parser.add_argument("--name", help="for C: beginning of all names (default: from the file's name)")
    parser.add_argument(
        "--data",
        type=Path,
        help="for C: samples, .npy or numbers separated by commas, to calibrate int8 and for the self-test",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Export the model; return the exit status."""
    import fastnn

    from ..system.files import check_file_name, check_folder, check_replaceable

    system = options.to or _SUFFIXES.get(options.out.suffix.lower())
    if system is None:
        raise ValueError(f"--to: the name {options.out} tells no system: choose one of {', '.join(SYSTEMS)}")
    if system != "c" and (options.name or options.data or options.dtype == "int8"):
        raise ValueError("--name, --data and --dtype int8 are for --to c")
    if system == "sklearn" and options.dtype:
        raise ValueError("--dtype: scikit-learn's estimators keep the model's dtype")
    # Check the file before the work, so that a problem costs no time.
    path = check_file_name(options.out, "--out")
    check_folder(path, "--out")
    check_replaceable(path, "--out", "an exported model")
    model = fastnn.load(options.model)
    if not hasattr(model, f"to_{system}"):
        systems = [name for name in SYSTEMS if hasattr(model, f"to_{name}")]
        raise ValueError(
            f"{options.model} holds a {type(model).__name__}, which cannot be exported to {system}"
            + (f": choose {' or '.join(systems)}" if systems else "")
        )
    if system == "onnx":
        model.to_onnx(path, dtype=options.dtype)
    elif system == "c":
        model.to_c(path, options.dtype or "float32", X=_samples(options.data), name=options.name)
    elif system == "sklearn":
        import joblib

        _write(path, joblib.dump, model.to_sklearn())
    else:
        module = model.to_torch(dtype=options.dtype)
        import torch

        _write(path, torch.save, module)
    print(f"{system}: {path} ({path.stat().st_size} bytes)")
    return 0


def _write(path: Path, dump: Any, value: Any) -> None:
    """Write a value by ``dump(value, file)``; an error leaves the older file of this name."""
    from ..system.files import written_whole

    with written_whole(path) as temporary, open(temporary, "wb") as file:
        dump(value, file)


def _samples(path: Path | None) -> Any:
    """Return the samples in a file, .npy or lines of numbers separated by commas; None without a file."""
    if path is None:
        return None
    import numpy as np

    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        return np.loadtxt(path, delimiter=",", ndmin=2)
    except (ValueError, EOFError) as error:
        raise ValueError(f"--data: {path} holds no table of numbers: {error}") from None
