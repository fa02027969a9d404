"""CONTRIBUTING.md: its steps suffice to add an activation and an optimizer."""

import re
import shutil
from pathlib import Path

import pytest
from processes import run_python

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
# Pairs (file, code) of the code blocks that begin with the name of a file.
BLOCKS = re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
MISH = [block for block in BLOCKS if "mish" in block[1]]
SIGNUM = [block for block in BLOCKS if "signum" in block[1]]


def test_the_example_of_an_activation_equals_the_source():
    assert [file for file, _ in MISH] == ["fastnn/reference/layer.py", "kernels/fastnn_kernels/layer.py"]
    for file, code in MISH:
        assert code in (ROOT / file).read_text(encoding="utf-8")


PROGRAM = """
import sys
import warnings

sys.path[:0] = sys.argv[1:]  # before the folder that the program runs in
import numpy as np
import fastnn

warnings.simplefilter("ignore")  # few epochs do not converge
random = np.random.default_rng(0)
X = random.normal(size=(48, 2))
y = (X.prod(axis=1) > 0).astype(int)


def train(backend, **options):
    model = fastnn.Model([2, 6, 2], activation="made_up", random_state=0, backend=backend)
    model.train(X, y, num_passes=20, epsilon=0.01, batch_size=16, random_state=0, **options)
    return np.concatenate([array.ravel() for array in (*model.W, *model.b)])


for options in ({}, {"optimizer": "signum"}, {"optimizer": fastnn.Signum(0.5, weight_decay=0.1)}):
    np.testing.assert_allclose(train("numba", **options), train("numpy", **options), rtol=1e-9, atol=1e-11)

model = fastnn.Model([2, 3, 2], activation="made_up", random_state=0, backend="numpy")
assert model.check_gradients(X[:5], y[:5], n_points=1).max_relative_error < 1e-6
try:
    fastnn.Model([2, 2], activation="nothing")
except ValueError as error:
    assert "made_up" in str(error), error

options = {"hidden_layer_sizes": (6,), "activation": "made_up", "solver": "signum", "max_iter": 20}
assert fastnn.MLPClassifier(**options, batch_size=16, random_state=0).fit(X, y).score(X, y) > 0.5
assert np.isfinite(fastnn.MLPRegressor(**options, random_state=0).fit(X, y).predict(X)).all()
assert "Signum" in fastnn.__all__ and "Signum" in dir(fastnn)
print("works")
"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
def test_the_steps_suffice_to_add_an_activation_and_an_optimizer(tmp_path):
    for folder in ("fastnn", "kernels"):
        ignored = shutil.ignore_patterns("__pycache__", "static")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    made_up = [(file, code.replace("mish", "made_up").replace("Mish", "MadeUp")) for file, code in MISH]
    steps = made_up + SIGNUM
    assert len(steps) == 5
    for file, code in steps:
        with (tmp_path / file).open("a", encoding="utf-8") as source:
            source.write(f"\n\n{code}")
    optimizers = tmp_path / "fastnn/optimizers.py"
    text = optimizers.read_text(encoding="utf-8").replace("__all__ = [", '__all__ = [\n    "Signum",')
    optimizers.write_text(text, encoding="utf-8")

    printed = run_python(PROGRAM, tmp_path, tmp_path / "kernels", NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert printed.splitlines()[-1] == "works"
