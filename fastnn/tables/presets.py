"""Presets of the tabular estimators: the networks, their training and the encoding of the table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """Training of the networks of a classifier, or of a regressor."""

    activation: str  # activation of the hidden layers
    init: str  # method that draws the weights
    rate: float  # peak of Adam's learning rate
    batch_size: int = 256  # largest number of rows in a step; small tables have smaller batches
    dropout: float = 0.0  # rate of dropout
    weight_decay: float = 0.0  # weight decay of AdamW; 0 for Adam
    # Pilots, which find whether and how far features of unimportant columns are scaled down: the first
    # networks, or short ones of few epochs that are thrown away. None leaves all features as they are.
    pilots: Literal["first", "short"] | None = None


# A mean of several networks needs no dropout. Dropout harms regressors where a few targets are extreme.
CLASSES = Recipe("selu", "lecun_normal", 0.007, 512, pilots="first")
SINGLE_CLASSES = replace(CLASSES, rate=0.005, batch_size=256, dropout=0.1, weight_decay=0.05)
NUMBERS = Recipe("mish", "he_normal", 0.01, 256, pilots="short")


@dataclass(frozen=True)
class Preset:
    """Settings of the networks of a tabular estimator."""

    n_estimators: int  # number of networks if the user gives none
    hidden_layer_sizes: tuple[int, ...]  # units of the hidden layers
    epochs: int  # length of the learning-rate schedule in epochs
    # Training of the networks of classifiers and of regressors.
    classes: Recipe = CLASSES
    numbers: Recipe = NUMBERS

    def get_recipe(self, is_classes: bool) -> Recipe:
        """Return the recipe of classifiers, or of regressors."""
        return self.classes if is_classes else self.numbers


# Registry of the presets, by the estimators' parameter `preset`.
PRESETS: dict[str, Preset] = {
    "fast": Preset(1, (128, 128), 48, SINGLE_CLASSES),
    "good": Preset(5, (64, 64, 64), 128),
    "best": Preset(10, (256, 256, 256), 256),
}
