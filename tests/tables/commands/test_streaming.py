"""``fastnn train`` on Parquet files that are streamed."""

import json
import os
import re
from dataclasses import replace
from decimal import Decimal

import joblib
import numpy as np
import pytest
from extras import all_need, optional
from joblib_backends import PicklingBackend
from sklearn.utils.random import sample_without_replacement
from tables_of_customers import customers

import fastnn
from fastnn.tables.commands import streaming as cli_streaming
from fastnn.tables.streaming import fit as streaming
from fastnn.tables.streaming.fit import Sizes, StreamedFit

pytestmark = all_need("pandas", "pyarrow")
pd = optional("pandas")
pa = optional("pyarrow")
pq = optional("pyarrow.parquet")

N_ROWS = 1500


@pytest.fixture(autouse=True)
def _small_buffers(monkeypatch):
    """Stream small files, in small buffers."""
    monkeypatch.setattr(cli_streaming, "needed_bytes", lambda *_: 1 << 40)
    monkeypatch.setattr(cli_streaming, "N_SAMPLED", 600)
    within = Sizes.within
    monkeypatch.setattr(
        streaming.Sizes, "within", lambda *arguments: replace(within(*arguments), capacity=512, n_open=2)
    )


@pytest.fixture
def large(folder):
    """Return the table of the file "large.parquet"."""
    frame = customers(N_ROWS)
    frame.loc[[3, 77], "churn"] = None
    pq.write_table(pa.Table.from_pandas(frame), "large.parquet", row_group_size=400)
    return frame


def test_classes_are_learned_from_a_streamed_file(large, run):
    arguments = ("train", "large.parquet", "--target", "churn", "--drop", "id,spent", "--passes", 12)
    status, out, errors = run(*arguments, "--keep-training")
    assert (status, errors) == (0, "")
    lines = out.splitlines()
    # One of the 600 sampled rows has no target.
    assert lines[:2] == [
        "large.parquet: 1,500 rows, 8 columns", "the rows are streamed; what follows is of 599 random rows"
    ]  # fmt: skip
    for pattern in (
        r"numbers +2   age, score", r"dates +1   since", r"target churn: 2 classes",
        r"evaluated on out-of-fold predictions of 1,49\d random rows; the same rows drove early stopping",
    ):  # fmt: skip
        assert re.search(pattern, out), pattern
    model = fastnn.load("run/model.fastnn")
    assert model.columns_[3]["kind"] == "date"
    with open("run/metrics.json", encoding="utf-8") as file:
        found = json.load(file)
    assert found["rows"] == N_ROWS
    scores = found["scores"]
    assert scores["fastnn"]["accuracy"] == pytest.approx(model.oof_accuracy_)
    assert scores["fastnn"]["accuracy"] > 0.85 > scores["majority"]["accuracy"]
    assert scores["linear_model"]["accuracy"] > scores["majority"]["accuracy"]
    assert not (large.index[[3, 77]].isin(model.oof_rows_)).any()
    status, out, errors = run("evaluate", "run/model.fastnn", "large.parquet")
    assert (status, errors) == (0, "")
    assert run("predict", "run/model.fastnn", "large.parquet", "-o", "p.csv")[0] == 0
    assert len(pd.read_csv("p.csv")) == N_ROWS
    assert sorted(os.listdir("run")) == [
        "metrics.json", "model.fastnn", "report.html"
    ]  # fmt: skip


def test_numbers_are_learned_from_a_folder_and_judged_on_validation_rows(folder, run):
    (folder / "parts").mkdir()
    frame = customers(N_ROWS)
    for k in range(3):
        frame[500 * k : 500 * (k + 1)].to_parquet(folder / "parts" / f"{k}.parquet")
    customers(200, seed=1).to_parquet(folder / "valid.parquet")
    arguments = ("train", "parts", "--target", "spent", "--drop", "id,churn", "--valid", "valid.parquet")
    status, out, errors = run(*arguments, "--weights", "age", "--preset", "fast")
    assert status == 1
    assert "the weight 'age' in row" in errors  # ages have missing values
    status, out, errors = run(*arguments, "--preset", "fast", "--passes", 20, "--keep-training")
    assert (status, errors) == (0, "")
    assert "(evaluated on 200 validation rows; the same rows drove early stopping)" in out
    assert len(fastnn.load("run/model.fastnn").oof_prediction_) == 200


