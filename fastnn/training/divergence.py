"""DivergenceError: the error of a training whose parameters or loss become infinite or NaN."""

from __future__ import annotations

import math


class DivergenceError(ValueError):
    """Error of a training in which an array of the model, or the last loss, becomes infinite or NaN.

    The model then holds the parameters of the last step after which all of these arrays were finite.
    ``docs/use/troubleshooting.md`` in the sources lists the remedies, one after the other.

    Attributes
    ----------
    iteration : int
        Number of the epoch that diverged, counted from 0 as in the printed losses.
    epsilon : float
        Learning rate of that epoch; NaN for "lbfgs", which has no learning rate.
    reg_lambda : float
        Strength of the L2 regularisation.
    what : str
        Name of the array or number that is not finite: "a parameter", "a running statistic of batch
        normalisation", "the state of the optimizer", "the average of the parameters" or "the loss".
    """

    def __init__(self, iteration: int, epsilon: float, reg_lambda: float, what: str = "a parameter") -> None:
        super().__init__(iteration, epsilon, reg_lambda, what)
        self.what = what
        self.iteration = iteration
        self.epsilon = epsilon
        self.reg_lambda = reg_lambda

    # Names of the arguments in the message. Subclasses replace them by the names of an estimator's
    # parameters.
    _rate, _penalty, _limit, _unit = "epsilon", "reg_lambda", "set clip_norm", "epoch"

    @property
    def _decay(self) -> float:
        """Fraction of a weight by which the L2 penalty alone reduces the weight in a step."""
        return self.epsilon * self.reg_lambda

    @property
    def _remedy(self) -> str:
        if self._decay > 2:
            return f"{self._decay_name} is {self._decay:g} and must stay below 2: lower one of them"
        if self.what in ("a parameter", "the average of the parameters") and not math.isnan(self.epsilon):
            return (
                f"lower {self._rate}, for instance to {self.epsilon / 10:g}, or {self._limit}, and "
                "standardise X, and y if it holds large numbers"
            )
        standardise = "standardise X, and y if it holds large numbers"
        return standardise if math.isnan(self.epsilon) else f"{standardise}, or lower {self._rate}"

    @property
    def _decay_name(self) -> str:
        """Factors of `_decay`, as text for the message."""
        return f"{self._rate} * {self._penalty}"

    def __str__(self) -> str:
        rate = "" if math.isnan(self.epsilon) else f"{self._rate}={self.epsilon:g} and "
        return (
            f"training diverged in {self._unit} {self.iteration}: {self.what} is no longer finite with {rate}"
            f"{self._penalty}={self.reg_lambda:g}. The model holds the last finite parameters. "
            f"Remedy: {self._remedy}."
        )


class StepDivergenceError(DivergenceError):
    """Error of a single step, whose number is `iteration`."""

    _limit, _unit = "scale the gradient down", "step"
