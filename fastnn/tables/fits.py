"""Fits of the tabular estimators: to a table in memory, or to files, which may be larger than memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_consistent_length, check_random_state

from ..estimators.parallel import count_slots, fit_all
from ..schedules import CosineLog
from ..system.progress import progress_bar
from ..system.sklearn_internals import checked_sample_weight
from ..system.validation import check_weights
from ..training.loop import Hook
from ..training.progress import ShowProgress
from .encoding.encoder import TableEncoder
from .held_out import encoded_validation, evaluate
from .members import (
    Deadline,
    StopAtCycleEnds,
    assign_folds,
    check_split_weights,
    fold_count,
    member_settings,
    training_rows,
)
from .moments import Moments
from .pilots import best_pilots, count_pilots, pilot_epochs, short_pilots_scales
from .streaming.checkpoints import checked_checkpoint, resumed_path
from .streaming.fit import StreamedFit, needed_bytes
from .streaming.parquet import ParquetRows
from .streaming.source import is_files

__all__ = ["TableFits", "fit_tabular"]

Array = NDArray[Any]
Rows = NDArray[np.int64]


def fit_tabular(
    estimator: Any, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, progress: bool, columns: Any,
    limit: int, passes: int | None, checkpoint: Any, resume: Any,
) -> None:  # fmt: skip
    """Fit a tabular estimator; the arguments are those of its `fit`, with `limit` bytes for rows of files."""
    files = None
    if isinstance(X, ParquetRows) or is_files(X):
        _check_name(y, "y", "X")
        files = X if isinstance(X, ParquetRows) else ParquetRows(X, y, sample_weight, columns)
    if X_val is not None and is_files(X_val):
        _check_name(y_val, "y_val", "X_val")
        given = columns if files is None else files.columns
        X_val, y_val, _ = _all_rows(ParquetRows(X_val, y_val, None, given), estimator._HAS_CLASSES)
    if files is not None:
        preset = estimator._preset()
        is_saved = not (checkpoint is None and resume is None)
        if is_saved or needed_bytes(files, estimator._n_networks(preset), preset.n_bins) > limit:
            saving = checked_checkpoint(checkpoint), resumed_path(resume)
            StreamedFit(estimator, files, limit, passes, *saving, progress).run(X_val, y_val)
            return
        X, y, sample_weight = _all_rows(files, estimator._HAS_CLASSES)
        target_name = files.target
    elif not (columns is None and checkpoint is None and resume is None):
        raise ValueError("columns, checkpoint and resume work only with Parquet files: pass their names as X")
    elif isinstance(y, str):
        of_frame = f"; for a dataframe, pass fit(df.drop(columns={y!r}), df[{y!r}])"
        raise ValueError(
            f"y={y!r} names a column, which works only with the name of a Parquet file as X"
            + (of_frame if y in getattr(X, "columns", ()) else "")
        )
    elif isinstance(sample_weight, str):
        raise ValueError(
            f"sample_weight={sample_weight!r} names a column, which works only with the name of a Parquet "
            "file as X"
        )
    else:
        name = getattr(y, "name", None)
        target_name = name if isinstance(name, str) else None
    estimator.target_name_ = target_name
    _fit_in_memory(estimator, X, y, sample_weight, X_val, y_val, progress, passes)


def _check_name(y: Any, argument: str, files: str) -> None:
    if not isinstance(y, str):
        raise ValueError(
            f"{argument} must be the name of a column where {files} names files, got a value of type "
            f"{type(y).__name__}"
        )


def _all_rows(files: ParquetRows, has_classes: bool) -> tuple[Any, Array, Array | None]:
    """Return the columns, targets and weights of all rows of files."""
    blocks = []
    for block in files.blocks():  # messages of these checks name the block's file and row group
        files.check_finite(block)
        if not has_classes:
            files.numbers(block)
        blocks.append(block)
    block = files.joined(blocks)
    y = files.targets(block, has_classes)
    return block.table, y, None if files.weights is None else block.weights


def _fit_in_memory(
    estimator: Any, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, progress: bool,
    passes: int | None,
) -> None:  # fmt: skip
    """Fit a tabular estimator to a table in memory."""
    begin, cpu_begin = time.perf_counter(), time.process_time()
    preset = estimator._preset()
    if passes is not None:
        preset = replace(preset, epochs=passes)
    random, n_networks = check_random_state(estimator.random_state), estimator._n_networks(preset)
    y = estimator._checked_y(y, True)
    encoder_seed, *seeds = (int(seed) for seed in random.randint(2**31 - 1, size=1 + n_networks))
    estimator.encoder_ = TableEncoder(n_bins=preset.n_bins, random_state=encoder_seed)
    table, row_weights = _encoded_table(estimator, X, y, sample_weight)
    if X_val is None:
        validation, splits = table, _folds(n_networks, *table[1:], random)
    else:
        validation = encoded_validation(estimator, X_val, y_val)
        row_weights = np.ones(len(validation[1]))
        splits = [(np.arange(len(table[1])), np.arange(len(validation[1])))] * n_networks

    settings = member_settings(estimator, preset, min(train.size for train, _ in splits))
    members = estimator._members(settings, seeds)
    recipe = preset.recipe(estimator._HAS_CLASSES)
    pilot_seeds = seeds[: count_pilots(recipe, n_networks)]
    total = preset.epochs * len(members) + pilot_epochs(preset, recipe, n_networks)
    end = None if estimator.time_limit is None else begin + float(estimator.time_limit)
    with progress_bar(total=total, unit="epoch", shown=progress, desc="fitting") as bar:
        held_out = None if X_val is None else validation
        fits = TableFits(table, held_out, settings["learning_rate"], total, end, estimator.n_jobs, bar)
        scales, n_done = None, 0
        if recipe.short_pilots:
            scales = short_pilots_scales(estimator, fits, settings, pilot_seeds, splits, validation)
        elif pilot_seeds:
            n_done, rivals = len(pilot_seeds), estimator._members(settings, pilot_seeds)
            members[:n_done], scales = best_pilots(
                estimator, fits, members[:n_done], rivals, splits, validation
            )
        if rest := members[n_done:]:
            n_heads = len(members) // n_networks
            fits.run(rest, (splits * n_heads)[n_done:], [scales] * len(rest))
    for member in members:  # the scorer holds this estimator, and is of no use after the fit
        member.scoring = "loss"
    estimator.estimators_ = members

    evaluate(estimator, validation, splits, X_val is not None, row_weights)
    estimator.fit_seconds_ = time.perf_counter() - begin
    estimator.fit_cpu_seconds_ = time.process_time() - cpu_begin


def _encoded_table(
    estimator: Any, X: Any, y: Array, sample_weight: Any
) -> tuple[tuple[Array, Array, Array], Array]:
    """Fit the encoder; return the table's features, targets and weights, and the weights without classes'."""
    Z = estimator.encoder_.fit_transform(X, y)
    estimator._adopt_columns()
    check_consistent_length(Z, y)
    weights = check_weights(checked_sample_weight(sample_weight, Z), Z.shape[0])
    has_classes = estimator._HAS_CLASSES
    estimator._begin(np.bincount(estimator._encoded_y(y)) if has_classes else Moments.of(y, weights))
    return (Z, estimator._encoded_y(y), estimator._row_weights(y, weights)), weights


def _folds(
    n_networks: int, targets: Array, weights: Array, random: np.random.RandomState
) -> list[tuple[Rows, Rows]]:
    """Return training rows and validation rows of every network."""
    n_folds = fold_count(n_networks, len(targets))
    folds = assign_folds(len(targets), n_folds, targets if targets.dtype.kind == "i" else None, random)
    splits = [training_rows(folds, k % n_folds) for k in range(n_networks)]
    for train, val in splits:
        check_split_weights(weights, train, val)
    return splits


class TableFits:
    """Fits of networks to an encoded table, in groups that run side by side.

    Parameters
    ----------
    table : tuple of three arrays
        Features (n, n_features), encoded targets (n,) and weights (n,).
    held_out : tuple of three arrays, optional
        Validation data of all networks in the same form; None for networks that set aside rows of the table.
    schedule : CosineLog
        Schedule of the fits.
    n_passes : int
        Number of epochs of all fits in all groups.
    end : float, optional
        Time, by ``time.perf_counter``, at which all fits should have ended.
    n_jobs : int, optional
        Number of threads, by default the number of cores.
    bar : progress bar
        Bar that counts the epochs of all networks.
    """

    def __init__(
        self, table: tuple[Array, ...], held_out: tuple[Array, ...] | None, schedule: CosineLog,
        n_passes: int, end: float | None, n_jobs: int | None, bar: Any,
    ) -> None:  # fmt: skip
        self._table, self._held_out, self._schedule = table, held_out, schedule
        self._n_left, self._end, self._n_jobs, self._bar = n_passes, end, n_jobs, bar

    def run(
        self, members: Sequence[Any], splits: Sequence[tuple[Rows, Rows]], scales: Sequence[Array | None]
    ) -> None:
        """Fit a group of networks in place.

        Parameters
        ----------
        members : sequence of MLPClassifier or MLPRegressor
            Networks, which take the features unscaled after the fit.
        splits : sequence of two arrays of int
            Training rows and validation rows of every network.
        scales : sequence of array (n_features,) or None
            Factors of the features during the fit of every network; None for features as they are.
        """
        n_passes = sum(int(member.max_iter) for member in members)
        seconds = None
        if self._end is not None:
            left = max(0.0, self._end - time.perf_counter()) * n_passes / self._n_left
            seconds = left / -(-len(members) // count_slots(self._n_jobs))
        self._n_left -= n_passes
        fit_all(
            fit_member, members, list(zip(splits, scales, strict=True)),
            (seconds, self._schedule, self._held_out is None, *self._table, *(self._held_out or ())),
            self._n_jobs, here={"bar": self._bar},
            arrived=lambda k: self._bar.update(int(members[k].max_iter)),
        )  # fmt: skip


def fit_member(
    member: Any, split: tuple[Rows, Rows], scales: Array | None, seconds: float | None, schedule: CosineLog,
    is_folded: bool, *tables: Array, stopped: Callable[[], bool], bar: Any = None,
) -> None:  # fmt: skip
    """Fit a network of a tabular estimator; it holds a copy of its rows only while its fit runs.

    Parameters
    ----------
    member : MLPClassifier or MLPRegressor
        Network.
    split, scales
        Training rows and validation rows, and factors of the features, as for `TableFits.run`.
    seconds : float, optional
        Largest time of the fit.
    schedule : CosineLog
        Schedule of the fit.
    is_folded : bool
        True if the validation rows are rows of the table.
    *tables : array
        Features, targets and weights of the table, and those of other validation data.
    stopped : callable
        Function that returns True if the fit must end.
    bar : progress bar, optional
        Bar that counts the epochs of all networks.
    """
    train, val = split
    if is_folded:
        own = [one[train] for one in tables], [one[val] for one in tables]
    else:
        own = list(tables[:3]), list(tables[3:])
    if scales is not None:
        for data in own:
            data[0] = data[0] * scales
    (X, y, weights), (X_val, y_val, weights_val) = own
    hooks: list[Hook] = [StopAtCycleEnds(member, schedule)]
    # A fit may consist of several training runs.
    shown = None if bar is None else ShowProgress(bar, lambda _: member.n_iter_)
    if shown is not None:
        hooks.append(shown)
    if seconds is not None:
        hooks.append(Deadline(seconds))
    member._fit(
        X, y, weights, X_val, y_val, knows_classes=True, stopped=stopped, hooks=hooks,
        weights_val=weights_val,
    )  # fmt: skip
    if shown is not None:
        shown.show(int(member.max_iter))  # a fit that ended early has no more epochs to do
    if scales is not None:  # the network takes the features without them
        first, *others = member.coefs_
        member.coefs_ = [scales[:, np.newaxis] * first, *others]
