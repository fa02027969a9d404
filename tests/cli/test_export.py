"""``fastnn export``: files for other systems, from a saved model."""

import joblib
import numpy as np
import pytest
from tables_of_customers import customers

import fastnn
from fastnn.cli import main as cli

X = np.random.default_rng(0).normal(size=(40, 2)).round(2)


@pytest.fixture
def model(tmp_path, monkeypatch):
    """Return a model that has been saved as "model.fastnn" in the current folder."""
    monkeypatch.chdir(tmp_path)
    model = fastnn.Model([2, 3, 2], activation="relu", output_activation="identity", random_state=0)
    model.save("model.fastnn")
    return model


def export(to, name, *options):
    """Run the command, with the option --to unless `to` is None, and return its exit status."""
    return cli.main(["export", "model.fastnn", *([] if to is None else ["--to", to]), "-o", name, *options])


def test_a_model_is_exported_to_c(model, tmp_path, capsys):
    for system in ("c", None):  # the name of the file tells the system
        assert export(system, "net.h") == 0
        text = (tmp_path / "net.h").read_text(encoding="utf-8")
        assert text == model.to_c(name="net")
        assert capsys.readouterr().out == f"c: net.h ({len(text)} bytes)\n"
    assert export("c", "net.h", "--dtype", "float64", "--name", "other") == 0
    assert (tmp_path / "net.h").read_text(encoding="utf-8") == model.to_c(dtype="float64", name="other")


@pytest.mark.parametrize("system", ["sklearn", None])
def test_a_model_is_exported_to_scikit_learn(system, model):
    assert export(system, "net.joblib") == 0
    estimator = joblib.load("net.joblib")
    assert type(estimator).__module__.startswith("sklearn.")
    np.testing.assert_allclose(estimator.predict_proba(X), model.predict_proba(X), atol=1e-14)


@pytest.mark.parametrize("name", ["net.pt", "net"])
def test_a_model_is_exported_to_pytorch(name, model):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    assert export("torch", name, "--dtype", "float32") == 0
    module = torch.load(name, weights_only=False)
    with torch.no_grad():
        P = module(torch.from_numpy(X.astype(np.float32))).numpy()
    np.testing.assert_allclose(P, model.predict_proba(X), atol=2e-6)


def test_a_model_is_exported_to_onnx(model):
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    assert export("onnx", "net") == 0
    assert onnx.load("net") == model.to_onnx()


@pytest.mark.needs("pandas")
def test_models_of_tables_are_exported_to_onnx(model, capsys):
    frame = customers().drop(columns=["since"])
    y = frame.pop("churn")
    model = fastnn.TabularClassifier(preset="fast", random_state=0).fit(frame, y, passes=10)
    model.save("model.fastnn")
    assert export("sklearn", "net.pkl") == 1
    assert "cannot be exported to sklearn: choose onnx" in capsys.readouterr().err
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    for drop in ([], ["plan", "score"]):
        assert export(None, "net.onnx", *(text for name in drop for text in ("--drop", name))) == 0
        assert onnx.load("net.onnx") == model.to_onnx(drop=drop)


@pytest.mark.parametrize(
    ("to", "name", "options", "message"),
    [
        ("onnx", "net", ["--name", "net"], "--name does not work with --to onnx for Model: omit it"),
        ("sklearn", "net", ["--dtype", "float32"], "--dtype does not work with --to sklearn for Model"),
        ("c", "net", ["--drop", "a"], "--drop does not work with --to c for Model"),
        (None, "net", [], "does not tell the format: end it in .onnx, .h, .joblib, .pkl, .pt, .pth, or pass"),
        ("c", "nowhere/net.h", [], "--out: there is no folder"),
        ("c", "folder", [], "--out: folder is a folder, not the name"),
        ("sklearn", "folder", [], "--out: folder is a folder, not the name"),
    ],
)
def test_an_error_is_one_line_and_leaves_no_file(to, name, options, message, model, tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    assert export(to, name, *options) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fastnn: ")
    assert message in line
    assert sorted(tmp_path.iterdir()) == before


def test_files_that_hold_no_fitted_model_are_refused(model, tmp_path, capsys):
    path = tmp_path / "model.fastnn"
    for prepare, message in (
        (lambda: path.write_text("nothing"), "model.fastnn is not a model saved by fastnn"),
        (lambda: fastnn.MLPClassifier().save(path), "is not fitted"),
        (path.unlink, "fastnn: there is no file model.fastnn\n"),
    ):
        prepare()
        assert export("c", "net.h") == 1
        assert message in capsys.readouterr().err
    path.write_text("", encoding="utf-8")
    assert cli.main(["info", "model.fastnn/model.fastnn"]) == 1
    assert capsys.readouterr().err == "fastnn: there is no file model.fastnn/model.fastnn\n"
