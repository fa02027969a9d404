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
from fastnn.cli import main as cli

pytestmark = all_need("pandas", "pyarrow")
pd = optional("pandas")
pa = optional("pyarrow")
pq = optional("pyarrow.parquet")

NEW = customers(60, seed=1)


def features(model, frame):
    """Return the columns that a model was fitted to."""
    frame = frame.assign(since=pd.to_datetime(frame["since"]))
    return frame[list(model.feature_names_in_)]


def test_predictions_and_probabilities_equal_those_of_the_model(trained, run):
    written(NEW.sample(frac=1, axis=1, random_state=0), trained.parent / "new.csv")
    status, out, errors = run("predict", trained, "run/new.csv", "--proba", "--keep", "id", "-o", "p.csv")
    assert (status, out) == (0, "")
    note, count = errors.splitlines()
    assert note.startswith("note: columns that the model does not use: ")
    assert count == "p.csv: 60 predictions"
    model = fastnn.load(trained)
    found = pd.read_csv("p.csv")
    assert found.columns.tolist() == ["id", "prediction", "probability_no", "probability_yes"]
    assert found["id"].tolist() == NEW["id"].tolist()
    P = model.predict_proba(features(model, NEW))
    np.testing.assert_allclose(found.iloc[:, 2:], P, rtol=1e-6)
    assert found["prediction"].tolist() == model.predict(features(model, NEW)).tolist()


def test_tables_can_be_piped_through_the_command(trained):
    text = NEW.to_csv(index=False, sep=";", decimal=",")
    base = [sys.executable, "-m", "fastnn"]
    done = subprocess.run(
        [*base, "predict", str(trained), "-"], input=text.encode(), capture_output=True, timeout=PATIENCE
    )
    assert done.returncode == 0
    assert b"note: fields are separated by ';'" in done.stderr
    model = fastnn.load(trained)
    found = pd.read_csv(io.BytesIO(done.stdout))
    assert found["prediction"].tolist() == model.predict(features(model, NEW)).tolist()


def test_a_pipe_that_is_closed_early_prints_no_traceback(trained):
    program = f"{sys.executable} -m fastnn predict {trained} - | head -1"
    big = pd.concat([NEW] * 300).to_csv(index=False)
    done = subprocess.run(
        ["bash", "-c", program], input=big.encode(), capture_output=True, timeout=PATIENCE, check=False
    )
    assert done.stdout.strip() == b"prediction"
    assert b"Traceback" not in done.stderr
    assert b"Broken" not in done.stderr


def test_quantiles_are_predicted_into_a_compressed_file(folder, run):
    written(customers(), folder / "customers.csv.gz")
    written(NEW, folder / "new.csv.gz")
    base = ("--target", "spent", "--preset", "fast", "--drop", "id", "--quantiles", "0.1,0.9")
    assert run("train", "customers.csv.gz", *base)[0] == 0
    model_file = "run/model.fastnn"
    assert run("predict", model_file, "new.csv.gz", "--quantiles", "-o", "p.csv.gz")[0] == 0
    found = pd.read_csv(io.BytesIO(gzip.decompress((folder / "p.csv.gz").read_bytes())))
    assert found.columns.tolist() == ["prediction", "quantile_0.1", "quantile_0.9"]
    model = fastnn.load(model_file)
    X = features(model, NEW)
    np.testing.assert_allclose(found["prediction"], model.predict(X))
    np.testing.assert_allclose(found.iloc[:, 1:], model.predict(X, quantiles=True))


@pytest.mark.parametrize(
    ("name", "compression"), [("p.csv.gz", "gzip"), ("p.bz2", "bz2"), ("p.CSV.XZ", "xz")]
)
def test_predictions_are_compressed_as_the_ending_says(name, compression, trained, run):
    written(NEW, trained.parent.parent / "new.csv")
    _, expected, _ = run("predict", trained, "new.csv")
    assert run("predict", trained, "new.csv", "-o", name)[0] == 0
    found = pd.read_csv(name, compression=compression)
    assert found["prediction"].tolist() == expected.split()[1:]


@pytest.mark.parametrize("table", ["new.csv", "new.parquet"])
@pytest.mark.parametrize("out", ["p.csv", "p.parquet"])
def test_a_column_that_is_named_twice_is_copied_once(table, out, trained, run):
    written(NEW, trained.parent.parent / "new.csv")
    NEW.assign(since=pd.to_datetime(NEW["since"])).to_parquet("new.parquet")
    assert run("predict", trained, table, "--keep", "id,age,id", "-o", out)[0] == 0
    found = pd.read_csv(out) if out.endswith("csv") else pd.read_parquet(out)
    assert found.columns.tolist() == ["id", "age", "prediction"]


