"""The cases run by PyTorch: the same networks, first parameters and steps, in float64."""

import math

import numpy as np
import torch

from torch_records.cases import LOSSES, OUTPUTS, SCHEDULES, TRAININGS, Case, N, X

__all__ = ["results"]

ACTIVATIONS = {
    "identity": torch.nn.Identity(),
    "sigmoid": torch.nn.Sigmoid(),
    "tanh": torch.nn.Tanh(),
    "relu": torch.nn.ReLU(),
    "leaky_relu": torch.nn.LeakyReLU(),
    "elu": torch.nn.ELU(),
    "selu": torch.nn.SELU(),
    "softplus": torch.nn.Softplus(),
    "silu": torch.nn.SiLU(),
    "gelu": torch.nn.GELU(approximate="tanh"),
    "mish": torch.nn.Mish(),
}


def pinball(q):
    """Return the quantile loss as a function of tensors; PyTorch has none."""
    return lambda s, y: torch.maximum(q * (y - s), (q - 1) * (y - s)).sum()


# Losses by the names of the cases, summed over samples and outputs as fastnn's are.
LOSS_FUNCTIONS = {
    "cross entropy": torch.nn.CrossEntropyLoss(reduction="sum"),
    "smoothed labels": torch.nn.CrossEntropyLoss(reduction="sum", label_smoothing=0.1),
    "hinge": lambda s, y: OUTPUTS * torch.nn.MultiMarginLoss(reduction="sum")(s, y),
    "hinge, wider": lambda s, y: OUTPUTS * torch.nn.MultiMarginLoss(margin=2.5, reduction="sum")(s, y),
    "binary": torch.nn.BCEWithLogitsLoss(reduction="sum"),
    "squared": lambda s, y: torch.nn.MSELoss(reduction="sum")(s, y) / 2,
    "absolute": torch.nn.L1Loss(reduction="sum"),
    "huber": torch.nn.HuberLoss(reduction="sum"),
    "huber, narrower": torch.nn.HuberLoss(reduction="sum", delta=0.3),
    "median": pinball(0.5),
    "quantile": pinball(0.9),
    "poisson": torch.nn.PoissonNLLLoss(log_input=True, full=False, reduction="sum"),
}
assert LOSS_FUNCTIONS.keys() == LOSSES.keys()


class Twin(torch.nn.Module):
    """The network of a case as a module of PyTorch."""

    def __init__(self, case: Case):
        super().__init__()
        self.activations = [ACTIVATIONS[name] for name in case.layer_activations]
        self.linear, self.norms = torch.nn.ModuleList(), torch.nn.ModuleList()
        for W, b in zip(*case.first_parameters(), strict=True):
            linear = torch.nn.Linear(*W.shape, dtype=torch.float64)
            linear.weight.data = torch.tensor(W.T.copy())
            linear.bias.data = torch.tensor(b[0])
            self.linear.append(linear)
        for width in case.hidden if case.batch_norm else ():
            self.norms.append(torch.nn.BatchNorm1d(width, dtype=torch.float64))
        while len(self.norms) < len(self.linear):
            self.norms.append(torch.nn.Identity())

    def forward(self, X, masks=()):
        """Return the scores.

        `masks` are the factors of the layers' inputs, None for a layer without dropout.
        """
        masks = [*masks] or [None] * len(self.linear)
        layers = zip(self.linear, self.norms, self.activations, masks, strict=True)
        for linear, norm, activation, mask in layers:
            if mask is not None:
                X = X * torch.tensor(mask)
            X = activation(norm(linear(X)))
        return X

    def parts(self):
        """Return the parameters, and the running statistics of normalised layers, by name."""
        norms = [norm for norm in self.norms if isinstance(norm, torch.nn.BatchNorm1d)]
        parameters = [
            *(linear.weight.detach().numpy().T for linear in self.linear),
            *(linear.bias.detach().numpy()[None] for linear in self.linear),
            *(norm.weight.detach().numpy()[None] for norm in norms),
            *(norm.bias.detach().numpy()[None] for norm in norms),
        ]
        running = [np.stack([norm.running_mean.numpy(), norm.running_var.numpy()]) for norm in norms]
        return {
            "parameters": np.concatenate([array.ravel() for array in parameters]),
            "running": np.concatenate([array.ravel() for array in running]) if running else np.empty(0),
        }


def trained(case: Case) -> dict[str, np.ndarray]:
    """Return the results of a training by PyTorch: parameters, losses, probabilities and gradient norms."""
    twin, samples, targets = Twin(case), torch.tensor(X), torch.tensor(case.targets)
    name, options = case.torch_optimizer
    optimizer = getattr(torch.optim, name)(twin.parameters(), lr=case.rate, **options)
    if case.decays:
        n_steps = case.n_passes * -(-N // case.batch_size)
        decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1 ** (1 / n_steps))
        optimizer.register_step_post_hook(lambda *_: decay.step())

    def mean_loss():
        with torch.no_grad():
            return LOSS_FUNCTIONS[case.loss](twin(samples), targets).item() / N

    twin.eval()
    first_loss, norms, step = mean_loss(), [], 0
    twin.train()
    for _ in range(case.n_passes):
        for first in range(0, N, case.batch_size):
            part = slice(first, min(first + case.batch_size, N))
            count = part.stop - part.start
            optimizer.zero_grad()
            value = LOSS_FUNCTIONS[case.loss](twin(samples[part], case.masks(step, count)), targets[part])
            (value / count if case.reduction == "mean" else value).backward()
            if case.clip_norm is not None:
                norms.append(clip(twin, case))
            optimizer.step()
            step += 1
    twin.eval()
    with torch.no_grad():
        scores = twin(samples)
    found = {"losses": np.array([first_loss, mean_loss()]), "norms": np.array(norms), **twin.parts()}
    if case.loss == "cross entropy":
        found["probabilities"] = torch.softmax(scores, 1).numpy()
    return {name: array for name, array in found.items() if array.size}


def clip(twin: Twin, case: Case) -> float:
    """Clip the gradient, and return the norm that it had before."""
    gradients = [parameter.grad for parameter in twin.parameters()]
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    if not case.clips_exactly:
        torch.nn.utils.clip_grad_norm_(twin.parameters(), case.clip_norm)
    elif norm > case.clip_norm:
        for gradient in gradients:
            gradient *= case.clip_norm / norm
    return norm


def factors(total: int, scheduler_name: str, options: dict) -> np.ndarray:
    """Return a scheduler's learning rates, step by step, from a rate of 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = getattr(torch.optim.lr_scheduler, scheduler_name)(optimizer, **options)
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(rates) < total:  # OneCycleLR counts its steps and refuses one beyond the last
            scheduler.step()
    return np.array(rates)


def results() -> dict[str, np.ndarray]:
    """Run all cases on one thread and return their arrays by the names of the records."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = {
            f"{name}: {part}": array
            for name, case in TRAININGS.items()
            for part, array in trained(case).items()
        }
        found |= {
            name: factors(total, scheduler, options)
            for name, (_, total, scheduler, options) in SCHEDULES.items()
        }
    finally:
        torch.set_num_threads(before)
    return found
