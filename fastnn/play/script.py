"""Copy as Python: a script that repeats a run of the playground, bit for bit."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..schedules import SCHEDULES
from .datasets import DATASETS, features
from .session import WithinRun
from .steering import SetByHand, StopAfter

if TYPE_CHECKING:
    from .problem import LearningProblem
    from .session import Run

__all__ = ["script_of"]

LINE_LENGTH = 100


def script_of(run: Run) -> str:
    """Return a script that trains the network of a run from the beginning to its last step."""
    problem, n_steps = run.problem, run.steering.latest.step
    settings = problem.settings
    n_passes = -(-n_steps // problem.steps_per_epoch)
    arguments = problem.train_arguments
    imports = ["import numpy as np"]
    blocks: list[str] = []

    if settings.schedule != "constant" and n_passes != settings.n_passes:
        assert settings.n_passes is not None
        imports[:0] = ["from dataclasses import dataclass", ""]
        imports += ["from fastnn.schedules import Schedule"]
        blocks.append(inspect.getsource(WithinRun))
        whole = _shown(arguments["schedule"])
        if isinstance(arguments["schedule"], str):
            whole = f"fastnn.{SCHEDULES[arguments['schedule']].__name__}()"
        total = settings.n_passes * problem.steps_per_epoch
        arguments["schedule"] = Expression(f"WithinRun({whole}, {total})")
    hooks: list[tuple[type, Any]] = []
    if run.steering.set_by_hand:
        hooks.append((SetByHand, run.steering.set_by_hand))
    if n_steps % problem.steps_per_epoch:
        hooks.append((StopAfter, n_steps))
    if hooks:
        imports += ["from fastnn.training.loop import Hook"]
        blocks += [inspect.getsource(hook) for hook, _ in hooks]
        arguments["callbacks"] = [Expression(f"{hook.__name__}({given})") for hook, given in hooks]
    if len(problem.test):
        imports.append("from sklearn.model_selection import train_test_split")
    first = imports.index("import numpy as np")
    imports.insert(first + 1, "import fastnn")

    blocks.append(_data(run))
    if problem.has_computed_features:
        blocks.append(f"{inspect.getsource(features)}\n\nX = features(X, {list(settings.features)})")
    if len(problem.test):
        blocks.append(
            "X_train, X_test, y_train, y_test = train_test_split(\n"
            f"    X, y, test_size={settings.test_share!r}, random_state={settings.seed}\n)"
        )
    else:
        blocks.append("X_train, y_train = X, y")
    train = [
        _call("model = fastnn.Model", [str(problem.layers_dim)], problem.model_arguments),
        _call("history = model.train", ["X_train", "y_train"], {"num_passes": n_passes, **arguments}),
    ]
    blocks.append("\n".join(train))
    shown = ['print(f"loss of the training data: {model.calculate_loss(X_train, y_train):.6f}")']
    if len(problem.test):
        shown.append('print(f"loss of the test data: {model.calculate_loss(X_test, y_test):.6f}")')
    blocks.append("\n".join(shown))
    if problem.table is not None:
        blocks.append(_prediction(problem))
    return "\n".join(imports) + "\n\n\n" + "\n\n".join(block.strip("\n") for block in blocks) + "\n"


class Expression(str):
    """Text of a Python expression."""

    __repr__ = str.__str__


def _data(run: Run) -> str:
    """Return the code that makes X and y."""
    problem = run.problem
    settings = problem.settings
    data = DATASETS.get(settings.dataset)
    if data is not None and data.draw is not None:
        values = {name: getattr(settings, name) for name in data.arguments}
        return f"{data.source}\n\n{_call(f'X, y = {data.draw.__name__}', [], values)}"
    table = problem.table
    if table is None:
        return f"X = np.array({_rows(problem.X.tolist())})\ny = np.array({_rows(problem.y.tolist())})"
    lines = [
        f"# Columns of the table: {_shown(problem.inputs)}",
        f"rows = np.array({_rows(table.X.tolist())})",
        "centre, scale = rows.mean(axis=0), rows.std(axis=0)",
        "X = (rows - centre) / scale",
    ]
    if table.target_units is None:
        lines += [
            f"classes = np.array({_shown(problem.classes)})",
            f"y = np.array({_rows(table.y.tolist())})",
        ]
    else:
        lines += [f"targets = np.array({_rows(table.y.tolist())})"]
        lines += ["target_centre, target_scale = targets.mean(), targets.std()"]
        lines += ["y = (targets - target_centre) / target_scale"]
    return "\n".join(lines)


def _prediction(problem: LearningProblem) -> str:
    """Return a function that predicts for rows of the table, in its own units, and a call of it."""
    assert problem.table is not None
    inputs = "(np.asarray(rows) - centre) / scale"
    if problem.has_computed_features:
        inputs = f"features({inputs}, {list(problem.settings.features)})"
    predicted = f"model.predict({inputs})"
    if problem.table.target_units is None:
        predicted = f"classes[{predicted}]"
        if problem.loss_name == "sigmoid_binary_cross_entropy":
            predicted += "[:, 0]"
    else:
        predicted = f"{predicted}[:, 0] * target_scale + target_centre"
    return (
        'def predict(rows):\n    """Return predictions for rows of these columns, in their units."""\n'
        f"    return {predicted}\n\n\nprint(predict(rows[:3]))"
    )


def _rows(values: list[Any]) -> str:
    """Return a list as Python code, in lines that are not too long."""
    lines, line = [], "   "
    for value in values:
        text = f" {value!r},"
        if len(line) + len(text) > LINE_LENGTH:
            lines.append(line)
            line = "   "
        line += text
    return "[\n" + "\n".join([*lines, line]) + "\n]"


def _shown(value: Any) -> str:
    """Return a value as Python code in which fastnn's names begin with ``fastnn.``."""
    if isinstance(value, Expression):
        return repr(value)
    module = type(value).__module__.partition(".")[0]
    return f"fastnn.{value!r}" if module == "fastnn" else repr(value)


def _call(function: str, arguments: list[str], named: Mapping[str, Any]) -> str:
    """Return a call as Python code, in one line or with an argument a line."""
    texts = [*arguments, *(f"{name}={_shown(value)}" for name, value in named.items())]
    line = f"{function}({', '.join(texts)})"
    if len(line) <= LINE_LENGTH:
        return line
    return f"{function}(\n" + "".join(f"    {text},\n" for text in texts) + ")"
