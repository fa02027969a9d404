"""Choice of the number of threads that share the steps of a training, by their measured speed."""

from __future__ import annotations

import time
from collections.abc import Hashable
from typing import NamedTuple

from ..system import threads
from . import limits

# Speed of a call, as a fraction of the last call's, below which something has changed on the machine: the
# next call is then a trial.
FALL = 0.8
# Number of cores, besides the training's own, that this process must use for other threads to count as
# computing.
FOREIGN_CORES = 0.5
# A training run begins with the measurements of the last one of its kind for this many seconds: a search
# consists of many short runs. Beyond MAX_MEMORIES kinds, all are forgotten, because another thread may change
# the dict while this one looks for the oldest.
MEMORY_SECONDS, MAX_MEMORIES = 2.0, 64


class Measured(NamedTuple):
    """Results of the measurements so far."""

    n_threads: int = 1  # number of threads of the usual call
    speed: float = 0.0  # steps per second of the latest usual call; 0 before the first
    grows: bool = True  # True if the next trial takes more threads
    trial_at: float = 0.0  # time of the next trial
    not_before: float = 0.0  # time before which a fall of the speed causes no trial
    noted_at: float = 0.0  # time of the latest call


_memory: dict[Hashable, Measured] = {}


class ThreadChoice:
    """The number of threads, `most` at most, for the next call into the kernels, by the speed of calls.

    Whether a second thread pays off depends on what else computes: the threads of other libraries spin for a
    while after their work, and a thread without a core of its own keeps the others waiting. The number may
    change from call to call, since a training has the same bits on any number of threads. A training begins
    with one thread. From time to time a short call, the trial, runs on twice or half as many threads; the
    faster number is kept.

    No call takes more threads than find an idle core, and the first trial follows the first call. Where the
    system does not tell how many cores are idle, the first trial comes later, and no trial takes more threads
    while other threads of this process compute.

    `kind` is equal for training runs whose steps are alike. A run begins with the measurements of the latest
    of its kind, if that has ended within the last seconds.
    """

    def __init__(self, kind: Hashable, most: int) -> None:
        now = time.perf_counter()
        self._kind, self._most = kind, most
        wait = limits.FIRST_TRIAL_SECONDS if threads.count_idle_cores() is None else 0.0
        self._measured = Measured(trial_at=now + wait)
        latest = _memory.get(kind)
        if latest is not None and latest.n_threads <= most and now - latest.noted_at < MEMORY_SECONDS:
            self._measured = latest
        self._is_first, self._is_trial, self._is_cold = True, False, False
        # Clock and processor time from which `_count_others` counts, and its result: True before the first.
        self._counted_from = now, time.process_time()
        self._others_compute = True

    @property
    def speed(self) -> float:
        """Steps per second of the latest call that was not a trial; 0 before the first."""
        return self._measured.speed

    def next_call(self) -> tuple[int, float]:
        """Return the number of threads for the next call, and the seconds that it should take."""
        now, measured = time.perf_counter(), self._measured
        other, room = self._choose_trial(), self._find_room()
        may_try = other != measured.n_threads and other <= room
        # The first call of a training finds its arrays in no cache: it is not a trial.
        self._is_trial = may_try and not self._is_first and measured.speed > 0 and now >= measured.trial_at
        if self._is_trial:
            # The number of steps follows from the speed so far. Fewer threads probably take longer for them:
            # ask for fewer steps, so that the trial takes no longer than others.
            seconds = limits.TRIAL_SECONDS * min(1.0, other / measured.n_threads)
            return other, min(limits.CALL_SECONDS, max(seconds, limits.TRIAL_STEPS / measured.speed))
        # A usual call ends when the next trial is due, the first call of a training soon before one.
        seconds = max(measured.trial_at - now, 0.0 if self._is_first else limits.TRIAL_SECONDS)
        self._is_cold = self._is_first and seconds < limits.TRIAL_SECONDS
        return min(measured.n_threads, room), min(limits.CALL_SECONDS, seconds)

    def note(self, n_threads: int, n_steps: int, seconds: float) -> None:
        """Take note of a call: `n_steps` steps on `n_threads` threads, perhaps fewer than asked for."""
        now, speed, measured = time.perf_counter(), n_steps / max(seconds, 1e-6), self._measured
        if self._is_trial:
            measured = self._evaluate_trial(n_threads, speed, seconds, now)
            self._counted_from = now, time.process_time()
        else:
            # A short first call finds no array in a cache, and takes longer than it should. Only the first
            # trial is compared with its speed.
            is_cold = self._is_cold or (self._is_first and seconds < limits.TRIAL_SECONDS)
            if n_threads == measured.n_threads and (not is_cold or measured.speed == 0):
                if speed < FALL * measured.speed:
                    measured = measured._replace(trial_at=measured.not_before, grows=measured.n_threads == 1)
                measured = measured._replace(speed=speed)
            self._count_others(n_threads, now)
        self._is_first = False
        self._measured = measured._replace(noted_at=now)
        if len(_memory) >= MAX_MEMORIES and self._kind not in _memory:
            _memory.clear()
        _memory[self._kind] = self._measured

    def _evaluate_trial(self, n_threads: int, speed: float, seconds: float, now: float) -> Measured:
        measured = self._measured
        if n_threads == self._choose_trial() and speed > measured.speed:
            measured = measured._replace(n_threads=n_threads, speed=speed)
            if 1 < n_threads < self._most:  # a trial in the same direction follows at once
                return measured
            return _delay_trial(measured, now, limits.TRIAL_EVERY_SECONDS)._replace(grows=not measured.grows)
        grows = not measured.grows or measured.n_threads == 1
        wait = max(limits.TRIAL_EVERY_SECONDS, seconds / limits.TRIAL_FRACTION)
        return _delay_trial(measured, now, wait)._replace(grows=grows)

    def _choose_trial(self) -> int:
        """Return the number of threads of a trial: fewer also where there are no more."""
        measured = self._measured
        grows = measured.grows and measured.n_threads < self._most
        return min(2 * measured.n_threads, self._most) if grows else max(measured.n_threads // 2, 1)

    def _find_room(self) -> int:
        idle = threads.count_idle_cores()
        if idle is None:
            return self._measured.n_threads if self._others_compute else self._most
        return min(self._most, 1 + idle)

    def _count_others(self, n_threads: int, now: float) -> None:
        """Find out whether other threads of this process have computed in the last milliseconds."""
        (clock, used), used_now = self._counted_from, time.process_time()
        if now - clock < limits.FIRST_TRIAL_SECONDS:  # the system counts in milliseconds: the count continues
            return
        self._counted_from = now, used_now
        self._others_compute = used_now - used > (n_threads + FOREIGN_CORES) * (now - clock)


def _delay_trial(measured: Measured, now: float, seconds: float) -> Measured:
    return measured._replace(trial_at=now + seconds, not_before=now + seconds)
