"""Files whose values have been changed: every one is refused, or can be used without a crash."""

import os
import sys
from pathlib import Path

import pytest
from processes import run_program
from saved_models import CASES, WITH_PANDAS

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the memory of a process is limited by means of Linux"
)

# Number of changed files of every object is a fortieth; more by hand: FASTNN_MUTATIONS=20000.
N_MUTATIONS = int(os.environ.get("FASTNN_MUTATIONS", "200"))
HELPERS = Path(__file__).parents[1] / "helpers"


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([name for name in CASES if name not in WITH_PANDAS], id="networks"),
        pytest.param([*WITH_PANDAS], id="tables", marks=pytest.mark.needs("pandas")),
    ],
)
def test_changed_values_are_refused_or_used_without_a_crash(names, tmp_path):
    """Predictions, fits, partial fits, resumed trainings and further files run in a process of their own."""
    root = HELPERS.parents[1]
    folders = [root, root / "kernels", HELPERS, os.environ.get("PYTHONPATH", "")]
    arguments = [tmp_path, str(max(1, N_MUTATIONS // 40)), *names]
    try:
        run_program(HELPERS / "mutated_files.py", *arguments, PYTHONPATH=os.pathsep.join(map(str, folders)))
    except AssertionError as error:
        error.add_note((tmp_path / "log").read_text(encoding="utf-8").splitlines()[-1])
        raise
