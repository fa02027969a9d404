"""Trainings that fastnn and PyTorch both run, described without PyTorch, and PyTorch's recorded results.

`numpy.random.RandomState`, whose stream never changes, draws data and first parameters: neither another
version of NumPy nor another initialisation of fastnn makes the records obsolete.
"""

import itertools
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fastnn

FILE = Path(__file__).parent / "records.npz"
N, INPUTS, OUTPUTS = 37, 5, 3
_random = np.random.RandomState(0)
X = _random.normal(size=(N, INPUTS))
LABELS = _random.randint(0, OUTPUTS, N)
TARGETS = _random.normal(size=(N, OUTPUTS))
SHARES = _random.uniform(size=(N, OUTPUTS))
COUNTS = _random.poisson(1.5, (N, OUTPUTS)).astype(float)

# Losses by name: fastnn's loss, the targets, and the optimizer of its cases.
LOSSES = {
    "cross entropy": ("softmax_cross_entropy", LABELS, "adam"),
    "smoothed labels": (fastnn.SoftmaxCrossEntropy(label_smoothing=0.1), LABELS, "adam"),
    "hinge": ("multiclass_hinge", LABELS, "momentum"),
    "hinge, wider": (fastnn.MulticlassHinge(margin=2.5), LABELS, "momentum"),
    "binary": ("sigmoid_binary_cross_entropy", SHARES, "nesterov"),
    "squared": ("squared_error", TARGETS, "adagrad"),
    "absolute": ("absolute_error", TARGETS, "rmsprop"),
    "huber": ("huber", TARGETS, "sgd"),
    "huber, narrower": (fastnn.Huber(delta=0.3), TARGETS, "sgd"),
    "median": ("quantile", TARGETS, "adamw"),
    "quantile": (fastnn.Quantile(0.9), TARGETS, "adamw"),
    "poisson": ("poisson", COUNTS, "sgd"),
}

# Optimizers, with the names that torch.optim gives arguments: the first of a name has PyTorch's defaults.
OPTIMIZERS = [
    fastnn.SGD(),
    fastnn.SGD(weight_decay=0.1),
    fastnn.Momentum(),
    fastnn.Momentum(0.8, dampening=0.3, weight_decay=0.1),
    fastnn.Momentum(0.5, dampening=0.5),
    fastnn.Nesterov(),
    fastnn.Nesterov(0.7, weight_decay=0.1),
    fastnn.Adagrad(),
    fastnn.Adagrad(lr_decay=0.05, weight_decay=0.1, initial_accumulator_value=0.2, eps=1e-6),
    fastnn.RMSprop(),
    fastnn.RMSprop(alpha=0.9, eps=1e-4, weight_decay=0.1, momentum=0.6),
    fastnn.Adam(),
    fastnn.Adam(betas=(0.7, 0.95), eps=1e-4, weight_decay=0.1),
    fastnn.AdamW(),
    fastnn.AdamW(betas=(0.7, 0.95), eps=1e-4, weight_decay=0.3),
]
# Arguments of fastnn alone.
OWN = {"rate_in_velocity", "eps_hat"}

# Numbers of units of the layers, inputs first; all have the activation tanh.
DIMS = (INPUTS, 7, OUTPUTS)


class Case(NamedTuple):
    """One training on whole batches, with the mean of the gradients."""

    loss: str  # a key of `LOSSES`
    optimizer: Any
    n_passes: int
    rate: float

    @property
    def torch_optimizer(self) -> tuple[str, dict[str, Any]]:
        """Name of a class of torch.optim, and its arguments."""
        name = type(self.optimizer).__name__
        arguments = {key: value for key, value in asdict(self.optimizer).items() if key not in OWN}
        if name == "Nesterov":
            arguments["nesterov"] = True
        return ("SGD" if name in ("Momentum", "Nesterov") else name), arguments

    @property
    def targets(self) -> np.ndarray:
        """Labels (N,) or targets (N, OUTPUTS), as the loss takes them."""
        return LOSSES[self.loss][1]


def first_parameters() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the weights (inputs, units) and the biases (1, units) of all layers before training."""
    random = np.random.RandomState(1)
    pairs = list(itertools.pairwise(DIMS))
    weights = [random.normal(size=pair) * np.sqrt(2 / sum(pair)) for pair in pairs]
    return weights, [0.1 * random.normal(size=(1, width)) for _, width in pairs]


def _trainings() -> Iterator[tuple[str, Case]]:
    loss_by_optimizer = {name: loss for loss, (_, _, name) in reversed(LOSSES.items())}
    for optimizer in OPTIMIZERS:
        yield str(optimizer), Case(loss_by_optimizer[optimizer.name], optimizer, 50, 0.01)
    for name, (_, _, optimizer_name) in LOSSES.items():
        optimizer = next(one for one in OPTIMIZERS if one.name == optimizer_name)
        yield f"loss {name}", Case(name, optimizer, 20, 0.02)


TRAININGS = dict(_trainings())

# The schedule that has no closed form in the tests of schedules: arguments and numbers of steps, by name.
ONE_CYCLES = {
    f"one cycle of {total} steps, {arguments}": (arguments, total)
    for arguments in ({}, {"pct_start": 0.45, "div_factor": 7, "final_div_factor": 30})
    for total in (5, 10, 33, 60, 100)
}
