"""Common part of the tabular estimators: encoding, networks side by side, out-of-fold predictions."""

from __future__ import annotations

import copy
import numbers
import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer_names
from sklearn.utils import check_consistent_length, check_random_state

from ..estimators.documentation import DocumentationLinkMixin
from ..schedules import CosineLog
from ..system.progress import progress_bar
from ..system.sizes import parse_size
from ..system.sklearn_internals import Interval, StrOptions, checked_sample_weight
from ..system.threads import compute_parts
from ..system.validation import check_count, check_flag, check_weights
from .encoding.encoder import PreparedTable, TableEncoder
from .export import ExportableTabular
from .fits import MemberScorer, TableFits
from .importances import Report
from .members import (
    assign_folds,
    batch_size,
    check_judging_weights,
    check_part_weights,
    fold_count,
    training_rows,
)
from .pilots import Piloted, short_passes
from .presets import PRESETS, Preset
from .saved import SavableTabular
from .streaming.checkpoints import checked_checkpoint, resumed_path
from .streaming.fit import StreamedFit, needed_bytes
from .streaming.parquet import ParquetRows
from .streaming.source import is_files

__all__ = ["Tabular"]

Array = NDArray[Any]

# Number of networks by which it is found whether columns should be scaled by their importance.
N_PILOTS = 2
# Memory for rows of files unless the user gives a limit, and the least limit.
MEMORY_LIMIT, LEAST_MEMORY = "1GiB", 64 << 20


