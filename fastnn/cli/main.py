"""Entry point of the command ``fastnn``."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from .. import __version__

# Modules of the subcommands, with their summaries.
COMMANDS = {
    "moons": "train a network on two interleaved half circles and draw its decision boundary",
    "compile": "compile the kernels before their first use, for instance in a container image",
    "export": "translate a saved model to ONNX, C, scikit-learn or PyTorch",
    "info": "describe a saved model",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command ``fastnn``, and return its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments of the command; by default the arguments of the process.

    Returns
    -------
    int
        0 for success, 1 for an error, 130 for an interrupt.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser(arguments).parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ImportError, ValueError, OSError, MemoryError, RuntimeError) as error:
        print(f"fastnn: {error}", file=sys.stderr)
        return 1


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of the command, with the subcommands that are named among its arguments.

    The modules of the others are not imported: ``fastnn --help`` needs neither NumPy nor numba.
    """
    parser = argparse.ArgumentParser(
        prog="fastnn", description="Small neural networks, trained on the CPU at the speed of the hardware."
    )
    parser.add_argument("--version", action="version", version=f"fastnn {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    for name, summary in COMMANDS.items():
        if name in arguments:
            importlib.import_module(f".{name}", __package__).add_command(commands, summary)
        else:
            commands.add_parser(name, help=summary)
    return parser
