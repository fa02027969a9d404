"""Fits of the tabular estimators, to tables and to Parquet files."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length, check_random_state

from ..estimators.fitting import FitOptions, fit_network
from ..estimators.parallel import count_slots, fit_all
from ..schedules import CosineLog
from ..system.memory import get_free_memory, parse_size
from ..system.messages import join_names, pluralize
from ..system.progress import make_progress_bar
from ..system.sklearn_internals import check_sample_weight
from ..system.validation import Array, check_count, check_flag, check_weights, short_repr
from ..training.loop import Hook
from ..training.progress import ShowProgress
from .encoding.encoder import MAX_CATEGORIES, N_BINS, TableEncoder
from .importances import estimate_importances
from .members import (
    MIN_FOLDS,
    Deadline,
    Rows,
    StopAtCycleEnds,
    check_validation_weights,
    make_member_settings,
    make_splits,
    number_groups,
)
from .parquet import Source, draw_rows, is_files
from .pilots import N_PILOTS, choose_pilots, count_pilot_epochs, find_scales
from .presets import PRESETS

if TYPE_CHECKING:
    from pyarrow import ChunkedArray, Table
    from tqdm import tqdm

    from ..system.frames import TableLike
    from .base import Tabular
    from .members import Member


@dataclass(frozen=True)
class TableFitOptions:
    """Arguments of a tabular estimator's `fit`, checked where the record is made."""

    X: Any
    y: Any
    sample_weight: Any
    groups: Any
    X_val: Any
    y_val: Any
    progress: bool
    passes: int | None
    columns: Iterable[str] | None
    rows: int | None
    memory_limit: int | str | None

    def __post_init__(self) -> None:
        check_flag(self.progress, "progress")
        if (self.X_val is None) != (self.y_val is None):
            raise ValueError("X_val and y_val go together: pass both, or neither")
        for name in ("passes", "rows"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, check_count(value, name, 1))


def fit_tabular(estimator: Tabular, options: TableFitOptions) -> None:
    """Fit a tabular estimator to a table or to files."""
    random = check_random_state(estimator.random_state)
    target_name, groups_name = (getattr(one, "name", None) for one in (options.y, options.groups))
    drawn = None
    if is_files(options.X):
        target_name, groups_name = options.y, options.groups
        options, drawn = _read_training(estimator, options, random)
    elif not (options.columns is None and options.rows is None and options.memory_limit is None):
        raise ValueError("columns, rows and memory_limit work only with files: pass their names as X")
    else:
        for name in ("y", "sample_weight", "groups"):
            value = getattr(options, name)
            if isinstance(value, str):
                remedy = ""
                if value in getattr(options.X, "columns", ()):
                    remedy = f"; for a dataframe, pass df.drop(columns={value!r}) and df[{value!r}]"
                raise ValueError(
                    f"{name}={value!r} names a column, which works only with the name of a Parquet file as X"
                    + remedy
                )
    if options.X_val is not None and is_files(options.X_val):
        source = Source.open(options.X_val)
        columns = _choose_columns(source, options.columns, y_val=options.y_val)
        X_val, y_val, _ = _read(source, columns, options.y_val)
        options = replace(options, X_val=X_val, y_val=y_val)
    estimator.__dict__.pop("reading_", None)  # of an earlier fit, by ``fastnn train``
    estimator.target_name_ = target_name if isinstance(target_name, str) else None
    estimator.groups_name_ = groups_name if isinstance(groups_name, str) else None
    _fit_in_memory(estimator, options, random)
    if drawn is not None and options.X_val is None:
        estimator.oof_rows_ = drawn[estimator.oof_rows_]


