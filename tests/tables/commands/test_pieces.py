"""``fastnn predict`` and ``evaluate`` on Parquet files that are read in pieces."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from extras import all_need, optional
from tables_of_customers import customers, written

import fastnn
from fastnn.tables.commands import predict
from fastnn.tables.streaming import parquet

pytestmark = all_need("pandas", "pyarrow")
pd = optional("pandas")
pa = optional("pyarrow")
pq = optional("pyarrow.parquet")

N_ROWS = 500
NEW = customers(N_ROWS, seed=1)
random = np.random.RandomState(0)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Decode Parquet files in blocks of 64 rows, and write row groups of 100 rows or more."""
    monkeypatch.setattr(parquet, "MAX_ROWS", 64)
    monkeypatch.setattr(parquet, "MIN_ROWS", 1)
    monkeypatch.setattr(predict, "GROUP_ROWS", 100)


# --- predictions in pieces -----------------------------------------------------------------------------


@pytest.fixture
def large(trained):
    """Return the rows of the file "new.parquet", with columns that differ in type from piece to piece."""
    frame = NEW.assign(
        count=pd.array([None if k in (7, 400) else k for k in range(N_ROWS)], "Int32"),
        late=[None if k < 130 else "x" for k in range(N_ROWS)],
        flag=pd.array([None if k == 300 else k % 2 == 0 for k in range(N_ROWS)], "boolean"),
        sort=pd.Categorical(np.where(np.arange(N_ROWS) < 200, "a", "b")),
    )
    pq.write_table(pa.Table.from_pandas(frame), "new.parquet", row_group_size=150)
    return frame


def test_predictions_in_pieces_equal_those_at_once(large, trained, run):
    given = ("predict", trained, "new.parquet", "--proba", "--keep", "id,count,late,flag,sort,age")
    assert run(*given, "-o", "p.csv")[0] == 0
    status, out, errors = run(*given, "-o", "p.parquet")
    assert (status, out, errors.splitlines()[-1]) == (0, "", "p.parquet: 500 predictions")
    assert run(*given, "-o", "p.csv.gz")[0] == 0
    model = fastnn.load(trained)
    X = large.assign(since=pd.to_datetime(large["since"]))[list(model.feature_names_in_)]
    found = pd.read_parquet("p.parquet")
    np.testing.assert_allclose(found.iloc[:, -2:], model.predict_proba(X), rtol=1e-5)
    assert found["prediction"].tolist() == model.predict(X).tolist()
    assert pq.ParquetFile("p.parquet").num_row_groups == 4
    kept = pq.read_table("p.parquet", columns=["count", "late", "flag", "sort"])
    expected = pq.read_table("new.parquet", columns=["count", "late", "flag", "sort"])
    assert kept.to_pylist() == expected.to_pylist()
    assert kept.schema.field("count").type == pa.int32()
    table = pd.read_csv("p.csv", dtype=str, keep_default_na=False)
    assert table["id"].tolist() == large["id"].astype(str).tolist()
    assert table["count"].tolist() == ["" if k in (7, 400) else str(k) for k in range(N_ROWS)]
    assert table["flag"][299:302].tolist() == ["False", "", "False"]
    pd.testing.assert_frame_equal(pd.read_csv("p.csv.gz", dtype=str, keep_default_na=False), table)
    assert run(*given)[1] == Path("p.csv").read_text(encoding="utf-8")


def test_an_error_in_a_late_piece_leaves_the_older_file(large, trained, refused):
    Path("p.csv").write_text("older", encoding="utf-8")
    wrong = large["age"].astype(object).where(np.arange(N_ROWS) != 444, "old").astype("string")
    pq.write_table(pa.Table.from_pandas(large.assign(age=wrong)), "new.parquet", row_group_size=150)
    before = sorted(os.listdir())
    message = refused("predict", trained, "new.parquet", "-o", "p.csv")
    assert "new.parquet: column 'age' should hold numbers, but row 445 holds 'old'" in message
    assert sorted(os.listdir()) == before
    assert Path("p.csv").read_text(encoding="utf-8") == "older"


