"""Page of a report: scores beside baselines, errors, calibration, learning curves, importances, columns."""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import confusion_matrix

from ...system.messages import format_range, pluralize
from ...system.validation import Array
from ..members import find_last_best
from .pictures import (
    draw_errors,
    draw_learning,
    draw_predicted,
    draw_reliability,
    draw_roc,
    draw_sureness,
    draw_svg,
    escape,
)
from .tables import (
    draw_bars,
    is_dense,
    make_classes_table,
    make_columns_table,
    make_confusion_table,
    make_scores_table,
)

if TYPE_CHECKING:
    from ..commands.rows import Problem
    from ..commands.scores import Metric
    from ..estimators import TabularClassifier, TabularRegressor

# Largest number of bars of importances, and of classes in the confusion matrix.
MAX_BARS, MAX_MATRIX_CLASSES = 12, 12


@dataclass(kw_only=True)
class EvaluatedFit:
    """Fitted estimator and what was measured."""

    model: TabularClassifier | TabularRegressor  # estimator, fitted to all training rows
    problem: Problem  # training rows
    classes: Array | None  # classes of a classification
    truth: Array  # (m,): targets of the held-out rows
    predictions: Array  # (m, n_classes): probabilities or numbers predicted for the held-out rows
    metrics: dict[str, Metric]  # descriptions of the scores by name, the most important first
    scores: dict[str, dict[str, float]]  # scores by name, of the networks and of the baselines
    margins: dict[str, float]  # halves of the 95 % intervals of the networks' scores
    how: str  # how the held-out rows were chosen, in words
    remarks: list[str]  # remarks for the user about the predictions


def make_report_page(
    fit: EvaluatedFit, details: dict[str, Any], notes: Sequence[str], model_file: str
) -> str:
    """Return the page as HTML, well-formed as XML too, that needs no other file and runs no script.

    The details are the content of metrics.json, and the notes remarks for the user.
    """
    style = files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    sections = [_make_header(fit, details), _make_tiles(fit)]
    sections.append(
        _make_section(
            "Against simple models",
            f"Evaluated {fit.how}. The best score of each column is green.",
            make_scores_table(fit.scores, fit.metrics),
        )
    )
    sections += _collect_predictions(fit)
    sections.append(_make_pair(_make_importances(fit), _make_learning(fit)))
    sections.append(
        _make_section(
            "Columns",
            "The distribution of each column, and what the networks see of it.",
            make_columns_table(fit.problem.frame, fit.model.columns_),
        )
    )
    if notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in notes)
        sections.append(_make_section("Notes", "", f'<ul class="notes">{items}</ul>'))
    sections.append(_make_pair(_make_usage(fit.problem.task, model_file), _make_details(details)))
    sections.append(f"<footer>Written by fastnn {escape(str(details['version']))}</footer>")
    title = f"{escape(details['target'])} · {escape(details['table'])}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def _make_section(title: str, text: str, content: str) -> str:
    sentence = f"<p>{escape(text)}</p>" if text else ""
    return f"<section><h2>{escape(title)}</h2>{sentence}{content}</section>"


def _make_pair(*sections: str) -> str:
    """Return sections side by side where the page is wide enough."""
    return f'<div class="pair">{"".join(sections)}</div>'


def _make_header(fit: EvaluatedFit, details: dict[str, Any]) -> str:
    size = f"{pluralize(details['rows'], 'row')} · {pluralize(len(fit.model.columns_), 'column')}"
    kind = "Classes" if fit.problem.task == "classification" else "Numbers"
    return (
        f'<header><p class="kicker">{kind} predicted from a table</p><h1>{escape(details["target"])}</h1>'
        f"<p>{escape(details['table'])} · {size}</p></header>"
    )


def _make_tiles(fit: EvaluatedFit) -> str:
    networks, *_, constants = fit.scores.values()
    always = "always the majority" if fit.problem.task == "classification" else "always the mean"
    tiles = []
    for k, (name, metric) in enumerate(fit.metrics.items()):
        value, constant = networks[name], constants[name]
        hint = ""
        if np.isfinite(constant) and np.isfinite(value):
            is_better = value > constant if metric.is_better_high else value < constant
            mark = "<em>\N{BLACK UP-POINTING TRIANGLE}</em> " if is_better else ""
            hint = f"<span>{mark}{always}: {_format_score(name, metric, constant)}</span>"
        if np.isfinite(fit.margins[name]):
            hint = f"<span>± {_format_score(name, metric, fit.margins[name])} (95 %)</span>{hint}"
        first = " first" if k == 0 else ""
        label, text = escape(metric.label), _format_score(name, metric, value)
        tiles.append(f'<div class="tile{first}"><span>{label}</span><strong>{text}</strong>{hint}</div>')
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _format_score(name: str, metric: Metric, value: float) -> str:
    return f"{value:.1%}" if name.endswith("accuracy") and np.isfinite(value) else metric.format(value)


