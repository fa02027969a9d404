"""Forty whole runs, which have the same bits as in the native library linux-x86-64-v2.

After a change that is meant to change results, build that library alone, and write their digests with it::

    python -m fastnn_kernels.compiler.library linux-x86-64-v2
    FASTNN_PREBUILT=1 PYTHONPATH=tests/helpers python tests/browser/whole_runs.py
"""

import json
from functools import partial
from pathlib import Path

from golden_bits import SINGLE, digest, train, train_on_numbers

FILE = Path(__file__).with_suffix(".json")
ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus")
ADAM = {"optimizer": "adam", "batch_size": 32, "num_passes": 100, "ema_decay": 0.9}
NESTEROV = {"optimizer": "nesterov", "batch_size": 25, "num_passes": 100, "clip_norm": 1.0}
RUNS = {}
for name in ACTIVATIONS:
    one = {"activation": name}
    RUNS[f"{name}, the tutorial's steps"] = partial(train, [12], settings=one, epsilon=0.001, num_passes=500)
    normalised = one | SINGLE | {"batch_norm": True}
    RUNS[f"{name}, Adam on minibatches, float32"] = partial(train, [12], settings=normalised, **ADAM)
    lbfgs = {"optimizer": "lbfgs", "num_passes": 60}
    RUNS[f"{name}, L-BFGS, three layers"] = partial(train, [12, 6], settings=one, **lbfgs)
    dropped = partial(train_on_numbers, [12], "huber", one | {"dropout": 0.25}, reduction="mean", **NESTEROV)
    RUNS[f"{name}, numbers, Nesterov, dropout"] = dropped

if __name__ == "__main__":
    FILE.write_text(json.dumps({name: digest(run()) for name, run in RUNS.items()}, indent=4) + "\n")
