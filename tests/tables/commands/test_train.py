"""``fastnn train``: results, baselines, and one line of error for every wrong table or argument."""

import json
import os
import re
import subprocess
import sys
from decimal import Decimal

import joblib
import numpy as np
import pytest
from extras import all_need, optional
from joblib_backends import PicklingBackend
from processes import PATIENCE
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score, log_loss
from tables_of_customers import N, customers, written

import fastnn
from fastnn.cli import arguments
from fastnn.cli import main as cli
from fastnn.estimators import parallel
from fastnn.tables import estimators
from fastnn.tables.calibration import held_out_probabilities
from fastnn.tables.commands import evaluation, problem
from fastnn.tables.presets import PRESETS

pytestmark = all_need("pandas")
pd = optional("pandas")


def metrics(folder="run"):
    """Return the content of metrics.json."""
    with open(f"{folder}/metrics.json", encoding="utf-8") as file:
        return json.load(file)


def test_classes_are_learned_and_a_model_scores_and_a_report_are_written(folder, run, with_pictures):
    written(customers(), folder / "customers.csv")
    status, out, errors = run(
        "train", "customers.csv", "--target", "churn", "--drop", "id,spent", "--seed", 3
    )
    assert (status, errors) == (0, "")
    assert out.splitlines()[0] == f"customers.csv: {N} rows, 8 columns"
    for pattern in (
        r"numbers +2   age, score \(\d+ missing values\)", r"booleans +1   paper", r"dates +1   since",
        r"categories +1   plan", r"target churn: 2 classes, no \d\d\.\d%, yes \d\d\.\d%",
        r"\(evaluated on out-of-fold predictions of 240 rows; the same rows drove early stopping\)",
        r"most important columns: (score|plan)",
        r"wrote run/model.fastnn, run/metrics.json, run/report.html in \d+\.\d s",
    ):  # fmt: skip
        assert re.search(pattern, out), pattern
    assert sorted(os.listdir("run")) == ["metrics.json", "model.fastnn", "report.html"]
    model = fastnn.load("run/model.fastnn")
    frame = customers().drop(columns=["id", "spent", "churn"])
    frame["since"] = pd.to_datetime(frame["since"])
    expected = fastnn.TabularClassifier(random_state=3).fit(frame, customers()["churn"])
    np.testing.assert_array_equal(model.predict_proba(frame), expected.predict_proba(frame))
    found = metrics()
    assert (found["task"], found["target"], found["classes"]) == ("classification", "churn", ["no", "yes"])
    assert found["scores"]["fastnn"]["accuracy"] == pytest.approx(expected.oof_accuracy_)
    assert found["scores"]["fastnn"]["log_loss"] == pytest.approx(expected.oof_log_loss_)
    assert found["scores"]["fastnn"]["accuracy"] > 0.85 > found["scores"]["majority"]["accuracy"]
    truth = customers()["churn"]
    dummy = DummyClassifier(strategy="prior").fit(frame, truth)
    assert found["scores"]["majority"]["accuracy"] == accuracy_score(truth, dummy.predict(frame))
    assert found["scores"]["majority"]["log_loss"] == pytest.approx(
        log_loss(truth, dummy.predict_proba(frame))
    )
    assert found["scores"]["majority"]["roc_auc"] == 0.5
    assert 0.7 < found["scores"]["linear_model"]["accuracy"] <= 1
    assert [record["name"] for record in found["columns"]] == list(frame)


def test_train_and_info_print_the_same_log_loss_for_a_class_that_seemed_impossible(folder, run, monkeypatch):
    def certain(scores, classes, *others):
        P = held_out_probabilities(scores, classes, *others)
        P[0] = np.where(np.arange(2) == classes[0], 1e-12, 1)
        return P

    monkeypatch.setattr(estimators, "held_out_probabilities", certain)
    written(customers(), folder / "customers.csv")
    written(customers(100, seed=1), folder / "valid.csv")
    base = ("train", "customers.csv", "--target", "churn", "--drop", "id,spent", "--preset", "fast")
    status, out, _ = run(*base, "--valid", "valid.csv", "--keep-training")
    assert status == 0
    model = fastnn.load("run/model.fastnn")
    assert model.oof_prediction_.dtype == np.float32
    assert metrics()["scores"]["fastnn"]["log_loss"] == model.oof_log_loss_
    printed = next(line for line in out.splitlines() if line.startswith("fastnn ")).split()[-1]
    described = run("info", "run/model.fastnn")[1]
    assert float(re.search(r"log_loss ([\d.]+)", described)[1]) == float(printed)


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("churn", ()),
        ("churn", ("--balanced",)),
        ("churn", ("--balanced", "--valid", "valid.csv")),
        ("spent", ("--valid", "valid.csv")),
    ],
)
def test_train_and_info_print_the_same_scores_of_weighted_rows(folder, run, target, options):
    for name, frame in (("customers", customers()), ("valid", customers(100, seed=1))):
        written(frame.assign(w=np.arange(len(frame)) % 3), folder / f"{name}.csv")
    other = "spent" if target == "churn" else "churn"
    base = ("train", "customers.csv", "--target", target, "--drop", f"id,{other}")
    status, out, _ = run(*base, "--weights", "w", "--preset", "fast", *options)
    assert status == 0
    model = fastnn.load("run/model.fastnn")
    scores = metrics()["scores"]["fastnn"]
    lines = {line.split("  ")[0]: line.split()[1:] for line in out.splitlines()}
    described = dict(re.findall(r"(\w+) ([\d.e+-]+)", run("info", "run/model.fastnn")[1]))
    columns = {"accuracy": 0, "log_loss": 4} if target == "churn" else {"rmse": 0, "r2": 2}
    for name, k in columns.items():
        assert getattr(model, f"oof_{name}_") == pytest.approx(scores[name], rel=1e-9)
        assert float(described[name]) == float(lines["fastnn"][k])


