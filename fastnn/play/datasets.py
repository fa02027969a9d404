"""Data sets of the playground: functions that draw samples, and what the page says about them.

The scripts that the playground writes contain the source of a function and a call of it. A function therefore
stands alone: it uses NumPy as ``np``, and imports anything else itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class DataSet:
    """A data set of the playground."""

    title: str
    kind: str  # "classes" or "regression"
    why: str  # why the best known settings are the best
    best: dict[str, Any]  # fields of `Settings` that differ from their defaults
    # Function of fields of `Settings` that draws samples (n, 2) and their labels or targets (n,); None for
    # samples that the user paints or brings.
    draw: Callable[..., Any] | None = None
    # Function of scikit-learn's datasets that draws the same samples, with further arguments, for scripts.
    twin: str = ""
    twin_arguments: Mapping[str, Any] = field(default_factory=dict)

    def choose_arguments(self, settings: Any) -> dict[str, Any]:
        """Return the fields of settings that `draw` takes, by name."""
        assert self.draw is not None
        return {name: getattr(settings, name) for name in inspect.signature(self.draw).parameters}


def moons(n_samples, noise, seed):
    """Return samples of two half circles, and their classes; `seed` is a number or a RandomState."""
    random = seed if isinstance(seed, np.random.RandomState) else np.random.RandomState(seed)
    upper, lower = (np.linspace(0, np.pi, size) for size in (n_samples // 2, n_samples - n_samples // 2))
    x, height = np.cos(upper), np.sin(upper)
    X = np.column_stack([np.append(x, 1 - np.cos(lower)), np.append(height, 1 - np.sin(lower) - 0.5)])
    y = np.repeat([0, 1], [len(upper), len(lower)])
    order = np.arange(n_samples)
    random.shuffle(order)
    return X[order] + random.normal(scale=noise, size=X.shape), y[order]


def circles(n_samples, noise, seed):
    """Return samples of a circle and of one inside it, and their classes: scikit-learn's make_circles."""
    random = np.random.RandomState(seed)
    outer, inner = (
        np.linspace(0, 2 * np.pi, size, endpoint=False)
        for size in (n_samples // 2, n_samples - n_samples // 2)
    )
    x, height = (np.append(wave(outer), 0.5 * wave(inner)) for wave in (np.cos, np.sin))
    X, y = np.column_stack([x, height]), np.repeat([0, 1], [len(outer), len(inner)])
    order = np.arange(n_samples)
    random.shuffle(order)
    return X[order] + random.normal(scale=noise, size=X.shape), y[order]


def spiral(n_samples, noise, seed, arms, turns):
    """Return samples of a spiral's arms, which wind `turns` times, and the numbers of the arms."""
    random = np.random.RandomState(seed)
    y = np.arange(n_samples) % arms
    radius = np.linspace(0.1, 1.0, n_samples)
    angle = 2 * np.pi * (y / arms + turns * radius)
    X = radius[:, None] * np.column_stack([np.sin(angle), np.cos(angle)])
    return X + 0.3 * noise * random.randn(n_samples, 2), y


def blobs(n_samples, noise, seed, classes):
    """Return samples around the corners of a regular polygon, and the numbers of the corners."""
    random = np.random.RandomState(seed)
    y = np.arange(n_samples) % classes
    angle = 2 * np.pi * y / classes
    X = np.column_stack([np.sin(angle), np.cos(angle)])
    return X + (0.1 + noise) * random.randn(n_samples, 2), y


def xor(n_samples, noise, seed):
    """Return samples of a square, of class 1 where the signs of the coordinates differ before the noise."""
    random = np.random.RandomState(seed)
    X = random.uniform(-1, 1, (n_samples, 2))
    X += 0.1 * np.sign(X)
    y = (X[:, 0] * X[:, 1] < 0).astype(np.int64)
    return X + noise * random.randn(n_samples, 2), y


def line(n_samples, noise, seed, function):
    """Return samples of a square, of class 1 where they lie above the line of a function before the noise."""
    random = np.random.RandomState(seed)
    X = random.uniform(-1, 1, (n_samples, 2))
    x = X[:, 0]
    value = {
        "sine": 0.5 * np.sin(np.pi * x),
        "parabola": 1.5 * x**2 - 0.6,
        "cubic": 2.0 * x**3 - x,
        "peak": 0.6 - 1.4 * np.abs(x),
        "waves": 0.4 * np.sin(3 * np.pi * x),
    }[function]
    y = (X[:, 1] > value).astype(np.int64)
    return X + noise * random.randn(n_samples, 2), y


def surface(n_samples, noise, seed, surface):
    """Return samples of a square, and the heights of a surface with noise."""
    random = np.random.RandomState(seed)
    X = random.uniform(-1, 1, (n_samples, 2))
    u, v = X.T
    y = {
        "plane": 0.5 * (u + v),
        "hills": np.exp(-6 * ((u - 0.4) ** 2 + (v - 0.4) ** 2))
        - np.exp(-6 * ((u + 0.4) ** 2 + (v + 0.4) ** 2)),
        "saddle": u**2 - v**2,
        "ripples": np.cos(2 * np.pi * np.hypot(u, v)),
    }[surface]
    return X, y + noise * random.randn(n_samples)


def features(X, names):
    """Return the inputs (n, len(names)) of a network, computed from the two coordinates of samples."""
    x1, x2 = X.T
    inputs = {
        "x1": x1,
        "x2": x2,
        "x1_squared": x1**2,
        "x2_squared": x2**2,
        "x1_x2": x1 * x2,
        "sin_x1": np.sin(np.pi * x1),
        "sin_x2": np.sin(np.pi * x2),
    }
    return np.column_stack([inputs[name] for name in names])


# Inputs of `features`: how each is written, given the names of the coordinates, and a line about it.
FEATURES = {
    "x1": ("{0}", "the first coordinate"),
    "x2": ("{1}", "the second coordinate"),
    "x1_squared": ("{0}²", "the square of the first coordinate"),
    "x2_squared": ("{1}²", "the square of the second coordinate"),
    "x1_x2": ("{0}·{1}", "the product of both coordinates"),
    "sin_x1": ("sin π{0}", "a wave along the first coordinate, of period 2"),
    "sin_x2": ("sin π{1}", "a wave along the second coordinate, of period 2"),
}

# Functions whose line divides the classes of `line`, and surfaces of `surface`, with a line about each.
FUNCTIONS = {
    "sine": "half a sine's period on either side",
    "parabola": "a parabola",
    "cubic": "a cubic with two bends",
    "peak": "two straight lines that meet at a peak",
    "waves": "three periods of a sine",
}
SURFACES = {
    "plane": "a plane, which a network without hidden layers learns",
    "hills": "a hill and a hollow",
    "saddle": "a saddle",
    "ripples": "waves around the centre",
}

# Settings that many data sets share: tanh units, mean gradients, and Adam, whose rate needs no tuning.
_SMOOTH = {"layers": [8, 8], "activations": ["tanh", "tanh"], "output_activation": "identity"}
_ADAM = {"optimizer": "adam", "learning_rate": 0.01, "reduction": "mean", "l2": 0.0, "init": "glorot_normal"}
_USUAL: dict[str, Any] = _SMOOTH | _ADAM
_WIDE: dict[str, Any] = _USUAL | {"layers": [16, 16], "noise": 0.1}

# Registry of the data sets by name.
DATASETS: dict[str, DataSet] = {
    "moons": DataSet(
        "Moons",
        "classes",
        "Three tanh units suffice: the boundary is an S of three straight parts, one for each unit.",
        {"noise": 0.2},
        moons,
        "make_moons",
    ),
    "circles": DataSet(
        "Circles",
        "classes",
        "A closed boundary takes at least three lines; four tanh units round their corners.",
        _USUAL | {"layers": [4], "activations": ["tanh"], "noise": 0.1},
        circles,
        "make_circles",
        {"factor": 0.5},
    ),
    "spiral": DataSet(
        "Spiral",
        "classes",
        "A boundary that winds takes two layers: the first bends lines, the second combines the bends. "
        "Adam is many times faster here than plain gradient descent.",
        _WIDE | {"n_samples": 300},
        spiral,
    ),
    "blobs": DataSet(
        "Blobs",
        "classes",
        "Straight lines divide the blobs, so that no hidden layer is needed.",
        _USUAL | {"layers": [], "activations": [], "noise": 0.1, "learning_rate": 0.1},
        blobs,
    ),
    "xor": DataSet(
        "XOR",
        "classes",
        "No single line divides the classes. Four rectified units can cut off the corners; eight do so from "
        "any start, even if some never become active.",
        _USUAL | {"layers": [8], "activations": ["relu"], "noise": 0.05, "init": "he_normal"},
        xor,
    ),
    "line": DataSet(
        "Function",
        "classes",
        "Every bend of the function takes a unit or two; smooth units follow smooth lines.",
        _USUAL | {"layers": [8], "activations": ["tanh"], "noise": 0.05},
        line,
    ),
    "surface": DataSet(
        "Surface",
        "regression",
        "Smooth units make smooth surfaces, an output without activation reaches any height, and a weak "
        "penalty keeps the surface from following the noise.",
        _WIDE | {"n_samples": 400, "l2": 1e-3},
        surface,
    ),
    "painted": DataSet(
        "Painted", "classes", "Eight smooth units in two layers fit most of what a mouse paints.", _USUAL
    ),
}

# The data set of a user's table, by the kind of its target.
TABLES = {
    kind: DataSet(
        "Table",
        kind,
        "Two smooth layers, Adam and a weak penalty suit most standardised columns.",
        _USUAL | {"l2": 1e-3},
    )
    for kind in ("classes", "regression")
}
