"""Copy as Python: for all settings, the script repeats the run bit for bit."""

import ast
import runpy
import subprocess
import sys

import numpy as np
import pytest
from playing import FakePage
from processes import PATIENCE

from fastnn.play.datasets import DATASETS, TABLES
from fastnn.play.script import script_of
from fastnn.play.table import checked_table

STATES = {
    "default": {},
    "whole data": {"test_share": 0},
    "spiral": {**DATASETS["spiral"].best, "dataset": "spiral", "arms": 3, "turns": 1.5},
    "blobs": {"dataset": "blobs", "layers": [], "activations": []},
    "xor": {"dataset": "xor", "layers": [4, 3], "activations": ["relu", "gelu"], "init": "he_normal"},
    "line": {"dataset": "line", "function": "waves", "loss": "sigmoid_binary_cross_entropy"},
    "surface": {**DATASETS["surface"].best, "dataset": "surface", "loss": "huber", "delta": 0.5},
    "features": {"features": ["x1_squared", "x2_squared", "sin_x2", "x1"], "dataset": "circles"},
    "painted": {"dataset": "painted", "points": [[0.1, 0.2, 0], [0.7, -0.3, 1], [-1, 1 / 3, 2], [0.5, 1, 0]]},
    "everything": {
        "layers": [5, 4], "activations": ["relu", "sigmoid"], "output_activation": "identity",
        "batch_norm": True, "dropout": 0.25, "dtype": "float32", "optimizer": "rmsprop", "momentum": 0.5,
        "batch_size": 7, "reduction": "mean", "l2": 0.125, "l1": 0.25, "clip_norm": 2.0, "max_norm": 3.0,
        "seed": 5, "label_smoothing": 0.1,
    },
    "schedule": {"schedule": "cosine_decay", "passes": 50_000},
    "schedule with options": {"schedule": "exponential_decay", "gamma": 0.01, "batch_size": 16},
    "lbfgs": {"optimizer": "lbfgs"},
}  # fmt: skip


def parameters_of(script, folder, capsys):
    """Run a script and return the parameters of the model that it trains."""
    path = folder / "script.py"
    path.write_text(script)
    names = runpy.run_path(str(path))
    assert capsys.readouterr().out.startswith("loss of the training data: ")
    return names["model"]._parameters


@pytest.mark.parametrize("name", STATES)
def test_scripts_repeat_the_run(name, tmp_path, capsys):
    with FakePage() as page:
        page.send("view", resolution=16)
        run = page.start(**{"passes": 5000, **STATES[name]})  # the script repeats no more epochs than these
        page.send("play")
        page.wait(lambda: page.frames[-1][0]["epoch"] >= 1100 or page.received("ended"))
        step = page.pause()
        assert step > 0
        script = script_of(run)
        parameters = run.current_model()._parameters
    ast.parse(script)
    assert all(len(line) <= 120 for line in script.splitlines())
    assert (parameters_of(script, tmp_path, capsys) == parameters).all()


def test_the_script_of_a_finished_run_needs_no_helper(tmp_path, capsys):
    with FakePage() as page:
        run = page.start(schedule="one_cycle", passes=300)
        page.send("play")
        page.wait(lambda: page.received("ended"))
        script = script_of(run)
        parameters = run.current_model()._parameters
    assert "WithinRun" not in script
    assert 'schedule="one_cycle"' in script or "schedule='one_cycle'" in script
    assert (parameters_of(script, tmp_path, capsys) == parameters).all()


