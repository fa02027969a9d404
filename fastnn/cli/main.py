"""Entry point of the command ``fastnn``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__
from . import compile, export, info, moons


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
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ImportError, ValueError, OSError, MemoryError, RuntimeError) as error:
        print(f"fastnn: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command, with all subcommands."""
    parser = argparse.ArgumentParser(
        prog="fastnn", description="Small neural networks, trained on the CPU at the speed of the hardware."
    )
    parser.add_argument("--version", action="version", version=f"fastnn {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    for command in (moons, compile, export, info):
        command.add_command(commands)
    return parser
