"""Command ``fastnn train``: fit networks to a table, and write the model, its scores and a report."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from pandas import Series

from ... import __version__
from ...system.files import atomic_path, check_file_name, check_folder, check_replaceable
from ...system.memory import parse_size
from ...system.messages import escape_controls, join_names, pluralize
from ...system.printing import print
from ..encoding.categories import to_text
from ..encoding.encoder import TableEncoder
from ..estimators import TabularClassifier, TabularRegressor
from ..fits import check_size
from ..options import TrainTableOptions
from ..parquet import Source, is_parquet
from ..presets import PRESETS
from ..report.page import EvaluatedFit, make_report_page
from .evaluated_fit import fit_and_evaluate
from .matching import check_known, convert_column, find_text, find_text_columns
from .reading import Columns, ReadTable, read_table, resolve_names
from .rows import Problem, are_numbers, check_any, check_classes, make_problem, parse_rows
from .scores import format_scores, to_json

# Files that a training writes.
MODEL, SCORES, REPORT = "model.fastnn", "metrics.json", "report.html"


def train_table(options: TrainTableOptions) -> int:
    """Fit, evaluate, print and write; return the exit status."""
    begin = time.perf_counter()
    check_file_name(options.out, "--out")
    paths = [options.out / name for name in (MODEL, SCORES, REPORT)]
    _check_folder(options.out, paths)
    if options.memory_limit is not None:
        parse_size(options.memory_limit, "--memory-limit")
    if is_parquet(options.table):
        _check_size(options)
    codes = {text: () for name in options.categories for text in (name, name.strip())}
    columns = Columns(text=codes, target=options.target, task=options.task, drop=options.drop)
    read = read_table(options.table, options, columns, options.rows, options.seed)
    _convert_columns(read, options)
    problem = make_problem(read, options.target, options.task, options.drop, options.weights, options.groups)
    reading = None if read.reading is None else read.reading.to_record()
    valid = None
    if options.valid is not None:
        texts = find_text_columns(problem.frame)
        if problem.task == "classification" and not are_numbers(problem.target.unique()):
            texts += find_text_columns(problem.target.to_frame())
        columns = Columns(
            text=dict.fromkeys(texts, ()),
            kept=list(problem.frame.columns),
            target=options.target,
            task=problem.task,
        )
        table = read_table(options.valid, options.follow(reading), columns)
        valid = _match_validation(table, problem, options)
    estimator = _make_estimator(problem, options)
    if paths[0].exists():
        print(f"note: the model in {options.out} will be replaced: name another --out to keep it")
    _print_table(read, problem)
    is_kept = False

    def keep(model: TabularClassifier | TabularRegressor) -> None:
        """Write the model, and remove the scores and the report of an earlier one."""
        nonlocal is_kept
        options.out.mkdir(parents=True, exist_ok=True)
        if reading is not None:
            model.reading_ = reading
        model.save(paths[0], training=options.keep_training)
        is_kept = True
        for path in paths[1:]:
            path.unlink(missing_ok=True)

    try:
        result = fit_and_evaluate(estimator, problem, valid, options, sys.stderr.isatty(), keep)
        _write_results(read, result, options, paths)
    finally:
        if is_kept and sys.exception() is not None:
            print(f"{paths[0]} is complete; {SCORES} or {REPORT} is missing", file=sys.stderr)
    print(f"\nwrote {', '.join(map(str, paths))} in {time.perf_counter() - begin:.1f} s")
    return 0


def _convert_columns(read: ReadTable, options: TrainTableOptions) -> None:
    """Convert the columns of --categories and --numbers in place; ValueError for one with another purpose."""
    others = {options.target, options.weights, options.groups, *read.unread}
    for option, given in (("--categories", options.categories), ("--numbers", options.numbers)):
        names = resolve_names(given, read.frame.columns)
        check_known(names, [*read.frame.columns, *read.unread], read.name, option)
        for name in names:
            if name in others:
                raise ValueError(f"{option}: {name!r} has another purpose: leave it out there")
            column = read.frame[name]
            if option == "--numbers":
                read.frame[name] = convert_column(column, "number", read, ())
            else:
                read.frame[name] = pandas.Categorical([to_text(value) for value in column])
        others |= set(names)


def _check_size(options: TrainTableOptions) -> None:
    source = Source.open(options.table)
    left_out = {options.target, options.weights, options.groups, *resolve_names(options.drop, source.columns)}
    check_size(
        source,
        [name for name in source.columns if name not in left_out],
        options.rows,
        options.networks or PRESETS[options.preset].n_estimators,
        options.jobs,
        options.memory_limit,
        ("--rows ", "--memory-limit"),
    )


def _write_results(
    read: ReadTable, result: EvaluatedFit, options: TrainTableOptions, paths: list[Path]
) -> None:
    _print_scores(result)
    metrics = _collect_metrics(read, result, options)
    text = json.dumps(metrics, indent=2, allow_nan=False, ensure_ascii=False)
    # A table's name that is not UTF-8 holds lone surrogates: write them as JSON's escapes.
    with atomic_path(paths[1]) as draft:
        draft.write_text(text + "\n", "utf-8", "backslashreplace")
    notes = read.notes + result.problem.notes + result.remarks
    if options.weights is not None:
        notes.append(f"scores are weighted by {options.weights!r}; the tables count rows")
    page = make_report_page(result, metrics, notes, str(paths[0]))
    with atomic_path(paths[2]) as draft:
        draft.write_text(page, "utf-8", "backslashreplace")


def _check_folder(folder: Path, paths: list[Path]) -> None:
    """Raise ValueError unless the results can be written to a folder, which is made with its parents."""
    if os.path.lexists(folder) and not folder.is_dir():
        kind = "a file" if folder.exists() else "a link to nothing"
        raise ValueError(f"--out: {folder} is {kind}, not a folder")
    missing = folder
    while not os.path.lexists(missing.parent):
        missing = missing.parent
    check_folder(paths[0] if folder.is_dir() else missing, "--out")
    for path in paths:
        check_replaceable(path, "--out", "a result's file")


def _make_estimator(problem: Problem, options: TrainTableOptions) -> TabularClassifier | TabularRegressor:
    settings = {
        "n_estimators": options.networks,
        "preset": options.preset,
        "time_limit": options.time_limit,
        "n_jobs": options.jobs,
        "random_state": options.seed,
    }
    if problem.task == "classification":
        if options.quantiles:
            has_text = find_text(problem.target).any()
            remedy = "leave --quantiles out" if has_text else "pass --task regression"
            raise ValueError(f"--quantiles works only with numbers, but the target holds classes: {remedy}")
        weight = "balanced" if options.balanced else None
        return TabularClassifier(class_weight=weight, **settings)
    if options.balanced:
        raise ValueError("--balanced works only with classes, but the target holds numbers")
    return TabularRegressor(quantiles=options.quantiles, **settings)


def _match_validation(read: ReadTable, problem: Problem, options: TrainTableOptions) -> Problem:
    target = options.target
    check_known([target, *problem.frame.columns], list(read.frame.columns), read.name, "--valid")
    kinds = {"i": "number", "u": "number", "f": "number", "m": "number", "M": "date"}
    for name, column in problem.frame.items():
        kind = kinds.get(column.dtype.kind, "category")
        convert_column(read.frame[name], kind, read, options.date_format)  # raises for another kind
    valid = parse_rows(read, target, problem.task, options.weights, list(problem.frame.columns), None)
    check_any(len(valid.target), valid.weights, read.name, target, options.weights)
    if problem.task == "classification":
        classes = np.unique(problem.target.to_numpy())
        valid.target = Series(check_classes(valid.target.to_numpy(), classes, read, target), name=target)
    problem.notes += [f"{read.name}: {note}" for note in (*read.notes, *valid.notes)]
    return valid


def _print_table(read: ReadTable, problem: Problem) -> None:
    columns = TableEncoder(text="target").fit(problem.frame).columns_
    n_columns = len(read.frame.columns) + len(read.unread)
    print(f"{read.name}: {pluralize(len(read.frame), 'row')}, {pluralize(n_columns, 'column')}")
    used = [record for record in columns if record["features"]]
    plural = {"number": "numbers", "boolean": "booleans", "date": "dates", "category": "categories"}
    for kind, title in plural.items():
        records = [record for record in used if record["kind"] == kind]
        if records:
            n_missing = sum(record["missing"] for record in records)
            missing = f" ({pluralize(n_missing, 'missing value')})" if n_missing else ""
            names_listed = join_names((record["name"] for record in records), quoted=False)
            print(f"  {title:<13} {len(records):>4}   {names_listed}{missing}")
    for record in columns:
        if not record["features"]:
            reason = record["treatment"].removeprefix("left out: ")
            print(f"  {'left out':<13}        {escape_controls(record['name'])}: {reason}")
    for note in (*read.notes, *problem.notes):
        print(f"  note: {note}")
    y = problem.target
    name = escape_controls(str(y.name))
    if problem.task == "classification":
        classes, counts = np.unique(y.to_numpy(), return_counts=True)
        order = np.argsort(-counts, kind="stable")[:6]
        shares = ", ".join(f"{escape_controls(str(classes[k]))} {counts[k] / len(y):.1%}" for k in order)
        print(f"target {name}: {len(classes)} classes, {shares}{' ...' if len(classes) > 6 else ''}")
    else:
        print(f"target {name}: numbers from {y.min():,.6g} to {y.max():,.6g}, mean {y.mean():,.6g}")
    sys.stdout.flush()


def _print_scores(result: EvaluatedFit) -> None:
    print(f"\n{format_scores(result.scores, result.margins)}\n(evaluated {result.how})")
    for remark in result.remarks:
        print(f"  note: {remark}")
    order = result.model.importances_.argsort()[::-1]
    best = [
        escape_controls(result.model.columns_[k]["name"])
        for k in order[:5]
        if result.model.importances_[k] > 0
    ]
    if best:
        print(f"most important columns: {', '.join(best)}")


def _collect_metrics(read: ReadTable, result: EvaluatedFit, options: TrainTableOptions) -> dict[str, Any]:
    model = result.model
    return to_json(
        {
            "version": __version__,
            "table": read.name,
            "rows": len(result.problem.frame),
            "target": options.target,
            "task": result.problem.task,
            "classes": None if result.classes is None else result.classes.tolist(),
            "evaluated": result.how,
            "scores": {name.replace(" ", "_"): scores for name, scores in result.scores.items()},
            "margins": result.margins,
            "preset": options.preset,
            "seed": options.seed,
            "networks": len(model.estimators_),
            "layers": list(model.estimators_[0].model_.layers_dim),
            "passes": [member.n_iter_ for member in model.estimators_],
            "fit_seconds": round(model.fit_seconds_, 3),
            "fit_cpu_seconds": round(model.fit_cpu_seconds_, 3),
            "columns": [
                record | {"importance": importance}
                for record, importance in zip(model.columns_, model.importances_, strict=True)
            ],
        }
    )