@pytest.mark.parametrize("options", [("--balanced",), ("--balanced", "--valid", "valid.parquet")], ids=str)
def test_the_model_holds_the_scores_that_are_printed_of_weighted_rows(folder, run, options):
    for name, frame in (("large", customers(N_ROWS)), ("valid", customers(200, seed=1))):
        frame.assign(w=np.arange(len(frame)) % 3.0).to_parquet(folder / f"{name}.parquet")
    arguments = ("train", "large.parquet", "--target", "churn", "--drop", "id,spent", "--weights", "w")
    status, _, errors = run(*arguments, "--preset", "fast", "--passes", 8, *options)
    assert (status, errors) == (0, "")
    with open("run/metrics.json", encoding="utf-8") as file:
        scores = json.load(file)["scores"]["fastnn"]
    model = fastnn.load("run/model.fastnn")
    assert model.oof_accuracy_ == pytest.approx(scores["accuracy"], rel=1e-9)
    assert model.oof_log_loss_ == pytest.approx(scores["log_loss"], rel=1e-9)


def test_a_first_column_that_numbers_the_rows_is_left_out(folder, run, monkeypatch):
    monkeypatch.setattr(cli_streaming, "N_SAMPLED", N_ROWS)  # a sample of all rows shows that it does
    frame = customers(N_ROWS).drop(columns=["id", "spent"])
    frame.insert(0, "Unnamed: 0", np.arange(N_ROWS))
    frame.to_parquet("large.parquet", index=False)
    status, out, errors = run(
        "train", "large.parquet", "--target", "churn", "--preset", "fast", "--passes", 2
    )
    assert (status, errors) == (0, "")
    assert "the first column, which numbers the rows, is left out" in out
    assert "Unnamed: 0" not in fastnn.load("run/model.fastnn").feature_names_in_


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_target_may_be_rare_enough_to_be_missing_in_the_sample(folder, run, monkeypatch, task):
    monkeypatch.setattr(cli_streaming, "N_SAMPLED", 20)
    frame = customers(N_ROWS).drop(columns=["id", "spent", "churn"])
    frame["fraud"] = (np.arange(N_ROWS) % 500 == 7).astype(int)
    frame.to_parquet("large.parquet", row_group_size=400)
    arguments = ("train", "large.parquet", "--target", "fraud", "--task", task)
    arguments += ("--preset", "fast", "--passes", 2)
    status, _, errors = run(*arguments)
    assert (status, errors) == (0, "")
    assert fastnn.load("run/model.fastnn").target_name_ == "fraud"
    frame.assign(fraud=0).to_parquet("large.parquet", row_group_size=400)
    status, _, errors = run(*arguments)
    assert status == 1
    assert re.fullmatch(r"fastnn: y holds only one \w+, 0: .*\n", errors)


@pytest.mark.parametrize("target", ["churn", "spent"])
@pytest.mark.parametrize("valid", [[], ["--valid", "valid.parquet"]])
def test_all_rows_of_the_sample_may_have_the_weight_0(folder, run, monkeypatch, target, valid):
    monkeypatch.setattr(cli_streaming, "N_SAMPLED", 20)
    sampled = sample_without_replacement(N_ROWS, 20, random_state=0)
    frame = customers(N_ROWS).assign(w=(~np.isin(np.arange(N_ROWS), sampled)).astype(float))
    frame.to_parquet("large.parquet", row_group_size=400)
    frame[frame["w"] > 0].head(100).to_parquet("valid.parquet")
    arguments = ("train", "large.parquet", "--target", target, "--weights", "w", "--preset", "fast")
    arguments += ("--passes", 2, *valid)
    status, _, errors = run(*arguments)
    assert (status, errors) == (0, "")
    frame.assign(w=0.0).to_parquet("large.parquet", row_group_size=400)
    assert run(*arguments)[::2] == (1, "fastnn: large.parquet: the weights 'w' are all 0\n")


def test_small_files_and_folders_are_read_as_a_whole(large, run, monkeypatch):
    monkeypatch.setattr(cli_streaming, "needed_bytes", lambda *_: 0)
    monkeypatch.setattr(StreamedFit, "run", None)
    os.mkdir("parts")
    pq.write_table(pa.Table.from_pandas(large), "parts/a.parquet")
    for source in ("large.parquet", "parts"):
        status, out, _ = run(
            "train", source, "--target", "churn", "--drop", "id,spent", "--preset", "fast", "--passes", 3
        )
        assert status == 0
        assert "streamed" not in out
        assert fastnn.load("run/model.fastnn").estimators_[0].n_iter_ <= 3


