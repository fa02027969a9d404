"""History: losses, rates, gradient norms and update ratios of a training, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..system.notebooks import make_html_table

Floats = NDArray[np.float64]

# Largest number of epochs in a history, besides the last epoch. Measuring an epoch takes a few per cent of
# its time, and a plot cannot show more points.
MAX_RECORDS = 1000


@dataclass(frozen=True, eq=False)
class History:
    """Measurements of a training, with one entry for each kept epoch.

    A training of up to 1000 epochs keeps every epoch, a training of up to 2000 epochs every second epoch, and
    so on. The last of `num_passes` epochs is kept too. A training that ends before it, since L-BFGS has
    converged or by a callback or Ctrl-C, may have done further epochs after the last kept one: `n_passes`
    counts all. R is the number of kept epochs.

    Attributes
    ----------
    passes : array (R,) of int64
        Numbers of the epochs, counted from 0.
    loss : array (R,)
        Mean loss of the training samples without regularisation terms. Each sample's loss is computed in
        its training step: before the step's update, and with dropout.
    validation_loss : array (R,)
        Mean loss of the validation data after the epoch; NaN without validation data.
    learning_rate : array (R,)
        Learning rate of the epoch's last step; NaN for "lbfgs", which has no learning rate.
    gradient_norm : array (R,)
        Euclidean norm of the last step's gradient, before clipping and without regularisation terms; for
        "lbfgs", the norm of the whole objective's gradient.
    update_ratio : array (R, layers)
        Norm of the last step's change of a layer's weights, divided by the norm of the weights. About 1e-3 is
        healthy. A far larger or smaller ratio means that the learning rate is too high or too low (CS231n,
        "Neural Networks Part 3", section on the ratio of updates).
    stopped_early : bool
        True if a callback ended the training before its last epoch.
    n_passes : int
        Number of epochs done.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Model([2, 3, 2], random_state=0)
    >>> history = model.train([[0.0, 1.0], [1.0, 0.0]], [0, 1], num_passes=5)
    >>> len(history.loss), history.update_ratio.shape
    (5, (5, 2))
    """

    passes: NDArray[np.int64]
    loss: Floats
    validation_loss: Floats
    learning_rate: Floats
    gradient_norm: Floats
    update_ratio: Floats
    stopped_early: bool
    n_passes: int

    def __len__(self) -> int:
        return len(self.passes)

    def __eq__(self, other: object) -> bool:
        """Return True if the other object is a history with the same entries; NaN equals NaN."""
        if not isinstance(other, History):
            return NotImplemented
        return all(
            np.array_equal(mine, its, equal_nan=True)
            for mine, its in zip(vars(self).values(), vars(other).values(), strict=True)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays may change

    def __repr__(self) -> str:
        """Return the number of epochs and the last losses as text, with their epoch if others followed."""
        if not len(self):
            return "History(no epochs)"
        last = int(self.passes[-1])
        where = "" if last == self.n_passes - 1 else f" in epoch {last}"
        fields = [f"epochs={self.n_passes}", f"loss={self.loss[-1]:.6g}{where}"]
        if np.isfinite(self.validation_loss[-1]):
            fields.append(f"validation_loss={self.validation_loss[-1]:.6g}{where}")
        return f"History({', '.join(fields)})"

    def _repr_html_(self) -> str:
        columns = {
            "epoch": self.passes,
            "loss": self.loss,
            "validation loss": self.validation_loss,
            "learning rate": self.learning_rate,
            "gradient norm": self.gradient_norm,
        }
        chosen = np.unique(np.linspace(0, len(self) - 1, 5).astype(int)) if len(self) else slice(0)
        rows = zip(*(values[chosen].tolist() for values in columns.values()), strict=True)
        return make_html_table(repr(self), [*columns], rows)


def record_every(num_passes: int) -> int:
    """Return the distance, in epochs, between two kept epochs of a training of `num_passes`."""
    return max(1, -(-num_passes // MAX_RECORDS))
