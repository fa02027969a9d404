"""Remarks on the predictions of a fitted model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

from ...system.messages import listed

__all__ = ["rare_class_notes"]

Array = NDArray[Any]


def rare_class_notes(y: Array, P: Array, classes: Array, weights: Any, is_balanced: bool) -> list[str]:
    """Return notes on classes that are never predicted, and on what other thresholds would find.

    Parameters
    ----------
    y : array (n,)
        True classes.
    P : array (n, n_classes)
        Probabilities of networks that were not trained on these rows.
    classes : array (n_classes,)
        Classes, sorted.
    weights : array (n,) or None
        Weights of the rows.
    is_balanced : bool
        True if all classes had the same weight in the fit.
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
    notes = [f"{listed(missed, quoted=False)} {verb} never predicted{advice}"]
    if len(classes) == 2 and len(missed) == 1:
        k = int(is_missed.argmax())
        precision, recall, thresholds = precision_recall_curve(true == k, P[:, k], sample_weight=weights)
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
        chosen = {int(f1[:-1].argmax()): ""}
        if not is_balanced:  # which moves the threshold from the class's fraction of the rows to one half
            balanced = min(int(np.searchsorted(thresholds, shares[k])), len(thresholds) - 1)
            chosen.setdefault(balanced, ", as --balanced does roughly,")
        notes += [
            f"predicting {str(classes[k])!r} from a probability of {thresholds[j]:.2g} on{how} gives "
            f"recall {recall[j]:.0%}, precision {precision[j]:.0%}"
            for j, how in chosen.items()
        ]
    return notes
