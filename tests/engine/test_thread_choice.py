"""The number of threads of a training follows the measured speed; the clock and the machine are simulated."""

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastnn
from fastnn.engine import limits, thread_choice
from fastnn.engine.thread_choice import ThreadChoice
from fastnn.system import threads

# Every test takes new kinds of trainings: a training of a known kind begins with earlier measurements.
KINDS = itertools.count()


class Machine:
    """A simulated machine with a clock. The time that a call takes follows from `speeds`.

    speeds: rounds per second by the number of threads. foreign: cores that other threads of the process use.
    start: seconds that threads take to wake up, in every call on more than one. cold: seconds by which cold
    caches delay every call. idle: idle cores between two calls; None on a system that does not tell.
    """

    def __init__(self, speeds, foreign=0.0, start=0.0004, cold=0.0, idle=None):
        self.speeds, self.foreign, self.start, self.cold, self.idle = speeds, foreign, start, cold, idle
        self.now, self.used, self.rounds = 100.0, 5.0, 0

    def perf_counter(self):
        return self.now

    def process_time(self):
        return self.used

    def train(self, choice, seconds, free=8):
        """Run calls for some seconds, on at most `free` threads; return the threads of every call."""
        end, counts = self.now + seconds, []
        rounds = max(1, int(0.001 * self.speeds[1]))
        while self.now < end:
            n_threads, wanted = choice.next_call()
            n_threads = min(n_threads, free)
            if choice.speed:
                rounds = max(1, min(int(wanted * choice.speed), 8 * rounds))
            duration = rounds / self.speeds[n_threads] + (self.start if n_threads > 1 else 0) + self.cold
            self.now += duration
            self.used += duration * (n_threads + self.foreign)
            self.rounds += rounds
            choice.note(n_threads, rounds, duration)
            counts.append(n_threads)
        return counts


@pytest.fixture
def machine(monkeypatch):
    """Return a function that makes a machine whose clock the choice of threads reads."""

    def make(speeds, **options):
        simulated = Machine(speeds, **options)
        monkeypatch.setattr(thread_choice, "time", simulated)
        monkeypatch.setattr(threads, "idle_cores", lambda: simulated.idle)
        return simulated

    return make


@pytest.mark.parametrize("idle", [None, 1])
@pytest.mark.parametrize("gain", [0.1, 0.5, 0.9, 1.2, 1.9])
def test_a_training_is_nearly_as_fast_as_with_the_better_number_of_threads(machine, gain, idle):
    """Trials cost at most 3 % of the time on one thread; waking up adds a little to the time on two."""
    speeds = {1: 7000.0, 2: 7000.0 * gain}
    run = machine(speeds, idle=idle)
    run.train(ThreadChoice(next(KINDS), 2), 1.0)
    assert run.rounds > 0.97 * speeds[1]
    assert run.rounds > 0.95 * speeds[2]


def test_more_threads_are_tried_as_long_as_they_are_faster(machine):
    speeds = {1: 1000.0, 2: 1900.0, 3: 2700.0, 4: 3500.0, 6: 5000.0}
    counts = machine(speeds).train(ThreadChoice(next(KINDS), 6), 1.0)
    assert [count for count, _ in itertools.groupby(counts)][:4] == [1, 2, 4, 6]
    assert counts.count(6) > len(counts) / 2


def test_a_trial_takes_more_than_the_first_slow_step(machine):
    """Steps take 5 ms, the first of a call twice as long: a trial of one step would always look slower."""
    counts = machine({1: 200.0, 2: 300.0}, start=0.003, cold=0.005).train(ThreadChoice(next(KINDS), 2), 1.0)
    assert counts[-1] == 2
    assert counts.count(2) > counts.count(1)


def test_the_number_of_threads_follows_the_speed_of_the_machine(machine):
    """While another process takes a core, one thread computes after a few calls; afterwards both do again."""
    run, choice = machine({1: 7000.0, 2: 13000.0}), ThreadChoice(next(KINDS), 2)
    assert run.train(choice, 1.0)[-1] == 2
    run.speeds[2] = 1500.0
    assert run.train(choice, 1.0).count(2) <= 8
    run.speeds[2] = 13000.0
    assert run.train(choice, 1.0)[-1] == 2