def test_numbers_are_learned_with_quantiles(folder, run):
    written(customers(), folder / "customers.csv")
    arguments = ("--target", "spent", "--drop", "id,churn", "--quantiles", "0.1,0.9", "--preset", "fast")
    status, out, _ = run("train", "customers.csv", *arguments, "--out", "other")
    assert status == 0
    assert "target spent: numbers from" in out
    model = fastnn.load("other/model.fastnn")
    assert model.quantiles == (0.1, 0.9)
    scores = metrics("other")["scores"]
    assert scores["mean"]["r2"] == pytest.approx(0, abs=0.1)
    assert scores["linear_model"]["r2"] > 0.9
    assert scores["fastnn"]["rmse"] == pytest.approx(model.oof_rmse_)


def test_a_seed_determines_the_model(folder, run):
    written(customers(), folder / "customers.csv")
    written(customers(seed=1), folder / "more.csv")
    base = ("train", "customers.csv", "--target", "churn", "--preset", "fast", "--drop", "id")
    predictions = []
    for seed in (1, 1, 2):
        run(*base, "--seed", seed)
        run("predict", "run/model.fastnn", "more.csv", "--proba", "-o", "p.csv")
        predictions.append((folder / "p.csv").read_text())
    assert predictions[0] == predictions[1] != predictions[2]


def test_validation_rows_of_another_file_judge_the_model(folder, run):
    written(customers(), folder / "customers.csv")
    written(customers(100, seed=1), folder / "valid.csv")
    base = ("train", "customers.csv", "--target", "churn", "--drop", "id,spent", "--preset", "fast")
    status, out, _ = run(*base, "--valid", "valid.csv", "--keep-training")
    assert status == 0
    assert "(evaluated on 100 validation rows; the same rows drove early stopping)" in out
    model = fastnn.load("run/model.fastnn")
    P, truth = model.oof_prediction_, customers(100, seed=1)["churn"].to_numpy()
    found = metrics()["scores"]["fastnn"]["accuracy"]
    assert found == accuracy_score(truth, model.classes_[P.argmax(axis=1)])


def test_validation_rows_are_read_with_the_types_of_the_training_rows(folder, run):
    paper = pd.Series(np.arange(N) % 2 == 0, dtype=object).where(np.arange(N) % 5 > 0)
    frame = customers().assign(zone=np.where(np.arange(N) % 3, "A", "01"), paper=paper)
    written(frame, folder / "customers.csv")
    written(frame[:60].assign(zone="01"), folder / "valid.csv")
    base = ("train", "customers.csv", "--target", "churn", "--drop", "id,spent", "--preset", "fast")
    status, _, errors = run(*base, "--valid", "valid.csv")
    assert (status, errors) == (0, "")
    model = fastnn.load("run/model.fastnn")
    rows = frame[:60].assign(zone="01", since=pd.to_datetime(frame["since"])[:60])
    assert metrics()["scores"]["fastnn"]["accuracy"] == pytest.approx(
        model.score(rows[list(model.feature_names_in_)], frame["churn"][:60])
    )


@pytest.mark.parametrize(
    ("classes", "some"), [(["01", "x"], ["01"]), ([1.5, 2], [2]), ([True, False], [0, 1]), ([0, 1], ["1"])]
)
def test_validation_rows_may_have_some_of_the_classes(classes, some, folder, run):
    """A file that holds fewer classes may be read with another type of the target."""
    frame = customers().drop(columns="churn").assign(churn=np.resize(classes, N))
    written(frame, folder / "customers.csv")
    written(frame[:60].assign(churn=np.resize(some, 60)), folder / "valid.csv")
    status, out, errors = run(
        "train", "customers.csv", "--target", "churn", "--task", "classification", "--preset", "fast",
        "--drop", "id,spent", "--valid", "valid.csv",
    )  # fmt: skip
    assert (status, errors) == (0, "")
    assert "(evaluated on 60 validation rows; " in out


