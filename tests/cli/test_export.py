"""``fastnn export``: files for other systems, from a saved model."""

import gzip
import os

import joblib
import numpy as np
import pytest
from tables_of_customers import customers

import fastnn
from fastnn.cli import main as cli

X = np.random.default_rng(0).normal(size=(40, 2)).round(2)


@pytest.fixture
def model(tmp_path):
    """Return a model that has been saved as "model.fastnn"."""
    model = fastnn.Model([2, 3, 2], activation="relu", output_activation="identity", random_state=0)
    model.save(tmp_path / "model.fastnn")
    return model


def export(tmp_path, to, name, *options):
    """Run the command, with the option --to unless `to` is None, and return its exit status."""
    system = [] if to is None else ["--to", to]
    return cli.main(["export", str(tmp_path / "model.fastnn"), *system, "-o", str(tmp_path / name), *options])


def test_a_model_is_exported_to_c(model, tmp_path, capsys):
    assert export(tmp_path, "c", "net.h") == 0
    text = (tmp_path / "net.h").read_text(encoding="utf-8")
    assert text == model.to_c(name="net")
    assert capsys.readouterr().out == f"c: {tmp_path / 'net.h'} ({len(text)} bytes)\n"
    assert export(tmp_path, "c", "net.h", "--dtype", "float64", "--name", "other") == 0
    assert (tmp_path / "net.h").read_text(encoding="utf-8") == model.to_c(dtype="float64", name="other")


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_int8_is_calibrated_on_data(suffix, model, tmp_path):
    data = tmp_path / f"data{suffix}"
    if suffix == ".npy":
        np.save(data, X)
    else:
        np.savetxt(data, X, delimiter=",")
    assert export(tmp_path, "c", "net.h", "--dtype", "int8", "--data", str(data)) == 0
    text = (tmp_path / "net.h").read_text(encoding="utf-8")
    assert text == model.to_c(dtype="int8", X=X, name="net")


@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz"])
def test_the_first_line_of_data_may_name_the_columns(name, model, tmp_path):
    np.savetxt(tmp_path / name, X, delimiter=",", header="\ufeffheight,width", comments="", encoding="utf-8")
    assert export(tmp_path, "c", "net.h", "--dtype", "int8", "--data", str(tmp_path / name)) == 0
    assert (tmp_path / "net.h").read_text(encoding="utf-8") == model.to_c(dtype="int8", X=X, name="net")


@pytest.mark.needs("pandas")
def test_features_are_found_by_their_names_among_the_columns_of_data(tmp_path, capsys):
    import pandas as pd

    frame = pd.DataFrame(X, columns=["width", "long, height"])
    model = fastnn.MLPClassifier((3,), solver="lbfgs", random_state=0).fit(frame, X[:, 0] > 0)
    model.save(tmp_path / "model.fastnn")
    data = tmp_path / "data.csv"
    frame.assign(kind="#1")[["kind", "long, height", "width"]].to_csv(data, index=False)
    assert export(tmp_path, "c", "net.h", "--dtype", "int8", "--data", str(data)) == 0
    assert (tmp_path / "net.h").read_text(encoding="utf-8") == model.to_c(dtype="int8", X=X, name="net")
    for header, message in (
        ("width,b", "no column named 'long, height'"),
        ("width,width", "than one column named 'width'"),
    ):
        data.write_text(f"{header}\n1,2\n", encoding="utf-8")
        assert export(tmp_path, "c", "net.h", "--data", str(data)) == 1
        assert message in capsys.readouterr().err


@pytest.mark.needs("pandas")
def test_names_of_features_may_be_numbers(tmp_path):
    import pandas as pd

    frame = pd.DataFrame(X, columns=["2019", "2020"])
    model = fastnn.MLPClassifier((3,), solver="lbfgs", random_state=0).fit(frame, X[:, 0] > 0)
    model.save(tmp_path / "model.fastnn")
    data = tmp_path / "data.csv"
    frame[["2020", "2019"]].to_csv(data, index=False)
    assert export(tmp_path, "c", "net.h", "--dtype", "int8", "--data", str(data)) == 0
    assert (tmp_path / "net.h").read_text(encoding="utf-8") == model.to_c(dtype="int8", X=X, name="net")


def test_a_damaged_archive_of_data_is_named(model, tmp_path, capsys):
    content = bytearray(gzip.compress("\n".join(["1,2"] * 1000).encode()))
    content[-20] ^= 0xFF
    (tmp_path / "data.csv.gz").write_bytes(content)
    assert export(tmp_path, "c", "net.h", "--data", str(tmp_path / "data.csv.gz")) == 1
    assert "data.csv.gz is damaged: " in capsys.readouterr().err


def test_a_model_is_exported_to_scikit_learn(model, tmp_path):
    assert export(tmp_path, "sklearn", "net.joblib") == 0
    estimator = joblib.load(tmp_path / "net.joblib")
    assert type(estimator).__module__.startswith("sklearn.")
    np.testing.assert_allclose(estimator.predict_proba(X), model.predict_proba(X), atol=1e-14)


