"""A program that sends signals to itself, forks or starts processes at any moment of a call.

Its arguments are a disturbance, a folder and the names of calls. Results must stay the same, and every core
must be free afterwards.
"""

import ctypes
import functools
import multiprocessing
import os
import random
import signal
import sys
import threading
import traceback
import warnings
from pathlib import Path

import numpy as np

import fastnn
from fastnn.engine import limits
from fastnn.system import threads

FOLDER = Path(sys.argv[2])
N_MOMENTS = 30
draw = np.random.default_rng(0)
X, y = draw.normal(size=(300, 20)), draw.integers(0, 3, 300)
X2 = draw.normal(size=(80, 2))
y2 = (X2[:, 0] * X2[:, 1] > 0).astype(int)


def train(n_threads, dropout=0.0, **options):
    model = fastnn.Model([20, 64, 64, 3], dropout=dropout, random_state=0)
    options = {"num_passes": 4, "epsilon": 1e-4, "random_state": 0} | options
    model.train(X, y, n_threads=n_threads, **options)
    return b"".join(map(bytes, (*model.W, *model.b)))


def diverge():
    try:
        train(1, num_passes=50, epsilon=100.0, batch_size=64)
    except fastnn.DivergenceError as error:
        return str(error)


def make_classifier(k=0):
    return fastnn.MLPClassifier((6,), max_iter=4, random_state=k)


def read_weights(*fits):
    return b"".join(W.tobytes() for fit in fits for W in fit.coefs_)


def minimise():
    model = fastnn.Model([2, 4, 1], loss="squared_error", random_state=0)
    model.train(X2, np.sin(X2[:, :1]), num_passes=4, optimizer="levenberg_marquardt")
    return b"".join(map(bytes, (*model.W, *model.b)))


def fit_many():
    many = [make_classifier(k) for k in range(3)]
    fastnn.fit_many(many, X, y, n_jobs=2)
    return read_weights(*many)


@functools.cache
def fitted():
    model = fastnn.Model([2, 8, 2], random_state=0)
    model.train(X2, y2, num_passes=50)
    return model


def read_folder():
    return {str(path): path.is_file() and path.read_bytes() for path in sorted(FOLDER.rglob("*"))}


def render(suffix, **options):
    out = FOLDER / f"a{suffix}"
    fastnn.render_boundary(fitted(), (-2, 2), (-2, 2), 96, out=out, n_threads=2, **options)
    return read_folder()


CALLS = {
    "train": lambda: train(1, batch_size=64, dropout=0.2),
    "train on threads": lambda: train(2, batch_size=64),
    "lbfgs": lambda: train(1, optimizer="lbfgs"),
    "levenberg_marquardt": minimise,
    "diverge": diverge,
    "fit": lambda: read_weights(make_classifier().fit(X, y)),
    "fit_many": fit_many,
    "predict": lambda: fastnn.Model([20, 64, 3], random_state=0).predict_proba(np.tile(X, (60, 1))).tobytes(),
    "png": lambda: render(".png", method="dense"),
    "certified": lambda: render(".dzi", method="certified"),
    "lines": lambda: str(fastnn.boundary_lines(fitted(), (-2, 2), (-2, 2), tolerance=0.1, n_threads=2)),
}


def check_free(place):
    with threads.acquire_cores(2, waits=False) as count:
        assert count == 2, place


class AlarmError(Exception):
    """What the handler of a user raises."""


def handle(number, frame):
    sys.settrace(None)
    raise KeyboardInterrupt if number == signal.SIGINT else AlarmError


class Moment:
    """A trace function that raises signal `number` at opcode number `last`."""

    def __init__(self, number, last):
        self.last, self.count, self.place = last, 0, "nowhere"
        # In C: Python would run the handler inside a function of Python's.
        set_interrupt = ctypes.PyDLL(None).PyErr_SetInterruptEx
        set_interrupt.argtypes, set_interrupt.restype = [ctypes.c_int, *[ctypes.py_object] * 3], None
        self.raise_signal = functools.partial(set_interrupt, number)

    def __call__(self, frame, event, argument):
        frame.f_trace_opcodes = True
        self.count += 1
        if self.count != self.last:
            return self
        self.place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        sys.settrace(lambda frame, event, argument: None)
        frame.f_trace = self.raise_signal
        return self.raise_signal


