"""Run the tests of models, trainings, pictures and files in a browser's Python.

A test that imports a package that this Python lacks, such as SciPy, is skipped, and so is a file that
imports it at its top.
"""

import os
import re

import pytest

FOLDERS = ["engine", "training", "boundary", "saving"]
FILES = ["test_backprop.py", "test_model.py", "test_model_inputs.py", "test_schedules.py", *FOLDERS]
# With NumPy alone, more than 700 tests pass: most of them must not be skipped unnoticed.
MIN_PASSED = 600
LACKING = re.compile(
    r"^E +ModuleNotFoundError: No module named '"
    r"(PIL|contourpy|llvmlite|matplotlib|numba|psutil|scipy|sklearn)\b",
    re.MULTILINE,
)


class Skips:
    """Skip what needs a package that is missing here; count what passes."""

    n_passed = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector):
        return self.change((yield), collector)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item):
        report = self.change((yield), item)
        self.n_passed += report.when == "call" and report.passed
        return report

    def change(self, report, node):
        if report.failed and (found := LACKING.findall(report.longreprtext)):
            report.outcome, report.longrepr = "skipped", (str(node.path), 0, f"needs {found[-1]}")
        return report


os.environ["FASTNN_EXAMPLES"] = "5"
os.chdir("/repository")
skips = Skips()
# A watchdog would be a thread.
options = ["-q", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=0", "--tb=short"]
status = pytest.main([*options, *(f"tests/{name}" for name in FILES)], plugins=[skips])
assert status == 0, status
assert skips.n_passed >= MIN_PASSED, skips.n_passed
