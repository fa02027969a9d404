"""Attacks by signals: a call can be interrupted at any moment and repeated with the same result.

The signal is raised in C at a chosen opcode of the call, where Python handles it like a signal of the system.
Opcodes are counted, not timed, and the numbers of the chosen ones are drawn with a fixed seed.
"""

import os
import signal

import pytest
from processes import run_python

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")]

MOMENTS = 30

PROGRAM = """
    import ctypes, functools, random, signal, sys, threading, warnings
    from pathlib import Path
    import numpy as np
    import fastnn
    from fastnn.engine import limits
    from fastnn.system import threads

    # Python drops an exception that a handler raises while an object is finalised: do not print it.
    sys.unraisablehook = lambda unraisable: None
    warnings.simplefilter("ignore")
    number, moments, folder, names = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]
    threads.available_cores = lambda: 2
    limits.SHARED_OPERATIONS, limits.FIRST_CALL_OPERATIONS = 0, 2e7
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
        model = fastnn.Model([20, 64, 64, 3], random_state=0)
        options = {"num_passes": 4, "epsilon": 1e-4, "random_state": 0} | options
        model.train(X, y, n_threads=n_threads, **options)
        return model._parameters.tobytes()

    def diverge():
        try:
            train(1, num_passes=50, epsilon=100.0, batch_size=64)
        except fastnn.DivergenceError as error:
            return str(error)

    def weights(*fits):
        return b"".join(W.tobytes() for fit in fits for W in fit.coefs_)

    def classifier(k=0):
        return fastnn.MLPClassifier((6,), max_iter=4, random_state=k)

    def fit_many():
        many = [classifier(k) for k in range(3)]
        fastnn.fit_many(many, X, y, n_jobs=2)
        return weights(*many)

    def render(suffix, **options):
        fastnn.render_boundary(fitted, *view, 96, out=folder / f"a{suffix}", n_threads=2, **options)
        return contents()

    def animate():
        model = fastnn.Model([2, 3, 2], random_state=0)
        fastnn.animate_training(model, X2, y2, folder / "a.gif", num_passes=20, frames=2, size=(160, 120))
        return model._parameters.tobytes(), contents()

    OPERATIONS = {
        "train": lambda: train(1, batch_size=64),
        "train on threads": lambda: train(2, batch_size=64),
        "lbfgs": lambda: train(1, optimizer="lbfgs"),
        "diverge": diverge,
        "fit": lambda: weights(classifier().fit(X, y)),
        "fit_many": fit_many,
        "predict": lambda: wide.predict_proba(large).tobytes(),
        "png": lambda: render(".png", method="dense"),
        "certified": lambda: render(".dzi", method="certified"),
        "tif": lambda: render(".tif"),
        "lines": lambda: str(fastnn.boundary_lines(fitted, *view, tolerance=0.1, n_threads=2)),
        "animate": animate,
    }

    class AlarmError(Exception):
        pass

    def handler(number, frame):
        sys.settrace(None)
        raise KeyboardInterrupt if number == signal.SIGINT else AlarmError

    def untraced(frame, event, argument):
        return None

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
            sys.settrace(untraced)
            frame.f_trace = self.raised  # in C: Python would run the handler inside a Python function
            return self.raised

    def check(place, before):
        assert threads._budget.in_use == 0, place
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
        signal.signal(number, handler)
        n_raised = 0
        drawn = random.Random(0)
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
                check(moment.place, before)  # the traceback is still alive, as in interactive sessions
                assert operation() == expected, moment.place
                del error
            check(moment.place, before)
            assert operation() == expected, moment.place
            # Calls that a handler's exception ended have restored all signal handlers.
            assert signal.getsignal(number) is handler, moment.place
            assert number == signal.SIGINT or signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert n_raised > moments // 4, (name, n_raised)
    others = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    for thread in others:
        thread.join(600)
        assert not thread.is_alive()
    print("done")
"""

# Operations that one process tries.
GROUPS = [
    ["train", "train on threads", "lbfgs", "diverge", "fit", "fit_many", "predict"],
    ["png", "certified", "lines"],
    pytest.param(["tif"], marks=pytest.mark.needs("tifffile")),
    ["animate"],
]
# Operations tried with a user's own handler; each of the others takes the path of one of these.
BY_ALARM = ["train on threads", "fit_many", "predict", "png"]