@pytest.mark.parametrize(
    "state",
    [{}, {"features": ["x1_x2", "x2"]}, {"loss": "sigmoid_binary_cross_entropy"}, {"test_share": 0}],
    ids=["usual", "computed inputs", "one output", "whole data"],
)
def test_scripts_of_tables_contain_and_predict_the_tables_rows(state, tmp_path, capsys):
    random = np.random.RandomState(0)
    X = random.randn(40, 3) * [1, 50, 0.001] + [0, 2000, 1]
    labels = np.where(X[:, 1] + 50 * X[:, 0] > 2000, "yes", "no")
    with FakePage(checked_table(X, labels, "it's \n x")) as page:
        run = page.start(dataset="table", x_column="x1", y_column="x0", **state)
        page.train_to(100)
        script = script_of(run)
        model, problem = run.current_model(), run.problem
    assert (parameters_of(script, tmp_path, capsys) == model._parameters).all()
    names = runpy.run_path(str(tmp_path / "script.py"))
    rows = X[:, [1, 0]]
    np.testing.assert_array_equal(names["rows"], rows)
    expected = model.predict(problem.features(problem.X)).reshape(-1)
    np.testing.assert_array_equal(names["predict"](rows.tolist()), np.array(["no", "yes"])[expected])


def test_scripts_of_regressions_predict_in_the_units_of_the_target(tmp_path, capsys):
    random = np.random.RandomState(0)
    X = random.randn(40, 2) * [1, 50]
    y = 1e4 + 100 * X[:, 0] + X[:, 1]
    with FakePage(checked_table(X, y)) as page:
        run = page.start(dataset="table", **TABLES["regression"].best)
        page.train_to(300)
        script = script_of(run)
        model, problem = run.current_model(), run.problem
    assert (parameters_of(script, tmp_path, capsys) == model._parameters).all()
    predicted = runpy.run_path(str(tmp_path / "script.py"))["predict"](X)
    expected = model.predict(problem.X)[:, 0] * y.std() + y.mean()
    np.testing.assert_allclose(predicted, expected)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"optimizer": "adam", "reduction": "mean", "dropout": 0.3, "batch_norm": True},
        {"schedule": "one_cycle", "passes": 40},
    ],
    ids=["gradient descent", "adam, dropout and batch normalisation", "schedule"],
)
def test_scripts_may_end_in_the_middle_of_an_epoch(state, tmp_path, capsys):
    with FakePage() as page:
        run = page.start(batch_size=32, **state)  # five steps per epoch
        for _ in range(7):
            page.send("step")
        page.wait(lambda: page.frames[-1][0]["step"] == 7)
        script = script_of(run)
        parameters = run.current_model()._parameters
    assert "num_passes=2" in script
    assert (parameters_of(script, tmp_path, capsys) == parameters).all()


@pytest.mark.parametrize("state", [{}, {"batch_size": 32}], ids=["whole epochs", "single steps"])
def test_scripts_repeat_what_was_set_by_hand(state, tmp_path, capsys):
    with FakePage() as page:
        run = page.start(**state)

        def set_by_hand(index, value):
            page.send("parameter", index=index, value=value)
            page.wait(lambda: page.frames[-1][1]["weights"][index] == value)

        set_by_hand(0, 2.0)
        for step in (1, 2, 3):
            page.send("step")
            page.wait(lambda step=step: page.frames[-1][0]["step"] == step)
        set_by_hand(5, 9.0)
        set_by_hand(5, -1.5)
        script = script_of(run)
        parameters = run.current_model()._parameters
        assert parameters[5] == -1.5
    assert (parameters_of(script, tmp_path, capsys) == parameters).all()
    with FakePage() as page:
        run = page.start(**state)
        page.send("play")
        page.wait(lambda: page.frames[-1][0]["step"] > 100)
        page.send("parameter", index=3, value=0.5)
        page.wait(lambda: run.steering.set_by_hand)
        page.pause()
        script, parameters = script_of(run), run.current_model()._parameters
    assert (parameters_of(script, tmp_path, capsys) == parameters).all()


@pytest.mark.slow
def test_a_script_runs_in_a_new_process(tmp_path):
    with FakePage() as page:
        run = page.start()
        script, parameters = script_of(run), run.current_model()._parameters  # no step done yet
    script += "import sys; sys.stdout.write(model._parameters.tobytes().hex())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(parameters.tobytes().hex())
