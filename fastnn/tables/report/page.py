"""Page of a report: scores beside baselines, errors, calibration, learning curves, importances, columns."""

from __future__ import annotations

import html
import json
import shlex
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from ...system.messages import counted, span
from ..summary import last_best
from .pictures import (
    calibration_picture,
    learning_picture,
    predicted_picture,
    residuals_picture,
    roc_picture,
    sureness_picture,
)
from .tables import (
    bars,
    classes_table,
    columns_table,
    confusion_table,
    is_dense,
    number_text,
    score_text,
    scores_table,
)
from .texts import escape

__all__ = ["ReportData", "report_page"]

Array = NDArray[Any]

# Largest number of bars of importances, and of classes in the confusion matrix.
MAX_BARS, MAX_CLASSES = 12, 12


@dataclass
class ReportData:
    """Content of a report.

    Parameters
    ----------
    target : str
        Name of the column that is predicted.
    task : {"classification", "regression"}
        Kind of the target.
    source : str
        Name of the table.
    frame : pandas DataFrame
        Training rows.
    y : array (n,)
        Targets of the training rows.
    truth : array (m,)
        Targets of the scored rows.
    predictions : array (m, n_classes) or (m,)
        Probabilities or numbers predicted for the scored rows.
    classes : array or None
        Classes of a classification.
    how : str
        Choice of the scored rows, as the end of the sentence "Evaluated ...".
    scores : dict
        Scores by model and name; the networks come first, and constant predictions last.
    metrics : dict
        Descriptions of the scores by name, with `label` and `is_better_high`.
    model : TabularClassifier or TabularRegressor
        Fitted estimator.
    notes : list of str
        Remarks about the table.
    model_file : str
        Name of the file of the model.
    details : dict
        Further facts about the training.
    """

    target: str
    task: str
    source: str
    frame: Any
    y: Array
    truth: Array
    predictions: Array
    classes: Any
    how: str
    scores: dict[str, dict[str, float]]
    metrics: dict[str, Any]
    model: Any
    notes: list[str]
    model_file: str
    details: dict[str, Any]


def report_page(data: ReportData) -> str:
    """Return the page as HTML that needs no other file and runs no script."""
    style = files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    sections = [_header(data), _tiles(data)]
    sections.append(
        _section(
            "Against simple models",
            f"Evaluated {data.how}. The best score of each column is green.",
            scores_table(data.scores, data.metrics),
        )
    )
    sections += _predictions(data)
    sections.append(_pair(_importances(data), _learning(data)))
    sections.append(
        _section(
            "Columns",
            "The distribution of each column, and what the networks see of it.",
            columns_table(data.frame, data.model.columns_),
        )
    )
    if data.notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in data.notes)
        sections.append(_section("Notes", "", f'<ul class="notes">{items}</ul>'))
    sections.append(_pair(_usage(data), _details(data)))
    sections.append(f"<footer>Written by fastnn {escape(str(data.details['version']))}</footer>")
    title = f"{escape(data.target)} · {escape(data.source)}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def _section(title: str, text: str, content: str) -> str:
    sentence = f"<p>{escape(text)}</p>" if text else ""
    return f"<section><h2>{escape(title)}</h2>{sentence}{content}</section>"


def _pair(*sections: str) -> str:
    """Return sections side by side where the page is wide enough."""
    return f'<div class="pair">{"".join(sections)}</div>'


def _header(data: ReportData) -> str:
    size = f"{counted(len(data.y), 'row')} · {counted(len(data.model.columns_), 'column')}"
    kind = "Classes" if data.task == "classification" else "Numbers"
    return (
        f'<header><p class="kicker">{kind} predicted from a table</p><h1>{escape(data.target)}</h1>'
        f"<p>{escape(data.source)} · {size}</p></header>"
    )


def _tiles(data: ReportData) -> str:
    """Return the most important scores in large digits."""
    networks, *_, constants = data.scores.values()
    always = "always the majority" if data.task == "classification" else "always the mean"
    tiles = []
    for k, (name, metric) in enumerate(data.metrics.items()):
        value, constant = networks[name], constants[name]
        hint = ""
        if np.isfinite(constant) and np.isfinite(value):
            is_better = value > constant if metric.is_better_high else value < constant
            mark = "<em>\N{BLACK UP-POINTING TRIANGLE}</em> " if is_better else ""
            hint = f"<span>{mark}{always}: {_score_text(name, metric, constant)}</span>"
        first = " first" if k == 0 else ""
        label, text = escape(metric.label), _score_text(name, metric, value)
        tiles.append(f'<div class="tile{first}"><span>{label}</span><strong>{text}</strong>{hint}</div>')
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _score_text(name: str, metric: Any, value: float) -> str:
    """Return a score as text; accuracies in percent."""
    return f"{value:.1%}" if name.endswith("accuracy") and np.isfinite(value) else score_text(value, metric)