@pytest.mark.parametrize("ending", ["zip", "xlsx", "csv.zst"])
def test_predictions_are_no_archive_or_spreadsheet(ending, trained, refused):
    message = refused("predict", trained, "customers.csv", "-o", f"p.{ending}")
    assert message.startswith(f"--out: no .{ending.split('.')[-1]} file is written: choose .csv, .csv.gz, ")


def test_a_column_of_the_model_that_numbers_the_rows_of_a_table_is_read(folder, run):
    """A table of shuffled rows that pandas has saved with its index, of which one row is predicted."""
    table = customers()[["age", "score", "churn"]].sample(frac=1, random_state=0)
    table.to_csv("customers.csv")
    table[:20].sort_index().reset_index(drop=True).to_csv("valid.csv")
    base = ("train", "customers.csv", "--target", "churn", "--preset", "fast")
    assert run(*base, "--valid", "valid.csv")[0] == 0
    model = fastnn.load("run/model.fastnn")
    assert model.feature_names_in_.tolist() == ["Unnamed: 0", "age", "score"]
    table[:1].to_csv("one.csv")
    status, out, _ = run("predict", "run/model.fastnn", "one.csv")
    assert (status, out.split()[1:]) == (
        0,
        model.predict(pd.read_csv("one.csv")[model.feature_names_in_]).tolist(),
    )
    assert run("evaluate", "run/model.fastnn", "one.csv")[0] == 0


def test_parquet_files_give_the_same_as_csv_files(folder, run):
    customers().assign(since=pd.to_datetime(customers()["since"])).to_parquet("customers.parquet")
    base = ("--target", "churn", "--drop", "id,spent", "--preset", "fast")
    assert run("train", "customers.parquet", *base)[0] == 0
    from_parquet = fastnn.load("run/model.fastnn")
    written(customers(), folder / "customers.csv")
    assert run("train", "customers.csv", *base)[0] == 0
    X = features(from_parquet, NEW)
    np.testing.assert_array_equal(
        from_parquet.predict_proba(X), fastnn.load("run/model.fastnn").predict_proba(X)
    )
    NEW.to_parquet("new.parquet")
    assert run("predict", "run/model.fastnn", "new.parquet", "-o", "p.parquet")[0] == 0
    assert pd.read_parquet("p.parquet")["prediction"].tolist() == from_parquet.predict(X).tolist()


def test_unseen_categories_are_counted_and_known_ones_keep_their_form(folder, run):
    frame = customers().assign(zone=np.where(np.arange(240) % 2, "01", "A"))
    written(frame, folder / "customers.csv")
    run("train", "customers.csv", "--target", "churn", "--drop", "id,spent", "--preset", "fast")
    new = NEW.assign(zone="01", plan=np.where(np.arange(60) < 7, "new", "pro"))
    new.loc[3, "plan"] = "other"
    written(new, folder / "new.csv")
    _, _, errors = run("predict", "run/model.fastnn", "new.csv", "-o", "p.csv")
    assert "note: column 'plan': 7 rows have values not seen in training: 'new', 'other'" in errors
    assert "zone" not in errors  # the text "01" has not become the number 1
    written(new.assign(zone=np.arange(60) % 2 == 0, plan="pro"), folder / "new.csv")
    _, _, errors = run("predict", "run/model.fastnn", "new.csv", "-o", "p.csv")
    assert "note: column 'zone': all 60 rows have values not seen in training: 'True', 'False'" in errors
    assert "Warning" not in errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="age"), "new.csv lacks the column 'age' of the model"),
        (lambda f: f.drop(columns=["age", "plan"]), "new.csv lacks the columns 'age', 'plan' of the model"),
        (lambda f: f.rename(columns={"score": "Score"}), "is 'score' now called 'Score'?"),
        (lambda f: f.assign(age="old"), "column 'age' should hold numbers, but row 1 holds 'old'"),
        (lambda f: f.assign(since="soon"), "column 'since' should hold dates, but row 1 holds 'soon'"),
        (lambda f: f[:0], "new.csv has a header but no rows"),
    ],
)
def test_tables_with_other_columns_are_refused(change, message, trained, refused):
    written(change(NEW), trained.parent.parent / "new.csv")
    assert message in refused("predict", trained, "new.csv", "-o", "p.csv")
    assert not (trained.parent.parent / "p.csv").exists()


