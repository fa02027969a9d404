"""StreamedFit: fit of a tabular estimator to files larger than memory.

One pass over the files checks them, and keeps a random sample, to which the encoder is fitted, and validation
rows, others for every network. The training then reads the files once per epoch. A second thread reads and
encodes rows into a buffer while the networks are trained on the rows of another, one pass over the buffer,
as by partial fits. Buffers, rows and orders depend on the seeds and the arguments alone, so that a fit
can resume from a checkpoint with the same bits. So can the fit of one network alone: on the workers of a
joblib backend every network is a task, which reads the files for itself up to the next checkpoint.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
import numbers
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from ...estimators.fitting import FitDivergenceError, record_score
from ...estimators.holdout import validation_functions
from ...estimators.parallel import Task, chosen_workers, count_slots, fit_all, run_side_by_side
from ...saving.files import check_path
from ...saving.records import Writer
from ...schedules import CosineLog
from ...system.frames import as_table
from ...system.messages import warn
from ...system.progress import progress_bar
from ...training.checkpoint import BackgroundWriter, collected, interval
from ...training.patience import Patience
from ..encoding.encoder import MAX_CATEGORIES, TableEncoder
from ..held_out import encoded_validation, evaluate
from ..members import batch_size, check_validation_weights, fold_count, member_settings
from ..presets import Preset
from .checkpoints import check_same_settings, loaded_checkpoint
from .parquet import Block, ParquetRows
from .rows import Feed, Portion, Scan, Sizes, drawn_rows

__all__ = ["MemberRun", "StreamedFit", "needed_bytes", "streamed_epochs"]

Array = NDArray[Any]

# A streamed fit reads at most as many rows as its preset's epochs over this many rows.
ROWS_PER_EPOCH = 1 << 20
# Least number of training rows for each validation row.
MIN_TRAIN_ROWS_PER_VALIDATION_ROW = 4


def needed_bytes(files: ParquetRows, n_networks: int, n_bins: int) -> int:
    """Return an estimate of the memory that a fit to all rows at once takes.

    The table is read, encoded, and copied for every network.
    """
    n_features = files.max_features(n_bins, MAX_CATEGORIES)
    return files.n_rows * (8 * len(files.columns) + 4 * n_features * (1 + n_networks))


def streamed_epochs(epochs: int, n_rows: int) -> int:
    """Return the number of epochs on files for a preset with `epochs` epochs on smaller tables."""
    return max(1, min(epochs, round(epochs * ROWS_PER_EPOCH / n_rows)))


@dataclass
class MemberRun:
    """Training of one network, in stages: the network is validated after each."""

    member: Any  # network, fitted by partial fits
    place: int  # among the networks of its head; networks of a place have the same validation rows
    best: Any = None  # parameters and running statistics at the end of the best stage
    is_over: bool = False  # True if the network is trained no further
    best_before: float = -math.inf  # best score at the end of the schedule's last cycle
    # Losses and numbers of rows of the buffers since the last stage.
    losses: list[tuple[float, int]] = field(default_factory=list)
    is_late: bool = False  # True if a worker has ended the training because the time is over

    def copied(self) -> MemberRun:
        """Return a copy that later training does not change."""
        member = copy.copy(self.member)
        if "_state" in member.__dict__:
            member._state = member._state.copy()
        for name in ("loss_curve_", "validation_scores_", "validation_loss_curve_"):
            if getattr(member, name, None) is not None:
                setattr(member, name, list(getattr(member, name)))
        return replace(self, member=member, losses=list(self.losses))

    def finished(self) -> Any:
        """Return the network as a fit would leave it if it ended now, which shares the arrays."""
        member = copy.copy(self.member)
        if self.best is not None:
            member._state = replace(member._state, best=self.best)
        # The scorer holds the tabular estimator, and is of no use after the fit.
        member.early_stopping, member.scoring, member.best_loss_ = True, "loss", None
        member.n_iter_ = max(1, len(member.validation_scores_ or []))
        if self.losses:
            member.loss_curve_ = [*member.loss_curve_, mean_loss(self.losses)]
        return member

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set the attributes, of a network that a worker has trained."""
        vars(self).update(state)

    def described(self) -> dict[str, Any]:
        """Return the attributes that the network itself does not hold, as plain values."""
        return {
            "is_over": self.is_over,
            "best_before": self.best_before,
            "losses": [list(pair) for pair in self.losses],
        }

    @classmethod
    def restored(cls, member: Any, place: int, described: dict[str, Any], scoring: Any) -> MemberRun:
        """Return the run of a network that `finished` returned, with what `described` returned."""
        losses = [(float(loss), int(n)) for loss, n in described["losses"]]
        best, member._state.best = member._state.best, None
        member.early_stopping, member.scoring = False, scoring
        if losses:
            member.loss_curve_ = member.loss_curve_[:-1]
        return cls(member, place, best, bool(described["is_over"]), float(described["best_before"]), losses)


