"""A plugin of Dask's workers, as the page on clusters shows it."""

import re
from pathlib import Path

import pytest
from processes import run_python
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
