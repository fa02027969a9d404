"""Fit of a tabular estimator, and the scores of it and of baselines on rows that no network was fitted to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from ...estimators.parallel import fit_all
from ...system.messages import counted
from .columns import unseen_unwarned
from .problem import Problem
from .remarks import rare_class_notes
from .scores import baselines, folds_of, networks_work, scores_of

__all__ = [
    "BY_VALIDATION",
    "N_FOLDS",
    "OUT_OF_FOLD",
    "OWN",
    "Evaluation",
    "evaluated_fit",
    "remarks_on",
    "score_validation",
]

Array = NDArray[Any]

# Name of the fitted estimator among the baselines.
OWN = "fastnn"
# Number of folds of the linear model where the networks are evaluated out of fold.
N_FOLDS = 5
# How the scores were computed: on rows set aside, or on rows of a validation table.
OUT_OF_FOLD = "on out-of-fold predictions of {}; the same rows drove early stopping"
BY_VALIDATION = "on {}; the same rows drove early stopping"


@dataclass
class Evaluation:
    """Fitted estimator and what was measured.

    Parameters
    ----------
    model : TabularClassifier or TabularRegressor
        Estimator, fitted to all training rows.
    task : {"classification", "regression"}
        Kind of the target.
    frame : pandas DataFrame
        Training rows.
    y : array (n,)
        Targets of the training rows.
    classes : array or None
        Classes of a classification.
    truth : array (m,)
        Targets of the held-out rows.
    predictions : array (m, n_classes) or (m,)
        Probabilities or numbers predicted for the held-out rows.
    scores : dict
        Scores by name, of the networks and of the baselines.
    how : str
        How the held-out rows were chosen, in words.
    notes, remarks : list of str
        Remarks for the user about the table, and about the predictions.
    n_rows : int
        Number of training rows; `frame` may hold a part of them.
    """

    model: Any
    task: str
    frame: Any
    y: Array
    classes: Any
    truth: Array
    predictions: Array
    scores: dict[str, dict[str, float]]
    how: str
    notes: list[str]
    remarks: list[str]
    n_rows: int


def evaluated_fit(
    estimator: Any, problem: Problem, valid: Problem | None, n_folds: int | None, seed: int, progress: bool,
    settings: dict[str, Any], keep: Callable[[Any], None],
) -> Evaluation:  # fmt: skip
    """Fit an estimator to a problem, and evaluate it.

    Parameters
    ----------
    estimator : TabularClassifier or TabularRegressor
        Estimator to fit.
    problem : Problem
        Training rows.
    valid : Problem, optional
        Validation rows, which also choose the best epoch of each network.
    n_folds : int, optional
        Folds of a cross-validation; by default networks are evaluated out of fold.
    seed : int
        Seed of the folds.
    progress : bool
        True to show bars.
    settings : dict
        Further arguments of `fit`.
    keep : callable
        Function of the fitted estimator, which saves it, whatever becomes of the evaluation.
    """
    task, frame = problem.task, problem.frame
    y, weights = problem.target.to_numpy(), problem.weights
    classes = np.unique(y) if task == "classification" else None
    if n_folds is not None and n_folds > len(y):
        raise ValueError(f"--cv {n_folds}: there are only {len(y)} rows; choose at most {len(y)}")
    if n_folds is not None and estimator.time_limit is not None:
        estimator.set_params(time_limit=estimator.time_limit / (n_folds + 1))
    if valid is not None:
        settings = settings | {"X_val": valid.frame, "y_val": valid.target}
    folds, test, held_out = [], None, None
    if n_folds is not None:
        folds = folds_of(task, y, n_folds, seed)
        for fitted, _ in folds:
            if (y[fitted] == y[fitted[0]]).all():
                raise ValueError(
                    f"--cv {n_folds}: all rows outside of a fold have the target {str(y[fitted[0]])!r}: "
                    "leave out --cv, or add rows with other targets"
                )
    model, kept = estimator, []
    of_folds = [clone(estimator) for _ in folds]

    def ended(one: Any) -> None:
        if one is model:
            kept.append(model)
            score_validation(model, valid)
            keep(model)

    # On workers, the fits of the folds run beside that to all rows.
    rows = [slice(None), *(fitted for fitted, _ in folds)]
    shared = frame, problem.target, weights, settings
    try:
        fit_all(
            fit_rows, [model, *of_folds], [(each,) for each in rows], shared, model.n_jobs, n_threads=1,
            here={"progress": progress, "ended": ended}, ends_at_error=True,
        )  # fmt: skip
    finally:
        if not kept and hasattr(model, "fit_cpu_seconds_"):  # fitted on a worker
            ended(model)
    if valid is not None:
        predictions, truth, held_out_weights = model.oof_prediction_, valid.target.to_numpy(), valid.weights
        test = (valid.frame, truth, held_out_weights)
        how = BY_VALIDATION.format(counted(len(truth), "validation row"))
    elif folds:
        predictions = _held_out_predictions(of_folds, frame, classes, folds)
        truth, held_out_weights = y, weights
        how = f"by {n_folds}-fold cross-validation: every row is predicted by networks that did not see it"
    else:
        held_out = model.oof_rows_
        folds = folds_of(task, y, min(N_FOLDS, len(y)), seed)
        predictions, truth = model.oof_prediction_, y[held_out]
        held_out_weights = None if weights is None else weights[held_out]
        how = OUT_OF_FOLD.format(counted(len(truth), "row"))
    scores = {OWN: scores_of(task, truth, predictions, classes, held_out_weights)}
    work = networks_work(model, len(y)) * (1 + (n_folds or 0))
    scores |= baselines(task, (frame, y, weights), folds or None, test, classes, held_out, work)
    remarks = remarks_on(model, truth, predictions, classes, held_out_weights)
    return Evaluation(
        model, task, frame, y, classes, truth, predictions, scores, how, problem.notes, remarks, len(y)
    )  # fmt: skip


def score_validation(model: Any, valid: Problem | None) -> None:
    """Weight the scores that a fitted estimator holds, if its validation rows have weights.

    `fit` takes no weights of validation rows, which choose the best passes as if all were 1.
    """
    if valid is not None and valid.weights is not None:
        model._score_held_out(valid.weights)


def remarks_on(model: Any, truth: Array, predictions: Array, classes: Any, weights: Any) -> list[str]:
    """Return remarks on the predictions of a fitted estimator."""
    if classes is None:
        return []
    return rare_class_notes(truth, predictions, classes, weights, model.class_weight == "balanced")


def _held_out_predictions(fitted: list[Any], frame: Any, classes: Any, folds: list[Any]) -> Array:
    """Return numbers (n,) or probabilities (n, n_classes) predicted by estimators fitted to other rows."""
    found = np.zeros(len(frame)) if classes is None else np.zeros((len(frame), len(classes)))
    for one, (_, predicted) in zip(fitted, folds, strict=True):
        rows = frame.iloc[predicted]
        with unseen_unwarned():  # rare values of the table may be new to a fold
            if classes is None:
                found[predicted] = one.predict(rows)
            else:  # the fold may lack a class
                found[np.ix_(predicted, np.searchsorted(classes, one.classes_))] = one.predict_proba(rows)
    return found


def fit_rows(
    estimator: Any, rows: Any, frame: Any, target: Any, weights: Any, settings: dict[str, Any], *,
    stopped: Callable[[], bool], progress: bool = False, ended: Callable[[Any], object] = lambda one: None,
) -> None:  # fmt: skip
    """Fit an estimator to some rows, on all threads, then call `ended`; Ctrl-C ends the fit itself."""
    weights = None if weights is None else weights[rows]
    estimator.fit(frame.iloc[rows], target.iloc[rows], sample_weight=weights, progress=progress, **settings)
    ended(estimator)
