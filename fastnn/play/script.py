"""Copy as Python: a script that repeats a run of the playground, bit for bit."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..schedules import Schedule
from ..system.validation import Array
from ..training.loop import Hook, Training
from .datasets import DATASETS, features

if TYPE_CHECKING:
    from .learning_problem import LearningProblem, TableRows
    from .run import Run, Stage

LINE_LENGTH = 100


class SetByHand(Hook):
    """Callback of `Model.train` that sets parameters by hand, and ends the training after step `last`.

    `changes` are tuples of a number of steps done, a parameter's index in the flat vector, and its value.
    """

    def __init__(self, changes: Sequence[tuple[int, int, float]], last: int) -> None:
        self.changes, self.last = changes, last

    def begin(self, training: Training) -> None:
        training.stopped = self.after_chunk(training)

    def next_step(self, training: Training) -> int:
        done = training.trainer.n_steps
        return min([step for step, _, _ in self.changes if step > done], default=self.last)

    def after_chunk(self, training: Training) -> bool:
        done = training.trainer.n_steps
        for step, index, value in self.changes:
            if step == done:
                training.trainer.current[index] = value
        return done >= self.last


@dataclass(frozen=True)
class WithinRun(Schedule):
    """Part of another schedule, which spans a run of `total` steps: from step `first` on."""

    schedule: Schedule
    first: int
    total: int

    def factors(self, steps: Array, total: int) -> Array:
        return self.schedule.factors(steps + self.first, self.total)


def write_script(run: Run) -> str:
    """Return a script that trains the network of a run from the beginning to its last step."""
    problem, settings = run.problem, run.problem.settings
    imports = {"import fastnn"}
    training = [_call("model = fastnn.Model", [str(problem.layers_dim)], problem.model_arguments)]
    ends = [*(stage.step for stage in run.stages[1:]), run.latest.step]
    for stage, end in zip(run.stages, ends, strict=True):
        arguments = _describe_stage(run, stage, end, imports)
        training.append(_call("history = model.train", ["X_train", "y_train"], arguments))
    blocks = [_write_data(run)]
    data = DATASETS.get(settings.dataset)
    if data is not None and data.twin:
        imports.add(f"from sklearn.datasets import {data.twin}")
    if problem.has_computed_features:
        blocks.append(f"{inspect.getsource(features)}\n\nX = features(X, {list(settings.features)})")
    if not len(problem.test):
        blocks.append("X_train, y_train = X, y")
    elif settings.dataset == "painted":
        blocks.append(
            f"is_test = np.diff(np.ceil(np.arange(len(y) + 1) * {settings.test_share!r})) > 0\n"
            "X_train, X_test, y_train, y_test = X[~is_test], X[is_test], y[~is_test], y[is_test]"
        )
    else:
        imports.add("from sklearn.model_selection import train_test_split")
        blocks.append(
            "X_train, X_test, y_train, y_test = train_test_split(\n"
            f"    X, y, test_size={settings.test_share!r}, random_state={settings.seed}\n)"
        )
    blocks.append("\n".join(training))
    shown = ['print(f"loss of the training data: {model.calculate_loss(X_train, y_train):.6f}")']
    if len(problem.test):
        shown.append('print(f"loss of the test data: {model.calculate_loss(X_test, y_test):.6f}")')
    blocks.append("\n".join(shown))
    if problem.table is not None:
        blocks.append(_write_prediction(problem, problem.table))
    if any("np." in block for block in blocks):
        imports.add("import numpy as np")
    head = sorted(imports, key=lambda line: (line.startswith("from"), line))
    return "\n".join(head) + "\n\n\n" + "\n\n".join(block.strip("\n") for block in blocks) + "\n"


def _describe_stage(run: Run, stage: Stage, end: int, imports: set[str]) -> dict[str, Any]:
    """Return the arguments of `Model.train` for a part of a run to step `end`; add the imports they need."""
    arguments = stage.train_arguments
    schedule, n_steps = arguments.get("schedule"), end - stage.step
    n_passes = -(-n_steps // stage.problem.steps_per_epoch)
    if isinstance(schedule, WithinRun):
        if len(run.stages) == 1:  # the schedule itself does, over the whole run
            assert stage.n_epochs is not None
            n_passes, arguments["schedule"] = stage.n_epochs, stage.problem.train_arguments["schedule"]
        else:
            whole = f"WithinRun({_format(schedule.schedule)}, {schedule.first}, {schedule.total})"
            arguments["schedule"] = SourceText(whole)
            imports.add("from fastnn.play.script import WithinRun")
    is_last = stage is run.stages[-1]
    by_hand = [
        (step - stage.step, *number)
        for step, *number in run.set_by_hand
        if stage.step <= step and (step < end or is_last)
    ]
    if by_hand or n_steps != n_passes * stage.problem.steps_per_epoch:
        arguments["callbacks"] = [SourceText(f"SetByHand({by_hand}, {n_steps})")]
        imports.add("from fastnn.play.script import SetByHand")
    return {"num_passes": n_passes, **arguments}


class SourceText(str):
    """Text of a Python expression."""

    __repr__ = str.__str__


def _write_data(run: Run) -> str:
    problem, settings = run.problem, run.problem.settings
    data = DATASETS.get(settings.dataset)
    if data is not None and data.draw is not None:
        values = data.choose_arguments(settings)
        if data.twin:
            values["random_state"] = values.pop("seed")
            return _call(f"X, y = {data.twin}", [], {**values, **data.twin_arguments})
        return f"{inspect.getsource(data.draw)}\n\n{_call(f'X, y = {data.draw.__name__}', [], values)}"
    table = problem.table
    if table is None:
        X, y = _write_rows(problem.X.tolist()), _write_rows(problem.y.tolist())
        return f"X = np.array({X})\ny = np.array({y})"
    lines = [
        f"# Columns of the table: {_format(problem.inputs)}",
        f"rows = np.array({_write_rows(table.X.tolist())})",
        "centre, scale = rows.mean(axis=0), rows.std(axis=0)",
        "X = (rows - centre) / scale",
    ]
    if table.target_units is None:
        lines += [
            f"classes = np.array({_format(problem.classes)})",
            f"y = np.array({_write_rows(table.y.tolist())})",
        ]
    else:
        lines += [f"targets = np.array({_write_rows(table.y.tolist())})"]
        lines += ["target_centre, target_scale = targets.mean(), targets.std()"]
        lines += ["y = (targets - target_centre) / target_scale"]
    return "\n".join(lines)


def _write_prediction(problem: LearningProblem, table: TableRows) -> str:
    """Return a function that predicts for rows of the table, in its own units, and a call of it."""
    inputs = "(np.asarray(rows) - centre) / scale"
    if problem.has_computed_features:
        inputs = f"features({inputs}, {list(problem.settings.features)})"
    predicted = f"model.predict({inputs})"
    if table.target_units is None:
        predicted = f"classes[{predicted}]"
    else:
        predicted = f"{predicted} * target_scale + target_centre"
    return (
        'def predict(rows):\n    """Return predictions for rows of these columns, in their units."""\n'
        f"    return {predicted}\n\n\nprint(predict(rows[:3]))"
    )


def _write_rows(values: Iterable[object]) -> str:
    """Return a list as Python code, in lines that are not too long."""
    lines, line = [], "   "
    for value in values:
        text = f" {value!r},"
        if len(line) + len(text) > LINE_LENGTH:
            lines.append(line)
            line = "   "
        line += text
    return "[\n" + "\n".join([*lines, line]) + "\n]"


def _format(value: object) -> str:
    """Return a value as Python code in which fastnn's names begin with ``fastnn.``."""
    if isinstance(value, SourceText):
        return repr(value)
    is_own = type(value).__module__.partition(".")[0] == "fastnn"
    return re.sub(r"\b([A-Z]\w*\()", r"fastnn.\1", repr(value)) if is_own else repr(value)


def _call(function: str, arguments: list[str], named: Mapping[str, Any]) -> str:
    """Return a call as Python code, in one line or with an argument a line."""
    texts = [*arguments, *(f"{name}={_format(value)}" for name, value in named.items())]
    line = f"{function}({', '.join(texts)})"
    if len(line) <= LINE_LENGTH:
        return line
    return f"{function}(\n" + "".join(f"    {text},\n" for text in texts) + ")"