@pytest.mark.parametrize("name", ["net.pt", "net"])
def test_a_model_is_exported_to_pytorch(name, model, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    assert export(tmp_path, "torch", name, "--dtype", "float32") == 0
    module = torch.load(tmp_path / name, weights_only=False)
    with torch.no_grad():
        P = module(torch.from_numpy(X.astype(np.float32))).numpy()
    np.testing.assert_allclose(P, model.predict_proba(X), atol=2e-6)


def test_a_model_is_exported_to_onnx(model, tmp_path):
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    assert export(tmp_path, "onnx", "net") == 0
    assert onnx.load(tmp_path / "net") == model.to_onnx()


def test_the_suffix_of_the_file_determines_the_system(model, tmp_path, capsys):
    assert export(tmp_path, None, "net.h") == 0
    assert (tmp_path / "net.h").read_text(encoding="utf-8") == model.to_c(name="net")
    assert export(tmp_path, None, "net.joblib") == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("sklearn: ")


@pytest.mark.needs("pandas")
def test_models_of_tables_are_exported_to_onnx(tmp_path, capsys):
    frame = customers().drop(columns=["since"])
    y = frame.pop("churn")
    model = fastnn.TabularClassifier(preset="fast", random_state=0).fit(frame, y, passes=10)
    model.save(tmp_path / "model.fastnn")
    assert export(tmp_path, "sklearn", "net.pkl") == 1
    assert "cannot be exported to sklearn: choose onnx or c" in capsys.readouterr().err
    assert export(tmp_path, "c", "net.h") == 1
    assert "holds categories or text, and C headers take numbers" in capsys.readouterr().err
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    assert export(tmp_path, None, "net.onnx") == 0
    assert onnx.load(tmp_path / "net.onnx") == model.to_onnx()
    drop = ["plan", "score"]
    assert export(tmp_path, None, "net.onnx", *(text for name in drop for text in ("--drop", name))) == 0
    assert onnx.load(tmp_path / "net.onnx") == model.to_onnx(drop=drop)


@pytest.mark.needs("pandas")
def test_models_of_tables_of_numbers_are_exported_to_c(tmp_path, capsys):
    model = fastnn.TabularClassifier(1, "fast", random_state=0).fit(X, X[:, 0] > 0, passes=3)
    model.save(tmp_path / "model.fastnn")
    assert export(tmp_path, None, "net.h") == 0
    assert (tmp_path / "net.h").read_text(encoding="utf-8") == model.to_c(name="net")
    assert export(tmp_path, None, "net.h", "--data", "x.csv") == 1
    assert "--data works only with networks of arrays" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("to", "options", "message"),
    [
        ("c", ["--dtype", "int8"], "--dtype int8 needs --data FILE, a few hundred typical samples"),
        ("c", ["--data", "nowhere.csv"], "--data: there is no file nowhere.csv"),
        ("c", ["--data", "nowhere.npy"], "--data: there is no file nowhere.npy"),
        ("c", ["--data", "."], "--data: . is a folder, not a file"),
        ("onnx", ["--name", "net"], "--name, --data and --dtype int8 work only with --to c"),
        ("sklearn", ["--dtype", "float32"], "keep the model's dtype"),
        ("c", ["--drop", "a"], "--drop works only with --to onnx"),
        ("onnx", ["--drop", "a"], "--drop works only with models of tables, not with Model"),
        (None, [], "does not tell the format: end it in .onnx, .h, .joblib, .pkl, .pt, .pth, or pass"),
    ],
)
def test_an_error_is_one_line_and_leaves_no_file(to, options, message, model, tmp_path, capsys):
    assert export(tmp_path, to, "net", *options) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fastnn: ")
    assert message in line
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [("data.csv", "a,b\n"), ("data.csv", "a,b\n1,c\n"), ("data.csv", "1,\n"), ("data.npy", "")],
)
def test_data_that_is_no_table_is_refused(name, content, model, tmp_path, capsys):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert export(tmp_path, "c", "net.h", "--data", str(tmp_path / name)) == 1
    assert "--data: " in capsys.readouterr().err


def test_data_with_other_columns_than_the_model_is_named(model, tmp_path, capsys):
    np.save(tmp_path / "data.npy", np.ones((5, 3)))
    assert export(tmp_path, "c", "net.h", "--data", str(tmp_path / "data.npy")) == 1
    assert "data.npy does not fit the model: X has 3 features, but the network" in capsys.readouterr().err


def test_files_that_hold_no_fitted_model_are_refused(tmp_path, capsys):
    (tmp_path / "model.fastnn").write_text("nothing", encoding="utf-8")
    assert export(tmp_path, "c", "net.h") == 1
    assert "model.fastnn is not a model saved by fastnn" in capsys.readouterr().err
    (tmp_path / "model.fastnn").unlink()
    assert export(tmp_path, "c", "net.h") == 1
    assert capsys.readouterr().err == f"fastnn: there is no file {tmp_path / 'model.fastnn'}\n"
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert cli.main(["info", str(tmp_path / "file" / "model.fastnn")]) == 1
    assert capsys.readouterr().err == f"fastnn: there is no file {tmp_path / 'file' / 'model.fastnn'}\n"
    fastnn.MLPClassifier().save(tmp_path / "model.fastnn")
    assert export(tmp_path, "c", "net.h") == 1
    assert "is not fitted" in capsys.readouterr().err


def test_a_missing_folder_is_refused(model, tmp_path, capsys):
    assert export(tmp_path, "c", "nowhere/net.h") == 1
    assert "--out: there is no folder" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes with the names of files")
@pytest.mark.parametrize("to", ["onnx", "c", "sklearn"])
def test_no_pipe_or_folder_is_replaced(to, model, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    assert export(tmp_path, to, "pipe") == 1
    assert f"--out: {tmp_path / 'pipe'} is a device or a pipe, not the name" in capsys.readouterr().err
    assert (tmp_path / "pipe").is_fifo()
    assert export(tmp_path, to, "folder") == 1
    assert f"--out: {tmp_path / 'folder'} is a folder, not the name" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