def _predictions(data: ReportData) -> list[str]:
    """Return the sections about right and wrong predictions."""
    if data.task == "regression":
        half, most = np.quantile(np.abs(data.truth - data.predictions), [0.5, 0.9])
        text = (
            f"Half of the predictions are off by less than {number_text(half)}, nine of ten by less than "
            f"{number_text(most)}."
        )
        return [
            _pair(
                _section("Predicted and true", text, predicted_picture(data.truth, data.predictions)),
                _section(
                    "What is left",
                    "Residuals, true minus predicted numbers: an even cloud around 0 is good.",
                    residuals_picture(data.truth, data.predictions),
                ),
            )
        ]
    P, classes = data.predictions, data.classes
    counts = confusion_matrix(data.truth, classes[P.argmax(axis=1)], labels=classes)
    order = np.argsort(-counts.sum(axis=1), kind="stable")[:MAX_CLASSES]
    more = (
        f" The {MAX_CLASSES} most frequent of {len(classes)} classes." if len(classes) > MAX_CLASSES else ""
    )
    order = np.sort(order)
    title, text = "Right and wrong", f"Confusion matrix: rows by true class, in fractions of their row.{more}"
    matrix = confusion_table(counts[np.ix_(order, order)], classes[order], counts.sum(axis=1)[order])
    table = classes_table(counts, classes, order)
    calibration = _section(
        "Can the probabilities be trusted?",
        "Calibration: of the rows given 70 %, 70 % should come true. Curves near the dashed line are good.",
        calibration_picture(data.truth, P, classes),
    )
    if is_dense(classes):
        single = _section("Class by class", "Recall and precision of each class.", table)
        return [_section(title, text, matrix), _pair(single, calibration)]
    pairs = [_pair(_section(title, text, matrix + table), calibration)]
    if len(classes) == 2 and len(np.unique(data.truth)) == 2:
        found = _section(
            f"Finding {classes[1]}",
            "ROC curve over all thresholds: recall (found) by false positive rate (false alarms).",
            roc_picture(data.truth, P, classes),
        )
        sure = _section(
            "How sure it is",
            "Rows of either class by predicted probability: the further apart, the better.",
            sureness_picture(data.truth, P, classes),
        )
        pairs.append(_pair(found, sure))
    return pairs


def _importances(data: ReportData) -> str:
    """Return the section of the columns' importances."""
    values = np.maximum(data.model.importances_, 0)
    order = np.argsort(-values, kind="stable")[:MAX_BARS]
    names = [data.model.columns_[k]["name"] for k in order]
    return _section(
        "What matters",
        "Increase of the loss when the values of a column are shuffled.",
        bars(names, values[order]),
    )


def _learning(data: ReportData) -> str:
    """Return the section of the learning curves."""
    members = data.model._heads()[0]
    curves = [member.validation_loss_curve_ for member in members]
    kept = [last_best(member.validation_scores_) for member in members]
    return _section(
        "How the networks learned",
        "Each keeps the epoch at the dot. The learning rate falls and rises in turn, which makes the waves.",
        learning_picture(curves, kept),
    )


def _usage(data: ReportData) -> str:
    """Return the section with commands."""
    file = shlex.quote(data.model_file)
    probability = " --proba" if data.task == "classification" else ""
    name = json.dumps(data.model_file, ensure_ascii=False)
    commands = (
        f"fastnn predict {file} new.csv{probability} -o predictions.csv\nfastnn evaluate {file} test.csv\n\n"
        f"# in Python\nmodel = fastnn.load({name})\nmodel.predict(frame)"
    )
    text = f"<pre>{html.escape(commands)}</pre>"
    return _section("Use it", "In a shell or in Python, with rows of the same columns.", text)


def _details(data: ReportData) -> str:
    """Return the section of the settings."""
    details = data.details
    passes = details["passes"]
    facts = {
        "networks": f"{details['networks']} of layers {' → '.join(map(str, details['layers']))}",
        "preset": str(details["preset"]),
        "epochs": span(passes),
        "seed": str(details["seed"]),
        "time of the fit": f"{details['fit_seconds']:.1f} s (CPU time: {details['fit_cpu_seconds']:.1f} s)",
        "version": f"fastnn {details['version']}",
    }
    items = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts.items())
    return _section("How it was made", "", f"<dl>{items}</dl>")