def test_there_is_no_trial_while_other_threads_of_the_process_compute(machine):
    """Threads of other libraries spin after their work: a trial would wait for a core."""
    run, choice = machine({1: 7000.0, 2: 13000.0}, foreign=1.0), ThreadChoice(next(KINDS), 2)
    assert set(run.train(choice, 0.5)) == {1}
    run.foreign = 0.0
    assert run.train(choice, 0.5)[-1] == 2


def test_no_call_takes_more_threads_than_find_an_idle_core(machine):
    """Other processes, or threads that spin: one thread goes on at once, and all go on when they are gone."""
    run, choice = machine({1: 7000.0, 2: 13000.0, 4: 20000.0}, idle=3), ThreadChoice(next(KINDS), 4)
    assert run.train(choice, 0.5)[-1] == 4
    run.idle = 1
    assert max(run.train(choice, 0.2)[1:]) == 2
    run.idle = 0
    assert set(run.train(choice, 0.5)[1:]) == {1}
    run.idle = 3
    assert run.train(choice, 0.5)[-1] == 4


def test_a_training_that_begins_beside_other_threads_begins_with_one(machine):
    """The memory of a training on idle cores says nothing about cores that are no longer idle."""
    run, kind = machine({1: 7000.0, 2: 13000.0}, idle=1), next(KINDS)
    assert run.train(ThreadChoice(kind, 2), 0.1)[-1] == 2
    run.idle = 0
    assert set(run.train(ThreadChoice(kind, 2), 0.02)) == {1}
    run.idle = 1
    assert set(run.train(ThreadChoice(kind, 2), 0.02)) == {2}


def test_the_first_trial_on_idle_cores_follows_the_first_call(machine):
    """A training of 10 ms gains by its second thread."""
    counts = machine({1: 7000.0, 2: 13000.0}, idle=1).train(ThreadChoice(next(KINDS), 2), 0.01)
    assert counts[:3] == [1, 2, 2]


def test_a_first_call_is_no_trial(machine):
    """The arrays of a training are in no cache before its first call, which would look slow as a trial."""
    run, kind = machine({1: 7000.0, 2: 13000.0}, idle=0), next(KINDS)
    run.train(ThreadChoice(kind, 2), 0.3)  # the trial, which is due, has had no idle core
    run.idle = 1
    assert run.train(ThreadChoice(kind, 2), 0.02)[:2] == [1, 2]


def test_a_first_call_lasts_until_the_next_trial(machine):
    """A training whose speed is known from the one before needs no short calls, but trials come in time."""
    run, kind = machine({1: 7000.0, 2: 13000.0}, idle=1), next(KINDS)
    run.train(ThreadChoice(kind, 2), 0.1)
    n_threads, seconds = ThreadChoice(kind, 2).next_call()
    assert (n_threads, seconds) == (2, limits.CALL_SECONDS)
    run.now += limits.TRIAL_EVERY_SECONDS
    choice = ThreadChoice(kind, 2)
    assert choice.next_call() == (2, 0.0)
    choice.note(2, 13, 0.001)
    assert choice.next_call() == (1, limits.TRIAL_SECONDS / 2)


def test_a_slow_short_first_call_does_not_count(machine):
    """A first call on cold caches is slower than one thread on warm ones: it is not compared with a trial."""
    run, kind = machine({1: 3900.0, 2: 6900.0}, idle=1), next(KINDS)
    run.train(ThreadChoice(kind, 2), 0.3)
    run.now += 2 * limits.TRIAL_EVERY_SECONDS
    choice = ThreadChoice(kind, 2)
    assert choice.next_call() == (2, 0.0)
    choice.note(2, 10, 0.006)
    assert choice.next_call()[0] == 1  # the trial, which was due
    choice.note(1, 20, 0.005)
    assert choice.next_call()[0] == 2


def test_fewer_threads_are_tried_again_and_again_where_there_are_no_more(machine):
    run, choice = machine({1: 7000.0, 2: 13000.0}, idle=1), ThreadChoice(next(KINDS), 2)
    run.train(choice, 0.1)
    for _ in range(4):
        counts = run.train(choice, 2.5 * limits.TRIAL_EVERY_SECONDS)
        assert 1 <= counts.count(1) <= 3
        assert len(counts) < 40  # no call ends early for a trial that is not made


