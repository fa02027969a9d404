"""Signals and forks at any moment of a call: results stay the same, and every core is free afterwards.

A signal is raised between two bytecode instructions, drawn with a fixed seed: a signal of the system could
come at the same places. The handler raises KeyboardInterrupt or an error of the user's. A forked process
lacks the threads of its parent, and must not wait for them.
"""

import os
import signal
import threading

import pytest
from processes import run_python

from fastnn_kernels.compiler.interrupts import defer_signals, let_interrupts_through

posix = pytest.mark.skipif(os.name != "posix", reason="these signals and forks are POSIX's")

OPERATIONS = """
    import os, signal, sys, threading, traceback, warnings
    from pathlib import Path
    import numpy as np
    import fastnn
    from fastnn.engine import limits
    from fastnn.system import threads

    warnings.simplefilter("ignore")  # Python warns of forks where threads rest, such as a pool's
    threads.count_cores = lambda: 2
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    draw = np.random.default_rng(0)
    X, y = draw.normal(size=(300, 20)), draw.integers(0, 3, 300)
    X2 = draw.normal(size=(80, 2))
    y2 = (X2[:, 0] * X2[:, 1] > 0).astype(int)
    large = draw.normal(size=(20000, 20))
    wide = fastnn.Model([20, 64, 3], random_state=0)
    fitted = fastnn.Model([2, 8, 2], random_state=0)
    fitted.train(X2, y2, num_passes=50)
    view = (-2, 2), (-2, 2)

    def contents():
        return {str(path): path.is_file() and path.read_bytes() for path in sorted(folder.rglob("*"))}

    def train(n_threads, **options):
        model = fastnn.Model([20, 64, 64, 3], dropout=options.pop("dropout", 0.0), random_state=0)
        options = {"num_passes": 4, "epsilon": 1e-4, "random_state": 0} | options
        model.train(X, y, n_threads=n_threads, **options)
        return b"".join(map(bytes, (*model.W, *model.b)))

    def diverge():
        try:
            train(1, num_passes=50, epsilon=100.0, batch_size=64)
        except fastnn.DivergenceError as error:
            return str(error)

    def read_weights(*fits):
        return b"".join(W.tobytes() for fit in fits for W in fit.coefs_)

    def make_classifier(k=0):
        return fastnn.MLPClassifier((6,), max_iter=4, random_state=k)

    def fit_many():
        many = [make_classifier(k) for k in range(3)]
        fastnn.fit_many(many, X, y, n_jobs=2)
        return read_weights(*many)

    def render(suffix, **options):
        fastnn.render_boundary(fitted, *view, 96, out=folder / f"a{suffix}", n_threads=2, **options)
        return contents()

    OPERATIONS = {
        "train": lambda: train(1, batch_size=64, dropout=0.2),
        "train on threads": lambda: train(2, batch_size=64),
        "lbfgs": lambda: train(1, optimizer="lbfgs"),
        "diverge": diverge,
        "fit": lambda: read_weights(make_classifier().fit(X, y)),
        "fit_many": fit_many,
        "predict": lambda: wide.predict_proba(large).tobytes(),
        "png": lambda: render(".png", method="dense"),
        "certified": lambda: render(".dzi", method="certified"),
        "lines": lambda: str(fastnn.boundary_lines(fitted, *view, tolerance=0.1, n_threads=2)),
    }

    def check_free(place):
        with threads.acquire_spare_cores(2) as count:
            assert count == 2, place

    def fork(work):
        \"\"\"Return the exit status of a child process that calls `work`: 0 if the call returned True.\"\"\"
        child = os.fork()
        if child == 0:
            status = 2
            try:
                status = 0 if work() else 1
            except BaseException:
                traceback.print_exc()
            os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""

INTERRUPTS = """
    import ctypes, functools, random
    number, moments = int(os.environ["NUMBER"]), 30
    # Python drops an exception that a handler raises while an object is finalised: do not print it.
    sys.unraisablehook = lambda unraisable: None
    limits.SHARED_OPERATIONS, limits.FIRST_CALL_OPERATIONS = 0, 2e7

    class AlarmError(Exception):
        pass

    def handle(number, frame):
        sys.settrace(None)
        raise KeyboardInterrupt if number == signal.SIGINT else AlarmError

    class Moment:
        \"\"\"A trace function that raises the signal at opcode number `last`.\"\"\"

        raised = ctypes.PyDLL(None).PyErr_SetInterruptEx
        raised.argtypes, raised.restype = [ctypes.c_int, *[ctypes.py_object] * 3], None
        raised = functools.partial(raised, number)

        def __init__(self, last):
            self.last, self.count, self.place = last, 0, "nowhere"

        def __call__(self, frame, event, argument):
            frame.f_trace_opcodes = True
            self.count += 1
            if self.count != self.last:
                return self
            self.place = f"{name}, {frame.f_code.co_filename}:{frame.f_lineno}"
            sys.settrace(lambda frame, event, argument: None)
            frame.f_trace = self.raised  # in C: Python would run the handler inside a Python function
            return self.raised

    def check(place):
        check_free(place)
        assert contents() == before, place

    default = signal.getsignal(number)
    for name in names:
        operation = OPERATIONS[name]
        signal.signal(number, default)
        expected = operation()
        assert operation() == expected
        before = contents()
        counting = Moment(-1)
        sys.settrace(counting)
        operation()
        sys.settrace(None)
        signal.signal(number, handle)
        n_raised, drawn = 0, random.Random(0)
        for _ in range(moments):
            moment = Moment(drawn.randrange(1, counting.count))
            sys.settrace(moment)
            try:
                try:
                    operation()
                finally:
                    sys.settrace(None)
            except (KeyboardInterrupt, AlarmError) as error:
                n_raised += 1
                check(moment.place)  # the traceback is still alive, as in interactive sessions
                assert operation() == expected, moment.place
                del error
            check(moment.place)
            assert operation() == expected, moment.place
            # Calls that a handler's exception ended have restored all signal handlers.
            assert signal.getsignal(number) is handle, moment.place
            assert number == signal.SIGINT or signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert n_raised > moments // 4, (name, n_raised)
    others = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    for thread in others:
        thread.join(600)
        assert not thread.is_alive()
    print("done")
