"""The number of threads of a training follows the measured speed; the clock and the machine are simulated."""

import itertools

import pytest

from fastnn.engine import thread_choice
from fastnn.engine.thread_choice import ThreadChoice
from fastnn.system import threads

# Every test takes new kinds of trainings: a training of a known kind begins with earlier measurements.
KINDS = itertools.count()
TWO = {1: 7000.0, 2: 13000.0}


class Machine:
    """A simulated machine with a clock. The time that a call takes follows from `speeds`.

    speeds: rounds per second by the number of threads. foreign: cores that other threads of the process use.
    start: seconds that threads take to wake up, in every call on more than one. idle: idle cores between two
    calls; None on a system that does not tell.
    """

    def __init__(self, speeds, foreign=0.0, start=0.0004, idle=None):
        self.speeds, self.foreign, self.start, self.idle = speeds, foreign, start, idle
        self.now, self.used, self.rounds = 100.0, 5.0, 0
        self.kind, self.most = next(KINDS), max(speeds)

    def perf_counter(self):
        return self.now

    def process_time(self):
        return self.used

    def begin(self):
        return ThreadChoice(self.kind, self.most)

    def train(self, seconds, choice=None, free=8):
        """Run calls for some seconds, on at most `free` threads; return the threads of every call."""
        choice = choice or self.begin()
        end, counts = self.now + seconds, []
        rounds = max(1, int(0.001 * self.speeds[1]))
        while self.now < end:
            n_threads, wanted = choice.next_call()
            n_threads = min(n_threads, free)
            if choice.speed:
                rounds = max(1, min(int(wanted * choice.speed), 8 * rounds))
            duration = rounds / self.speeds[n_threads] + (self.start if n_threads > 1 else 0)
            self.now += duration
            self.used += duration * (n_threads + self.foreign)
            self.rounds += rounds
            choice.note(n_threads, rounds, duration)
            counts.append(n_threads)
        return counts


@pytest.fixture
def make_machine(monkeypatch):
    def make(speeds, **options):
        simulated = Machine(dict(speeds), **options)
        monkeypatch.setattr(thread_choice, "time", simulated)
        monkeypatch.setattr(threads, "count_idle_cores", lambda: simulated.idle)
        return simulated

    return make


@pytest.mark.parametrize("idle", [None, 1])
@pytest.mark.parametrize("gain", [0.1, 0.5, 0.9, 1.2, 1.9])
def test_a_training_is_nearly_as_fast_as_with_the_better_number_of_threads(make_machine, gain, idle):
    """Trials cost at most 3 % of the time on one thread; waking up adds a little to the time on two."""
    machine = make_machine({1: 7000.0, 2: 7000.0 * gain}, idle=idle)
    machine.train(1.0)
    assert machine.rounds > 0.97 * machine.speeds[1]
    assert machine.rounds > 0.95 * machine.speeds[2]


def test_the_number_of_threads_follows_the_speed_of_the_machine(make_machine):
    """While another process takes a core, one thread computes after a few calls; afterwards both do again."""
    machine = make_machine(TWO)
    choice = machine.begin()
    assert machine.train(1.0, choice)[-1] == 2
    machine.speeds[2] = 1500.0
    assert machine.train(1.0, choice).count(2) <= 8
    machine.speeds[2] = 13000.0
    assert machine.train(1.0, choice)[-1] == 2


def test_there_is_no_trial_while_other_threads_of_the_process_compute(make_machine):
    """Threads of other libraries spin after their work: a trial would wait for a core."""
    machine = make_machine(TWO, foreign=1.0)
    choice = machine.begin()
    assert set(machine.train(0.5, choice)) == {1}
    machine.foreign = 0.0
    assert machine.train(0.5, choice)[-1] == 2


def test_no_call_takes_more_threads_than_find_an_idle_core(make_machine):
    """While others take the cores, one thread continues at once; all threads continue when they are gone."""
    machine = make_machine({**TWO, 4: 20000.0}, idle=3)
    choice = machine.begin()
    assert machine.train(0.5, choice)[-1] == 4
    for machine.idle, expected in ((1, 2), (0, 1)):
        assert set(machine.train(0.3, choice)[1:]) <= {1, expected}
    machine.idle = 3
    assert machine.train(0.5, choice)[-1] == 4
