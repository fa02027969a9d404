"""Losses: classes with the parameters of a loss, its checks of the targets and the output that it needs.

The formulas are in ``fastnn/reference/loss.py`` and, compiled, in ``fastnn_kernels/loss.py``. `Model` accepts
a loss as an object or by its lower-case name. Equations use s for a score (an output of the last layer, after
its activation) and y for a target.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from .system.validation import (
    Array,
    check_distributions,
    check_fields,
    check_labels,
    check_number,
    check_positive,
    check_targets,
    make_field,
    register,
)
from .system.words import KnowsForeignNames

__all__ = [
    "AbsoluteError",
    "Hinge",
    "Huber",
    "Loss",
    "MulticlassHinge",
    "Poisson",
    "Quantile",
    "SigmoidBinaryCrossEntropy",
    "SoftmaxCrossEntropy",
    "SquaredError",
]


@dataclass(frozen=True)
class Loss(KnowsForeignNames):
    """Base class of the losses, of which you derive a loss of your own.

    A class with the two methods ``value(self, s, y)`` and ``slope(self, s, y)`` is a loss like any other, for
    `Model` and the regressors. Both are elementwise functions in NumPy of the scores s and the targets y,
    arrays (n_samples, n_outputs): the loss of each score, which is summed over the outputs, and its
    derivative by the score, both rounded to the dtype of the network. Where numba is installed, methods made
    of arithmetic, comparisons, ``where``, ``exp``, ``log``, ``tanh`` and the like are compiled into the
    training loop. The loop calls others in Python, with the same result. Parameters are the fields of a
    frozen dataclass. A class may set `output` and `bounds`. ``Model.check_gradients`` tests the methods.

    Attributes
    ----------
    name : str
        Lower-case name by which users choose the loss.
    output : str
        Function that turns scores into outputs, by its name in ``fastnn/reference/output.py``.
    of_labels : bool
        True if the targets are class numbers.
    takes_rows : bool
        True if the targets may also be rows of fractions of the classes, which sum to 1.
    bounds : tuple of two floats or None
        Smallest and largest target; None for no bound.
    only_bounds : bool
        True if the bounds are the only targets.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> class LogCosh(fastnn.Loss):
    ...     def value(self, s, y):
    ...         return np.logaddexp(s - y, y - s) - np.log(2)
    ...     def slope(self, s, y):
    ...         return np.tanh(s - y)
    >>> model = fastnn.Model([1, 8, 1], output_activation="identity", loss=LogCosh(), random_state=0)
    >>> history = model.train([[0.0], [1.0]], [[1.0], [3.0]], num_passes=500, epsilon=0.1, reg_lambda=0.0)
    >>> bool(history.loss[-1] < 1e-6)
    True
    """

    name: ClassVar[str] = ""
    output: ClassVar[str] = "identity"
    of_labels: ClassVar[bool] = False
    takes_rows: ClassVar[bool] = False
    bounds: ClassVar[tuple[float | None, float | None]] = (None, None)
    only_bounds: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if vars(cls).keys() & {"value", "slope"} and "name" not in vars(cls):
            cls.name = cls.__name__

    def __post_init__(self) -> None:
        check_fields(self)

    # A class that is not a dataclass has no fields, but may have attributes.
    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).items()))

    @property
    def is_own(self) -> bool:
        """True for a user's loss, whose formulas are its methods `value` and `slope`."""
        return hasattr(type(self), "value") or hasattr(type(self), "slope")

    @property
    def formulas(self) -> Any:
        """Key by which the reference finds the formulas: the name, or a user's loss itself."""
        return self if self.is_own else self.name

    def check_formulas(self) -> None:
        """Raise ValueError if a user's loss lacks a method, or one is not an elementwise function."""
        kind = f"the loss {type(self).__name__}"
        if not self.is_own and self.name in LOSSES:
            return
        for name in ("value", "slope"):
            if not callable(getattr(self, name, None)):
                raise ValueError(f"{kind} has no method {name}: define {name}(self, s, y)")
        if self.of_labels:
            raise ValueError(f"{kind} cannot be of_labels: its methods take a target per score")
        try:
            hash(self)
        except TypeError as error:
            raise ValueError(f"an attribute of {kind} is not a number or text: {error}") from None
        low, high = (float(k) if bound is None else bound for k, bound in enumerate(self.bounds))
        s = np.array([[-1.5, 0.5], [0.25, 3.0], [1.0, -2.0]])
        y = np.array([[low, high], [high, low], [high, high]])
        for name in ("value", "slope"):
            method, must = getattr(self, name), f"{name} of {kind} must be an elementwise function of s and y"
            try:
                with np.errstate(all="ignore"):
                    whole, part = (np.asarray(method(s[k:], y[k:])) for k in range(2))
            except Exception as error:
                raise ValueError(f"{must}, but fails for arrays (3, 2): {error}") from error
            if whole.shape not in ((), s.shape) or whole.dtype.kind not in "biuf":
                raise ValueError(f"{must}, but returns {whole.dtype} {whole.shape} for arrays (3, 2)")
            if not np.allclose(np.broadcast_to(whole, s.shape)[1:], part, equal_nan=True):
                raise ValueError(f"{must}, but one of its numbers depends on other scores or targets")

    @property
    def parameter(self) -> float:
        """Parameter of the loss's formulas, such as `delta` of `Huber`; 0 for a loss without a parameter."""
        if self.is_own:
            return 0.0
        return next(iter(vars(self).values()), 0.0)

    def check(self, y: Any, n_samples: int, n_outputs: int, dtype: np.dtype, name: str = "y") -> Array:
        """Check targets from a user, and return them as an array with two dimensions.

        Parameters
        ----------
        y : array-like
            Labels or targets of the samples.
        n_samples, n_outputs : int
            Numbers of samples, and of outputs of the network.
        dtype : numpy.dtype
            Dtype of the network.
        name : str, default "y"
            Name of the argument in error messages.

        Returns
        -------
        array (n_samples, n_targets) of `dtype`
            Targets; one column of class numbers for labels.

        Raises
        ------
        ValueError
            If the number of targets is wrong, or one is out of bounds; the message names the first.
        """
        if y is None:
            raise ValueError(f"{name} is missing, got None: pass a label or target for every sample")
        if self.of_labels:
            if self.takes_rows and _find_shape(y)[1:] == (n_outputs,):
                return check_distributions(y, n_samples, n_outputs, dtype, name)
            return check_labels(y, n_samples, n_outputs, name).astype(dtype)[:, None]
        return check_targets(y, n_samples, n_outputs, dtype, self.bounds, name, self.only_bounds)


