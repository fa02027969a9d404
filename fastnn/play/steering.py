"""Steering: the hook by which a page plays, pauses and steps a training, and by which it is observed.

The hook is on the one training loop (``training/loop.py``): it names the step at which the next chunk ends,
and waits between chunks while the training is paused or ahead of the speed that the page asked for.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from ..training.loop import Hook, Training
from .compiling import note_compiled
from .frames import Artist, Snapshot
from .next_step import Rest

__all__ = ["CURVE_COLUMNS", "SetByHand", "Steering", "StopAfter"]

# Target duration of a chunk in seconds: the kernel returns often enough for fluent pictures.
CHUNK_SECONDS = 0.012
# A curve has a point whenever the number of steps has grown by this fraction, and at least at this distance
# in seconds: fine at the beginning, where most happens, and bounded in a long run.
CURVE_GROWTH, CURVE_SECONDS = 0.01, 0.25
# Largest number of points that wait for a page that does not draw, for instance a hidden tab: beyond it,
# every second one is dropped.
MAX_POINTS = 4000
# Seconds over which the speed is averaged.
SPEED_SECONDS = 1.0
# Films have snapshots whenever the number of steps has grown by this fraction. Beyond MAX_FILMED
# snapshots, every second one is dropped and the fraction doubles.
FILM_GROWTH, MAX_FILMED = 0.08, 96
# Columns of the curves, in the order of static/curves.js.
CURVE_COLUMNS = ("step", "train_loss", "test_loss", "train_score", "test_score", "gradient_norm", "ratio")


class Steering(Hook):
    """Hook that steers a training by commands of other threads, and keeps what they draw.

    Parameters
    ----------
    artist : Artist
        Computation of losses and scores.
    snapshot : Snapshot
        The network before its first step.
    steps_per_epoch : int
        Number of steps of an epoch.
    speed : float or None
        Steps per second; None for as many as possible.
    notify : callable
        Function that is called in the training's thread whenever there is something new to draw.

    Attributes
    ----------
    latest : Snapshot
        Snapshot of the last step.
    film : list of Snapshot
        Snapshots since the beginning, ever further apart.
    is_closed : bool
        True after `close`.
    is_held : bool
        True during `held`.
    is_interrupted : bool
        True from `interrupt` until `resume`.
    set_by_hand : list of (int, int, float)
        Parameters that the page has set: the steps done, the number in the flat vector, and the value.
    """

    def __init__(
        self,
        artist: Artist,
        snapshot: Snapshot,
        steps_per_epoch: int,
        speed: float | None,
        notify: Callable[[], None],
    ) -> None:
        self.latest = snapshot
        self.film = [snapshot]
        self.is_closed = self.is_held = self.is_interrupted = False
        self._artist, self._notify, self._steps_per_epoch = artist, notify, steps_per_epoch
        self.set_by_hand: list[tuple[int, int, float]] = []
        self._to_set: list[tuple[int, float | None]] = []  # parameters that wait for the end of a chunk
        self._replaced: dict[int, list[float]] = {}  # values before, of the parameters that have been set
        self._changed = threading.Condition()
        self._speed, self._playing = speed, False
        self._target = 0  # step up to which single steps are due
        self._paced_from = (0.0, 0)  # time and step from which the speed counts
        self._seconds_per_step = 0.0
        self._began = (0.0, 0)
        self._marks: deque[tuple[float, int]] = deque()
        self._curve: list[tuple[float, ...]] = []
        self._curve_step, self._curve_time = -1, -math.inf
        self._film_growth = FILM_GROWTH

    # --- commands, from any thread ------------------------------------------------------------------------

    def play(self) -> None:
        """Let the training run by itself."""
        with self._changed:
            self._playing = True
            self._pace()

    def pause(self) -> None:
        """Stop after the steps that are under way."""
        with self._changed:
            self._playing, self._target = False, 0
            self._changed.notify_all()

    def step(self) -> None:
        """Pause, and do one further step."""
        with self._changed:
            self._playing = False
            self._target = max(self._target, self.latest.step) + 1
            self._changed.notify_all()

    def epoch(self) -> None:
        """Pause at the end of the present epoch, or of the next one if an epoch has just ended."""
        with self._changed:
            self._playing = False
            at = max(self._target, self.latest.step)
            self._target = (at // self._steps_per_epoch + 1) * self._steps_per_epoch
            self._changed.notify_all()

    def set_speed(self, steps_per_second: float | None) -> None:
        """Set the number of steps per second; None for as many as possible."""
        with self._changed:
            self._speed = steps_per_second
            self._pace()

    def set_parameter(self, index: int, value: float | None) -> None:
        """Set a parameter by its number in the flat vector, after the steps that are under way.

        None gives it the value that it had before it was set last.
        """
        with self._changed:
            self._to_set.append((index, value))
            self._changed.notify_all()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the training rest during the context, and then continue as before."""
        with self._changed:
            self.is_held = True
        try:
            yield
        finally:
            with self._changed:
                self.is_held = False
                self._pace()
            self._notify()

    def interrupt(self) -> None:
        """Let `Model.train` return after the present chunk, so that its model can be kept."""
        with self._changed:
            self.is_interrupted = True
            self._changed.notify_all()

    def resume(self) -> None:
        """Note that the training continues after an interruption."""
        with self._changed:
            self.is_interrupted = False

    def close(self) -> None:
        """End the training."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()

    def rest(self) -> None:
        """Note that the training has ended by itself."""
        with self._changed:
            self._playing = False
            self.latest = replace(self.latest, playing=False, steps_per_second=0.0)
        self._notify()

    def take_points(self) -> list[tuple[float, ...]]:
        """Remove and return the points of the curves that wait; `CURVE_COLUMNS` names the columns."""
        with self._changed:
            points, self._curve = self._curve, []
        return points

    def _pace(self) -> None:
        """Count the speed from now on, and wake the training."""
        self._paced_from = time.perf_counter(), self.latest.step
        self._marks.clear()
        self._changed.notify_all()

    # --- the hook, in the training's thread ------------------------------------------------------------

    def begin(self, training: Training) -> None:
        """Wait until a step is due."""
        note_compiled()  # the trainer is ready
        with self._changed:
            self.latest = replace(self.latest, rest=Rest.of(training))
        self._notify()
        if self._wait(training):
            training.stopped = True

    def next_step(self, training: Training) -> int:
        """Return the step at which the next chunk ends: about `CHUNK_SECONDS` from now, or earlier."""
        now = training.trainer.n_steps
        count = math.inf if not self._seconds_per_step else CHUNK_SECONDS / self._seconds_per_step
        with self._changed:  # the speed must not become None while steps are counted by it
            due = self._due(now)
        count = min(count, max(1.0, now * CURVE_GROWTH), max(1, due))
        self._began = time.perf_counter(), now
        return now + max(1, int(count))

    def after_chunk(self, training: Training) -> bool:
        """Keep a snapshot and measurements, and wait until a step is due; return True to end."""
        began, before = self._began
        ended, step = time.perf_counter(), training.trainer.n_steps
        if step > before:
            self._seconds_per_step = (ended - began) / (step - before)
        self.observe(training)
        return self._wait(training)

    def end(self, training: Training) -> None:
        """Keep the last snapshot: after a divergence, that of the last finite step."""
        if training.trainer.n_steps != self.latest.step:
            self.observe(training)

    def observe(self, training: Training) -> None:
        """Keep a snapshot of the present step, and a point of the curves if one is due."""
        trainer = training.trainer
        step, now = trainer.n_steps, time.perf_counter()
        snapshot = Snapshot(
            step, training.n_passes, trainer.current.copy(), trainer.statistics.copy(), self._playing,
            self._measured_speed(now, step),
        )  # fmt: skip
        rests = not self._playing and self._target <= step
        filmed = snapshot
        if rests:
            snapshot = replace(snapshot, rest=Rest.of(training))
        is_due = step >= self._curve_step * (1 + CURVE_GROWTH) or now - self._curve_time >= CURVE_SECONDS
        if step != self._curve_step and (is_due or rests):
            self._add_point(training, snapshot)
            self._curve_time = now
        if step >= self.film[-1].step * (1 + self._film_growth) + 1:
            self.film.append(filmed)
            if len(self.film) > MAX_FILMED:
                del self.film[1::2]
                self._film_growth *= 2
        with self._changed:
            self.latest = snapshot
        self._notify()

    def _add_point(self, training: Training, snapshot: Snapshot) -> None:
        """Measure losses and scores, and add a point to the curves."""
        with np.errstate(all="ignore"):
            measured = self._artist.measure(snapshot.parameters, snapshot.statistics)
        records, n = training.trainer.records, training.n_records
        norm = ratio = math.nan
        if n:
            norm, ratio = float(records.norms[n - 1]), float(np.mean(records.ratios[n - 1]))
        point = (float(snapshot.step), *vars(measured).values(), norm, ratio)
        with self._changed:
            self._curve.append(point)
            if len(self._curve) > MAX_POINTS:
                del self._curve[1::2]
        self._curve_step = snapshot.step

    def _measured_speed(self, now: float, step: int) -> float:
        """Return the steps per second over the last second; 0 if the training does not run by itself."""
        with self._changed:
            if not self._playing:
                return 0.0
            marks = self._marks
            marks.append((now, step))
            while len(marks) > 2 and now - marks[0][0] > SPEED_SECONDS:
                marks.popleft()
            seconds = now - marks[0][0]
            return (step - marks[0][1]) / seconds if seconds > 0 else 0.0

    def _due(self, step: int) -> float:
        """Return the number of steps that are due; infinity for a training at full speed."""
        if self.is_held:
            return 0
        if not self._playing:
            return self._target - step
        if self._speed is None:
            return math.inf
        since, first = self._paced_from
        return first + 1 + math.floor((time.perf_counter() - since) * self._speed) - step

    def _wait(self, training: Training) -> bool:
        """Wait until a step is due; return True if the training is to end, for good or for a moment."""
        step = training.trainer.n_steps
        while True:
            with self._changed:
                if self.is_closed or self.is_interrupted:
                    return True
                is_due = self._due(step) > 0
                is_stale = self.latest.playing != self._playing or bool(self._to_set)
                self._set_parameters(training)
                if not (is_due or is_stale):
                    self._changed.wait(self._seconds_to_next(step))
                    continue
                if is_due:
                    self._keep_pace(step)
                    return False
            # The page has just paused, resumed or set a parameter, and the last snapshot says otherwise.
            self.observe(training)

    def _set_parameters(self, training: Training) -> None:
        """Set the parameters that wait, and note their present values."""
        parameters, step = training.trainer.current, training.trainer.n_steps
        for index, value in self._to_set:
            replaced = self._replaced.setdefault(index, [])
            if value is not None:
                replaced.append(float(parameters[index]))
            elif replaced:
                value = replaced.pop()
            else:
                continue
            parameters[index] = value
            self.set_by_hand.append((step, index, value))
            self._curve_step = -1  # the curves show the leap
        self._to_set = []

    def _seconds_to_next(self, step: int) -> float | None:
        """Return the time until the next step is due; None if a command must come first."""
        if self.is_held or not self._playing or self._speed is None:
            return None
        since, first = self._paced_from
        return max(0.0, since + (step - first) / self._speed - time.perf_counter())

    def _keep_pace(self, step: int) -> None:
        """Count the speed from now on if the training is late by more than a second: it does not catch up."""
        if self._playing and self._speed is not None:
            since, first = self._paced_from
            now = time.perf_counter()
            if now - since > (step - first) / self._speed + 1:
                self._paced_from = now, step


class SetByHand(Hook):
    """Parameters that are set by hand: after which step, which number of the flat vector, to which value."""

    def __init__(self, changes):
        self.changes = changes

    def begin(self, training):
        """Set what is set before the first step."""
        self.after_chunk(training)

    def next_step(self, training):
        """Return the number of steps after which the next parameter is set."""
        return next((step for step, _, _ in self.changes if step > training.trainer.n_steps), None)

    def after_chunk(self, training):
        """Set the parameters whose time has come; the training continues."""
        for step, index, value in self.changes:
            if step == training.trainer.n_steps:
                training.trainer.current[index] = value
        return False


class StopAfter(Hook):
    """End of a training after a number of steps, in the middle of an epoch."""

    def __init__(self, n_steps):
        self.n_steps = n_steps

    def next_step(self, training):
        """Return the number of steps at which the training ends."""
        return self.n_steps

    def after_chunk(self, training):
        """Return True when the steps are done."""
        return training.trainer.n_steps >= self.n_steps
