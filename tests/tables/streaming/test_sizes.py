"""Parts of streamed fits: moments of the target, the scan of a file, epochs, sizes in memory."""

import sys

import numpy as np
import pytest
from extras import all_need, optional
from parquet_files import COLUMNS, table
from processes import run_python

from fastnn.tables.moments import Moments, RunningMoments
from fastnn.tables.streaming.fit import needed_bytes, streamed_epochs
from fastnn.tables.streaming.parquet import ParquetRows
from fastnn.tables.streaming.rows import Scan, Sizes

pytestmark = all_need("pandas", "pyarrow")
pa = optional("pyarrow")
pq = optional("pyarrow.parquet")


def test_running_moments_are_those_of_the_whole():
    random = np.random.RandomState(0)
    y, weights = 1e6 + random.normal(size=1000), random.rand(1000)
    weights[:100] = 0
    running = RunningMoments()
    for first in range(0, 1000, 100):
        running.add(y[first : first + 100], weights[first : first + 100])
    whole, found = Moments.of(y, weights), running.result()
    assert found.mean == pytest.approx(whole.mean, rel=1e-13)
    assert found.deviation == pytest.approx(whole.deviation, rel=1e-9)
    assert (found.least, found.largest) == (y.min(), y.max())


def test_running_moments_are_refused_beyond_all_floats():
    running = RunningMoments()
    for number in (1e200, -1e200):
        running.add(np.full(2, number), np.ones(2))
    with pytest.raises(ValueError, match=r"y holds numbers from -1e\+200 to 1e\+200, .*: scale y down"):
        running.result()


def test_moments_of_numbers_whose_squares_vanish_are_refused():
    running = RunningMoments()
    running.add(np.array([1e-160, 3e-160]), np.ones(2))
    with pytest.raises(ValueError, match=r"from 1e-160 to 3e-160, .* vanish: scale y up"):
        running.result()
    running.add(np.array([1e-140]), np.ones(1))
    assert 0.4e-140 < running.result().deviation < 0.6e-140


def test_the_scan_keeps_chosen_rows_and_counts_classes(path):
    files = ParquetRows(path, "sort", columns=COLUMNS)
    rows = np.array([5, 800, 801, 1999])

    class Bar:
        n = 0

        def update(self, n):
            self.n += n

    bar = Bar()
    scan = Scan(files, True, rows, rows[1:3], bar)
    assert bar.n == scan.n_rows == 2000
    assert set(rows) <= set(scan.sample.rows.tolist())
    np.testing.assert_array_equal(scan.validation.rows, [800, 801])
    assert scan.counts == table()["sort"].value_counts().to_dict()


def test_larger_files_have_fewer_epochs():
    assert streamed_epochs(128, 10_000) == 128
    assert streamed_epochs(128, 1 << 20) == 128
    assert streamed_epochs(128, 20_000_000) == 7
    assert streamed_epochs(48, 10**12) == 1


@pytest.mark.parametrize("limit", [64 << 20, 1 << 30, 8 << 30])
@pytest.mark.parametrize("n_features", [20, 400, 5000])
def test_sizes_stay_within_the_limit(path, monkeypatch, limit, n_features):
    monkeypatch.undo()  # the small buffers of the fixture `_small_fits`
    files = ParquetRows(path, "sort", columns=COLUMNS)
    files.n_rows = 10**8
    sizes = Sizes.within(limit, files, n_features, 5, 5, 256)
    row = 4 * n_features
    assert sizes.n_validation * 5 * row <= limit / 8
    assert 2 * sizes.capacity * row <= limit / 4 + 2 * 256 * row
    assert sizes.capacity % 256 == 0
    assert sizes.n_open * 3 * 2**20 * 7 <= max(limit / 4, 3 * 2**20 * 7)
    assert 2 <= sizes.n_sampled <= 100_000


PEAK = """
    import re, sys
    from pathlib import Path
    import fastnn
    from fastnn_kernels.compiler import jit

    path, limit, compiled = sys.argv[1], int(sys.argv[2]), []
    jit.compilation_listeners.append(compiled.append)
    model = fastnn.TabularClassifier(random_state=0)
    model.fit(path, "sort", memory_limit=limit, passes=1)
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
    print(1024 * int(peak), model.oof_accuracy_, len(compiled))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process as Linux writes it")
def test_a_streamed_fit_stays_within_the_memory_limit(tmp_path):
    """The file needs ten times the limit. The documentation grants Python and its libraries 300 MiB more."""
    random = np.random.default_rng(0)
    n_rows, group, limit = 150_000, 25_000, 128 << 20

    columns = {f"x{k}": random.normal(size=n_rows) for k in range(19)}
    columns["sort"] = np.where(columns["x0"] * columns["x1"] > 0, "a", "b")
    columns["town"] = random.choice(["north", "south", "east"], n_rows)
    path = tmp_path / "large.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=group)
    assert needed_bytes(ParquetRows(path, "sort"), 5, 16) > 10 * limit
    n_bytes, accuracy, n_compiled = run_python(PEAK, path, limit).split()
    if n_compiled != "0":  # the compiler takes memory as well
        n_bytes, accuracy, n_compiled = run_python(PEAK, path, limit).split()
    assert n_compiled == "0"
    assert int(n_bytes) < limit + (300 << 20)
    assert float(accuracy) > 0.8
