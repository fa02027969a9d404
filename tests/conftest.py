"""Settings and fixtures of the whole suite."""

import gc
import os
import re
import signal
import sys

import hypothesis
import numpy as np
import pytest
from extras import missing

import fastnn.system.threads

os.environ["MPLBACKEND"] = "Agg"

# A browser's Python has neither threads nor processes, and no numba.
IN_BROWSER = sys.platform == "emscripten"

# A shell starts background processes with SIGINT ignored: a test that waits for Ctrl-C would hang.
# Processes that tests start inherit the disposition.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Numba compiles the kernels, library or not, unless FASTNN_PREBUILT=1 asks for the library. Processes
# that tests start inherit the setting.
if not IN_BROWSER:
    os.environ.setdefault("FASTNN_PREBUILT", "0")

# fastnn starts no more threads than there are cores: pretend that every machine has enough for all tests.
if not IN_BROWSER:
    fastnn.system.threads.count_cores = lambda: 8

# The first example of a test may compile kernels, and a busy machine may draw examples slowly: limit no time.
# Examples are the same in every run, so that a failure in CI can be reproduced elsewhere. There are fewer of
# them, FASTNN_EXAMPLES, where tests are repeated with vectors of another width or other versions.
hypothesis.settings.register_profile(
    "fastnn",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=True,
    max_examples=int(os.environ.get("FASTNN_EXAMPLES", 60)),
)
hypothesis.settings.load_profile("fastnn")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Collect tests without the garbage collector, and spare it the millions of objects that exist then."""
    # Hypothesis 6.100 creates its generator with the first example, collects garbage, and warns unless the
    # collector finds a reference to it. References of frozen objects are not found: draw an example now.
    hypothesis.find(hypothesis.strategies.none(), lambda example: True)
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_itemcollected(item):
    """Skip a test with the mark `needs` where a package is missing, and with `native` in a browser.

    scikit-learn's checks of dataframes skip themselves without pandas. They get the mark here.
    """
    check = item.callspec.params.get("check") if hasattr(item, "callspec") else None
    name = getattr(getattr(check, "func", check), "__name__", "")
    if re.search("pandas|dataframe|(classifier|regressor)_data_not_an_array", name):
        item.add_marker(pytest.mark.needs("pandas"))
    reason = missing(*(name for mark in item.iter_markers("needs") for name in mark.args))
    if IN_BROWSER and (mark := item.get_closest_marker("native")):
        reason = f"a browser's Python has no {mark.args[0]}"
    if reason:
        item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _no_figure_left_open():
    """Close every figure of pyplot: `plt.gca()` must not find the axes of an earlier test."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session", autouse=True)
def _own_state_folder(tmp_path_factory):
    """Keep the state of programs, such as the playground's token, away from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(params=["numba", "numpy"])
def backend(request):
    return request.param


@pytest.fixture(params=[np.dtype("float64"), np.dtype("float32")], ids=str)
def dtype(request):
    return request.param


@pytest.fixture
def package(tmp_path):
    """Return a copy of the kernels without compiled files."""
    from kernel_packages import KERNELS, copy_kernels  # not at the top: a browser has no numba

    return copy_kernels(KERNELS, tmp_path)