class Tabular(DocumentationLinkMixin, Piloted, Report, ExportableTabular, SavableTabular, BaseEstimator):
    """Base class of `TabularClassifier` and `TabularRegressor`."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_estimators": [Interval(numbers.Integral, 1, None, closed="left"), None],
        "preset": [StrOptions(set(PRESETS))],
        "scoring": [StrOptions({*get_scorer_names(), "loss"}), callable, None],
        "time_limit": [Interval(numbers.Real, 0, None, closed="neither"), None],
        "n_jobs": [numbers.Integral, None],
        "random_state": ["random_state"],
    }
    # True for copies that score encoded rows, such as a single network during its fit.
    _takes_encoded: bool = False

    encoder_: TableEncoder
    estimators_: list[Any]
    oof_rows_: NDArray[np.int64]
    oof_prediction_: Array
    target_name_: str | None

    # --- methods of the subclasses ----------------------------------------------------------------

    @abstractmethod
    def _begin(self, y: Array, weights: Array) -> None:
        """Set the attributes that are derived from the training targets y."""

    @abstractmethod
    def _begin_streamed(self, summary: Any) -> Array | None:
        """Set the attributes derived from the targets, by the counts of classes or the moments of numbers.

        Returns the weights of the classes (n_classes,), or None if all have the weight 1.
        """

    @abstractmethod
    def _checked_y(self, y: Any, begins: bool) -> Array:
        """Return checked targets (n,); `begins` is False for validation data."""

    @abstractmethod
    def _encoded_y(self, y: Array) -> Array:
        """Return checked targets as class numbers, or as standardised numbers."""

    @abstractmethod
    def _decoded_y(self, y: Array) -> Array:
        """Return the targets for the result of `_encoded_y`."""

    @abstractmethod
    def _members(self, settings: dict[str, Any], seeds: Sequence[int]) -> list[Any]:
        """Return the networks to fit: `len(seeds)` for each prediction that the estimator makes."""

    @abstractmethod
    def _calibrate(self, scores: Array, rows: NDArray[np.int64], y: Array, weights: Array) -> None:
        """Calibrate on scores (heads, n, k) of rows that the networks were not trained on; set the score."""

    @abstractmethod
    def _losses(self, scores: Array, y: Array) -> Array:
        """Return the losses (n,) for scores (n, k) of one network and encoded targets."""

    @abstractmethod
    def _row_weights(self, y: Array, weights: Array) -> Array:
        """Return the weights of the rows, multiplied by the weights of their classes."""

    # --- fitting -----------------------------------------------------------------------------------

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None,
        progress: bool = False, *, columns: Any = None, memory_limit: Any = MEMORY_LIMIT,
        passes: int | None = None, checkpoint: Any = None, resume: Any = None,
    ) -> Any:  # fmt: skip
        """Encode the table, and fit the networks.

        Parameters
        ----------
        X : dataframe or array-like (n_samples, n_columns), or files
            Table of numbers, truth values, dates, categories and text, with gaps: pandas, Polars, PyArrow and
            other dataframes, or an array. Or Parquet files: a path, a list of paths, a folder, or a
            ``pyarrow.dataset.Dataset``, which may be larger than memory (see Notes).
        y : array-like (n_samples,), or str
            Classes or numbers. For files, the name of their column.
        sample_weight : array-like (n_samples,), or str, optional
            Weights of the rows, not below 0. For files, the name of their column.
        X_val, y_val : dataframe or array-like, optional
            Validation data. By default every network sets aside a part of the rows of its own. They may also
            be files and the name of a column, which are read as a whole; if `X` names files too, the columns
            are found by name.
        progress : bool, default False
            Show a bar of the passes of all networks, or of the rows of streamed files, by tqdm.
        columns : sequence of str, optional
            Columns of the files to predict from, by default all others than `y` and `sample_weight`.
        memory_limit : int or str, default "1GiB"
            Memory for the rows of files: bytes, or a size such as "512MiB" or "4GB". Files that would take
            more are streamed.
        passes : int, optional
            Largest number of passes over the rows, by default as the preset says. The default for streamed
            files is lower if more rows would be read than by the preset's passes over a million rows.
        checkpoint : path or Checkpoint, optional
            File to which a fit to files is saved from time to time, and after Ctrl-C; an object `Checkpoint`
            says how often. With a checkpoint, files are always streamed.
        resume : path or Checkpoint, optional
            Checkpoint from which the fit goes on, with the same arguments and files. If a `Checkpoint`
            object's file does not exist yet, the fit begins.

        Returns
        -------
        TabularClassifier or TabularRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            If the table, the targets, the weights or a parameter are invalid, or all targets are equal.
        FileNotFoundError
            If a file does not exist.
        KeyboardInterrupt
            Within a fraction of a second after Ctrl-C. A streamed fit then leaves the estimator fitted with
            the best networks so far.

        Notes
        -----
        After any other error, and where an interrupted fit has no networks yet, the estimator is as it was
        before the call: an earlier fit is kept.

        Files are read and fitted as any table if reading, encoding and fitting them takes at most
        `memory_limit`. The estimate counts 8 bytes for each value, and 4 bytes for each feature, once and for
        every network. Other files are streamed: one pass checks them and keeps a random sample, to which the
        encoder is fitted, and validation rows, others for every network. Then buffers of rows from
        several row groups in a random order are filled by one thread while the networks are trained on
        another buffer. What is kept of the rows takes about `memory_limit`, beyond the memory of Python and
        its libraries. Where all rows of a kind lie together and row groups are few, shuffle the rows before
        writing the file.

        The result of a streamed fit depends on the files, the arguments and `random_state` alone, and a fit
        that was resumed equals one that was not interrupted, bit for bit. The networks are judged as often as
        in a fit in memory, at equal distances. `columns_` counts the gaps of all rows; other figures of the
        columns are those of the sample.
        """
        self._validate_params()
        check_flag(progress, "progress")
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val go together: pass both, or neither")
        if passes is not None:
            passes = check_count(passes, "passes", 1)
        limit = parse_size(memory_limit, "memory_limit", LEAST_MEMORY)
        before = self.__dict__.copy()
        for name in ("estimators_", "fit_cpu_seconds_", "_stream"):
            self.__dict__.pop(name, None)
        try:
            self._fit(X, y, sample_weight, X_val, y_val, progress, columns, limit, passes, checkpoint, resume)
        except BaseException:
            # A fit sets its processor time last: a streamed fit does so after Ctrl-C too.
            if "fit_cpu_seconds_" not in self.__dict__:
                self.__dict__ = before
            raise
        return self

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, progress: bool, columns: Any,
        limit: int, passes: int | None, checkpoint: Any, resume: Any,
    ) -> None:  # fmt: skip
        """Fit to a table or to files, with checked arguments."""
        files = None
        if isinstance(X, ParquetRows) or is_files(X):
            _check_name(y, "y", "X")
            files = X if isinstance(X, ParquetRows) else ParquetRows(X, y, sample_weight, columns)
        if X_val is not None and is_files(X_val):
            _check_name(y_val, "y_val", "X_val")
            given = columns if files is None else files.columns
            X_val, y_val, _ = self._read(ParquetRows(X_val, y_val, None, given))
        if files is not None:
            preset = self._preset()
            is_saved = not (checkpoint is None and resume is None)
            if is_saved or needed_bytes(files, self._n_networks(preset), preset.n_bins) > limit:
                saving = checked_checkpoint(checkpoint), resumed_path(resume)
                StreamedFit(self, files, limit, passes, *saving, progress).run(X_val, y_val)
                return
            X, y, sample_weight = self._read(files)
            target_name = files.target
        elif not (columns is None and checkpoint is None and resume is None):
            raise ValueError("columns, checkpoint and resume are for Parquet files: pass their names as X")
        elif isinstance(y, str):
            of_frame = f"; for a dataframe, pass fit(df.drop(columns={y!r}), df[{y!r}])"
            raise ValueError(
                f"y is the name {y!r}, which needs the name of a Parquet file as X"
                + (of_frame if y in getattr(X, "columns", ()) else "")
            )
        elif isinstance(sample_weight, str):
            raise ValueError(
                f"sample_weight is the name {sample_weight!r}, which needs the name of a Parquet file as X"
            )
        else:
            name = getattr(y, "name", None)
            target_name = name if isinstance(name, str) else None
        self.target_name_ = target_name
        self._fit_in_memory(X, y, sample_weight, X_val, y_val, progress, passes)

    def _read(self, files: ParquetRows) -> tuple[Any, Array, Array | None]:
        """Return the columns, targets and weights of all rows of files."""
        blocks = []
        for block in files.blocks():  # messages of these checks name the block's file and row group
            files.check_finite(block)
            if not self._HAS_CLASSES:
                files.numbers(block)
            blocks.append(block)
        block = files.joined(blocks)
        if self._HAS_CLASSES:
            values, places = files.classes(block)
            y = values[places]
        else:
            y = files.numbers(block)
        return block.table, y, None if files.weights is None else block.weights

    def _preset(self) -> Preset:
        """Return the settings of the networks."""
        return PRESETS[self.preset]

    def _fit_in_memory(
        self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, progress: bool, passes: int | None
    ) -> None:
        """Fit the networks to a table in memory."""
        begin, cpu_begin = time.perf_counter(), time.process_time()
        preset = self._preset()
        if passes is not None:
            preset = replace(preset, epochs=passes)
        random = check_random_state(self.random_state)
        y = self._checked_y(y, True)
        seeds = [int(seed) for seed in random.randint(2**31 - 1, size=1 + self._n_networks(preset))]
        self.encoder_ = TableEncoder(n_bins=preset.n_bins, random_state=seeds[0])
        Z = self.encoder_.fit_transform(X, y)
        self._adopt_columns()
        check_consistent_length(Z, y)
        weights = check_weights(checked_sample_weight(sample_weight, Z), Z.shape[0])
        self._begin(y, weights)
        targets, weights = self._encoded_y(y), self._row_weights(y, weights)
        if X_val is None:
            n_folds = fold_count(len(seeds) - 1, Z.shape[0])
            classes = targets if targets.dtype.kind == "i" else None
            folds = assign_folds(Z.shape[0], n_folds, classes, random)
            parts = [training_rows(folds, k % n_folds) for k in range(len(seeds) - 1)]
            for train, val in parts:
                check_part_weights(weights, train, val)
            held_out = None
        else:
            held_out = self._encoded_validation(X_val, y_val)
            parts = [(np.arange(Z.shape[0]), np.arange(held_out[0].shape[0]))] * (len(seeds) - 1)
        self._fit_members(preset, Z, targets, weights, parts, held_out, seeds[1:], begin, progress)
        self._judge(Z, targets, weights, parts, held_out)
        self.fit_seconds_ = time.perf_counter() - begin
        self.fit_cpu_seconds_ = time.process_time() - cpu_begin

    def _encoded_validation(self, X_val: Any, y_val: Any) -> tuple[Array, Array, Array]:
        """Return features, targets and weights of validation data."""
        try:
            Z, y_val = self._prepared(X_val).encoded(), self._checked_y(y_val, False)
            check_consistent_length(Z, y_val)
            return Z, self._encoded_y(y_val), self._row_weights(y_val, np.ones(len(y_val)))
        except ValueError as error:
            raise ValueError(f"X_val, y_val: {error}") from error

    def _n_networks(self, preset: Preset) -> int:
        """Return the number of networks."""
        return preset.n_estimators if self.n_estimators is None else int(self.n_estimators)

    def _fit_members(
        self, preset: Preset, Z: Array, targets: Array, weights: Array, parts: list[Any], held_out: Any,
        seeds: Sequence[int], begin: float, progress: bool,
    ) -> None:  # fmt: skip
        """Fit the networks, and set `estimators_`."""
        n_train = min(train.size for train, _ in parts)
        settings = self._member_settings(preset, n_train)
        members = self._members(settings, seeds)
        recipe = preset.recipe(self._HAS_CLASSES)
        n_pilots = min(N_PILOTS, len(parts)) if recipe.scales_columns or recipe.short_pilots else 0
        n_passes = short_passes(preset.epochs) if recipe.short_pilots else preset.epochs
        # Short pilots are fitted twice. Others are networks of the estimator: their rivals are more fits.
        more = (2 if recipe.short_pilots else 1) * n_pilots * n_passes
        end = None if self.time_limit is None else begin + float(self.time_limit)
        schedule = settings["learning_rate"]
        total = preset.epochs * len(members) + more
        judging = (Z, targets, weights) if held_out is None else held_out
        with progress_bar(total=total, unit="pass", shown=progress, desc="fitting") as bar:
            fits = TableFits((Z, targets, weights), held_out, schedule, total, end, self.n_jobs, bar)
            scales, n_done = None, 0
            if recipe.short_pilots:
                scales = self._short_pilots_scales(fits, settings, seeds[:n_pilots], parts, judging)
            elif n_pilots:
                rivals, n_done = self._members(settings, seeds[:n_pilots]), n_pilots
                pilots, scales = self._chosen_pilots(fits, members[:n_pilots], rivals, parts, judging)
                members[:n_pilots] = pilots
            n_heads = len(members) // len(parts)
            rest = members[n_done:]
            if rest:
                fits.run(rest, (parts * n_heads)[n_done:], [scales] * len(rest))
        for member in members:  # the scorer holds this estimator, and is of no use after the fit
            member.scoring = "loss"
        self.estimators_ = members

    def _member_settings(self, preset: Preset, n_train: int) -> dict[str, Any]:
        """Return the parameters of all networks, for `n_train` training rows."""
        recipe = preset.recipe(self._HAS_CLASSES)
        settings: dict[str, Any] = recipe.parameters() | {
            "hidden_layer_sizes": preset.hidden_layer_sizes,
            "batch_size": batch_size(n_train, recipe.batch_size),
            "max_iter": preset.epochs,
            "learning_rate": CosineLog(),
            "beta_2": 0.95,
            "alpha": 0.0,
            "tol": 0.0,
            "early_stopping": True,
            "n_iter_no_change": np.inf,
            "ties": "latest",
            "scoring": "loss",
        }
        if self.scoring not in (None, "loss"):
            settings["scoring"] = MemberScorer(self._shadow(), self.scoring)
        return settings

    def _judge(self, Z: Array, targets: Array, weights: Array, parts: list[Any], held_out: Any) -> None:
        """Calibrate and score by the rows that networks were not trained on, and estimate importances."""
        heads = self._heads()
        if held_out is not None:
            Z, targets, weights = held_out
            scores = np.stack(
                [np.mean([self._member_scores(one, Z) for one in head], axis=0) for head in heads]
            )
            self.oof_rows_ = np.arange(len(targets))
        else:
            totals = np.zeros((len(heads), len(targets), self._n_scores()))
            counts = np.zeros(len(targets))
            for h, head in enumerate(heads):
                for member, (_, val) in zip(head, parts, strict=True):
                    totals[h, val] += self._member_scores(member, Z[val])
                    counts[val] += h == 0
            self.oof_rows_ = np.flatnonzero(counts)
            scores = totals[:, self.oof_rows_] / counts[self.oof_rows_, None]
        check_judging_weights(weights[self.oof_rows_])
        self._oof_targets = self._decoded_y(targets[self.oof_rows_])
        self._calibrate(scores, self.oof_rows_, targets[self.oof_rows_], weights[self.oof_rows_])
        self.importances_ = self._estimated_importances(heads[0], Z, targets, parts)

    # --- predicting --------------------------------------------------------------------------------

    def _heads(self) -> list[list[Any]]:
        """Return the networks of every prediction: one list for each head."""
        return [self.estimators_]

    @abstractmethod
    def _n_scores(self) -> int:
        """Return the number of outputs of a network."""

    def _member_scores(self, member: Any, Z: Array) -> Array:
        """Return the scores (n, n_scores) of encoded rows by one network, as they are averaged."""
        return member._outputs(Z, "identity")

    def _prepared(self, X: Any) -> PreparedTable:
        """Return a table whose rows can be encoded in blocks, after the fit of the encoder."""
        try:
            return self.encoder_._prepared(X)
        except ValueError as error:
            # scikit-learn's messages name the estimator that the user called.
            raise ValueError(str(error).replace("TableEncoder", type(self).__name__)) from None

    def _scores(self, X: Any, members: Sequence[Any]) -> list[Array]:
        """Return the scores (n, n_scores) of the rows by each of the networks.

        Threads take blocks of rows: encoded rows go to all networks while they are in the processor's cache,
        and no array ever holds the whole encoded table.
        """
        if self._takes_encoded:
            return [self._member_scores(member, X) for member in members]
        table = self._prepared(X)
        scores = [np.empty((table.n_rows, self._n_scores()), np.float32) for _ in members]

        def compute(rows: slice) -> None:
            Z = np.empty((rows.stop - rows.start, table.n_features), np.float32)
            table.encode(rows, Z)
            for member, out in zip(members, scores, strict=True):
                out[rows] = self._member_scores(member, Z)

        compute_parts(compute, table.blocks())
        return scores

    def _shadow(self) -> Any:
        """Return a shallow copy that predicts encoded rows."""
        shadow = copy.copy(self)
        shadow._takes_encoded = True
        return shadow

    def __sklearn_is_fitted__(self) -> bool:
        """Return True after a fit."""
        return "estimators_" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


def _check_name(y: Any, argument: str, files: str) -> None:
    """Raise ValueError unless the targets of files are given by the name of a column."""
    if not isinstance(y, str):
        raise ValueError(
            f"{argument} must be the name of a column where {files} names files, got a value of type "
            f"{type(y).__name__}"
        )