@pytest.mark.parametrize("names", GROUPS, ids=", ".join)
def test_calls_can_be_interrupted_by_ctrl_c_at_any_moment(tmp_path, names):
    moments = 5 if names == ["animate"] else MOMENTS  # each of its runs takes a third of a second
    assert run_python(PROGRAM, int(signal.SIGINT), moments, tmp_path, *names).split() == ["done"]


def test_calls_can_be_ended_by_a_handler_that_raises_at_any_moment(tmp_path):
    assert run_python(PROGRAM, int(signal.SIGALRM), MOMENTS, tmp_path, *BY_ALARM).split() == ["done"]


@pytest.mark.fuzz
@pytest.mark.parametrize("number", ["SIGINT", "SIGALRM", "SIGTERM", "SIGUSR1"])
@pytest.mark.parametrize("names", GROUPS, ids=", ".join)
def test_calls_can_be_interrupted_at_many_more_moments(tmp_path, names, number):
    number = int(getattr(signal, number))
    assert run_python(PROGRAM, number, 20 * MOMENTS, tmp_path, *names).split() == ["done"]


TIMER = """
    import signal, sys
    import numpy as np
    import fastnn

    random = np.random.default_rng(0)
    X, y = random.normal(size=(300, 20)), random.integers(0, 3, 300)
    large = random.normal(size=(200000, 20))
    fitted = fastnn.Model([2, 16, 2], random_state=0)

    def results():
        model = fastnn.Model([20, 16, 3], random_state=0)
        model.train(X, y, num_passes=200, epsilon=1e-4, batch_size=32, random_state=0)
        image = fastnn.render_boundary(fitted, (-2, 2), (-2, 2), 700, method="dense")
        return model._parameters.tobytes() + model.predict_proba(large).tobytes() + image.data.tobytes()

    expected, calls = results(), []
    signal.signal(signal.SIGALRM, lambda number, frame: calls.append(frame is not None))
    signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
    assert results() == expected
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert calls and all(calls)

    class TimeOutError(Exception):
        pass

    def give_up(number, frame):
        raise TimeOutError

    signal.signal(signal.SIGALRM, give_up)
    for call in (
        lambda model: model.train(X, y, num_passes=10**12, epsilon=1e-5),
        lambda model: fastnn.render_boundary(
            fitted, (-2, 2), (-2, 2), 10**5, method="dense", out=sys.argv[1]
        ),
    ):
        model = fastnn.Model([20, 16, 3], random_state=0)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            call(model)
        except TimeOutError:
            print("time-out")
    assert results() == expected
"""


def test_a_timer_changes_no_result_and_a_time_out_ends_long_calls(tmp_path):
    assert run_python(TIMER, tmp_path / "a.png").split() == ["time-out"] * 2
    assert list(tmp_path.iterdir()) == []


KILLED = """
    import os, random, shutil, signal, sys, time
    from pathlib import Path
    import fastnn

    folder = Path(sys.argv[1])
    view = (0, 1), (0, 1)

    def write(out, k):
        regions = lambda P: P[:, 0] > 0.3 * (k % 2 + 1)
        fastnn.render_boundary(regions, *view, 60, classes=[False, True], out=out)

    def contents():
        return {
            path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".fastnn-")
        }

    drawn = random.Random(0)
    for suffix in (".png", ".tif", ".svg"):
        known = []
        for k in range(2):
            write(folder / f"a{suffix}", k)
            known.append(contents())
        assert known[0] != known[1]
        for k in range(8):
            child = os.fork()
            if child == 0:
                while True:
                    write(folder / f"a{suffix}", drawn.randrange(2))
            time.sleep(drawn.uniform(0, 0.03))
            os.kill(child, signal.SIGKILL if k % 2 else signal.SIGTERM)
            os.waitpid(child, 0)
            assert contents() in known, suffix
        write(folder / f"a{suffix}", 0)
        drafts = [path for path in folder.iterdir() if path.name != f"a{suffix}"]
        assert all(path.name.startswith(".fastnn-") for path in drafts), suffix
        for path in (*drafts, folder / f"a{suffix}"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    print("done")
"""


@pytest.mark.needs("tifffile")
def test_killed_processes_leave_complete_pictures(tmp_path):
    assert run_python(KILLED, tmp_path).split() == ["done"]