@pytest.mark.parametrize(
    ("labels", "arguments"),
    [
        (["1234567890123456789", "1234567890123456790"], []),
        (["1234567890123456789", "1234567890123456790", ""], []),
        (["18446744073709551615", "9223372036854775808", ""], []),
        (["10000000000000000007919", "10000000000000000000000", ""], []),
        (["1e19", "2e19"], []),
        (["1.50", "2"], ["--task", "classification"]),
    ],
)
def test_classes_that_are_numbers_keep_the_labels_of_the_file(labels, arguments, folder, run, with_pictures):
    """float64 rounds integers from 2**53 on, and int64 holds none from 2**63 on."""
    frame = customers()[["age", "score"]].assign(label=np.resize(labels, N))
    written(frame, folder / "t.csv")
    written(frame[:3], folder / "few.csv")
    base = ("train", "t.csv", "--target", "label", "--preset", "fast", "--passes", 1, *arguments)
    assert run(*base, "--valid", "few.csv")[::2] == (0, "")
    expected = sorted(label for label in labels if label)
    assert sorted(map(str, fastnn.load("run/model.fastnn").classes_)) == expected
    assert sorted(map(str, metrics()["classes"])) == expected
    assert all(f">{label}<" in (folder / "run/report.html").read_text("utf-8") for label in expected)
    run("predict", "run/model.fastnn", "t.csv", "--proba", "-o", "p.csv")
    predictions = pd.read_csv("p.csv", dtype=str)
    assert set(predictions["prediction"]) <= set(expected)
    assert sorted(predictions.columns[1:]) == [f"probability_{label}" for label in expected]
    for name, rows in (("t.csv", N), ("few.csv", 3)):
        status, out, errors = run("evaluate", "run/model.fastnn", name)
        assert (status, errors) == (0, "")
        assert f": {rows - frame['label'][:rows].eq('').sum()} rows with label" in out
        matrix = out.split("true \\ predicted")[1]
        assert sorted(matrix.splitlines()[0].split()) == expected


@pytest.mark.needs("pyarrow")
def test_classes_of_parquet_files_are_not_rounded_either(folder, run):
    labels = [1234567890123456789, 1234567890123456790, None]
    frame = customers()[["age", "score"]].assign(label=pd.array(np.resize(labels, N), "Int64"))
    frame.to_parquet("t.parquet")
    (folder / "parts").mkdir()
    frame.to_parquet("parts/0.parquet")
    for table in ("t.parquet", "parts"):
        assert run("train", table, "--target", "label", "--preset", "fast", "--passes", 1)[0] == 0
        assert fastnn.load("run/model.fastnn").classes_.tolist() == labels[:2]
        status, out, _ = run("evaluate", "run/model.fastnn", table)
        assert status == 0
        assert ": 160 rows with label" in out


@pytest.mark.needs("pyarrow")
def test_decimals_of_many_digits_are_classes(folder, run):
    """Python's decimals divide no more digits than 28."""
    labels = ["123456789012345678901234567890123456", "123456789012345678901234567890123457"]
    frame = customers()[["age", "score"]].assign(label=[Decimal(text) for text in np.resize(labels, N)])
    frame.to_parquet("t.parquet")
    assert run("train", "t.parquet", "--target", "label", "--preset", "fast", "--passes", 1)[0] == 0
    assert fastnn.load("run/model.fastnn").classes_.tolist() == labels


def test_validation_rows_of_unknown_classes_are_refused(folder, refused):
    written(customers(), folder / "customers.csv")
    written(customers().assign(churn="maybe"), folder / "valid.csv")
    message = refused("train", "customers.csv", "--target", "churn", "--valid", "valid.csv")
    assert message.startswith("valid.csv: the target 'churn' holds 'maybe', but the model knows the classes ")


def test_validation_rows_are_described_and_wrong_values_in_them_named(folder, run, refused):
    rows = [(f"{k % 10}.5", f"2024-01-{k % 28 + 1:02d}", "xy"[k % 2]) for k in range(90)]
    lines = ["a;when;y", *map(";".join, rows)]
    (folder / "t.csv").write_text("\n".join(lines).replace(";", ","))
    (folder / "v.csv").write_text("\n".join([*lines, "1.5;2024-01-01;None"]))
    options = ["train", "t.csv", "--target", "y", "--preset", "fast", "--passes", "2", "--valid", "v.csv"]
    _, out, _ = run(*options)
    assert "note: v.csv: fields are separated by ';'" in out
    assert "note: v.csv: the target 'y' holds 'None' in 1 row, read as missing values" in out
    assert "note: v.csv: 1 row without a target is left out" in out
    (folder / "v.csv").write_text("\n".join([*lines, "oops;2024-01-01;x"]))
    assert "v.csv: column 'a' should hold numbers, but row 91 holds 'oops'" in refused(*options)
    (folder / "v.csv").write_text("\n".join([*lines, "1.5;1.2.24;x"]))
    assert "v.csv: column 'when' should hold dates, but row 91 holds '1.2.24'" in refused(*options)


