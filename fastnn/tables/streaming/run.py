"""Run: the training of one network of a streamed fit, which can be copied, saved and taken up again."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

__all__ = ["Run", "mean_loss"]


@dataclass
class Run:
    """Training of one network, in parts: the network is judged on its validation rows after each.

    Parameters
    ----------
    member : MLPClassifier or MLPRegressor
        Network, fitted by partial fits.
    place : int
        Number of the network among those of its head; networks of the same place have the same validation
        rows.
    best : two arrays, optional
        Parameters and running statistics at the end of the best part.
    is_over : bool
        True if the network is trained no further.
    best_before : float
        Best score in the last valley of the learning rate.
    losses : list of tuple
        Losses and numbers of rows of the buffers since the last part.
    """

    member: Any
    place: int
    best: Any = None
    is_over: bool = False
    best_before: float = -math.inf
    losses: list[tuple[float, int]] = field(default_factory=list)

    def copied(self) -> Run:
        """Return a copy that later training does not change."""
        member = copy.copy(self.member)
        if "_state" in member.__dict__:
            member._state = member._state.copy()
        for name in ("loss_curve_", "validation_scores_", "validation_loss_curve_"):
            if getattr(member, name, None) is not None:
                setattr(member, name, list(getattr(member, name)))
        return replace(self, member=member, losses=list(self.losses))

    def finished(self) -> Any:
        """Return the network as a fit would leave it if it ended now, which shares the arrays."""
        member = copy.copy(self.member)
        if self.best is not None:
            member._state = replace(member._state, best=self.best)
        # The scorer holds the tabular estimator, and is of no use after the fit.
        member.early_stopping, member.scoring, member.best_loss_ = True, "loss", None
        member.n_iter_ = max(1, len(member.validation_scores_ or []))
        if self.losses:
            member.loss_curve_ = [*member.loss_curve_, mean_loss(self.losses)]
        return member

    def described(self) -> dict[str, Any]:
        """Return the attributes that the network itself does not hold, as plain values."""
        return {
            "is_over": self.is_over,
            "best_before": self.best_before,
            "losses": [list(pair) for pair in self.losses],
        }

    @classmethod
    def restored(cls, member: Any, place: int, described: dict[str, Any], scoring: Any) -> Run:
        """Return the run of a network that `finished` returned, with what `described` returned."""
        losses = [(float(loss), int(n)) for loss, n in described["losses"]]
        best, member._state.best = member._state.best, None
        member.early_stopping, member.scoring = False, scoring
        if losses:
            member.loss_curve_ = member.loss_curve_[:-1]
        return cls(member, place, best, bool(described["is_over"]), float(described["best_before"]), losses)


def mean_loss(losses: Sequence[tuple[float, int]]) -> float:
    """Return the mean of the losses of buffers, by their numbers of rows."""
    values, n_rows = zip(*losses, strict=True)
    return float(np.average(values, weights=n_rows))
