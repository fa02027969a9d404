"""The work of ``fastnn train``: fit networks to a table, and write the model, its scores and a report."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from ...system.messages import visible
from ...system.printing import print

__all__ = ["run"]

# Files that a training writes.
MODEL, SCORES, REPORT = "model.fastnn", "metrics.json", "report.html"
# File from which an interrupted training of large files resumes; removed when the training ends.
CHECKPOINT = "checkpoint.fastnn"


def run(options: argparse.Namespace) -> int:
    """Fit, evaluate, print and write; return the exit status."""
    from ...system.files import check_file_name

    begin = time.perf_counter()
    check_file_name(options.out, "--out")
    paths = [options.out / name for name in (MODEL, SCORES, REPORT)]
    _check_folder(options.out, paths)

    from ..members import WeightlessRowsError
    from .columns import columns_of_text
    from .evaluation import evaluated_fit
    from .problem import are_numbers, posed_problem
    from .reading import read_table
    from .streaming import large_files, streamed_fit

    checkpoint = options.out / CHECKPOINT
    large = large_files(options, checkpoint)
    kind = {"target": options.target, "task": options.task}
    read = read_table(options.table, options, **kind) if large is None else large.read
    drop = options.drop if large is None else ()  # the rows of large files lack these columns
    problem = posed_problem(read, options.target, options.task, drop, options.weights, large is None)
    valid = None
    if options.valid is not None:
        texts = columns_of_text(problem.frame)
        if problem.task == "classification" and not are_numbers(problem.target.unique()):
            texts += columns_of_text(problem.target.to_frame())
        kind["task"] = problem.task
        valid = _validation(
            read_table(options.valid, options, dict.fromkeys(texts, ()), problem.frame, **kind),
            problem,
            options,
            large is None,
        )
    shape = read.frame.shape if large is None else (large.files.n_rows, large.n_columns)
    _print_read(read, problem, shape)
    estimator = _estimator(problem, options)
    shows_bars = sys.stderr.isatty()
    is_kept = False

    def keep(model: Any) -> None:
        """Write the model, and remove the scores and the report of an earlier one."""
        nonlocal is_kept
        options.out.mkdir(exist_ok=True)
        model.save(paths[0], training=options.keep_training)
        is_kept = True
        for path in paths[1:]:
            path.unlink(missing_ok=True)

    try:
        if large is None:
            given = {} if options.passes is None else {"passes": options.passes}
            result = evaluated_fit(
                estimator, problem, valid, options.cv, options.seed, shows_bars, given, keep
            )
        else:
            options.out.mkdir(exist_ok=True)
            result = streamed_fit(large, problem, checkpoint, options, estimator, valid, shows_bars, keep)
        _write_scores(read, result, options, paths)
    except WeightlessRowsError as error:
        how = f"name validation rows by --valid{' in place of --cv' if options.cv else ''}"
        raise ValueError(error.advice(how)) from None
    except KeyboardInterrupt:
        if large is None or not checkpoint.exists():
            raise
        print(
            f"interrupted: {checkpoint} holds the networks so far, for fastnn predict; the same "
            "command with --resume continues",
            file=sys.stderr,
        )
        return 130
    finally:
        if is_kept and sys.exception() is not None:
            print(f"{paths[0]} is complete; {SCORES} or {REPORT} is missing", file=sys.stderr)
    if large is not None:
        checkpoint.unlink(missing_ok=True)
    print(f"\nwrote {', '.join(map(str, paths))} in {time.perf_counter() - begin:.1f} s")
    return 0


def _write_scores(read: Any, result: Any, options: argparse.Namespace, paths: list[Path]) -> None:
    """Print the scores, and write them and the report."""
    from ...system.files import written_whole
    from ..report.page import report_page

    _print_scores(result)
    metrics = _metrics(read, result, options)
    text = json.dumps(metrics, indent=2, allow_nan=False, ensure_ascii=False)
    # A table's name that is not UTF-8 holds lone surrogates: write them as JSON's escapes.
    with written_whole(paths[1]) as draft:
        draft.write_text(text + "\n", "utf-8", "backslashreplace")
    page = report_page(_report(read, result, options, metrics))
    with written_whole(paths[2]) as draft:
        draft.write_text(page, "utf-8", "backslashreplace")


def _check_folder(folder: Path, paths: list[Path]) -> None:
    """Raise ValueError unless the results can be written to a folder, which need not exist yet."""
    from ...system.files import check_folder, check_replaceable

    if os.path.lexists(folder) and not folder.is_dir():
        kind = "a file" if folder.exists() else "a link to nothing"
        raise ValueError(f"--out: {folder} is {kind}, not a folder")
    check_folder(paths[0] if folder.is_dir() else folder, "--out")
    for path in paths:
        check_replaceable(path, "--out", "a result's file")


def _estimator(problem: Any, options: argparse.Namespace) -> Any:
    """Return the estimator of the arguments for a problem."""
    import fastnn

    from .columns import first_text

    settings = {
        "n_estimators": options.networks, "preset": options.preset, "time_limit": options.time_limit,
        "n_jobs": options.jobs, "random_state": options.seed,
    }  # fmt: skip
    if problem.task == "classification":
        if options.quantiles:
            is_text = first_text(problem.target) is not None
            remedy = "leave --quantiles out" if is_text else "pass --task regression"
            raise ValueError(f"--quantiles works only with numbers, but the target holds classes: {remedy}")
        weight = "balanced" if options.balanced else None
        return fastnn.TabularClassifier(class_weight=weight, **settings)
    if options.balanced:
        raise ValueError("--balanced works only with classes, but the target holds numbers")
    return fastnn.TabularRegressor(quantiles=options.quantiles, **settings)


def _validation(read: Any, problem: Any, options: argparse.Namespace, is_whole: bool) -> Any:
    """Return the validation rows, with the columns and classes of the training rows.

    If these are not the whole table, they may lack classes: those of the validation rows are not checked.
    """
    import numpy as np
    import pandas as pd

    from .columns import check_kinds, check_names
    from .problem import check_classes, posed_rows

    target = options.target
    check_names([target, *problem.frame.columns], read, "--valid")
    check_kinds(read, problem.frame, options.date_format)
    valid = posed_rows(read, target, problem.task, options.weights, list(problem.frame.columns))
    if problem.task == "classification" and is_whole:
        classes = np.unique(problem.target.to_numpy())
        valid.target = pd.Series(check_classes(valid.target.to_numpy(), classes, read, target), name=target)
    problem.notes += [f"{read.name}: {note}" for note in (*read.notes, *valid.notes)]
    return valid


def _print_read(read: Any, problem: Any, shape: tuple[int, int]) -> None:
    """Print rows, columns by kind, missing values, what is left out and why, and the target."""
    import numpy as np

    from ...system.messages import counted, listed
    from ..encoding.encoder import TableEncoder

    columns = TableEncoder(text="target").fit(problem.frame).columns_
    print(f"{read.name}: {counted(shape[0], 'row')}, {counted(shape[1], 'column')}")
    if len(read.frame) < shape[0]:
        print(f"the rows are streamed; what follows is of {len(read.frame):,} random rows")
    used = [record for record in columns if record["features"]]
    plural = {"number": "numbers", "boolean": "booleans", "date": "dates", "category": "categories"}
    for kind, title in plural.items():
        records = [record for record in used if record["kind"] == kind]
        if records:
            n_missing = sum(record["missing"] for record in records)
            missing = f" ({n_missing:,} missing values)" if n_missing else ""
            names_listed = listed((record["name"] for record in records), quoted=False)
            print(f"  {title:<13} {len(records):>4}   {names_listed}{missing}")
    for record in columns:
        if not record["features"]:
            reason = record["treatment"].removeprefix("left out: ")
            print(f"  {'left out':<13}        {visible(record['name'])}: {reason}")
    for note in (*read.notes, *problem.notes):
        print(f"  note: {note}")
    y = problem.target
    name = visible(str(y.name))
    if problem.task == "classification":
        classes, counts = np.unique(y.to_numpy(), return_counts=True)
        order = np.argsort(-counts, kind="stable")[:6]
        shares = ", ".join(f"{visible(str(classes[k]))} {counts[k] / len(y):.1%}" for k in order)
        print(f"target {name}: {len(classes)} classes, {shares}{' ...' if len(classes) > 6 else ''}")
    else:
        print(f"target {name}: numbers from {y.min():,.6g} to {y.max():,.6g}, mean {y.mean():,.6g}")
    sys.stdout.flush()


def _print_scores(result: Any) -> None:
    """Print the scores of the networks and of the baselines."""
    from .scores import table_of_scores

    print(f"\n{table_of_scores(result.task, result.scores)}\n(evaluated {result.how})")
    for remark in result.remarks:
        print(f"  note: {remark}")
    order = result.model.importances_.argsort()[::-1]
    best = [visible(result.model.columns_[k]["name"]) for k in order[:5] if result.model.importances_[k] > 0]
    if best:
        print(f"most important columns: {', '.join(best)}")


def _metrics(read: Any, result: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Return the content of metrics.json."""
    from ... import __version__
    from .scores import plain

    model = result.model
    return plain(
        {
            "version": __version__,
            "table": read.name,
            "rows": result.n_rows,
            "target": options.target,
            "task": result.task,
            "classes": None if result.classes is None else result.classes.tolist(),
            "evaluated": result.how,
            "scores": {name.replace(" ", "_"): scores for name, scores in result.scores.items()},
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


def _report(read: Any, result: Any, options: argparse.Namespace, metrics: dict[str, Any]) -> Any:
    """Return the content of report.html."""
    from ..report.page import ReportData
    from .scores import metrics_of

    name = options.weights
    weighted = [] if name is None else [f"scores are weighted by {name!r}; the tables count rows"]
    return ReportData(
        target=options.target, task=result.task, source=read.name, frame=result.frame, y=result.y,
        truth=result.truth, predictions=result.predictions, classes=result.classes, how=result.how,
        scores=result.scores, metrics=metrics_of(result.task, result.scores), model=result.model,
        notes=read.notes + result.notes + result.remarks + weighted,
        model_file=str(options.out / MODEL), details=metrics,
    )  # fmt: skip
