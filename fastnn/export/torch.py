"""PyTorch: a model as a module. PyTorch is imported when a module is created."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from .description import MemberDescription, ModelDescription

if TYPE_CHECKING:
    from numpy.typing import DTypeLike
    from torch.nn import Module


def to_torch(description: ModelDescription, dtype: DTypeLike | None = None) -> Module:
    """Return a model as a ``torch.nn.Module``."""
    try:
        import torch
    except ImportError:
        raise ImportError("to_torch needs PyTorch: pip install torch, or see https://pytorch.org") from None
    description = description.convert(dtype)
    networks = [_make_sequential(torch, description, member) for member in description.members]
    if not description.is_ensemble:
        return networks[0]
    from .torch_modules import MeanOfNetworks

    return MeanOfNetworks(networks).eval()


def _list_modules(nn: ModuleType) -> dict[str, Module | None]:
    """Return PyTorch's modules of the activations, None for the identity.

    PyTorch's softplus is ``log(1 + exp(z))`` up to a threshold, and z above. In float32, exp overflows above
    88. PyTorch's default threshold of 20 leaves out 2e-9; above 40, softplus is z in float64 too.
    """
    return {
        "identity": None,
        "sigmoid": nn.Sigmoid(),
        "tanh": nn.Tanh(),
        "relu": nn.ReLU(),
        "leaky_relu": nn.LeakyReLU(0.01),
        "elu": nn.ELU(),
        "selu": nn.SELU(),
        "softplus": nn.Softplus(threshold=40.0),
        "silu": nn.SiLU(),
        "gelu": nn.GELU("tanh"),
        "mish": nn.Mish(),
    }


def _make_sequential(torch: ModuleType, description: ModelDescription, member: MemberDescription) -> Module:
    nn, known = torch.nn, _list_modules(torch.nn)
    modules: list[Module] = []
    for position, layer in enumerate(member.layers):
        weights, biases = torch.from_numpy(layer.weights.T.copy()), torch.from_numpy(layer.biases.copy())
        if description.is_binary and position == len(member.layers) - 1:
            # The scores 0 and s have the softmax 1 - sigmoid(s) and sigmoid(s): a column for each class.
            # Only estimators decide by one score, and their output layers have no activation.
            weights, biases = (torch.cat([torch.zeros_like(array), array]) for array in (weights, biases))
        # `skip_init` draws no initial weights, so that the global generator stays as it is.
        linear = nn.utils.skip_init(nn.Linear, weights.shape[1], weights.shape[0], dtype=weights.dtype)
        with torch.no_grad():
            linear.weight.copy_(weights)
            linear.bias.copy_(biases)
        modules.append(linear)
        if layer.activation not in known:
            raise ValueError(f"PyTorch has no activation {layer.activation!r}: use to_onnx or to_c")
        if known[layer.activation] is not None:
            modules.append(known[layer.activation])
    if member.output == "softmax" or description.is_binary:
        modules.append(nn.Softmax(dim=1))
    elif member.output == "sigmoid":
        modules.append(nn.Sigmoid())
    elif member.output == "exponential":
        from .torch_modules import Exponential

        modules.append(Exponential())
    return nn.Sequential(*modules).eval()
