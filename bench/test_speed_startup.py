"""Benchmarks of imports, compilation and the command, each in a new process."""

import cases
import pytest

# The program imports fastnn, then prints the seconds of a first call, compilation included, in float64.
COMPILE = """
import time, numpy as np, fastnn
model = fastnn.Model([2, 3, 2], random_state=0)
X, y = np.zeros((20, 2)), np.zeros(20, np.int64)
started = time.perf_counter()
{action}
print(time.perf_counter() - started)
"""
ACTIONS = {
    "train": "model.train(X, y, num_passes=1)",
    "predict": "model.predict(X)",
    "predict_proba": "model.predict_proba(X)",
    "loss": "model.calculate_loss(X, y)",
    "grid": "fastnn.render_boundary(model, (0, 1), (0, 1), 10)",
    "grid by squares": 'fastnn.render_boundary(model, (0, 1), (0, 1), 10, method="certified")',
}


class ChildClock:
    """A benchmark's timer that advances by the seconds child processes report, without their start."""

    seconds = 0.0

    @classmethod
    def now(cls) -> float:
        """Return the seconds reported so far."""
        return cls.seconds


@pytest.mark.benchmark(timer=ChildClock.now)
@pytest.mark.parametrize("kernel", ACTIONS)
def test_compilation(benchmark, kernel, tmp_path):
    """Benchmark first calls with an empty cache."""
    benchmark.group = "first call, compilation included"
    folders = iter(range(100))

    def first_call():
        folder = tmp_path / str(next(folders))
        ChildClock.seconds += sum(cases.python_seconds(COMPILE.format(action=ACTIONS[kernel]), folder))

    benchmark.pedantic(first_call, rounds=2)


@pytest.mark.parametrize("side", cases.FIRST_FITS)
def test_first_fit(benchmark, side):
    """Benchmark a new process to the end of its first fit, of fastnn and of scikit-learn."""
    benchmark.group = "first fit"
    benchmark.pedantic(cases.python, (cases.FIRST_FITS[side],), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("action", [cases.moons_cold, cases.moons_command], ids=["empty cache", "warm"])
def test_moons(benchmark, action):
    """Benchmark ``fastnn moons`` with an empty and with a filled cache."""
    benchmark.group = "fastnn moons"
    action()
    benchmark.pedantic(action, rounds=2)
