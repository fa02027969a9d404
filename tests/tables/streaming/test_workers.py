"""Streamed fits on the workers of a joblib backend: every network reads the files for itself."""

import pickle

import joblib
import numpy as np
import pytest
from extras import all_need, optional
from joblib_backends import LosingBackend, PicklingBackend
from parquet_files import COLUMNS, table
from processes import run_python
from sklearn.exceptions import ConvergenceWarning
from streamed_fits import TARGETS, check_equal, streamed

import fastnn
from fastnn import Checkpoint, TabularClassifier, TabularRegressor
from fastnn.estimators import fitting
from fastnn.tables.streaming import fit as streaming
from fastnn.tables.streaming.fit import StreamedFit
from fastnn.tables.streaming.parquet import ParquetRows

pytestmark = all_need("pandas", "pyarrow")
pds = optional("pyarrow.dataset")


class Backend(PicklingBackend):
    """Workers that get arrays beside a pickle, as those of Dask do, at addresses of any alignment."""

    def _called(self, number, content):
        arrays = []
        content = pickle.dumps(pickle.loads(content), 5, buffer_callback=arrays.append)
        return pickle.loads(
            content, buffers=[memoryview(bytearray(b"." + one.raw()))[1:] for one in arrays]
        )()


@pytest.fixture
def workers():
    """Choose a backend, whose workers get and return pickles."""
    backend = Backend()
    with joblib.parallel_config(backend):
        yield backend


@pytest.fixture
def sent(monkeypatch):
    """Return a list, to which the numbers of epochs of all tasks are added before a worker computes them."""
    passes, fit_all = [], streaming.fit_all

    def recorded(function, runs, own, shared, *arguments, **options):
        passes.append(shared[1])
        fit_all(function, runs, own, shared, *arguments, **options)

    monkeypatch.setattr(streaming, "fit_all", recorded)
    return passes


@pytest.mark.parametrize("kind", TARGETS)
def test_streamed_fits_on_workers_are_the_same(finished, tmp_path, workers, sent, kind):
    settings = {"quantiles": (0.2,)} if kind is TabularRegressor else {"scoring": "accuracy"}
    with joblib.parallel_config("threading"):
        expected, path, saved = finished(kind, passes=4, settings=tuple(settings.items()))
    found = streamed(kind, path, tmp_path, passes=4, settings=settings)
    assert workers.n_batches >= len(found.estimators_)
    assert sent == [
        1,
        2,
        3,
        4,
    ]  # the checkpoint is written when time has passed: after an epoch at the earliest
    check_equal(found, expected, table())
    ours, theirs = fastnn.load(tmp_path / "run.fastnn"), fastnn.load(saved)
    check_equal(ours, theirs, table())
    assert ours._stream["runs"] == theirs._stream["runs"]


def test_without_a_checkpoint_a_network_is_one_task(finished, path, workers, sent, monkeypatch):
    with joblib.parallel_config("threading"):
        expected = finished(TabularRegressor, passes=4)[0]
    monkeypatch.setattr("fastnn.tables.fits.needed_bytes", lambda *_: 1 << 60)
    dataset = pds.dataset(str(path), format="parquet")
    for source in (path, dataset):
        model = TabularRegressor(random_state=0).fit(source, "size", columns=COLUMNS, passes=4)
        check_equal(model, expected, table())
    assert sent == [4, 4]


def test_workers_may_run_in_another_folder(path, tmp_path, monkeypatch):
    monkeypatch.chdir(path.parent)
    files = ParquetRows(path.name, "size")
    content, expected = pickle.dumps(files), files.read().data
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert pickle.loads(content).read().data.equals(expected)


def test_checkpoints_of_workers_resume_here_and_there(finished, tmp_path, workers, sent, monkeypatch):
    with joblib.parallel_config("threading"):
        expected, path, _ = finished(TabularClassifier, passes=5)
    checkpoint = Checkpoint(tmp_path / "run.fastnn", every=2)
    trained = StreamedFit._train_on

    def interrupted(self, portion):
        if self.n_done == 8 and self.runs[0].place == 3:
            raise KeyboardInterrupt
        trained(self, portion)

    given = {"checkpoint": checkpoint, "resume": checkpoint, "passes": 5}
    with monkeypatch.context() as patch:
        patch.setattr(StreamedFit, "_train_on", interrupted)
        with pytest.raises(KeyboardInterrupt):
            streamed(TabularClassifier, path, tmp_path, **given)
    # The first checkpoint shows early if saving fails.
    assert sent == [1, 2, 4]
    saved = (tmp_path / "run.fastnn").read_bytes()
    assert fastnn.load(tmp_path / "run.fastnn")._stream["n_buffers"] == 6
    check_equal(streamed(TabularClassifier, path, tmp_path, **given), expected, table())
    assert sent == [1, 2, 4, 4, 5]
    (tmp_path / "run.fastnn").write_bytes(saved)
    with joblib.parallel_config("threading"):
        check_equal(streamed(TabularClassifier, path, tmp_path, **given), expected, table())
    assert len(sent) == 5


def test_a_fit_that_was_interrupted_within_an_epoch_resumes_on_workers(
    finished, tmp_path, workers, interrupted_after, monkeypatch
):
    trained = StreamedFit._train_on
    with joblib.parallel_config("threading"):
        expected, path, _ = finished(TabularRegressor, passes=4)
        interrupted_after(5)
        with pytest.raises(KeyboardInterrupt):
            streamed(TabularRegressor, path, tmp_path, passes=4)
    monkeypatch.setattr(StreamedFit, "_train_on", trained)
    model = streamed(TabularRegressor, path, tmp_path, passes=4, resume=tmp_path / "run.fastnn")
    check_equal(model, expected, table())


