"""Recorder: the hook that keeps what the page draws of a training: its network, the curves, a film."""

from __future__ import annotations

import math
import time

import numpy as np

from ..training.loop import Hook, Training
from .frames import Artist, Snapshot

# A curve has a point whenever the number of steps has grown by this fraction, and at least at this distance
# in seconds: fine at the beginning, where most happens, and bounded in a long run.
CURVE_GROWTH, CURVE_SECONDS = 0.01, 0.25
# Largest number of points that wait for a page that is hidden, beyond which every second one is dropped.
MAX_POINTS = 4000
# Films have snapshots whenever the number of steps has grown by this fraction. Beyond MAX_FILMED
# snapshots, every second one is dropped and the fraction doubles.
FILM_GROWTH, MAX_FILMED = 0.15, 32
# Columns of the curves, in the order of static/curves.js.
CURVE_COLUMNS = ("step", "train_loss", "test_loss", "train_score", "test_score", "gradient_norm", "ratio")


class Recorder(Hook):
    """Hook that ends chunks where the page wants to draw, and records the training from a snapshot on."""

    def __init__(self, artist: Artist, snapshot: Snapshot) -> None:
        self.training: Training | None = None  # None before its beginning
        # The network after the last step, and since the beginning, ever further apart.
        self.latest, self.film = snapshot, [snapshot]
        self._before = 0, 0  # steps and epochs of earlier trainings
        self._artist = artist
        self._limit = 1.0, 0.0
        self._began = 0.0, 0
        self._seconds_per_step = 0.0
        self._points: list[tuple[float, ...]] = []
        self._point_at = -math.inf, -1  # time and step of the last point
        self._film_growth = FILM_GROWTH

    def restart(self) -> None:
        """Let another training continue from the last snapshot."""
        self.training, self._before = None, (self.latest.step, self.latest.epoch)

    def count_steps(self, training: Training) -> int:
        return self._before[0] + training.trainer.n_steps

    def limit(self, n_steps: float, seconds: float) -> None:
        """Let the next chunk end after some steps, or about as many seconds, but do one step."""
        self._limit = n_steps, seconds

    def begin(self, training: Training) -> None:
        self.training = training

    def next_step(self, training: Training) -> int:
        step, (count, seconds) = self.count_steps(training), self._limit
        self._began = time.perf_counter(), step
        if self._seconds_per_step:
            count = min(count, seconds / self._seconds_per_step)
        return training.trainer.n_steps + max(1, int(min(count, max(1.0, step * CURVE_GROWTH))))

    def after_chunk(self, training: Training) -> bool:
        """Keep a snapshot, and a point of the curves if one is due; the training continues."""
        began, before = self._began
        step, now = self.count_steps(training), time.perf_counter()
        if step > before:
            self._seconds_per_step = (now - began) / (step - before)
        self.observe()
        time_before, step_before = self._point_at
        if step >= step_before * (1 + CURVE_GROWTH) or now - time_before >= CURVE_SECONDS:
            self.add_point()
        return False

    def end(self, training: Training) -> None:
        """Keep the last snapshot: after a divergence, the snapshot of the last finite step."""
        if self.count_steps(training) != self.latest.step:
            self.observe()

    def observe(self) -> None:
        assert self.training is not None
        trainer, step = self.training.trainer, self.count_steps(self.training)
        epoch = self._before[1] + self.training.n_passes
        self.latest = Snapshot(step, epoch, trainer.current.copy(), trainer.statistics.copy())
        if self.latest.step >= self.film[-1].step * (1 + self._film_growth) + 1:
            self.film.append(self.latest)
            if len(self.film) > MAX_FILMED:
                del self.film[1::2]
                self._film_growth *= 2

    def add_point(self, is_leap: bool = False) -> None:
        """Add the losses and scores of the last step to the curves, once unless a parameter has leapt."""
        assert self.training is not None
        snapshot, training = self.latest, self.training
        if snapshot.step == self._point_at[1] and not is_leap:
            return
        self._point_at = time.perf_counter(), snapshot.step
        with np.errstate(all="ignore"):
            losses, scores = self._artist.measure(snapshot.parameters, snapshot.statistics)
        records, n = training.trainer.records, training.n_records
        norm = ratio = math.nan
        if n:
            norm, ratio = float(records.norms[n - 1]), float(np.mean(records.ratios[n - 1]))
        self._points.append((float(snapshot.step), *losses, *scores, norm, ratio))
        if len(self._points) > MAX_POINTS:
            del self._points[1::2]

    def take_points(self) -> list[tuple[float, ...]]:
        """Remove and return the points of the curves that wait; `CURVE_COLUMNS` names the columns."""
        points, self._points = self._points, []
        return points
