"""Trainings and schedules that fastnn and PyTorch both run, described without PyTorch.

`numpy.random.RandomState`, whose stream never changes, draws data and first parameters: neither another
version of NumPy nor another initialisation of fastnn makes the records obsolete.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import fastnn
from fastnn.reference.random import draw, dropout
from fastnn.reference.train import STEPS

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

# Activations that PyTorch has, by fastnn's names; others are tested against their closed forms.
ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "softplus", "silu", "gelu")
ACTIVATIONS += ("mish",)


@dataclass(frozen=True)
class Case:
    """One training: a network, a loss and an optimizer; batches are taken in the order of the samples."""

    loss: str  # a key of `LOSSES`
    optimizer: Any = OPTIMIZERS[0]
    n_passes: int = 20
    rate: float = 0.02
    batch_size: int = N
    reduction: str = "mean"
    decays: bool = False  # True for a rate that decays exponentially to a tenth
    hidden: tuple[int, ...] = (7,)
    activations: tuple[str, ...] = ()  # one for each layer; empty for tanh in all
    factor: float = 1.0  # multiplies the first weights
    batch_norm: bool = False
    dropout: tuple[float, ...] = ()  # rates of the layers' inputs
    clip_norm: float | None = None
    clips_exactly: bool = True  # divide by the norm, as fastnn does; PyTorch divides by the norm + 1e-6
    backends: tuple[str, ...] = ("numba", "numpy")

    @property
    def dims(self) -> tuple[int, ...]:
        """Numbers of units of all layers, inputs first."""
        return (INPUTS, *self.hidden, OUTPUTS)

    @property
    def layer_activations(self) -> tuple[str, ...]:
        """Names of the activations of all layers."""
        return self.activations or ("tanh",) * (len(self.hidden) + 1)

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

    def first_parameters(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the weights (inputs, units) and the biases (1, units) of all layers before training."""
        random = np.random.RandomState(1)
        pairs = list(zip(self.dims, self.dims[1:], strict=False))
        weights = [self.factor * random.normal(size=pair) * np.sqrt(2 / sum(pair)) for pair in pairs]
        return weights, [0.1 * random.normal(size=(1, width)) for _, width in pairs]

    def masks(self, step: int, count: int) -> Iterator[np.ndarray | None]:
        """Yield the factors (count, width) by which dropout multiplies each layer's inputs in a step.

        The layers are those of `dropout`; a layer whose rate is 0 has None. The key is the one that a
        training with ``random_state=SEED`` draws.
        """
        high, low = np.random.RandomState(SEED).randint(0, 2**32, 2, np.uint64).tolist()
        key = draw(draw((high << 32) | low, STEPS), step)
        for layer, (width, rate) in enumerate(zip(self.dims, self.dropout, strict=False)):
            yield dropout(np.ones((count, width)), draw(key, layer), 0, rate) if rate else None


# `random_state` of every training.
SEED = 7


def _trainings() -> Iterator[tuple[str, Case]]:
    """Yield names and cases of all trainings."""
    loss_by_optimizer = {name: loss for loss, (_, _, name) in reversed(LOSSES.items())}
    for optimizer in OPTIMIZERS:
        yield str(optimizer), Case(loss_by_optimizer[optimizer.name], optimizer, n_passes=50, rate=0.01)
    for name, (_, _, optimizer_name) in LOSSES.items():
        yield f"loss {name}", Case(name, next(one for one in OPTIMIZERS if one.name == optimizer_name))
        # A larger factor makes the exponential of poisson's scores infinite, in PyTorch as well.
        yield (
            f"large scores of {name}",
            Case(name, n_passes=0, hidden=(), activations=("identity",), factor=30.0, backends=("numpy",)),
        )
    for reduction in ("sum", "mean"):
        yield (
            f"batches, {reduction}",
            Case("cross entropy", n_passes=6, rate=0.01, batch_size=8, reduction=reduction, decays=True),
        )
    for name in ACTIVATIONS:
        yield (
            f"activation {name}",
            Case("cross entropy", hidden=(6, 6), activations=(name,) * 3, backends=("numpy",)),
        )
    every = {"hidden": (6,) * len(ACTIVATIONS), "activations": (*ACTIVATIONS, "identity")}
    yield "all activations", Case("cross entropy", rate=0.5, **every)
    yield (
        "batch normalisation",  # batches of 8, 8, 8, 8 and 5
        Case("cross entropy", n_passes=6, rate=0.05, batch_size=8, hidden=(7, 6), batch_norm=True),
    )
    for exactly in (True, False):
        clipping = {"rate": 0.1, "clip_norm": 0.05, "clips_exactly": exactly}
        yield f"clipping{' exactly' * exactly}", Case("cross entropy", OPTIMIZERS[1], **clipping)
    for rates in [(0.0, 0.4), (0.25, 0.5)]:
        case = Case("cross entropy", n_passes=2, rate=0.05, batch_size=8, dropout=rates)
        yield f"dropout {rates}", case


TRAININGS = dict(_trainings())

# Schedules by name: fastnn's, the number of steps, the class of torch.optim.lr_scheduler, and its arguments.
ONE_CYCLES = [
    (
        fastnn.OneCycle(**shape),
        total,
        "OneCycleLR",
        {"max_lr": 1.0, "total_steps": total, "cycle_momentum": False, **shape},
    )
    for shape in ({}, {"pct_start": 0.45, "div_factor": 7, "final_div_factor": 30})
    for total in (5, 10, 33, 60, 100)
]
RESTARTS = "CosineAnnealingWarmRestarts"
SCHEDULES = {
    f"{scheduler} {total} {options}": (schedule, total, scheduler, options)
    for schedule, total, scheduler, options in [
        (fastnn.StepDecay(7, 0.5), 60, "StepLR", {"step_size": 7, "gamma": 0.5}),
        (fastnn.ExponentialDecay(1, 0.9), 60, "ExponentialLR", {"gamma": 0.9}),
        (fastnn.CosineDecay(), 60, "CosineAnnealingLR", {"T_max": 60}),
        (fastnn.CosineDecay(80, minimum=0.2), 60, "CosineAnnealingLR", {"T_max": 80, "eta_min": 0.2}),
        (fastnn.CosineDecay(0.25, restarts=True), 60, RESTARTS, {"T_0": 15}),
        (
            fastnn.CosineDecay(4, restarts=True, growth=2, minimum=0.1),
            60,
            RESTARTS,
            {"T_0": 4, "T_mult": 2, "eta_min": 0.1},
        ),
        (fastnn.CosineDecay(1, restarts=True, growth=3), 60, RESTARTS, {"T_0": 1, "T_mult": 3}),
        (fastnn.WarmUp(length=8), 60, "LinearLR", {"start_factor": 1 / 8, "total_iters": 7}),
        (fastnn.WarmUp(length=0.2, start=0.4), 60, "LinearLR", {"start_factor": 0.45, "total_iters": 11}),
        *ONE_CYCLES,
    ]
}
