"""Fixtures of the tests of tables."""

import pytest
from extras import missing, optional

from fastnn.tables.presets import PRESETS, Preset

fsspec = optional("fsspec")

# The commands import pandas, and the tests of reports the commands' scores.
collect_ignore_glob = ["commands/test_*.py", "report/test_*.py"] if missing("pandas") else []


@pytest.fixture
def small_presets(monkeypatch):
    """Replace the presets by small networks and few epochs: most tests do not need good predictions."""
    monkeypatch.setitem(PRESETS, "good", Preset(5, (16, 16), 24))
    monkeypatch.setitem(PRESETS, "fast", Preset(1, (16,), 16))


@pytest.fixture
def memory():
    """Return a function that writes a file into fsspec's memory, and returns its URL."""
    files = fsspec.filesystem("memory")

    def write(name, content):
        with files.open(f"/tables/{name}", "wb") as file:
            file.write(content)
        return f"memory://tables/{name}"

    yield write
    files.rm("/tables", recursive=True)