def test_models_of_other_kinds_are_refused(folder, refused):
    written(NEW, folder / "new.csv")
    fastnn.Model([2, 3, 2]).save("m.fastnn")
    assert "the Model in m.fastnn knows no columns" in refused("predict", "m.fastnn", "new.csv")
    fastnn.TabularClassifier().save("m.fastnn")
    assert "the TabularClassifier in m.fastnn is not fitted" in refused("predict", "m.fastnn", "new.csv")
    assert "there is no file none" in refused("predict", "none", "new.csv")
    assert "is not a model saved by fastnn" in refused("predict", "new.csv", "new.csv")


def test_options_that_do_not_fit_the_model_are_refused(trained, refused):
    written(NEW, trained.parent.parent / "new.csv")
    assert "--quantiles: " in refused("predict", trained, "new.csv", "--quantiles")
    assert "--keep: new.csv has no column 'name'" in refused("predict", trained, "new.csv", "--keep", "name")
    assert "--out: there is no folder" in refused("predict", trained, "new.csv", "-o", "no/where.csv")


def test_a_model_fitted_to_an_array_takes_columns_by_position(folder, run, refused):
    X = NEW[["score", "spent"]].to_numpy()
    fastnn.TabularClassifier(1, "fast", random_state=0).fit(X, NEW["churn"]).save("m.fastnn")
    written(NEW[["score", "spent"]], folder / "new.csv")
    status, out, _ = run("predict", "m.fastnn", "new.csv")
    assert status == 0
    assert out.split()[1:] == fastnn.load("m.fastnn").predict(X).tolist()
    written(NEW[["score"]], folder / "new.csv")
    assert "has 1 columns, but the model, which knows no names, takes 2" in refused(
        "predict", "m.fastnn", "new.csv"
    )


# --- evaluate and info ---------------------------------------------------------------------------------


def test_an_evaluation_of_classes_has_scores_and_a_confusion_matrix(trained, run):
    written(NEW, trained.parent.parent / "new.csv")
    status, out, errors = run("evaluate", trained, "new.csv", "-o", "scores.json")
    assert (status, errors) == (0, "")
    assert out.startswith("new.csv: 60 rows with churn\n")
    model = fastnn.load(trained)
    accuracy = accuracy_score(NEW["churn"], model.predict(features(model, NEW)))
    with open("scores.json", encoding="utf-8") as file:
        scores = json.load(file)["scores"]
    assert scores["fastnn"]["accuracy"] == accuracy
    assert f"{accuracy:.4f}" in out
    matrix = out.split("true \\ predicted")[1].splitlines()
    assert matrix[0].split() == ["no", "yes"]
    counts = np.array([[int(cell) for cell in line.split()[1:]] for line in matrix[1:3]])
    assert counts.sum() == 60
    assert counts.trace() == round(60 * accuracy)
    status, printed, errors = run("evaluate", trained, "new.csv", "-o", "-")
    assert (status, errors) == (0, out)
    with open("scores.json", encoding="utf-8") as file:
        assert printed == file.read()
    assert not os.path.exists("-")


def test_an_evaluation_may_name_another_column_as_target(folder, run):
    written(customers(), folder / "customers.csv")
    run("train", "customers.csv", "--target", "spent", "--preset", "fast", "--drop", "id,churn")
    written(NEW.rename(columns={"spent": "paid"}).assign(w=2), folder / "new.csv")
    status, out, _ = run("evaluate", "run/model.fastnn", "new.csv", "--target", "paid", "--weights", "w")
    assert status == 0
    assert re.search("note: columns that the model does not use: (.*)", out)[1] == "id, churn"
    model = fastnn.load("run/model.fastnn")
    error = mean_absolute_error(NEW["spent"], model.predict(features(model, NEW)))
    assert f"{error:,.4g}" in out


def test_a_model_fitted_to_an_array_is_evaluated_on_the_other_columns(folder, run):
    X = NEW[["score", "spent"]].to_numpy()
    model = fastnn.TabularClassifier(1, "fast", random_state=0).fit(X, NEW["churn"].to_numpy())
    model.save("m.fastnn")
    written(NEW[["score", "churn", "spent"]].assign(w=2), folder / "new.csv")
    status, _, errors = run(
        "evaluate", "m.fastnn", "new.csv", "--target", "churn", "--weights", "w", "-o", "scores.json"
    )
    assert (status, errors) == (0, "")
    with open("scores.json", encoding="utf-8") as file:
        assert json.load(file)["scores"]["fastnn"]["accuracy"] == model.score(X, NEW["churn"])


