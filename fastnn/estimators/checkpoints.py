"""Checkpoints of a fit: hooks for the `Checkpoint` objects among an estimator's callbacks."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from ..system.sklearn_internals import fit_callbacks
from ..training.checkpoint import Checkpoint, SaveCheckpoint, check_best
from ..training.loop import Hook, Training
from .fitted import FittedNetwork

__all__ = ["checkpoint_hooks"]


def checkpoint_hooks(fit: Any, has_validation: bool) -> list[Hook]:
    """Return a hook for every `Checkpoint` in ``set_callbacks`` of the estimator of a `Fit`.

    Raises
    ------
    ValueError
        If a checkpoint is to keep the best epoch, but there are no validation data.
    """
    checkpoints = [each for each in fit_callbacks(fit.estimator) if isinstance(each, Checkpoint)]
    for checkpoint in checkpoints:
        check_best(checkpoint, has_validation)
    return [SaveCheckpoint(checkpoint, _FittedEstimator(fit)) for checkpoint in checkpoints]


class _FittedEstimator:
    """Estimator in a fit whose checkpoints are saved.

    Parameters
    ----------
    fit : Fit
        Running fit.
    """

    whole_epochs = True  # a fit is resumed from whole epochs only

    def __init__(self, fit: Any) -> None:
        self._fit = fit

    def progress(self, training: Training) -> tuple[int, int]:
        return self._fit.estimator.n_iter_, training.job.steps_before + training.trainer.n_steps

    def now(self, training: Training) -> Any:
        """Return the estimator that the fit would leave if it ended now."""
        fit = self._fit
        estimator = copy.copy(fit.estimator)
        if fit.best is not None:  # during the fit, the state's last epoch predicts
            estimator._state = replace(fit.state, best=fit.best)
        return estimator

    def validation(self, training: Training) -> Any:
        return self._fit.estimator.validation_loss_curve_

    def copied(self, training: Training) -> Any:
        """Return an estimator with copies of the parameters that would predict after the last epoch."""
        estimator, state = copy.copy(self._fit.estimator), self._fit.state
        estimator._state = FittedNetwork(state.network, state._last.copy(), state.statistics.copy())
        return estimator
