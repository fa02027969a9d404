"""Make the files that later versions must read: ``python tests/saving/golden/make.py``.

Files that exist are left as they are.

Beside each file, a file ``.npz`` holds the samples, the targets, the predictions, and the predictions after
one further pass. A version adds its files, and never changes those of an earlier version.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import scipy.sparse
from sklearn.datasets import make_moons

import fastnn

PASS = {"num_passes": 1, "epsilon": 1e-3, "random_state": 1, "optimizer": "adam", "batch_size": 16}


def objects(X, y):
    """Return fitted objects and their targets by the names of their files."""
    text, labels = np.array(["no", "yes"])[y], np.column_stack([y == 0, y > 0, X[:, 0] > 0]).astype(int)
    short = {"max_iter": 3, "tol": 0, "n_iter_no_change": 100, "batch_size": 16, "random_state": 0}
    model = fastnn.Model(
        [2, 6, 5, 2],
        activation=["tanh", "relu"],
        batch_norm=True,
        dropout=0.1,
        dtype=np.float32,
        random_state=0,
    )
    options = {"num_passes": 3, "epsilon": 1e-3, "random_state": 0, "batch_size": 16, "reduction": "mean"}
    model.train(X, y, ema_decay=0.9, optimizer="adam", schedule="cosine_decay", **options)
    stopped = fastnn.Model([2, 6, 2], random_state=0)
    stopped.train(
        X, y, num_passes=30, epsilon=0.5, validation_data=(X, y), callbacks=[fastnn.EarlyStopping(1)]
    )
    regression = fastnn.Model(
        [2, 5, 1], output_activation="identity", loss=fastnn.Huber(0.5), random_state=0, backend="numpy"
    )
    schedule = fastnn.WarmUp(fastnn.StepDecay(2), length=3)
    regression.train(X, X[:, :1], optimizer=fastnn.RMSprop(0.9, momentum=0.5), schedule=schedule, **options)
    classifier = fastnn.MLPClassifier((6, 5), **short)
    early = {"early_stopping": True, "ema_decay": 0.9, "batch_norm": True, "dropout": 0.1, "max_iter": 5}
    regressor = fastnn.MLPRegressor("huber", (5,), activation="gelu", **short)
    made = {
        "model": (model, y),
        "model-stopped": (stopped, y),
        "model-regression": (regression, X[:, :1]),
        "classifier": (classifier, y),
        "classifier-early": (fastnn.MLPClassifier((6,), **short | early), text),
        "classifier-labels": (fastnn.MLPClassifier((6,), solver=fastnn.AdamW(), **short), labels),
        "classifier-sparse": (fastnn.MLPClassifier((6,), solver="sgd", **short), y > 0),
        "regressor": (regressor, X),
        "ensemble-classifier": (fastnn.MLPEnsembleClassifier(classifier, 2, random_state=0), text),
        "ensemble-regressor": (fastnn.MLPEnsembleRegressor(regressor, 2, random_state=0), X[:, 0]),
        "table-classifier": (fastnn.TabularClassifier(preset="fast", random_state=0), text),
        "table-regressor": (
            fastnn.TabularRegressor(preset="fast", quantiles=(0.1, 0.9), random_state=0),
            X[:, 0],
        ),
        "table-encoder": (fastnn.TableEncoder(n_bins=3, max_categories=5, random_state=0), y),
        "scaler": (fastnn.SmoothRobustScaler(), None),
        "piecewise": (fastnn.PiecewiseLinearEncoder(4), None),
        "dates": (fastnn.DateEncoder(), None),
    }
    for name, (thing, targets) in made.items():
        if not isinstance(thing, fastnn.Model):
            thing.fit(samples(name, X), targets)
    return made


def samples(name, X):
    """Return the samples in the form that the object of this name takes."""
    if "-table-" in f"-{name}":
        return table(X)
    if name.endswith("dates"):
        return dates(X)
    return scipy.sparse.csr_matrix(X * (X > 1.5)) if name.endswith("sparse") else X


def dates(X):
    """Return a date for each number."""
    return np.datetime64("2024-01-01T00:00") + (X * 1000).astype(np.int64) * np.timedelta64(1, "h")


def table(X):
    """Return a table of every kind of column, derived from numbers."""
    import pandas as pd

    codes = (np.abs(X) * 100).astype(np.int64)
    return pd.DataFrame(
        {
            "number": np.where(codes[:, 0] % 7 == 0, np.nan, X[:, 0]),
            "flag": codes[:, 1] % 2 == 0,
            "group": np.array(["north", "süd", "west"])[codes[:, 0] % 3],
            "many": [f"c{code % 11}" for code in codes[:, 1]],
            "words": [f"a note of {first} and {second}" for first, second in codes],
            "day": dates(X)[:, 0],
            "same": 1,
        }
    )


def one_more_pass(thing, X, targets):
    """Train an object for one further pass, or an ensemble anew."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(thing, fastnn.Model):
            thing.train(X, targets, **PASS)
        elif targets is None:
            thing.fit(X)
        elif hasattr(thing, "warm_start"):
            thing.set_params(warm_start=True, max_iter=1).fit(X, targets)
        else:
            thing.fit(X, targets)


def outputs(thing, X):
    """Return the features of a transformer, or the quantiles, probabilities or predictions of a model."""
    if hasattr(thing, "transform"):
        return thing.transform(X)
    if getattr(thing, "quantiles", None) is not None:
        return thing.predict(X, quantiles=True)
    try:
        return thing.predict_proba(X)
    except (AttributeError, ValueError):
        return thing.predict(X)


def main(folder):
    """Write the files into `folder`."""
    X, y = make_moons(60, noise=0.2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = objects(X, y)
    for name, (thing, targets) in made.items():
        path = folder / f"{fastnn.__version__}-{name}.fastnn"
        if path.exists():
            continue
        thing.save(path)
        before = outputs(thing, samples(name, X))
        one_more_pass(thing, samples(name, X), targets)
        after = outputs(thing, samples(name, X))
        known = {} if targets is None else {"targets": targets}
        np.savez(path.with_suffix(".npz"), X=X, before=before, after=after, **known)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