def _read_training(
    estimator: Tabular, options: TableFitOptions, random: np.random.RandomState
) -> tuple[TableFitOptions, Rows | None]:
    """Return the options with columns in place of names of files, and the drawn rows, if any."""
    source = Source.open(options.X)
    named = {"y": options.y, "sample_weight": options.sample_weight, "groups": options.groups}
    if options.groups is None:
        del named["groups"]
    columns = _choose_columns(source, options.columns, **named)
    drawn = draw_rows(source.n_rows, options.rows, random)
    n_networks = estimator.n_estimators or PRESETS[estimator.preset].n_estimators
    check_size(source, columns, options.rows, n_networks, estimator.n_jobs, options.memory_limit)
    X, y, (weights, groups) = _read(
        source, columns, options.y, (options.sample_weight, options.groups), drawn
    )
    return replace(options, X=X, y=y, sample_weight=weights, groups=groups, columns=columns), drawn


def _choose_columns(source: Source, columns: Iterable[str] | None, **named: object) -> list[str]:
    """Return the columns to predict from, by default all that no argument in `named` names."""
    for argument, name in named.items():
        if not (isinstance(name, str) or (name is None and argument == "sample_weight")):
            raise ValueError(
                f"{argument} must be the name of a column where X names files, got a value of type "
                f"{type(name).__name__}"
            )
    others = [name for name in named.values() if name is not None]
    if columns is None:
        columns = [name for name in source.columns if name not in others]
    if isinstance(columns, str | set | frozenset) or not isinstance(columns, Iterable):
        raise ValueError(f"columns must be a list of names, got {short_repr(columns)}")
    columns = list(columns)
    for argument, name in [*named.items(), *(("columns", name) for name in columns)]:
        if name is not None and name not in source.columns:
            raise ValueError(
                f"{argument}: {source.name} has no column {name!r}; its columns are "
                f"{join_names(source.columns)}"
            )
    twice = [name for name, count in Counter([*columns, *others]).items() if count > 1]
    if twice:
        raise ValueError(f"columns, {' and '.join(named)}: {twice[0]!r} is named more than once")
    if not columns:
        raise ValueError(f"{source.name} has no column to predict {others[0]!r} from")
    return columns


def check_size(
    source: Source,
    columns: Sequence[str],
    rows: int | None,
    n_networks: int,
    n_jobs: int | None,
    limit: int | str | None,
    arguments: tuple[str, str] = ("rows=", "memory_limit"),
) -> None:
    """Raise ValueError if a fit to rows of files, by default all, takes more memory than allowed.

    The rows are read and encoded; the features are copied for the fit of a network, once more within it, and
    fits run side by side. `arguments` are how a caller passes a number of rows, and the name of its limit.
    """
    n_bytes = get_free_memory() if limit is None else parse_size(limit, arguments[1])
    n_features = source.count_max_features(columns, N_BINS, MAX_CATEGORIES)
    texts = 2 * sum(source.text_bytes.get(name, 0) for name in columns)  # pyarrow's and Python's
    row = (
        8 * len(columns)
        + texts // source.n_rows
        + 4 * n_features * (2 + min(n_networks, count_slots(n_jobs)))
    )
    n_rows = min(source.n_rows, rows or source.n_rows)
    if n_rows * row > n_bytes:
        raise ValueError(
            f"a fit to {n_rows:,} rows of {source.name} takes about {n_rows * row:,} bytes, but "
            f"{arguments[1]} is {n_bytes:,}: pass {arguments[0]}{n_bytes // row} for as many random rows, "
            "fewer columns, or a higher limit"
        )


def _read(
    source: Source, columns: list[str], y: str, others: Sequence[str | None] = (), rows: Rows | None = None
) -> tuple[Table, ChunkedArray, list[ChunkedArray | None]]:
    """Return columns, targets and other columns, if they are named, of rows of files."""
    table = source.read([*columns, y, *(name for name in others if name is not None)], rows)
    targets = table[y]
    n_missing = int(np.sum(targets.is_null(nan_is_null=True).to_numpy()))
    if n_missing:
        raise ValueError(
            f"{source.name}: the target {y!r} is missing in {pluralize(n_missing, 'row')}: leave them out, "
            f"by pyarrow.dataset.dataset(...).filter(pyarrow.dataset.field({y!r}).is_valid())"
        )
    if str(targets.type).startswith("decimal"):
        targets = targets.cast("float64" if targets.type.scale else "int64", safe=False)
    return table.select(columns), targets, [None if name is None else table[name] for name in others]