def _find_shape(y: Any) -> tuple[int, ...]:
    """Return the shape of an array-like; () for a ragged list, which the check of labels names."""
    try:
        return np.shape(y)
    except ValueError:
        return ()


# Registry of the losses: classes by name.
LOSSES: dict[str, type[Loss]] = {}


@register(LOSSES, "softmax_cross_entropy")
class SoftmaxCrossEntropy(Loss):
    """Softmax cross entropy, for labels: the cross entropy of a softmax over the scores.

    ``-sum over k of q_k log p_k``, where q is 1 at the label and 0 elsewhere. In place of labels, y
    (n_samples, K) may hold q itself, rows of at least 0 that sum to 1: the predictions of another network,
    mixed samples, or labels that disagree. Label smoothing multiplies q by
    ``1 - label_smoothing`` and adds ``label_smoothing / K`` for each of the K classes (Szegedy et al.,
    "Rethinking the Inception architecture", 2016, section 7).

    Parameters
    ----------
    label_smoothing : float, default 0.0
        Fraction of the target that is spread evenly over all classes, from 0 to 1.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Model([2, 3, 2], loss=fastnn.SoftmaxCrossEntropy(label_smoothing=0.1)).loss
    SoftmaxCrossEntropy(label_smoothing=0.1)
    """

    output: ClassVar[str] = "softmax"
    of_labels: ClassVar[bool] = True
    takes_rows: ClassVar[bool] = True

    label_smoothing: float = make_field(partial(check_number, least=0.0, most=1.0), default=0.0)


@register(LOSSES, "multiclass_hinge")
class MulticlassHinge(Loss):
    """Multiclass hinge loss, for labels.

    ``sum over k != label of max(0, s_k - s_label + margin)`` (Weston & Watkins, "Support vector machines
    for multi-class pattern recognition", 1999). `predict_proba` returns the softmax of the scores.

    Parameters
    ----------
    margin : float, default 1.0
        Margin by which the score of the label should exceed the others, above 0.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Model([2, 3, 2], output_activation="identity", loss="multiclass_hinge").loss
    MulticlassHinge(margin=1.0)
    """

    output: ClassVar[str] = "softmax"
    of_labels: ClassVar[bool] = True

    margin: float = make_field(check_positive, default=1.0)


