"""Tools that run fits on processes of their own, dask-ml and Optuna, as the page on clusters shows them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from processes import PATIENCE, run_python
from site_extensions import extension

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "use" / "cluster.md").read_text(encoding="utf-8")


def find_code(word):
    """Return the code of the page, not run by the site, that contains a word."""
    codes = re.findall(r"^```py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (code,) = (code for code in codes if word in code)
    return code


PLUGIN = """
if __name__ == "__main__":
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        exec(code)
        print(sum(client.run(lambda: "fastnn" in __import__("sys").modules).values()))
"""


@pytest.mark.needs("dask")
def test_the_plugin_of_the_page_fits_on_every_worker():
    cells = extension("notebooks").cells(PAGE)
    (setting,) = (cell.code for cell in cells if "def networks" in cell.code)
    data = setting.split("\nhere = ")[0]
    program = f"{data}\ncode = {find_code('WorkerPlugin')!r}\n{PLUGIN}"
    assert run_python(program).split() == ["2"]


TRIALS = """
code = {code!r}
program, optimize = code.split("study.optimize")
exec(program)
complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
assert [trial.number for trial in study.trials] == list(range(len(complete)))
for trial in complete:
    assert objective(optuna.trial.FixedTrial(trial.params)) == trial.value
print(len(complete), study.best_value > 0.9)
"""


@pytest.mark.needs("optuna")
def test_two_processes_work_on_the_study_of_the_page(tmp_path):
    code = find_code("JournalStorage")
    arguments = [sys.executable, "-W", "ignore", "-c", code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    processes = [subprocess.Popen(arguments, cwd=tmp_path, **pipes) for _ in range(2)]
    outputs = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert [len(re.findall(r"Trial \d+ finished", output)) for output in outputs] == [20, 20]
    program = f"import os\nos.chdir({str(tmp_path)!r})\n" + TRIALS.format(code=code)
    assert run_python(program, PYTHONWARNINGS="ignore").split()[-2:] == ["40", "True"]
