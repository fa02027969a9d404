"""Tables that are named by URLs, for fits and for the commands."""

import re
import shutil
import sys

import joblib
import numpy as np
import pytest
from extras import all_need, optional
from joblib_backends import PicklingBackend
from parquet_files import COLUMNS, table, written
from streamed_fits import check_equal, streamed

import fastnn
from fastnn import TabularRegressor
from fastnn.cli.main import main as cli
from fastnn.tables.streaming.parquet import ParquetRows
from fastnn.tables.streaming.source import read_dataset, read_url, shown_source

pytestmark = all_need("pandas", "pyarrow")
pd = optional("pandas")
fsspec = optional("fsspec")


@pytest.fixture
def memory():
    """Return a folder in fsspec's memory as its URL, and a function that writes a file there."""
    files = fsspec.filesystem("memory")

    def write(name, content):
        with files.open(f"/tables/{name}", "wb") as file:
            file.write(content)
        return f"memory://tables/{name}"

    yield write
    files.rm("/tables", recursive=True)


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_streamed_fit_reads_urls_as_paths(finished, tmp_path, is_folder):
    expected, path, _ = finished(TabularRegressor, passes=2)
    if is_folder:
        path = shutil.copytree(path.parent, tmp_path / "parts", ignore=lambda *_: ["run.fastnn"])
    url = path.as_uri()
    check_equal(streamed(TabularRegressor, url, tmp_path, passes=2), expected, table())
    with joblib.parallel_config(PicklingBackend()):
        check_equal(streamed(TabularRegressor, url, tmp_path, passes=2), expected, table())


@pytest.mark.needs("fsspec")
def test_a_streamed_fit_reads_urls_of_fsspec(finished, tmp_path, memory):
    expected, path, _ = finished(TabularRegressor, passes=2)
    urls = memory("parts/a.parquet", path.read_bytes())
    for url in (urls, [urls], urls.rpartition("/")[0]):
        check_equal(streamed(TabularRegressor, url, tmp_path, passes=2), expected, table())
    with joblib.parallel_config(PicklingBackend()):
        check_equal(streamed(TabularRegressor, urls, tmp_path, passes=2), expected, table())
    model = TabularRegressor(preset="fast", random_state=0).fit(urls, "size", columns=COLUMNS)
    assert np.isfinite(model.predict(read_dataset(urls).select(COLUMNS))).all()


def test_names_of_folders_at_a_url_are_columns(tmp_path):
    (tmp_path / "year=2024").mkdir()
    written(table(20), tmp_path / "year=2024" / "a.parquet")
    assert set(read_dataset(tmp_path.as_uri())["year"].to_pylist()) == {2024}


@pytest.mark.needs("fsspec")
@pytest.mark.parametrize("form", ["a.parquet", "a.csv", "a.csv.gz", "folder"])
def test_commands_take_urls(tmp_path, monkeypatch, memory, form, capsys):
    monkeypatch.chdir(tmp_path)
    frame = table(300)[[*COLUMNS, "size"]]
    if form.endswith(".parquet") or form == "folder":
        frame.to_parquet("table", row_group_size=50)
    else:
        frame.to_csv("table", index=False, compression="gzip" if form.endswith("gz") else None)
    url = memory("f/a.parquet" if form == "folder" else form, (tmp_path / "table").read_bytes())
    url = url.removesuffix("/a.parquet") if form == "folder" else url
    options = ["--target", "size", "--preset", "fast", "--passes", "2"]
    assert cli(["train", url, *options, "--valid", url]) == 0
    assert f"\n{url}: 300 rows, 7 columns\n" in f"\n{capsys.readouterr().out}"
    assert cli(["predict", "run/model.fastnn", url, "-o", "p.csv"]) == 0
    assert cli(["evaluate", "run/model.fastnn", url]) == 0
    rows = pd.read_csv("p.csv")["prediction"]
    frame["day"] = pd.to_datetime(frame["day"])
    np.testing.assert_allclose(rows, fastnn.load("run/model.fastnn").predict(frame[COLUMNS]), rtol=1e-6)


def test_files_that_are_not_at_a_url_are_named(tmp_path):
    url = (tmp_path / "none.parquet").as_uri()
    with pytest.raises(FileNotFoundError, match=f"there is no file {re.escape(url)}"):
        ParquetRows(url, "size")
    with pytest.raises(FileNotFoundError, match=f"there is no file {re.escape(url)}"):
        read_url(url)


def test_the_files_of_a_list_lie_in_one_file_system(tmp_path):
    path = written(table(20), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="lie in different file systems: pass the files of one"):
        ParquetRows([path, path.as_uri()], "size")
    with pytest.raises(ValueError, match="is a folder: pass one folder, or a list of files alone"):
        ParquetRows([path.as_uri(), tmp_path.as_uri()], "size")
    assert ParquetRows([path.as_uri()] * 2, "size").n_rows == 40


@pytest.mark.needs("fsspec")
def test_urls_of_an_unknown_kind_are_refused_with_those_that_are_known():
    message = (
        "here://a/b cannot be read: Protocol not known: here: pyarrow and fsspec know URLs such as s3://"
    )
    with pytest.raises(ValueError, match=message):
        ParquetRows("here://a/b", "size")


def test_urls_of_other_kinds_need_fsspec(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    message = "here://a/b cannot be read: pyarrow does not know here://, fsspec may: pip install fsspec"
    with pytest.raises(ImportError, match=message):
        ParquetRows("here://a/b", "size")


def test_messages_show_no_password_and_no_signature():
    assert shown_source("s3://me:secret@bucket/a@b.parquet?signature=1") == "s3://bucket/a@b.parquet"
    assert shown_source("abfs://container@account/a.parquet") == "abfs://container@account/a.parquet"
    with pytest.raises(ValueError, match=r"^s3:// cannot be read: ") as raised:
        ParquetRows("s3://me:secret@?signature=1", "size")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("arguments", [("predict", "m.fastnn", "t.csv", "-o"), ("train", "t.csv", "--out")])
def test_commands_write_no_urls(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    more = ["--target", "y"] if arguments[0] == "train" else []
    assert cli([*arguments, "s3://bucket/place", *more]) == 1
    errors = capsys.readouterr().err
    assert errors == ("fastnn: --out: s3://bucket/place is a URL: name a file or folder of this machine\n")


def test_models_and_checkpoints_are_not_written_to_urls(path):
    with pytest.raises(ValueError, match="path: memory://run.fastnn is a URL: name a file"):
        TabularRegressor().fit(path, "size", columns=COLUMNS, checkpoint="memory://run.fastnn")
