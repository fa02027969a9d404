"""Make pickles of this version, which later versions must load: ``python tests/pickles/make.py``.

A file holds a fitted object, the samples that it was fitted to, and its predictions for them.
"""

import pickle
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import make_moons

import fastnn


def objects(X, y):
    """Return fitted objects by the names of their files."""
    model = fastnn.Model(
        [2, 8, 6, 2],
        activation=["tanh", "relu"],
        batch_norm=True,
        dropout=0.2,
        dtype=np.float32,
        random_state=0,
    )
    model.train(X, y, num_passes=20, epsilon=1e-3, optimizer="adam", batch_size=16, random_state=0)
    regression = fastnn.Model([2, 5, 1], output_activation="identity", loss=fastnn.Huber(0.5), random_state=0)
    regression.train(X, X[:, 0], num_passes=20, optimizer=fastnn.RMSprop(0.9), reduction="mean")
    member = fastnn.MLPClassifier((4,), max_iter=3, tol=0, n_iter_no_change=100, batch_size=20)
    numbers = fastnn.MLPRegressor("huber", (4,), max_iter=3, tol=0, n_iter_no_change=100, activation="gelu")
    early = {"early_stopping": True, "ema_decay": 0.9, "batch_norm": True, "dropout": 0.1}
    return {
        "model": model,
        "model-regression": regression,
        "classifier": fastnn.MLPClassifier(random_state=0, **settings(member)).fit(X, y),
        "classifier-early": fastnn.MLPClassifier(random_state=0, **settings(member) | early).fit(X, y),
        "classifier-text": fastnn.MLPClassifier(
            random_state=np.random.RandomState(0), solver="sgd", learning_rate="adaptive",
            **{k: v for k, v in settings(member).items() if k not in ("solver", "learning_rate")},
        ).fit(X.astype(np.float32), np.array(["a", "b"])[y]),
        "classifier-lbfgs": fastnn.MLPClassifier((4,), solver="lbfgs", max_iter=5, random_state=0).fit(X, y),
        "regressor": fastnn.MLPRegressor(**settings(numbers) | {"random_state": 0}).fit(X, X[:, 0]),
        "ensemble-classifier": fastnn.MLPEnsembleClassifier(member, n_estimators=2, random_state=0).fit(X, y),
        "ensemble-regressor": fastnn.MLPEnsembleRegressor(
            numbers, n_estimators=2, random_state=0
        ).fit(X, X[:, 0]),
    }  # fmt: skip


def settings(estimator):
    """Return the parameters of an estimator except its seed."""
    return {name: value for name, value in estimator.get_params().items() if name != "random_state"}


def main(folder):
    """Write one file for each fitted object into a folder."""
    import warnings

    X, y = make_moons(60, noise=0.2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = objects(X, y)
    for name, estimator in fitted.items():
        content = {
            "version": fastnn.__version__,
            "object": estimator,
            "X": X,
            "y": y,
            "predicted": estimator.predict(X),
        }
        (folder / f"{fastnn.__version__}-{name}.pickle").write_bytes(pickle.dumps(content, protocol=5))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
