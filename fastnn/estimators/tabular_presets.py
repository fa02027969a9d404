"""Presets of the tabular estimators: the networks, their training and the encoding of the table."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True)
class Preset:
    """Settings of the networks of a tabular estimator.

    Parameters
    ----------
    n_estimators : int
        Number of networks if the user gives none.
    hidden_layer_sizes : tuple of int
        Units of the hidden layers.
    epochs : int
        Length of the learning-rate schedule in passes over the training rows.
    class_activation, number_activation : str
        Activation of classifiers and of regressors.
    class_rate, number_rate : float
        Peak of Adam's learning rate for classifiers and for regressors.
    batch_size : int
        Rows in a step; small tables have smaller batches.
    n_bins : int
        Intervals of a number's piecewise-linear encoding.
    """

    n_estimators: int
    hidden_layer_sizes: tuple[int, ...]
    epochs: int
    class_activation: str = "selu"
    number_activation: str = "mish"
    class_rate: float = 0.005
    number_rate: float = 0.01
    batch_size: int = 256
    n_bins: int = 16


# Registry of the presets, by the estimators' parameter `preset`.
PRESETS: dict[str, Preset] = {
    "fast": Preset(1, (128, 128), 48),
    "good": Preset(5, (128, 128, 128), 128),
    "best": Preset(10, (256, 256, 256), 256),
}
