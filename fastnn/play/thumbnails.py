"""Thumbnails of data sets: a few of their points, scaled to a unit square."""

from __future__ import annotations

import functools

from .problem import sampled
from .settings import Settings
from .table import PlayTable

__all__ = ["thumbnail"]

N_POINTS = 70
# What a mouse might paint.
PAINTED = [
    [0.2, 0.3, 0], [0.25, 0.5, 0], [0.3, 0.65, 0], [0.4, 0.75, 0], [0.5, 0.8, 0], [0.45, 0.4, 1],
    [0.55, 0.5, 1], [0.65, 0.55, 1], [0.7, 0.4, 1], [0.75, 0.7, 2], [0.85, 0.6, 2], [0.82, 0.8, 2],
]  # fmt: skip


@functools.lru_cache(maxsize=32)
def _drawn(name: str) -> list[list[float]]:
    """Return the points of a data set that is drawn at random."""
    return _scaled(Settings.of_state({"dataset": name, "n_samples": N_POINTS, "noise": 0.05}), None)


def thumbnail(name: str, table: PlayTable | None) -> list[list[float]]:
    """Return points [x, y, label or target from 0 to 1] of a data set, y upwards."""
    if name == "painted":
        return PAINTED
    return _drawn(name) if table is None else _scaled(Settings.of_state({"dataset": name}), table)


def _scaled(settings: Settings, table: PlayTable | None) -> list[list[float]]:
    """Return some points of the samples of settings."""
    problem = sampled(settings, table)
    left, right, bottom, top = problem.limits
    step = max(1, len(problem.y) // N_POINTS)
    points = []
    for (x, y), target in zip(problem.X[::step].tolist(), problem.y[::step].tolist(), strict=True):
        if problem.kind == "regression":
            low, high = problem.y.min(), problem.y.max()
            target = (target - low) / (high - low)
        points.append(
            [round((x - left) / (right - left), 3), round((y - bottom) / (top - bottom), 3), target]
        )
    return points
