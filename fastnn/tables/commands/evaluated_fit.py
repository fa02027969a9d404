"""Fit of a tabular estimator, and the scores of it and of baselines on rows that no network was fitted to."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas
from pandas import Series
from sklearn.metrics import precision_recall_curve
from sklearn.model_selection import cross_val_predict

from ...system.messages import join_names, pluralize
from ...system.validation import Array
from ..members import Rows, make_splits
from ..options import TrainTableOptions
from ..report.page import EvaluatedFit
from .matching import ignore_unseen
from .rows import Problem
from .scores import (
    METRICS,
    compute_scores,
    count_operations,
    estimate_margins,
    order_metrics,
    score_baselines,
)

if TYPE_CHECKING:
    from ..estimators import TabularClassifier, TabularRegressor

# Number of folds of the linear model where the networks are evaluated out of fold.
N_FOLDS = 5
# Evaluated rows from which scores say enough without a cross-validation.
FEW_ROWS = 100


def fit_and_evaluate(
    model: TabularClassifier | TabularRegressor,
    problem: Problem,
    valid: Problem | None,
    options: TrainTableOptions,
    progress: bool,
    keep: Callable[[TabularClassifier | TabularRegressor], None],
) -> EvaluatedFit:
    """Fit an estimator to a problem, and evaluate it.

    Validation rows also choose the best epoch of each network. Without them, the evaluation is a
    cross-validation, if the options have a number of folds, or of out-of-fold predictions. `keep` saves the
    fitted estimator, whatever becomes of the evaluation.
    """
    frame, y, n_folds = problem.frame, problem.target.to_numpy(), options.cv
    weights, groups = problem.weights, problem.groups
    classes = np.unique(y) if problem.task == "classification" else None
    if n_folds is not None and model.time_limit is not None:
        model.set_params(time_limit=model.time_limit / (n_folds + 1))
    settings: dict[str, Any] = {"progress": progress, "passes": options.passes, "sample_weight": weights}
    if valid is not None:
        settings |= {"X_val": valid.frame, "y_val": valid.target}
    folds = [] if n_folds is None else _make_cross_validation(problem, n_folds, options.seed)
    settings["groups"] = None if groups is None else Series(groups, name=options.groups)
    model.fit(frame, problem.target, **settings)
    if valid is not None and valid.weights is not None:
        # `fit` takes no weights of validation rows, which choose the best passes as if all were 1.
        model._score_held_out(valid.weights)
    keep(model)
    X, targets, row_weights = frame, y, weights
    if valid is not None:
        X = pandas.concat([frame, valid.frame], ignore_index=True)
        targets = np.concatenate([y, valid.target.to_numpy()])
        row_weights = None if weights is None else np.concatenate([weights, valid.weights])
        scored, predictions, groups = np.arange(len(y), len(X)), model.oof_prediction_, None
        folds = [(np.arange(len(y)), scored)]
        how = f"on {pluralize(len(scored), 'validation row')}; the same rows drove early stopping"
    elif folds:
        scored, method = np.arange(len(y)), "predict" if classes is None else "predict_proba"
        with ignore_unseen():  # rare values of the table, and classes, may be new to a fold
            warnings.filterwarnings("ignore", "Number of classes in", RuntimeWarning)
            predictions = cross_val_predict(
                model, frame, problem.target, cv=folds, params=settings, method=method
            ).astype(np.float64)
        how = f"by {n_folds}-fold cross-validation: networks predict rows that they did not see"
    else:
        scored, predictions = model.oof_rows_, model.oof_prediction_
        folds = _split_rows(problem, N_FOLDS, options.seed)
        n_rows = pluralize(len(scored), "row")
        how = f"on out-of-fold predictions of {n_rows}; the same rows drove early stopping"
    truth, scored_weights = targets[scored], None if row_weights is None else row_weights[scored]
    scores = {"fastnn": compute_scores(truth, predictions, classes, scored_weights)}
    own_groups = None if groups is None else groups[scored]
    margins = estimate_margins(scores["fastnn"], truth, predictions, classes, scored_weights, own_groups)
    work = count_operations(model, len(y)) * (1 + (n_folds or 0))
    scores |= score_baselines(X, targets, row_weights, folds, classes, scored, work)
    remarks = _note_better_linear_model(scores)
    if n_folds is None and len(truth) < FEW_ROWS:
        advice = ": --cv 5 evaluates all rows, by networks that did not see them" if valid is None else ""
        remarks.append(f"scores of {pluralize(len(truth), 'row')} say little{advice}")
    if classes is not None:
        is_balanced = model.class_weight == "balanced"
        remarks += _note_rare_classes(truth, predictions, classes, scored_weights, is_balanced)
    return EvaluatedFit(
        model=model,
        problem=problem,
        classes=classes,
        truth=truth,
        predictions=predictions,
        metrics=order_metrics(scores),
        scores=scores,
        margins=margins,
        how=how,
        remarks=remarks,
    )


def _note_better_linear_model(scores: dict[str, dict[str, float]]) -> list[str]:
    key = "log_loss" if "log_loss" in scores["fastnn"] else "rmse"
    own, linear = scores["fastnn"][key], scores["linear model"][key]
    # Where nothing can be learned, the constant prediction has the least loss.
    if linear >= min(one[key] for name, one in scores.items() if name != "linear model"):
        return []
    texts = [METRICS[key].format(loss) for loss in (linear, own)]
    return [
        f"the linear model is the better one here: {METRICS[key].label} {texts[0]}, the networks {texts[1]}"
    ]


def _count_units(problem: Problem) -> int:
    return len(problem.target) if problem.groups is None else int(problem.groups.max()) + 1


def _split_rows(problem: Problem, n_folds: int, seed: int) -> list[tuple[Rows, Rows]]:
    """Return the training and test rows of the folds, at most one fold for every row, or group if any."""
    y, random = problem.target.to_numpy(), np.random.RandomState(seed)
    classes = y if problem.task == "classification" else None
    return make_splits(min(n_folds, _count_units(problem)), len(y), random, classes, problem.groups)


def _make_cross_validation(problem: Problem, n_folds: int, seed: int) -> list[tuple[Rows, Rows]]:
    """Return the training and test rows of the folds; raise ValueError where a fit to them is impossible."""
    y, n_units = problem.target.to_numpy(), _count_units(problem)
    if n_folds > n_units:
        what = "rows" if problem.groups is None else "groups"
        raise ValueError(f"--cv {n_folds}: there are only {n_units} {what}; choose at most {n_units}")
    folds = _split_rows(problem, n_folds, seed)
    for fitted, _ in folds:
        if (y[fitted] == y[fitted[0]]).all():
            raise ValueError(
                f"--cv {n_folds}: all rows outside of a fold have the target {str(y[fitted[0]])!r}: "
                "leave out --cv, or add rows with other targets"
            )
    return folds


def _note_rare_classes(
    y: Array, P: Array, classes: Array, weights: Array | None, is_balanced: bool
) -> list[str]:
    """Return notes on classes that are never predicted, and on what other thresholds would find.

    The probabilities P (n, n_classes) come from networks that were not trained on the rows. `is_balanced`
    is True if all classes had the same weight in the fit.
    """
    true = np.searchsorted(classes, y)
    shares = np.bincount(true, weights, len(classes)) / (len(y) if weights is None else weights.sum())
    is_missed = (np.bincount(P.argmax(axis=1), minlength=len(classes)) == 0) & (shares > 0)
    missed = [
        f"{str(classes[k])!r} ({shares[k]:.1%} of the evaluated rows)" for k in np.flatnonzero(is_missed)
    ]
    if not missed:
        return []
    verb = "are" if len(missed) > 1 else "is"
    advice = "" if is_balanced else ": --balanced gives rare classes more weight"
    notes = [f"{join_names(missed, quoted=False)} {verb} never predicted{advice}"]
    if len(classes) == 2 and len(missed) == 1:
        k = int(is_missed.argmax())
        precision, recall, thresholds = precision_recall_curve(true == k, P[:, k], sample_weight=weights)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
        chosen = {int(f1[:-1].argmax()): ""}
        if not is_balanced:  # which moves the threshold from the class's fraction of the rows to one half
            balanced = min(int(np.searchsorted(thresholds, shares[k])), len(thresholds) - 1)
            chosen.setdefault(balanced, ", as --balanced does roughly,")
        notes += [
            f"predicting {str(classes[k])!r} at probabilities of {thresholds[j]:.2g} or more{how} gives "
            f"recall {recall[j]:.0%}, precision {precision[j]:.0%}"
            for j, how in chosen.items()
        ]
    return notes
