"""The first message to a page: everything that can be set, and the data sets with a few of their points."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from .datasets import DATASETS, TABLES, DataSet
from .learning_problem import draw_samples
from .settings import FIELDS, MAX_MESSAGE_BYTES, OPTIONS, Settings, describe_fields

if TYPE_CHECKING:
    from .table import PlayTable

N_POINTS = 70
# What a mouse might paint: strokes of three classes, as places along x and y.
STROKES = (
    ([0.2, 0.25, 0.3, 0.4, 0.5], [0.3, 0.5, 0.65, 0.75, 0.8]),
    ([0.45, 0.55, 0.65, 0.7], [0.4, 0.5, 0.55, 0.4]),
    ([0.75, 0.85, 0.82], [0.7, 0.6, 0.8]),
)
# Settings of the samples, of which the best known settings hold only what a data set names itself.
OF_SAMPLES = {"dataset", "test_share", "seed"} | {k for k, each in FIELDS.items() if "dataset" in each.only}
USUAL = {name: each.default for name, each in (FIELDS | OPTIONS).items() if name not in OF_SAMPLES}


def make_greeting(table: PlayTable | None) -> dict[str, Any]:
    """Return the message of a session with a table of the user, or without one."""
    from .. import __version__

    datasets = [_describe(name, data, _draw_points(name)) for name, data in DATASETS.items()]
    columns = None
    if table is not None:
        columns = list(table.columns)
        points = _scale_points(Settings.of_state({"dataset": "table"}), table)
        datasets.append(_describe("table", TABLES[table.kind], points))
    return {
        "type": "hello",
        "version": __version__,
        "choices": describe_fields(columns),
        "datasets": datasets,
        "state": Settings.of_state({} if table is None else table.state).state,
        "max_bytes": MAX_MESSAGE_BYTES,
    }


def _describe(name: str, data: DataSet, points: list[list[float]]) -> dict[str, Any]:
    return {
        "name": name,
        "title": data.title,
        "kind": data.kind,
        "best": USUAL | data.best,
        "why": data.why,
        "thumbnail": points,
    }


@functools.cache
def _draw_points(name: str) -> list[list[float]]:
    """Return some points [x, y, label or target from 0 to 1] of a data set in a unit square, y upwards."""
    if name == "painted":
        return [[*at, label] for label, stroke in enumerate(STROKES) for at in zip(*stroke, strict=True)]
    return _scale_points(Settings.of_state({"dataset": name, "n_samples": N_POINTS, "noise": 0.05}), None)


def _scale_points(settings: Settings, table: PlayTable | None) -> list[list[float]]:
    problem = draw_samples(settings, table)
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
