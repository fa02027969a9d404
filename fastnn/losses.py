"""Losses: what a training makes small, and what the scores then mean.

The formulas stand in ``fastnn/reference/loss.py`` and, compiled, in ``fastnn_kernels/loss.py``; here is
what a user names. A loss is given to `Model` as an object or by its lower-case name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from .system.validation import check_labels, check_number, check_targets, resolve, store_checked

__all__ = [
    "AbsoluteError",
    "Huber",
    "MulticlassHinge",
    "Poisson",
    "Quantile",
    "SigmoidBinaryCrossEntropy",
    "SoftmaxCrossEntropy",
    "SquaredError",
]


@dataclass(frozen=True)
class Loss:
    """Base of the losses; subclasses say what is theirs."""

    name: ClassVar[str]
    # What turns scores into outputs, one of the names in ``fastnn/reference/output.py``.
    output: ClassVar[str] = "identity"
    of_labels: ClassVar[bool] = False
    # Least and largest target; None for no bound.
    bounds: ClassVar[tuple[float | None, float | None]] = (None, None)

    @property
    def parameter(self) -> float:
        """The one number that the formulas take."""
        return 0.0

    def check(self, y: Any, n_samples: int, n_outputs: int, dtype: np.dtype, name: str = "y") -> NDArray[Any]:
        """y as a table (n_samples, n_targets) of `dtype`.

        Parameters
        ----------
        y : array-like
            What a user passes as labels or targets.
        n_samples, n_outputs : int
            Of the samples, and of the network.
        dtype : numpy.dtype
        name : str, default "y"
            What the messages call it.

        Returns
        -------
        array (n_samples, n_targets)

        Raises
        ------
        ValueError
            For labels or targets that do not fit, naming the first.
        """
        if self.of_labels:
            return check_labels(y, n_samples, n_outputs, name).astype(dtype)[:, None]
        return check_targets(y, n_samples, n_outputs, dtype, self.bounds, name)


# All losses by name.
LOSSES: dict[str, type[Loss]] = {}
_LossClass = TypeVar("_LossClass", bound=type[Loss])


def register(loss: _LossClass) -> _LossClass:
    """Enter a class in `LOSSES`: a decorator."""
    LOSSES[loss.name] = loss
    return loss


@register
@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """Softmax over the scores and the cross entropy of its probabilities, for labels.

    ``-sum over k of q_k log p_k`` with q 1 at the label, or ``1 - label_smoothing`` there and
    ``label_smoothing / K`` everywhere (Szegedy et al., "Rethinking the Inception architecture", 2016,
    section 7).

    Parameters
    ----------
    label_smoothing : float, default 0.0
        From 0 to 1.

    Raises
    ------
    ValueError
        For a label_smoothing out of its range.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Model([2, 3, 2], loss=fastnn.SoftmaxCrossEntropy(label_smoothing=0.1)).loss
    SoftmaxCrossEntropy(label_smoothing=0.1)
    """

    name: ClassVar[str] = "softmax_cross_entropy"
    output: ClassVar[str] = "softmax"
    of_labels: ClassVar[bool] = True

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        store_checked(self, label_smoothing=check_number(self.label_smoothing, "label_smoothing", 0.0, 1.0))

    @property
    def parameter(self) -> float:
        return self.label_smoothing


@register
@dataclass(frozen=True)
class MulticlassHinge(Loss):
    """Hinge loss of several classes, for labels.

    ``sum over k != label of max(0, s_k - s_label + margin)`` (Weston & Watkins, "Support vector machines
    for multi-class pattern recognition", 1999); `predict_proba` then gives the softmax of the scores.

    Parameters
    ----------
    margin : float, default 1.0
        Above 0.

    Raises
    ------
    ValueError
        For a margin that is not above 0.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Model([2, 3, 2], output_activation="identity", loss="multiclass_hinge").loss
    MulticlassHinge(margin=1.0)
    """

    name: ClassVar[str] = "multiclass_hinge"
    output: ClassVar[str] = "softmax"
    of_labels: ClassVar[bool] = True

    margin: float = 1.0

    def __post_init__(self) -> None:
        store_checked(self, margin=check_number(self.margin, "margin", 0.0, exclusive=True))

    @property
    def parameter(self) -> float:
        return self.margin


@register
@dataclass(frozen=True)
class SigmoidBinaryCrossEntropy(Loss):
    """A sigmoid for every score and the cross entropy of its probability: any number of yes-or-no answers.

    ``-y log p - (1 - y) log(1 - p)``, summed over the outputs; targets (n, outputs) are 0 to 1.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Model([2, 3, 4], output_activation="identity", loss="sigmoid_binary_cross_entropy")
    >>> model.predict([[0.0, 1.0]]).shape
    (1, 4)
    """

    name: ClassVar[str] = "sigmoid_binary_cross_entropy"
    output: ClassVar[str] = "sigmoid"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)


@register
@dataclass(frozen=True)
class SquaredError(Loss):
    """Half the squared error, ``(s - y)^2 / 2``, summed over the outputs.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Model([1, 8, 1], output_activation="identity", loss="squared_error", random_state=0)
    >>> history = model.train([[0.0], [1.0]], [[1.0], [3.0]], num_passes=500, epsilon=0.1, reg_lambda=0.0)
    >>> bool(history.loss[-1] < 1e-6)
    True
    """

    name: ClassVar[str] = "squared_error"


@register
@dataclass(frozen=True)
class AbsoluteError(Loss):
    """The absolute error ``|s - y|``, summed over the outputs; it leads to the median.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Model([1, 8, 1], output_activation="identity", loss="absolute_error").loss
    AbsoluteError()
    """

    name: ClassVar[str] = "absolute_error"


@register
@dataclass(frozen=True)
class Huber(Loss):
    """Half the squared error up to `delta`, linear from there, summed over the outputs.

    ``(s - y)^2 / 2`` where ``|s - y| <= delta``, else ``delta (|s - y| - delta / 2)`` (Huber, "Robust
    estimation of a location parameter", 1964).

    Parameters
    ----------
    delta : float, default 1.0
        Above 0, in units of the targets.

    Raises
    ------
    ValueError
        For a delta that is not above 0.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Model([1, 8, 1], output_activation="identity", loss=fastnn.Huber(delta=0.5)).loss
    Huber(delta=0.5)
    """

    name: ClassVar[str] = "huber"

    delta: float = 1.0

    def __post_init__(self) -> None:
        store_checked(self, delta=check_number(self.delta, "delta", 0.0, exclusive=True))

    @property
    def parameter(self) -> float:
        return self.delta


@register
@dataclass(frozen=True)
class Quantile(Loss):
    """The pinball loss, which leads to a quantile of the targets.

    ``max(q (y - s), (q - 1) (y - s))``, summed over the outputs (Koenker & Bassett, "Regression
    quantiles", 1978).

    Parameters
    ----------
    quantile : float, default 0.5
        Between 0 and 1.

    Raises
    ------
    ValueError
        For a quantile out of its range.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Model([1, 8, 1], output_activation="identity", loss=fastnn.Quantile(0.9)).loss
    Quantile(quantile=0.9)
    """

    name: ClassVar[str] = "quantile"

    quantile: float = 0.5

    def __post_init__(self) -> None:
        store_checked(self, quantile=check_number(self.quantile, "quantile", 0.0, 1.0, exclusive=True))

    @property
    def parameter(self) -> float:
        return self.quantile


@register
@dataclass(frozen=True)
class Poisson(Loss):
    """The negative log-likelihood of counts whose rate is the exponential of the score.

    ``exp(s) - y s``, summed over the outputs, without the part that depends on y alone; targets are not
    below 0, and `predict` gives the rates ``exp(s)``.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Model([1, 8, 1], output_activation="identity", loss="poisson").loss
    Poisson()
    """

    name: ClassVar[str] = "poisson"
    output: ClassVar[str] = "exponential"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, None)


# Losses for any numbers, as a regression has them.
REGRESSION_LOSSES = tuple(
    name for name, loss in LOSSES.items() if not loss.of_labels and loss.bounds[1] is None
)


def resolve_loss(loss: Any) -> Loss:
    """Return the loss that a user gave as an object or by its name.

    Raises
    ------
    ValueError
        For anything else.
    """
    return resolve(loss, "loss", Loss, LOSSES)
