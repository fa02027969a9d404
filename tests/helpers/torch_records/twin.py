"""The cases run by PyTorch: the same networks, first parameters and steps, in float64.

``PYTHONPATH=tests/helpers python -m torch_records.twin`` records the results again, with the extra ``peers``.
"""

import itertools

import numpy as np
import torch
from torch_records.cases import (
    DIMS,
    FILE,
    LOSSES,
    ONE_CYCLES,
    OUTPUTS,
    TRAININGS,
    Case,
    N,
    X,
    first_parameters,
)

__all__ = ["results"]


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


def trained(case: Case) -> dict[str, np.ndarray]:
    """Return the parameters after a training by PyTorch, and the mean loss before and after it."""
    linear = [torch.nn.Linear(*pair, dtype=torch.float64) for pair in itertools.pairwise(DIMS)]
    for layer, W, b in zip(linear, *first_parameters(), strict=True):
        layer.weight.data, layer.bias.data = torch.tensor(W.T.copy()), torch.tensor(b[0])
    network = torch.nn.Sequential(linear[0], torch.nn.Tanh(), linear[1], torch.nn.Tanh())
    name, options = case.torch_optimizer
    optimizer = getattr(torch.optim, name)(network.parameters(), lr=case.rate, **options)
    targets, losses = torch.tensor(case.targets), []
    for _ in range(case.n_passes):
        optimizer.zero_grad()
        losses.append(LOSS_FUNCTIONS[case.loss](network(torch.tensor(X)), targets) / N)
        losses[-1].backward()
        optimizer.step()
    last = LOSS_FUNCTIONS[case.loss](network(torch.tensor(X)), targets) / N
    weights = [layer.weight.detach().numpy().T.ravel() for layer in linear]
    biases = [layer.bias.detach().numpy() for layer in linear]
    return {
        "losses": np.array([losses[0].item(), last.item()]),
        "parameters": np.concatenate([*weights, *biases]),
    }


def factors(arguments: dict, total: int) -> np.ndarray:
    """Return the learning rates of OneCycleLR, step by step, from a highest rate of 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total, cycle_momentum=False, **arguments)
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
        trainings = {name: trained(case) for name, case in TRAININGS.items()}
    finally:
        torch.set_num_threads(before)
    found = {f"{name}: {part}": array for name, parts in trainings.items() for part, array in parts.items()}
    return found | {name: factors(*case) for name, case in ONE_CYCLES.items()}


if __name__ == "__main__":
    np.savez_compressed(FILE, **dict(sorted(results().items())))
