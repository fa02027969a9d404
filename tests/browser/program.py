"""Use fastnn in a browser's Python: it has the bits of other machines without fused multiply-add."""

import json
import sys
import time
import warnings

import golden_bits
import numpy as np
import whole_runs

import fastnn

assert sys.platform == "emscripten"
warnings.simplefilter("error")

expected = json.loads(golden_bits.FILE.read_text())["32 bytes without FMA"]
expected |= json.loads(whole_runs.FILE.read_text())
runs = golden_bits.TRAININGS | whole_runs.RUNS
del runs["CSR"]  # needs SciPy
wrong = [name for name, run in runs.items() if golden_bits.digest(run()) != expected[name]]
assert not wrong, wrong
print(len(runs), "trainings have the bits of other platforms and of the native library")

X = np.random.default_rng(0).normal(size=(200, 2))
y = (X[:, 0] * X[:, 1] > 0).astype(int)
model = fastnn.Model([2, 3, 2], random_state=0)
model.train(X, y, num_passes=1000)
began = time.perf_counter()
model.train(X, y, num_passes=20_000)
print(f"{20_000 / (time.perf_counter() - began):,.0f} epochs per second")
whole = model.train(X, y, num_passes=20)
assert model.train(X, y, num_passes=40, resume=True).loss[:20].tolist() == whole.loss.tolist()
model.train(X, y, num_passes=10, n_threads=4)  # on one thread
dense, certified = (
    fastnn.render_boundary(model, (-2, 2), (-2, 2), 400, method=method).data
    for method in ("dense", "certified")
)
assert np.array_equal(dense, certified)
fastnn.render_boundary(model, (-2, 2), (-2, 2), 400, out="/tmp/boundary.png")