@pytest.mark.parametrize("target", ["churn", "spent"])
def test_cross_validation_judges_all_models(target, folder, run):
    frame = customers()
    if target == "churn":
        frame.loc[0, "churn"] = "single"  # a class of one row, which all folds but one lack
    written(frame, folder / "customers.csv")
    base = ("train", "customers.csv", "--target", target, "--drop", "id", "--preset", "fast", "--cv", 3)
    status, out, _ = run(*base, "--time-limit", 60)
    assert status == 0
    assert "(evaluated by 3-fold cross-validation: " in out
    assert metrics()["scores"]["fastnn"] != metrics()["scores"]["linear_model"]


def test_cross_validation_on_workers_gives_the_same_bits(folder, run, monkeypatch):
    written(customers(), folder / "customers.csv")
    base = ("train", "customers.csv", *CHURN, "--preset", "fast", "--cv", 3)
    assert run(*base)[0] == 0
    here = metrics()["scores"]
    parameters = [network.model_._parameters for network in fastnn.load("run/model.fastnn").estimators_]
    arrived = []

    def adopt(estimator, *arguments):
        arrived.append(type(estimator))
        original(estimator, *arguments)

    original = parallel._adopt
    monkeypatch.setattr(parallel, "_adopt", adopt)
    with joblib.parallel_config(PicklingBackend()):
        assert run(*base)[0] == 0
    assert arrived == 4 * [fastnn.TabularClassifier]  # the final fit and those of the folds
    assert metrics()["scores"] == here
    for one, other in zip(fastnn.load("run/model.fastnn").estimators_, parameters, strict=True):
        np.testing.assert_array_equal(one.model_._parameters, other)


def test_a_model_is_kept_if_a_fold_on_a_worker_fails(folder, run, monkeypatch):
    written(customers(), folder / "customers.csv")

    def fit_rows(estimator, rows, *arguments, **options):
        assert isinstance(rows, slice), "this fold cannot be fitted"
        fit(estimator, rows, *arguments, **options)

    fit = evaluation.fit_rows
    monkeypatch.setattr(evaluation, "fit_rows", fit_rows)
    monkeypatch.setattr(fit_rows, "__qualname__", "fit_rows")  # pickles name it
    monkeypatch.setattr(fit_rows, "__module__", evaluation.__name__)
    with joblib.parallel_config(PicklingBackend()), pytest.raises(AssertionError, match="this fold cannot"):
        run("train", "customers.csv", *CHURN, "--preset", "fast", "--cv", 3)
    assert len(fastnn.load("run/model.fastnn").estimators_) == 1


def test_rows_and_classes_can_be_weighted(folder, run):
    frame = customers().assign(w=np.arange(N) % 3)
    frame["rare"] = np.where(np.arange(N) % 10 == 0, 1, 0)
    written(frame, folder / "customers.csv")
    base = ("train", "customers.csv", "--preset", "fast", "--drop", "id,spent,churn", "--networks", 2)
    base = (*base, "--keep-training")
    assert run(*base, "--target", "rare")[0] == 0
    plain = fastnn.load("run/model.fastnn").oof_prediction_[:, 1].mean()
    assert run(*base, "--target", "rare", "--balanced")[0] == 0
    assert fastnn.load("run/model.fastnn").oof_prediction_[:, 1].mean() > 2 * plain
    assert run(*base, "--target", "rare", "--weights", "w")[0] == 0
    assert "w" not in fastnn.load("run/model.fastnn").feature_names_in_


def test_rows_without_a_target_are_left_out(folder, run):
    frame = customers().assign(level=np.arange(N) % 3)
    frame["level"] = frame["level"].where(np.arange(N) % 4 > 0)
    written(frame, folder / "customers.csv")
    status, out, _ = run("train", "customers.csv", "--target", "level", "--preset", "fast", "--drop", "id")
    assert status == 0
    assert "note: 60 rows without a target are left out" in out
    assert "note: the 3 integers of 'level' are taken for classes: --task regression" in out
    assert fastnn.load("run/model.fastnn").classes_.tolist() == [0, 1, 2]


def test_a_single_row_is_no_plural(folder, run):
    frame = with_columns()
    frame.loc[0, "churn"] = None
    written(frame, folder / "t.csv")
    written(frame[1:2], folder / "one.csv")
    status, out, _ = run("train", "t.csv", *CHURN, "--preset", "fast", "--valid", "one.csv")
    assert status == 0
    assert "note: 1 row without a target is left out" in out
    assert "(evaluated on 1 validation row; " in out
    assert "one.csv: 1 row with churn" in run("evaluate", "run/model.fastnn", "one.csv")[1]
    assert run("predict", "run/model.fastnn", "one.csv", "-o", "p.csv")[2] == "p.csv: 1 prediction\n"


