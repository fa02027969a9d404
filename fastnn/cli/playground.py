"""Open a page in the browser on which a network is changed while it learns.

The server accepts local connections only, and prints the page's address, which opens later playgrounds of the
same user and port too. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

from ..system.arguments import parse_count, parse_names, parse_path
from ..system.extras import import_extra
from ..system.printing import print
from ..tables.options import ReadOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example: fastnn playground data.csv --target species"
    parser.add_argument(
        "table",
        metavar="TABLE",
        nargs="?",
        type=parse_path,
        help="CSV or Parquet file with at least two columns of numbers, from which the target is learned",
    )
    parser.add_argument("--target", metavar="COLUMN", help="column of the classes or numbers to learn")
    parser.add_argument(
        "--drop",
        metavar="COLUMN,COLUMN",
        action="extend",
        type=parse_names,
        default=[],
        help="columns to leave out",
    )
    parser.add_argument(
        "--port",
        type=functools.partial(parse_count, least=0),
        help="port of the server (default: 8800, or the next one that is free; 0: any that is free)",
    )
    parser.add_argument(
        "--settings",
        metavar="TEXT",
        help='settings to begin with, as in the address, such as "dataset=xor&layers=4"',
    )
    parser.add_argument(
        "--export",
        metavar="FOLDER",
        type=Path,
        help="write a page that trains in the browser to a folder, which any server of files can serve",
    )
    parser.add_argument(
        "--wheel", metavar="FILE", type=Path, help="the wheel for browsers, which --export needs"
    )
    parser.add_argument(
        "--pyodide-url",
        metavar="URL",
        help="distribution of Pyodide that the exported page loads (default: its publisher's)",
    )
    parser.add_argument(
        "--with-python",
        metavar="FOLDER",
        type=Path,
        help="unpacked full distribution of Pyodide, which --export copies from: the page then loads "
        "nothing from other hosts",
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address and open no browser")
    ReadOptions.add_arguments(parser)
    parser.set_defaults(usual=vars(parser.parse_args([])))


def run(options: argparse.Namespace) -> int:
    if options.export is not None:
        return _export(options)
    if any(each is not None for each in (options.wheel, options.pyodide_url, options.with_python)):
        raise ValueError("--wheel, --pyodide-url and --with-python work only with --export: name its folder")
    from ..play.server import playground

    serving = {"port": options.port, "browser": not options.no_browser, "settings": options.settings}
    if options.table is None:
        given = {name for name, value in options.usual.items() if getattr(options, name) != value}
        if given - {"port", "no_browser", "settings"}:
            raise ValueError(
                "--target, --drop and the options of reading work only with a table: name the table, "
                "fastnn playground TABLE"
            )
        playground(**serving)
        return 0
    if options.target is None:
        raise ValueError("--target is missing: pass the column of the table to learn, as in --target churn")
    import_extra("pandas", "playground", "reading a table")
    from ..tables.commands.reading import Columns, read_table
    from ..tables.commands.rows import make_problem

    columns = Columns(target=options.target, drop=options.drop)
    read = read_table(options.table, ReadOptions.from_arguments(options), columns)
    problem = make_problem(read, options.target, None, options.drop, None)
    for note in (*read.notes, *problem.notes):
        print(f"note: {note}", file=sys.stderr)
    playground(problem.frame, problem.target, target=options.target, **serving)
    return 0


def _export(options: argparse.Namespace) -> int:
    from ..play.export import PYODIDE_URL, copy_python, export_playground

    if options.table is not None:
        raise ValueError("--export takes no table: whoever opens the page opens a table of their own")
    if options.settings is not None or options.port is not None:
        raise ValueError("--export takes no --settings or --port: put the settings into a link to the page")
    if options.wheel is None:
        raise ValueError("--wheel is missing: pass the wheel for browsers that .ci/wheels builds in a clone")
    if options.with_python is None:
        export_playground(options.export, options.wheel, options.pyodide_url or PYODIDE_URL)
    else:
        if options.pyodide_url is not None:
            raise ValueError("--with-python and --pyodide-url exclude each other: leave one")
        export_playground(options.export, options.wheel, "pyodide/")
        copy_python(options.with_python, options.export / "pyodide")
    print(f"try it: python -m http.server --directory {options.export}")
    return 0
