"""Commands on Parquet files, which are trained on as a whole or by a sample, and predicted in pieces."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from extras import all_need, optional
from tables_of_customers import customers, written

import fastnn
from fastnn.tables import parquet

pytestmark = all_need("pandas", "pyarrow")
pd, pa, pq = map(optional, ("pandas", "pyarrow", "pyarrow.parquet"))

N_ROWS = 500
NEW = customers(N_ROWS, seed=1)
ROWS = np.arange(N_ROWS)
CHURN = ("--target", "churn", "--drop", "id,spent", "--preset", "fast")


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Decode Parquet files in batches of 64 rows."""
    monkeypatch.setattr(parquet, "BATCH_ROWS", 64)


def write(frame, path="new.parquet"):
    pq.write_table(pa.Table.from_pandas(frame), path, row_group_size=150)


def test_the_same_rows_of_a_seed_are_trained_on_from_files_of_every_kind(folder, run):
    frame = customers(N_ROWS)
    written(frame, folder / "a.csv")
    frame.to_parquet(folder / "a.parquet", row_group_size=100)
    (folder / "parts").mkdir()
    for k in range(2):
        frame[250 * k : 250 * (k + 1)].to_parquet(folder / "parts" / f"{k}.parquet")
    found = []
    for name, seed in (("a.csv", 1), ("a.parquet", 1), ("parts", 1), ("a.csv", 2), ("a.parquet", 2)):
        status, out, errors = run("train", name, *CHURN, "--keep-training", "--rows", 300, "--seed", seed)
        assert (status, errors) == (0, "")
        assert f"{name}: 300 rows, 8 columns" in out
        assert "note: 300 random rows of 500 are read" in out
        model = fastnn.load("run/model.fastnn")
        assert "id" not in model.feature_names_in_
        found.append((model.oof_prediction_.tolist(), model.columns_))
    assert found[0] == found[1] == found[2] != found[3] == found[4]


def test_a_training_that_takes_more_memory_than_allowed_is_refused(folder, run, refused):
    customers(N_ROWS).to_parquet("a.parquet")
    given = ("train", "a.parquet", "--target", "churn", "--preset", "fast", "--memory-limit")
    message = refused(*given, "256KiB")
    assert message.startswith("a fit to 500 rows of a.parquet takes about ")
    assert ", but --memory-limit is 262,144: pass --rows " in message
    n_rows = int(message.partition("--rows ")[2].split()[0])
    assert run(*given, "256KiB", "--rows", n_rows)[0] == 0
    assert "--memory-limit is 262,144" in refused(*given, "256KiB", "--networks", 2, "--rows", n_rows)
    assert refused(*given, "much").startswith("--memory-limit must be a number of bytes")


@pytest.mark.needs("fsspec")
@pytest.mark.parametrize("form", ["a.parquet", "a.csv.gz", "folder"])
def test_commands_take_urls(folder, memory, form, run):
    frame = customers().drop(columns=["id", "churn"])
    if form == "a.csv.gz":
        frame.to_csv("table", index=False, compression="gzip")
    else:
        frame.to_parquet("table", row_group_size=50)
    url = memory("f/a.parquet" if form == "folder" else form, Path("table").read_bytes())
    url = url.removesuffix("/a.parquet") if form == "folder" else url
    status, out, _ = run("train", url, "--target", "spent", "--preset", "fast", "--valid", url)
    assert status == 0
    assert f"\n{url}: 240 rows, 6 columns\n" in f"\n{out}"
    assert run("predict", "run/model.fastnn", url, "-o", "p.csv")[0] == 0
    assert run("evaluate", "run/model.fastnn", url)[0] == 0
    model = fastnn.load("run/model.fastnn")
    rows = frame.assign(since=pd.to_datetime(frame["since"]))[list(model.feature_names_in_)]
    np.testing.assert_allclose(pd.read_csv("p.csv")["prediction"], model.predict(rows), rtol=1e-6)


def test_urls_without_a_file_and_urls_to_write_are_refused(folder, refused):
    for name in ("none.parquet", "none.csv"):
        url = (folder / name).as_uri()
        assert refused("train", url, "--target", "y") == f"there is no file {url}"
    for given in (("predict", "m.fastnn", "t.csv", "-o"), ("train", "t.csv", "--target", "y", "--out")):
        message = refused(*given, "s3://bucket/place")
        assert message == "--out: s3://bucket/place is a URL: name a file or folder of this machine"


@pytest.fixture
def large(trained):
    """Return the rows of the file "new.parquet", with columns that differ in type from piece to piece."""
    frame = NEW.assign(
        count=pd.array([None if k in (7, 400) else k for k in range(N_ROWS)], "Int32"),
        late=[None if k < 130 else "x" for k in range(N_ROWS)],
        flag=pd.array([None if k == 300 else k % 2 == 0 for k in range(N_ROWS)], "boolean"),
        sort=pd.Categorical(np.where(ROWS < 200, "a", "b")),
    )
    write(frame)
    return frame