def test_notes_count_the_rows_of_all_pieces(large, trained, run, monkeypatch):
    plan = np.where(np.arange(N_ROWS) % 5 == 0, "new", large["plan"])
    plan[3] = "other"
    pq.write_table(pa.Table.from_pandas(large.assign(plan=plan)), "new.parquet")
    given = ("predict", trained, "new.parquet", "-o", "p.csv")
    assert (
        "note: column 'plan': 101 rows have values not seen in training: 'new', 'other'\n" in run(*given)[2]
    )
    monkeypatch.setattr("fastnn.tables.commands.columns.MAX_UNSEEN", 1)
    assert (
        "note: column 'plan': 101 rows have values not seen in training: 'new' or others\n" in run(*given)[2]
    )


def test_no_more_than_a_block_is_predicted_at_a_time(large, trained, run, monkeypatch):
    sizes, predict_rows = [], fastnn.TabularClassifier.predict

    def counted(self, X):
        sizes.append(len(X))
        return predict_rows(self, X)

    monkeypatch.setattr(fastnn.TabularClassifier, "predict", counted)
    assert run("predict", trained, "new.parquet", "-o", "p.csv")[0] == 0
    assert max(sizes) <= 64
    assert sum(sizes) == N_ROWS


# --- evaluation in pieces ------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "dropped"), [("churn", "id,spent"), ("spent", "id,churn")])
@pytest.mark.parametrize("weights", [(), ("--weights", "score")])
def test_evaluations_in_pieces_equal_those_at_once(target, dropped, weights, folder, run):
    written(customers(), folder / "customers.csv")
    assert run("train", "customers.csv", "--target", target, "--drop", dropped, "--preset", "fast")[0] == 0
    frame = NEW.assign(score=np.where(np.arange(N_ROWS) < 100, 0.0, NEW["score"].abs()))
    frame[target] = frame[target].where(~np.isin(np.arange(N_ROWS), [3, 77, *range(200, 350)]))
    written(frame, folder / "new.csv")
    pq.write_table(pa.Table.from_pandas(frame), "new.parquet", row_group_size=150)
    found = {}
    for name in ("new.csv", "new.parquet"):
        status, out, errors = run("evaluate", "run/model.fastnn", name, *weights, "-o", "scores.json")
        assert (status, errors) == (0, "")
        assert "note: 152 rows without a target are left out" in out
        with open("scores.json", encoding="utf-8") as file:
            found[name] = json.load(file)
        found[name]["matrix"] = out.partition("true \\")[2]
    whole, pieces = found.values()
    assert pieces["rows"] == whole["rows"] == N_ROWS - 152
    assert pieces["matrix"] == whole["matrix"]
    for name in ("fastnn", "constant"):
        assert pieces["scores"][name] == pytest.approx(whole["scores"][name], rel=1e-6, abs=1e-6)


def test_a_piece_of_whole_numbers_has_the_classes_of_floats(folder, run):
    """The classes of a float target are texts such as "1.0", also in a piece with only integers."""
    sort = np.repeat([1.0, 1.5], 100)
    pq.write_table(pa.table({"x": sort + random.normal(size=200), "sort": sort}), "new.parquet")
    given = ("train", "new.parquet", "--target", "sort", "--task", "classification", "--preset", "fast")
    assert run(*given)[0] == 0
    assert fastnn.load("run/model.fastnn").classes_.tolist() == ["1.0", "1.5"]
    status, out, _ = run("evaluate", "run/model.fastnn", "new.parquet")
    assert status == 0
    assert "200 rows with sort" in out


def test_unusable_targets_and_weights_are_refused(large, trained, refused):
    for change, message in [
        ({"churn": None}, "new.parquet: the target 'churn' holds only missing values"),
        ({"w": 0.0}, "new.parquet: the weights 'w' are all 0"),
        (
            {"w": np.where(np.arange(N_ROWS) == 444, -1.0, 1.0)},
            "new.parquet: the weight 'w' in row 445 is -1.0",
        ),
    ]:
        frame = large.assign(**({"w": 1.0} | change))
        pq.write_table(pa.Table.from_pandas(frame), "new.parquet", row_group_size=150)
        assert refused("evaluate", trained, "new.parquet", "--weights", "w").startswith(message)
    message = refused("evaluate", trained, "new.parquet", "--weights", "v")
    assert message.startswith("--weights: new.parquet has no column 'v'")
