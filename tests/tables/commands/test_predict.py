"""``fastnn predict``, ``evaluate`` and ``info``: models applied to other tables."""

import gzip
import io
import json
import os
import re
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest
from extras import all_need, optional
from processes import PATIENCE
from sklearn.metrics import accuracy_score, mean_absolute_error
from tables_of_customers import customers, written

import fastnn

pytestmark = all_need("pandas", "pyarrow")
pd, pa, pq = map(optional, ("pandas", "pyarrow", "pyarrow.parquet"))

NEW = customers(60, seed=1)
MODEL = "run/model.fastnn"


def features(model, frame):
    frame = frame.assign(since=pd.to_datetime(frame["since"]))
    return frame[list(model.feature_names_in_)]


def test_predictions_and_probabilities_equal_those_of_the_model(trained, run):
    written(NEW.sample(frac=1, axis=1, random_state=0), trained.parent / "new.csv")
    status, out, errors = run("predict", trained, "run/new.csv", "--proba", "--keep", "id", "-o", "p.csv")
    assert (status, out) == (0, "")
    note, count = errors.splitlines()
    assert note.startswith("note: columns that the model does not use: ")
    assert count == "p.csv: 60 predictions"
    model, found = fastnn.load(trained), pd.read_csv("p.csv")
    assert found.columns.tolist() == ["id", "prediction", "probability_no", "probability_yes"]
    assert found["id"].tolist() == NEW["id"].tolist()
    np.testing.assert_allclose(found.iloc[:, 2:], model.predict_proba(features(model, NEW)), rtol=1e-6)
    assert found["prediction"].tolist() == model.predict(features(model, NEW)).tolist()


def test_tables_can_be_piped_through_the_command(trained, run, monkeypatch):
    model = fastnn.load(trained)
    expected = ["prediction", *model.predict(features(model, NEW))]
    text = NEW.to_csv(index=False, sep=";", decimal=",").encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    status, out, errors = run("predict", trained, "-")
    assert (status, out.split()) == (0, expected)
    assert "note: fields are separated by ';'" in errors
    # A process whose output, of 700 kB, is closed early ends without a word.
    text = pd.concat([NEW] * 300).to_csv(index=False).encode()
    shell = ["bash", "-c", f"{sys.executable} -m fastnn predict {trained} - --proba | head -61"]
    done = subprocess.run(shell, input=text, capture_output=True, timeout=PATIENCE, check=True)
    assert [line.partition(",")[0] for line in done.stdout.decode().splitlines()] == expected
    assert done.stderr == b""


def test_numbers_are_learned_with_quantiles_and_predicted_into_a_compressed_file(folder, run):
    written(customers(), folder / "t.csv")
    options = ("--drop", "id,churn", "--quantiles", "0.1,0.9", "--preset", "fast", "--out", "a/b")
    assert "target spent: numbers from" in run("train", "t.csv", "--target", "spent", *options)[1]
    model = fastnn.load("a/b/model.fastnn")
    scores = json.loads((folder / "a/b/metrics.json").read_text("utf-8"))["scores"]
    assert scores["mean"]["r2"] == pytest.approx(0, abs=0.1)
    assert scores["linear_model"]["r2"] > 0.9
    assert scores["fastnn"]["rmse"] == pytest.approx(model.oof_rmse_)
    written(NEW, folder / "new.csv.gz")
    assert run("predict", "a/b/model.fastnn", "new.csv.gz", "--quantiles", "-o", "p.csv.gz")[0] == 0
    found = pd.read_csv(io.BytesIO(gzip.decompress((folder / "p.csv.gz").read_bytes())))
    assert found.columns.tolist() == ["prediction", "quantile_0.1", "quantile_0.9"]
    X = features(model, NEW)
    np.testing.assert_allclose(found["prediction"], model.predict(X))
    np.testing.assert_allclose(found.iloc[:, 1:], model.predict(X, quantiles=True))


def test_predictions_are_compressed_as_the_ending_says(trained, folder, run, refused):
    written(NEW, folder / "new.csv")
    expected = run("predict", trained, "new.csv")[1]
    for name, compression in (("p.csv.gz", "gzip"), ("p.bz2", "bz2"), ("p.CSV.XZ", "xz")):
        assert run("predict", trained, "new.csv", "-o", name)[0] == 0
        assert pd.read_csv(name, compression=compression)["prediction"].tolist() == expected.split()[1:]
    for name, ending in (("p.zip", "zip"), ("p.xlsx", "xlsx"), ("p.csv.zst", "zst")):
        message = refused("predict", trained, "new.csv", "-o", name)
        assert message.startswith(f"--out: no .{ending} file is written: choose .csv, ")