def mean_loss(losses: Sequence[tuple[float, int]]) -> float:
    """Return the mean of the losses of buffers, by their numbers of rows."""
    values, n_rows = zip(*losses, strict=True)
    return float(np.average(values, weights=n_rows))


class StreamedFit:
    """Fit of a tabular estimator to files.

    Parameters
    ----------
    estimator : TabularClassifier or TabularRegressor
        Estimator, fitted in place.
    files : ParquetRows
        Rows.
    limit : int
        Bytes for rows in memory.
    passes : int, optional
        Number of epochs, by default as `streamed_epochs` says.
    checkpoint : Checkpoint, optional
        File to which the fit is saved from time to time.
    resume : Path, optional
        Checkpoint to resume from.
    progress : bool
        True shows bars.
    """

    def __init__(
        self, estimator: Any, files: ParquetRows, limit: int, passes: int | None, checkpoint: Any,
        resume: Any, progress: bool,
    ) -> None:  # fmt: skip
        self.estimator, self.files, self.progress = estimator, files, progress
        self.checkpoint, self.limit = checkpoint, limit
        preset: Preset = estimator._preset()
        self.preset, self.n_networks = preset, estimator._n_networks(preset)
        self.passes = streamed_epochs(preset.epochs, files.n_rows) if passes is None else passes
        self.batch_size = batch_size(files.n_rows, preset.recipe(estimator._HAS_CLASSES).batch_size)
        self.n_folds = fold_count(self.n_networks, files.n_rows)
        self.sizes = Sizes.within(
            limit, files, files.max_features(preset.n_bins, MAX_CATEGORIES), self.n_networks, self.n_folds,
            self.batch_size,
        )  # fmt: skip
        self.resumed = None if resume is None else loaded_checkpoint(resume, type(estimator))
        self.seeds = self._drawn_seeds()
        self.n_buffers = self.passes * self.sizes.buffers_per_epoch(files)
        # The run has stages, after each of which the networks are validated. As an epoch on a table in
        # memory, a stage has several times as many rows as are validated.
        rows_per_stage = MIN_TRAIN_ROWS_PER_VALIDATION_ROW * self.sizes.n_validation
        n_stages = max(1, self.passes * files.n_rows // rows_per_stage)
        self.n_stages = min(preset.epochs, self.n_buffers, n_stages)
        self.n_done, self.is_late = 0, False
        self.writer = BackgroundWriter()
        self.settings = self._described_settings()
        if self.resumed is not None:
            before = self.resumed._stream
            check_same_settings(before["settings"], self.settings)
            if len(self.seeds) != 2 + self.n_networks or before["n_buffers"] > self.n_buffers:
                raise ValueError(f"resume: the state of the fit in {resume} does not fit its settings")

    def _drawn_seeds(self) -> list[int]:
        """Return the seeds of the encoder, of all networks, and of rows and orders."""
        state = self.estimator.random_state
        if self.resumed is not None and not isinstance(state, numbers.Integral):
            return self.resumed._stream["seeds"]
        random = check_random_state(state)
        return [int(seed) for seed in random.randint(2**31 - 1, size=2 + self.n_networks)]

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker needs: all but the networks, which are sent one by one, and the checkpoint."""
        left_out = "checkpoint", "resumed", "row_weights", "runs", "val_rows", "writer"
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def __sizeof__(self) -> int:
        """Return the bytes of the arrays: joblib's backend for Dask sends large objects to a worker once."""
        return sum(array.nbytes for array in (*self.val, self.sample_rows, *self.sample_statistics.values()))

    # --- the fit -------------------------------------------------------------------------------------

    def run(self, X_val: Any, y_val: Any) -> None:
        """Fit the estimator.

        Raises
        ------
        ValueError
            If the files, the targets or the checkpoint are unusable.
        KeyboardInterrupt
            After Ctrl-C. From the end of the first buffer on, the estimator is fitted with the best networks
            so far, and the checkpoint holds the last whole buffer. On workers, the same holds for the epochs
            up to the last checkpoint.
        """
        self.begin, self.cpu_begin = time.perf_counter(), time.process_time()
        estimator, files = self.estimator, self.files
        self.end = None if estimator.time_limit is None else self.begin + float(estimator.time_limit)
        estimator.target_name_ = files.target
        count_slots(estimator.n_jobs)  # raises ValueError: the scan of large files takes minutes
        scan = self._scanned(X_val is None)
        if scan.n_rows < 2:
            raise ValueError(
                f"{files.name} has only one row with a target: two are needed, one to train on and one to "
                "validate on"
            )
        self._prepare_targets(scan)
        self._fit_encoder(scan)
        self._hold_out(scan, X_val, y_val)
        del scan
        self.settings["the content of X, X_val or y_val"] = self._digest()
        self._create_runs()
        try:
            self._train()
            self._adopt(estimator)
        except KeyboardInterrupt:
            if self._are_fitted():
                self._adopt(estimator)
                self._save()
            raise
        finally:
            self.writer.wait()

    def _scanned(self, holds_out: bool) -> Scan:
        """Read all rows once, and keep the sample and the validation rows."""
        files, sizes = self.files, self.sizes
        random = np.random.RandomState(self.seeds[-1])
        sample = np.sort(drawn_rows(files.n_rows, min(sizes.n_sampled, files.n_rows), random))
        count = sizes.n_validation * min(self.n_networks, self.n_folds) if holds_out else 0
        # The k-th drawn row is a validation row of the networks of the group k % n_groups.
        self.val_rows = drawn_rows(files.n_rows, count, random)
        with self._bar(files.n_rows, "reading") as bar:
            return Scan(files, self.estimator._HAS_CLASSES, sample, np.sort(self.val_rows), bar)

    def _bar(self, n_rows: int, what: str, n_done: int = 0) -> Any:
        return progress_bar(
            total=n_rows, unit="row", shown=self.progress, desc=what, initial=n_done, unit_scale=True
        )

    def _fit_encoder(self, scan: Scan) -> None:
        """Fit the encoder to the sample, and keep the target statistics of its rows."""
        estimator, files, sample = self.estimator, self.files, scan.sample
        y = files.targets(sample, estimator._HAS_CLASSES)
        encoder = TableEncoder(n_bins=self.preset.n_bins, random_state=self.seeds[0])
        # A sample of one class tells nothing about categories.
        statistics = encoder._fit(sample.table, y if len(np.unique(y)) > 1 else None)[1]
        for record in encoder.columns_:
            record["missing"] = scan.missing[record["name"]]
        estimator.encoder_ = encoder
        estimator._adopt_columns()
        # The statistics of a row of the sample leave out its own target, as in `fit_transform`.
        self.sample_rows, self.sample_statistics = sample.rows, statistics

    def _prepare_targets(self, scan: Scan) -> None:
        """Set the attributes that are derived from the targets."""
        estimator = self.estimator
        if estimator._HAS_CLASSES:
            values = list(scan.counts)
            # scikit-learn warns of targets that are mostly different: pass each class twice.
            y = np.array(values * 2, object if isinstance(values[0], str) else None)
            estimator._checked_y(y, True)
            summary: Any = np.array([scan.counts[value] for value in estimator.classes_.tolist()])
        else:
            summary = scan.moments.result()
            estimator._checked_y(np.array([summary.least, summary.largest]), True)
        self.factors = estimator._begin(summary)

    def _encode(self, block: Block, out: Array) -> tuple[Array, Array]:
        """Write the features of a block into `out`, and return the encoded targets and the weights."""
        estimator, encoder = self.estimator, self.estimator.encoder_
        try:
            encoder._prepared_columns(as_table(block.table, block.first)).encoded(out)
        except ValueError as error:
            raise ValueError(f"{block.place}: {error}") from None
        sampled = block.places(self.sample_rows)
        places = np.searchsorted(self.sample_rows, block.rows[sampled])
        for k, statistics in self.sample_statistics.items():
            end = encoder._ends[k]
            out[sampled, end - statistics.shape[1] : end] = statistics[places]
        if not estimator._HAS_CLASSES:
            return estimator._encoded_y(self.files.numbers(block)), block.weights
        values, codes = self.files.classes(block)
        targets = estimator._encoded_y(values)[codes]
        return targets, block.weights if self.factors is None else block.weights * self.factors[targets]

    def _hold_out(self, scan: Scan, X_val: Any, y_val: Any) -> None:
        """Encode the validation rows."""
        estimator, n_networks, block = self.estimator, self.n_networks, scan.validation
        self.oof_rows: Any = None
        self.is_separate = X_val is not None
        if self.is_separate:
            self.val = encoded_validation(estimator, X_val, y_val)
            self.row_weights = np.ones(len(self.val[1]))
            everything = np.arange(len(self.val[1]))
            self.splits: list[Any] = [(everything, everything)] * n_networks
            return
        n_groups = min(n_networks, self.n_folds)
        groups: list[Any] = []
        if block is not None:
            Z = np.empty((len(block), estimator.encoder_._ends[-1]), np.float32)
            targets, weights = self._encode(replace(block, first=0), Z)
            places = [block.places(np.sort(self.val_rows[k::n_groups])) for k in range(n_groups)]
            order = np.concatenate(places)  # the rows of each network lie together
            self.val, self.row_weights = (Z[order], targets[order], weights[order]), block.weights[order]
            self.oof_rows = block.rows[order]
            ends = itertools.accumulate(map(len, places), initial=0)
            groups = [np.arange(first, last) for first, last in itertools.pairwise(ends)]
        if not (groups and all(group.size for group in groups)):
            raise ValueError(
                f"{self.files.name} has too few rows with a target to validate {n_networks} networks on"
            )
        for group in groups:
            check_validation_weights(self.val[2][group])
        self.splits = [(None, groups[k % n_groups]) for k in range(n_networks)]

    def _create_runs(self) -> None:
        """Create the networks, or take those of the checkpoint."""
        settings = member_settings(self.estimator, self.preset, self.files.n_rows)
        settings |= {"early_stopping": False, "max_iter": self.n_stages}
        self.schedule: CosineLog = settings["learning_rate"]
        members = self.estimator._members(settings, self.seeds[1:-1])
        self.runs = [MemberRun(member, k % self.n_networks) for k, member in enumerate(members)]
        self.seconds = self.cpu_seconds = 0.0
        if self.resumed is not None:
            before = self.resumed._stream
            check_same_settings(before["settings"], self.settings)
            self.n_done = before["n_buffers"]
            self.seconds, self.cpu_seconds = before["seconds"]
            self.runs = [
                MemberRun.restored(member, run.place, described, run.member.scoring)
                for member, run, described in zip(
                    self.resumed.estimators_, self.runs, before["runs"], strict=True
                )
            ]
            self.resumed = None

    def _train(self) -> None:
        """Train the networks, here or on workers, until all have ended or the time is over."""
        n_rows = self.files.n_rows
        n_passes, n_buffers = divmod(self.n_done, self.sizes.buffers_per_epoch(self.files))
        begun = n_passes * n_rows + n_buffers * self.sizes.capacity
        self.saved_at, self.is_saved = time.perf_counter(), self.n_done > 0
        workers = chosen_workers(self.estimator.n_jobs) if len(self.runs) > 1 else None
        with self._bar(n_rows * self.passes, "fitting", begun) as bar:
            if workers:
                self._train_on_workers(workers.n_slots, begun, bar)
            else:
                self._stream(self.passes, bar)
        if not self._are_fitted():
            raise ValueError(
                f"{self.files.name}: no row that was read for the training of a network has a weight above 0"
            )
        if not (workers and self.is_late):  # networks that ran out of time on workers are not equally far
            self._save()

    def _stream(self, passes: int, bar: Any, stopped: Callable[[], bool] = lambda: False) -> None:
        """Train the networks buffer by buffer, up to the end of the epoch `passes`."""
        n_passes = self.n_done // self.sizes.buffers_per_epoch(self.files)
        feed = Feed(
            self.files, self.sizes, self.estimator.encoder_._ends[-1], self._encode, self.seeds[-1], passes,
            self.n_done,
        )  # fmt: skip
        with closing(feed):
            portions = feed.portions()
            while not (stopped() or self._is_ended()) and (portion := next(portions, None)) is not None:
                self._train_on(portion)
                bar.update(len(portion.rows))
                n_passes += portion.ends_epoch
                if not self._is_ended() and self._is_due(n_passes if portion.ends_epoch else 0):
                    self._save()

    def _train_on_workers(self, n_slots: int, begun: int, bar: Any) -> None:
        """Train the networks on workers, each as a task that ends where a checkpoint may be due.

        An error or an interrupt undoes the training since then.

        Parameters
        ----------
        n_slots : int
            Number of networks that are trained at the same time.
        begun : int
            Number of rows on which all networks have been trained.
        bar : progress bar
            Bar that counts rows.
        """
        per_epoch, n_rows = self.sizes.buffers_per_epoch(self.files), self.files.n_rows
        while self.n_done < self.n_buffers and not self._is_ended():
            running = [run for run in self.runs if not run.is_over]
            passes = self._passes_to_checkpoint(self.n_done // per_epoch)
            seconds = None
            if self.end is not None:
                seconds = max(0.0, self.end - time.perf_counter()) / -(-len(running) // n_slots)
            shown = np.linspace(begun, begun := passes * n_rows, len(running) + 1).astype(int)
            steps = iter(np.diff(shown).tolist())
            before = [run.copied() for run in self.runs]
            try:
                fit_all(
                    train_alone, running, [()] * len(running), (self, passes, seconds), self.estimator.n_jobs,
                    arrived=lambda k: bar.update(next(steps)),
                )  # fmt: skip
                self.n_done, self.is_late = passes * per_epoch, any(run.is_late for run in running)
            except BaseException:
                self.runs = before
                raise
            if not self._is_ended() and self._is_due(passes):
                self._save()

    def _passes_to_checkpoint(self, n_passes: int) -> int:
        """Return the number of epochs after which a checkpoint may be due next, or those of the whole fit."""
        if self.checkpoint is None:
            return self.passes
        every = self.checkpoint.every
        if isinstance(every, str) or not self.is_saved:
            every = 1
        return min(self.passes, (n_passes // every + 1) * every)

    def _are_fitted(self) -> bool:
        """Return True if every network has been trained on rows of a weight above 0."""
        return all("_state" in run.member.__dict__ for run in self.runs)

    def _is_ended(self) -> bool:
        return self.is_late or all(run.is_over for run in self.runs)

    def _train_on(self, portion: Portion) -> None:
        """Train all networks on the rows of a buffer; an error or an interrupt undoes the training."""
        before = [run.copied() for run in self.runs]
        number = self.n_done + 1
        n_stages = number * self.n_stages // self.n_buffers
        self.is_late = self.end is not None and time.perf_counter() >= self.end
        ends_stage = self.is_late or n_stages > self.n_done * self.n_stages // self.n_buffers
        running = [run for run in self.runs if not run.is_over]
        tasks = [self._task(run, portion, n_stages if ends_stage else None) for run in running]
        try:
            run_side_by_side(tasks, self.estimator.n_jobs)
            self.n_done = number
        except BaseException:
            self.runs, self.n_done = before, number - 1
            raise

    def _task(self, run: MemberRun, portion: Portion, n_stages: int | None) -> Task:
        """Return the task that trains one network on a buffer, and validates it if stages have been done."""

        def task(stopped: Callable[[], bool]) -> None:
            if len(portion.rows) and not self._trained(run, portion, stopped):
                run.is_over = True
                return
            if n_stages is not None and run.losses:
                self._evaluate(run, n_stages)

        return task

    def _trained(self, run: MemberRun, portion: Portion, stopped: Callable[[], bool]) -> bool:
        """Train a network on a buffer; return False if it diverges and an earlier stage is kept."""
        member, weights = run.member, portion.weights
        if self.oof_rows is not None:  # the network's validation rows have the weight 0
            held = np.isin(portion.rows, self.oof_rows[self.splits[run.place][1]])
            weights = np.where(held, 0.0, weights)
        if not weights.any():
            return True
        steps_per_epoch = -(-self.files.n_rows // self.batch_size)
        # The last buffer of an epoch may hold less than a batch.
        member.batch_size = min(self.batch_size, len(portion.rows))
        try:
            member._fit(
                portion.Z, portion.targets, weights, n_passes=1, knows_classes=True, stopped=stopped,
                total_steps=self.passes * steps_per_epoch,
            )  # fmt: skip
        except FitDivergenceError as error:
            if run.best is None:
                raise
            error.held = "the parameters with the best validation score"
            warn(str(error), ConvergenceWarning)
            return False
        finally:
            member.batch_size = self.batch_size
        run.losses.append((member.loss_curve_.pop(), len(portion.rows)))
        return True

    def _evaluate(self, run: MemberRun, n_stages: int) -> None:
        """Compute loss and score of the validation rows, and keep the parameters if they are the best."""
        member, state = run.member, run.member._state
        if member.validation_scores_ is None:
            member.validation_scores_, member.best_validation_score_ = [], -np.inf
        member.loss_curve_.append(mean_loss(run.losses))
        run.losses = []
        rows = self.splits[run.place][1]  # consecutive rows: take views
        data = member._checked(*(array[rows[0] : rows[-1] + 1] for array in self.val), "validation")
        validation = validation_functions(member, data, state)
        assert validation is not None
        member.validation_loss_curve_.append(validation.loss())
        best = Patience(np.inf, ties=member.ties, keeps_small=True, best=-member.best_validation_score_)
        if record_score(member, best, validation.score(), n_stages):
            run.best = state.predicting.copy(), state.statistics.copy()
        cycles = Patience(1, cycles=self.schedule.valleys(self.n_stages).tolist(), best=-run.best_before)
        cycles.observe(-member.best_validation_score_, n_stages)
        run.is_over, run.best_before = cycles.is_over, -cycles.best

    def _adopt(self, estimator: Any) -> None:
        """Give an estimator the networks so far, and evaluate it."""
        estimator.estimators_ = [run.finished() for run in self.runs]
        evaluate(estimator, self.val, self.splits, self.is_separate, self.row_weights)
        if not self.is_separate:
            estimator.oof_rows_ = self.oof_rows[estimator.oof_rows_]
        estimator.fit_seconds_ = self.seconds + time.perf_counter() - self.begin
        estimator.fit_cpu_seconds_ = self.cpu_seconds + time.process_time() - self.cpu_begin

    # --- checkpoints ---------------------------------------------------------------------------------

    def _is_due(self, n_passes: int) -> bool:
        """Return True if a checkpoint is due; `n_passes` is 0 within an epoch."""
        if self.checkpoint is None or not self._are_fitted():
            return False
        if not self.is_saved:  # a value that a file cannot hold is an error now, not after hours
            return True
        if isinstance(self.checkpoint.every, str):
            return time.perf_counter() - self.saved_at >= interval(self.checkpoint)
        return n_passes > 0 and n_passes % self.checkpoint.every == 0

    def _save(self) -> None:
        """Start to write the estimator that the fit would leave now, if there is a checkpoint."""
        if self.checkpoint is None:
            return
        self.saved_at, self.is_saved = time.perf_counter(), True
        estimator = copy.copy(self.estimator)
        self._adopt(estimator)
        estimator._stream = {
            "settings": self.settings,
            "seeds": self.seeds,
            "n_buffers": self.n_done,
            "seconds": [estimator.fit_seconds_, estimator.fit_cpu_seconds_],
            "runs": [run.described() for run in self.runs],
        }
        self.writer.wait()
        path = check_path(self.checkpoint.path)
        self.writer.write([(path, *collected(estimator, Writer(True), copies=True))])

    def _described_settings(self) -> dict[str, Any]:
        """Return the arguments on which the training depends, as plain values by name."""
        estimator = self.estimator
        quantiles = getattr(estimator, "quantiles", None)
        weights = getattr(estimator, "class_weight", None)
        if isinstance(weights, dict):  # equal weights may come in another order, and as other types
            weights = {
                name: float(weight) if isinstance(weight, numbers.Real) else weight
                for name, weight in sorted(weights.items(), key=str)
            }
        return {
            "n_estimators": self.n_networks,
            "preset": repr(self.preset),
            "scoring": str(estimator.scoring),
            "class_weight": str(weights),
            "quantiles": [] if quantiles is None else [float(value) for value in quantiles],
            "passes": self.passes,
            "memory_limit": self.limit,
            "y": self.files.target,
            "sample_weight": self.files.weights,
            "the columns or row groups of X": self.files.described(),
            "random_state": self.seeds,
        }

    def _digest(self) -> str:
        """Return a digest of the encoding and of the validation rows."""
        writer = Writer(False)
        described = writer.described(self.estimator.encoder_, "")
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
        for array in (*writer.tensors.values(), *self.val):
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        return digest.hexdigest()[:16]


def train_alone(
    run: MemberRun, fit: StreamedFit, passes: int, seconds: float | None, *, stopped: Callable[[], bool]
) -> None:
    """Train one network up to the end of an epoch; it reads the files for itself.

    Parameters
    ----------
    run : MemberRun
        Run of the network.
    fit : StreamedFit
        Fit of all networks, as workers get it.
    passes : int
        Number of epochs since the beginning of the fit.
    seconds : float, optional
        Largest time.
    stopped : callable
        Function that returns True if the training must end.
    """
    own = copy.copy(fit)
    own.runs, own.checkpoint = [run.copied()], None  # arrays that were sent may be read-only, or unaligned
    own.end = None if seconds is None else time.perf_counter() + seconds
    own._stream(passes, progress_bar(total=0, unit="row", shown=False), stopped)
    vars(run).update(vars(own.runs[0]), is_late=own.is_late)