def test_a_long_first_call_counts(machine):
    """A training may take a single call: a fall of the speed is seen in the first call, if that is long."""
    run, kind = machine({1: 7000.0, 2: 13000.0}, idle=1), next(KINDS)
    run.train(ThreadChoice(kind, 2), 0.1)  # no trial is due, for which the first call would be short
    for rounds, seconds, speed in ((10, 0.001, 13000.0), (10, 0.01, 1000.0)):
        choice = ThreadChoice(kind, 2)
        assert choice.next_call()[0] == 2
        choice.note(2, rounds, seconds)
        assert choice.speed == pytest.approx(speed, rel=0.1)


def test_a_short_training_begins_with_the_measurements_of_the_last(machine):
    """The fits of a search take milliseconds: together they make as many trials as one long training."""
    run, kind = machine({1: 7000.0, 2: 13000.0}), next(KINDS)
    counts = [run.train(ThreadChoice(kind, 2), 0.012) for _ in range(10)]
    assert counts[0][0] == 1
    assert counts[-1][0] == 2
    run.now += thread_choice.MEMORY_SECONDS
    assert ThreadChoice(kind, 2).next_call()[0] == 1
    assert ThreadChoice(kind, 1).next_call()[0] == 1


def test_the_memory_holds_a_limited_number_of_kinds(machine):
    run, sizes = machine({1: 7000.0, 2: 13000.0}), set()
    for _ in range(2 * thread_choice.MAX_MEMORIES):
        kind = next(KINDS)
        run.train(ThreadChoice(kind, 2), 0.001)
        assert kind in thread_choice._memory
        sizes.add(len(thread_choice._memory))
    assert max(sizes) == thread_choice.MAX_MEMORIES


@pytest.fixture
def frequent_switches():
    """Let threads take turns after a few instructions."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("frequent_switches")
def test_threads_may_change_the_memory_at_once():
    """Four threads note more kinds than the memory holds."""

    def note(number):
        for k in range(5000):
            choice = ThreadChoice((number, k), 2)
            choice.next_call()
            choice.note(1, 10, 0.001)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(note, range(4)))
    assert 0 < len(thread_choice._memory) <= thread_choice.MAX_MEMORIES + 4


def test_trials_without_free_cores_do_not_shorten_the_calls(machine):
    """Other trainings hold the other cores: calls stay as long, and trials as rare, as with free cores."""
    run, choice = machine({1: 7000.0, 2: 13000.0}), ThreadChoice(next(KINDS), 2)
    counts = run.train(choice, 5.0, free=1)
    assert set(counts) == {1}
    assert len(counts) < 2 * 5.0 / limits.CALL_SECONDS


def test_a_measured_number_of_threads_gives_the_same_bits(monkeypatch):
    """The number changes in the middle of a training, since every second call is a trial."""
    monkeypatch.setattr(limits, "SHARED_OPERATIONS", 0)
    for name in ("TRIAL_SECONDS", "FIRST_TRIAL_SECONDS", "TRIAL_EVERY_SECONDS", "CALL_SECONDS"):
        monkeypatch.setattr(limits, name, 0.0)
    monkeypatch.setattr(limits, "FIRST_CALL_OPERATIONS", 1)
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    monkeypatch.setattr(threads, "idle_cores", lambda: 1)
    counts, note = [], ThreadChoice.note

    def noted(choice, n_threads, n_rounds, seconds):
        counts.append(n_threads)
        note(choice, n_threads, n_rounds, seconds)

    monkeypatch.setattr(ThreadChoice, "note", noted)
    random = np.random.default_rng(0)
    X, y = random.normal(size=(600, 10)), random.integers(0, 3, 600)
    weights = []
    for n_threads in (1, 2, None):
        model = fastnn.Model([10, 32, 3], random_state=0)
        model.train(X, y, num_passes=40, batch_size=200, epsilon=1e-3, random_state=0, n_threads=n_threads)
        weights.append([W.tobytes() for W in model.W])
    assert weights[0] == weights[1] == weights[2]
    assert set(counts) == {1, 2}