def run_traced(call, moment):
    sys.settrace(moment)
    try:
        return call()
    finally:
        sys.settrace(None)


def interrupt(name, number):
    """Raise a signal between two bytecode instructions of a call, at drawn moments."""
    call, default = CALLS[name], signal.getsignal(number)
    expected = call()
    assert call() == expected
    before = read_folder()
    counting = Moment(number, -1)
    run_traced(call, counting)
    signal.signal(number, handle)
    n_raised, drawn = 0, random.Random(0)

    def check(place):
        check_free(place)
        assert read_folder() == before, place

    for _ in range(N_MOMENTS):
        moment = Moment(number, drawn.randrange(1, counting.count))
        try:
            run_traced(call, moment)
        except (KeyboardInterrupt, AlarmError) as error:
            n_raised += 1
            check(moment.place)  # the traceback is still alive, as in interactive sessions
            assert call() == expected, moment.place
            del error
        check(moment.place)
        assert call() == expected, moment.place
        # Calls that a handler's exception ended have restored all signal handlers.
        assert signal.getsignal(number) is handle, moment.place
        assert number == signal.SIGINT or signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert n_raised > N_MOMENTS // 4, n_raised
    signal.signal(number, default)


def interrupt_all(number, *names):
    # Python drops an exception that a handler raises while an object is finalised: do not print it.
    sys.unraisablehook = lambda unraisable: None
    limits.SHARED_OPERATIONS, limits.FIRST_CALL_OPERATIONS = 0, 2e7
    for name in names:
        print(name, flush=True)
        interrupt(name, signal.Signals[number])
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(600)
            assert not thread.is_alive()


def succeeds_in_fork(work):
    """Return True if `work` returns True in a forked process, which lacks the threads of its parent."""
    child = os.fork()
    if child == 0:
        status = 2
        try:
            status = 0 if work() else 1
        except BaseException:
            traceback.print_exc()
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def fork(name):
    """Fork before and after calls and interrupts, and interrupt within the forked process."""
    call = CALLS[name]
    expected = call()

    def is_same():
        return call() == expected

    def is_same_after_interrupt():
        try:
            CALLS["train on threads"]()
            stop = lambda history: signal.raise_signal(signal.SIGINT)  # noqa: E731
            train(2, num_passes=10**9, epsilon=1e-7, callbacks=[stop])
        except KeyboardInterrupt:
            return is_same()

    assert succeeds_in_fork(is_same)
    assert is_same_after_interrupt()
    assert succeeds_in_fork(is_same)
    assert succeeds_in_fork(is_same_after_interrupt)
    assert is_same()
    check_free(name)


def fork_in_training():
    """Fork in the middle of a training: both processes continue it."""
    limits.SHARED_OPERATIONS = 0
    expected, children = train(2, batch_size=64), []
    limits.FIRST_CALL_OPERATIONS = limits.CALL_SECONDS = 0  # a call of the kernel for each step
    fork_once = lambda history: children or children.append(os.fork())  # noqa: E731
    is_same = train(2, batch_size=64, callbacks=[fork_once]) == expected
    if children[0] == 0:
        os._exit(0 if is_same else 1)
    assert is_same
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0


def fork_all(*names):
    for name in names:
        print(name, flush=True)
        fork(name)
    fork_in_training()


def map_in_pool(method):
    """Train in the processes of a pool that start by `method`."""
    train_with_dropout = functools.partial(train, 2)
    rates = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    expected = [*map(train_with_dropout, rates)]
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(train_with_dropout, rates) == expected
    assert train_with_dropout(rates[0]) == expected[0]


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Python warns of forks where threads rest, such as a pool's
    threads.count_cores = lambda: 2
    disturbance, _, *arguments = sys.argv[1:]
    {"interrupt": interrupt_all, "fork": fork_all, "pool": map_in_pool}[disturbance](*arguments)
