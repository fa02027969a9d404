"""Forty whole runs, which have the same bits as in the native library linux-x86-64-v2.

After a change that is meant to change results, build that library alone, and write their digests with it::

    python -m fastnn_kernels.compiler.library linux-x86-64-v2
    FASTNN_PREBUILT=1 PYTHONPATH=tests/helpers python tests/browser/whole_runs.py
"""

import hashlib
import json
from itertools import product
from pathlib import Path

import numpy as np
from golden_bits import LABELS, NUMBERS, X, _model

FILE = Path(__file__).with_suffix(".json")
ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus")
# Arguments of the model and of its training.
SETTINGS = {
    "the tutorial's steps": ({}, {"epsilon": 0.001, "num_passes": 500}),
    "Adam on minibatches, float32": (
        {"dtype": "float32", "batch_norm": True},
        {"optimizer": "adam", "batch_size": 32, "num_passes": 100, "ema_decay": 0.9},
    ),
    "L-BFGS, three layers": ({}, {"optimizer": "lbfgs", "num_passes": 60}),
    "numbers, Nesterov, dropout": (
        {"loss": "huber", "output_activation": "identity", "dropout": 0.25},
        {"optimizer": "nesterov", "batch_size": 25, "num_passes": 100, "clip_norm": 1.0, "reduction": "mean"},
    ),
}


def digest_run(activation, name):
    """Return the digest of the bits of a run's loss curve, parameters and predictions."""
    model, training = SETTINGS[name]
    is_regression = "loss" in model
    hidden = [12, 6] if "layers" in name else [12]
    network = _model([5, *hidden, 1 if is_regression else 3], activation=activation, **model)
    samples = X.astype(network.W[0].dtype)
    options = {"epsilon": 0.01, "random_state": 0} | training
    history = network.train(samples, NUMBERS if is_regression else LABELS, **options)
    found = hashlib.sha256(history.loss.tobytes())
    for array in (*network.W, *network.b, network.predict(samples).astype(float)):
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


RUNS = {f"{activation}, {name}": (activation, name) for activation, name in product(ACTIVATIONS, SETTINGS)}

if __name__ == "__main__":
    digests = {run: digest_run(*arguments) for run, arguments in RUNS.items()}
    FILE.write_text(json.dumps(digests, indent=4) + "\n")
