"""Training on Parquet files larger than memory: a sample that decides about columns and task, and the fit."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.random import sample_without_replacement

from ...system.extras import import_extra
from ...system.messages import counted
from ...system.sizes import parse_size
from ..base import MIN_MEMORY
from ..presets import PRESETS
from ..streaming.fit import needed_bytes
from ..streaming.parquet import Block, ParquetRows
from ..streaming.source import opened_dataset, shown_source
from .columns import check_known
from .evaluation import BY_VALIDATION, N_FOLDS, OUT_OF_FOLD, OWN, Evaluation, remarks_on, score_validation
from .problem import Problem, check_classes, posed_rows
from .reading import INDEX, ReadTable, finished_table, given_names, is_parquet
from .scores import baselines, folds_of, networks_work, scores_of

__all__ = ["LargeFiles", "large_files", "streamed_fit"]

# Number of rows that decide about columns and task, and to which the linear model is fitted.
N_SAMPLED = 20_000


@dataclass
class LargeFiles:
    """Files to stream."""

    files: ParquetRows  # rows with a target
    read: ReadTable  # random rows, without columns that are left out
    n_columns: int  # of the files


def large_files(options: argparse.Namespace, checkpoint: Path) -> LargeFiles | None:
    """Return the files of the command if they are Parquet files to be streamed, else None.

    Raises
    ------
    FileNotFoundError
        If the command should resume from the checkpoint, and there is none.
    ValueError
        If a column does not exist, or an option does not go with files that are streamed.
    """
    limit = parse_size(options.memory_limit, "--memory-limit", MIN_MEMORY)
    if not is_parquet(options.table):
        if options.resume:
            raise ValueError("--resume: only Parquet files are trained on with a checkpoint")
        return None
    if options.resume and not checkpoint.exists():
        raise FileNotFoundError(
            f"--resume: there is no checkpoint {checkpoint}: leave out --resume to begin the training"
        )
    name, source = shown_source(options.table), str(options.table)
    names = list(opened_dataset(source).schema.names)
    check_known([options.target], names, name, "--target")
    drop = given_names(options.drop, names)
    check_known(drop, names, name, "--drop")
    check_known([] if options.weights is None else [options.weights], names, name, "--weights")
    left_out = {options.target, options.weights, *drop, INDEX}
    columns = [column for column in names if column not in left_out]
    selected = functools.partial(ParquetRows, source, options.target, options.weights, skips_missing=True)
    files = selected(columns)
    preset = PRESETS[options.preset]
    n_networks = options.networks or preset.n_estimators
    if not options.resume and needed_bytes(files, n_networks, preset.n_bins) <= limit:
        return None
    for argument, value in (("--cv", options.cv), ("--date-format", options.date_format)):
        if value:
            raise ValueError(
                f"{argument} needs the whole table in memory, and {name} is streamed: leave it out, or raise "
                "--memory-limit"
            )
    count = min(N_SAMPLED, files.n_rows)
    rows = np.sort(sample_without_replacement(files.n_rows, count, random_state=options.seed))
    pandas = import_extra("pandas", "cli", "reading a table")
    read = finished_table(pandas, ReadTable(_frame(files, files.read(rows)), name), None)
    columns = [column for column in columns if column in read.frame]  # without one that numbers the rows
    dates = [column for column in columns if read.frame[column].dtype.kind == "M"]
    return LargeFiles(selected(columns, dates=dates), read, len(names))


def _frame(files: ParquetRows, block: Block) -> Any:
    """Return a block as a pandas dataframe with the target and the weights; its index is a range."""
    frame = block.table.to_pandas()
    frame[files.target] = block.target.to_pandas()
    if files.weights is not None:
        frame[files.weights] = block.weights
    return frame


def streamed_fit(
    large: LargeFiles, problem: Problem, checkpoint: Path, options: argparse.Namespace, estimator: Any,
    valid: Problem | None, progress: bool, keep: Callable[[Any], None],
) -> Evaluation:  # fmt: skip
    """Fit an estimator to all rows of files, call `keep` with it, and evaluate it on its validation rows.

    Parameters
    ----------
    large : LargeFiles
        Files.
    problem : Problem
        Target, task and columns, of a sample of the rows.
    checkpoint : Path
        File from which an interrupted fit can resume.
    options : namespace
        Arguments of the command.
    estimator : TabularClassifier or TabularRegressor
        Estimator to fit.
    valid : Problem or None
        Validation rows; None sets rows of the files aside.
    progress : bool
        True shows bars.
    keep : callable
        Function that is called with the fitted estimator.
    """
    files, task = large.files, problem.task
    given: dict[str, Any] = {"memory_limit": options.memory_limit, "passes": options.passes}
    given |= {"checkpoint": checkpoint, "resume": checkpoint if options.resume else None}
    if valid is not None:
        given |= {"X_val": valid.frame, "y_val": valid.target}
    model = estimator.fit(files, options.target, progress=progress, **given)
    score_validation(model, valid)
    keep(model)
    classes = model.classes_ if task == "classification" else None

    def rows_of(problem: Problem) -> tuple[Any, Any, Any]:
        y = problem.target.to_numpy()
        if classes is not None:  # as the model knows them
            y = check_classes(y, classes, large.read, options.target)
        return problem.frame, y, problem.weights

    predictions = model.oof_prediction_
    if valid is not None:
        rows, test = rows_of(problem), rows_of(valid)
        truth, weights, splits = test[1], valid.weights, None
        how = BY_VALIDATION.format(counted(len(truth), "validation row"))
    else:
        order = np.argsort(model.oof_rows_)
        columns, predictions = list(problem.frame.columns), predictions[order]
        pandas = import_extra("pandas", "cli", "reading a table")
        frame = _frame(files, files.read(model.oof_rows_[order]))
        read = finished_table(pandas, ReadTable(frame, files.name), None, columns)
        rows = rows_of(posed_rows(read, options.target, task, options.weights, columns))
        _, truth, weights = rows
        splits, test = folds_of(task, truth, min(N_FOLDS, len(truth)), options.seed), None
        how = OUT_OF_FOLD.format(counted(len(truth), "random row"))
    scores = {OWN: scores_of(task, truth, predictions, classes, weights)}
    scores |= baselines(task, rows, splits, test, classes, None, networks_work(model, files.n_rows))
    remarks = remarks_on(model, truth, predictions, classes, weights)
    return Evaluation(
        model, task, rows[0], rows[1], classes, truth, predictions, scores, how, problem.notes, remarks,
        files.n_rows,
    )  # fmt: skip
