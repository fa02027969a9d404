"""Fixtures of the tests of streamed fits: small networks and buffers, a file, finished fits, interrupts."""

import functools
from dataclasses import replace

import pytest
from parquet_files import table, written
from streamed_fits import streamed

from fastnn.tables import presets as tabular_presets
from fastnn.tables.presets import Preset, Recipe
from fastnn.tables.streaming import fit as streaming
from fastnn.tables.streaming.fit import StreamedFit
from fastnn.tables.streaming.rows import Sizes

# Fewer epochs than usual need larger steps.
RECIPE = Recipe("selu", "lecun_normal", 0.02)


@pytest.fixture(autouse=True)
def _small_fits(monkeypatch):
    """Replace the presets by small networks and few epochs; an epoch reads several small buffers."""
    monkeypatch.setitem(tabular_presets.PRESETS, "good", Preset(5, (16, 16), 24, RECIPE))
    monkeypatch.setitem(tabular_presets.PRESETS, "fast", Preset(1, (16,), 12, RECIPE))
    within = Sizes.within

    def within_a_small_buffer(*arguments):
        return replace(within(*arguments), capacity=768, n_open=3)

    monkeypatch.setattr(streaming.Sizes, "within", within_a_small_buffer)


@pytest.fixture
def path(tmp_path):
    """Return a Parquet file of 2000 rows in seven row groups."""
    return written(table(), tmp_path / "a.parquet")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return a function that returns a fitted estimator, and the files of its table and its checkpoint.

    Tests share the estimators of equal arguments, and must not change the files.
    """

    @functools.cache
    def fitted(kind, **arguments):
        folder = tmp_path_factory.mktemp("finished")
        path = written(table(), folder / "a.parquet")
        return streamed(kind, path, folder, **arguments), path, folder / "run.fastnn"

    return fitted


@pytest.fixture
def interrupted_after(monkeypatch):
    """Return a function that lets fits be interrupted after some buffers, as by Ctrl-C.

    If `within`, the interrupt comes during the training on the next buffer.
    """

    def after(n_buffers, within=False):
        def train_on(self, portion):
            if self.n_done == n_buffers:
                if within:
                    side_by_side = streaming.run_side_by_side

                    def interrupted(*arguments):
                        side_by_side(*arguments)
                        raise KeyboardInterrupt

                    with monkeypatch.context() as patch:
                        patch.setattr(streaming, "run_side_by_side", interrupted)
                        trained(self, portion)
                raise KeyboardInterrupt
            trained(self, portion)

        monkeypatch.setattr(StreamedFit, "_train_on", train_on)

    trained = StreamedFit._train_on
    yield after
    monkeypatch.setattr(StreamedFit, "_train_on", trained)
