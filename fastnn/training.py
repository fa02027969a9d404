"""The loop around the kernels: what Python does between their calls.

A backend's trainer runs passes for some 50 ms a call. Between calls this loop lets an interrupt
through, prints the loss, and turns a diverging run into an error.
"""

from __future__ import annotations

from collections.abc import Callable

from .backends import Trainer

__all__ = ["DivergenceError", "run_training"]


class DivergenceError(ValueError):
    """A training in which a parameter became infinite or NaN.

    The model holds the parameters of the last pass in which all were finite.

    Attributes
    ----------
    iteration : int
        The pass that diverged, counted from 0 as in the printed losses.
    """

    def __init__(self, iteration: int, epsilon: float, reg_lambda: float) -> None:
        super().__init__(iteration, epsilon, reg_lambda)
        self.iteration = iteration
        self.epsilon = epsilon
        self.reg_lambda = reg_lambda

    def __str__(self) -> str:
        # Weight decay alone multiplies a weight by 1 - epsilon * reg_lambda a pass.
        decay = self.epsilon * self.reg_lambda
        remedy = (
            f"epsilon * reg_lambda is {decay:g} and must stay below 2: lower either"
            if decay > 2
            else f"lower epsilon, for instance to {self.epsilon / 10:g}, and standardise X if its values "
            "are large"
        )
        return (
            f"training diverged in pass {self.iteration}: a parameter is no longer finite with "
            f"epsilon={self.epsilon:g} and reg_lambda={self.reg_lambda:g}. The model holds the parameters "
            f"before that pass. Remedy: {remedy}."
        )


def run_training(
    trainer: Trainer,
    num_passes: int,
    epsilon: float,
    reg_lambda: float,
    report: Callable[[int], None] | None = None,
    report_every: int = 1000,
) -> None:
    """Run `trainer` to `num_passes` passes.

    Parameters
    ----------
    trainer : Trainer
    num_passes : int
    epsilon, reg_lambda : float
        As the trainer has them, for the error's words.
    report : callable, optional
        Called with the number of a pass, counted from 0, after it: with 0 and every `report_every`.

    Raises
    ------
    DivergenceError
    """
    while trainer.n_passes < num_passes:
        stop = num_passes
        if report:
            stop = min(stop, -(-trainer.n_passes // report_every) * report_every + 1)
        while trainer.n_passes < stop:
            if not trainer.run(stop):
                raise DivergenceError(trainer.n_passes, epsilon, reg_lambda)
        if report and (stop - 1) % report_every == 0:
            report(stop - 1)