def test_suspicious_columns_are_noted(folder, run):
    frame = customers()
    frame.insert(0, "row", np.arange(N))
    frame["age"] = frame["age"].fillna(50).astype(int).astype(str)
    frame.loc[[4, 9], "age"] = "?"
    written(frame, folder / "customers.csv")
    base = ("train", "customers.csv", "--target", "churn", "--preset", "fast")
    _, out, _ = run(*base)
    assert "note: column 'row' numbers the rows: --drop row leaves it out" in out
    assert "'?' (first in row 5): --na '?' reads it as numbers\n" in out
    assert "left out             id: every row has another value" in out
    _, out, _ = run(*base, "--na", "?")
    assert "as text" not in out


@pytest.mark.needs("pyarrow")
@pytest.mark.parametrize("value", [[1, 2], {"key": 1}])
def test_a_column_of_lists_or_records_is_named(value, folder, refused):
    customers()[["age", "churn"]].assign(other=[value] * N).to_parquet("t.parquet")
    message = refused("train", "t.parquet", "--target", "churn")
    assert message.startswith("column 'other' holds values that are neither numbers, dates nor categories: ")


def test_older_results_stay_if_the_model_cannot_be_written(folder, run, refused, monkeypatch):
    written(customers(), folder / "customers.csv")
    base = ("train", "customers.csv", "--target", "churn", "--preset", "fast")
    run(*base)
    before = {name: (folder / "run" / name).read_bytes() for name in os.listdir("run")}
    monkeypatch.setattr(fastnn.TabularClassifier, "save", _disk_full)
    assert "No space left" in refused(*base, "--seed", 1)
    assert {name: (folder / "run" / name).read_bytes() for name in os.listdir("run")} == before


def _disk_full(*arguments, **options):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("broken", "left"),
    [
        ("fastnn.tables.report.page.report_page", ["metrics.json", "model.fastnn"]),
        ("fastnn.tables.commands.evaluation.baselines", ["model.fastnn"]),
    ],
)
def test_the_model_is_written_before_what_may_fail_after_the_fit(broken, left, folder, run, monkeypatch):
    written(customers(), folder / "customers.csv")
    base = ("train", "customers.csv", "--target", "churn", "--preset", "fast", "--passes", 1)
    run(*base)
    before = (folder / "run" / "model.fastnn").read_bytes()
    monkeypatch.setattr(broken, _disk_full)
    status, _, errors = run(*base, "--seed", 1)
    assert status == 1
    assert errors.splitlines()[0] == "run/model.fastnn is complete; metrics.json or report.html is missing"
    assert sorted(os.listdir("run")) == left  # without those of the earlier model
    assert before != (folder / "run" / "model.fastnn").read_bytes()
    assert "score" in fastnn.load("run/model.fastnn").feature_names_in_


@pytest.mark.parametrize("target", ["churn", "large"])
def test_columns_of_large_numbers_close_together_are_drawn(target, folder, run, with_pictures):
    """The range of these numbers has 13 floats: np.histogram divides none into 20 intervals."""
    frame = customers().assign(large=[f"{10**22 + 2**21 * (k % 13)}" for k in range(N)])
    written(frame, folder / "t.csv")
    base = ("train", "t.csv", "--preset", "fast", "--passes", 1, "--drop", "id", "--target", target)
    status, _, errors = run(*base, "--task", "regression" if target == "large" else "classification")
    assert (status, errors) == (0, "")
    assert "distribution of" in (folder / "run" / "report.html").read_text("utf-8")


def test_an_interrupt_leaves_no_files(folder, run, monkeypatch):
    written(customers(), folder / "customers.csv")

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(fastnn.TabularClassifier, "fit", interrupted)
    status, _, errors = run("train", "customers.csv", "--target", "churn")
    assert (status, errors) == (130, "interrupted\n")
    assert os.listdir() == ["customers.csv"]


@pytest.mark.parametrize("target", ["churn", "spent"])
def test_a_model_holds_no_targets_of_the_training_rows_unless_asked_for(target, folder, run):
    written(customers(), folder / "t.csv")
    base = ("train", "t.csv", "--target", target, "--preset", "fast", "--passes", 1)
    predictions = []
    for option in ([], ["--keep-training"]):
        assert run(*base, *option)[0] == 0
        model = fastnn.load("run/model.fastnn")
        for name in ("oof_prediction_", "oof_rows_", "_oof_targets"):
            assert hasattr(model, name) == bool(option), name
        assert bool(model.estimators_[0].validation_loss_curve_) == bool(option)
        assert ("epochs    1 (best: 1)\n" if option else "epochs    1\n") in model.summary()
        run("predict", "run/model.fastnn", "t.csv", "-o", "p.csv")
        predictions.append((folder / "p.csv").read_bytes())
    assert predictions[0] == predictions[1]