def _fit_in_memory(estimator: Tabular, options: TableFitOptions, random: np.random.RandomState) -> None:
    begin, cpu_begin = time.perf_counter(), time.process_time()
    preset = PRESETS[estimator.preset]
    if options.passes is not None:
        preset = replace(preset, epochs=options.passes)
    n_networks = int(estimator.n_estimators or preset.n_estimators)
    y = estimator._check_y(options.y, True)
    encoder_seed, *seeds = (int(seed) for seed in random.randint(2**31 - 1, size=1 + n_networks))
    estimator.encoder_ = TableEncoder(random_state=encoder_seed)
    Z = estimator.encoder_.fit_transform(options.X, y)
    check_consistent_length(Z, y)
    row_weights = check_weights(check_sample_weight(options.sample_weight, Z), len(y))
    estimator._begin(y, row_weights)
    table = Z, estimator._encode_y(y), estimator._weigh_rows(y, row_weights)
    if options.X_val is None:
        groups = None if options.groups is None else number_groups(options.groups, len(y))
        validation, splits = table, _split_folds(n_networks, *table[1:], groups, random)
    else:
        validation = _encode_validation(estimator, options.X_val, options.y_val)
        row_weights = np.ones(len(validation[1]))
        splits = [(np.arange(len(table[1])), np.arange(len(validation[1])))] * n_networks

    settings = make_member_settings(estimator, preset, min(train.size for train, _ in splits))
    members = estimator._make_members(settings, seeds)
    recipe = preset.get_recipe(estimator._HAS_CLASSES)
    pilot_seeds = [] if recipe.pilots is None else seeds[:N_PILOTS]
    total = preset.epochs * len(members) + count_pilot_epochs(preset, recipe, len(pilot_seeds))
    end = None if estimator.time_limit is None else begin + float(estimator.time_limit)
    with make_progress_bar(total=total, unit="epoch", shown=options.progress, desc="fitting") as bar:
        held_out = None if options.X_val is None else validation
        fits = TableFits(table, held_out, settings["learning_rate"], total, end, estimator.n_jobs, bar)
        scales, n_done = None, 0
        if recipe.pilots == "short":
            scales = find_scales(estimator, fits, settings, pilot_seeds, splits, validation)
        elif pilot_seeds:
            n_done, rivals = len(pilot_seeds), estimator._make_members(settings, pilot_seeds)
            members[:n_done], scales = choose_pilots(
                estimator, fits, members[:n_done], rivals, splits, validation
            )
        if rest := members[n_done:]:
            n_heads = len(members) // n_networks
            fits.run(rest, (splits * n_heads)[n_done:], [scales] * len(rest))
    # A further fit starts anew: keep neither the states of the training runs nor the scorer, which holds this
    # estimator.
    for member in members:
        member._state, member.scoring = member._state.drop_training(), "loss"
    estimator.estimators_ = members

    evaluate_held_out(estimator, validation, splits, row_weights)
    estimator.fit_seconds_ = time.perf_counter() - begin
    estimator.fit_cpu_seconds_ = time.process_time() - cpu_begin


def _encode_validation(estimator: Tabular, X_val: TableLike, y_val: ArrayLike) -> tuple[Array, Array, Array]:
    try:
        Z, y = estimator._prepare(X_val).encode_all(), estimator._check_y(y_val, False)
        check_consistent_length(Z, y)
        return Z, estimator._encode_y(y), estimator._weigh_rows(y, np.ones(len(y)))
    except ValueError as error:
        raise ValueError(f"X_val, y_val: {error}") from error


def _split_folds(
    n_networks: int, targets: Array, weights: Array, groups: Rows | None, random: np.random.RandomState
) -> list[tuple[Rows, Rows]]:
    """Return training rows and validation rows of every network, whole groups where there are some."""
    n_units = len(targets) if groups is None else int(groups.max()) + 1
    n_folds = min(max(MIN_FOLDS, n_networks), n_units)  # each network sets aside one fold
    classes = targets if targets.dtype.kind == "i" else None
    splits = make_splits(n_folds, len(targets), random, classes, groups)
    for train, val in splits[:n_networks]:
        check_validation_weights(weights[val])
        if not weights[train].any():
            raise ValueError(
                "all rows that a network is trained on have the weight 0: pass validation rows, or more rows "
                "of a weight above 0"
            )
    return [splits[k % n_folds] for k in range(n_networks)]