@register(LOSSES, "sigmoid_binary_cross_entropy")
class SigmoidBinaryCrossEntropy(Loss):
    """Sigmoid binary cross entropy, for any number of independent yes-or-no targets.

    ``-y log p - (1 - y) log(1 - p)`` with ``p = 1 / (1 + exp(-s))``, summed over the outputs. Targets
    (n, n_outputs) lie between 0 and 1.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Model([2, 3, 4], output_activation="identity", loss="sigmoid_binary_cross_entropy")
    >>> model.predict([[0.0, 1.0]]).shape
    (1, 4)
    """

    output: ClassVar[str] = "sigmoid"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)


@register(LOSSES, "squared_error")
class SquaredError(Loss):
    """Half the squared error ``(s - y)^2 / 2``, summed over the outputs.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Model([1, 8, 1], output_activation="identity", loss="squared_error", random_state=0)
    >>> history = model.train([[0.0], [1.0]], [[1.0], [3.0]], num_passes=500, epsilon=0.1, reg_lambda=0.0)
    >>> bool(history.loss[-1] < 1e-6)
    True
    """


@register(LOSSES, "absolute_error")
class AbsoluteError(Loss):
    """Absolute error ``|s - y|``, summed over the outputs, which the median of the targets minimises.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Model([1, 8, 1], output_activation="identity", loss="absolute_error").loss
    AbsoluteError()
    """


@register(LOSSES, "huber")
class Huber(Loss):
    """Huber loss: half the squared error up to `delta`, linear beyond, summed over the outputs.

    ``(s - y)^2 / 2`` where ``|s - y| <= delta``, else ``delta (|s - y| - delta / 2)`` (Huber, "Robust
    estimation of a location parameter", 1964).

    Parameters
    ----------
    delta : float, default 1.0
        Error at which the loss becomes linear, above 0, in units of the targets.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Model([1, 8, 1], output_activation="identity", loss=fastnn.Huber(delta=0.5)).loss
    Huber(delta=0.5)
    """

    delta: float = make_field(check_positive, default=1.0)


@register(LOSSES, "quantile")
class Quantile(Loss):
    """Quantile loss (pinball loss), which a quantile of the targets minimises.

    ``max(q (y - s), (q - 1) (y - s))`` with q the quantile, summed over the outputs (Koenker & Bassett,
    "Regression quantiles", 1978).

    Parameters
    ----------
    quantile : float, default 0.5
        Fraction of the targets that lie below the prediction, above 0 and below 1.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Model([1, 8, 1], output_activation="identity", loss=fastnn.Quantile(0.9)).loss
    Quantile(quantile=0.9)
    """

    quantile: float = make_field(partial(check_positive, most=1.0, exclusive_end=True), default=0.5)


@register(LOSSES, "hinge")
class Hinge(Loss):
    """Hinge loss ``max(0, margin - y s)`` of two classes with the targets -1 and 1, summed over the outputs.

    `predict` returns the scores s, whose signs are the classes (Cortes & Vapnik, "Support-vector networks",
    1995).

    Parameters
    ----------
    margin : float, default 1.0
        Score of the right sign from which the loss is 0, above 0.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Model([2, 16, 1], output_activation="identity", loss="hinge").loss
    Hinge(margin=1.0)
    """

    bounds: ClassVar[tuple[float | None, float | None]] = (-1.0, 1.0)
    only_bounds: ClassVar[bool] = True

    margin: float = make_field(check_positive, default=1.0)


@register(LOSSES, "poisson")
class Poisson(Loss):
    """Poisson loss: negative log-likelihood of counts whose rate is the exponential of the score.

    ``exp(s) - y s``, summed over the outputs, without the term that depends on y only. Targets must not be
    below 0. `predict` returns the rates ``exp(s)``.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Model([1, 8, 1], output_activation="identity", loss="poisson").loss
    Poisson()
    """

    output: ClassVar[str] = "exponential"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, None)


# Names of the losses for regression. A loss whose targets have no upper bound is a regression loss.
REGRESSION_LOSSES = tuple(
    name for name, loss in LOSSES.items() if not loss.of_labels and loss.bounds[1] is None
)
