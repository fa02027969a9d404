"""The hook behind the progress bars of training runs and fits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .loop import Hook, Training


class ReportingHook(Hook):
    """Base class of hooks that report the epochs of a chunk, also before a divergence."""

    def diverged(self, training: Training) -> None:
        self.after_chunk(training)


class ShowProgress(ReportingHook):
    """Hook that advances a progress bar by the epochs of a fit, which may have several training runs.

    `n_done` counts the epochs of the fit, `n_shown` the epochs that the bar already shows. `figures` returns
    texts to show beside it. The owner of the bar closes it, and may share it among several fits.
    """

    def __init__(
        self,
        bar: Any,
        n_done: Callable[[Training], int],
        figures: Callable[[Training], dict[str, str]] | None = None,
        n_shown: int = 0,
    ) -> None:
        self._bar, self._n_done, self._figures, self._n_shown = bar, n_done, figures, n_shown

    def after_chunk(self, training: Training) -> bool:
        if self._figures is not None:
            self._bar.set_postfix(self._figures(training), refresh=False)
        self.show(self._n_done(training))
        return False

    def show(self, n_passes: int) -> None:
        """Advance the bar to a number of epochs of this fit."""
        self._bar.update(n_passes - self._n_shown)
        self._n_shown = n_passes


def make_training_figures(n_before: int) -> Callable[[Training], dict[str, str]]:
    """Return the figures of a `Model`'s training, which begins now, after `n_before` epochs."""
    begin = time.perf_counter()

    def figures(training: Training) -> dict[str, str]:
        job, n_passes, n_records = training.job, training.n_passes, training.n_records
        speed = (n_passes - n_before) * job.n_samples / (time.perf_counter() - begin)
        texts = {"samples/s": f"{speed:.3g}"}
        if n_passes:
            texts["loss"] = f"{training.trainer.records.losses[n_records - 1] / job.total_weight:.4g}"
            texts["rate"] = f"{training.rates([n_passes - 1])[0]:.3g}"
            validation = training.validation[:n_records]
            validation = validation[np.isfinite(validation)]
            if validation.size:
                texts["validation"] = f"{validation[-1]:.4g}"
        return texts

    return figures
