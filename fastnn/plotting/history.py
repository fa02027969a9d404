"""plot_history: the losses and other measurements of a training, drawn by matplotlib."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..system.validation import shown
from ..training.history import History

__all__ = ["plot_history"]


def plot_history(history: History, axes: Any = None) -> Any:
    """Draw losses, learning rates, gradient norms and update ratios of a training against the epochs.

    Parameters
    ----------
    history : History
        History returned by `Model.train`.
    axes : sequence of four matplotlib axes, optional
        Axes to draw on; by default the axes of a new figure with two rows and two columns.

    Returns
    -------
    array of four matplotlib axes
        Axes of the losses, learning rates, gradient norms and update ratios.

    Raises
    ------
    ValueError
        If the history has no epochs, or the number of axes is not four.
    TypeError
        If `history` is not a `History`, or `axes` holds anything but axes.

    Examples
    --------
    >>> import fastnn
    >>> import matplotlib.pyplot as plt
    >>> model = fastnn.Model([2, 3, 2], random_state=0)
    >>> history = model.train([[0.0, 1.0], [1.0, 0.0]], [0, 1], num_passes=50)
    >>> [ax.get_ylabel() for ax in fastnn.plot_history(history)]
    ['loss', 'learning rate', 'gradient norm', 'update / weights']
    >>> plt.close()
    """
    if not isinstance(history, History):
        raise TypeError(f"history must be what Model.train returned, got {shown(history)}")
    if not len(history):
        raise ValueError("history has no epochs: train for at least one")
    if axes is None:
        import matplotlib.pyplot as plt

        _, grid = plt.subplots(2, 2, figsize=(9, 6), layout="constrained", sharex=True)
        axes = grid.ravel()
    axes = np.ravel(axes)
    if axes.size != 4:
        raise ValueError(f"axes must be four, got {axes.size}")
    if not all(hasattr(ax, "plot") for ax in axes):
        raise TypeError(f"axes must be four axes of matplotlib, got {shown(axes.tolist())}")
    passes = history.passes + 1
    losses, rates, norms, ratios = axes
    curves = (
        (losses, "loss", history.loss), (rates, "learning rate", None),
        (norms, "gradient norm", history.gradient_norm), (ratios, "update / weights", history.update_ratio),
    )  # fmt: skip
    for ax, label, positive in curves:
        ax.set_ylabel(label)
        ax.grid(alpha=0.3)
        if positive is not None and (positive > 0).all():
            ax.set_yscale("log")
    losses.plot(passes, history.loss, label="training")
    if np.isfinite(history.validation_loss).any():
        losses.plot(passes, history.validation_loss, "--", label="validation")
        losses.legend()
    rates.plot(passes, history.learning_rate)
    norms.plot(passes, history.gradient_norm)
    for layer, ratio in enumerate(history.update_ratio.T):
        ratios.plot(passes, ratio, label=f"layer {layer}")
    # CS231n calls ratios around 1e-3 healthy.
    ratios.axhline(1e-3, color="0.7", linestyle="--", linewidth=1)
    ratios.legend()
    for ax in (norms, ratios):
        ax.set_xlabel("epochs")
    return axes
