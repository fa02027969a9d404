"""The error of a training that diverges."""

from __future__ import annotations

__all__ = ["DivergenceError"]


class DivergenceError(ValueError):
    """Raised when something that the model keeps, or the last loss, becomes infinite or NaN.

    The model then holds the parameters of the last step in which all were finite.

    Attributes
    ----------
    iteration : int
        The pass that diverged, counted from 0 as in the printed losses.
    epsilon : float
        The learning rate of that pass.
    reg_lambda : float
    what : str
        What was no longer finite: "a parameter", "a running statistic of batch normalisation", "the state
        of the optimizer", "the average of the parameters" or "the loss".
    """

    def __init__(self, iteration: int, epsilon: float, reg_lambda: float, what: str = "a parameter") -> None:
        super().__init__(iteration, epsilon, reg_lambda, what)
        self.what = what
        self.iteration = iteration
        self.epsilon = epsilon
        self.reg_lambda = reg_lambda

    # What the arguments are called that the message is about.
    _rate, _penalty, _limit = "epsilon", "reg_lambda", "clip_norm"

    @property
    def _decay(self) -> float:
        """How much of a weight the penalty alone takes away in a step."""
        return self.epsilon * self.reg_lambda

    @property
    def _remedy(self) -> str:
        if self._decay > 2:
            return f"{self._decay_name} is {self._decay:g} and must stay below 2: lower either"
        if self.what in ("a parameter", "the average of the parameters"):
            return (
                f"lower {self._rate}, for instance to {self.epsilon / 10:g}, or set {self._limit}, and "
                "standardise X if its values are large"
            )
        return f"standardise X, and y if it holds large numbers, or else lower {self._rate}"

    @property
    def _decay_name(self) -> str:
        return f"{self._rate} * {self._penalty}"

    def __str__(self) -> str:
        return (
            f"training diverged in pass {self.iteration}: {self.what} is no longer finite with "
            f"{self._rate}={self.epsilon:g} and {self._penalty}={self.reg_lambda:g}. The model holds the "
            f"last finite parameters. Remedy: {self._remedy}."
        )