def test_a_column_of_the_model_that_numbers_the_rows_of_a_table_is_read(folder, run):
    """pandas has saved a table of shuffled rows with its index; one row is predicted."""
    table = customers()[["age", "score", "churn"]].sample(frac=1, random_state=0)
    table.to_csv("customers.csv")
    table[:20].sort_index().reset_index(drop=True).to_csv("valid.csv")
    base = ("train", "customers.csv", "--target", "churn", "--preset", "fast")
    assert run(*base, "--valid", "valid.csv")[0] == 0
    model = fastnn.load(MODEL)
    assert model.feature_names_in_.tolist() == ["Unnamed: 0", "age", "score"]
    table[:1].to_csv("one.csv")
    expected = model.predict(pd.read_csv("one.csv")[model.feature_names_in_]).tolist()
    assert run("predict", MODEL, "one.csv")[1].split()[1:] == expected
    status, out, _ = run("evaluate", MODEL, "one.csv")
    assert status == 0
    assert re.search(r"\+/- \(95 %\) +-  ", out)  # one row has no interval


def test_the_model_remembers_how_its_file_was_read(folder, run):
    """Numbers have decimal commas, and a later file has only thousands."""
    x = np.arange(40_000, 90_000, 500)
    text = [f"{value:,}".replace(",", ".") for value in x]
    frame = pd.DataFrame({"x": text, "heads": np.resize(["1", "2", "?"], len(x)), "y": x / 1000})
    frame.to_csv(folder / "customers.csv", sep=";", decimal=",", index=False)
    arguments = ("--target", "y", "--task", "regression", "--preset", "fast", "--na", "heads=?")
    assert run("train", "customers.csv", *arguments)[0] == 0
    model = fastnn.load(MODEL)
    (folder / "new.csv").write_text("x;heads;y\n40.000;?;40\n60.500;2;60\n")
    status, out, errors = run("predict", MODEL, "new.csv")
    assert (status, [line for line in errors.splitlines() if "range" in line]) == (0, [])
    expected = model.predict(pd.DataFrame({"x": [40_000, 60_500], "heads": [np.nan, 2]}))
    np.testing.assert_allclose([float(line) for line in out.split()[1:]], expected)
    assert "outside" not in run("evaluate", MODEL, "new.csv")[1]
    note = "column 'x': 2 rows outside of the range of the training, 40000 to 89500"
    assert note in run("evaluate", MODEL, "new.csv", "--decimal", ".")[1]
    model.fit(frame[["heads"]], frame["y"])  # of a dataframe
    assert not hasattr(model, "reading_")


def test_unseen_categories_are_counted_and_known_ones_keep_their_form(train, folder, run):
    zones = np.where(np.arange(240) % 2, "01", "A")
    train(customers().assign(zone=zones), "--target", "churn", "--drop", "id,spent", "--preset", "fast")
    new = NEW.assign(zone="01", plan=np.where(np.arange(60) < 7, "new", "pro"))
    new.loc[3, "plan"] = "other"
    written(new, folder / "new.csv")
    errors = run("predict", MODEL, "new.csv", "-o", "p.csv")[2]
    assert "note: column 'plan': 7 rows have values not seen in training: 'new', 'other'" in errors
    assert "zone" not in errors  # the text "01" has not become the number 1
    written(new.assign(zone=np.arange(60) % 2 == 0, plan="pro"), folder / "new.csv")
    errors = run("predict", MODEL, "new.csv", "-o", "p.csv")[2]
    assert "note: column 'zone': all 60 rows have values not seen in training: 'True', 'False'" in errors
    assert "Warning" not in errors