def test_what_a_lost_worker_trained_is_trained_again(finished, tmp_path, monkeypatch):
    expected, path, _ = finished(TabularRegressor, passes=2)
    monkeypatch.setattr(LosingBackend, "lost", (2, 7))
    with joblib.parallel_config(LosingBackend()):
        check_equal(streamed(TabularRegressor, path, tmp_path, passes=2), expected, table())


def test_the_bar_counts_the_rows_of_all_epochs(path, tmp_path, workers, capsys):
    streamed(TabularRegressor, path, tmp_path, passes=2, progress=True)
    errors = capsys.readouterr().err
    assert "reading: 100%" in errors
    assert "4.00k/4.00k" in errors


def test_a_worker_that_lacks_the_files_is_an_error(path, tmp_path, workers, monkeypatch):
    called = Backend._called

    def without_files(self, number, content):
        path.rename(tmp_path / "hidden")
        try:
            return called(self, number, content)
        finally:
            (tmp_path / "hidden").rename(path)

    monkeypatch.setattr(Backend, "_called", without_files)
    message = r"a.parquet has changed .* or .* lacks it: all workers must find the files by the same"
    with pytest.raises(ValueError, match=message) as raised:
        streamed(TabularRegressor, path, tmp_path, passes=1)
    assert raised.value.__notes__ == ["This was the fit of estimator 0 of 5, counted from 0."]


def test_files_that_a_worker_may_not_read_are_named(path, tmp_path, workers, monkeypatch):
    def refused(*arguments):
        raise PermissionError("permission denied")
        yield

    model = TabularRegressor(random_state=0)
    scanned = StreamedFit._scanned

    def then_refused(self, holds_out):
        scan = scanned(self, holds_out)
        monkeypatch.setattr(streaming.ParquetRows, "batches", refused)
        return scan

    monkeypatch.setattr(StreamedFit, "_scanned", then_refused)
    with pytest.raises(ValueError, match=r"a.parquet, row group .: the file cannot be read: permission"):
        model.fit(path, "size", columns=COLUMNS, checkpoint=tmp_path / "run.fastnn")
    assert not hasattr(model, "estimators_")


def test_divergence_on_a_worker_warns_here_and_keeps_the_best(path, tmp_path, workers, monkeypatch):
    trained = StreamedFit._train_on

    def diverging(self, portion):
        if self.n_done == 4 and self.runs[0].place == 1:
            self.runs[0].member.learning_rate_init = 1e300
        trained(self, portion)

    monkeypatch.setattr(StreamedFit, "_train_on", diverging)
    with pytest.warns(ConvergenceWarning, match="the parameters with the best validation score"):
        model = streamed(TabularRegressor, path, tmp_path, passes=3)
    assert np.isfinite(model.predict(table()[COLUMNS])).all()


def test_a_network_that_diverges_at_once_is_named(path, tmp_path, workers, monkeypatch):
    created = StreamedFit._create_runs

    def steep(self):
        created(self)
        self.runs[3].member.learning_rate_init = 1e300

    monkeypatch.setattr(StreamedFit, "_create_runs", steep)
    with pytest.raises(fitting.FitDivergenceError) as raised:
        streamed(TabularRegressor, path, tmp_path, passes=3)
    assert raised.value.__notes__ == ["This was the fit of estimator 3 of 5, counted from 0."]


def test_a_time_limit_ends_every_task(path, tmp_path, workers):
    model = streamed(TabularRegressor, path, tmp_path, settings={"time_limit": 1e-9})
    assert workers.n_batches == 5
    assert {member.n_iter_ for member in model.estimators_} == {1}
    assert np.isfinite(model.predict(table()[COLUMNS])).all()
    assert not (tmp_path / "run.fastnn").exists()  # the networks are not equally far


def test_one_network_is_trained_in_this_process(path, tmp_path, workers, sent):
    streamed(TabularRegressor, path, tmp_path, passes=1, settings={"preset": "fast"})
    assert not sent


def test_what_goes_to_a_worker_holds_no_networks(path, tmp_path, monkeypatch):
    """Its size makes joblib's backend for Dask send it to each worker only once."""
    kept, trained = [], StreamedFit._train
    monkeypatch.setattr(StreamedFit, "_train", lambda self: (kept.append(self), trained(self)))
    with joblib.parallel_config("threading"):
        streamed(TabularRegressor, path, tmp_path, passes=1)
    copy = pickle.loads(pickle.dumps(kept[0]))
    assert not hasattr(copy, "runs")
    assert copy.__sizeof__() >= copy.val[0].nbytes


ENGINES = """
import sys

import joblib
import numpy as np
from dask.distributed import Client, LocalCluster

from fastnn import TabularRegressor
from fastnn.tables import fits

fits.needed_bytes = lambda *arguments: 1 << 60


def weights():
    model = TabularRegressor(3, random_state=0).fit(sys.argv[1], "size", passes=2)
    return np.concatenate([one.ravel() for member in model.estimators_ for one in member.coefs_])


if __name__ == "__main__":
    expected = weights()
    with joblib.parallel_config("loky", n_jobs=2):
        assert np.array_equal(weights(), expected)
    options = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster), joblib.parallel_config("dask"):
        assert np.array_equal(weights(), expected)
    print("done")
"""


@pytest.mark.slow
@pytest.mark.needs("dask")
def test_streamed_fits_on_processes_are_the_same(path):
    assert run_python(ENGINES, path).split() == ["done"]
