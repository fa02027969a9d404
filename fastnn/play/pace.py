"""Pace: which steps of a training are due, at a speed or one by one, as the page asks for."""

from __future__ import annotations

import math
import time
from collections import deque

# Seconds over which the speed is measured.
SPEED_SECONDS = 1.0


class Pace:
    """The steps that a training is to do, by itself if `playing`, at most `speed` per second.

    `done` is the number of steps that it has done. Without a speed, it does as many as possible.
    """

    def __init__(self, steps_per_epoch: int, speed: float | None) -> None:
        self.playing, self._speed = False, speed
        self._epochs = 0, steps_per_epoch  # a step at which an epoch begins, and the steps of an epoch
        self._target = 0  # step up to which single steps are due
        self._began = 0.0, 0  # time and step from which the speed counts
        self._marks: deque[tuple[float, int]] = deque()

    def play(self, done: int) -> None:
        self.playing = True
        self._begin(done)

    def pause(self, done: int) -> None:
        self.playing, self._target = False, 0

    def step(self, done: int) -> None:
        self.playing, self._target = False, max(self._target, done) + 1

    def epoch(self, done: int) -> None:
        """Pause at the end of the present epoch, or of the next one if an epoch has just ended."""
        first, size = self._epochs
        n_epochs = (max(self._target, done) - first) // size + 1
        self.playing, self._target = False, first + n_epochs * size

    def set_epochs(self, first: int, steps_per_epoch: int) -> None:
        """Let epochs of another length begin at a step."""
        self._epochs = first, steps_per_epoch

    def set_speed(self, speed: float | None, done: int) -> None:
        self._speed = speed
        self._begin(done)

    def _begin(self, done: int) -> None:
        self._began = time.perf_counter(), done
        self._marks.clear()

    def due(self, done: int) -> float:
        """Return the number of due steps, infinity at full speed; delays beyond a second are not made up."""
        if not self.playing:
            return self._target - done
        if self._speed is None:
            return math.inf
        (since, first), now = self._began, time.perf_counter()
        if now - since > (done - first) / self._speed + 1:
            since, first = self._began = now, done
        return first + 1 + math.floor((now - since) * self._speed) - done

    def wait(self, done: int) -> float | None:
        """Return the seconds until a step is due; None if it takes a command."""
        if self.due(done) > 0:
            return 0.0
        if not self.playing or self._speed is None:
            return None
        since, first = self._began
        return max(0.0, since + (done - first) / self._speed - time.perf_counter())

    def measure(self, done: int) -> float:
        """Return the steps per second since about a second ago; 0 if the training does not run by itself."""
        if not self.playing:
            return 0.0
        now, marks = time.perf_counter(), self._marks
        marks.append((now, done))
        while len(marks) > 2 and now - marks[0][0] > SPEED_SECONDS:
            marks.popleft()
        seconds = now - marks[0][0]
        return (done - marks[0][1]) / seconds if seconds > 0 else 0.0