def test_columns_of_csv_files_are_copied_as_they_are(trained, run):
    """Fields that look like numbers, missing values or booleans; the model has a column "age" as well."""
    fields = {"zip": "007", "big": "", "flag": "true", "price": "1.10", "age": "030", "country": "NA"}
    table = NEW.head(2).assign(**fields, **{"n ": 5})
    table.loc[0, "big"] = "9007199254740993"
    table["a,b"] = ["x", "y"]
    written(table, trained.parent.parent / "new.csv")
    keep = 'zip,big,flag,price,age,country,n ,"a,b", id ,zip'  # a name that is repeated counts once
    out = run("predict", trained, "new.csv", "--keep", keep)[1]
    rows = [line.rsplit(",", 1) for line in out.splitlines()]
    assert [row[0] for row in rows] == [
        'zip,big,flag,price,age,country,n ,"a,b",id',
        "007,9007199254740993,true,1.10,030,NA,5,x,c1x0",
        "007,,true,1.10,030,NA,5,y,c1x1",
    ]
    written(table.assign(age=30), trained.parent.parent / "same.csv")
    assert run("predict", trained, "same.csv")[1].split()[1:] == [row[1] for row in rows[1:]]
    assert run("predict", trained, "new.csv", "--keep", "zip,n ", "-o", "p.parquet")[0] == 0
    assert pd.read_parquet("p.parquet").iloc[:, :2].to_dict("list") == {"zip": ["007"] * 2, "n ": [5, 5]}


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda f: f.drop(columns="age"), "predict", "new.csv lacks the column 'age' of the model"),
        (lambda f: f.drop(columns=["age", "plan"]), "predict", "lacks the columns 'age', 'plan' of the"),
        (lambda f: f.rename(columns={"score": "Score"}), "predict", "is 'score' now called 'Score'?"),
        (lambda f: f.assign(age="old"), "predict", "'age' should hold numbers, but row 1 holds 'old'"),
        (lambda f: f.assign(age="?"), "predict", "'?': correct it, or if it means missing, read"),
        (lambda f: f.assign(since="soon"), "predict", "'since' should hold dates, but row 1 holds 'soon'"),
        (lambda f: f.assign(paper=100), "predict", "should hold True and False, but row 1 holds '100'"),
        (lambda f: f[:0], "predict", "new.csv has a header but no rows"),
        (lambda f: f, "predict --quantiles", "--quantiles: "),
        (lambda f: f, "predict --keep name", "--keep: new.csv has no column 'name'"),
        (lambda f: f, "predict -o no/where.csv", "--out: there is no folder"),
        (lambda f: f, "predict -o new.csv", "--out: new.csv is read, and would be lost"),
        (lambda f: f, "evaluate -o ./new.csv", "--out: new.csv is read, and would be lost"),
        (lambda f: f.assign(churn="maybe"), "evaluate", "'churn' holds 'maybe', but the model"),
        (lambda f: f.drop(columns="churn"), "evaluate", "--target: new.csv has no column"),
        (lambda f: f.assign(churn=""), "evaluate", "'churn' holds only missing values"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(change, arguments, message, trained, refused):
    written(change(NEW), trained.parent.parent / "new.csv")
    command, *more = arguments.split()
    out = ("-o", "p.csv") if command == "predict" and "-o" not in more else ()
    assert message in refused(command, trained, "new.csv", *out, *more)
    assert not (trained.parent.parent / "p.csv").exists()


def test_no_output_replaces_what_is_read_by_folder_or_url(trained, refused):
    (trained.parent / "data").mkdir()
    NEW.to_parquet(trained.parent / "data/part.parquet")
    written(NEW, trained.parent / "t.csv")
    for name in ("run/data/part.parquet", "run/data/new.csv"):
        assert f"--out: {name} lies in the folder " in refused("predict", trained, "run/data", "-o", name)
    url = (trained.parent / "t.csv").as_uri()
    assert "--out: run/t.csv is read" in refused("predict", trained, url, "-o", "run/t.csv")
    assert (trained.parent / "t.csv").read_text().startswith("id,")


def test_models_of_other_kinds_are_refused(folder, refused):
    written(NEW, folder / "new.csv")
    fastnn.Model([2, 3, 2]).save("m.fastnn")
    assert "the Model in m.fastnn knows no columns" in refused("predict", "m.fastnn", "new.csv")
    fastnn.TabularClassifier().save("m.fastnn")
    assert "the TabularClassifier in m.fastnn is not fitted" in refused("predict", "m.fastnn", "new.csv")
    assert "there is no file none" in refused("predict", "none", "new.csv")
    assert "is not a model saved by fastnn" in refused("predict", "new.csv", "new.csv")


def test_a_model_fitted_to_an_array_takes_columns_by_position(folder, run, refused):
    X = NEW[["score", "spent"]].to_numpy()
    model = fastnn.TabularClassifier(1, "fast", random_state=0).fit(X, NEW["churn"].to_numpy())
    model.save("m.fastnn")
    written(NEW[["score", "spent"]], folder / "new.csv")
    assert run("predict", "m.fastnn", "new.csv")[1].split()[1:] == model.predict(X).tolist()
    written(NEW[["score", "churn", "spent"]].assign(w=2), folder / "new.csv")
    given = ("--target", "churn", "--weights", "w", "-o", "scores.json")
    assert run("evaluate", "m.fastnn", "new.csv", *given)[::2] == (0, "")
    assert read_scores()["accuracy"] == model.score(X, NEW["churn"])
    written(NEW[["score"]], folder / "new.csv")
    message = refused("predict", "m.fastnn", "new.csv")
    assert "has 1 columns, but the model, which knows no names, takes 2" in message


def read_scores(name="scores.json"):
    with open(name, encoding="utf-8") as file:
        return json.load(file)["scores"]["fastnn"]


def test_an_evaluation_of_classes_has_scores_and_a_confusion_matrix(trained, run, folder):
    written(NEW, folder / "new.csv")
    status, out, errors = run("evaluate", trained, "new.csv", "-o", "scores.json")
    assert (status, errors) == (0, "")
    assert out.startswith("new.csv: 60 rows with churn\n")
    model = fastnn.load(trained)
    accuracy = accuracy_score(NEW["churn"], model.predict(features(model, NEW)))
    assert read_scores()["accuracy"] == accuracy
    assert re.search(rf"fastnn .*{accuracy:.4f}.*\n  \+/- \(95 %\) +0\.\d{{4}}", out)
    matrix = out.split("true \\ predicted")[1].splitlines()
    assert matrix[0].split() == ["no", "yes"]
    counts = np.array([[int(cell) for cell in line.split()[1:]] for line in matrix[1:3]])
    assert (counts.sum(), counts.trace()) == (60, round(60 * accuracy))
    scores = (folder / "scores.json").read_text("utf-8")
    assert run("evaluate", trained, "new.csv", "-o", "-") == (0, scores, out)
    assert not os.path.exists("-")
    described = run("info", trained)[1]
    for line in ("columns     5: 2 numbers, 1 category, 1 date, 1 boolean", "target      churn", "accuracy"):
        assert line in described


def test_an_evaluation_may_name_another_column_as_target(train, folder, run):
    train(customers(), "--target", "spent", "--drop", "id,churn", "--preset", "fast")
    model = fastnn.load(MODEL)
    written(NEW.rename(columns={"spent": "paid"}).assign(w=2), folder / "new.csv")
    status, out, _ = run("evaluate", MODEL, "new.csv", "--target", "paid", "--weights", "w")
    assert status == 0
    assert re.search("note: columns that the model does not use: (.*)", out)[1] == "id, churn"
    assert f"{mean_absolute_error(NEW['spent'], model.predict(features(model, NEW))):,.4g}" in out


def test_types_that_only_parquet_has_are_read_alike(folder, run):
    """Durations, decimals and dictionaries are read alike for training, prediction and evaluation."""
    random = np.random.default_rng(0)
    hours, sort = random.integers(0, 50, 300), random.integers(0, 3, 300)
    columns = {
        "spent": pa.array(hours * 3600, pa.duration("s")),
        "place": pa.array(np.array(["a", "b", "c"])[sort]).dictionary_encode(),
        "sort": pa.array([Decimal(int(k)) for k in sort], pa.decimal128(10, 0)),
    }
    pq.write_table(pa.table(columns), "odd.parquet")
    status, out, errors = run("train", "odd.parquet", "--target", "sort", "--preset", "fast")
    assert (status, errors) == (0, "")
    assert "categories 1 place" in " ".join(out.split())
    assert fastnn.load(MODEL).classes_.tolist() == [0, 1, 2]
    assert run("predict", MODEL, "odd.parquet", "-o", "out.csv")[0] == 0
    assert len(pd.read_csv("out.csv")) == 300
    assert run("evaluate", MODEL, "odd.parquet")[0] == 0


def test_booleans_are_read_in_all_their_forms(train, folder, run):
    rows = [(k % 2 == 0, k % 5, k % 2) for k in range(60)]
    train(pd.DataFrame(rows, columns=["smoker", "x", "y"]), "--target", "y", "--preset", "fast")
    printed = set()
    for yes, no in (("True", "False"), ("1", "0"), ("true", "FALSE"), ("1.0", "0")):
        lines = [f"{yes if first else no},{second}" for first, second, _ in rows]
        (folder / "new.csv").write_text("\n".join(["smoker,x", *lines, ",1"]))
        printed.add(run("predict", MODEL, "new.csv", "--proba")[:2])
    assert len(printed) == 1


def test_categories_and_classes_named_like_missing_values_are_known_again(folder, run):
    countries = ["NA", "ZA", "BW", None]
    rows = [(countries[k % 4], k % 7, ["None", "some"][k % 4 == 0]) for k in range(400)]
    frame = pd.DataFrame(rows, columns=["country", "x", "kind"])
    frame.to_parquet("t.parquet")
    frame.fillna({"country": ""}).to_csv("t.csv", index=False)
    for table, options in (("t.parquet", []), ("t.csv", ["--no-default-na"])):
        assert run("train", table, "--target", "kind", "--preset", "fast", "--passes", 5, *options)[0] == 0
        scores = []
        for name in ("t.parquet", "t.csv"):
            status, out, _ = run("evaluate", MODEL, name, "--out", f"{name}.json")
            assert (status, out.count("missing")) == (0, 0)
            scores.append(read_scores(f"{name}.json"))
        assert scores[0] == scores[1]
