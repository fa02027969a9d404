"""plot_history: the losses and other measurements of a training, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..model import Model
from ..system.validation import Array, short_repr
from ..training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_history(history: Any, axes: Sequence[Axes] | None = None) -> Array:
    """Draw the losses of a training and its other measurements against the epochs.

    Parameters
    ----------
    history : History, Model or estimator
        History returned by `Model.train`, a trained model, which holds it as `history_`, or an estimator that
        was fitted by another solver than "lbfgs".
    axes : sequence of matplotlib axes, optional
        Axes to draw on, as many as are returned; by default a new figure's.

    Returns
    -------
    array of matplotlib axes
        Four axes: of the losses, learning rates, gradient norms and update ratios. Of an estimator, one, of
        `loss_curve_` and `validation_loss_curve_`, or two, if it has `validation_scores_`.

    Raises
    ------
    ValueError
        If there are no epochs, or the number of axes is wrong.
    TypeError
        If `history` has another type, or `axes` holds anything but axes.

    Examples
    --------
    >>> import fastnn
    >>> import matplotlib.pyplot as plt
    >>> model = fastnn.Model([2, 3, 2], random_state=0)
    >>> history = model.train([[0.0, 1.0], [1.0, 0.0]], [0, 1], num_passes=50)
    >>> [ax.get_ylabel() for ax in fastnn.plot_history(model)]
    ['loss', 'learning rate', 'gradient norm', 'update / weights']
    >>> plt.close()
    """
    if hasattr(history, "loss_curve_"):
        return _draw_curves(history, axes)
    found = history.history_ if isinstance(history, Model) else history
    if not isinstance(found, History):
        raise TypeError(
            "history must be what Model.train returned, a trained Model or an estimator with loss_curve_, "
            f"got {short_repr(history)}"
        )
    if not len(found):
        raise ValueError("history has no epochs: train for at least one")
    drawn = _make_axes(axes, 4)
    passes = found.passes + 1
    losses, rates, norms, ratios = drawn
    _draw_losses(losses, passes, found.loss, found.validation_loss)
    rates.plot(passes, found.learning_rate)
    rates.set_ylabel("learning rate")
    norms.plot(passes, found.gradient_norm)
    _set_scale(norms, "gradient norm", found.gradient_norm)
    for layer, ratio in enumerate(found.update_ratio.T):
        ratios.plot(passes, ratio, label=f"layer {layer}")
    _set_scale(ratios, "update / weights", found.update_ratio)
    # CS231n calls ratios around 1e-3 healthy.
    ratios.axhline(1e-3, color="0.7", linestyle="--", linewidth=1)
    ratios.legend()
    for ax in (norms, ratios):
        ax.set_xlabel("epochs")
    return drawn


def _draw_curves(estimator: Any, axes: Sequence[Axes] | None) -> Array:
    losses = np.array(estimator.loss_curve_)
    scores, checked = estimator.validation_scores_ or [], getattr(estimator, "validation_loss_curve_", [])
    drawn = _make_axes(axes, 1 + bool(scores))
    epochs = np.arange(1, len(losses) + 1)
    _draw_losses(drawn[0], epochs, losses, np.array([np.nan] * (len(losses) - len(checked)) + checked))
    if scores:
        drawn[1].plot(epochs[-len(scores) :], scores, "--")
        drawn[1].set_ylabel("validation score")
    for ax in drawn:
        ax.set_xlabel("epochs")
    return drawn


def _make_axes(axes: Sequence[Axes] | None, count: int) -> Array:
    """Return the given axes, or axes of a new figure with two columns, with a grid."""
    if axes is None:
        import matplotlib.pyplot as plt

        n_rows, n_columns = max(1, count // 2), min(2, count)
        size = (4.5 * n_columns, 3 * n_rows)
        axes = plt.subplots(n_rows, n_columns, figsize=size, layout="constrained", sharex=True)[1]
    drawn: Array = np.ravel(np.asarray(axes))
    word = {1: "one", 2: "two", 4: "four"}[count]
    if drawn.size != count:
        raise ValueError(f"axes must be {word}, got {drawn.size}")
    if not all(hasattr(ax, "plot") for ax in drawn):
        raise TypeError(f"axes must be {word} axes of matplotlib, got {short_repr(drawn.tolist())}")
    for ax in drawn:
        ax.grid(alpha=0.3)
    return drawn


def _draw_losses(ax: Axes, epochs: Array, losses: Array, checked: Array) -> None:
    ax.plot(epochs, losses, label="training")
    if np.isfinite(checked).any():
        ax.plot(epochs, checked, "--", label="validation")
        ax.legend()
    _set_scale(ax, "loss", losses)


def _set_scale(ax: Axes, label: str, values: Array) -> None:
    """Name the vertical axis, whose scale is logarithmic if all values are above 0."""
    ax.set_ylabel(label)
    if (values > 0).all():
        ax.set_yscale("log")