@pytest.mark.parametrize("kind", [bool, int, str])
def test_classes_of_any_type_are_found_in_the_table(kind, folder, run):
    frame = customers().assign(churn=(customers()["churn"] == "yes").map({True: kind(1), False: kind(0)}))
    if kind is str:
        frame["churn"] = frame["churn"].map({"1": "01", "0": "00"})
    written(frame, folder / "customers.csv")
    assert (
        run("train", "customers.csv", "--target", "churn", "--preset", "fast", "--drop", "id,spent")[0] == 0
    )
    status, out, _ = run("evaluate", "run/model.fastnn", "customers.csv")
    assert status == 0
    assert "240 rows with churn" in out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: f.assign(churn="maybe"),
            "the target 'churn' holds 'maybe', but the model knows the classes",
        ),
        (lambda f: f.drop(columns="churn"), "--target: new.csv has no column 'churn'"),
        (lambda f: f.assign(churn=""), "the target 'churn' holds only missing values"),
    ],
)
def test_targets_that_do_not_fit_the_model_are_refused(change, message, trained, refused):
    written(change(NEW), trained.parent.parent / "new.csv")
    assert message in refused("evaluate", trained, "new.csv")


def test_information_on_a_model_lists_its_columns(trained, capsys):
    assert cli.main(["info", str(trained), "--check"]) == 0
    printed = capsys.readouterr().out
    assert "columns     5: 2 number, 1 category, 1 date, 1 boolean" in printed
    assert "target      churn" in printed
    assert "scores      accuracy 0." in printed


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
    assert fastnn.load("run/model.fastnn").classes_.tolist() == [0, 1, 2]
    assert run("predict", "run/model.fastnn", "odd.parquet", "-o", "out.csv")[0] == 0
    assert len(pd.read_csv("out.csv")) == 300
    assert run("evaluate", "run/model.fastnn", "odd.parquet")[0] == 0


def test_files_of_a_folder_may_differ_in_types(folder, run):
    """A column of integers in the first file and of floats in the second one is a column of floats."""
    (folder / "parts").mkdir()
    x = np.arange(200)
    pq.write_table(pa.table({"x": x, "y": 2.0 * x}), "parts/a.parquet")
    pq.write_table(pa.table({"x": x + 0.5, "y": 2.0 * x}), "parts/b.parquet")
    status, out, errors = run("train", "parts", "--target", "y", "--preset", "fast")
    assert (status, errors) == (0, "")
    assert out.startswith("parts: 400 rows, 2 columns")
    assert run("evaluate", "run/model.fastnn", "parts")[0] == 0


def test_categories_and_classes_that_are_all_dates_in_a_table_stay_text(folder, run):
    """A column of dates and "never", of which another table has the dates alone."""
    frame = customers().assign(renewed=["2024-01-01", "2024-02-01", "never"] * 80)
    frame["next"] = np.where(frame["churn"] == "yes", "2025-01-01", frame["renewed"].replace("never", "none"))
    frame = frame[["age", "score", "renewed", "next"]]
    written(frame, folder / "customers.csv")
    written(frame[(frame["renewed"] != "never") & (frame["next"] != "none")], folder / "dates.csv")
    base = ("train", "customers.csv", "--target", "next", "--preset", "fast")
    status, out, errors = run(*base, "--valid", "dates.csv")
    assert (status, errors) == (0, "")
    status, out, errors = run("predict", "run/model.fastnn", "dates.csv")
    assert status == 0
    assert "not seen in training" not in errors
    status, out, _ = run("evaluate", "run/model.fastnn", "dates.csv")
    assert status == 0
    assert "not seen in training" not in out


