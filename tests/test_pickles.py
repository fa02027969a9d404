"""Pickles of earlier versions load, predict as before and can be trained further."""

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning, InconsistentVersionWarning

import fastnn

FILES = sorted((Path(__file__).parent / "pickles").glob("*.pickle"))


def test_there_are_pickles_of_every_kind():
    kinds = {type(load(path)["object"]) for path in FILES}
    assert kinds == {
        fastnn.Model,
        fastnn.MLPClassifier,
        fastnn.MLPRegressor,
        fastnn.MLPEnsembleClassifier,
        fastnn.MLPEnsembleRegressor,
    }


def load(path):
    """Return the content of a file, without scikit-learn's warning that another version wrote it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        return pickle.loads(path.read_bytes())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_pickle_loads_predicts_as_before_and_can_be_trained_further(path):
    content = load(path)
    loaded, X, y, expected = (content[name] for name in ("object", "X", "y", "predicted"))
    predicted = loaded.predict(X)
    assert predicted.dtype == expected.dtype
    if expected.dtype.kind == "f":
        # Processors differ in the products they fuse with sums: compare up to rounding.
        np.testing.assert_allclose(predicted, expected, rtol=1e3 * np.finfo(expected.dtype).eps, atol=1e-12)
    else:
        np.testing.assert_array_equal(predicted, expected)
    if isinstance(loaded, fastnn.Model):
        loaded.train(X, y if loaded.loss.of_labels else X[:, 0], num_passes=2, epsilon=1e-4)
    else:
        targets = np.array(["a", "b"])[y] if expected.dtype.kind == "U" else y
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            if hasattr(loaded, "warm_start"):
                loaded.set_params(warm_start=True)
            loaded.fit(X, targets)
    assert loaded.predict(X).shape == expected.shape
