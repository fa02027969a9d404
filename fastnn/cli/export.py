"""The subcommand ``fastnn export``: translate a saved model to another system."""

from __future__ import annotations

import argparse
import csv
import lzma
import zlib
from pathlib import Path
from typing import Any

from ..system.printing import print
from .arguments import names

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
        "(torch.save). Models of tables, such as those of fastnn train, are exported to ONNX, and those of "
        "numbers alone to C, with their preprocessing.",
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
    parser.add_argument("--name", help="for C: prefix of all names (default: from the file's name)")
    parser.add_argument(
        "--data",
        type=Path,
        help="for C: samples, .npy or numbers separated by commas, the first line with or without names of "
        "columns, to calibrate int8 and for the self-test",
    )
    parser.add_argument(
        "--drop",
        action="extend",
        metavar="COLUMN,COLUMN",
        type=names,
        help="for models of tables to ONNX: columns without an input, whose values count as missing",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Export the model; return the exit status."""
    import fastnn

    from ..system.files import check_output

    system = options.to or _SUFFIXES.get(options.out.suffix.lower())
    if system is None:
        raise ValueError(
            f"--out: the name {options.out} does not tell the format: end it in {', '.join(_SUFFIXES)}, or "
            f"pass --to with one of {', '.join(SYSTEMS)}"
        )
    if system != "c" and (options.name or options.data or options.dtype == "int8"):
        raise ValueError("--name, --data and --dtype int8 work only with --to c")
    if system != "onnx" and options.drop:
        raise ValueError("--drop works only with --to onnx")
    if system == "sklearn" and options.dtype:
        raise ValueError("--dtype: scikit-learn's estimators keep the model's dtype")
    if options.dtype == "int8" and options.data is None:
        raise ValueError(
            "--dtype int8 needs --data FILE, a few hundred typical samples, to calibrate the ranges of "
            "inputs and units"
        )
    # Check the file before the work, so that a problem costs no time.
    path = check_output(options.out, "--out", "an exported model")
    model = fastnn.load(options.model)
    if not hasattr(model, f"to_{system}"):
        systems = [name for name in SYSTEMS if hasattr(model, f"to_{name}")]
        raise ValueError(
            f"the {type(model).__name__} in {options.model} cannot be exported to {system}"
            + (f": choose {' or '.join(systems)}" if systems else "")
        )
    if system == "onnx":
        _write_onnx(model, path, options)
    elif system == "c":
        if options.data is not None and hasattr(model, "encoder_"):
            raise ValueError(
                "--data works only with networks of arrays: the self-test of a table draws its samples"
            )
        features = getattr(model, "feature_names_in_", None)
        samples = _samples(options.data, features)
        try:
            model.to_c(path, options.dtype or "float32", X=samples, name=options.name)
        except ValueError as error:
            if not str(error).startswith("X "):
                raise
            raise ValueError(f"--data: {options.data} does not fit the model: {error}") from None
    elif system == "sklearn":
        import joblib

        _write(path, joblib.dump, model.to_sklearn())
    else:
        module = model.to_torch(dtype=options.dtype)
        import torch

        _write(path, torch.save, module)
    print(f"{system}: {path} ({path.stat().st_size} bytes)")
    return 0


def _write_onnx(model: Any, path: Path, options: argparse.Namespace) -> None:
    """Export a model to ONNX."""
    if options.drop is None:
        model.to_onnx(path, dtype=options.dtype)
    elif hasattr(model, "encoder_"):
        model.to_onnx(path, dtype=options.dtype, drop=options.drop)
    else:
        raise ValueError(f"--drop works only with models of tables, not with {type(model).__name__}")


def _write(path: Path, dump: Any, value: Any) -> None:
    """Write a value by ``dump(value, file)``; an error leaves the older file of this name."""
    from ..system.files import written_whole

    with written_whole(path) as temporary, open(temporary, "wb") as file:
        dump(value, file)


def _samples(path: Path | None, features: Any) -> Any:
    """Return the samples in a file, .npy or lines of numbers separated by commas; None without a file.

    A text file may be compressed. Its first line may name the columns: those of `features`, the names that
    the model knows, are read then, or all columns if there are no such names.
    """
    if path is None:
        return None
    import numpy as np

    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        with np.lib.npyio.DataSource(None).open(str(path), "rt", "utf-8-sig") as file:
            lines = file.readlines()
        names = [name.strip() for name in next(csv.reader(lines[:1]), [])]
        known = [] if features is None else [str(name) for name in features]
        # Names may be numbers, such as years: the model knows them.
        has_names = bool(known) and set(known) <= set(names)
        if not has_names and (not names or names[0].startswith("#") or any(map(_is_number, names))):
            return np.loadtxt(lines, delimiter=",", ndmin=2)
        if not "".join(lines[1:]).strip():
            raise ValueError("there is no row below the names of the columns")
        columns = [_place(name, names) for name in known] or None
        return np.loadtxt(lines[1:], delimiter=",", ndmin=2, usecols=columns, comments=None, quotechar='"')
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"--data: there is no file {path}") from None
    except IsADirectoryError:
        raise ValueError(f"--data: {path} is a folder, not a file") from None
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"--data: {path} is damaged: {error}") from None
    except ValueError as error:
        raise ValueError(f"--data: {path} holds no table of numbers: {error}") from None


def _is_number(text: str) -> bool:
    """Return True if a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _place(name: str, names: list[str]) -> int:
    """Return the place of a feature among the names of columns; raise ValueError unless it has one place."""
    if names.count(name) != 1:
        what = "more than one column named" if name in names else "no column named"
        raise ValueError(f"there is {what} {name!r}, a feature of the model")
    return names.index(name)