def test_predictions_in_pieces_equal_those_at_once(large, trained, run, monkeypatch):
    sizes, predict = [], fastnn.TabularClassifier.predict_proba

    def predict_proba(self, X):
        sizes.append(len(X))
        return predict(self, X)

    monkeypatch.setattr(fastnn.TabularClassifier, "predict_proba", predict_proba)
    given = ("predict", trained, "new.parquet", "--proba", "--keep", "id,count,late,flag,sort,age")
    assert run(*given, "-o", "p.csv")[0] == 0
    assert max(sizes) <= 64
    assert sum(sizes) == N_ROWS
    status, out, errors = run(*given, "-o", "p.parquet")
    assert (status, out, errors.splitlines()[-1]) == (0, "", "p.parquet: 500 predictions")
    assert run(*given, "-o", "p.csv.gz")[0] == 0
    model = fastnn.load(trained)
    X = large.assign(since=pd.to_datetime(large["since"]))[list(model.feature_names_in_)]
    found = pd.read_parquet("p.parquet")
    np.testing.assert_allclose(found.iloc[:, -2:], model.predict_proba(X), rtol=1e-5)
    assert found["prediction"].tolist() == model.predict(X).tolist()
    names = ["count", "late", "flag", "sort"]
    kept = pq.read_table("p.parquet", columns=names)
    assert kept.to_pylist() == pq.read_table("new.parquet", columns=names).to_pylist()
    assert kept.schema.field("count").type == pa.int32()
    table = pd.read_csv("p.csv", dtype=str, keep_default_na=False)
    assert table["id"].tolist() == large["id"].astype(str).tolist()
    assert table["count"].tolist() == ["" if k in (7, 400) else str(k) for k in range(N_ROWS)]
    assert table["flag"][299:302].tolist() == ["False", "", "False"]
    pd.testing.assert_frame_equal(pd.read_csv("p.csv.gz", dtype=str, keep_default_na=False), table)
    assert run(*given)[1] == Path("p.csv").read_text(encoding="utf-8")


def test_an_error_in_a_late_piece_leaves_the_older_file(large, trained, refused):
    Path("p.csv").write_text("older", encoding="utf-8")
    write(large.assign(age=large["age"].astype(object).where(ROWS != 444, "old").astype("string")))
    before = sorted(os.listdir())
    message = refused("predict", trained, "new.parquet", "-o", "p.csv")
    assert "new.parquet: column 'age' should hold numbers, but row 445 holds 'old'" in message
    assert sorted(os.listdir()) == before
    assert Path("p.csv").read_text(encoding="utf-8") == "older"


def test_notes_count_the_rows_of_all_pieces(large, trained, run):
    plan = np.where(ROWS % 5 == 0, "new", large["plan"])
    plan[3] = "other"
    score = np.where(ROWS % 100 == 0, 99.0, large["score"])
    n_outside = int((~pd.Series(score).between(*customers()["score"].quantile([0, 1]))).sum())
    write(large.assign(plan=plan, score=score))
    errors = run("predict", trained, "new.parquet", "-o", "p.csv")[2]
    assert "note: column 'plan': 101 rows have values not seen in training: 'new', 'other'\n" in errors
    assert f"note: column 'score': {n_outside} rows outside of the range of the training, -" in errors


@pytest.mark.parametrize(("target", "dropped"), [("churn", "id,spent"), ("spent", "id,churn")])
def test_evaluations_in_pieces_equal_those_at_once(target, dropped, folder, run):
    written(customers(), folder / "customers.csv")
    assert run("train", "customers.csv", "--target", target, "--drop", dropped, "--preset", "fast")[0] == 0
    frame = NEW.assign(score=np.where(ROWS < 100, 0.0, NEW["score"].abs()))
    frame[target] = frame[target].where(~np.isin(ROWS, [3, 77, *range(200, 350)]))
    written(frame, folder / "new.csv")
    write(frame)
    for weights in ((), ("--weights", "score")):
        found = []
        for name in ("new.csv", "new.parquet"):
            status, out, errors = run("evaluate", "run/model.fastnn", name, *weights, "-o", "scores.json")
            assert (status, errors) == (0, "")
            assert "note: 152 rows without a target are left out" in out
            scores = json.loads(Path("scores.json").read_text("utf-8"))
            found.append(scores | {"matrix": out.partition("true \\")[2]})
        whole, pieces = found
        assert pieces["rows"] == whole["rows"] == N_ROWS - 152
        assert pieces["matrix"] == whole["matrix"]
        for name in ("fastnn", "constant"):
            assert pieces["scores"][name] == pytest.approx(whole["scores"][name], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.assign(churn=None, w=1), "new.parquet: the target 'churn' holds only missing values"),
        (lambda f: f.assign(w=0.0), "new.parquet: the weights 'w' are all 0"),
        (lambda f: f.assign(w=np.where(ROWS == 444, -1, 1)), "new.parquet: the weight 'w' in row 445 is -1"),
        (lambda f: f, "--weights: new.parquet has no column 'w'"),
        (lambda f: f[:0].assign(w=1.0), "new.parquet has no rows"),
    ],
)
def test_unusable_targets_weights_and_files_are_refused(change, message, large, trained, refused):
    write(change(large))
    assert refused("evaluate", trained, "new.parquet", "--weights", "w").startswith(message)
    if message == "new.parquet has no rows":
        assert refused("predict", trained, "new.parquet", "-o", "p.csv") == message
        assert not Path("p.csv").exists()