def evaluate_held_out(
    estimator: Tabular, table: tuple[Array, ...], splits: Sequence[tuple[Rows, Rows]], row_weights: Array
) -> None:
    """Calibrate and score by the rows that networks were not trained on, and estimate importances.

    The table has features, targets and weights; `row_weights` leave out the weights of classes.
    """
    Z, targets, weights = table
    heads = estimator._list_heads()
    totals = np.zeros((len(heads), len(targets), estimator._count_scores()))
    counts = np.zeros(len(targets))
    for h, head in enumerate(heads):
        for member, (_, val) in zip(head, splits, strict=True):
            totals[h, val] += estimator._score_rows_by(member, Z[val])
            counts[val] += h == 0
    rows = np.flatnonzero(counts)
    scores = totals[:, rows] / counts[rows, None]
    check_validation_weights(weights[rows])
    estimator.oof_rows_ = rows
    estimator._oof_targets = targets[rows]
    estimator._calibrate(scores, targets[rows], weights[rows])
    estimator._score_held_out(row_weights[rows])
    estimator.importances_ = estimate_importances(estimator, heads[0], Z, targets, splits)


@dataclass
class TableFits:
    """Fits of networks to an encoded table, in groups that run side by side."""

    table: tuple[Array, ...]  # features (n, n_features), encoded targets (n,) and weights (n,)
    held_out: tuple[Array, ...] | None  # the same of rows beside the table that validate all networks
    schedule: CosineLog
    n_left: int  # epochs of the groups that are still to be fitted, by which the time is shared out
    end: float | None  # end of the time, by ``time.perf_counter``
    n_jobs: int | None
    bar: tqdm

    def run(
        self, members: Sequence[Member], splits: Sequence[tuple[Rows, Rows]], scales: Sequence[Array | None]
    ) -> None:
        """Fit a group of networks in place, which take the features unscaled afterwards.

        For every network, `splits` has its training and validation rows, and `scales` the factors
        (n_features,) of the features during its fit; None for features as they are.
        """
        n_passes = sum(int(member.max_iter) for member in members)
        seconds = None
        if self.end is not None:
            left = max(0.0, self.end - time.perf_counter()) * n_passes / self.n_left
            seconds = left / -(-len(members) // count_slots(self.n_jobs))
        self.n_left -= n_passes
        fit_all(
            fit_member,
            list(zip(members, splits, scales, strict=True)),
            (seconds, self.schedule, self.held_out is None, *self.table, *(self.held_out or ())),
            self.n_jobs,
            here={"bar": self.bar},
            arrived=lambda k: self.bar.update(int(members[k].max_iter)),
        )


def fit_member(
    member: Member,
    split: tuple[Rows, Rows],
    scales: Array | None,
    seconds: float | None,
    schedule: CosineLog,
    is_folded: bool,
    *tables: Array,
    stopped: Callable[[], bool],
    bar: tqdm | None = None,
) -> None:
    """Fit a network of a tabular estimator; it holds a copy of its rows only while its fit runs.

    The tables are features, targets and weights, then the same of validation data unless these are rows of
    the table (`is_folded`). A fit ends after some seconds, or when `stopped` returns True.
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
        hooks.append(Deadline(time.monotonic() + seconds))
    options = FitOptions(knows_classes=True, stopped=stopped, hooks=hooks)
    fit_network(member, X, y, weights, X_val, y_val, options, weights_val)
    if shown is not None:
        shown.show(int(member.max_iter))  # a fit that ended early has no more epochs to do
    if scales is not None:  # the network takes the features without them
        first, *others = member.coefs_
        member.coefs_ = [scales[:, np.newaxis] * first, *others]
