"""``fastnn train``: results, baselines, groups, notes, and one line of error for every wrong argument."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from extras import all_need, optional
from tables_of_customers import N, customers, written

import fastnn

pytestmark = all_need("pandas")
pd = optional("pandas")

CHURN, SPENT = ("--target", "churn"), ("--target", "spent")
# Arguments of a training that is as short as possible.
SHORT = ("--preset", "fast", "--passes", 1)


def metrics(folder="run"):
    with open(f"{folder}/metrics.json", encoding="utf-8") as file:
        return json.load(file)


def test_classes_are_learned_and_a_model_scores_and_a_report_are_written(train, with_pictures):
    out = train(customers(), *CHURN, "--drop", "id,spent", "--seed", 3)
    assert out.splitlines()[0] == f"t.csv: {N} rows, 8 columns"
    for pattern in (
        r"numbers +2   age, score \(\d+ missing values\)",
        r"booleans +1   paper",
        r"dates +1   since",
        r"categories +1   plan",
        r"target churn: 2 classes, no \d\d\.\d%, yes \d\d\.\d%",
        r"fastnn +0\.\d{4}.*\n  \+/- \(95 %\) +0\.\d{4}",
        r"\(evaluated on out-of-fold predictions of 240 rows; the same rows drove early stopping\)",
        r"most important columns: (score|plan)",
        r"wrote run/model.fastnn, run/metrics.json, run/report.html in \d+\.\d s",
    ):
        assert re.search(pattern, out), pattern
    assert sorted(os.listdir("run")) == ["metrics.json", "model.fastnn", "report.html"]
    frame = customers().drop(columns=["id", "spent", "churn"])
    frame["since"] = pd.to_datetime(frame["since"])
    expected = fastnn.TabularClassifier(random_state=3).fit(frame, customers()["churn"])
    P = fastnn.load("run/model.fastnn").predict_proba(frame)
    np.testing.assert_array_equal(P, expected.predict_proba(frame))
    found = metrics()
    assert (found["task"], found["target"], found["classes"]) == ("classification", "churn", ["no", "yes"])
    scores = found["scores"]
    assert scores["fastnn"]["accuracy"] == pytest.approx(expected.oof_accuracy_)
    assert scores["fastnn"]["log_loss"] == pytest.approx(expected.oof_log_loss_)
    assert scores["fastnn"]["accuracy"] > 0.85 > scores["majority"]["accuracy"]
    assert scores["majority"]["roc_auc"] == 0.5
    assert 0.7 < scores["linear_model"]["accuracy"] <= 1
    assert [record["name"] for record in found["columns"]] == list(frame)


@pytest.mark.parametrize(
    ("target", "options", "has_valid"),
    [("churn", ("--balanced",), False), ("churn", ("--balanced",), True), ("spent", (), True)],
)
def test_train_and_info_print_the_same_scores_of_weighted_rows(train, run, target, options, has_valid):
    table, valid = (frame.assign(w=np.arange(len(frame)) % 3) for frame in (customers(), customers(100, 1)))
    dropped = "id,spent" if target == "churn" else "id,churn"
    base = ("--target", target, "--drop", dropped, "--weights", "w", "--preset", "fast", *options)
    out = train(table, *base, valid=valid if has_valid else None)
    model, scores = fastnn.load("run/model.fastnn"), metrics()["scores"]["fastnn"]
    (line,) = (line.split()[1:] for line in out.splitlines() if line.startswith("fastnn "))
    described = dict(re.findall(r"(\w+) ([\d.e+-]+)", run("info", "run/model.fastnn")[1]))
    for name, k in (("accuracy", 0), ("log_loss", 4)) if target == "churn" else (("rmse", 0), ("r2", 2)):
        assert getattr(model, f"oof_{name}_") == pytest.approx(scores[name], rel=1e-9)
        assert float(described[name]) == float(line[k])


def test_a_seed_determines_the_model_and_a_second_run_says_that_it_replaces_the_first(train, run):
    written(customers(seed=1), Path("more.csv"))
    predictions, printed = [], []
    for seed in (1, 1, 2):
        printed.append(train(customers(), *CHURN, *SHORT, "--drop", "id", "--seed", seed))
        run("predict", "run/model.fastnn", "more.csv", "--proba", "-o", "p.csv")
        with open("p.csv", encoding="utf-8") as file:
            predictions.append(file.read())
    assert predictions[0] == predictions[1] != predictions[2]
    note = "note: the model in run will be replaced: name another --out to keep it\n"
    assert [note in out for out in printed] == [False, True, True]
    assert run("train", "t.csv", "--target", "curn")[:2] == (1, "")
    assert note not in train(customers(), *CHURN, *SHORT, "--out", "other")


@pytest.mark.parametrize("target", ["churn", "spent"])
def test_a_model_holds_no_targets_of_the_training_rows_unless_asked_for(target, train, run):
    predictions = []
    for option in ([], ["--keep-training"]):
        train(customers(), "--target", target, *SHORT, *option)
        model = fastnn.load("run/model.fastnn")
        for name in ("oof_prediction_", "oof_rows_"):
            assert hasattr(model, name) == bool(option), name
        assert bool(model.estimators_[0].validation_loss_curve_) == bool(option)
        assert ("epochs    1 (best: 1)\n" if option else "epochs    1\n") in model.summary()
        predictions.append(run("predict", "run/model.fastnn", "t.csv")[1])
    assert predictions[0] == predictions[1]


@pytest.mark.parametrize("target", ["churn", "spent"])
def test_cross_validation_evaluates_all_models(target, train):
    frame = customers()
    if target == "churn":
        frame.loc[0, "churn"] = "single"  # a class of one row, which all folds but one lack
    base = ("--target", target, "--drop", "id", "--preset", "fast", "--cv", 3, "--time-limit", 60)
    assert "(evaluated by 3-fold cross-validation: " in train(frame, *base)
    assert metrics()["scores"]["fastnn"] != metrics()["scores"]["linear_model"]


def storms():
    """Return rows of 40 storms, whose class follows from the storm and whose other columns tell the storm."""
    storm = np.repeat(np.arange(40), 10)
    random = np.random.RandomState(0)
    position = random.normal(size=(40, 2))[storm] + 0.01 * random.normal(size=(400, 2))
    frame = pd.DataFrame({"storm": [f"s{k}" for k in storm], "x": position[:, 0], "y": position[:, 1]})
    return frame.assign(strong=np.where(random.rand(40)[storm] > 0.5, "yes", "no"))


@pytest.mark.parametrize("evaluation", [(), ("--cv", 4)])
def test_rows_of_a_group_stay_together_in_every_split(evaluation, train, with_margins):
    base = ("--target", "strong", "--passes", 24, *evaluation)
    if not evaluation:
        assert "groups" not in train(storms(), *base, "--drop", "storm")
        assert metrics()["scores"]["fastnn"]["accuracy"] > 0.8
    assert "2 columns" not in train(storms(), *base, "--groups", "storm")
    assert fastnn.load("run/model.fastnn").feature_names_in_.tolist() == ["x", "y"]
    found = metrics()
    assert found["scores"]["fastnn"]["accuracy"] < 0.7
    assert found["scores"]["linear_model"]["accuracy"] < 0.75
    assert found["margins"]["accuracy"] > 2 * 1.96 * np.sqrt(0.25 / 400)  # of 40 groups, not 400 rows


@pytest.mark.needs("pyarrow")
def test_an_evaluation_draws_whole_groups(train, run, with_margins):
    train(storms(), "--target", "strong", "--passes", 24, "--groups", "storm")
    storms().drop(columns="storm").assign(day=storms()["storm"]).to_csv("days.csv", index=False)
    storms().to_parquet("storms.parquet")

    def find_margin(table, *options):
        status, out, errors = run("evaluate", "run/model.fastnn", table, "--out", "scores.json", *options)
        assert (status, errors) == (0, "")
        return json.loads(Path("scores.json").read_text())["margins"]["log_loss"], out

    of_groups, out = find_margin("t.csv")
    assert "columns that the model does not use" not in out
    of_rows, out = find_margin("days.csv")
    assert "note: the table lacks the column 'storm' of the training's groups" in out
    assert of_groups > 2 * of_rows
    for table, options in (("days.csv", ["--groups", "day"]), ("storms.parquet", [])):
        assert find_margin(table, *options)[0] == pytest.approx(of_groups, rel=1e-6)
    assert run("evaluate", "run/model.fastnn", "days.csv", "--groups", "week")[0] == 1


def test_validation_rows_are_read_with_the_types_of_the_training_rows(train):
    paper = pd.Series(np.arange(N) % 2 == 0, dtype=object).where(np.arange(N) % 5 > 0)
    frame = customers().assign(zone=np.where(np.arange(N) % 3, "A", "01"), paper=paper)
    train(frame, *CHURN, "--drop", "id,spent", "--preset", "fast", valid=frame[:60].assign(zone="01"))
    model = fastnn.load("run/model.fastnn")
    rows = frame[:60].assign(zone="01", since=pd.to_datetime(frame["since"])[:60])
    assert metrics()["scores"]["fastnn"]["accuracy"] == pytest.approx(
        model.score(rows[list(model.feature_names_in_)], frame["churn"][:60])
    )


@pytest.mark.parametrize(
    ("classes", "some"), [(["01", "x"], ["01"]), ([1.5, 2], [2]), ([True, False], [0, 1]), ([0, 1], ["1"])]
)
def test_validation_rows_may_have_some_of_the_classes(classes, some, train):
    """A file that holds fewer classes may be read with another type of the target."""
    frame = customers().assign(churn=np.resize(classes, N))
    base = (*CHURN, "--task", "classification", "--drop", "id,spent", *SHORT)
    out = train(frame, *base, valid=frame[:60].assign(churn=np.resize(some, 60)))
    assert "(evaluated on 60 validation rows; " in out


@pytest.mark.parametrize(
    ("labels", "arguments"),
    [
        (["1234567890123456789", "1234567890123456790", ""], []),
        (["18446744073709551615", "9223372036854775808", ""], []),
        (["10000000000000000007919", "10000000000000000000000", ""], []),
        (["1e19", "2e19"], []),
        (["1.50", "2"], ["--task", "classification"]),
    ],
)
def test_classes_that_are_numbers_keep_the_labels_of_the_file(labels, arguments, train, folder, run):
    """float64 rounds integers from 2**53 on, and int64 holds none from 2**63 on."""
    frame = customers()[["age", "score"]].assign(label=np.resize(labels, N))
    train(frame, "--target", "label", *SHORT, *arguments, valid=frame[:3])
    expected = sorted(label for label in labels if label)
    assert sorted(map(str, fastnn.load("run/model.fastnn").classes_)) == expected
    assert sorted(map(str, metrics()["classes"])) == expected
    assert all(f">{label}<" in (folder / "run/report.html").read_text("utf-8") for label in expected)
    run("predict", "run/model.fastnn", "t.csv", "--proba", "-o", "p.csv")
    predictions = pd.read_csv("p.csv", dtype=str)
    assert set(predictions["prediction"]) <= set(expected)
    assert sorted(predictions.columns[1:]) == [f"probability_{label}" for label in expected]
    for name, rows in (("t.csv", N), ("valid.csv", 3)):
        status, out, errors = run("evaluate", "run/model.fastnn", name)
        assert (status, errors) == (0, "")
        assert f": {rows - frame['label'][:rows].eq('').sum()} rows with label" in out
        assert sorted(out.split("true \\ predicted")[1].splitlines()[0].split()) == expected


@pytest.mark.needs("pyarrow")
def test_classes_of_parquet_files_are_not_rounded_either(train):
    large = 1234567890123456789
    labels = pd.array([large, large + 1] * (N // 2 - 1) + [None] * 2, "Int64")
    train(customers()[["age", "score"]].assign(label=labels), "--target", "label", *SHORT, name="t.parquet")
    assert fastnn.load("run/model.fastnn").classes_.tolist() == [large, large + 1]


def test_validation_rows_are_described_and_wrong_values_in_them_named(folder, run, refused):
    lines = ["a;when;y", *(f"{k % 10}.5;2024-01-{k % 28 + 1:02d};{'xy'[k % 2]}" for k in range(90))]
    lines[1] = lines[1].removeprefix("0.5")
    (folder / "t.csv").write_text("\n".join(lines).replace(";", ","))
    (folder / "v.csv").write_text("\n".join([*lines, "1.5;2024-01-01;None"]))
    options = ["train", "t.csv", "--target", "y", *SHORT, "--valid", "v.csv"]
    out = run(*options)[1]
    assert "a (1 missing value)\n" in out
    assert "note: v.csv: fields are separated by ';'" in out
    assert "note: v.csv: the target 'y' holds 'None' in 1 row, read as missing values" in out
    assert "note: v.csv: 1 row without a target is left out" in out
    for line, message in (
        ("oops;2024-01-01;x", "column 'a' should hold numbers, but row 91 holds 'oops'"),
        ("1.5;1.2.24;x", "column 'when' should hold dates, but row 91 holds '1.2.24'"),
        ("1.5;2024-01-01;z", "the target 'y' holds 'z'"),
    ):
        (folder / "v.csv").write_text("\n".join([*lines, line]))
        assert f"v.csv: {message}" in refused(*options)
    (folder / "v.csv").write_text("\n".join(line.partition(";")[2] for line in lines))
    assert refused(*options).startswith("--valid: v.csv has no column 'a'")


def test_columns_that_need_a_decision_are_noted(train):
    frame = customers()
    frame.insert(0, "row", np.arange(N))
    frame["age"] = frame["age"].fillna(50).astype(int).astype(str)
    frame.loc[[4, 9], "age"] = "?"
    frame["customer_id"] = np.random.RandomState(1).permutation(9000)[:N]
    frame["boat"] = np.where(frame["churn"] == "yes", np.resize(["B", "C", "D"], N), None)
    frame["again"] = frame["spent"]
    frame["cents"] = 100 * frame["spent"]
    frame["turn"] = np.arange(N) + 5 * (np.arange(N) > 0)  # numbers no rows
    frame["patient"] = np.repeat([f"p{k}" for k in range(30)], 8)
    frame["pulse"] = np.where(np.arange(N) % 40, 60 + np.arange(N) % 50, -999)
    drop, only = "leaves it out", "if it is known only after the target, --drop"
    notes = {
        "column 'row' numbers the rows: --drop row " + drop,
        "column 'age' holds numbers as text, such as '50', beside '?' (first in row 5): if that means "
        "missing, --na 'age=?' reads it as numbers",
        "column 'customer_id' looks like an id (240 different values): --drop customer_id " + drop,
        "column 'patient' looks like 30 groups of rows that belong together: --groups patient evaluates "
        "networks on groups that they did not see",
        "column 'pulse' holds -999 in 6 rows (2.5%): if it means missing, read it so by --na pulse=-999",
    }
    leak = f"column 'boat' alone predicts the target almost perfectly (accuracy 100.0%): {only} boat {drop}"
    out = train(frame, *CHURN, *SHORT)
    assert set(re.findall("  note: (?!scores|the linear)(.*)", out)) == {*notes, leak}
    assert "left out             id: every row has another value" in out
    assert "note: scores of 48 rows say little: --cv 5 evaluates all rows, by networks that did not" in out
    solved = ("--drop", "boat,row,customer_id", "--groups", "patient", "--na", "age=?,pulse=-999")
    out = train(frame, *SPENT, *SHORT, *solved)
    assert f"  note: column 'again' is a copy of the target: --drop again {drop}" in out
    assert f"  note: column 'cents' alone predicts the target almost perfectly (R2 1.0000): {only}" in out
    assert len(re.findall("  note: (?!scores|the linear)", out)) == 2
    assert "(8 missing values)" in out
    sentinel = "'spent' holds -9999 in 3 rows (1.2%): if it means missing, read it so by --na spent"
    frame.loc[[2, 3, 4], "spent"] = -9999
    assert sentinel in train(frame, *SPENT, *SHORT)


def test_rows_without_a_target_are_left_out_and_unusual_targets_noted(train):
    frame = customers().assign(level=np.arange(N) % 3)
    frame["level"] = frame["level"].where(np.arange(N) % 4 > 0)
    out = train(frame, "--target", "level", "--drop", "id", *SHORT)
    assert "note: 60 rows without a target are left out" in out
    assert "note: the 3 integers of 'level' are taken for classes: --task regression" in out
    assert fastnn.load("run/model.fastnn").classes_.tolist() == [0, 1, 2]
    out = train(customers().assign(who=[f"n{k % 120}" for k in range(N)]), "--target", "who", *SHORT)
    assert "note: the target 'who' holds 120 classes of 2.0 rows each on average: it looks like an id" in out


def test_a_rare_class_that_is_never_predicted_is_noted_and_accuracy_is_not_the_first_score(train, folder):
    random = np.random.RandomState(0)
    rare = random.rand(700) < 0.03
    frame = pd.DataFrame({"x": random.normal(size=700) + rare, "fraud": np.where(rare, "yes", "no")})
    base = ("--target", "fraud", "--preset", "fast", "--passes", 3)
    out = train(frame, *base)
    assert "balanced accuracy  avg. precision  accuracy  ROC AUC  log-loss\n" in out
    never = r"note: 'yes' \(\d\.\d% of the evaluated rows\) is never predicted: --balanced gives rare classes"
    assert re.search(never, out)
    numbers = r"at probabilities of 0\.\d+ or more(, as --balanced does roughly,)? gives recall \d+%, prec"
    assert re.findall(rf"  note: predicting 'yes' {numbers}", out) == ["", ", as --balanced does roughly,"]
    page = (folder / "run" / "report.html").read_text("utf-8")
    assert page.index("balanced accuracy") < page.index("avg. precision") < page.index("<span>accuracy")
    assert "is never predicted" in page
    assert 0 < metrics()["scores"]["majority"]["average_precision"] < 0.1
    assert "note: 'yes'" not in train(frame, *base, "--balanced")


@pytest.mark.parametrize("slope", [1.0, 0.0])
def test_a_linear_model_that_is_better_is_said_to_be(slope, train, folder):
    x = np.random.RandomState(0).standard_cauchy(300)  # beyond the bound of the networks' features
    noise = np.random.RandomState(1).normal(size=300)
    out = train(pd.DataFrame({"x": x, "y": slope * x + noise}), "--target", "y", *SHORT)
    scores = metrics()["scores"]
    note = "note: the linear model is the better one here: RMSE "
    assert (note in out) == (slope > 0)
    assert (note[6:] in (folder / "run" / "report.html").read_text("utf-8")) == (slope > 0)
    assert slope == 0 or scores["linear_model"]["rmse"] < 1.1


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_codes_that_are_declared_categories_are_such_in_all_commands(form, train, folder, run):
    random = np.random.RandomState(0)
    code = random.randint(10, 40, 300)
    y = random.permutation(40)[code] * 1.0
    frame = pd.DataFrame({"shop_code": code, "n_codes_of_all": code, "y": y})
    path = folder / f"codes.{form}"
    getattr(frame, f"to_{form}")(path, index=False)
    note = "column 'shop_code' looks like a code: --categories shop_code makes categories of its numbers"
    base = ("train", path, "--target", "y", "--drop", "n_codes_of_all", *SHORT)
    assert note in run(*base)[1]
    out = run(*base, "--categories", "shop_code", "--valid", path)[1]
    assert "categories       1   shop_code" in out
    assert "looks like" not in out
    assert fastnn.load("run/model.fastnn").columns_[0]["kind"] == "category"
    status, out, err = run("predict", "run/model.fastnn", path, "-o", "out.csv")
    assert (status, "not seen" in err) == (0, False)
    model = fastnn.load("run/model.fastnn")
    expected = model.predict(frame[["shop_code"]].astype(str))
    np.testing.assert_allclose(pd.read_csv("out.csv")["prediction"], expected, rtol=1e-6)
    assert run("evaluate", "run/model.fastnn", path)[0] == 0
    for name, message in (("y", "'y' has another purpose"), ("other", "other")):
        assert message in run(*base, "--categories", name)[2]


@pytest.mark.needs("pyarrow")
def test_numbers_of_a_parquet_file_that_are_text_are_read_as_numbers(folder, run):
    x = np.random.RandomState(0).permutation(200)
    frame = pd.DataFrame({"many": x, "few": x % 9, "code": 1000 + x // 2})
    text = frame.astype(str).assign(y=x * 1.0)
    text.to_parquet("text.parquet", index=False)
    frame.assign(code=text["code"]).to_parquet("numbers.parquet", index=False)
    base = ("train", "text.parquet", "--target", "y", "--categories", "code", *SHORT)
    out = run(*base)[1]
    note = "holds numbers as text, such as"
    assert re.search(f"'many' {note} '.*', read as such: --categories many keeps the texts", out)
    assert re.search(f"'few' {note} '.': --numbers few reads it as numbers", out)
    assert re.search(r"numbers +1   many\n  categories +2   few, code\n", out)
    assert re.search(r"numbers +2   many, few\n  categories +1   code\n", run(*base, "--numbers", "few")[1])
    for form in ("text", "numbers"):
        assert run("predict", "run/model.fastnn", f"{form}.parquet", "-o", f"{form}.csv")[0] == 0
    assert (folder / "text.csv").read_text() == (folder / "numbers.csv").read_text()
    for name, message in (("code", "'code' has another purpose"), ("y", "'y' has another purpose")):
        assert message in run(*base, "--numbers", name)[2]


TEXTS_OF_NUMBERS = {
    "price": [f"${k},{10 * k}.50" for k in range(10, 99)],
    "rate": [f"{k} %" for k in range(99)],
    "amount": [f"{k},000" for k in range(10, 99)] + ["5"],
    "bill": [f"{1 + k % 12:02}/{5 + k % 7:02}/2017" for k in range(99)],
    "paid": [f"{15 + k % 7} {month} 2020" for k, month in enumerate(["Jun", "Jul", "Oct"] * 20)],
    "plan": ["A1", "B2", "17"],
}
OPTIONS = ["--units", "$,%", "--thousands", ",", "--date-format", "%m/%d/%Y", "--date-format", "%d %b %Y"]
# Notes on these columns, each with the option that reads it.
NOTES = (
    "'price' holds numbers as text, such as '$10,100.50': --units '$' --thousands , reads it as numbers",
    "'rate' holds numbers as text, such as '0 %': --units % reads it as numbers",
    "'amount' holds numbers as text, such as '10,000': --thousands , reads it as numbers",
    "'bill' holds dates as text, such as '01/05/2017': --date-format %m/%d/%Y or %d/%m/%Y reads it as dates",
)


def test_text_that_stands_for_numbers_or_dates_is_noted_with_the_option_that_reads_it(train, folder, run):
    frame = pd.DataFrame({name: np.resize(texts, N) for name, texts in TEXTS_OF_NUMBERS.items()})
    out = train(frame.assign(churn=customers()["churn"]), *CHURN, *SHORT)
    assert re.findall("  note: column (.* as text.*)", out) == [*NOTES]
    assert "  note: column 'paid' holds dates as 15 Jun 2020, read by %d %b %Y: from 2020-06-15 to" in out
    out = train(frame.assign(churn=customers()["churn"]), *CHURN, *SHORT, *OPTIONS)
    assert "  numbers          3   price, rate, amount\n  dates            2   bill, paid\n" in out
    assert "as text" not in out
    written(frame[:9], folder / "new.csv")  # is read without the options: the model remembers them
    assert run("predict", "run/model.fastnn", "new.csv", "-o", "p.csv")[2] == "p.csv: 9 predictions\n"
    target = ("train", "t.csv", "--target", "price", *SHORT)
    assert run(*target)[2] == f"fastnn: t.csv: the target {NOTES[0]}\n"
    assert "target price: numbers from 10,100.5 to 98,980.5" in run(*target, *OPTIONS)[1]


def _disk_full(*arguments, **options):
    raise OSError(28, "No space left on device")


def test_the_model_is_written_before_what_may_fail_after_the_fit(train, run, monkeypatch):
    def read_all():
        return {path.name: path.read_bytes() for path in Path("run").iterdir()}

    train(customers(), *CHURN, *SHORT)
    before = read_all()
    evaluation, writing = "fastnn.tables.commands.evaluated_fit", "fastnn.tables.commands.train_table"
    for seed, broken, left in (
        (1, "fastnn.TabularClassifier.save", None),
        (2, f"{writing}.make_report_page", ["metrics.json", "model.fastnn"]),
        (3, f"{evaluation}.score_baselines", ["model.fastnn"]),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(broken, _disk_full)
            status, _, errors = run("train", "t.csv", *CHURN, *SHORT, "--seed", seed)
        assert status == 1
        assert "No space left" in errors
        after = read_all()
        if left is None:  # the older results stay
            assert after == before
            continue
        assert errors.startswith("run/model.fastnn is complete; metrics.json or report.html is missing\n")
        assert sorted(after) == left  # without the files of the earlier model
        assert before["model.fastnn"] != after["model.fastnn"]
        before = after


TEXTS = customers()["spent"].astype(str).where(np.arange(N) != 41, "n/k")
ONE = np.arange(N) == 6
PATIENTS = np.where(ONE, None, "p")


@pytest.mark.parametrize(
    ("columns", "arguments", "message"),
    [
        ({}, "--target Chrun", "--target: t.csv has no column 'Chrun': did you mean 'churn'?"),
        ({}, "--target zzz", "--target: t.csv has no column 'zzz': its columns are 'id', 'age', 'plan', "),
        ({}, "--target churn --drop ids", "--drop: .* no column 'ids': did you mean 'id'"),
        ({}, "--target churn --drop churn", "--target: 'churn' cannot be dropped"),
        ({"churn": "no"}, "--target churn", "'churn' holds only one value, 'no': there is nothing"),
        ({"churn": ""}, "--target churn", "the target 'churn' holds only missing values"),
        ({"spent": TEXTS}, "--target spent", "row 42 holds 'n/k': .*if it means missing.*--na spent=n/k$"),
        ({}, "--target plan --task regression", r"numbers, but row 1 holds '\w+': correct it$"),
        ({}, "--target id", "'id' holds 240 different values in 240 rows, too many for classes"),
        ({}, "--target since", "the target 'since' holds dates"),
        ({"w": -1}, "--target churn --weights w", "the weight 'w' in row 1 is -1"),
        ({"w": 0}, "--target churn --weights w", "the weights 'w' are all 0"),
        ({"w": "a"}, "--target churn --weights w", "the weight 'w' should hold numbers, but row 1"),
        ({"g": PATIENTS}, "--target churn --groups g", "the group 'g' is missing in row 7: name it"),
        ({"g": "p"}, "--target churn --groups g", "--groups g: groups holds only one group, 'p': two"),
        ({}, "--target churn --quantiles 0.5", "the target holds classes: leave --quantiles out"),
        ({"y": np.arange(N) % 3}, "--target y --quantiles 0.5", "holds classes: pass --task regression"),
        ({}, "--target spent --quantiles 0.9,0.1", "quantiles must increase"),
        ({}, "--target spent --balanced", "--balanced works only with classes"),
        ({}, "--target churn --cv 999", "--cv 999: there are only 240 rows; choose at most 240"),
        ({}, "--target churn --cv 9 --groups plan", "--cv 9: there are only 3 groups; choose at most 3"),
        ({"y": np.where(ONE, "a", "b")}, "--target y --cv 3", "--cv 3: all rows outside .* the target 'b'"),
        ({"w": np.where(ONE, np.inf, 1)}, "--target churn", "'w' holds infinity in row 7: .*--na w=inf"),
        ({"y": np.where(ONE, np.inf, 1.5)}, "--target y", "the target 'y' holds infinity in row 7: .*--na"),
        ({}, "--target churn --drop id,age,score,plan,since,paper,spent", "has no column to predict"),
        ({}, "--target churn --drop age,score,plan,since,paper,spent", "no column of X tells the rows apart"),
        ({}, "--target churn --out t.csv/run", "--out: .*t.csv"),
        ({}, "--target churn --out t.csv", "--out: t.csv is a file, not a folder"),
        ({}, "--target churn --valid none.csv", "there is no file none.csv"),
    ],
)
def test_wrong_tables_are_refused_in_one_line(columns, arguments, message, folder, refused):
    written(customers().assign(**columns), folder / "t.csv")
    assert re.search(message, refused("train", "t.csv", *arguments.split()))
    assert os.listdir() == ["t.csv"]
