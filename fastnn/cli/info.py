"""Print the kind of a saved model, its network, parameters and training, and the version that wrote it."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..system.printing import print


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", metavar="FILE", nargs="+", type=Path, help="name of a file that save() has written"
    )


def run(options: argparse.Namespace) -> int:
    from ..saving.information import info

    for k, path in enumerate(options.files):
        if k:
            print()
        print(info(path))
    return 0