def test_ids_and_columns_that_give_the_target_away_are_noted(folder, run):
    frame = customers()
    frame["customer_id"] = np.random.RandomState(1).permutation(9000)[:N]
    frame["boat"] = np.where(frame["churn"] == "yes", np.resize(["B", "C", "D"], N), None)
    frame["again"] = frame["spent"]
    frame["cents"] = 100 * frame["spent"]
    written(frame, folder / "t.csv")
    base = ("train", "t.csv", "--preset", "fast", "--passes", 1)
    only = "if it is known only after the target, --drop"
    _, out, _ = run(*base, *CHURN)
    assert "  note: column 'customer_id' looks like an id (240 different values): --drop customer_id" in out
    assert (
        f"  note: column 'boat' alone predicts the target almost perfectly (accuracy 100.0%): {only}" in out
    )
    assert out.count("note:") == 2
    _, out, _ = run(*base, *SPENT, "--drop", "boat,customer_id")
    assert "  note: column 'again' is a copy of the target: --drop again leaves it out" in out
    assert f"  note: column 'cents' alone predicts the target almost perfectly (R2 1.0000): {only}" in out
    assert out.count("note:") == 2


def test_a_rare_class_that_is_never_predicted_is_noted_and_accuracy_is_not_the_first_score(folder, run):
    random = np.random.RandomState(0)
    n = 700
    rare = random.rand(n) < 0.03
    frame = pd.DataFrame({"x": random.normal(size=n) + rare, "fraud": np.where(rare, "yes", "no")})
    written(frame, folder / "t.csv")
    base = ("train", "t.csv", "--target", "fraud", "--preset", "fast", "--passes", 3)
    status, out, _ = run(*base)
    assert status == 0
    header = "balanced accuracy  avg. precision    accuracy     ROC AUC    log-loss\n"
    assert header in out
    never = r"note: 'yes' \(\d\.\d% of the evaluated rows\) is never predicted: --balanced gives rare classes"
    assert re.search(never, out)
    numbers = r"from a probability of 0\.\d+ on(, as --balanced does roughly,)? gives recall \d+%, prec"
    found = re.findall(rf"  note: predicting 'yes' {numbers}", out)
    assert found == ["", ", as --balanced does roughly,"]
    page = (folder / "run" / "report.html").read_text("utf-8")
    assert page.index("balanced accuracy") < page.index("avg. precision") < page.index("<span>accuracy")
    assert "is never predicted" in page
    found = metrics()["scores"]
    assert 0 < found["majority"]["average_precision"] < 0.1
    assert "note: 'yes'" not in run(*base, "--balanced")[1]


def test_a_target_with_very_many_classes_is_noted(folder, run, monkeypatch):
    monkeypatch.setattr(problem, "MAX_UNCHECKED_CLASSES", 10)
    written(customers().assign(who=[f"n{k % 20}" for k in range(N)]), folder / "t.csv")
    _, out, _ = run("train", "t.csv", "--target", "who", "--preset", "fast", "--passes", 1)
    assert (
        "  note: the target 'who' holds 20 classes of 12.0 rows each on average: it looks like an id" in out
    )


TEXTS_OF_NUMBERS = {
    "price": [f"${k},{10 * k}.50" for k in range(10, 99)],
    "rate": [f"{k} %" for k in range(99)],
    "amount": [f"{k},000" for k in range(10, 99)] + ["5"],
    "bill": [f"{1 + k % 12:02}/{15 + k % 7}/2017" for k in range(99)],
    "paid": [f"{15 + k % 7} {month} 2020" for k, month in enumerate(["Jun", "Jul", "Oct"] * 20)],
    "heads": [str(k) if k % 4 else "?" for k in range(99)],
    "plan": ["A1", "B2", "17"],
}
OPTIONS = ["--units", "$,%", "--thousands", ",", "--na", "?", "--date-format", "%m/%d/%Y"]
OPTIONS += ["--date-format", "%d %b %Y"]


def test_text_that_stands_for_numbers_or_dates_is_noted_with_the_option_that_reads_it(folder, run):
    frame = pd.DataFrame({name: np.resize(texts, N) for name, texts in TEXTS_OF_NUMBERS.items()})
    written(frame.assign(churn=customers()["churn"]), folder / "t.csv")
    base = ("train", "t.csv", *CHURN, "--preset", "fast", "--passes", 1)
    status, out, _ = run(*base)
    assert status == 0
    for note in (
        "'price' holds numbers as text, such as '$10,100.50': --units '$' --thousands , reads it as numbers",
        "'rate' holds numbers as text, such as '0 %': --units % reads it as numbers",
        "'amount' holds numbers as text, such as '10,000': --thousands , reads it as numbers",
        "'bill' holds dates as text, such as '01/15/2017': --date-format %m/%d/%Y reads it as dates",
        "'paid' holds dates as text, such as '15 Jun 2020': --date-format '%d %b %Y' reads it as dates",
        "'heads' holds numbers as text, such as '1', beside '?' (first in row 1): --na '?' reads it as",
    ):
        assert f"  note: column {note}" in out
    assert out.count("as text") == 6
    status, out, _ = run(*base, *OPTIONS)
    assert status == 0
    assert (
        "  numbers          4   price, rate, amount, heads (61 missing values)\n"
        "  dates            2   bill, paid\n" in out
    )
    assert "as text" not in out
    written(frame[:9], folder / "new.csv")
    predict = ("predict", "run/model.fastnn", "new.csv", "-o", "p.csv")
    assert run(*predict, *OPTIONS)[2] == "p.csv: 9 predictions\n"
    message = "'price' holds numbers as text, such as '$10,100.50': --units '$' --thousands , reads it as"
    assert run(*predict)[2] == f"fastnn: new.csv: column {message} numbers\n"
    arguments = ("train", "t.csv", "--target", "price", "--preset", "fast", "--passes", 1)
    assert run(*arguments)[2] == f"fastnn: t.csv: the target {message} numbers\n"
    assert "target price: numbers from 10,100.5 to 98,980.5" in run(*arguments, *OPTIONS)[1]


