"""Copy as Python: for all settings, the script repeats the run bit for bit."""

import re
import runpy

import numpy as np
import pytest
from playing import FakePage, numbers_of

from fastnn.play.datasets import DATASETS, TABLES
from fastnn.play.script import write_script
from fastnn.play.table import make_table

ALL = {"layers": [5, 4], "activations": ["relu", "sigmoid"], "output_activation": "identity", "seed": 5}
ALL |= {"batch_norm": True, "dropout": 0.25, "dtype": "float32", "optimizer": "rmsprop", "momentum": 0.5}
ALL |= {"batch_size": 7, "reduction": "mean", "l2": 0.125, "l1": 0.25, "clip_norm": 2.0, "max_norm": 3.0}
ALL |= {"label_smoothing": 0.1}
PAINTED = [[0.1, 0.2, 0], [0.7, -0.3, 1], [-1, 1 / 3, 2], [0.5, 1, 0], [0.2, 0.2, 1], [0.6, 0.6, 2]]
STATES = {
    "default": {},
    "whole data": {"test_share": 0},
    "spiral": {**DATASETS["spiral"].best, "dataset": "spiral", "arms": 3, "turns": 1.5},
    "blobs": {"dataset": "blobs", "layers": [], "activations": []},
    "xor": {"dataset": "xor", "layers": [4, 3], "activations": ["relu", "gelu"], "init": "he_normal"},
    "line": {"dataset": "line", "function": "waves", "loss": "sigmoid_binary_cross_entropy"},
    "surface": {**DATASETS["surface"].best, "dataset": "surface", "loss": "huber", "delta": 0.5},
    "features": {"features": ["x1_squared", "x2_squared", "sin_x2", "x1"], "dataset": "circles"},
    "painted": {"dataset": "painted", "points": PAINTED},
    "everything": ALL,
    "schedule": {"schedule": "cosine_decay", "passes": 50_000},
    "schedule with options": {"schedule": "exponential_decay", "gamma": 0.01, "batch_size": 16},
    "lbfgs": {"optimizer": "lbfgs"},
    "schedule of a schedule": {"schedule": "warm_up", "length": 0.1},
    "finished": {"schedule": "one_cycle", "passes": 300},
}


def run_script(script, folder, capsys):
    assert max(map(len, script.splitlines())) <= 120
    path = folder / "script.py"
    path.write_text(script)
    names = runpy.run_path(str(path))
    assert capsys.readouterr().out.startswith("loss of the training data: ")
    return names, numbers_of(names["model"])


@pytest.mark.parametrize("name", STATES)
def test_scripts_repeat_the_run(page, name, tmp_path, capsys):
    page.send("view", resolution=16)
    run = page.start(**{"passes": 5000, **STATES[name]})  # the script repeats no more epochs than these
    page.send("play")
    page.wait(lambda: page.frames[-1][0]["epoch"] >= 1100 or page.received("ended"))
    assert page.pause() > 0
    script, numbers = write_script(run), numbers_of(page.model)
    if name == "whole data":  # an ordinary run is scikit-learn's data, a model and its training
        assert re.findall(r"^def|^class|\w+(?=\()", script)[:3] == ["make_moons", "Model", "train"]
        assert "fastnn.play" not in script
    assert name != "finished" or ("SetByHand" not in script and "schedule='one_cycle'" in script)
    assert (run_script(script, tmp_path, capsys)[1] == numbers).all()


WITH_TABLES = [{}, {"features": ["x1_x2", "x2"]}, {"loss": "sigmoid_binary_cross_entropy"}, {"test_share": 0}]


@pytest.mark.parametrize("state", [*WITH_TABLES, TABLES["regression"].best], ids=str)
def test_scripts_of_tables_contain_and_predict_the_tables_rows(state, tmp_path, capsys):
    X = np.random.RandomState(0).randn(40, 3) * [1, 50, 0.001] + [0, 2000, 1]
    score = X[:, 1] + 50 * X[:, 0]
    is_regression = state is TABLES["regression"].best
    y = score if is_regression else np.where(score > 2000, "yes", "no")
    with FakePage(make_table(X, y, "it's \n x")) as page:
        run = page.start(dataset="table", x_column="x1", y_column="x0", **state)
        page.train_to(100)
        script, model, problem = write_script(run), page.model, run.problem
    names, numbers = run_script(script, tmp_path, capsys)
    assert (numbers == numbers_of(model)).all()
    rows = X[:, [1, 0]]
    np.testing.assert_array_equal(names["rows"], rows)
    predicted, expected = names["predict"](rows.tolist()), model.predict(problem.features(problem.X)).ravel()
    if is_regression:
        np.testing.assert_allclose(predicted, expected * y.std() + y.mean())
    else:
        np.testing.assert_array_equal(predicted, np.array(["no", "yes"])[expected])


CHANGED = {
    "gradient descent": {"batch_size": 32},
    "adam": {"optimizer": "adam", "reduction": "mean", "dropout": 0.3, "batch_norm": True, "batch_size": 32},
    "schedule": {"schedule": "one_cycle", "passes": 40, "batch_size": 32},
    "schedule with options": {"schedule": "exponential_decay", "gamma": 0.01, "passes": 40},
}


@pytest.mark.parametrize("name", CHANGED)
def test_scripts_repeat_what_was_set_by_hand_and_changed_on_the_way(page, name, tmp_path, capsys):
    state = CHANGED[name]

    def change(**changes):
        page.send("change", state=run.problem.settings.state | changes)

    run = page.start(**state)
    page.send("parameter", index=0, value=2.0)  # before the first step
    change(l2=0.25)
    page.step(7)  # with batches of 32, in the middle of an epoch
    if name != "schedule with options":
        assert f"num_passes={state.get('passes', 2)}" in write_script(run)
    page.send("parameter", index=5, value=9.0)
    change(learning_rate=0.05)
    page.send("parameter", index=5, value=-1.5)
    change(batch_size=80, l1=0.01)
    page.step(3)
    page.send("parameter", index=3, value=0.5)
    script, numbers = write_script(run), numbers_of(page.model)
    assert script.count("model.train(") == 2
    assert not re.search(r"class|def|fastnn\.training", script)  # what was set by hand takes an import alone
    assert (run_script(script, tmp_path, capsys)[1] == numbers).all()
