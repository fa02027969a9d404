"""The subcommand ``fastnn info``: describe saved models."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..system.printing import print
from .arguments import Commands


def add_command(commands: Commands, summary: str) -> None:
    """Add the subcommand, with a summary in one line, to the subparsers of ``fastnn``."""
    parser = commands.add_parser(
        "info",
        help=summary,
        description="Print the kind of a saved model, its network, the number of parameters, its training "
        "and the version that wrote it.",
    )
    parser.add_argument(
        "files", metavar="FILE", nargs="+", type=Path, help="name of a file that save() has written"
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Print the descriptions; return the exit status."""
    from ..saving.information import info

    for k, path in enumerate(options.files):
        if k:
            print()
        print(info(path))
    return 0
