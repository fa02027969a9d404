"""Callbacks that users pass to a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..system.validation import check_count, check_rate, shown, store_checked

__all__ = ["EarlyStopping"]


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when the validation data say that it gets no better, and go back to the best weights.

    Given to `Model.train` among the callbacks, with `validation_data`.

    Parameters
    ----------
    patience : int, default 10
        Passes without an improvement before the training ends. Only the passes that the history keeps are
        looked at: of a run of 20,000, every twentieth.
    min_delta : float, default 0.0
        What counts as an improvement, in units of the loss or score.
    scorer : callable, optional
        ``scorer(model, X, y)``, a number that is better the higher it is, as ``lambda model, X, y:
        accuracy_score(y, model.predict(X))``. By default the validation loss is watched, which is better
        the lower it is.

    Raises
    ------
    ValueError
        For a patience below 1, a min_delta below 0, a scorer that cannot be called.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(300, noise=0.3, random_state=0)
    >>> model = fastnn.Model([2, 50, 2], random_state=0)
    >>> history = model.train(X[:200], y[:200], num_passes=5000, epsilon=0.02, reg_lambda=0.0,
    ...                       validation_data=(X[200:], y[200:]),
    ...                       callbacks=[fastnn.EarlyStopping(patience=200)])
    >>> history.stopped_early
    True
    """

    patience: int = 10
    min_delta: float = 0.0
    scorer: Callable[[Any, Any, Any], float] | None = None

    def __post_init__(self) -> None:
        store_checked(
            self,
            patience=check_count(self.patience, "patience", 1),
            min_delta=check_rate(self.min_delta, "min_delta"),
        )
        if self.scorer is not None and not callable(self.scorer):
            raise ValueError(f"scorer must be a function of model, X and y, got {shown(self.scorer)}")
