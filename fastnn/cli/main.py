"""Entry point of the command ``fastnn``."""

from __future__ import annotations

import argparse
import gc
import importlib
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from .. import __version__
from ..system.printing import escape_lines, print

# Subcommands in the order of the help, with a line about each. The module of a command is imported when the
# command is typed, so that the help appears at once.
COMMANDS = {
    "train": "fit networks to a table in a CSV or Parquet file",
    "predict": "predict the rows of a table with a saved model",
    "evaluate": "compare a saved model's predictions with the truth in a table",
    "info": "describe a saved model",
    "export": "translate a saved model to ONNX, C, scikit-learn or PyTorch",
    "playground": "open a page in the browser on which a network is changed while it learns",
    "moons": "train a network on two interleaved half circles and draw its decision boundary",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 for an error or 130 for an interrupt. Wrong usage exits with status 2."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        # The parser imports the module of the command, which may take a second. Ctrl-C must work then, too.
        options = _make_parser(arguments[0] if arguments else None).parse_args(arguments)
        return options.run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of the output has ended, as `head` does. Python would complain once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ImportError, ValueError, OSError, MemoryError, RuntimeError) as error:
        message = str(error) or type(error).__name__
        if isinstance(error, OSError) and error.strerror:  # without "[Errno 28]"
            message = error.strerror + (f": {error.filename}" if error.filename else "")
        if message == MemoryError.__name__:  # as Python raises it, without a text
            message = "out of memory: use a smaller table or network, or free memory"
        print(f"fastnn: {message}", file=sys.stderr)
        return 1


def run_process() -> NoReturn:
    """Run the command ``fastnn`` as a process of its own, and exit.

    Imports create hundreds of thousands of objects that live to the end: the garbage collector visits them
    less often than in a library, and not at all at the end, which would take a tenth of a short command.
    """
    gc.set_threshold(50_000)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # Print a file's name that is not text as its bytes, in every locale as Python does in the locale "C".
        sys.stdout.reconfigure(errors="surrogateescape")
    written = warnings.formatwarning
    warnings.formatwarning = lambda message, *place, **line: written(
        escape_lines(str(message)), *place, **line
    )
    status = main()
    gc.freeze()
    sys.exit(status)


def _make_parser(command: str | None) -> argparse.ArgumentParser:
    """Return the parser of the command, with the arguments of the named subcommand alone."""
    parser = argparse.ArgumentParser(
        prog="fastnn", description="Small neural networks, trained on the CPU at the speed of the hardware."
    )
    parser.add_argument("--version", action="version", version=f"fastnn {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    for name, summary in COMMANDS.items():
        subparser = commands.add_parser(name, help=summary)
        if name == command:
            module = importlib.import_module(f".{name}", __package__)
            subparser.description = module.__doc__
            subparser.set_defaults(run=module.run)
            module.add_arguments(subparser)
    return parser
