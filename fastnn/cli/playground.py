"""The subcommand ``fastnn playground``: a page on which a network is changed while it learns."""

from __future__ import annotations

import argparse
import functools
import importlib.util
import sys
from typing import Any

from ..system.printing import print
from .arguments import add_columns_argument, add_reading_arguments, count, path_or_url

__all__ = ["add_command"]


def add_command(commands: Any, summary: str) -> None:
    """Add the subcommand, with a summary in one line, to the subparsers of ``fastnn``."""
    parser = commands.add_parser(
        "playground",
        help=summary,
        description="Open a page in the browser on which a network is changed while it learns. The server "
        "accepts local connections only, and prints the page's address, which opens later playgrounds of the "
        "same user and port too. Ctrl-C ends it.",
        epilog="example: fastnn playground data.csv --target species",
    )
    parser.add_argument(
        "table", metavar="TABLE", nargs="?", type=path_or_url,
        help="CSV or Parquet file with at least two columns of numbers, from which the target is learned",
    )  # fmt: skip
    parser.add_argument("--target", metavar="COLUMN", help="column of the classes or numbers to learn")
    add_columns_argument(parser, "--drop", "columns to leave out")
    parser.add_argument(
        "--port", type=functools.partial(count, least=0),
        help="port of the server (default: 8800, or the next one that is free; 0: any that is free)",
    )  # fmt: skip
    parser.add_argument("--no-browser", action="store_true", help="print the address and open no browser")
    add_reading_arguments(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C; return the exit status."""
    from ..play.server import playground

    if options.table is None:
        if options.target is not None:
            raise ValueError("--target names a column of a table: name the table, fastnn playground TABLE")
        playground(port=options.port, browser=not options.no_browser)
        return 0
    if options.target is None:
        raise ValueError("--target is missing: pass the column of the table to learn, as in --target churn")
    X, y, notes = _table(options)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    playground(X, y, target=options.target, port=options.port, browser=not options.no_browser)
    return 0


def _table(options: argparse.Namespace) -> tuple[Any, Any, list[str]]:
    """Return the columns of the table, the target, and remarks; CSV files of numbers need no pandas."""
    if importlib.util.find_spec("pandas") is None:
        from ..tables.commands.plain import read_plain_table

        return read_plain_table(options.table, options, options.target, options.drop)
    from ..tables.commands.problem import posed_problem
    from ..tables.commands.reading import read_table

    read = read_table(options.table, options, target=options.target)
    problem = posed_problem(read, options.target, None, options.drop, None)
    return problem.frame, problem.target, [*read.notes, *problem.notes]