@pytest.mark.needs("pyarrow")
def test_dates_whose_time_zones_differ_stay_text(folder, run):
    frame = customers().assign(when=["2024-01-31T12:00:00+01:00", "2024-07-31T12:00:00+02:00"] * (N // 2))
    written(frame, folder / "customers.csv")
    base = ("--target", "churn", "--drop", "id,spent", "--preset", "fast")
    status, _, errors = run("train", "customers.csv", *base)
    assert (status, errors) == (0, "")
    kinds = {record["name"]: record["kind"] for record in fastnn.load("run/model.fastnn").columns_}
    assert kinds["when"] == "category"


@pytest.mark.parametrize("table", ["customers.csv", "customers.parquet"])
def test_columns_whose_names_hold_commas_or_end_in_spaces_can_be_left_out(table, folder, run):
    frame = customers().rename(columns={"id": "id, old", "spent": "spent "})
    written(frame, folder / "customers.csv")
    frame.to_parquet("customers.parquet")
    base = ("train", table, "--target", "churn", "--preset", "fast", "--drop", '"id, old",spent , plan ')
    assert run(*base)[0] == 0
    assert fastnn.load("run/model.fastnn").feature_names_in_.tolist() == ["age", "score", "since", "paper"]


def test_text_of_numbers_in_a_parquet_file_is_noted_without_an_option(folder, run):
    customers().assign(price=[f"${k}" for k in range(N)]).to_parquet("t.parquet")
    _, out, _ = run("train", "t.parquet", *CHURN, "--preset", "fast", "--passes", 1)
    assert "note: column 'price' holds numbers as text, such as '$0': convert it\n" in out


# --- wrong tables and arguments ------------------------------------------------------------------------


def with_columns(**columns):
    """Return the table of customers with other columns."""
    return customers().assign(**columns)


TEXTS = customers()["spent"].astype(str).where(np.arange(N) != 41, "n/k")
CHURN, SPENT = ["--target", "churn"], ["--target", "spent"]
WEIGHTED = [*CHURN, "--weights", "w"]


@pytest.mark.parametrize(
    ("frame", "arguments", "message"),
    [
        (
            with_columns(),
            ["--target", "Chrun"],
            "--target: t.csv has no column 'Chrun': did you mean 'churn'?",
        ),
        (
            with_columns(),
            ["--target", "zzz"],
            "--target: t.csv has no column 'zzz': its columns are 'id', 'age', 'plan', ",
        ),
        (with_columns(), [*CHURN, "--drop", "ids"], "--drop: .* no column 'ids': did you mean 'id'"),
        (with_columns(), WEIGHTED, "--weights: t.csv has no column 'w'"),
        (with_columns(), [*CHURN, "--drop", "churn"], "--target: 'churn' cannot be dropped"),
        (with_columns(churn="no"), CHURN, "the target 'churn' holds only one value, 'no': there is nothing"),
        (with_columns(churn=""), CHURN, "the target 'churn' holds only missing values"),
        (with_columns(spent=TEXTS), SPENT, "target 'spent' should hold numbers, but row 42 holds 'n/k'"),
        (with_columns(), ["--target", "plan", "--task", "regression"], "numbers, but row 1 holds '\\w+'"),
        (
            with_columns(),
            ["--target", "id"],
            "'id' holds 240 different values in 240 rows, too many for classes",
        ),
        (with_columns(), ["--target", "since"], "the target 'since' holds dates"),
        (with_columns(w=-1), WEIGHTED, "the weight 'w' in row 1 is -1"),
        (with_columns(w=0), WEIGHTED, "the weights 'w' are all 0"),
        (with_columns(w="a"), WEIGHTED, "the weight 'w' should hold numbers, but row 1"),
        (
            with_columns(),
            [*CHURN, "--quantiles", "0.5"],
            "--quantiles works only with numbers, but the target holds classes: leave --quantiles out",
        ),
        (
            with_columns(churn=np.arange(N) % 3),
            [*CHURN, "--quantiles", "0.5"],
            "--quantiles works only with numbers, but the target holds classes: pass --task regression",
        ),
        (with_columns(), [*SPENT, "--quantiles", "0.9,0.1"], "quantiles must increase"),
        (with_columns(), [*SPENT, "--balanced"], "--balanced works only with classes"),
        (with_columns(), [*CHURN, "--cv", "999"], "--cv 999: there are only 240 rows; choose at most 240"),
        (
            with_columns(churn=np.where(np.arange(N) == 6, "yes", "no")),
            [*CHURN, "--cv", "3"],
            "--cv 3: all rows outside of a fold have the target 'no': leave out --cv, or add rows",
        ),
        (
            with_columns(w=np.where(np.arange(N) == 6, np.inf, 1.5)),
            CHURN,
            "'w' holds infinity in row 7: .*--na inf",
        ),
        (
            with_columns(spent=np.where(np.arange(N) == 6, np.inf, 1.5)),
            SPENT,
            "the target 'spent' holds infinity in row 7: .*--na inf",
        ),
        (with_columns()[["churn"]], CHURN, "has no column to predict 'churn' from"),
        (with_columns()[["id", "churn"]], CHURN, "no column of X tells the rows apart"),
        (with_columns(), [*CHURN, "--out", "no/where"], "--out: there is no folder"),
        (with_columns(), [*CHURN, "--out", "t.csv"], "--out: t.csv is a file, not a folder"),
        (with_columns(), [*CHURN, "--valid", "none.csv"], "there is no file none.csv"),
    ],
)
def test_wrong_tables_are_refused_in_one_line(frame, arguments, message, folder, refused):
    written(frame, folder / "t.csv")
    assert re.search(message, refused("train", "t.csv", *arguments))
    assert os.listdir() == ["t.csv"]


@pytest.mark.skipif(os.name != "posix", reason="Windows restricts links")
def test_a_link_to_nothing_is_refused_before_the_training(folder, refused):
    (folder / "run").symlink_to("nothing")
    assert refused("train", "t.csv", *CHURN) == "--out: run is a link to nothing, not a folder"


def test_validation_rows_must_have_the_columns(folder, refused):
    written(customers(), folder / "t.csv")
    written(customers().drop(columns="age"), folder / "v.csv")
    message = refused("train", "t.csv", "--target", "churn", "--valid", "v.csv")
    assert message.startswith("--valid: v.csv has no column 'age'")
    written(customers().assign(churn="perhaps"), folder / "v.csv")
    message = refused("train", "t.csv", "--target", "churn", "--valid", "v.csv")
    assert "'perhaps'" in message


def test_rows_of_weight_0_that_judge_are_refused_with_the_option_that_helps(folder, run, refused):
    written(customers().assign(w=(np.arange(N) == 7).astype(int)), folder / "t.csv")
    written(customers(seed=1).assign(w=1), folder / "v.csv")
    arguments = ("train", "t.csv", *WEIGHTED, "--preset", "fast")
    assert refused(*arguments) == (
        "all rows that are set aside to validate a network have the weight 0: name validation rows by "
        "--valid, or leave out rows of weight 0"
    )
    assert "name validation rows by --valid in place of --cv, or" in refused(*arguments, "--cv", "3")
    assert run(*arguments, "--valid", "v.csv")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["t.csv"], ["t.csv", "--target", "y", "--cv", "1"],
        ["t.csv", "--target", "y", "--preset", "huge"],
        ["t.csv", "--target", "y", "--time-limit", "0"], ["t.csv", "--target", "y", "--quantiles", "a"],
        ["t.csv", "--target", "y", "--cv", "3", "--valid", "v.csv"],
        ["t.csv", "--target", "y", "--seed", "-1"],
    ],
)  # fmt: skip
def test_wrong_usage_ends_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train", *arguments])
    assert stopped.value.code == 2
    assert "usage: fastnn train" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems have names of text alone")
def test_the_name_of_a_table_may_be_bytes_that_are_not_utf_8(tmp_path):
    name = os.fsdecode(b"caf\xe9.csv")
    written(customers(), tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-m", "fastnn", "train", name, *CHURN, "--preset", "fast", "--passes", "1"],
        cwd=tmp_path, env=os.environ | {"PYTHONIOENCODING": "utf-8"}, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"caf\xe9.csv: 240 rows")
    assert metrics(tmp_path / "run")["table"] == name
    assert "caf\\udce9.csv" in (tmp_path / "run" / "report.html").read_text("utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems have names of text alone")
def test_the_handler_of_errors_that_the_user_chose_is_kept(tmp_path):
    written(customers(), tmp_path / "café.csv")
    done = subprocess.run(
        [sys.executable, "-m", "fastnn", "train", "café.csv", *CHURN, "--preset", "fast", "--passes=1"],
        cwd=tmp_path, env=os.environ | {"PYTHONIOENCODING": "ascii:replace"}, capture_output=True,
        timeout=PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"caf?.csv: 240 rows")


def test_the_command_has_the_presets_of_the_estimators():
    assert list(PRESETS) == list(arguments.PRESETS)
