"""The subcommand ``fastnn info``: describe saved models without loading them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..system.printing import print

__all__ = ["add_command"]


def add_command(commands: Any, summary: str) -> None:
    """Add the subcommand, with a summary in one line, to the subparsers of ``fastnn``."""
    parser = commands.add_parser(
        "info",
        help=summary,
        description="Print the kind of a saved model, its network, the number of parameters, its training "
        "and the version that wrote it. Only the header of the file is read.",
    )
    parser.add_argument(
        "files", metavar="FILE", nargs="+", type=Path, help="name of a file that save() has written"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="read the data too, and compare their checksum with the stated one",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Print the descriptions; return the exit status."""
    from ..saving.information import info

    for k, path in enumerate(options.files):
        if k:
            print()
        print(info(path, check=options.check))
    return 0
