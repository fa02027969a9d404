"""animate_training: an animation of a training, which shows how the decision regions of a model change."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..boundary.drawing import check_axes
from ..boundary.subjects import Features, Fill, check_model
from ..model import Model
from ..system.messages import format_error
from ..system.validation import check_count
from ..training.loop import Hook, Training
from .boundary import is_regressor, plot_decision_boundary

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

    from ..boundary.colours import Colours, Markers

# Durations of a frame, and of the pause after the last one, in milliseconds.
INTERVAL, PAUSE = 100, 2500


def animate_training(
    model: Model,
    X: ArrayLike,
    y: ArrayLike,
    *,
    frames: int = 40,
    ax: Axes | None = None,
    response: str = "class",
    class_of_interest: Any = None,
    features: Features | None = None,
    fill: Fill | None = None,
    colours: Colours | None = None,
    cmap: str | Colormap | None = None,
    markers: Markers | None = None,
    **options: Any,
) -> FuncAnimation:
    """Train a model, and return an animation of its decision boundary.

    Parameters
    ----------
    model : Model
        Model that `Model.train` trains in place with `options`: the resulting parameters are the same, bit
        for bit, as without an animation. A regression is drawn as a surface.
    X : array-like (n, n_features)
        Samples.
    y : array-like (n,) or (n, n_labels)
        Classes or targets of the samples. Of several labels, `class_of_interest` is the number of the one
        to draw.
    frames : int, default 40
        Largest number of frames, at least 2, the first before the first epoch. Their distances grow, since
        most changes happen early.
    ax : matplotlib Axes, optional
        Axes to draw on; by default axes of a new figure, which pyplot does not show.
    response, class_of_interest, features, fill, colours, cmap, markers : optional
        Quantity to draw, and how; see `plot_decision_boundary`.
    **options
        Arguments of `Model.train`, such as `num_passes`, `epsilon` or `progress`.

    Returns
    -------
    matplotlib.animation.FuncAnimation
        Animation with 10 frames per second: ``animation.save("training.gif")`` writes it to a file, and
        ``animation.to_jshtml()`` returns HTML for a notebook. Each frame is painted when it is drawn.

    Raises
    ------
    TypeError
        If `model` is not a `Model`, `ax` is anything but rectilinear axes, or an option is unknown to
        `Model.train`.
    ValueError
        For the reasons of `plot_decision_boundary`, before the training, and of `Model.train`.
    DivergenceError
        If the training diverges.

    Notes
    -----
    For any other model, pass a function that calls `plot_decision_boundary` to matplotlib's `FuncAnimation`.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(200, noise=0.20, random_state=0)
    >>> model = fastnn.Model([2, 3, 2], random_state=0)
    >>> animation = fastnn.animate_training(model, X, y, num_passes=2000, frames=5)
    >>> "Once" in animation.to_jshtml()
    True
    """
    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure

    check_model(model, "animate_training(model, X, y)")
    if not isinstance(model, Model):
        raise TypeError(
            f"model must be a Model, got {type(model).__name__}: for other models, pass a function that "
            "calls plot_decision_boundary to matplotlib's FuncAnimation"
        )
    check_axes(ax)
    recorder = _Recorder(model, check_count(frames, "frames", 2))
    axes: Any = Figure().add_subplot() if ax is None else ax
    place = axes.get_position()
    view: dict[str, Any] = {
        "response": response,
        "class_of_interest": class_of_interest,
        "features": features,
        "fill": fill,
        "colours": colours,
        "cmap": cmap,
        "markers": markers,
    }

    def draw(shown: Model, title: str = "") -> None:
        for image in axes.images:
            if image.colorbar is not None:  # `clear` would leave it beside the axes
                image.colorbar.remove()
        axes.clear()
        if axes.figure.get_layout_engine() is None:
            axes.set_position(place)  # a legend beside them may have taken room
        plot_decision_boundary(shown, X, y, ax=axes, **view)
        if response == "confidence":  # all frames have the same scale
            axes.images[0].set_clim(0, 1)
        axes.set_title(title)

    draw(model)  # refuses invalid arguments before the training
    X, y, view = copy.deepcopy(
        (X, y, view)
    )  # frames are painted later, and the caller may change them before
    callbacks: list[Any] = [recorder, *options.pop("callbacks", ())]
    history = model.train(X, y, callbacks=callbacks, **options)
    # The training may have ended early, or have restored the parameters of its best epoch.
    recorder.snapshots[history.n_passes] = model._copy_with(model._parameters, model._statistics)
    titles = {
        n_passes: _make_title(snapshot, X, y, n_passes) for n_passes, snapshot in recorder.snapshots.items()
    }
    return FuncAnimation(
        axes.figure,
        lambda n_passes: draw(recorder.snapshots[n_passes], titles[n_passes]),
        frames=list(titles),
        interval=INTERVAL,
        repeat_delay=PAUSE,
    )


class _Recorder(Hook):
    """Hook that copies a model before its training and after `count` epochs, by the number of epochs done."""

    def __init__(self, model: Model, count: int) -> None:
        self._model, self._count = model, count
        self.snapshots: dict[int, Model] = {}

    def begin(self, training: Training) -> None:
        done = training.n_passes
        # Their ratios are constant, up to rounding.
        ends = np.geomspace(1, training.job.num_passes - done + 1, self._count).round() - 1
        self._stops = done + np.unique(ends.astype(np.int64))
        self.at_stop(training)

    def next_stop(self, training: Training) -> int:
        return int(self._stops[self._stops > training.n_passes][0])

    def at_stop(self, training: Training) -> None:
        if training.n_passes in self._stops:
            trainer = training.trainer
            self.snapshots[training.n_passes] = self._model._copy_with(trainer.current, trainer.statistics)


def _make_title(model: Model, X: ArrayLike, y: ArrayLike, n_passes: int) -> str:
    # The loss comes first, because its width is the same in most frames: the text after it does not move.
    result = f"loss {format_error(model.calculate_loss(X, y))}"
    if not is_regressor(model):
        result += f", {np.mean(np.ravel(model.predict(X)) == np.ravel(y)):.1%} correct"
    return f"{result} after {'1 epoch' if n_passes == 1 else f'{n_passes:,} epochs'}"
