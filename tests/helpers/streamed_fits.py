"""Fits of tabular estimators to Parquet files by streaming, and their comparison."""

import numpy as np
from parquet_files import COLUMNS

from fastnn import TabularClassifier, TabularRegressor

TARGETS = {TabularClassifier: "sort", TabularRegressor: "size"}


def streamed(kind, path, tmp_path, name="run.fastnn", settings=(), **arguments):
    """Return an estimator fitted to a Parquet file, which is streamed because a checkpoint is given."""
    given = {"columns": COLUMNS, "checkpoint": tmp_path / name} | arguments
    return kind(**{"random_state": 0, **dict(settings)}).fit(path, TARGETS[kind], **given)


def outputs(model, frame):
    """Return a model's predictions for a table, its rows and predictions out of fold, and its importances."""
    predict = model.predict_proba if isinstance(model, TabularClassifier) else model.predict
    order = np.argsort(model.oof_rows_)
    return predict(frame[COLUMNS]), model.oof_rows_[order], model.oof_prediction_[order], model.importances_


def check_equal(one, other, frame):
    """Check that two estimators are equal, bit for bit."""
    for ours, theirs in zip(outputs(one, frame), outputs(other, frame), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(one.estimators_, other.estimators_, strict=True):
        assert ours.loss_curve_ == theirs.loss_curve_
        assert ours.validation_scores_ == theirs.validation_scores_
        assert ours.n_iter_ == theirs.n_iter_