def test_an_interrupted_training_resumes_with_the_same_bits(large, run, monkeypatch):
    base = ("train", "large.parquet", "--target", "churn", "--drop", "id,spent", "--seed", 5)
    arguments = (*base, "--preset", "fast", "--passes", 3, "--keep-training")
    assert run(*arguments)[0] == 0
    expected = fastnn.load("run/model.fastnn")
    train_on = StreamedFit._train_on

    def interrupted(self, portion):
        if self.n_done == 7:
            raise KeyboardInterrupt
        train_on(self, portion)

    monkeypatch.setattr(StreamedFit, "_train_on", interrupted)
    status, _, errors = run(*arguments, "--out", "other")
    assert status == 130
    assert errors.startswith("interrupted: other/checkpoint.fastnn holds the networks so far")
    assert run("predict", "other/checkpoint.fastnn", "large.parquet", "-o", "p.csv")[0] == 0
    monkeypatch.setattr(StreamedFit, "_train_on", train_on)
    status, _, errors = run(*arguments, "--out", "other", "--resume")
    assert (status, errors) == (0, "")
    found = fastnn.load("other/model.fastnn")
    np.testing.assert_array_equal(found.oof_prediction_, expected.oof_prediction_)
    rows = large.drop(columns=["id", "spent", "churn"]).assign(since=pd.to_datetime(large["since"]))
    np.testing.assert_array_equal(found.predict_proba(rows), expected.predict_proba(rows))
    assert sorted(os.listdir("other")) == ["metrics.json", "model.fastnn", "report.html"]


def test_a_training_on_workers_writes_the_same_model(large, run):
    arguments = ("train", "large.parquet", "--target", "churn", "--drop", "id,spent", "--passes", 2)
    arguments += ("--networks", 2, "--keep-training")
    assert run(*arguments)[0] == 0
    expected, backend = fastnn.load("run/model.fastnn"), PicklingBackend()
    with joblib.parallel_config(backend):
        assert run(*arguments, "--out", "other")[::2] == (0, "")
    assert backend.n_batches >= 4  # two networks, and a task for each of two epochs
    found = fastnn.load("other/model.fastnn")
    np.testing.assert_array_equal(found.oof_prediction_, expected.oof_prediction_)
    assert sorted(os.listdir("other")) == ["metrics.json", "model.fastnn", "report.html"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target", "chrn"), "--target: large.parquet has no column 'chrn': did you mean 'churn'?"),
        (("--target", "churn", "--drop", "idd"), "--drop: large.parquet has no column 'idd'"),
        (("--target", "churn", "--weights", "w"), "--weights: large.parquet has no column 'w'"),
        (
            ("--target", "churn", "--cv", 3),
            "--cv needs the whole table in memory, and large.parquet is strea",
        ),
        (("--target", "churn", "--date-format", "%d"), "--date-format needs the whole table in memory"),
        (("--target", "churn", "--memory-limit", "1MB"), "--memory-limit must be at least 64 MiB, got"),
        (
            ("--target", "churn", "--resume"),
            "--resume: there is no checkpoint run/checkpoint.fastnn: leave out --resume",
        ),
    ],
)
def test_wrong_arguments_are_refused(large, refused, arguments, message):
    assert refused("train", "large.parquet", *arguments).startswith(message)


def test_only_parquet_files_have_a_checkpoint(folder, refused):
    customers().to_csv("a.csv")
    message = refused("train", "a.csv", "--target", "churn", "--resume")
    assert message == "--resume: only Parquet files are trained on with a checkpoint"
    (folder / "empty").mkdir()
    message = refused("train", "empty", "--target", "churn")
    assert message == "empty is a folder without Parquet files: name a file in it"


def test_classes_may_be_decimals(folder, run):
    """The scores compare classes from the sampled rows with classes from the fit: both are decimals."""
    sort = np.arange(N_ROWS) % 3
    decimals = pa.array([Decimal(int(k)) for k in sort], pa.decimal128(10, 0))
    columns = {"x": sort + np.random.default_rng(0).normal(size=N_ROWS), "sort": decimals}
    pq.write_table(pa.table(columns), "large.parquet", row_group_size=400)
    arguments = ("--target", "sort", "--preset", "fast", "--passes", 2)
    status, _, errors = run("train", "large.parquet", *arguments)
    assert (status, errors) == (0, "")
    assert run("evaluate", "run/model.fastnn", "large.parquet")[0] == 0


def test_streamed_rows_of_weight_0_that_judge_are_refused_with_the_option_that_helps(folder, refused):
    frame = customers(N_ROWS).assign(w=(np.arange(N_ROWS) % 100 == 7).astype(float))
    pq.write_table(pa.Table.from_pandas(frame), "large.parquet", row_group_size=400)
    message = refused(
        "train", "large.parquet", "--target", "spent", "--weights", "w", "--preset", "fast", "--networks", 20
    )
    assert "validate a network have the weight 0: name validation rows by --valid, or" in message