def test_columns_of_csv_files_are_copied_as_they_are(trained, run):
    """Fields that look like numbers, missing values or booleans; the model has a column "age" as well."""
    fields = {"zip": "007", "big": "", "flag": "true", "price": "1.10", "age": "030", "country": "NA"}
    table = NEW.head(2).assign(**fields, **{"n ": 5})
    table.loc[0, "big"] = "9007199254740993"
    table["a,b"] = ["x", "y"]
    written(table, trained.parent.parent / "new.csv")
    keep = 'zip,big,flag,price,age,country,n ,"a,b", id '
    status, out, _ = run("predict", trained, "new.csv", "--keep", keep)
    assert status == 0
    lines = [line.rsplit(",", 1)[0] for line in out.splitlines()]
    assert lines == [
        'zip,big,flag,price,age,country,n ,"a,b",id',
        "007,9007199254740993,true,1.10,030,NA,5,x,c1x0",
        "007,,true,1.10,030,NA,5,y,c1x1",
    ]
    written(table.assign(age=30), trained.parent.parent / "same.csv")
    _, same, _ = run("predict", trained, "same.csv")
    assert same.split()[1:] == [line.rsplit(",", 1)[1] for line in out.splitlines()[1:]]
    assert run("predict", trained, "new.csv", "--keep", "zip,n ", "-o", "p.parquet")[0] == 0
    assert pd.read_parquet("p.parquet").iloc[:, :2].to_dict("list") == {"zip": ["007"] * 2, "n ": [5, 5]}


def test_classes_that_begin_with_0_are_predicted_as_they_are(folder, run):
    frame = customers()[["age", "score", "churn"]].replace({"churn": {"yes": "01", "no": "02"}})
    written(frame, folder / "customers.csv")
    assert run("train", "customers.csv", "--target", "churn", "--preset", "fast")[0] == 0
    _, out, _ = run("predict", "run/model.fastnn", "customers.csv")
    assert set(out.split()[1:]) == {"01", "02"}
    written(frame.assign(churn=frame["churn"].str.lstrip("0")), folder / "bare.csv")
    _, padded, _ = run("evaluate", "run/model.fastnn", "customers.csv")
    assert run("evaluate", "run/model.fastnn", "bare.csv")[1] == padded.replace("customers.csv", "bare.csv")
    # A model of the integers knows the padded ones as well.
    assert run("train", "bare.csv", "--target", "churn", "--preset", "fast")[0] == 0
    assert run("evaluate", "run/model.fastnn", "customers.csv")[0] == 0


def test_booleans_are_read_in_all_their_forms_and_others_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [(k % 2 == 0, k % 5, k % 2) for k in range(60)]
    pd.DataFrame(rows, columns=["smoker", "x", "y"]).to_csv("t.csv", index=False)
    assert cli.main(["train", "t.csv", "--target", "y", "--preset", "fast", "--passes", "2"]) == 0
    printed = set()
    for yes, no in (("True", "False"), ("1", "0"), ("true", "FALSE"), ("1.0", "0")):
        lines = [f"{yes if first else no},{second}" for first, second, _ in rows]
        (tmp_path / "new.csv").write_text("\n".join(["smoker,x", *lines, ",1"]))
        capsys.readouterr()
        assert cli.main(["predict", "run/model.fastnn", "new.csv", "--proba"]) == 0
        printed.add(capsys.readouterr().out)
    assert len(printed) == 1
    for other in ("100", "yes"):
        (tmp_path / "new.csv").write_text(f"smoker,x\n1,1\n{other},1\n")
        assert cli.main(["predict", "run/model.fastnn", "new.csv"]) == 1
        message = (
            f"column 'smoker' should hold True and False, but row 2 holds '{other}': correct it, or read"
        )
        assert message in capsys.readouterr().err


def test_categories_and_classes_named_like_missing_values_are_known_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    countries = ["NA", "ZA", "BW", None]
    rows = [(countries[k % 4], k % 7, ["None", "some"][k % 4 == 0]) for k in range(400)]
    frame = pd.DataFrame(rows, columns=["country", "x", "kind"])
    frame.to_parquet("t.parquet")
    frame.fillna({"country": ""}).to_csv("t.csv", index=False)
    for table, options in (("t.parquet", []), ("t.csv", ["--no-default-na"])):
        train = ["train", table, "--target", "kind", "--preset", "fast", "--passes", "5", *options]
        assert cli.main(train) == 0
        scores = []
        for name in ("t.parquet", "t.csv"):
            assert cli.main(["evaluate", "run/model.fastnn", name, "--out", f"{name}.json"]) == 0
            scores.append(json.loads((tmp_path / f"{name}.json").read_text())["scores"])
            assert "missing" not in capsys.readouterr().out.rpartition("evaluat")[2]
        assert scores[0] == scores[1]