def _collect_predictions(fit: EvaluatedFit) -> list[str]:
    P, classes = fit.predictions, fit.classes
    if classes is None:
        half, most = np.quantile(np.abs(fit.truth - P), [0.5, 0.9])
        show = fit.metrics["mae"].format
        text = f"Half of the predictions are off by less than {show(half)}, 90 % by less than {show(most)}."
        points = draw_svg("True against predicted numbers", draw_predicted, fit.truth, P)
        return [
            _make_pair(
                _make_section("Predicted and true", text, points),
                _make_section(
                    "What is left",
                    "Residuals, true minus predicted numbers: an even cloud around 0 is good.",
                    draw_svg("Residuals against predicted numbers", draw_errors, fit.truth, P),
                ),
            )
        ]
    counts = confusion_matrix(fit.truth, classes[P.argmax(axis=1)], labels=classes)
    order = np.argsort(-counts.sum(axis=1), kind="stable")[:MAX_MATRIX_CLASSES]
    more = f" The {len(order)} most frequent of {len(classes)} classes." if len(classes) > len(order) else ""
    order = np.sort(order)
    title, text = "Right and wrong", f"Confusion matrix: rows by true class, in fractions of their row.{more}"
    matrix = make_confusion_table(counts[np.ix_(order, order)], classes[order], counts.sum(axis=1)[order])
    table = make_classes_table(counts, classes, order)
    calibration = _make_section(
        "Can the probabilities be trusted?",
        "Calibration: of the rows given 70 %, 70 % should come true. Curves near the dashed line are good.",
        draw_svg("Probabilities against fractions that came true", draw_reliability, fit.truth, P, classes),
    )
    if is_dense(classes):
        single = _make_section("Class by class", "Recall and precision of each class.", table)
        return [_make_section(title, text, matrix), _make_pair(single, calibration)]
    pairs = [_make_pair(_make_section(title, text, matrix + table), calibration)]
    if len(classes) == 2 and len(np.unique(fit.truth)) == 2:
        found = _make_section(
            f"Finding {classes[1]}",
            "ROC curve over all thresholds: recall (found) by false positive rate (false alarms).",
            draw_svg("ROC curve", draw_roc, fit.truth, P, classes),
        )
        sure = _make_section(
            "How sure it is",
            "Rows of either class by predicted probability: the further apart, the better.",
            draw_svg("Probabilities of the rows of either class", draw_sureness, fit.truth, P, classes),
        )
        pairs.append(_make_pair(found, sure))
    return pairs


def _make_importances(fit: EvaluatedFit) -> str:
    values = np.maximum(fit.model.importances_, 0)
    order = np.argsort(-values, kind="stable")[:MAX_BARS]
    names = [fit.model.columns_[k]["name"] for k in order]
    return _make_section(
        "What matters",
        "Increase of the loss when the values of a column are shuffled.",
        draw_bars(names, values[order]),
    )


def _make_learning(fit: EvaluatedFit) -> str:
    members = fit.model._list_heads()[0]
    curves = [member.validation_loss_curve_ for member in members]
    kept = [find_last_best(scores) for member in members if (scores := member.validation_scores_)]
    return _make_section(
        "How the networks learned",
        "Each keeps the epoch at the dot. The learning rate falls and rises in turn, which makes the waves.",
        draw_svg("Validation loss of every network by epoch", draw_learning, curves, kept),
    )


def _make_usage(task: str, model_file: str) -> str:
    file = shlex.quote(model_file)
    probability = " --proba" if task == "classification" else ""
    name = json.dumps(model_file, ensure_ascii=False)
    commands = (
        f"fastnn predict {file} new.csv{probability} -o predictions.csv\nfastnn evaluate {file} test.csv\n\n"
        f"# in Python\nmodel = fastnn.load({name})\nmodel.predict(frame)"
    )
    text = f"<pre>{html.escape(commands)}</pre>"
    return _make_section("Use it", "In a shell or in Python, with rows of the same columns.", text)


def _make_details(details: dict[str, Any]) -> str:
    passes = details["passes"]
    facts = {
        "networks": f"{details['networks']} of layers {' → '.join(map(str, details['layers']))}",
        "preset": str(details["preset"]),
        "epochs": format_range(passes),
        "seed": str(details["seed"]),
        "time of the fit": f"{details['fit_seconds']:.1f} s (CPU time: {details['fit_cpu_seconds']:.1f} s)",
        "version": f"fastnn {details['version']}",
    }
    items = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts.items())
    return _make_section("How it was made", "", f"<dl>{items}</dl>")