"""

FORKS = """
    def train_until_interrupted():
        try:
            OPERATIONS["train on threads"]()
            interrupt = lambda history: signal.raise_signal(signal.SIGINT)
            train(2, num_passes=10**9, epsilon=1e-7, callbacks=[interrupt])
        except KeyboardInterrupt:
            return operation() == expected

    for name in names:
        operation = OPERATIONS[name]
        expected = operation()
        assert fork(lambda: operation() == expected) == 0, name
        assert train_until_interrupted(), name
        assert fork(lambda: operation() == expected) == 0, name
        assert fork(train_until_interrupted) == 0, name
        assert operation() == expected, name
        check_free(name)
    # In the middle of a training: both processes continue it.
    limits.SHARED_OPERATIONS = 0
    expected, children = train(2, batch_size=64), []
    limits.FIRST_CALL_OPERATIONS = limits.CALL_SECONDS = 0  # a call of the kernel for each step
    fork_once = lambda history: children or children.append(os.fork())
    same = train(2, batch_size=64, callbacks=[fork_once]) == expected
    if children[0] == 0:
        os._exit(0 if same else 1)
    assert same and os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    print("done")
"""


TRAININGS = ["train", "train on threads", "lbfgs", "diverge", "fit", "fit_many", "predict"]
PICTURES = ["png", "certified", "lines"]


@posix
@pytest.mark.slow
@pytest.mark.parametrize(
    ("events", "number", "names"),
    [
        (INTERRUPTS, "SIGINT", TRAININGS),
        (INTERRUPTS, "SIGINT", PICTURES),
        # Each of the other operations takes the path of one of these.
        (INTERRUPTS, "SIGALRM", ["train on threads", "fit_many", "predict", "png"]),
        (FORKS, "SIGINT", [*TRAININGS, *PICTURES]),
    ],
    ids=["Ctrl-C in trainings", "Ctrl-C in pictures", "a handler that raises", "forks"],
)
def test_calls_survive_signals_and_forks_at_any_moment(tmp_path, events, number, names):
    number = str(int(getattr(signal, number)))
    assert run_python(OPERATIONS + events, tmp_path, *names, NUMBER=number).split() == ["done"]


POOL = """
import multiprocessing
import sys
import warnings

import numpy as np
import fastnn

warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)

def train(seed):
    random = np.random.default_rng(0)
    X, y = random.normal(size=(100, 4)), random.integers(0, 3, 100)
    model = fastnn.Model([4, 8, 3], random_state=seed)
    model.train(X, y, num_passes=20, epsilon=1e-3, n_threads=2)
    return b"".join(map(bytes, (*model.W, *model.b))) + model.predict_proba(X).tobytes()

if __name__ == "__main__":
    expected = [train(seed) for seed in range(6)]
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        assert pool.map(train, range(6)) == expected
    assert train(0) == expected[0]
    print("done")
"""


@posix
@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_processes_of_a_pool_compute_the_same(tmp_path, method):
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    # Such children import the main program by its path: it must be the script.
    program = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]], check=True)"
    assert run_python(program, script, method).split() == ["done"]


def test_an_interrupt_waits_for_the_outer_context_but_not_in_users_code():
    done = []

    @defer_signals(lambda: done.append("noted"))
    def work():
        with defer_signals():
            signal.raise_signal(signal.SIGINT)
            done.append("inner")
        done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["noted", "inner", "outer"]
    threading.Thread(target=defer_signals().__enter__).start()  # does nothing in other threads
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    received = []
    old = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        with defer_signals():
            with let_interrupts_through():
                signal.raise_signal(signal.SIGINT)
                assert len(received) == 1, "the earlier handler is called at once"
            signal.raise_signal(signal.SIGINT)
            assert len(received) == 1
        assert len(received) == 2
    finally:
        signal.signal(signal.SIGINT, old)
